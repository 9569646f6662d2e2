#include "run/binomial.h"

#include <math.h>

enum { FRACTION_STEPS_MAX = 20000 };

/* lgamma() proper writes a global. */
static double log_gamma(double x) {
    int sign;
    return lgamma_r(x, &sign);
}

/* x^a (1-x)^b / (a B(a, b)), in logarithms so that no part of it leaves the range of a double. */
static double beta_front(double a, double b, double x) {
    return exp(a * log(x) + b * log1p(-x) - log(a) + log_gamma(a + b) - log_gamma(a) - log_gamma(b));
}

/* Keeps Lentz's method from dividing by zero. */
static double nonzero(double value) {
    return fabs(value) < 1e-300 ? 1e-300 : value;
}

/* I(x; a, b) / front by Lentz's method; converges quickly for x < (a + 1) / (a + b + 2). */
static double beta_fraction(double a, double b, double x) {
    double c = 1, d = 1 / nonzero(1 - (a + b) * x / (a + 1)), result = d;
    for (int step = 1; step < FRACTION_STEPS_MAX; step++) {
        double m = step, two = 2 * m;
        double even = m * (b - m) * x / ((a + two - 1) * (a + two));
        double odd = -(a + m) * (a + b + m) * x / ((a + two) * (a + two + 1));
        d = 1 / nonzero(1 + even * d);
        c = nonzero(1 + even / c);
        result *= d * c;
        d = 1 / nonzero(1 + odd * d);
        c = nonzero(1 + odd / c);
        double change = d * c;
        result *= change;
        if (fabs(change - 1) < 1e-15) break;
    }
    return result;
}

static double incomplete_beta(double a, double b, double x) {
    if (x <= 0) return 0;
    if (x >= 1) return 1;
    if (x < (a + 1) / (a + b + 2)) return beta_front(a, b, x) * beta_fraction(a, b, x);
    return 1 - beta_front(b, a, 1 - x) * beta_fraction(b, a, 1 - x);
}

double zeb_binomial_cdf(int64_t k, int64_t n, double p) {
    if (k < 0) return 0;
    if (k >= n) return 1;
    return incomplete_beta((double)(n - k), (double)(k + 1), 1 - p);
}

double zeb_binomial_pmf(int64_t k, int64_t n, double p) {
    if (k < 0 || k > n) return 0;
    if (p <= 0) return k == 0;
    if (p >= 1) return k == n;
    double ways = log_gamma((double)n + 1) - log_gamma((double)k + 1) - log_gamma((double)(n - k) + 1);
    return exp(ways + (double)k * log(p) + (double)(n - k) * log1p(-p));
}

/* The largest k in -1..n with P(X <= k) <= bound. */
static int64_t last_below(int64_t n, double p, double bound) {
    int64_t below = -1, above = n; /* P(X <= n) = 1 > bound */
    while (above - below > 1) {
        int64_t middle = below + (above - below) / 2;
        if (zeb_binomial_cdf(middle, n, p) <= bound)
            below = middle;
        else
            above = middle;
    }
    return below;
}

void zeb_binomial_ranks(int64_t n, double p, double confidence, int64_t *low, int64_t *high) {
    double tail = (1 - confidence) / 2;
    /* X counts samples under the quantile. The low-th smallest is above it when X < low: low = last k + 1. The high-th
     * smallest is under it when X >= high, that is n - X <= n - high. */
    *low = last_below(n, p, tail) + 1;
    *high = n - last_below(n, 1 - p, tail);
}
