#include "run/stats.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "run/binomial.h"

static const double quantile_p[ZEB_QUANTILES] = {0.5, 0.9, 0.95, 0.99};
static const double confidence = 0.95;
static const double outlier_mads = 14.8;

static int compare_u64(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

void zeb_sort_u64(uint64_t *value, size_t n) {
    if (n > 1) qsort(value, n, sizeof *value, compare_u64);
}

static void swap(uint64_t *a, uint64_t *b) {
    uint64_t kept = *a;
    *a = *b;
    *b = kept;
}

/* Median of first, middle and last: sorted, reversed and constant samples stay linear. */
static uint64_t pivot_of(const uint64_t *value, size_t n) {
    uint64_t a = value[0], b = value[n / 2], c = value[n - 1];
    uint64_t low = a < b ? a : b, high = a < b ? b : a;
    return c < low ? low : c > high ? high : c;
}

uint64_t zeb_select_u64(uint64_t *value, size_t n, size_t k) {
    while (n > 1) {
        uint64_t pivot = pivot_of(value, n);
        /* Three parts: under, equal, over. Equal ones are set aside, so that many ties do not cost a pass each. */
        size_t under = 0, at = 0, over = n;
        while (at < over) {
            if (value[at] < pivot)
                swap(&value[under++], &value[at++]);
            else if (value[at] > pivot)
                swap(&value[at], &value[--over]);
            else
                at++;
        }
        if (k >= under && k < over) return pivot;
        if (k < under) {
            n = under;
        } else {
            value += over;
            n -= over;
            k -= over;
        }
    }
    return value[0];
}

static double quantile_of_sorted(const uint64_t *sorted, size_t n, double p) {
    double at = p * (double)(n - 1);
    size_t below = (size_t)at;
    double value = (double)sorted[below];
    if (below + 1 < n) value += (at - (double)below) * (double)(sorted[below + 1] - sorted[below]);
    return value;
}

static zeb_quantile describe_quantile(const uint64_t *sorted, size_t n, double p) {
    zeb_quantile quantile = {.p = p, .value_ns = quantile_of_sorted(sorted, n, p)};
    int64_t low, high;
    zeb_binomial_ranks((int64_t)n, p, confidence, &low, &high);
    quantile.has_lo = low >= 1;
    quantile.has_hi = high <= (int64_t)n;
    if (quantile.has_lo) quantile.lo_ns = (double)sorted[low - 1];
    if (quantile.has_hi) quantile.hi_ns = (double)sorted[high - 1];
    return quantile;
}

/* Overwrites sorted[] by the distances to the median. */
static void describe_spread(uint64_t *sorted, size_t n, double median, zeb_latency *latency) {
    /* The median of an even number may be a half: distances are kept doubled, where they are whole. */
    uint64_t twice = (uint64_t)(2 * median);
    for (size_t i = 0; i < n; i++)
        sorted[i] = 2 * sorted[i] > twice ? 2 * sorted[i] - twice : twice - 2 * sorted[i];
    zeb_sort_u64(sorted, n);
    latency->mad_ns = quantile_of_sorted(sorted, n, 0.5) / 2;
    double limit = 2 * outlier_mads * fmax(latency->mad_ns, 1);
    while (latency->outliers < n && (double)sorted[n - 1 - latency->outliers] > limit)
        latency->outliers++;
}

zeb_status zeb_stats_describe(const uint64_t *sample_ns, size_t n, zeb_latency *latency, zeb_error *error) {
    *latency = (zeb_latency){.n = n, .median_half_width = -1};
    if (n == 0) return zeb_fail(error, ZEB_ERR_ARGUMENT, "no samples to describe");
    uint64_t *sorted = n > SIZE_MAX / sizeof *sorted ? NULL : malloc(n * sizeof *sorted);
    if (sorted == NULL) return zeb_fail(error, ZEB_ERR_MEMORY, "out of memory for %zu samples", n);
    memcpy(sorted, sample_ns, n * sizeof *sorted);
    zeb_sort_u64(sorted, n);
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (double)sorted[i];
    latency->mean_ns = sum / (double)n;
    latency->min_ns = (double)sorted[0];
    latency->max_ns = (double)sorted[n - 1];
    for (int i = 0; i < ZEB_QUANTILES; i++)
        latency->quantile[i] = describe_quantile(sorted, n, quantile_p[i]);
    const zeb_quantile *median = &latency->quantile[ZEB_P50];
    if (median->has_lo && median->has_hi && median->value_ns > 0)
        latency->median_half_width = (median->hi_ns - median->lo_ns) / 2 / median->value_ns;
    describe_spread(sorted, n, median->value_ns, latency);
    free(sorted);
    return ZEB_OK;
}

/* Half-width of the median's interval, relative; reorders scratch[n]. */
static double half_width(uint64_t *scratch, size_t n) {
    int64_t low, high;
    if (n == 0) return -1;
    zeb_binomial_ranks((int64_t)n, 0.5, confidence, &low, &high);
    if (low < 1 || high > (int64_t)n) return -1;
    /* high >= low + 1, and what stands behind low's place is all >= it: each selection works on what is left. */
    uint64_t lower = zeb_select_u64(scratch, n, (size_t)low - 1);
    uint64_t upper = zeb_select_u64(scratch + low, n - (size_t)low, (size_t)(high - low - 1));
    size_t inside = (size_t)(high - low), middle = (n - 1) / 2;
    double median =
        (double)(middle + 1 == (size_t)low ? lower : zeb_select_u64(scratch + low, inside, middle - (size_t)low));
    if (n % 2 == 0) {
        uint64_t next = zeb_select_u64(scratch + low, inside, n / 2 - (size_t)low);
        median = (median + (double)next) / 2;
    }
    return median > 0 ? (double)(upper - lower) / 2 / median : -1;
}

zeb_status zeb_stats_half_width(const uint64_t *sample_ns, size_t n, double *relative, zeb_error *error) {
    *relative = -1;
    if (n == 0) return ZEB_OK;
    uint64_t *scratch = n > SIZE_MAX / sizeof *scratch ? NULL : malloc(n * sizeof *scratch);
    if (scratch == NULL) return zeb_fail(error, ZEB_ERR_MEMORY, "out of memory for %zu samples", n);
    memcpy(scratch, sample_ns, n * sizeof *scratch);
    *relative = half_width(scratch, n);
    free(scratch);
    return ZEB_OK;
}

void zeb_stopping_start(zeb_stopping *stopping, double target, size_t minimum) {
    *stopping = (zeb_stopping){.target = target, .minimum = minimum, .next = minimum, .reached = -1};
}

bool zeb_stopping_reached(zeb_stopping *stopping, const uint64_t *sample_ns, size_t n, uint64_t *scratch) {
    if (n < stopping->next || n == 0) return stopping->reached >= 0 && stopping->reached < stopping->target;
    memcpy(scratch, sample_ns, n * sizeof *scratch);
    stopping->reached = half_width(scratch, n);
    stopping->next = n + (n < 10 ? 1 : n / 10);
    return stopping->reached >= 0 && stopping->reached < stopping->target;
}

uint64_t zeb_stats_queries_min(double p, double wanted, uint64_t over) {
    if (!(p > 0 && p < 1 && wanted > 0 && wanted < 1) || over > UINT32_MAX) return 0;
    int64_t fails = (int64_t)over, enough = 2 * (int64_t)over + 2;
    while (zeb_binomial_cdf((int64_t)over, enough, 1 - p) > 1 - wanted) {
        fails = enough;
        enough *= 2;
    }
    while (enough - fails > 1) {
        int64_t middle = fails + (enough - fails) / 2;
        if (zeb_binomial_cdf((int64_t)over, middle, 1 - p) <= 1 - wanted)
            enough = middle;
        else
            fails = middle;
    }
    return (uint64_t)enough;
}
