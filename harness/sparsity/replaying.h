/* sparsity/replaying.h - private to replay.c, which copies a graph, and replay_rules.c, which adds what a policy asks.
 */
#ifndef ZEB_SPARSITY_REPLAYING_H
#define ZEB_SPARSITY_REPLAYING_H

#include <stdbool.h>

#include "sparsity/rules.h"

typedef struct zeb_row_space {
    int32_t offsets, indices; /* new tensors; indices ZEB_NONE for an input's space */
    int32_t parent;           /* space, or ZEB_NONE */
    const char *name;
} zeb_row_space;

/* A tensor that was gathered down to a space. */
typedef struct zeb_moved {
    int32_t tensor, space, result;
} zeb_moved;

typedef struct zeb_replaying {
    const zeb_graph *graph;
    const zeb_layer_rule *rule; /* [layers] or NULL */
    zeb_policy_weight_fn *find;
    void *context;
    zeb_builder *builder;
    zeb_arena *arena;
    zeb_layer *layer;
    int32_t layers;
    int32_t reduced; /* the layer that computes its first row alone, or ZEB_NONE */
    int32_t cls;     /* its row space, once it is made */
    int32_t *map;    /* [tensor_count] old tensor -> new, or ZEB_NONE */
    int32_t *gates;  /* [layers] new gates tensor, or ZEB_NONE */
    int32_t worth;   /* importance of the heads, added up over the first `weighed` layers, or ZEB_NONE */
    int32_t weighed;
    bool *closed;    /* [layers] a BLOCKS node was put in */
    int32_t left;    /* logits of the sequences that have left so far, or ZEB_NONE: no exit yet */
    int32_t staying; /* rows of those that have not */
    zeb_row_space *space;
    int32_t spaces;
    zeb_moved *moved;
    int32_t moves;
    zeb_error *error;
} zeb_replaying;

/* Text that lives as long as the replay. */
ZEB_MUST_CHECK zeb_status zeb_replay_text(zeb_replaying *r, const char **text, const char *before, const char *between,
                                          const char *after);
/* The row space of a new tensor, or ZEB_NONE; a new one. */
int32_t zeb_replay_space_of(const zeb_replaying *r, int32_t tensor);
int32_t zeb_replay_add_space(zeb_replaying *r, int32_t offsets, int32_t indices, int32_t parent, const char *name);
/* A new tensor's rows in a space right below its own. */
ZEB_MUST_CHECK zeb_status zeb_replay_gather(zeb_replaying *r, int32_t tensor, int32_t to, int32_t *result);

/* Opens or closes the columns of q, k or v (which) of layer l by head, if its rule says so. */
ZEB_MUST_CHECK zeb_status zeb_replay_gate(zeb_replaying *r, int32_t l, uint32_t which, zeb_node *node);
/* If node `index` of the graph makes the second FFN matrix of a layer whose rule closes blocks: closes them before. */
ZEB_MUST_CHECK zeb_status zeb_replay_blocks(zeb_replaying *r, int32_t index, zeb_node *linear);
/* If node `old` ends a layer with an exit: *x becomes the rows of the sequences that stay. */
ZEB_MUST_CHECK zeb_status zeb_replay_exit(zeb_replaying *r, const zeb_node *old, int32_t *x);
/* Joins the results of the whole graph with those of the exits, under the results' name. */
ZEB_MUST_CHECK zeb_status zeb_replay_join(zeb_replaying *r, const char *name, int32_t *logits);
/* A policy that asks for what the graph has no place for is an error, not a dense run. */
ZEB_MUST_CHECK zeb_status zeb_replay_check(const zeb_replaying *r);

#endif
