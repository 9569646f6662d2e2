#include "models/quantise_row.h"

#include <stdlib.h>
#include <string.h>

#include "zeb/number.h"

enum { CLIPS = 64 };

/* What a number format does to x[n] when magnitudes above `clip` are cut: q, and the value of one step. */
typedef float (*round_fn)(const float *x, size_t n, float clip, int8_t *q);

static float most_of(const float *x, size_t n) {
    float most = 0.0f;
    for (size_t i = 0; i < n; i++)
        if (fabsf(x[i]) > most) most = fabsf(x[i]);
    return most;
}

static int8_t clamp(float value, float most) {
    return (int8_t)(value > most ? most : value < -most ? -most : value);
}

/* The rule of zeb_quantise_i8 with `clip` in place of the greatest magnitude. */
float zeb_quantise_round8(const float *x, size_t n, float clip, int8_t *q) {
    if (!(clip >= ZEB_QUANTISE_TINY)) {
        memset(q, 0, n);
        return 0.0f;
    }
    float inv = 127.0f / clip;
    for (size_t i = 0; i < n; i++)
        q[i] = clamp(rintf(x[i] * inv), 127.0f);
    return clip / 127.0f;
}

static uint16_t scale4(float clip) {
    uint16_t half = zeb_f32_to_f16(clip / 7.0f);
    return half >= 0x7c00u ? 0x7bffu : half;
}

/* The rule of zeb_quantise_i4, likewise. */
static float round4(const float *x, size_t n, float clip, int8_t *q) {
    float scale = zeb_f16_to_f32(scale4(clip));
    for (size_t i = 0; i < n; i++)
        q[i] = scale > 0.0f ? clamp(rintf(x[i] / scale), 7.0f) : 0;
    return scale;
}

static int ascending(const void *a, const void *b) {
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* The magnitude that the share p of them does not exceed. */
static float percentile(const float *x, size_t n, double p, float *scratch) {
    for (size_t i = 0; i < n; i++)
        scratch[i] = fabsf(x[i]);
    qsort(scratch, n, sizeof *scratch, ascending);
    size_t rank = (size_t)ceil(p * (double)n);
    return scratch[rank > n ? n - 1 : rank > 0 ? rank - 1 : 0];
}

/* The clip of the least squared error; of equals the greatest. */
static float least_error(const float *x, size_t n, round_fn round, int8_t *q) {
    float most = most_of(x, n), best = most;
    double least = HUGE_VAL;
    for (int c = 0; c < CLIPS; c++) {
        float clip = most * (1.0f - 0.5f * (float)c / (float)CLIPS);
        double sum = 0, step = (double)round(x, n, clip, q);
        for (size_t i = 0; i < n; i++) {
            double miss = (double)x[i] - q[i] * step;
            sum += miss * miss;
        }
        if (sum < least) {
            least = sum;
            best = clip;
        }
    }
    return best;
}

static float clip_of(const float *x, size_t n, const zeb_quantise_options *options, round_fn round, float *scratch,
                     int8_t *q) {
    switch (options->range) {
        case ZEB_RANGE_PERCENTILE: return percentile(x, n, options->percentile, scratch);
        case ZEB_RANGE_MSE: return least_error(x, n, round, q);
        case ZEB_RANGE_ABSMAX: break;
    }
    return most_of(x, n);
}

float zeb_quantise_clip8(const float *x, size_t n, const zeb_quantise_options *options, float *scratch, int8_t *q) {
    return clip_of(x, n, options, zeb_quantise_round8, scratch, q);
}

float zeb_quantise_clip4(const float *x, size_t n, const zeb_quantise_options *options, float *scratch, int8_t *q) {
    return clip_of(x, n, options, round4, scratch, q);
}

float zeb_quantise_round4(const float *x, size_t n, float clip, int8_t *q, uint16_t *scale) {
    *scale = scale4(clip);
    return round4(x, n, clip, q);
}

void zeb_quantise_pack4(const int8_t *q, size_t n, uint8_t *packed) {
    for (size_t i = 0; i < n; i += 2)
        packed[i / 2] = (uint8_t)((q[i] + 8) | (q[i + 1] + 8) << 4);
}

float zeb_quantise_row8(const float *x, size_t n, const zeb_quantise_options *options, float *scratch, int8_t *q) {
    return zeb_quantise_round8(x, n, zeb_quantise_clip8(x, n, options, scratch, q), q);
}

void zeb_quantise_row4(const float *x, size_t n, size_t group, const zeb_quantise_options *options, float *scratch,
                       uint8_t *packed, uint16_t *scale) {
    int8_t q[ZEB_QUANTISE_GROUP_MAX];
    for (size_t g = 0; g < n; g += group) {
        const float clip = zeb_quantise_clip4(x + g, group, options, scratch, q);
        (void)zeb_quantise_round4(x + g, group, clip, q, &scale[g / group]);
        zeb_quantise_pack4(q, group, packed + g / 2);
    }
}
