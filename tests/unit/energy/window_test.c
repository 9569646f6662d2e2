/* Unwrapping, integrating, rejecting, adding up: every rule has a series that keeps it and one that breaks it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "script.h"

static const uint64_t range_uj = 262143328850u;

static int fresh(void **state) {
    (void)state;
    script_clear();
    return 0;
}

/* ---- counters ---- */

static void test_plain_counter(void **state) {
    (void)state;
    uint32_t package = script_counter("package-0", "package", range_uj, 95);
    zeb_sampler *s = script_open();
    the_script.value[package] = 5000000;
    uint64_t begin = script_mark(s, 0);
    the_script.value[package] = 15000000;
    (void)script_mark(s, SECOND / 2);
    the_script.value[package] = 65000000;
    uint64_t end = script_mark(s, SECOND);
    zeb_energy e = script_energy(s, (zeb_window){begin, end}, NO_WINDOW, NO_WINDOW);
    assert_true(e.known && e.valid);
    assert_int_equal(e.kind, ZEB_ENERGY_MEASURED);
    assert_string_equal(e.source, "script");
    assert_int_equal(e.gross_uj, 60000000);
    assert_near(e.seconds, 1.5, 1e-9);
    assert_int_equal(e.samples, 3);
    assert_int_equal(e.gaps, 0);
    assert_int_equal(e.channel[0].updates, 1500);
    assert_near(e.channel[0].resolution_uj, 40000, 1); /* a millisecond's worth */
    zeb_sampler_destroy(s);
    assert_int_equal(the_script.opened, 0);
}

static void test_units_other_than_microjoules(void **state) {
    (void)state;
    uint32_t gpu = script_counter("gpu-0", "gpu", 0, 700); /* millijoules since the driver was loaded */
    the_script.about[gpu].unit_uj = 1000;
    the_script.about[gpu].update_ns = 20 * MILLISECOND;
    the_script.about[gpu].window_min_ns = 10 * SECOND;
    zeb_sampler *s = script_open();
    assert_int_equal(zeb_sampler_window_ns(s), 10 * SECOND);
    uint64_t begin = script_mark(s, 0);
    the_script.value[gpu] = 900000;
    uint64_t early = script_mark(s, 5 * SECOND);
    the_script.value[gpu] = 2000000;
    uint64_t end = script_mark(s, 5 * SECOND);
    zeb_energy e = script_energy(s, (zeb_window){begin, end}, NO_WINDOW, NO_WINDOW);
    assert_int_equal(e.gross_uj, 2000000000);
    e = script_energy(s, (zeb_window){begin, early}, NO_WINDOW, NO_WINDOW);
    script_refused(&e, "window too short: 5000 ms, at least 10000 ms");
    zeb_sampler_destroy(s);
}

static void test_short_window(void **state) {
    (void)state;
    uint32_t package = script_counter("package-0", "package", range_uj, 95);
    zeb_sampler *s = script_open();
    uint64_t begin = script_mark(s, 0);
    the_script.value[package] = 30000000;
    uint64_t end = script_mark(s, SECOND - 1);
    zeb_energy e = script_energy(s, (zeb_window){begin, end}, NO_WINDOW, NO_WINDOW);
    script_refused(&e, "window too short");
    assert_false(e.valid);
    zeb_sampler_destroy(s);
}

static void test_window_without_samples_around_it(void **state) {
    (void)state;
    uint32_t package = script_counter("package-0", "package", range_uj, 95);
    zeb_sampler *s = script_open();
    zeb_window nothing = {900 * SECOND, 902 * SECOND};
    zeb_energy e = script_energy(s, nothing, NO_WINDOW, NO_WINDOW);
    script_refused(&e, "not covered"); /* no samples at all */
    uint64_t begin = script_mark(s, 0);
    the_script.value[package] = 50000000;
    uint64_t end = script_mark(s, SECOND);
    e = script_energy(s, (zeb_window){begin - 1, end}, NO_WINDOW, NO_WINDOW);
    script_refused(&e, "before its begin");
    e = script_energy(s, (zeb_window){begin, end + 1}, NO_WINDOW, NO_WINDOW);
    script_refused(&e, "after its end");
    zeb_error error;
    assert_int_equal(zeb_sampler_energy(s, (zeb_window){end, begin}, NO_WINDOW, NO_WINDOW, &e, &error),
                     ZEB_ERR_ARGUMENT);
    assert_false(e.known);
    zeb_sampler_destroy(s);
}

/* Ends that nobody marked are interpolated, and what can't be known is charged to the window. */
static void test_unmarked_ends(void **state) {
    (void)state;
    uint32_t package = script_counter("package-0", "package", range_uj, 95);
    zeb_sampler *s = script_open();
    uint64_t first = script_mark(s, 0);
    for (int i = 1; i <= 1000; i++) { /* 50 W, looked at every 10 ms */
        the_script.value[package] += 500000;
        (void)script_mark(s, 10 * MILLISECOND);
    }
    zeb_window good = {first + 4 * MILLISECOND, first + 9 * SECOND + 7 * MILLISECOND};
    zeb_energy e = script_energy(s, good, NO_WINDOW, NO_WINDOW);
    assert_true(e.known);
    assert_near((double)e.gross_uj, 50.0 * 9003000, 2);
    zeb_window vague = {first + 4 * MILLISECOND, first + SECOND + 7 * MILLISECOND}; /* 2 x 10 ms of 1 s */
    e = script_energy(s, vague, NO_WINDOW, NO_WINDOW);
    script_refused(&e, "quantisation");
    zeb_sampler_destroy(s);
}

static void test_slow_counter(void **state) {
    (void)state;
    uint32_t package = script_counter("package-0", "package", range_uj, 95);
    zeb_sampler *s = script_open(); /* says it moves every millisecond, and moves every 100 */
    uint64_t begin = script_mark(s, 0);
    uint64_t end = begin;
    for (int i = 1; i <= 200; i++) {
        if (i % 10 == 0) the_script.value[package] += 5000000;
        end = script_mark(s, 10 * MILLISECOND);
    }
    zeb_energy e = script_energy(s, (zeb_window){begin, end}, NO_WINDOW, NO_WINDOW);
    script_refused(&e, "quantisation");
    assert_int_equal(e.channel[0].updates, 20);
    zeb_sampler_destroy(s);
}

static void test_unknown_update_time_counts_what_was_seen(void **state) {
    (void)state;
    uint32_t meter = script_counter("meter", "board", 0, 0);
    the_script.about[meter].update_ns = 0;
    zeb_sampler *s = script_open();
    uint64_t begin = script_mark(s, 0), few = 0, end = begin;
    for (int i = 1; i <= 400; i++) {
        the_script.value[meter] += 100000;
        end = script_mark(s, 20 * MILLISECOND);
        if (i == 90) few = end;
    }
    zeb_energy e = script_energy(s, (zeb_window){begin, end}, NO_WINDOW, NO_WINDOW);
    assert_int_equal(e.gross_uj, 40000000);
    e = script_energy(s, (zeb_window){begin, few}, NO_WINDOW, NO_WINDOW);
    script_refused(&e, "90 updates");
    zeb_sampler_destroy(s);
}

static void test_value_past_range(void **state) {
    (void)state;
    uint32_t package = script_counter("package-0", "package", 1000000000, 0);
    zeb_sampler *s = script_open();
    the_script.value[package] = 999000000;
    uint64_t begin = script_mark(s, 0);
    the_script.value[package] = 1000000001;
    uint64_t end = script_mark(s, SECOND);
    zeb_energy e = script_energy(s, (zeb_window){begin, end}, NO_WINDOW, NO_WINDOW);
    script_refused(&e, "past its range");
    zeb_sampler_destroy(s);
}

static void test_backwards_without_a_wrap(void **state) {
    (void)state;
    uint32_t package = script_counter("package-0", "package", 0, 95);
    zeb_sampler *s = script_open();
    the_script.value[package] = 90000000;
    uint64_t begin = script_mark(s, 0);
    the_script.value[package] = 89000000;
    uint64_t end = script_mark(s, SECOND);
    zeb_energy e = script_energy(s, (zeb_window){begin, end}, NO_WINDOW, NO_WINDOW);
    script_refused(&e, "went backwards");
    zeb_sampler_destroy(s);
}

static void test_polled_too_rarely(void **state) {
    (void)state;
    uint32_t package = script_counter("package-0", "package", 65000000, 100); /* wraps after 0.65 s at full power */
    zeb_sampler *s = script_open();
    assert_int_equal(zeb_sampler_interval_ns(s), 162500000);
    uint64_t begin = script_mark(s, 0);
    the_script.value[package] = 20000000;
    (void)script_mark(s, 300 * MILLISECOND);
    the_script.value[package] = 40000000;
    uint64_t end = script_mark(s, 700 * MILLISECOND);
    zeb_energy e = script_energy(s, (zeb_window){begin, end}, NO_WINDOW, NO_WINDOW);
    script_refused(&e, "sparse");
    zeb_sampler_destroy(s);
}

/* The thread is one of many on a busy machine. */
static void test_a_late_look_is_in_time(void **state) {
    (void)state;
    uint32_t package = script_counter("package-0", "package", 65000000, 100);
    zeb_sampler *s = script_open();
    uint64_t begin = script_mark(s, 0), end = begin;
    for (int i = 0; i < 10; i++) {
        the_script.value[package] = (the_script.value[package] + 20000000) % 65000001;
        end = script_mark(s, zeb_sampler_interval_ns(s) + 50 * MILLISECOND);
    }
    zeb_energy e = script_energy(s, (zeb_window){begin, end}, NO_WINDOW, NO_WINDOW);
    if (!e.known) fail_msg("%s", e.reason);
    assert_near((double)e.gross_uj, 200000000, 3); /* the three wraps are a count each */
    zeb_sampler_destroy(s);
}

/* What a window must have is what the work is made long enough for. */
static void test_work_lasts_for_a_hundred_updates(void **state) {
    (void)state;
    uint32_t meter = script_counter("meter", "board", 0, 0);
    the_script.about[meter].update_ns = 0; /* not known: only what is seen to change counts */
    zeb_sampler *s = script_open();
    assert_int_equal(zeb_sampler_interval_ns(s), 20 * MILLISECOND);
    assert_int_equal(zeb_sampler_window_ns(s), 2020 * MILLISECOND);
    zeb_sampler_destroy(s);
    script_clear();
    the_script.about[script_counter("gpu", "gpu", 0, 0)].update_ns = 50 * MILLISECOND;
    s = script_open();
    assert_int_equal(zeb_sampler_window_ns(s), 5050 * MILLISECOND);
    zeb_sampler_destroy(s);
    script_clear();
    uint32_t rail = script_power("VDD_IN", "VDD_IN");
    the_script.about[rail].update_ns = 100 * MILLISECOND;
    the_script.value[rail] = 5000000;
    s = script_open();
    uint64_t begin = script_mark(s, 0), end = begin;
    while (end - begin < zeb_sampler_window_ns(s))
        end = script_mark(s, zeb_sampler_interval_ns(s));
    zeb_energy e = script_energy(s, (zeb_window){begin, end}, NO_WINDOW, NO_WINDOW);
    if (!e.known) fail_msg("%s", e.reason);
    assert_int_equal(e.gross_uj, 50500000);
    zeb_sampler_destroy(s);
}

static void test_late_register_is_believed(void **state) {
    (void)state;
    uint32_t package = script_counter("package-0", "package", range_uj, 95);
    zeb_sampler *s = script_open();
    uint64_t begin = script_mark(s, 0);
    the_script.value[package] = 95000000;
    (void)script_mark(s, SECOND);
    the_script.value[package] += 95000; /* a millisecond's worth shows 10 us later */
    uint64_t end = script_mark(s, 10000);
    zeb_energy e = script_energy(s, (zeb_window){begin, end}, NO_WINDOW, NO_WINDOW);
    assert_true(e.known);
    assert_int_equal(e.gross_uj, 95095000);
    zeb_sampler_destroy(s);
}

/* Each step within what a late register may show, and together more than can be. */
static void test_too_much_in_small_steps(void **state) {
    (void)state;
    uint32_t package = script_counter("package-0", "package", range_uj, 95);
    zeb_sampler *s = script_open();
    uint64_t begin = script_mark(s, 0), end = begin;
    for (int i = 0; i < 100; i++) {
        the_script.value[package] += 2000000;
        end = script_mark(s, 10 * MILLISECOND);
    }
    zeb_energy e = script_energy(s, (zeb_window){begin, end}, NO_WINDOW, NO_WINDOW);
    script_refused(&e, "200 W over the window");
    zeb_sampler_destroy(s);
}

/* One step that can't be, in a window whose mean could. */
static void test_one_step_too_much(void **state) {
    (void)state;
    uint32_t package = script_counter("package-0", "package", range_uj, 95);
    zeb_sampler *s = script_open();
    uint64_t begin = script_mark(s, 0), end = begin;
    for (int i = 0; i < 10; i++) {
        the_script.value[package] += i == 4 ? 300000000 : 10000000;
        end = script_mark(s, SECOND);
    }
    zeb_energy e = script_energy(s, (zeb_window){begin, end}, NO_WINDOW, NO_WINDOW);
    script_refused(&e, "300 J in 1000 ms");
    zeb_sampler_destroy(s);
}

static void test_failing_sample_spoils_only_its_windows(void **state) {
    (void)state;
    uint32_t package = script_counter("package-0", "package", range_uj, 95);
    zeb_sampler *s = script_open();
    uint64_t t0 = script_mark(s, 0);
    the_script.value[package] = 50000000;
    uint64_t t1 = script_mark(s, SECOND);
    the_script.failing = true;
    (void)script_mark(s, SECOND);
    the_script.failing = false;
    the_script.value[package] = 200000000;
    uint64_t t3 = script_mark(s, SECOND);
    zeb_energy e = script_energy(s, (zeb_window){t0, t3}, NO_WINDOW, NO_WINDOW);
    script_refused(&e, "unreadable");
    e = script_energy(s, (zeb_window){t0, t1}, NO_WINDOW, NO_WINDOW);
    assert_int_equal(e.gross_uj, 50000000);
    zeb_sampler_destroy(s);
}

/* Random work on a counter that wraps at random places, looked at at random times: what comes out is what went in. */
static void test_random_wraps(void **state) {
    (void)state;
    uint64_t seed = 88172645463325252u;
    for (int round = 0; round < 300; round++) {
        script_clear();
#define NEXT(below) (seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17, seed % (uint64_t)(below))
        uint64_t range = 300000000u + NEXT(400000000u), watts = 20 + NEXT(60);
        uint32_t package = script_counter("package-0", "package", range, watts);
        zeb_sampler *s = script_open();
        uint64_t value = NEXT(range + 1), truth = 0, wraps = 0;
        the_script.value[package] = value;
        uint64_t begin = script_mark(s, 0), end = begin;
        while (end - begin < 12 * SECOND) {
            uint64_t span = 1 + NEXT(zeb_sampler_interval_ns(s));
            uint64_t drawn = 1 + NEXT(2 * watts * span / 1000 + 1); /* up to twice the limit */
            truth += drawn;
            value += drawn;
            if (value > range) {
                value -= range;
                wraps++;
            }
            the_script.value[package] = value;
            end = script_mark(s, span);
        }
        zeb_energy e = script_energy(s, (zeb_window){begin, end}, NO_WINDOW, NO_WINDOW);
        if (!e.known) fail_msg("round %d: %s", round, e.reason);
        assert_int_equal(e.gross_uj, truth);
        assert_true(round > 0 || wraps > 0);
        zeb_sampler_destroy(s);
    }
}

/* ---- powers ---- */

static void test_trapezoid(void **state) {
    (void)state;
    uint32_t rail = script_power("VDD_IN", "VDD_IN");
    zeb_sampler *s = script_open();
    assert_int_equal(zeb_sampler_interval_ns(s), 20 * MILLISECOND);
    assert_int_equal(zeb_sampler_window_ns(s), 5 * SECOND);
    uint64_t begin = 0, end = 0;
    for (uint64_t i = 0; i <= 300; i++) { /* a ramp of 0 to 30 W in 6 s: the rule is exact on it */
        the_script.value[rail] = i * 100000;
        end = script_mark(s, i == 0 ? 0 : 20 * MILLISECOND);
        if (i == 0) begin = end;
    }
    zeb_energy e = script_energy(s, (zeb_window){begin, end}, NO_WINDOW, NO_WINDOW);
    assert_int_equal(e.gross_uj, 90000000);
    assert_int_equal(e.channel[0].updates, 301);
    zeb_window inner = {begin + 30 * MILLISECOND, end - 30 * MILLISECOND};
    e = script_energy(s, inner, NO_WINDOW, NO_WINDOW);
    assert_int_equal(e.gross_uj, 89100000); /* 15 W x 5.94 s */
    zeb_sampler_destroy(s);
}

static void test_power_rules(void **state) {
    (void)state;
    uint32_t rail = script_power("VDD_IN", "VDD_IN");
    the_script.about[rail].max_power_uw = 60000000;
    zeb_sampler *s = script_open();
    the_script.value[rail] = 10000000;
    uint64_t begin = script_mark(s, 0), sparse = 0, holed = 0, end = 0;
    for (int i = 0; i < 90; i++) {
        sparse = script_mark(s, 60 * MILLISECOND);
    }
    zeb_energy e = script_energy(s, (zeb_window){begin, sparse}, NO_WINDOW, NO_WINDOW);
    script_refused(&e, "power samples");
    for (int i = 0; i < 250; i++) {
        holed = script_mark(s, i == 100 ? SECOND : 20 * MILLISECOND);
    }
    e = script_energy(s, (zeb_window){sparse, holed}, NO_WINDOW, NO_WINDOW);
    script_refused(&e, "gaps");
    assert_int_equal(e.gaps, 1);
    for (int i = 0; i < 251; i++) {
        the_script.value[rail] = i == 17 ? 130000000 : 10000000;
        end = script_mark(s, 20 * MILLISECOND);
    }
    e = script_energy(s, (zeb_window){holed, end}, NO_WINDOW, NO_WINDOW);
    script_refused(&e, "implied power");
    the_script.value[rail] = 0;
    begin = script_mark(s, 20 * MILLISECOND);
    for (int i = 0; i < 251; i++) {
        end = script_mark(s, 20 * MILLISECOND);
    }
    e = script_energy(s, (zeb_window){begin, end}, NO_WINDOW, NO_WINDOW);
    script_refused(&e, "read 0 throughout");
    zeb_sampler_destroy(s);
}

/* ---- adding up ---- */

static void test_totals_count_once(void **state) {
    (void)state;
    uint32_t package = script_counter("package-0", "package", range_uj, 95);
    uint32_t core = script_counter("core-0", "core", range_uj, 0);
    uint32_t dram = script_counter("dram-0", "dram", range_uj, 0);
    uint32_t view = script_counter("package-0-mmio", "package", range_uj, 95);
    uint32_t psys = script_counter("psys", "psys", range_uj, 0);
    the_script.about[core].parent = (int32_t)package;
    the_script.about[view].mirror = (int32_t)package;
    zeb_sampler *s = script_open();
    uint64_t begin = script_mark(s, 0);
    the_script.value[package] = 50000000;
    the_script.value[core] = 40000000;
    the_script.value[dram] = 3000000;
    the_script.value[view] = 50000000;
    the_script.value[psys] = 80000000;
    uint64_t end = script_mark(s, SECOND);
    zeb_energy e = script_energy(s, (zeb_window){begin, end}, NO_WINDOW, NO_WINDOW);
    assert_int_equal(e.gross_uj, 53000000);
    assert_int_equal(e.samples, 4);
    assert_true(e.channel[dram].counted && !e.channel[core].counted && !e.channel[view].counted);
    assert_false(e.channel[psys].counted);
    zeb_sampler_destroy(s);
}

static void test_still_package_is_no_missing_meter(void **state) {
    (void)state;
    uint32_t first = script_counter("package-0", "package", range_uj, 95);
    (void)script_counter("package-1", "package", range_uj, 95);
    zeb_sampler *s = script_open();
    uint64_t begin = script_mark(s, 0);
    the_script.value[first] = 50000000;
    uint64_t end = script_mark(s, SECOND);
    zeb_energy e = script_energy(s, (zeb_window){begin, end}, NO_WINDOW, NO_WINDOW);
    script_refused(&e, "package-1: stuck");
    assert_string_equal(e.note, "");
    zeb_sampler_destroy(s);
}

static void test_psys_alone_counts(void **state) {
    (void)state;
    uint32_t psys = script_counter("psys", "psys", range_uj, 0);
    zeb_sampler *s = script_open();
    uint64_t begin = script_mark(s, 0);
    the_script.value[psys] = 80000000;
    uint64_t end = script_mark(s, SECOND);
    zeb_energy e = script_energy(s, (zeb_window){begin, end}, NO_WINDOW, NO_WINDOW);
    assert_int_equal(e.gross_uj, 80000000);
    zeb_sampler_destroy(s);
}

static void test_temperature_alone_is_no_energy(void **state) {
    (void)state;
    uint32_t heat = script_power("die", "die");
    the_script.about[heat].kind = ZEB_CHANNEL_TEMPERATURE;
    zeb_sampler *s = script_open();
    uint64_t begin = script_mark(s, 0), end = script_mark(s, SECOND);
    zeb_energy e = script_energy(s, (zeb_window){begin, end}, NO_WINDOW, NO_WINDOW);
    script_refused(&e, "no channel of energy");
    assert_true(e.valid); /* nothing was refused: there was nothing to measure with */
    zeb_sampler_destroy(s);
}

/* ---- idle ---- */

/* 30 s idle at `before` W, 10 s work at 50 W, 30 s idle at `after` W; what a sampler would have seen. */
static zeb_energy idle_run(double before, double after, uint64_t idle_s) {
    script_clear();
    uint32_t package = script_counter("package-0", "package", range_uj, 95);
    zeb_sampler *s = script_open();
    double watts[] = {before, 50, after};
    uint64_t seconds[] = {idle_s, 10, idle_s};
    uint64_t edge[4] = {script_mark(s, 0)};
    for (size_t part = 0; part < 3; part++) {
        edge[part + 1] = edge[part];
        for (uint64_t i = 0; i < seconds[part]; i++) {
            the_script.value[package] += (uint64_t)llround(watts[part] * 1e6);
            edge[part + 1] = script_mark(s, SECOND);
        }
    }
    zeb_energy e = script_energy(s, (zeb_window){edge[1], edge[2]}, (zeb_window){edge[0], edge[1]},
                                 (zeb_window){edge[2], edge[3]});
    zeb_sampler_destroy(s);
    return e;
}

static void test_idle_and_net(void **state) {
    (void)state;
    zeb_energy e = idle_run(10, 10.2, 30);
    assert_true(e.known && e.idle_known && e.drift_known);
    assert_int_equal(e.gross_uj, 500000000);
    assert_int_equal(e.idle_uj, 101000000);
    assert_int_equal(e.net_uj, 399000000);
    assert_near(e.idle_watts, 10.1, 1e-6);
    assert_near(e.idle_drift, 0.2 / 10.1, 1e-6);
    assert_false(e.idle_drifted);
    assert_false(e.idle_short);
    assert_true(e.channel[0].idle_known);
    e = idle_run(10, 11, 30);
    assert_true(e.idle_drifted);
    e = idle_run(10, 10, 5);
    assert_true(e.idle_known && e.idle_short);
}

static void test_idle_missing(void **state) {
    (void)state;
    zeb_energy e = idle_run(0, 12, 30); /* a counter that stood still is no idle power of 0 W */
    assert_true(e.known && e.idle_known && e.idle_short);
    assert_false(e.drift_known);
    assert_near(e.idle_watts, 12, 1e-6);
    e = idle_run(0, 0, 30);
    assert_true(e.known);
    assert_false(e.idle_known);
    assert_int_equal(e.net_uj, 0);
}

/* ---- estimates ---- */

static void test_estimate(void **state) {
    (void)state;
    zeb_energy e;
    zeb_energy_estimate(100, 0.5, (zeb_window){SECOND, 5 * SECOND}, &e);
    assert_true(e.known);
    assert_int_equal(e.kind, ZEB_ENERGY_ESTIMATED);
    assert_string_equal(e.source, "tdp");
    assert_int_equal(e.gross_uj, 200000000);
    assert_false(e.idle_known);
    const double unknown[][2] = {{0, 0.5}, {-1, 0.5}, {(double)NAN, 0.5}, {100, 0}, {100, 1.01}, {100, (double)NAN}};
    for (size_t i = 0; i < sizeof unknown / sizeof unknown[0]; i++) {
        zeb_energy_estimate(unknown[i][0], unknown[i][1], (zeb_window){SECOND, 2 * SECOND}, &e);
        script_refused(&e, "no sensor");
        assert_int_equal(e.kind, ZEB_ENERGY_NONE);
        assert_string_equal(e.source, "");
    }
    zeb_energy_estimate(100, 0.5, NO_WINDOW, &e);
    script_refused(&e, "no window");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_plain_counter, fresh),
        cmocka_unit_test_setup(test_units_other_than_microjoules, fresh),
        cmocka_unit_test_setup(test_short_window, fresh),
        cmocka_unit_test_setup(test_window_without_samples_around_it, fresh),
        cmocka_unit_test_setup(test_unmarked_ends, fresh),
        cmocka_unit_test_setup(test_slow_counter, fresh),
        cmocka_unit_test_setup(test_unknown_update_time_counts_what_was_seen, fresh),
        cmocka_unit_test_setup(test_value_past_range, fresh),
        cmocka_unit_test_setup(test_backwards_without_a_wrap, fresh),
        cmocka_unit_test_setup(test_polled_too_rarely, fresh),
        cmocka_unit_test_setup(test_a_late_look_is_in_time, fresh),
        cmocka_unit_test_setup(test_work_lasts_for_a_hundred_updates, fresh),
        cmocka_unit_test_setup(test_late_register_is_believed, fresh),
        cmocka_unit_test_setup(test_too_much_in_small_steps, fresh),
        cmocka_unit_test_setup(test_one_step_too_much, fresh),
        cmocka_unit_test_setup(test_failing_sample_spoils_only_its_windows, fresh),
        cmocka_unit_test_setup(test_random_wraps, fresh),
        cmocka_unit_test_setup(test_trapezoid, fresh),
        cmocka_unit_test_setup(test_power_rules, fresh),
        cmocka_unit_test_setup(test_totals_count_once, fresh),
        cmocka_unit_test_setup(test_still_package_is_no_missing_meter, fresh),
        cmocka_unit_test_setup(test_psys_alone_counts, fresh),
        cmocka_unit_test_setup(test_temperature_alone_is_no_energy, fresh),
        cmocka_unit_test_setup(test_idle_and_net, fresh),
        cmocka_unit_test_setup(test_idle_missing, fresh),
        cmocka_unit_test_setup(test_estimate, fresh),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
