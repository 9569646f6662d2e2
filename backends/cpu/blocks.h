/* blocks.h - what linear layers know of the closed blocks of their rows (ops_blocks.c). */
#ifndef ZEB_CPU_BLOCKS_H
#define ZEB_CPU_BLOCKS_H

#include "plan.h"

/* The heads of an attention as blocks of its context, where gates close some; every worker's share of them. */
void cpu_want_head_flags(zeb_plan *plan, cpu_attention *a);
void cpu_flag_heads(const cpu_hand *hand, const cpu_attention *a);

/* The blocks that some row of a tile has open, as runs: pairs of the first block and the one behind the last. */
enum { CPU_RUNS_MAX = 64 };
typedef struct cpu_runs {
    int count;
    int64_t blocks; /* in all of them */
    int32_t at[2 * CPU_RUNS_MAX];
} cpu_runs;

static inline uint8_t *cpu_flags(const zeb_plan *plan, int32_t flags, int64_t row) {
    const cpu_tensor *t = &plan->tensor[flags];
    return (uint8_t *)t->data + (size_t)row * t->ld;
}

/* Of rows r0 .. r1 of a linear layer with flags; what is going to be multiplied is counted with panel 0. */
void cpu_open_runs(const zeb_plan *plan, const cpu_linear *l, int panel, int64_t r0, int64_t r1, cpu_runs *runs);

/* Counts all blocks of so many rows as multiplied. */
void cpu_note_all(const zeb_plan *plan, const cpu_linear *l, int64_t rows);

/* kernels->tile[rows] of the open parts of a tile that covers k .. k + tile->k. */
void cpu_tile_runs(const cpu_kernels *kernels, const cpu_tile *tile, int rows, const cpu_runs *runs, int64_t block,
                   int64_t k);

/* While compiling, when the weights are packed: what eight-bit sums of a block begin with; where such a layer cannot
 * skip, it forgets its flags and multiplies zeros. */
ZEB_MUST_CHECK zeb_status cpu_open_starts(zeb_plan *plan, cpu_linear *l, zeb_error *error);

/* zeb_backend.blocks_done */
zeb_status cpu_blocks_done(zeb_plan *plan, int32_t tensor, uint64_t *count, zeb_error *error);

#endif
