/* graph/check.h - is a graph that someone else made well formed? */
#ifndef ZEB_GRAPH_CHECK_H
#define ZEB_GRAPH_CHECK_H

#include "zeb/graph.h"
#include "zeb/status.h"

/* Every rule of zeb/graph.h: names there and unique, ids in range, nodes in order of execution, every value produced
 * once, shapes, row spaces, byte sizes, at least one output. The first error names the node and the tensor. */
ZEB_MUST_CHECK zeb_status zeb_graph_check(const zeb_graph *graph, zeb_error *error);

#endif
