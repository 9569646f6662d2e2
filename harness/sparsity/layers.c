/* What a graph's layers are, and whether the last one may be reduced to its first row. */
#include "sparsity/rules.h"

int32_t zeb_layers_producer(const zeb_graph *graph, int32_t tensor) {
    for (uint32_t i = 0; tensor != ZEB_NONE && i < graph->node_count; ++i)
        for (uint32_t j = 0; j < ZEB_NODE_OUTPUTS_MAX; ++j)
            if (graph->node[i].output[j] == tensor) return (int32_t)i;
    return ZEB_NONE;
}

static uint32_t consumers(const zeb_graph *graph, int32_t tensor) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < graph->node_count; ++i)
        for (uint32_t j = 0; j < ZEB_NODE_INPUTS_MAX; ++j)
            count += graph->node[i].input[j] == tensor;
    return count;
}

/* The LINEAR that makes q, k or v for this attention and nobody else. */
static int32_t projection(const zeb_graph *graph, int32_t tensor) {
    int32_t node = zeb_layers_producer(graph, tensor);
    int alone = node != ZEB_NONE && graph->node[node].op == ZEB_OP_LINEAR && consumers(graph, tensor) == 1 &&
                graph->tensor[tensor].role == ZEB_ROLE_VALUE;
    return alone ? node : ZEB_NONE;
}

void zeb_layers_find(const zeb_graph *graph, zeb_layer *layer, int32_t capacity, int32_t *count) {
    *count = 0;
    for (uint32_t i = 0; i < graph->node_count; ++i) {
        const zeb_node *node = &graph->node[i];
        if (node->op != ZEB_OP_ATTENTION || (*count)++ >= capacity) continue;
        zeb_layer *found = &layer[*count - 1];
        *found = (zeb_layer){.attention = (int32_t)i, .input = ZEB_NONE};
        for (uint32_t j = 0; j < 3; ++j)
            found->project[j] = projection(graph, node->input[ZEB_ATTENTION_Q + j]);
        if (found->project[1] != ZEB_NONE) found->input = graph->node[found->project[1]].input[ZEB_LINEAR_X];
    }
}

static int reads(const zeb_node *node, const unsigned char *affected) {
    for (uint32_t j = 0; j < ZEB_NODE_INPUTS_MAX; ++j)
        if (node->input[j] != ZEB_NONE && affected[node->input[j]]) return 1;
    return 0;
}

/* Follows the context's rows: ops that treat rows one by one hand them on, POOL FIRST ends them, all else needs more.
 */
static int follow(const zeb_graph *graph, const zeb_layer *layer, unsigned char *affected) {
    int pooled = 0;
    affected[graph->node[layer->attention].output[ZEB_ATTENTION_CONTEXT]] = 1;
    for (uint32_t i = (uint32_t)layer->attention + 1; i < graph->node_count; ++i) {
        const zeb_node *node = &graph->node[i];
        if (!reads(node, affected)) continue;
        if (node->op == ZEB_OP_POOL && node->attr.pool.kind == ZEB_POOL_FIRST) {
            pooled = 1;
            continue;
        }
        if (node->op != ZEB_OP_LINEAR && node->op != ZEB_OP_NORM && node->op != ZEB_OP_ACTIVATION) return 0;
        affected[node->output[0]] = 1;
    }
    for (uint32_t i = 0; i < graph->tensor_count; ++i)
        if (affected[i] && graph->tensor[i].role == ZEB_ROLE_OUTPUT) return 0;
    return pooled;
}

int zeb_layers_only_first(const zeb_graph *graph, const zeb_layer *layer) {
    const zeb_node *node = &graph->node[layer->attention];
    const zeb_attention_attr *attr = &node->attr.attention;
    int32_t q = graph->tensor[node->input[ZEB_ATTENTION_Q]].offsets;
    int32_t k = graph->tensor[node->input[ZEB_ATTENTION_K]].offsets;
    /* A causal first row sees itself alone, and alone in its row space it would see all. Importance needs all rows. */
    if (attr->causal != 0 || attr->select.mode != ZEB_SELECT_NONE || q != k ||
        node->output[ZEB_ATTENTION_IMPORTANCE] != ZEB_NONE)
        return 0;
    unsigned char *affected = NULL;
    zeb_arena *arena = NULL;
    void *memory = NULL;
    int only = 0;
    if (zeb_arena_create(&arena, NULL) == ZEB_OK &&
        zeb_arena_alloc(arena, graph->tensor_count, 1, &memory, NULL) == ZEB_OK) {
        affected = memory;
        only = follow(graph, layer, affected);
    }
    zeb_arena_destroy(arena);
    return only;
}

int32_t zeb_layers_ffn(const zeb_graph *graph, const zeb_layer *layer, int32_t layers, int32_t node) {
    const zeb_node *linear = &graph->node[node];
    int32_t l = ZEB_NONE;
    while (l + 1 < layers && layer[l + 1].attention < node)
        ++l;
    if (l == ZEB_NONE || linear->op != ZEB_OP_LINEAR) return ZEB_NONE;
    int32_t x = linear->input[ZEB_LINEAR_X], made_by = zeb_layers_producer(graph, x);
    if (made_by < layer[l].attention || graph->tensor[x].offsets == ZEB_NONE) return ZEB_NONE;
    const zeb_node *inner = &graph->node[made_by];
    int active =
        inner->op == ZEB_OP_ACTIVATION || (inner->op == ZEB_OP_LINEAR && inner->attr.linear.activation != ZEB_ACT_NONE);
    return active ? l : ZEB_NONE;
}
