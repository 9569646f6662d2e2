/* attention_tile.c - keys laid out, scores, softmax, contexts, for a few queries at a time: what they touch stays in
 * the first-level cache. In precision W8A8 scores are products of I8 rows; where activations are unsigned bytes,
 * contexts come from probabilities in two bytes (16 bits, so that long flat tails aren't lost) and values in one. */
#include "attention.h"

#include <math.h>
#include <string.h>

/* With fewer keys, turning rows into bytes costs more than it saves: such sequences are computed in F32. */
enum { EIGHT_BITS_KEYS = 48 };

/* Up to here twice as many queries are worth it: their scores still lie in the first-level cache. */
enum { FEW_KEYS = 128 };

static bool in_bytes(const cpu_attention *a, int64_t keys) {
    return a->eight_bits && !a->halves && keys >= EIGHT_BITS_KEYS;
}

/* Whether contexts come from probabilities in two bytes. */
static bool two_bytes(const zeb_plan *plan, const cpu_attention *a, int64_t keys) {
    return in_bytes(a, keys) && plan->kernels->split != NULL;
}

/* Keys with room for whole panels. */
static size_t padded_keys(const zeb_plan *plan, const cpu_attention *a) {
    return (size_t)cpu_panels(plan->kernels, a->keys_max) * (size_t)plan->kernels->tile_columns;
}

static size_t code_stride(const zeb_plan *plan, const cpu_attention *a) {
    return ((size_t)a->attr.head_dim * (size_t)plan->kernels->i8_bytes + 63) / 64 * 64;
}

void *cpu_cut(uintptr_t *scratch, size_t count, size_t size) {
    void *piece = (void *)*scratch;
    *scratch += (count * size + 63) / 64 * 64;
    return piece;
}

cpu_desk cpu_desk_at(const zeb_plan *plan, const cpu_attention *a, uintptr_t *scratch) {
    if (a->halves) return cpu_half_desk_at(plan, a, scratch);
    const size_t rows = (size_t)plan->kernels->tile_rows, keys = padded_keys(plan, a), dim = (size_t)a->attr.head_dim;
    cpu_desk d = {.ld = keys + 16, .ld_codes = code_stride(plan, a)};
    d.scores = cpu_cut(scratch, rows * d.ld, sizeof *d.scores);
    d.queries = cpu_cut(scratch, rows * dim, sizeof *d.queries);
    d.keys = cpu_cut(scratch, keys * dim, sizeof *d.keys);
    if (!a->eight_bits) return d;
    d.codes = cpu_cut(scratch, (size_t)a->keys_max + rows, d.ld_codes);
    d.code_panels = cpu_cut(scratch, keys, d.ld_codes);
    d.start = cpu_cut(scratch, keys, sizeof *d.start);
    d.key_scale = cpu_cut(scratch, keys, sizeof *d.key_scale);
    if (plan->kernels->split == NULL) return d;
    const size_t width = (size_t)cpu_panels(plan->kernels, a->attr.head_dim) * (size_t)plan->kernels->tile_columns;
    d.ld_split = (keys + 127) / 64 * 64;
    d.values = cpu_cut(scratch, d.ld_split * width, 1);
    d.value_scale = cpu_cut(scratch, width, sizeof *d.value_scale);
    d.high = cpu_cut(scratch, rows, d.ld_split);
    d.low = cpu_cut(scratch, rows, d.ld_split);
    return d;
}

int cpu_tile_queries(const zeb_plan *plan, const cpu_attention *a, const cpu_task *t) {
    if (!a->halves) return plan->kernels->tile_rows;
    return t->keys > FEW_KEYS ? CPU_QUERIES_MAX / 2 : CPU_QUERIES_MAX;
}

void cpu_desk_fit(const zeb_plan *plan, const cpu_attention *a, const cpu_task *t, cpu_desk *d) {
    if (a->halves) {
        cpu_half_desk_fit(plan, t, d);
        return;
    }
    const size_t keys = (size_t)cpu_panels(plan->kernels, t->keys) * (size_t)plan->kernels->tile_columns;
    d->ld = keys + 16;
    d->ld_split = (keys + 127) / 64 * 64;
}

int64_t cpu_visible_keys(const cpu_attention *a, const cpu_task *t, int64_t i) {
    if (!a->attr.causal) return t->keys;
    const int64_t seen = i + 1 + t->keys - t->queries;
    return seen < 0 ? 0 : seen < t->keys ? seen : t->keys;
}

/* scores[rows][keys] = q . k of `rows` queries. */
static void score_tile(const zeb_plan *plan, const cpu_attention *a, const cpu_task *t, const cpu_desk *d,
                       const float *q, size_t ldq, int rows) {
    const int64_t columns = plan->kernels->tile_columns, dim = a->attr.head_dim;
    cpu_tile tile = {.a = q, .lda = ldq, .ldb = (size_t)columns, .ldc = d->ld, .k = (int)dim, .n = (int)columns};
    for (int64_t j = 0; j < t->keys; j += columns) {
        tile.b = d->keys + j * dim;
        tile.c = d->scores + j;
        plan->kernels->tile[rows](&tile);
    }
}

/* The same from codes. */
static void score_tile_i8(const zeb_plan *plan, const cpu_attention *a, const cpu_task *t, cpu_desk *d, const float *q,
                          size_t ldq, int rows) {
    const cpu_kernels *kernels = plan->kernels;
    const int64_t columns = kernels->tile_columns, dim = a->attr.head_dim;
    unsigned char *codes = d->codes + (size_t)a->keys_max * d->ld_codes;
    kernels->quantise(q, ldq, rows, (int)dim, codes, d->ld_codes, d->query_scale);
    cpu_tile_i8 tile = {.x = codes,
                        .ldx = d->ld_codes,
                        .x_scale = d->query_scale,
                        .ldc = d->ld,
                        .steps = (int)((dim + kernels->i8_step - 1) / kernels->i8_step),
                        .groups = 1,
                        .n = (int)columns};
    for (int64_t j = 0; j < t->keys; j += columns) {
        tile.w = d->code_panels + j * tile.steps * kernels->i8_step;
        tile.start = d->start + j;
        tile.w_scale = d->key_scale + j;
        tile.c = d->scores + j;
        kernels->tile_i8[rows](&tile);
    }
}

void cpu_task_keys(const zeb_plan *plan, const cpu_attention *a, const cpu_task *t, const cpu_desk *d) {
    if (a->halves) {
        cpu_half_keys(plan, a, t, d);
        return;
    }
    const cpu_kernels *kernels = plan->kernels;
    const int64_t dim = a->attr.head_dim, kv_head = t->head / (a->attr.heads / a->attr.kv_heads);
    const float *k = cpu_row(plan, a->k, t->key_first) + kv_head * dim;
    const int keys = (int)t->keys;
    if (!in_bytes(a, t->keys)) {
        kernels->pack_columns(k, plan->tensor[a->k].ld, keys, (int)dim, d->keys);
        return;
    }
    kernels->quantise(k, plan->tensor[a->k].ld, keys, (int)dim, d->codes, d->ld_codes, d->key_scale);
    for (int i = keys; i % kernels->tile_columns != 0; i++)
        d->key_scale[i] = 0.0f;
    kernels->pack_codes(d->codes, d->ld_codes, keys, (int)dim, d->code_panels, d->start);
}

/* Keys first .. end of a tile. */
typedef struct stretch {
    int64_t first, end;
} stretch;

enum { STRETCH = 16 /* keys that are looked at together; a multiple of a step of eight-bit products */ };

/* Whether no query of the tile has anything left of the keys from `first` on. */
static bool is_empty(const cpu_desk *d, bool bytes, int64_t first, int64_t keys, int rows) {
    const size_t n = (size_t)(keys - first < STRETCH ? keys - first : STRETCH);
    static const unsigned char nothing[STRETCH * sizeof(float)];
    for (int r = 0; r < rows; r++) {
        const size_t row = (size_t)r * d->ld_split + (size_t)first;
        const bool empty = bytes ? memcmp(d->high + row, nothing, n) == 0 && memcmp(d->low + row, nothing, n) == 0
                                 : memcmp(d->scores + (size_t)r * d->ld + first, nothing, n * sizeof(float)) == 0;
        if (!empty) return false;
    }
    return true;
}

/* The next keys from s->end on that have to be multiplied: all, or with a score threshold those between stretches of
 * which it left nothing. */
static bool next_stretch(const zeb_plan *plan, const cpu_attention *a, const cpu_task *t, const cpu_desk *d, int rows,
                         stretch *s) {
    const bool bytes = two_bytes(plan, a, t->keys), all = !(a->attr.score_threshold > 0);
    s->first = s->end;
    while (!all && s->first < t->keys && is_empty(d, bytes, s->first, t->keys, rows))
        s->first += STRETCH;
    if (s->first >= t->keys) return false;
    s->end = all ? t->keys : s->first + STRETCH;
    while (s->end < t->keys && !is_empty(d, bytes, s->end, t->keys, rows))
        s->end += STRETCH;
    if (s->end > t->keys) s->end = t->keys;
    return true;
}

/* context[rows][head_dim] = p . v of a stretch (+ what is there) */
static void context_tile(const zeb_plan *plan, const cpu_attention *a, const cpu_task *t, const cpu_desk *d,
                         int64_t row, int rows, const stretch *s, bool more) {
    const int64_t columns = plan->kernels->tile_columns, dim = a->attr.head_dim;
    const int64_t kv_head = t->head / (a->attr.heads / a->attr.kv_heads);
    const float *v = cpu_row(plan, a->v, t->key_first + s->first) + kv_head * dim;
    float *context = cpu_context_row(plan, a, t, row) + t->head * dim;
    cpu_tile tile = {.a = d->scores + s->first,
                     .lda = d->ld,
                     .ldb = plan->tensor[a->v].ld,
                     .ldc = plan->tensor[a->context].ld,
                     .k = (int)(s->end - s->first),
                     .accumulate = more};
    for (int64_t c = 0; c < dim; c += columns) {
        tile.b = v + c;
        tile.c = context + c;
        tile.n = (int)(dim - c < columns ? dim - c : columns);
        plan->kernels->tile[rows](&tile);
    }
}

/* The same from codes: probabilities in two bytes, whose products with the values are summed one after the other. */
static void context_tile_i8(const zeb_plan *plan, const cpu_attention *a, const cpu_task *t, const cpu_desk *d,
                            int64_t row, int rows, const float *share, const stretch *s, bool more) {
    const cpu_kernels *kernels = plan->kernels;
    const int64_t columns = kernels->tile_columns, dim = a->attr.head_dim, steps = (t->keys + 3) / 4;
    float *context = cpu_context_row(plan, a, t, row) + t->head * dim;
    float high[CPU_TILE_ROWS_MAX], low[CPU_TILE_ROWS_MAX];
    static const int32_t zero[CPU_TILE_COLUMNS_MAX];
    for (int r = 0; r < rows; r++) {
        low[r] = share[r] / 65280.0f;
        high[r] = low[r] * 256.0f;
    }
    cpu_tile_i8 tile = {.ldx = d->ld_split,
                        .start = zero,
                        .ldc = plan->tensor[a->context].ld,
                        .ldr = plan->tensor[a->context].ld,
                        .steps = (int)((s->end - s->first + 3) / 4),
                        .groups = 1};
    for (int64_t c = 0; c < dim; c += columns) {
        tile.w = d->values + c * steps * 4 + s->first * columns;
        tile.w_scale = d->value_scale + c;
        tile.n = (int)(dim - c < columns ? dim - c : columns);
        tile.c = context + c;
        tile.x = d->high + s->first;
        tile.x_scale = high;
        tile.residual = more ? tile.c : NULL;
        kernels->tile_i8[rows](&tile);
        tile.x = d->low + s->first;
        tile.x_scale = low;
        tile.residual = tile.c;
        kernels->tile_i8[rows](&tile);
    }
}

void cpu_task_values(const zeb_plan *plan, const cpu_attention *a, const cpu_task *t, const cpu_desk *d) {
    if (a->halves) cpu_half_values(plan, a, t, d);
    if (!two_bytes(plan, a, t->keys)) return;
    const int64_t dim = a->attr.head_dim, kv_head = t->head / (a->attr.heads / a->attr.kv_heads);
    plan->kernels->pack_values(cpu_row(plan, a->v, t->key_first) + kv_head * dim, plan->tensor[a->v].ld, (int)t->keys,
                               (int)dim, d->values, d->value_scale);
}

/* The queries of a tile, gathered if they are survivors. */
static const float *queries_of(const zeb_plan *plan, const cpu_attention *a, const cpu_task *t, const cpu_desk *d,
                               int64_t from, int rows, size_t *ld, int64_t *query) {
    const int64_t dim = a->attr.head_dim;
    *ld = t->survivor == NULL ? plan->tensor[a->q].ld : (size_t)dim;
    for (int r = 0; r < rows; r++) {
        query[r] = t->survivor == NULL ? from + r : t->survivor[from + r] - t->query_first;
        if (t->survivor != NULL)
            memcpy(d->queries + r * dim, cpu_row(plan, a->q, t->survivor[from + r]) + t->head * dim,
                   (size_t)dim * sizeof(float));
    }
    return t->survivor == NULL ? cpu_row(plan, a->q, t->query_first + from) + t->head * dim : d->queries;
}

void cpu_tile_weigh(const zeb_plan *plan, const cpu_attention *a, const cpu_task *t, cpu_desk *d, int64_t from,
                    int rows, float *partial, float *share) {
    if (a->halves) {
        cpu_half_weigh(plan, a, t, d, from, rows, partial, share);
        return;
    }
    const cpu_kernels *kernels = plan->kernels;
    const int keys = (int)t->keys;
    int64_t query[CPU_TILE_ROWS_MAX];
    float peak[CPU_TILE_ROWS_MAX];
    int seen[CPU_TILE_ROWS_MAX];
    size_t ldq;
    const float *q = queries_of(plan, a, t, d, from, rows, &ldq, query);
    if (in_bytes(a, t->keys))
        score_tile_i8(plan, a, t, d, q, ldq, rows);
    else
        score_tile(plan, a, t, d, q, ldq, rows);
    for (int r = 0; r < rows; r++)
        seen[r] = (int)cpu_visible_keys(a, t, query[r]);
    kernels->softmax(d->scores, d->ld, rows, keys, seen, a->attr.scale, peak, share);
    for (int r = 0; r < rows; r++)
        share[r] = seen[r] > 0 ? 1.0f / share[r] : 0.0f;
    if (partial != NULL) kernels->add_rows(partial, d->scores, d->ld, rows, keys, share);
    for (int r = 0; a->attr.score_threshold > 0 && r < rows; r++) {
        kernels->scale_keep(d->scores + (size_t)r * d->ld, keys, share[r], a->attr.score_threshold);
        if (!isnan(share[r])) share[r] = 1.0f; /* bytes can't tell what is not finite, their factor can */
    }
}

void cpu_tile_ready(const zeb_plan *plan, const cpu_attention *a, const cpu_task *t, const cpu_desk *d, int rows) {
    if (two_bytes(plan, a, t->keys))
        plan->kernels->split(d->scores, d->ld, rows, (int)t->keys, d->high, d->low, d->ld_split);
}

void cpu_tile_context(const zeb_plan *plan, const cpu_attention *a, const cpu_task *t, const cpu_desk *d, int64_t from,
                      int rows, const float *share) {
    if (a->halves) {
        cpu_half_context(plan, a, t, d, from, rows, share);
        return;
    }
    const bool bytes = two_bytes(plan, a, t->keys);
    const size_t dim = (size_t)a->attr.head_dim;
    stretch s = {0, 0};
    bool any = false;
    for (; next_stretch(plan, a, t, d, rows, &s); any = true) {
        if (bytes)
            context_tile_i8(plan, a, t, d, from, rows, share, &s, any);
        else
            context_tile(plan, a, t, d, from, rows, &s, any);
    }
    for (int r = 0; r < rows; r++) {
        float *context = cpu_context_row(plan, a, t, from + r) + t->head * a->attr.head_dim;
        if (!any)
            memset(context, 0, dim * sizeof *context);
        else if (!bytes && share[r] != 1.0f) /* fewer numbers here than there are probabilities */
            plan->kernels->scale_keep(context, (int)dim, share[r], -INFINITY);
    }
}

/* ---- kept probabilities: a row is its share, then floats, or high bytes and low bytes
 * --------------------------------- */

enum { KEPT_HEAD = 64 };

static size_t kept_half(int64_t keys) {
    return ((size_t)keys + 63) / 64 * 64;
}

size_t cpu_kept_row(const zeb_plan *plan, const cpu_attention *a, int64_t keys) {
    return KEPT_HEAD + kept_half(keys) * (two_bytes(plan, a, keys) ? 2 : sizeof(float));
}

void cpu_tile_keep(const zeb_plan *plan, const cpu_attention *a, const cpu_task *t, const cpu_desk *d, int64_t from,
                   int rows, const float *share) {
    unsigned char *kept = t->kept + (size_t)from * t->kept_row, *high = kept + KEPT_HEAD;
    for (int r = 0; r < rows; r++)
        memcpy(kept + (size_t)r * t->kept_row, &share[r], sizeof share[r]);
    if (two_bytes(plan, a, t->keys)) {
        plan->kernels->split(d->scores, d->ld, rows, (int)t->keys, high, high + kept_half(t->keys), t->kept_row);
        return;
    }
    for (int r = 0; r < rows; r++)
        memcpy(high + (size_t)r * t->kept_row, d->scores + (size_t)r * d->ld, (size_t)t->keys * sizeof(float));
}

void cpu_tile_recall(const zeb_plan *plan, const cpu_attention *a, const cpu_task *t, const cpu_desk *d, int64_t from,
                     int rows, float *share) {
    const size_t keys = (size_t)t->keys;
    for (int r = 0; r < rows; r++) {
        const unsigned char *row = t->kept + (size_t)(t->survivor[from + r] - t->query_first) * t->kept_row;
        memcpy(&share[r], row, sizeof share[r]);
        if (two_bytes(plan, a, t->keys)) {
            memcpy(d->high + (size_t)r * d->ld_split, row + KEPT_HEAD, keys);
            memcpy(d->low + (size_t)r * d->ld_split, row + KEPT_HEAD + kept_half(t->keys), keys);
        } else {
            memcpy(d->scores + (size_t)r * d->ld, row + KEPT_HEAD, keys * sizeof(float));
        }
    }
}
