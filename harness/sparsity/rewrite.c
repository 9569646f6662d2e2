#include "sparsity/rewrite.h"

#include "sparsity/rules.h"

zeb_status zeb_rewrite_cls_only(const zeb_graph *graph, zeb_builder *builder, zeb_error *error) {
    return zeb_replay(graph, NULL, NULL, NULL, builder, error);
}

zeb_status zeb_policy_apply(const zeb_policy *policy, const zeb_graph *graph, zeb_policy_weight_fn *find, void *context,
                            zeb_builder *builder, zeb_error *error) {
    int32_t layers;
    if (policy == NULL) return zeb_rewrite_cls_only(graph, builder, error);
    zeb_layers_find(graph, NULL, 0, &layers);
    if (layers != policy->layers)
        return zeb_fail(error, ZEB_ERR_ARGUMENT, "policy '%s' has %d layers, the graph has %d", policy->name,
                        policy->layers, layers);
    return zeb_replay(graph, policy->rule, find, context, builder, error);
}
