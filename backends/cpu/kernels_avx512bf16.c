/* kernels_avx512bf16.c - the inner loops in AVX-512 with VNNI and dot products of bfloat16. */
#include <stdint.h>

#define KERNELS_TABLE cpu_kernels_avx512bf16
#define KERNELS_ISA "avx512bf16"
#define KERNELS_TILE_ROWS 12
#define KERNELS_VNNI 1
#define KERNELS_HALVES 1
#include "simd_avx512.h"

#include "kernels_body.h"
