#include "graph/cost.h"

#include <stdlib.h>
#include <string.h>

#include "graph/cost_state.h"

static zeb_status take(zeb_cost *cost, size_t count, size_t size, void *pointer, zeb_error *error) {
    void *memory = NULL;
    zeb_status status = zeb_arena_alloc(cost->arena, count, size, &memory, error);
    memcpy(pointer, &memory, sizeof memory);
    return status;
}

static zeb_status copy_graph(zeb_cost *cost, const zeb_graph *graph, zeb_error *error) {
    zeb_tensor *tensor = NULL;
    zeb_node *node = NULL;
    zeb_status status = take(cost, graph->tensor_count, sizeof *tensor, &tensor, error);
    if (status == ZEB_OK) status = take(cost, graph->node_count, sizeof *node, &node, error);
    for (uint32_t i = 0; status == ZEB_OK && i < graph->tensor_count; ++i) {
        char *name = NULL;
        tensor[i] = graph->tensor[i];
        status = zeb_arena_copy(cost->arena, tensor[i].name, strlen(tensor[i].name), &name, error);
        tensor[i].name = name;
    }
    if (status != ZEB_OK) return status;
    if (graph->node_count > 0) memcpy(node, graph->node, graph->node_count * sizeof *node);
    for (uint32_t i = 0; i < graph->node_count; ++i)
        node[i].name = NULL; /* not needed, and not ours */
    cost->graph = *graph;
    cost->graph.tensor = tensor;
    cost->graph.node = node;
    return ZEB_OK;
}

/* Lists a tensor among those to read, if the harness may. */
static zeb_status add_read(zeb_cost *cost, int32_t tensor, void **value, zeb_error *error) {
    const zeb_tensor *about = &cost->graph.tensor[tensor];
    *value = NULL;
    if (about->role != ZEB_ROLE_OUTPUT && about->role != ZEB_ROLE_INPUT) return ZEB_OK;
    zeb_status status = take(cost, about->bytes, 1, value, error);
    if (status == ZEB_OK)
        cost->read[cost->read_count++] =
            (zeb_cost_read){.tensor = tensor, .bytes = about->bytes, .value = *value, .name = about->name};
    return status;
}

static zeb_status add_space(zeb_cost *cost, int32_t offsets, int64_t row_max, int32_t source, const zeb_select *select,
                            zeb_error *error) {
    zeb_cost_space *space = &cost->space[cost->space_count];
    void *kept = NULL;
    *space = (zeb_cost_space){.offsets = offsets,
                              .source = source,
                              .batch_max = cost->graph.tensor[offsets].extent[0].max - 1,
                              .row_max = row_max};
    if (select != NULL) space->select = *select;
    zeb_status status = take(cost, (size_t)space->batch_max, sizeof *space->length, &space->length, error);
    if (status == ZEB_OK && source != ZEB_NONE) status = add_read(cost, offsets, &kept, error);
    space->kept = kept;
    cost->space_of[offsets] = (int32_t)cost->space_count++;
    return status;
}

static zeb_status add_gates(zeb_cost *cost, int32_t tensor, zeb_error *error) {
    void *value;
    for (uint32_t i = 0; i < cost->read_count; ++i)
        if (cost->read[i].tensor == tensor) return ZEB_OK;
    return tensor == ZEB_NONE ? ZEB_OK : add_read(cost, tensor, &value, error);
}

/* The row space that a node makes, and the gates that it obeys. */
static zeb_status add_node(zeb_cost *cost, const zeb_node *node, zeb_error *error) {
    static const zeb_select sure = {.mode = ZEB_SELECT_THRESHOLD}; /* as there, only the device knows who is left */
    static const struct {
        uint32_t rows, indices, offsets;
    } at[] = {[ZEB_OP_SELECT] = {ZEB_SELECT_ROWS, ZEB_SELECT_INDICES, ZEB_SELECT_OFFSETS},
              [ZEB_OP_ATTENTION] = {ZEB_ATTENTION_K, ZEB_ATTENTION_INDICES, ZEB_ATTENTION_OFFSETS},
              [ZEB_OP_EXIT] = {ZEB_EXIT_ROWS, ZEB_EXIT_INDICES, ZEB_EXIT_OFFSETS}};
    int attention = node->op == ZEB_OP_ATTENTION, linear = node->op == ZEB_OP_LINEAR;
    zeb_status status = attention || linear
                            ? add_gates(cost, node->input[linear ? ZEB_LINEAR_GATES : ZEB_ATTENTION_GATES], error)
                            : ZEB_OK;
    if (status != ZEB_OK || (node->op != ZEB_OP_SELECT && node->op != ZEB_OP_EXIT && !attention)) return status;
    const zeb_select *select = attention                   ? &node->attr.attention.select
                               : node->op == ZEB_OP_SELECT ? &node->attr.select
                                                           : &sure;
    int32_t indices = node->output[at[node->op].indices], rows = node->input[at[node->op].rows];
    if (select->mode == ZEB_SELECT_NONE || indices == ZEB_NONE) return ZEB_OK;
    return add_space(cost, node->output[at[node->op].offsets], cost->graph.tensor[indices].extent[0].max,
                     cost->space_of[cost->graph.tensor[rows].offsets], select, error);
}

zeb_status zeb_cost_create(const zeb_graph *graph, zeb_cost **out, zeb_error *error) {
    *out = NULL;
    zeb_cost *cost = calloc(1, sizeof *cost);
    if (cost == NULL) return zeb_fail(error, ZEB_ERR_MEMORY, "out of memory for a cost model");
    zeb_status status = zeb_arena_create(&cost->arena, error);
    if (status == ZEB_OK) status = copy_graph(cost, graph, error);
    if (status == ZEB_OK) status = take(cost, graph->tensor_count, sizeof *cost->space, &cost->space, error);
    if (status == ZEB_OK) status = take(cost, graph->tensor_count, sizeof *cost->space_of, &cost->space_of, error);
    if (status == ZEB_OK) status = take(cost, graph->tensor_count, sizeof *cost->read, &cost->read, error);
    if (status == ZEB_OK) status = take(cost, graph->tensor_count, sizeof *cost->done, &cost->done, error);
    for (uint32_t i = 0; status == ZEB_OK && i < graph->tensor_count; ++i) {
        cost->space_of[i] = ZEB_NONE;
        cost->done[i] = UINT64_MAX;
    }
    for (uint32_t i = 0; status == ZEB_OK && i < graph->tensor_count; ++i) {
        const zeb_tensor *rows = &graph->tensor[i];
        if (rows->offsets != ZEB_NONE && graph->tensor[rows->offsets].role == ZEB_ROLE_INPUT &&
            cost->space_of[rows->offsets] == ZEB_NONE)
            status = add_space(cost, rows->offsets, rows->extent[0].max, ZEB_NONE, NULL, error);
    }
    for (uint32_t i = 0; status == ZEB_OK && i < graph->node_count; ++i)
        status = add_node(cost, &cost->graph.node[i], error);
    for (uint32_t i = 0; status == ZEB_OK && i < graph->tensor_count; ++i)
        if (graph->tensor[i].offsets != ZEB_NONE) cost->space_of[i] = cost->space_of[graph->tensor[i].offsets];
    if (status == ZEB_OK)
        *out = cost;
    else
        zeb_cost_destroy(cost);
    return status;
}

void zeb_cost_destroy(zeb_cost *cost) {
    if (cost == NULL) return;
    zeb_arena_destroy(cost->arena);
    free(cost);
}

size_t zeb_cost_reads(const zeb_cost *cost, const zeb_cost_read **read) {
    *read = cost->read;
    return cost->read_count;
}

void zeb_cost_blocks_done(zeb_cost *cost, int32_t tensor, uint64_t count) {
    for (uint32_t i = 0; i < cost->graph.node_count; ++i) {
        const zeb_node *node = &cost->graph.node[i];
        if (node->output[0] != tensor) continue;
        if (node->op == ZEB_OP_BLOCKS) cost->done[tensor] = count * (uint64_t)node->attr.blocks.size;
        if (node->op == ZEB_OP_ATTENTION) cost->done[tensor] = count * (uint64_t)node->attr.attention.head_dim;
    }
}

const float *zeb_cost_gate_values(const zeb_cost *cost, int32_t tensor) {
    for (uint32_t i = 0; !cost->dense && i < cost->read_count; ++i)
        if (cost->read[i].tensor == tensor) return cost->read[i].value;
    return NULL;
}

uint64_t zeb_cost_rows(const zeb_cost *cost, int32_t tensor) {
    int32_t index = cost->space_of[tensor];
    if (index == ZEB_NONE) return (uint64_t)cost->graph.tensor[tensor].extent[0].max;
    const zeb_cost_space *space = &cost->space[index];
    uint64_t rows = 0;
    for (int64_t b = 0; b < space->batch_max; ++b)
        rows += (uint64_t)space->length[b];
    return rows;
}

static zeb_status set_input(const zeb_cost *cost, zeb_cost_space *space, const int32_t *length, size_t count,
                            zeb_error *error) {
    const char *name = cost->graph.tensor[space->offsets].name;
    int64_t rows = 0;
    if (count > (size_t)space->batch_max)
        return zeb_fail(error, ZEB_ERR_RANGE, "cost: %zu sequences, but '%s' holds at most %lld", count, name,
                        (long long)space->batch_max);
    for (size_t b = 0; b < (size_t)space->batch_max; ++b) {
        space->length[b] = b < count ? length[b] : 0;
        rows += space->length[b];
        if (space->length[b] < 0 || rows > space->row_max)
            return zeb_fail(error, ZEB_ERR_RANGE, "cost: sequence %zu of length %d does not fit into '%s' (%lld rows)",
                            b, space->length[b], name, (long long)space->row_max);
    }
    return ZEB_OK;
}

/* Lengths of a selection: as read, as its mode implies, or (dense) all rows. */
static zeb_status set_selected(const zeb_cost *cost, zeb_cost_space *space, zeb_error *error) {
    const int32_t *before = cost->space[space->source].length;
    const char *name = cost->graph.tensor[space->offsets].name;
    int first = space->select.mode == ZEB_SELECT_FIRST;
    int by_value = space->select.mode == ZEB_SELECT_THRESHOLD || space->select.mode == ZEB_SELECT_RELATIVE;
    if (!cost->dense && space->kept == NULL && by_value)
        return zeb_fail(error, ZEB_ERR_UNSUPPORTED, "cost: '%s' is no output, so the rows that survived are unknown",
                        name);
    for (int64_t b = 0; b < space->batch_max; ++b) {
        if (cost->dense && !first)
            space->length[b] = before[b];
        else if (cost->dense || space->kept == NULL)
            space->length[b] = zeb_select_quota(&space->select, before[b]);
        else
            space->length[b] = space->kept[b + 1] - space->kept[b];
        if (space->length[b] < 0 || space->length[b] > before[b])
            return zeb_fail(error, ZEB_ERR_RANGE, "cost: '%s' says that %d of %d rows of sequence %lld survived", name,
                            space->length[b], before[b], (long long)b);
    }
    return ZEB_OK;
}

static zeb_status check_gates(const zeb_cost *cost, zeb_error *error) {
    for (uint32_t i = 0; i < cost->graph.node_count; ++i) {
        const zeb_node *node = &cost->graph.node[i];
        int32_t gates = node->op == ZEB_OP_LINEAR      ? node->input[ZEB_LINEAR_GATES]
                        : node->op == ZEB_OP_ATTENTION ? node->input[ZEB_ATTENTION_GATES]
                                                       : ZEB_NONE;
        if (gates != ZEB_NONE && zeb_cost_gate_values(cost, gates) == NULL)
            return zeb_fail(error, ZEB_ERR_UNSUPPORTED, "cost: '%s' is no output, so the open gates are unknown",
                            cost->graph.tensor[gates].name);
    }
    return ZEB_OK;
}

static zeb_status count_pass(zeb_cost *cost, const int32_t *length, size_t count, zeb_work *node, zeb_work *total,
                             zeb_error *error) {
    zeb_status status = cost->dense ? ZEB_OK : check_gates(cost, error);
    *total = (zeb_work){0, 0};
    for (uint32_t i = 0; status == ZEB_OK && i < cost->space_count; ++i) {
        zeb_cost_space *space = &cost->space[i];
        status =
            space->source == ZEB_NONE ? set_input(cost, space, length, count, error) : set_selected(cost, space, error);
    }
    for (uint32_t i = 0; status == ZEB_OK && i < cost->graph.node_count; ++i) {
        zeb_work work = zeb_cost_node(cost, &cost->graph.node[i]);
        if (node != NULL) node[i] = work;
        total->flops += work.flops;
        total->bytes += work.bytes;
    }
    return status;
}

zeb_status zeb_cost_dense(zeb_cost *cost, const int32_t *length, size_t count, zeb_work *node, zeb_work *total,
                          zeb_error *error) {
    cost->dense = 1;
    return count_pass(cost, length, count, node, total, error);
}

zeb_status zeb_cost_executed(zeb_cost *cost, const int32_t *length, size_t count, zeb_work *node, zeb_work *total,
                             zeb_error *error) {
    cost->dense = 0;
    return count_pass(cost, length, count, node, total, error);
}
