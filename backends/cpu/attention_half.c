/* attention_half.c - the steps of attention_tile.c in bfloat16, where slabs of it are fast: scores and contexts are
 * products of rounded rows with sums in F32, the softmax is computed in F32 and rounded as it is written. */
#include "attention.h"

/* Elements of a row, padded to steps of slabs. */
static size_t padded(int64_t n) {
    return ((size_t)n + 31) / 32 * 32;
}

static size_t panel_columns(const zeb_plan *plan, int64_t n) {
    return (size_t)cpu_panels(plan->kernels, n) * (size_t)plan->kernels->tile_columns;
}

/* Bytes between rows of probabilities: whole steps, and not a power of two. */
static size_t probability_stride(int64_t keys) {
    return padded(keys) * sizeof(uint16_t) + 64;
}

cpu_desk cpu_half_desk_at(const zeb_plan *plan, const cpu_attention *a, uintptr_t *scratch) {
    const size_t keys = panel_columns(plan, a->keys_max), dim = padded(a->attr.head_dim), half = sizeof(uint16_t);
    cpu_desk d = {.ld = keys + 16, .ld_half = probability_stride(a->keys_max)};
    d.scores = cpu_cut(scratch, CPU_QUERIES_MAX * d.ld, sizeof *d.scores);
    d.half_queries = cpu_cut(scratch, CPU_QUERIES_MAX * dim, half);
    d.half_keys = cpu_cut(scratch, keys * dim, half);
    d.half_values = cpu_cut(scratch, padded(a->keys_max) * panel_columns(plan, a->attr.head_dim), half);
    d.half = cpu_cut(scratch, CPU_QUERIES_MAX, d.ld_half);
    return d;
}

void cpu_half_desk_fit(const zeb_plan *plan, const cpu_task *t, cpu_desk *d) {
    d->ld = panel_columns(plan, t->keys) + 16;
    d->ld_half = probability_stride(t->keys);
}

static int64_t kv_head_of(const cpu_attention *a, const cpu_task *t) {
    return t->head / (a->attr.heads / a->attr.kv_heads);
}

void cpu_half_keys(const zeb_plan *plan, const cpu_attention *a, const cpu_task *t, const cpu_desk *d) {
    const int64_t dim = a->attr.head_dim;
    plan->kernels->half->pack_columns(cpu_row(plan, a->k, t->key_first) + kv_head_of(a, t) * dim, plan->tensor[a->k].ld,
                                      (int)t->keys, (int)dim, d->half_keys);
}

void cpu_half_values(const zeb_plan *plan, const cpu_attention *a, const cpu_task *t, const cpu_desk *d) {
    const int64_t dim = a->attr.head_dim;
    plan->kernels->half->pack_rows(cpu_row(plan, a->v, t->key_first) + kv_head_of(a, t) * dim, plan->tensor[a->v].ld,
                                   (int)t->keys, (int)dim, d->half_values);
}

/* scores[rows][keys] = q . k of `rows` queries, which are rows query[] of the sequence. */
static void score(const zeb_plan *plan, const cpu_attention *a, const cpu_task *t, const cpu_desk *d, int rows,
                  const int64_t *query) {
    const int64_t dim = a->attr.head_dim;
    const size_t ld = padded(dim) * sizeof(uint16_t);
    for (int r = 0; r < rows; r += t->survivor == NULL ? rows : 1) /* in one go, or as they survived */
        plan->kernels->narrow(cpu_row(plan, a->q, t->query_first + query[r]) + t->head * dim, plan->tensor[a->q].ld,
                              t->survivor == NULL ? rows : 1, (int)dim, d->half_queries + (size_t)r * padded(dim), ld);
    const cpu_slab slab = {.x = d->half_queries,
                           .ldx = ld,
                           .w = d->half_keys,
                           .c = d->scores,
                           .ldc = d->ld,
                           .rows = rows,
                           .n = (int)panel_columns(plan, t->keys), /* whole panels need no more than their sums */
                           .steps = (int)(padded(dim) / 32)};
    plan->kernels->slab_bf16(&slab);
}

void cpu_half_weigh(const zeb_plan *plan, const cpu_attention *a, const cpu_task *t, const cpu_desk *d, int64_t from,
                    int rows, float *partial, float *share) {
    const cpu_half_kernels *half = plan->kernels->half;
    const int keys = (int)t->keys;
    int64_t query[CPU_QUERIES_MAX];
    int seen[CPU_QUERIES_MAX];
    for (int r = 0; r < rows; r++) {
        query[r] = t->survivor == NULL ? from + r : t->survivor[from + r] - t->query_first;
        seen[r] = (int)cpu_visible_keys(a, t, query[r]);
    }
    score(plan, a, t, d, rows, query);
    half->softmax(d->scores, d->ld, rows, keys, seen, a->attr.scale, d->half, d->ld_half, share);
    for (int r = 0; r < rows; r++)
        share[r] = seen[r] > 0 ? 1.0f / share[r] : 0.0f;
    if (partial != NULL) half->add_rows(partial, d->half, d->ld_half, rows, keys, share);
}

void cpu_half_context(const zeb_plan *plan, const cpu_attention *a, const cpu_task *t, const cpu_desk *d, int64_t from,
                      int rows, const float *share) {
    const cpu_slab slab = {.x = d->half,
                           .ldx = d->ld_half,
                           .x_scale = share,
                           .w = d->half_values,
                           .c = cpu_context_row(plan, a, t, from) + t->head * a->attr.head_dim,
                           .ldc = plan->tensor[a->context].ld,
                           .rows = rows,
                           .n = (int)a->attr.head_dim,
                           .steps = (int)(padded(t->keys) / 32)};
    plan->kernels->slab_bf16(&slab);
}
