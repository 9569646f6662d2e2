/* kernels_body.h - the inner loops, written once over the vectors of a simd_<isa>.h and compiled once an instruction
 * set. The including file defines KERNELS_TABLE (the name of its cpu_kernels), KERNELS_ISA and
 * KERNELS_TILE_ROWS (TILE_ROWS for the preprocessor). */
#ifndef ZEB_CPU_KERNELS_BODY_H
#define ZEB_CPU_KERNELS_BODY_H

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "kernels.h"
#include "zeb/number.h"

/* Tiles live in registers only when their loops are unrolled. Under a sanitizer they would make compiling take minutes.
 */
#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define UNROLL
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define UNROLL
#endif
#if defined(UNROLL)
#elif defined(__clang__)
#define UNROLL _Pragma("unroll")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif
#define INLINE static inline __attribute__((always_inline))

/* Loops over whole vectors, then one partial; `at` and `live` name the place and the lanes. Partial loads give 0. */
#define FOR_VECTORS(n) for (int at = 0, live = VW; at < (n) && (live = (n)-at < VW ? (n)-at : VW) > 0; at += VW)

enum { TILE_COLUMNS = VW * TILE_VECTORS };
/* Loops over rows are cut into phases of a few rows: a row alone is a chain of dependent steps (sum, then variance,
 * then scale), and the processor overlaps rows only when their steps stand side by side. */
enum { PHASE_ROWS = 16 };

#include "kernels_function.h"
#include "kernels_pack.h"
#include "kernels_rows.h"
#include "kernels_tile.h"
#include "kernels_tile_i8.h"
#ifdef KERNELS_HALVES
#include "kernels_half.h"
#endif
#ifdef KERNELS_AMX
#include "kernels_amx.h"
#include "kernels_amx_attention.h"
#endif

const cpu_kernels KERNELS_TABLE = {
    .isa = KERNELS_ISA,
    .tile_rows = TILE_ROWS,
    .tile_columns = TILE_COLUMNS,
    .tile = {NULL, tile_1, tile_2,
#if KERNELS_TILE_ROWS >= 6
             tile_3, tile_4, tile_5, tile_6,
#endif
#if KERNELS_TILE_ROWS >= 12
             tile_7, tile_8, tile_9, tile_10, tile_11, tile_12
#endif
    },
    .tile_i8 = {NULL, i8_1, i8_2,
#if KERNELS_TILE_ROWS >= 6
                i8_3, i8_4, i8_5, i8_6,
#endif
#if KERNELS_TILE_ROWS >= 12
                i8_7, i8_8, i8_9, i8_10, i8_11, i8_12
#endif
    },
    .tile_open = {NULL, open_1, open_2,
#if KERNELS_TILE_ROWS >= 6
                  open_3, open_4, open_5, open_6,
#endif
#if KERNELS_TILE_ROWS >= 12
                  open_7, open_8, open_9, open_10, open_11, open_12
#endif
    },
    .tile_groups = {NULL, groups_1, groups_2,
#if KERNELS_TILE_ROWS >= 6
                    groups_3,
#endif
#if KERNELS_TILE_ROWS >= 12
                    groups_4, groups_5, groups_6
#endif
    },
#ifdef VI_FOUR
    .tile_four = {NULL, four_1, four_2,
#if KERNELS_TILE_ROWS >= 6
                  four_3,
#endif
#if KERNELS_TILE_ROWS >= 12
                  four_4, four_5, four_6
#endif
    },
#endif
    .unpack_four = unpack_four,
    .groups_rows = TILE_ROWS <= 2 ? TILE_ROWS : TILE_ROWS / 2,
    .i8_step = I8_STEP,
    .i8_bytes = I8_BYTES,
    .i8_offset = I8_OFFSET,
    .quantise = quantise,
    .round_bf16 = round_bf16,
    .activate = activate,
    .norm = norm,
    .softmax = softmax,
    .add_rows = add_rows,
    .scale_keep = scale_keep,
    .axpy = axpy,
    .multiply = multiply,
    .maximum = maximum,
    .pack_columns = pack_columns,
    .pack_codes = pack_codes,
#if KERNELS_UNSIGNED
    .pack_values = pack_values,
    .split = split,
#endif
#ifdef KERNELS_HALVES
    .half_step = I8_STEP / 2,
    .narrow = narrow,
#ifndef KERNELS_AMX
    .slab_bf16 = slab_half,
#endif
#endif
#ifdef KERNELS_AMX
    .slab_i8 = slab_i8,
    .slab_four = slab_four,
    .slab_bf16 = slab_bf16,
    .half = &half_kernels,
    .slab_least = 6,
#endif
    .widen = widen,
    .widen_codes = widen_codes,
};

#endif
