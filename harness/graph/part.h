/* graph/part.h - some nodes of a graph as a graph of their own, so that a model can run a few nodes at a time. */
#ifndef ZEB_GRAPH_PART_H
#define ZEB_GRAPH_PART_H

#include <stdbool.h>

#include "base/arena.h"
#include "zeb/graph.h"

typedef struct zeb_graph_part {
    zeb_graph graph;
    int32_t *whole; /* [graph.tensor_count]: each tensor's id in the whole graph */
} zeb_graph_part;

/* Marks in carried[tensor_count] what nodes before `at` make and nodes from `at` on need: read tensors, and the offsets
 * and live counts of what they read and make. */
void zeb_graph_carried(const zeb_graph *graph, uint32_t at, bool *carried);

/* Nodes first .. last - 1. What they need and nodes before made becomes an INPUT; what they make and is carried on
 * behind them, is an OUTPUT of the whole, or is among also[count] (ids in the whole; with live count and offsets),
 * becomes an OUTPUT. Names and weights' data stay those of the whole graph, the tables lie in the arena. */
ZEB_MUST_CHECK zeb_status zeb_graph_part_make(const zeb_graph *whole, uint32_t first, uint32_t last,
                                              const int32_t *also, size_t count, zeb_arena *arena, zeb_graph_part *part,
                                              zeb_error *error);

#endif
