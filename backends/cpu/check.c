/* check.c - which nodes this plugin runs, and why not the others. Graphs come checked from the harness; what would make
 * us read outside an array is checked again. */
#include <string.h>

#include "plan.h"

typedef struct look {
    const zeb_graph *graph;
    const zeb_node *node;
    zeb_verdict *verdict;
} look;

ZEB_PRINTF(2, 3) static void refuse(const look *l, const char *format, ...) {
    if (!l->verdict->supported) return; /* the first reason stays */
    va_list args;
    va_start(args, format);
    (void)vsnprintf(l->verdict->reason, sizeof l->verdict->reason, format, args);
    va_end(args);
    l->verdict->supported = 0;
}

static const zeb_tensor *input(const look *l, int position) {
    const int32_t id = l->node->input[position];
    return id == ZEB_NONE ? NULL : &l->graph->tensor[id];
}

static int64_t width_of(const zeb_tensor *t) {
    int64_t width = 1;
    for (uint32_t i = 1; i < t->rank; i++)
        width *= t->extent[i].max;
    return width;
}

static const char *dtype_name(zeb_dtype dtype) {
    static const char *const name[] = {"?", "F32", "F16", "BF16", "I32", "I8", "U4"};
    return (unsigned)dtype < sizeof name / sizeof name[0] ? name[dtype] : name[0];
}

/* A required input of rank 1 or 2 and one of the types in `allowed` (a mask of 1 << dtype). */
static void want(const look *l, int position, const char *what, unsigned allowed, bool optional) {
    const zeb_tensor *t = input(l, position);
    if (t == NULL) {
        if (!optional) refuse(l, "%s is missing", what);
    } else if (t->rank < 1 || t->rank > 2) {
        refuse(l, "%s \"%s\" has rank %u, not 1 or 2", what, t->name, t->rank);
    } else if ((allowed >> (unsigned)t->dtype & 1u) == 0) {
        refuse(l, "%s \"%s\" has type %s", what, t->name, dtype_name(t->dtype));
    }
}

enum {
    F32 = 1 << ZEB_F32,
    I32 = 1 << ZEB_I32,
    REAL = 1 << ZEB_F32 | 1 << ZEB_F16 | 1 << ZEB_BF16,
    TABLE = REAL | 1 << ZEB_I8 | 1 << ZEB_U4
};

/* Two inputs agree in width (weights: [rows, width]). */
static void same_width(const look *l, int a, int b) {
    if (!l->verdict->supported || input(l, a) == NULL || input(l, b) == NULL) return;
    if (width_of(input(l, a)) != width_of(input(l, b)))
        refuse(l, "\"%s\" and \"%s\" differ in width", input(l, a)->name, input(l, b)->name);
}

static void norm_kind(const look *l, uint32_t kind) {
    if (kind > ZEB_NORM_AFFINE) refuse(l, "norm %u is unknown", kind);
}

static void activation_kind(const look *l, uint32_t kind) {
    if (kind > ZEB_ACT_TANH) refuse(l, "activation %u is unknown", kind);
}

static void select_mode(const look *l, const zeb_select *select) {
    if (select->mode > ZEB_SELECT_RELATIVE) refuse(l, "select mode %u is unknown", select->mode);
}

/* The scales of a quantised weight, and groups that fill its rows; four: of a float one that is to get them too. */
static void check_scales(const look *l, int position, bool four) {
    const zeb_tensor *w = input(l, position);
    if (!l->verdict->supported || w == NULL) return;
    const int64_t k = width_of(w);
    const int32_t group = w->dtype == ZEB_U4 ? w->group : 32;
    if ((four || w->dtype == ZEB_U4) && (group < 1 || k % group != 0 || group % 4 != 0))
        refuse(l, "%lld inputs don't divide into groups of %d", (long long)k, group);
    if (w->dtype != ZEB_I8 && w->dtype != ZEB_U4) return;
    const zeb_tensor *scale = w->scale == ZEB_NONE ? NULL : &l->graph->tensor[w->scale];
    const zeb_dtype dtype = w->dtype == ZEB_I8 ? ZEB_F32 : ZEB_F16;
    if (scale == NULL || scale->role != ZEB_ROLE_WEIGHT || scale->dtype != dtype)
        refuse(l, "the scales of \"%s\" are missing or not %s", w->name, dtype_name(dtype));
    else if (scale->extent[0].max != w->extent[0].max || (w->dtype == ZEB_U4 && width_of(scale) != k / group))
        refuse(l, "the scales of \"%s\" have another shape", w->name);
}

static void check_embed(const look *l) {
    const uint32_t norm = l->node->attr.embed.norm;
    want(l, ZEB_EMBED_IDS, "ids", I32, false);
    want(l, ZEB_EMBED_TYPES, "types", I32, true);
    want(l, ZEB_EMBED_WORD, "the word table", TABLE, false);
    want(l, ZEB_EMBED_POSITION, "the position table", TABLE, true);
    want(l, ZEB_EMBED_TYPE, "the type table", TABLE, true);
    for (int table = ZEB_EMBED_WORD; table <= ZEB_EMBED_TYPE; table++)
        check_scales(l, table, false);
    want(l, ZEB_EMBED_GAMMA, "gamma", REAL, norm == 0);
    want(l, ZEB_EMBED_BETA, "beta", REAL, true);
    same_width(l, ZEB_EMBED_WORD, ZEB_EMBED_POSITION);
    same_width(l, ZEB_EMBED_WORD, ZEB_EMBED_TYPE);
    norm_kind(l, norm);
}

static void check_linear(const look *l) {
    const uint32_t precision = l->node->attr.linear.precision;
    const bool eight = precision == ZEB_PRECISION_W8A8;
    const bool four = precision == ZEB_PRECISION_W4A8 || precision == ZEB_PRECISION_W4A16;
    want(l, ZEB_LINEAR_X, "x", F32, false);
    want(l, ZEB_LINEAR_W, "the weight", REAL | (eight ? 1 << ZEB_I8 : 0) | (four ? 1 << ZEB_U4 : 0), false);
    want(l, ZEB_LINEAR_BIAS, "the bias", REAL, true);
    want(l, ZEB_LINEAR_RESIDUAL, "the residual", F32, true);
    want(l, ZEB_LINEAR_GATES, "gates", F32, true);
    same_width(l, ZEB_LINEAR_X, ZEB_LINEAR_W);
    activation_kind(l, l->node->attr.linear.activation);
    if (precision > ZEB_PRECISION_W4A16) refuse(l, "precision %u is unknown", precision);
    check_scales(l, ZEB_LINEAR_W, four);
    const zeb_tensor *gates = input(l, ZEB_LINEAR_GATES);
    if (gates != NULL && l->verdict->supported) {
        const int64_t groups = l->node->attr.linear.gate_groups, n = input(l, ZEB_LINEAR_W)->extent[0].max;
        if (groups < 1 || n % groups != 0 || width_of(gates) != groups)
            refuse(l, "%lld outputs don't divide into %lld gated groups", (long long)n, (long long)groups);
    }
}

static void check_norm(const look *l) {
    want(l, ZEB_NORM_X, "x", F32, false);
    want(l, ZEB_NORM_RESIDUAL, "the residual", F32, true);
    want(l, ZEB_NORM_GAMMA, "gamma", REAL, false);
    want(l, ZEB_NORM_BETA, "beta", REAL, true);
    same_width(l, ZEB_NORM_X, ZEB_NORM_RESIDUAL);
    norm_kind(l, l->node->attr.norm.kind);
    if (l->node->attr.norm.kind == 0) refuse(l, "a norm needs a kind");
}

static void check_attention(const look *l) {
    const zeb_attention_attr *a = &l->node->attr.attention;
    want(l, ZEB_ATTENTION_Q, "q", F32, false);
    want(l, ZEB_ATTENTION_K, "k", F32, false);
    want(l, ZEB_ATTENTION_V, "v", F32, false);
    want(l, ZEB_ATTENTION_GATES, "gates", F32, true);
    same_width(l, ZEB_ATTENTION_K, ZEB_ATTENTION_V);
    select_mode(l, &a->select);
    if (!l->verdict->supported) return;
    if (a->heads < 1 || a->kv_heads < 1 || a->head_dim < 1 || a->heads % a->kv_heads != 0)
        refuse(l, "%d heads of %d over %d key heads", a->heads, a->head_dim, a->kv_heads);
    else if (width_of(input(l, ZEB_ATTENTION_Q)) != (int64_t)a->heads * a->head_dim ||
             width_of(input(l, ZEB_ATTENTION_K)) != (int64_t)a->kv_heads * a->head_dim)
        refuse(l, "the widths of q and k are not heads times head_dim");
    if (input(l, ZEB_ATTENTION_Q)->offsets == ZEB_NONE || input(l, ZEB_ATTENTION_K)->offsets == ZEB_NONE)
        refuse(l, "q and k need offsets");
    if (a->precision != ZEB_PRECISION_F32 && a->precision != ZEB_PRECISION_BF16 && a->precision != ZEB_PRECISION_W8A8)
        refuse(l, "precision %u is unknown here", a->precision);
}

static void check_exit(const look *l) {
    want(l, ZEB_EXIT_HERE, "here", F32, false);
    want(l, ZEB_EXIT_BEFORE, "before", F32, true);
    same_width(l, ZEB_EXIT_HERE, ZEB_EXIT_BEFORE);
    const zeb_tensor *rows = input(l, ZEB_EXIT_ROWS), *here = input(l, ZEB_EXIT_HERE);
    if (rows == NULL || rows->offsets == ZEB_NONE)
        refuse(l, "rows need offsets");
    else if (here != NULL && here->extent[0].max != l->graph->tensor[rows->offsets].extent[0].max - 1)
        refuse(l, "\"%s\" has not a row a sequence", here->name);
}

static void check_head_topk(const look *l) {
    const zeb_head_topk_attr *a = &l->node->attr.head_topk;
    const zeb_tensor *x = input(l, ZEB_HEAD_TOPK_X), *before = input(l, ZEB_HEAD_TOPK_BEFORE);
    want(l, ZEB_HEAD_TOPK_X, "x", F32, false);
    want(l, ZEB_HEAD_TOPK_BEFORE, "before", F32, true);
    if (!l->verdict->supported) return;
    if (x->offsets == ZEB_NONE)
        refuse(l, "x needs offsets");
    else if (a->heads < 1 || width_of(x) % a->heads != 0 || a->count < 1 || a->count > a->heads)
        refuse(l, "%d of %d heads in %lld columns", a->count, a->heads, (long long)width_of(x));
    else if (before != NULL &&
             (width_of(before) != a->heads || before->extent[0].max != l->graph->tensor[x->offsets].extent[0].max - 1))
        refuse(l, "\"%s\" has not a number a head and sequence", before->name);
}

static void check_node(const look *l) {
    switch (l->node->op) {
        case ZEB_OP_EMBED: check_embed(l); break;
        case ZEB_OP_LINEAR: check_linear(l); break;
        case ZEB_OP_NORM: check_norm(l); break;
        case ZEB_OP_ATTENTION: check_attention(l); break;
        case ZEB_OP_SELECT:
            want(l, ZEB_SELECT_IMPORTANCE, "importance", F32, l->node->attr.select.mode == ZEB_SELECT_FIRST);
            if (input(l, ZEB_SELECT_ROWS) == NULL || input(l, ZEB_SELECT_ROWS)->offsets == ZEB_NONE)
                refuse(l, "rows need offsets");
            select_mode(l, &l->node->attr.select);
            break;
        case ZEB_OP_GATHER:
            want(l, ZEB_GATHER_X, "x", F32 | I32, false);
            want(l, ZEB_GATHER_INDICES, "indices", I32, false);
            break;
        case ZEB_OP_ACTIVATION:
            want(l, ZEB_ACTIVATION_X, "x", F32, false);
            want(l, ZEB_ACTIVATION_GATE, "the gate", F32, true);
            same_width(l, ZEB_ACTIVATION_X, ZEB_ACTIVATION_GATE);
            activation_kind(l, l->node->attr.activation.activation);
            break;
        case ZEB_OP_POOL:
            want(l, ZEB_POOL_X, "x", F32, false);
            if (l->node->attr.pool.kind < ZEB_POOL_FIRST || l->node->attr.pool.kind > ZEB_POOL_MAX)
                refuse(l, "pool %u is unknown", l->node->attr.pool.kind);
            break;
        case ZEB_OP_HEAD_GATE:
            want(l, ZEB_HEAD_GATE_X, "x", F32, false);
            want(l, ZEB_HEAD_GATE_W, "the weight", REAL, false);
            want(l, ZEB_HEAD_GATE_BIAS, "the bias", REAL, true);
            same_width(l, ZEB_HEAD_GATE_X, ZEB_HEAD_GATE_W);
            break;
        case ZEB_OP_LOG_LIKELIHOOD:
            want(l, ZEB_LOG_LIKELIHOOD_X, "x", F32, false);
            want(l, ZEB_LOG_LIKELIHOOD_W, "the weight", REAL, false);
            want(l, ZEB_LOG_LIKELIHOOD_TARGETS, "targets", I32, false);
            same_width(l, ZEB_LOG_LIKELIHOOD_X, ZEB_LOG_LIKELIHOOD_W);
            break;
        case ZEB_OP_EXIT: check_exit(l); break;
        case ZEB_OP_HEAD_TOPK: check_head_topk(l); break;
        case ZEB_OP_BLOCKS:
            want(l, ZEB_BLOCKS_X, "x", F32, false);
            if (l->node->attr.blocks.size < 1 || !(l->node->attr.blocks.threshold >= 0.0f) ||
                (input(l, ZEB_BLOCKS_X) != NULL && width_of(input(l, ZEB_BLOCKS_X)) % l->node->attr.blocks.size != 0))
                refuse(l, "x does not divide into blocks of %d", l->node->attr.blocks.size);
            break;
        default: refuse(l, "op %d is unknown", (int)l->node->op);
    }
}

static bool id_is_bad(const zeb_graph *graph, int32_t id) {
    return id != ZEB_NONE && (id < 0 || (uint32_t)id >= graph->tensor_count);
}

static zeb_status check_tensor(const zeb_graph *graph, const zeb_tensor *t, zeb_error *error) {
    const char *name = t->name == NULL ? "?" : t->name;
    size_t elements = 1;
    if (t->rank > ZEB_RANK_MAX) return zeb_fail(error, ZEB_ERR_ARGUMENT, "tensor \"%s\" has rank %u", name, t->rank);
    for (uint32_t i = 0; i < t->rank; i++) {
        if (t->extent[i].max < 1 || id_is_bad(graph, t->extent[i].live) ||
            __builtin_mul_overflow(elements, (size_t)t->extent[i].max, &elements) || elements > SIZE_MAX / 8)
            return zeb_fail(error, ZEB_ERR_ARGUMENT, "extent %u of tensor \"%s\" is out of bounds", i, name);
    }
    if (id_is_bad(graph, t->offsets) || id_is_bad(graph, t->scale))
        return zeb_fail(error, ZEB_ERR_ARGUMENT, "tensor \"%s\" refers to a tensor that is not there", name);
    if (t->role == ZEB_ROLE_WEIGHT && (t->data == NULL || t->bytes < zeb_dtype_bytes(t->dtype, elements)))
        return zeb_fail(error, ZEB_ERR_ARGUMENT, "the data of weight \"%s\" is missing or short", name);
    return ZEB_OK;
}

zeb_status cpu_check(zeb_device *device, const zeb_graph *graph, zeb_verdict *verdict, zeb_error *error) {
    (void)device;
    if (graph == NULL || graph->struct_size < sizeof *graph)
        return zeb_fail(error, ZEB_ERR_ARGUMENT, "no graph, or one of an older interface");
    for (uint32_t i = 0; i < graph->tensor_count; i++) {
        const zeb_status status = check_tensor(graph, &graph->tensor[i], error);
        if (status != ZEB_OK) return status;
    }
    for (uint32_t i = 0; i < graph->node_count; i++) {
        const zeb_node *node = &graph->node[i];
        bool bad = false;
        for (int j = 0; j < ZEB_NODE_INPUTS_MAX; j++)
            bad = bad || id_is_bad(graph, node->input[j]);
        for (int j = 0; j < ZEB_NODE_OUTPUTS_MAX; j++)
            bad = bad || id_is_bad(graph, node->output[j]);
        if (bad) return zeb_fail(error, ZEB_ERR_ARGUMENT, "node \"%s\" names a tensor that is not there", node->name);
        memset(&verdict[i], 0, sizeof verdict[i]);
        verdict[i].supported = 1;
        check_node(&(look){graph, node, &verdict[i]});
    }
    return ZEB_OK;
}
