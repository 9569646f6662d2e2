/* op/told.h - whole graphs, node by node: ref computes each node from what the device under test gave for its inputs.
 *
 * So errors don't add up along a graph, the tolerance of a single op holds everywhere, and a choice (which rows
 * survive, which heads run, who leaves) is judged by itself: it must be right unless ref's numbers lie so near the
 * border that the op's tolerance moves them across. What follows is then computed from the choice that the device made.
 */
#ifndef ZEB_OP_TOLD_H
#define ZEB_OP_TOLD_H

#include "compare.h"
#include "suite.h"

typedef struct op_told op_told;

/* Lives in the fixture's arena, its plan until op_told_release. */
zeb_status op_told_create(op_fixture *fx, const op_target *ref, op_told **told, zeb_error *error);
void op_told_release(op_told *told); /* takes NULL */

/* Judges got[tensor_count], the results of fx->graph for the pass that was filled last. *worst rises to the greatest
 * error in units of its tolerance; at the first difference where is filled. */
zeb_status op_told_judge(op_told *told, void *const *got, double *worst, char where[OP_WHERE_MAX], zeb_error *error);

/* Live rows of a tensor by the counts among the results. */
int64_t op_live_rows(const op_fixture *fx, uint32_t tensor, void *const *got);

/* choice.c: are choices right, up to what an error within the tolerance may change? They fill where and say no. */
typedef struct op_selection {
    const char *name;
    const zeb_select *select;
    const float *importance;       /* by ref; NULL: not looked at (FIRST) */
    double relative;               /* error allowed in it: relative * (importance + 1/n) */
    const int32_t *from;           /* offsets of the rows that were there */
    const int32_t *indices, *kept; /* what the device chose: rows and offsets */
    int32_t count;
    int64_t batch;
} op_selection;
bool op_selection_is_right(const op_selection *selection, char where[OP_WHERE_MAX]);
/* Exits of zeb_exit_attr, of logits that are the device's own. */
bool op_exits_are_right(const op_selection *selection, const float *logits, int64_t labels, float confidence,
                        char where[OP_WHERE_MAX]);
/* sums[b,h] by ref. */
bool op_gates_are_right(const char *name, const float *sums, const int32_t *from, int64_t batch, int64_t heads,
                        const float *gates, char where[OP_WHERE_MAX]);
/* Gates of zeb_head_topk_attr, of an importance [b,h] that is the device's own. */
bool op_heads_are_right(const char *name, const float *importance, const int32_t *from, int64_t batch,
                        const zeb_head_topk_attr *attr, const float *gates, char where[OP_WHERE_MAX]);

#endif
