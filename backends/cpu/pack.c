/* pack.c - weight layouts. */
#include "pack.h"

#include <string.h>

#include "zeb/number.h"

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

void cpu_pack_bf16(const cpu_kernels *kernels, const cpu_tensor *weight, float *packed) {
    cpu_pack_f32(kernels, weight, packed);
    const size_t n = (size_t)cpu_panels(kernels, weight->rows) * (size_t)kernels->tile_columns * (size_t)weight->width;
    kernels->round_bf16(packed, (int)(n % 65536), packed);
    for (size_t i = n % 65536; i < n; i += 65536) /* the loop of the kernel counts in int */
        kernels->round_bf16(packed + i, 65536, packed + i);
}

void cpu_pack_halves(const cpu_kernels *kernels, const cpu_tensor *weight, float *row, uint16_t *packed) {
    const int64_t n = weight->rows, k = weight->width, columns = kernels->tile_columns;
    const int64_t step = kernels->half_step, panel = (k + 31) / 32 * 32 * columns;
    for (int64_t c = 0; c < n; c++) {
        const char *from = (const char *)weight->data + zeb_dtype_bytes(weight->dtype, (size_t)(c * k));
        uint16_t *to = packed + c / columns * panel + c % columns * step;
        kernels->widen(weight->dtype, from, row, (size_t)k);
        for (int64_t i = 0; i < k; i++)
            to[i / step * columns * step + i % step] = zeb_f32_to_bf16(row[i]);
    }
}

enum { GROUP = 32 /* of float weights that are to become four bits */ };

static int group_of(const cpu_tensor *weight) {
    return weight->dtype == ZEB_U4 ? weight->group : GROUP;
}

/* Channel c in four bits: numbers in -8..7 and the scale of each group. */
static void read_four(const cpu_tensor *weight, const cpu_tensor *scale, int64_t c, int8_t *number, float *factor) {
    const int64_t k = weight->width, group = group_of(weight);
    if (weight->dtype == ZEB_U4) {
        const uint8_t *from = weight->data;
        const uint16_t *half = scale->data;
        for (int64_t i = 0; i < k; i++) {
            const size_t at = (size_t)(c * k + i);
            number[i] = (int8_t)((from[at / 2] >> (at % 2 * 4) & 15) - 8);
        }
        for (int64_t g = 0; g < k / group; g++)
            factor[g] = zeb_f16_to_f32(half[c * (k / group) + g]);
        return;
    }
    float value[GROUP];
    for (int64_t g = 0; g < k / group; g++) {
        for (int64_t i = 0; i < group; i++)
            value[i] = zeb_float_at(weight->dtype, weight->data, (size_t)(c * k + g * group + i));
        factor[g] = zeb_f16_to_f32(zeb_quantise_i4(value, GROUP, number + g * group));
    }
}

void cpu_pack_w4a16(const cpu_kernels *kernels, const cpu_tensor *weight, const cpu_tensor *scale, float *row,
                    int8_t *number, float *packed) {
    const int64_t n = weight->rows, k = weight->width, columns = kernels->tile_columns, group = group_of(weight);
    for (int64_t c = 0; c < n; c++) {
        float *to = packed + c / columns * k * columns + c % columns;
        read_four(weight, scale, c, number, row);
        for (int64_t i = 0; i < k; i++)
            to[i * columns] = (float)number[i] * row[i / group];
    }
}

/* Channel c in eight bits, its scale in factor[0]. */
static void read_eight(const cpu_kernels *kernels, const cpu_tensor *weight, const cpu_tensor *scale, int64_t c,
                       float *row, int8_t *number, float *factor) {
    const size_t k = (size_t)weight->width, at = (size_t)c * k;
    if (weight->dtype == ZEB_I8) {
        memcpy(number, (const int8_t *)weight->data + at, k);
        factor[0] = ((const float *)scale->data)[c];
        return;
    }
    kernels->widen(weight->dtype, (const char *)weight->data + zeb_dtype_bytes(weight->dtype, at), row, k);
    factor[0] = zeb_quantise_i8(row, k, number);
}

void cpu_codes_shape(const cpu_kernels *kernels, const cpu_tensor *weight, bool four, cpu_codes *codes) {
    const int64_t k = weight->width, group = four ? group_of(weight) : k;
    codes->groups = (int)(k / group);
    codes->steps = (int)((group + kernels->i8_step - 1) / kernels->i8_step);
    if (!four && kernels->slab_i8 != NULL)
        codes->steps = (codes->steps + CPU_SLAB_STEP - 1) / CPU_SLAB_STEP * CPU_SLAB_STEP;
}

static void put_nibble(int8_t *byte, bool high, int8_t value) {
    *byte = (int8_t)((uint8_t)*byte | (unsigned)(value & 15) << (high ? 4 : 0));
}

void cpu_pack_codes(const cpu_kernels *kernels, const cpu_tensor *weight, const cpu_tensor *scale, bool four,
                    const cpu_codes *codes, float *row, int8_t *number) {
    const int64_t n = weight->rows, k = weight->width, columns = kernels->tile_columns, step = kernels->i8_step;
    const int64_t groups = codes->groups, group = k / groups, bytes = columns * step;
    const int64_t panel = groups * codes->steps * bytes / (four ? 2 : 1);
    for (int64_t c = 0; c < n; c++) {
        if (four)
            read_four(weight, scale, c, number, row);
        else
            read_eight(kernels, weight, scale, c, row, number, row);
        int8_t *w = codes->w + c / columns * panel;
        for (int64_t g = 0; g < groups; g++) {
            int32_t sum = 0;
            for (int64_t i = 0; i < group; i++) {
                const int8_t value = number[g * group + i];
                const int64_t k_step = g * codes->steps + i / step, at = c % columns * step + i % step;
                if (four)
                    put_nibble(w + k_step * (bytes / 2) + at % (bytes / 2), at >= bytes / 2, value);
                else
                    w[k_step * bytes + at] = value;
                sum += value;
            }
            const int64_t at = (c / columns * groups + g) * columns + c % columns;
            const int32_t times = four ? 16 : 1; /* see unpack_four; exact in both */
            codes->start[at] = (int32_t)(0u - (uint32_t)(sum * times * kernels->i8_offset));
            codes->scale[at] = row[g] / (float)times;
        }
    }
}
