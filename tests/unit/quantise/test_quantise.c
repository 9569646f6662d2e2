/* Rows to I8 and U4: without clipping the numbers of zeb/number.h to the last bit, with it a smaller error or a smaller
 * range, and nothing odd at the edges. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <string.h>

#include "base/random.h"
#include "models/gptq.h"
#include "zeb/number.h"

enum { N = 192, ROWS = 300 };

/* Rows of very different sizes, now and then with a large outlier. */
static void fill(zeb_random *random, float *x) {
    float size = ldexpf(1.0f, (int)zeb_random_below(random, 30) - 20);
    for (int i = 0; i < N; i++)
        x[i] = size * ((float)zeb_random_below(random, 20001) / 10000.0f - 1.0f);
    if (zeb_random_below(random, 2) == 0) x[zeb_random_below(random, N)] *= 9.0f;
}

static void test_absmax_is_the_format(void **state) {
    (void)state;
    zeb_random random;
    zeb_random_seed(&random, 7);
    const zeb_quantise_options eight = {.range = ZEB_RANGE_ABSMAX};
    for (int r = 0; r < ROWS; r++) {
        float x[N], scratch[N];
        int8_t q[N], want[N];
        fill(&random, x);
        float scale = zeb_quantise_row8(x, N, &eight, scratch, q);
        float wanted = zeb_quantise_i8(x, N, want);
        assert_memory_equal(&scale, &wanted, sizeof scale);
        assert_memory_equal(q, want, sizeof q);
        for (int32_t group = 32; group <= 64; group += 32) {
            const zeb_quantise_options four = {.range = ZEB_RANGE_ABSMAX};
            uint8_t packed[N / 2];
            uint16_t half[N / 32];
            zeb_quantise_row4(x, N, (size_t)group, &four, scratch, packed, half);
            for (int g = 0; g < N / group; g++) {
                assert_int_equal(half[g], zeb_quantise_i4(x + g * group, (size_t)group, want));
                for (int i = 0; i < group; i++) {
                    int at = g * group + i;
                    assert_int_equal((packed[at / 2] >> (at % 2 * 4) & 15) - 8, want[i]);
                }
            }
        }
    }
}

static double error8(const float *x, const zeb_quantise_options *o) {
    float scratch[N];
    int8_t q[N];
    double sum = 0, scale = (double)zeb_quantise_row8(x, N, o, scratch, q);
    for (int i = 0; i < N; i++)
        sum += pow((double)x[i] - q[i] * scale, 2);
    return sum;
}

static double error4(const float *x, const zeb_quantise_options *o) {
    float scratch[N];
    uint8_t packed[N / 2];
    uint16_t half[N / 32];
    double sum = 0;
    zeb_quantise_row4(x, N, 32, o, scratch, packed, half);
    for (int i = 0; i < N; i++)
        sum += pow((double)x[i] - ((packed[i / 2] >> (i % 2 * 4) & 15) - 8) * (double)zeb_f16_to_f32(half[i / 32]), 2);
    return sum;
}

static void test_mse_is_never_worse(void **state) {
    (void)state;
    zeb_random random;
    zeb_random_seed(&random, 8);
    double eight = 0, four = 0, eight_least = 0, four_least = 0;
    for (int r = 0; r < ROWS; r++) {
        float x[N];
        fill(&random, x);
        zeb_quantise_options o = {.range = ZEB_RANGE_ABSMAX};
        double plain8 = error8(x, &o), plain4 = error4(x, &o);
        o.range = ZEB_RANGE_MSE;
        double least8 = error8(x, &o), least4 = error4(x, &o);
        assert_true(least8 <= plain8);
        assert_true(least4 <= plain4);
        eight += plain8;
        four += plain4;
        eight_least += least8;
        four_least += least4;
    }
    assert_true(four_least < 0.97 * four); /* and worth its time */
    assert_true(eight_least < eight);
}

static void test_percentile_clips(void **state) {
    (void)state;
    float x[N], scratch[N];
    int8_t q[N];
    for (int i = 0; i < N; i++)
        x[i] = (float)(i % 2 == 0 ? i + 1 : -i - 1); /* magnitudes 1 .. 192 */
    zeb_quantise_options o = {.range = ZEB_RANGE_PERCENTILE, .percentile = 0.75};
    float scale = zeb_quantise_row8(x, N, &o, scratch, q);
    assert_true(scale == 144.0f / 127.0f);
    for (int i = 143; i < N; i++)
        assert_int_equal(q[i], i % 2 == 0 ? 127 : -127);
    o.percentile = 1;
    assert_true(zeb_quantise_row8(x, N, &o, scratch, q) == 192.0f / 127.0f);
}

static void test_edges(void **state) {
    (void)state;
    float x[N] = {0}, scratch[N];
    int8_t q[N], none[N] = {0};
    uint8_t packed[N / 2];
    uint16_t half[N / 32];
    for (int range = 0; range <= ZEB_RANGE_MSE; range++) {
        zeb_quantise_options o = {.range = (zeb_range)range, .percentile = 0.9};
        memset(x, 0, sizeof x);
        assert_true(zeb_quantise_row8(x, N, &o, scratch, q) == 0.0f);
        assert_memory_equal(q, none, sizeof q);
        zeb_quantise_row4(x, N, 32, &o, scratch, packed, half);
        for (int i = 0; i < N / 2; i++)
            assert_int_equal(packed[i], 0x88);
        x[5] = 1e-35f; /* too small for a scale */
        assert_true(zeb_quantise_row8(x, N, &o, scratch, q) == 0.0f);
        x[5] = 3e38f; /* larger than any U4 scale: the largest stands in */
        x[6] = -3e38f;
        zeb_quantise_row4(x, N, 32, &o, scratch, packed, half);
        if (range != ZEB_RANGE_PERCENTILE) {
            assert_int_equal(half[0], 0x7bff);
            assert_int_equal(packed[2] >> 4, 15);
            assert_int_equal(packed[3] & 15, 1);
        }
    }
}

/* ---- GPTQ ---- */

enum { K = 64, TRIANGLE = K * (K + 1) / 2, SEEN = 400 };

/* Inputs that go together: 12 causes and a little noise; column 7 is always 0. */
static void fill_inputs(zeb_random *random, double *h) {
    static float mix[12][K];
    for (int c = 0; c < 12; c++)
        for (int k = 0; k < K; k++)
            mix[c][k] = (float)zeb_random_below(random, 2001) / 1000.0f - 1.0f;
    memset(h, 0, K * K * sizeof *h);
    for (int t = 0; t < SEEN; t++) {
        double x[K] = {0};
        for (int c = 0; c < 12; c++) {
            double cause = (double)zeb_random_below(random, 2001) / 1000.0 - 1.0;
            for (int k = 0; k < K; k++)
                x[k] += cause * (double)mix[c][k];
        }
        for (int k = 0; k < K; k++)
            x[k] += 0.05 * ((double)zeb_random_below(random, 2001) / 1000.0 - 1.0);
        x[7] = 0;
        for (int i = 0; i < K; i++)
            for (int j = 0; j < K; j++)
                h[i * K + j] += x[i] * x[j];
    }
}

/* The lower triangle row by row, as inputs are seen. */
static void pack(const double *h, double *lower) {
    for (int i = 0; i < K; i++)
        for (int j = 0; j <= i; j++)
            *lower++ = h[i * K + j];
}

/* The upper one back in its place, zeros elsewhere. */
static void unpack(const double *upper, double *u) {
    memset(u, 0, K * K * sizeof *u);
    for (int i = 0; i < K; i++)
        for (int j = i; j < K; j++)
            u[i * K + j] = *upper++;
}

static void test_the_factor_inverts(void **state) {
    (void)state;
    static double h[K * K], u[K * K], lower[TRIANGLE], upper[TRIANGLE];
    zeb_random random;
    zeb_error error;
    zeb_random_seed(&random, 9);
    fill_inputs(&random, h);
    pack(h, lower);
    assert_int_equal(zeb_gptq_factor(lower, K, upper, &error), ZEB_OK);
    unpack(upper, u);
    double damping = 0;
    for (int i = 0; i < K; i++)
        damping += 0.01 * (i == 7 ? 1 : h[i * K + i]) / K;
    for (int i = 0; i < K; i++) { /* (U^T U) H is the identity */
        for (int j = 0; j < K; j++) {
            double sum = 0;
            for (int c = 0; c < K; c++) {
                double inverse = 0, at = h[(c > j ? c : j) * K + (c > j ? j : c)];
                for (int r = 0; r <= i && r <= c; r++)
                    inverse += u[r * K + i] * u[r * K + c];
                sum += inverse * (c == j ? (j == 7 ? 1 : at) + damping : at);
            }
            assert_true(fabs(sum - (i == j)) < 1e-8);
        }
    }
    lower[5 * (5 + 3) / 2] = (double)NAN;
    assert_int_equal(zeb_gptq_factor(lower, K, upper, &error), ZEB_ERR_RANGE);
    lower[5 * (5 + 3) / 2] = -1;
    assert_int_equal(zeb_gptq_factor(lower, K, upper, &error), ZEB_ERR_RANGE);
}

/* Squared output error of a row in 8 bits or 4, compensated (u) or to nearest (NULL). */
static double wrong(const float *x, const double *h, const double *u, bool four) {
    const zeb_quantise_options o = {.range = ZEB_RANGE_ABSMAX};
    float scratch[K];
    double w[K], d[K];
    int8_t q[K];
    uint8_t packed[K / 2];
    uint16_t half[K / 32];
    if (four) {
        if (u != NULL)
            zeb_gptq_row4(x, K, 32, u, &o, scratch, w, packed, half);
        else
            zeb_quantise_row4(x, K, 32, &o, scratch, packed, half);
        for (int i = 0; i < K; i++)
            d[i] = (double)x[i] - ((packed[i / 2] >> (i % 2 * 4) & 15) - 8) * (double)zeb_f16_to_f32(half[i / 32]);
    } else {
        double scale =
            (double)(u != NULL ? zeb_gptq_row8(x, K, u, &o, scratch, w, q) : zeb_quantise_row8(x, K, &o, scratch, q));
        for (int i = 0; i < K; i++)
            d[i] = (double)x[i] - q[i] * scale;
    }
    double sum = 0;
    for (int i = 0; i < K; i++)
        for (int j = 0; j < K; j++)
            sum += d[i] * h[i * K + j] * d[j];
    double lower[TRIANGLE];
    pack(h, lower);
    assert_true(fabs(zeb_gptq_error(d, lower, K) - sum) <= 1e-9 * (1 + sum));
    return sum;
}

static void test_compensation_helps_the_outputs(void **state) {
    (void)state;
    static double h[K * K], lower[TRIANGLE], u[TRIANGLE];
    zeb_random random;
    zeb_error error;
    zeb_random_seed(&random, 10);
    fill_inputs(&random, h);
    pack(h, lower);
    assert_int_equal(zeb_gptq_factor(lower, K, u, &error), ZEB_OK);
    for (int four = 0; four < 2; four++) {
        double nearest = 0, compensated = 0;
        for (int r = 0; r < 40; r++) {
            float x[K];
            for (int k = 0; k < K; k++)
                x[k] = (float)zeb_random_below(&random, 20001) / 10000.0f - 1.0f;
            nearest += wrong(x, h, NULL, four);
            compensated += wrong(x, h, u, four);
        }
        assert_true(compensated < 0.5 * nearest);
    }
}

/* Inputs that do not go together leave nothing to make up for. */
static void test_compensation_of_lone_inputs_is_none(void **state) {
    (void)state;
    static double h[TRIANGLE], u[TRIANGLE];
    zeb_random random;
    zeb_error error;
    zeb_random_seed(&random, 11);
    for (int i = 0; i < K; i++)
        h[i * (i + 3) / 2] = 1 + i;
    assert_int_equal(zeb_gptq_factor(h, K, u, &error), ZEB_OK);
    for (int r = 0; r < 20; r++) {
        const zeb_quantise_options o = {.range = (zeb_range)(r % 2 == 0 ? ZEB_RANGE_ABSMAX : ZEB_RANGE_MSE)};
        float x[N], scratch[K];
        double w[K];
        int8_t q[K], want[K];
        uint8_t packed[K / 2], wanted[K / 2];
        uint16_t half[K / 32], whole[K / 32];
        fill(&random, x);
        float scale = zeb_gptq_row8(x, K, u, &o, scratch, w, q);
        assert_true(scale == zeb_quantise_row8(x, K, &o, scratch, want));
        assert_memory_equal(q, want, sizeof q);
        zeb_gptq_row4(x, K, 32, u, &o, scratch, w, packed, half);
        zeb_quantise_row4(x, K, 32, &o, scratch, wanted, whole);
        assert_memory_equal(packed, wanted, sizeof packed);
        assert_memory_equal(half, whole, sizeof half);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_absmax_is_the_format),
                                       cmocka_unit_test(test_mse_is_never_worse),
                                       cmocka_unit_test(test_percentile_clips),
                                       cmocka_unit_test(test_edges),
                                       cmocka_unit_test(test_the_factor_inverts),
                                       cmocka_unit_test(test_compensation_helps_the_outputs),
                                       cmocka_unit_test(test_compensation_of_lone_inputs_is_none)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
