/* Linear layers in every precision, and the two other ops that multiply by a matrix. */
#include "ref.h"

double ref_dot(const float *a, const float *b, int64_t n) {
    double part[4] = {0.0, 0.0, 0.0, 0.0}; /* four chains, or the additions wait for each other */
    int64_t i = 0;
    for (; i + 4 <= n; i += 4)
        for (int64_t j = 0; j < 4; ++j)
            part[j] += (double)a[i + j] * (double)b[i + j];
    for (; i < n; ++i)
        part[0] += (double)a[i] * (double)b[i];
    return (part[0] + part[1]) + (part[2] + part[3]);
}

double ref_activation(uint32_t kind, double x) {
    switch ((zeb_activation)kind) {
        case ZEB_ACT_NONE: return x;
        case ZEB_ACT_GELU_ERF: return 0.5 * x * (1.0 + erf(x * sqrt(0.5)));
        case ZEB_ACT_GELU_TANH: return 0.5 * x * (1.0 + tanh(0.79788456080286535588 * (x + 0.044715 * x * x * x)));
        case ZEB_ACT_RELU: return x < 0.0 ? 0.0 : x;
        case ZEB_ACT_SILU: return x / (1.0 + exp(-x));
        case ZEB_ACT_TANH: return tanh(x);
    }
    return x;
}

void ref_matrix_free(ref_matrix *matrix) {
    free(matrix->w);
    free(matrix->q);
    free(matrix->scale);
}

static float value_at(const zeb_tensor *tensor, size_t i) {
    return zeb_float_at(tensor->dtype, tensor->data, i);
}

/* One row of a float matrix as F32. */
static void load_row(const zeb_tensor *w, size_t n, float *row) {
    size_t k_count = (size_t)w->extent[1].max;
    for (size_t k = 0; k < k_count; ++k)
        row[k] = value_at(w, n * k_count + k);
}

/* Row n in W8A8: as the checkpoint has it, or quantised here by the same rule. `row` is scratch. */
static void make_i8(const zeb_graph *graph, const zeb_tensor *w, size_t n, float *row, ref_matrix *m) {
    size_t k_count = (size_t)w->extent[1].max;
    if (w->dtype == ZEB_I8) {
        memcpy(m->q + n * k_count, (const int8_t *)w->data + n * k_count, k_count);
        m->scale[n] = ((const float *)graph->tensor[w->scale].data)[n];
        return;
    }
    load_row(w, n, row);
    m->scale[n] = zeb_quantise_i8(row, k_count, m->q + n * k_count);
}

/* Row n in 4 bits: q in [-7,7] and one scale a group. */
static void make_i4(const zeb_graph *graph, const zeb_tensor *w, size_t n, float *row, ref_matrix *m) {
    size_t k_count = (size_t)w->extent[1].max, group = (size_t)m->group, groups = k_count / group;
    int8_t *q = m->q + n * k_count;
    float *scale = m->scale + n * groups;
    if (w->dtype == ZEB_U4) {
        const uint8_t *packed = (const uint8_t *)w->data + n * (k_count / 2);
        const uint16_t *stored = (const uint16_t *)graph->tensor[w->scale].data + n * groups;
        for (size_t k = 0; k < k_count; ++k)
            q[k] = (int8_t)((packed[k / 2] >> (k % 2 * 4) & 15) - 8);
        for (size_t g = 0; g < groups; ++g)
            scale[g] = zeb_f16_to_f32(stored[g]);
        return;
    }
    load_row(w, n, row);
    for (size_t g = 0; g < groups; ++g)
        scale[g] = zeb_f16_to_f32(zeb_quantise_i4(row + g * group, group, q + g * group));
}

/* W4A16 multiplies by q * scale, which binary32 holds exactly. */
static void dequantise(ref_matrix *m, size_t n_count, size_t k_count) {
    size_t group = (size_t)m->group;
    for (size_t i = 0; i < n_count * k_count; ++i)
        m->w[i] = (float)m->q[i] * m->scale[i / group];
}

static int is_four(uint32_t precision) {
    return precision == ZEB_PRECISION_W4A8 || precision == ZEB_PRECISION_W4A16;
}

/* Fills the matrix; everything that its precision needs is allocated. `row` is scratch for one row. */
static void fill_matrix(const zeb_graph *graph, const zeb_tensor *w, uint32_t precision, float *row, ref_matrix *m) {
    size_t n_count = (size_t)w->extent[0].max, k_count = (size_t)w->extent[1].max;
    for (size_t n = 0; n < n_count; ++n) {
        if (precision == ZEB_PRECISION_W8A8)
            make_i8(graph, w, n, row, m);
        else if (is_four(precision))
            make_i4(graph, w, n, row, m);
        else
            load_row(w, n, m->w + n * k_count);
    }
    if (precision == ZEB_PRECISION_W4A16) dequantise(m, n_count, k_count);
    for (size_t i = 0; precision == ZEB_PRECISION_BF16 && i < n_count * k_count; ++i)
        m->w[i] = zeb_bf16_to_f32(zeb_f32_to_bf16(m->w[i]));
}

zeb_status ref_matrix_make(const zeb_graph *graph, const zeb_node *node, ref_matrix *m, zeb_error *error) {
    const zeb_tensor *w = &graph->tensor[node->input[ZEB_LINEAR_W]];
    uint32_t precision = node->attr.linear.precision;
    size_t n_count = (size_t)w->extent[0].max, k_count = (size_t)w->extent[1].max, count = n_count * k_count;
    int integers = is_four(precision) || precision == ZEB_PRECISION_W8A8;
    int floats = !integers || precision == ZEB_PRECISION_W4A16;
    m->group = !is_four(precision) ? 0 : w->dtype == ZEB_U4 ? w->group : 32;
    size_t scales = is_four(precision) ? count / (size_t)m->group : n_count;
    float *row = calloc(k_count, sizeof *row);
    if (floats) m->w = calloc(count, sizeof *m->w);
    if (integers) m->q = calloc(count, 1);
    if (integers) m->scale = calloc(scales, sizeof *m->scale);
    int there = row != NULL && (!floats || m->w != NULL) && (!integers || (m->q != NULL && m->scale != NULL));
    if (there) fill_matrix(graph, w, precision, row, m);
    free(row);
    return there ? ZEB_OK : zeb_fail(error, ZEB_ERR_MEMORY, "out of memory for the weights of node '%s'", node->name);
}

/* sum_k x[k] * w[n,k] with integers; the sums of W4A8's groups are added in binary32, in order. */
static float dot_integers(const ref_matrix *m, uint32_t precision, const int8_t *x, float x_scale, int64_t n,
                          int64_t k_count) {
    const int8_t *q = m->q + n * k_count;
    if (precision == ZEB_PRECISION_W8A8) {
        int32_t sum = 0;
        for (int64_t k = 0; k < k_count; ++k)
            sum += (int32_t)x[k] * q[k];
        return (float)sum * (x_scale * m->scale[n]);
    }
    const float *scale = m->scale + n * (k_count / m->group);
    float total = 0.0f;
    for (int64_t g = 0; g < k_count / m->group; ++g) {
        int32_t sum = 0;
        for (int64_t k = g * m->group; k < (g + 1) * m->group; ++k)
            sum += (int32_t)x[k] * q[k];
        total += (float)sum * scale[g];
    }
    return total * x_scale;
}

/* One row of the layer; gate is NULL or the sequence's [G]. */
static void linear_row(const ref_at *at, const ref_matrix *m, int64_t t, const float *gate) {
    const zeb_linear_attr *attr = &at->node->attr.linear;
    const zeb_tensor *w = ref_input(at, ZEB_LINEAR_W), *bias = ref_input(at, ZEB_LINEAR_BIAS);
    int64_t n_count = w->extent[0].max, k_count = w->extent[1].max;
    const float *x = (const float *)ref_input_data(at, ZEB_LINEAR_X) + t * k_count;
    const float *residual = ref_input_data(at, ZEB_LINEAR_RESIDUAL);
    float *out = (float *)ref_output_data(at, 0) + t * n_count, *rounded = at->plan->row, x_scale = 0.0f;
    int integers = attr->precision == ZEB_PRECISION_W8A8 || attr->precision == ZEB_PRECISION_W4A8;
    if (integers) x_scale = zeb_quantise_i8(x, (size_t)k_count, at->plan->quantised);
    if (attr->precision == ZEB_PRECISION_BF16) {
        for (int64_t k = 0; k < k_count; ++k)
            rounded[k] = zeb_bf16_to_f32(zeb_f32_to_bf16(x[k]));
        x = rounded;
    }
    for (int64_t n = 0; n < n_count; ++n) {
        double value = 0.0;
        if (gate == NULL || gate[n / (n_count / attr->gate_groups)] != 0.0f) {
            value = integers ? (double)dot_integers(m, attr->precision, at->plan->quantised, x_scale, n, k_count)
                             : ref_dot(x, m->w + n * k_count, k_count);
            if (bias != NULL) value += (double)value_at(bias, (size_t)n);
            value = ref_activation(attr->activation, value);
        }
        if (residual != NULL) value += (double)residual[t * n_count + n];
        out[n] = (float)value;
    }
}

zeb_status ref_linear(const ref_at *at) {
    const ref_matrix *matrix = &at->plan->matrix[at->node - at->plan->host.node];
    const int32_t *offsets = ref_input_offsets(at, ZEB_LINEAR_X);
    const float *gates = ref_input_data(at, ZEB_LINEAR_GATES);
    int64_t rows = ref_input_rows(at, ZEB_LINEAR_X);
    for (int64_t t = 0, b = 0; t < rows; ++t) {
        while (gates != NULL && offsets[b + 1] <= t)
            ++b;
        linear_row(at, matrix, t, gates != NULL ? gates + b * at->node->attr.linear.gate_groups : NULL);
    }
    return ZEB_OK;
}

zeb_status ref_head_gate(const ref_at *at) {
    const zeb_tensor *w = ref_input(at, ZEB_HEAD_GATE_W), *bias = ref_input(at, ZEB_HEAD_GATE_BIAS);
    const float *x = ref_input_data(at, ZEB_HEAD_GATE_X);
    const int32_t *offsets = ref_input_offsets(at, ZEB_HEAD_GATE_X);
    int64_t heads = w->extent[0].max, width = w->extent[1].max, batch = ref_input_batch(at, ZEB_HEAD_GATE_X);
    float *gates = ref_output_data(at, 0);
    double *mean = at->plan->wide;
    for (int64_t b = 0; b < batch; ++b) {
        int64_t n = offsets[b + 1] - offsets[b];
        for (int64_t k = 0; k < width; ++k) {
            mean[k] = 0.0;
            for (int64_t t = offsets[b]; t < offsets[b + 1]; ++t)
                mean[k] += (double)x[t * width + k];
            mean[k] /= n > 0 ? (double)n : 1.0;
        }
        for (int64_t h = 0; h < heads; ++h) {
            double sum = (double)value_at(bias, (size_t)h);
            for (int64_t k = 0; k < width; ++k)
                sum += (double)value_at(w, (size_t)(h * width + k)) * mean[k];
            gates[b * heads + h] = n > 0 && !(sum <= 0.0) ? 1.0f : 0.0f;
        }
    }
    return ZEB_OK;
}

zeb_status ref_log_likelihood(const ref_at *at) {
    const zeb_tensor *w = ref_input(at, ZEB_LOG_LIKELIHOOD_W);
    const int32_t *targets = ref_input_data(at, ZEB_LOG_LIKELIHOOD_TARGETS);
    int64_t vocab = w->extent[0].max, width = w->extent[1].max, rows = ref_input_rows(at, ZEB_LOG_LIKELIHOOD_X);
    double *score = at->plan->wide;
    for (int64_t t = 0; t < rows; ++t) {
        const float *x = (const float *)ref_input_data(at, ZEB_LOG_LIKELIHOOD_X) + t * width;
        float *out = (float *)ref_output_data(at, 0) + t;
        *out = 0.0f;
        if (targets[t] == -1) continue;
        if (targets[t] < 0 || targets[t] >= vocab)
            return zeb_fail(at->error, ZEB_ERR_RANGE,
                            "node '%s': target %d of row %lld is outside the vocabulary of %lld", at->node->name,
                            targets[t], (long long)t, (long long)vocab);
        double most = -(double)INFINITY;
        for (int64_t v = 0; v < vocab; ++v) {
            score[v] = 0.0;
            for (int64_t k = 0; k < width; ++k)
                score[v] += (double)x[k] * (double)value_at(w, (size_t)(v * width + k));
            if (score[v] > most) most = score[v];
        }
        double sum = exp(score[0] - most);
        for (int64_t v = 1; v < vocab; ++v)
            sum += exp(score[v] - most);
        *out = (float)(score[targets[t]] - most - log(sum));
    }
    return ZEB_OK;
}
