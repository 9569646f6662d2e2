/* Cost tables: whose they are, what stands between their lines, and what is made of a graph with them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "graph/builder.h"
#include "run/costs.h"

static const char mine[] = "1111111111111111111111111111111111111111111111111111111111111111";
static const char other[] = "2222222222222222222222222222222222222222222222222222222222222222";

static zeb_costs make(zeb_arena *arena, const zeb_timing *made, size_t count) {
    zeb_costs costs;
    zeb_error error = {{0}};
    assert_int_equal(zeb_costs_make(mine, NULL, 0, made, count, arena, &costs, &error), ZEB_OK);
    return costs;
}

static zeb_arena *new_arena(void) {
    zeb_arena *arena;
    zeb_error error = {{0}};
    assert_int_equal(zeb_arena_create(&arena, &error), ZEB_OK);
    return arena;
}

static void near(double a, double b) {
    if (fabs(a - b) > 1e-9 * (1 + fabs(b))) fail_msg("%.12g is not %.12g", a, b);
}

static void test_between_and_beyond(void **state) {
    (void)state;
    zeb_arena *arena = new_arena();
    const zeb_timing made[] = {{"b", 8, 100}, {"b", 4, 60}, {"b", 16, 120}, {"a", 4, 7}, {"c", 4, 50}, {"c", 8, 40}};
    const zeb_costs costs = make(arena, made, 6);
    near(zeb_costs_at(&costs, "b", 4), 60);
    near(zeb_costs_at(&costs, "b", 6), 80);
    near(zeb_costs_at(&costs, "b", 8), 100);
    near(zeb_costs_at(&costs, "b", 12), 110);
    near(zeb_costs_at(&costs, "b", 16), 120);
    near(zeb_costs_at(&costs, "b", 32), 160); /* at its last slope */
    near(zeb_costs_at(&costs, "b", 1), 60);   /* a tile that is mostly empty costs as much */
    near(zeb_costs_at(&costs, "b", 0), 0);
    near(zeb_costs_at(&costs, "a", 100), 7);
    near(zeb_costs_at(&costs, "c", 6), 45);
    near(zeb_costs_at(&costs, "c", 100), 40); /* noise does not make more rows free of charge */
    assert_true(zeb_costs_at(&costs, "d", 4) < 0);
    assert_true(zeb_costs_at(&costs, "", 4) < 0);
    assert_int_equal(zeb_costs_reach(&costs, "b"), 16);
    assert_int_equal(zeb_costs_reach(&costs, "d"), 0);
    assert_int_equal(zeb_costs_reach(&(zeb_costs){0}, "d"), 0); /* explain without predictions has no table */
    zeb_arena_destroy(arena);
}

static void test_whose(void **state) {
    (void)state;
    zeb_arena *arena = new_arena();
    zeb_error error = {{0}};
    zeb_stored_timing stored[3] = {{.timing = {"a", 1, 10}}, {.timing = {"a", 2, 20}}, {.timing = {"a", 2, 99}}};
    const zeb_timing made[] = {{"a", 1, 11}, {"b", 1, 5}};
    zeb_costs costs;
    char first[13], second[13];
    memcpy(stored[0].fingerprint, mine, sizeof mine);
    memcpy(stored[1].fingerprint, mine, sizeof mine);
    memcpy(stored[2].fingerprint, other, sizeof other);
    assert_int_equal(zeb_costs_make(mine, stored, 3, NULL, 0, arena, &costs, &error), ZEB_OK);
    assert_int_equal(costs.count, 2);
    near(zeb_costs_at(&costs, "a", 2), 20);
    assert_int_equal(zeb_costs_hash(&costs, first, &error), ZEB_OK);
    assert_int_equal(strlen(first), 12);
    assert_int_equal(zeb_costs_make(mine, stored, 3, made, 2, arena, &costs, &error), ZEB_OK);
    assert_int_equal(costs.count, 3);
    near(zeb_costs_at(&costs, "a", 1), 11); /* the new one wins */
    assert_int_equal(zeb_costs_hash(&costs, second, &error), ZEB_OK);
    assert_string_not_equal(first, second);
    assert_int_equal(zeb_costs_make(other, stored, 3, NULL, 0, arena, &costs, &error), ZEB_OK);
    near(zeb_costs_at(&costs, "a", 2), 99);
    zeb_arena_destroy(arena);
}

/* ids -> x -> linear -> selecting attention -> gather of x. */
typedef struct fixture {
    zeb_builder *builder;
    const zeb_graph *graph;
    zeb_cost *cost;
} fixture;

static const float weight[16 * 16];

static int32_t add(fixture *f, zeb_node node) {
    int32_t output[ZEB_NODE_OUTPUTS_MAX];
    zeb_error error = {{0}};
    if (zeb_builder_node(f->builder, &node, 0, output, &error) != ZEB_OK) fail_msg("%s", error.text);
    assert_int_equal(zeb_builder_output(f->builder, output[0], &error), ZEB_OK);
    return node.op == ZEB_OP_ATTENTION ? output[ZEB_ATTENTION_INDICES] : output[0];
}

static void build(fixture *f, float threshold, uint32_t precision) {
    zeb_error error = {{0}};
    int32_t rows, x, w;
    const int64_t extents[] = {16, 16};
    assert_int_equal(zeb_builder_create(&f->builder, &error), ZEB_OK);
    assert_int_equal(zeb_builder_rows(f->builder, "tokens", 64, 2, &rows, &error), ZEB_OK);
    assert_int_equal(zeb_builder_input(f->builder, "x", ZEB_F32, rows, 16, &x, &error), ZEB_OK);
    assert_int_equal(zeb_builder_weight(f->builder, "w", ZEB_F32, 2, extents, weight, &w, &error), ZEB_OK);
    zeb_node linear = zeb_node_make("linear", ZEB_OP_LINEAR);
    linear.input[ZEB_LINEAR_X] = x;
    linear.input[ZEB_LINEAR_W] = w;
    linear.attr.linear.precision = precision;
    int32_t y = add(f, linear);
    zeb_node attention = zeb_node_make("attention", ZEB_OP_ATTENTION);
    attention.input[ZEB_ATTENTION_Q] = attention.input[ZEB_ATTENTION_K] = attention.input[ZEB_ATTENTION_V] = y;
    attention.attr.attention = (zeb_attention_attr){.heads = 2, .kv_heads = 2, .head_dim = 8, .scale = 1};
    attention.attr.attention.select = (zeb_select){.mode = ZEB_SELECT_RATIO, .value = threshold, .floor = 1};
    int32_t indices = add(f, attention);
    zeb_node gather = zeb_node_make("gather", ZEB_OP_GATHER);
    gather.input[ZEB_GATHER_X] = x;
    gather.input[ZEB_GATHER_INDICES] = indices;
    (void)add(f, gather);
    assert_int_equal(zeb_builder_finish(f->builder, &f->graph, &error), ZEB_OK);
    assert_int_equal(zeb_cost_create(f->graph, &f->cost, &error), ZEB_OK);
}

static void drop(fixture *f) {
    zeb_cost_destroy(f->cost);
    zeb_builder_destroy(f->builder);
}

static void test_signatures(void **state) {
    (void)state;
    fixture a, b;
    char x[ZEB_SIGNATURE_MAX], y[ZEB_SIGNATURE_MAX];
    build(&a, 0.25f, ZEB_PRECISION_F32);
    build(&b, 0.75f, ZEB_PRECISION_W8A8);
    zeb_costs_signature(a.graph, &a.graph->node[0], false, x);
    assert_string_equal(x, "linear fp32 f32:Tx16 f32:16x16");
    zeb_costs_signature(b.graph, &b.graph->node[0], false, y);
    assert_string_not_equal(x, y);
    zeb_costs_signature(a.graph, &a.graph->node[1], false, x);
    zeb_costs_signature(b.graph, &b.graph->node[1], false, y);
    assert_string_equal(x, y); /* how many rows are kept is no part of it */
    assert_non_null(strstr(x, "keeps all f32:Tx16 f32:Tx16 f32:Tx16"));
    zeb_costs_signature(b.graph, &b.graph->node[1], true, y);
    assert_non_null(strstr(y, "keeps half"));
    assert_true(zeb_costs_selects(&a.graph->node[1]));
    assert_false(zeb_costs_selects(&a.graph->node[0]));
    zeb_costs_signature(a.graph, &a.graph->node[2], false, x);
    assert_string_equal(x, "gather f32:Tx16 i32:T");
    drop(&a);
    drop(&b);
}

static void test_a_pass(void **state) {
    (void)state;
    fixture f;
    zeb_arena *arena = new_arena();
    zeb_error error = {{0}};
    zeb_work work;
    zeb_timing made[6] = {{"pass", 1, 1000}};
    const int32_t length[] = {16, 16};
    build(&f, 0.25f, ZEB_PRECISION_F32);
    for (int i = 0; i < 3; i++)
        zeb_costs_signature(f.graph, &f.graph->node[i], false, made[1 + i].signature);
    zeb_costs_signature(f.graph, &f.graph->node[1], true, made[4].signature);
    made[1].ns = 320; /* 10 a row from 32 on */
    made[1].rows = 32;
    made[2].ns = 500; /* of 16 rows, keeping all; half of them: */
    made[4].ns = 300;
    made[2].rows = made[4].rows = 16;
    made[3].ns = 8;
    made[3].rows = 8;
    zeb_costs costs = make(arena, made, 5);
    const zeb_cost_read *read;
    assert_int_equal(zeb_cost_reads(f.cost, &read), 0);
    assert_int_equal(zeb_cost_executed(f.cost, length, 2, NULL, &work, &error), ZEB_OK);
    near(zeb_costs_node(&costs, f.graph, &f.graph->node[0], f.cost, 2), 320);
    near(zeb_costs_node(&costs, f.graph, &f.graph->node[1], f.cost, 2), 2 * 200); /* a quarter, twice */
    near(zeb_costs_node(&costs, f.graph, &f.graph->node[2], f.cost, 2), 8);
    near(zeb_costs_graph(&costs, f.graph, f.cost, 2), 1000 + 320 + 400 + 8);
    costs = make(arena, made, 4); /* the half is not known */
    assert_true(zeb_costs_node(&costs, f.graph, &f.graph->node[1], f.cost, 2) < 0);
    assert_true(zeb_costs_graph(&costs, f.graph, f.cost, 2) < 0);
    drop(&f);
    zeb_arena_destroy(arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_between_and_beyond), cmocka_unit_test(test_whose),
                                       cmocka_unit_test(test_signatures), cmocka_unit_test(test_a_pass)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
