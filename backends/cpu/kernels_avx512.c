/* kernels_avx512.c - the inner loops in AVX-512 (F, BW, DQ, VL). */
#include <stdint.h>

#define KERNELS_TABLE cpu_kernels_avx512
#define KERNELS_ISA "avx512"
#define KERNELS_TILE_ROWS 12
#include "simd_avx512.h"

#include "kernels_body.h"
