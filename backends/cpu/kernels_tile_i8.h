/* kernels_tile_i8.h - the register tiles of eight-bit products, whole and in groups; a part of kernels_body.h. */
#ifndef ZEB_CPU_KERNELS_TILE_I8_H
#define ZEB_CPU_KERNELS_TILE_I8_H

/* Steps a round of the loop: the fewer rounds, the better the processor foresees the last. */
enum { I8_DEPTH = 4 };

/* What steps are of: weights in bytes, bfloat16 on both sides (sums hold bits of floats), packed four bits, or
 * those with the bytes that they become left at `keep`. */
typedef enum i8_kind { KIND_BYTES, KIND_HALVES, KIND_FOUR, KIND_KEEP } i8_kind;

/* Bytes of a step of weights. */
enum { STEP_BYTES = TILE_COLUMNS * I8_STEP };

/* Low nibbles are the first half of a step, high ones the second; each becomes 16 times what it stands for. */
static void unpack_four(const int8_t *restrict packed, int steps, int8_t *restrict codes) {
    for (int k = 0; k < steps; k++, packed += STEP_BYTES / 2, codes += STEP_BYTES) {
#ifdef VI_FOUR
        vi low, high;
        vi_four(packed, &low, &high);
        vi_store((int32_t *)(void *)codes, low);
        vi_store((int32_t *)(void *)(codes + STEP_BYTES / 2), high);
#else
        for (int i = 0; i < STEP_BYTES / 2; i++) {
            codes[i] = (int8_t)((uint8_t)packed[i] << 4);
            codes[STEP_BYTES / 2 + i] = (int8_t)(packed[i] & 0xf0);
        }
#endif
    }
}

INLINE vi i8_dot(const i8_kind kind, vi sum, vi x, vi w) {
#ifdef KERNELS_HALVES
    if (kind == KIND_HALVES) return vi_dot_halves(sum, x, w);
#endif
    (void)kind;
    return vi_dot(sum, x, w);
}

#ifdef VI_PAIRS
/* Instructions that multiply two rows by two columns: while sums are made, acc[r] and acc[r + 1] of an even r hold both
 * rows of the first and of the second half of each vector's columns. A last odd row stands for two. */
#define I8_CHAINS(rows) 1

INLINE void i8_begin(const int rows, vi acc[TILE_ROWS][TILE_VECTORS], const int v, vi begin) {
    UNROLL for (int r = 0; r < rows; r += 2) {
        acc[r][v] = vi_low_pairs(begin, begin);
        acc[r + 1][v] = vi_high_pairs(begin, begin);
    }
}

INLINE void i8_step(const i8_kind kind, const int rows, const int first, vi acc[TILE_ROWS][TILE_VECTORS],
                    const unsigned char *const row[4], size_t ldx, const int8_t *w, int8_t *keep, int k) {
    const size_t at = (size_t)k * I8_STEP;
    (void)first, (void)keep;
    vi xv[TILE_ROWS / 2];
    UNROLL for (int r = 0; r < rows; r += 2) {
        const int s = r + 1 < rows ? r + 1 : r;
        xv[r / 2] = vi_two_rows(row[r / 3] + (size_t)(r % 3) * ldx + at, row[s / 3] + (size_t)(s % 3) * ldx + at);
    }
    UNROLL for (int v = 0; v < 2 * TILE_VECTORS; v++) {
        const vi wv = vi_weights(w + ((size_t)k * TILE_COLUMNS + (size_t)(v * VW / 2)) * I8_STEP);
        UNROLL for (int r = 0; r < rows; r += 2) acc[r + v % 2][v / 2] =
            i8_dot(kind, acc[r + v % 2][v / 2], xv[r / 2], wv);
    }
}

/* To one row each. */
INLINE void i8_join(const i8_kind kind, const int rows, vi acc[TILE_ROWS][TILE_VECTORS]) {
    (void)kind;
    UNROLL for (int r = 0; r < rows; r += 2) {
        UNROLL for (int v = 0; v < TILE_VECTORS; v++) {
            const vi low = acc[r][v], high = acc[r + 1][v];
            acc[r][v] = vi_low_pairs(low, high);
            acc[r + 1][v] = vi_high_pairs(low, high);
        }
    }
}
#else
#define I8_CHAINS(rows) CHAINS(rows)

/* Vector v of all rows starts with `begin`, that of further chains with 0. */
INLINE void i8_begin(const int rows, vi acc[TILE_ROWS][TILE_VECTORS], const int v, vi begin) {
    const int chains = I8_CHAINS(rows);
    UNROLL for (int r = 0; r < chains * rows; r++) acc[r][v] = r < rows ? begin : vi_zero();
}

INLINE void i8_step(const i8_kind kind, const int rows, const int first, vi acc[TILE_ROWS][TILE_VECTORS],
                    const unsigned char *const row[4], size_t ldx, const int8_t *w, int8_t *keep, int k) {
    const size_t at = (size_t)k * I8_STEP * I8_BYTES;
    vi wv[TILE_VECTORS];
    (void)keep;
#ifdef VI_FOUR
    if (kind == KIND_FOUR || kind == KIND_KEEP) {
        vi_four(w + (size_t)k * (STEP_BYTES / 2), &wv[0], &wv[1]);
        if (kind == KIND_KEEP) {
            vi_store((int32_t *)(void *)(keep + (size_t)k * STEP_BYTES), wv[0]);
            vi_store((int32_t *)(void *)(keep + (size_t)k * STEP_BYTES + STEP_BYTES / 2), wv[1]);
        }
    } else
#endif
        UNROLL for (int v = 0; v < TILE_VECTORS; v++) wv[v] =
            vi_weights(w + (size_t)k * STEP_BYTES + (size_t)(v * VW * I8_STEP));
    UNROLL for (int r = 0; r < rows; r++) {
        const vi xv = vi_spread(row[r / 3] + (size_t)(r % 3) * ldx + at);
        UNROLL for (int v = 0; v < TILE_VECTORS; v++) acc[first + r][v] = i8_dot(kind, acc[first + r][v], xv, wv[v]);
    }
}

INLINE vi i8_add(const i8_kind kind, vi a, vi b) {
#ifdef KERNELS_HALVES
    if (kind == KIND_HALVES) return vf_as_bits(vf_add(vi_as_floats(a), vi_as_floats(b)));
#endif
    (void)kind;
    return vi_add(a, b);
}

/* Adds up the chains. */
INLINE void i8_join(const i8_kind kind, const int rows, vi acc[TILE_ROWS][TILE_VECTORS]) {
    const int chains = I8_CHAINS(rows);
    UNROLL for (int r = rows; r < chains * rows; r++) {
        UNROLL for (int v = 0; v < TILE_VECTORS; v++) acc[r % rows][v] = i8_add(kind, acc[r % rows][v], acc[r][v]);
    }
}
#endif

/* acc += x . w over the steps k .. end. */
INLINE void i8_run(const i8_kind kind, const int rows, vi acc[TILE_ROWS][TILE_VECTORS],
                   const unsigned char *const row[4], size_t ldx, const int8_t *w, int8_t *keep, int k, int end) {
    const int chains = I8_CHAINS(rows);
    for (; k + I8_DEPTH <= end; k += I8_DEPTH) {
        UNROLL for (int c = 0; c < I8_DEPTH; c++) i8_step(kind, rows, c % chains * rows, acc, row, ldx, w, keep, k + c);
    }
    for (; k < end; k++)
        i8_step(kind, rows, 0, acc, row, ldx, w, keep, k);
}

/* acc[rows] = start + x . w over all steps. */
INLINE void i8_sum(const i8_kind kind, const int rows, vi acc[TILE_ROWS][TILE_VECTORS], const unsigned char *x,
                   size_t ldx, const int8_t *w, int8_t *keep, const int32_t *start, int steps, const char *ahead) {
    const int chains = I8_CHAINS(rows);
    const unsigned char *const row[4] = {x, x + 3 * ldx, x + 6 * ldx, x + 9 * ldx};
    UNROLL for (int v = 0; v < TILE_VECTORS; v++) {
        i8_begin(rows, acc, v, vi_load(start + v * VW));
    }
    int k = 0;
    if (ahead != NULL) {
        for (; k + I8_DEPTH <= steps; k += I8_DEPTH) {
            UNROLL for (int c = 0; c < I8_DEPTH; c++) {
                __builtin_prefetch(ahead + (size_t)(k + c) * 64, 0, 2);
                i8_step(kind, rows, c % chains * rows, acc, row, ldx, w, keep, k + c);
            }
        }
    }
    i8_run(kind, rows, acc, row, ldx, w, keep, k, steps);
    i8_join(kind, rows, acc);
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

/* acc[rows] = the starts of the groups in t->run + x . w over their steps. */
INLINE void open_sum(const int rows, vi acc[TILE_ROWS][TILE_VECTORS], const cpu_tile_i8 *t) {
    const int steps = t->steps;
    const size_t ldx = t->ldx;
    const unsigned char *const x = t->x, *const row[4] = {x, x + 3 * ldx, x + 6 * ldx, x + 9 * ldx};
    UNROLL for (int v = 0; v < TILE_VECTORS; v++) {
        vi begin = vi_zero();
        for (int i = 0; i < t->runs; i++)
            for (int32_t g = t->run[2 * i]; g < t->run[2 * i + 1]; g++)
                begin = vi_add(begin, vi_load(t->start + (size_t)g * TILE_COLUMNS + v * VW));
        i8_begin(rows, acc, v, begin);
    }
    for (int i = 0; i < t->runs; i++)
        i8_run(KIND_BYTES, rows, acc, row, ldx, t->w, NULL, t->run[2 * i] * steps, t->run[2 * i + 1] * steps);
    i8_join(KIND_BYTES, rows, acc);
}

/* Integer sums to results. */
INLINE void i8_scale(const int rows, vi acc[TILE_ROWS][TILE_VECTORS], const cpu_tile_i8 *t) {
    vf sum[TILE_ROWS][TILE_VECTORS];
    UNROLL for (int v = 0; v < TILE_VECTORS; v++) {
        const vf scale = vf_load(t->w_scale + v * VW);
        const vf bias = t->bias != NULL ? vf_load(t->bias + v * VW) : vf_zero();
        UNROLL for (int r = 0; r < rows; r++) sum[r][v] =
            vf_fma(vi_to_float(acc[r][v]), vf_mul(vf_set1(t->x_scale[r]), scale), bias);
    }
    i8_finish(rows, sum, t);
}

INLINE void i8_any(const cpu_tile_i8 *t, const int rows) {
    vi acc[TILE_ROWS][TILE_VECTORS];
    i8_sum(KIND_BYTES, rows, acc, t->x, t->ldx, t->w, NULL, t->start, t->steps, t->ahead);
    i8_scale(rows, acc, t);
}

INLINE void open_any(const cpu_tile_i8 *t, const int rows) {
    vi acc[TILE_ROWS][TILE_VECTORS];
    open_sum(rows, acc, t);
    i8_scale(rows, acc, t);
}

INLINE void groups_any(const i8_kind kind, const cpu_tile_i8 *t, const int rows) {
    vf sum[TILE_ROWS][TILE_VECTORS];
    const size_t ldx = t->ldx, group = (size_t)t->steps * I8_STEP;
    UNROLL for (int v = 0; v < TILE_VECTORS; v++) {
        UNROLL for (int r = 0; r < rows; r++) sum[r][v] = vf_zero();
    }
    for (int g = 0; g < t->groups; g++) {
        vi acc[TILE_ROWS][TILE_VECTORS];
        i8_sum(kind, rows, acc, t->x + (size_t)g * group * I8_BYTES, ldx,
               t->w + (size_t)g * group * TILE_COLUMNS / (kind == KIND_BYTES ? 1 : 2),
               kind == KIND_KEEP ? t->keep + (size_t)g * group * TILE_COLUMNS : NULL, t->start + g * TILE_COLUMNS,
               t->steps, NULL);
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
    }                                                                                                                  \
    static void open_##rows(const cpu_tile_i8 *t) {                                                                    \
        open_any(t, rows);                                                                                             \
    }
#ifdef VI_FOUR
#define FOUR_FUNCTION(rows)                                                                                            \
    static void four_##rows(const cpu_tile_i8 *t) {                                                                    \
        if (t->keep != NULL)                                                                                           \
            groups_any(KIND_KEEP, t, rows);                                                                            \
        else                                                                                                           \
            groups_any(KIND_FOUR, t, rows);                                                                            \
    }
#else
#define FOUR_FUNCTION(rows)
#endif
#define GROUPS_FUNCTION(rows)                                                                                          \
    static void groups_##rows(const cpu_tile_i8 *t) {                                                                  \
        groups_any(KIND_BYTES, t, rows);                                                                               \
    }                                                                                                                  \
    FOUR_FUNCTION(rows)
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

#endif
