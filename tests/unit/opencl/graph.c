#include "graph.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

/* Weights from a fixed sequence; the graph keeps pointers, so they are static. */
static float pool[40000];
static size_t pool_used;
static uint64_t pool_state;

static const float *draw(size_t count, float scale, float middle) {
    const float *start = pool + pool_used;
    assert_true(pool_used + count <= sizeof pool / sizeof pool[0]);
    for (size_t i = 0; i < count; i++) {
        pool_state = pool_state * 6364136223846793005u + 1442695040888963407u;
        pool[pool_used++] = middle + scale * ((float)(pool_state >> 40) / 8388608.0f - 1.0f);
    }
    return start;
}

static int32_t weight(test_graph *g, const char *name, int layer, int64_t n, int64_t k, float middle) {
    char full[64];
    int32_t id = ZEB_NONE;
    zeb_error error = {0};
    const int64_t extents[2] = {n, k};
    (void)snprintf(full, sizeof full, "%d.%s", layer, name);
    const float *data = draw((size_t)(k == 0 ? n : n * k), k == 0 ? 0.1f : 0.4f, middle);
    assert_int_equal(zeb_builder_weight(g->builder, full, ZEB_F32, k == 0 ? 1 : 2, extents, data, &id, &error), ZEB_OK);
    return id;
}

static int32_t add(test_graph *g, zeb_node node, const char *name, int layer, uint32_t want,
                   int32_t out[ZEB_NODE_OUTPUTS_MAX]) {
    char full[64];
    int32_t own[ZEB_NODE_OUTPUTS_MAX];
    zeb_error error = {0};
    (void)snprintf(full, sizeof full, "layer.%d.%s", layer, name);
    node.name = full;
    zeb_status status = zeb_builder_node(g->builder, &node, want, out == NULL ? own : out, &error);
    if (status != ZEB_OK) fail_msg("%s", error.text);
    return out == NULL ? own[0] : out[0];
}

static int32_t linear(test_graph *g, const char *name, int layer, int32_t x, int64_t in, int64_t out, uint32_t act,
                      int32_t residual) {
    char bias[48];
    zeb_node node = zeb_node_make(name, ZEB_OP_LINEAR);
    (void)snprintf(bias, sizeof bias, "%s.bias", name);
    node.input[ZEB_LINEAR_X] = x;
    node.input[ZEB_LINEAR_W] = weight(g, name, layer, out, in, 0.0f);
    node.input[ZEB_LINEAR_BIAS] = weight(g, bias, layer, out, 0, 0.0f);
    node.input[ZEB_LINEAR_RESIDUAL] = residual;
    node.attr.linear.activation = act;
    return add(g, node, name, layer, 0, NULL);
}

static int32_t norm(test_graph *g, const char *name, int layer, int32_t x) {
    char beta[48];
    zeb_node node = zeb_node_make(name, ZEB_OP_NORM);
    (void)snprintf(beta, sizeof beta, "%s.beta", name);
    node.input[ZEB_NORM_X] = x;
    node.input[ZEB_NORM_GAMMA] = weight(g, name, layer, G_WIDTH, 0, 1.0f);
    node.input[ZEB_NORM_BETA] = weight(g, beta, layer, G_WIDTH, 0, 0.0f);
    node.attr.norm = (zeb_norm_attr){.kind = ZEB_NORM_LAYER, .epsilon = 1e-12f};
    return add(g, node, name, layer, 0, NULL);
}

/* Attention that keeps half of the rows; residual and norms follow on those. */
static int32_t layer(test_graph *g, int l, int32_t x) {
    int32_t out[ZEB_NODE_OUTPUTS_MAX];
    zeb_error error = {0};
    zeb_node gate = zeb_node_make("gates", ZEB_OP_HEAD_GATE);
    gate.input[ZEB_HEAD_GATE_X] = x;
    gate.input[ZEB_HEAD_GATE_W] = weight(g, "gates", l, G_HEADS, G_WIDTH, 0.0f);
    gate.input[ZEB_HEAD_GATE_BIAS] = weight(g, "gates.bias", l, G_HEADS, 0, 0.3f);
    zeb_node attention = zeb_node_make("attention", ZEB_OP_ATTENTION);
    attention.input[ZEB_ATTENTION_Q] = linear(g, "q", l, x, G_WIDTH, G_WIDTH, 0, ZEB_NONE);
    attention.input[ZEB_ATTENTION_K] = linear(g, "k", l, x, G_WIDTH, G_WIDTH, 0, ZEB_NONE);
    attention.input[ZEB_ATTENTION_V] = linear(g, "v", l, x, G_WIDTH, G_WIDTH, 0, ZEB_NONE);
    attention.input[ZEB_ATTENTION_GATES] = add(g, gate, "gates", l, 0, NULL);
    attention.attr.attention = (zeb_attention_attr){.heads = G_HEADS,
                                                    .kv_heads = G_HEADS,
                                                    .head_dim = G_WIDTH / G_HEADS,
                                                    .scale = 0.35f,
                                                    .score_threshold = 0.01f,
                                                    .select = {.mode = ZEB_SELECT_RATIO, .value = 0.5f, .floor = 2}};
    int32_t context = add(g, attention, "attention", l, 0, out);
    g->kept[l] = out[ZEB_ATTENTION_COUNT];
    assert_int_equal(zeb_builder_output(g->builder, g->kept[l], &error), ZEB_OK);
    zeb_node gather = zeb_node_make("gather", ZEB_OP_GATHER);
    gather.input[ZEB_GATHER_X] = x;
    gather.input[ZEB_GATHER_INDICES] = out[ZEB_ATTENTION_INDICES];
    int32_t kept = add(g, gather, "gather", l, 0, NULL);
    int32_t y = norm(g, "norm1", l, linear(g, "output", l, context, G_WIDTH, G_WIDTH, 0, kept));
    int32_t inner = linear(g, "ffn.in", l, y, G_WIDTH, G_FFN, ZEB_ACT_GELU_ERF, ZEB_NONE);
    return norm(g, "norm2", l, linear(g, "ffn.out", l, inner, G_FFN, G_WIDTH, 0, y));
}

static int32_t embed(test_graph *g) {
    zeb_node node = zeb_node_make("embed", ZEB_OP_EMBED);
    node.input[ZEB_EMBED_IDS] = g->ids;
    node.input[ZEB_EMBED_WORD] = weight(g, "word", 9, G_VOCABULARY, G_WIDTH, 0.0f);
    node.input[ZEB_EMBED_POSITION] = weight(g, "position", 9, G_POSITIONS, G_WIDTH, 0.0f);
    return add(g, node, "embed", 9, 0, NULL);
}

void test_graph_make(test_graph *g) {
    zeb_error error = {0};
    pool_used = 0;
    pool_state = 42;
    *g = (test_graph){0};
    assert_int_equal(zeb_builder_create(&g->builder, &error), ZEB_OK);
    assert_int_equal(zeb_builder_rows(g->builder, "tokens", G_TOKENS, G_BATCH, &g->offsets, &error), ZEB_OK);
    assert_int_equal(zeb_builder_input(g->builder, "ids", ZEB_I32, g->offsets, 0, &g->ids, &error), ZEB_OK);
    int32_t x = embed(g);
    for (int l = 0; l < G_LAYERS; l++)
        x = layer(g, l, x);
    zeb_node pool_node = zeb_node_make("pool", ZEB_OP_POOL);
    pool_node.input[ZEB_POOL_X] = x;
    pool_node.attr.pool.kind = ZEB_POOL_FIRST;
    int32_t pooled = add(g, pool_node, "pool", 9, 0, NULL);
    g->logits = linear(g, "classifier", 9, pooled, G_WIDTH, 2, ZEB_ACT_TANH, ZEB_NONE);
    assert_int_equal(zeb_builder_output(g->builder, g->logits, &error), ZEB_OK);
    if (zeb_builder_finish(g->builder, &g->graph, &error) != ZEB_OK) fail_msg("%s", error.text);
    g->count = zeb_graph_find(g->graph, "tokens.count");
    assert_int_not_equal(g->count, ZEB_NONE);
}

void test_graph_free(test_graph *g) {
    zeb_builder_destroy(g->builder);
}
