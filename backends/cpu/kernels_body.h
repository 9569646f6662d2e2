/* kernels_body.h - the inner loops, written once over the vectors of a simd_<isa>.h and compiled once an instruction
 * set. The including file defines KERNELS_TABLE (the name of its cpu_kernels), KERNELS_ISA and
 * KERNELS_TILE_ROWS (TILE_ROWS for the preprocessor). */
#ifndef ZEB_CPU_KERNELS_BODY_H
#define ZEB_CPU_KERNELS_BODY_H

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "kernels.h"
#include "zeb/number.h"

/* Tiles live in registers only when their loops are unrolled. Under a sanitizer they would make compiling take minutes.
 */
#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define UNROLL
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define UNROLL
#endif
#if defined(UNROLL)
#elif defined(__clang__)
#define UNROLL _Pragma("unroll")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif
#define INLINE static inline __attribute__((always_inline))

/* Loops over whole vectors, then one partial; `at` and `live` name the place and the lanes. Partial loads give 0. */
#define FOR_VECTORS(n) for (int at = 0, live = VW; at < (n) && (live = (n)-at < VW ? (n)-at : VW) > 0; at += VW)

enum { TILE_COLUMNS = VW * TILE_VECTORS };

/* ---- matrix tiles ---------------------------------------------------------------------------------------------- */

/* c[rows, n] = sum[rows, TILE_COLUMNS] (+ c) (+ residual) */
static void finish_edge(const float *sum, int rows, float *c, size_t ldc, int n, int accumulate, const float *residual,
                        size_t ldr) {
    for (int r = 0; r < rows; r++) {
        for (int i = 0; i < n; i++) {
            float y = sum[r * TILE_COLUMNS + i];
            if (accumulate) y += c[(size_t)r * ldc + i];
            if (residual != NULL) y += residual[(size_t)r * ldr + i];
            c[(size_t)r * ldc + i] = y;
        }
    }
}

/* How many steps of k a tile sums apart: with few rows there are too few sums to keep the multipliers busy, each
 * waiting for its own last result. */
#define CHAINS(rows) ((rows)*4 <= TILE_ROWS ? 4 : (rows)*2 <= TILE_ROWS ? 2 : 1)

/* One step along k: an outer product of a column of a and a row of b, added to the rows of acc from `first` on. Rows
 * are addressed from every third, so that base plus 0, 1 or 2 strides needs few registers. */
INLINE void tile_step(const int rows, const int first, vf acc[TILE_ROWS][TILE_VECTORS], const float *const row[4],
                      size_t lda, int k, const float *b) {
    vf bv[TILE_VECTORS];
    UNROLL for (int v = 0; v < TILE_VECTORS; v++) bv[v] = vf_load(b + v * VW);
    UNROLL for (int r = 0; r < rows; r++) {
        const vf av = vf_set1(row[r / 3][(size_t)(r % 3) * lda + (size_t)k]);
        UNROLL for (int v = 0; v < TILE_VECTORS; v++) acc[first + r][v] = vf_fma(av, bv[v], acc[first + r][v]);
    }
}

/* Vector stores may alias anything, so what is read of *t in these loops is copied first. */
INLINE void tile_finish_full(const int rows, vf acc[TILE_ROWS][TILE_VECTORS], const cpu_tile *t) {
    float *const c = t->c;
    const size_t ldc = t->ldc, ldr = t->ldr;
    const float *const residual = t->residual;
    if (t->accumulate) {
        UNROLL for (int r = 0; r < rows; r++) {
            UNROLL for (int v = 0; v < TILE_VECTORS; v++) {
                acc[r][v] = vf_add(acc[r][v], vf_load(c + (size_t)r * ldc + v * VW));
            }
        }
    }
    if (residual != NULL) {
        UNROLL for (int r = 0; r < rows; r++) {
            UNROLL for (int v = 0; v < TILE_VECTORS; v++) {
                acc[r][v] = vf_add(acc[r][v], vf_load(residual + (size_t)r * ldr + v * VW));
            }
        }
    }
    UNROLL for (int r = 0; r < rows; r++) {
        UNROLL for (int v = 0; v < TILE_VECTORS; v++) {
            vf_store(c + (size_t)r * ldc + v * VW, acc[r][v]);
        }
    }
}

/* Fewer columns than the tile has. The sums go through memory once: this is the last panel only, and code is small. */
INLINE void tile_finish_edge(const int rows, vf acc[TILE_ROWS][TILE_VECTORS], const cpu_tile *t) {
    float sum[TILE_ROWS * TILE_VECTORS * VW];
    UNROLL for (int r = 0; r < rows; r++) {
        UNROLL for (int v = 0; v < TILE_VECTORS; v++) {
            vf_store(sum + (r * TILE_VECTORS + v) * VW, acc[r][v]);
        }
    }
    finish_edge(sum, rows, t->c, t->ldc, t->n, t->accumulate, t->residual, t->ldr);
}

INLINE void tile_any(const cpu_tile *t, const int rows) {
    const int chains = CHAINS(rows);
    vf acc[TILE_ROWS][TILE_VECTORS];
    UNROLL for (int v = 0; v < TILE_VECTORS; v++) {
        const vf start = t->bias != NULL ? vf_load(t->bias + v * VW) : vf_zero();
        UNROLL for (int r = 0; r < chains * rows; r++) acc[r][v] = r < rows ? start : vf_zero();
    }
    const size_t lda = t->lda, ldb = t->ldb;
    const float *const row[4] = {t->a, t->a + 3 * lda, t->a + 6 * lda, t->a + 9 * lda};
    const float *b = t->b;
    const char *ahead = t->ahead;
    const int depth = t->k;
    int k = 0;
    if (ahead != NULL) {
        for (; k + chains <= depth; k += chains) {
            UNROLL for (int c = 0; c < chains; c++, b += ldb, ahead += 64) {
                __builtin_prefetch(ahead, 0, 2);
                tile_step(rows, c * rows, acc, row, lda, k + c, b);
            }
        }
    }
    for (; k + chains <= depth; k += chains) {
        UNROLL for (int c = 0; c < chains; c++, b += ldb) tile_step(rows, c * rows, acc, row, lda, k + c, b);
    }
    for (; k < depth; k++, b += ldb)
        tile_step(rows, 0, acc, row, lda, k, b);
    UNROLL for (int r = rows; r < chains * rows; r++) {
        UNROLL for (int v = 0; v < TILE_VECTORS; v++) acc[r % rows][v] = vf_add(acc[r % rows][v], acc[r][v]);
    }
    if (t->n == TILE_COLUMNS)
        tile_finish_full(rows, acc, t);
    else
        tile_finish_edge(rows, acc, t);
}

#define TILE_FUNCTION(rows)                                                                                            \
    static void tile_##rows(const cpu_tile *t) {                                                                       \
        tile_any(t, rows);                                                                                             \
    }
TILE_FUNCTION(1)
TILE_FUNCTION(2)
#if KERNELS_TILE_ROWS >= 6
TILE_FUNCTION(3)
TILE_FUNCTION(4)
TILE_FUNCTION(5)
TILE_FUNCTION(6)
#endif
#if KERNELS_TILE_ROWS >= 12
TILE_FUNCTION(7)
TILE_FUNCTION(8)
TILE_FUNCTION(9)
TILE_FUNCTION(10)
TILE_FUNCTION(11)
TILE_FUNCTION(12)
#endif

/* ---- eight-bit tiles ------------------------------------------------------------------------------------------- */

/* Steps a round of the loop: the fewer rounds, the better the processor foresees the last. */
enum { I8_DEPTH = 4 };

INLINE void i8_step(const int rows, const int first, vi acc[TILE_ROWS][TILE_VECTORS], const unsigned char *const row[4],
                    size_t ldx, const int8_t *w, int k) {
    const size_t at = (size_t)k * I8_STEP * I8_BYTES;
    vi wv[TILE_VECTORS];
    UNROLL for (int v = 0; v < TILE_VECTORS; v++) wv[v] =
        vi_weights(w + ((size_t)k * TILE_COLUMNS + (size_t)(v * VW)) * I8_STEP);
    UNROLL for (int r = 0; r < rows; r++) {
        const vi xv = vi_spread(row[r / 3] + (size_t)(r % 3) * ldx + at);
        UNROLL for (int v = 0; v < TILE_VECTORS; v++) acc[first + r][v] = vi_dot(acc[first + r][v], xv, wv[v]);
    }
}

/* acc[rows] = start + x . w over all steps. */
INLINE void i8_sum(const int rows, vi acc[TILE_ROWS][TILE_VECTORS], const unsigned char *x, size_t ldx, const int8_t *w,
                   const int32_t *start, int steps, const char *ahead) {
    const int chains = CHAINS(rows);
    const unsigned char *const row[4] = {x, x + 3 * ldx, x + 6 * ldx, x + 9 * ldx};
    UNROLL for (int v = 0; v < TILE_VECTORS; v++) {
        const vi begin = vi_load(start + v * VW);
        UNROLL for (int r = 0; r < chains * rows; r++) acc[r][v] = r < rows ? begin : vi_zero();
    }
    int k = 0;
    if (ahead != NULL) {
        for (; k + I8_DEPTH <= steps; k += I8_DEPTH) {
            UNROLL for (int c = 0; c < I8_DEPTH; c++) {
                __builtin_prefetch(ahead + (size_t)(k + c) * 64, 0, 2);
                i8_step(rows, c % chains * rows, acc, row, ldx, w, k + c);
            }
        }
    }
    for (; k + I8_DEPTH <= steps; k += I8_DEPTH) {
        UNROLL for (int c = 0; c < I8_DEPTH; c++) i8_step(rows, c % chains * rows, acc, row, ldx, w, k + c);
    }
    for (; k < steps; k++)
        i8_step(rows, 0, acc, row, ldx, w, k);
    UNROLL for (int r = rows; r < chains * rows; r++) {
        UNROLL for (int v = 0; v < TILE_VECTORS; v++) acc[r % rows][v] = vi_add(acc[r % rows][v], acc[r][v]);
    }
}

/* Sums to results, row by row. */
INLINE void i8_finish(const int rows, vf sum[TILE_ROWS][TILE_VECTORS], const cpu_tile_i8 *t) {
    float *const c = t->c;
    const size_t ldc = t->ldc, ldr = t->ldr;
    const float *const residual = t->residual;
    if (t->n < TILE_COLUMNS) {
        float all[TILE_ROWS * TILE_VECTORS * VW];
        UNROLL for (int r = 0; r < rows; r++) {
            UNROLL for (int v = 0; v < TILE_VECTORS; v++) vf_store(all + (r * TILE_VECTORS + v) * VW, sum[r][v]);
        }
        finish_edge(all, rows, c, ldc, t->n, 0, residual, ldr);
        return;
    }
    if (residual != NULL) {
        UNROLL for (int r = 0; r < rows; r++) {
            UNROLL for (int v = 0; v < TILE_VECTORS; v++) {
                sum[r][v] = vf_add(sum[r][v], vf_load(residual + (size_t)r * ldr + v * VW));
            }
        }
    }
    UNROLL for (int r = 0; r < rows; r++) {
        UNROLL for (int v = 0; v < TILE_VECTORS; v++) vf_store(c + (size_t)r * ldc + v * VW, sum[r][v]);
    }
}

INLINE void i8_any(const cpu_tile_i8 *t, const int rows) {
    vi acc[TILE_ROWS][TILE_VECTORS];
    vf sum[TILE_ROWS][TILE_VECTORS];
    i8_sum(rows, acc, t->x, t->ldx, t->w, t->start, t->steps, t->ahead);
    UNROLL for (int v = 0; v < TILE_VECTORS; v++) {
        const vf scale = vf_load(t->w_scale + v * VW);
        const vf bias = t->bias != NULL ? vf_load(t->bias + v * VW) : vf_zero();
        UNROLL for (int r = 0; r < rows; r++) sum[r][v] =
            vf_fma(vi_to_float(acc[r][v]), vf_mul(vf_set1(t->x_scale[r]), scale), bias);
    }
    i8_finish(rows, sum, t);
}

INLINE void groups_any(const cpu_tile_i8 *t, const int rows) {
    vf sum[TILE_ROWS][TILE_VECTORS];
    const size_t ldx = t->ldx, group = (size_t)t->steps * I8_STEP;
    UNROLL for (int v = 0; v < TILE_VECTORS; v++) {
        UNROLL for (int r = 0; r < rows; r++) sum[r][v] = vf_zero();
    }
    for (int g = 0; g < t->groups; g++) {
        vi acc[TILE_ROWS][TILE_VECTORS];
        i8_sum(rows, acc, t->x + (size_t)g * group * I8_BYTES, ldx, t->w + (size_t)g * group * TILE_COLUMNS,
               t->start + g * TILE_COLUMNS, t->steps, NULL);
        UNROLL for (int v = 0; v < TILE_VECTORS; v++) {
            const vf scale = vf_load(t->w_scale + g * TILE_COLUMNS + v * VW);
            UNROLL for (int r = 0; r < rows; r++) sum[r][v] = vf_fma(vi_to_float(acc[r][v]), scale, sum[r][v]);
        }
    }
    UNROLL for (int v = 0; v < TILE_VECTORS; v++) {
        const vf bias = t->bias != NULL ? vf_load(t->bias + v * VW) : vf_zero();
        UNROLL for (int r = 0; r < rows; r++) sum[r][v] = vf_fma(sum[r][v], vf_set1(t->x_scale[r]), bias);
    }
    i8_finish(rows, sum, t);
}

#define I8_FUNCTION(rows)                                                                                              \
    static void i8_##rows(const cpu_tile_i8 *t) {                                                                      \
        i8_any(t, rows);                                                                                               \
    }
#define GROUPS_FUNCTION(rows)                                                                                          \
    static void groups_##rows(const cpu_tile_i8 *t) {                                                                  \
        groups_any(t, rows);                                                                                           \
    }
I8_FUNCTION(1)
I8_FUNCTION(2)
GROUPS_FUNCTION(1)
GROUPS_FUNCTION(2)
#if KERNELS_TILE_ROWS >= 6
I8_FUNCTION(3)
I8_FUNCTION(4)
I8_FUNCTION(5)
I8_FUNCTION(6)
GROUPS_FUNCTION(3)
#endif
#if KERNELS_TILE_ROWS >= 12
I8_FUNCTION(7)
I8_FUNCTION(8)
I8_FUNCTION(9)
I8_FUNCTION(10)
I8_FUNCTION(11)
I8_FUNCTION(12)
GROUPS_FUNCTION(4)
GROUPS_FUNCTION(5)
GROUPS_FUNCTION(6)
#endif

/* Loops over rows are cut into phases of a few rows: a row alone is a chain of dependent steps (sum, then variance,
 * then scale), and the processor overlaps rows only when their steps stand side by side. */
enum { PHASE_ROWS = 16 };

INLINE float top_of_row(const float *x, int n) {
    const int whole = n - n % VW;
    vf a = vf_zero(), b = vf_zero();
    int i = 0;
    for (; i + 2 * VW <= whole; i += 2 * VW) {
        a = vf_max(vf_abs(vf_load(x + i)), a);
        b = vf_max(vf_abs(vf_load(x + i + VW)), b);
    }
    if (i < whole) a = vf_max(vf_abs(vf_load(x + i)), a);
    float most = vf_top(vf_max(a, b));
    for (i = whole; i < n; i++)
        most = fabsf(x[i]) > most ? fabsf(x[i]) : most;
    return most;
}

static void quantise(const float *x, size_t ldx, int rows, int n, void *q, size_t ldq, float *scale) {
    const int whole = n - n % VW;
    for (int first = 0; first < rows; first += PHASE_ROWS) {
        const int end = first + PHASE_ROWS < rows ? first + PHASE_ROWS : rows;
        float inverse[PHASE_ROWS];
        for (int r = first; r < end; r++) {
            const float most = top_of_row(x + (size_t)r * ldx, n);
            const bool tiny = !(most >= ZEB_QUANTISE_TINY);
            inverse[r - first] = tiny ? 0.0f : 127.0f / most;
            scale[r] = tiny ? 0.0f : most / 127.0f;
        }
        for (int r = first; r < end; r++) {
            const float *from = x + (size_t)r * ldx;
            unsigned char *to = (unsigned char *)q + (size_t)r * ldq;
            const vf inv = vf_set1(inverse[r - first]);
            int i = 0;
            for (; i + 4 * VW <= whole; i += 4 * VW) {
                vf part[4];
                UNROLL for (int j = 0; j < 4; j++) part[j] = vf_mul(vf_load(from + i + j * VW), inv);
                i8_store4(to, i, part);
            }
            for (; i < whole; i += VW)
                i8_store(to, i, vf_mul(vf_load(from + i), inv), VW);
            if (whole < n) i8_store(to, whole, vf_mul(vf_load_n(from + whole, n - whole), inv), n - whole);
        }
    }
}

static void round_bf16(const float *x, int n, float *out) {
    FOR_VECTORS(n) vf_store_n(out + at, vf_round_bf16(vf_load_n(x + at, live)), live);
}

static void pack_columns(const float *x, size_t ld, int rows, int k, float *panel) {
    for (int first = 0; first < rows; first += TILE_COLUMNS, panel += (size_t)k * TILE_COLUMNS) {
        for (int c = 0; c < TILE_COLUMNS; c += VW) {
            const int left = rows - first - c, live = left < 0 ? 0 : left < VW ? left : VW;
            int j = 0;
#ifdef VF_TRANSPOSE
            for (; j + VW <= k; j += VW)
                vf_transpose(x + (size_t)(first + c) * ld + j, ld, live, panel + (size_t)j * TILE_COLUMNS + c,
                             TILE_COLUMNS);
#endif
            for (; j < k; j++)
                for (int i = 0; i < VW; i++)
                    panel[(size_t)j * TILE_COLUMNS + c + i] = i < live ? x[(size_t)(first + c + i) * ld + j] : 0.0f;
        }
    }
}

/* A code as tile_i8 wants it on the side of the weights. */
INLINE int8_t weight_of_code(const unsigned char *codes, int i) {
#if I8_WIDE
    int16_t wide;
    memcpy(&wide, codes + 2 * i, sizeof wide);
    return (int8_t)wide;
#else
    return (int8_t)(codes[i] - I8_OFFSET);
#endif
}

#if defined(KERNELS_VNNI)
#define KERNELS_UNSIGNED 1
static const unsigned char OFFSETS[4] = {128, 128, 128, 128};
#else
#define KERNELS_UNSIGNED 0
#endif

static void pack_codes(const unsigned char *codes, size_t ld, int rows, int k, int8_t *panel, int32_t *start) {
    const int steps = (k + I8_STEP - 1) / I8_STEP;
    for (int first = 0; first < rows; first += TILE_COLUMNS) {
        for (int c = 0; c < TILE_COLUMNS; c += VW) {
            const int live = rows - first - c < 0 ? 0 : rows - first - c < VW ? rows - first - c : VW;
            int j = 0;
#ifdef VI_TRANSPOSE_CODES
            for (; j + VW <= k / I8_STEP; j += VW) /* groups of four codes are moved as 32 bits */
                vi_transpose_codes(codes + (size_t)(first + c) * ld + (size_t)j * I8_STEP, ld, live,
                                   panel + ((size_t)j * TILE_COLUMNS + (size_t)c) * I8_STEP,
                                   (size_t)TILE_COLUMNS * I8_STEP);
#endif
            for (; j < steps; j++) {
                int8_t *to = panel + ((size_t)j * TILE_COLUMNS + (size_t)c) * I8_STEP;
                for (int i = 0; i < VW * I8_STEP; i++) {
                    const int row = i / I8_STEP, at = j * I8_STEP + i % I8_STEP;
                    to[i] = row < live && at < k ? weight_of_code(codes + (size_t)(first + c + row) * ld, at) : 0;
                }
            }
        }
        for (int c = 0; c < TILE_COLUMNS; c += VW) {
            vi sum = vi_zero();
#if KERNELS_UNSIGNED
            for (int j = 0; j < steps; j++)
                sum = vi_dot(sum, vi_spread(OFFSETS), vi_weights(panel + ((size_t)j * TILE_COLUMNS + (size_t)c) * 4));
            sum = vi_negate(sum);
#endif
            vi_store(start + first + c, sum);
        }
        panel += (size_t)steps * TILE_COLUMNS * I8_STEP;
    }
}

/* ---- functions ------------------------------------------------------------------------------------------------- */

/* e^x: x = n ln 2 + r with |r| <= ln 2 / 2, ln 2 in two parts, e^r by the polynomial of Cephes' expf. */
INLINE vf vf_exp(vf x) {
    x = vf_max(vf_set1(-87.3365f), vf_min(vf_set1(88.3762f), x));
    const vf n = vf_round(vf_mul(x, vf_set1(1.44269504088896341f)));
    vf r = vf_fma(n, vf_set1(-0.693359375f), x);
    r = vf_fma(n, vf_set1(2.12194440e-4f), r);
    vf p = vf_set1(1.9875691500e-4f);
    p = vf_fma(p, r, vf_set1(1.3981999507e-3f));
    p = vf_fma(p, r, vf_set1(8.3334519073e-3f));
    p = vf_fma(p, r, vf_set1(4.1665795894e-2f));
    p = vf_fma(p, r, vf_set1(1.6666665459e-1f));
    p = vf_fma(p, r, vf_set1(5.0000001201e-1f));
    p = vf_add(vf_fma(p, vf_mul(r, r), r), vf_set1(1.0f));
    return vf_ldexp(p, n);
}

INLINE vf vf_sigmoid(vf x) {
    const vf one = vf_set1(1.0f);
    return vf_div(one, vf_add(one, vf_exp(vf_sub(vf_zero(), x))));
}

#ifdef VF_LOOKUP32
/* max(x, 0) - B(|x|), B(a) = a erfc(a / sqrt 2) / 2: cubics about the points i * 5.5 / 31, least-maximum fits, error
 * under 6e-7; 0 from 5.5 on up to 2e-7. Adding 1.5 * 2^23 rounds to the nearest point and leaves i in the low bits. */
static const float GELU_TABLE[4][32] = {
    {-3.20123057e-08f, 0.0762170181f,   0.128222436f,    0.158226058f,    0.169578835f,    0.166342616f,
     0.1528088f,       0.133049041f,    0.110564895f,    0.0880751759f,   0.067447193f,    0.0497508496f,
     0.0353969522f,    0.0243162848f,   0.0161405597f,   0.0103579657f,   0.00642913068f,  0.00386098004f,
     0.00224401033f,   0.00126248191f,  0.000687656458f, 0.000362679508f, 0.000185237077f, 9.16275239e-05f,
     4.38985226e-05f,  2.03716972e-05f, 9.15758028e-06f, 3.98776729e-06f, 1.6822512e-06f,  6.87507907e-07f,
     2.72208865e-07f,  1.04442591e-07f},
    {0.0887117311f,    0.0638558865f,    0.0405284092f,    0.0200446285f,    0.00334606552f,   -0.00909568835f,
     -0.0172874462f,   -0.0216449462f,   -0.0228691213f,   -0.0218000915f,   -0.0192799475f,   -0.0160473343f,
     -0.0126750544f,   -0.00955026597f,  -0.00688840821f,  -0.00476788124f,  -0.0031725599f,   -0.00203213538f,
     -0.00125429465f,  -0.000746620819f, -0.000428877363f, -0.000237861808f, -0.000127426742f, -6.59621874e-05f,
     -3.30033363e-05f, -1.59646352e-05f, -7.46779915e-06f, -3.37862411e-06f, -1.47866967e-06f, -6.26106328e-07f,
     -2.56522043e-07f, -1.29711324e-07f},
    {-0.0125782769f,  -0.0121517954f,  -0.0110371048f,  -0.0093478458f,
     -0.00730154384f, -0.00514149806f, -0.00309457444f, -0.00133712636f,
     2.43292689e-05f, 0.000956137956f, 0.0014865729f,   0.00168622786f,
     0.00164584885f,  0.00145678793f,  0.00119725312f,  0.000925281085f,
     0.000677620003f, 0.00047259251f,  0.000314969482f, 0.00020109769f,
     0.000123226928f, 7.2573901e-05f,  4.11259607e-05f, 2.24440191e-05f,
     1.18045818e-05f, 5.98725273e-06f, 2.92988557e-06f, 1.3839018e-06f,
     6.31175169e-07f, 2.7804893e-07f,  1.18341774e-07f, 0.0f},
    {6.57406199e-05f,  0.000256694388f,  0.000478102855f,  0.000636052049f,
     0.000714733265f,  0.000712813751f,  0.000642144238f,  0.000523704686f,
     0.000382174854f,  0.000240676352f,  0.000116897972f,  2.12315699e-05f,
     -4.31258595e-05f, -7.86406963e-05f, -9.12369505e-05f, -8.81055021e-05f,
     -7.60379844e-05f, -6.04180132e-05f, -4.48862556e-05f, -3.14650388e-05f,
     -2.0934338e-05f,  -1.32725299e-05f, -8.04208321e-06f, -4.66704432e-06f,
     -2.59833678e-06f, -1.38962548e-06f, -7.14671387e-07f, -3.53749414e-07f,
     -1.68646224e-07f, -7.74837474e-08f, -3.43257511e-08f, 0.0f}};

INLINE vf vf_gelu_erf(vf x) {
    const vf round = vf_set1(12582912.0f);
    const vf t = vf_min(vf_set1(31.0f), vf_mul(vf_abs(x), vf_set1(31.0f / 5.5f)));
    const vf i = vf_add(t, round), r = vf_sub(t, vf_sub(i, round));
    vf b = vf_fma(vf_lookup32(GELU_TABLE[3], i), r, vf_lookup32(GELU_TABLE[2], i));
    b = vf_fma(b, r, vf_lookup32(GELU_TABLE[1], i));
    b = vf_fma(b, r, vf_lookup32(GELU_TABLE[0], i));
    return vf_sub(vf_max(vf_zero(), x), b);
}
#else
/* max(x, 0) - a (1/2 - a P(u)), a = min(|x|, 5.5), u = 2 (a / 5.5)^2 - 1: P is the least-maximum fit of
 * erf(a / sqrt 2) / 2a, weighted by a^2, on [0, 5.5]; beyond it a (1 - erf) / 2 is under 2e-7. No large numbers cancel.
 */
INLINE vf vf_gelu_erf(vf x) {
    const vf c = vf_min(vf_set1(5.5f), vf_abs(x));
    const vf u = vf_fma(vf_mul(c, c), vf_set1(2.0f / 30.25f), vf_set1(-1.0f));
    static const float p[14] = {0.12855194509029388f,   -0.06417197734117508f,  0.047735605388879776f,
                                -0.03880469501018524f,  0.03211359307169914f,   -0.025941895321011543f,
                                0.02002955600619316f,   -0.01537326816469431f,  0.011425253935158253f,
                                -0.006292687263339758f, 0.002475366462022066f,  -0.0025182405952364206f,
                                0.0025922537315636873f, -0.0009117363952100277f};
    vf q = vf_set1(p[13]);
    UNROLL for (int i = 12; i >= 0; i--) q = vf_fma(q, u, vf_set1(p[i]));
    const vf tail = vf_sub(vf_set1(0.5f), vf_mul(c, q));
    return vf_sub(vf_max(vf_zero(), x), vf_mul(c, tail));
}
#endif

INLINE vf vf_act(const uint32_t activation, vf x) {
    switch (activation) {
        case ZEB_ACT_GELU_ERF: return vf_gelu_erf(x);
        case ZEB_ACT_GELU_TANH: {
            const vf x2 = vf_mul(x, x);
            const vf twice = vf_mul(
                x, vf_fma(x2, vf_set1(2.0f * 0.7978845608028654f * 0.044715f), vf_set1(2.0f * 0.7978845608028654f)));
            return vf_mul(x, vf_sigmoid(twice)); /* 1 + tanh(y) = 2 sigmoid(2y) */
        }
        case ZEB_ACT_RELU: return vf_max(vf_zero(), x);
        case ZEB_ACT_SILU: return vf_mul(x, vf_sigmoid(x));
        case ZEB_ACT_TANH: return vf_fma(vf_set1(2.0f), vf_sigmoid(vf_add(x, x)), vf_set1(-1.0f));
        default: return x;
    }
}

INLINE void activate_as(const uint32_t activation, float *x, size_t ld, int rows, int n) {
    for (int r = 0; r < rows; r++, x += ld) {
        int i = 0;
        for (; i + 2 * VW <= n; i += 2 * VW) { /* two at a time hide each other's latency */
            const vf a = vf_act(activation, vf_load(x + i)), b = vf_act(activation, vf_load(x + i + VW));
            vf_store(x + i, a);
            vf_store(x + i + VW, b);
        }
        for (; i < n; i += VW) {
            const int live = n - i < VW ? n - i : VW;
            vf_store_n(x + i, vf_act(activation, vf_load_n(x + i, live)), live);
        }
    }
}

static void activate(uint32_t activation, float *x, size_t ld, int rows, int n) {
    switch (activation) {
        case ZEB_ACT_GELU_ERF: activate_as(ZEB_ACT_GELU_ERF, x, ld, rows, n); break;
        case ZEB_ACT_GELU_TANH: activate_as(ZEB_ACT_GELU_TANH, x, ld, rows, n); break;
        case ZEB_ACT_RELU: activate_as(ZEB_ACT_RELU, x, ld, rows, n); break;
        case ZEB_ACT_SILU: activate_as(ZEB_ACT_SILU, x, ld, rows, n); break;
        case ZEB_ACT_TANH: activate_as(ZEB_ACT_TANH, x, ld, rows, n); break;
        default: break;
    }
}

/* ---- rows ------------------------------------------------------------------------------------------------------ */

/* out = x + residual; gives the sum. */
INLINE float add_and_sum(const float *x, const float *residual, float *out, int n) {
    const int whole = n - n % VW;
    vf sum[2] = {vf_zero(), vf_zero()};
    for (int i = 0; i < whole; i += VW) {
        vf v = vf_load(x + i);
        if (residual != NULL) v = vf_add(v, vf_load(residual + i));
        vf_store(out + i, v);
        sum[i / VW & 1] = vf_add(sum[i / VW & 1], v);
    }
    float total = vf_sum(vf_add(sum[0], sum[1]));
    for (int i = whole; i < n; i++) {
        out[i] = residual != NULL ? x[i] + residual[i] : x[i];
        total += out[i];
    }
    return total;
}

INLINE float squares_about(const float *x, float mean, int n) {
    const int whole = n - n % VW;
    const vf m = vf_set1(mean);
    vf a = vf_zero(), b = vf_zero();
    int i = 0;
    for (; i + 2 * VW <= whole; i += 2 * VW) {
        const vf v = vf_sub(vf_load(x + i), m), w = vf_sub(vf_load(x + i + VW), m);
        a = vf_fma(v, v, a);
        b = vf_fma(w, w, b);
    }
    if (i < whole) {
        const vf v = vf_sub(vf_load(x + i), m);
        a = vf_fma(v, v, a);
    }
    float total = vf_sum(vf_add(a, b));
    for (i = whole; i < n; i++)
        total += (x[i] - mean) * (x[i] - mean);
    return total;
}

/* x = (x - mean) * factor * gamma + beta */
INLINE void scale_row(const cpu_norm_row *p, float *x, float mean, float factor, int n) {
    const vf m = vf_set1(-mean), f = vf_set1(factor);
    const int whole = n - n % VW;
    for (int i = 0; i < whole; i += VW) {
        vf v = vf_mul(vf_mul(vf_add(vf_load(x + i), m), f), vf_load(p->gamma + i));
        if (p->beta != NULL) v = vf_add(v, vf_load(p->beta + i));
        vf_store(x + i, v);
    }
    for (int i = whole; i < n; i++)
        x[i] = (x[i] - mean) * factor * p->gamma[i] + (p->beta != NULL ? p->beta[i] : 0.0f);
}

static void norm(const cpu_norm_row *p, const float *x, size_t ldx, const float *residual, size_t ldr, float *out,
                 size_t ldo, int rows, int n) {
    for (int first = 0; first < rows; first += PHASE_ROWS) {
        const int end = first + PHASE_ROWS < rows ? first + PHASE_ROWS : rows;
        float mean[PHASE_ROWS], factor[PHASE_ROWS];
        for (int r = first; r < end; r++) {
            const float *more = residual != NULL ? residual + (size_t)r * ldr : NULL;
            const float sum = add_and_sum(x + (size_t)r * ldx, more, out + (size_t)r * ldo, n);
            mean[r - first] = p->kind == ZEB_NORM_LAYER ? sum / (float)n : 0.0f;
            factor[r - first] = 1.0f;
        }
        for (int r = first; p->kind != ZEB_NORM_AFFINE && r < end; r++) {
            const float square = squares_about(out + (size_t)r * ldo, mean[r - first], n);
            factor[r - first] = 1.0f / sqrtf(square / (float)n + p->epsilon);
        }
        for (int r = first; r < end; r++)
            scale_row(p, out + (size_t)r * ldo, mean[r - first], factor[r - first], n);
    }
}

/* 2^y for y <= 0 or hardly above: y = n + r with |r| <= 1/2, 2^r by the least-maximum polynomial of degree 5. */
INLINE vf vf_exp2_down(vf y) {
    y = vf_max(vf_set1(-126.0f), y);
    const vf n = vf_round(y), r = vf_sub(y, n);
    vf p = vf_set1(0.001327647129073739f);
    p = vf_fma(p, r, vf_set1(0.009675540961325169f));
    p = vf_fma(p, r, vf_set1(0.05550713092088699f));
    p = vf_fma(p, r, vf_set1(0.24022120237350464f));
    p = vf_fma(p, r, vf_set1(0.6931469440460205f));
    p = vf_fma(p, r, vf_set1(1.0000001192092896f));
    return vf_ldexp(p, n);
}

/* The greatest of s, or the least. */
INLINE float peak_of_row(const float *s, int n, const bool least) {
    const int whole = n - n % VW;
    vf a = vf_set1(s[0]), b = a;
    int i = 0;
    for (; i + 2 * VW <= whole; i += 2 * VW) {
        a = least ? vf_min(a, vf_load(s + i)) : vf_max(a, vf_load(s + i));
        b = least ? vf_min(b, vf_load(s + i + VW)) : vf_max(b, vf_load(s + i + VW));
    }
    if (i < whole) a = least ? vf_min(a, vf_load(s + i)) : vf_max(a, vf_load(s + i));
    const vf none = vf_zero();
    float peak = least ? -vf_top(vf_sub(none, vf_min(a, b))) : vf_top(vf_max(a, b));
    for (i = whole; i < n; i++)
        peak = (least ? s[i] < peak : s[i] > peak) ? s[i] : peak;
    return peak;
}

/* s = 2^(by (s - peak)); gives the sum. The difference first: products of large numbers would lose its last bits. */
INLINE float exp_of_row(float *s, int n, float by, float peak) {
    const vf factor = vf_set1(by), top = vf_set1(peak);
    const int whole = n - n % VW;
    vf sum = vf_zero();
    int i = 0;
    for (; i + 2 * VW <= whole; i += 2 * VW) {
        const vf a = vf_exp2_down(vf_mul(vf_sub(vf_load(s + i), top), factor));
        const vf b = vf_exp2_down(vf_mul(vf_sub(vf_load(s + i + VW), top), factor));
        vf_store(s + i, a);
        vf_store(s + i + VW, b);
        sum = vf_add(sum, vf_add(a, b));
    }
    if (i < whole) {
        const vf a = vf_exp2_down(vf_mul(vf_sub(vf_load(s + i), top), factor));
        vf_store(s + i, a);
        sum = vf_add(sum, a);
    }
    float total = vf_sum(sum);
    if (whole < n) {
        const vf a = vf_exp2_down(vf_mul(vf_sub(vf_load_n(s + whole, n - whole), top), factor));
        vf_store_n(s + whole, a, n - whole);
        for (i = whole; i < n; i++)
            total += s[i];
    }
    return total;
}

static void softmax(float *s, size_t ld, int rows, int n, const int *seen, float scale, float *peak, float *sum) {
    for (int r = 0; r < rows; r++) {
        float *row = s + (size_t)r * ld;
        peak[r] = seen[r] <= 0 ? 0.0f : scale < 0 ? peak_of_row(row, seen[r], true) : peak_of_row(row, seen[r], false);
        for (int i = seen[r]; i < n; i++)
            row[i] = 0.0f;
    }
    for (int r = 0; r < rows; r++)
        sum[r] = seen[r] > 0 ? exp_of_row(s + (size_t)r * ld, seen[r], scale * 1.44269504088896341f, peak[r]) : 0.0f;
}

#if KERNELS_UNSIGNED
/* Four rows of one vector of columns to bytes side by side. */
INLINE vi four_rows(const float *v, size_t ld, int rows, int live, vf factor) {
    vi all = vi_zero();
    for (int i = 0; i < rows; i++) {
        const float *from = v + (size_t)i * ld;
        const vf x = live == VW ? vf_load(from) : vf_load_n(from, live);
        all = vi_byte(all, vf_mul(x, factor), i);
    }
    return all;
}

static void pack_values(const float *v, size_t ld, int rows, int n, int8_t *panel, float *scale) {
    const int steps = (rows + 3) / 4;
    for (int first = 0; first < n; first += TILE_COLUMNS, panel += (size_t)steps * TILE_COLUMNS * 4) {
        for (int c = 0; c < TILE_COLUMNS; c += VW) {
            const int left = n - first - c, live = left < 0 ? 0 : left < VW ? left : VW;
            const float *from = v + first + c;
            vf top = vf_zero();
            for (int r = 0; r < rows; r++)
                top = vf_max(
                    vf_abs(live == VW ? vf_load(from + (size_t)r * ld) : vf_load_n(from + (size_t)r * ld, live)), top);
            float most[VW], inverse[VW];
            vf_store(most, top);
            for (int i = 0; i < VW; i++) {
                const bool tiny = !(most[i] >= ZEB_QUANTISE_TINY);
                inverse[i] = tiny ? 0.0f : 127.0f / most[i];
                scale[first + c + i] = tiny ? 0.0f : most[i] / 127.0f;
            }
            const vf factor = vf_load(inverse);
            for (int j = 0; j < steps; j++) {
                const int some = rows - 4 * j < 4 ? rows - 4 * j : 4;
                int8_t *to = panel + ((size_t)j * TILE_COLUMNS + (size_t)c) * 4;
                const vi bytes = some == 4 && live == VW
                                     ? four_rows(from + (size_t)(4 * j) * ld, ld, 4, VW, factor)
                                     : four_rows(from + (size_t)(4 * j) * ld, ld, some, live, factor);
                vi_store((int32_t *)(void *)to, bytes);
            }
        }
    }
}

static void split(const float *x, size_t ld, int rows, int n, unsigned char *high, unsigned char *low, size_t ldc) {
    for (int r = 0; r < rows; r++, x += ld, high += ldc, low += ldc) {
        int i = 0;
        for (; i + VW <= n; i += VW)
            vi_split(vf_load(x + i), high + i, low + i, VW);
        if (i < n) vi_split(vf_load_n(x + i, n - i), high + i, low + i, n - i);
    }
}
#endif

static void add_rows(float *y, const float *x, size_t ld, int rows, int n, const float *a) {
    const int whole = n - n % (2 * VW);
    for (int i = 0; i < whole; i += 2 * VW) {
        vf sum = vf_load(y + i), more = vf_load(y + i + VW);
        for (int r = 0; r < rows; r++) {
            const vf by = vf_set1(a[r]);
            sum = vf_fma(by, vf_load(x + (size_t)r * ld + i), sum);
            more = vf_fma(by, vf_load(x + (size_t)r * ld + i + VW), more);
        }
        vf_store(y + i, sum);
        vf_store(y + i + VW, more);
    }
    for (int i = whole; i < n; i++)
        for (int r = 0; r < rows; r++)
            y[i] += a[r] * x[(size_t)r * ld + i];
}

static void scale_keep(float *x, int n, float a, float limit) {
    const vf by = vf_set1(a), least = vf_set1(limit);
    FOR_VECTORS(n) vf_store_n(x + at, vf_drop_lt(vf_mul(vf_load_n(x + at, live), by), least), live);
}

static void axpy(float *y, const float *x, float a, int n) {
    const vf by = vf_set1(a);
    FOR_VECTORS(n) vf_store_n(y + at, vf_fma(by, vf_load_n(x + at, live), vf_load_n(y + at, live)), live);
}

static void multiply(float *y, const float *x, int n) {
    FOR_VECTORS(n) vf_store_n(y + at, vf_mul(vf_load_n(x + at, live), vf_load_n(y + at, live)), live);
}

static void maximum(float *y, const float *x, int n) {
    FOR_VECTORS(n) vf_store_n(y + at, vf_max(vf_load_n(y + at, live), vf_load_n(x + at, live)), live);
}

static void widen(zeb_dtype dtype, const void *from, float *to, size_t n) {
    size_t i = 0;
    const uint16_t *half = from;
    if (dtype == ZEB_F32) {
        memcpy(to, from, n * sizeof *to);
    } else if (dtype == ZEB_BF16) {
        for (; i < n; i++)
            to[i] = zeb_bf16_to_f32(half[i]);
    } else {
#ifdef VF_LOAD_F16
        for (; i + VW <= n; i += VW)
            vf_store(to + i, vf_load_f16(half + i));
#endif
        for (; i < n; i++)
            to[i] = zeb_f16_to_f32(half[i]);
    }
}

const cpu_kernels KERNELS_TABLE = {
    .isa = KERNELS_ISA,
    .tile_rows = TILE_ROWS,
    .tile_columns = TILE_COLUMNS,
    .tile = {NULL, tile_1, tile_2,
#if KERNELS_TILE_ROWS >= 6
             tile_3, tile_4, tile_5, tile_6,
#endif
#if KERNELS_TILE_ROWS >= 12
             tile_7, tile_8, tile_9, tile_10, tile_11, tile_12
#endif
    },
    .tile_i8 = {NULL, i8_1, i8_2,
#if KERNELS_TILE_ROWS >= 6
                i8_3, i8_4, i8_5, i8_6,
#endif
#if KERNELS_TILE_ROWS >= 12
                i8_7, i8_8, i8_9, i8_10, i8_11, i8_12
#endif
    },
    .tile_groups = {NULL, groups_1, groups_2,
#if KERNELS_TILE_ROWS >= 6
                    groups_3,
#endif
#if KERNELS_TILE_ROWS >= 12
                    groups_4, groups_5, groups_6
#endif
    },
    .groups_rows = TILE_ROWS <= 2 ? TILE_ROWS : TILE_ROWS / 2,
    .i8_step = I8_STEP,
    .i8_bytes = I8_BYTES,
    .i8_offset = I8_OFFSET,
    .quantise = quantise,
    .round_bf16 = round_bf16,
    .activate = activate,
    .norm = norm,
    .softmax = softmax,
    .add_rows = add_rows,
    .scale_keep = scale_keep,
    .axpy = axpy,
    .multiply = multiply,
    .maximum = maximum,
    .pack_columns = pack_columns,
    .pack_codes = pack_codes,
#if KERNELS_UNSIGNED
    .pack_values = pack_values,
    .split = split,
#endif
    .widen = widen,
};

#endif
