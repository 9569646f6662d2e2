/* store/table.h - rows as tables for people. Private to the room. */
#ifndef ZEB_STORE_TABLE_H
#define ZEB_STORE_TABLE_H

#include <stdio.h>

#include "store/cells.h"

/* Aligned columns. What all rows have in common stands once, above. Reasons and remarks follow below. */
ZEB_MUST_CHECK zeb_status zeb_table_write(FILE *out, bool colour, const zeb_row *const *row, size_t count,
                                          zeb_error *error);

/* The same as a Markdown table, all columns. */
ZEB_MUST_CHECK zeb_status zeb_table_write_md(FILE *out, const zeb_row *const *row, size_t count, zeb_error *error);

#endif
