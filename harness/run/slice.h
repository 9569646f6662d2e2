/* run/slice.h - the calibration slice: the rows of a train split that thresholds may be fitted on.
 *
 * A row belongs to it when the first four bytes of SHA-256("zeb-calib-1" NUL text), read as a big-endian number, are
 * below floor(share * 2^32). text is the row's first text, a tab and its second ("" without one); rows that share a
 * group (the answers to a question) are hashed by their first text alone, so that a group stays whole, and equal rows
 * fall on one side. scripts/train holds the same rows out of training (zeb_train/batches.py, `holdout`). */
#ifndef ZEB_RUN_SLICE_H
#define ZEB_RUN_SLICE_H

#include "suites/task.h"

/* Is the example in the slice? 0 < share <= 1. */
ZEB_MUST_CHECK zeb_status zeb_slice_has(const zeb_example *example, double share, bool *has, zeb_error *error);

/* ZEB_ERR_ARGUMENT for a split that models are scored on: only "train" and names that begin with it may be seen. */
ZEB_MUST_CHECK zeb_status zeb_slice_check(const char *split, zeb_error *error);

#endif
