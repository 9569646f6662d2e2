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

/* Rows from .. to of one tile of what waits. What is read of *b is copied first: stores may alias anything. */
INLINE void amx_finish(const cpu_slab *b, const bool integers, const uint32_t activation, int panel, int row,
                       const int32_t *sum, int rows) {
    const int column = panel * TILE_COLUMNS, left = b->n - column;
    const bool whole = left >= TILE_COLUMNS;
    const size_t ldc = b->ldc, ldr = b->ldr;
    const float *x_scale = b->x_scale != NULL ? b->x_scale + row : NULL;
    const float *residual = b->residual != NULL ? b->residual + (size_t)row * ldr + column : NULL;
    float *c = b->c + (size_t)row * ldc + column;
    vf scale[TILE_VECTORS], bias[TILE_VECTORS];
    UNROLL for (int v = 0; v < TILE_VECTORS; v++) {
        bias[v] = b->bias != NULL ? vf_load(b->bias + column + v * VW) : vf_zero();
        scale[v] = integers ? vf_load(b->w_scale + column + v * VW) : vf_set1(1.0f);
    }
    for (int r = 0; r < rows; r++, sum += TILE_COLUMNS, c += ldc) {
        const vf factor = x_scale != NULL ? vf_set1(*x_scale++) : vf_set1(1.0f);
        UNROLL for (int v = 0; v < TILE_VECTORS; v++) {
            const vf x =
                integers ? vi_to_float(vi_load(sum + v * VW)) : vf_load((const float *)(const void *)sum + v * VW);
            vf y = vf_act(activation, vf_fma(x, integers ? vf_mul(factor, scale[v]) : factor, bias[v]));
            if (whole) {
                if (residual != NULL) y = vf_add(y, vf_load(residual + v * VW));
                vf_store(c + v * VW, y);
            } else if (left > v * VW) {
                const int live = left - v * VW < VW ? left - v * VW : VW;
                if (residual != NULL) y = vf_add(y, vf_load_n(residual + v * VW, live));
                vf_store_n(c + v * VW, y, live);
            }
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
INLINE void amx_multiply(const cpu_slab *b, const bool integers, const uint32_t activation, int panel, const int row[2],
                         const bool two, const amx_waiting *waiting, int waiting_rows) {
    const int steps = b->steps;
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
        if (waiting_rows == 0) continue;
        const int more = waiting_rows * (k + 1) / steps;
        amx_finish_some(b, integers, activation, waiting, done, more);
        done = more;
    }
}

/* Whether sums are results as they are. */
INLINE bool amx_is_plain(const cpu_slab *b) {
    return b->x_scale == NULL && b->bias == NULL && b->residual == NULL && b->n % TILE_COLUMNS == 0;
}

/* All tiles are of one height, the last one overlapping that before by a few rows: they are shaped once. */
INLINE void amx_tiles(const cpu_slab *b, const bool integers, const uint32_t activation) {
    _Alignas(64) int32_t sum[2][2 * AMX_ROWS * TILE_COLUMNS];
    const int tiles = (b->rows + AMX_ROWS - 1) / AMX_ROWS, height = (b->rows + tiles - 1) / tiles;
    const int panels = (b->n + TILE_COLUMNS - 1) / TILE_COLUMNS;
    const bool plain = !integers && activation == ZEB_ACT_NONE && amx_is_plain(b);
    amx_waiting waiting = {NULL, 0, {0, 0}, height};
    int waiting_rows = 0;
    amx_begin(height, AMX_STEP / 4);
    for (int panel = 0, turn = 0; panel < panels; panel++) {
        for (int t = 0; t < tiles; t += 2, turn ^= 1) {
            const int low = t + 1 < tiles ? t + 1 : t, last = b->rows - height;
            const int row[2] = {t * height < last ? t * height : last, low * height < last ? low * height : last};
            if (low > t)
                amx_multiply(b, integers, activation, panel, row, true, &waiting, waiting_rows);
            else
                amx_multiply(b, integers, activation, panel, row, false, &waiting, waiting_rows);
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
    amx_finish_some(b, integers, activation, &waiting, 0, waiting_rows);
    amx_end();
}

#define AMX_SLAB(name, integers)                                                                                       \
    static void name(const cpu_slab *b) {                                                                              \
        switch (b->activation) {                                                                                       \
            case ZEB_ACT_NONE: amx_tiles(b, integers, ZEB_ACT_NONE); break;                                            \
            case ZEB_ACT_GELU_ERF: amx_tiles(b, integers, ZEB_ACT_GELU_ERF); break;                                    \
            case ZEB_ACT_GELU_TANH: amx_tiles(b, integers, ZEB_ACT_GELU_TANH); break;                                  \
            case ZEB_ACT_RELU: amx_tiles(b, integers, ZEB_ACT_RELU); break;                                            \
            case ZEB_ACT_SILU: amx_tiles(b, integers, ZEB_ACT_SILU); break;                                            \
            case ZEB_ACT_TANH: amx_tiles(b, integers, ZEB_ACT_TANH); break;                                            \
            default: break;                                                                                            \
        }                                                                                                              \
    }
/* Floats to results. */
#define AMX_FLOATS(kind)                                                                                               \
    case kind: amx_finish(b, false, kind, panel, row, sum, rows); break
static void amx_finish_floats(const cpu_slab *b, int panel, int row, const int32_t *sum, int rows) {
    switch (b->activation) {
        AMX_FLOATS(ZEB_ACT_NONE);
        AMX_FLOATS(ZEB_ACT_GELU_ERF);
        AMX_FLOATS(ZEB_ACT_GELU_TANH);
        AMX_FLOATS(ZEB_ACT_RELU);
        AMX_FLOATS(ZEB_ACT_SILU);
        AMX_FLOATS(ZEB_ACT_TANH);
        default: break;
    }
}

AMX_SLAB(slab_i8, true)
AMX_SLAB(slab_bf16, false)

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
    for (int t = 0; t < (two ? 2 : 1); t++)
        amx_finish_floats(b, panel, row[t], (const int32_t *)(const void *)(total + t * height * TILE_COLUMNS), height);
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

/* ---- attention in bfloat16 -------------------------------------------------------------------------------------- */

/* Sixteen rows narrowed: pairs of k as 32 bits, which are transposed. */
static void half_pack_columns(const float *x, size_t ld, int rows, int k, uint16_t *panel) {
    const int pairs = (k + 31) / 32 * 16;
    for (int first = 0; first < rows; first += TILE_COLUMNS, panel += (size_t)pairs * TILE_COLUMNS * 2) {
        for (int c = 0; c < TILE_COLUMNS; c += VW) {
            const int left = rows - first - c, live = left < 0 ? 0 : left < VW ? left : VW;
            for (int j = 0; j < k; j += 32) {
                float pair[VW * VW];
                for (int i = 0; i < live; i++)
                    vi_store((int32_t *)(void *)(pair + i * VW), narrow_n(x + (size_t)(first + c + i) * ld + j, k - j));
                vf_transpose(pair, VW, live, (float *)(void *)panel + (size_t)(j / 2) * TILE_COLUMNS + c, TILE_COLUMNS);
            }
        }
    }
}

/* Two rows narrowed side by side, then column by column. */
static void half_pack_rows(const float *x, size_t ld, int rows, int n, uint16_t *panel) {
    static const uint16_t turn[32] = {0, 16, 1, 17, 2,  18, 3,  19, 4,  20, 5,  21, 6,  22, 7,  23,
                                      8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
    const vi order = _mm512_loadu_si512(turn);
    const int pairs = (rows + 31) / 32 * 16;
    for (int c = 0; c < n; c += VW) {
        const int live = n - c < VW ? n - c : VW;
        int32_t *to =
            (int32_t *)(void *)panel + (size_t)(c / TILE_COLUMNS) * (size_t)pairs * TILE_COLUMNS + c % TILE_COLUMNS;
        for (int j = 0; j < pairs; j++, to += TILE_COLUMNS) {
            const float *from = x + (size_t)(2 * j) * ld + c;
            const vf a = 2 * j < rows ? vf_load_n(from, live) : vf_zero();
            const vf b = 2 * j + 1 < rows ? vf_load_n(from + ld, live) : vf_zero();
            vi_store(to, _mm512_permutexvar_epi16(order, vi_narrow(a, b)));
        }
    }
}

/* As vf_load_n, other lanes `rest`. */
INLINE vf amx_load_or(const float *p, int live, vf rest) {
    return live >= VW ? vf_load(p) : _mm512_mask_loadu_ps(rest, vf_mask(live > 0 ? live : 0), p);
}

/* The greatest of s, or the least. */
INLINE float half_peak(const float *s, int n, const bool least) {
    const vf first = vf_set1(s[0]);
    vf a = first, b = first;
    for (int i = 0; i < n; i += 2 * VW) {
        const vf x = amx_load_or(s + i, n - i, first), y = amx_load_or(s + i + VW, n - i - VW, first);
        a = least ? vf_min(a, x) : vf_max(a, x);
        b = least ? vf_min(b, y) : vf_max(b, y);
    }
    const vf none = vf_zero();
    return least ? -vf_top(vf_sub(none, vf_min(a, b))) : vf_top(vf_max(a, b));
}

/* p = 2^(by (s - peak)); gives the sum. Zeros from n on. */
INLINE float half_exp(const float *s, int n, float by, float peak, uint16_t *p, int padded) {
    const vf factor = vf_set1(by), top = vf_set1(peak);
    vf sum = vf_zero();
    int i = 0;
    for (; i + 2 * VW <= n; i += 2 * VW) {
        const vf a = vf_exp2_down(vf_mul(vf_sub(vf_load(s + i), top), factor));
        const vf b = vf_exp2_down(vf_mul(vf_sub(vf_load(s + i + VW), top), factor));
        sum = vf_add(sum, vf_add(a, b));
        vi_store((int32_t *)(void *)(p + i), vi_narrow(a, b));
    }
    if (i < n) {
        const int low = n - i < VW ? n - i : VW, high = n - i - low;
        const vf a = vf_exp2_down(vf_mul(vf_sub(amx_load_or(s + i, low, top), top), factor));
        const vf b = vf_exp2_down(vf_mul(vf_sub(amx_load_or(s + i + VW, high, top), top), factor));
        const vf x = _mm512_maskz_mov_ps(vf_mask(low), a), y = _mm512_maskz_mov_ps(vf_mask(high), b);
        sum = vf_add(sum, vf_add(x, y));
        vi_store((int32_t *)(void *)(p + i), vi_narrow(x, y));
        i += 2 * VW;
    }
    for (; i < padded; i += 2 * VW)
        vi_store((int32_t *)(void *)(p + i), vi_zero());
    return vf_sum(sum);
}

static void half_softmax(const float *s, size_t ld, int rows, int n, const int *seen, float scale, uint16_t *p,
                         size_t ldp, float *sum) {
    const int padded = (n + 31) / 32 * 32;
    for (int first = 0; first < rows; first += PHASE_ROWS) {
        const int end = first + PHASE_ROWS < rows ? first + PHASE_ROWS : rows;
        float peak[PHASE_ROWS];
        for (int r = first; r < end; r++) {
            const float *row = s + (size_t)r * ld;
            peak[r - first] = seen[r] <= 0 ? 0.0f
                              : scale < 0  ? half_peak(row, seen[r], true)
                                           : half_peak(row, seen[r], false);
        }
        for (int r = first; r < end; r++)
            sum[r] = half_exp(s + (size_t)r * ld, seen[r] > 0 ? seen[r] : 0, scale * 1.44269504088896341f,
                              peak[r - first], (uint16_t *)(void *)((char *)p + (size_t)r * ldp), padded);
    }
}

static void half_add_rows(float *y, const uint16_t *p, size_t ldp, int rows, int n, const float *a) {
    const vi upper = _mm512_set1_epi32((int)0xffff0000u);
    for (int i = 0; i < n; i += 2 * VW) { /* even and odd elements apart; brought in order at the end */
        vf even = vf_zero(), odd = vf_zero();
        for (int r = 0; r < rows; r++) {
            const vi pair = vi_load((const int32_t *)(const void *)((const char *)p + (size_t)r * ldp + (size_t)i * 2));
            const vf by = vf_set1(a[r]);
            even = vf_fma(by, _mm512_castsi512_ps(_mm512_slli_epi32(pair, 16)), even);
            odd = vf_fma(by, _mm512_castsi512_ps(_mm512_and_si512(pair, upper)), odd);
        }
        const vi low = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
        const vi high = _mm512_setr_epi32(8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
        const vf part[2] = {_mm512_permutex2var_ps(even, low, odd), _mm512_permutex2var_ps(even, high, odd)};
        for (int j = 0; j < 2; j++) {
            const int at = i + j * VW, live = n - at < VW ? n - at : VW;
            if (live > 0) vf_store_n(y + at, vf_add(vf_load_n(y + at, live), part[j]), live);
        }
    }
}

static const cpu_half_kernels half_kernels = {half_pack_columns, half_pack_rows, half_softmax, half_add_rows};

#endif
