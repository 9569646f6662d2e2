/* run/predict.h - how long a pass would take under a policy that is not compiled, by the device's cost table.
 *
 * The rows of each layer come from examples that were run once under the policy that is: their lengths, and what each
 * layer kept of them. Where rows are chosen by their own importance, as many survive a layer as did then, if so many
 * still reach it; other rules are applied to what enters. */
#ifndef ZEB_RUN_PREDICT_H
#define ZEB_RUN_PREDICT_H

#include "run/costs.h"
#include "run/session.h"

enum { ZEB_KEPT_SAMPLES_MAX = 32 };

/* What one pass over some examples kept. */
typedef struct zeb_kept_sample {
    size_t sequences;
    int32_t *length; /* [sequences] */
    int32_t *kept;   /* [layers][sequences]; -1 where the layer selects nothing */
} zeb_kept_sample;

typedef struct zeb_predictor {
    const zeb_session *session;
    const zeb_costs *costs;
    zeb_kept_sample sample[ZEB_KEPT_SAMPLES_MAX];
    size_t samples;
} zeb_predictor;

/* Runs batches of examples spread evenly over the session's data, some 32 examples in all, untimed. */
ZEB_MUST_CHECK zeb_status zeb_predictor_open(zeb_session *session, const zeb_costs *costs, zeb_predictor *predictor,
                                             zeb_error *error);

/* A graph under a policy (NULL: dense), to be looked at. */
typedef struct zeb_variant {
    const zeb_policy *policy;
    zeb_builder *builder;
    const zeb_graph *graph;
    zeb_cost *cost;
} zeb_variant;

ZEB_MUST_CHECK zeb_status zeb_variant_open(const zeb_session *session, const zeb_graph *plain, const zeb_policy *policy,
                                           zeb_variant *variant, zeb_error *error);
void zeb_variant_close(zeb_variant *variant);

/* ns of all nodes over all samples; ZEB_ERR_NOT_FOUND where the table lacks one, ZEB_ERR_UNSUPPORTED for a policy whose
 * rows can't be foreseen. */
ZEB_MUST_CHECK zeb_status zeb_predict(const zeb_predictor *predictor, const zeb_variant *variant, double *ns,
                                      zeb_error *error);
/* ns over all samples of a node of the variant, as `node` changes it; *ns < 0 where the table lacks it. */
ZEB_MUST_CHECK zeb_status zeb_predict_node(const zeb_predictor *predictor, const zeb_variant *variant,
                                           const zeb_node *node, double *ns, zeb_error *error);

/* The error of a table that lacks a node: how to make it. */
ZEB_MUST_CHECK zeb_status zeb_predict_unknown(const zeb_graph *graph, const zeb_node *node, zeb_error *error);

#endif
