/* Timings: what is put comes back, the newest of each; a line that was changed afterwards is not trusted. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sqlite3.h>
#include <string.h>

#include "folder.h"
#include "rows.h"
#include "store/internal.h"
#include "store/timing.h"

static const char one[] = "1111111111111111111111111111111111111111111111111111111111111111";
static const char two[] = "2222222222222222222222222222222222222222222222222222222222222222";

typedef struct fixture {
    test_folder folder;
    zeb_store *store;
    zeb_arena *arena;
    int64_t run;
    zeb_error error;
    zeb_stored_timing *back;
    size_t count, spoilt;
} fixture;

static int teardown(void **state) {
    fixture *f = *state;
    zeb_store_close(f->store);
    zeb_arena_destroy(f->arena);
    test_folder_remove(&f->folder);
    free(f);
    return 0;
}

static int setup(void **state) {
    zeb_run_info info = test_run_info();
    fixture *f = calloc(1, sizeof *f);
    if (f == NULL) return -1;
    *state = f;
    test_folder_make(&f->folder);
    if (zeb_arena_create(&f->arena, &f->error) == ZEB_OK &&
        zeb_store_open(test_folder_file(&f->folder, "a.db"), true, &f->store, &f->error) == ZEB_OK &&
        zeb_store_begin_run(f->store, &info, &f->run, &f->error) == ZEB_OK)
        return 0;
    print_error("%s\n", f->error.text);
    (void)teardown(state); /* cmocka doesn't, after a failure here */
    return -1;
}

static void read_back(fixture *f, const char *backend) {
    assert_int_equal(zeb_store_timings(f->store, backend, f->arena, &f->back, &f->count, &f->spoilt, &f->error),
                     ZEB_OK);
}

static void test_back_and_newest(void **state) {
    fixture *f = *state;
    const zeb_timing old[] = {{"linear a", 16, 200}, {"linear a", 8, 120.0 / 7}, {"norm", 8, 0}};
    const zeb_timing again = {"linear a", 16, 180};
    read_back(f, NULL);
    assert_int_equal(f->count, 0);
    assert_int_equal(zeb_store_put_timings(f->store, f->run, "cpu", "0", one, old, 3, &f->error), ZEB_OK);
    assert_int_equal(zeb_store_put_timings(f->store, f->run, "cpu", "0", one, &again, 1, &f->error), ZEB_OK);
    assert_int_equal(zeb_store_put_timings(f->store, f->run, "opencl", "0", two, old, 1, &f->error), ZEB_OK);
    read_back(f, NULL);
    assert_int_equal(f->count, 4);
    read_back(f, "cpu");
    assert_int_equal(f->count, 3);
    assert_int_equal(f->spoilt, 0);
    assert_string_equal(f->back[0].timing.signature, "linear a");
    assert_int_equal(f->back[0].timing.rows, 8);
    assert_true(f->back[0].timing.ns == 120.0 / 7);
    assert_true(f->back[1].timing.ns == 180);
    assert_string_equal(f->back[2].fingerprint, one);
    zeb_timing bad[] = {{"norm", 1, 5}, {"norm", 0, 5}}; /* the schema refuses no rows, and nothing of the set stays */
    assert_int_equal(zeb_store_put_timings(f->store, f->run, "cpu", "0", one, bad, 2, &f->error), ZEB_ERR_ARGUMENT);
    read_back(f, "cpu");
    assert_int_equal(f->count, 3);
}

static void test_changed_lines_are_left_out(void **state) {
    fixture *f = *state;
    static const char *const changes[] = {
        "UPDATE timing SET ns = 1 WHERE rows = 16", "UPDATE timing SET rows = 17 WHERE rows = 16",
        "UPDATE timing SET signature = 'linear b' WHERE rows = 16",
        "UPDATE timing SET fingerprint = replace(fingerprint, '1', '3') WHERE rows = 16",
        "UPDATE timing SET digest = '0123456789abcdef' WHERE rows = 16"};
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        const zeb_timing timing[] = {{"linear a", 16, 200}, {"linear a", 8, 120}};
        assert_int_equal(zeb_store_put_timings(f->store, f->run, "cpu", "0", one, timing, 2, &f->error), ZEB_OK);
        assert_int_equal(sqlite3_exec(f->store->db, changes[i], NULL, NULL, NULL), SQLITE_OK);
        read_back(f, NULL);
        assert_int_equal(f->count, 1);
        assert_int_equal(f->spoilt, 1);
        assert_int_equal(f->back[0].timing.rows, 8);
        assert_int_equal(sqlite3_exec(f->store->db, "DELETE FROM timing", NULL, NULL, NULL), SQLITE_OK);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_back_and_newest, setup, teardown),
        cmocka_unit_test_setup_teardown(test_changed_lines_are_left_out, setup, teardown)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
