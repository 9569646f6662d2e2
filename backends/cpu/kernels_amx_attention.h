/* kernels_amx_attention.h - what attention in bfloat16 takes besides the slabs of kernels_amx.h; a part of
 * kernels_body.h. */
#ifndef ZEB_CPU_KERNELS_AMX_ATTENTION_H
#define ZEB_CPU_KERNELS_AMX_ATTENTION_H

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
