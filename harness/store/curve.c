#include "store/curve.h"

#include <stdlib.h>
#include <string.h>

static int compare_u64(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* The sample of rank k (from 0) of the quantile i / (points - 1). */
static uint64_t rank_of(int i, uint64_t count) {
    double rank = (double)i / (ZEB_CURVE_POINTS - 1) * (double)(count - 1);
    return (uint64_t)llround(rank);
}

static zeb_status curve_of_samples(const zeb_row *row, zeb_curve *curve, zeb_error *error) {
    uint64_t *sorted = malloc(row->sample_count * sizeof *sorted);
    if (sorted == NULL) return zeb_fail(error, ZEB_ERR_MEMORY, "no memory to sort %zu samples", row->sample_count);
    memcpy(sorted, row->sample_ns, row->sample_count * sizeof *sorted);
    qsort(sorted, row->sample_count, sizeof *sorted, compare_u64);
    for (int i = 0; i < ZEB_CURVE_POINTS; i++)
        curve->ns[i] = sorted[rank_of(i, row->sample_count)];
    free(sorted);
    curve->known = true;
    return ZEB_OK;
}

static void curve_of_buckets(const zeb_row *row, zeb_curve *curve) {
    uint64_t count = 0, seen = 0;
    for (size_t b = 0; b < row->bucket_count; b++)
        count += row->bucket[b].count;
    if (count == 0) return;
    size_t b = 0;
    for (int i = 0; i < ZEB_CURVE_POINTS; i++) {
        uint64_t rank = rank_of(i, count);
        while (b + 1 < row->bucket_count && seen + row->bucket[b].count <= rank)
            seen += row->bucket[b++].count;
        curve->ns[i] = row->bucket[b].lo_ns + (row->bucket[b].hi_ns - row->bucket[b].lo_ns) / 2;
    }
    curve->known = true;
}

zeb_status zeb_curve_make(const zeb_row *row, zeb_curve *curve, zeb_error *error) {
    curve->known = false;
    if (row->sample_count > 0) return curve_of_samples(row, curve, error);
    curve_of_buckets(row, curve);
    return ZEB_OK;
}
