/* Policies made and changed in memory: by the search that calibrates one, by tuning to a device. */
#include <stdlib.h>
#include <string.h>

#include "sparsity/rules.h"

zeb_status zeb_policy_make(const char *name, int32_t layers, const zeb_select *tokens, const int32_t *heads,
                           zeb_policy **out, zeb_error *error) {
    char *copy = NULL;
    void *memory = NULL;
    *out = NULL;
    zeb_policy *policy = calloc(1, sizeof *policy);
    if (policy == NULL) return zeb_fail(error, ZEB_ERR_MEMORY, "out of memory for a policy");
    zeb_status status = zeb_arena_create(&policy->arena, error);
    if (status == ZEB_OK) status = zeb_arena_copy(policy->arena, name, strlen(name), &copy, error);
    if (status == ZEB_OK) status = zeb_arena_alloc(policy->arena, (size_t)layers, sizeof *policy->rule, &memory, error);
    if (status != ZEB_OK) {
        zeb_policy_close(policy);
        return status;
    }
    policy->name = copy;
    policy->layers = layers;
    policy->rule = memory;
    for (int32_t l = 0; l < layers; ++l) {
        policy->rule[l].tokens = tokens[l];
        if (heads != NULL) policy->rule[l].heads_kept = heads[l];
    }
    *out = policy;
    return ZEB_OK;
}

zeb_select zeb_policy_tokens(const zeb_policy *policy, int32_t layer) {
    return policy->rule[layer].tokens;
}

void zeb_policy_set_tokens(zeb_policy *policy, int32_t layer, const zeb_select *tokens) {
    policy->rule[layer].tokens = *tokens;
}
