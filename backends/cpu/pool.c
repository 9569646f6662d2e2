/* pool.c - the team of threads. What is waited for (a job, another worker at a barrier) is a 32-bit generation that one
 * thread advances and others watch: first in a loop, then in the kernel. At a barrier everybody advances his own and
 * watches all others', each in a cache line of its own: one trip of a line between cores, no counter to be fought for.
 * A sleeper announces itself before it looks at the generation for the last time, the waker looks for sleepers after it
 * has advanced it; both in sequentially consistent order, so one of the two sees the other. */
#include "pool.h"

#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* How often a waiter looks before it sleeps. A look costs some 40 ns (x86 pause) at most: about 40 us at a barrier, and
 * 200 us between passes, several times what a sleeping thread costs to wake. */
enum { SPINS_BARRIER = 1000, SPINS_JOB = 5000 };

typedef struct cpu_gate {
    _Atomic uint32_t generation;
    _Atomic uint32_t sleepers;
} cpu_gate;

struct cpu_pool {
    _Alignas(64) cpu_gate job_gate;
    void (*job)(void *context, uint32_t worker); /* published by job_gate, in its line */
    void *context;
    int stop;
    _Alignas(64) uint32_t threads;
    int pin;
    int processor;       /* of worker 0 */
    cpu_set_t *own_mask; /* of worker 0 during a run */
    cpu_set_t *mask;     /* where the caller's mask is kept during a run */
    size_t mask_bytes;
    struct cpu_worker *worker;
};

typedef struct cpu_worker {
    _Alignas(64) cpu_gate arrived; /* at barriers */
    _Alignas(64) cpu_pool *pool;
    uint32_t index;
    pthread_t thread;
} cpu_worker;

enum { PROCESSORS_MAX = 1024 };

static inline void look_again(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static void gate_open(cpu_gate *gate) {
    atomic_fetch_add(&gate->generation, 1);
    if (atomic_load(&gate->sleepers) > 0)
        (void)syscall(SYS_futex, &gate->generation, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

/* Returns once the generation is no longer `seen`. */
static void gate_wait(cpu_gate *gate, uint32_t seen, int spins) {
    for (int i = 0; i < spins; i++) {
        if (atomic_load_explicit(&gate->generation, memory_order_acquire) != seen) return;
        look_again();
    }
    atomic_fetch_add(&gate->sleepers, 1);
    while (atomic_load(&gate->generation) == seen)
        (void)syscall(SYS_futex, &gate->generation, FUTEX_WAIT_PRIVATE, seen, NULL, NULL, 0);
    atomic_fetch_sub(&gate->sleepers, 1);
}

void cpu_pool_barrier(cpu_pool *pool, uint32_t worker) {
    if (pool->threads == 1) return;
    cpu_gate *own = &pool->worker[worker].arrived;
    const uint32_t seen = atomic_load_explicit(&own->generation, memory_order_relaxed);
    gate_open(own);
    for (uint32_t i = 0; i < pool->threads; i++) /* some may be at the next barrier already */
        if (i != worker) gate_wait(&pool->worker[i].arrived, seen, SPINS_BARRIER);
}

static void *work(void *argument) {
    const cpu_worker *self = argument;
    cpu_pool *pool = self->pool;
    uint32_t seen = 0;
    for (;;) {
        gate_wait(&pool->job_gate, seen, SPINS_JOB);
        seen++;
        if (pool->stop) return NULL;
        pool->job(pool->context, self->index);
        gate_open(&pool->worker[self->index].arrived); /* worker 0 alone waits for that */
    }
}

void cpu_pool_run(cpu_pool *pool, void (*job)(void *context, uint32_t worker), void *context) {
    int moved = 0;
    if (pool->pin && sched_getcpu() != pool->processor) { /* a thread stays where it is, mostly: then save the calls */
        if (sched_getaffinity(0, pool->mask_bytes, pool->mask) == 0)
            moved = sched_setaffinity(0, pool->mask_bytes, pool->own_mask) == 0;
    }
    if (pool->threads > 1) {
        pool->job = job;
        pool->context = context;
        gate_open(&pool->job_gate);
    }
    job(context, 0);
    cpu_pool_barrier(pool, 0);
    if (moved) (void)sched_setaffinity(0, pool->mask_bytes, pool->mask);
}

uint32_t cpu_pool_threads(const cpu_pool *pool) {
    return pool->threads;
}

/* Starts worker i, on its processor if there is one. */
static int start(cpu_pool *pool, uint32_t i, const int *processor, cpu_set_t *set, int *pinned) {
    pthread_attr_t attributes;
    if (pthread_attr_init(&attributes) != 0) return -1;
    if (processor != NULL) {
        CPU_ZERO_S(pool->mask_bytes, set);
        CPU_SET_S((size_t)processor[i], pool->mask_bytes, set);
        if (pthread_attr_setaffinity_np(&attributes, pool->mask_bytes, set) != 0) *pinned = 0;
    }
    cpu_worker *worker = &pool->worker[i];
    worker->pool = pool;
    worker->index = i;
    int failed = pthread_create(&worker->thread, &attributes, work, worker);
    if (failed && processor != NULL) { /* the processor may have gone since we asked */
        *pinned = 0;
        failed = pthread_create(&worker->thread, NULL, work, worker);
    }
    (void)pthread_attr_destroy(&attributes);
    return failed ? -1 : 0;
}

zeb_status cpu_pool_create(uint32_t threads, const int *processor, cpu_pool **result, int *pinned, zeb_error *error) {
    zeb_status status = zeb_fail(error, ZEB_ERR_MEMORY, "no memory for %u threads", threads);
    cpu_pool *pool = aligned_alloc(64, sizeof *pool);
    if (pool == NULL) return status;
    memset(pool, 0, sizeof *pool);
    pool->threads = 1;
    pool->mask_bytes = CPU_ALLOC_SIZE(PROCESSORS_MAX);
    pool->own_mask = CPU_ALLOC(PROCESSORS_MAX);
    pool->mask = CPU_ALLOC(PROCESSORS_MAX);
    pool->worker = aligned_alloc(64, threads * sizeof *pool->worker);
    if (pool->worker != NULL) memset(pool->worker, 0, threads * sizeof *pool->worker);
    *pinned = processor != NULL;
    if (pool->own_mask == NULL || pool->mask == NULL || pool->worker == NULL) goto done;
    for (uint32_t i = 1; i < threads; i++) { /* pool->mask serves as scratch until the first run */
        if (start(pool, i, processor, pool->mask, pinned) != 0) {
            status = zeb_fail(error, ZEB_ERR_DEVICE, "the system refused thread %u of %u", i + 1, threads);
            goto done;
        }
        pool->threads = i + 1;
    }
    if (processor != NULL) {
        CPU_ZERO_S(pool->mask_bytes, pool->own_mask);
        CPU_SET_S((size_t)processor[0], pool->mask_bytes, pool->own_mask);
        pool->pin = 1;
        pool->processor = processor[0];
    }
    *result = pool;
    pool = NULL;
    status = ZEB_OK;
done:
    cpu_pool_destroy(pool);
    return status;
}

void cpu_pool_destroy(cpu_pool *pool) {
    if (pool == NULL) return;
    pool->stop = 1;
    gate_open(&pool->job_gate);
    for (uint32_t i = 1; i < pool->threads; i++)
        (void)pthread_join(pool->worker[i].thread, NULL);
    if (pool->own_mask != NULL) CPU_FREE(pool->own_mask);
    if (pool->mask != NULL) CPU_FREE(pool->mask);
    free(pool->worker);
    free(pool);
}
