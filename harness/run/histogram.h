/* run/histogram.h - latencies past the number that is kept one by one: a log-linear histogram of fixed size. Every
 * power of two is cut into 128 equal buckets, so that a bucket is at most 1/128 of its values wide (values under 256
 * are exact); the value given for a bucket is its middle, at most 1/256 away. The scheme is HdrHistogram's. */
#ifndef ZEB_RUN_HISTOGRAM_H
#define ZEB_RUN_HISTOGRAM_H

#include "run/stats.h"

enum { ZEB_HISTOGRAM_BUCKETS = 128 * 58 }; /* all of uint64_t */

/* Zeroed is empty. 59 KiB: not for the stack of a small thread. */
typedef struct zeb_histogram {
    uint64_t count[ZEB_HISTOGRAM_BUCKETS];
    uint64_t n, min_ns, max_ns; /* min and max are exact; 0 while n is 0 */
    double sum_ns;
} zeb_histogram;

void zeb_histogram_add(zeb_histogram *histogram, uint64_t value_ns);
void zeb_histogram_merge(zeb_histogram *to, const zeb_histogram *from);

/* The bucket of a value, and the bounds of a bucket: low included, high excluded (the last bucket's high is
 * UINT64_MAX). */
size_t zeb_histogram_bucket(uint64_t value_ns);
void zeb_histogram_bounds(size_t bucket, uint64_t *low_ns, uint64_t *high_ns);

/* The rank-th smallest value, rank from 1 to n, to within 1/128 of it and never outside min and max. 0 when n is 0. */
double zeb_histogram_value(const zeb_histogram *histogram, uint64_t rank);

/* As zeb_stats_describe, each time to within 1/128 (mean, min and max exactly; the MAD to within 1/128 of the median).
 * Fails on an empty one. */
ZEB_MUST_CHECK zeb_status zeb_histogram_describe(const zeb_histogram *histogram, zeb_latency *latency,
                                                 zeb_error *error);

#endif
