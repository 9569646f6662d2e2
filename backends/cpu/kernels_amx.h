/* kernels_amx.h - products of many rows in AMX tiles; a part of kernels_body.h.
 *
 * A block is of up to 32 rows by one panel: four tiles of sums, two of rows, two of weights. Both operands are read in
 * steps of 64 bytes of k, in which panels lie as the register tiles of kernels_tile*.h read them: 16 groups of four
 * bytes (four I8 or two BF16), 32 columns each. Sums leave the tiles through memory, and turning them into results
 * takes about as long as making them: so the rows of one block are finished between the products of the next.
 *
 * In assembler, since the intrinsics of gcc 12 say nothing of the memory that they touch. Compilers never keep anything
 * in tiles of their own accord, so nothing is clobbered. */
#ifndef ZEB_CPU_KERNELS_AMX_H
#define ZEB_CPU_KERNELS_AMX_H

enum { AMX_ROWS = 32 /* of a block */, AMX_STEP = 64 /* bytes of k */ };

#define AMX_LOAD(tile, at, stride)                                                                                     \
    __asm__ volatile("tileloadd (%0,%1,1), %%tmm" #tile : : "r"(at), "r"((size_t)(stride)) : "memory")
#define AMX_STORE(tile, at, stride)                                                                                    \
    __asm__ volatile("tilestored %%tmm" #tile ", (%0,%1,1)" : : "r"(at), "r"((size_t)(stride)) : "memory")
#define AMX_ZERO(tile) __asm__ volatile("tilezero %%tmm" #tile : :)
#define AMX_MULTIPLY(integers, sum, rows, weights)                                                                     \
    do {                                                                                                               \
        if (integers)                                                                                                  \
            __asm__ volatile("tdpbusd %%tmm" #weights ", %%tmm" #rows ", %%tmm" #sum : :);                             \
        else                                                                                                           \
            __asm__ volatile("tdpbf16ps %%tmm" #weights ", %%tmm" #rows ", %%tmm" #sum : :);                           \
    } while (0)

/* What ldtilecfg reads. */
typedef struct amx_shape {
    uint8_t palette, start, none[14];
    uint16_t bytes[16]; /* of a row of each tile */
    uint8_t rows[16];
} amx_shape;

/* Tiles 0-3: sums; 4, 5: rows; 6, 7: weights. 2 to 32 rows; `upper` of them are in tiles 0, 1, 4. */
static void amx_begin(int rows, int upper) {
    const uint8_t up = (uint8_t)upper, low = (uint8_t)(rows - upper);
    const amx_shape shape = {
        .palette = 1, .bytes = {64, 64, 64, 64, 64, 64, 64, 64}, .rows = {up, up, low, low, up, low, 16, 16}};
    __asm__ volatile("ldtilecfg %0" : : "m"(shape));
}

static void amx_end(void) {
    __asm__ volatile("tilerelease" : :);
}

/* Sums on their way to results: of `panel` and the rows from `row` on. */
typedef struct amx_waiting {
    const int32_t *sum; /* [rows][TILE_COLUMNS], bits of floats if those are summed; NULL: none */
    int panel, row;
} amx_waiting;

/* One vector of results. */
INLINE void amx_finish(const cpu_slab *b, const bool integers, const uint32_t activation, const int32_t *sum, vf factor,
                       const float *row_residual, float *c, int column, int live) {
    const vf shift = b->bias != NULL ? vf_load(b->bias + column) : vf_zero();
    const vf x = integers ? vi_to_float(vi_add(vi_load(sum), vi_load(b->start + column)))
                          : vf_load((const float *)(const void *)sum);
    const vf by = integers ? vf_mul(factor, vf_load(b->w_scale + column)) : factor;
    vf y = vf_act(activation, vf_fma(x, by, shift));
    if (live == VW) {
        if (row_residual != NULL) y = vf_add(y, vf_load(row_residual + column));
        vf_store(c + column, y);
    } else if (live > 0) {
        if (row_residual != NULL) y = vf_add(y, vf_load_n(row_residual + column, live));
        vf_store_n(c + column, y, live);
    }
}

/* Rows from .. to of what waits. */
INLINE void amx_finish_rows(const cpu_slab *b, const bool integers, const uint32_t activation, const amx_waiting *w,
                            int from, int to) {
    const int column = w->panel * TILE_COLUMNS, left = b->n - column;
    const int live0 = left < VW ? left : VW, live1 = left - VW < VW ? left - VW : VW;
    for (int r = from; r < to; r++) {
        const int row = w->row + r;
        const float *residual = b->residual != NULL ? b->residual + (size_t)row * b->ldr : NULL;
        const vf factor = vf_set1(b->x_scale != NULL ? b->x_scale[row] : 1.0f);
        const int32_t *sum = w->sum + r * TILE_COLUMNS;
        float *c = b->c + (size_t)row * b->ldc;
        amx_finish(b, integers, activation, sum, factor, residual, c, column, live0);
        amx_finish(b, integers, activation, sum + VW, factor, residual, c, column + VW, live1);
    }
}

/* sum[rows][TILE_COLUMNS] of rows from `row` on by a panel, finishing what waits in between. */
INLINE void amx_sum(const cpu_slab *b, const bool integers, const uint32_t activation, int panel, int row, int rows,
                    int upper, int32_t *sum, const amx_waiting *waiting) {
    const char *x = (const char *)b->x + (size_t)row * b->ldx, *x_low = x + (size_t)upper * b->ldx;
    const char *w = (const char *)b->w + (size_t)panel * (size_t)b->steps * AMX_STEP * TILE_COLUMNS;
    enum { STRIDE = TILE_COLUMNS * 4 };
    AMX_ZERO(0);
    AMX_ZERO(1);
    AMX_ZERO(2);
    AMX_ZERO(3);
    for (int k = 0, done = 0; k < b->steps; k++, x += AMX_STEP, x_low += AMX_STEP, w += AMX_STEP * TILE_COLUMNS) {
        AMX_LOAD(6, w, STRIDE);
        AMX_LOAD(4, x, b->ldx);
        AMX_MULTIPLY(integers, 0, 4, 6);
        AMX_LOAD(7, w + STRIDE / 2, STRIDE);
        AMX_MULTIPLY(integers, 1, 4, 7);
        AMX_LOAD(5, x_low, b->ldx);
        AMX_MULTIPLY(integers, 2, 5, 6);
        AMX_MULTIPLY(integers, 3, 5, 7);
        if (waiting->sum == NULL) continue;
        const int more = rows * (k + 1) / b->steps;
        amx_finish_rows(b, integers, activation, waiting, done, more);
        done = more;
    }
    AMX_STORE(0, sum, STRIDE);
    AMX_STORE(1, sum + VW, STRIDE);
    AMX_STORE(2, sum + upper * TILE_COLUMNS, STRIDE);
    AMX_STORE(3, sum + upper * TILE_COLUMNS + VW, STRIDE);
}

/* Blocks of one height, the last ones overlapping by a few rows: tiles are shaped once. */
INLINE void amx_blocks(const cpu_slab *b, const bool integers, const uint32_t activation) {
    _Alignas(64) int32_t sum[2][AMX_ROWS * TILE_COLUMNS];
    const int blocks = (b->rows + AMX_ROWS - 1) / AMX_ROWS, rows = (b->rows + blocks - 1) / blocks;
    const int upper = (rows + 1) / 2, panels = (b->n + TILE_COLUMNS - 1) / TILE_COLUMNS;
    amx_waiting waiting = {NULL, 0, 0};
    amx_begin(rows, upper);
    for (int panel = 0, turn = 0; panel < panels; panel++) {
        for (int i = 0; i < blocks; i++, turn ^= 1) {
            const int row = i * rows + rows < b->rows ? i * rows : b->rows - rows;
            amx_sum(b, integers, activation, panel, row, rows, upper, sum[turn], &waiting);
            waiting = (amx_waiting){sum[turn], panel, row};
        }
    }
    amx_finish_rows(b, integers, activation, &waiting, 0, rows);
    amx_end();
}

#define AMX_SLAB(name, integers)                                                                                       \
    static void name(const cpu_slab *b) {                                                                              \
        switch (b->activation) {                                                                                       \
            case ZEB_ACT_NONE: amx_blocks(b, integers, ZEB_ACT_NONE); break;                                           \
            case ZEB_ACT_GELU_ERF: amx_blocks(b, integers, ZEB_ACT_GELU_ERF); break;                                   \
            case ZEB_ACT_GELU_TANH: amx_blocks(b, integers, ZEB_ACT_GELU_TANH); break;                                 \
            case ZEB_ACT_RELU: amx_blocks(b, integers, ZEB_ACT_RELU); break;                                           \
            case ZEB_ACT_SILU: amx_blocks(b, integers, ZEB_ACT_SILU); break;                                           \
            case ZEB_ACT_TANH: amx_blocks(b, integers, ZEB_ACT_TANH); break;                                           \
            default: break;                                                                                            \
        }                                                                                                              \
    }
AMX_SLAB(slab_i8, true)

#endif
