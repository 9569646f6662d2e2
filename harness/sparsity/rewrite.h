/* sparsity/rewrite.h - exact rewrites: a graph that computes the same and does less. */
#ifndef ZEB_SPARSITY_REWRITE_H
#define ZEB_SPARSITY_REWRITE_H

#include "graph/builder.h"

/* Copies `graph` into an empty builder, and where the results need only row 0 of each sequence after the last attention
 * (it ends in POOL FIRST, as classifiers do), lets the last layer compute only that row: SELECT FIRST and GATHER stand
 * before the queries, keys and values see all rows, and everything behind follows on one row a sequence. Equal to the
 * given graph to the last bit wherever a device computes a row the same way alone and in company. A graph in which
 * another row is needed is copied as it is. Tensors keep their names; new nodes are named "<attention>.cls" and
 * "<tensor>.at.<attention>.cls". Weights stay where they are. */
ZEB_MUST_CHECK zeb_status zeb_rewrite_cls_only(const zeb_graph *graph, zeb_builder *builder, zeb_error *error);

#endif
