/* ops_attention.c - ATTENTION: a task is one head of one sequence and up to an eighth of its queries. Keys are packed
 * once a task; a tile of queries then makes its scores, their softmax and its context while all that is in the
 * first-level cache. With a selection, a first round weighs the keys, one worker selects, and a second round makes
 * context rows of the survivors alone. */
#include <math.h>
#include <string.h>

#include "pack.h"
#include "plan.h"

enum {
    CHUNKS_MAX = 8,   /* of the queries of a sequence: bounds the partial sums of importance */
    CHUNK_LEAST = 48, /* rows; below, packing keys again costs more than it spreads */
};

typedef struct task {
    int64_t sequence, head, chunk;
    int64_t key_first, keys;      /* rows of k and v */
    int64_t query_first, queries; /* rows of q that make up the sequence */
    int64_t from, to;             /* queries (or survivors) of this task, counted in the sequence */
    const int32_t *survivor;      /* rows of q, when only these are wanted; `from` and `to` count in it */
    int64_t context_first;        /* first context row of the sequence */
} task;

/* Queries are cut only as far as the workers need: two tasks for each. */
static int64_t chunks_of(const zeb_plan *plan, const cpu_attention *a, int64_t queries) {
    const int64_t heads = cpu_sequences(plan, a->q) * a->attr.heads, wanted = 2 * cpu_pool_threads(plan->pool);
    const int64_t chunks = (wanted + heads - 1) / heads, most = (queries + CHUNK_LEAST - 1) / CHUNK_LEAST;
    const int64_t some = chunks < most ? chunks : most;
    return some < CHUNKS_MAX ? some : CHUNKS_MAX;
}

/* Where a worker keeps its things during a task. */
typedef struct desk {
    float *keys;    /* panels [keys][head_dim][columns] */
    float *scores;  /* [tile_rows][ld] */
    float *queries; /* [tile_rows][head_dim] of survivors, gathered */
    size_t ld;
    /* Scores from eight bits (precision W8A8): */
    unsigned char *codes; /* rows of keys, then of queries */
    size_t ld_codes;
    int8_t *code_panels; /* keys as weights */
    int32_t *start;      /* [keys] */
    float *key_scale;    /* [keys] */
    float query_scale[CPU_TILE_ROWS_MAX];
    /* Contexts from eight bits, where kernels offer it: */
    int8_t *values;            /* as weights */
    float *value_scale;        /* [head_dim] */
    unsigned char *high, *low; /* [tile_rows] probabilities */
    size_t ld_split;
} desk;

/* Keys with room for whole panels. */
static size_t padded_keys(const zeb_plan *plan, const cpu_attention *a) {
    return (size_t)cpu_panels(plan->kernels, a->keys_max) * (size_t)plan->kernels->tile_columns;
}

static size_t code_stride(const zeb_plan *plan, const cpu_attention *a) {
    return ((size_t)a->attr.head_dim * (size_t)plan->kernels->i8_bytes + 63) / 64 * 64;
}

/* Cuts `count` things of `size` bytes from the scratch. Addresses are numbers here, so that the size of the scratch can
 * be found by cutting from 0. */
static void *cut(uintptr_t *scratch, size_t count, size_t size) {
    void *piece = (void *)*scratch;
    *scratch += (count * size + 63) / 64 * 64;
    return piece;
}

static desk desk_of(const zeb_plan *plan, const cpu_attention *a, uintptr_t *scratch) {
    const size_t rows = (size_t)plan->kernels->tile_rows, keys = padded_keys(plan, a), dim = (size_t)a->attr.head_dim;
    desk d = {.ld = keys + 16, .ld_codes = code_stride(plan, a)};
    d.scores = cut(scratch, rows * d.ld, sizeof *d.scores);
    d.queries = cut(scratch, rows * dim, sizeof *d.queries);
    if (!a->eight_bits) {
        d.keys = cut(scratch, keys * dim, sizeof *d.keys);
        return d;
    }
    d.codes = cut(scratch, (size_t)a->keys_max + rows, d.ld_codes);
    d.code_panels = cut(scratch, keys, d.ld_codes);
    d.start = cut(scratch, keys, sizeof *d.start);
    d.key_scale = cut(scratch, keys, sizeof *d.key_scale);
    if (plan->kernels->split == NULL) return d;
    const size_t width = (size_t)cpu_panels(plan->kernels, a->attr.head_dim) * (size_t)plan->kernels->tile_columns;
    d.ld_split = (keys + 127) / 64 * 64;
    d.values = cut(scratch, d.ld_split * width, 1);
    d.value_scale = cut(scratch, width, sizeof *d.value_scale);
    d.high = cut(scratch, rows, d.ld_split);
    d.low = cut(scratch, rows, d.ld_split);
    return d;
}

/* Keys that query i of n may see. */
static int64_t visible(const cpu_attention *a, const task *t, int64_t i) {
    if (!a->attr.causal) return t->keys;
    const int64_t seen = i + 1 + t->keys - t->queries;
    return seen < 0 ? 0 : seen < t->keys ? seen : t->keys;
}

/* scores[rows][keys] = q . k of `rows` queries. */
static void score_tile(const zeb_plan *plan, const cpu_attention *a, const task *t, const desk *d, const float *q,
                       size_t ldq, int rows) {
    const int64_t columns = plan->kernels->tile_columns, dim = a->attr.head_dim;
    cpu_tile tile = {.a = q, .lda = ldq, .ldb = (size_t)columns, .ldc = d->ld, .k = (int)dim, .n = (int)columns};
    for (int64_t j = 0; j < t->keys; j += columns) {
        tile.b = d->keys + j * dim;
        tile.c = d->scores + j;
        plan->kernels->tile[rows](&tile);
    }
}

/* The same from codes. */
static void score_tile_i8(const zeb_plan *plan, const cpu_attention *a, const task *t, desk *d, const float *q,
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

/* Lays out the keys of a task for its scores, and the values if they are needed in eight bits. */
static void pack_keys(const zeb_plan *plan, const cpu_attention *a, const task *t, const desk *d, bool wants_context) {
    const cpu_kernels *kernels = plan->kernels;
    const int64_t dim = a->attr.head_dim, kv_head = t->head / (a->attr.heads / a->attr.kv_heads);
    const float *k = cpu_row(plan, a->k, t->key_first) + kv_head * dim;
    const int keys = (int)t->keys;
    if (!a->eight_bits) {
        kernels->pack_columns(k, plan->tensor[a->k].ld, keys, (int)dim, d->keys);
        return;
    }
    kernels->quantise(k, plan->tensor[a->k].ld, keys, (int)dim, d->codes, d->ld_codes, d->key_scale);
    for (int i = keys; i % kernels->tile_columns != 0; i++)
        d->key_scale[i] = 0.0f;
    kernels->pack_codes(d->codes, d->ld_codes, keys, (int)dim, d->code_panels, d->start);
    if (wants_context && kernels->split != NULL)
        kernels->pack_values(cpu_row(plan, a->v, t->key_first) + kv_head * dim, plan->tensor[a->v].ld, keys, (int)dim,
                             d->values, d->value_scale);
}

/* context[rows][head_dim] = p . v */
static void context_tile(const zeb_plan *plan, const cpu_attention *a, const task *t, const desk *d, int64_t row,
                         int rows) {
    const int64_t columns = plan->kernels->tile_columns, dim = a->attr.head_dim;
    const int64_t kv_head = t->head / (a->attr.heads / a->attr.kv_heads);
    const float *v = cpu_row(plan, a->v, t->key_first) + kv_head * dim;
    float *context = cpu_row(plan, a->context, t->context_first + row) + t->head * dim;
    cpu_tile tile = {.a = d->scores,
                     .lda = d->ld,
                     .ldb = plan->tensor[a->v].ld,
                     .ldc = plan->tensor[a->context].ld,
                     .k = (int)t->keys};
    for (int64_t c = 0; c < dim; c += columns) {
        tile.b = v + c;
        tile.c = context + c;
        tile.n = (int)(dim - c < columns ? dim - c : columns);
        plan->kernels->tile[rows](&tile);
    }
}

/* The same from codes: probabilities in two bytes, whose products with the values are summed one after the other. */
static void context_tile_i8(const zeb_plan *plan, const cpu_attention *a, const task *t, const desk *d, int64_t row,
                            int rows, const float *share) {
    const cpu_kernels *kernels = plan->kernels;
    const int64_t columns = kernels->tile_columns, dim = a->attr.head_dim;
    float *context = cpu_row(plan, a->context, t->context_first + row) + t->head * dim;
    float high[CPU_TILE_ROWS_MAX], low[CPU_TILE_ROWS_MAX];
    static const int32_t zero[CPU_TILE_COLUMNS_MAX];
    for (int r = 0; r < rows; r++) {
        low[r] = share[r] / 65280.0f;
        high[r] = low[r] * 256.0f;
    }
    kernels->split(d->scores, d->ld, rows, (int)t->keys, d->high, d->low, d->ld_split);
    cpu_tile_i8 tile = {.ldx = d->ld_split,
                        .start = zero,
                        .ldc = plan->tensor[a->context].ld,
                        .ldr = plan->tensor[a->context].ld,
                        .steps = (int)((t->keys + 3) / 4),
                        .groups = 1};
    for (int64_t c = 0; c < dim; c += columns) {
        tile.w = d->values + c * tile.steps * 4;
        tile.w_scale = d->value_scale + c;
        tile.n = (int)(dim - c < columns ? dim - c : columns);
        tile.c = context + c;
        tile.x = d->high;
        tile.x_scale = high;
        tile.residual = NULL;
        kernels->tile_i8[rows](&tile);
        tile.x = d->low;
        tile.x_scale = low;
        tile.residual = tile.c;
        kernels->tile_i8[rows](&tile);
    }
}

/* From scores to importance and context. */
static void finish_tile(const zeb_plan *plan, const cpu_attention *a, const task *t, const desk *d,
                        const int64_t *query, int64_t from, int rows, float *partial, bool wants_context) {
    const cpu_kernels *kernels = plan->kernels;
    const int keys = (int)t->keys;
    float peak[CPU_TILE_ROWS_MAX], share[CPU_TILE_ROWS_MAX];
    int seen[CPU_TILE_ROWS_MAX];
    for (int r = 0; r < rows; r++)
        seen[r] = (int)visible(a, t, query[r]);
    kernels->softmax(d->scores, d->ld, rows, keys, seen, a->attr.scale, peak, share);
    for (int r = 0; r < rows; r++)
        share[r] = seen[r] > 0 ? 1.0f / share[r] : 0.0f;
    if (partial != NULL) kernels->add_rows(partial, d->scores, d->ld, rows, keys, share);
    if (!wants_context) return;
    const bool threshold = a->attr.score_threshold > 0;
    for (int r = 0; threshold && r < rows; r++)
        kernels->scale_keep(d->scores + (size_t)r * d->ld, keys, share[r], a->attr.score_threshold);
    for (int r = 0; threshold && r < rows; r++)
        share[r] = 1.0f;
    if (a->eight_bits && kernels->split != NULL) {
        context_tile_i8(plan, a, t, d, from, rows, share);
        return;
    }
    context_tile(plan, a, t, d, from, rows);
    for (int r = 0; !threshold && r < rows; r++) /* fewer numbers here than there are probabilities */
        kernels->scale_keep(cpu_row(plan, a->context, t->context_first + from + r) + t->head * a->attr.head_dim,
                            a->attr.head_dim, share[r], -INFINITY);
}

/* One tile of queries: from .. from + rows of the sequence, or of the survivors. */
static void run_tile(const zeb_plan *plan, const cpu_attention *a, const task *t, desk *d, int64_t from, int rows,
                     float *partial, bool wants_context) {
    const int64_t dim = a->attr.head_dim;
    const float *q = t->survivor == NULL ? cpu_row(plan, a->q, t->query_first + from) + t->head * dim : d->queries;
    const size_t ldq = t->survivor == NULL ? plan->tensor[a->q].ld : (size_t)dim;
    int64_t query[CPU_TILE_ROWS_MAX];
    for (int r = 0; r < rows; r++) {
        query[r] = t->survivor == NULL ? from + r : t->survivor[from + r] - t->query_first;
        if (t->survivor != NULL)
            memcpy(d->queries + r * dim, cpu_row(plan, a->q, t->survivor[from + r]) + t->head * dim,
                   (size_t)dim * sizeof *q);
    }
    if (a->eight_bits)
        score_tile_i8(plan, a, t, d, q, ldq, rows);
    else
        score_tile(plan, a, t, d, q, ldq, rows);
    finish_tile(plan, a, t, d, query, from, rows, partial, wants_context);
}

static void clear_context(const zeb_plan *plan, const cpu_attention *a, const task *t) {
    const int64_t dim = a->attr.head_dim;
    for (int64_t i = t->from; i < t->to; i++)
        memset(cpu_row(plan, a->context, t->context_first + i) + t->head * dim, 0, (size_t)dim * sizeof(float));
}

/* The task's work; partial (importance) and context are made as asked. */
static void run_task(const cpu_hand *hand, const cpu_attention *a, const task *t, bool wants_partial,
                     bool wants_context) {
    const zeb_plan *plan = hand->plan;
    uintptr_t scratch = (uintptr_t)hand->scratch;
    desk d = desk_of(plan, a, &scratch);
    float *partial = NULL;
    if (wants_partial) {
        partial = a->partial + (t->head * CHUNKS_MAX + t->chunk) * a->keys_max + t->key_first;
        memset(partial, 0, (size_t)t->keys * sizeof *partial);
    }
    const bool open = a->gates == ZEB_NONE || cpu_row(plan, a->gates, t->sequence)[t->head] != 0.0f;
    if (!open || t->keys == 0) {
        if (wants_context) clear_context(plan, a, t);
        return;
    }
    pack_keys(plan, a, t, &d, wants_context);
    const int64_t most = plan->kernels->tile_rows, rows = t->to - t->from, tiles = (rows + most - 1) / most;
    for (int64_t i = 0; i < tiles; i++) {
        const int64_t from = t->from + rows * i / tiles, to = t->from + rows * (i + 1) / tiles;
        run_tile(plan, a, t, &d, from, (int)(to - from), partial, wants_context);
    }
}

/* The tasks of a round, handed out one by one. */
static void run_round(const cpu_hand *hand, const cpu_stage *stage, _Atomic uint64_t *ticket, bool wants_partial,
                      bool wants_context, bool survivors) {
    const zeb_plan *plan = hand->plan;
    const cpu_attention *a = &stage->as.attention;
    const int64_t sequences = cpu_sequences(plan, a->q);
    uint64_t mine = atomic_fetch_add(ticket, 1), next = 0;
    for (int64_t b = 0; b < sequences; b++) {
        task t = {.sequence = b};
        int64_t end;
        cpu_sequence_rows(plan, a->k, b, &t.key_first, &end);
        t.keys = end - t.key_first;
        cpu_sequence_rows(plan, a->q, b, &t.query_first, &end);
        t.queries = end - t.query_first;
        int64_t rows = t.queries;
        t.context_first = t.query_first;
        if (survivors) {
            const int32_t *offsets = cpu_ints(plan, a->offsets);
            t.context_first = offsets[b];
            rows = offsets[b + 1] - offsets[b];
            t.survivor = cpu_ints(plan, a->indices) + offsets[b];
        }
        const int64_t chunks = chunks_of(plan, a, rows);
        for (int64_t i = 0; i < chunks * a->attr.heads; i++, next++) {
            if (next != mine) continue;
            mine = atomic_fetch_add(ticket, 1);
            t.head = i / chunks;
            t.chunk = i % chunks;
            t.from = rows * t.chunk / chunks;
            t.to = rows * (t.chunk + 1) / chunks;
            run_task(hand, a, &t, wants_partial, wants_context);
        }
    }
}

/* Where importance goes: the tensor that wants it, or the plan's own. */
static float *importance_of(const zeb_plan *plan, const cpu_attention *a) {
    return a->importance == ZEB_NONE ? a->mean : plan->tensor[a->importance].data;
}

/* importance = sum of the partial sums / (heads * queries), in one order whatever the number of workers. */
static void finish_importance(const cpu_hand *hand, const cpu_attention *a) {
    const zeb_plan *plan = hand->plan;
    const int64_t sequences = cpu_sequences(plan, a->q);
    for (int64_t b = hand->worker; b < sequences; b += hand->workers) {
        int64_t key_first, key_end, first, end;
        cpu_sequence_rows(plan, a->k, b, &key_first, &key_end);
        cpu_sequence_rows(plan, a->q, b, &first, &end);
        const int64_t chunks = chunks_of(plan, a, end - first), keys = key_end - key_first;
        float *out = importance_of(plan, a) + key_first;
        memset(out, 0, (size_t)keys * sizeof *out);
        for (int64_t i = 0; i < a->attr.heads * chunks; i++)
            plan->kernels->axpy(out, a->partial + (i / chunks * CHUNKS_MAX + i % chunks) * a->keys_max + key_first,
                                1.0f, (int)keys);
        const float count = (float)((end - first) * a->attr.heads);
        for (int64_t j = 0; j < keys; j++)
            out[j] = count > 0 ? out[j] / count : 0.0f;
    }
}

static void select_survivors(const zeb_plan *plan, const cpu_attention *a) {
    int32_t *indices = cpu_ints(plan, a->indices), *offsets = cpu_ints(plan, a->offsets);
    const int64_t sequences = cpu_sequences(plan, a->q);
    int64_t count = 0;
    offsets[0] = 0;
    for (int64_t b = 0; b < sequences; b++) {
        int64_t first, end;
        cpu_sequence_rows(plan, a->q, b, &first, &end);
        const float *importance = a->weigh ? importance_of(plan, a) + first : NULL;
        count += cpu_select_rows(&a->attr.select, importance, end - first, first, indices + count, a->mark, a->key);
        offsets[b + 1] = (int32_t)count;
    }
    cpu_ints(plan, a->count)[0] = (int32_t)count;
}

static void run_attention(const cpu_hand *hand, const cpu_stage *stage) {
    zeb_plan *plan = hand->plan;
    const cpu_attention *a = &stage->as.attention;
    cpu_stage *own = &plan->stage[stage - plan->stage];
    if (a->attr.select.mode == ZEB_SELECT_NONE) {
        run_round(hand, stage, &own->ticket[0], a->weigh, true, false);
        if (!a->weigh) return;
        cpu_pool_barrier(plan->pool);
        finish_importance(hand, a);
        return;
    }
    if (a->weigh) {
        run_round(hand, stage, &own->ticket[0], true, false, false);
        cpu_pool_barrier(plan->pool);
        finish_importance(hand, a);
        cpu_pool_barrier(plan->pool);
    }
    if (hand->worker == 0) select_survivors(plan, a);
    cpu_pool_barrier(plan->pool);
    run_round(hand, stage, &own->ticket[1], false, true, true);
}

/* Memory of the stage that lives in the plan. */
static zeb_status hold(zeb_plan *plan, cpu_attention *a, zeb_error *error) {
    const size_t rows = (size_t)a->keys_max, parts = (size_t)a->attr.heads * CHUNKS_MAX;
    zeb_status status = ZEB_OK;
    if (a->weigh) {
        status = cpu_plan_hold(plan, parts * rows * sizeof *a->partial, (void **)&a->partial, error);
        if (status == ZEB_OK) status = cpu_plan_hold(plan, rows * sizeof *a->mean, (void **)&a->mean, error);
    }
    if (status == ZEB_OK && a->attr.select.mode != ZEB_SELECT_NONE) {
        status = cpu_plan_hold(plan, rows * sizeof *a->mark, (void **)&a->mark, error);
        if (status == ZEB_OK) status = cpu_plan_hold(plan, rows * sizeof *a->key, (void **)&a->key, error);
    }
    return status;
}

CPU_LOWER(attention) {
    cpu_attention *a = &stage->as.attention;
    a->q = node->input[ZEB_ATTENTION_Q];
    a->k = node->input[ZEB_ATTENTION_K];
    a->v = node->input[ZEB_ATTENTION_V];
    a->gates = node->input[ZEB_ATTENTION_GATES];
    a->context = node->output[ZEB_ATTENTION_CONTEXT];
    a->importance = node->output[ZEB_ATTENTION_IMPORTANCE];
    a->indices = node->output[ZEB_ATTENTION_INDICES];
    a->offsets = node->output[ZEB_ATTENTION_OFFSETS];
    a->count = node->output[ZEB_ATTENTION_COUNT];
    a->attr = node->attr.attention;
    a->keys_max = plan->tensor[a->k].rows;
    a->eight_bits = a->attr.precision == ZEB_PRECISION_W8A8;
    const uint32_t mode = a->attr.select.mode;
    a->weigh = a->importance != ZEB_NONE || (mode != ZEB_SELECT_NONE && mode != ZEB_SELECT_FIRST);
    const zeb_status status = hold(plan, a, error);
    uintptr_t size = 0;
    (void)desk_of(plan, a, &size);
    cpu_plan_scratch(plan, size);
    cpu_stage_reads(stage, a->q);
    cpu_stage_reads(stage, a->k);
    cpu_stage_reads(stage, a->v);
    cpu_stage_reads(stage, a->gates);
    for (int i = 0; i < ZEB_NODE_OUTPUTS_MAX; i++)
        cpu_stage_writes(stage, node->output[i]);
    stage->share = run_attention;
    return status;
}
