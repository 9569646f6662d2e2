/* run/calibrate_search.h - private to calibrate.c and calibrate_search.c: the search for a policy over an open slice.
 */
#ifndef ZEB_RUN_CALIBRATE_SEARCH_H
#define ZEB_RUN_CALIBRATE_SEARCH_H

#include "run/calibrate.h"
#include "run/session.h"

/* What one run over the slice gave. */
typedef struct zeb_trial {
    zeb_calibration_shape shape;
    zeb_select tokens[ZEB_CALIBRATION_LAYERS_MAX];
    int32_t heads[ZEB_CALIBRATION_LAYERS_MAX]; /* 0: all */
    double kept[ZEB_CALIBRATION_LAYERS_MAX];   /* rows */
    double flops;
    double moved; /* mean squared difference of the logits from the dense ones */
    zeb_metric metric;
} zeb_trial;

typedef struct zeb_search {
    const zeb_calibration_options *options;
    zeb_case what; /* of the session: the options', without the limit */
    const zeb_registry *registry;
    zeb_shared *shared;
    zeb_session session;
    zeb_arena *arena;
    uint64_t tokens;
    int32_t longest;
    double dense_flops;
    zeb_metric dense;
    float *logits;                                 /* [examples, labels] */
    float *whole;                                  /* likewise, of the dense run */
    float *importance[ZEB_CALIBRATION_LAYERS_MAX]; /* [tokens] each: of the rows that entered the layer */
    size_t rows[ZEB_CALIBRATION_LAYERS_MAX];       /* how many of them */
    zeb_prediction *prediction;                    /* [examples] */
    zeb_error *error;
} zeb_search;

/* Runs the slice under the plan that is there. watch: collects importance instead of scores and work (t may be NULL).
 * ZEB_ERR_INTERRUPTED after a stop, ZEB_ERR_RANGE for logits that are not finite. */
ZEB_MUST_CHECK zeb_status zeb_search_sweep(zeb_search *s, bool watch, zeb_trial *t);

/* Tries the shapes that are asked for; the best trial of all is in *best. dense_flops and dense are known before. */
ZEB_MUST_CHECK zeb_status zeb_search_shapes(zeb_search *s, zeb_trial *best);

/* Runs the slice under the trial's tokens and heads. */
ZEB_MUST_CHECK zeb_status zeb_search_measure(zeb_search *s, zeb_trial *t);

/* The search for heads (calibrate_heads.c); *best likewise. */
ZEB_MUST_CHECK zeb_status zeb_search_heads(zeb_search *s, zeb_trial *best);

/* Is the trial within 1 % of the wanted share (heads: or below), or within the budget? */
bool zeb_search_reached(const zeb_search *s, const zeb_trial *t);

#endif
