/* kernels_avx2.c - the inner loops in AVX2 with FMA and F16C. */
#include <stdint.h>

#define KERNELS_TABLE cpu_kernels_avx2
#define KERNELS_ISA "avx2"
#define KERNELS_TILE_ROWS 6
#include "simd_avx2.h"

#include "kernels_body.h"
