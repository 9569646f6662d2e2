/* pack.c - weight layouts. */
#include "pack.h"

int cpu_panels(const cpu_kernels *kernels, int64_t n) {
    return (int)((n + kernels->tile_columns - 1) / kernels->tile_columns);
}

void cpu_pack_f32(const cpu_kernels *kernels, const cpu_tensor *weight, float *packed) {
    const int64_t n = weight->rows, k = weight->width;
    const int64_t columns = kernels->tile_columns;
    float row[256];
    for (int64_t c = 0; c < n; c++) {
        float *to = packed + c / columns * k * columns + c % columns;
        for (int64_t done = 0; done < k; done += 256) {
            const int64_t some = k - done < 256 ? k - done : 256;
            const char *from = (const char *)weight->data + zeb_dtype_bytes(weight->dtype, (size_t)(c * k + done));
            kernels->widen(weight->dtype, from, row, (size_t)some);
            for (int64_t i = 0; i < some; i++)
                to[(done + i) * columns] = row[i];
        }
    }
}
