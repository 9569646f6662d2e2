/* kernels_tile.h - the register tiles of matrix products in F32; a part of kernels_body.h. */
#ifndef ZEB_CPU_KERNELS_TILE_H
#define ZEB_CPU_KERNELS_TILE_H

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

#endif
