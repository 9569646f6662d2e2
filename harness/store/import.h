/* store/import.h - numbers that other tools measured, brought into the database beside zeb's own. */
#ifndef ZEB_STORE_IMPORT_H
#define ZEB_STORE_IMPORT_H

#include "store/store.h"

typedef struct zeb_import_counts {
    uint64_t imported; /* new lines, and those that were there, but not for this model */
    uint64_t known;    /* lines that the database had already: the same run and time, for this model */
} zeb_import_counts;

/* Reads an emissions.csv of CodeCarbon (columns found by their header; s, kg, kWh) into the table `training`, for the
 * model of that name (NULL: unknown), beside others that the same training made. All lines or none: ZEB_ERR_FORMAT
 * names the file and the line that is malformed. */
ZEB_MUST_CHECK zeb_status zeb_store_import_emissions(zeb_store *store, const char *csv_path, const char *model,
                                                     zeb_import_counts *counts, zeb_error *error);

/* Writes the table `training` as CSV with CodeCarbon's column names. */
ZEB_MUST_CHECK zeb_status zeb_store_export_emissions(zeb_store *store, FILE *out, zeb_error *error);

#endif
