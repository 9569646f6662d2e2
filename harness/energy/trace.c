#include "energy/trace.h"

#include <stdlib.h>
#include <string.h>

void zeb_trace_init(zeb_trace *trace, uint32_t channels) {
    *trace = (zeb_trace){.channels = channels};
}

void zeb_trace_clear(zeb_trace *trace) {
    for (size_t i = 0; i < trace->blocks; i++) {
        free(trace->block[i]);
    }
    free(trace->block);
    *trace = (zeb_trace){.channels = trace->channels};
}

static zeb_status grow(zeb_trace *trace, zeb_error *error) {
    if (trace->blocks == trace->block_capacity) {
        size_t capacity = trace->block_capacity == 0 ? 16 : 2 * trace->block_capacity;
        /* An array of pointers. NOLINTNEXTLINE(bugprone-sizeof-expression) */
        zeb_trace_block **block = realloc(trace->block, capacity * sizeof *block);
        if (block == NULL) return zeb_fail(error, ZEB_ERR_MEMORY, "out of memory for %zu sensor samples", trace->sets);
        trace->block = block;
        trace->block_capacity = capacity;
    }
    size_t readings = (size_t)ZEB_TRACE_BLOCK_SETS * trace->channels;
    zeb_trace_block *added = malloc(sizeof *added + readings * sizeof added->reading[0]);
    if (added == NULL) return zeb_fail(error, ZEB_ERR_MEMORY, "out of memory for %zu sensor samples", trace->sets);
    trace->block[trace->blocks++] = added;
    return ZEB_OK;
}

zeb_status zeb_trace_next(zeb_trace *trace, zeb_reading **reading, zeb_error *error) {
    size_t block = trace->sets / ZEB_TRACE_BLOCK_SETS;
    if (block == trace->blocks) {
        zeb_status status = grow(trace, error);
        if (status != ZEB_OK) return status;
    }
    *reading = &trace->block[block]->reading[(trace->sets % ZEB_TRACE_BLOCK_SETS) * trace->channels];
    memset(*reading, 0, trace->channels * sizeof **reading);
    return ZEB_OK;
}

uint64_t zeb_trace_commit(zeb_trace *trace, uint64_t time_ns) {
    if (trace->sets > 0) {
        uint64_t last = zeb_trace_time(trace, trace->sets - 1);
        if (time_ns < last) time_ns = last;
    }
    trace->block[trace->sets / ZEB_TRACE_BLOCK_SETS]->time_ns[trace->sets % ZEB_TRACE_BLOCK_SETS] = time_ns;
    trace->sets++;
    return time_ns;
}

uint64_t zeb_trace_time(const zeb_trace *trace, size_t set) {
    return trace->block[set / ZEB_TRACE_BLOCK_SETS]->time_ns[set % ZEB_TRACE_BLOCK_SETS];
}

const zeb_reading *zeb_trace_reading(const zeb_trace *trace, size_t set, uint32_t channel) {
    const zeb_trace_block *block = trace->block[set / ZEB_TRACE_BLOCK_SETS];
    return &block->reading[(set % ZEB_TRACE_BLOCK_SETS) * trace->channels + channel];
}

size_t zeb_trace_find(const zeb_trace *trace, uint64_t time_ns) {
    size_t low = 0, high = trace->sets;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (zeb_trace_time(trace, middle) < time_ns) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}
