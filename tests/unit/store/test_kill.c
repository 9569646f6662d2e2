/* A writer killed with SIGKILL at random moments, again and again on one file: the database is never damaged and every
 * row that zeb_store_put had accepted is there, whole. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/wait.h>
#include <time.h>

#include "folder.h"
#include "rows.h"

enum { KILLS = 200 };

/* Puts rows and says the id of each over the pipe, until it is killed. */
static void writer(const char *path, int pipe, uint64_t seed) {
    zeb_store *store = NULL;
    zeb_arena *arena = NULL;
    zeb_run_info info = test_run_info();
    int64_t run = 0, id = 0;
    if (zeb_arena_create(&arena, NULL) != ZEB_OK || zeb_store_open(path, true, &store, NULL) != ZEB_OK ||
        zeb_store_begin_run(store, &info, &run, NULL) != ZEB_OK) {
        _exit(1);
    }
    zeb_row row = test_row_full(arena, seed);
    for (;;) {
        if (zeb_store_put(store, run, &row, &id, NULL) != ZEB_OK) _exit(2);
        if (write(pipe, &id, sizeof id) != sizeof id) _exit(3);
    }
}

static void pause_us(uint64_t us) {
    struct timespec time = {.tv_sec = 0, .tv_nsec = (long)(us * 1000)};
    while (nanosleep(&time, &time) != 0 && errno == EINTR)
        continue;
}

/* One life of a writer. Returns the rows it was told are stored; the last id in *last. */
static size_t live_and_die(const char *path, uint64_t seed, uint64_t life_us, int64_t *last) {
    int pipe_end[2], status = 0;
    size_t told = 0;
    int64_t id = 0;
    assert_int_equal(pipe(pipe_end), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        (void)close(pipe_end[0]);
        writer(path, pipe_end[1], seed);
    }
    (void)close(pipe_end[1]);
    pause_us(life_us);
    assert_int_equal(kill(child, SIGKILL), 0);
    while (read(pipe_end[0], &id, sizeof id) == sizeof id) {
        told++;
        *last = id;
    }
    (void)close(pipe_end[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL); /* it was at work until then */
    return told;
}

static int64_t ask(sqlite3 *db, const char *sql, int64_t key) {
    sqlite3_stmt *statement = NULL;
    assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &statement, NULL), SQLITE_OK);
    if (sqlite3_bind_parameter_count(statement) > 0) (void)sqlite3_bind_int64(statement, 1, key);
    assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
    int64_t value = sqlite3_column_int64(statement, 0);
    (void)sqlite3_finalize(statement);
    return value;
}

static void assert_sound(sqlite3 *db) {
    sqlite3_stmt *statement = NULL;
    assert_int_equal(sqlite3_prepare_v2(db, "PRAGMA integrity_check", -1, &statement, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
    assert_string_equal((const char *)sqlite3_column_text(statement, 0), "ok");
    (void)sqlite3_finalize(statement);
    assert_int_equal(sqlite3_prepare_v2(db, "PRAGMA foreign_key_check", -1, &statement, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(statement), SQLITE_DONE);
    (void)sqlite3_finalize(statement);
}

/* Looks at the file as any program would, right after the kill. */
static void assert_kept(const char *path, int64_t last, size_t told_in_all, bool thorough) {
    sqlite3 *db = NULL;
    assert_int_equal(sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, NULL), SQLITE_OK);
    (void)sqlite3_busy_timeout(db, 5000);
    if (last > 0) {
        assert_int_equal(ask(db, "SELECT count(*) FROM row WHERE id = ?", last), 1);
        assert_true((size_t)ask(db, "SELECT count(*) FROM row", 0) >= told_in_all);
    }
    if (thorough) assert_sound(db);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

/* No row without its parts: all of a row or nothing. */
static void assert_whole(const char *path, size_t told) {
    sqlite3 *db = NULL;
    assert_int_equal(sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, NULL), SQLITE_OK);
    int64_t rows = ask(db, "SELECT count(*) FROM row", 0);
    assert_true((size_t)rows >= told);
    assert_true((size_t)rows <= told + KILLS); /* at most one a life was stored but not told */
    assert_int_equal(ask(db, "SELECT count(*) FROM settings", 0), 2 * rows);
    assert_int_equal(ask(db, "SELECT count(*) FROM metric", 0), rows);
    assert_int_equal(ask(db, "SELECT count(*) FROM energy_channel", 0), 2 * rows);
    assert_int_equal(ask(db, "SELECT count(*) FROM carbon", 0), rows);
    assert_int_equal(ask(db, "SELECT count(*) FROM kept_layer", 0), 4 * rows);
    assert_int_equal(ask(db, "SELECT count(*) FROM flag", 0), 2 * rows);
    assert_int_equal(ask(db, "SELECT count(*) FROM sample WHERE length(data) = 8 * 500", 0), rows);
    assert_sound(db);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static void test_killed_writers_lose_nothing(void **state) {
    test_folder *folder = *state;
    const char *path = test_folder_file(folder, "a.db");
    uint64_t random = 20261123;
    size_t told = 0;
    for (int i = 0; i < KILLS; i++) {
        int64_t last = 0;
        random = random * 6364136223846793005u + 1442695040888963407u;
        /* From before the schema is there to well into the rows; a few lives on a file that does not exist yet. */
        uint64_t life_us = (random >> 33) % (i % 4 == 0 ? 4000 : 40000);
        if (i < 20) {
            test_folder_remove(folder);
            assert_int_equal(mkdir(folder->path, 0777), 0);
            told = 0;
        }
        told += live_and_die(path, random, life_us, &last);
        if (access(path, F_OK) == 0) assert_kept(path, last, told, i % 20 == 19);
    }
    assert_true(told > 0); /* else nothing was tested */
    assert_whole(path, told);
    print_message("%d kills, %zu rows acknowledged, all there\n", (int)KILLS, told);
}

int main(void) {
    const struct CMUnitTest tests[] = {IN_TEST_FOLDER(test_killed_writers_lose_nothing)};
    return cmocka_run_group_tests_name("store_kill", tests, NULL, NULL);
}
