/* pack.h - weights as the kernels want them: binary32, as rows or with the inner extent first. */
#ifndef OCL_PACK_H
#define OCL_PACK_H

#include "zeb/graph.h"

enum { OCL_LINEAR_COLUMNS = 8, OCL_LINEAR_ROWS = 4 }; /* a work-item's tile in kernels/linear.cl */

/* Elements of a tensor at its maximum extents. */
size_t ocl_elements(const zeb_tensor *tensor);

/* Columns of a packed matrix of n columns: the next multiple of a tile's width. */
size_t ocl_packed_stride(int64_t n);

/* to[elements]: the weight as binary32; scale: the scales of one of I8 or U4, else NULL. */
void ocl_unpack(const zeb_tensor *weight, const zeb_tensor *scale, float *to);

/* w[N,K] to to[K][stride], zero past column N. */
void ocl_pack_linear(const zeb_tensor *weight, float *to);

#endif
