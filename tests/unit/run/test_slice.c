/* The calibration slice: the same rows that scripts/train holds out. Expected sides are of Python's
 * int.from_bytes(hashlib.sha256(b"zeb-calib-1\0" + text).digest()[:4], "big") < int(share * 2**32). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "run/inputs.h"

static bool has(const char *a, const char *b, int64_t group, double share) {
    zeb_example example = {.a = a, .b = b, .a_len = strlen(a), .b_len = b != NULL ? strlen(b) : 0, .group = group};
    zeb_error error = {{0}};
    bool in = false;
    assert_int_equal(zeb_slice_has(&example, share, &in, &error), ZEB_OK);
    return in;
}

/* The share at which a text enters the slice is its hash: just below it is out, at it is in. */
static void enters_at(const char *a, const char *b, int64_t group, uint32_t hash) {
    assert_false(has(a, b, group, (double)hash / 4294967296.0));
    assert_true(has(a, b, group, ((double)hash + 1) / 4294967296.0));
}

static void test_known_answers(void **state) {
    (void)state;
    enters_at("a gripping film", NULL, -1, 1035616253u);
    enters_at("", NULL, -1, 2877347947u);
    enters_at("a gripping film", "it was dull", -1, 106722222u);
    enters_at("a gripping film", "it was dull", 0, 1814050658u);
    enters_at("café au lait ☕", "naïve", -1, 1599838089u);
}

static void test_groups_stay_whole(void **state) {
    (void)state;
    for (double share = 0.05; share < 1; share += 0.05)
        assert_int_equal(has("a passage", "first answer", 3, share), has("a passage", "second answer", 3, share));
}

static void test_share_is_about_kept(void **state) {
    (void)state;
    int in = 0;
    for (int i = 0; i < 4000; i++) {
        char text[32];
        (void)snprintf(text, sizeof text, "sentence %d", i);
        in += has(text, NULL, -1, 0.05);
    }
    assert_in_range(in, 140, 260); /* 200, 4.3 standard deviations */
    assert_true(has("anything", NULL, -1, 1.0));
}

static void test_only_train(void **state) {
    (void)state;
    zeb_error error = {{0}};
    assert_int_equal(zeb_slice_check("train", 0.05, &error), ZEB_OK);
    assert_int_equal(zeb_slice_check("train_subset", 1, &error), ZEB_OK);
    assert_int_equal(zeb_slice_check("train", 0, &error), ZEB_ERR_ARGUMENT);
    assert_int_equal(zeb_slice_check("train", 1.01, &error), ZEB_ERR_ARGUMENT);
    static const char *const scored[] = {"dev", "test", "dev_matched", "", "Train"};
    for (size_t i = 0; i < sizeof scored / sizeof scored[0]; i++) {
        assert_int_equal(zeb_slice_check(scored[i], 0.05, &error), ZEB_ERR_ARGUMENT);
        assert_non_null(strstr(error.text, "train alone"));
    }
}

/* Second moments of what is seen there: any number of rows and columns, the lower triangle row by row. */
static void test_moments(void **state) {
    (void)state;
    enum { K = 19, ROWS = 9 };
    float x[ROWS * K];
    for (int i = 0; i < ROWS * K; i++)
        x[i] = (float)(i * 37 % 101) - 50.0f;
    for (size_t k = 1; k <= K; k++) {
        for (size_t rows = 0; rows <= ROWS; rows++) {
            double h[K * (K + 1) / 2 + 1];
            for (size_t i = 0; i < sizeof h / sizeof *h; i++)
                h[i] = 0.5;
            zeb_inputs_add(x, rows, k, h);
            for (size_t i = 0; i < k; i++) {
                for (size_t j = 0; j <= i; j++) {
                    double want = 0.5;
                    for (size_t r = 0; r < rows; r++)
                        want += (double)x[r * k + i] * (double)x[r * k + j];
                    assert_true(h[i * (i + 1) / 2 + j] == want); /* integers and a half: exact */
                }
            }
            for (size_t i = k * (k + 1) / 2; i < sizeof h / sizeof *h; i++)
                assert_true(h[i] == 0.5); /* no more than the triangle */
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_known_answers), cmocka_unit_test(test_groups_stay_whole),
                                       cmocka_unit_test(test_moments), cmocka_unit_test(test_share_is_about_kept),
                                       cmocka_unit_test(test_only_train)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
