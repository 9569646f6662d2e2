/* Embed, norm, activation, pool, head gates, log-likelihood. */
#include "suite.h"

typedef struct rows_case {
    int64_t tokens, batch, width, other; /* other: vocabulary, heads */
    uint32_t kind;                       /* norm, activation or pool */
    int first, second, third;            /* optional inputs, by op */
    zeb_dtype dtype;
    float epsilon;
} rows_case;

static const char *dtype_text(zeb_dtype dtype) {
    static const char *const text[] = {
        [ZEB_F32] = "", [ZEB_F16] = " f16", [ZEB_BF16] = " bf16", [ZEB_I8] = " i8", [ZEB_U4] = " u4"};
    return text[dtype];
}

/* U4 in groups of 32, or 64 where the width allows them. */
static int32_t table(op_fixture *fx, const char *name, const rows_case *c, int64_t n) {
    return c->dtype == ZEB_U4 ? op_grouped(fx, name, n, c->width, c->width % 64 == 0 ? 64 : 32)
                              : op_matrix(fx, name, c->dtype, n, c->width);
}

static void build_embed(op_fixture *fx, const void *parameters) {
    const rows_case *c = parameters;
    op_rows(fx, c->tokens, c->batch);
    zeb_node node = zeb_node_make("embed", ZEB_OP_EMBED);
    const zeb_dtype vectors = c->dtype == ZEB_I8 || c->dtype == ZEB_U4 ? ZEB_F16 : c->dtype;
    node.input[ZEB_EMBED_IDS] = op_rows_input(fx, "ids", OP_FILL_IDS, c->other, 0);
    node.input[ZEB_EMBED_WORD] = table(fx, "word", c, c->other);
    if (c->first) node.input[ZEB_EMBED_POSITION] = table(fx, "position", c, c->tokens);
    if (c->second) {
        node.input[ZEB_EMBED_TYPES] = op_rows_input(fx, "types", OP_FILL_IDS, 2, 0);
        node.input[ZEB_EMBED_TYPE] = table(fx, "type", c, 2);
    }
    node.attr.embed = (zeb_embed_attr){.norm = c->kind, .epsilon = c->epsilon};
    if (c->kind != 0) node.input[ZEB_EMBED_GAMMA] = op_vector(fx, "gamma", vectors, c->width, 1.0, 0.2);
    if (c->third) node.input[ZEB_EMBED_BETA] = op_vector(fx, "beta", vectors, c->width, 0.0, 0.2);
    op_node(fx, &node, 0);
}

static void build_norm(op_fixture *fx, const void *parameters) {
    const rows_case *c = parameters;
    op_rows(fx, c->tokens, c->batch);
    zeb_node node = zeb_node_make("norm", ZEB_OP_NORM);
    node.input[ZEB_NORM_X] = op_rows_input(fx, "x", c->first ? OP_FILL_NORMAL : OP_FILL_WIDE, 0, c->width);
    if (c->first) node.input[ZEB_NORM_RESIDUAL] = op_rows_input(fx, "residual", OP_FILL_NORMAL, 0, c->width);
    node.input[ZEB_NORM_GAMMA] = op_vector(fx, "gamma", c->dtype, c->width, 1.0, 0.2);
    if (c->second) node.input[ZEB_NORM_BETA] = op_vector(fx, "beta", c->dtype, c->width, 0.0, 0.2);
    node.attr.norm = (zeb_norm_attr){.kind = c->kind, .epsilon = c->epsilon};
    op_node(fx, &node, 0);
}

static void build_activation(op_fixture *fx, const void *parameters) {
    const rows_case *c = parameters;
    op_rows(fx, c->tokens, c->batch);
    zeb_node node = zeb_node_make("activation", ZEB_OP_ACTIVATION);
    node.input[ZEB_ACTIVATION_X] = op_rows_input(fx, "x", c->first ? OP_FILL_NORMAL : OP_FILL_WIDE, 0, c->width);
    if (c->first) node.input[ZEB_ACTIVATION_GATE] = op_rows_input(fx, "gate", OP_FILL_NORMAL, 0, c->width);
    node.attr.activation.activation = c->kind;
    op_node(fx, &node, 0);
}

static void build_pool(op_fixture *fx, const void *parameters) {
    const rows_case *c = parameters;
    op_rows(fx, c->tokens, c->batch);
    zeb_node node = zeb_node_make("pool", ZEB_OP_POOL);
    node.input[ZEB_POOL_X] = op_rows_input(fx, "x", OP_FILL_NORMAL, 0, c->width);
    node.attr.pool.kind = c->kind;
    op_node(fx, &node, 0);
}

static void build_head_gate(op_fixture *fx, const void *parameters) {
    const rows_case *c = parameters;
    op_rows(fx, c->tokens, c->batch);
    zeb_node node = zeb_node_make("gate", ZEB_OP_HEAD_GATE);
    node.input[ZEB_HEAD_GATE_X] = op_rows_input(fx, "x", OP_FILL_NORMAL, 0, c->width);
    node.input[ZEB_HEAD_GATE_W] = op_matrix(fx, "w", c->dtype, c->other, c->width);
    node.input[ZEB_HEAD_GATE_BIAS] = op_vector(fx, "bias", c->dtype, c->other, 0.0, 0.1);
    op_node(fx, &node, 0);
    fx->told = true;
}

/* The second goes on from what the first has added up. */
static void build_head_topk(op_fixture *fx, const void *parameters) {
    const rows_case *c = parameters;
    op_rows(fx, c->tokens, c->batch);
    zeb_node node = zeb_node_make("heads", ZEB_OP_HEAD_TOPK);
    node.input[ZEB_HEAD_TOPK_X] = op_rows_input(fx, "x", OP_FILL_NORMAL, 0, c->width);
    node.attr.head_topk = (zeb_head_topk_attr){(int32_t)c->other, c->first};
    op_node(fx, &node, 0);
    op_final(fx, fx->out[ZEB_HEAD_TOPK_GATES]);
    node.name = "later";
    node.input[ZEB_HEAD_TOPK_X] = op_rows_input(fx, "y", OP_FILL_WIDE, 0, c->width);
    node.input[ZEB_HEAD_TOPK_BEFORE] = fx->out[ZEB_HEAD_TOPK_IMPORTANCE];
    op_node(fx, &node, 0);
    fx->told = true;
}

static void build_log_likelihood(op_fixture *fx, const void *parameters) {
    const rows_case *c = parameters;
    op_rows(fx, c->tokens, c->batch);
    zeb_node node = zeb_node_make("score", ZEB_OP_LOG_LIKELIHOOD);
    node.input[ZEB_LOG_LIKELIHOOD_X] = op_rows_input(fx, "x", OP_FILL_NORMAL, 0, c->width);
    node.input[ZEB_LOG_LIKELIHOOD_W] = op_matrix(fx, "w", c->dtype, c->other, c->width);
    node.input[ZEB_LOG_LIKELIHOOD_TARGETS] = op_rows_input(fx, "targets", OP_FILL_TARGETS, c->other, 0);
    op_node(fx, &node, 0);
}

static void embed_and_norm(op_suite *suite) {
    static const int64_t shape[][3] = {{1, 1, 1},     {7, 3, 5},   {40, 4, 64}, {65, 5, 100},
                                       {130, 2, 257}, {9, 3, 768}, {9, 3, 96}};
    static const zeb_dtype dtype[] = {ZEB_F32, ZEB_F16, ZEB_BF16, ZEB_I8, ZEB_U4};
    char name[96];
    for (size_t s = 0; s < 7; ++s)
        for (size_t d = 0; d < (s == 2 || s == 6 ? 5u : s == 3 ? 4u : 1u); ++d)
            for (uint32_t kind = 0; kind <= ZEB_NORM_AFFINE; ++kind)
                for (int extra = 0; extra < 4; ++extra) {
                    rows_case c = {shape[s][0], shape[s][1],
                                   shape[s][2], 11 + 30 * (int64_t)s,
                                   kind,        extra & 1,
                                   extra >> 1,  kind != 0 && kind != ZEB_NORM_RMS && extra != 2,
                                   dtype[d],    extra == 0 ? 1e-5f : 1e-12f};
                    (void)snprintf(name, sizeof name, "T%d B%d D%d norm %u%s%s%s%s", (int)c.tokens, (int)c.batch,
                                   (int)c.width, kind, c.first ? " position" : "", c.second ? " type" : "",
                                   c.third ? " beta" : "", dtype_text(c.dtype));
                    op_case(suite, ZEB_OP_EMBED, name, build_embed, &c);
                    if (kind == 0 || c.dtype == ZEB_I8 || c.dtype == ZEB_U4) continue;
                    c.second = c.third;
                    (void)snprintf(name, sizeof name, "T%d B%d D%d kind %u%s%s%s eps %g", (int)c.tokens, (int)c.batch,
                                   (int)c.width, kind, c.first ? " residual" : "", c.second ? " beta" : "",
                                   dtype_text(c.dtype), (double)c.epsilon);
                    if (extra != 3) op_case(suite, ZEB_OP_NORM, name, build_norm, &c);
                }
}

void op_cases_rows(op_suite *suite) {
    static const int64_t shape[][3] = {{1, 1, 1}, {7, 3, 5}, {33, 4, 64}, {70, 5, 129}};
    char name[96];
    embed_and_norm(suite);
    for (size_t s = 0; s < 4; ++s) {
        rows_case c = {.tokens = shape[s][0], .batch = shape[s][1], .width = shape[s][2], .dtype = ZEB_F32};
        for (c.kind = ZEB_ACT_NONE; c.kind <= ZEB_ACT_TANH; ++c.kind)
            for (c.first = 0; c.first < 2; ++c.first) {
                (void)snprintf(name, sizeof name, "T%d D%d kind %u%s", (int)c.tokens, (int)c.width, c.kind,
                               c.first ? " gate" : "");
                op_case(suite, ZEB_OP_ACTIVATION, name, build_activation, &c);
            }
        for (c.kind = ZEB_POOL_FIRST; c.kind <= ZEB_POOL_MAX; ++c.kind) {
            (void)snprintf(name, sizeof name, "T%d B%d D%d kind %u", (int)c.tokens, (int)c.batch, (int)c.width, c.kind);
            op_case(suite, ZEB_OP_POOL, name, build_pool, &c);
        }
        static const int32_t heads[] = {1, 5, 8, 3};
        c.other = heads[s];
        for (c.first = 1; c.first <= c.other; c.first += 2) {
            (void)snprintf(name, sizeof name, "T%d B%d D%d H%d count %d", (int)c.tokens, (int)c.batch, (int)c.width,
                           (int)c.other, c.first);
            op_case(suite, ZEB_OP_HEAD_TOPK, name, build_head_topk, &c);
        }
        static const zeb_dtype dtype[] = {ZEB_F32, ZEB_F16, ZEB_BF16};
        for (size_t d = 0; d < 3; ++d) {
            c.dtype = dtype[d];
            c.other = 1 + (int64_t)s * 4;
            (void)snprintf(name, sizeof name, "T%d B%d D%d H%d%s", (int)c.tokens, (int)c.batch, (int)c.width,
                           (int)c.other, dtype_text(c.dtype));
            op_case(suite, ZEB_OP_HEAD_GATE, name, build_head_gate, &c);
            c.other = 1 + (int64_t)s * 101;
            (void)snprintf(name, sizeof name, "T%d B%d D%d V%d%s", (int)c.tokens, (int)c.batch, (int)c.width,
                           (int)c.other, dtype_text(c.dtype));
            op_case(suite, ZEB_OP_LOG_LIKELIHOOD, name, build_log_likelihood, &c);
        }
    }
}
