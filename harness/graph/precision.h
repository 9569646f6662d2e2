/* graph/precision.h - the names that options, files and rows have for the precisions of zeb/graph.h. */
#ifndef ZEB_GRAPH_PRECISION_H
#define ZEB_GRAPH_PRECISION_H

#include <stdint.h>

/* "fp32", "bf16", "w8a8", ... in the order of zeb_precision, ended by NULL. */
extern const char *const zeb_precision_names[];
const char *zeb_precision_name(uint32_t precision); /* "?" for a number that is none */

#endif
