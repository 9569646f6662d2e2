/* Facts about machines from recorded trees, and a few about the one that the test runs on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "run/host.h"
#include "tree.h"

static void near(double value, double expected) {
    if (!(fabs(value - expected) < 1e-9)) fail_msg("%.17g is not %.17g", value, expected);
}

static void open_tree(replay_tree *tree, const char *name) {
    char path[512];
    (void)snprintf(path, sizeof path, ZEB_SOURCE_DIR "/tests/replay/trees/%s.txt", name);
    replay_tree_create(tree, path);
}

/* ---- facts ---- */

static void test_server(void **state) {
    (void)state;
    replay_tree tree;
    zeb_host host;
    open_tree(&tree, "host-server");
    zeb_host_read(tree.root, &host);
    assert_string_equal(host.cpu_model, "Intel(R) Xeon(R) Gold 6248 CPU @ 2.50GHz");
    assert_non_null(strstr(host.cpu_flags, "avx2 fma"));
    assert_string_equal(host.os, "Debian GNU/Linux 12 (bookworm)");
    assert_string_equal(host.kernel, "6.1.0-18-amd64");
    assert_string_equal(host.name, "node17");
    assert_int_equal(host.cpus, 4);
    assert_int_equal(host.cpus_allowed, 2);
    assert_string_equal(host.cpu_list, "1,3");
    assert_true(host.has_quota);
    near(host.quota_cpus, 3);                          /* the tightest on the way up */
    assert_string_equal(host.governor, "performance"); /* processor 0 is not ours */
    assert_int_equal(host.frequency_min_khz, 1000000);
    assert_int_equal(host.frequency_max_khz, 3900000);
    assert_int_equal(host.frequency_now_khz, 2500000);
    assert_int_equal(host.memory_bytes, 16384000ull * 1024);
    assert_true(host.has_load);
    near(host.load_1min, 1.5);
    near(host.load_15min, 0.25);
    assert_true(host.has_virtual && !host.is_virtual);
    assert_string_equal(host.hypervisor, "");
    replay_tree_destroy(&tree);
}

static void test_guest(void **state) {
    (void)state;
    replay_tree tree;
    zeb_host host;
    char governor[ZEB_HOST_GOVERNOR_MAX];
    open_tree(&tree, "host-guest");
    zeb_host_read(tree.root, &host);
    assert_true(host.has_virtual && host.is_virtual);
    assert_string_equal(host.hypervisor, "QEMU");
    assert_true(host.has_quota);
    near(host.quota_cpus, 1.5);
    assert_string_equal(host.governor, ""); /* unknown, not "none" */
    assert_false(zeb_host_governor(tree.root, 0, governor));
    assert_int_equal(host.frequency_max_khz, 0);
    assert_false(host.has_load);
    assert_int_equal(host.memory_bytes, 0);
    replay_tree_destroy(&tree);
}

static void test_board(void **state) {
    (void)state;
    replay_tree tree;
    zeb_host host;
    zeb_host_snapshot s;
    zeb_host_delta d;
    open_tree(&tree, "host-board");
    zeb_host_read(tree.root, &host);
    assert_string_equal(host.cpu_model, "Example Board, Rev 1.0");
    assert_non_null(strstr(host.cpu_flags, "asimddp"));
    assert_false(host.has_virtual); /* nothing says yes or no */
    assert_string_equal(host.governor, "mixed");
    zeb_host_snapshot_take(tree.root, &s);
    assert_true(s.has_governor && s.governor_fixed); /* minimum = maximum on both */
    replay_tree_write(&tree, "sys/devices/system/cpu/cpu1/cpufreq/scaling_max_freq", "2000000");
    zeb_host_snapshot later;
    zeb_host_snapshot_take(tree.root, &later);
    zeb_host_delta_make(&s, &later, &d);
    assert_true(d.has_governor && !d.governor_fixed);
    assert_false(d.has_throttled || d.has_steal || d.has_foreign_load || d.has_utilisation);
    replay_tree_destroy(&tree);
}

static void test_nothing_is_unknown(void **state) {
    (void)state;
    replay_tree tree;
    zeb_host host, empty;
    zeb_host_snapshot s;
    zeb_host_delta d;
    uint64_t bytes = 7;
    open_tree(&tree, "host-nothing");
    memset(&empty, 0, sizeof empty);
    zeb_host_read(tree.root, &host);
    assert_memory_equal(&host, &empty, sizeof host);
    zeb_host_snapshot_take(tree.root, &s);
    assert_false(s.has_ticks || s.has_own || s.has_throttle || s.has_governor);
    zeb_host_delta_make(&s, &s, &d);
    assert_false(d.has_utilisation || d.has_foreign_load || d.has_steal || d.has_throttled || d.has_governor);
    assert_false(zeb_host_peak_rss_of(tree.root, 0, &bytes));
    assert_int_equal(bytes, 7);
    zeb_host_read("/nowhere/at/all", &host);
    assert_memory_equal(&host, &empty, sizeof host);
    replay_tree_destroy(&tree);
}

/* ---- spans ---- */

/* 4 processors; in all 400 ticks pass: `busy` of them busy, `own` of these ours, `steal` withheld. */
static zeb_host_delta span(unsigned total, unsigned busy, unsigned own, unsigned steal) {
    replay_tree tree;
    zeb_host_snapshot begin, end;
    zeb_host_delta delta;
    char text[512];
    open_tree(&tree, "host-server");
    zeb_host_snapshot_take(tree.root, &begin);
    assert_true(begin.has_ticks && begin.has_own && begin.has_throttle && begin.has_governor);
    assert_int_equal(begin.own_ticks, 750);
    assert_int_equal(begin.busy_ticks, 1520);
    assert_int_equal(begin.total_ticks, 9650);
    (void)snprintf(text, sizeof text, "cpu  %u 0 500 %u 100 0 20 %u 0 0\ncpu0 1\ncpu1 1\ncpu2 1\ncpu3 1", 1000 + busy,
                   8000 + total - busy - steal, 30 + steal);
    replay_tree_write(&tree, "proc/stat", text);
    (void)snprintf(text, sizeof text, "4242 (a (b) c) S 1 1 1 0 -1 4194304 100 0 0 0 %u 40 8 2 20 0 1", 700 + own);
    replay_tree_write(&tree, "proc/self/stat", text);
    replay_tree_write(&tree, "sys/devices/system/cpu/cpu1/thermal_throttle/core_throttle_count", own > 50 ? "2" : "0");
    zeb_host_snapshot_take(tree.root, &end);
    zeb_host_delta_make(&begin, &end, &delta);
    replay_tree_destroy(&tree);
    return delta;
}

static void test_quiet_span(void **state) {
    (void)state;
    zeb_host_delta d = span(4000, 1000, 1001, 0); /* own time may exceed the ticks a little */
    assert_true(d.has_utilisation && d.has_foreign_load && d.has_steal && d.has_throttled && d.has_governor);
    near(d.utilisation, 0.25);
    near(d.foreign_load, 0);
    assert_false(d.is_loaded || d.is_stolen);
    near(d.steal, 0);
    assert_true(d.governor_fixed);
    assert_int_equal(d.throttled, 2);
}

static void test_loaded_span(void **state) {
    (void)state;
    zeb_host_delta d = span(4000, 2000, 40, 100);
    near(d.foreign_load, 1.96);
    assert_true(d.is_loaded && d.is_stolen);
    near(d.steal, 0.025);
    assert_true(d.has_throttled);
    assert_int_equal(d.throttled, 0);
    d = span(4000, 1070, 1000, 0); /* 0.07 of a processor */
    assert_false(d.is_loaded);
}

static void test_short_span_is_unknown(void **state) {
    (void)state;
    zeb_host_delta d = span(196, 100, 100, 0);
    assert_false(d.has_utilisation || d.has_foreign_load || d.has_steal);
    assert_true(d.has_throttled && d.has_governor);
}

static void test_counters_that_go_back_are_unknown(void **state) {
    (void)state;
    zeb_host_snapshot a = {.has_ticks = true,
                           .busy_ticks = 900,
                           .total_ticks = 5000,
                           .cpus = 4,
                           .has_own = true,
                           .own_ticks = 10,
                           .has_throttle = true,
                           .throttle_core = 5};
    zeb_host_snapshot b = a;
    zeb_host_delta d;
    b.total_ticks = 9000;
    b.busy_ticks = 800;
    b.throttle_core = 1;
    zeb_host_delta_make(&a, &b, &d);
    assert_false(d.has_utilisation || d.has_foreign_load || d.has_throttled);
    b = a;
    b.total_ticks = 9000;
    b.cpus = 3; /* one went off */
    zeb_host_delta_make(&a, &b, &d);
    assert_false(d.has_utilisation);
}

/* What two threads have waited for processors, beyond what they had when the span began. */
static void write_waits(replay_tree *tree, unsigned first_ms, unsigned second_ms) {
    const unsigned waited_ms[] = {5 + first_ms, 1 + second_ms};
    for (unsigned i = 0; i < 2; i++) {
        char path[64], text[64];
        (void)snprintf(path, sizeof path, "proc/self/task/%u/schedstat", 4242 + i);
        (void)snprintf(text, sizeof text, "900000000 %u000000 77", waited_ms[i]);
        replay_tree_write(tree, path, text);
    }
}

/* Two seconds in which two threads wait for a processor, a third begins, and groups stop the process. */
static zeb_host_delta crowded_span(unsigned first_ms, unsigned second_ms, const char *first_stat,
                                   const char *second_stat) {
    replay_tree tree;
    zeb_host_snapshot begin, end;
    zeb_host_delta delta;
    open_tree(&tree, "host-server");
    write_waits(&tree, 0, 0);
    replay_tree_write(&tree, "sys/fs/cgroup/cpu.stat", "usage_usec 5\nnr_periods 9\nnr_throttled 1");
    if (first_stat != NULL) replay_tree_write(&tree, "sys/fs/cgroup/batch.slice/cpu.stat", first_stat);
    zeb_host_snapshot_take(tree.root, &begin);
    assert_true(begin.has_quota_stops);
    assert_int_equal(begin.waits, 2);
    write_waits(&tree, first_ms, second_ms);
    replay_tree_write(&tree, "proc/self/task/4244/schedstat", "900000000 4000000 3");
    if (second_stat != NULL) replay_tree_write(&tree, "sys/fs/cgroup/batch.slice/cpu.stat", second_stat);
    zeb_host_snapshot_take(tree.root, &end);
    assert_int_equal(end.waits, 3);
    end.time_ns = begin.time_ns + UINT64_C(2000000000);
    zeb_host_delta_make(&begin, &end, &delta);
    replay_tree_destroy(&tree);
    return delta;
}

static void test_crowded_span(void **state) {
    (void)state;
    zeb_host_delta d = crowded_span(20, 500, "nr_throttled 3", "nr_throttled 10");
    assert_true(d.has_waited && d.is_crowded && d.has_quota_stops);
    near(d.waited, 0.25);
    assert_int_equal(d.quota_stops, 7);
    d = crowded_span(86, 0, NULL, NULL); /* another program takes 5 % of one of two processors: seen so */
    near(d.waited, 0.043);
    assert_true(d.is_crowded);
    assert_int_equal(d.quota_stops, 0);
    d = crowded_span(26, 24, NULL, NULL); /* an idle machine's own chores; together 2.5 % of the span */
    near(d.waited, 0.013);
    assert_true(d.has_waited);
    assert_false(d.is_crowded);
    d = crowded_span(0, 0, NULL, NULL); /* the third has waited since it began */
    near(d.waited, 0.002);
}

/* Of a machine that tells nothing, of a span that is too short, and of a thread whose number was given again. */
static void test_unknown_waits(void **state) {
    (void)state;
    zeb_host_snapshot a = {.time_ns = 1}, b = {.time_ns = UINT64_C(1000000001)};
    zeb_host_delta d;
    zeb_host_delta_make(&a, &b, &d);
    assert_false(d.has_waited || d.is_crowded);
    a.waits = b.waits = 1;
    a.wait[0] = (zeb_host_wait){.thread = 7, .waited_ns = 500};
    b.wait[0] = (zeb_host_wait){.thread = 7, .waited_ns = 50000500};
    zeb_host_delta_make(&a, &b, &d);
    assert_true(d.has_waited && d.is_crowded);
    b.wait[0].waited_ns = 400;
    zeb_host_delta_make(&a, &b, &d);
    assert_true(d.has_waited && d.waited == 0 && !d.is_crowded);
    b.wait[0].waited_ns = 50000500;
    b.time_ns = 60000000;
    zeb_host_delta_make(&a, &b, &d);
    assert_false(d.has_waited || d.is_crowded);
}

/* ---- memory, and this machine ---- */

static void test_peak_of_a_process(void **state) {
    (void)state;
    replay_tree tree;
    uint64_t bytes = 0;
    open_tree(&tree, "host-server");
    assert_true(zeb_host_peak_rss_of(tree.root, 0, &bytes));
    assert_int_equal(bytes, 2048 * 1024);
    assert_true(zeb_host_peak_rss_of(tree.root, 4242, &bytes));
    assert_int_equal(bytes, 77 * 1024);
    assert_false(zeb_host_peak_rss_of(tree.root, 5, &bytes));
    replay_tree_destroy(&tree);
}

static void test_peak_of_this_process(void **state) {
    (void)state;
    enum { SIZE = 64 << 20 };
    uint64_t before = 0, high = 0, after = 0;
    assert_true(zeb_host_peak_rss(&before));
    char *block = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(block != MAP_FAILED);
    memset(block, 1, SIZE);
    assert_true(zeb_host_peak_rss(&high));
    assert_true(block[SIZE / 2] == 1);
    assert_int_equal(munmap(block, SIZE), 0);
    assert_true(high >= before + SIZE / 2);
    if (!zeb_host_peak_reset()) {
        print_message("SKIPPED the rest: clear_refs can't be written here\n");
        skip();
    }
    assert_true(zeb_host_peak_rss(&after));
    assert_true(after + SIZE / 2 <= high);
}

static void test_this_machine(void **state) {
    (void)state;
    zeb_host host;
    zeb_host_snapshot begin, end;
    zeb_host_delta delta;
    zeb_host_read("", &host);
    assert_true(host.cpus_allowed > 0);
    assert_true(host.memory_bytes > 1 << 20);
    assert_true(strlen(host.kernel) > 0);
    zeb_host_snapshot_take("", &begin);
    volatile double sink = 0;
    for (int i = 0; i < 1000000; i++) {
        sink = sink + 1.0 / (1 + i);
    }
    zeb_host_snapshot_take("", &end);
    zeb_host_delta_make(&begin, &end, &delta);
    assert_true(begin.has_ticks && begin.has_own);
    assert_true(end.own_ticks >= begin.own_ticks && end.total_ticks >= begin.total_ticks);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_server),
        cmocka_unit_test(test_guest),
        cmocka_unit_test(test_board),
        cmocka_unit_test(test_nothing_is_unknown),
        cmocka_unit_test(test_quiet_span),
        cmocka_unit_test(test_loaded_span),
        cmocka_unit_test(test_crowded_span),
        cmocka_unit_test(test_unknown_waits),
        cmocka_unit_test(test_short_span_is_unknown),
        cmocka_unit_test(test_counters_that_go_back_are_unknown),
        cmocka_unit_test(test_peak_of_a_process),
        cmocka_unit_test(test_peak_of_this_process),
        cmocka_unit_test(test_this_machine),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
