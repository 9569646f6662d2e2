/* zeb/bench.h - running cases from a program of one's own: what libzeb offers beside the plugin boundary.
 *
 * A case is model x policy x task x device x scenario x settings: the unit that is run, isolated and stored. Each runs
 * in a worker process forked from the caller, which therefore must have no threads of its own at that time. Rows come
 * back as JSON, an object a row, in the fields that 'zeb run --format jsonl' prints. Link with -lzeb (pkg-config zeb).
 */
#ifndef ZEB_BENCH_H
#define ZEB_BENCH_H

#include <stdbool.h>
#include <stdint.h>

#include "zeb/graph.h"
#include "zeb/status.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum zeb_scenario {
    ZEB_SCENARIO_SINGLE = 1, /* one sequence a pass; every latency is one query */
    ZEB_SCENARIO_OFFLINE = 2 /* ragged batches of up to `batch` sequences; throughput */
} zeb_scenario;

/* What is asked for. Text belongs to the caller and outlives the run. 0, NULL and "" leave the choice to zeb. */
typedef struct zeb_case {
    const char *model;  /* Hugging Face folder, or a card.json that names one */
    const char *task;   /* "glue/sst2" */
    const char *data;   /* root folder of data sets */
    const char *split;  /* "dev" */
    const char *device; /* plugin, or plugin:device-id */
    const char *policy; /* policy.json, or NULL: dense */
    const char *isa;
    zeb_scenario scenario;
    zeb_precision precision;
    uint32_t threads;
    bool pin;
    uint32_t batch;       /* sequences a pass, offline */
    uint32_t seq_max;     /* tokens a sequence; longer ones are truncated */
    uint64_t limit;       /* examples; 0: the whole split */
    double target_ci;     /* half-width of the median's 95 % interval, as a share of it */
    uint64_t max_time_ns; /* cap on the measured time */
    uint64_t timeout_ns;  /* the worker is killed after this */
    uint64_t idle_ns;     /* idle measurement before and after, where a sensor is found */
    uint64_t seed;
    double tdp_watts;        /* for an estimate where no sensor is found; 0: no estimate */
    double carbon_g_per_kwh; /* < 0: from the tables */
    double pue;
    const char *country; /* ISO3 or NULL */
    const char *region;  /* of the country, as the tables name it ("quebec"), or NULL. A place that they do not have is
                            the next wider one that they have: the row's place says which. */
    const char *sensor;  /* plugin name, NULL: the first that is found, "none" */
    const char *sensor_root;
    /* By the device's cost table (zeb explain measures it): */
    uint32_t precisions; /* 1 << zeb_precision: the fastest of these in every layer, instead of `precision`; 0: that */
    bool tune;           /* drop selections that do not pay, keep more rows where that is free */
} zeb_case;

/* A case with every default set: the scenario single, fp32, dense, 128 tokens, 1 %, 60 s. model, task, data, split and
 * device are still to be named. */
zeb_case zeb_case_default(void);

/* Takes a finished row; anything but ZEB_OK ends the run. json lives until the call returns. */
typedef zeb_status (*zeb_row_taker)(const char *json, void *user, zeb_error *error);

/* Runs cases[count] in order with the plugins of the folders. What goes wrong in a case is its row's verdict; errors
 * are those of zeb itself. */
ZEB_MUST_CHECK zeb_status zeb_cases_run(const char *const *plugin_folders, size_t folder_count, const zeb_case *cases,
                                        size_t count, zeb_row_taker take, void *user, zeb_error *error);

/* "0.1.0" */
const char *zeb_version(void);

#ifdef __cplusplus
}
#endif

#endif
