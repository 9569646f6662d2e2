/* kernels_dotprod.c - the inner loops in aarch64 Advanced SIMD with the dot product instructions. */
#include <stdint.h>

#define KERNELS_TABLE cpu_kernels_dotprod
#define KERNELS_ISA "dotprod"
#define KERNELS_TILE_ROWS 6
#define KERNELS_DOTPROD 1
#include "simd_neon.h"

#include "kernels_body.h"
