/* Which rows survive, against the definition spelled out: sort all rows, take the first. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <string.h>

#include "plan.h"

enum { ROWS = 97 };

static uint32_t next_random(uint32_t *seed) {
    *seed = *seed * 1664525u + 1013904223u;
    return *seed >> 8;
}

static int is_better(const float *importance, int a, int b) {
    const float x = isnan(importance[a]) ? -INFINITY : importance[a],
                y = isnan(importance[b]) ? -INFINITY : importance[b];
    return x > y || (x == y && a < b);
}

/* keep[i]: as the comment at zeb_select says, in quadratic time. */
static void choose(const zeb_select *select, const float *importance, int n, int *keep) {
    int kept = 0;
    for (int i = 0; i < n; i++) {
        const float value = isnan(importance[i]) ? -INFINITY : importance[i];
        keep[i] = i == 0 || (select->keep_last && i == n - 1) ||
                  (select->mode == ZEB_SELECT_THRESHOLD && value >= select->value) ||
                  (select->mode == ZEB_SELECT_RELATIVE && value * (float)n >= select->value);
        kept += keep[i];
    }
    for (; kept < zeb_select_quota(select, n); kept++) {
        int best = -1;
        for (int i = 0; i < n; i++)
            if (!keep[i] && (best < 0 || is_better(importance, i, best))) best = i;
        keep[best] = 1;
    }
}

static void check(const zeb_select *select, const float *importance, int n) {
    uint8_t mark[ROWS];
    uint64_t key[ROWS];
    int32_t indices[ROWS];
    int keep[ROWS];
    const int64_t count = cpu_select_rows(select, importance, n, 1000, indices, mark, key);
    choose(select, importance, n, keep);
    int64_t at = 0;
    for (int i = 0; i < n; i++) {
        if (!keep[i]) continue;
        assert_true(at < count);
        assert_int_equal(indices[at++], 1000 + i);
    }
    assert_int_equal(at, count);
}

static void fill(float *importance, int n, int kind, uint32_t *seed) {
    for (int i = 0; i < n; i++) {
        const uint32_t r = next_random(seed);
        importance[i] = kind == 0 ? (float)r * 0x1p-24f : kind == 1 ? (float)(r % 3) : -(float)(r % 5);
        if (kind == 2 && r % 7 == 0) importance[i] = NAN;
        if (kind == 2 && r % 7 == 1) importance[i] = -INFINITY;
        if (kind == 1 && r % 11 == 0) importance[i] = -0.0f;
    }
}

static void test_modes(void **state) {
    (void)state;
    uint32_t seed = 1;
    float importance[ROWS];
    for (int round = 0; round < 400; round++) {
        const int n = 1 + (int)(next_random(&seed) % ROWS);
        fill(importance, n, round % 3, &seed);
        zeb_select select = {.mode = ZEB_SELECT_THRESHOLD + next_random(&seed) % 4,
                             .count = 1 + (int32_t)(next_random(&seed) % ROWS),
                             .floor = 1 + (int32_t)(next_random(&seed) % 4),
                             .keep_last = (int32_t)(next_random(&seed) & 1)};
        select.value = select.mode == ZEB_SELECT_RATIO ? (float)(1 + next_random(&seed) % 100) / 100.0f
                                                       : (float)(next_random(&seed) % 100) / 100.0f;
        if (select.mode == ZEB_SELECT_RELATIVE) select.value *= (float)n;
        check(&select, importance, n);
    }
}

static void test_first_and_empty(void **state) {
    (void)state;
    const zeb_select first = {.mode = ZEB_SELECT_FIRST, .floor = 3, .keep_last = 1};
    int32_t indices[2] = {-1, -1};
    assert_int_equal(cpu_select_rows(&first, NULL, 9, 70, indices, NULL, NULL), 1);
    assert_int_equal(indices[0], 70);
    assert_int_equal(indices[1], -1);
    assert_int_equal(cpu_select_rows(&first, NULL, 0, 70, indices, NULL, NULL), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_modes), cmocka_unit_test(test_first_and_empty)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
