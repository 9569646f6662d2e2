/* store/curve.h - the distribution of a row's latency as a curve to plot. Private to the room. */
#ifndef ZEB_STORE_CURVE_H
#define ZEB_STORE_CURVE_H

#include "store/row.h"
#include "zeb/status.h"

enum { ZEB_CURVE_POINTS = 201 };

typedef struct zeb_curve {
    bool known; /* false: there were no samples */
    uint64_t ns[ZEB_CURVE_POINTS];
} zeb_curve;

/* The quantiles 0, 0.5 %, ..., 100 % of the row's samples or histogram. A histogram's quantile is the middle of its
 * bucket. */
ZEB_MUST_CHECK zeb_status zeb_curve_make(const zeb_row *row, zeb_curve *curve, zeb_error *error);

#endif
