#include <stdlib.h>
#include <string.h>

#include "store/internal.h"

static void put_u64(unsigned char *to, uint64_t value) {
    for (int i = 0; i < 8; i++)
        to[i] = (unsigned char)(value >> (8 * i));
}

static uint64_t get_u64(const unsigned char *from) {
    uint64_t value = 0;
    for (int i = 0; i < 8; i++)
        value |= (uint64_t)from[i] << (8 * i);
    return value;
}

zeb_row_bucket zeb_sample_bucket(uint64_t sample_ns) {
    int shift = 0; /* after the shift 8 bits are left, the highest set: 128 buckets an octave, width / lo <= 1/128 */
    while (sample_ns >> shift >= 256)
        shift++;
    uint64_t lo = (sample_ns >> shift) << shift;
    return (zeb_row_bucket){.lo_ns = lo, .hi_ns = lo + ((uint64_t)1 << shift), .count = 1};
}

static int compare_u64(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static zeb_status no_memory(zeb_error *error) {
    return zeb_fail(error, ZEB_ERR_MEMORY, "no memory to store the latency samples");
}

static void put_bucket(zeb_sample_blob *blob, const zeb_row_bucket *bucket) {
    put_u64(blob->data + blob->size, bucket->lo_ns);
    put_u64(blob->data + blob->size + 8, bucket->hi_ns);
    put_u64(blob->data + blob->size + 16, bucket->count);
    blob->size += 24;
    blob->count += bucket->count;
}

/* Sorted samples fall into buckets in rising order, so one pass merges them. */
static zeb_status encode_histogram(const uint64_t *sample, size_t count, zeb_sample_blob *blob, zeb_error *error) {
    enum { BUCKETS_MAX = 256 + 56 * 128 };
    uint64_t *sorted = malloc(count * sizeof *sorted);
    blob->data = malloc((size_t)BUCKETS_MAX * 24);
    if (sorted == NULL || blob->data == NULL) {
        free(sorted);
        return no_memory(error);
    }
    memcpy(sorted, sample, count * sizeof *sorted);
    qsort(sorted, count, sizeof *sorted, compare_u64);
    zeb_row_bucket open = zeb_sample_bucket(sorted[0]);
    for (size_t i = 1; i < count; i++) {
        if (sorted[i] < open.hi_ns) {
            open.count++;
            continue;
        }
        put_bucket(blob, &open);
        open = zeb_sample_bucket(sorted[i]);
    }
    put_bucket(blob, &open);
    free(sorted);
    blob->encoding = "histogram";
    return ZEB_OK;
}

static zeb_status encode_samples(const uint64_t *sample, size_t count, zeb_sample_blob *blob, zeb_error *error) {
    blob->data = malloc(count * 8);
    if (blob->data == NULL) return no_memory(error);
    for (size_t i = 0; i < count; i++)
        put_u64(blob->data + 8 * i, sample[i]);
    *blob = (zeb_sample_blob){.encoding = "u64le", .data = blob->data, .size = 8 * count, .count = count};
    return ZEB_OK;
}

static zeb_status encode_buckets(const zeb_row_bucket *bucket, size_t count, zeb_sample_blob *blob, zeb_error *error) {
    blob->data = malloc(count * 24);
    if (blob->data == NULL) return no_memory(error);
    for (size_t i = 0; i < count; i++)
        put_bucket(blob, &bucket[i]);
    blob->encoding = "histogram";
    return ZEB_OK;
}

zeb_status zeb_sample_encode(const zeb_row *row, zeb_sample_blob *blob, zeb_error *error) {
    *blob = (zeb_sample_blob){.encoding = NULL};
    zeb_status status = ZEB_OK;
    if (row->sample_count > ZEB_SAMPLE_MAX) {
        status = encode_histogram(row->sample_ns, row->sample_count, blob, error);
    } else if (row->sample_count > 0) {
        status = encode_samples(row->sample_ns, row->sample_count, blob, error);
    } else if (row->bucket_count > 0) {
        status = encode_buckets(row->bucket, row->bucket_count, blob, error);
    }
    if (status != ZEB_OK) {
        free(blob->data);
        *blob = (zeb_sample_blob){.encoding = NULL};
    }
    return status;
}

zeb_status zeb_sample_decode(const char *encoding, const unsigned char *data, size_t size, zeb_arena *arena,
                             zeb_row *row, zeb_error *error) {
    void *memory = NULL;
    if (strcmp(encoding, "u64le") == 0) {
        zeb_status status = zeb_arena_alloc(arena, size / 8, sizeof(uint64_t), &memory, error);
        if (status != ZEB_OK) return status;
        uint64_t *sample = memory;
        for (size_t i = 0; i < size / 8; i++)
            sample[i] = get_u64(data + 8 * i);
        row->sample_ns = sample;
        row->sample_count = size / 8;
        return ZEB_OK;
    }
    zeb_status status = zeb_arena_alloc(arena, size / 24, sizeof(zeb_row_bucket), &memory, error);
    if (status != ZEB_OK) return status;
    zeb_row_bucket *bucket = memory;
    for (size_t i = 0; i < size / 24; i++) {
        const unsigned char *at = data + 24 * i;
        bucket[i] = (zeb_row_bucket){.lo_ns = get_u64(at), .hi_ns = get_u64(at + 8), .count = get_u64(at + 16)};
    }
    row->bucket = bucket;
    row->bucket_count = size / 24;
    return ZEB_OK;
}
