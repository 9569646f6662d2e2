/* pack.h - weights laid out once for the register tiles. */
#ifndef ZEB_CPU_PACK_H
#define ZEB_CPU_PACK_H

#include "plan.h"

/* Panels of tile_columns output channels: ceil(n / tile_columns). */
int cpu_panels(const cpu_kernels *kernels, int64_t n);

/* A weight [n, k] (F32, F16 or BF16) as F32 panels [panel][k][tile_columns], channels past n zero. */
void cpu_pack_f32(const cpu_kernels *kernels, const cpu_tensor *weight, float *packed);

/* The same, every weight rounded to bfloat16. */
void cpu_pack_bf16(const cpu_kernels *kernels, const cpu_tensor *weight, float *packed);

/* The same for slabs: [panel][ceil(k / 32) * 32 / half_step][tile_columns][half_step]. row[k] is scratch, here and
 * below. */
void cpu_pack_halves(const cpu_kernels *kernels, const cpu_tensor *weight, float *row, uint16_t *packed);

/* A weight in four bits (U4 with its F16 scales, or floats quantised in groups of 32), multiplied out to F32 panels.
 * number[k] is scratch, too, here and below. */
void cpu_pack_w4a16(const cpu_kernels *kernels, const cpu_tensor *weight, const cpu_tensor *scale, float *row,
                    int8_t *number, float *packed);

/* Integer panels as cpu_tile_i8 wants them. */
typedef struct cpu_codes {
    int8_t *w;      /* [panels][groups * steps][tile_columns][i8_step], zeros before they are filled; four bits: in half
                       the bytes, as kernels->unpack_four says */
    int32_t *start; /* [panels][groups][tile_columns] */
    float *scale;   /* [panels][groups][tile_columns] */
    int groups, steps;
} cpu_codes;

/* Groups and steps of a weight: one group for eight bits. */
void cpu_codes_shape(const cpu_kernels *kernels, const cpu_tensor *weight, bool four, cpu_codes *codes);

/* Fills panels from the first on. */
void cpu_pack_codes(const cpu_kernels *kernels, const cpu_tensor *weight, const cpu_tensor *scale, bool four,
                    const cpu_codes *codes, float *row, int8_t *number);

#endif
