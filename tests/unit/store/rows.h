/* Rows to test with: plausible, fixed, one of every kind. */
#ifndef ZEB_TEST_STORE_ROWS_H
#define ZEB_TEST_STORE_ROWS_H

#include "store/store.h"

/* A row in which every field is known; all its pointers are in the arena. Samples are drawn from `seed`. */
zeb_row test_row_full(zeb_arena *arena, uint64_t seed);

/* A row of which only the required is known, with that outcome; ok rows have one sample. */
zeb_row test_row_bare(zeb_outcome outcome);

/* A run as of a real invocation. */
zeb_run_info test_run_info(void);

/* A set of rows such as `zeb run` over several models and devices gives, for reports: measured and estimated energy,
 * every verdict. *row is in the arena. */
void test_rows_demo(zeb_arena *arena, zeb_row **row, size_t *count);

#endif
