/* run/case.h - a case: model x policy x task x device x scenario x settings, the unit that is run, isolated and stored. */
#ifndef ZEB_RUN_CASE_H
#define ZEB_RUN_CASE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/log.h"
#include "zeb/graph.h"

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
    uint32_t batch;          /* sequences a pass, offline */
    uint32_t seq_max;        /* tokens a sequence; longer ones are truncated */
    uint64_t limit;          /* examples; 0: the whole split */
    double target_ci;        /* half-width of the median's 95 % interval, as a share of it */
    uint64_t max_time_ns;    /* cap on the measured time */
    uint64_t timeout_ns;     /* the worker is killed after this */
    uint64_t idle_ns;        /* idle measurement before and after, where a sensor is found */
    uint64_t seed;
    double tdp_watts;        /* for an estimate where no sensor is found; 0: the device's own, or no estimate */
    double carbon_g_per_kwh; /* < 0: from the tables */
    double pue;
    const char *country; /* ISO3 or NULL */
    const char *sensor;  /* plugin name, NULL: the first that is found, "none" */
    const char *sensor_root;
} zeb_case;

#endif
