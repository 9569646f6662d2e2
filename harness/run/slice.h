/* run/slice.h - the calibration slice: the rows of a train split that thresholds may be fitted on.
 *
 * A row belongs to it when the first four bytes of SHA-256("zeb-calib-1" NUL text), read as a big-endian number, are
 * below floor(share * 2^32). text is the row's first text, a tab and its second ("" without one); rows that share a
 * group (the answers to a question) are hashed by their first text alone, so that a group stays whole, and equal rows
 * fall on one side. scripts/train holds the same rows out of training (zeb_train/batches.py, `holdout`). */
#ifndef ZEB_RUN_SLICE_H
#define ZEB_RUN_SLICE_H

#include "run/session.h"

/* Is the example in the slice? 0 < share <= 1. */
ZEB_MUST_CHECK zeb_status zeb_slice_has(const zeb_example *example, double share, bool *has, zeb_error *error);

/* ZEB_ERR_ARGUMENT for a split that models are scored on (only "train" and names that begin with it may be seen), or a
 * share out of range. */
ZEB_MUST_CHECK zeb_status zeb_slice_check(const char *split, double share, zeb_error *error);

typedef struct zeb_slice {
    double share;       /* of train that is the slice */
    int32_t min_tokens; /* shorter examples are left out */
    bool plan_later;    /* the session is only prepared (zeb_session_prepare) */
} zeb_slice;

/* Opens a session over the slice of what->split: at most what->limit of its examples (0: all), spread evenly;
 * what->limit is 0 afterwards. ZEB_ERR_RANGE if fewer than 8 are there, ZEB_ERR_ARGUMENT if train is the dev file under
 * another name, ZEB_ERR_UNSUPPORTED on a device that computes nothing; else as zeb_session_open. The session is the
 * caller's to close in any case. */
ZEB_MUST_CHECK zeb_status zeb_slice_open(zeb_case *what, const zeb_slice *slice, const zeb_registry *registry,
                                         zeb_arena *arena, zeb_session *session, zeb_row *row, zeb_error *error);

#endif
