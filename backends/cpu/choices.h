/* choices.h - what can be done in one way or another, each of which gives the same results: only a device's own times
 * tell which is faster. The harness keeps them and says which to take (zeb_backend.choices, .choose); unasked, what is
 * built in holds.
 *
 * Bits: sums in eight and four bits are exact in each group and added up in one order, whatever is chosen. In F32 and
 * bfloat16, tiles of few rows sum up in another order, so `worker-rows` may change the last bits there. */
#ifndef ZEB_CPU_CHOICES_H
#define ZEB_CPU_CHOICES_H

#include "kernels.h"
#include "zeb/plugin.h"

typedef struct cpu_choices {
    uint32_t slab_rows;   /* in eight bits: rows from which slabs are taken, not tiles; 0 where there are none */
    uint32_t tile_split;  /* rows in eight bits to tiles: 1, all of about one height; 2, of the greatest and a rest */
    uint32_t four_tiles;  /* up to so many tiles unpack four bits each in registers, where a panel is large */
    uint32_t worker_rows; /* with fewer rows a worker, linear layers are divided by columns */
    uint32_t block_rows;  /* rows that go through a chain together */
    uint32_t all_percent; /* of the rows survive: contexts are made of all (ops_attention.c) */
} cpu_choices;

/* The most that worker_rows and block_rows can be. */
enum { CPU_WORKER_ROWS_MAX = 24, CPU_BLOCK_ROWS_MAX = 288 };

cpu_choices cpu_choices_of(const cpu_kernels *kernels);

/* zeb_backend.choices and .choose */
ZEB_MUST_CHECK zeb_status cpu_choices_list(zeb_device *device, bool measure, zeb_choice *choice, uint32_t capacity,
                                           uint32_t *count, zeb_error *error);
ZEB_MUST_CHECK zeb_status cpu_choose(zeb_device *device, const char *name, uint32_t value, zeb_error *error);

#endif
