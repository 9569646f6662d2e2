#include "graph/builder.h"

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "graph/shape.h"

/* What the builder knows of a tensor beside the tensor itself. */
typedef struct note {
    uint32_t hash;     /* of its name, so that looking for a double one is quick */
    int32_t count;     /* offsets of a row space: the tensor of its live count, else ZEB_NONE */
    int64_t token_max; /* offsets of a row space: its most rows */
} note;

struct zeb_builder {
    zeb_arena *names;
    zeb_tensor *tensor; /* these three grow together */
    int32_t *producer;  /* node that made it, or ZEB_NONE */
    note *note;
    zeb_node *node; /* as do these two */
    uint32_t *node_hash;
    uint32_t tensor_count, tensor_capacity, node_count, node_capacity;
    zeb_graph graph;
};

zeb_status zeb_builder_create(zeb_builder **builder, zeb_error *error) {
    *builder = calloc(1, sizeof **builder);
    if (*builder == NULL) return zeb_fail(error, ZEB_ERR_MEMORY, "out of memory for a graph builder");
    zeb_status status = zeb_arena_create(&(*builder)->names, error);
    if (status == ZEB_OK) return ZEB_OK;
    free(*builder);
    *builder = NULL;
    return status;
}

void zeb_builder_destroy(zeb_builder *builder) {
    if (builder == NULL) return;
    zeb_arena_destroy(builder->names);
    free(builder->tensor);
    free(builder->producer);
    free(builder->note);
    free(builder->node);
    free(builder->node_hash);
    free(builder);
}

static uint32_t hash_of(const char *name) {
    uint32_t hash = 2166136261u; /* FNV-1a */
    for (; *name != '\0'; ++name)
        hash = (hash ^ (unsigned char)*name) * 16777619u;
    return hash;
}

/* Grows one of the parallel arrays. When that fails, *fine becomes 0 and the old one, still valid, comes back. */
static void *grow(void *array, size_t size, uint32_t capacity, int *fine) {
    void *grown = realloc(array, (size_t)capacity * size);
    if (grown != NULL) return grown;
    *fine = 0;
    return array;
}

static zeb_status reserve_tensors(zeb_builder *b, uint32_t more, zeb_error *error) {
    if (b->tensor_count + more <= b->tensor_capacity) return ZEB_OK;
    uint32_t capacity = b->tensor_capacity * 2 + 64;
    if (capacity > INT32_MAX / 2) return zeb_fail(error, ZEB_ERR_RANGE, "a graph of more than 2^30 tensors");
    int fine = 1;
    b->tensor = grow(b->tensor, sizeof *b->tensor, capacity, &fine);
    b->producer = grow(b->producer, sizeof *b->producer, capacity, &fine);
    b->note = grow(b->note, sizeof *b->note, capacity, &fine);
    if (!fine) return zeb_fail(error, ZEB_ERR_MEMORY, "out of memory for %u tensors", capacity);
    b->tensor_capacity = capacity;
    return ZEB_OK;
}

static zeb_status reserve_nodes(zeb_builder *b, zeb_error *error) {
    if (b->node_count < b->node_capacity) return ZEB_OK;
    uint32_t capacity = b->node_capacity * 2 + 32;
    if (capacity > INT32_MAX / 2) return zeb_fail(error, ZEB_ERR_RANGE, "a graph of more than 2^30 nodes");
    int fine = 1;
    b->node = grow(b->node, sizeof *b->node, capacity, &fine);
    b->node_hash = grow(b->node_hash, sizeof *b->node_hash, capacity, &fine);
    if (!fine) return zeb_fail(error, ZEB_ERR_MEMORY, "out of memory for %u nodes", capacity);
    b->node_capacity = capacity;
    return ZEB_OK;
}

static zeb_status check_name(const zeb_builder *b, const char *name, uint32_t hash, zeb_error *error) {
    if (name[0] == '\0') return zeb_fail(error, ZEB_ERR_ARGUMENT, "a tensor has no name");
    for (uint32_t i = 0; i < b->tensor_count; ++i)
        if (b->note[i].hash == hash && strcmp(b->tensor[i].name, name) == 0)
            return zeb_fail(error, ZEB_ERR_ARGUMENT, "there is already a tensor '%s'", name);
    return ZEB_OK;
}

/* Appends a copy of `made` under `name`, which must be new. */
static zeb_status add_tensor(zeb_builder *b, const char *name, const zeb_tensor *made, int32_t producer, int32_t *id,
                             zeb_error *error) {
    uint32_t hash = hash_of(name);
    char *copy = NULL;
    zeb_status status = check_name(b, name, hash, error);
    if (status == ZEB_OK) status = reserve_tensors(b, 1, error);
    if (status == ZEB_OK) status = zeb_arena_copy(b->names, name, strlen(name), &copy, error);
    if (status != ZEB_OK) return status;
    b->tensor[b->tensor_count] = *made;
    b->tensor[b->tensor_count].name = copy;
    b->producer[b->tensor_count] = producer;
    b->note[b->tensor_count] = (note){.hash = hash, .count = ZEB_NONE};
    *id = (int32_t)b->tensor_count++;
    return ZEB_OK;
}

static zeb_tensor blank(zeb_dtype dtype, zeb_tensor_role role, uint32_t rank) {
    zeb_tensor tensor = {.dtype = dtype, .role = role, .rank = rank, .offsets = ZEB_NONE, .scale = ZEB_NONE};
    for (uint32_t i = 0; i < ZEB_RANK_MAX; ++i)
        tensor.extent[i] = (zeb_extent){.max = 1, .live = ZEB_NONE};
    return tensor;
}

zeb_status zeb_builder_rows(zeb_builder *builder, const char *name, int64_t token_max, int64_t batch_max,
                            int32_t *offsets, zeb_error *error) {
    char *label = NULL;
    int32_t count;
    *offsets = ZEB_NONE;
    if (token_max < 1 || batch_max < 1 || token_max >= INT32_MAX || batch_max >= INT32_MAX)
        return zeb_fail(error, ZEB_ERR_ARGUMENT,
                        "rows '%s': %lld tokens and %lld sequences must be within 1 and 2^31-2", name,
                        (long long)token_max, (long long)batch_max);
    zeb_tensor tensor = blank(ZEB_I32, ZEB_ROLE_INPUT, 1);
    tensor.extent[0].max = batch_max + 1;
    tensor.bytes = (size_t)(batch_max + 1) * sizeof(int32_t);
    zeb_status status = zeb_arena_format(builder->names, &label, error, "%s.offsets", name);
    if (status == ZEB_OK) status = add_tensor(builder, label, &tensor, ZEB_NONE, offsets, error);
    if (status == ZEB_OK) status = zeb_arena_format(builder->names, &label, error, "%s.count", name);
    tensor.extent[0].max = 1;
    tensor.bytes = sizeof(int32_t);
    if (status == ZEB_OK) status = add_tensor(builder, label, &tensor, ZEB_NONE, &count, error);
    if (status != ZEB_OK) return status;
    builder->note[*offsets].count = count;
    builder->note[*offsets].token_max = token_max;
    return ZEB_OK;
}

/* The common end of inputs that are not offsets. */
static zeb_status add_input(zeb_builder *b, const char *name, zeb_tensor *made, int32_t *tensor, zeb_error *error) {
    char shape[ZEB_SHAPE_TEXT_MAX];
    zeb_shape_text(made, shape);
    if (made->dtype != ZEB_F32 && made->dtype != ZEB_I32)
        return zeb_fail(error, ZEB_ERR_ARGUMENT, "input '%s' %s: must be F32 or I32", name, shape);
    if (!zeb_shape_bytes(made, &made->bytes))
        return zeb_fail(error, ZEB_ERR_ARGUMENT, "input '%s': %s is no possible shape", name, shape);
    return add_tensor(b, name, made, ZEB_NONE, tensor, error);
}

zeb_status zeb_builder_input(zeb_builder *builder, const char *name, zeb_dtype dtype, int32_t offsets, int64_t width,
                             int32_t *tensor, zeb_error *error) {
    if (offsets == ZEB_NONE) return zeb_builder_plain(builder, name, dtype, 1, &width, tensor, error);
    *tensor = ZEB_NONE;
    if (zeb_builder_tensor(builder, offsets) == NULL || builder->note[offsets].count == ZEB_NONE)
        return zeb_fail(error, ZEB_ERR_ARGUMENT, "input '%s': tensor %d is no offsets of a row space", name, offsets);
    zeb_tensor made = blank(dtype, ZEB_ROLE_INPUT, width == 0 ? 1 : 2);
    made.extent[0] = (zeb_extent){.max = builder->note[offsets].token_max, .live = builder->note[offsets].count};
    made.offsets = offsets;
    if (width != 0) made.extent[1].max = width;
    return add_input(builder, name, &made, tensor, error);
}

zeb_status zeb_builder_plain(zeb_builder *builder, const char *name, zeb_dtype dtype, uint32_t rank,
                             const int64_t *extents, int32_t *tensor, zeb_error *error) {
    *tensor = ZEB_NONE;
    if (rank < 1 || rank > ZEB_RANK_MAX)
        return zeb_fail(error, ZEB_ERR_ARGUMENT, "input '%s': rank %u is not possible", name, rank);
    zeb_tensor made = blank(dtype, ZEB_ROLE_INPUT, rank);
    for (uint32_t i = 0; i < rank; ++i)
        made.extent[i].max = extents[i];
    return add_input(builder, name, &made, tensor, error);
}

zeb_status zeb_builder_weight(zeb_builder *builder, const char *name, zeb_dtype dtype, uint32_t rank,
                              const int64_t *extents, const void *data, int32_t *tensor, zeb_error *error) {
    *tensor = ZEB_NONE;
    if (rank < 1 || rank > 2)
        return zeb_fail(error, ZEB_ERR_ARGUMENT, "weight '%s': rank %u is not 1 or 2", name, rank);
    zeb_tensor made = blank(dtype, ZEB_ROLE_WEIGHT, rank);
    made.data = data;
    for (uint32_t i = 0; i < rank; ++i)
        made.extent[i].max = extents[i];
    char shape[ZEB_SHAPE_TEXT_MAX];
    zeb_shape_text(&made, shape);
    if (!zeb_shape_bytes(&made, &made.bytes))
        return zeb_fail(error, ZEB_ERR_ARGUMENT, "weight '%s': %s is no possible shape", name, shape);
    if (data == NULL) return zeb_fail(error, ZEB_ERR_ARGUMENT, "weight '%s' %s has no data", name, shape);
    if (dtype != ZEB_I8 && dtype != ZEB_U4 && (uintptr_t)data % zeb_dtype_bytes(dtype, 1) != 0)
        return zeb_fail(error, ZEB_ERR_ARGUMENT, "weight '%s' %s: data is not aligned to its elements", name, shape);
    return add_tensor(builder, name, &made, ZEB_NONE, tensor, error);
}

zeb_status zeb_builder_quantised(zeb_builder *builder, int32_t weight, int32_t scale, int32_t group, zeb_error *error) {
    if (zeb_builder_tensor(builder, weight) == NULL || zeb_builder_tensor(builder, scale) == NULL)
        return zeb_fail(error, ZEB_ERR_ARGUMENT, "quantised weight: there is no tensor %d or %d", weight, scale);
    zeb_tensor *w = &builder->tensor[weight];
    zeb_status status = zeb_shape_quantised("graph builder", w, &builder->tensor[scale], group, error);
    if (status != ZEB_OK) return status;
    w->scale = scale;
    w->group = group;
    return ZEB_OK;
}

/* An output's reference to another output of its node, now that ids are known. */
static int32_t resolve(int32_t id, const int32_t *output) {
    return id <= ZEB_SHAPE_OWN ? output[ZEB_SHAPE_OWN - id] : id;
}

/* Makes the tensors of a node's outputs. All of them stand in one run of ids, so references are known beforehand. */
static zeb_status add_outputs(zeb_builder *b, const zeb_node *node, const zeb_tensor *made, int32_t *output,
                              zeb_error *error) {
    zeb_status status = ZEB_OK;
    int32_t next = (int32_t)b->tensor_count;
    for (uint32_t i = 0; i < ZEB_NODE_OUTPUTS_MAX; ++i)
        output[i] = made[i].rank > 0 ? next++ : ZEB_NONE;
    for (uint32_t i = 0; status == ZEB_OK && i < ZEB_NODE_OUTPUTS_MAX; ++i) {
        if (output[i] == ZEB_NONE) continue;
        char *name = NULL;
        zeb_tensor tensor = made[i];
        tensor.offsets = resolve(tensor.offsets, output);
        tensor.extent[0].live = resolve(tensor.extent[0].live, output);
        status = zeb_arena_format(b->names, &name, error, "%s%s", node->name, zeb_shape_output_name(node->op, i));
        if (status == ZEB_OK) status = add_tensor(b, name, &tensor, (int32_t)b->node_count, &next, error);
    }
    return status;
}

/* Remembers the row space that a selecting node made; its indices say which offsets, count and maximum. */
static void note_rows(zeb_builder *b, const zeb_node *node) {
    int32_t indices = node->op == ZEB_OP_SELECT      ? node->output[ZEB_SELECT_INDICES]
                      : node->op == ZEB_OP_ATTENTION ? node->output[ZEB_ATTENTION_INDICES]
                      : node->op == ZEB_OP_EXIT      ? node->output[ZEB_EXIT_INDICES]
                                                     : ZEB_NONE;
    if (indices == ZEB_NONE) return;
    const zeb_tensor *made = &b->tensor[indices];
    b->note[made->offsets].count = made->extent[0].live;
    b->note[made->offsets].token_max = made->extent[0].max;
}

zeb_status zeb_builder_node(zeb_builder *builder, const zeb_node *node, uint32_t want,
                            int32_t output[ZEB_NODE_OUTPUTS_MAX], zeb_error *error) {
    zeb_tensor made[ZEB_NODE_OUTPUTS_MAX];
    zeb_shape_graph graph = {builder->tensor, builder->tensor_count, builder->node, builder->producer};
    zeb_status status = zeb_shape_infer(&graph, node, want, made, error);
    if (status == ZEB_OK) status = reserve_nodes(builder, error);
    if (status == ZEB_OK) status = reserve_tensors(builder, ZEB_NODE_OUTPUTS_MAX, error);
    if (status != ZEB_OK) return status;
    uint32_t hash = hash_of(node->name), before = builder->tensor_count;
    for (uint32_t i = 0; i < builder->node_count; ++i)
        if (builder->node_hash[i] == hash && strcmp(builder->node[i].name, node->name) == 0)
            return zeb_fail(error, ZEB_ERR_ARGUMENT, "there is already a node '%s'", node->name);
    char *name = NULL;
    zeb_node *added = &builder->node[builder->node_count];
    *added = *node;
    status = zeb_arena_copy(builder->names, node->name, strlen(node->name), &name, error);
    added->name = name;
    if (status == ZEB_OK) status = add_outputs(builder, added, made, added->output, error);
    if (status != ZEB_OK) {
        builder->tensor_count = before; /* as if the call had not been */
        return status;
    }
    note_rows(builder, added);
    builder->node_hash[builder->node_count++] = hash;
    if (output != NULL) memcpy(output, added->output, sizeof added->output);
    return ZEB_OK;
}

zeb_status zeb_builder_output(zeb_builder *builder, int32_t tensor, zeb_error *error) {
    const zeb_tensor *found = zeb_builder_tensor(builder, tensor);
    if (found == NULL) return zeb_fail(error, ZEB_ERR_ARGUMENT, "output: there is no tensor %d", tensor);
    if (found->role != ZEB_ROLE_VALUE && found->role != ZEB_ROLE_OUTPUT)
        return zeb_fail(error, ZEB_ERR_ARGUMENT, "output '%s': no node produces it", found->name);
    builder->tensor[tensor].role = ZEB_ROLE_OUTPUT;
    return ZEB_OK;
}

zeb_status zeb_builder_rename(zeb_builder *builder, int32_t tensor, const char *name, zeb_error *error) {
    const zeb_tensor *found = zeb_builder_tensor(builder, tensor);
    uint32_t hash = hash_of(name);
    char *copy = NULL;
    if (found == NULL || found->role < ZEB_ROLE_VALUE)
        return zeb_fail(error, ZEB_ERR_ARGUMENT, "rename to '%s': tensor %d is produced by no node", name, tensor);
    zeb_status status = check_name(builder, name, hash, error);
    if (status == ZEB_OK) status = zeb_arena_copy(builder->names, name, strlen(name), &copy, error);
    if (status != ZEB_OK) return status;
    builder->tensor[tensor].name = copy;
    builder->note[tensor].hash = hash;
    return ZEB_OK;
}

const zeb_tensor *zeb_builder_tensor(const zeb_builder *builder, int32_t tensor) {
    return tensor >= 0 && (uint32_t)tensor < builder->tensor_count ? &builder->tensor[tensor] : NULL;
}

zeb_status zeb_builder_finish(zeb_builder *builder, const zeb_graph **graph, zeb_error *error) {
    *graph = NULL;
    uint32_t outputs = 0;
    for (uint32_t i = 0; i < builder->tensor_count; ++i)
        outputs += builder->tensor[i].role == ZEB_ROLE_OUTPUT;
    if (outputs == 0)
        return zeb_fail(error, ZEB_ERR_ARGUMENT, "the graph has no outputs (%u nodes)", builder->node_count);
    builder->graph = (zeb_graph){.struct_size = sizeof(zeb_graph),
                                 .tensor_count = builder->tensor_count,
                                 .node_count = builder->node_count,
                                 .tensor = builder->tensor,
                                 .node = builder->node};
    *graph = &builder->graph;
    return ZEB_OK;
}

int32_t zeb_graph_find(const zeb_graph *graph, const char *name) {
    for (uint32_t i = 0; i < graph->tensor_count; ++i)
        if (strcmp(graph->tensor[i].name, name) == 0) return (int32_t)i;
    return ZEB_NONE;
}

zeb_node zeb_node_make(const char *name, zeb_op op) {
    zeb_node node = {.name = name, .op = op};
    for (uint32_t i = 0; i < ZEB_NODE_INPUTS_MAX; ++i)
        node.input[i] = ZEB_NONE;
    for (uint32_t i = 0; i < ZEB_NODE_OUTPUTS_MAX; ++i)
        node.output[i] = ZEB_NONE;
    return node;
}
