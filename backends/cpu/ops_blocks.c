/* ops_blocks.c - BLOCKS: blocks of a row that are small throughout become zeros, and linear layers skip what all rows
 * of a register tile have closed. With one row that is every closed block; the taller the tile, the fewer are left.
 * Closed heads are such blocks of a context, alike in all rows of a sequence. */
#include <math.h>
#include <string.h>

#include "blocks.h"

static bool reaches(const float *x, int64_t count, float threshold) {
    bool any = false;
    for (int64_t i = 0; i < count; i++)
        any |= !(fabsf(x[i]) < threshold); /* no early end: this is done in vectors */
    return any;
}

static void run_blocks(const cpu_hand *hand, const cpu_stage *stage, int64_t r0, int64_t r1, int p0, int p1) {
    const zeb_plan *plan = hand->plan;
    const cpu_blocks *b = &stage->as.blocks;
    const int64_t count = plan->tensor[b->out].width / b->size;
    const size_t bytes = (size_t)b->size * sizeof(float);
    (void)p0, (void)p1;
    for (int64_t r = r0; r < r1; r++) {
        const float *x = cpu_row(plan, b->x, r);
        float *out = cpu_row(plan, b->out, r);
        uint8_t *flag = cpu_flags(plan, b->flags, r);
        int32_t open = 0;
        for (int64_t i = 0; i < count; i++, x += b->size, out += b->size) {
            flag[i] = reaches(x, b->size, b->threshold);
            open += flag[i];
            if (flag[i])
                memcpy(out, x, bytes);
            else
                memset(out, 0, bytes);
        }
        cpu_ints(plan, b->open)[r] = open;
    }
}

/* Slabs of bfloat16 multiply zeros faster than tiles skip them. */
void cpu_want_head_flags(zeb_plan *plan, cpu_attention *a) {
    const bool slabs = plan->kernels->slab_bf16 != NULL && a->attr.precision == ZEB_PRECISION_BF16;
    const int64_t heads = a->attr.heads;
    a->flags = ZEB_NONE;
    if (a->gates == ZEB_NONE || slabs) return;
    a->flags = cpu_add_tensor(plan, a->context, ZEB_I8, heads, (size_t)(heads + 7) / 8 * 8);
    plan->tensor[a->context].flags = a->flags;
    plan->tensor[a->context].block = a->attr.head_dim;
}

void cpu_flag_heads(const cpu_hand *hand, const cpu_attention *a) {
    const zeb_plan *plan = hand->plan;
    if (a->flags == ZEB_NONE) return;
    for (int64_t b = hand->worker; b < cpu_sequences(plan, a->context); b += hand->workers) {
        const float *gate = cpu_row(plan, a->gates, b);
        int64_t first, end;
        cpu_sequence_rows(plan, a->context, b, &first, &end);
        for (int64_t r = first; r < end; r++)
            for (int32_t h = 0; h < a->attr.heads; h++)
                cpu_flags(plan, a->flags, r)[h] = gate[h] != 0.0f;
    }
}

CPU_LOWER(blocks) {
    cpu_blocks *b = &stage->as.blocks;
    (void)error;
    b->x = node->input[ZEB_BLOCKS_X];
    b->out = node->output[ZEB_BLOCKS_OUT];
    b->open = node->output[ZEB_BLOCKS_OPEN];
    b->size = node->attr.blocks.size;
    b->threshold = node->attr.blocks.threshold;
    const int64_t count = plan->tensor[b->out].width / b->size;
    b->flags = cpu_add_tensor(plan, b->x, ZEB_I8, count, (size_t)(count + 7) / 8 * 8);
    plan->tensor[b->out].flags = b->flags;
    plan->tensor[b->out].block = b->size;
    cpu_stage_reads(stage, b->x);
    cpu_stage_writes(stage, b->out);
    cpu_stage_writes(stage, b->open);
    cpu_stage_writes(stage, b->flags);
    stage->space = b->out;
    stage->rows = run_blocks;
    return ZEB_OK;
}

void cpu_open_runs(const zeb_plan *plan, const cpu_linear *l, int panel, int64_t r0, int64_t r1, cpu_runs *runs) {
    const int32_t count = (int32_t)plan->tensor[l->flags].width;
    runs->count = 0;
    runs->blocks = 0;
    for (int32_t i = 0; i < count; i++) {
        bool open = false;
        for (int64_t r = r0; r < r1; r++)
            open |= cpu_flags(plan, l->flags, r)[i] != 0;
        if (!open) continue;
        const bool joins = runs->count > 0 && (runs->at[2 * runs->count - 1] == i || runs->count == CPU_RUNS_MAX);
        if (!joins) runs->at[2 * runs->count++] = i;
        runs->at[2 * runs->count - 1] = i + 1; /* what lies between the last run and this block are zeros */
    }
    for (int i = 0; i < runs->count; i++)
        runs->blocks += runs->at[2 * i + 1] - runs->at[2 * i];
    if (panel == 0) atomic_fetch_add_explicit(l->done, (uint64_t)((r1 - r0) * runs->blocks), memory_order_relaxed);
}

void cpu_note_all(const zeb_plan *plan, const cpu_linear *l, int64_t rows) {
    if (l->flags == ZEB_NONE) return;
    const int64_t blocks = rows * plan->tensor[l->flags].width;
    atomic_fetch_add_explicit(l->done, (uint64_t)blocks, memory_order_relaxed);
}

void cpu_tile_runs(const cpu_kernels *kernels, const cpu_tile *tile, int rows, const cpu_runs *runs, int64_t block,
                   int64_t k) {
    cpu_tile piece = *tile;
    piece.residual = NULL;
    piece.ahead = NULL;
    piece.k = 0;
    for (int i = 0; i < runs->count; i++) {
        const int64_t from = runs->at[2 * i] * block, to = runs->at[2 * i + 1] * block;
        const int64_t first = from > k ? from - k : 0, end = to < k + tile->k ? to - k : tile->k;
        if (first >= end) continue;
        if (piece.k > 0) {
            kernels->tile[rows](&piece);
            piece.accumulate = 1;
            piece.bias = NULL;
        }
        piece.a = tile->a + first;
        piece.b = tile->b + (size_t)first * tile->ldb;
        piece.k = (int)(end - first);
    }
    piece.residual = tile->residual;
    if (piece.k > 0 || !piece.accumulate || piece.residual != NULL) kernels->tile[rows](&piece);
}

zeb_status cpu_open_starts(zeb_plan *plan, cpu_linear *l, zeb_error *error) {
    const cpu_kernels *kernels = plan->kernels;
    const int64_t columns = kernels->tile_columns, step = kernels->i8_step, block = plan->tensor[l->x].block;
    if (l->flags == ZEB_NONE || !l->integers) return ZEB_OK;
    if (l->four || block % step != 0) { /* computed with the zeros */
        l->flags = ZEB_NONE;
        return ZEB_OK;
    }
    const int64_t blocks = l->k / block, one = block * columns, panel = l->steps * columns * step;
    const zeb_status status = cpu_plan_hold(plan, (size_t)(l->panels * blocks * columns) * sizeof *l->open_start,
                                            (void **)&l->open_start, error);
    for (int64_t p = 0; status == ZEB_OK && p < l->panels; p++)
        for (int64_t i = 0; i < blocks * one; i++)
            l->open_start[(p * blocks + i / one) * columns + i / step % columns] -=
                l->codes_w[p * panel + i] * kernels->i8_offset;
    return status;
}

zeb_status cpu_blocks_done(zeb_plan *plan, int32_t tensor, uint64_t *count, zeb_error *error) {
    const bool there = tensor >= 0 && (uint32_t)tensor < plan->tensors && plan->tensor[tensor].flags != ZEB_NONE;
    for (uint32_t i = 0; i < plan->stages && !there; i++) {
        const cpu_attention *a = &plan->stage[i].as.attention;
        if (plan->stage[i].op != ZEB_OP_ATTENTION || a->context != tensor || a->gates == ZEB_NONE) continue;
        *count = (uint64_t)(cpu_live_rows(plan, tensor) * a->attr.heads);
        return ZEB_OK;
    }
    if (!there) return zeb_fail(error, ZEB_ERR_ARGUMENT, "tensor %d is no output of blocks", tensor);
    *count = (uint64_t)(cpu_live_rows(plan, tensor) * plan->tensor[plan->tensor[tensor].flags].width);
    for (uint32_t i = 0; i < plan->stages; i++) {
        const cpu_stage *stage = &plan->stage[i];
        if (stage->op != ZEB_OP_LINEAR || stage->as.linear.flags != plan->tensor[tensor].flags) continue;
        *count = atomic_load_explicit(&stage->ticket[0], memory_order_relaxed);
        break;
    }
    return ZEB_OK;
}
