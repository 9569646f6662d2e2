/* kernels_rows.h - norms, softmax and sums over rows; a part of kernels_body.h. */
#ifndef ZEB_CPU_KERNELS_ROWS_H
#define ZEB_CPU_KERNELS_ROWS_H

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

static void norm(const cpu_norm_row *p, const float *x, size_t ldx, const float *residual, size_t ldr,
                 const int32_t *by, float *out, size_t ldo, int rows, int n) {
    for (int first = 0; first < rows; first += PHASE_ROWS) {
        const int end = first + PHASE_ROWS < rows ? first + PHASE_ROWS : rows;
        float mean[PHASE_ROWS], factor[PHASE_ROWS];
        for (int r = first; r < end; r++) {
            const float *more = residual != NULL ? residual + (size_t)(by != NULL ? by[r] : r) * ldr : NULL;
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

#endif
