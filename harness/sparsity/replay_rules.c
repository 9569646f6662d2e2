/* What a policy adds to a graph that is being replayed: gates of heads, closed blocks of neurons, exits. */
#include <math.h>

#include "sparsity/replaying.h"
#include "zeb/number.h"

/* A comparison hides a NaN: all heads would run, nobody would leave, and nothing would look wrong. */
static zeb_status check_finite(zeb_replaying *r, const char *gate, const char *stored, const zeb_policy_weight *w) {
    size_t count = w->dtype == ZEB_F32 || w->dtype == ZEB_F16 || w->dtype == ZEB_BF16; /* others are refused later */
    for (uint32_t i = 0; i < w->rank; ++i)
        count *= (size_t)w->extent[i];
    for (size_t i = 0; i < count; ++i)
        if (!isfinite(zeb_float_at(w->dtype, w->data, i)))
            return zeb_fail(r->error, ZEB_ERR_RANGE, "%s: number %zu of the policy's weight '%s' is not finite", gate,
                            i, stored);
    return ZEB_OK;
}

static zeb_status gate_weight(zeb_replaying *r, const char *gate, const char *part, const char *stored,
                              int32_t *tensor) {
    zeb_policy_weight found = {.data = NULL};
    const char *name;
    if (r->find == NULL)
        return zeb_fail(r->error, ZEB_ERR_ARGUMENT, "%s: nobody can find the weight '%s'", gate, stored);
    zeb_status status = zeb_replay_text(r, &name, gate, ".", part);
    if (status == ZEB_OK) status = r->find(r->context, stored, &found, r->error);
    if (status == ZEB_OK) status = check_finite(r, gate, stored, &found);
    if (status == ZEB_OK)
        status =
            zeb_builder_weight(r->builder, name, found.dtype, found.rank, found.extent, found.data, tensor, r->error);
    return status;
}

/* The gates of a layer from its input, by weights of the policy. */
static zeb_status learned_gates(zeb_replaying *r, int32_t l, const char *name, int32_t *output) {
    const zeb_layer_rule *rule = &r->rule[l];
    zeb_node node = zeb_node_make(name, ZEB_OP_HEAD_GATE);
    node.input[ZEB_HEAD_GATE_X] = r->map[r->layer[l].input];
    zeb_status status = gate_weight(r, name, "weight", rule->gate_weight, &node.input[ZEB_HEAD_GATE_W]);
    if (status == ZEB_OK) status = gate_weight(r, name, "bias", rule->gate_bias, &node.input[ZEB_HEAD_GATE_BIAS]);
    return status == ZEB_OK ? zeb_builder_node(r->builder, &node, 0, output, r->error) : status;
}

/* The gates of a layer from what heads gave in all layers before it. */
static zeb_status best_gates(zeb_replaying *r, int32_t l, const char *name, int32_t *output) {
    int32_t heads = r->graph->node[r->layer[l].attention].attr.attention.heads;
    zeb_status status = ZEB_OK;
    for (; status == ZEB_OK && r->weighed < l; ++r->weighed) {
        const zeb_node *attention = &r->graph->node[r->layer[r->weighed].attention];
        bool last = r->weighed + 1 == l;
        char other[48];
        (void)snprintf(other, sizeof other, "layer.%d.heads", r->weighed + 1);
        if (attention->attr.attention.heads != heads)
            return zeb_fail(r->error, ZEB_ERR_UNSUPPORTED,
                            "layer %d: its %d heads cannot be told by what the %d of layer %d gave", l, heads,
                            attention->attr.attention.heads, r->weighed);
        zeb_node node = zeb_node_make(last ? name : other, ZEB_OP_HEAD_TOPK);
        node.input[ZEB_HEAD_TOPK_X] = r->map[attention->output[ZEB_ATTENTION_CONTEXT]];
        node.input[ZEB_HEAD_TOPK_BEFORE] = r->worth;
        node.attr.head_topk = (zeb_head_topk_attr){.heads = heads, .count = last ? r->rule[l].heads_kept : heads};
        status = zeb_builder_node(r->builder, &node, 0, output, r->error);
        if (status == ZEB_OK) r->worth = output[ZEB_HEAD_TOPK_IMPORTANCE];
    }
    return status;
}

/* The gates of a layer, made before its projections. */
static zeb_status make_gates(zeb_replaying *r, int32_t l) {
    const zeb_layer *layer = &r->layer[l];
    int32_t output[ZEB_NODE_OUTPUTS_MAX];
    char name[48];
    (void)snprintf(name, sizeof name, "layer.%d.gates", l);
    if (layer->input == ZEB_NONE || layer->project[0] == ZEB_NONE || layer->project[2] == ZEB_NONE)
        return zeb_fail(r->error, ZEB_ERR_UNSUPPORTED,
                        "layer %d: heads cannot be gated, because its q, k or v is not made by a linear of its own", l);
    zeb_status status = r->rule[l].heads_kept > 0 ? best_gates(r, l, name, output) : learned_gates(r, l, name, output);
    if (status == ZEB_OK) status = zeb_builder_output(r->builder, output[0], r->error);
    if (status == ZEB_OK) r->gates[l] = output[0];
    return status;
}

/* k and v only where each head has its own. */
zeb_status zeb_replay_gate(zeb_replaying *r, int32_t l, uint32_t which, zeb_node *node) {
    const zeb_attention_attr *attr = &r->graph->node[r->layer[l].attention].attr.attention;
    zeb_status status = ZEB_OK;
    if (r->rule == NULL || (r->rule[l].gate_weight == NULL && r->rule[l].heads_kept == 0)) return ZEB_OK;
    if (r->gates[l] == ZEB_NONE) status = make_gates(r, l);
    if (status != ZEB_OK || (which > 0 && attr->kv_heads != attr->heads)) return status;
    if (node->input[ZEB_LINEAR_GATES] != ZEB_NONE)
        return zeb_fail(r->error, ZEB_ERR_UNSUPPORTED, "layer %d: '%s' has gates already", l, node->name);
    node->input[ZEB_LINEAR_GATES] = r->gates[l];
    node->attr.linear.gate_groups = attr->heads;
    return ZEB_OK;
}

/* The layer behind which this node's output stands: it is the input of the next. */
static int32_t layer_behind(const zeb_replaying *r, const zeb_node *node) {
    for (int32_t l = 0; l + 1 < r->layers; ++l)
        if (r->layer[l + 1].input != ZEB_NONE && r->layer[l + 1].input == node->output[0]) return l;
    return ZEB_NONE;
}

/* The logits of the exit head behind a layer, from the first of rows x. */
static zeb_status exit_head(zeb_replaying *r, int32_t l, int32_t x, int32_t *logits) {
    int32_t output[ZEB_NODE_OUTPUTS_MAX];
    char pool_name[48], head_name[48];
    (void)snprintf(pool_name, sizeof pool_name, "layer.%d.exit.pool", l);
    (void)snprintf(head_name, sizeof head_name, "layer.%d.exit.head", l);
    zeb_node pool = zeb_node_make(pool_name, ZEB_OP_POOL), head = zeb_node_make(head_name, ZEB_OP_LINEAR);
    pool.input[ZEB_POOL_X] = x;
    pool.attr.pool.kind = ZEB_POOL_FIRST;
    zeb_status status = zeb_builder_node(r->builder, &pool, 0, output, r->error);
    if (status != ZEB_OK) return status;
    head.input[ZEB_LINEAR_X] = output[0];
    status = gate_weight(r, head_name, "weight", r->rule[l].exit_weight, &head.input[ZEB_LINEAR_W]);
    if (status == ZEB_OK)
        status = gate_weight(r, head_name, "bias", r->rule[l].exit_bias, &head.input[ZEB_LINEAR_BIAS]);
    if (status == ZEB_OK) status = zeb_builder_node(r->builder, &head, 0, output, r->error);
    if (status == ZEB_OK) *logits = output[0];
    return status;
}

zeb_status zeb_replay_exit(zeb_replaying *r, const zeb_node *old, int32_t *x) {
    int32_t l = layer_behind(r, old);
    if (r->rule == NULL || l == ZEB_NONE || r->rule[l].exit_weight == NULL) return ZEB_OK;
    int32_t output[ZEB_NODE_OUTPUTS_MAX], logits = ZEB_NONE;
    char text[48];
    const char *name;
    (void)snprintf(text, sizeof text, "layer.%d.exit", l);
    zeb_status status = zeb_replay_text(r, &name, text, "", "");
    if (status == ZEB_OK) status = exit_head(r, l, *x, &logits);
    if (status != ZEB_OK) return status;
    zeb_node node = zeb_node_make(name, ZEB_OP_EXIT);
    node.input[ZEB_EXIT_HERE] = logits;
    node.input[ZEB_EXIT_ROWS] = *x;
    node.input[ZEB_EXIT_BEFORE] = r->left;
    node.attr.exit.confidence = r->rule[l].confidence;
    status = zeb_builder_node(r->builder, &node, 0, output, r->error);
    if (status == ZEB_OK) status = zeb_builder_output(r->builder, output[ZEB_EXIT_OFFSETS], r->error);
    if (status != ZEB_OK) return status;
    int32_t to =
        zeb_replay_add_space(r, output[ZEB_EXIT_OFFSETS], output[ZEB_EXIT_INDICES], zeb_replay_space_of(r, *x), name);
    r->left = output[ZEB_EXIT_LOGITS];
    status = zeb_replay_gather(r, *x, to, x);
    r->staying = *x;
    return status;
}

zeb_status zeb_replay_join(zeb_replaying *r, const char *name, int32_t *logits) {
    int32_t output[ZEB_NODE_OUTPUTS_MAX];
    zeb_node node = zeb_node_make(name, ZEB_OP_EXIT);
    node.input[ZEB_EXIT_HERE] = *logits;
    node.input[ZEB_EXIT_ROWS] = r->staying;
    node.input[ZEB_EXIT_BEFORE] = r->left;
    zeb_status status = zeb_builder_node(r->builder, &node, 0, output, r->error);
    if (status == ZEB_OK) *logits = output[0];
    return status;
}

zeb_status zeb_replay_blocks(zeb_replaying *r, int32_t index, zeb_node *linear) {
    int32_t l = zeb_layers_ffn(r->graph, r->layer, r->layers, index), output[ZEB_NODE_OUTPUTS_MAX];
    if (r->rule == NULL || l == ZEB_NONE || r->rule[l].ffn.size == 0) return ZEB_OK;
    const char *name;
    char text[48];
    (void)snprintf(text, sizeof text, "layer.%d.ffn.blocks", l);
    zeb_status status = zeb_replay_text(r, &name, text, "", "");
    if (status != ZEB_OK) return status;
    zeb_node node = zeb_node_make(name, ZEB_OP_BLOCKS);
    node.input[ZEB_BLOCKS_X] = linear->input[ZEB_LINEAR_X];
    node.attr.blocks = r->rule[l].ffn;
    status = zeb_builder_node(r->builder, &node, 0, output, r->error);
    if (status == ZEB_OK) status = zeb_builder_output(r->builder, output[ZEB_BLOCKS_OPEN], r->error);
    if (status == ZEB_OK) linear->input[ZEB_LINEAR_X] = output[ZEB_BLOCKS_OUT];
    if (status == ZEB_OK) r->closed[l] = true;
    return status;
}

zeb_status zeb_replay_check(const zeb_replaying *r) {
    for (int32_t l = 0; r->rule != NULL && l < r->layers; ++l)
        if (r->rule[l].ffn.size > 0 && !r->closed[l])
            return zeb_fail(r->error, ZEB_ERR_UNSUPPORTED,
                            "layer %d: blocks of its FFN cannot be closed, because no activation feeds a linear", l);
    for (int32_t l = 0; r->rule != NULL && l < r->layers; ++l)
        if ((r->rule[l].gate_weight != NULL || r->rule[l].heads_kept > 0) && r->gates[l] == ZEB_NONE)
            return zeb_fail(r->error, ZEB_ERR_UNSUPPORTED,
                            "layer %d: heads cannot be gated, because no linear makes its q, k or v", l);
    for (int32_t l = 0; r->rule != NULL && l + 1 < r->layers; ++l)
        if (r->rule[l].exit_weight != NULL && r->layer[l + 1].input == ZEB_NONE)
            return zeb_fail(r->error, ZEB_ERR_UNSUPPORTED,
                            "layer %d: no sequence can leave behind it, because the next layer has no one input", l);
    return ZEB_OK;
}
