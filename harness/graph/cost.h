/* graph/cost.h - how much work a graph is: floating-point operations and bytes, dense and as it was executed.
 *
 * FLOPs: a multiply-add is 2, any other elementary operation (add, compare, exp, erf, divide) is 1; integer precisions
 * count the same operations. Bytes: what a pass must move if every tensor is read or written once by every node that
 * uses it (weights whole, rows live, tables by the rows looked up); a device that fuses moves less. Two bounds from
 * above, because the numbers stay on the device: attention under a score threshold counts all probabilities, and the
 * weights of closed gate groups count as read. Under `causal` the surviving rows of a selection are taken to see as
 * many keys as the average row.
 *
 *     zeb_cost *cost;                                       // once a plan
 *     zeb_cost_create(graph, &cost, &error);
 *     size_t n = zeb_cost_reads(cost, &read);               // after each wait:
 *     for (i = 0; i < n; ++i) backend->read(plan, read[i].tensor, read[i].value, read[i].bytes, &error);
 *     zeb_cost_executed(cost, length, sequences, NULL, &executed, &error);
 *     zeb_cost_dense(cost_of_the_model, length, sequences, NULL, &dense, &error);
 *
 * "dense" in a row is the cost of the graph as models/ makes it; "executed" that of the graph that ran. Nothing but
 * create allocates. Not for several threads at a time. */
#ifndef ZEB_GRAPH_COST_H
#define ZEB_GRAPH_COST_H

#include "zeb/graph.h"
#include "zeb/status.h"

typedef struct zeb_cost zeb_cost;

typedef struct zeb_work {
    uint64_t flops;
    uint64_t bytes;
} zeb_work;

/* A tensor whose value after a pass says what was skipped: offsets of rows that survived, or gates. The caller reads
 * `bytes` of it into `value`, which the cost object owns. */
typedef struct zeb_cost_read {
    int32_t tensor;
    size_t bytes;
    void *value;
    const char *name;
} zeb_cost_read;

/* Copies what it needs of the graph. */
ZEB_MUST_CHECK zeb_status zeb_cost_create(const zeb_graph *graph, zeb_cost **cost, zeb_error *error);
void zeb_cost_destroy(zeb_cost *cost); /* takes NULL */

/* The readable ones among the offsets and gates that passes produce, in the order of their nodes. */
size_t zeb_cost_reads(const zeb_cost *cost, const zeb_cost_read **read);

/* The work of one pass over `count` sequences of these lengths in which every gate is open and every selection but the
 * FIRST row (an exact rewrite, not a policy) keeps all rows. node[node_count] may be NULL. ZEB_ERR_RANGE when there are
 * more sequences or rows than the graph was built for. */
ZEB_MUST_CHECK zeb_status zeb_cost_dense(zeb_cost *cost, const int32_t *length, size_t count, zeb_work *node,
                                         zeb_work *total, zeb_error *error);

/* The work of the pass whose values were read. Rows of a selection whose offsets are not readable follow from the
 * lengths where they can (FIRST, TOPK, RATIO); where they cannot, and for gates that are not readable, it is
 * ZEB_ERR_UNSUPPORTED, naming the tensor: nothing is guessed. ZEB_ERR_RANGE when what was read cannot be (more rows
 * than before). */
ZEB_MUST_CHECK zeb_status zeb_cost_executed(zeb_cost *cost, const int32_t *length, size_t count, zeb_work *node,
                                            zeb_work *total, zeb_error *error);

/* What zeb_backend.blocks_done says of the out of a BLOCKS node or the context of a gated ATTENTION, before
 * zeb_cost_executed. Unsaid, the LINEARs that read it count as if they had multiplied all. */
void zeb_cost_blocks_done(zeb_cost *cost, int32_t tensor, uint64_t count);

/* Live rows of a tensor, or of the row space of a tensor of offsets, in the pass counted last; the first extent of a
 * plain one. */
uint64_t zeb_cost_rows(const zeb_cost *cost, int32_t tensor);

#endif
