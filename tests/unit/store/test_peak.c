/* Peaks: what is put comes back, newest first in its kind; the bound of a row by hand; a database of schema 1. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <sqlite3.h>

#include "base/text.h"
#include "folder.h"
#include "rows.h"
#include "store/internal.h"
#include "store/peak.h"
#include "store/resources.h"

static zeb_stored_peak make_peak(const char *name, zeb_peak_kind kind, uint32_t threads, double rate,
                                 uint64_t capacity) {
    zeb_stored_peak p = {
        .backend = "cpu", .device = "0", .device_name = "A processor", .measured_utc = "2026-01-01T00:00:00Z"};
    zeb_text_copy(p.peak.name, sizeof p.peak.name, name);
    p.peak.kind = kind;
    p.peak.threads = threads;
    p.peak.per_second = rate;
    p.peak.median_per_second = 0.9 * rate;
    p.peak.working_set_bytes = capacity / 2;
    p.peak.capacity_bytes = capacity;
    return p;
}

/* 100 GFLOP/s and 400 GOP/s with one thread; 50 GB/s from a level of 1 MB, 10 GB/s from memory. */
static size_t make_peaks(zeb_stored_peak peak[5]) {
    peak[0] = make_peak("fp32", ZEB_PEAK_OPERATIONS, 1, 100e9, 0);
    peak[1] = make_peak("int8", ZEB_PEAK_OPERATIONS, 1, 400e9, 0);
    peak[2] = make_peak("DRAM", ZEB_PEAK_BYTES, 1, 10e9, 0);
    peak[3] = make_peak("L2", ZEB_PEAK_BYTES, 1, 50e9, 1000000);
    peak[4] = make_peak("fp32", ZEB_PEAK_OPERATIONS, 2, 200e9, 0);
    return 5;
}

static void test_back_and_newest(void **state) {
    test_folder *folder = *state;
    zeb_store *store;
    zeb_arena *arena;
    zeb_error error = {{0}};
    zeb_run_info info = test_run_info();
    int64_t run;
    assert_int_equal(zeb_arena_create(&arena, &error), ZEB_OK);
    assert_int_equal(zeb_store_open(test_folder_file(folder, "a.db"), true, &store, &error), ZEB_OK);
    assert_int_equal(zeb_store_begin_run(store, &info, &run, &error), ZEB_OK);
    zeb_stored_peak peak[5], *back;
    size_t count = make_peaks(peak), n;
    assert_int_equal(zeb_store_put_peaks(store, run, peak, count, &error), ZEB_OK);
    peak[0].peak.per_second = 110e9; /* measured again */
    assert_int_equal(zeb_store_put_peaks(store, run, peak, 1, &error), ZEB_OK);
    zeb_stored_peak other = make_peak("fp32", ZEB_PEAK_OPERATIONS, 1, 1e12, 0);
    zeb_text_copy(other.backend, sizeof other.backend, "opencl");
    assert_int_equal(zeb_store_put_peaks(store, run, &other, 1, &error), ZEB_OK);
    assert_int_equal(zeb_store_peaks(store, NULL, NULL, arena, &back, &n, &error), ZEB_OK);
    assert_int_equal(n, 6);
    assert_int_equal(zeb_store_peaks(store, "cpu", "0", arena, &back, &n, &error), ZEB_OK);
    assert_int_equal(n, 5);
    assert_string_equal(back[4].peak.name, "fp32");
    assert_true(back[4].peak.per_second == 110e9);
    assert_string_equal(back[2].peak.name, "L2");
    assert_int_equal(back[2].peak.kind, ZEB_PEAK_BYTES);
    assert_int_equal(back[2].peak.capacity_bytes, 1000000);
    assert_int_equal(back[2].peak.working_set_bytes, 500000);
    assert_int_equal(back[1].peak.capacity_bytes, 0);
    assert_true(back[2].peak.median_per_second == 45e9);
    assert_string_equal(back[2].device_name, "A processor");
    peak[0].peak.threads = 0; /* the schema refuses it, and nothing of the set stays */
    peak[1].peak.per_second = 999e9;
    zeb_stored_peak bad[2] = {peak[1], peak[0]};
    assert_int_equal(zeb_store_put_peaks(store, run, bad, 2, &error), ZEB_ERR_ARGUMENT);
    assert_int_equal(zeb_store_peaks(store, "cpu", "0", arena, &back, &n, &error), ZEB_OK);
    for (size_t i = 0; i < n; i++)
        assert_true(back[i].peak.per_second < 999e9);
    zeb_store_close(store);
    zeb_arena_destroy(arena);
}

/* 10 examples of 1 GFLOP each, 80 a second: 80 GFLOP/s. */
static zeb_row make_row(double bytes, int64_t threads, const char *precision) {
    zeb_row row = {.flops_executed = zeb_f64(10e9),
                   .bytes_executed = zeb_f64(bytes),
                   .examples = 10,
                   .throughput_per_s = zeb_f64(80)};
    row.effective.threads = zeb_i64(threads);
    row.effective.batch = zeb_i64(1);
    zeb_text_copy(row.backend, sizeof row.backend, "cpu");
    zeb_text_copy(row.device, sizeof row.device, "0");
    zeb_text_copy(row.device_name, sizeof row.device_name, "A processor");
    zeb_text_copy(row.precision, sizeof row.precision, precision);
    return row;
}

static void expect(zeb_row row, double bound, const char *by, double share) {
    zeb_stored_peak peak[5];
    size_t count = make_peaks(peak);
    zeb_peak_bound(peak, count, &row);
    assert_true(row.bound_flops_per_s.has);
    assert_true(fabs(row.bound_flops_per_s.value / bound - 1) < 1e-9);
    assert_string_equal(row.bound_by, by);
    assert_true(fabs(row.bound_share.value / share - 1) < 1e-9);
}

static void expect_nothing(zeb_row row) {
    zeb_stored_peak peak[5];
    size_t count = make_peaks(peak);
    zeb_peak_bound(peak, count, &row);
    assert_false(row.bound_flops_per_s.has);
    assert_false(row.bound_share.has);
    assert_string_equal(row.bound_by, "");
}

static void test_bound_by_hand(void **state) {
    (void)state;
    expect(make_row(5e6, 1, "fp32"), 100e9, "fp32", 0.8);  /* 0.5 MB a pass: from L2, 2000 FLOP a byte */
    expect(make_row(5e6, 1, "w8a8"), 400e9, "int8", 0.2);  /* the same work at the int8 rate */
    expect(make_row(10e9, 1, "fp32"), 10e9, "DRAM", 8.0);  /* 1 GB a pass, 1 FLOP a byte */
    expect(make_row(1e7, 1, "w4a16"), 100e9, "fp32", 0.8); /* 1 MB a pass just fits L2 */
    zeb_row offline = make_row(5e9, 1, "fp32");            /* 10 examples in one pass of 5 GB: memory, 2 FLOP a byte */
    offline.effective.batch = zeb_i64(32);
    expect(offline, 20e9, "DRAM", 4.0);
}

static void test_bound_is_unknown_without_its_parts(void **state) {
    (void)state;
    zeb_row row = make_row(5e6, 2, "fp32"); /* no bandwidth was measured with two threads */
    expect_nothing(row);
    expect_nothing(make_row(5e6, 1, "bf16")); /* no such peak */
    expect_nothing(make_row(5e6, 1, "fp99"));
    row = make_row(5e6, 1, "fp32");
    row.throughput_per_s = (zeb_maybe_f64){0};
    expect_nothing(row);
    row = make_row(5e6, 1, "fp32");
    row.flops_executed = (zeb_maybe_f64){0};
    expect_nothing(row);
    row = make_row(5e6, 1, "fp32");
    zeb_text_copy(row.device_name, sizeof row.device_name, "Another processor"); /* the file moved to another machine */
    expect_nothing(row);
}

/* A file as zeb 0.1 with schema 1 left it: opened for writing it is brought up to date and keeps its rows. */
static void test_schema_1_is_brought_up_to_date(void **state) {
    test_folder *folder = *state;
    const char *path = test_folder_file(folder, "old.db");
    sqlite3 *db;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, zeb_migration[0].data, NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db,
                                  "PRAGMA user_version = 1; PRAGMA application_id = 0x5a454231;"
                                  "INSERT INTO run (zeb_version, argv, started_utc) VALUES ('0.1', '[]', '2026');"
                                  "INSERT INTO row (run_id, verdict, reason, model, task, backend, policy, scenario, "
                                  "examples, n, capped) VALUES (1, 'failed', 'why', 'm', 't', 'b', 'dense', 'single', "
                                  "0, 0, 0)",
                                  NULL, NULL, NULL),
                     SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    zeb_store *store;
    zeb_arena *arena;
    zeb_error error = {{0}};
    assert_int_equal(zeb_store_open_read(path, &store, &error), ZEB_ERR_VERSION);
    assert_int_equal(zeb_store_open(path, false, &store, &error), ZEB_OK);
    assert_int_equal(zeb_store_schema(store), ZEB_SCHEMA);
    assert_int_equal(zeb_arena_create(&arena, &error), ZEB_OK);
    zeb_record *record;
    size_t count;
    assert_int_equal(zeb_store_rows(store, NULL, arena, &record, &count, &error), ZEB_OK);
    assert_int_equal(count, 1);
    assert_false(record[0].row.bound_share.has);
    zeb_store_close(store);
    zeb_arena_destroy(arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {IN_TEST_FOLDER(test_back_and_newest), cmocka_unit_test(test_bound_by_hand),
                                       cmocka_unit_test(test_bound_is_unknown_without_its_parts),
                                       IN_TEST_FOLDER(test_schema_1_is_brought_up_to_date)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
