/* The team of threads: every worker runs every job, barriers separate what is before from what is after. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sched.h>
#include <stdatomic.h>
#include <time.h>

#include "pool.h"

enum { WORKERS = 4, ROUNDS = 300 };

typedef struct relay {
    cpu_pool *pool;
    uint32_t seen[WORKERS]; /* plain memory: only the barrier makes it safe to read another worker's */
    _Atomic uint32_t wrong;
    uint32_t rounds;
} relay;

/* Each round every worker writes its own cell and then checks all cells. */
static void pass_on(void *context, uint32_t worker) {
    relay *r = context;
    for (uint32_t round = 1; round <= r->rounds; round++) {
        r->seen[worker] = round;
        cpu_pool_barrier(r->pool, worker);
        for (uint32_t i = 0; i < cpu_pool_threads(r->pool); i++)
            if (r->seen[i] != round) atomic_fetch_add(&r->wrong, 1);
        cpu_pool_barrier(r->pool, worker);
    }
}

static void check_relay(uint32_t threads, uint32_t jobs, uint32_t rounds) {
    zeb_error error = {""};
    relay r = {.rounds = rounds};
    int pinned = -1;
    assert_int_equal(cpu_pool_create(threads, NULL, &r.pool, &pinned, &error), ZEB_OK);
    assert_int_equal(pinned, 0);
    assert_int_equal(cpu_pool_threads(r.pool), threads);
    for (uint32_t i = 0; i < jobs; i++) {
        cpu_pool_run(r.pool, pass_on, &r);
        for (uint32_t w = 0; w < threads; w++)
            assert_int_equal(r.seen[w], rounds);
        for (uint32_t w = 0; w < threads; w++)
            r.seen[w] = 0;
    }
    assert_int_equal(atomic_load(&r.wrong), 0);
    cpu_pool_destroy(r.pool);
}

static void test_one_worker(void **state) {
    (void)state;
    check_relay(1, 5, ROUNDS);
}

static void test_barriers(void **state) {
    (void)state;
    check_relay(2, 3, ROUNDS);
    check_relay(WORKERS, 2, ROUNDS / 4); /* more workers than this machine may have processors: they must sleep */
}

static void test_many_short_jobs(void **state) {
    (void)state;
    check_relay(2, 500, 1);
}

/* Workers that went to sleep wake up for the next job. */
static void test_wakes_sleepers(void **state) {
    (void)state;
    zeb_error error = {""};
    relay r = {.rounds = 2};
    int pinned;
    assert_int_equal(cpu_pool_create(3, NULL, &r.pool, &pinned, &error), ZEB_OK);
    for (int i = 0; i < 5; i++) {
        const struct timespec while_they_sleep = {0, 3000000};
        (void)nanosleep(&while_they_sleep, NULL);
        cpu_pool_run(r.pool, pass_on, &r);
    }
    assert_int_equal(atomic_load(&r.wrong), 0);
    cpu_pool_destroy(r.pool);
}

static void test_unused_pool_ends(void **state) {
    (void)state;
    zeb_error error = {""};
    cpu_pool *pool = NULL;
    int pinned;
    assert_int_equal(cpu_pool_create(WORKERS, NULL, &pool, &pinned, &error), ZEB_OK);
    cpu_pool_destroy(pool);
    cpu_pool_destroy(NULL);
}

static void note_processor(void *context, uint32_t worker) {
    ((int *)context)[worker] = sched_getcpu();
}

/* Worker 0 is the caller's thread: it runs on its processor during a job and has its old mask afterwards. */
static void test_pinning_is_given_back(void **state) {
    (void)state;
    zeb_error error = {""};
    cpu_set_t before, after;
    assert_int_equal(sched_getaffinity(0, sizeof before, &before), 0);
    int processor[2], n = 0, ran[2] = {-1, -1}, pinned = 0;
    for (int i = CPU_SETSIZE - 1; i >= 0 && n < 2; i--)
        if (CPU_ISSET(i, &before)) processor[n++] = i;
    cpu_pool *pool = NULL;
    assert_int_equal(cpu_pool_create((uint32_t)n, processor, &pool, &pinned, &error), ZEB_OK);
    assert_int_equal(pinned, 1);
    cpu_pool_run(pool, note_processor, ran);
    for (int i = 0; i < n; i++)
        assert_int_equal(ran[i], processor[i]);
    assert_int_equal(sched_getaffinity(0, sizeof after, &after), 0);
    assert_true(CPU_EQUAL(&before, &after));
    cpu_pool_destroy(pool);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_worker),       cmocka_unit_test(test_barriers),
        cmocka_unit_test(test_many_short_jobs),  cmocka_unit_test(test_wakes_sleepers),
        cmocka_unit_test(test_unused_pool_ends), cmocka_unit_test(test_pinning_is_given_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
