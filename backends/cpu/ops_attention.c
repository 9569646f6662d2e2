/* ops_attention.c - ATTENTION: tasks, each one head of one sequence, handed out to the workers. With a selection, a
 * first round weighs the keys and keeps the probabilities, one worker selects, and a second round makes context rows of
 * the survivors alone, out of what was kept (or weighed again, where keeping would take too much memory). Or the first
 * round makes those of all rows, and survivors' are copied: see makes_all. */
#include <string.h>

#include "attention.h"
#include "blocks.h"

enum {
    KEPT_MOST = 16 << 20, /* bytes for kept probabilities */
    KEPT_LEAST = 3 << 19, /* from so many on, contexts of all rows may cost less */
    CHUNKS_MAX = 8,       /* of the queries of a sequence: bounds the partial sums of importance */
    CHUNK_LEAST = 48,     /* rows; below, packing keys again costs more than it spreads */
};

/* What a round makes. */
typedef struct round {
    bool importance, context, survivors;
    bool all; /* contexts of all rows aside, before it is known which survive */
} round;

/* Queries are cut only as far as the workers need: two tasks for each. */
static int64_t chunks_of(const zeb_plan *plan, const cpu_attention *a, int64_t queries) {
    const int64_t heads = cpu_sequences(plan, a->q) * a->attr.heads, wanted = 2 * cpu_pool_threads(plan->pool);
    const int64_t chunks = (wanted + heads - 1) / heads, most = (queries + CHUNK_LEAST - 1) / CHUNK_LEAST;
    const int64_t some = chunks < most ? chunks : most;
    return some < CHUNKS_MAX ? some : CHUNKS_MAX;
}

static void clear_context(const zeb_plan *plan, const cpu_attention *a, const cpu_task *t) {
    const int64_t dim = a->attr.head_dim;
    float *context = cpu_context_row(plan, a, t, 0) + t->head * dim;
    for (int64_t i = t->from; i < t->to; i++)
        memset(context + (size_t)i * plan->tensor[a->context].ld, 0, (size_t)dim * sizeof(float));
}

/* The tiles of a task. */
static void run_tiles(const zeb_plan *plan, const cpu_attention *a, const cpu_task *t, cpu_desk *d, const round *make,
                      float *partial) {
    const int64_t most = cpu_tile_queries(plan, a, t), rows = t->to - t->from, tiles = (rows + most - 1) / most;
    float share[CPU_QUERIES_MAX];
    for (int64_t i = 0; i < tiles; i++) {
        const int64_t from = t->from + rows * i / tiles;
        const int n = (int)(t->from + rows * (i + 1) / tiles - from);
        const bool recall = t->kept != NULL && make->survivors;
        if (recall)
            cpu_tile_recall(plan, a, t, d, from, n, share);
        else
            cpu_tile_weigh(plan, a, t, d, from, n, partial, share);
        if (make->context && !recall) cpu_tile_ready(plan, a, t, d, n);
        if (make->context)
            cpu_tile_context(plan, a, t, d, from, n, share);
        else if (t->kept != NULL)
            cpu_tile_keep(plan, a, t, d, from, n, share);
    }
}

static void run_task(const cpu_hand *hand, const cpu_attention *a, const cpu_task *t, const round *make) {
    const zeb_plan *plan = hand->plan;
    uintptr_t scratch = (uintptr_t)hand->scratch;
    cpu_desk d = cpu_desk_at(plan, a, &scratch);
    cpu_desk_fit(plan, a, t, &d);
    float *partial = NULL;
    if (make->importance) {
        partial = a->partial + (t->head * CHUNKS_MAX + t->chunk) * a->keys_max + t->key_first;
        memset(partial, 0, (size_t)t->keys * sizeof *partial);
    }
    const bool open = a->gates == ZEB_NONE || cpu_row(plan, a->gates, t->sequence)[t->head] != 0.0f;
    if (!open || t->keys == 0) {
        if (make->context) clear_context(plan, a, t);
        return;
    }
    if (t->kept == NULL || !make->survivors) cpu_task_keys(plan, a, t, &d);
    if (make->context) cpu_task_values(plan, a, t, &d);
    run_tiles(plan, a, t, &d, make, partial);
}

/* Bytes that keeping all probabilities of this pass takes. */
static size_t kept_bytes(const zeb_plan *plan, const cpu_attention *a) {
    const int64_t sequences = cpu_sequences(plan, a->q);
    size_t bytes = 0;
    for (int64_t b = 0; b < sequences; b++) {
        int64_t first, end;
        cpu_sequence_rows(plan, a->q, b, &first, &end);
        bytes += (size_t)(a->attr.heads * (end - first)) * cpu_kept_row(plan, a, end - first);
    }
    return bytes;
}

/* The sequence's part of a task; returns how many rows its tasks are about. */
static int64_t aim_task(const zeb_plan *plan, const cpu_attention *a, int64_t b, bool survivors, cpu_task *t) {
    int64_t end;
    *t = (cpu_task){.sequence = b};
    cpu_sequence_rows(plan, a->k, b, &t->key_first, &end);
    t->keys = end - t->key_first;
    cpu_sequence_rows(plan, a->q, b, &t->query_first, &end);
    t->queries = end - t->query_first;
    t->context_first = t->query_first;
    if (!survivors) return t->queries;
    const int32_t *offsets = cpu_ints(plan, a->offsets);
    t->context_first = offsets[b];
    t->survivor = cpu_ints(plan, a->indices) + offsets[b];
    return offsets[b + 1] - offsets[b];
}

/* The tasks of a round, handed out one by one. */
static void run_round(const cpu_hand *hand, const cpu_attention *a, _Atomic uint64_t *ticket, const round *make) {
    const zeb_plan *plan = hand->plan;
    const int64_t sequences = cpu_sequences(plan, a->q);
    const bool keeps = a->kept != NULL && (make->survivors || !make->context) && kept_bytes(plan, a) <= a->kept_size;
    uint64_t mine = atomic_fetch_add(ticket, 1), next = 0;
    size_t kept = 0;
    for (int64_t b = 0; b < sequences; b++) {
        cpu_task t;
        const int64_t rows = aim_task(plan, a, b, make->survivors, &t), chunks = chunks_of(plan, a, rows);
        const size_t head_bytes = (size_t)t.queries * cpu_kept_row(plan, a, t.queries);
        t.kept_row = cpu_kept_row(plan, a, t.queries);
        for (int64_t i = 0; i < chunks * a->attr.heads; i++, next++) {
            if (next != mine) continue;
            mine = atomic_fetch_add(ticket, 1);
            /* the head that was weighed last first: what it kept is still in the cache */
            t.head = make->survivors ? a->attr.heads - 1 - i / chunks : i / chunks;
            t.chunk = i % chunks;
            t.from = rows * t.chunk / chunks;
            t.to = rows * (t.chunk + 1) / chunks;
            t.all = make->all ? a->all : NULL;
            t.kept = keeps ? a->kept + kept + (size_t)t.head * head_bytes : NULL;
            run_task(hand, a, &t, make);
        }
        kept += (size_t)a->attr.heads * head_bytes;
    }
}

void cpu_attend(const cpu_hand *hand, const cpu_stage *stage, int64_t b0, int64_t b1) {
    const cpu_attention *a = &stage->as.attention;
    for (int64_t b = b0; b < b1; b++) {
        cpu_task t;
        t.to = aim_task(hand->plan, a, b, false, &t);
        for (t.head = 0; t.head < a->attr.heads && t.to > 0; t.head++)
            run_task(hand, a, &t, &(round){.context = true});
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

/* Whether contexts are made of all rows in passing and some dropped, rather than of survivors out of probabilities that
 * were put aside: where these leave the second-level cache meanwhile, that costs more than what is dropped, if most
 * survive. Slabs are so fast that it always does. How many a threshold keeps isn't known before. */
static bool makes_all(const zeb_plan *plan, const cpu_attention *a) {
    if (a->halves) return true;
    if (kept_bytes(plan, a) < KEPT_LEAST) return false;
    const int64_t sequences = cpu_sequences(plan, a->q);
    int64_t rows = 0, all = 0;
    for (int64_t b = 0; b < sequences; b++) {
        int64_t first, end;
        cpu_sequence_rows(plan, a->q, b, &first, &end);
        rows += (end - first) * zeb_select_quota(&a->attr.select, (int32_t)(end - first));
        all += (end - first) * (end - first);
    }
    return 100 * rows >= plan->device->choices.all_percent * all;
}

/* Context rows of the survivors out of those of all. */
static void take_survivors(const cpu_hand *hand, const cpu_attention *a) {
    const zeb_plan *plan = hand->plan;
    const cpu_tensor *out = &plan->tensor[a->context];
    const int32_t *index = cpu_ints(plan, a->indices);
    const int64_t rows = cpu_ints(plan, a->count)[0];
    for (int64_t r = rows * hand->worker / hand->workers; r < rows * (hand->worker + 1) / hand->workers; r++)
        memcpy(cpu_row(plan, a->context, r), a->all + (size_t)index[r] * out->ld, (size_t)out->width * sizeof(float));
}

static void run_attention(const cpu_hand *hand, const cpu_stage *stage) {
    zeb_plan *plan = hand->plan;
    const cpu_attention *a = &stage->as.attention;
    cpu_stage *own = &plan->stage[stage - plan->stage];
    if (a->attr.select.mode == ZEB_SELECT_NONE) {
        cpu_flag_heads(hand, a);
        run_round(hand, a, &own->ticket[0], &(round){a->weigh, true, false, false});
        if (!a->weigh) return;
        cpu_pool_barrier(plan->pool, hand->worker);
        finish_importance(hand, a);
        return;
    }
    const bool all = a->weigh && makes_all(plan, a);
    if (a->weigh) {
        run_round(hand, a, &own->ticket[0], &(round){true, all, false, all});
        cpu_pool_barrier(plan->pool, hand->worker);
        finish_importance(hand, a);
        cpu_pool_barrier(plan->pool, hand->worker);
    }
    if (hand->worker == 0) select_survivors(plan, a);
    cpu_pool_barrier(plan->pool, hand->worker);
    cpu_flag_heads(hand, a);
    if (!all)
        run_round(hand, a, &own->ticket[1], &(round){false, true, true, false});
    else
        take_survivors(hand, a);
}

/* Cuts what the stage needs for itself from *at on. */
static void lay_out(const zeb_plan *plan, cpu_attention *a, uintptr_t *at) {
    const size_t rows = (size_t)a->keys_max, heads = (size_t)a->attr.heads;
    const bool selects = a->attr.select.mode != ZEB_SELECT_NONE;
    if (a->weigh) {
        a->partial = cpu_cut(at, heads * CHUNKS_MAX * rows, sizeof *a->partial);
        a->mean = cpu_cut(at, rows, sizeof *a->mean);
    }
    if (selects) {
        a->mark = cpu_cut(at, rows, sizeof *a->mark);
        a->key = cpu_cut(at, rows, sizeof *a->key);
    }
    if (selects && a->weigh) { /* a pass uses one or the other */
        const uintptr_t begin = *at;
        a->all = cpu_cut(at, rows * plan->tensor[a->context].ld, sizeof *a->all);
        if (a->halves) return;
        const size_t most = heads * rows * cpu_kept_row(plan, a, a->keys_max); /* one long sequence */
        a->kept_size = most < KEPT_MOST ? most : KEPT_MOST;
        const uintptr_t end = *at;
        *at = begin;
        a->kept = cpu_cut(at, a->kept_size, 1);
        if (end > *at) *at = end;
    }
}

void cpu_attention_bind(zeb_plan *plan, cpu_attention *attention) {
    uintptr_t at = (uintptr_t)plan->common;
    lay_out(plan, attention, &at);
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
    a->halves = a->attr.precision != ZEB_PRECISION_F32 && plan->kernels->half != NULL && !(a->attr.score_threshold > 0);
    const uint32_t mode = a->attr.select.mode;
    a->weigh = a->importance != ZEB_NONE || (mode != ZEB_SELECT_NONE && mode != ZEB_SELECT_FIRST);
    cpu_want_head_flags(plan, a);
    uintptr_t common = 0;
    lay_out(plan, a, &common);
    if (common > plan->common_bytes) plan->common_bytes = common;
    uintptr_t size = 0;
    (void)cpu_desk_at(plan, a, &size);
    cpu_plan_scratch(plan, size);
    cpu_stage_reads(stage, a->q);
    cpu_stage_reads(stage, a->k);
    cpu_stage_reads(stage, a->v);
    cpu_stage_reads(stage, a->gates);
    cpu_stage_writes(stage, a->flags);
    for (int i = 0; i < ZEB_NODE_OUTPUTS_MAX; i++)
        cpu_stage_writes(stage, node->output[i]);
    stage->share = run_attention;
    (void)error;
    return ZEB_OK;
}
