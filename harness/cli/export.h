/* cli/export.h - what rows drew, for other tools: CodeCarbon's emissions.csv and OpenMetrics. */
#ifndef ZEB_CLI_EXPORT_H
#define ZEB_CLI_EXPORT_H

#include "store/store.h"

/* Both write every row of the database that has energy, older ones and those of unfinished cases too: it was drawn.
 * Rows without energy are left out. Errors as zeb_store_rows; ZEB_ERR_IO is the stream's fault. */

/* A line a row. The timestamp is when the case began, in UTC; duration and energy are those of the measured window, by
 * CodeCarbon's rule with the site's PUE in the energies and not in the powers. The project is "zeb", and "zeb-estimate"
 * where the energy is an estimate, so that no sum over a project mixes the two. */
ZEB_MUST_CHECK zeb_status zeb_export_codecarbon(zeb_store *store, FILE *out, zeb_error *error);

/* Sums over the rows: a counter for each device, domain and source. */
ZEB_MUST_CHECK zeb_status zeb_export_openmetrics(zeb_store *store, FILE *out, zeb_error *error);

#endif
