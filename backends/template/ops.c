/* The arithmetic. ref says exactly what each op means; tests/op says how close is close enough. */
#include "template.h"

static const float *input(const zeb_plan *plan, const zeb_node *node, uint32_t position) {
    int32_t id = node->input[position];
    return id == ZEB_NONE ? NULL : plan->host.data[id]; /* optional inputs may be missing */
}

void template_linear(zeb_plan *plan, const zeb_node *node, const template_packed *packed) {
    const zeb_tensor *w = &plan->host.tensor[node->input[ZEB_LINEAR_W]];
    const float *x = input(plan, node, ZEB_LINEAR_X), *residual = input(plan, node, ZEB_LINEAR_RESIDUAL);
    int64_t n_count = w->extent[0].max, k_count = w->extent[1].max;
    /* Sequences lie end to end, so a row is a row: without gates a LINEAR need not know where sequences begin. The
     * number of rows that are there is read now, when the pass runs, never at compile. */
    int64_t rows = zeb_host_live(&plan->host, node->input[ZEB_LINEAR_X]);
    float *out = plan->host.data[node->output[0]];
    for (int64_t t = 0; t < rows; ++t)
        for (int64_t n = 0; n < n_count; ++n) {
            double sum = (double)packed->bias[n];
            for (int64_t k = 0; k < k_count; ++k)
                sum += (double)x[t * k_count + k] * (double)packed->w[n * k_count + k];
            if (node->attr.linear.activation == ZEB_ACT_RELU && sum < 0.0) sum = 0.0;
            if (residual != NULL) sum += (double)residual[t * n_count + n]; /* after the activation */
            out[t * n_count + n] = (float)sum;
        }
}

void template_norm(zeb_plan *plan, const zeb_node *node, const template_packed *packed) {
    const float *x = input(plan, node, ZEB_NORM_X), *residual = input(plan, node, ZEB_NORM_RESIDUAL);
    int64_t width = plan->host.tensor[node->input[ZEB_NORM_X]].extent[1].max;
    int64_t rows = zeb_host_live(&plan->host, node->input[ZEB_NORM_X]);
    for (int64_t t = 0; t < rows; ++t) {
        float *out = (float *)plan->host.data[node->output[0]] + t * width;
        double mean = 0.0, square = 0.0;
        for (int64_t i = 0; i < width; ++i) {
            out[i] = x[t * width + i] + (residual != NULL ? residual[t * width + i] : 0.0f);
            mean += (double)out[i] / (double)width;
        }
        for (int64_t i = 0; i < width; ++i)
            square += ((double)out[i] - mean) * ((double)out[i] - mean) / (double)width;
        double scale = 1.0 / sqrt(square + packed->epsilon);
        for (int64_t i = 0; i < width; ++i)
            out[i] = (float)(((double)out[i] - mean) * scale * (double)packed->w[i] + (double)packed->bias[i]);
    }
}
