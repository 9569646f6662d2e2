/* kernels_scalar.c - the inner loops in plain C. */
#include <stdint.h>

#define KERNELS_TABLE cpu_kernels_scalar
#define KERNELS_ISA "scalar"
#define KERNELS_TILE_ROWS 2
#include "simd_scalar.h"

#include "kernels_body.h"
