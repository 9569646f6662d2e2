/* kernels_avx2vnni.c - the inner loops in AVX2 with AVX-VNNI. */
#include <stdint.h>

#define KERNELS_TABLE cpu_kernels_avx2vnni
#define KERNELS_ISA "avx2vnni"
#define KERNELS_TILE_ROWS 6
#define KERNELS_VNNI 1
#include "simd_avx2.h"

#include "kernels_body.h"
