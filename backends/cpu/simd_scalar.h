/* simd_scalar.h - the fallback for kernels_body.h: plain C, one float at a time, for any processor. */
#ifndef ZEB_CPU_SIMD_SCALAR_H
#define ZEB_CPU_SIMD_SCALAR_H

#include <math.h>
#include <stdint.h>

#include "zeb/number.h"
#include <string.h>

typedef float vf;
enum { VW = 1, TILE_VECTORS = 4, TILE_ROWS = 2 };

static inline vf vf_zero(void) {
    return 0.0f;
}
static inline vf vf_set1(float x) {
    return x;
}
static inline vf vf_load(const float *p) {
    return *p;
}
static inline void vf_store(float *p, vf x) {
    *p = x;
}
static inline vf vf_load_n(const float *p, int n) {
    return n > 0 ? *p : 0.0f;
}
static inline void vf_store_n(float *p, vf x, int n) {
    if (n > 0) *p = x;
}
static inline vf vf_add(vf a, vf b) {
    return a + b;
}
static inline vf vf_sub(vf a, vf b) {
    return a - b;
}
static inline vf vf_mul(vf a, vf b) {
    return a * b;
}
static inline vf vf_div(vf a, vf b) {
    return a / b;
}
static inline vf vf_fma(vf a, vf b, vf c) {
    return a * b + c;
}
/* With a NaN in b the result is NaN: callers put the variable there. */
static inline vf vf_max(vf a, vf b) {
    return a > b ? a : b;
}
static inline vf vf_min(vf a, vf b) {
    return a < b ? a : b;
}
static inline vf vf_abs(vf a) {
    return fabsf(a);
}
static inline vf vf_round(vf a) {
    return nearbyintf(a);
}
/* a * 2^n for integral n in [-126, 127]. */
static inline vf vf_ldexp(vf a, vf n) {
    union {
        uint32_t bits;
        float value;
    } power = {.bits = (uint32_t)((int32_t)n + 127) << 23};
    return a * power.value;
}
/* 0 where x < limit, else x (NaN too). */
static inline vf vf_drop_lt(vf x, vf limit) {
    return x < limit ? 0.0f : x;
}
/* To the nearest bfloat16, ties to even; NaN stays (quiet) NaN. */
static inline vf vf_round_bf16(vf a) {
    return zeb_bf16_to_f32(zeb_f32_to_bf16(a));
}
static inline float vf_sum(vf a) {
    return a;
}
static inline float vf_top(vf a) {
    return a;
}
/* The greater of two magnitudes; NaN counts as the greatest, and vf_top_most is NaN then. */
static inline vf vf_most(vf a, vf b) {
    return a > b || a != a ? a : b;
}
static inline float vf_top_most(vf a) {
    return a;
}

/* ---- eight-bit products: one column and one k at a time ------------------------------------------------------------
 */

typedef int32_t vi;
#define I8_WIDE 0
enum { I8_STEP = 1, I8_BYTES = 1, I8_OFFSET = 0 };
static inline vi vi_zero(void) {
    return 0;
}
static inline vi vi_load(const int32_t *p) {
    return *p;
}
static inline void vi_store(int32_t *p, vi a) {
    *p = a;
}
static inline vi vi_add(vi a, vi b) {
    return a + b;
}
static inline vf vi_to_float(vi a) {
    return (float)a;
}
static inline vi vi_spread(const void *p) {
    return *(const int8_t *)p;
}
static inline vi vi_weights(const int8_t *p) {
    return *p;
}
static inline vi vi_dot(vi sum, vi x, vi w) {
    return sum + x * w;
}
static inline void i8_store(void *p, int at, vf a, int n) {
    if (n > 0) ((int8_t *)p)[at] = isnan(a) ? 0 : (int8_t)nearbyintf(a); /* no int8_t is NaN */
}
static inline void i8_store4(void *p, int at, const vf a[4]) {
    for (int i = 0; i < 4; i++)
        i8_store(p, at + i * VW, a[i], VW);
}

#endif
