#include "memory.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "pack.h"

typedef struct layout_state {
    const zeb_graph *graph;
    ocl_layout *layout;
    bool *busy;    /* [buffer] holds something that is still read */
    bool *own;     /* [tensor] never shares */
    int32_t *last; /* [tensor] node that reads it last, or the one that makes it */
} layout_state;

int ocl_needs_importance(const zeb_node *node) {
    uint32_t mode = node->attr.attention.select.mode;
    return node->output[ZEB_ATTENTION_IMPORTANCE] != ZEB_NONE || (mode != ZEB_SELECT_NONE && mode != ZEB_SELECT_FIRST);
}

static size_t rows_of(const zeb_graph *graph, int32_t tensor) {
    return (size_t)graph->tensor[tensor].extent[0].max;
}

static size_t batch_of(const zeb_graph *graph, int32_t tensor) {
    return rows_of(graph, graph->tensor[tensor].offsets);
}

/* Bytes of each scratch place of a node. */
static void scratch_of(const zeb_graph *graph, const zeb_node *node, size_t bytes[OCL_SCRATCH_MAX]) {
    memset(bytes, 0, OCL_SCRATCH_MAX * sizeof *bytes);
    const int32_t *input = node->input;
    switch (node->op) {
        case ZEB_OP_ATTENTION: {
            size_t heads = (size_t)node->attr.attention.heads;
            size_t keys = rows_of(graph, input[ZEB_ATTENTION_K]);
            bytes[OCL_ATTENTION_GREATEST] = 4 * heads * rows_of(graph, input[ZEB_ATTENTION_Q]);
            bytes[OCL_ATTENTION_TOTAL] = bytes[OCL_ATTENTION_GREATEST];
            if (ocl_needs_importance(node)) bytes[OCL_ATTENTION_PART] = 4 * heads * keys;
            if (ocl_needs_importance(node) && node->output[ZEB_ATTENTION_IMPORTANCE] == ZEB_NONE)
                bytes[OCL_ATTENTION_WORTH] = 4 * keys;
            if (node->attr.attention.select.mode == ZEB_SELECT_NONE) break;
            bytes[OCL_ATTENTION_KEEP] = 4 * keys;
            bytes[OCL_ATTENTION_COUNTS] = 4 * batch_of(graph, input[ZEB_ATTENTION_K]);
            break;
        }
        case ZEB_OP_SELECT:
            bytes[OCL_SELECT_KEEP] = 4 * rows_of(graph, input[ZEB_SELECT_ROWS]);
            bytes[OCL_SELECT_COUNTS] = 4 * batch_of(graph, input[ZEB_SELECT_ROWS]);
            break;
        case ZEB_OP_EXIT:
            bytes[OCL_SELECT_KEEP] = 4 * rows_of(graph, input[ZEB_EXIT_ROWS]);
            bytes[OCL_SELECT_COUNTS] = 4 * batch_of(graph, input[ZEB_EXIT_ROWS]);
            break;
        case ZEB_OP_HEAD_GATE:
            bytes[OCL_HEAD_GATE_MEAN] = 4 * batch_of(graph, input[ZEB_HEAD_GATE_X]) *
                                        (size_t)graph->tensor[input[ZEB_HEAD_GATE_X]].extent[1].max;
            break;
        case ZEB_OP_LOG_LIKELIHOOD:
            bytes[OCL_LIKELIHOOD_GREATEST] =
                (size_t)4 * OCL_LIKELIHOOD_PARTS * rows_of(graph, input[ZEB_LOG_LIKELIHOOD_X]);
            bytes[OCL_LIKELIHOOD_TOTAL] = bytes[OCL_LIKELIHOOD_GREATEST];
            break;
        default: break;
    }
}

/* A buffer for so many bytes: the smallest free one that is large enough, else a new one. */
static int32_t take(layout_state *s, size_t bytes, bool own) {
    ocl_layout *layout = s->layout;
    int32_t best = ZEB_NONE;
    for (uint32_t i = 0; !own && i < layout->count; i++)
        if (!s->busy[i] && layout->bytes[i] >= bytes && (best == ZEB_NONE || layout->bytes[i] < layout->bytes[best]))
            best = (int32_t)i;
    if (best == ZEB_NONE) {
        best = (int32_t)layout->count++;
        layout->bytes[best] = bytes;
    }
    s->busy[best] = true;
    return best;
}

static void find_lives(layout_state *s) {
    const zeb_graph *graph = s->graph;
    for (uint32_t i = 0; i < graph->tensor_count; i++) {
        const zeb_tensor *tensor = &graph->tensor[i];
        s->last[i] = ZEB_NONE;
        if (tensor->role != ZEB_ROLE_VALUE || tensor->dtype != ZEB_F32) s->own[i] = true;
        if (tensor->offsets != ZEB_NONE) s->own[tensor->offsets] = true;
        if (tensor->extent[0].live != ZEB_NONE) s->own[tensor->extent[0].live] = true;
    }
    for (uint32_t n = 0; n < graph->node_count; n++) {
        for (uint32_t i = 0; i < ZEB_NODE_INPUTS_MAX; i++)
            if (graph->node[n].input[i] != ZEB_NONE) s->last[graph->node[n].input[i]] = (int32_t)n;
        for (uint32_t i = 0; i < ZEB_NODE_OUTPUTS_MAX; i++)
            if (graph->node[n].output[i] != ZEB_NONE) s->last[graph->node[n].output[i]] = (int32_t)n;
    }
}

static void place(layout_state *s) {
    const zeb_graph *graph = s->graph;
    ocl_layout *layout = s->layout;
    for (uint32_t i = 0; i < graph->tensor_count; i++) {
        layout->tensor[i] = ZEB_NONE;
        if (graph->tensor[i].role != ZEB_ROLE_WEIGHT && s->own[i])
            layout->tensor[i] = take(s, 4 * ocl_elements(&graph->tensor[i]), true);
    }
    for (uint32_t n = 0; n < graph->node_count; n++) {
        const zeb_node *node = &graph->node[n];
        size_t bytes[OCL_SCRATCH_MAX];
        scratch_of(graph, node, bytes);
        for (uint32_t i = 0; i < ZEB_NODE_OUTPUTS_MAX; i++)
            if (node->output[i] != ZEB_NONE && layout->tensor[node->output[i]] == ZEB_NONE)
                layout->tensor[node->output[i]] = take(s, 4 * ocl_elements(&graph->tensor[node->output[i]]), false);
        for (uint32_t i = 0; i < OCL_SCRATCH_MAX; i++)
            layout->scratch[n][i] = bytes[i] == 0 ? ZEB_NONE : take(s, bytes[i], false);
        for (uint32_t i = 0; i < OCL_SCRATCH_MAX; i++)
            if (layout->scratch[n][i] != ZEB_NONE) s->busy[layout->scratch[n][i]] = false;
        for (uint32_t i = 0; i < graph->tensor_count; i++)
            if (s->last[i] == (int32_t)n && !s->own[i] && layout->tensor[i] != ZEB_NONE)
                s->busy[layout->tensor[i]] = false;
    }
}

zeb_status ocl_layout_make(const zeb_graph *graph, ocl_layout *layout, zeb_error *error) {
    size_t tensors = graph->tensor_count;
    size_t nodes = graph->node_count;
    size_t most = tensors + nodes * OCL_SCRATCH_MAX + 1;
    *layout = (ocl_layout){.bytes = calloc(most, sizeof *layout->bytes),
                           .tensor = calloc(tensors + 1, sizeof *layout->tensor),
                           .scratch = calloc(nodes + 1, sizeof *layout->scratch)};
    layout_state state = {.graph = graph,
                          .layout = layout,
                          .busy = calloc(most, sizeof *state.busy),
                          .own = calloc(tensors + 1, sizeof *state.own),
                          .last = calloc(tensors + 1, sizeof *state.last)};
    bool there = layout->bytes != NULL && layout->tensor != NULL && layout->scratch != NULL && state.busy != NULL &&
                 state.own != NULL && state.last != NULL;
    if (there) {
        find_lives(&state);
        place(&state);
    }
    free(state.busy);
    free(state.own);
    free(state.last);
    if (there) return ZEB_OK;
    ocl_layout_free(layout);
    return zeb_fail(error, ZEB_ERR_MEMORY, "no memory to plan the buffers of %zu tensors", tensors);
}

void ocl_layout_free(ocl_layout *layout) {
    free(layout->bytes);
    free(layout->tensor);
    free(layout->scratch);
    *layout = (ocl_layout){0};
}
