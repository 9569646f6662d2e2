/* simd_avx512.h - vectors of 16 floats for kernels_body.h: AVX-512 F, BW, DQ, VL. Only for files compiled with them. */
#ifndef ZEB_CPU_SIMD_AVX512_H
#define ZEB_CPU_SIMD_AVX512_H

#include <immintrin.h>
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef __m512 vf;
enum { VW = 16, TILE_VECTORS = 2, TILE_ROWS = 12 };

static inline vf vf_zero(void) {
    return _mm512_setzero_ps();
}
static inline vf vf_set1(float x) {
    return _mm512_set1_ps(x);
}
static inline vf vf_load(const float *p) {
    return _mm512_loadu_ps(p);
}
static inline void vf_store(float *p, vf x) {
    _mm512_storeu_ps(p, x);
}
static inline __mmask16 vf_mask(int n) {
    return (__mmask16)((1u << n) - 1u);
}
static inline vf vf_load_n(const float *p, int n) {
    return _mm512_maskz_loadu_ps(vf_mask(n), p);
}
static inline void vf_store_n(float *p, vf x, int n) {
    _mm512_mask_storeu_ps(p, vf_mask(n), x);
}
static inline vf vf_add(vf a, vf b) {
    return _mm512_add_ps(a, b);
}
static inline vf vf_sub(vf a, vf b) {
    return _mm512_sub_ps(a, b);
}
static inline vf vf_mul(vf a, vf b) {
    return _mm512_mul_ps(a, b);
}
static inline vf vf_div(vf a, vf b) {
    return _mm512_div_ps(a, b);
}
static inline vf vf_fma(vf a, vf b, vf c) {
    return _mm512_fmadd_ps(a, b, c);
}
/* With a NaN in b the result is NaN: callers put the variable there. */
static inline vf vf_max(vf a, vf b) {
    return _mm512_max_ps(a, b);
}
static inline vf vf_min(vf a, vf b) {
    return _mm512_min_ps(a, b);
}
static inline vf vf_abs(vf a) {
    return _mm512_abs_ps(a);
}
static inline vf vf_round(vf a) {
    return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
/* a * 2^n for integral n in the range of binary32 exponents. */
static inline vf vf_ldexp(vf a, vf n) {
    return _mm512_scalef_ps(a, n);
}
/* 0 where x < limit, else x (NaN too). */
static inline vf vf_drop_lt(vf x, vf limit) {
    return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(x, limit, _CMP_NLT_UQ), x);
}
/* To the nearest bfloat16, ties to even; NaN stays (quiet) NaN. */
static inline vf vf_round_bf16(vf a) {
    const __m512i bits = _mm512_castps_si512(a),
                  odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    const __m512i up = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
    const __m512i cut = _mm512_and_si512(up, _mm512_set1_epi32((int)0xffff0000u));
    return _mm512_mask_mov_ps(_mm512_castsi512_ps(cut), _mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q), _mm512_set1_ps(NAN));
}
static inline float vf_sum(vf a) {
    return _mm512_reduce_add_ps(a);
}
static inline float vf_top(vf a) {
    return _mm512_reduce_max_ps(a);
}
/* The greater of two magnitudes; NaN counts as the greatest, and vf_top_most is NaN then. Without signs, the bits are
 * whole numbers in the same order. */
static inline vf vf_most(vf a, vf b) {
    return _mm512_castsi512_ps(_mm512_max_epi32(_mm512_castps_si512(a), _mm512_castps_si512(b)));
}
static inline float vf_top_most(vf a) {
    return _mm_cvtss_f32(_mm_castsi128_ps(_mm_cvtsi32_si128(_mm512_reduce_max_epi32(_mm512_castps_si512(a)))));
}

/* One of 32 numbers for each lane, chosen by the low five bits of the lane's representation in `index`. */
#define VF_LOOKUP32 1
static inline vf vf_lookup32(const float table[32], vf index) {
    return _mm512_permutex2var_ps(_mm512_loadu_ps(table), _mm512_castps_si512(index), _mm512_loadu_ps(table + 16));
}

#define VF_TRANSPOSE 1
/* out[c][r] = x[r][c] for 16 x 16 floats; rows from `live` on are not read and count as 0. */
static inline void vf_transpose(const float *x, size_t ldx, int live, float *out, size_t ldo) {
    __m512 a[16], b[16];
    for (int i = 0; i < 16; i++)
        a[i] = i < live ? _mm512_loadu_ps(x + (size_t)i * ldx) : _mm512_setzero_ps();
    for (int i = 0; i < 16; i += 2) {
        b[i] = _mm512_unpacklo_ps(a[i], a[i + 1]);
        b[i + 1] = _mm512_unpackhi_ps(a[i], a[i + 1]);
    }
    for (int i = 0; i < 16; i += 4) { /* a[i + j]: columns 4 * lane + j of the rows i .. i + 3 */
        for (int j = 0; j < 2; j++) {
            const __m512d lo = _mm512_castps_pd(b[i + j]), hi = _mm512_castps_pd(b[i + 2 + j]);
            a[i + 2 * j] = _mm512_castpd_ps(_mm512_unpacklo_pd(lo, hi));
            a[i + 2 * j + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(lo, hi));
        }
    }
    for (int j = 0; j < 4; j++) { /* lanes of 128 bits: rows 0-7 and 8-15, then all */
        b[j] = _mm512_shuffle_f32x4(a[j], a[4 + j], 0x88);
        b[4 + j] = _mm512_shuffle_f32x4(a[j], a[4 + j], 0xdd);
        b[8 + j] = _mm512_shuffle_f32x4(a[8 + j], a[12 + j], 0x88);
        b[12 + j] = _mm512_shuffle_f32x4(a[8 + j], a[12 + j], 0xdd);
    }
    for (int j = 0; j < 4; j++) {
        _mm512_storeu_ps(out + (size_t)j * ldo, _mm512_shuffle_f32x4(b[j], b[8 + j], 0x88));
        _mm512_storeu_ps(out + (size_t)(8 + j) * ldo, _mm512_shuffle_f32x4(b[j], b[8 + j], 0xdd));
        _mm512_storeu_ps(out + (size_t)(4 + j) * ldo, _mm512_shuffle_f32x4(b[4 + j], b[12 + j], 0x88));
        _mm512_storeu_ps(out + (size_t)(12 + j) * ldo, _mm512_shuffle_f32x4(b[4 + j], b[12 + j], 0xdd));
    }
}
/* Sixteen halves. */
#define VF_LOAD_F16 1
static inline vf vf_load_f16(const uint16_t *p) {
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)p));
}

/* ---- eight-bit products: VW columns at a time, I8_STEP neighbours of k a lane -------------------------------------
 */

typedef __m512i vi;
static inline vi vi_zero(void) {
    return _mm512_setzero_si512();
}
static inline vi vi_load(const int32_t *p) {
    return _mm512_loadu_si512(p);
}
static inline vi vi_add(vi a, vi b) {
    return _mm512_add_epi32(a, b);
}
static inline vf vi_to_float(vi a) {
    return _mm512_cvtepi32_ps(a);
}
static inline void vi_store(int32_t *p, vi a) {
    _mm512_storeu_si512(p, a);
}
static inline vi vi_negate(vi a) {
    return _mm512_sub_epi32(_mm512_setzero_si512(), a);
}
/* Puts rint(x), within -127 .. 127, into byte i of each lane of `all`. */
static inline vi vi_byte(vi all, vf x, int i) {
    const vi byte = _mm512_and_si512(_mm512_cvtps_epi32(x), _mm512_set1_epi32(255));
    return _mm512_or_si512(all, _mm512_slli_epi32(byte, (unsigned)(8 * i)));
}
static inline void vi_split(vf x, unsigned char *high, unsigned char *low, int n) {
    const vi q = _mm512_cvtps_epi32(_mm512_mul_ps(x, _mm512_set1_ps(65280.0f)));
    _mm512_mask_cvtepi32_storeu_epi8(low, vf_mask(n), q);
    _mm512_mask_cvtepi32_storeu_epi8(high, vf_mask(n), _mm512_srli_epi32(q, 8));
}
#ifdef KERNELS_HALVES
static inline vf vi_as_floats(vi a) {
    return _mm512_castsi512_ps(a);
}
static inline vi vf_as_bits(vf a) {
    return _mm512_castps_si512(a);
}
/* Two vectors to bfloat16, a before b. */
static inline vi vi_narrow(vf a, vf b) {
    return (vi)_mm512_cvtne2ps_pbh(b, a);
}
/* Pairs of bfloat16, as vi_dot those of bytes. Denormals count as 0. */
static inline vi vi_dot_halves(vi sum, vi x, vi w) {
    __asm__("vdpbf16ps %2, %1, %0" : "+v"(sum) : "v"(x), "v"(w));
    return sum;
}
#endif
/* A group of I8_STEP activations for all lanes. */
static inline vi vi_spread(const void *p) {
    int32_t group;
    memcpy(&group, p, sizeof group);
    return _mm512_set1_epi32(group);
}
#ifdef KERNELS_VNNI
/* Activations are stored as q + 128, unsigned. */
#define I8_WIDE 0
enum { I8_STEP = 4, I8_BYTES = 1, I8_OFFSET = 128 };
static inline vi vi_weights(const int8_t *p) {
    return _mm512_loadu_si512(p);
}
#define VI_FOUR 1
static inline void vi_four(const int8_t *p, vi *low, vi *high) {
    const vi mask = _mm512_set1_epi8(-16), both = _mm512_loadu_si512(p);
    *low = _mm512_and_si512(_mm512_slli_epi16(both, 4), mask);
    *high = _mm512_and_si512(both, mask);
}
/* In assembler: gcc 12 spills tall tiles of the intrinsic's accumulators. */
static inline vi vi_dot(vi sum, vi x, vi w) {
    __asm__("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(x), "v"(w));
    return sum;
}
static inline void i8_store(void *p, int at, vf a, int n) {
    const __m512i q = _mm512_add_epi32(_mm512_cvtps_epi32(a), _mm512_set1_epi32(128));
    _mm512_mask_cvtepi32_storeu_epi8((uint8_t *)p + at, vf_mask(n), q);
}
#define VI_TRANSPOSE_CODES 1
/* Sixteen rows of sixteen groups of four codes, to the form of weights. */
static inline void vi_transpose_codes(const unsigned char *x, size_t ldx, int live, int8_t *out, size_t ldo) {
    const __m512i sign = _mm512_set1_epi8(-128);
    vf_transpose((const float *)(const void *)x, ldx / 4, live, (float *)(void *)out, ldo / 4);
    for (size_t i = 0; i < 16; i++)
        _mm512_storeu_si512(out + i * ldo, _mm512_xor_si512(_mm512_loadu_si512(out + i * ldo), sign));
}
/* Four vectors at once: packing works within 128 bits, so the groups of four bytes are put in order at the end. */
static inline void i8_store4(void *p, int at, const vf a[4]) {
    const __m512i low = _mm512_packs_epi32(_mm512_cvtps_epi32(a[0]), _mm512_cvtps_epi32(a[1]));
    const __m512i high = _mm512_packs_epi32(_mm512_cvtps_epi32(a[2]), _mm512_cvtps_epi32(a[3]));
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    const __m512i q = _mm512_permutexvar_epi32(order, _mm512_packs_epi16(low, high));
    _mm512_storeu_si512((uint8_t *)p + at, _mm512_xor_si512(q, _mm512_set1_epi8(-128)));
}
#else
/* Sixteen bits on both sides: products of bytes in pairs can't overflow there. */
#define I8_WIDE 1
enum { I8_STEP = 2, I8_BYTES = 2, I8_OFFSET = 0 };
static inline vi vi_weights(const int8_t *p) {
    return _mm512_cvtepi8_epi16(_mm256_loadu_si256((const __m256i *)p));
}
static inline vi vi_dot(vi sum, vi x, vi w) {
    const vi products = _mm512_madd_epi16(x, w); /* gcc 12 would collect those of several steps and spill them */
    __asm__("vpaddd %1, %0, %0" : "+v"(sum) : "v"(products));
    return sum;
}
static inline void i8_store(void *p, int at, vf a, int n) {
    _mm512_mask_cvtepi32_storeu_epi16((int16_t *)p + at, vf_mask(n), _mm512_cvtps_epi32(a));
}
static inline void i8_store4(void *p, int at, const vf a[4]) {
    for (int i = 0; i < 4; i++)
        i8_store(p, at + i * VW, a[i], VW);
}
#endif

#endif
