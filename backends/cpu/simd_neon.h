/* simd_neon.h - vectors of 4 floats for kernels_body.h: aarch64 Advanced SIMD. */
#ifndef ZEB_CPU_SIMD_NEON_H
#define ZEB_CPU_SIMD_NEON_H

#include <arm_neon.h>
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef float32x4_t vf;
enum { VW = 4, TILE_VECTORS = 4, TILE_ROWS = 6 };

static inline vf vf_zero(void) {
    return vdupq_n_f32(0.0f);
}
static inline vf vf_set1(float x) {
    return vdupq_n_f32(x);
}
static inline vf vf_load(const float *p) {
    return vld1q_f32(p);
}
static inline void vf_store(float *p, vf x) {
    vst1q_f32(p, x);
}
static inline vf vf_load_n(const float *p, int n) {
    float lane[4] = {0};
    for (int i = 0; i < n; i++)
        lane[i] = p[i];
    return vld1q_f32(lane);
}
static inline void vf_store_n(float *p, vf x, int n) {
    float lane[4];
    vst1q_f32(lane, x);
    for (int i = 0; i < n; i++)
        p[i] = lane[i];
}
static inline vf vf_add(vf a, vf b) {
    return vaddq_f32(a, b);
}
static inline vf vf_sub(vf a, vf b) {
    return vsubq_f32(a, b);
}
static inline vf vf_mul(vf a, vf b) {
    return vmulq_f32(a, b);
}
static inline vf vf_div(vf a, vf b) {
    return vdivq_f32(a, b);
}
static inline vf vf_fma(vf a, vf b, vf c) {
    return vfmaq_f32(c, a, b);
}
/* A NaN in either gives NaN. */
static inline vf vf_max(vf a, vf b) {
    return vmaxq_f32(a, b);
}
static inline vf vf_min(vf a, vf b) {
    return vminq_f32(a, b);
}
static inline vf vf_abs(vf a) {
    return vabsq_f32(a);
}
static inline vf vf_round(vf a) {
    return vrndnq_f32(a);
}
/* a * 2^n for integral n in [-126, 127]. */
static inline vf vf_ldexp(vf a, vf n) {
    int32x4_t bits = vshlq_n_s32(vaddq_s32(vcvtq_s32_f32(n), vdupq_n_s32(127)), 23);
    return vmulq_f32(a, vreinterpretq_f32_s32(bits));
}
/* 0 where x < limit, else x (NaN too). */
static inline vf vf_drop_lt(vf x, vf limit) {
    return vreinterpretq_f32_u32(vbicq_u32(vreinterpretq_u32_f32(x), vcltq_f32(x, limit)));
}
/* To the nearest bfloat16, ties to even; NaN stays (quiet) NaN. */
static inline vf vf_round_bf16(vf a) {
    const uint32x4_t bits = vreinterpretq_u32_f32(a), odd = vandq_u32(vshrq_n_u32(bits, 16), vdupq_n_u32(1));
    const uint32x4_t up = vaddq_u32(bits, vaddq_u32(odd, vdupq_n_u32(0x7fff)));
    const vf cut = vreinterpretq_f32_u32(vandq_u32(up, vdupq_n_u32(0xffff0000u)));
    return vbslq_f32(vceqq_f32(a, a), cut, vdupq_n_f32(NAN));
}
static inline float vf_sum(vf a) {
    return vaddvq_f32(a);
}
static inline float vf_top(vf a) {
    return vmaxvq_f32(a);
}
/* The greater of two magnitudes; NaN counts as the greatest, and vf_top_most is NaN then. */
static inline vf vf_most(vf a, vf b) {
    return vmaxq_f32(a, b);
}
static inline float vf_top_most(vf a) {
    return vmaxvq_f32(a);
}

/* Four halves. */
#define VF_LOAD_F16 1
static inline vf vf_load_f16(const uint16_t *p) {
    return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p)));
}

/* ---- eight-bit products: VW columns at a time, I8_STEP neighbours of k a lane -------------------------------------
 */

typedef int32x4_t vi;
static inline vi vi_zero(void) {
    return vdupq_n_s32(0);
}
static inline vi vi_load(const int32_t *p) {
    return vld1q_s32(p);
}
static inline vi vi_add(vi a, vi b) {
    return vaddq_s32(a, b);
}
static inline vf vi_to_float(vi a) {
    return vcvtq_f32_s32(a);
}
static inline void vi_store(int32_t *p, vi a) {
    vst1q_s32(p, a);
}
#ifdef KERNELS_HALVES
static inline vf vi_as_floats(vi a) {
    return vreinterpretq_f32_s32(a);
}
static inline vi vf_as_bits(vf a) {
    return vreinterpretq_s32_f32(a);
}
/* Two vectors to bfloat16, a before b. */
static inline vi vi_narrow(vf a, vf b) {
    const uint32x4_t low = vreinterpretq_u32_f32(vf_round_bf16(a)), high = vreinterpretq_u32_f32(vf_round_bf16(b));
    return vreinterpretq_s32_u16(vcombine_u16(vshrn_n_u32(low, 16), vshrn_n_u32(high, 16)));
}
/* Four neighbours of k of two rows by the same of two columns, as vi_dot eight. Denormals count as 0. */
static inline vi vi_dot_halves(vi sum, vi x, vi w) {
    __asm__("bfmmla %0.4s, %1.8h, %2.8h" : "+w"(sum) : "w"(x), "w"(w));
    return sum;
}
#endif
/* A group of I8_STEP activations for all lanes. */
static inline vi vi_spread(const void *p) {
    return vld1q_dup_s32(p); /* rows of codes and their groups are aligned to four bytes */
}
#if defined(KERNELS_I8MM) || defined(KERNELS_DOTPROD)
#define I8_WIDE 0
static inline vi vi_weights(const int8_t *p) {
    return vreinterpretq_s32_s8(vld1q_s8(p));
}
#ifdef KERNELS_I8MM
/* Eight neighbours of k of two rows by the same of two columns. */
#define VI_PAIRS 1
enum { I8_STEP = 8, I8_BYTES = 1, I8_OFFSET = 0 };
static inline vi vi_dot(vi sum, vi x, vi w) {
    __asm__("smmla %0.4s, %1.16b, %2.16b" : "+w"(sum) : "w"(x), "w"(w)); /* kept in order: see CMakeLists.txt */
    return sum;
}
static inline vi vi_two_rows(const unsigned char *a, const unsigned char *b) {
    return vreinterpretq_s32_u8(vcombine_u8(vld1_u8(a), vld1_u8(b)));
}
/* The first two lanes of both, and the last two. */
static inline vi vi_low_pairs(vi a, vi b) {
    return vcombine_s32(vget_low_s32(a), vget_low_s32(b));
}
static inline vi vi_high_pairs(vi a, vi b) {
    return vcombine_s32(vget_high_s32(a), vget_high_s32(b));
}
#else
enum { I8_STEP = 4, I8_BYTES = 1, I8_OFFSET = 0 };
static inline vi vi_dot(vi sum, vi x, vi w) {
    __asm__("sdot %0.4s, %1.16b, %2.16b" : "+w"(sum) : "w"(x), "w"(w)); /* kept in order: see CMakeLists.txt */
    return sum;
}
#endif
static inline void i8_store(void *p, int at, vf a, int n) {
    int32_t lane[4];
    vst1q_s32(lane, vcvtnq_s32_f32(a));
    for (int i = 0; i < n; i++)
        ((int8_t *)p)[at + i] = (int8_t)lane[i];
}
#else
#define I8_WIDE 1
enum { I8_STEP = 2, I8_BYTES = 2, I8_OFFSET = 0 };
static inline vi vi_weights(const int8_t *p) {
    return vreinterpretq_s32_s16(vmovl_s8(vld1_s8(p)));
}
static inline vi vi_dot(vi sum, vi x, vi w) {
    const int16x8_t a = vreinterpretq_s16_s32(x), b = vreinterpretq_s16_s32(w);
    const vi products = vpaddq_s32(vmull_s16(vget_low_s16(a), vget_low_s16(b)), vmull_high_s16(a, b));
    __asm__("add %0.4s, %0.4s, %1.4s" : "+w"(sum) : "w"(products));
    return sum;
}
static inline void i8_store(void *p, int at, vf a, int n) {
    int32_t lane[4];
    vst1q_s32(lane, vcvtnq_s32_f32(a));
    for (int i = 0; i < n; i++)
        ((int16_t *)p)[at + i] = (int16_t)lane[i];
}
#endif
static inline void i8_store4(void *p, int at, const vf a[4]) {
    const int16x8_t low = vcombine_s16(vmovn_s32(vcvtnq_s32_f32(a[0])), vmovn_s32(vcvtnq_s32_f32(a[1])));
    const int16x8_t high = vcombine_s16(vmovn_s32(vcvtnq_s32_f32(a[2])), vmovn_s32(vcvtnq_s32_f32(a[3])));
#if !I8_WIDE
    vst1q_s8((int8_t *)p + at, vcombine_s8(vmovn_s16(low), vmovn_s16(high)));
#else
    vst1q_s16((int16_t *)p + at, low);
    vst1q_s16((int16_t *)p + at + 8, high);
#endif
}

#endif
