#include "fixture.h"

#include <math.h>
#include <string.h>

#include "zeb/number.h"

uint64_t op_random_next(op_random *random) {
    uint64_t z = random->state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

double op_random_unit(op_random *random) {
    return (double)(op_random_next(random) >> 11) * 0x1p-53;
}

int64_t op_random_below(op_random *random, int64_t bound) {
    return (int64_t)(op_random_unit(random) * (double)bound);
}

double op_random_normal(op_random *random) {
    double u = 1.0 - op_random_unit(random), v = op_random_unit(random);
    return sqrt(-2.0 * log(u)) * cos(6.283185307179586 * v);
}

zeb_status op_fixture_create(op_fixture *fx, uint64_t seed, zeb_error *error) {
    *fx = (op_fixture){.random = {seed}, .offsets = ZEB_NONE, .count = ZEB_NONE};
    zeb_status status = zeb_arena_create(&fx->arena, error);
    if (status == ZEB_OK) status = zeb_builder_create(&fx->builder, error);
    if (status != ZEB_OK) op_fixture_destroy(fx);
    return status;
}

void op_fixture_destroy(op_fixture *fx) {
    zeb_builder_destroy(fx->builder);
    zeb_arena_destroy(fx->arena);
    *fx = (op_fixture){0};
}

static void *allocate(op_fixture *fx, size_t bytes) {
    void *memory = NULL;
    if (fx->status == ZEB_OK) fx->status = zeb_arena_alloc(fx->arena, bytes + 1, 1, &memory, &fx->error);
    return fx->status == ZEB_OK ? memory : NULL;
}

void op_rows(op_fixture *fx, int64_t token_max, int64_t batch_max) {
    if (fx->status != ZEB_OK) return;
    fx->token_max = token_max;
    fx->batch_max = batch_max;
    fx->status = zeb_builder_rows(fx->builder, "tokens", token_max, batch_max, &fx->offsets, &fx->error);
    fx->count = fx->offsets + 1;
    fx->offsets_data = allocate(fx, (size_t)(batch_max + 1) * sizeof(int32_t));
}

static const zeb_graph *made(op_fixture *fx) {
    const zeb_graph *graph = NULL;
    if (fx->status == ZEB_OK) fx->status = zeb_builder_finish(fx->builder, &graph, &fx->error);
    return graph;
}

void op_adopt(op_fixture *fx, int64_t token_max, int64_t batch_max) {
    const zeb_graph *graph = made(fx);
    if (graph == NULL) return;
    fx->token_max = token_max;
    fx->batch_max = batch_max;
    fx->offsets = zeb_graph_find(graph, "tokens.offsets");
    fx->count = zeb_graph_find(graph, "tokens.count");
    fx->offsets_data = allocate(fx, (size_t)(batch_max + 1) * sizeof(int32_t));
    for (uint32_t i = 0; i < graph->tensor_count; ++i)
        if (graph->tensor[i].role == ZEB_ROLE_OUTPUT) op_final(fx, (int32_t)i);
}

static int32_t keep_input(op_fixture *fx, int32_t tensor, op_fill fill, int64_t range) {
    if (fx->status == ZEB_OK && fx->input_count == OP_INPUTS_MAX)
        fx->status = zeb_fail(&fx->error, ZEB_ERR_INTERNAL, "a case has more than %d inputs", OP_INPUTS_MAX);
    if (fx->status != ZEB_OK) return ZEB_NONE;
    op_input *input = &fx->input[fx->input_count++];
    *input = (op_input){.tensor = tensor, .fill = fill, .range = range};
    input->data = allocate(fx, zeb_builder_tensor(fx->builder, tensor)->bytes);
    return tensor;
}

void op_adopt_input(op_fixture *fx, const char *name, op_fill fill, int64_t range) {
    const zeb_graph *graph = made(fx);
    if (graph != NULL) (void)keep_input(fx, zeb_graph_find(graph, name), fill, range);
}

int32_t op_rows_input(op_fixture *fx, const char *name, op_fill fill, int64_t range, int64_t width) {
    int32_t tensor = ZEB_NONE;
    zeb_dtype dtype = fill == OP_FILL_IDS || fill == OP_FILL_TARGETS ? ZEB_I32 : ZEB_F32;
    if (fx->status == ZEB_OK)
        fx->status = zeb_builder_input(fx->builder, name, dtype, fx->offsets, width, &tensor, &fx->error);
    return keep_input(fx, tensor, fill, range);
}

int32_t op_plain_input(op_fixture *fx, const char *name, op_fill fill, int64_t first, int64_t second) {
    int32_t tensor = ZEB_NONE;
    int64_t extents[2] = {first, second};
    if (fx->status == ZEB_OK)
        fx->status = zeb_builder_plain(fx->builder, name, ZEB_F32, 2, extents, &tensor, &fx->error);
    return keep_input(fx, tensor, fill, 0);
}

/* Room for a weight between two fences of NaN; odd weights start one element off a multiple of 64 bytes. */
static void *weight_room(op_fixture *fx, size_t bytes, size_t element) {
    unsigned char *room = allocate(fx, bytes + 256 + element);
    if (room == NULL) return NULL;
    memset(room, 0xff, bytes + 256 + element);
    return room + 128 + (fx->weights++ % 2 == 0 ? 0 : element);
}

static void store(zeb_dtype dtype, void *data, size_t i, float value) {
    if (dtype == ZEB_F32) ((float *)data)[i] = value;
    if (dtype == ZEB_F16) ((uint16_t *)data)[i] = zeb_f32_to_f16(value);
    if (dtype == ZEB_BF16) ((uint16_t *)data)[i] = zeb_f32_to_bf16(value);
}

static int32_t add_weight(op_fixture *fx, const char *name, zeb_dtype dtype, uint32_t rank, int64_t n, int64_t k,
                          const void *data) {
    int32_t tensor = ZEB_NONE;
    int64_t extents[2] = {n, k};
    if (fx->status == ZEB_OK)
        fx->status = zeb_builder_weight(fx->builder, name, dtype, rank, extents, data, &tensor, &fx->error);
    return tensor;
}

int32_t op_vector(op_fixture *fx, const char *name, zeb_dtype dtype, int64_t n, double mean, double spread) {
    void *data = weight_room(fx, zeb_dtype_bytes(dtype, (size_t)n), zeb_dtype_bytes(dtype, 1));
    for (size_t i = 0; data != NULL && i < (size_t)n; ++i)
        store(dtype, data, i, (float)(mean + spread * op_random_normal(&fx->random)));
    return add_weight(fx, name, dtype, 1, n, 0, data);
}

/* The scale tensor of a quantised weight, tied to it. */
static int32_t tie(op_fixture *fx, const char *name, int32_t weight, zeb_dtype dtype, int64_t n, int64_t groups,
                   const void *data, int32_t group) {
    char *label = NULL;
    if (fx->status == ZEB_OK) fx->status = zeb_arena_format(fx->arena, &label, &fx->error, "%s.scale", name);
    int32_t scale = add_weight(fx, label, dtype, groups == 0 ? 1 : 2, n, groups, data);
    if (fx->status == ZEB_OK) fx->status = zeb_builder_quantised(fx->builder, weight, scale, group, &fx->error);
    return weight;
}

/* An I8 matrix: rows quantised from random ones, the first of zeros. */
static int32_t matrix_i8(op_fixture *fx, const char *name, int64_t n, int64_t k) {
    int8_t *q = weight_room(fx, (size_t)(n * k), 1);
    float *scale = weight_room(fx, (size_t)n * sizeof *scale, sizeof *scale), *row = allocate(fx, (size_t)k * 4);
    for (int64_t i = 0; row != NULL && i < n; ++i) {
        for (int64_t j = 0; j < k; ++j)
            row[j] = i == 0 ? 0.0f : (float)(op_random_normal(&fx->random) / sqrt((double)k));
        scale[i] = zeb_quantise_i8(row, (size_t)k, q + i * k);
    }
    return tie(fx, name, add_weight(fx, name, ZEB_I8, 2, n, k, q), ZEB_F32, n, 0, scale, 0);
}

int32_t op_matrix(op_fixture *fx, const char *name, zeb_dtype dtype, int64_t n, int64_t k) {
    if (dtype == ZEB_I8) return matrix_i8(fx, name, n, k);
    size_t count = (size_t)(n * k);
    void *data = weight_room(fx, zeb_dtype_bytes(dtype, count), zeb_dtype_bytes(dtype, 1));
    for (size_t i = 0; data != NULL && i < count; ++i)
        store(dtype, data, i, (float)(op_random_normal(&fx->random) / sqrt((double)k)));
    return add_weight(fx, name, dtype, 2, n, k, data);
}

int32_t op_grouped(op_fixture *fx, const char *name, int64_t n, int64_t k, int32_t group) {
    int64_t groups = k / group;
    uint8_t *packed = weight_room(fx, (size_t)(n * k / 2), 1);
    uint16_t *scale = weight_room(fx, (size_t)(n * groups) * sizeof *scale, sizeof *scale);
    float w[64];
    int8_t q[64] = {0};
    for (int64_t i = 0; scale != NULL && i < n * groups; ++i) {
        for (int32_t j = 0; j < group; ++j)
            w[j] = i == 0 ? 0.0f : (float)(op_random_normal(&fx->random) / sqrt((double)k));
        scale[i] = zeb_quantise_i4(w, (size_t)group, q);
        for (int32_t j = 0; j < group; j += 2)
            packed[i * group / 2 + j / 2] = (uint8_t)((q[j] + 8) | (q[j + 1] + 8) << 4);
    }
    return tie(fx, name, add_weight(fx, name, ZEB_U4, 2, n, k, packed), ZEB_F16, n, groups, scale, group);
}

int32_t op_node(op_fixture *fx, const zeb_node *node, uint32_t want) {
    if (fx->status == ZEB_OK) fx->status = zeb_builder_node(fx->builder, node, want, fx->out, &fx->error);
    return fx->status == ZEB_OK ? fx->out[0] : ZEB_NONE;
}

void op_final(op_fixture *fx, int32_t tensor) {
    if (fx->status == ZEB_OK && fx->final_count < OP_FINALS_MAX) fx->final[fx->final_count++] = tensor;
}

/* A copy of the graph in which exactly these tensors are outputs (finals NULL: all that are produced). */
static zeb_status with_outputs(op_fixture *fx, const zeb_graph *graph, const int32_t *finals, zeb_graph *copy) {
    *copy = *graph;
    zeb_tensor *tensor = allocate(fx, graph->tensor_count * sizeof *tensor);
    if (tensor == NULL) return fx->status;
    memcpy(tensor, graph->tensor, graph->tensor_count * sizeof *tensor);
    for (uint32_t i = 0; i < graph->tensor_count; ++i)
        if (tensor[i].role >= ZEB_ROLE_VALUE) tensor[i].role = finals == NULL ? ZEB_ROLE_OUTPUT : ZEB_ROLE_VALUE;
    for (size_t i = 0; finals != NULL && i < fx->final_count; ++i)
        tensor[finals[i]].role = ZEB_ROLE_OUTPUT;
    copy->tensor = tensor;
    return ZEB_OK;
}

zeb_status op_fixture_finish(op_fixture *fx, zeb_error *error) {
    const zeb_graph *graph = NULL;
    if (fx->status == ZEB_OK && fx->final_count == 0) op_final(fx, fx->out[0]);
    if (fx->status == ZEB_OK) fx->status = zeb_builder_output(fx->builder, fx->final[0], &fx->error);
    if (fx->status == ZEB_OK) fx->status = zeb_builder_finish(fx->builder, &graph, &fx->error);
    if (fx->status == ZEB_OK) fx->status = with_outputs(fx, graph, NULL, &fx->graph);
    if (fx->status == ZEB_OK) fx->status = with_outputs(fx, graph, fx->final, &fx->closed);
    if (fx->status != ZEB_OK) *error = fx->error;
    return fx->status;
}

/* Copies a name to *at and steps on. */
static const char *lend_name(const char *name, char **at) {
    char *copy = *at;
    size_t size = strlen(name) + 1;
    memcpy(copy, name, size);
    *at += size;
    return copy;
}

zeb_status op_loan_make(op_fixture *fx, const zeb_graph *graph, op_loan *loan, zeb_error *error) {
    *loan = (op_loan){.graph = *graph};
    for (uint32_t i = 0; i < graph->tensor_count; ++i)
        loan->names_bytes += strlen(graph->tensor[i].name) + 1;
    for (uint32_t i = 0; i < graph->node_count; ++i)
        loan->names_bytes += strlen(graph->node[i].name) + 1;
    loan->tensor = allocate(fx, graph->tensor_count * sizeof *loan->tensor);
    loan->node = allocate(fx, graph->node_count * sizeof *loan->node);
    char *at = loan->names = allocate(fx, loan->names_bytes);
    if (loan->tensor == NULL || loan->node == NULL || at == NULL) {
        *error = fx->error;
        return ZEB_ERR_MEMORY;
    }
    memcpy(loan->tensor, graph->tensor, graph->tensor_count * sizeof *loan->tensor);
    memcpy(loan->node, graph->node, graph->node_count * sizeof *loan->node);
    for (uint32_t i = 0; i < graph->tensor_count; ++i)
        loan->tensor[i].name = lend_name(loan->tensor[i].name, &at);
    for (uint32_t i = 0; i < graph->node_count; ++i)
        loan->node[i].name = lend_name(loan->node[i].name, &at);
    loan->graph.tensor = loan->tensor;
    loan->graph.node = loan->node;
    return ZEB_OK;
}

void op_loan_spoil(op_loan *loan) {
    memset(loan->names, '?', loan->names_bytes);
    memset(loan->tensor, 0xa5, loan->graph.tensor_count * sizeof *loan->tensor);
    memset(loan->node, 0xa5, loan->graph.node_count * sizeof *loan->node);
    memset(&loan->graph, 0xa5, sizeof loan->graph);
}
