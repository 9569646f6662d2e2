/* The cost model against sums done by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "graph/builder.h"
#include "graph/cost.h"

static const float DATA[4096];
static const int32_t LENGTH[2] = {5, 3};

typedef struct context {
    zeb_builder *b;
    zeb_cost *cost;
    zeb_error error;
    int32_t offsets, x, out[ZEB_NODE_OUTPUTS_MAX];
} context;

static int set_up(void **state) {
    static context c;
    memset(&c, 0, sizeof c);
    assert_int_equal(zeb_builder_create(&c.b, &c.error), ZEB_OK);
    assert_int_equal(zeb_builder_rows(c.b, "tokens", 32, 4, &c.offsets, &c.error), ZEB_OK);
    assert_int_equal(zeb_builder_input(c.b, "x", ZEB_F32, c.offsets, 8, &c.x, &c.error), ZEB_OK);
    *state = &c;
    return 0;
}

static int tear_down(void **state) {
    context *c = *state;
    zeb_cost_destroy(c->cost);
    zeb_builder_destroy(c->b);
    return 0;
}

static int32_t weight(context *c, const char *name, int64_t n, int64_t k) {
    int64_t extents[2] = {n, k};
    int32_t tensor;
    assert_int_equal(zeb_builder_weight(c->b, name, ZEB_F32, k == 0 ? 1 : 2, extents, DATA, &tensor, &c->error),
                     ZEB_OK);
    return tensor;
}

static int32_t add(context *c, const zeb_node *node) {
    assert_int_equal(zeb_builder_node(c->b, node, 0, c->out, &c->error), ZEB_OK);
    return c->out[0];
}

static void finish(context *c, int32_t output) {
    const zeb_graph *graph;
    assert_int_equal(zeb_builder_output(c->b, output, &c->error), ZEB_OK);
    assert_int_equal(zeb_builder_finish(c->b, &graph, &c->error), ZEB_OK);
    assert_int_equal(zeb_cost_create(graph, &c->cost, &c->error), ZEB_OK);
}

static zeb_node attention(const context *c, uint32_t mode) {
    zeb_node node = zeb_node_make("attention", ZEB_OP_ATTENTION);
    node.input[ZEB_ATTENTION_Q] = node.input[ZEB_ATTENTION_K] = node.input[ZEB_ATTENTION_V] = c->x;
    node.attr.attention = (zeb_attention_attr){.heads = 2, .kv_heads = 2, .head_dim = 4, .scale = 0.5f};
    node.attr.attention.select = (zeb_select){.mode = mode, .value = 0.5f, .count = 2, .floor = 1};
    return node;
}

static void linear_by_hand(void **state) {
    context *c = *state;
    zeb_work work, node[1];
    zeb_node fc = zeb_node_make("fc", ZEB_OP_LINEAR);
    fc.input[ZEB_LINEAR_X] = c->x;
    fc.input[ZEB_LINEAR_W] = weight(c, "w", 5, 8);
    fc.input[ZEB_LINEAR_BIAS] = weight(c, "b", 5, 0);
    fc.attr.linear.activation = ZEB_ACT_RELU;
    finish(c, add(c, &fc));
    assert_int_equal(zeb_cost_dense(c->cost, LENGTH, 2, node, &work, &c->error), ZEB_OK);
    assert_int_equal(work.flops, 8 * 5 * (2 * 8 + 1 + 1));
    assert_int_equal(work.bytes, 4 * (8 * 8 + 5 * 8 + 5 + 8 * 5));
    assert_int_equal(node[0].flops, work.flops);
    assert_int_equal(zeb_cost_dense(c->cost, LENGTH, 0, NULL, &work, &c->error), ZEB_OK);
    assert_int_equal(work.flops, 0);
    int32_t long_one = 33;
    assert_int_equal(zeb_cost_dense(c->cost, &long_one, 1, NULL, &work, &c->error), ZEB_ERR_RANGE);
    assert_non_null(strstr(c->error.text, "tokens.offsets"));
}

static void skipped_blocks_are_not_counted(void **state) {
    context *c = *state;
    zeb_work work, node[2];
    zeb_node blocks = zeb_node_make("blocks", ZEB_OP_BLOCKS), fc = zeb_node_make("fc", ZEB_OP_LINEAR);
    blocks.input[ZEB_BLOCKS_X] = c->x;
    blocks.attr.blocks = (zeb_blocks_attr){.size = 2, .threshold = 0.5f};
    fc.input[ZEB_LINEAR_X] = add(c, &blocks);
    fc.input[ZEB_LINEAR_W] = weight(c, "w", 5, 8);
    int32_t out = fc.input[ZEB_LINEAR_X];
    finish(c, add(c, &fc));
    assert_int_equal(zeb_cost_executed(c->cost, LENGTH, 2, node, &work, &c->error), ZEB_OK);
    assert_int_equal(node[0].flops, 8 * 8);
    assert_int_equal(node[1].flops, 8 * 5 * 2 * 8); /* nobody has said what was skipped */
    zeb_cost_blocks_done(c->cost, out, 7);
    assert_int_equal(zeb_cost_executed(c->cost, LENGTH, 2, node, &work, &c->error), ZEB_OK);
    assert_int_equal(node[1].flops, 7 * 2 * 5 * 2);
    assert_int_equal(zeb_cost_dense(c->cost, LENGTH, 2, node, &work, &c->error), ZEB_OK);
    assert_int_equal(node[1].flops, 8 * 5 * 2 * 8);
}

static void attention_by_hand(void **state) {
    context *c = *state;
    zeb_work work;
    zeb_node node = attention(c, ZEB_SELECT_NONE);
    finish(c, add(c, &node));
    assert_int_equal(zeb_cost_dense(c->cost, LENGTH, 2, NULL, &work, &c->error), ZEB_OK);
    assert_int_equal(work.flops, 2 * (25 + 9) * (2 * 4 + 5 + 2 * 4));
}

static void causal_by_hand(void **state) {
    context *c = *state;
    zeb_work work;
    zeb_node node = attention(c, ZEB_SELECT_NONE);
    node.attr.attention.causal = 1;
    finish(c, add(c, &node));
    assert_int_equal(zeb_cost_dense(c->cost, LENGTH, 2, NULL, &work, &c->error), ZEB_OK);
    assert_int_equal(work.flops, 2 * (15 + 6) * (2 * 4 + 5 + 2 * 4));
}

static void thresholds_are_read(void **state) {
    context *c = *state;
    zeb_work work;
    const zeb_cost_read *read;
    zeb_node node = attention(c, ZEB_SELECT_THRESHOLD);
    int32_t context_rows = add(c, &node);
    assert_int_equal(zeb_builder_output(c->b, c->out[ZEB_ATTENTION_OFFSETS], &c->error), ZEB_OK);
    finish(c, context_rows);
    assert_int_equal(zeb_cost_reads(c->cost, &read), 1);
    assert_string_equal(read[0].name, "attention.offsets");
    assert_int_equal(read[0].bytes, 5 * 4);
    memcpy(read[0].value, (int32_t[]){0, 2, 3, 3, 3}, 5 * 4);
    assert_int_equal(zeb_cost_executed(c->cost, LENGTH, 2, NULL, &work, &c->error), ZEB_OK);
    assert_int_equal(work.flops, 2 * ((25 + 9) * (2 * 4 + 6) + (2 * 5 + 1 * 3) * 2 * 4));
    assert_int_equal(zeb_cost_rows(c->cost, context_rows), 3);
    assert_int_equal(zeb_cost_dense(c->cost, LENGTH, 2, NULL, &work, &c->error), ZEB_OK);
    assert_int_equal(work.flops, 2 * (25 + 9) * (2 * 4 + 6 + 2 * 4));
    memcpy(read[0].value, (int32_t[]){0, 6, 7, 7, 7}, 5 * 4);
    assert_int_equal(zeb_cost_executed(c->cost, LENGTH, 2, NULL, &work, &c->error), ZEB_ERR_RANGE);
    assert_non_null(strstr(c->error.text, "attention.offsets"));
}

static void hidden_counts_are_not_guessed(void **state) {
    context *c = *state;
    zeb_work work;
    zeb_node node = attention(c, ZEB_SELECT_THRESHOLD);
    finish(c, add(c, &node));
    assert_int_equal(zeb_cost_executed(c->cost, LENGTH, 2, NULL, &work, &c->error), ZEB_ERR_UNSUPPORTED);
    assert_non_null(strstr(c->error.text, "attention.offsets"));
}

static void counts_follow_from_the_mode(void **state) {
    context *c = *state;
    zeb_work work;
    zeb_node node = attention(c, ZEB_SELECT_TOPK);
    int32_t context_rows = add(c, &node);
    finish(c, context_rows);
    assert_int_equal(zeb_cost_executed(c->cost, LENGTH, 2, NULL, &work, &c->error), ZEB_OK);
    assert_int_equal(zeb_cost_rows(c->cost, context_rows), 4);
}

static void first_row_alone_is_scored(void **state) {
    context *c = *state;
    zeb_work work;
    zeb_node node = attention(c, ZEB_SELECT_FIRST);
    finish(c, add(c, &node));
    assert_int_equal(zeb_cost_executed(c->cost, LENGTH, 2, NULL, &work, &c->error), ZEB_OK);
    assert_int_equal(work.flops, 2 * (5 + 3) * (2 * 4 + 5 + 2 * 4));
}

static void gates_close_columns_and_heads(void **state) {
    context *c = *state;
    zeb_work node[4], work;
    const zeb_cost_read *read;
    zeb_node gate = zeb_node_make("gate", ZEB_OP_HEAD_GATE);
    gate.input[ZEB_HEAD_GATE_X] = c->x;
    gate.input[ZEB_HEAD_GATE_W] = weight(c, "gate.w", 2, 8);
    gate.input[ZEB_HEAD_GATE_BIAS] = weight(c, "gate.b", 2, 0);
    int32_t gates = add(c, &gate);
    zeb_node q = zeb_node_make("q", ZEB_OP_LINEAR);
    q.input[ZEB_LINEAR_X] = c->x;
    q.input[ZEB_LINEAR_W] = weight(c, "w", 8, 8);
    q.input[ZEB_LINEAR_GATES] = gates;
    q.attr.linear.gate_groups = 2;
    (void)add(c, &q);
    zeb_node attend = attention(c, ZEB_SELECT_NONE);
    attend.input[ZEB_ATTENTION_GATES] = gates;
    int32_t context_rows = add(c, &attend);
    zeb_node out = zeb_node_make("out", ZEB_OP_LINEAR);
    out.input[ZEB_LINEAR_X] = context_rows;
    out.input[ZEB_LINEAR_W] = weight(c, "out.w", 8, 8);
    assert_int_equal(zeb_builder_output(c->b, gates, &c->error), ZEB_OK);
    finish(c, add(c, &out));
    assert_int_equal(zeb_cost_reads(c->cost, &read), 1);
    memcpy(read[0].value, (float[]){1, 0, 1, 1, 0, 0, 0, 0}, 8 * sizeof(float));
    assert_int_equal(zeb_cost_executed(c->cost, LENGTH, 2, node, &work, &c->error), ZEB_OK);
    assert_int_equal(node[0].flops, 8 * 8 + 2 * (8 + 2 * (2 * 8 + 2)));
    assert_int_equal(node[1].flops, (5 * 4 + 3 * 8) * 2 * 8);
    assert_int_equal(node[2].flops, (1 * 25 + 2 * 9) * (2 * 4 + 5 + 2 * 4));
    assert_int_equal(node[3].flops, 2 * 8 * 8 * 8);
    zeb_cost_blocks_done(c->cost, context_rows, 5 + 2 * 3); /* as many heads of 4 columns */
    assert_int_equal(zeb_cost_executed(c->cost, LENGTH, 2, node, &work, &c->error), ZEB_OK);
    assert_int_equal(node[3].flops, 2 * 8 * 4 * (5 + 2 * 3));
    assert_int_equal(zeb_cost_dense(c->cost, LENGTH, 2, node, &work, &c->error), ZEB_OK);
    assert_int_equal(node[1].flops, 8 * 8 * 2 * 8);
    assert_int_equal(node[3].flops, 2 * 8 * 8 * 8);
}

static void heads_are_weighed_by_their_rows(void **state) {
    context *c = *state;
    zeb_work work;
    zeb_node node = zeb_node_make("heads", ZEB_OP_HEAD_TOPK);
    node.input[ZEB_HEAD_TOPK_X] = c->x;
    node.attr.head_topk = (zeb_head_topk_attr){.heads = 2, .count = 1};
    finish(c, add(c, &node));
    assert_int_equal(zeb_cost_executed(c->cost, LENGTH, 2, NULL, &work, &c->error), ZEB_OK);
    assert_int_equal(work.flops, 2 * 8 * 8 + 2 * 3 * 2);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(linear_by_hand, set_up, tear_down),
        cmocka_unit_test_setup_teardown(skipped_blocks_are_not_counted, set_up, tear_down),
        cmocka_unit_test_setup_teardown(attention_by_hand, set_up, tear_down),
        cmocka_unit_test_setup_teardown(causal_by_hand, set_up, tear_down),
        cmocka_unit_test_setup_teardown(thresholds_are_read, set_up, tear_down),
        cmocka_unit_test_setup_teardown(hidden_counts_are_not_guessed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(counts_follow_from_the_mode, set_up, tear_down),
        cmocka_unit_test_setup_teardown(heads_are_weighed_by_their_rows, set_up, tear_down),
        cmocka_unit_test_setup_teardown(first_row_alone_is_scored, set_up, tear_down),
        cmocka_unit_test_setup_teardown(gates_close_columns_and_heads, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
