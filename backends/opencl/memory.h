/* memory.h - which values share a buffer: planned at maximum extents before anything is allocated. */
#ifndef OCL_MEMORY_H
#define OCL_MEMORY_H

#include "zeb/graph.h"
#include "zeb/status.h"

enum { OCL_SCRATCH_MAX = 6 };

/* Buffers to allocate, and who lives in which. The queue runs in order, so a buffer may be reused by the node after the
 * last one that reads it. Inputs, outputs, offsets, counts and indices have buffers of their own. */
typedef struct ocl_layout {
    size_t *bytes; /* [count] of each buffer */
    uint32_t count;
    int32_t *tensor;                     /* [tensor_count] buffer, or ZEB_NONE for weights */
    int32_t (*scratch)[OCL_SCRATCH_MAX]; /* [node_count] buffers, or ZEB_NONE */
} ocl_layout;

/* Scratch places of an op; unused ones have 0 bytes. */
enum {
    OCL_ATTENTION_GREATEST,
    OCL_ATTENTION_TOTAL,
    OCL_ATTENTION_PART,
    OCL_ATTENTION_WORTH,
    OCL_ATTENTION_KEEP,
    OCL_ATTENTION_COUNTS
};
enum { OCL_SELECT_KEEP, OCL_SELECT_COUNTS }; /* of EXIT as well */
enum { OCL_HEAD_GATE_MEAN };
enum { OCL_LIKELIHOOD_GREATEST, OCL_LIKELIHOOD_TOTAL };
enum { OCL_LIKELIHOOD_PARTS = 64 }; /* shares of a vocabulary that are summed side by side */

/* True if an attention node needs the importance of its keys, wanted as an output or not. */
int ocl_needs_importance(const zeb_node *node);

ZEB_MUST_CHECK zeb_status ocl_layout_make(const zeb_graph *graph, ocl_layout *layout, zeb_error *error);
void ocl_layout_free(ocl_layout *layout);

#endif
