#include "graph/part.h"

#include <stdlib.h>
#include <string.h>

/* A tensor and those that its shape refers to: offsets and live counts, which refer to none. */
static void mark(const zeb_graph *graph, int32_t id, bool *marks) {
    if (id == ZEB_NONE) return;
    const zeb_tensor *t = &graph->tensor[id];
    marks[id] = true;
    if (t->offsets != ZEB_NONE) marks[t->offsets] = true;
    if (t->scale != ZEB_NONE) marks[t->scale] = true;
    for (uint32_t i = 0; i < t->rank; i++)
        if (t->extent[i].live != ZEB_NONE) marks[t->extent[i].live] = true;
}

static void mark_node(const zeb_graph *graph, const zeb_node *node, bool *marks) {
    for (uint32_t i = 0; i < ZEB_NODE_INPUTS_MAX; i++)
        mark(graph, node->input[i], marks);
    for (uint32_t i = 0; i < ZEB_NODE_OUTPUTS_MAX; i++)
        mark(graph, node->output[i], marks);
}

/* What nodes first .. last - 1 make. */
static void made_by(const zeb_graph *graph, uint32_t first, uint32_t last, bool *made) {
    memset(made, 0, graph->tensor_count * sizeof *made);
    for (uint32_t n = first; n < last; n++)
        for (uint32_t i = 0; i < ZEB_NODE_OUTPUTS_MAX; i++)
            if (graph->node[n].output[i] != ZEB_NONE) made[graph->node[n].output[i]] = true;
}

void zeb_graph_carried(const zeb_graph *graph, uint32_t at, bool *carried) {
    memset(carried, 0, graph->tensor_count * sizeof *carried);
    for (uint32_t n = at; n < graph->node_count; n++)
        mark_node(graph, &graph->node[n], carried);
    for (uint32_t t = 0; t < graph->tensor_count; t++)
        if (graph->tensor[t].role < ZEB_ROLE_VALUE) carried[t] = false;
    for (uint32_t n = at; n < graph->node_count; n++)
        for (uint32_t i = 0; i < ZEB_NODE_OUTPUTS_MAX; i++)
            if (graph->node[n].output[i] != ZEB_NONE) carried[graph->node[n].output[i]] = false;
}

static int32_t renamed(const int32_t *id_of, int32_t id) {
    return id == ZEB_NONE ? ZEB_NONE : id_of[id];
}

static void copy_tensor(const zeb_tensor *from, const bool *made, const bool *readable, int32_t id,
                        const int32_t *id_of, zeb_tensor *to) {
    *to = *from;
    if (from->role != ZEB_ROLE_WEIGHT)
        to->role = !made[id]                                       ? ZEB_ROLE_INPUT
                   : readable[id] || from->role == ZEB_ROLE_OUTPUT ? ZEB_ROLE_OUTPUT
                                                                   : ZEB_ROLE_VALUE;
    to->offsets = renamed(id_of, from->offsets);
    to->scale = renamed(id_of, from->scale);
    for (uint32_t i = 0; i < from->rank; i++)
        to->extent[i].live = renamed(id_of, from->extent[i].live);
}

static void copy_node(const zeb_node *from, const int32_t *id_of, zeb_node *to) {
    *to = *from;
    for (uint32_t i = 0; i < ZEB_NODE_INPUTS_MAX; i++)
        to->input[i] = renamed(id_of, from->input[i]);
    for (uint32_t i = 0; i < ZEB_NODE_OUTPUTS_MAX; i++)
        to->output[i] = renamed(id_of, from->output[i]);
}

zeb_status zeb_graph_part_make(const zeb_graph *whole, uint32_t first, uint32_t last, const int32_t *also, size_t count,
                               zeb_arena *arena, zeb_graph_part *part, zeb_error *error) {
    const size_t tensors = whole->tensor_count, nodes = last - first;
    void *flags, *ids, *table, *list, *renames;
    zeb_status status = zeb_arena_alloc(arena, 3 * tensors, sizeof(bool), &flags, error);
    if (status == ZEB_OK) status = zeb_arena_alloc(arena, tensors, sizeof(int32_t), &ids, error);
    if (status == ZEB_OK) status = zeb_arena_alloc(arena, tensors, sizeof(int32_t), &renames, error);
    if (status == ZEB_OK) status = zeb_arena_alloc(arena, tensors, sizeof(zeb_tensor), &table, error);
    if (status == ZEB_OK) status = zeb_arena_alloc(arena, nodes, sizeof(zeb_node), &list, error);
    if (status != ZEB_OK) return status;
    bool *used = flags, *made = used + tensors, *readable = made + tensors;
    int32_t *id_of = renames;
    zeb_tensor *tensor = table;
    zeb_node *node = list;
    *part = (zeb_graph_part){.graph = *whole, .whole = ids};
    zeb_graph_carried(whole, last, readable);
    for (size_t i = 0; i < count; i++)
        mark(whole, also[i], readable);
    made_by(whole, first, last, made);
    for (uint32_t n = first; n < last; n++)
        mark_node(whole, &whole->node[n], used);
    part->graph.tensor_count = 0;
    for (size_t t = 0; t < tensors; t++)
        if (used[t]) {
            id_of[t] = (int32_t)part->graph.tensor_count;
            part->whole[part->graph.tensor_count++] = (int32_t)t;
        }
    for (uint32_t t = 0; t < part->graph.tensor_count; t++) {
        const int32_t id = part->whole[t];
        copy_tensor(&whole->tensor[id], made, readable, id, id_of, &tensor[t]);
    }
    for (uint32_t n = first; n < last; n++)
        copy_node(&whole->node[n], id_of, &node[n - first]);
    part->graph.tensor = tensor;
    part->graph.node = node;
    part->graph.node_count = (uint32_t)nodes;
    return ZEB_OK;
}
