#include "run/measure.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/random.h"
#include "run/bench.h"
#include "run/finite.h"
#include "run/stats.h"

enum { WARM_UP_PASSES_MIN = 3, WARM_UP_PASSES_MAX = 1000, WARM_UP_NS = 250000000 };

/* One walk over examples in some order. */
typedef struct tour {
    const uint32_t *order; /* [count] */
    size_t count;
    size_t at;    /* the next example */
    size_t taken; /* examples in the batch in hand, from at - taken */
} tour;

/* Fills the batch with the next examples of the walk; at least one, since any sequence fits an empty batch. */
static void fill(zeb_session *session, tour *walk) {
    zeb_batch_clear(&session->batch);
    walk->taken = 0;
    while (walk->at < walk->count && zeb_batch_add(&session->batch, &session->sequence[walk->order[walk->at]])) {
        walk->at++;
        walk->taken++;
    }
}

/* The timed span: packing, transfers and the pass itself, as a caller of the device would see them. */
static zeb_status timed_pass(zeb_session *session, tour *walk, uint64_t *span_ns, uint64_t *end_ns, zeb_error *error) {
    uint64_t begin = zeb_clock_now_ns();
    fill(session, walk);
    zeb_status status = zeb_session_pass(session, error);
    *end_ns = zeb_clock_now_ns();
    *span_ns = *end_ns - begin;
    return status;
}

static bool stopped(const zeb_shared *shared) {
    return atomic_load_explicit(&shared->stop, memory_order_relaxed) != 0;
}

static zeb_status alloc(zeb_arena *arena, size_t count, size_t size, void *pointer, zeb_error *error) {
    void *memory;
    zeb_status status = zeb_arena_alloc(arena, count, size, &memory, error);
    memcpy(pointer, &memory, sizeof memory);
    return status;
}

/* The examples in the order of their file, to walk or to shuffle. */
static zeb_status in_order(zeb_session *session, uint32_t **order, zeb_error *error) {
    size_t count = session->data.count;
    zeb_status status = alloc(session->arena, count, sizeof **order, order, error);
    for (size_t i = 0; i < count && status == ZEB_OK; i++)
        (*order)[i] = (uint32_t)i;
    return status;
}

zeb_status zeb_warm_up(zeb_session *session, zeb_shared *shared, zeb_measurement *measured, zeb_error *error) {
    uint32_t *order;
    size_t count = session->data.count;
    zeb_status status = in_order(session, &order, error);
    if (status != ZEB_OK) return status;
    tour walk = {.order = order, .count = count};
    uint64_t begin = zeb_clock_now_ns();
    uint64_t end = begin;
    while (measured->warmup < WARM_UP_PASSES_MAX && !stopped(shared)) {
        if (measured->warmup >= WARM_UP_PASSES_MIN && end - begin >= WARM_UP_NS) break;
        if (walk.at == walk.count) walk.at = 0;
        uint64_t span;
        status = timed_pass(session, &walk, &span, &end, error);
        if (status != ZEB_OK) return status;
        if (measured->warmup++ == 0) {
            measured->first_ns = span;
            measured->first_done_ns = end;
        }
    }
    return ZEB_OK;
}

static void add_sample(zeb_measurement *measured, uint64_t span_ns, size_t sequences) {
    if (measured->samples < ZEB_SAMPLES_MAX) measured->sample_ns[measured->samples++] = span_ns;
    measured->timed_ns += span_ns;
    measured->sequences += sequences;
}

/* Keeps the logits of the batch in hand. */
static zeb_status keep_logits(zeb_session *session, const tour *walk, zeb_measurement *measured, zeb_error *error) {
    size_t labels = (size_t)session->labels;
    size_t first = walk->at - walk->taken;
    for (size_t i = 0; i < walk->taken * labels; i++)
        if (!isfinite(session->logits[i])) return zeb_finite_blame(session, walk->order[first + i / labels], error);
    memcpy(measured->logits + first * labels, session->logits, walk->taken * labels * sizeof(float));
    measured->scored = walk->at;
    measured->tokens += (uint64_t)session->batch.tokens;
    return ZEB_OK;
}

/* -1 stays -1: nothing of the kind. */
static void add_kept(int64_t *sum, int64_t kept) {
    *sum = kept < 0 ? -1 : *sum + kept;
}

/* Adds the work of the batch in hand, dense and as the device's kept counts say. */
static zeb_status count_work(zeb_session *session, zeb_measurement *measured, zeb_error *error) {
    zeb_work dense, executed;
    zeb_status status = zeb_session_work(session, &dense, &executed, error);
    for (int32_t layer = 0; layer < session->layers && status == ZEB_OK; layer++) {
        zeb_kept kept, *sum = &measured->kept[layer];
        status = zeb_session_kept(session, layer, &kept, error);
        add_kept(&sum->tokens, kept.tokens);
        add_kept(&sum->heads, kept.heads);
        add_kept(&sum->sequences, kept.sequences);
        add_kept(&sum->blocks, kept.blocks);
        add_kept(&sum->blocks_open, kept.blocks_open);
        add_kept(&sum->blocks_done, kept.blocks_done);
        sum->share += kept.share;
        sum->share_squared += kept.share_squared;
        sum->heads_squared += kept.heads_squared;
    }
    if (status != ZEB_OK) return status;
    measured->flops_dense += (double)dense.flops;
    measured->flops_executed += (double)executed.flops;
    measured->bytes_dense += (double)dense.bytes;
    measured->bytes_executed += (double)executed.bytes;
    return ZEB_OK;
}

/* The pass over all examples in their order: timed and scored. */
static zeb_status sweep(zeb_session *session, zeb_shared *shared, zeb_measurement *measured, zeb_error *error) {
    uint32_t *order;
    size_t count = session->data.count;
    zeb_status status = in_order(session, &order, error);
    if (status != ZEB_OK) return status;
    tour walk = {.order = order, .count = count};
    while (walk.at < walk.count && !stopped(shared)) {
        uint64_t span, end;
        status = timed_pass(session, &walk, &span, &end, error);
        if (status == ZEB_OK) status = keep_logits(session, &walk, measured, error);
        if (status == ZEB_OK) status = count_work(session, measured, error);
        if (status != ZEB_OK) return status;
        add_sample(measured, span, walk.taken);
        atomic_store_explicit(&shared->done, walk.at, memory_order_relaxed);
    }
    measured->interrupted = stopped(shared);
    return ZEB_OK;
}

static void shuffle(uint32_t *order, size_t count, zeb_random *random) {
    for (size_t i = count; i > 1; i--) {
        size_t j = (size_t)zeb_random_below(random, i);
        uint32_t swap = order[i - 1];
        order[i - 1] = order[j];
        order[j] = swap;
    }
}

/* True when sampling is over; why is in *measured. The rule is asked only when there are a tenth more samples than the
 * last time, so that asking costs next to nothing. */
static zeb_status enough(const zeb_case *what, uint64_t window_min_ns, uint64_t now, size_t *asked_at,
                         zeb_measurement *measured, bool *over, zeb_error *error) {
    uint64_t spent = now - measured->begin_ns;
    bool late = spent >= what->max_time_ns && spent >= window_min_ns;
    *over = false;
    if (!late && measured->samples < ZEB_SAMPLES_MAX && measured->samples < *asked_at + *asked_at / 10) return ZEB_OK;
    *asked_at = measured->samples;
    zeb_status status = zeb_stats_half_width(measured->sample_ns, measured->samples, &measured->ci, error);
    if (status != ZEB_OK) return status;
    bool narrow = measured->ci >= 0 && measured->ci <= what->target_ci;
    measured->capped = late && !narrow;
    *over = measured->capped || (narrow && spent >= window_min_ns);
    return ZEB_OK;
}

/* Passes in ever new random orders until the rule, the cap or the user ends them. */
static zeb_status sample_more(zeb_session *session, uint64_t window_min_ns, zeb_shared *shared,
                              zeb_measurement *measured, zeb_error *error) {
    uint32_t *order;
    size_t count = session->data.count;
    zeb_status status = in_order(session, &order, error);
    if (status != ZEB_OK) return status;
    zeb_random random;
    zeb_random_seed(&random, session->what->seed);
    tour walk = {.order = order, .count = count, .at = count};
    uint64_t now = zeb_clock_now_ns();
    size_t asked_at = 0;
    for (bool over = false;;) {
        status = enough(session->what, window_min_ns, now, &asked_at, measured, &over, error);
        if (status != ZEB_OK || over) return status;
        measured->interrupted = stopped(shared);
        if (measured->interrupted) return ZEB_OK;
        if (walk.at == walk.count) {
            shuffle(order, count, &random);
            walk.at = 0;
        }
        uint64_t span;
        status = timed_pass(session, &walk, &span, &now, error);
        if (status != ZEB_OK) return status;
        add_sample(measured, span, walk.taken);
        atomic_store_explicit(&shared->done, measured->sequences, memory_order_relaxed);
    }
}

zeb_status zeb_measure(zeb_session *session, uint64_t window_min_ns, zeb_shared *shared, zeb_measurement *measured,
                       zeb_error *error) {
    size_t count = session->data.count;
    void *samples;
    zeb_status status = zeb_shared_reserve(shared, ZEB_SAMPLES_MAX * sizeof(uint64_t), &samples, error);
    measured->sample_ns = samples;
    if (status == ZEB_OK)
        status = alloc(shared->arena, count * (size_t)session->labels, sizeof(float), &measured->logits, error);
    if (status == ZEB_OK)
        status = alloc(shared->arena, (size_t)session->layers, sizeof(zeb_kept), &measured->kept, error);
    if (status != ZEB_OK) return status;
    measured->ci = -1;
    atomic_store(&shared->total, count);
    atomic_store(&shared->done, 0);
    atomic_store(&shared->stage, ZEB_STAGE_MEASURE);
    measured->begin_ns = zeb_clock_now_ns();
    status = sweep(session, shared, measured, error);
    atomic_store(&shared->total, 0); /* from here on nobody can say how many there will be */
    if (status == ZEB_OK && !measured->interrupted)
        status = sample_more(session, window_min_ns, shared, measured, error);
    measured->end_ns = zeb_clock_now_ns();
    return status;
}
