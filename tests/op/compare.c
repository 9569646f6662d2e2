#include "compare.h"

#include <inttypes.h>
#include <math.h>

/* Operands are N(0,1) or 1/sqrt(K) times that, so results are of the order of 1. */
static const struct {
    int op;
    uint32_t position, precision;
    op_tolerance tolerance;
} TABLE[] = {
    {ZEB_OP_EMBED, 0, ZEB_PRECISION_F32, {2e-5, 1e-5}},
    {ZEB_OP_LINEAR, 0, ZEB_PRECISION_F32, {1e-5, 1e-5}},
    {ZEB_OP_LINEAR, 0, ZEB_PRECISION_BF16, {1e-5, 1e-5}}, /* the rounding of operands is defined, only sums differ */
    {ZEB_OP_LINEAR, 0, ZEB_PRECISION_W8A8, {1e-5, 1e-5}}, /* integers are exact */
    {ZEB_OP_LINEAR, 0, ZEB_PRECISION_W4A8, {1e-5, 1e-5}},
    {ZEB_OP_LINEAR, 0, ZEB_PRECISION_W4A16, {1e-5, 1e-5}},
    {ZEB_OP_NORM, 0, ZEB_PRECISION_F32, {2e-5, 1e-5}},
    {ZEB_OP_ATTENTION, ZEB_ATTENTION_CONTEXT, ZEB_PRECISION_F32, {2e-5, 1e-5}},
    {ZEB_OP_ATTENTION, ZEB_ATTENTION_IMPORTANCE, ZEB_PRECISION_F32, {1e-6, 2e-5}},
    {ZEB_OP_ATTENTION, ZEB_ATTENTION_CONTEXT, ZEB_PRECISION_BF16, {2e-2, 1e-2}},
    {ZEB_OP_ATTENTION, ZEB_ATTENTION_IMPORTANCE, ZEB_PRECISION_BF16, {5e-3, 2e-2}},
    {ZEB_OP_ATTENTION, ZEB_ATTENTION_CONTEXT, ZEB_PRECISION_W8A8, {5e-2, 2e-2}},
    {ZEB_OP_ATTENTION, ZEB_ATTENTION_IMPORTANCE, ZEB_PRECISION_W8A8, {1e-2, 5e-2}},
    {ZEB_OP_GATHER, 0, ZEB_PRECISION_F32, {0.0, 0.0}},
    {ZEB_OP_ACTIVATION, 0, ZEB_PRECISION_F32, {2e-6, 2e-6}},
    {ZEB_OP_POOL, 0, ZEB_PRECISION_F32, {2e-6, 2e-6}},
    {ZEB_OP_HEAD_GATE, 0, ZEB_PRECISION_F32, {0.0, 0.0}},
    {ZEB_OP_LOG_LIKELIHOOD, 0, ZEB_PRECISION_F32, {2e-5, 1e-5}},
    {ZEB_OP_HEAD_TOPK, ZEB_HEAD_TOPK_IMPORTANCE, ZEB_PRECISION_F32, {2e-6, 2e-6}},
    {0, 0, ZEB_PRECISION_F32, {1e-4, 1e-4}}, /* a few layers: errors of single ops added up */
    {0, 0, ZEB_PRECISION_BF16, {2e-2, 1e-2}},
    {0, 0, ZEB_PRECISION_W8A8, {3e-2, 1e-2}}, /* a difference in the last bit may move an activation by one step */
    {0, 0, ZEB_PRECISION_W4A8, {3e-2, 1e-2}},
    {0, 0, ZEB_PRECISION_W4A16, {1e-4, 1e-4}},
};

op_tolerance op_tolerance_of(int op, uint32_t position, uint32_t precision) {
    for (size_t i = 0; i < sizeof TABLE / sizeof TABLE[0]; ++i)
        if (TABLE[i].op == op && TABLE[i].precision == precision && (op == 0 || TABLE[i].position == position))
            return TABLE[i].tolerance;
    return (op_tolerance){0.0, 0.0};
}

static bool compare_i32(const zeb_tensor *tensor, int64_t rows, int64_t width, const int32_t *want, const int32_t *got,
                        char where[OP_WHERE_MAX]) {
    for (int64_t i = 0; i < rows * width; ++i)
        if (want[i] != got[i]) {
            (void)snprintf(where, OP_WHERE_MAX, "'%.60s'[%" PRId64 ",%" PRId64 "] is %d instead of %d", tensor->name,
                           i / width, i % width, got[i], want[i]);
            return false;
        }
    return true;
}

bool op_compare(const zeb_tensor *tensor, op_tolerance tolerance, int64_t rows, const void *want, const void *got,
                double *worst, char where[OP_WHERE_MAX]) {
    int64_t width = tensor->rank == 2 ? tensor->extent[1].max : 1;
    if (tensor->dtype == ZEB_I32) return compare_i32(tensor, rows, width, want, got, where);
    for (int64_t t = 0; t < rows; ++t) {
        const float *w = (const float *)want + t * width, *g = (const float *)got + t * width;
        double most = 1.0;
        for (int64_t i = 0; i < width; ++i)
            most = fmax(most, fabs((double)w[i]));
        for (int64_t i = 0; i < width; ++i) {
            double allowed = tolerance.absolute * most + tolerance.relative * fabs((double)w[i]);
            double error = fabs((double)g[i] - (double)w[i]);
            if (g[i] == w[i] || (isnan(w[i]) && isnan(g[i]))) continue; /* infinities are equal, too */
            if (error <= allowed) {
                *worst = fmax(*worst, error / allowed);
                continue;
            }
            (void)snprintf(where, OP_WHERE_MAX,
                           "'%.60s'[%" PRId64 ",%" PRId64 "] is %.8g instead of %.8g (allowed %.2g)", tensor->name, t,
                           i, (double)g[i], (double)w[i], allowed);
            return false;
        }
    }
    return true;
}
