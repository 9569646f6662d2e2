#include "run/compare.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "run/binomial.h"
#include "run/stats.h"
#include "suites/interval.h"

enum { EXACT_MAX = 20, EXACT_SUMS = EXACT_MAX * EXACT_MAX + 1 };

/* ---- Mann-Whitney ---- */

/* P(U <= u) for samples of na and nb without ties: the number of ways to reach each sum, built up a sample at a time
 * (the coefficients of the Gaussian binomial). way[i][u] are the ways for i of a among the b seen so far. */
static double exact_lower(size_t na, size_t nb, size_t u, double (*way)[EXACT_SUMS]) {
    memset(way, 0, (EXACT_MAX + 1) * sizeof *way);
    way[0][0] = 1;
    for (size_t member = 1; member <= na + nb; member++) {
        /* The member-th value in order is of a: then it is above member - i values of b, where i counts a up to it. */
        for (size_t i = na < member ? na : member; i > 0; i--) {
            size_t below = member - i;
            if (below > nb) continue;
            for (size_t sum = na * nb; sum + 1 > below; sum--)
                way[i][sum] += way[i - 1][sum - below];
        }
    }
    double all = 0, up_to = 0;
    for (size_t sum = 0; sum <= na * nb; sum++) {
        all += way[na][sum];
        if (sum <= u) up_to += way[na][sum];
    }
    return up_to / all;
}

static zeb_status exact_p(size_t na, size_t nb, double u, double *p, zeb_error *error) {
    double(*way)[EXACT_SUMS] = malloc((EXACT_MAX + 1) * sizeof *way);
    if (way == NULL) return zeb_fail(error, ZEB_ERR_MEMORY, "out of memory");
    double pairs = (double)na * (double)nb, smaller = fmin(u, pairs - u);
    *p = fmin(1, 2 * exact_lower(na, nb, (size_t)smaller, way));
    free(way);
    return ZEB_OK;
}

static double normal_p(size_t na, size_t nb, double u, double tie_sum) {
    double a = (double)na, b = (double)nb, n = a + b;
    double variance = a * b / 12 * (n + 1 - (n > 1 ? tie_sum / (n * (n - 1)) : 0));
    if (!(variance > 0)) return 1;
    double away = fmax(0, fabs(u - a * b / 2) - 0.5); /* half a step: U is whole, the normal is not */
    return fmin(1, erfc(away / sqrt(2 * variance)));
}

zeb_status zeb_compare_ranks(const uint64_t *a, size_t na, const uint64_t *b, size_t nb, zeb_rank_test *test,
                             zeb_error *error) {
    *test = (zeb_rank_test){.p = 1};
    if (na == 0 || nb == 0) return zeb_fail(error, ZEB_ERR_ARGUMENT, "no samples to compare");
    uint64_t *sorted = malloc((na + nb) * sizeof *sorted);
    if (sorted == NULL) return zeb_fail(error, ZEB_ERR_MEMORY, "out of memory for %zu samples", na + nb);
    uint64_t *sorted_b = sorted + na;
    memcpy(sorted, a, na * sizeof *sorted);
    memcpy(sorted_b, b, nb * sizeof *sorted);
    zeb_sort_u64(sorted, na);
    zeb_sort_u64(sorted_b, nb);
    double tie_sum = 0, u = 0;
    for (size_t i = 0, j = 0; i < na || j < nb;) { /* merge, one value at a time with all its ties */
        uint64_t value = i == na || (j < nb && sorted_b[j] < sorted[i]) ? sorted_b[j] : sorted[i];
        size_t first_i = i, first_j = j;
        while (i < na && sorted[i] == value)
            i++;
        while (j < nb && sorted_b[j] == value)
            j++;
        double ties_a = (double)(i - first_i), ties_b = (double)(j - first_j), ties = ties_a + ties_b;
        u += ties_a * ((double)first_j + ties_b / 2);
        tie_sum += ties * ties * ties - ties;
    }
    free(sorted);
    test->u = u;
    test->greater = u / ((double)na * (double)nb);
    test->exact = tie_sum == 0 && na <= EXACT_MAX && nb <= EXACT_MAX;
    if (test->exact) return exact_p(na, nb, u, &test->p, error);
    test->p = normal_p(na, nb, u, tie_sum);
    return ZEB_OK;
}

/* ---- ratio of medians ---- */

/* A standard normal by Marsaglia's polar method (1964), one of the two it makes. */
static double draw_normal(zeb_random *random) {
    double x, square;
    do {
        x = 2 * zeb_random_unit(random) - 1;
        double y = 2 * zeb_random_unit(random) - 1;
        square = x * x + y * y;
    } while (square >= 1 || square == 0);
    return x * sqrt(-2 * log(square) / square);
}

/* Gamma(shape >= 1, 1) by Marsaglia and Tsang (2000, ACM TOMS 26). */
static double draw_gamma(zeb_random *random, double shape) {
    double d = shape - 1.0 / 3, c = 1 / sqrt(9 * d);
    for (;;) {
        double x = draw_normal(random), v = 1 + c * x;
        if (v <= 0) continue;
        v = v * v * v;
        double u = 1 - zeb_random_unit(random); /* not 0 */
        if (log(u) < x * x / 2 + d - d * v + d * log(v)) return d * v;
    }
}

static uint64_t at_place(const uint64_t *sorted, size_t n, double place) {
    size_t i = (size_t)(place * (double)n);
    return sorted[i < n ? i : n - 1];
}

/* The median of n draws with replacement from sorted[n]. */
static double draw_median(zeb_random *random, const uint64_t *sorted, size_t n) {
    size_t rank = (n + 1) / 2; /* of n uniforms, the rank-th is Beta(rank, n - rank + 1) */
    double x = draw_gamma(random, (double)rank), y = draw_gamma(random, (double)(n - rank + 1));
    double place = x / (x + y);
    double median = (double)at_place(sorted, n, place);
    if (n % 2 != 0) return median;
    /* The next one is the least of the n - rank uniforms above. */
    double rest = pow(1 - zeb_random_unit(random), 1 / (double)(n - rank));
    return (median + (double)at_place(sorted, n, 1 - (1 - place) * rest)) / 2;
}

static double median_of(const uint64_t *sorted, size_t n) {
    size_t below = (n - 1) / 2, above = n / 2;
    return ((double)sorted[below] + (double)sorted[above]) / 2;
}

/* Room for both samples, sorted, and for the outcomes of all resamples. */
static zeb_status resample_medians(const uint64_t *a, size_t na, const uint64_t *b, size_t nb, size_t resamples,
                                   uint64_t seed, double *outcome, zeb_ratio *ratio, zeb_error *error) {
    double median_a = median_of(a, na);
    bool zero = median_a == 0;
    zeb_random random;
    zeb_random_seed(&random, seed);
    for (size_t i = 0; i < resamples && !zero; i++) {
        double of_a = draw_median(&random, a, na), of_b = draw_median(&random, b, nb);
        zero = of_a == 0;
        outcome[i] = zero ? 0 : of_b / of_a;
    }
    if (zero) return zeb_fail(error, ZEB_ERR_RANGE, "the median of the first sample is 0: there is no ratio to it");
    zeb_sort_doubles(outcome, resamples);
    *ratio = (zeb_ratio){.value = median_of(b, nb) / median_a,
                         .lo = zeb_quantile_sorted(outcome, resamples, 0.025),
                         .hi = zeb_quantile_sorted(outcome, resamples, 0.975)};
    return ZEB_OK;
}

zeb_status zeb_compare_medians(const uint64_t *a, size_t na, const uint64_t *b, size_t nb, size_t resamples,
                               uint64_t seed, zeb_ratio *ratio, zeb_error *error) {
    *ratio = (zeb_ratio){0};
    if (na == 0 || nb == 0 || resamples == 0) return zeb_fail(error, ZEB_ERR_ARGUMENT, "no samples to compare");
    uint64_t *sorted = malloc((na + nb) * sizeof *sorted);
    double *outcome = calloc(resamples, sizeof *outcome);
    zeb_status status = ZEB_OK;
    if (sorted == NULL || outcome == NULL) {
        status = zeb_fail(error, ZEB_ERR_MEMORY, "out of memory for %zu samples", na + nb);
    } else {
        memcpy(sorted, a, na * sizeof *sorted);
        memcpy(sorted + na, b, nb * sizeof *sorted);
        zeb_sort_u64(sorted, na);
        zeb_sort_u64(sorted + na, nb);
        status = resample_medians(sorted, na, sorted + na, nb, resamples, seed, outcome, ratio, error);
    }
    free(sorted);
    free(outcome);
    return status;
}

/* ---- paired answers ---- */

void zeb_compare_discordant(uint64_t only_a, uint64_t only_b, zeb_pair_test *test) {
    int64_t n = (int64_t)(only_a + only_b), fewer = (int64_t)(only_a < only_b ? only_a : only_b);
    double lower = zeb_binomial_cdf(fewer, n, 0.5), at = zeb_binomial_pmf(fewer, n, 0.5);
    /* With equal counts both tails share the middle, which then counts once. */
    double mid = only_a == only_b ? 1 - at / 2 : 2 * lower - at;
    *test = (zeb_pair_test){.only_a = only_a, .only_b = only_b, .p_exact = fmin(1, 2 * lower), .p_mid = fmin(1, mid)};
    if (n == 0) test->p_exact = test->p_mid = 1;
}

void zeb_compare_answers(const bool *a_right, const bool *b_right, size_t n, zeb_pair_test *test) {
    uint64_t only_a = 0, only_b = 0;
    for (size_t i = 0; i < n; i++) {
        only_a += a_right[i] && !b_right[i];
        only_b += b_right[i] && !a_right[i];
    }
    zeb_compare_discordant(only_a, only_b, test);
}

zeb_status zeb_compare_accuracies(const bool *a_right, const bool *b_right, size_t n, size_t resamples, uint64_t seed,
                                  zeb_gain *gain, zeb_error *error) {
    *gain = (zeb_gain){0};
    if (n == 0 || resamples == 0) return zeb_fail(error, ZEB_ERR_ARGUMENT, "no answers to compare");
    double *outcome = calloc(resamples, sizeof *outcome);
    if (outcome == NULL) return zeb_fail(error, ZEB_ERR_MEMORY, "out of memory for %zu resamples", resamples);
    zeb_random random;
    zeb_random_seed(&random, seed);
    for (size_t r = 0; r < resamples; r++) {
        int64_t sum = 0;
        for (size_t i = 0; i < n; i++) {
            size_t drawn = (size_t)zeb_random_below(&random, n);
            sum += (int)b_right[drawn] - (int)a_right[drawn];
        }
        outcome[r] = (double)sum / (double)n;
    }
    int64_t sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (int)b_right[i] - (int)a_right[i];
    zeb_sort_doubles(outcome, resamples);
    *gain = (zeb_gain){.value = (double)sum / (double)n,
                       .lo = zeb_quantile_sorted(outcome, resamples, 0.025),
                       .hi = zeb_quantile_sorted(outcome, resamples, 0.975)};
    free(outcome);
    return ZEB_OK;
}
