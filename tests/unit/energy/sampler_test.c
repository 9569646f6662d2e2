/* The sampler's thread and its promises: start, stop, marks from several threads, bad sensors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <string.h>

#include "base/clock.h"
#include "script.h"

static int fresh(void **state) {
    (void)state;
    script_clear();
    return 0;
}

/* Waits for the thread to have looked `least` times; marks count too and tell how often so far. */
static bool looked(zeb_sampler *s, uint64_t least) {
    for (int tries = 0; tries < 2000; tries++) {
        uint64_t time_ns;
        zeb_error error;
        assert_int_equal(zeb_sampler_mark(s, &time_ns, &error), ZEB_OK); /* under the lock: the count is settled */
        zeb_sampler_stop(s);
        bool enough = the_script.samples - (uint64_t)tries - 1 >= least;
        assert_int_equal(zeb_sampler_start(s, &error), ZEB_OK);
        if (enough) return true;
        zeb_clock_sleep_until(zeb_clock_now_ns() + MILLISECOND);
    }
    return false;
}

static void test_thread_looks_by_itself(void **state) {
    (void)state;
    (void)script_counter("package-0", "package", 0, 95);
    the_script.time_ns = 0;
    the_script.alive = true;
    zeb_sampler *s = NULL;
    zeb_error error;
    assert_int_equal(zeb_sampler_create(&script_table, "script", "", MILLISECOND, &s, &error), ZEB_OK);
    assert_int_equal(zeb_sampler_interval_ns(s), MILLISECOND);
    assert_int_equal(zeb_sampler_start(s, &error), ZEB_OK);
    assert_int_equal(zeb_sampler_start(s, &error), ZEB_OK); /* no second thread */
    assert_true(looked(s, 5));
    zeb_sampler_stop(s);
    zeb_sampler_stop(s);
    uint64_t samples = the_script.samples;
    zeb_clock_sleep_until(zeb_clock_now_ns() + 20 * MILLISECOND);
    assert_int_equal(the_script.samples, samples); /* still */
    zeb_sampler_destroy(s);
    assert_int_equal(the_script.opened, 0);
}

typedef struct marker {
    zeb_sampler *sampler;
    bool ordered;
    int marks;
} marker;

static void *mark_often(void *argument) {
    marker *m = argument;
    uint64_t last = 0;
    m->ordered = true;
    for (int i = 0; i < m->marks; i++) {
        uint64_t time_ns = 0;
        zeb_error error;
        if (zeb_sampler_mark(m->sampler, &time_ns, &error) != ZEB_OK || time_ns < last) m->ordered = false;
        last = time_ns;
        if (i % 50 == 0) {
            zeb_energy energy;
            (void)!zeb_sampler_energy(m->sampler, (zeb_window){1, last}, NO_WINDOW, NO_WINDOW, &energy, &error);
            (void)!zeb_sampler_start(m->sampler, &error);
        }
        if (i % 77 == 0) zeb_sampler_stop(m->sampler);
    }
    return NULL;
}

static void test_marks_from_several_threads(void **state) {
    (void)state;
    (void)script_counter("package-0", "package", 0, 95);
    the_script.time_ns = 0;
    the_script.alive = true;
    zeb_sampler *s = NULL;
    zeb_error error;
    assert_int_equal(zeb_sampler_create(&script_table, "script", "", MILLISECOND, &s, &error), ZEB_OK);
    assert_int_equal(zeb_sampler_start(s, &error), ZEB_OK);
    pthread_t thread[4];
    marker m[4];
    for (size_t i = 0; i < 4; i++) {
        m[i] = (marker){.sampler = s, .marks = 1000};
        assert_int_equal(pthread_create(&thread[i], NULL, mark_often, &m[i]), 0);
    }
    for (size_t i = 0; i < 4; i++) {
        (void)pthread_join(thread[i], NULL);
        assert_true(m[i].ordered);
    }
    zeb_sampler_destroy(s); /* while it may be running */
    assert_int_equal(the_script.opened, 0);
}

/* A real second with the thread at work: the one watt of the script is found again. */
static void test_real_second(void **state) {
    (void)state;
    (void)script_counter("package-0", "package", 0, 95);
    the_script.time_ns = 0;
    the_script.alive = true;
    zeb_sampler *s = NULL;
    zeb_error error;
    assert_int_equal(zeb_sampler_create(&script_table, "script", "", 0, &s, &error), ZEB_OK);
    assert_int_equal(zeb_sampler_start(s, &error), ZEB_OK);
    zeb_window work = {0, 0};
    assert_int_equal(zeb_sampler_mark(s, &work.begin_ns, &error), ZEB_OK);
    while (zeb_clock_now_ns() < work.begin_ns + SECOND + 5 * MILLISECOND) {
        zeb_clock_sleep_until(work.begin_ns + SECOND + 5 * MILLISECOND);
    }
    assert_int_equal(zeb_sampler_mark(s, &work.end_ns, &error), ZEB_OK);
    zeb_energy e = script_energy(s, work, NO_WINDOW, NO_WINDOW);
    if (!e.known) fail_msg("%s", e.reason);
    assert_near((double)e.gross_uj / 1e6, e.seconds, 0.002); /* a millisecond of the script at either end */
    zeb_sampler_destroy(s);
}

static void test_wishes_are_bounded(void **state) {
    (void)state;
    (void)script_counter("package-0", "package", 262143328850u, 95);
    zeb_sampler *s = NULL;
    zeb_error error;
    assert_int_equal(zeb_sampler_create(&script_table, "script", "", 60 * SECOND, &s, &error), ZEB_OK);
    assert_int_equal(zeb_sampler_interval_ns(s), SECOND);
    zeb_sampler_destroy(s);
    assert_int_equal(zeb_sampler_create(&script_table, "script", "", 1, &s, &error), ZEB_OK);
    assert_int_equal(zeb_sampler_interval_ns(s), MILLISECOND);
    zeb_sampler_destroy(s);
    zeb_sampler_destroy(NULL);
}

static void test_thousands_of_samples(void **state) {
    (void)state;
    uint32_t a = script_counter("package-0", "package", 0, 95), b = script_counter("dram-0", "dram", 0, 0);
    zeb_sampler *s = script_open();
    uint64_t begin = script_mark(s, 0), end = begin;
    for (int i = 0; i < 20000; i++) {
        the_script.value[a] += 500000;
        the_script.value[b] += 30000;
        end = script_mark(s, 10 * MILLISECOND);
    }
    zeb_energy e = script_energy(s, (zeb_window){begin, end}, NO_WINDOW, NO_WINDOW);
    assert_int_equal(e.gross_uj, 20000ll * 530000);
    assert_int_equal(e.channel[b].samples, 20001);
    zeb_sampler_destroy(s);
}

static void refuse(zeb_status expected, const char *words) {
    zeb_sampler *s = NULL;
    zeb_error error = {{0}};
    assert_int_equal(zeb_sampler_create(&script_table, "script", "", 0, &s, &error), expected);
    assert_null(s);
    if (strstr(error.text, words) == NULL) fail_msg("\"%s\" does not say \"%s\"", error.text, words);
    assert_int_equal(the_script.opened, 0);
}

static void test_bad_sensors_are_refused(void **state) {
    (void)state;
    zeb_sampler *s = NULL;
    zeb_error error = {{0}};
    assert_int_equal(zeb_sampler_create(&script_table, "script", "absent", 0, &s, &error), ZEB_ERR_NOT_FOUND);
    assert_string_equal(error.text, "no script below absent");
    refuse(ZEB_ERR_NOT_FOUND, "no channels");
    uint32_t c = script_counter("package-0", "package", 0, 95);
    the_script.about[c].parent = 0;
    refuse(ZEB_ERR_FORMAT, "parent or mirror");
    the_script.about[c].parent = ZEB_NONE;
    the_script.about[c].mirror = 5;
    refuse(ZEB_ERR_FORMAT, "parent or mirror");
    the_script.about[c].mirror = ZEB_NONE;
    the_script.about[c].unit_uj = 0;
    refuse(ZEB_ERR_FORMAT, "unit");
    the_script.about[c].unit_uj = 1;
    the_script.about[c].kind = (zeb_channel_kind)9;
    refuse(ZEB_ERR_FORMAT, "unknown kind");
    the_script.channels = ZEB_ENERGY_CHANNELS_MAX + 1;
    refuse(ZEB_ERR_RANGE, "65 channels");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_thread_looks_by_itself, fresh),
        cmocka_unit_test_setup(test_marks_from_several_threads, fresh),
        cmocka_unit_test_setup(test_real_second, fresh),
        cmocka_unit_test_setup(test_wishes_are_bounded, fresh),
        cmocka_unit_test_setup(test_thousands_of_samples, fresh),
        cmocka_unit_test_setup(test_bad_sensors_are_refused, fresh),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
