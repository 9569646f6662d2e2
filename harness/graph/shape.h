/* graph/shape.h - the rules of zeb/graph.h as code: what a node's inputs must look like and what its outputs then are.
 *
 * The builder makes tensors from what is inferred here; the check compares a foreign graph with it. */
#ifndef ZEB_GRAPH_SHAPE_H
#define ZEB_GRAPH_SHAPE_H

#include "zeb/graph.h"
#include "zeb/status.h"

/* What inference looks at. producer[tensor] is the index of the node that made a tensor, or ZEB_NONE. */
typedef struct zeb_shape_graph {
    const zeb_tensor *tensor;
    uint32_t tensor_count;
    const zeb_node *node;
    const int32_t *producer;
} zeb_shape_graph;

/* In an inferred output, `offsets` or `extent[0].live` may name another output of the same node: position p is written
 * as ZEB_SHAPE_OWN - p. */
enum { ZEB_SHAPE_OWN = -16 };

/* Checks the node and fills output[]: dtype, rank, extents, offsets and bytes. rank 0: the node has no such output.
 * `want` is the mask of optional outputs (see graph/builder.h). Errors name node and tensor. */
ZEB_MUST_CHECK zeb_status zeb_shape_infer(const zeb_shape_graph *graph, const zeb_node *node, uint32_t want,
                                          zeb_tensor output[ZEB_NODE_OUTPUTS_MAX], zeb_error *error);

/* "context", "indices", ... : what an output position of an op is called. NULL past the last. */
const char *zeb_shape_output_name(zeb_op op, uint32_t position);

/* Bytes of a tensor at its maximum extents; false when they do not fit into memory or an extent is out of range. */
ZEB_MUST_CHECK int zeb_shape_bytes(const zeb_tensor *tensor, size_t *bytes);

/* A weight's scale and group fit its shape and dtype. `name` of the node or builder call goes in front of errors. */
ZEB_MUST_CHECK zeb_status zeb_shape_quantised(const char *who, const zeb_tensor *weight, const zeb_tensor *scale,
                                              int32_t group, zeb_error *error);

/* "F32 [256,1024]" in text. */
enum { ZEB_SHAPE_TEXT_MAX = 96 };
void zeb_shape_text(const zeb_tensor *tensor, char text[ZEB_SHAPE_TEXT_MAX]);

#endif
