/* run.c - one pass: the chains in order, each divided among the workers by rows or by columns. */
#include <string.h>
#include <time.h>

#include "plan.h"

static uint64_t now_ns(void) {
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* For the profile of worker 0: a stage's span begins with its first rows and is as long as all of them took, blocks in
 * between left out. */
static void add_span(const zeb_plan *plan, uint32_t s, uint64_t begin) {
    uint64_t *span = &plan->span[2 * s];
    if (span[0] == 0) span[0] = span[1] = begin;
    span[1] += now_ns() - begin;
}

static bool is_timed(const cpu_hand *hand) {
    return hand->whole->profiling && hand->worker == 0;
}

/* One stage on some rows. */
static void run_rows(const cpu_hand *hand, uint32_t s, int64_t r0, int64_t r1, int p0, int p1) {
    const cpu_stage *stage = &hand->whole->stage[s];
    const uint64_t begin = is_timed(hand) ? now_ns() : 0;
    stage->rows(hand, stage, r0, r1, p0, p1);
    if (is_timed(hand)) add_span(hand->whole, s, begin);
}

/* All stages of a chain on some rows. */
static void run_chain(const cpu_hand *hand, const cpu_chain *chain, int64_t r0, int64_t r1) {
    for (uint32_t s = chain->first; s < chain->first + chain->count; s++)
        run_rows(hand, s, r0, r1, 0, hand->whole->stage[s].panels);
}

/* ---- whose rows ------------------------------------------------------------------------------------------------- */

/* Rows `from` .. of what a chain alone needs, or its whole span, are those of this worker's room: row `from` is its
 * first. */
static void take_room(const cpu_hand *hand, const cpu_chain *chain, bool span, int64_t from) {
    const zeb_plan *plan = hand->whole;
    for (uint32_t i = 0; i < chain->locals; i++) {
        cpu_tensor *t = &hand->plan->tensor[plan->local[chain->local + i]];
        if (!span && (!cpu_in_block(plan, t) || t->arena.first != (int)(chain - plan->chain))) continue;
        const uintptr_t first = (uintptr_t)(hand->local + t->local.at);
        t->data = (void *)(first - zeb_dtype_bytes(t->dtype, (size_t)from * t->ld));
    }
}

/* They are everybody's. */
static void leave_room(const cpu_hand *hand, const cpu_chain *chain) {
    for (uint32_t i = 0; i < chain->locals; i++) {
        const int32_t id = hand->whole->local[chain->local + i];
        hand->plan->tensor[id].data = hand->whole->tensor[id].data;
    }
}

/* ---- a span, a group of sequences at a time ---------------------------------------------------------------------- */

/* Whether the batch of this pass is one of enough sequences, each small enough for a worker's room, and of more rows
 * than one block. They must follow one another through all rows: what a group leaves out, nobody computes. */
static bool takes_groups(const cpu_hand *hand, const cpu_chain *chain) {
    if (chain->span < 2) return false;
    const zeb_plan *plan = hand->whole;
    const int32_t space = plan->stage[chain->first].space;
    const int64_t sequences = cpu_sequences(plan, space), rows = cpu_live_rows(plan, space);
    int64_t some = 0, first, end = 0;
    if (rows <= plan->device->choices.block_rows) return false;
    for (int64_t b = 0; b < sequences; b++) {
        const int64_t before = end;
        cpu_sequence_rows(plan, space, b, &first, &end);
        if (first != before || end - first > CPU_BLOCK_ROWS_MAX) return false;
        some += end > first;
    }
    return end == rows && some >= (hand->workers > 1 ? CPU_SEQUENCES_LEAST * (int64_t)hand->workers : 1);
}

/* The first sequence that begins at or after the row. */
static int64_t sequence_from(const zeb_plan *plan, int32_t space, int64_t row) {
    const int64_t sequences = cpu_sequences(plan, space);
    int64_t b = 0, first = 0, end;
    for (; b < sequences; b++) {
        cpu_sequence_rows(plan, space, b, &first, &end);
        if (first >= row) break;
    }
    return b;
}

static void run_group(const cpu_hand *hand, const cpu_chain *chain, int64_t b0, int64_t b1) {
    const zeb_plan *plan = hand->whole;
    const int32_t space = plan->stage[chain->first].space;
    int64_t r0, r1, end;
    cpu_sequence_rows(plan, space, b0, &r0, &end);
    cpu_sequence_rows(plan, space, b1 - 1, &end, &r1);
    if (r0 == r1) return;
    take_room(hand, chain, true, r0);
    for (const cpu_chain *c = chain; c < chain + chain->span; c++) {
        const uint64_t begin = !c->row_local && is_timed(hand) ? now_ns() : 0;
        if (c->row_local)
            run_chain(hand, c, r0, r1);
        else
            cpu_attend(hand, &plan->stage[c->first], b0, b1);
        if (begin != 0) add_span(plan, c->first, begin);
    }
}

/* This worker's part of the sequences, in groups of about a block of rows. */
static void walk_groups(const cpu_hand *hand, const cpu_chain *chain) {
    const zeb_plan *plan = hand->whole;
    const int32_t space = plan->stage[chain->first].space;
    const int64_t rows = cpu_live_rows(plan, space), i = hand->worker, n = hand->workers;
    const int64_t block = plan->device->choices.block_rows, last = sequence_from(plan, space, rows * (i + 1) / n);
    int64_t from = sequence_from(plan, space, rows * i / n), begin, first, end;
    while (from < last) {
        int64_t to = from;
        cpu_sequence_rows(plan, space, from, &begin, &end);
        do
            cpu_sequence_rows(plan, space, to++, &first, &end);
        while (to < last && end - begin < block &&
               (cpu_sequence_rows(plan, space, to, &first, &end), end - begin <= CPU_BLOCK_ROWS_MAX));
        run_group(hand, chain, from, to);
        from = to;
    }
}

/* ---- a chain ---------------------------------------------------------------------------------------------------- */

/* Rows r0 .. r1 through all stages, a block at a time. */
static void walk_rows(const cpu_hand *hand, const cpu_chain *chain, int64_t r0, int64_t r1) {
    const int64_t block = hand->whole->device->choices.block_rows, blocks = (r1 - r0 + block - 1) / block;
    for (int64_t i = 0; i < blocks; i++) {
        const int64_t from = r0 + (r1 - r0) * i / blocks, to = r0 + (r1 - r0) * (i + 1) / blocks;
        take_room(hand, chain, false, from);
        run_chain(hand, chain, from, to);
    }
}

/* Stage by stage: a linear one by panels, others by rows. */
static void walk_columns(const cpu_hand *hand, const cpu_chain *chain, int64_t rows) {
    const zeb_plan *plan = hand->whole;
    const int64_t i = hand->worker, n = hand->workers;
    for (uint32_t s = chain->first; s < chain->first + chain->count; s++) {
        const cpu_stage *stage = &plan->stage[s];
        if (s > chain->first) cpu_pool_barrier(plan->pool, hand->worker);
        if (stage->panels > 0)
            run_rows(hand, s, 0, rows, (int)(stage->panels * i / n), (int)(stage->panels * (i + 1) / n));
        else
            run_rows(hand, s, rows * i / n, rows * (i + 1) / n, 0, 0);
    }
}

static void walk_chain(const cpu_hand *hand, const cpu_chain *chain) {
    const zeb_plan *plan = hand->whole;
    const cpu_stage *first = &plan->stage[chain->first];
    leave_room(hand, chain);
    if (!chain->row_local) {
        first->share(hand, first);
        return;
    }
    const int64_t rows = cpu_live_rows(plan, first->space), i = hand->worker, n = hand->workers;
    if (rows == 0) return;
    if (n == 1)
        walk_rows(hand, chain, 0, rows);
    else if (rows >= n * plan->device->choices.worker_rows)
        walk_rows(hand, chain, rows * i / n, rows * (i + 1) / n);
    else
        walk_columns(hand, chain, rows);
}

static void work(void *context, uint32_t worker) {
    zeb_plan *plan = context;
    const cpu_hand *hand = &plan->hand[worker];
    for (uint32_t c = 0; c < plan->chains; c++) {
        if (c > 0) cpu_pool_barrier(plan->pool, hand->worker);
        const cpu_chain *chain = &plan->chain[c];
        if (takes_groups(hand, chain)) {
            walk_groups(hand, chain);
            c += chain->span - 1;
            continue;
        }
        const bool timed = plan->profiling && worker == 0 && !chain->row_local;
        if (timed) plan->span[2 * chain->first] = now_ns();
        walk_chain(hand, chain);
        if (timed) plan->span[2 * chain->first + 1] = now_ns();
    }
}

zeb_status cpu_pass(zeb_plan *plan, zeb_error *error) {
    for (uint32_t s = 0; s < plan->stages; s++)
        for (int i = 0; i < 2; i++)
            atomic_store_explicit(&plan->stage[s].ticket[i], 0, memory_order_relaxed);
    atomic_store_explicit(&plan->bad_id_stage, 0, memory_order_relaxed);
    if (plan->profiling) memset(plan->span, 0, 2 * (size_t)plan->stages * sizeof *plan->span);
    cpu_pool_run(plan->pool, work, plan);
    const int32_t bad = atomic_load_explicit(&plan->bad_id_stage, memory_order_relaxed);
    if (bad != 0)
        return zeb_fail(error, ZEB_ERR_RANGE, "node \"%s\": an id or a position lies outside its table",
                        plan->stage[bad - 1].name);
    return ZEB_OK;
}
