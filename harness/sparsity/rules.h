/* sparsity/rules.h - private to the room: a policy as it was read, and how graphs are replayed under one. */
#ifndef ZEB_SPARSITY_RULES_H
#define ZEB_SPARSITY_RULES_H

#include "base/arena.h"
#include "sparsity/policy.h"

typedef struct zeb_layer_rule {
    zeb_select tokens; /* mode NONE: all survive */
    float score_threshold;
    const char *gate_weight, *gate_bias; /* NULL: no gates of the policy's own */
    int32_t heads_kept;                  /* the heads that gave most in the layers before; 0: not so */
    zeb_blocks_attr ffn;                 /* size 0: no block of neurons is closed */
    const char *exit_weight, *exit_bias; /* of the head behind the layer; NULL: nobody leaves there */
    float confidence;
} zeb_layer_rule;

struct zeb_policy {
    zeb_arena *arena;
    const char *name;
    const char *weights, *weights_sha256; /* path and hash of a file of its own weights, or NULL */
    int32_t layers;
    uint32_t precisions;  /* mask of 1 << zeb_precision; 0: says nothing */
    zeb_layer_rule *rule; /* [layers] */
};

/* What is known of the graph's layers. Ids and indices are those of the graph that is replayed. */
typedef struct zeb_layer {
    int32_t attention;  /* node */
    int32_t project[3]; /* nodes that make q, k, v: LINEAR, or ZEB_NONE if another op makes it */
    int32_t input;      /* tensor that keys are made of, or ZEB_NONE */
} zeb_layer;

/* Finds the attention nodes: layer[capacity], *count of them. */
void zeb_layers_find(const zeb_graph *graph, zeb_layer *layer, int32_t capacity, int32_t *count);
/* Do the results need only row 0 of each sequence of what the layer's attention gives? */
int zeb_layers_only_first(const zeb_graph *graph, const zeb_layer *layer);
/* The layer whose second FFN matrix a node is: a LINEAR of rows that an activation made, behind the layer's attention;
 * else ZEB_NONE. */
int32_t zeb_layers_ffn(const zeb_graph *graph, const zeb_layer *layer, int32_t layers, int32_t node);
/* Index of the node that produces a tensor, or ZEB_NONE. */
int32_t zeb_layers_producer(const zeb_graph *graph, int32_t tensor);

/* A graph on its way into a builder under rules[layers] (NULL: none). */
ZEB_MUST_CHECK zeb_status zeb_replay(const zeb_graph *graph, const zeb_layer_rule *rule, zeb_policy_weight_fn *find,
                                     void *context, zeb_builder *builder, zeb_error *error);

#endif
