/* run.c - one pass: the chains in order, each divided among the workers by rows or by columns. */
#include <string.h>
#include <time.h>

#include "plan.h"

static uint64_t now_ns(void) {
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* One stage on some rows, timed for the profile on worker 0: a stage's span begins with its first rows and is as long
 * as all of them took, blocks in between left out. */
static void run_rows(const cpu_hand *hand, uint32_t s, int64_t r0, int64_t r1, int p0, int p1) {
    const zeb_plan *plan = hand->whole;
    const cpu_stage *stage = &plan->stage[s];
    if (!plan->profiling || hand->worker != 0) {
        stage->rows(hand, stage, r0, r1, p0, p1);
        return;
    }
    const uint64_t begin = now_ns();
    stage->rows(hand, stage, r0, r1, p0, p1);
    uint64_t *span = &plan->span[2 * s];
    if (span[0] == 0) span[0] = span[1] = begin;
    span[1] += now_ns() - begin;
}

/* From now on rows `from` .. of the chain's own tensors are those of this worker's room for a block: row `from` is its
 * first. */
static void take_block(const cpu_hand *hand, const cpu_chain *chain, int64_t from) {
    for (uint32_t i = 0; i < chain->locals; i++) {
        cpu_tensor *t = &hand->plan->tensor[hand->whole->local[chain->local + i]];
        const uintptr_t first = (uintptr_t)(hand->local + t->local.at);
        t->data = (void *)(first - zeb_dtype_bytes(t->dtype, (size_t)from * t->ld));
    }
}

/* The rows of the chain's own tensors are everybody's: few enough for that. */
static void share_block(const cpu_hand *hand, const cpu_chain *chain) {
    for (uint32_t i = 0; i < chain->locals; i++) {
        const int32_t id = hand->whole->local[chain->local + i];
        hand->plan->tensor[id].data = hand->whole->tensor[id].data;
    }
}

/* Rows r0 .. r1 through all stages, a block at a time. */
static void walk_rows(const cpu_hand *hand, const cpu_chain *chain, int64_t r0, int64_t r1) {
    const zeb_plan *plan = hand->whole;
    const int64_t block = plan->device->choices.block_rows, blocks = (r1 - r0 + block - 1) / block;
    for (int64_t i = 0; i < blocks; i++) {
        const int64_t from = r0 + (r1 - r0) * i / blocks, to = r0 + (r1 - r0) * (i + 1) / blocks;
        take_block(hand, chain, from);
        for (uint32_t s = chain->first; s < chain->first + chain->count; s++)
            run_rows(hand, s, from, to, 0, plan->stage[s].panels);
    }
}

/* Stage by stage: a linear one by panels, others by rows. */
static void walk_columns(const cpu_hand *hand, const cpu_chain *chain, int64_t rows) {
    const zeb_plan *plan = hand->whole;
    const int64_t i = hand->worker, n = hand->workers;
    share_block(hand, chain);
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
