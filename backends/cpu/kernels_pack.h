/* kernels_pack.h - rows to codes, and operands to the layouts that the tiles read; a part of kernels_body.h. */
#ifndef ZEB_CPU_KERNELS_PACK_H
#define ZEB_CPU_KERNELS_PACK_H

/* The greatest magnitude of a row; NaN if there is one. */
INLINE float top_of_row(const float *x, int n) {
    const int whole = n - n % VW;
    vf a = vf_zero(), b = vf_zero();
    int i = 0;
    for (; i + 2 * VW <= whole; i += 2 * VW) {
        a = vf_most(vf_abs(vf_load(x + i)), a);
        b = vf_most(vf_abs(vf_load(x + i + VW)), b);
    }
    if (i < whole) a = vf_most(vf_abs(vf_load(x + i)), a);
    float most = vf_top_most(vf_most(a, b));
    for (i = whole; i < n; i++)
        most = fabsf(x[i]) > most || isnan(x[i]) ? fabsf(x[i]) : most;
    return most;
}

/* Rows of a phase are read twice: so many numbers of sixteen stay in the first-level cache meanwhile. */
enum { WIDE = 384 };

static void quantise(const float *x, size_t ldx, int rows, int n, void *q, size_t ldq, float *scale) {
    const int whole = n - n % VW, some = n > WIDE ? PHASE_ROWS * WIDE / n + 1 : PHASE_ROWS;
    for (int first = 0; first < rows; first += some) {
        const int end = first + some < rows ? first + some : rows;
        float inverse[PHASE_ROWS];
        for (int r = first; r < end; r++) {
            const float most = top_of_row(x + (size_t)r * ldx, n);
            const bool tiny = most < ZEB_QUANTISE_TINY;
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
                top = vf_most(
                    vf_abs(live == VW ? vf_load(from + (size_t)r * ld) : vf_load_n(from + (size_t)r * ld, live)), top);
            float most[VW], inverse[VW];
            vf_store(most, top);
            for (int i = 0; i < VW; i++) {
                const bool tiny = most[i] < ZEB_QUANTISE_TINY;
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

/* Loops of a fixed length, which the compiler turns into vectors. */
static void widen_codes(zeb_dtype dtype, const void *from, float scale, float *restrict to, size_t n) {
    enum { SOME = 32 };
    size_t i = 0;
    if (dtype == ZEB_I8) {
        const int8_t *q = from;
        for (; i + SOME <= n; i += SOME)
            for (int j = 0; j < SOME; j++)
                to[i + (size_t)j] = (float)q[i + (size_t)j] * scale;
        for (; i < n; i++)
            to[i] = (float)q[i] * scale;
        return;
    }
    const uint8_t *q = from;
    for (; i + SOME <= n; i += SOME) {
        int8_t number[SOME];
        for (int j = 0; j < SOME / 2; j++) {
            number[2 * j] = (int8_t)((q[i / 2 + (size_t)j] & 15) - 8);
            number[2 * j + 1] = (int8_t)((q[i / 2 + (size_t)j] >> 4) - 8);
        }
        for (int j = 0; j < SOME; j++)
            to[i + (size_t)j] = (float)number[j] * scale;
    }
    for (; i < n; i++)
        to[i] = (float)((q[i / 2] >> (i % 2 * 4) & 15) - 8) * scale;
}

#endif
