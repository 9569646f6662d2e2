/* sparsity/policy.h - what a forward pass may skip, read from policy.json, and the graph that skips it.
 *
 * A policy belongs to one model (its model_sha256) and says for each layer which tokens survive it, which attention
 * scores count, and which heads run. docs/formats/policy.md describes the file (schema zeb-policy-1). */
#ifndef ZEB_SPARSITY_POLICY_H
#define ZEB_SPARSITY_POLICY_H

#include "graph/builder.h"

typedef struct zeb_policy zeb_policy;

/* Reads and checks a policy for a model of `layers` layers whose model.safetensors has this hash (64 hexadecimal
 * digits; NULL: not compared, as is a policy whose model_sha256 is null). ZEB_ERR_FORMAT with file and key for what is
 * malformed or out of range, unknown keys included; ZEB_ERR_ARGUMENT when it was made for another model or number of
 * layers. */
ZEB_MUST_CHECK zeb_status zeb_policy_open(const char *path, const char *model_sha256, int32_t layers,
                                          zeb_policy **policy, zeb_error *error);
/* A policy of token selections, tokens[layers], and numbers of heads that are kept, heads[layers] (NULL, or 0: all
 * run), for the search that calibrates one. */
ZEB_MUST_CHECK zeb_status zeb_policy_make(const char *name, int32_t layers, const zeb_select *tokens,
                                          const int32_t *heads, zeb_policy **policy, zeb_error *error);
void zeb_policy_close(zeb_policy *policy); /* takes NULL */
const char *zeb_policy_name(const zeb_policy *policy);
/* The safetensors file with weights of its own (gates, exit heads), beside the policy's file, and the hash that it must
 * have; NULL: it has none. */
const char *zeb_policy_weights(const zeb_policy *policy, const char **sha256);

/* In which precisions the model may run under it: a mask of 1 << zeb_precision; 0: it does not say. */
uint32_t zeb_policy_precisions(const zeb_policy *policy);

/* Which tokens survive a layer, to be looked at and changed (by tuning to a device, which only ever keeps more). */
zeb_select zeb_policy_tokens(const zeb_policy *policy, int32_t layer);
void zeb_policy_set_tokens(zeb_policy *policy, int32_t layer, const zeb_select *tokens);

/* A weight of a head gate ([heads, hidden], [heads]) or an exit head ([labels, hidden], [labels]): F32, F16 or BF16. */
typedef struct zeb_policy_weight {
    zeb_dtype dtype;
    uint32_t rank;
    int64_t extent[2];
    const void *data; /* mapped until the plan is released */
} zeb_policy_weight;

/* Finds a weight of the policy or the model by name; ZEB_ERR_NOT_FOUND if there is none. */
typedef zeb_status zeb_policy_weight_fn(void *context, const char *name, zeb_policy_weight *weight, zeb_error *error);

/* Replays `graph` (dense, as models/ makes it) into an empty builder. NULL policy: dense, with the exact [CLS]-only
 * rewrite of sparsity/rewrite.h, which always applies to the last layer.
 *
 * Layers are the graph's attention nodes in order. Where layer l drops tokens, its attention gets attr.select, all that
 * follows works on the surviving rows, residuals are gathered, and the kept rows become the output
 * "layer.<l>.kept.offsets" (I32 [B+1]). In a last layer that is already reduced to [CLS] there is nothing left to drop,
 * so its tokens entry changes nothing. Where layer l gates heads, the HEAD_GATE node "layer.<l>.gates" reads the
 * layer's input, its output [B,H] becomes readable, and q, k, v and attention obey it. Where layer l keeps the heads
 * that gave most, "layer.<l>.gates" is a HEAD_TOPK node that reads the context of the layer before. Where layer l
 * closes blocks of FFN neurons, the BLOCKS node "layer.<l>.ffn.blocks" stands before the second matrix, and how many
 * blocks of each row it leaves open is the output "layer.<l>.ffn.blocks.open" (I32 [T]). Behind a layer with an exit,
 * its head reads the first row, the EXIT node "layer.<l>.exit" lets those go that are sure, and what stays is the
 * output "layer.<l>.exit.offsets" (I32 [B+1]); "logits" is then joined from all exits. find may be NULL when no layer
 * has gates or an exit. */
ZEB_MUST_CHECK zeb_status zeb_policy_apply(const zeb_policy *policy, const zeb_graph *graph, zeb_policy_weight_fn *find,
                                           void *context, zeb_builder *builder, zeb_error *error);

#endif
