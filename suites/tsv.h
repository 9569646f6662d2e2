/* suites/tsv.h - lines and tab-separated fields of a text in memory. No quoting: a quotation mark is a character. */
#ifndef ZEB_SUITES_TSV_H
#define ZEB_SUITES_TSV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { ZEB_TSV_FIELDS_MAX = 64, ZEB_TSV_LINE_MAX = 1 << 20, ZEB_TSV_PROBLEM_MAX = 128 };

/* A cursor over text[size], which the caller owns, may write to, and has ended with text[size] = 0. */
typedef struct zeb_tsv {
    char *text;
    size_t size, at;
    uint64_t line; /* of the line read last, from 1 */
} zeb_tsv;

typedef struct zeb_tsv_row {
    char *field[ZEB_TSV_FIELDS_MAX]; /* in the cursor's text, NUL-terminated */
    size_t length[ZEB_TSV_FIELDS_MAX];
    size_t fields;                     /* 0 when the line is malformed */
    char problem[ZEB_TSV_PROBLEM_MAX]; /* "" or why the line is malformed: empty, too long, not UTF-8, a NUL byte, too
                                          many fields */
} zeb_tsv_row;

/* Starts at the beginning, after a UTF-8 byte order mark if there is one. */
void zeb_tsv_start(zeb_tsv *cursor, char *text, size_t size);

/* The next line without its end, in the cursor's text and NUL-terminated where it is well formed; false after the last.
 * problem[ZEB_TSV_PROBLEM_MAX] is "" or why the line can be no row. */
bool zeb_tsv_line(zeb_tsv *cursor, char **line, size_t *length, char *problem);

/* Reads one line, ended by LF, CR LF or the end of the text; false after the last. A final line end starts no line.
 * Tabs and line ends are overwritten by NUL. */
bool zeb_tsv_next(zeb_tsv *cursor, zeb_tsv_row *row);

#endif
