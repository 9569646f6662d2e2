/* run/stats.h - what a set of latencies says: quantiles with intervals that assume no distribution, spread, outliers,
 * and when to stop sampling. Times are nanoseconds on one monotonic clock. Pure functions; threads may share them. */
#ifndef ZEB_RUN_STATS_H
#define ZEB_RUN_STATS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "zeb/status.h"

/* One quantile and its 95 % interval between two samples (order statistics, exact binomial, equal tails). A tail needs
 * samples: p99 has an upper bound from 368 on. */
typedef struct zeb_quantile {
    double p;        /* 0.5, 0.9, ... */
    double value_ns; /* linear between neighbours, as NumPy and SciPy by default */
    bool has_lo, has_hi;
    double lo_ns, hi_ns; /* only where has_lo, has_hi */
} zeb_quantile;

enum { ZEB_P50, ZEB_P90, ZEB_P95, ZEB_P99, ZEB_QUANTILES };

typedef struct zeb_latency {
    uint64_t n;
    double mean_ns, min_ns, max_ns;
    double mad_ns; /* median of |x - median|, unscaled */
    zeb_quantile quantile[ZEB_QUANTILES];
    uint64_t outliers;        /* |x - median| > 14.8 MAD (10 standard deviations of a normal), MAD at least 1 ns */
    double median_half_width; /* half the interval of p50 over p50; < 0: too few samples to say (under 6) */
} zeb_latency;

/* Describes sample_ns[n], n > 0, in any order; the array is not changed. Works in n extra words of memory. */
ZEB_MUST_CHECK zeb_status zeb_stats_describe(const uint64_t *sample_ns, size_t n, zeb_latency *latency,
                                             zeb_error *error);

/* The stopping rule: *relative is half the 95 % interval of the median over the median, < 0 where n is too small to
 * say. O(n), by selection in n words of scratch memory that it allocates and frees. */
ZEB_MUST_CHECK zeb_status zeb_stats_half_width(const uint64_t *sample_ns, size_t n, double *relative, zeb_error *error);

/* The same over a growing array, cheap to ask after every sample: it looks only when n has grown by a tenth since it
 * last did, so that n samples cost O(n) in all; scratch[n] is the caller's and nothing is allocated. */
typedef struct zeb_stopping {
    double target;  /* relative half-width to get under, 0.01 */
    size_t minimum; /* samples before the first look */
    size_t next;    /* n of the next look */
    double reached; /* half-width at the last look, < 0 before one */
} zeb_stopping;

void zeb_stopping_start(zeb_stopping *stopping, double target, size_t minimum);
bool zeb_stopping_reached(zeb_stopping *stopping, const uint64_t *sample_ns, size_t n, uint64_t *scratch);

/* MLPerf inference's early stopping: the smallest number of queries of which `over` may exceed the bound while the p
 * quantile is still under it with the given confidence, that is the smallest n with P(Binomial(n, 1 - p) <= over) <=
 * 1 - confidence. over = 1 and 99 % give 64 for p90 and 662 for p99. 0 where p or confidence is not inside (0, 1). */
uint64_t zeb_stats_queries_min(double p, double confidence, uint64_t over);

/* The k-th smallest (from 0, k < n) of value[n]; reorders value so that all before place k are <= it, all after >= it.
 */
uint64_t zeb_select_u64(uint64_t *value, size_t n, size_t k);

/* Sorts ascending. */
void zeb_sort_u64(uint64_t *value, size_t n);

#endif
