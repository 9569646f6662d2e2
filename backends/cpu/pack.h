/* pack.h - weights laid out once for the register tiles. */
#ifndef ZEB_CPU_PACK_H
#define ZEB_CPU_PACK_H

#include "plan.h"

/* Panels of tile_columns output channels: ceil(n / tile_columns). */
int cpu_panels(const cpu_kernels *kernels, int64_t n);

/* A weight [n, k] (F32, F16 or BF16) as F32 panels [panel][k][tile_columns], channels past n zero. */
void cpu_pack_f32(const cpu_kernels *kernels, const cpu_tensor *weight, float *packed);

#endif
