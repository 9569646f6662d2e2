/* zeb/number.h - the number formats of zeb/graph.h, bit by bit: conversions and the quantisers that define W8A8, W4A8
 * and W4A16. docs/formats/quantisation.md is the prose; this is the same in C. Needs no library but libm. */
#ifndef ZEB_NUMBER_H
#define ZEB_NUMBER_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "zeb/graph.h"

#ifdef __cplusplus
extern "C" {
#endif

static inline float zeb_bits_f32(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline uint32_t zeb_f32_bits(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

/* bfloat16: exact one way, to nearest with ties to even the other; a NaN stays one. */
static inline float zeb_bf16_to_f32(uint16_t half) {
    return zeb_bits_f32((uint32_t)half << 16);
}

static inline uint16_t zeb_f32_to_bf16(float value) {
    uint32_t bits = zeb_f32_bits(value);
    if ((bits & 0x7fffffffu) > 0x7f800000u) return (uint16_t)((bits >> 16) | 0x40u);
    return (uint16_t)((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

/* binary16: exact one way, to nearest with ties to even the other; too large becomes infinite. */
static inline float zeb_f16_to_f32(uint16_t half) {
    uint32_t sign = (uint32_t)(half & 0x8000u) << 16, exponent = (half >> 10) & 31u, fraction = half & 0x3ffu;
    if (exponent == 31) return zeb_bits_f32(sign | 0x7f800000u | fraction << 13);
    if (exponent != 0) return zeb_bits_f32(sign | (exponent + 112u) << 23 | fraction << 13);
    float small = (float)fraction * 0x1p-24f;
    return sign != 0 ? -small : small;
}

static inline uint16_t zeb_f32_to_f16(float value) {
    uint32_t bits = zeb_f32_bits(value), sign = bits >> 16 & 0x8000u, magnitude = bits & 0x7fffffffu;
    if (magnitude > 0x7f800000u) return (uint16_t)(sign | 0x7e00u);
    if (magnitude >= 0x477ff000u) return (uint16_t)(sign | 0x7c00u); /* 65520 and above */
    if (magnitude < 0x38800000u)                                     /* below 2^-14: a multiple of 2^-24 */
        return (uint16_t)(sign | (uint32_t)rintf(zeb_bits_f32(magnitude) * 0x1p24f));
    return (uint16_t)(sign | (magnitude - 0x38000000u + 0xfffu + (magnitude >> 13 & 1u)) >> 13);
}

/* Element i of a float tensor's data. */
static inline float zeb_float_at(zeb_dtype dtype, const void *data, size_t i) {
    if (dtype == ZEB_F32) return ((const float *)data)[i];
    uint16_t half = ((const uint16_t *)data)[i];
    return dtype == ZEB_F16 ? zeb_f16_to_f32(half) : zeb_bf16_to_f32(half);
}

/* Element [row,column] of an I8 or U4 weight as binary32, its scales in `scale`. */
static inline float zeb_quantised_at(const zeb_tensor *weight, const zeb_tensor *scale, int64_t row, int64_t column) {
    int64_t width = weight->extent[1].max, at = row * width + column;
    if (weight->dtype == ZEB_I8) return (float)((const int8_t *)weight->data)[at] * ((const float *)scale->data)[row];
    int q = (((const uint8_t *)weight->data)[at / 2] >> (at % 2 * 4) & 15) - 8;
    return (float)q * zeb_f16_to_f32(((const uint16_t *)scale->data)[at / weight->group]);
}

/* Rows whose greatest magnitude is below this (about 8e-31) quantise to zeros with scale 0: 127/max stays finite. */
#define ZEB_QUANTISE_TINY 0x1p-100f

/* The greatest magnitude of x[n]; NaN if there is one. */
static inline float zeb_quantise_top(const float *x, size_t n) {
    float most = 0.0f;
    for (size_t i = 0; i < n; ++i)
        if (fabsf(x[i]) > most || x[i] != x[i]) most = fabsf(x[i]);
    return most;
}

/* One row to I8: inv = 127 / max|x| in binary32, q = rint(x * inv) in binary32 (ties to even), scale = max / 127 in
 * binary32. Used alike for activations (a token's row) and weights (an output channel's row). Returns the scale, which
 * is not finite for a row that is not: then q is 0, and each product with the scale is NaN. */
static inline float zeb_quantise_i8(const float *x, size_t n, int8_t *q) {
    float most = zeb_quantise_top(x, n);
    if (most < ZEB_QUANTISE_TINY || !isfinite(most)) {
        memset(q, 0, n);
        return isfinite(most) ? 0.0f : most;
    }
    float inv = 127.0f / most;
    for (size_t i = 0; i < n; ++i)
        q[i] = (int8_t)rintf(x[i] * inv);
    return most / 127.0f;
}

/* One group of weights to values in [-7,7]: scale = binary16(max|w| / 7), at most 65504; q = rint(w / scale) clamped.
 * The caller stores q + 8 in nibbles (low nibble: even k) and the scale's bits. Returns the scale; of a group that is
 * not finite NaN, with q = 0. */
static inline uint16_t zeb_quantise_i4(const float *w, size_t n, int8_t *q) {
    float most = zeb_quantise_top(w, n);
    if (!isfinite(most)) {
        memset(q, 0, n);
        return 0x7e00u;
    }
    uint16_t half = zeb_f32_to_f16(most / 7.0f);
    if (half >= 0x7c00u) half = 0x7bffu;
    float scale = zeb_f16_to_f32(half);
    for (size_t i = 0; i < n; ++i) {
        float value = scale > 0.0f ? rintf(w[i] / scale) : 0.0f;
        q[i] = (int8_t)(value > 7.0f ? 7.0f : value < -7.0f ? -7.0f : value);
    }
    return half;
}

#ifdef __cplusplus
}
#endif

#endif
