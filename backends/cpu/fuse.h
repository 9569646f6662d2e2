/* fuse.h - which nodes of a graph become one stage. */
#ifndef ZEB_CPU_FUSE_H
#define ZEB_CPU_FUSE_H

#include "plan.h"

/* The LINEAR nodes from `first` on that can be computed together with it (itself first): the same x, gates and
 * precision and no residual, so that one pass over x makes them all. taken[node] tells which nodes are in a stage
 * already. Returns how many, at least 1. */
uint32_t cpu_fuse_linears(const zeb_graph *graph, uint32_t first, const bool *taken,
                          const zeb_node *group[CPU_LINEAR_PARTS_MAX]);

/* Whether a GATHER need not be computed: all that is done with its rows is that a LINEAR adds them and a NORM alone
 * goes on from there. That NORM then adds them, reading them through the indices: the same sums, and no copies. */
bool cpu_fuse_gather(const zeb_graph *graph, const zeb_node *gather);

/* Stages into chains: a run of row-local stages over one row space. chain[stages] has room for one a stage; returns
 * how many there are. */
uint32_t cpu_fuse_chains(const zeb_plan *plan, cpu_chain *chain);

/* Chains into spans: see cpu_chain. */
void cpu_fuse_spans(const zeb_plan *plan, cpu_chain *chain, uint32_t chains);

#endif
