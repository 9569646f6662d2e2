/* A graph copied node by node into a builder, with rows dropped on the way.
 *
 * Every row tensor of the new graph lies in a row space; each selection makes one below the space it chose from. A node
 * whose rows come from several of them (a residual from before the drop) works in the deepest, and the others are
 * gathered down to it. That one rule serves token dropping and the [CLS]-only layer alike. */
#include <string.h>

#include "sparsity/replaying.h"
#include "sparsity/rewrite.h"

zeb_status zeb_replay_text(zeb_replaying *r, const char **text, const char *before, const char *between,
                           const char *after) {
    char *made = NULL;
    zeb_status status = zeb_arena_format(r->arena, &made, r->error, "%s%s%s", before, between, after);
    *text = made;
    return status;
}

int32_t zeb_replay_space_of(const zeb_replaying *r, int32_t tensor) {
    int32_t offsets = zeb_builder_tensor(r->builder, tensor)->offsets;
    for (int32_t i = 0; offsets != ZEB_NONE && i < r->spaces; ++i)
        if (r->space[i].offsets == offsets) return i;
    return ZEB_NONE;
}

static int32_t depth_of(const zeb_replaying *r, int32_t at) {
    int32_t depth = 0;
    for (; at != ZEB_NONE; at = r->space[at].parent)
        ++depth;
    return depth;
}

int32_t zeb_replay_add_space(zeb_replaying *r, int32_t offsets, int32_t indices, int32_t parent, const char *name) {
    r->space[r->spaces] = (zeb_row_space){offsets, indices, parent, name};
    return r->spaces++;
}

/* ---- inputs and weights */

static zeb_status copy_rows(zeb_replaying *r, const zeb_tensor *of) {
    const zeb_tensor *offsets = &r->graph->tensor[of->offsets];
    size_t length = strlen(offsets->name), ending = strlen(".offsets");
    char *name = NULL;
    if (length <= ending || strcmp(offsets->name + length - ending, ".offsets") != 0)
        return zeb_fail(r->error, ZEB_ERR_ARGUMENT, "rewrite: row space '%s' is not named <name>.offsets",
                        offsets->name);
    zeb_status status = zeb_arena_copy(r->arena, offsets->name, length - ending, &name, r->error);
    if (status == ZEB_OK)
        status = zeb_builder_rows(r->builder, name, of->extent[0].max, offsets->extent[0].max - 1, &r->map[of->offsets],
                                  r->error);
    if (status != ZEB_OK) return status;
    r->map[of->extent[0].live] = r->map[of->offsets] + 1;
    (void)zeb_replay_add_space(r, r->map[of->offsets], ZEB_NONE, ZEB_NONE, name);
    return ZEB_OK;
}

static zeb_status copy_input(zeb_replaying *r, uint32_t index) {
    const zeb_tensor *input = &r->graph->tensor[index];
    int64_t extents[ZEB_RANK_MAX];
    if (r->map[index] != ZEB_NONE) return ZEB_OK; /* offsets or count of a row space that is there */
    if (input->offsets != ZEB_NONE)
        return zeb_builder_input(r->builder, input->name, input->dtype, r->map[input->offsets],
                                 input->rank == 2 ? input->extent[1].max : 0, &r->map[index], r->error);
    for (uint32_t i = 0; i < input->rank; ++i)
        extents[i] = input->extent[i].max;
    return zeb_builder_plain(r->builder, input->name, input->dtype, input->rank, extents, &r->map[index], r->error);
}

static zeb_status copy_inputs(zeb_replaying *r) {
    zeb_status status = ZEB_OK;
    for (uint32_t i = 0; status == ZEB_OK && i < r->graph->tensor_count; ++i) {
        const zeb_tensor *tensor = &r->graph->tensor[i];
        if (tensor->offsets != ZEB_NONE && r->graph->tensor[tensor->offsets].role == ZEB_ROLE_INPUT &&
            r->map[tensor->offsets] == ZEB_NONE)
            status = copy_rows(r, tensor);
    }
    for (uint32_t i = 0; status == ZEB_OK && i < r->graph->tensor_count; ++i)
        if (r->graph->tensor[i].role == ZEB_ROLE_INPUT) status = copy_input(r, i);
    return status;
}

static zeb_status copy_constant(zeb_replaying *r, int32_t id) {
    const zeb_tensor *weight = &r->graph->tensor[id];
    int64_t extents[ZEB_RANK_MAX];
    for (uint32_t i = 0; i < weight->rank; ++i)
        extents[i] = weight->extent[i].max;
    return zeb_builder_weight(r->builder, weight->name, weight->dtype, weight->rank, extents, weight->data, &r->map[id],
                              r->error);
}

static zeb_status copy_weight(zeb_replaying *r, int32_t id) {
    const zeb_tensor *weight = &r->graph->tensor[id];
    if (r->map[id] != ZEB_NONE) return ZEB_OK;
    zeb_status status = copy_constant(r, id);
    if (status != ZEB_OK || weight->scale == ZEB_NONE) return status;
    if (r->map[weight->scale] == ZEB_NONE) status = copy_constant(r, weight->scale);
    if (status == ZEB_OK)
        status = zeb_builder_quantised(r->builder, r->map[id], r->map[weight->scale], weight->group, r->error);
    return status;
}

/* ---- moving rows down */

zeb_status zeb_replay_gather(zeb_replaying *r, int32_t tensor, int32_t to, int32_t *result) {
    int32_t output[ZEB_NODE_OUTPUTS_MAX];
    for (int32_t i = 0; i < r->moves; ++i)
        if (r->moved[i].tensor == tensor && r->moved[i].space == to) {
            *result = r->moved[i].result;
            return ZEB_OK;
        }
    const char *name;
    zeb_status status =
        zeb_replay_text(r, &name, zeb_builder_tensor(r->builder, tensor)->name, ".at.", r->space[to].name);
    if (status != ZEB_OK) return status;
    zeb_node node = zeb_node_make(name, ZEB_OP_GATHER);
    node.input[ZEB_GATHER_X] = tensor;
    node.input[ZEB_GATHER_INDICES] = r->space[to].indices;
    status = zeb_builder_node(r->builder, &node, 0, output, r->error);
    if (status != ZEB_OK) return status;
    *result = output[0];
    r->moved[r->moves++] = (zeb_moved){tensor, to, *result};
    return ZEB_OK;
}

/* The tensor's rows in a space at or below its own, one gather a level. */
static zeb_status move_to(zeb_replaying *r, int32_t tensor, int32_t to, int32_t *result) {
    int32_t from = zeb_replay_space_of(r, tensor), path[64] = {0}, steps = 0;
    *result = tensor;
    if (from == ZEB_NONE) return ZEB_OK;
    for (; to != from && to != ZEB_NONE && steps < 64; to = r->space[to].parent)
        path[steps++] = to;
    if (to != from)
        return zeb_fail(r->error, ZEB_ERR_INTERNAL, "rewrite: rows of '%s' do not lead to '%s'",
                        zeb_builder_tensor(r->builder, tensor)->name, r->space[path[0]].name);
    zeb_status status = ZEB_OK;
    while (status == ZEB_OK && steps > 0)
        status = zeb_replay_gather(r, *result, path[--steps], result);
    return status;
}

static int32_t deepest(const zeb_replaying *r, const zeb_node *node, uint32_t first, uint32_t last) {
    int32_t target = ZEB_NONE;
    for (uint32_t i = first; i <= last; ++i) {
        int32_t at = node->input[i] == ZEB_NONE ? ZEB_NONE : zeb_replay_space_of(r, node->input[i]);
        if (depth_of(r, at) > depth_of(r, target)) target = at;
    }
    return target;
}

/* Brings the row inputs of positions first..last to one space. */
static zeb_status align(zeb_replaying *r, zeb_node *node, uint32_t first, uint32_t last, int32_t target) {
    zeb_status status = ZEB_OK;
    for (uint32_t i = first; status == ZEB_OK && i <= last; ++i)
        if (node->input[i] != ZEB_NONE) status = move_to(r, node->input[i], target, &node->input[i]);
    return status;
}

/* ---- what a policy adds */

/* The row space of first rows under the space of `rows`. */
static zeb_status make_cls(zeb_replaying *r, int32_t rows) {
    int32_t output[ZEB_NODE_OUTPUTS_MAX];
    const char *name;
    zeb_status status = zeb_replay_text(r, &name, r->graph->node[r->layer[r->reduced].attention].name, "", ".cls");
    if (status != ZEB_OK || r->cls != ZEB_NONE) return status;
    zeb_node node = zeb_node_make(name, ZEB_OP_SELECT);
    node.input[ZEB_SELECT_ROWS] = rows;
    node.attr.select.mode = ZEB_SELECT_FIRST;
    status = zeb_builder_node(r->builder, &node, 0, output, r->error);
    if (status != ZEB_OK) return status;
    r->cls = zeb_replay_add_space(r, output[ZEB_SELECT_OFFSETS], output[ZEB_SELECT_INDICES],
                                  zeb_replay_space_of(r, rows), name);
    return ZEB_OK;
}

/* A node that makes q, k or v of a layer. *target is the space that it works in. */
static zeb_status prepare_projection(zeb_replaying *r, int32_t l, uint32_t which, zeb_node *node, int32_t *target) {
    zeb_status status = zeb_replay_gate(r, l, which, node);
    if (status != ZEB_OK || which != 0 || l != r->reduced) return status;
    status = make_cls(r, node->input[ZEB_LINEAR_X]);
    *target = r->cls;
    return status;
}

static zeb_status prepare_attention(zeb_replaying *r, int32_t l, zeb_node *node) {
    int32_t target = deepest(r, node, ZEB_ATTENTION_K, ZEB_ATTENTION_V);
    zeb_status status = align(r, node, ZEB_ATTENTION_K, ZEB_ATTENTION_V, target);
    if (status == ZEB_OK && l == r->reduced) {
        if (r->cls == ZEB_NONE) status = make_cls(r, node->input[ZEB_ATTENTION_Q]);
        if (status == ZEB_OK) status = move_to(r, node->input[ZEB_ATTENTION_Q], r->cls, &node->input[ZEB_ATTENTION_Q]);
    }
    if (status != ZEB_OK || r->rule == NULL) return status;
    node->attr.attention.score_threshold = r->rule[l].score_threshold;
    if (l != r->reduced) node->attr.attention.select = r->rule[l].tokens;
    if (r->gates[l] != ZEB_NONE) node->input[ZEB_ATTENTION_GATES] = r->gates[l];
    return ZEB_OK;
}

/* ---- nodes */

/* Notes the space that a selecting node made; a policy's own get their names and become readable. */
static zeb_status note_selection(zeb_replaying *r, const zeb_node *node, int32_t l, const int32_t *output) {
    int attention = node->op == ZEB_OP_ATTENTION;
    uint32_t first = attention ? ZEB_ATTENTION_INDICES : ZEB_SELECT_INDICES;
    if ((!attention && node->op != ZEB_OP_SELECT) || output[first] == ZEB_NONE) return ZEB_OK;
    int32_t rows = node->input[attention ? ZEB_ATTENTION_K : ZEB_SELECT_ROWS];
    const char *name = node->name;
    zeb_status status = ZEB_OK;
    if (attention && r->rule != NULL) {
        static const char *const part[] = {".indices", ".offsets", ".count"};
        char kept[48];
        (void)snprintf(kept, sizeof kept, "layer.%d.kept", l);
        status = zeb_replay_text(r, &name, kept, "", "");
        for (uint32_t i = 0; status == ZEB_OK && i < 3; ++i) {
            const char *full;
            status = zeb_replay_text(r, &full, kept, "", part[i]);
            if (status == ZEB_OK) status = zeb_builder_rename(r->builder, output[first + i], full, r->error);
        }
        if (status == ZEB_OK) status = zeb_builder_output(r->builder, output[first + 1], r->error);
    }
    if (status == ZEB_OK)
        (void)zeb_replay_add_space(r, output[first + 1], output[first], zeb_replay_space_of(r, rows), name);
    return status;
}

/* Where a node stands in a layer: 0..2 for q, k, v, 3 for the attention itself, 4 for elsewhere. */
static uint32_t place_of(const zeb_replaying *r, int32_t index, int32_t *l) {
    for (*l = 0; *l < r->layers; ++*l) {
        if (r->layer[*l].attention == index) return 3;
        for (uint32_t i = 0; i < 3; ++i)
            if (r->layer[*l].project[i] == index) return i;
    }
    *l = ZEB_NONE;
    return 4;
}

static zeb_status map_inputs(zeb_replaying *r, zeb_node *node) {
    zeb_status status = ZEB_OK;
    for (uint32_t i = 0; status == ZEB_OK && i < ZEB_NODE_INPUTS_MAX; ++i) {
        int32_t id = node->input[i];
        if (id == ZEB_NONE) continue;
        if (r->graph->tensor[id].role == ZEB_ROLE_WEIGHT) status = copy_weight(r, id);
        node->input[i] = r->map[id];
    }
    return status;
}

/* A result of the graph, one row a sequence. */
static bool is_result(const zeb_replaying *r, const zeb_node *node) {
    const zeb_tensor *out = node->output[0] == ZEB_NONE ? NULL : &r->graph->tensor[node->output[0]];
    return out != NULL && out->role == ZEB_ROLE_OUTPUT && out->offsets == ZEB_NONE;
}

static zeb_status copy_node(zeb_replaying *r, int32_t index) {
    const zeb_node *old = &r->graph->node[index];
    zeb_node node = *old;
    int32_t output[ZEB_NODE_OUTPUTS_MAX], l;
    uint32_t place = place_of(r, index, &l), want = 0;
    zeb_status status = map_inputs(r, &node);
    int32_t target = status == ZEB_OK ? deepest(r, &node, 0, ZEB_NODE_INPUTS_MAX - 1) : ZEB_NONE;
    if (status == ZEB_OK && place < 3) status = prepare_projection(r, l, place, &node, &target);
    if (status == ZEB_OK && place == 3)
        status = prepare_attention(r, l, &node);
    else if (status == ZEB_OK && node.op != ZEB_OP_GATHER)
        status = align(r, &node, 0, ZEB_NODE_INPUTS_MAX - 1, target);
    if (status == ZEB_OK) status = zeb_replay_blocks(r, index, &node);
    if (old->op == ZEB_OP_ATTENTION && old->output[ZEB_ATTENTION_IMPORTANCE] != ZEB_NONE)
        want = 1u << ZEB_ATTENTION_IMPORTANCE;
    bool joins = status == ZEB_OK && r->left != ZEB_NONE && is_result(r, old);
    if (joins) status = zeb_replay_text(r, &node.name, old->name, ".whole", "");
    if (status == ZEB_OK) status = zeb_builder_node(r->builder, &node, want, output, r->error);
    if (status == ZEB_OK) status = note_selection(r, &node, l, output);
    if (status == ZEB_OK && joins) status = zeb_replay_join(r, old->name, &output[0]);
    if (status == ZEB_OK) status = zeb_replay_exit(r, old, &output[0]);
    for (uint32_t i = 0; status == ZEB_OK && i < ZEB_NODE_OUTPUTS_MAX; ++i) {
        if (old->output[i] == ZEB_NONE) continue;
        r->map[old->output[i]] = output[i];
        if (r->graph->tensor[old->output[i]].role == ZEB_ROLE_OUTPUT)
            status = zeb_builder_output(r->builder, output[i], r->error);
    }
    return status;
}

static zeb_status take(zeb_replaying *r, size_t count, size_t size, void *pointer) {
    void *memory = NULL;
    zeb_status status = zeb_arena_alloc(r->arena, count + 1, size, &memory, r->error);
    memcpy(pointer, &memory, sizeof memory);
    return status;
}

/* Tables of the replay. A node makes at most one space beside the input's, and moves at most its inputs, each as far as
 * there are spaces; gathers are shared, so tensors times spaces bound them. */
static zeb_status prepare(zeb_replaying *r) {
    size_t tensors = r->graph->tensor_count, spaces = tensors + (size_t)r->graph->node_count + 1;
    zeb_layers_find(r->graph, NULL, 0, &r->layers);
    zeb_status status = take(r, (size_t)r->layers, sizeof *r->layer, &r->layer);
    if (status == ZEB_OK) zeb_layers_find(r->graph, r->layer, r->layers, &r->layers);
    if (status == ZEB_OK) status = take(r, tensors, sizeof *r->map, &r->map);
    if (status == ZEB_OK) status = take(r, (size_t)r->layers, sizeof *r->gates, &r->gates);
    if (status == ZEB_OK) status = take(r, (size_t)r->layers, sizeof *r->closed, &r->closed);
    if (status == ZEB_OK) status = take(r, spaces, sizeof *r->space, &r->space);
    if (status == ZEB_OK)
        status = take(r, (size_t)r->graph->node_count * ZEB_NODE_INPUTS_MAX * ((size_t)r->layers + 2), sizeof *r->moved,
                      &r->moved);
    if (status != ZEB_OK) return status;
    for (size_t i = 0; i < tensors; ++i)
        r->map[i] = ZEB_NONE;
    for (int32_t l = 0; l < r->layers; ++l)
        r->gates[l] = ZEB_NONE;
    r->cls = r->reduced = r->left = r->staying = r->worth = ZEB_NONE;
    if (r->layers > 0 && zeb_layers_only_first(r->graph, &r->layer[r->layers - 1])) r->reduced = r->layers - 1;
    return ZEB_OK;
}

zeb_status zeb_replay(const zeb_graph *graph, const zeb_layer_rule *rule, zeb_policy_weight_fn *find, void *context,
                      zeb_builder *builder, zeb_error *error) {
    zeb_replaying r = {
        .graph = graph, .rule = rule, .find = find, .context = context, .builder = builder, .error = error};
    zeb_status status = zeb_arena_create(&r.arena, error);
    if (status == ZEB_OK) status = prepare(&r);
    if (status == ZEB_OK) status = copy_inputs(&r);
    for (uint32_t i = 0; status == ZEB_OK && i < graph->node_count; ++i)
        status = copy_node(&r, (int32_t)i);
    if (status == ZEB_OK) status = zeb_replay_check(&r);
    zeb_arena_destroy(r.arena);
    return status;
}
