#include "graph/check.h"

#include <stdlib.h>
#include <string.h>

#include "graph/shape.h"

static zeb_status check_id(const zeb_graph *graph, uint32_t tensor, int32_t id, const char *what, zeb_error *error) {
    if (id == ZEB_NONE) return ZEB_OK;
    if (id >= 0 && (uint32_t)id < graph->tensor_count && graph->tensor[id].dtype == ZEB_I32 &&
        graph->tensor[id].rank == 1)
        return ZEB_OK;
    return zeb_fail(error, ZEB_ERR_ARGUMENT, "tensor '%s': %s %d is no I32 tensor of rank 1",
                    graph->tensor[tensor].name, what, id);
}

/* What can be said of a tensor by itself. */
static zeb_status check_tensor(const zeb_graph *graph, uint32_t index, zeb_error *error) {
    const zeb_tensor *tensor = &graph->tensor[index];
    size_t bytes;
    if (tensor->name == NULL || tensor->name[0] == '\0')
        return zeb_fail(error, ZEB_ERR_ARGUMENT, "tensor %u has no name", index);
    for (uint32_t i = 0; i < index; ++i)
        if (strcmp(graph->tensor[i].name, tensor->name) == 0)
            return zeb_fail(error, ZEB_ERR_ARGUMENT, "there are two tensors '%s'", tensor->name);
    if (!zeb_shape_bytes(tensor, &bytes) || bytes != tensor->bytes)
        return zeb_fail(error, ZEB_ERR_ARGUMENT, "tensor '%s': shape and %zu bytes do not go together", tensor->name,
                        tensor->bytes);
    if (tensor->role < ZEB_ROLE_INPUT || tensor->role > ZEB_ROLE_OUTPUT)
        return zeb_fail(error, ZEB_ERR_ARGUMENT, "tensor '%s': role %d is unknown", tensor->name, (int)tensor->role);
    if ((tensor->role == ZEB_ROLE_WEIGHT) != (tensor->data != NULL))
        return zeb_fail(error, ZEB_ERR_ARGUMENT, "tensor '%s': weights alone have data", tensor->name);
    if ((tensor->offsets == ZEB_NONE) != (tensor->extent[0].live == ZEB_NONE))
        return zeb_fail(error, ZEB_ERR_ARGUMENT, "tensor '%s': offsets and live count go together", tensor->name);
    zeb_status status = check_id(graph, index, tensor->offsets, "offsets", error);
    for (uint32_t i = 0; status == ZEB_OK && i < tensor->rank; ++i)
        status = check_id(graph, index, tensor->extent[i].live, "live count", error);
    return status;
}

static int same(const zeb_tensor *made, const zeb_tensor *found, const int32_t *output) {
    int32_t offsets = made->offsets <= ZEB_SHAPE_OWN ? output[ZEB_SHAPE_OWN - made->offsets] : made->offsets;
    int32_t live =
        made->extent[0].live <= ZEB_SHAPE_OWN ? output[ZEB_SHAPE_OWN - made->extent[0].live] : made->extent[0].live;
    if (made->dtype != found->dtype || made->rank != found->rank || offsets != found->offsets) return 0;
    for (uint32_t i = 0; i < made->rank; ++i)
        if (made->extent[i].max != found->extent[i].max) return 0;
    return live == found->extent[0].live;
}

/* Compares a node's outputs with what its inputs make them, and enters the node as their producer. */
static zeb_status check_node(const zeb_graph *graph, uint32_t index, int32_t *producer, zeb_error *error) {
    const zeb_node *node = &graph->node[index];
    zeb_tensor made[ZEB_NODE_OUTPUTS_MAX];
    zeb_shape_graph view = {graph->tensor, graph->tensor_count, graph->node, producer};
    uint32_t want = node->op == ZEB_OP_ATTENTION && node->output[ZEB_ATTENTION_IMPORTANCE] != ZEB_NONE
                        ? 1u << ZEB_ATTENTION_IMPORTANCE
                        : 0;
    zeb_status status = zeb_shape_infer(&view, node, want, made, error);
    if (status != ZEB_OK) return status;
    for (uint32_t i = 0; i < ZEB_NODE_INPUTS_MAX; ++i) {
        int32_t id = node->input[i];
        if (id != ZEB_NONE && graph->tensor[id].role >= ZEB_ROLE_VALUE && producer[id] == ZEB_NONE)
            return zeb_fail(error, ZEB_ERR_ARGUMENT, "node '%s' (%s): '%s' is read before a node makes it", node->name,
                            zeb_op_name(node->op), graph->tensor[id].name);
    }
    for (uint32_t i = 0; i < ZEB_NODE_OUTPUTS_MAX; ++i) {
        int32_t id = node->output[i];
        int there = id >= 0 && (uint32_t)id < graph->tensor_count;
        if (!there && id == ZEB_NONE && made[i].rank == 0) continue;
        if (!there || made[i].rank == 0)
            return zeb_fail(error, ZEB_ERR_ARGUMENT, "node '%s' (%s): output %u is missing or one too many", node->name,
                            zeb_op_name(node->op), i);
        if (graph->tensor[id].role < ZEB_ROLE_VALUE || producer[id] != ZEB_NONE ||
            !same(&made[i], &graph->tensor[id], node->output))
            return zeb_fail(error, ZEB_ERR_ARGUMENT, "node '%s' (%s): output '%s' is not what the node makes",
                            node->name, zeb_op_name(node->op), graph->tensor[id].name);
        producer[id] = (int32_t)index;
    }
    return ZEB_OK;
}

zeb_status zeb_graph_check(const zeb_graph *graph, zeb_error *error) {
    zeb_status status = ZEB_OK;
    uint32_t outputs = 0;
    int32_t *producer = malloc(((size_t)graph->tensor_count + 1) * sizeof *producer);
    if (producer == NULL) return zeb_fail(error, ZEB_ERR_MEMORY, "out of memory for a graph check");
    for (uint32_t i = 0; i < graph->tensor_count; ++i)
        producer[i] = ZEB_NONE;
    for (uint32_t i = 0; status == ZEB_OK && i < graph->tensor_count; ++i) {
        status = check_tensor(graph, i, error);
        outputs += graph->tensor[i].role == ZEB_ROLE_OUTPUT;
    }
    for (uint32_t i = 0; status == ZEB_OK && i < graph->node_count; ++i) {
        status = check_node(graph, i, producer, error);
        for (uint32_t j = 0; status == ZEB_OK && j < i; ++j)
            if (strcmp(graph->node[j].name, graph->node[i].name) == 0)
                status = zeb_fail(error, ZEB_ERR_ARGUMENT, "there are two nodes '%s'", graph->node[i].name);
    }
    for (uint32_t i = 0; status == ZEB_OK && i < graph->tensor_count; ++i)
        if (graph->tensor[i].role >= ZEB_ROLE_VALUE && producer[i] == ZEB_NONE)
            status = zeb_fail(error, ZEB_ERR_ARGUMENT, "tensor '%s': no node makes it", graph->tensor[i].name);
    if (status == ZEB_OK && outputs == 0) status = zeb_fail(error, ZEB_ERR_ARGUMENT, "the graph has no outputs");
    free(producer);
    return status;
}
