/* kernels_i8mm.c - the inner loops in aarch64 Advanced SIMD with the products of eight-bit matrices. */
#include <stdint.h>

#define KERNELS_TABLE cpu_kernels_i8mm
#define KERNELS_ISA "i8mm"
#define KERNELS_TILE_ROWS 6
#define KERNELS_I8MM 1
#include "simd_neon.h"

#include "kernels_body.h"
