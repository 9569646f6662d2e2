/* kernels_avx512vnni.c - the inner loops in AVX-512 with VNNI. */
#include <stdint.h>

#define KERNELS_TABLE cpu_kernels_avx512vnni
#define KERNELS_ISA "avx512vnni"
#define KERNELS_TILE_ROWS 12
#define KERNELS_VNNI 1
#include "simd_avx512.h"

#include "kernels_body.h"
