/* store/report.h - a database as a page that people look at. Reads the database and nothing else.
 *
 * HTML is one self-contained file: styles, chart library and data are in it, and it asks the network for nothing.
 * Everywhere the newest row of each case is shown; HTML and JSON hold the older ones too (field `latest`), HTML without
 * their curves. */
#ifndef ZEB_STORE_REPORT_H
#define ZEB_STORE_REPORT_H

#include "store/format.h"

/* Writes the report of the database at path to out. JSON is {"schema", "zeb", "rows": [...], and one array a view of
 * reports/queries}. Errors as zeb_store_open_read; ZEB_ERR_IO when out can't be written. */
ZEB_MUST_CHECK zeb_status zeb_report_write(const char *database, zeb_row_format format, FILE *out, zeb_error *error);

/* The same to a file, which is replaced only when the whole report is written. */
ZEB_MUST_CHECK zeb_status zeb_report_save(const char *database, zeb_row_format format, const char *out_path,
                                          zeb_error *error);

#endif
