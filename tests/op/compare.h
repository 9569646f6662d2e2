/* op/compare.h - when a result counts as the same: one table of tolerances. */
#ifndef ZEB_OP_COMPARE_H
#define ZEB_OP_COMPARE_H

#include <stdbool.h>

#include "fixture.h"

/* |got - want| <= absolute * max(1, greatest |want| of the row) + relative * |want|. I32 outputs must be equal. */
typedef struct op_tolerance {
    double absolute, relative;
} op_tolerance;

/* For output `position` of an op in a precision; op 0 is a chain of ops. */
op_tolerance op_tolerance_of(int op, uint32_t position, uint32_t precision);

/* Compares the first `rows` rows. *worst rises to the greatest error in units of its tolerance. On a difference *where
 * is filled with the first one and false comes back. */
enum { OP_WHERE_MAX = 256 };
bool op_compare(const zeb_tensor *tensor, op_tolerance tolerance, int64_t rows, const void *want, const void *got,
                double *worst, char where[OP_WHERE_MAX]);

#endif
