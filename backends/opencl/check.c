#include "check.h"

#include <stdint.h>

/* Inputs that an op cannot do without, as bits, and whether its position 0 output must be there. */
static const uint32_t required[] = {
    [ZEB_OP_EMBED] = 1u << ZEB_EMBED_IDS | 1u << ZEB_EMBED_WORD,
    [ZEB_OP_LINEAR] = 1u << ZEB_LINEAR_X | 1u << ZEB_LINEAR_W,
    [ZEB_OP_NORM] = 1u << ZEB_NORM_X,
    [ZEB_OP_ATTENTION] = 1u << ZEB_ATTENTION_Q | 1u << ZEB_ATTENTION_K | 1u << ZEB_ATTENTION_V,
    [ZEB_OP_SELECT] = 1u << ZEB_SELECT_ROWS,
    [ZEB_OP_GATHER] = 1u << ZEB_GATHER_X | 1u << ZEB_GATHER_INDICES,
    [ZEB_OP_ACTIVATION] = 1u << ZEB_ACTIVATION_X,
    [ZEB_OP_POOL] = 1u << ZEB_POOL_X,
    [ZEB_OP_HEAD_GATE] = 1u << ZEB_HEAD_GATE_X | 1u << ZEB_HEAD_GATE_W | 1u << ZEB_HEAD_GATE_BIAS,
    [ZEB_OP_LOG_LIKELIHOOD] =
        1u << ZEB_LOG_LIKELIHOOD_X | 1u << ZEB_LOG_LIKELIHOOD_W | 1u << ZEB_LOG_LIKELIHOOD_TARGETS,
    [ZEB_OP_BLOCKS] = 1u << ZEB_BLOCKS_X,
    [ZEB_OP_EXIT] = 1u << ZEB_EXIT_HERE | 1u << ZEB_EXIT_ROWS,
    [ZEB_OP_HEAD_TOPK] = 1u << ZEB_HEAD_TOPK_X,
};
enum { OPS = sizeof required / sizeof required[0] };

/* Inputs whose packed rows an op walks by sequence: these need offsets. */
static const uint32_t sequenced[OPS] = {
    [ZEB_OP_EMBED] = 1u << ZEB_EMBED_IDS,       [ZEB_OP_ATTENTION] = 1u << ZEB_ATTENTION_Q | 1u << ZEB_ATTENTION_K,
    [ZEB_OP_SELECT] = 1u << ZEB_SELECT_ROWS,    [ZEB_OP_POOL] = 1u << ZEB_POOL_X,
    [ZEB_OP_HEAD_GATE] = 1u << ZEB_HEAD_GATE_X, [ZEB_OP_EXIT] = 1u << ZEB_EXIT_ROWS,
    [ZEB_OP_HEAD_TOPK] = 1u << ZEB_HEAD_TOPK_X,
};

static bool is_tensor(const zeb_graph *graph, int32_t id) {
    return id >= 0 && (uint32_t)id < graph->tensor_count;
}

static bool is_count(const zeb_graph *graph, int32_t id) {
    return id == ZEB_NONE || (is_tensor(graph, id) && graph->tensor[id].dtype == ZEB_I32);
}

static zeb_status check_tensor(const zeb_graph *graph, const zeb_tensor *tensor, zeb_error *error) {
    if (tensor->rank < 1 || tensor->rank > ZEB_RANK_MAX)
        return zeb_fail(error, ZEB_ERR_ARGUMENT, "tensor '%s' has rank %u", tensor->name, tensor->rank);
    for (uint32_t i = 0; i < tensor->rank; i++) {
        if (tensor->extent[i].max < 1)
            return zeb_fail(error, ZEB_ERR_ARGUMENT, "tensor '%s' has an extent of %lld", tensor->name,
                            (long long)tensor->extent[i].max);
        if (!is_count(graph, tensor->extent[i].live))
            return zeb_fail(error, ZEB_ERR_ARGUMENT, "tensor '%s': its live count is no I32 tensor", tensor->name);
    }
    if (!is_count(graph, tensor->offsets))
        return zeb_fail(error, ZEB_ERR_ARGUMENT, "tensor '%s': its offsets are no I32 tensor", tensor->name);
    if (tensor->role == ZEB_ROLE_WEIGHT && tensor->data == NULL)
        return zeb_fail(error, ZEB_ERR_ARGUMENT, "weight '%s' has no data", tensor->name);
    return ZEB_OK;
}

static zeb_status check_node(const zeb_graph *graph, const zeb_node *node, zeb_error *error) {
    if ((uint32_t)node->op == 0 || (uint32_t)node->op >= OPS) return ZEB_OK; /* unsupported, not malformed */
    for (uint32_t i = 0; i < ZEB_NODE_INPUTS_MAX; i++) {
        int32_t id = node->input[i];
        bool needed = (required[node->op] >> i & 1u) != 0;
        if (needed ? !is_tensor(graph, id) : id != ZEB_NONE && !is_tensor(graph, id))
            return zeb_fail(error, ZEB_ERR_ARGUMENT, "node '%s': input %u is %s", node->name, i,
                            id == ZEB_NONE ? "missing" : "no tensor of the graph");
        if ((sequenced[node->op] >> i & 1u) != 0 && graph->tensor[id].offsets == ZEB_NONE)
            return zeb_fail(error, ZEB_ERR_ARGUMENT, "node '%s': input '%s' has no offsets", node->name,
                            graph->tensor[id].name);
    }
    for (uint32_t i = 0; i < ZEB_NODE_OUTPUTS_MAX; i++)
        if (node->output[i] != ZEB_NONE ? !is_tensor(graph, node->output[i]) : i == 0)
            return zeb_fail(error, ZEB_ERR_ARGUMENT, "node '%s': output %u is no tensor of the graph", node->name, i);
    return ZEB_OK;
}

/* Says why and answers no. */
#define REFUSE(...) return ((void)snprintf(verdict->reason, sizeof verdict->reason, __VA_ARGS__), false)

static const char *dtype_name(zeb_dtype dtype) {
    static const char *const name[] = {"?", "F32", "F16", "BF16", "I32", "I8", "U4"};
    return (unsigned)dtype < sizeof name / sizeof name[0] ? name[dtype] : "?";
}

/* What no kernel here can work with, whatever the op; a table of an EMBED is widened at compile. */
static bool takes_tensor(const zeb_device *device, const zeb_tensor *tensor, bool table, zeb_verdict *verdict) {
    bool weight = tensor->role == ZEB_ROLE_WEIGHT;
    bool codes = table && (tensor->dtype == ZEB_I8 || tensor->dtype == ZEB_U4);
    if (codes    ? tensor->scale == ZEB_NONE
        : weight ? tensor->dtype != ZEB_F32 && tensor->dtype != ZEB_F16 && tensor->dtype != ZEB_BF16
                 : tensor->dtype != ZEB_F32 && tensor->dtype != ZEB_I32)
        REFUSE("tensor '%.60s' is %s: this device takes weights of F32, F16, BF16, values of F32, I32", tensor->name,
               dtype_name(tensor->dtype));
    double bytes = 4.0; /* what it takes as binary32 */
    for (uint32_t i = 0; i < tensor->rank; i++) {
        if (tensor->extent[i].max > INT32_MAX)
            REFUSE("tensor '%.80s' has an extent of %lld > %d", tensor->name, (long long)tensor->extent[i].max,
                   INT32_MAX);
        if (i > 0 && tensor->extent[i].live != ZEB_NONE)
            REFUSE("tensor '%.80s' has a live count in extent %u: only the first may have one", tensor->name, i);
        bytes *= (double)tensor->extent[i].max;
    }
    if (bytes > (double)device->alloc_max)
        REFUSE("tensor '%.80s' takes %.0f bytes > %llu, the most that this device allocates in one piece", tensor->name,
               bytes, (unsigned long long)device->alloc_max);
    return true;
}

static bool takes_precision(uint32_t precision, zeb_verdict *verdict) {
    static const char *const name[] = {"f32", "bf16", "w8a8", "w4a8", "w4a16"};
    if (precision == ZEB_PRECISION_F32) return true;
    if (precision < sizeof name / sizeof name[0]) REFUSE("precision %s: only f32 is done here", name[precision]);
    REFUSE("precision %u: only f32 is done here", precision);
}

static bool takes_select(const zeb_select *select, zeb_verdict *verdict) {
    if (select->mode > ZEB_SELECT_RELATIVE) REFUSE("select mode %u is unknown", select->mode);
    return true;
}

static bool takes_node(const zeb_device *device, const zeb_graph *graph, const zeb_node *node, zeb_verdict *verdict) {
    if ((uint32_t)node->op == 0 || (uint32_t)node->op >= OPS)
        REFUSE("op %d is not known to this plugin", (int)node->op);
    for (uint32_t i = 0; i < ZEB_NODE_INPUTS_MAX; i++)
        if (node->input[i] != ZEB_NONE &&
            !takes_tensor(device, &graph->tensor[node->input[i]], node->op == ZEB_OP_EMBED, verdict))
            return false;
    for (uint32_t i = 0; i < ZEB_NODE_OUTPUTS_MAX; i++)
        if (node->output[i] != ZEB_NONE && !takes_tensor(device, &graph->tensor[node->output[i]], false, verdict))
            return false;
    const zeb_tensor *x = node->op == ZEB_OP_BLOCKS ? &graph->tensor[node->input[ZEB_BLOCKS_X]] : NULL;
    if (x != NULL && (node->attr.blocks.size < 1 || x->extent[1].max % node->attr.blocks.size != 0))
        REFUSE("x does not divide into blocks of %d", node->attr.blocks.size);
    const zeb_head_topk_attr *best = &node->attr.head_topk;
    if (node->op == ZEB_OP_HEAD_TOPK && (best->heads < 1 || best->count < 1 || best->count > best->heads ||
                                         graph->tensor[node->input[ZEB_HEAD_TOPK_X]].extent[1].max % best->heads != 0))
        REFUSE("x does not divide into %d heads, or not %d of them go on", best->heads, best->count);
    if (node->op == ZEB_OP_SELECT) return takes_select(&node->attr.select, verdict);
    if (node->op == ZEB_OP_ATTENTION)
        return takes_select(&node->attr.attention.select, verdict) &&
               takes_precision(node->attr.attention.precision, verdict);
    if (node->op != ZEB_OP_LINEAR) return true;
    if (node->input[ZEB_LINEAR_GATES] != ZEB_NONE && graph->tensor[node->input[ZEB_LINEAR_X]].offsets == ZEB_NONE)
        REFUSE("gates need rows with offsets");
    return takes_precision(node->attr.linear.precision, verdict);
}

zeb_status ocl_check(zeb_device *device, const zeb_graph *graph, zeb_verdict *verdict, zeb_error *error) {
    zeb_status status = ZEB_OK;
    for (uint32_t i = 0; status == ZEB_OK && i < graph->tensor_count; i++)
        status = check_tensor(graph, &graph->tensor[i], error);
    for (uint32_t i = 0; status == ZEB_OK && i < graph->node_count; i++)
        status = check_node(graph, &graph->node[i], error);
    for (uint32_t i = 0; status == ZEB_OK && i < graph->node_count; i++) {
        verdict[i] = (zeb_verdict){0};
        verdict[i].supported = takes_node(device, graph, &graph->node[i], &verdict[i]);
    }
    return status;
}
