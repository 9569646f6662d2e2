/* run/calibrate.h - training-free sparsity policies: which rows each layer drops, so that the executed work is a wanted
 * share of the dense work, or as little as an accuracy budget allows.
 *
 * One number r in (0,1] makes a policy: ratio mode keeps the share r of the rows that enter each layer; top-k mode
 * keeps round(N r^(l+1)) rows in layer l, N the longest sequence; threshold mode measures the importance of every row
 * that enters a layer (relative mode: times the rows of its sequence) while the ratio policy of the same r runs, and
 * takes as the layer's threshold the value that the share r of them reaches. The last layer computes [CLS] alone and
 * drops nothing. r is found by bisection, and every trial is run: shares come from the counts that the device reports,
 * not from a formula. All of it sees the calibration slice of train (run/slice.h) and nothing else.
 *
 * Or layers keep the heads that gave most in the layers before (mode NONE): from all heads on, that step is taken, one
 * head less in a layer and no more than that in those behind it, which moves the logits least for the work that it
 * saves, until the work is no more than wanted, or no step stays within the budget.
 *
 * The share is FLOPs executed (graph/cost.h) over those of the dense graph with the exact [CLS]-only last layer,
 * without padding in either. */
#ifndef ZEB_RUN_CALIBRATE_H
#define ZEB_RUN_CALIBRATE_H

#include "plugins/registry.h"
#include "run/worker.h"
#include "suites/metric.h"
#include "zeb/bench.h"

typedef enum zeb_calibration_shape {
    ZEB_SHAPE_BEST = 0, /* all three are tried */
    ZEB_SHAPE_EVEN,
    ZEB_SHAPE_EARLY,
    ZEB_SHAPE_LATE
} zeb_calibration_shape;

const char *zeb_calibration_shape_name(zeb_calibration_shape shape); /* "even" */

typedef struct zeb_calibration_options {
    /* model, task, data, split (train), device, precision, threads, pin, isa, batch, seq_max, limit (examples of the
     * slice, spread evenly; 0: all), timeout_ns and seed are read. */
    zeb_case what;
    double flops;         /* wanted share in (0,1); 0: as max_drop allows */
    double max_drop;      /* the headline metric may fall by this on the slice (0.01); used when flops is 0 */
    zeb_select_mode mode; /* any but FIRST; NONE: heads are dropped, not rows */
    zeb_calibration_shape shape;
    int32_t floor;       /* rows that always survive, >= 1 */
    bool keep_last;      /* the last row ([SEP]) always survives */
    double share;        /* of train that is the slice */
    int32_t min_tokens;  /* shorter examples of the slice are left out; 0: none are */
    const char *name;    /* of the policy */
    const char *made_by; /* program and version, for the provenance */
} zeb_calibration_options;

enum { ZEB_CALIBRATION_LAYERS_MAX = 256 };

typedef struct zeb_calibration {
    int32_t layers;
    zeb_select tokens[ZEB_CALIBRATION_LAYERS_MAX]; /* mode NONE: the layer drops nothing */
    double kept[ZEB_CALIBRATION_LAYERS_MAX];       /* rows that survive the layer, as a share of the tokens */
    int32_t heads[ZEB_CALIBRATION_LAYERS_MAX];     /* that the layer keeps; 0: all run */
    double flops_dense, flops_executed;            /* over the slice */
    zeb_metric dense, sparse;                      /* the headline on the slice */
    zeb_calibration_shape shape;                   /* that won */
    bool reached;                                  /* within 1 % of the wanted share (heads: or less), or the budget */
    uint32_t trials;
    uint64_t examples, rows, truncated; /* rows: tokens of all examples */
    uint64_t rows_skipped;              /* of the file: could not be read */
    char model[ZEB_NAME_MAX], model_hash[65], data_hash[65], device[ZEB_NAME_MAX];
} zeb_calibration;

/* What a progress callback finds in shared->stage. */
typedef enum zeb_calibration_stage {
    ZEB_CALIBRATION_OPEN = 0,
    ZEB_CALIBRATION_DENSE,
    ZEB_CALIBRATION_TRY
} zeb_calibration_stage;

/* Searches in a worker process, watched as given (stop, progress). ZEB_ERR_ARGUMENT for a split other than train or
 * options out of range, ZEB_ERR_RANGE when not even the strongest policy is within the wanted share,
 * ZEB_ERR_INTERRUPTED, ZEB_ERR_DEVICE when the worker died; else what opening a case gives. */
ZEB_MUST_CHECK zeb_status zeb_calibrate(const zeb_calibration_options *options, const zeb_registry *registry,
                                        const zeb_worker_watch *watch, zeb_calibration *result, zeb_error *error);

/* Writes policy.json (docs/formats/policy.md) in one go: the file is there whole or not at all. */
ZEB_MUST_CHECK zeb_status zeb_calibration_write(const zeb_calibration_options *options,
                                                const zeb_calibration *calibration, const char *path, zeb_error *error);

#endif
