#include "suites/interval.h"

#include <math.h>
#include <stdlib.h>

void zeb_interval_wilson(double successes, double total, double z, double *lo, double *hi) {
    double p = successes / total, square = z * z;
    double middle = (p + square / (2 * total)) / (1 + square / total);
    double half = z / (1 + square / total) * sqrt(p * (1 - p) / total + square / (4 * total * total));
    /* At the ends the bound is exact on paper; rounding must not push it past the value. */
    *lo = successes <= 0 ? 0 : fmax(0, middle - half);
    *hi = successes >= total ? 1 : fmin(1, middle + half);
}

static void z_interval(double r, double spread, double *lo, double *hi) {
    double at = atanh(r); /* infinite at -1 and 1, where the interval is that point */
    *lo = tanh(at - spread);
    *hi = tanh(at + spread);
}

void zeb_interval_fisher(double r, size_t n, double z, double *lo, double *hi) {
    *lo = -1;
    *hi = 1;
    if (n > 3) z_interval(r, z / sqrt((double)n - 3), lo, hi);
}

void zeb_interval_bonett_wright(double r, size_t n, double z, double *lo, double *hi) {
    *lo = -1;
    *hi = 1;
    if (n > 3) z_interval(r, z * sqrt((1 + r * r / 2) / ((double)n - 3)), lo, hi);
}

double zeb_quantile_sorted(const double *sorted, size_t n, double p) {
    double at = p * (double)(n - 1);
    size_t below = (size_t)at;
    if (below + 1 >= n) return sorted[n - 1];
    return sorted[below] + (at - (double)below) * (sorted[below + 1] - sorted[below]);
}

static int compare_doubles(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

void zeb_sort_doubles(double *value, size_t n) {
    if (n > 1) qsort(value, n, sizeof *value, compare_doubles);
}
