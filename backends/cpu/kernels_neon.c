/* kernels_neon.c - the inner loops in aarch64 Advanced SIMD. */
#include <stdint.h>

#define KERNELS_TABLE cpu_kernels_neon
#define KERNELS_ISA "neon"
#define KERNELS_TILE_ROWS 6
#include "simd_neon.h"

#include "kernels_body.h"
