/* kernels.h - the table of inner loops that one instruction set offers.
 *
 * Each kernels_<isa>.c compiles kernels_body.h with that set's flags and fills one table; cpuinfo.h chooses the table
 * when a device is opened, so one build serves every processor. Matrices are row-major with a stride `ld` in elements.
 *
 * Errors of the vector functions against binary64, over all finite inputs: exp 2e-7 relative (0 below exp(-87.3)),
 * GELU_ERF 1.2e-6 absolute, tanh, GELU_TANH and SILU 3e-7 of
 * max(1, |x|). */
#ifndef ZEB_CPU_KERNELS_H
#define ZEB_CPU_KERNELS_H

#include "zeb/graph.h"

enum { CPU_TILE_ROWS_MAX = 12, CPU_TILE_COLUMNS_MAX = 32, CPU_SLAB_STEP = 16 /* groups of four bytes of k */ };

/* One register tile: c[rows, n] = a[rows, k] . b[k, n] (+ c if accumulate) (+ bias[n]) (+ residual[rows, n]), with
 * n <= tile_columns. b must be readable for tile_columns floats a row, whatever n is; bias too. */
typedef struct cpu_tile {
    const float *a;
    size_t lda;
    const float *b;
    size_t ldb;
    float *c;
    size_t ldc;
    const float *bias;     /* or NULL */
    const float *residual; /* or NULL */
    size_t ldr;
    int k;
    int n;
    int accumulate;
    const char *ahead; /* 64 bytes a step of k from here are brought into the second-level cache; or NULL */
} cpu_tile;

typedef void (*cpu_tile_fn)(const cpu_tile *tile);

/* The same with eight-bit weights and activations: c = (float)(sum_k x w) * (x_scale[row] * w_scale[n]) (+ bias)
 * (+ residual). Activations and weights come as the table's quantise and i8_step want them. With groups > 1 each group
 * of `steps` is summed alone and w_scale is [groups][tile_columns]: c = (sum_g (float)acc_g * w_scale[g, n]) * x_scale.
 */
typedef struct cpu_tile_i8 {
    const unsigned char *x;
    size_t ldx; /* bytes */
    const float *x_scale;
    const int8_t *w;      /* [steps * groups][tile_columns][i8_step] */
    const int32_t *start; /* [groups][tile_columns]: what sums begin with */
    const float *w_scale;
    float *c;
    size_t ldc;
    const float *bias;     /* or NULL */
    const float *residual; /* or NULL */
    size_t ldr;
    int steps; /* of i8_step each, in a group */
    int groups;
    int n;
    const char *ahead;  /* as above */
    const int32_t *run; /* tile_open: pairs of the first group and the one behind the last */
    int runs;
    int8_t *keep; /* tile_four: where weights are left as unpack_four would; or NULL */
} cpu_tile_i8;

typedef void (*cpu_tile_i8_fn)(const cpu_tile_i8 *tile);

/* Many rows by all of some panels at once, for processors that multiply by the slab:
 * c[rows, n] = act(factor * (x . w) + bias) (+ residual). x and w come in steps of 64 bytes of k, zeros where k ends
 * early: rows as `quantise` writes them, or bfloat16; panels as cpu_tile_i8 reads them, or bfloat16 alike. */
typedef struct cpu_slab {
    const void *x;
    size_t ldx;           /* bytes */
    const float *x_scale; /* of the rows; NULL: 1 (bfloat16 only) */
    const void *w; /* I8: [panels][16 * steps][tile_columns][4]; bfloat16: [panels][..][tile_columns][half_step] */
    const int32_t *start; /* [panels][tile_columns]; I8 only, as w_scale */
    const float *w_scale;
    float *c;
    size_t ldc;
    const float *bias;     /* [panels][tile_columns], or NULL */
    const float *residual; /* or NULL */
    size_t ldr;
    int rows;
    int n;
    int steps; /* of 64 bytes; slab_four: steps of i8_step a group */
    uint32_t activation;
    int groups;   /* slab_four alone: w as tile_four reads it, start and w_scale [panels][groups][tile_columns] */
    int8_t *room; /* bytes for one panel, unpacked */
} cpu_slab;

typedef void (*cpu_slab_fn)(const cpu_slab *slab);

/* What an attention in bfloat16 takes besides slabs. All numbers of 16 bits are bfloat16; ld of them in bytes. */
typedef struct cpu_half_kernels {
    /* Rows as columns of weights: [panel][ceil(k / 32) * 16][tile_columns][2], missing rows and k 0. */
    void (*pack_columns)(const float *x, size_t ld, int rows, int k, uint16_t *panel);
    /* Rows as weights, k running over them: [panel][ceil(rows / 32) * 16][tile_columns][2]. */
    void (*pack_rows)(const float *x, size_t ld, int rows, int n, uint16_t *panel);
    /* As cpu_kernels.softmax, into p; zeros up to a multiple of 32. Sums are of the numbers before they are rounded. */
    void (*softmax)(const float *s, size_t ld, int rows, int n, const int *seen, float scale, uint16_t *p, size_t ldp,
                    float *sum);
    /* y[n] += sum_r a[r] * p[r, n] */
    void (*add_rows)(float *y, const uint16_t *p, size_t ldp, int rows, int n, const float *a);
} cpu_half_kernels;

typedef struct cpu_norm_row {
    const float *gamma;
    const float *beta; /* or NULL */
    float epsilon;
    uint32_t kind; /* zeb_norm_kind */
} cpu_norm_row;

typedef struct cpu_kernels {
    const char *isa;
    int tile_rows;                                     /* the tallest register tile */
    int tile_columns;                                  /* the width of a packed panel */
    cpu_tile_fn tile[CPU_TILE_ROWS_MAX + 1];           /* by number of rows, 1 up */
    cpu_tile_i8_fn tile_i8[CPU_TILE_ROWS_MAX + 1];     /* one group */
    cpu_tile_i8_fn tile_groups[CPU_TILE_ROWS_MAX + 1]; /* any number */
    cpu_tile_i8_fn tile_open[CPU_TILE_ROWS_MAX + 1];   /* as tile_i8, of the groups in `run` alone; w_scale is of all */
    cpu_tile_i8_fn tile_four[CPU_TILE_ROWS_MAX + 1];   /* as tile_groups, of weights in four bits; or NULL */
    int groups_rows;                                   /* the tallest of those */
    /* Weights in four bits, [steps][tile_columns * i8_step / 2] (the first half of a step in the low nibbles), to bytes
     * of 16 times those numbers. */
    void (*unpack_four)(const int8_t *packed, int steps, int8_t *codes);
    int i8_step, i8_bytes, i8_offset; /* k a step, bytes an activation, what is added to one */
    cpu_slab_fn slab_i8, slab_four;   /* or NULL, as half is NULL and slab_least 0 */
    const cpu_half_kernels *half;
    int slab_least;        /* rows from which slabs are faster than tiles */
    cpu_slab_fn slab_bf16; /* or NULL, as narrow is NULL and half_step 0; without `half`, x_scale must be NULL */
    int half_step;         /* neighbours of k in its panels */
    /* Rows to I8 by the rule of docs/formats/quantisation.md, in the form tile_i8 reads; ldq in bytes. */
    void (*quantise)(const float *x, size_t ldx, int rows, int n, void *q, size_t ldq, float *scale);
    /* Rows rounded to bfloat16, zeros up to a multiple of 32; ldo in bytes. */
    void (*narrow)(const float *x, size_t ldx, int rows, int n, uint16_t *out, size_t ldo);
    /* out = x rounded to bfloat16 */
    void (*round_bf16)(const float *x, int n, float *out);
    /* x[rows, n] = act(x) */
    void (*activate)(uint32_t activation, float *x, size_t ld, int rows, int n);
    /* out[rows, n] = norm(x + residual); residual may be NULL; its row for row r is by[r], or r if `by` is NULL; out
     * may be x */
    void (*norm)(const cpu_norm_row *norm, const float *x, size_t ldx, const float *residual, size_t ldr,
                 const int32_t *by, float *out, size_t ldo, int rows, int n);
    /* Row r of s[rows, n]: the first seen[r] values become exp(scale * (s - peak[r])) with peak[r] the greatest of them
     * (the least if scale < 0), the others 0; sum[r] is what they add up to. rows <= tile_rows. */
    void (*softmax)(float *s, size_t ld, int rows, int n, const int *seen, float scale, float *peak, float *sum);
    /* y[n] += sum_r a[r] * x[r, n] */
    void (*add_rows)(float *y, const float *x, size_t ld, int rows, int n, const float *a);
    /* x = x * a, then 0 where that is below limit */
    void (*scale_keep)(float *x, int n, float a, float limit);
    void (*axpy)(float *y, const float *x, float a, int n); /* y += a * x */
    void (*multiply)(float *y, const float *x, int n);      /* y *= x */
    void (*maximum)(float *y, const float *x, int n);       /* y = max(y, x) */
    /* panels of rows x[rows, k] as columns: panel[p][k][tile_columns], missing rows 0 */
    void (*pack_columns)(const float *x, size_t ld, int rows, int k, float *panel);
    /* The same of activations as `quantise` writes them, as weights of tile_i8: [panel][step][tile_columns][i8_step],
     * and what their sums begin with: start[panel][tile_columns]. ld in bytes. */
    void (*pack_codes)(const unsigned char *codes, size_t ld, int rows, int k, int8_t *panel, int32_t *start);
    /* The two below are NULL where activations aren't unsigned bytes (i8_offset 0).
     * v[rows, n] as weights of tile_i8 with one scale a column, k running over rows, for activations without the
     * offset: [panel][ceil(rows / 4)][tile_columns][4]; scale has room for whole panels. */
    void (*pack_values)(const float *v, size_t ld, int rows, int n, int8_t *panel, float *scale);
    /* x[rows, n] in [0, 1] as two bytes: x * 65280 is near 256 * high + low. ldc in bytes. */
    void (*split)(const float *x, size_t ld, int rows, int n, unsigned char *high, unsigned char *low, size_t ldc);
    /* F32, F16 or BF16 to F32 */
    void (*widen)(zeb_dtype dtype, const void *from, float *to, size_t n);
    /* I8 or U4 (from an even element on) of one scale to F32 */
    void (*widen_codes)(zeb_dtype dtype, const void *from, float scale, float *to, size_t n);
} cpu_kernels;

extern const cpu_kernels cpu_kernels_scalar;
#if defined(__x86_64__)
extern const cpu_kernels cpu_kernels_avx2;
extern const cpu_kernels cpu_kernels_avx2vnni;
extern const cpu_kernels cpu_kernels_avx512;
extern const cpu_kernels cpu_kernels_avx512vnni;
extern const cpu_kernels cpu_kernels_avx512bf16;
extern const cpu_kernels cpu_kernels_amx;
#elif defined(__aarch64__)
extern const cpu_kernels cpu_kernels_neon;
extern const cpu_kernels cpu_kernels_dotprod;
extern const cpu_kernels cpu_kernels_i8mm;
extern const cpu_kernels cpu_kernels_i8mmbf16;
#endif

#endif
