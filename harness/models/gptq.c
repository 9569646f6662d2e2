#include "models/gptq.h"

#include <math.h>
#include <stdlib.h>

static const double DAMPING = 0.01;

enum { SOME = 8 }; /* loops of a fixed length become vectors */

static double dot(const double *a, const double *b, size_t n) {
    double part[SOME] = {0}, sum = 0;
    size_t i = 0;
    for (; i + SOME <= n; i += SOME)
        for (size_t j = 0; j < SOME; j++)
            part[j] += a[i + j] * b[i + j];
    for (; i < n; i++)
        sum += a[i] * b[i];
    for (size_t j = 0; j < SOME; j++)
        sum += part[j];
    return sum;
}

/* y += a x; a product and a sum each, never one rounding */
static void axpy(double *restrict y, const double *restrict x, double a, size_t n) {
    size_t i = 0;
    for (; i + SOME <= n; i += SOME)
        for (size_t j = 0; j < SOME; j++)
            y[i + j] += a * x[i + j];
    for (; i < n; i++)
        y[i] += a * x[i];
}

/* Row i of a triangle, to be indexed by the column: of a lower one from 0 to i, of an upper one from i on. */
static const double *lower(const double *h, size_t i) {
    return h + i * (i + 1) / 2;
}

static double *upper(double *u, size_t k, size_t i) {
    return u + i * (2 * k - i - 1) / 2;
}

/* u becomes R, upper triangular, with R R^T the damped h: a Cholesky factor taken from the last row up. Its inverse is
 * what is wanted, since the inverse of h is then R^-T R^-1. */
static zeb_status factor(const double *h, size_t k, double *u, zeb_error *error) {
    double mean = 0;
    for (size_t i = 0; i < k; i++)
        mean += (lower(h, i)[i] == 0 ? 1 : lower(h, i)[i]) / (double)k;
    for (size_t j = k; j-- > 0;) {
        for (size_t i = j + 1; i-- > 0;) { /* row i of R to the right of column j is known */
            double sum = lower(h, j)[i];
            if (i == j) sum = (sum == 0 ? 1 : sum) + DAMPING * mean;
            sum -= dot(upper(u, k, i) + j + 1, upper(u, k, j) + j + 1, k - j - 1);
            if (i == j && !(sum > 0 && isfinite(sum)))
                return zeb_fail(error, ZEB_ERR_RANGE, "the inputs' second moments are not those of finite numbers");
            upper(u, k, i)[j] = i == j ? sqrt(sum) : sum / upper(u, k, j)[j];
        }
    }
    return ZEB_OK;
}

/* The inverse of an upper triangular matrix, in place, a row at a time from the last one up; r[k] is scratch. */
static void invert(double *u, size_t k, double *r) {
    for (size_t i = k; i-- > 0;) {
        double *row = upper(u, k, i);
        const double pivot = 1 / row[i];
        for (size_t c = i + 1; c < k; c++) {
            r[c] = -pivot * row[c];
            row[c] = 0;
        }
        for (size_t c = i + 1; c < k; c++)
            axpy(row + c, upper(u, k, c) + c, r[c], k - c);
        row[i] = pivot;
    }
}

zeb_status zeb_gptq_factor(const double *h, size_t k, double *u, zeb_error *error) {
    double *r = malloc(k * sizeof *r);
    if (r == NULL) return zeb_fail(error, ZEB_ERR_MEMORY, "no memory for a row of %zu", k);
    zeb_status status = factor(h, k, u, error);
    if (status == ZEB_OK) invert(u, k, r);
    free(r);
    return status;
}

/* Column k of w[n] is q steps now: the later ones make up for it. */
static void spread(double *w, size_t n, size_t k, const double *u, double value) {
    const double *row = u + k * (2 * n - k - 1) / 2, error = (w[k] - value) / row[k];
    w[k] = value;
    axpy(w + k + 1, row + k + 1, -error, n - k - 1);
}

float zeb_gptq_row8(const float *x, size_t n, const double *u, const zeb_quantise_options *options, float *scratch,
                    double *w, int8_t *q) {
    const float clip = zeb_quantise_clip8(x, n, options, scratch, q);
    float step = 0;
    for (size_t i = 0; i < n; i++)
        w[i] = (double)x[i];
    for (size_t i = 0; i < n; i++) {
        const float now = (float)w[i];
        step = zeb_quantise_round8(&now, 1, clip, &q[i]);
        spread(w, n, i, u, q[i] * (double)step);
    }
    return step;
}

void zeb_gptq_row4(const float *x, size_t n, size_t group, const double *u, const zeb_quantise_options *options,
                   float *scratch, double *w, uint8_t *packed, uint16_t *scale) {
    float part[ZEB_QUANTISE_GROUP_MAX];
    int8_t q[ZEB_QUANTISE_GROUP_MAX];
    for (size_t i = 0; i < n; i++)
        w[i] = (double)x[i];
    for (size_t g = 0; g < n; g += group) {
        for (size_t i = 0; i < group; i++)
            part[i] = (float)w[g + i];
        const float clip = zeb_quantise_clip4(part, group, options, scratch, q);
        for (size_t i = 0; i < group; i++) {
            const float now = (float)w[g + i], step = zeb_quantise_round4(&now, 1, clip, &q[i], &scale[g / group]);
            spread(w, n, g + i, u, q[i] * (double)step);
        }
        zeb_quantise_pack4(q, group, packed + g / 2);
    }
}

double zeb_gptq_error(const double *d, const double *h, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += d[i] * (2 * dot(lower(h, i), d, i) + lower(h, i)[i] * d[i]);
    return sum;
}
