/* A graph that was changed in one place after it was built is refused, and the sentence names the place. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "graph/builder.h"
#include "graph/check.h"

static const float DATA[256];

enum { TENSORS_MAX = 16, NODES_MAX = 4 };

typedef struct context {
    zeb_builder *b;
    zeb_graph graph;
    zeb_tensor tensor[TENSORS_MAX];
    zeb_node node[NODES_MAX];
} context;

/* x -> select first -> gather -> linear. */
static int set_up(void **state) {
    static context c;
    zeb_error error;
    int32_t offsets, x, w, out[ZEB_NODE_OUTPUTS_MAX];
    int64_t shape[2] = {4, 8};
    const zeb_graph *graph;
    memset(&c, 0, sizeof c);
    assert_int_equal(zeb_builder_create(&c.b, &error), ZEB_OK);
    assert_int_equal(zeb_builder_rows(c.b, "tokens", 16, 3, &offsets, &error), ZEB_OK);
    assert_int_equal(zeb_builder_input(c.b, "x", ZEB_F32, offsets, 8, &x, &error), ZEB_OK);
    assert_int_equal(zeb_builder_weight(c.b, "w", ZEB_F32, 2, shape, DATA, &w, &error), ZEB_OK);
    zeb_node node = zeb_node_make("cls", ZEB_OP_SELECT);
    node.input[ZEB_SELECT_ROWS] = x;
    node.attr.select.mode = ZEB_SELECT_FIRST;
    assert_int_equal(zeb_builder_node(c.b, &node, 0, out, &error), ZEB_OK);
    node = zeb_node_make("rows", ZEB_OP_GATHER);
    node.input[ZEB_GATHER_X] = x;
    node.input[ZEB_GATHER_INDICES] = out[0];
    assert_int_equal(zeb_builder_node(c.b, &node, 0, out, &error), ZEB_OK);
    node = zeb_node_make("fc", ZEB_OP_LINEAR);
    node.input[ZEB_LINEAR_X] = out[0];
    node.input[ZEB_LINEAR_W] = w;
    assert_int_equal(zeb_builder_node(c.b, &node, 0, out, &error), ZEB_OK);
    assert_int_equal(zeb_builder_output(c.b, out[0], &error), ZEB_OK);
    assert_int_equal(zeb_builder_finish(c.b, &graph, &error), ZEB_OK);
    memcpy(c.tensor, graph->tensor, graph->tensor_count * sizeof *c.tensor);
    memcpy(c.node, graph->node, graph->node_count * sizeof *c.node);
    c.graph = *graph;
    c.graph.tensor = c.tensor;
    c.graph.node = c.node;
    *state = &c;
    return 0;
}

static int tear_down(void **state) {
    zeb_builder_destroy(((context *)*state)->b);
    return 0;
}

static void expect(const context *c, const char *words) {
    zeb_error error = {""};
    assert_int_equal(zeb_graph_check(&c->graph, &error), ZEB_ERR_ARGUMENT);
    if (strstr(error.text, words) == NULL) fail_msg("'%s' does not say '%s'", error.text, words);
}

static void a_built_graph_is_fine(void **state) {
    context *c = *state;
    zeb_error error = {""};
    assert_int_equal(zeb_graph_check(&c->graph, &error), ZEB_OK);
}

static void wrong_order(void **state) {
    context *c = *state;
    zeb_node second = c->node[1];
    c->node[1] = c->node[2];
    c->node[2] = second;
    expect(c, "'fc' (linear): 'rows' is read before");
}

static void wrong_extent(void **state) {
    context *c = *state;
    zeb_tensor *fc = &c->tensor[zeb_graph_find(&c->graph, "fc")];
    fc->extent[1].max = 5;
    fc->bytes = 3 * 5 * 4;
    expect(c, "'fc' (linear): output 'fc' is not what the node makes");
}

static void wrong_rows(void **state) {
    context *c = *state;
    c->tensor[zeb_graph_find(&c->graph, "fc")].offsets = zeb_graph_find(&c->graph, "tokens.offsets");
    expect(c, "'fc' (linear): output 'fc'");
}

static void wrong_bytes(void **state) {
    context *c = *state;
    c->tensor[zeb_graph_find(&c->graph, "x")].bytes += 1;
    expect(c, "'x': shape and 513 bytes");
}

static void unknown_ids(void **state) {
    context *c = *state;
    c->tensor[zeb_graph_find(&c->graph, "x")].offsets = 77;
    expect(c, "'x': offsets 77");
}

static void double_names(void **state) {
    context *c = *state;
    c->node[2].name = "cls";
    expect(c, "two nodes 'cls'");
}

static void nobody_makes_it(void **state) {
    context *c = *state;
    c->graph.node_count = 2;
    expect(c, "'fc': no node makes it");
}

static void no_outputs(void **state) {
    context *c = *state;
    c->tensor[zeb_graph_find(&c->graph, "fc")].role = ZEB_ROLE_VALUE;
    expect(c, "no outputs");
}

static void no_data(void **state) {
    context *c = *state;
    c->tensor[zeb_graph_find(&c->graph, "w")].data = NULL;
    expect(c, "'w': weights alone have data");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_built_graph_is_fine, set_up, tear_down),
        cmocka_unit_test_setup_teardown(wrong_order, set_up, tear_down),
        cmocka_unit_test_setup_teardown(wrong_extent, set_up, tear_down),
        cmocka_unit_test_setup_teardown(wrong_rows, set_up, tear_down),
        cmocka_unit_test_setup_teardown(wrong_bytes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(unknown_ids, set_up, tear_down),
        cmocka_unit_test_setup_teardown(double_names, set_up, tear_down),
        cmocka_unit_test_setup_teardown(nobody_makes_it, set_up, tear_down),
        cmocka_unit_test_setup_teardown(no_outputs, set_up, tear_down),
        cmocka_unit_test_setup_teardown(no_data, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
