/* store/curve.h - the distribution of a row's latency as a curve to plot. Private to the room. */
#ifndef ZEB_STORE_CURVE_H
#define ZEB_STORE_CURVE_H

#include <jansson.h>

#include "store/row.h"

enum { ZEB_CURVE_POINTS = 201 };

/* The quantiles 0, 0.5 %, ..., 100 % of the row's samples or histogram as an array of ns; null without samples. A
 * histogram's quantile is the middle of its bucket. NULL: no memory. */
json_t *zeb_curve_json(const zeb_row *row);

#endif
