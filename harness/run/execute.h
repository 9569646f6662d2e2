/* run/execute.h - what the worker does with a case. */
#ifndef ZEB_RUN_EXECUTE_H
#define ZEB_RUN_EXECUTE_H

#include "plugins/registry.h"
#include "run/worker.h"
#include "store/row.h"
#include "store/timing.h"
#include "zeb/bench.h"

/* The worker's input. */
typedef struct zeb_assignment {
    const zeb_case *what;
    const zeb_registry *registry;
    const zeb_stored_timing *timing; /* [timings]: cost tables, where the case asks for tuning */
    size_t timings;
    uint64_t begin_ns; /* when the worker was asked for */
} zeb_assignment;

/* One scored example. */
typedef struct zeb_answer {
    int64_t index;     /* row of the data file */
    int32_t label;     /* gold; -1 unknown */
    int32_t predicted; /* the task's class; -1 for regression */
    double target;     /* gold of regression */
    double score;      /* regression: the prediction; else the winner's logit */
} zeb_answer;

/* The worker's result, in the shared arena. */
typedef struct zeb_outcome_record {
    zeb_row row;
    bool opened; /* a plan was compiled */
    const zeb_answer *answer;
    size_t answer_count;
    const float *logits; /* [answer_count, labels] */
    int32_t labels;
} zeb_outcome_record;

/* The body of a worker: input is a zeb_assignment; shared->result is a zeb_outcome_record that the caller has put
 * there, its row prefilled. */
ZEB_MUST_CHECK zeb_status zeb_execute(const void *input, zeb_shared *shared, zeb_error *error);

#endif
