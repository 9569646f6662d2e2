#include "graph/precision.h"

#include "zeb/graph.h"

const char *const zeb_precision_names[] = {"fp32", "bf16", "w8a8", "w4a8", "w4a16", NULL};

const char *zeb_precision_name(uint32_t precision) {
    return precision <= ZEB_PRECISION_W4A16 ? zeb_precision_names[precision] : "?";
}
