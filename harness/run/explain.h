/* run/explain.h - where a pass spends its time: the stages of a compiled plan, what the roofline says each needs at
 * least, and what each took.
 *
 * The nodes of the graph are divided among the stages that the device's profile names: the kernels of one node are one
 * stage, a node that no stage claims was fused into the one before it. A node needs at least max(FLOPs / ceiling, bytes
 * / bandwidth of the level that holds them, weights / bandwidth of the level that holds the whole pass), weights as
 * small as the precision allows; ceilings and bandwidths are measured peaks (store/peak.h). Examples of the data set
 * are run one batch a pass, each several times; of these the median counts, and figures are means over the batches.
 *
 * What a stage is predicted to take is the sum over its nodes of what the device's cost table (run/costs.h) says of
 * their rows. What the table lacks is measured first, and handed back to be stored. */
#ifndef ZEB_RUN_EXPLAIN_H
#define ZEB_RUN_EXPLAIN_H

#include "plugins/registry.h"
#include "run/costs_measure.h"
#include "run/worker.h"
#include "store/peak.h"
#include "zeb/bench.h"

enum { ZEB_EXPLAIN_LINES_MAX = 1024 };

typedef struct zeb_explain_line {
    char name[ZEB_NAME_MAX]; /* of the stage, or of the node where there is no profile */
    char op[16];             /* of its first node; "" for copies and waits */
    uint32_t nodes;          /* of the graph, that it computes; 0 for copies and waits */
    double rows;             /* live rows of its last node's result */
    double flops, bytes;
    double least_ns;     /* < 0: the device's peaks are not known */
    double took_ns;      /* < 0: the device gives no profile */
    double predicted_ns; /* < 0: no table, or a node that the device does not do alone */
    bool waits;          /* the host waited for what other lines tell: no part of the sum */
} zeb_explain_line;

typedef struct zeb_explanation {
    zeb_row row; /* device, settings, policy: what opening the case has told */
    bool profiled;
    bool tuned;                            /* as the case asked: row.effective says how */
    bool measurable;                       /* the device can measure its peaks */
    uint32_t passes;                       /* batches that were run, each several times */
    double tokens;                         /* into the first layer */
    double pass_ns;                        /* the whole pass, transfers included, without profiling */
    double flops, bytes;                   /* executed */
    double flops_dense;                    /* of the model's graph */
    double pass_predicted_ns;              /* < 0: as above */
    char fingerprint[ZEB_FINGERPRINT_MAX]; /* of the cost table; "" without one */
    char costs[13];                        /* its hash */
    zeb_costs_made made;                   /* of it, what was measured now */
    uint32_t choices;
    zeb_choice choice[ZEB_CHOICES_MAX]; /* of the device, as it holds them */
    uint32_t lines;
    zeb_explain_line line[ZEB_EXPLAIN_LINES_MAX];
} zeb_explanation;

typedef struct zeb_explain_options {
    zeb_case what;
    const zeb_registry *registry;
    const zeb_stored_peak *peak; /* [peaks], may be none */
    size_t peaks;
    bool predict;                    /* from the cost table, measuring what it lacks */
    const zeb_stored_timing *timing; /* [timings]: tables of any devices, may be none */
    size_t timings;
} zeb_explain_options;

/* What a progress callback finds in shared->stage; while the table is measured, shared->done counts kinds of nodes. */
typedef enum zeb_explain_stage { ZEB_EXPLAIN_OPEN = 0, ZEB_EXPLAIN_MEASURE, ZEB_EXPLAIN_RUN } zeb_explain_stage;

/* Opens and runs the case in a worker process. result is large: not for the stack. Errors as those of opening a case;
 * ZEB_ERR_DEVICE when the worker died. */
ZEB_MUST_CHECK zeb_status zeb_explain(const zeb_explain_options *options, const zeb_worker_watch *watch,
                                      zeb_explanation *result, zeb_error *error);

#endif
