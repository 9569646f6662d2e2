/* store/row.h - a row: everything that one case produced, as a flat record that run/ fills and store/ keeps.
 *
 * A zeroed zeb_row is a row of which nothing is known yet. What is not known stays zeroed: text "" and pointers NULL
 * mean unknown, numbers that may be unknown are zeb_maybe_* (use zeb_u64(), zeb_i64(), zeb_f64()), and all of these
 * become NULL in the database and null in JSON - never 0. A double that is not finite is treated as unknown.
 *
 * Ownership: short text lies in the row; pointers belong to the caller and must live until the call that takes the row
 * returns. Rows that store/ hands out live in the arena that the caller gave. Text is UTF-8. Not tied to a thread.
 * Units are in the names: _ns nanoseconds, _uj microjoules, _ug micrograms of CO2-equivalent. */
#ifndef ZEB_STORE_ROW_H
#define ZEB_STORE_ROW_H

#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The jsonl contract and the database share this number; it is also PRAGMA user_version. */
enum { ZEB_SCHEMA = 6 };

enum { ZEB_ROW_NAME_MAX = 64, ZEB_ROW_TEXT_MAX = 256, ZEB_ROW_REASON_MAX = 512, ZEB_ROW_HASH_MAX = 65 };

/* ---- numbers that may be unknown ------------------------------------------------------------------------------ */

typedef struct zeb_maybe_u64 {
    bool has;
    uint64_t value; /* stored as a signed 64-bit integer: at most INT64_MAX */
} zeb_maybe_u64;

typedef struct zeb_maybe_i64 {
    bool has;
    int64_t value;
} zeb_maybe_i64;

typedef struct zeb_maybe_f64 {
    bool has;
    double value;
} zeb_maybe_f64;

static inline zeb_maybe_u64 zeb_u64(uint64_t value) {
    return (zeb_maybe_u64){.has = true, .value = value};
}

static inline zeb_maybe_i64 zeb_i64(int64_t value) {
    return (zeb_maybe_i64){.has = true, .value = value};
}

/* For sources that say 0 when they do not know (0 threads, 0 bytes): 0 becomes unknown. */
static inline zeb_maybe_u64 zeb_u64_nonzero(uint64_t value) {
    return (zeb_maybe_u64){.has = value != 0, .value = value};
}

static inline zeb_maybe_i64 zeb_i64_nonzero(int64_t value) {
    return (zeb_maybe_i64){.has = value != 0, .value = value};
}

/* NaN and infinities become unknown. */
static inline zeb_maybe_f64 zeb_f64(double value) {
    return (zeb_maybe_f64){.has = isfinite(value) != 0, .value = isfinite(value) ? value : 0.0};
}

/* ---- parts ---------------------------------------------------------------------------------------------------- */

/* What became of a case. 0 is no verdict: such a row is refused. */
typedef enum zeb_outcome {
    ZEB_OUTCOME_NONE = 0,
    ZEB_OUTCOME_OK = 1,          /* measured; n > 0 */
    ZEB_OUTCOME_UNSUPPORTED = 2, /* the device can't do these nodes: reason names them */
    ZEB_OUTCOME_FAILED = 3,      /* an error was reported: reason is its sentence */
    ZEB_OUTCOME_CRASHED = 4,     /* the worker died: signal_number or exit_code, last_words */
    ZEB_OUTCOME_TIMEOUT = 5,     /* the worker was stopped at its time limit */
    ZEB_OUTCOME_INVALID = 6,     /* measured, but a rule of the method was broken: reason names the rule */
    ZEB_OUTCOME_INTERRUPTED = 7  /* the user stopped it; what was measured is kept */
} zeb_outcome;
/* Every outcome but ok needs a reason. */

/* "ok", "unsupported", ..., "" for none; never NULL. */
const char *zeb_outcome_name(zeb_outcome outcome);

/* The outcome of a name, ZEB_OUTCOME_NONE for an unknown one. */
zeb_outcome zeb_outcome_find(const char *name);

/* Settings as asked and as they took effect: two of these in a row, never one stored as the other. 0 threads, batch,
 * seq_max or limit is refused: what was not asked or is not known is unknown (zeb_i64_nonzero). */
typedef struct zeb_row_settings {
    zeb_maybe_i64 threads;
    zeb_maybe_i64 pinned; /* 0 or 1 */
    zeb_maybe_i64 batch;
    zeb_maybe_i64 seq_max;      /* tokens a sequence, at most */
    zeb_maybe_i64 limit;        /* examples, at most; unknown: all */
    zeb_maybe_f64 target_ci;    /* relative half-width of the median's 95 % interval: 0.01 */
    zeb_maybe_u64 max_time_ns;  /* cap on sampling */
    zeb_maybe_u64 timeout_ns;   /* limit of the worker */
    zeb_maybe_u64 warmup;       /* passes before sampling */
    char isa[ZEB_ROW_NAME_MAX]; /* "avx2" */
    char precision[ZEB_ROW_NAME_MAX];
    char note[ZEB_ROW_TEXT_MAX]; /* anything else, "key=value key=value" */
    /* as asked alone: what took effect is named by the row */
    const char *device; /* "cpu", "opencl:0" */
    const char *policy; /* full path, or "dense" */
    const char *data;   /* full path of the root of the data sets */
    zeb_maybe_i64 tune; /* 0 or 1 */
} zeb_row_settings;

/* One score. Not defined (one class only, ...): value, lo and hi are unknown and method says why. metric[0] is the
 * headline. */
typedef struct zeb_row_metric {
    char name[32];
    bool defined;
    zeb_maybe_f64 value;
    zeb_maybe_f64 lo, hi; /* 95 % interval */
    char method[32];      /* of the interval: "wilson", "fisher-z", "bootstrap" */
} zeb_row_metric;

/* A value with its distribution-free 95 % interval, ns. */
typedef struct zeb_row_quantile {
    zeb_maybe_f64 value;
    zeb_maybe_f64 lo, hi; /* unknown when the samples are too few for one */
} zeb_row_quantile;

/* The distribution of one timed pass, ns. */
typedef struct zeb_row_latency {
    zeb_row_quantile p50, p90, p95, p99;
    zeb_maybe_f64 mean, mad, min, max;
    zeb_maybe_f64 first; /* the first pass after compile: not among the samples */
} zeb_row_latency;

/* One bucket of a latency histogram; buckets are in rising order and do not overlap. */
typedef struct zeb_row_bucket {
    uint64_t lo_ns, hi_ns; /* lo <= x < hi */
    uint64_t count;
} zeb_row_bucket;

typedef enum zeb_row_energy_kind { ZEB_ROW_ENERGY_MEASURED = 1, ZEB_ROW_ENERGY_ESTIMATED = 2 } zeb_row_energy_kind;

/* Energy of one channel (a RAPL domain, a rail) over the row's window. */
typedef struct zeb_row_channel {
    char source[ZEB_ROW_NAME_MAX]; /* "powercap" */
    char name[ZEB_ROW_NAME_MAX];   /* "package-0" */
    char domain[ZEB_ROW_NAME_MAX]; /* "package", a rail's label */
    char kind[16];                 /* "counter", "power", "estimate", "temperature" */
    bool counted;                  /* part of the total (psys, mirrors and children are not) */
    bool valid;
    char reason[ZEB_ROW_TEXT_MAX]; /* why not valid */
    zeb_maybe_i64 gross_uj, idle_uj, net_uj;
    zeb_maybe_f64 resolution_uj;
    zeb_maybe_u64 samples, gaps;
} zeb_row_channel;

/* Energy of the measured window. known false: no sensor and no estimate - all numbers unknown, reason may say why.
 * known but not valid: a rule was broken (reason: "window too short"); numbers must then be unknown too. */
typedef struct zeb_row_energy {
    bool known, valid;
    zeb_row_energy_kind kind;
    char source[ZEB_ROW_NAME_MAX]; /* "powercap", "tdp", ... */
    char reason[ZEB_ROW_TEXT_MAX];
    char note[ZEB_ROW_TEXT_MAX]; /* what to know of the total: "dram never moves: not metered, left out" */
    zeb_maybe_i64 gross_uj, idle_uj, net_uj;
    zeb_maybe_f64 idle_watts, idle_drift; /* drift: relative change of idle power, after against before */
    zeb_maybe_u64 window_ns, samples, gaps;
    zeb_maybe_u64 examples; /* sequences that were processed in the window: gross / examples is energy a query */
    const zeb_row_channel *channel;
    size_t channel_count;
} zeb_row_energy;

/* Grams of CO2-equivalent of the gross energy, in micrograms, and where the intensity came from. */
typedef struct zeb_row_carbon {
    zeb_maybe_u64 co2_ug;
    zeb_maybe_f64 intensity_g_per_kwh;
    zeb_maybe_i64 year;
    zeb_maybe_f64 pue;
    char source[ZEB_ROW_TEXT_MAX];
    char place[ZEB_ROW_NAME_MAX]; /* "FRA", "world" */
} zeb_row_carbon;

/* Rows (tokens) a layer kept of what came in, averaged over the data set. */
typedef struct zeb_row_kept {
    int32_t layer;
    zeb_maybe_f64 tokens_in, tokens_kept; /* sums over all sequences */
    zeb_maybe_f64 heads_kept;             /* mean heads computed */
    zeb_maybe_f64 exits;                  /* share of all sequences that left behind the layer */
    zeb_maybe_f64 blocks_open;            /* share of its rows' blocks of FFN neurons that were not closed */
    zeb_maybe_f64 blocks_done;            /* share of them that the device multiplied; unknown where it does not say */
    zeb_maybe_f64 tokens_share_sd;        /* over sequences: share of its own tokens that a sequence has left */
    zeb_maybe_f64 heads_kept_sd;          /* over sequences */
} zeb_row_kept;

/* ---- the row -------------------------------------------------------------------------------------------------- */

typedef struct zeb_row {
    /* verdict */
    zeb_outcome outcome;
    char reason[ZEB_ROW_REASON_MAX];
    zeb_maybe_i64 signal_number; /* of a crashed worker: 11 */
    zeb_maybe_i64 exit_code;
    const char *last_words; /* the end of the worker's stderr */

    /* model */
    char model[ZEB_ROW_NAME_MAX];      /* required */
    const char *model_path;            /* as asked, in full */
    char model_hash[ZEB_ROW_HASH_MAX]; /* sha256 */
    char model_dtype[32];
    char family[32];
    zeb_maybe_u64 parameters;

    /* task */
    char task[ZEB_ROW_NAME_MAX]; /* required: "glue/sst2" */
    zeb_maybe_i64 task_version;
    char split[32];
    char data_hash[ZEB_ROW_HASH_MAX];
    zeb_maybe_u64 rows_read, rows_skipped, rows_truncated;

    /* device */
    char backend[ZEB_ROW_NAME_MAX]; /* required: the plugin's name */
    char backend_version[ZEB_ROW_NAME_MAX];
    char device[ZEB_ROW_NAME_MAX]; /* the device's id in its plugin */
    char device_name[ZEB_ROW_TEXT_MAX];
    char driver[ZEB_ROW_TEXT_MAX];

    /* how */
    char precision[ZEB_ROW_NAME_MAX];
    char policy[ZEB_ROW_NAME_MAX]; /* required: "dense" for none */
    char policy_hash[ZEB_ROW_HASH_MAX];
    char scenario[ZEB_ROW_NAME_MAX]; /* required: "single", "offline" */
    zeb_row_settings requested, effective;
    zeb_maybe_u64 seed, order_seed; /* of everything; of the order of examples where it has its own */

    /* scores */
    uint64_t examples; /* scored examples */
    const zeb_row_metric *metric;
    size_t metric_count;
    const char *predictions_path;

    /* time */
    uint64_t n; /* latency samples (timed passes); > 0 in an ok row */
    zeb_row_latency latency;
    const uint64_t *sample_ns; /* n of them in the order taken; NULL when not kept */
    size_t sample_count;
    const zeb_row_bucket *bucket; /* instead of samples past 100,000 */
    size_t bucket_count;
    zeb_maybe_f64 throughput_per_s; /* sequences a second */
    bool capped;                    /* the time cap ended sampling before the target interval was reached */
    zeb_maybe_f64 ci_reached;       /* relative half-width of the median's interval at the end */
    zeb_maybe_u64 startup_ns;       /* worker start to first inference done */
    zeb_maybe_u64 compile_ns;

    /* work */
    zeb_maybe_f64 flops_dense, flops_executed; /* of all timed sequences once */
    zeb_maybe_f64 bytes_dense, bytes_executed;
    zeb_maybe_f64 flops_saved, time_saved; /* shares of the dense case's, where the same run has it */
    zeb_maybe_u64 tokens;                  /* tokens that went into the first layer */
    const zeb_row_kept *kept;
    size_t kept_count;
    /* what the device's measured peaks allow this work at most (store/peak.h); unknown without peaks */
    zeb_maybe_f64 bound_flops_per_s;
    char bound_by[ZEB_ROW_NAME_MAX]; /* "fp32", "L3", ... */
    zeb_maybe_f64 bound_share;       /* of the bound, that was reached */
    char skip_mode[16];              /* "exact", "indirect", "bounded"; "" where nothing is skipped or unknown */

    /* memory */
    zeb_maybe_u64 peak_rss_bytes;
    zeb_maybe_u64 device_memory_bytes;

    zeb_row_energy energy;
    zeb_row_carbon carbon;

    const char *const *flag; /* "outliers", "governor-not-fixed", "foreign-load", ... */
    size_t flag_count;

    char started_utc[24]; /* "2026-11-23T21:00:00Z" */
    zeb_maybe_u64 duration_ns;
} zeb_row;

/* Names the flags that say what kept the row's device from working undisturbed, as "foreign-load, steal-time", cut to
 * capacity; false where nothing did. */
bool zeb_row_disturbances(const zeb_row *row, char *text, size_t capacity);

/* ---- the run -------------------------------------------------------------------------------------------------- */

/* One invocation of zeb: provenance shared by its rows. NULL is unknown, except for what is marked required. The
 * strings are the caller's. */
typedef struct zeb_run_info {
    const char *zeb_version; /* required */
    const char *zeb_commit;
    const char *compiler;
    const char *build_flags;
    const char *host;
    const char *os;
    const char *kernel;
    const char *cpu_model;
    const char *cpu_flags;
    const char *governor;
    zeb_maybe_i64 cpu_count; /* processors this process may use */
    zeb_maybe_u64 memory_bytes;
    const char *started_utc; /* required */
    const char *const *argv; /* required */
    size_t argc;
} zeb_run_info;

#endif
