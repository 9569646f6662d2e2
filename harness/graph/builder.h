/* graph/builder.h - graphs made node by node, every shape inferred and every rule of zeb/graph.h checked.
 *
 * A builder owns its tensors, names and nodes; weight data stays with whoever mapped it. The first error names the node
 * and tensor it is about. Not for several threads at a time. */
#ifndef ZEB_GRAPH_BUILDER_H
#define ZEB_GRAPH_BUILDER_H

#include "zeb/graph.h"
#include "zeb/status.h"

typedef struct zeb_builder zeb_builder;

ZEB_MUST_CHECK zeb_status zeb_builder_create(zeb_builder **builder, zeb_error *error);
void zeb_builder_destroy(zeb_builder *builder); /* takes NULL */

/* The row space of a batch: declares the inputs `<name>.offsets` I32 [batch_max+1] and `<name>.count` I32 [1] (live
 * tokens) and gives the id of the offsets. All batch_max+1 offsets are always written: those past the live sequences
 * repeat the last. */
ZEB_MUST_CHECK zeb_status zeb_builder_rows(zeb_builder *builder, const char *name, int64_t token_max, int64_t batch_max,
                                           int32_t *offsets, zeb_error *error);

/* An input tensor of dtype over a row space ([token_max] if width is 0, else [token_max, width]), or with offsets
 * ZEB_NONE a plain one of [width]. */
ZEB_MUST_CHECK zeb_status zeb_builder_input(zeb_builder *builder, const char *name, zeb_dtype dtype, int32_t offsets,
                                            int64_t width, int32_t *tensor, zeb_error *error);

/* An input without rows of any rank, such as gates [batch_max, heads]. */
ZEB_MUST_CHECK zeb_status zeb_builder_plain(zeb_builder *builder, const char *name, zeb_dtype dtype, uint32_t rank,
                                            const int64_t *extents, int32_t *tensor, zeb_error *error);

/* A constant of rank 1 or 2 (extents[rank]). `like.scale` and `.group` are set with zeb_builder_quantised. */
ZEB_MUST_CHECK zeb_status zeb_builder_weight(zeb_builder *builder, const char *name, zeb_dtype dtype, uint32_t rank,
                                             const int64_t *extents, const void *data, int32_t *tensor,
                                             zeb_error *error);
/* Ties an I8 or U4 weight to its scale tensor; group is 0 for one scale a row. */
ZEB_MUST_CHECK zeb_status zeb_builder_quantised(zeb_builder *builder, int32_t weight, int32_t scale, int32_t group,
                                                zeb_error *error);

/* Appends a node. `node` gives name, op, inputs (unused ZEB_NONE) and attr; its outputs are ignored: the builder
 * creates them, named after the node (plus ".importance", ".indices", ".offsets", ".count" for the others; all three
 * outputs of SELECT carry theirs), and writes their ids to output[ZEB_NODE_OUTPUTS_MAX] (may be NULL). want is a bit
 * mask of optional outputs to create (1u << ZEB_ATTENTION_IMPORTANCE); required ones are always created. A failed call
 * leaves the builder as it was. */
ZEB_MUST_CHECK zeb_status zeb_builder_node(zeb_builder *builder, const zeb_node *node, uint32_t want,
                                           int32_t output[ZEB_NODE_OUTPUTS_MAX], zeb_error *error);

/* Makes a produced tensor readable by the harness (role OUTPUT). */
ZEB_MUST_CHECK zeb_status zeb_builder_output(zeb_builder *builder, int32_t tensor, zeb_error *error);

/* Gives a produced tensor another name, which must be new. */
ZEB_MUST_CHECK zeb_status zeb_builder_rename(zeb_builder *builder, int32_t tensor, const char *name, zeb_error *error);

/* The tensor as it stands (for extents and offsets of what was built). Valid until the next call that adds one. */
const zeb_tensor *zeb_builder_tensor(const zeb_builder *builder, int32_t tensor);

/* The finished graph, owned by the builder and valid until it is destroyed or added to. Fails on a graph without
 * outputs. */
ZEB_MUST_CHECK zeb_status zeb_builder_finish(zeb_builder *builder, const zeb_graph **graph, zeb_error *error);

/* The id of the tensor with that name, or ZEB_NONE. */
int32_t zeb_graph_find(const zeb_graph *graph, const char *name);

/* A node with no inputs set (all ZEB_NONE) and a zeroed attr, to fill in. */
zeb_node zeb_node_make(const char *name, zeb_op op);

#endif
