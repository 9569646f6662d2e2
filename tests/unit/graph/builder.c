/* The builder infers shapes and row spaces, and says what is wrong with a node in terms of the node and the tensor. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "graph/builder.h"

static const float DATA[4096];

typedef struct context {
    zeb_builder *b;
    zeb_error error;
    int32_t offsets, x, ids; /* x F32 [32,8], ids I32 [32] */
} context;

static int32_t weight(context *c, const char *name, int64_t n, int64_t k) {
    int64_t extents[2] = {n, k};
    int32_t tensor;
    assert_int_equal(zeb_builder_weight(c->b, name, ZEB_F32, k == 0 ? 1 : 2, extents, DATA, &tensor, &c->error),
                     ZEB_OK);
    return tensor;
}

static int set_up(void **state) {
    static context c;
    memset(&c, 0, sizeof c);
    assert_int_equal(zeb_builder_create(&c.b, &c.error), ZEB_OK);
    assert_int_equal(zeb_builder_rows(c.b, "tokens", 32, 4, &c.offsets, &c.error), ZEB_OK);
    assert_int_equal(zeb_builder_input(c.b, "x", ZEB_F32, c.offsets, 8, &c.x, &c.error), ZEB_OK);
    assert_int_equal(zeb_builder_input(c.b, "ids", ZEB_I32, c.offsets, 0, &c.ids, &c.error), ZEB_OK);
    *state = &c;
    return 0;
}

static int tear_down(void **state) {
    zeb_builder_destroy(((context *)*state)->b);
    return 0;
}

/* The call failed and its sentence has all of these words. */
static void expect(const context *c, zeb_status status, const char *one, const char *two, const char *three) {
    assert_int_equal(status, ZEB_ERR_ARGUMENT);
    if (strstr(c->error.text, one) == NULL || strstr(c->error.text, two) == NULL ||
        strstr(c->error.text, three) == NULL)
        fail_msg("'%s' does not name '%s', '%s', '%s'", c->error.text, one, two, three);
}

static zeb_node linear(const context *c, int32_t w) {
    zeb_node node = zeb_node_make("fc", ZEB_OP_LINEAR);
    node.input[ZEB_LINEAR_X] = c->x;
    node.input[ZEB_LINEAR_W] = w;
    return node;
}

static zeb_node attention(const context *c, const char *name) {
    zeb_node node = zeb_node_make(name, ZEB_OP_ATTENTION);
    node.input[ZEB_ATTENTION_Q] = node.input[ZEB_ATTENTION_K] = node.input[ZEB_ATTENTION_V] = c->x;
    node.attr.attention = (zeb_attention_attr){.heads = 2, .kv_heads = 2, .head_dim = 4, .scale = 0.5f};
    return node;
}

static void linear_gives_rows(void **state) {
    context *c = *state;
    zeb_node node = linear(c, weight(c, "w", 5, 8));
    int32_t out[ZEB_NODE_OUTPUTS_MAX];
    assert_int_equal(zeb_builder_node(c->b, &node, 0, out, &c->error), ZEB_OK);
    const zeb_tensor *y = zeb_builder_tensor(c->b, out[0]);
    assert_string_equal(y->name, "fc");
    assert_int_equal(y->role, ZEB_ROLE_VALUE);
    assert_int_equal(y->extent[0].max, 32);
    assert_int_equal(y->extent[0].live, c->offsets + 1);
    assert_int_equal(y->extent[1].max, 5);
    assert_int_equal(y->offsets, c->offsets);
    assert_int_equal(y->bytes, 32 * 5 * 4);
    assert_int_equal(out[1], ZEB_NONE);
}

static void linear_says_what_is_wrong(void **state) {
    context *c = *state;
    zeb_node node = linear(c, weight(c, "narrow", 5, 7));
    expect(c, zeb_builder_node(c->b, &node, 0, NULL, &c->error), "'fc' (linear)", "'narrow' F32 [5,7]", "must be 8");
    node.input[ZEB_LINEAR_W] = ZEB_NONE;
    expect(c, zeb_builder_node(c->b, &node, 0, NULL, &c->error), "'fc' (linear)", "w", "missing");
    node = linear(c, weight(c, "w", 6, 8));
    node.input[ZEB_LINEAR_BIAS] = weight(c, "short", 5, 0);
    expect(c, zeb_builder_node(c->b, &node, 0, NULL, &c->error), "'fc'", "'short'", "must be 6");
    node.input[ZEB_LINEAR_BIAS] = ZEB_NONE;
    node.input[ZEB_LINEAR_X] = 99;
    expect(c, zeb_builder_node(c->b, &node, 0, NULL, &c->error), "'fc'", "x", "99");
    node.input[ZEB_LINEAR_X] = c->ids;
    expect(c, zeb_builder_node(c->b, &node, 0, NULL, &c->error), "'fc'", "'ids' I32 [32]", "F32");
    node.input[ZEB_LINEAR_X] = c->x;
    node.input[5] = c->x;
    expect(c, zeb_builder_node(c->b, &node, 0, NULL, &c->error), "'fc'", "no input position", "5");
    node.input[5] = ZEB_NONE;
    node.attr.linear.gate_groups = 4;
    expect(c, zeb_builder_node(c->b, &node, 0, NULL, &c->error), "'fc'", "gates", "4");
    node.attr.linear = (zeb_linear_attr){.precision = ZEB_PRECISION_W4A8};
    expect(c, zeb_builder_node(c->b, &node, 0, NULL, &c->error), "'fc'", "'w'", "groups of 32");
    assert_int_equal(zeb_builder_tensor(c->b, c->x)->role, ZEB_ROLE_INPUT); /* still usable */
}

static void quantised_weights_need_their_scale(void **state) {
    context *c = *state;
    int64_t shape[2] = {5, 8}, four[2] = {5, 64}, groups[2] = {5, 2};
    int32_t w, u, scale, other;
    assert_int_equal(zeb_builder_weight(c->b, "q", ZEB_I8, 2, shape, DATA, &w, &c->error), ZEB_OK);
    zeb_node node = linear(c, w);
    expect(c, zeb_builder_node(c->b, &node, 0, NULL, &c->error), "'fc'", "'q' I8 [5,8]", "W8A8");
    node.attr.linear.precision = ZEB_PRECISION_W8A8;
    expect(c, zeb_builder_node(c->b, &node, 0, NULL, &c->error), "'fc'", "'q'", "no scale");
    scale = weight(c, "q.scale", 5, 0);
    expect(c, zeb_builder_quantised(c->b, w, weight(c, "bad.scale", 4, 0), 0, &c->error), "'q'", "'bad.scale'", "[N]");
    expect(c, zeb_builder_quantised(c->b, w, scale, 32, &c->error), "'q'", "group of 32", "I8");
    assert_int_equal(zeb_builder_quantised(c->b, w, scale, 0, &c->error), ZEB_OK);
    assert_int_equal(zeb_builder_node(c->b, &node, 0, NULL, &c->error), ZEB_OK);
    assert_int_equal(zeb_builder_weight(c->b, "u", ZEB_U4, 2, four, DATA, &u, &c->error), ZEB_OK);
    assert_int_equal(zeb_builder_tensor(c->b, u)->bytes, 5 * 32);
    assert_int_equal(zeb_builder_weight(c->b, "u.scale", ZEB_F16, 2, groups, DATA, &other, &c->error), ZEB_OK);
    expect(c, zeb_builder_quantised(c->b, u, other, 64, &c->error), "'u'", "'u.scale'", "[N,K/group]");
    expect(c, zeb_builder_quantised(c->b, u, other, 48, &c->error), "'u'", "48", "32 or 64");
    assert_int_equal(zeb_builder_quantised(c->b, u, other, 32, &c->error), ZEB_OK);
}

static void selecting_makes_a_row_space(void **state) {
    context *c = *state;
    int32_t out[ZEB_NODE_OUTPUTS_MAX], kept[ZEB_NODE_OUTPUTS_MAX];
    zeb_node node = attention(c, "attention");
    node.attr.attention.select = (zeb_select){.mode = ZEB_SELECT_RATIO, .value = 0.5f, .floor = 2};
    assert_int_equal(zeb_builder_node(c->b, &node, 1u << ZEB_ATTENTION_IMPORTANCE, out, &c->error), ZEB_OK);
    const zeb_tensor *context_rows = zeb_builder_tensor(c->b, out[ZEB_ATTENTION_CONTEXT]);
    assert_int_equal(context_rows->offsets, out[ZEB_ATTENTION_OFFSETS]);
    assert_int_equal(context_rows->extent[0].live, out[ZEB_ATTENTION_COUNT]);
    assert_int_equal(context_rows->extent[0].max, 32);
    assert_string_equal(zeb_builder_tensor(c->b, out[ZEB_ATTENTION_OFFSETS])->name, "attention.offsets");
    assert_int_equal(zeb_builder_tensor(c->b, out[ZEB_ATTENTION_OFFSETS])->extent[0].max, 5);
    assert_int_equal(zeb_builder_tensor(c->b, out[ZEB_ATTENTION_IMPORTANCE])->offsets, c->offsets);
    zeb_node add = zeb_node_make("add", ZEB_OP_NORM);
    add.input[ZEB_NORM_X] = out[ZEB_ATTENTION_CONTEXT];
    add.input[ZEB_NORM_RESIDUAL] = c->x;
    add.input[ZEB_NORM_GAMMA] = weight(c, "gamma", 8, 0);
    add.attr.norm = (zeb_norm_attr){.kind = ZEB_NORM_LAYER, .epsilon = 1e-12f};
    expect(c, zeb_builder_node(c->b, &add, 0, NULL, &c->error), "'add' (norm)", "'tokens.offsets'",
           "'attention.offsets'");
    zeb_node gather = zeb_node_make("rows", ZEB_OP_GATHER);
    gather.input[ZEB_GATHER_X] = c->x;
    gather.input[ZEB_GATHER_INDICES] = out[ZEB_ATTENTION_INDICES];
    assert_int_equal(zeb_builder_node(c->b, &gather, 0, kept, &c->error), ZEB_OK);
    add.input[ZEB_NORM_RESIDUAL] = kept[0];
    assert_int_equal(zeb_builder_node(c->b, &add, 0, NULL, &c->error), ZEB_OK);
    gather.name = "again"; /* indices point into the rows before, not into those that are left */
    gather.input[ZEB_GATHER_X] = kept[0];
    expect(c, zeb_builder_node(c->b, &gather, 0, NULL, &c->error), "'again' (gather)", "'rows'", "selects among");
}

static void first_row_bounds_rows_by_sequences(void **state) {
    context *c = *state;
    int32_t out[ZEB_NODE_OUTPUTS_MAX];
    zeb_node node = zeb_node_make("cls", ZEB_OP_SELECT);
    node.input[ZEB_SELECT_ROWS] = c->x;
    expect(c, zeb_builder_node(c->b, &node, 0, NULL, &c->error), "'cls' (select)", "mode", "NONE");
    node.attr.select.mode = ZEB_SELECT_TOPK;
    expect(c, zeb_builder_node(c->b, &node, 0, NULL, &c->error), "'cls'", "floor", "at least 1");
    node.attr.select = (zeb_select){.mode = ZEB_SELECT_RATIO, .value = 1.5f, .floor = 1};
    expect(c, zeb_builder_node(c->b, &node, 0, NULL, &c->error), "'cls'", "ratio 1.5", "at most 1");
    node.attr.select.value = 0.5f;
    expect(c, zeb_builder_node(c->b, &node, 0, NULL, &c->error), "'cls'", "importance", "missing");
    node.attr.select.mode = ZEB_SELECT_FIRST;
    assert_int_equal(zeb_builder_node(c->b, &node, 0, out, &c->error), ZEB_OK);
    assert_string_equal(zeb_builder_tensor(c->b, out[0])->name, "cls.indices");
    assert_int_equal(zeb_builder_tensor(c->b, out[ZEB_SELECT_INDICES])->extent[0].max, 4);
    assert_int_equal(zeb_builder_tensor(c->b, out[ZEB_SELECT_COUNT])->extent[0].max, 1);
}

static void attention_checks_heads_and_gates(void **state) {
    context *c = *state;
    zeb_node node = attention(c, "attention");
    int64_t wrong[2] = {4, 3}, right[2] = {4, 2};
    int32_t gates;
    node.attr.attention.heads = 3;
    expect(c, zeb_builder_node(c->b, &node, 0, NULL, &c->error), "'attention'", "heads 3", "kv_heads 2");
    node.attr.attention.heads = 4;
    expect(c, zeb_builder_node(c->b, &node, 0, NULL, &c->error), "'attention'", "q 'x' F32 [32,8]", "must be 16");
    node.attr.attention.heads = 2;
    node.attr.attention.score_threshold = 1.5f;
    expect(c, zeb_builder_node(c->b, &node, 0, NULL, &c->error), "'attention'", "score_threshold", "1.5");
    node.attr.attention.score_threshold = 0.0f;
    assert_int_equal(zeb_builder_plain(c->b, "three", ZEB_F32, 2, wrong, &gates, &c->error), ZEB_OK);
    node.input[ZEB_ATTENTION_GATES] = gates;
    expect(c, zeb_builder_node(c->b, &node, 0, NULL, &c->error), "'attention'", "'three' F32 [4,3]", "[4,2]");
    assert_int_equal(zeb_builder_plain(c->b, "two", ZEB_F32, 2, right, &gates, &c->error), ZEB_OK);
    node.input[ZEB_ATTENTION_GATES] = gates;
    assert_int_equal(zeb_builder_node(c->b, &node, 0, NULL, &c->error), ZEB_OK);
    expect(c, zeb_builder_node(c->b, &node, 0, NULL, &c->error), "already", "node", "'attention'");
}

static void embed_checks_its_tables(void **state) {
    context *c = *state;
    zeb_node node = zeb_node_make("embed", ZEB_OP_EMBED);
    node.input[ZEB_EMBED_IDS] = c->ids;
    node.input[ZEB_EMBED_WORD] = weight(c, "word", 10, 8);
    node.input[ZEB_EMBED_TYPE] = weight(c, "type", 2, 8);
    expect(c, zeb_builder_node(c->b, &node, 0, NULL, &c->error), "'embed'", "types", "type table");
    node.input[ZEB_EMBED_TYPES] = c->ids;
    node.input[ZEB_EMBED_POSITION] = weight(c, "position", 32, 9);
    expect(c, zeb_builder_node(c->b, &node, 0, NULL, &c->error), "'embed'", "'position' F32 [32,9]", "must be 8");
    node.input[ZEB_EMBED_POSITION] = ZEB_NONE;
    node.attr.embed = (zeb_embed_attr){.norm = ZEB_NORM_LAYER, .epsilon = 1e-12f};
    expect(c, zeb_builder_node(c->b, &node, 0, NULL, &c->error), "'embed'", "norm", "gamma");
    node.attr.embed.norm = 0;
    assert_int_equal(zeb_builder_node(c->b, &node, 0, NULL, &c->error), ZEB_OK);
}

static void inputs_and_outputs(void **state) {
    context *c = *state;
    const zeb_graph *graph;
    int32_t out[ZEB_NODE_OUTPUTS_MAX], tensor;
    int64_t extents[2] = {INT64_MAX / 2, 16};
    assert_int_equal(zeb_builder_rows(c->b, "none", 0, 4, &tensor, &c->error), ZEB_ERR_ARGUMENT);
    expect(c, zeb_builder_input(c->b, "x", ZEB_F32, c->offsets, 8, &tensor, &c->error), "already", "tensor", "'x'");
    expect(c, zeb_builder_input(c->b, "y", ZEB_F32, c->x, 8, &tensor, &c->error), "'y'", "no offsets", "row space");
    expect(c, zeb_builder_input(c->b, "y", ZEB_I8, c->offsets, 8, &tensor, &c->error), "'y'", "F32", "I32");
    expect(c, zeb_builder_weight(c->b, "vast", ZEB_F32, 2, extents, DATA, &tensor, &c->error), "'vast'", "no possible",
           "shape");
    expect(c, zeb_builder_output(c->b, c->x, &c->error), "'x'", "no node", "produces");
    expect(c, zeb_builder_finish(c->b, &graph, &c->error), "graph", "no", "outputs");
    zeb_node pool = zeb_node_make("pool", ZEB_OP_POOL);
    pool.input[ZEB_POOL_X] = c->x;
    pool.attr.pool.kind = ZEB_POOL_FIRST;
    assert_int_equal(zeb_builder_node(c->b, &pool, 0, out, &c->error), ZEB_OK);
    assert_int_equal(zeb_builder_tensor(c->b, out[0])->extent[0].max, 4);
    assert_int_equal(zeb_builder_tensor(c->b, out[0])->offsets, ZEB_NONE);
    assert_int_equal(zeb_builder_output(c->b, out[0], &c->error), ZEB_OK);
    assert_int_equal(zeb_builder_finish(c->b, &graph, &c->error), ZEB_OK);
    assert_int_equal(zeb_graph_find(graph, "pool"), out[0]);
    assert_int_equal(zeb_graph_find(graph, "nothing"), ZEB_NONE);
    assert_int_equal(graph->node_count, 1);
    assert_null(zeb_builder_tensor(c->b, -1));
}

static void many_tensors_grow_the_builder(void **state) {
    context *c = *state;
    char name[32];
    int32_t x = c->x, w = weight(c, "square", 8, 8), out[ZEB_NODE_OUTPUTS_MAX];
    for (int i = 0; i < 500; ++i) {
        (void)snprintf(name, sizeof name, "layer.%d", i);
        zeb_node node = linear(c, w);
        node.name = name;
        node.input[ZEB_LINEAR_X] = x;
        assert_int_equal(zeb_builder_node(c->b, &node, 0, out, &c->error), ZEB_OK);
        x = out[0];
    }
    assert_string_equal(zeb_builder_tensor(c->b, x)->name, "layer.499");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(linear_gives_rows, set_up, tear_down),
        cmocka_unit_test_setup_teardown(linear_says_what_is_wrong, set_up, tear_down),
        cmocka_unit_test_setup_teardown(quantised_weights_need_their_scale, set_up, tear_down),
        cmocka_unit_test_setup_teardown(selecting_makes_a_row_space, set_up, tear_down),
        cmocka_unit_test_setup_teardown(first_row_bounds_rows_by_sequences, set_up, tear_down),
        cmocka_unit_test_setup_teardown(attention_checks_heads_and_gates, set_up, tear_down),
        cmocka_unit_test_setup_teardown(embed_checks_its_tables, set_up, tear_down),
        cmocka_unit_test_setup_teardown(inputs_and_outputs, set_up, tear_down),
        cmocka_unit_test_setup_teardown(many_tensors_grow_the_builder, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
