/* Whole encoders: two layers as models/ builds them, with token dropping, head gates, the [CLS]-only last layer. */
#include <math.h>
#include <string.h>

#include "suite.h"

typedef struct chain_case {
    int64_t tokens, batch;
    int32_t heads, dim, ffn;
    int embed, gates, cls_only;
    uint32_t precision;
    float threshold;
    zeb_select select[2]; /* of each layer's attention */
} chain_case;

static const char *label(op_fixture *fx, int layer, const char *part) {
    char *text = NULL;
    if (fx->status == ZEB_OK) fx->status = zeb_arena_format(fx->arena, &text, &fx->error, "layer.%d.%s", layer, part);
    return fx->status == ZEB_OK ? text : "?";
}

static int32_t linear(op_fixture *fx, const char *name, int32_t x, int64_t k, int64_t n, int32_t residual,
                      int32_t gates, const zeb_linear_attr *attr) {
    char text[96];
    zeb_node node = zeb_node_make(name, ZEB_OP_LINEAR);
    node.input[ZEB_LINEAR_X] = x;
    (void)snprintf(text, sizeof text, "%s.weight", name);
    node.input[ZEB_LINEAR_W] = op_matrix(fx, text, ZEB_F32, n, k);
    (void)snprintf(text, sizeof text, "%s.bias", name);
    node.input[ZEB_LINEAR_BIAS] = op_vector(fx, text, ZEB_F32, n, 0.0, 0.1);
    node.input[ZEB_LINEAR_RESIDUAL] = residual;
    node.input[ZEB_LINEAR_GATES] = gates;
    node.attr.linear = *attr;
    return op_node(fx, &node, 0);
}

static int32_t norm(op_fixture *fx, const char *name, int32_t x, int64_t width) {
    char text[96];
    zeb_node node = zeb_node_make(name, ZEB_OP_NORM);
    node.input[ZEB_NORM_X] = x;
    (void)snprintf(text, sizeof text, "%s.gamma", name);
    node.input[ZEB_NORM_GAMMA] = op_vector(fx, text, ZEB_F32, width, 1.0, 0.1);
    (void)snprintf(text, sizeof text, "%s.beta", name);
    node.input[ZEB_NORM_BETA] = op_vector(fx, text, ZEB_F32, width, 0.0, 0.1);
    node.attr.norm = (zeb_norm_attr){.kind = ZEB_NORM_LAYER, .epsilon = 1e-12f};
    return op_node(fx, &node, 0);
}

static int32_t gather(op_fixture *fx, const char *name, int32_t x, int32_t indices) {
    zeb_node node = zeb_node_make(name, ZEB_OP_GATHER);
    node.input[ZEB_GATHER_X] = x;
    node.input[ZEB_GATHER_INDICES] = indices;
    return op_node(fx, &node, 0);
}

static int32_t head_gates(op_fixture *fx, int layer, int32_t x, const chain_case *c) {
    zeb_node node = zeb_node_make(label(fx, layer, "gate"), ZEB_OP_HEAD_GATE);
    node.input[ZEB_HEAD_GATE_X] = x;
    node.input[ZEB_HEAD_GATE_W] =
        op_matrix(fx, label(fx, layer, "gate.weight"), ZEB_F32, c->heads, (int64_t)c->heads * c->dim);
    node.input[ZEB_HEAD_GATE_BIAS] = op_vector(fx, label(fx, layer, "gate.bias"), ZEB_F32, c->heads, 0.05, 0.1);
    return op_node(fx, &node, 0);
}

/* Attention of a layer with its projections; *residual becomes the rows that survive. */
static int32_t attend(op_fixture *fx, int layer, int32_t x, int32_t *residual, const chain_case *c) {
    int64_t width = (int64_t)c->heads * c->dim;
    int32_t gates = c->gates ? head_gates(fx, layer, x, c) : ZEB_NONE, queries = x;
    zeb_linear_attr attr = {.precision = c->precision, .gate_groups = c->gates ? c->heads : 0};
    if (c->cls_only && layer == 1) {
        zeb_node first = zeb_node_make("cls", ZEB_OP_SELECT);
        first.input[ZEB_SELECT_ROWS] = x;
        first.attr.select.mode = ZEB_SELECT_FIRST;
        queries = *residual = gather(fx, "cls.rows", x, op_node(fx, &first, 0));
    }
    zeb_node node = zeb_node_make(label(fx, layer, "attention"), ZEB_OP_ATTENTION);
    node.input[ZEB_ATTENTION_Q] = linear(fx, label(fx, layer, "q"), queries, width, width, ZEB_NONE, gates, &attr);
    node.input[ZEB_ATTENTION_K] = linear(fx, label(fx, layer, "k"), x, width, width, ZEB_NONE, gates, &attr);
    node.input[ZEB_ATTENTION_V] = linear(fx, label(fx, layer, "v"), x, width, width, ZEB_NONE, gates, &attr);
    node.input[ZEB_ATTENTION_GATES] = gates;
    node.attr.attention = (zeb_attention_attr){.heads = c->heads,
                                               .kv_heads = c->heads,
                                               .head_dim = c->dim,
                                               .scale = 1.0f / sqrtf((float)c->dim),
                                               .score_threshold = c->threshold,
                                               .select = c->select[layer]};
    int32_t context = op_node(fx, &node, 0);
    if (c->select[layer].mode != ZEB_SELECT_NONE) {
        int32_t indices = fx->out[ZEB_ATTENTION_INDICES], kept = fx->out[ZEB_ATTENTION_OFFSETS];
        op_final(fx, kept);
        *residual = gather(fx, label(fx, layer, "rows"), x, indices);
    }
    return context;
}

static int32_t encode(op_fixture *fx, int layer, int32_t x, const chain_case *c) {
    int64_t width = (int64_t)c->heads * c->dim;
    int32_t residual = x, context = attend(fx, layer, x, &residual, c);
    zeb_linear_attr plain = {.precision = c->precision};
    zeb_linear_attr gelu = {.precision = c->precision, .activation = ZEB_ACT_GELU_ERF};
    int32_t y = linear(fx, label(fx, layer, "output"), context, width, width, residual, ZEB_NONE, &plain);
    y = norm(fx, label(fx, layer, "norm1"), y, width);
    int32_t inner = linear(fx, label(fx, layer, "ffn.in"), y, width, c->ffn, ZEB_NONE, ZEB_NONE, &gelu);
    y = linear(fx, label(fx, layer, "ffn.out"), inner, c->ffn, width, y, ZEB_NONE, &plain);
    return norm(fx, label(fx, layer, "norm2"), y, width);
}

static int32_t embed(op_fixture *fx, const chain_case *c, int64_t width) {
    if (!c->embed) return op_rows_input(fx, "x", OP_FILL_NORMAL, 0, width);
    zeb_node node = zeb_node_make("embed", ZEB_OP_EMBED);
    node.input[ZEB_EMBED_IDS] = op_rows_input(fx, "ids", OP_FILL_IDS, 101, 0);
    node.input[ZEB_EMBED_TYPES] = op_rows_input(fx, "types", OP_FILL_IDS, 2, 0);
    node.input[ZEB_EMBED_WORD] = op_matrix(fx, "word", ZEB_F32, 101, width);
    node.input[ZEB_EMBED_POSITION] = op_matrix(fx, "position", ZEB_F32, c->tokens, width);
    node.input[ZEB_EMBED_TYPE] = op_matrix(fx, "type", ZEB_F32, 2, width);
    node.input[ZEB_EMBED_GAMMA] = op_vector(fx, "embed.gamma", ZEB_F32, width, 1.0, 0.1);
    node.input[ZEB_EMBED_BETA] = op_vector(fx, "embed.beta", ZEB_F32, width, 0.0, 0.1);
    node.attr.embed = (zeb_embed_attr){.norm = ZEB_NORM_LAYER, .epsilon = 1e-12f};
    return op_node(fx, &node, 0);
}

static void build_chain(op_fixture *fx, const void *parameters) {
    const chain_case *c = parameters;
    int64_t width = (int64_t)c->heads * c->dim;
    zeb_linear_attr tanh_attr = {.activation = ZEB_ACT_TANH}, plain = {.precision = ZEB_PRECISION_F32};
    op_rows(fx, c->tokens, c->batch);
    int32_t x = embed(fx, c, width);
    for (int layer = 0; layer < 2; ++layer)
        x = encode(fx, layer, x, c);
    zeb_node pool = zeb_node_make("pool", ZEB_OP_POOL);
    pool.input[ZEB_POOL_X] = x;
    pool.attr.pool.kind = ZEB_POOL_FIRST;
    x = linear(fx, "pooler", op_node(fx, &pool, 0), width, width, ZEB_NONE, ZEB_NONE, &tanh_attr);
    op_final(fx, linear(fx, "classifier", x, width, 2, ZEB_NONE, ZEB_NONE, &plain));
    fx->precision = c->precision;
    fx->jumps = !c->embed && (c->gates || c->threshold > 0.0f || c->select[0].mode > ZEB_SELECT_FIRST ||
                              c->select[1].mode > ZEB_SELECT_FIRST);
}

void op_cases_chain(op_suite *suite) {
    static const zeb_select first = {.mode = ZEB_SELECT_FIRST};
    static const zeb_select half = {.mode = ZEB_SELECT_RATIO, .value = 0.5f, .floor = 2};
    static const zeb_select above = {.mode = ZEB_SELECT_THRESHOLD, .value = 0.05f, .floor = 2, .keep_last = 1};
    static const zeb_select five = {.mode = ZEB_SELECT_TOPK, .count = 5, .floor = 2};
    const chain_case all[] = {
        {.tokens = 24, .batch = 3, .heads = 2, .dim = 16, .ffn = 64, .embed = 1},
        {.tokens = 50, .batch = 4, .heads = 4, .dim = 64, .ffn = 300, .embed = 1, .cls_only = 1},
        {.tokens = 24, .batch = 3, .heads = 2, .dim = 16, .ffn = 64, .select = {{0}, first}},
        {.tokens = 24, .batch = 3, .heads = 2, .dim = 16, .ffn = 64, .select = {half, {0}}, .cls_only = 1},
        {.tokens = 33, .batch = 4, .heads = 4, .dim = 16, .ffn = 64, .select = {above, half}},
        {.tokens = 33, .batch = 4, .heads = 4, .dim = 16, .ffn = 64, .select = {five, first}},
        {.tokens = 24, .batch = 3, .heads = 4, .dim = 8, .ffn = 40, .gates = 1},
        {.tokens = 24, .batch = 3, .heads = 4, .dim = 8, .ffn = 40, .gates = 1, .select = {half, five}},
        {.tokens = 24, .batch = 3, .heads = 4, .dim = 8, .ffn = 40, .threshold = 0.03f, .select = {half, first}},
        {.tokens = 24, .batch = 3, .heads = 2, .dim = 16, .ffn = 64, .precision = ZEB_PRECISION_BF16},
        {.tokens = 24, .batch = 3, .heads = 2, .dim = 16, .ffn = 64, .precision = ZEB_PRECISION_W8A8},
        {.tokens = 24, .batch = 3, .heads = 2, .dim = 16, .ffn = 64, .precision = ZEB_PRECISION_W4A8},
        {.tokens = 24, .batch = 3, .heads = 2, .dim = 16, .ffn = 64, .precision = ZEB_PRECISION_W4A16},
    };
    for (size_t i = 0; i < sizeof all / sizeof all[0]; ++i) {
        char name[160];
        const chain_case *c = &all[i];
        (void)snprintf(name, sizeof name, "2 layers T%d B%d H%d Dh%d F%d%s%s%s select %u,%u threshold %g precision %u",
                       (int)c->tokens, (int)c->batch, c->heads, c->dim, c->ffn, c->embed ? " embed" : "",
                       c->gates ? " gates" : "", c->cls_only ? " cls-only" : "", c->select[0].mode, c->select[1].mode,
                       (double)c->threshold, c->precision);
        op_case(suite, OP_LINE_CHAIN, name, build_chain, c);
    }
}
