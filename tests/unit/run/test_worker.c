#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "run/worker.h"

typedef struct fixture {
    zeb_shared *shared;
    zeb_worker_report report;
    zeb_error error;
} fixture;

static int set_up(void **state) {
    fixture *f = calloc(1, sizeof *f);
    *state = f;
    return f == NULL || zeb_shared_create((size_t)1 << 24, &f->shared, &f->error) != ZEB_OK;
}

static int tear_down(void **state) {
    fixture *f = *state;
    zeb_shared_destroy(f->shared);
    free(f);
    return 0;
}

static void run(fixture *f, zeb_worker_body body, const void *input, const zeb_worker_watch *watch) {
    static const zeb_worker_watch none = {0};
    assert_int_equal(zeb_worker_run(body, input, f->shared, watch != NULL ? watch : &none, &f->report, &f->error),
                     ZEB_OK);
}

static zeb_status add_up(const void *input, zeb_shared *shared, zeb_error *error) {
    const int *number = input;
    void *sum, *reserved;
    zeb_status status = zeb_arena_alloc(shared->arena, 1, sizeof(int), &sum, error);
    if (status == ZEB_OK) status = zeb_shared_reserve(shared, 4096, &reserved, error);
    if (status != ZEB_OK) return status;
    *(int *)sum = number[0] + number[1];
    memset(reserved, 7, 4096);
    shared->result = sum;
    return ZEB_OK;
}

static void results_come_back_through_the_mapping(void **state) {
    fixture *f = *state;
    run(f, add_up, (const int[]){20, 22}, NULL);
    assert_int_equal(f->report.end, ZEB_WORKER_RETURNED);
    assert_true(f->shared->finished);
    assert_int_equal(*(int *)f->shared->result, 42);
    void *reserved;
    assert_int_equal(zeb_shared_reserve(f->shared, 4096, &reserved, &f->error), ZEB_OK);
    assert_int_equal(((unsigned char *)reserved)[4095], 7);
    assert_int_equal(zeb_shared_reserve(f->shared, (size_t)1 << 24, &reserved, &f->error), ZEB_ERR_MEMORY);
}

static zeb_status complain(const void *input, zeb_shared *shared, zeb_error *error) {
    (void)shared;
    (void)fputs("a word of warning\n", stderr);
    (void)fflush(stderr);
    return zeb_fail(error, ZEB_ERR_FORMAT, "%s is broken", (const char *)input);
}

static void errors_are_the_bodys_own(void **state) {
    fixture *f = *state;
    run(f, complain, "the thing", NULL);
    assert_int_equal(f->report.end, ZEB_WORKER_RETURNED);
    assert_int_equal(f->shared->status, ZEB_ERR_FORMAT);
    assert_string_equal(f->shared->error.text, "the thing is broken");
}

static zeb_status die(const void *input, zeb_shared *shared, zeb_error *error) {
    (void)shared;
    (void)error;
    (void)signal(*(const int *)input, SIG_DFL); /* a sanitizer would catch it */
    (void)fputs("last words\n", stderr);
    (void)fflush(stderr);
    (void)raise(*(const int *)input);
    return ZEB_OK;
}

static void signals_are_named(void **state) {
    fixture *f = *state;
    const int deadly[] = {SIGSEGV, SIGABRT, SIGKILL, SIGFPE};
    for (size_t i = 0; i < sizeof deadly / sizeof deadly[0]; i++) {
        run(f, die, &deadly[i], NULL);
        assert_int_equal(f->report.end, ZEB_WORKER_DIED);
        assert_int_equal(f->report.signal_number, deadly[i]);
        assert_non_null(strstr(f->report.words, "last words\n"));
        assert_false(f->shared->finished);
    }
}

static zeb_status leave(const void *input, zeb_shared *shared, zeb_error *error) {
    (void)shared;
    (void)error;
    _exit(*(const int *)input);
}

static void an_early_exit_is_a_death_whatever_its_code(void **state) {
    fixture *f = *state;
    for (int code = 0; code < 3; code++) {
        run(f, leave, &code, NULL);
        assert_int_equal(f->report.end, ZEB_WORKER_DIED);
        assert_int_equal(f->report.signal_number, 0);
        assert_int_equal(f->report.exit_code, code);
    }
}

static zeb_status sleep_until_stopped(const void *input, zeb_shared *shared, zeb_error *error) {
    (void)error;
    const struct timespec nap = {.tv_nsec = 1000000};
    while (*(const int *)input || atomic_load(&shared->stop) == 0)
        (void)nanosleep(&nap, NULL);
    return ZEB_OK;
}

static void time_limits_end_a_hang(void **state) {
    fixture *f = *state;
    const int deaf = 1;
    run(f, sleep_until_stopped, &deaf, &(zeb_worker_watch){.timeout_ns = 50000000});
    assert_int_equal(f->report.end, ZEB_WORKER_TIMED_OUT);
}

static void a_stop_is_passed_on_and_then_enforced(void **state) {
    fixture *f = *state;
    const volatile sig_atomic_t stop = 1;
    const int deaf = 1, willing = 0;
    run(f, sleep_until_stopped, &willing, &(zeb_worker_watch){.stop = &stop, .grace_ns = UINT64_C(60000000000)});
    assert_int_equal(f->report.end, ZEB_WORKER_RETURNED);
    atomic_store(&f->shared->stop, 0);
    run(f, sleep_until_stopped, &deaf, &(zeb_worker_watch){.stop = &stop, .grace_ns = 50000000});
    assert_int_equal(f->report.end, ZEB_WORKER_KILLED);
}

static zeb_status chatter(const void *input, zeb_shared *shared, zeb_error *error) {
    (void)input;
    (void)shared;
    (void)error;
    for (int i = 0; i < 20000; i++)
        (void)printf("line %d\n", i);
    (void)fputs("the end\n", stdout);
    (void)fflush(stdout);
    return ZEB_OK;
}

static void only_the_end_of_what_was_said_is_kept(void **state) {
    fixture *f = *state;
    run(f, chatter, NULL, NULL);
    assert_int_equal(f->report.end, ZEB_WORKER_RETURNED);
    size_t length = strlen(f->report.words);
    assert_int_equal(length, ZEB_WORKER_WORDS_MAX - 1);
    assert_string_equal(f->report.words + length - strlen("line 19999\nthe end\n"), "line 19999\nthe end\n");
}

static zeb_status answer(const void *input, zeb_shared *shared, zeb_error *error) {
    (void)error;
    *(int *)shared->result += *(const int *)input; /* from zero */
    return ZEB_OK;
}

static void a_call_yields_its_result_or_says_why_not(void **state) {
    (void)state;
    static const zeb_worker_watch none = {0};
    const int number = 42, deadly = SIGSEGV, deaf = 1;
    const volatile sig_atomic_t stop = 1;
    int result = 7;
    zeb_error error = {{0}};
    assert_int_equal(zeb_worker_call(answer, &number, sizeof result, "", &none, &result, &error), ZEB_OK);
    assert_int_equal(result, 42);
    assert_int_equal(zeb_worker_call(complain, "it", sizeof result, "", &none, &result, &error), ZEB_ERR_FORMAT);
    assert_string_equal(error.text, "it is broken");
    assert_int_equal(zeb_worker_call(die, &deadly, sizeof result, "; gone", &none, &result, &error), ZEB_ERR_DEVICE);
    assert_non_null(strstr(error.text, "the worker died; gone: "));
    assert_non_null(strstr(error.text, "last words"));
    zeb_worker_watch watch = {.timeout_ns = 50000000};
    assert_int_equal(zeb_worker_call(sleep_until_stopped, &deaf, sizeof result, "", &watch, &result, &error),
                     ZEB_ERR_DEVICE);
    assert_string_equal(error.text, "no answer within --timeout");
    watch = (zeb_worker_watch){.stop = &stop, .grace_ns = 50000000};
    assert_int_equal(zeb_worker_call(sleep_until_stopped, &deaf, sizeof result, "", &watch, &result, &error),
                     ZEB_ERR_INTERRUPTED);
    assert_int_equal(result, 42);
}

static void a_call_hands_on_what_was_said(void **state) {
    (void)state;
    const int number = 42, deadly = SIGSEGV;
    char words[ZEB_WORKER_WORDS_MAX] = "?";
    const zeb_worker_watch watch = {.words = words};
    int result;
    zeb_error error = {{0}};
    assert_int_equal(zeb_worker_call(complain, "it", sizeof result, "", &watch, &result, &error), ZEB_ERR_FORMAT);
    assert_string_equal(words, "a word of warning\n");
    assert_int_equal(zeb_worker_call(answer, &number, sizeof result, "", &watch, &result, &error), ZEB_OK);
    assert_string_equal(words, "");
    assert_int_equal(zeb_worker_call(die, &deadly, sizeof result, "", &watch, &result, &error), ZEB_ERR_DEVICE);
    assert_string_equal(words, ""); /* they are in the error */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(results_come_back_through_the_mapping, set_up, tear_down),
        cmocka_unit_test_setup_teardown(errors_are_the_bodys_own, set_up, tear_down),
        cmocka_unit_test_setup_teardown(signals_are_named, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_early_exit_is_a_death_whatever_its_code, set_up, tear_down),
        cmocka_unit_test_setup_teardown(time_limits_end_a_hang, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_stop_is_passed_on_and_then_enforced, set_up, tear_down),
        cmocka_unit_test_setup_teardown(only_the_end_of_what_was_said_is_kept, set_up, tear_down),
        cmocka_unit_test(a_call_yields_its_result_or_says_why_not),
        cmocka_unit_test(a_call_hands_on_what_was_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
