#include "pack.h"

#include <string.h>

#include "zeb/number.h"

size_t ocl_elements(const zeb_tensor *tensor) {
    size_t count = 1;
    for (uint32_t i = 0; i < tensor->rank; i++)
        count *= (size_t)tensor->extent[i].max;
    return count;
}

size_t ocl_packed_stride(int64_t n) {
    return ((size_t)n + OCL_LINEAR_COLUMNS - 1) / OCL_LINEAR_COLUMNS * OCL_LINEAR_COLUMNS;
}

void ocl_unpack(const zeb_tensor *weight, const zeb_tensor *scale, float *to) {
    size_t count = ocl_elements(weight);
    for (size_t i = 0; i < count; i++)
        to[i] = scale != NULL ? zeb_quantised_at(weight, scale, (int64_t)i / weight->extent[1].max,
                                                 (int64_t)i % weight->extent[1].max)
                              : zeb_float_at(weight->dtype, weight->data, i);
}

void ocl_pack_linear(const zeb_tensor *weight, float *to) {
    size_t columns = (size_t)weight->extent[0].max;
    size_t inner = (size_t)weight->extent[1].max;
    size_t stride = ocl_packed_stride(weight->extent[0].max);
    memset(to, 0, inner * stride * sizeof *to);
    for (size_t n = 0; n < columns; n++)
        for (size_t k = 0; k < inner; k++)
            to[k * stride + n] = zeb_float_at(weight->dtype, weight->data, n * inner + k);
}
