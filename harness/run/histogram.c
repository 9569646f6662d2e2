#include "run/histogram.h"

#include <math.h>
#include <stdlib.h>

#include "run/binomial.h"

enum { STEPS_LOG2 = 7 }; /* 128 buckets a power of two */

size_t zeb_histogram_bucket(uint64_t value_ns) {
    if (value_ns >> (STEPS_LOG2 + 1) == 0) return (size_t)value_ns;
    int shift = 63 - __builtin_clzll(value_ns) - STEPS_LOG2; /* value >> shift is 128..255 */
    return ((size_t)shift << STEPS_LOG2) + (size_t)(value_ns >> shift);
}

void zeb_histogram_bounds(size_t bucket, uint64_t *low_ns, uint64_t *high_ns) {
    size_t shift = bucket >> (STEPS_LOG2 + 1) == 0 ? 0 : (bucket >> STEPS_LOG2) - 1;
    uint64_t step = (uint64_t)(bucket - (shift << STEPS_LOG2));
    *low_ns = step << shift;
    *high_ns = bucket + 1 == ZEB_HISTOGRAM_BUCKETS ? UINT64_MAX : *low_ns + (UINT64_C(1) << shift);
}

void zeb_histogram_add(zeb_histogram *histogram, uint64_t value_ns) {
    histogram->count[zeb_histogram_bucket(value_ns)]++;
    if (histogram->n == 0 || value_ns < histogram->min_ns) histogram->min_ns = value_ns;
    if (value_ns > histogram->max_ns) histogram->max_ns = value_ns;
    histogram->n++;
    histogram->sum_ns += (double)value_ns;
}

void zeb_histogram_merge(zeb_histogram *to, const zeb_histogram *from) {
    if (from->n == 0) return;
    if (to->n == 0 || from->min_ns < to->min_ns) to->min_ns = from->min_ns;
    if (from->max_ns > to->max_ns) to->max_ns = from->max_ns;
    for (size_t i = 0; i < ZEB_HISTOGRAM_BUCKETS; i++)
        to->count[i] += from->count[i];
    to->n += from->n;
    to->sum_ns += from->sum_ns;
}

/* The value that stands for a bucket. */
static double bucket_value(const zeb_histogram *histogram, size_t bucket) {
    uint64_t low, high;
    zeb_histogram_bounds(bucket, &low, &high);
    double middle = (double)low + (double)(high - 1 - low) / 2;
    return fmin((double)histogram->max_ns, fmax((double)histogram->min_ns, middle));
}

double zeb_histogram_value(const zeb_histogram *histogram, uint64_t rank) {
    uint64_t before = 0;
    size_t last = 0;
    for (size_t i = 0; i < ZEB_HISTOGRAM_BUCKETS; i++) {
        if (histogram->count[i] == 0) continue;
        before += histogram->count[i];
        last = i;
        if (before >= rank) break;
    }
    return histogram->n == 0 ? 0 : bucket_value(histogram, last);
}

static double quantile_value(const zeb_histogram *histogram, double p) {
    double at = p * (double)(histogram->n - 1);
    uint64_t below = (uint64_t)at;
    double low = zeb_histogram_value(histogram, below + 1);
    if (below + 1 >= histogram->n) return low;
    return low + (at - (double)below) * (zeb_histogram_value(histogram, below + 2) - low);
}

static zeb_quantile describe_quantile(const zeb_histogram *histogram, double p) {
    zeb_quantile quantile = {.p = p, .value_ns = quantile_value(histogram, p)};
    int64_t low, high;
    zeb_binomial_ranks((int64_t)histogram->n, p, 0.95, &low, &high);
    quantile.has_lo = low >= 1;
    quantile.has_hi = high <= (int64_t)histogram->n;
    if (quantile.has_lo) quantile.lo_ns = zeb_histogram_value(histogram, (uint64_t)low);
    if (quantile.has_hi) quantile.hi_ns = zeb_histogram_value(histogram, (uint64_t)high);
    return quantile;
}

typedef struct distance {
    double away;
    uint64_t count;
} distance;

static int compare_distances(const void *a, const void *b) {
    double x = ((const distance *)a)->away, y = ((const distance *)b)->away;
    return (x > y) - (x < y);
}

/* MAD and outliers from the buckets' distances to the median. */
static void describe_spread(const zeb_histogram *histogram, distance *bucket, zeb_latency *latency) {
    size_t used = 0;
    double median = latency->quantile[ZEB_P50].value_ns;
    for (size_t i = 0; i < ZEB_HISTOGRAM_BUCKETS; i++)
        if (histogram->count[i] > 0)
            bucket[used++] = (distance){fabs(bucket_value(histogram, i) - median), histogram->count[i]};
    qsort(bucket, used, sizeof *bucket, compare_distances);
    uint64_t before = 0;
    size_t at = 0;
    while (at + 1 < used && before + bucket[at].count < (histogram->n + 1) / 2)
        before += bucket[at++].count;
    latency->mad_ns = bucket[at].away;
    double limit = 14.8 * fmax(latency->mad_ns, 1);
    for (size_t i = used; i-- > 0 && bucket[i].away > limit;)
        latency->outliers += bucket[i].count;
}

zeb_status zeb_histogram_describe(const zeb_histogram *histogram, zeb_latency *latency, zeb_error *error) {
    static const double p[ZEB_QUANTILES] = {0.5, 0.9, 0.95, 0.99};
    *latency = (zeb_latency){.n = histogram->n, .median_half_width = -1};
    if (histogram->n == 0) return zeb_fail(error, ZEB_ERR_ARGUMENT, "no samples to describe");
    distance *bucket = calloc(ZEB_HISTOGRAM_BUCKETS, sizeof *bucket);
    if (bucket == NULL) return zeb_fail(error, ZEB_ERR_MEMORY, "out of memory");
    latency->mean_ns = histogram->sum_ns / (double)histogram->n;
    latency->min_ns = (double)histogram->min_ns;
    latency->max_ns = (double)histogram->max_ns;
    for (int i = 0; i < ZEB_QUANTILES; i++)
        latency->quantile[i] = describe_quantile(histogram, p[i]);
    const zeb_quantile *median = &latency->quantile[ZEB_P50];
    if (median->has_lo && median->has_hi && median->value_ns > 0)
        latency->median_half_width = (median->hi_ns - median->lo_ns) / 2 / median->value_ns;
    describe_spread(histogram, bucket, latency);
    free(bucket);
    return ZEB_OK;
}
