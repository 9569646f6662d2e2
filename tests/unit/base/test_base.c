#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/text.h"

static void arena_gives_aligned_zeroed_distinct_memory(void **state) {
    (void)state;
    zeb_arena *arena = NULL;
    zeb_error error = {{0}};
    assert_int_equal(zeb_arena_create(&arena, &error), ZEB_OK);
    unsigned char *last = NULL;
    for (size_t i = 1; i < 3000; i += 97) {
        void *memory;
        assert_int_equal(zeb_arena_alloc(arena, i, 7, &memory, &error), ZEB_OK);
        assert_int_equal((uintptr_t)memory % 64, 0);
        unsigned char *bytes = memory;
        for (size_t j = 0; j < 7 * i; j++)
            assert_int_equal(bytes[j], 0);
        memset(memory, 0xab, 7 * i);
        if (last != NULL) assert_int_equal(last[0], 0xab);
        last = bytes;
    }
    void *memory;
    assert_int_equal(zeb_arena_alloc(arena, SIZE_MAX / 2, 3, &memory, &error), ZEB_ERR_MEMORY);
    assert_null(memory);
    zeb_arena_destroy(arena);
    zeb_arena_destroy(NULL);
}

static void fixed_arena_never_outgrows_its_memory(void **state) {
    (void)state;
    zeb_arena *arena = NULL;
    zeb_error error = {{0}};
    unsigned char *memory = aligned_alloc(64, 4096);
    assert_non_null(memory);
    assert_int_equal(zeb_arena_create_in(memory, 4096, &arena, &error), ZEB_OK);
    void *piece;
    size_t pieces = 0;
    while (zeb_arena_alloc(arena, 1, 100, &piece, &error) == ZEB_OK) {
        assert_true((unsigned char *)piece >= memory && (unsigned char *)piece + 100 <= memory + 4096);
        pieces++;
    }
    assert_in_range(pieces, 20, 32);
    assert_int_equal(zeb_arena_create_in(memory, 16, &arena, &error), ZEB_ERR_ARGUMENT);
    free(memory);
}

static void numbers_are_strict(void **state) {
    (void)state;
    int64_t i = 7;
    uint64_t u = 7;
    double d = 7;
    assert_true(zeb_text_to_i64("-12", &i) && i == -12);
    assert_true(zeb_text_to_u64("18446744073709551615", &u) && u == UINT64_MAX);
    assert_true(zeb_text_to_f64("1.5e3", &d) && d == 1500);
    const char *const not_whole[] = {"", " 1", "1 ", "+", "-", "0x10", "1a", "1.5", "99999999999999999999"};
    for (size_t k = 0; k < sizeof not_whole / sizeof not_whole[0]; k++) {
        assert_false(zeb_text_to_i64(not_whole[k], &i));
        assert_false(zeb_text_to_u64(not_whole[k], &u));
    }
    assert_false(zeb_text_to_u64("-1", &u));
    const char *const not_real[] = {"", " 1", "1 ", "+", "-", "1a", "nan", "inf", "1e999"};
    for (size_t k = 0; k < sizeof not_real / sizeof not_real[0]; k++)
        assert_false(zeb_text_to_f64(not_real[k], &d));
    assert_true(i == -12 && u == UINT64_MAX && d == 1500);
}

static void nearest_word_is_suggested(void **state) {
    (void)state;
    const char *const names[] = {"model", "device", "data", "threads"};
    assert_int_equal(zeb_text_distance("abcd", "acbd"), 1);
    assert_int_equal(zeb_text_distance("", "abc"), 3);
    assert_string_equal(zeb_text_nearest("thread", names, 4), "threads");
    assert_string_equal(zeb_text_nearest("devcie", names, 4), "device");
    assert_null(zeb_text_nearest("zzzzzz", names, 4));
}

static void utf8_is_checked(void **state) {
    (void)state;
    size_t bad = 99;
    assert_true(zeb_text_utf8_valid("gr\xc3\xbc\xc3\x9f", 6, &bad));
    assert_false(zeb_text_utf8_valid("a\x80", 2, &bad));
    assert_int_equal(bad, 1);
    assert_false(zeb_text_utf8_valid("\xc0\xaf", 2, &bad));
}

static void hash_is_sha256(void **state) {
    (void)state;
    char hex[ZEB_SHA256_HEX];
    zeb_sha256("abc", 3, hex);
    assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    zeb_error error = {{0}};
    assert_int_equal(zeb_sha256_file("/nonexistent/file", hex, &error), ZEB_ERR_IO);
    assert_non_null(strstr(error.text, "/nonexistent/file"));
}

static void clock_moves_forward(void **state) {
    (void)state;
    uint64_t first = zeb_clock_now_ns();
    zeb_clock_sleep_until(first + 1000000);
    assert_true(zeb_clock_now_ns() >= first + 1000000);
}

static void paths_are_told_in_full(void **state) {
    (void)state;
    static const struct {
        const char *path, *full; /* seen from /usr/bin */
    } known[] = {{"/a/b", "/a/b"},
                 {"//a/.//b/", "/a/b"},
                 {"/", "/"},
                 {"a", "/usr/bin/a"},
                 {"./a/./b//", "/usr/bin/a/b"},
                 {"", "/usr/bin"},
                 {".", "/usr/bin"},
                 {"..", "/usr"},
                 {"../a", "/usr/a"},
                 {".././../a", "/a"},
                 {"../../../..", "/"},
                 {"a/../b", "/usr/bin/a/../b"}, /* a may be a link */
                 {"/a/../b", "/a/../b"},
                 {"..a", "/usr/bin/..a"},
                 {".a", "/usr/bin/.a"}};
    zeb_arena *arena = NULL;
    zeb_error error = {{0}};
    char before[4096], *full = NULL;
    assert_non_null(getcwd(before, sizeof before));
    assert_int_equal(zeb_arena_create(&arena, &error), ZEB_OK);
    assert_int_equal(chdir("/usr/bin"), 0);
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        assert_int_equal(zeb_path_full(arena, known[i].path, &full, &error), ZEB_OK);
        assert_string_equal(full, known[i].full);
    }
    assert_int_equal(chdir("/"), 0);
    assert_int_equal(zeb_path_full(arena, "a", &full, &error), ZEB_OK);
    assert_string_equal(full, "/a");
    char gone[] = "/tmp/zeb-base-XXXXXX";
    assert_non_null(mkdtemp(gone));
    assert_int_equal(chdir(gone), 0);
    assert_int_equal(rmdir(gone), 0);
    assert_int_equal(zeb_path_full(arena, "a", &full, &error), ZEB_ERR_IO);
    assert_int_equal(zeb_path_full(arena, "/a", &full, &error), ZEB_OK);
    assert_int_equal(chdir(before), 0);
    zeb_arena_destroy(arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arena_gives_aligned_zeroed_distinct_memory),
        cmocka_unit_test(fixed_arena_never_outgrows_its_memory),
        cmocka_unit_test(numbers_are_strict),
        cmocka_unit_test(nearest_word_is_suggested),
        cmocka_unit_test(utf8_is_checked),
        cmocka_unit_test(hash_is_sha256),
        cmocka_unit_test(paths_are_told_in_full),
        cmocka_unit_test(clock_moves_forward),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
