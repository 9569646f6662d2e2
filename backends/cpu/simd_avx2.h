/* simd_avx2.h - vectors of 8 floats for kernels_body.h: AVX2 and FMA. Only for files compiled with them. */
#ifndef ZEB_CPU_SIMD_AVX2_H
#define ZEB_CPU_SIMD_AVX2_H

#include <immintrin.h>
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef __m256 vf;
enum { VW = 8, TILE_VECTORS = 2, TILE_ROWS = 6 };

static inline vf vf_zero(void) {
    return _mm256_setzero_ps();
}
static inline vf vf_set1(float x) {
    return _mm256_set1_ps(x);
}
static inline vf vf_load(const float *p) {
    return _mm256_loadu_ps(p);
}
static inline void vf_store(float *p, vf x) {
    _mm256_storeu_ps(p, x);
}
static inline __m256i vf_mask(int n) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
static inline vf vf_load_n(const float *p, int n) {
    return _mm256_maskload_ps(p, vf_mask(n));
}
static inline void vf_store_n(float *p, vf x, int n) {
    _mm256_maskstore_ps(p, vf_mask(n), x);
}
static inline vf vf_add(vf a, vf b) {
    return _mm256_add_ps(a, b);
}
static inline vf vf_sub(vf a, vf b) {
    return _mm256_sub_ps(a, b);
}
static inline vf vf_mul(vf a, vf b) {
    return _mm256_mul_ps(a, b);
}
static inline vf vf_div(vf a, vf b) {
    return _mm256_div_ps(a, b);
}
static inline vf vf_fma(vf a, vf b, vf c) {
    return _mm256_fmadd_ps(a, b, c);
}
/* With a NaN in b the result is NaN: callers put the variable there. */
static inline vf vf_max(vf a, vf b) {
    return _mm256_max_ps(a, b);
}
static inline vf vf_min(vf a, vf b) {
    return _mm256_min_ps(a, b);
}
static inline vf vf_abs(vf a) {
    return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a);
}
static inline vf vf_round(vf a) {
    return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
/* a * 2^n for integral n in [-126, 127]. */
static inline vf vf_ldexp(vf a, vf n) {
    __m256i bits = _mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)), 23);
    return _mm256_mul_ps(a, _mm256_castsi256_ps(bits));
}
/* 0 where x < limit, else x (NaN too). */
static inline vf vf_drop_lt(vf x, vf limit) {
    return _mm256_and_ps(_mm256_cmp_ps(x, limit, _CMP_NLT_UQ), x);
}
/* To the nearest bfloat16, ties to even; NaN stays (quiet) NaN. */
static inline vf vf_round_bf16(vf a) {
    const __m256i bits = _mm256_castps_si256(a),
                  odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
    const __m256i up = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
    const __m256i cut = _mm256_and_si256(up, _mm256_set1_epi32((int)0xffff0000u));
    return _mm256_blendv_ps(_mm256_castsi256_ps(cut), _mm256_set1_ps(NAN), _mm256_cmp_ps(a, a, _CMP_UNORD_Q));
}
static inline float vf_sum(vf a) {
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    s = _mm_add_ss(s, _mm_movehdup_ps(s));
    return _mm_cvtss_f32(s);
}
static inline float vf_top(vf a) {
    __m128 s = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    s = _mm_max_ps(s, _mm_movehl_ps(s, s));
    s = _mm_max_ss(s, _mm_movehdup_ps(s));
    return _mm_cvtss_f32(s);
}
/* The greater of two magnitudes; NaN counts as the greatest, and vf_top_most is NaN then. Without signs, the bits are
 * whole numbers in the same order. */
static inline vf vf_most(vf a, vf b) {
    return _mm256_castsi256_ps(_mm256_max_epi32(_mm256_castps_si256(a), _mm256_castps_si256(b)));
}
static inline float vf_top_most(vf a) {
    const __m256i all = _mm256_castps_si256(a);
    __m128i s = _mm_max_epi32(_mm256_castsi256_si128(all), _mm256_extracti128_si256(all, 1));
    s = _mm_max_epi32(s, _mm_shuffle_epi32(s, 0x4e));
    s = _mm_max_epi32(s, _mm_shuffle_epi32(s, 0xb1));
    return _mm_cvtss_f32(_mm_castsi128_ps(s));
}

/* Eight halves; every processor with AVX2 that is offered here has F16C (cpuinfo.c asks). */
#define VF_LOAD_F16 1
static inline vf vf_load_f16(const uint16_t *p) {
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)p));
}

/* ---- eight-bit products: VW columns at a time, I8_STEP neighbours of k a lane -------------------------------------
 */

typedef __m256i vi;
static inline vi vi_zero(void) {
    return _mm256_setzero_si256();
}
static inline vi vi_load(const int32_t *p) {
    return _mm256_loadu_si256((const __m256i *)p);
}
static inline vi vi_add(vi a, vi b) {
    return _mm256_add_epi32(a, b);
}
static inline vf vi_to_float(vi a) {
    return _mm256_cvtepi32_ps(a);
}
static inline void vi_store(int32_t *p, vi a) {
    _mm256_storeu_si256((__m256i *)p, a);
}
static inline vi vi_negate(vi a) {
    return _mm256_sub_epi32(_mm256_setzero_si256(), a);
}
/* Puts rint(x), within -127 .. 127, into byte i of each lane of `all`. */
static inline vi vi_byte(vi all, vf x, int i) {
    const vi byte = _mm256_and_si256(_mm256_cvtps_epi32(x), _mm256_set1_epi32(255));
    return _mm256_or_si256(all, _mm256_slli_epi32(byte, 8 * i));
}
static inline void vi_split(vf x, unsigned char *high, unsigned char *low, int n) {
    int32_t lane[8];
    vi_store(lane, _mm256_cvtps_epi32(_mm256_mul_ps(x, _mm256_set1_ps(65280.0f))));
    for (int i = 0; i < n; i++) {
        low[i] = (unsigned char)(lane[i] & 255);
        high[i] = (unsigned char)(lane[i] >> 8);
    }
}
/* A group of I8_STEP activations for all lanes. */
static inline vi vi_spread(const void *p) {
    int32_t group;
    memcpy(&group, p, sizeof group);
    return _mm256_set1_epi32(group);
}
#ifdef KERNELS_VNNI
/* Activations are stored as q + 128, unsigned. */
#define I8_WIDE 0
enum { I8_STEP = 4, I8_BYTES = 1, I8_OFFSET = 128 };
static inline vi vi_weights(const int8_t *p) {
    return _mm256_loadu_si256((const __m256i *)p);
}
#define VI_FOUR 1
static inline void vi_four(const int8_t *p, vi *low, vi *high) {
    const vi mask = _mm256_set1_epi8(-16), both = _mm256_loadu_si256((const __m256i *)p);
    *low = _mm256_and_si256(_mm256_slli_epi16(both, 4), mask);
    *high = _mm256_and_si256(both, mask);
}
static inline vi vi_dot(vi sum, vi x, vi w) {
    __asm__("%{vex%} vpdpbusd %2, %1, %0" : "+x"(sum) : "x"(x), "x"(w));
    return sum;
}
static inline void i8_store(void *p, int at, vf a, int n) {
    int32_t lane[8];
    _mm256_storeu_si256((__m256i *)lane, _mm256_cvtps_epi32(a));
    for (int i = 0; i < n; i++)
        ((uint8_t *)p)[at + i] = (uint8_t)(lane[i] + 128);
}
static inline __m256i i16_of(vf a, vf b) { /* in order */
    const __m256i both = _mm256_packs_epi32(_mm256_cvtps_epi32(a), _mm256_cvtps_epi32(b));
    return _mm256_permute4x64_epi64(both, 0xd8);
}
static inline void i8_store4(void *p, int at, const vf a[4]) {
    const __m256i q = _mm256_permute4x64_epi64(_mm256_packs_epi16(i16_of(a[0], a[1]), i16_of(a[2], a[3])), 0xd8);
    _mm256_storeu_si256((__m256i *)((uint8_t *)p + at), _mm256_xor_si256(q, _mm256_set1_epi8(-128)));
}
#else
/* Sixteen bits on both sides: pairs of bytes would saturate in maddubs, pairs of these can't overflow. */
#define I8_WIDE 1
enum { I8_STEP = 2, I8_BYTES = 2, I8_OFFSET = 0 };
static inline vi vi_weights(const int8_t *p) {
    return _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)p));
}
static inline vi vi_dot(vi sum, vi x, vi w) {
    const vi products = _mm256_madd_epi16(x, w); /* gcc 12 would collect those of several steps and spill them */
    __asm__("vpaddd %1, %0, %0" : "+x"(sum) : "x"(products));
    return sum;
}
static inline void i8_store(void *p, int at, vf a, int n) {
    int32_t lane[8];
    _mm256_storeu_si256((__m256i *)lane, _mm256_cvtps_epi32(a));
    for (int i = 0; i < n; i++)
        ((int16_t *)p)[at + i] = (int16_t)lane[i];
}
static inline __m256i i16_of(vf a, vf b) { /* in order */
    const __m256i both = _mm256_packs_epi32(_mm256_cvtps_epi32(a), _mm256_cvtps_epi32(b));
    return _mm256_permute4x64_epi64(both, 0xd8);
}
static inline void i8_store4(void *p, int at, const vf a[4]) {
    _mm256_storeu_si256((__m256i *)((int16_t *)p + at), i16_of(a[0], a[1]));
    _mm256_storeu_si256((__m256i *)((int16_t *)p + at + 16), i16_of(a[2], a[3]));
}
#endif

#endif
