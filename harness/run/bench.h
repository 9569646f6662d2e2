/* run/bench.h - cases in, rows out: each case in a worker of its own, whatever becomes of it. */
#ifndef ZEB_RUN_BENCH_H
#define ZEB_RUN_BENCH_H

#include <signal.h>
#include <stddef.h>

#include "base/log.h"
#include "graph/precision.h"
#include "plugins/registry.h"
#include "run/worker.h"
#include "store/row.h"
#include "store/timing.h"
#include "zeb/bench.h"

/* What the worker is at, for progress. */
typedef enum zeb_stage {
    ZEB_STAGE_START = 0,
    ZEB_STAGE_OPEN, /* model, data, device, compile */
    ZEB_STAGE_IDLE, /* idle power before or after */
    ZEB_STAGE_WARM_UP,
    ZEB_STAGE_MEASURE,
    ZEB_STAGE_SCORE
} zeb_stage;

/* zeb_precision_names and "auto": the fastest in every layer of those whose scores are that of fp32 within half a
 * point. */
extern const char *const zeb_precision_choices[];
enum { ZEB_PRECISIONS_AUTO = 1 << ZEB_PRECISION_F32 | 1 << ZEB_PRECISION_BF16 | 1 << ZEB_PRECISION_W8A8 };
/* Sets precision or precisions of the case as chosen. */
void zeb_precision_choose(zeb_case *what, const char *choice);

const char *zeb_stage_name(zeb_stage stage); /* "opening", "measuring", ... */

typedef struct zeb_bench {
    const zeb_registry *registry; /* opened before the first case; workers inherit it */
    const zeb_log *log;
    const zeb_stored_timing *timing; /* [timings]: cost tables, for cases that ask for tuning */
    size_t timings;
    const volatile sig_atomic_t *stop;
    FILE *predictions;            /* a line an example: index, label, prediction, scores; NULL: none */
    const char *predictions_path; /* of that file, from the root: rows name it */
    void (*on_progress)(const zeb_case *what, zeb_stage stage, uint64_t done, uint64_t total, void *user); /* or NULL */
    /* Takes the finished row before the next case starts; an error ends the run. */
    zeb_status (*on_row)(const zeb_case *what, const zeb_row *row, void *user, zeb_error *error);
    void *user;
} zeb_bench;

typedef struct zeb_bench_summary {
    size_t rows;
    size_t ok;
    size_t opened;    /* cases that got as far as a compiled plan */
    size_t unwritten; /* cases whose predictions could not be written */
} zeb_bench_summary;

/* Runs the cases in order until the end or until the user stops. ZEB_ERR_INTERRUPTED after a stop; otherwise no memory
 * for so many cases, or what on_row gives: what goes wrong in a case, no process for it too, is in its row. */
ZEB_MUST_CHECK zeb_status zeb_bench_run(const zeb_bench *bench, const zeb_case *cases, size_t count,
                                        zeb_bench_summary *summary, zeb_error *error);

#endif
