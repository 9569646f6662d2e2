/* Statistics against NumPy and SciPy: golden_stats.json, made by scripts/golden/make_stats.py. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "base/random.h"
#include "run/binomial.h"
#include "run/compare.h"
#include "run/histogram.h"
#include "run/stats.h"

static json_t *golden;

static int load_golden(void **state) {
    (void)state;
    golden = json_load_file(ZEB_SOURCE_DIR "/tests/unit/stats/golden_stats.json", 0, NULL);
    return golden != NULL ? 0 : -1;
}

static int drop_golden(void **state) {
    (void)state;
    json_decref(golden);
    return 0;
}

static const json_t *cases_of(const char *key, size_t at_least) {
    const json_t *cases = json_object_get(golden, key);
    assert_true(json_array_size(cases) >= at_least);
    return cases;
}

static double number(const json_t *object, const char *key) {
    const json_t *value = json_object_get(object, key);
    assert_true(json_is_number(value));
    return json_number_value(value);
}

static uint64_t seed(void) {
    return (uint64_t)number(golden, "seed");
}

static void near(const char *what, double value, double expected, double tolerance) {
    if (!(fabs(value - expected) <= tolerance)) fail_msg("%s is %.17g, expected %.17g", what, value, expected);
}

static void near_relative(const char *what, double value, double expected, double tolerance) {
    near(what, value, expected, tolerance * fabs(expected) + 1e-300);
}

/* An array of whole numbers, on the heap and exactly as long as it is. */
static uint64_t *numbers(const json_t *object, const char *key, size_t *n) {
    const json_t *array = json_object_get(object, key);
    *n = json_array_size(array);
    uint64_t *value = malloc((*n > 0 ? *n : 1) * sizeof *value);
    assert_non_null(value);
    for (size_t i = 0; i < *n; i++)
        value[i] = (uint64_t)json_integer_value(json_array_get(array, i));
    return value;
}

static bool *truths(const json_t *object, const char *key, size_t *n) {
    uint64_t *value = numbers(object, key, n);
    bool *truth = malloc(*n * sizeof *truth);
    assert_non_null(truth);
    for (size_t i = 0; i < *n; i++)
        truth[i] = value[i] != 0;
    free(value);
    return truth;
}

/* ---- random numbers ---- */

static void test_random_is_the_published_generator(void **state) {
    (void)state;
    const json_t *expected = json_object_get(golden, "random"), *next = json_object_get(expected, "next");
    zeb_random random;
    zeb_random_seed(&random, seed());
    for (size_t i = 0; i < 5; i++)
        assert_true(zeb_random_next(&random) == strtoull(json_string_value(json_array_get(next, i)), NULL, 10));
    const json_t *below = json_object_get(expected, "below"), *wide = json_object_get(expected, "below_wide");
    for (size_t i = 0; i < 8; i++)
        assert_int_equal(zeb_random_below(&random, 872), json_integer_value(json_array_get(below, i)));
    for (size_t i = 0; i < 8; i++) /* a bound that rejects almost every second draw */
        assert_true(zeb_random_below(&random, (UINT64_C(1) << 63) + 1) ==
                    strtoull(json_string_value(json_array_get(wide, i)), NULL, 10));
    const json_t *unit = json_object_get(expected, "unit");
    for (size_t i = 0; i < 5; i++)
        assert_true(zeb_random_unit(&random) == json_number_value(json_array_get(unit, i)));
    assert_int_equal(zeb_random_below(&random, 0), 0);
    assert_int_equal(zeb_random_below(&random, 1), 0);
}

/* xoshiro256** from state {1, 2, 3, 4}: the first outputs of the authors' reference implementation. */
static void test_random_reference_outputs(void **state) {
    (void)state;
    zeb_random random = {.state = {1, 2, 3, 4}};
    static const uint64_t first[] = {11520, 0, 1509978240, 1215971899390074240};
    for (size_t i = 0; i < 4; i++)
        assert_true(zeb_random_next(&random) == first[i]);
    uint64_t mix = 1234567;
    assert_true(zeb_random_mix(&mix) == UINT64_C(6457827717110365317));
}

/* ---- binomial ---- */

static void test_binomial(void **state) {
    (void)state;
    const json_t *cases = cases_of("binomial", 60);
    for (size_t i = 0; i < json_array_size(cases); i++) {
        const json_t *one = json_array_get(cases, i);
        int64_t k = (int64_t)number(one, "k"), n = (int64_t)number(one, "n");
        char name[64];
        (void)snprintf(name, sizeof name, "cdf(%lld, %lld, %g)", (long long)k, (long long)n, number(one, "p"));
        near_relative(name, zeb_binomial_cdf(k, n, number(one, "p")), number(one, "cdf"), 3e-8);
        near_relative(name, zeb_binomial_pmf(k, n, number(one, "p")), number(one, "pmf"), 3e-8);
    }
    assert_true(zeb_binomial_cdf(3, 5, 0) == 1 && zeb_binomial_cdf(3, 5, 1) == 0);
}

static void test_mlperf_minimum(void **state) {
    (void)state;
    assert_int_equal(zeb_stats_queries_min(0.90, 0.99, 1), 64);
    assert_int_equal(zeb_stats_queries_min(0.99, 0.99, 1), 662);
    assert_int_equal(zeb_stats_queries_min(0.99, 0.99, 0), 459);
    assert_int_equal(zeb_stats_queries_min(0.5, 0.5, 0), 1);
    assert_int_equal(zeb_stats_queries_min(1, 0.99, 1), 0);
    assert_int_equal(zeb_stats_queries_min(0.99, (double)NAN, 1), 0);
    for (uint64_t over = 0; over < 200; over += 7) { /* the definition, on both sides */
        uint64_t n = zeb_stats_queries_min(0.95, 0.99, over);
        assert_true(zeb_binomial_cdf((int64_t)over, (int64_t)n, 0.05) <= 0.01 + 1e-12);
        assert_true(zeb_binomial_cdf((int64_t)over, (int64_t)n - 1, 0.05) > 0.01);
    }
}

/* ---- describing ---- */

static void check_bound(const char *name, bool has, double value, const json_t *expected) {
    if (has == json_is_null(expected)) fail_msg("%s: a bound is %s", name, has ? "there" : "missing");
    if (has) near(name, value, json_number_value(expected), 0);
}

static void test_describe(void **state) {
    (void)state;
    const json_t *cases = cases_of("describe", 20);
    for (size_t i = 0; i < json_array_size(cases); i++) {
        const json_t *one = json_array_get(cases, i), *quantiles = json_object_get(one, "quantiles");
        const char *name = json_string_value(json_object_get(one, "name"));
        size_t n;
        uint64_t *sample = numbers(one, "samples", &n), first = sample[0];
        zeb_latency latency;
        zeb_error error = {0};
        assert_int_equal(zeb_stats_describe(sample, n, &latency, &error), ZEB_OK);
        assert_int_equal(latency.n, n);
        near_relative(name, latency.mean_ns, number(one, "mean"), 1e-14);
        near(name, latency.min_ns, number(one, "min"), 0);
        near(name, latency.max_ns, number(one, "max"), 0);
        near(name, latency.mad_ns, number(one, "mad"), 0);
        assert_int_equal(latency.outliers, (uint64_t)number(one, "outliers"));
        for (size_t q = 0; q < ZEB_QUANTILES; q++) {
            const json_t *wanted = json_array_get(quantiles, q);
            near_relative(name, latency.quantile[q].value_ns, number(wanted, "value"), 1e-14);
            check_bound(name, latency.quantile[q].has_lo, latency.quantile[q].lo_ns, json_object_get(wanted, "lo"));
            check_bound(name, latency.quantile[q].has_hi, latency.quantile[q].hi_ns, json_object_get(wanted, "hi"));
        }
        double width;
        near_relative(name, latency.median_half_width, number(one, "half_width"), 1e-12);
        assert_int_equal(zeb_stats_half_width(sample, n, &width, &error), ZEB_OK);
        near_relative(name, width, number(one, "half_width"), 1e-12);
        assert_true(sample[0] == first); /* the samples stay as they were */
        free(sample);
    }
}

static void test_nothing_to_describe(void **state) {
    (void)state;
    zeb_latency latency;
    zeb_error error = {0};
    uint64_t none = 0;
    double width;
    assert_int_equal(zeb_stats_describe(&none, 0, &latency, &error), ZEB_ERR_ARGUMENT);
    assert_int_equal(zeb_stats_half_width(&none, 0, &width, &error), ZEB_OK);
    assert_true(width < 0);
}

static void test_selection(void **state) {
    (void)state;
    zeb_random random;
    zeb_random_seed(&random, 5);
    for (size_t n = 1; n < 60; n++) {
        uint64_t value[60], sorted[60];
        for (size_t i = 0; i < n; i++)
            value[i] = sorted[i] = zeb_random_below(&random, n % 2 ? 1000 : 4);
        zeb_sort_u64(sorted, n);
        for (size_t k = 0; k < n; k++) {
            assert_true(zeb_select_u64(value, n, k) == sorted[k]);
            for (size_t i = 0; i < n; i++)
                assert_true(i < k ? value[i] <= sorted[k] : value[i] >= sorted[k]);
        }
    }
}

/* The stopping rule stops, not before it may, and says what zeb_stats_half_width says. */
static void test_stopping(void **state) {
    (void)state;
    enum { N = 20000 };
    uint64_t *sample = malloc(N * sizeof *sample), *scratch = malloc(N * sizeof *scratch);
    assert_non_null(sample);
    assert_non_null(scratch);
    zeb_random random;
    zeb_random_seed(&random, 3);
    for (size_t i = 0; i < N; i++)
        sample[i] = 100000 + zeb_random_below(&random, 40000);
    zeb_stopping stopping;
    zeb_stopping_start(&stopping, 0.01, 30);
    size_t n = 0, looks = 0, last = 0;
    while (n < N) {
        n++;
        bool reached = zeb_stopping_reached(&stopping, sample, n, scratch);
        looks += stopping.next != last;
        last = stopping.next;
        if (reached) break;
    }
    assert_in_range(n, 150, 2000); /* uniform, +-17 %: half-width 0.98 / sqrt(n) of the half range: about 280 */
    assert_true(looks < 60);
    double width;
    zeb_error error;
    assert_int_equal(zeb_stats_half_width(sample, n, &width, &error), ZEB_OK);
    assert_true(width == stopping.reached && width < 0.01);
    zeb_stopping_start(&stopping, 0.01, 30);
    for (n = 1; n < 30; n++)
        assert_false(zeb_stopping_reached(&stopping, scratch, n, scratch));
    free(sample);
    free(scratch);
}

/* ---- histogram ---- */

static void test_histogram_buckets(void **state) {
    (void)state;
    uint64_t expected_low = 0;
    for (size_t bucket = 0; bucket < ZEB_HISTOGRAM_BUCKETS; bucket++) {
        uint64_t low, high;
        zeb_histogram_bounds(bucket, &low, &high);
        assert_true(low == expected_low); /* no gap, no overlap */
        expected_low = high;
        assert_int_equal(zeb_histogram_bucket(low), bucket);
        assert_int_equal(zeb_histogram_bucket(high - 1), bucket);
        assert_true((double)(high - low) <= fmax(1, (double)low / 128));
    }
    assert_true(expected_low == UINT64_MAX);
    assert_int_equal(zeb_histogram_bucket(UINT64_MAX), ZEB_HISTOGRAM_BUCKETS - 1);
}

static void test_histogram_agrees_with_samples(void **state) {
    (void)state;
    enum { N = 150000 };
    uint64_t *sample = malloc(N * sizeof *sample);
    zeb_histogram *whole = calloc(1, sizeof *whole), *half = calloc(1, sizeof *half);
    assert_non_null(sample);
    assert_non_null(whole);
    assert_non_null(half);
    zeb_random random;
    zeb_random_seed(&random, 11);
    for (size_t i = 0; i < N; i++) {
        sample[i] = 1000 + zeb_random_below(&random, 1 + zeb_random_below(&random, 5000000));
        if (i % 1000 == 0) sample[i] = UINT64_C(900000000);
        zeb_histogram_add(i % 2 ? whole : half, sample[i]);
    }
    zeb_histogram_merge(whole, half);
    zeb_latency exact, coarse;
    zeb_error error = {0};
    assert_int_equal(zeb_stats_describe(sample, N, &exact, &error), ZEB_OK);
    assert_int_equal(zeb_histogram_describe(whole, &coarse, &error), ZEB_OK);
    assert_int_equal(coarse.n, N);
    near_relative("mean", coarse.mean_ns, exact.mean_ns, 1e-12);
    assert_true(coarse.min_ns == exact.min_ns && coarse.max_ns == exact.max_ns);
    for (size_t q = 0; q < ZEB_QUANTILES; q++) {
        near_relative("quantile", coarse.quantile[q].value_ns, exact.quantile[q].value_ns, 1.0 / 128);
        near_relative("lo", coarse.quantile[q].lo_ns, exact.quantile[q].lo_ns, 1.0 / 128);
        near_relative("hi", coarse.quantile[q].hi_ns, exact.quantile[q].hi_ns, 1.0 / 128);
    }
    near("mad", coarse.mad_ns, exact.mad_ns, exact.quantile[ZEB_P50].value_ns / 64);
    assert_int_equal(exact.outliers, 150);
    assert_int_equal(coarse.outliers, 150);
    free(sample);
    free(whole);
    free(half);
}

static void test_histogram_small(void **state) {
    (void)state;
    zeb_histogram *histogram = calloc(1, sizeof *histogram);
    assert_non_null(histogram);
    zeb_latency latency;
    zeb_error error = {0};
    assert_int_equal(zeb_histogram_describe(histogram, &latency, &error), ZEB_ERR_ARGUMENT);
    zeb_histogram_add(histogram, 100001);
    assert_int_equal(zeb_histogram_describe(histogram, &latency, &error), ZEB_OK);
    assert_true(latency.quantile[ZEB_P50].value_ns == 100001); /* a bucket's middle never leaves min and max */
    assert_false(latency.quantile[ZEB_P99].has_hi);
    assert_true(latency.median_half_width < 0);
    free(histogram);
}

/* ---- comparing ---- */

static void test_rank_test(void **state) {
    (void)state;
    const json_t *cases = cases_of("ranks", 10);
    for (size_t i = 0; i < json_array_size(cases); i++) {
        const json_t *one = json_array_get(cases, i);
        size_t na, nb;
        uint64_t *a = numbers(one, "a", &na), *b = numbers(one, "b", &nb);
        zeb_rank_test test;
        zeb_error error = {0};
        assert_int_equal(zeb_compare_ranks(a, na, b, nb, &test, &error), ZEB_OK);
        assert_true(test.u == number(one, "u"));
        assert_int_equal(test.exact, json_is_true(json_object_get(one, "exact")));
        near_relative("p", test.p, number(one, "p"), 1e-9);
        near("greater", test.greater, number(one, "u") / (double)(na * nb), 1e-15);
        assert_int_equal(zeb_compare_ranks(a, na, b, 0, &test, &error), ZEB_ERR_ARGUMENT);
        free(a);
        free(b);
    }
}

static void test_mcnemar(void **state) {
    (void)state;
    const json_t *cases = cases_of("mcnemar", 9);
    for (size_t i = 0; i < json_array_size(cases); i++) {
        const json_t *one = json_array_get(cases, i);
        zeb_pair_test test;
        zeb_compare_discordant((uint64_t)number(one, "b"), (uint64_t)number(one, "c"), &test);
        near_relative("exact p", test.p_exact, number(one, "exact"), 1e-8);
        near_relative("mid p", test.p_mid, number(one, "mid"), 1e-8);
    }
    static const bool a[] = {true, true, false, true, false}, b[] = {true, false, true, false, false};
    zeb_pair_test test;
    zeb_compare_answers(a, b, 5, &test);
    assert_int_equal(test.only_a, 2);
    assert_int_equal(test.only_b, 1);
}

static void test_ratio_of_medians(void **state) {
    (void)state;
    const json_t *cases = cases_of("ratio", 4);
    for (size_t i = 0; i < json_array_size(cases); i++) {
        const json_t *one = json_array_get(cases, i);
        size_t na, nb;
        uint64_t *a = numbers(one, "a", &na), *b = numbers(one, "b", &nb);
        zeb_ratio ratio, again;
        zeb_error error = {0};
        assert_int_equal(zeb_compare_medians(a, na, b, nb, 20000, 1, &ratio, &error), ZEB_OK);
        near_relative("ratio", ratio.value, number(one, "value"), 1e-15);
        near_relative("lo", ratio.lo, number(one, "lo"), 5e-3);
        near_relative("hi", ratio.hi, number(one, "hi"), 5e-3);
        assert_int_equal(zeb_compare_medians(a, na, b, nb, 20000, 1, &again, &error), ZEB_OK);
        assert_true(again.lo == ratio.lo && again.hi == ratio.hi);
        free(a);
        free(b);
    }
    uint64_t zero[] = {0, 0, 5}, some[] = {4, 6};
    zeb_ratio ratio;
    zeb_error error = {0};
    assert_int_equal(zeb_compare_medians(zero, 3, some, 2, 100, 1, &ratio, &error), ZEB_ERR_RANGE);
    assert_int_equal(zeb_compare_medians(some, 1, some, 2, 100, 1, &ratio, &error), ZEB_OK);
    assert_true(ratio.value == 1.25);
}

static void test_gain(void **state) {
    (void)state;
    const json_t *cases = cases_of("gain", 4);
    for (size_t i = 0; i < json_array_size(cases); i++) {
        const json_t *one = json_array_get(cases, i);
        size_t n;
        bool *a = truths(one, "a", &n), *b = truths(one, "b", &n);
        zeb_gain gain;
        zeb_error error = {0};
        assert_int_equal(zeb_compare_accuracies(a, b, n, (size_t)number(one, "resamples"), seed(), &gain, &error),
                         ZEB_OK);
        near("gain", gain.value, number(one, "value"), 1e-15);
        near("lo", gain.lo, number(one, "lo"), 1e-12);
        near("hi", gain.hi, number(one, "hi"), 1e-12);
        free(a);
        free(b);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_is_the_published_generator),
        cmocka_unit_test(test_random_reference_outputs),
        cmocka_unit_test(test_binomial),
        cmocka_unit_test(test_mlperf_minimum),
        cmocka_unit_test(test_describe),
        cmocka_unit_test(test_nothing_to_describe),
        cmocka_unit_test(test_selection),
        cmocka_unit_test(test_stopping),
        cmocka_unit_test(test_histogram_buckets),
        cmocka_unit_test(test_histogram_agrees_with_samples),
        cmocka_unit_test(test_histogram_small),
        cmocka_unit_test(test_rank_test),
        cmocka_unit_test(test_mcnemar),
        cmocka_unit_test(test_ratio_of_medians),
        cmocka_unit_test(test_gain),
    };
    return cmocka_run_group_tests(tests, load_golden, drop_golden);
}
