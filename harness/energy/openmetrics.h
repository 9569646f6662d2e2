/* energy/openmetrics.h - energy counters as OpenMetrics text (OpenMetrics 1.0.0), for Prometheus and its kin. */
#ifndef ZEB_ENERGY_OPENMETRICS_H
#define ZEB_ENERGY_OPENMETRICS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "zeb/status.h"

/* One sample of zeb_energy_joules_total. Only what is known is written: leave the rest out of the array. */
typedef struct zeb_openmetric {
    const char *device; /* "cpu:0", "cuda:0" */
    const char *domain; /* "package", "dram", "gpu" */
    const char *source; /* "powercap", "tdp" */
    bool estimated;     /* the label kind: "estimated" or "measured" */
    int64_t energy_uj;  /* >= 0 */
} zeb_openmetric;

/* Samples must differ in their labels. A whole exposition, from "# TYPE" to "# EOF". ZEB_ERR_ARGUMENT: a negative
 * energy. ZEB_ERR_IO: the stream's fault. */
ZEB_MUST_CHECK zeb_status zeb_openmetrics_write(FILE *stream, const zeb_openmetric *sample, size_t count,
                                                zeb_error *error);

#endif
