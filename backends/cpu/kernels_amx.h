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

enum { AMX_ROWS = 16 /* of a tile, at most */, AMX_STEP = 64 /* bytes of k */ };

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

/* Tiles 0-3: sums; 4, 5: rows; 6, 7: weights. A step is of four bytes. */
static void amx_begin(int height, int steps) {
    const uint8_t h = (uint8_t)height, k = (uint8_t)steps;
    const uint16_t x = (uint16_t)(4 * steps);
    const amx_shape shape = {.palette = 1, .bytes = {64, 64, 64, 64, x, x, 64, 64}, .rows = {h, h, h, h, h, h, k, k}};
    __asm__ volatile("ldtilecfg %0" : : "m"(shape));
}

static void amx_end(void) {
    __asm__ volatile("tilerelease" : :);
}

/* Sums on their way to results: two tiles of rows, from row[0] and row[1] on, by a panel. */
typedef struct amx_waiting {
    const int32_t *sum; /* [tiles][height][TILE_COLUMNS], bits of floats if those are summed; NULL: none */
    int panel, row[2], rows;
} amx_waiting;

INLINE vf amx_result(const bool integers, const uint32_t activation, const int32_t *sum, vf factor, vf scale, vf bias) {
    const vf x = integers ? vi_to_float(vi_load(sum)) : vf_load((const float *)(const void *)sum);
    return vf_act(activation, vf_fma(x, integers ? vf_mul(factor, scale) : factor, bias));
}

/* Rows from .. to of one tile of what waits. What is read of *b is copied first: stores may alias anything. */
INLINE void amx_finish(const cpu_slab *b, const bool integers, const uint32_t activation, int panel, int row,
                       const int32_t *sum, int rows) {
    const int column = panel * TILE_COLUMNS, left = b->n - column;
    const bool whole = left >= TILE_COLUMNS;
    const size_t ldc = b->ldc, ldr = b->ldr;
    static const float one = 1.0f;
    const float *x_scale = b->x_scale != NULL ? b->x_scale + row : &one;
    const int each = b->x_scale != NULL;
    const float *residual = b->residual != NULL ? b->residual + (size_t)row * ldr + column : NULL;
    float *c = b->c + (size_t)row * ldc + column;
    vf scale[TILE_VECTORS], bias[TILE_VECTORS];
    UNROLL for (int v = 0; v < TILE_VECTORS; v++) {
        bias[v] = b->bias != NULL ? vf_load(b->bias + column + v * VW) : vf_zero();
        scale[v] = integers ? vf_load(b->w_scale + column + v * VW) : vf_set1(1.0f);
    }
    for (int r = 0; whole && residual == NULL && r < rows; r++, sum += TILE_COLUMNS, c += ldc) {
        const vf factor = vf_set1(x_scale[r * each]);
        UNROLL for (int v = 0; v < TILE_VECTORS; v++)
            vf_store(c + v * VW, amx_result(integers, activation, sum + v * VW, factor, scale[v], bias[v]));
    }
    if (whole && residual == NULL) return;
    for (int r = 0; r < rows; r++, sum += TILE_COLUMNS, c += ldc) {
        const vf factor = vf_set1(x_scale[r * each]);
        UNROLL for (int v = 0; v < TILE_VECTORS; v++) {
            vf y = amx_result(integers, activation, sum + v * VW, factor, scale[v], bias[v]);
            const int live = left - v * VW < VW ? left - v * VW : VW;
            if (live <= 0) continue;
            if (residual != NULL) y = vf_add(y, vf_load_n(residual + v * VW, live));
            vf_store_n(c + v * VW, y, live);
        }
        if (residual != NULL) residual += ldr;
    }
}

/* Rows from .. to of all that waits. */
INLINE void amx_finish_some(const cpu_slab *b, const bool integers, const uint32_t activation, const amx_waiting *w,
                            int from, int to) {
    for (int tile = 0; tile < 2; tile++) {
        const int first = tile * w->rows, a = from > first ? from - first : 0;
        const int z = to - first < w->rows ? to - first : w->rows;
        if (a < z)
            amx_finish(b, integers, activation, w->panel, w->row[tile] + a, w->sum + (first + a) * TILE_COLUMNS, z - a);
    }
}

typedef void (*amx_finish_fn)(const cpu_slab *b, const amx_waiting *w, int from, int to);

INLINE void amx_clear(const cpu_slab *b, const bool integers, int panel) {
    if (integers) { /* every row begins with the same */
        const int32_t *start = b->start + panel * TILE_COLUMNS;
        AMX_LOAD(0, start, 0);
        AMX_LOAD(1, start + VW, 0);
        AMX_LOAD(2, start, 0);
        AMX_LOAD(3, start + VW, 0);
    } else {
        AMX_ZERO(0);
        AMX_ZERO(1);
        AMX_ZERO(2);
        AMX_ZERO(3);
    }
}

enum { AMX_STRIDE = TILE_COLUMNS * 4 /* bytes between steps of weights, and between sums */ };

/* The products of one or two tiles of rows with a panel, finishing what waits in between. A tile takes as long with one
 * row as with sixteen. */
INLINE void amx_multiply(const cpu_slab *b, const bool integers, const amx_finish_fn finish, int panel,
                         const int row[2], const bool two, const amx_waiting *waiting, int waiting_rows) {
    const int steps = b->steps, some = (waiting_rows + steps - 1) / steps;
    const size_t ldx = b->ldx;
    const char *x = (const char *)b->x + (size_t)row[0] * ldx, *x_low = (const char *)b->x + (size_t)row[1] * ldx;
    const char *w = (const char *)b->w + (size_t)panel * (size_t)steps * AMX_STEP * TILE_COLUMNS;
    amx_clear(b, integers, panel);
    for (int k = 0, done = 0; k < steps; k++, x += AMX_STEP, x_low += AMX_STEP, w += AMX_STEP * TILE_COLUMNS) {
        AMX_LOAD(6, w, AMX_STRIDE);
        AMX_LOAD(4, x, ldx);
        AMX_MULTIPLY(integers, 0, 4, 6);
        AMX_LOAD(7, w + AMX_STRIDE / 2, AMX_STRIDE);
        AMX_MULTIPLY(integers, 1, 4, 7);
        if (two) {
            AMX_LOAD(5, x_low, ldx);
            AMX_MULTIPLY(integers, 2, 5, 6);
            AMX_MULTIPLY(integers, 3, 5, 7);
        }
        const int more = done + some < waiting_rows ? done + some : waiting_rows;
        if (done < more) finish(b, waiting, done, more);
        done = more;
    }
}

/* Whether sums are results as they are. */
INLINE bool amx_is_plain(const cpu_slab *b) {
    return b->x_scale == NULL && b->bias == NULL && b->residual == NULL && b->n % TILE_COLUMNS == 0;
}

/* All tiles are of one height, the last one overlapping that before by a few rows: they are shaped once. */
INLINE void amx_tiles(const cpu_slab *b, const bool integers, const amx_finish_fn finish) {
    _Alignas(64) int32_t sum[2][2 * AMX_ROWS * TILE_COLUMNS];
    const int tiles = (b->rows + AMX_ROWS - 1) / AMX_ROWS, height = (b->rows + tiles - 1) / tiles;
    const int panels = (b->n + TILE_COLUMNS - 1) / TILE_COLUMNS;
    const bool plain = !integers && b->activation == ZEB_ACT_NONE && amx_is_plain(b);
    amx_waiting waiting = {NULL, 0, {0, 0}, height};
    int waiting_rows = 0;
    amx_begin(height, AMX_STEP / 4);
    for (int panel = 0, turn = 0; panel < panels; panel++) {
        for (int t = 0; t < tiles; t += 2, turn ^= 1) {
            const int low = t + 1 < tiles ? t + 1 : t, last = b->rows - height;
            const int row[2] = {t * height < last ? t * height : last, low * height < last ? low * height : last};
            if (low > t)
                amx_multiply(b, integers, finish, panel, row, true, &waiting, waiting_rows);
            else
                amx_multiply(b, integers, finish, panel, row, false, &waiting, waiting_rows);
            char *to = plain ? (char *)(b->c + panel * TILE_COLUMNS) : (char *)sum[turn];
            const size_t ld = plain ? b->ldc * sizeof *b->c : AMX_STRIDE;
            char *high = plain ? to + (size_t)row[0] * ld : to;
            AMX_STORE(0, high, ld);
            AMX_STORE(1, high + AMX_STRIDE / 2, ld);
            if (low > t) {
                high = plain ? to + (size_t)row[1] * ld : to + (size_t)height * ld;
                AMX_STORE(2, high, ld);
                AMX_STORE(3, high + AMX_STRIDE / 2, ld);
            }
            if (plain) continue;
            waiting = (amx_waiting){sum[turn], panel, {row[0], row[1]}, height};
            waiting_rows = low > t ? 2 * height : height;
        }
    }
    finish(b, &waiting, 0, waiting_rows);
    amx_end();
}

#define AMX_FINISH(name, integers, activation)                                                                         \
    static void name(const cpu_slab *b, const amx_waiting *w, int from, int to) {                                      \
        amx_finish_some(b, integers, activation, w, from, to);                                                         \
    }
#define AMX_FINISHES(kind, integers)                                                                                   \
    AMX_FINISH(kind##_none, integers, ZEB_ACT_NONE)                                                                    \
    AMX_FINISH(kind##_gelu_erf, integers, ZEB_ACT_GELU_ERF)                                                            \
    AMX_FINISH(kind##_gelu_tanh, integers, ZEB_ACT_GELU_TANH)                                                          \
    AMX_FINISH(kind##_relu, integers, ZEB_ACT_RELU)                                                                    \
    AMX_FINISH(kind##_silu, integers, ZEB_ACT_SILU)                                                                    \
    AMX_FINISH(kind##_tanh, integers, ZEB_ACT_TANH)                                                                    \
    static amx_finish_fn kind##_of(uint32_t activation) {                                                              \
        switch (activation) {                                                                                          \
            case ZEB_ACT_GELU_ERF: return kind##_gelu_erf;                                                             \
            case ZEB_ACT_GELU_TANH: return kind##_gelu_tanh;                                                           \
            case ZEB_ACT_RELU: return kind##_relu;                                                                     \
            case ZEB_ACT_SILU: return kind##_silu;                                                                     \
            case ZEB_ACT_TANH: return kind##_tanh;                                                                     \
            default: return kind##_none;                                                                               \
        }                                                                                                              \
    }
AMX_FINISHES(finish_i8, true)
AMX_FINISHES(finish_bf16, false)

static void slab_i8(const cpu_slab *b) {
    amx_tiles(b, true, finish_i8_of(b->activation));
}

static void slab_bf16(const cpu_slab *b) {
    amx_tiles(b, false, finish_bf16_of(b->activation));
}

/* ---- four bits, one scale a group ------------------------------------------------------------------------------- */

enum { FOUR_GROUPS = 2 /* whose sums are added up at once */, FOUR_SUMS = 2 * AMX_ROWS * TILE_COLUMNS };

/* total[rows] += the sums of some groups by their scales */
INLINE void four_add(const int groups, const int32_t *sum, const float *scale, int rows, float *total) {
    vf factor[FOUR_GROUPS][TILE_VECTORS];
    UNROLL for (int g = 0; g < groups; g++) {
        UNROLL for (int v = 0; v < TILE_VECTORS; v++) factor[g][v] = vf_load(scale + g * TILE_COLUMNS + v * VW);
    }
    for (int r = 0; r < rows; r++, sum += TILE_COLUMNS, total += TILE_COLUMNS) {
        UNROLL for (int v = 0; v < TILE_VECTORS; v++) {
            vf y = vf_load(total + v * VW);
            UNROLL for (int g = 0; g < groups; g++) {
                const vi x = vi_load(sum + g * FOUR_SUMS + v * VW);
                y = vf_fma(vi_to_float(x), factor[g][v], y);
            }
            vf_store(total + v * VW, y);
        }
    }
}

/* Rows from .. to of that. */
INLINE void four_add_some(int groups, const int32_t *sum, const float *scale, int from, int to, float *total) {
    sum += from * TILE_COLUMNS;
    total += from * TILE_COLUMNS;
    switch (groups) {
        case 1: four_add(1, sum, scale, to - from, total); break;
        case FOUR_GROUPS: four_add(FOUR_GROUPS, sum, scale, to - from, total); break;
        default: break;
    }
}

/* The products of one group, of activations with their offset; w is unpacked. */
INLINE void four_multiply(const cpu_slab *b, int g, const int row[2], const bool two, int height, int32_t *sum) {
    const size_t ldx = b->ldx, k = (size_t)g * (size_t)b->steps;
    const char *x = (const char *)b->x + k * 4;
    const int8_t *w = b->room + k * STEP_BYTES;
    AMX_ZERO(0);
    AMX_ZERO(1);
    AMX_LOAD(6, w, AMX_STRIDE);
    AMX_LOAD(4, x + (size_t)row[0] * ldx, ldx);
    AMX_MULTIPLY(true, 0, 4, 6);
    AMX_LOAD(7, w + AMX_STRIDE / 2, AMX_STRIDE);
    AMX_MULTIPLY(true, 1, 4, 7);
    if (two) {
        AMX_ZERO(2);
        AMX_ZERO(3);
        AMX_LOAD(5, x + (size_t)row[1] * ldx, ldx);
        AMX_MULTIPLY(true, 2, 5, 6);
        AMX_MULTIPLY(true, 3, 5, 7);
    }
    AMX_STORE(0, sum, AMX_STRIDE);
    AMX_STORE(1, sum + VW, AMX_STRIDE);
    if (two) {
        AMX_STORE(2, sum + height * TILE_COLUMNS, AMX_STRIDE);
        AMX_STORE(3, sum + height * TILE_COLUMNS + VW, AMX_STRIDE);
    }
}

/* One or two tiles of rows by a panel, unpacked in b->room; totals begin with `base`. The sums of some groups are added
 * up between the products of the next. */
INLINE void four_block(const cpu_slab *b, int panel, const int row[2], const bool two, int height, const float *base) {
    _Alignas(64) int32_t sum[2][FOUR_GROUPS * FOUR_SUMS];
    _Alignas(64) float total[FOUR_SUMS];
    const int rows = two ? 2 * height : height;
    const float *scale = b->w_scale + (size_t)panel * (size_t)b->groups * TILE_COLUMNS;
    for (int r = 0; r < rows; r++)
        memcpy(total + r * TILE_COLUMNS, base, TILE_COLUMNS * sizeof *total);
    int waiting = 0, turn = 0;
    for (int g = 0, some; g < b->groups; g += some, turn ^= 1) {
        some = b->groups - g < FOUR_GROUPS ? b->groups - g : FOUR_GROUPS;
        for (int i = 0; i < some; i++) {
            four_multiply(b, g + i, row, two, height, sum[turn] + i * FOUR_SUMS);
            four_add_some(waiting, sum[turn ^ 1], scale + (g - waiting) * TILE_COLUMNS, rows * i / some,
                          rows * (i + 1) / some, total);
        }
        waiting = some;
    }
    four_add_some(waiting, sum[turn ^ 1], scale + (b->groups - waiting) * TILE_COLUMNS, 0, rows, total);
    const amx_waiting all = {(const int32_t *)(const void *)total, panel, {row[0], row[1]}, height};
    finish_bf16_of(b->activation)(b, &all, 0, rows);
}

/* What the offset of activations makes of a panel, in all its groups. */
static void four_base(const cpu_slab *b, int panel, float *base) {
    for (int v = 0; v < TILE_COLUMNS; v += VW) {
        vf sum = vf_zero();
        for (int g = 0; g < b->groups; g++) {
            const size_t at = ((size_t)panel * (size_t)b->groups + (size_t)g) * TILE_COLUMNS + (size_t)v;
            sum = vf_fma(vi_to_float(vi_load(b->start + at)), vf_load(b->w_scale + at), sum);
        }
        vf_store(base + v, sum);
    }
}

static void slab_four(const cpu_slab *b) {
    const int tiles = (b->rows + AMX_ROWS - 1) / AMX_ROWS, height = (b->rows + tiles - 1) / tiles;
    const int panels = (b->n + TILE_COLUMNS - 1) / TILE_COLUMNS, steps = b->groups * b->steps;
    float base[TILE_COLUMNS];
    amx_begin(height, b->steps);
    for (int panel = 0; panel < panels; panel++) {
        unpack_four((const int8_t *)b->w + (size_t)panel * (size_t)steps * (STEP_BYTES / 2), steps, b->room);
        four_base(b, panel, base);
        for (int t = 0; t < tiles; t += 2) {
            const int low = t + 1 < tiles ? t + 1 : t, last = b->rows - height;
            const int row[2] = {t * height < last ? t * height : last, low * height < last ? low * height : last};
            if (low > t)
                four_block(b, panel, row, true, height, base);
            else
                four_block(b, panel, row, false, height, base);
        }
    }
    amx_end();
}

#endif
