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

static json_t *curve_of_samples(const zeb_row *row) {
    uint64_t *sorted = malloc(row->sample_count * sizeof *sorted);
    if (sorted == NULL) return NULL;
    memcpy(sorted, row->sample_ns, row->sample_count * sizeof *sorted);
    qsort(sorted, row->sample_count, sizeof *sorted, compare_u64);
    json_t *array = json_array();
    for (int i = 0; i < ZEB_CURVE_POINTS; i++) {
        (void)json_array_append_new(array, json_integer((json_int_t)sorted[rank_of(i, row->sample_count)]));
    }
    free(sorted);
    return array;
}

static json_t *curve_of_buckets(const zeb_row *row) {
    uint64_t count = 0, seen = 0;
    for (size_t b = 0; b < row->bucket_count; b++)
        count += row->bucket[b].count;
    if (count == 0) return json_null();
    json_t *array = json_array();
    size_t b = 0;
    for (int i = 0; i < ZEB_CURVE_POINTS; i++) {
        uint64_t rank = rank_of(i, count);
        while (b + 1 < row->bucket_count && seen + row->bucket[b].count <= rank)
            seen += row->bucket[b++].count;
        uint64_t middle = row->bucket[b].lo_ns + (row->bucket[b].hi_ns - row->bucket[b].lo_ns) / 2;
        (void)json_array_append_new(array, json_integer((json_int_t)middle));
    }
    return array;
}

json_t *zeb_curve_json(const zeb_row *row) {
    if (row->sample_count > 0) return curve_of_samples(row);
    return row->bucket_count > 0 ? curve_of_buckets(row) : json_null();
}
