/* energy/codecarbon.h - rows of CodeCarbon's emissions.csv, for tools that read that file.
 *
 * Field order and units are CodeCarbon 3's: seconds, kg, kg/s, W, kWh, L, GB. What is not known is an empty field. */
#ifndef ZEB_ENERGY_CODECARBON_H
#define ZEB_ENERGY_CODECARBON_H

#include "zeb/status.h"

/* NaN in a number and NULL in a text are "not known". Nothing is kept. */
typedef struct zeb_codecarbon {
    const char *timestamp; /* "2026-11-23T21:00:00" */
    const char *project_name, *run_id, *experiment_id;
    double duration;                           /* s */
    double emissions;                          /* kg CO2e */
    double cpu_power, gpu_power, ram_power;    /* W, mean */
    double cpu_energy, gpu_energy, ram_energy; /* kWh */
    double energy_consumed;                    /* kWh */
    double water_consumed;                     /* L */
    const char *country_name, *country_iso_code, *region, *cloud_provider, *cloud_region, *os;
    const char *python_version;     /* of what ran the model: empty for zeb */
    const char *codecarbon_version; /* of what wrote the row: "zeb 0.1.0" */
    double cpu_count;
    const char *cpu_model;
    double gpu_count;
    const char *gpu_model;
    double longitude, latitude, ram_total_size; /* GB */
    const char *tracking_mode;                  /* "machine" or "process" */
    double cpu_utilization_percent, gpu_utilization_percent, ram_utilization_percent, ram_used_gb;
    const char *on_cloud; /* "Y" or "N" */
    double pue, wue;
} zeb_codecarbon;

/* Every number not known, every text NULL. */
void zeb_codecarbon_clear(zeb_codecarbon *row);

/* emissions_rate is computed: emissions / duration, not known unless both are and the duration is positive. Numbers are
 * written with a point whatever the locale. ZEB_ERR_IO names the stream's fault. */
ZEB_MUST_CHECK zeb_status zeb_codecarbon_header(FILE *stream, zeb_error *error);
ZEB_MUST_CHECK zeb_status zeb_codecarbon_write(FILE *stream, const zeb_codecarbon *row, zeb_error *error);

#endif
