/* kernels_i8mmbf16.c - the inner loops in aarch64 Advanced SIMD with the products of eight-bit and bfloat16 matrices.
 */
#include <stdint.h>

#define KERNELS_TABLE cpu_kernels_i8mmbf16
#define KERNELS_ISA "i8mmbf16"
#define KERNELS_TILE_ROWS 6
#define KERNELS_I8MM 1
#define KERNELS_HALVES 1
#include "simd_neon.h"

#include "kernels_body.h"
