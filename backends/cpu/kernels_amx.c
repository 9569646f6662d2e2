/* kernels_amx.c - the inner loops in AVX-512 with VNNI, and blocks of many rows in AMX. */
#include <stdint.h>

#define KERNELS_TABLE cpu_kernels_amx
#define KERNELS_ISA "amx"
#define KERNELS_TILE_ROWS 12
#define KERNELS_VNNI 1
#define KERNELS_HALVES 1
#define KERNELS_AMX 1
#include "simd_avx512.h"

#include "kernels_body.h"
