/* store/format.h - rows as text: for people (table, md) and for programs (csv, json, jsonl).
 *
 * Unknown is null in JSON, an empty field in CSV, "-" in tables; energy without a sensor says "no sensor". Estimates
 * carry "~" and "est", so that nobody takes them for measurements. Output goes to the FILE alone; nothing is flushed.
 */
#ifndef ZEB_STORE_FORMAT_H
#define ZEB_STORE_FORMAT_H

#include <stdio.h>

#include "store/row.h"
#include "zeb/status.h"

typedef enum zeb_row_format {
    ZEB_FORMAT_NONE = 0,
    ZEB_FORMAT_TABLE, /* aligned columns for a terminal */
    ZEB_FORMAT_MD,    /* GitHub Markdown table */
    ZEB_FORMAT_CSV,   /* RFC 4180, one flat line a row, header first */
    ZEB_FORMAT_JSON,  /* an array */
    ZEB_FORMAT_JSONL, /* an object a line: the contract of the command line */
    ZEB_FORMAT_HTML   /* reports only: see store/report.h */
} zeb_row_format;

/* "table", "md", ...; ZEB_FORMAT_NONE for an unknown name. */
zeb_row_format zeb_row_format_find(const char *name);

enum {
    ZEB_WRITE_COLOUR = 1,   /* ANSI colours in tables; set only when out is a terminal */
    ZEB_WRITE_NO_HEADER = 2 /* csv: no header line, to write rows as they come */
};

/* Writes row[count]. jsonl (and csv with NO_HEADER) may be called a row at a time. ZEB_ERR_IO when out can't be
 * written, ZEB_ERR_ARGUMENT for html. */
ZEB_MUST_CHECK zeb_status zeb_rows_write(FILE *out, zeb_row_format format, unsigned options, const zeb_row *const *row,
                                         size_t count, zeb_error *error);

#endif
