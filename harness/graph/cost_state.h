/* graph/cost_state.h - private to the room: what the count of a pass looks at. */
#ifndef ZEB_GRAPH_COST_STATE_H
#define ZEB_GRAPH_COST_STATE_H

#include "base/arena.h"
#include "graph/cost.h"

/* A row space: lengths of its sequences in the pass being counted. */
typedef struct zeb_cost_space {
    int32_t offsets; /* tensor */
    int32_t source;  /* the space that a selecting node chose from, or ZEB_NONE: an input */
    zeb_select select;
    const int32_t *kept; /* offsets as read, or NULL: not readable */
    int32_t *length;     /* [batch_max] */
    int64_t batch_max, row_max;
} zeb_cost_space;

struct zeb_cost {
    zeb_arena *arena;
    zeb_graph graph; /* copies; names included */
    zeb_cost_space *space;
    int32_t *space_of; /* [tensor_count] of a tensor of offsets, or of rows: its space; ZEB_NONE: plain */
    uint32_t space_count;
    zeb_cost_read *read;
    uint32_t read_count;
    uint64_t *done; /* [tensor_count] elements of the out of BLOCKS that were multiplied; UINT64_MAX: all */
    int dense;      /* the count under way ignores gates */
};

/* Work of one node with the lengths as they stand. */
zeb_work zeb_cost_node(const zeb_cost *cost, const zeb_node *node);

/* Values of a gates tensor as read, or NULL. */
const float *zeb_cost_gate_values(const zeb_cost *cost, int32_t tensor);

#endif
