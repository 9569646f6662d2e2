/* Ops that treat rows one by one: embed, norm, gather, activation; and pool. */
#include "ref.h"

static double optional_at(const zeb_tensor *tensor, int64_t i) {
    return tensor == NULL ? 0.0 : (double)zeb_float_at(tensor->dtype, tensor->data, (size_t)i);
}

/* out = norm(x), x [width] in binary64. */
static void norm_row(uint32_t kind, double epsilon, const zeb_tensor *gamma, const zeb_tensor *beta, const double *x,
                     int64_t width, float *out) {
    double mean = 0.0, square = 0.0, scale = 1.0;
    for (int64_t i = 0; kind == ZEB_NORM_LAYER && i < width; ++i)
        mean += x[i] / (double)width;
    for (int64_t i = 0; i < width; ++i)
        square += (x[i] - mean) * (x[i] - mean) / (double)width;
    if (kind != ZEB_NORM_AFFINE) scale = 1.0 / sqrt(square + epsilon);
    for (int64_t i = 0; i < width; ++i)
        out[i] = (float)((x[i] - mean) * scale * optional_at(gamma, i) + optional_at(beta, i));
}

zeb_status ref_norm(const ref_at *at) {
    const zeb_norm_attr *attr = &at->node->attr.norm;
    int64_t width = ref_input(at, ZEB_NORM_X)->extent[1].max, rows = ref_input_rows(at, ZEB_NORM_X);
    const float *x = ref_input_data(at, ZEB_NORM_X), *residual = ref_input_data(at, ZEB_NORM_RESIDUAL);
    for (int64_t t = 0; t < rows; ++t) {
        for (int64_t i = 0; i < width; ++i)
            at->plan->wide[i] = (double)x[t * width + i] + (residual != NULL ? (double)residual[t * width + i] : 0.0);
        norm_row(attr->kind, (double)attr->epsilon, ref_input(at, ZEB_NORM_GAMMA), ref_input(at, ZEB_NORM_BETA),
                 at->plan->wide, width, (float *)ref_output_data(at, 0) + t * width);
    }
    return ZEB_OK;
}

/* Adds row `id` of a table (NULL: none) to sum. */
static zeb_status add_row(const ref_at *at, uint32_t position, int64_t id, int64_t t, double *sum) {
    const zeb_tensor *table = ref_input(at, position);
    if (table == NULL) return ZEB_OK;
    if (id < 0 || id >= table->extent[0].max)
        return zeb_fail(at->error, ZEB_ERR_RANGE, "node '%s': id %lld of row %lld is outside '%s' of %lld rows",
                        at->node->name, (long long)id, (long long)t, table->name, (long long)table->extent[0].max);
    const zeb_tensor *scale = table->scale == ZEB_NONE ? NULL : &at->plan->host.tensor[table->scale];
    int64_t width = table->extent[1].max;
    for (int64_t i = 0; i < width; ++i)
        sum[i] += scale != NULL ? (double)zeb_quantised_at(table, scale, id, i) : optional_at(table, id * width + i);
    return ZEB_OK;
}

zeb_status ref_embed(const ref_at *at) {
    const zeb_embed_attr *attr = &at->node->attr.embed;
    const int32_t *ids = ref_input_data(at, ZEB_EMBED_IDS), *types = ref_input_data(at, ZEB_EMBED_TYPES);
    const int32_t *offsets = ref_input_offsets(at, ZEB_EMBED_IDS);
    int64_t width = ref_input(at, ZEB_EMBED_WORD)->extent[1].max, rows = ref_input_rows(at, ZEB_EMBED_IDS);
    double *sum = at->plan->wide;
    for (int64_t t = 0, b = 0; t < rows; ++t) {
        float *out = (float *)ref_output_data(at, 0) + t * width;
        while (offsets[b + 1] <= t)
            ++b;
        for (int64_t i = 0; i < width; ++i)
            sum[i] = 0.0;
        zeb_status status = add_row(at, ZEB_EMBED_WORD, ids[t], t, sum);
        if (status == ZEB_OK) status = add_row(at, ZEB_EMBED_POSITION, t - offsets[b], t, sum);
        if (status == ZEB_OK) status = add_row(at, ZEB_EMBED_TYPE, types != NULL ? types[t] : 0, t, sum);
        if (status != ZEB_OK) return status;
        if (attr->norm != 0)
            norm_row(attr->norm, (double)attr->epsilon, ref_input(at, ZEB_EMBED_GAMMA), ref_input(at, ZEB_EMBED_BETA),
                     sum, width, out);
        for (int64_t i = 0; attr->norm == 0 && i < width; ++i)
            out[i] = (float)sum[i];
    }
    return ZEB_OK;
}

zeb_status ref_gather(const ref_at *at) {
    const zeb_tensor *x = ref_input(at, ZEB_GATHER_X);
    const int32_t *indices = ref_input_data(at, ZEB_GATHER_INDICES);
    int64_t rows = ref_input_rows(at, ZEB_GATHER_INDICES), source = ref_input_rows(at, ZEB_GATHER_X);
    size_t bytes = (size_t)(x->rank == 2 ? x->extent[1].max : 1) * 4; /* F32 and I32 alike */
    for (int64_t i = 0; i < rows; ++i) {
        if (indices[i] < 0 || indices[i] >= source)
            return zeb_fail(at->error, ZEB_ERR_RANGE, "node '%s': index %d is outside the %lld rows of '%s'",
                            at->node->name, indices[i], (long long)source, x->name);
        memcpy((char *)ref_output_data(at, 0) + (size_t)i * bytes,
               (const char *)ref_input_data(at, ZEB_GATHER_X) + (size_t)indices[i] * bytes, bytes);
    }
    return ZEB_OK;
}

zeb_status ref_activate(const ref_at *at) {
    uint32_t kind = at->node->attr.activation.activation;
    const float *x = ref_input_data(at, ZEB_ACTIVATION_X), *gate = ref_input_data(at, ZEB_ACTIVATION_GATE);
    int64_t count = ref_input_rows(at, ZEB_ACTIVATION_X) * ref_input(at, ZEB_ACTIVATION_X)->extent[1].max;
    for (int64_t i = 0; i < count; ++i) {
        double value = ref_activation(kind, (double)x[i]);
        ((float *)ref_output_data(at, 0))[i] = (float)(gate != NULL ? value * (double)gate[i] : value);
    }
    return ZEB_OK;
}

/* Column i of the pooled rows [from, to), of which there is at least one. */
static float pool_column(uint32_t kind, const float *x, int64_t from, int64_t to, int64_t width, int64_t i) {
    double value = (double)x[from * width + i];
    if (kind == ZEB_POOL_FIRST) return x[from * width + i];
    for (int64_t t = from + 1; t < to; ++t) {
        double next = (double)x[t * width + i];
        value = kind == ZEB_POOL_MEAN ? value + next : next > value ? next : value;
    }
    return (float)(kind == ZEB_POOL_MEAN ? value / (double)(to - from) : value);
}

zeb_status ref_pool(const ref_at *at) {
    const float *x = ref_input_data(at, ZEB_POOL_X);
    const int32_t *offsets = ref_input_offsets(at, ZEB_POOL_X);
    int64_t width = ref_input(at, ZEB_POOL_X)->extent[1].max, batch = ref_input_batch(at, ZEB_POOL_X);
    for (int64_t b = 0; b < batch; ++b) {
        float *out = (float *)ref_output_data(at, 0) + b * width;
        for (int64_t i = 0; i < width; ++i)
            out[i] = offsets[b] == offsets[b + 1]
                         ? 0.0f
                         : pool_column(at->node->attr.pool.kind, x, offsets[b], offsets[b + 1], width, i);
    }
    return ZEB_OK;
}

static int reaches(const float *x, int64_t count, float threshold) {
    for (int64_t i = 0; i < count; ++i)
        if (!(fabsf(x[i]) < threshold)) return 1;
    return 0;
}

zeb_status ref_blocks(const ref_at *at) {
    const zeb_blocks_attr *attr = &at->node->attr.blocks;
    const float *x = ref_input_data(at, ZEB_BLOCKS_X);
    float *out = ref_output_data(at, ZEB_BLOCKS_OUT);
    int32_t *open = ref_output_data(at, ZEB_BLOCKS_OPEN);
    int64_t rows = ref_input_rows(at, ZEB_BLOCKS_X), width = ref_input(at, ZEB_BLOCKS_X)->extent[1].max;
    for (int64_t t = 0; t < rows; ++t) {
        open[t] = 0;
        for (int64_t i = t * width; i < (t + 1) * width; i += attr->size) {
            int is_open = reaches(x + i, attr->size, attr->threshold);
            open[t] += is_open;
            for (int64_t j = i; j < i + attr->size; ++j)
                out[j] = is_open ? x[j] : 0.0f;
        }
    }
    return ZEB_OK;
}
