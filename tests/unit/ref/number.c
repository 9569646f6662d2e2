/* zeb/number.h: every F16 and BF16 value, rounding against the definition of "nearest, ties to even", the quantisers.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "zeb/number.h"

/* The value of binary16 bits by its definition. */
static double f16_value(uint16_t bits) {
    int exponent = bits >> 10 & 31, fraction = bits & 1023;
    double magnitude = exponent == 0 ? ldexp(fraction, -24) : ldexp(1024 + fraction, exponent - 25);
    return (bits & 0x8000) != 0 ? -magnitude : magnitude;
}

static void every_f16_is_exact_and_comes_back(void **state) {
    (void)state;
    for (uint32_t bits = 0; bits < 65536; ++bits) {
        uint16_t half = (uint16_t)bits;
        float value = zeb_f16_to_f32(half);
        if ((half & 0x7c00) == 0x7c00) {
            if ((half & 0x3ff) != 0) {
                assert_true(isnan(value));
                assert_true(isnan(zeb_f16_to_f32(zeb_f32_to_f16(value))));
                continue;
            }
            assert_true(isinf(value));
        } else {
            assert_true((double)value == f16_value(half));
        }
        assert_int_equal(zeb_f32_to_f16(value), half);
    }
}

static uint32_t next_random(uint32_t *state) {
    *state = *state * 1664525u + 1013904223u;
    return *state >> 4 ^ *state << 7;
}

/* No neighbour is nearer, and of two as near the even one was taken. */
static void check_nearest(float value, uint16_t got) {
    double x = (double)value, distance = fabs(f16_value(got) - x);
    for (int step = -1; step <= 1; step += 2) {
        uint16_t other = (uint16_t)(got + step);
        if ((got & 0x7fff) == 0 && step < 0) continue; /* the neighbour below zero is of the other sign */
        if ((other & 0x7c00) == 0x7c00) continue;
        double there = fabs(f16_value(other) - x);
        if (there < distance || (there == distance && (got & 1) != 0))
            fail_msg("%a becomes %04x although %04x is as good", x, got, other);
    }
}

static void f32_rounds_to_the_nearest_f16(void **state) {
    uint32_t random = 1;
    (void)state;
    for (int i = 0; i < 2000000; ++i) {
        float value = zeb_bits_f32((next_random(&random) & 0x8fffffffu) | (96u + next_random(&random) % 52u) << 23);
        uint16_t half = zeb_f32_to_f16(value);
        if ((half & 0x7c00) == 0x7c00)
            assert_true(fabsf(value) >= 65520.0f);
        else
            check_nearest(value, half);
    }
    for (uint16_t bits = 0; bits < 0x7bff; ++bits) /* the ties themselves */
        check_nearest((float)((f16_value(bits) + f16_value((uint16_t)(bits + 1))) / 2.0),
                      zeb_f32_to_f16((float)((f16_value(bits) + f16_value((uint16_t)(bits + 1))) / 2.0)));
    assert_int_equal(zeb_f32_to_f16(65519.99f), 0x7bff);
    assert_int_equal(zeb_f32_to_f16(65520.0f), 0x7c00);
    assert_int_equal(zeb_f32_to_f16(-INFINITY), 0xfc00);
}

static void bf16_rounds_to_nearest_even(void **state) {
    (void)state;
    assert_int_equal(zeb_f32_to_bf16(1.0f), 0x3f80);
    assert_int_equal(zeb_f32_to_bf16(1.0f + 0x1p-8f), 0x3f80);            /* a tie, to even */
    assert_int_equal(zeb_f32_to_bf16(1.0f + 0x1p-8f + 0x1p-20f), 0x3f81); /* just above */
    assert_int_equal(zeb_f32_to_bf16(1.0f + 0x1p-7f + 0x1p-8f), 0x3f82);  /* a tie, to even */
    assert_int_equal(zeb_f32_to_bf16(zeb_bits_f32(0x7f7fffffu)), 0x7f80); /* too large */
    assert_true(isnan(zeb_bf16_to_f32(zeb_f32_to_bf16(zeb_bits_f32(0x7f800001u)))));
    for (uint32_t bits = 0; bits < 65536; ++bits)
        if ((bits & 0x7f80) != 0x7f80) assert_int_equal(zeb_f32_to_bf16(zeb_bf16_to_f32((uint16_t)bits)), bits);
}

static void i8_rows(void **state) {
    float row[6] = {1.27f, -1.27f, 0.005f, 0.015f, 0.0f, -0.635f}, zero[3] = {0.0f, -0.0f, 1e-38f};
    int8_t q[6];
    (void)state;
    float scale = zeb_quantise_i8(row, 6, q);
    assert_true(scale == 1.27f / 127.0f);
    assert_int_equal(q[0], 127);
    assert_int_equal(q[1], -127);
    for (int i = 0; i < 6; ++i)
        assert_int_equal(q[i], (int8_t)rintf(row[i] * (127.0f / 1.27f)));
    assert_true(zeb_quantise_i8(zero, 3, q) == 0.0f);
    assert_int_equal(q[2], 0);
}

/* The greatest element always lands on 127, whatever the rounding of its inverse. */
static void i8_never_overflows(void **state) {
    uint32_t random = 7;
    int8_t q[2];
    (void)state;
    for (int i = 0; i < 1000000; ++i) {
        float most = zeb_bits_f32((next_random(&random) & 0x7fffffu) | (40u + next_random(&random) % 200u) << 23);
        float row[2] = {most, -most};
        (void)zeb_quantise_i8(row, 2, q);
        assert_int_equal(q[0], 127);
        assert_int_equal(q[1], -127);
    }
}

static void i4_groups(void **state) {
    float w[32] = {0.7f, -0.7f, 0.1f, -0.349f, 0.05f}, huge[32] = {3e6f, -1e5f}, tiny[32] = {1e-9f};
    int8_t q[32];
    (void)state;
    uint16_t half = zeb_quantise_i4(w, 32, q);
    assert_int_equal(half, zeb_f32_to_f16(0.7f / 7.0f));
    assert_int_equal(q[0], 7);
    assert_int_equal(q[1], -7);
    assert_int_equal(q[2], 1);
    assert_int_equal(q[3], -3);
    assert_int_equal(q[5], 0);
    assert_int_equal(zeb_quantise_i4(huge, 32, q), 0x7bff);
    assert_int_equal(q[0], 7);
    assert_int_equal(q[1], -2);
    assert_int_equal(zeb_quantise_i4(tiny, 32, q), 0);
    assert_int_equal(q[0], 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_f16_is_exact_and_comes_back),
        cmocka_unit_test(f32_rounds_to_the_nearest_f16),
        cmocka_unit_test(bf16_rounds_to_nearest_even),
        cmocka_unit_test(i8_rows),
        cmocka_unit_test(i8_never_overflows),
        cmocka_unit_test(i4_groups),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
