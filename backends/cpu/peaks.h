/* peaks.h - what the processor can do at most, measured: for zeb roofline. */
#ifndef ZEB_CPU_PEAKS_H
#define ZEB_CPU_PEAKS_H

#include "plan.h"

/* The call `peaks` of zeb_backend. Operations: loops of 24 independent accumulators (12 where there are 16 registers),
 * enough to hide a latency of 6 cycles at 4 a cycle. Bytes: loops that load a working set over and over, half as large
 * as the level (DRAM: several times the last one). */
ZEB_MUST_CHECK zeb_status cpu_peaks(zeb_device *device, zeb_peak *peak, uint32_t capacity, uint32_t *count,
                                    zeb_error *error);

#endif
