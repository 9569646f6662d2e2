/* energy/trace.h - what a sensor said, in order: sets of readings, one a channel, on one clock.
 *
 * Private to the room. A trace grows by blocks that never move, so that a set once written stays where it is; it takes
 * no lock of its own (the sampler holds one). */
#ifndef ZEB_ENERGY_TRACE_H
#define ZEB_ENERGY_TRACE_H

#include "zeb/plugin.h"

enum { ZEB_TRACE_BLOCK_SETS = 512 };

typedef struct zeb_trace_block {
    uint64_t time_ns[ZEB_TRACE_BLOCK_SETS]; /* of the set: when its last reading was taken */
    zeb_reading reading[];                  /* [ZEB_TRACE_BLOCK_SETS][channels] */
} zeb_trace_block;

typedef struct zeb_trace {
    uint32_t channels;
    size_t sets;
    size_t blocks, block_capacity;
    zeb_trace_block **block;
} zeb_trace;

/* channels >= 1. A zeroed trace may be cleared. */
void zeb_trace_init(zeb_trace *trace, uint32_t channels);
void zeb_trace_clear(zeb_trace *trace);

/* The place of the next set, to be filled and then taken in by zeb_trace_commit. ZEB_ERR_MEMORY. */
ZEB_MUST_CHECK zeb_status zeb_trace_next(zeb_trace *trace, zeb_reading **reading, zeb_error *error);
/* The set's time is `time_ns`; times may not go backwards (a smaller one is stored as the last). */
uint64_t zeb_trace_commit(zeb_trace *trace, uint64_t time_ns);

uint64_t zeb_trace_time(const zeb_trace *trace, size_t set);
const zeb_reading *zeb_trace_reading(const zeb_trace *trace, size_t set, uint32_t channel);

/* First set with a time >= time_ns, or trace->sets. */
size_t zeb_trace_find(const zeb_trace *trace, uint64_t time_ns);

#endif
