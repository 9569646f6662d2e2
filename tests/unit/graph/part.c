/* A part of a graph is a graph: it needs what others made, makes what others need, and nothing is lost at a cut. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "graph/builder.h"
#include "graph/check.h"
#include "graph/part.h"

static const float DATA[256];

typedef struct context {
    zeb_builder *b;
    zeb_arena *arena;
    const zeb_graph *graph;
} context;

static int32_t add(zeb_builder *b, zeb_node node) {
    zeb_error error;
    int32_t out[ZEB_NODE_OUTPUTS_MAX];
    if (zeb_builder_node(b, &node, 0, out, &error) != ZEB_OK) fail_msg("%s", error.text);
    return out[0];
}

static int32_t linear(zeb_builder *b, const char *name, int32_t x, int32_t w, int32_t residual) {
    zeb_node node = zeb_node_make(name, ZEB_OP_LINEAR);
    node.input[ZEB_LINEAR_X] = x;
    node.input[ZEB_LINEAR_W] = w;
    node.input[ZEB_LINEAR_RESIDUAL] = residual;
    return add(b, node);
}

/* x -> a; first rows of a -> b; b -> c (+ b), while a skips to the last: pool(a) stands behind c. */
static int set_up(void **state) {
    static context c;
    zeb_error error;
    int32_t offsets, x, w;
    const int64_t shape[2] = {8, 8};
    assert_int_equal(zeb_arena_create(&c.arena, &error), ZEB_OK);
    assert_int_equal(zeb_builder_create(&c.b, &error), ZEB_OK);
    assert_int_equal(zeb_builder_rows(c.b, "tokens", 16, 3, &offsets, &error), ZEB_OK);
    assert_int_equal(zeb_builder_input(c.b, "x", ZEB_F32, offsets, 8, &x, &error), ZEB_OK);
    assert_int_equal(zeb_builder_weight(c.b, "w", ZEB_F32, 2, shape, DATA, &w, &error), ZEB_OK);
    const int32_t a = linear(c.b, "a", x, w, ZEB_NONE);
    zeb_node node = zeb_node_make("cls", ZEB_OP_SELECT);
    node.input[ZEB_SELECT_ROWS] = a;
    node.attr.select.mode = ZEB_SELECT_FIRST;
    const int32_t indices = add(c.b, node);
    node = zeb_node_make("b", ZEB_OP_GATHER);
    node.input[ZEB_GATHER_X] = a;
    node.input[ZEB_GATHER_INDICES] = indices;
    const int32_t b = add(c.b, node), last = linear(c.b, "c", b, w, b);
    node = zeb_node_make("pool", ZEB_OP_POOL);
    node.input[ZEB_POOL_X] = a;
    node.attr.pool.kind = ZEB_POOL_MEAN;
    const int32_t pool = add(c.b, node);
    assert_int_equal(zeb_builder_output(c.b, last, &error), ZEB_OK);
    assert_int_equal(zeb_builder_output(c.b, pool, &error), ZEB_OK);
    assert_int_equal(zeb_builder_finish(c.b, &c.graph, &error), ZEB_OK);
    *state = &c;
    return 0;
}

static int tear_down(void **state) {
    context *c = *state;
    zeb_builder_destroy(c->b);
    zeb_arena_destroy(c->arena);
    return 0;
}

static zeb_graph_part part_of(context *c, uint32_t first, uint32_t last, const char *also) {
    zeb_graph_part part;
    zeb_error error = {""};
    const int32_t id = also != NULL ? zeb_graph_find(c->graph, also) : ZEB_NONE;
    const size_t count = also != NULL;
    if (zeb_graph_part_make(c->graph, first, last, &id, count, c->arena, &part, &error) != ZEB_OK ||
        zeb_graph_check(&part.graph, &error) != ZEB_OK)
        fail_msg("%u to %u: %s", first, last, error.text);
    for (uint32_t t = 0; t < part.graph.tensor_count; t++)
        assert_string_equal(part.graph.tensor[t].name, c->graph->tensor[part.whole[t]].name);
    return part;
}

/* The tensors of a role, in their order: "a,b". */
static void expect(const zeb_graph_part *part, zeb_tensor_role role, const char *names) {
    char text[256] = "";
    for (uint32_t t = 0; t < part->graph.tensor_count; t++) {
        if (part->graph.tensor[t].role != role) continue;
        if (text[0] != '\0') strcat(text, ",");
        strcat(text, part->graph.tensor[t].name);
    }
    assert_string_equal(text, names);
}

static void a_cut_hands_on_what_is_needed(void **state) {
    context *c = *state;
    const zeb_graph_part front = part_of(c, 0, 3, NULL), back = part_of(c, 3, 5, NULL);
    expect(&front, ZEB_ROLE_INPUT, "tokens.offsets,tokens.count,x");
    expect(&front, ZEB_ROLE_OUTPUT, "a,cls.offsets,cls.count,b");
    expect(&front, ZEB_ROLE_VALUE, "cls.indices");
    expect(&back, ZEB_ROLE_INPUT, "tokens.offsets,tokens.count,a,cls.offsets,cls.count,b");
    expect(&back, ZEB_ROLE_OUTPUT, "c,pool");
    assert_int_equal(back.graph.node_count, 2);
    assert_string_equal(back.graph.node[0].name, "c");
    assert_string_equal(back.graph.tensor[back.graph.node[0].input[ZEB_LINEAR_RESIDUAL]].name, "b");
}

static void what_passes_by_is_carried_and_not_in_the_part(void **state) {
    context *c = *state;
    bool carried[64];
    const zeb_graph_part middle = part_of(c, 3, 4, NULL);
    expect(&middle, ZEB_ROLE_INPUT, "cls.offsets,cls.count,b");
    zeb_graph_carried(c->graph, 4, carried);
    for (uint32_t t = 0; t < c->graph->tensor_count; t++) /* nothing is left that counts b */
        assert_int_equal(carried[t], strcmp(c->graph->tensor[t].name, "a") == 0);
}

static void more_can_be_made_readable(void **state) {
    context *c = *state;
    const zeb_graph_part part = part_of(c, 1, 4, "b");
    expect(&part, ZEB_ROLE_OUTPUT, "cls.offsets,cls.count,b,c");
    const zeb_graph_part without = part_of(c, 1, 4, NULL);
    expect(&without, ZEB_ROLE_OUTPUT, "c");
}

static void the_whole_is_a_part(void **state) {
    context *c = *state;
    const zeb_graph_part part = part_of(c, 0, c->graph->node_count, NULL);
    assert_int_equal(part.graph.tensor_count, c->graph->tensor_count);
    assert_memory_equal(part.graph.tensor, c->graph->tensor, c->graph->tensor_count * sizeof(zeb_tensor));
    assert_memory_equal(part.graph.node, c->graph->node, c->graph->node_count * sizeof(zeb_node));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_cut_hands_on_what_is_needed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_passes_by_is_carried_and_not_in_the_part, set_up, tear_down),
        cmocka_unit_test_setup_teardown(more_can_be_made_readable, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_whole_is_a_part, set_up, tear_down)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
