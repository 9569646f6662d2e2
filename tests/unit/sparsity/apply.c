/* Rewritten graphs, run on ref, against the graph as it was and against masked computation by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dlfcn.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "encoder.h"
#include "graph/check.h"
#include "graph/cost.h"
#include "sparsity/rewrite.h"
#include "zeb/plugin.h"

static const zeb_backend *ref;
static zeb_device *device;
static encoder e;

static int open_ref(void **state) {
    zeb_error error = {""};
    (void)state;
    void *object = dlopen(ZEB_PLUGIN_DIR "/zeb_ref.so", RTLD_NOW | RTLD_LOCAL);
    if (object == NULL) fail_msg("%s", dlerror());
    void *symbol = dlsym(object, ZEB_PLUGIN_ENTRY_NAME);
    zeb_plugin_entry_fn entry;
    memcpy(&entry, &symbol, sizeof entry);
    ref = entry()->backend;
    assert_int_equal(ref->open(0, &(zeb_device_options){.struct_size = sizeof(zeb_device_options)}, &device, &error),
                     ZEB_OK);
    return 0;
}

static int close_ref(void **state) {
    (void)state;
    ref->close(device);
    return 0;
}

/* Runs a graph on the encoder's input; also hands what the cost model wants to know to it. */
static void run(const zeb_graph *graph, float logits[BATCH][LABELS], zeb_cost *cost) {
    zeb_error error = {""};
    zeb_plan *plan = NULL;
    int32_t offsets = zeb_graph_find(graph, "tokens.offsets"), count = zeb_graph_find(graph, "tokens.count");
    int32_t x = zeb_graph_find(graph, "x"), y = zeb_graph_find(graph, "logits");
    if (zeb_graph_check(graph, &error) != ZEB_OK) fail_msg("%s", error.text);
    if (ref->compile(device, graph, &plan, &error) != ZEB_OK) fail_msg("%s", error.text);
    assert_int_equal(ref->write(plan, offsets, e.offsets, sizeof e.offsets, &error), ZEB_OK);
    assert_int_equal(ref->write(plan, count, &e.offsets[BATCH], sizeof(int32_t), &error), ZEB_OK);
    assert_int_equal(ref->write(plan, x, e.x, sizeof e.x, &error), ZEB_OK);
    if (ref->submit(plan, &error) != ZEB_OK) fail_msg("%s", error.text);
    assert_int_equal(ref->read(plan, y, logits, BATCH * LABELS * sizeof(float), &error), ZEB_OK);
    const zeb_cost_read *read;
    size_t reads = cost != NULL ? zeb_cost_reads(cost, &read) : 0;
    for (size_t i = 0; i < reads; ++i)
        assert_int_equal(ref->read(plan, read[i].tensor, read[i].value, read[i].bytes, &error), ZEB_OK);
    ref->release(plan);
}

typedef struct built {
    zeb_builder *dense, *sparse;
    const zeb_graph *dense_graph, *graph;
} built;

static built build(const zeb_policy *policy, uint32_t pool) {
    built made = {NULL, NULL, NULL, NULL};
    zeb_error error = {""};
    assert_int_equal(zeb_builder_create(&made.dense, &error), ZEB_OK);
    assert_int_equal(zeb_builder_create(&made.sparse, &error), ZEB_OK);
    if (encoder_graph(&e, pool, made.dense, &error) != ZEB_OK) fail_msg("%s", error.text);
    assert_int_equal(zeb_builder_finish(made.dense, &made.dense_graph, &error), ZEB_OK);
    if (zeb_policy_apply(policy, made.dense_graph, encoder_weight, &e, made.sparse, &error) != ZEB_OK)
        fail_msg("%s", error.text);
    assert_int_equal(zeb_builder_finish(made.sparse, &made.graph, &error), ZEB_OK);
    return made;
}

static void drop_built(built *made) {
    zeb_builder_destroy(made->dense);
    zeb_builder_destroy(made->sparse);
}

static int has_node(const zeb_graph *graph, const char *name) {
    for (uint32_t i = 0; i < graph->node_count; ++i)
        if (strcmp(graph->node[i].name, name) == 0) return 1;
    return 0;
}

static void first_row_rewrite_is_exact(void **state) {
    float dense[BATCH][LABELS], less[BATCH][LABELS];
    (void)state;
    for (uint64_t seed = 1; seed <= 20; ++seed) {
        encoder_fill(&e, seed);
        built made = build(NULL, ZEB_POOL_FIRST);
        assert_true(has_node(made.graph, "layer.2.attention.cls"));
        assert_false(has_node(made.graph, "layer.1.attention.cls"));
        run(made.dense_graph, dense, NULL);
        run(made.graph, less, NULL);
        assert_memory_equal(dense, less, sizeof dense);
        drop_built(&made);
    }
}

static void first_row_rewrite_saves_the_work(void **state) {
    zeb_error error = {""};
    zeb_cost *before = NULL, *after = NULL;
    zeb_work node_before[64], node_after[64], total_before, total_after;
    int32_t length[BATCH] = {6, 5, 0, 7};
    (void)state;
    encoder_fill(&e, 1);
    built made = build(NULL, ZEB_POOL_FIRST);
    assert_int_equal(zeb_cost_create(made.dense_graph, &before, &error), ZEB_OK);
    assert_int_equal(zeb_cost_create(made.graph, &after, &error), ZEB_OK);
    assert_int_equal(zeb_cost_dense(before, length, BATCH, node_before, &total_before, &error), ZEB_OK);
    assert_int_equal(zeb_cost_executed(after, length, BATCH, node_after, &total_after, &error), ZEB_OK);
    for (uint32_t i = 0; i < made.graph->node_count; ++i) {
        const char *name = made.graph->node[i].name;
        uint64_t flops = node_after[i].flops;
        if (strcmp(name, "layer.2.q") == 0) assert_int_equal(flops, 3 * 2 * WIDTH * WIDTH);
        if (strcmp(name, "layer.2.k") == 0) assert_int_equal(flops, 18 * 2 * WIDTH * WIDTH);
        if (strcmp(name, "layer.2.ffn.in") == 0) assert_int_equal(flops, 3 * (2 * WIDTH + 1) * INNER);
        if (strcmp(name, "layer.1.ffn.in") == 0) assert_int_equal(flops, 18 * (2 * WIDTH + 1) * INNER);
    }
    assert_true(total_after.flops < total_before.flops);
    zeb_cost_destroy(before);
    zeb_cost_destroy(after);
    drop_built(&made);
}

static void other_pools_are_left_alone(void **state) {
    float dense[BATCH][LABELS], same[BATCH][LABELS];
    (void)state;
    encoder_fill(&e, 7);
    built made = build(NULL, ZEB_POOL_MEAN);
    assert_int_equal(made.graph->node_count, made.dense_graph->node_count);
    run(made.dense_graph, dense, NULL);
    run(made.graph, same, NULL);
    assert_memory_equal(dense, same, sizeof dense);
    drop_built(&made);
}

/* Compares kept rows of the layers that drop, then the logits. */
static void compare(const zeb_graph *graph, const zeb_layer_rule *rule, double want[BATCH][LABELS],
                    int32_t kept[LAYERS][BATCH], uint64_t seed) {
    float got[BATCH][LABELS];
    zeb_error error = {""};
    zeb_cost *cost = NULL;
    zeb_work work;
    const zeb_cost_read *read;
    int32_t length[BATCH];
    for (int b = 0; b < BATCH; ++b)
        length[b] = e.offsets[b + 1] - e.offsets[b];
    assert_int_equal(zeb_cost_create(graph, &cost, &error), ZEB_OK);
    run(graph, got, cost);
    size_t reads = zeb_cost_reads(cost, &read);
    for (int l = 0; l < LAYERS - 1; ++l) {
        char name[48];
        (void)snprintf(name, sizeof name, "layer.%d.kept.offsets", l);
        const int32_t *offsets = NULL;
        for (size_t i = 0; i < reads; ++i)
            if (strcmp(read[i].name, name) == 0) offsets = read[i].value;
        assert_int_equal(offsets != NULL, rule[l].tokens.mode != ZEB_SELECT_NONE);
        for (int b = 0; offsets != NULL && b < BATCH; ++b)
            if (offsets[b + 1] - offsets[b] != kept[l][b])
                fail_msg("seed %d layer %d sequence %d: %d rows kept instead of %d", (int)seed, l, b,
                         offsets[b + 1] - offsets[b], kept[l][b]);
    }
    if (zeb_cost_executed(cost, length, BATCH, NULL, &work, &error) != ZEB_OK) fail_msg("%s", error.text);
    for (int b = 0; b < BATCH; ++b)
        for (int i = 0; i < LABELS; ++i)
            if (fabs((double)got[b][i] - want[b][i]) > 2e-5)
                fail_msg("seed %d sequence %d label %d: %g instead of %g", (int)seed, b, i, (double)got[b][i],
                         want[b][i]);
    zeb_cost_destroy(cost);
}

/* Many random encoders under one policy; draws where a choice hangs by a thread are left out, but not many may be. */
static void check_policy(zeb_layer_rule rule[LAYERS]) {
    zeb_policy policy = {.name = "test", .layers = LAYERS, .rule = rule};
    int compared = 0, dropped = 0;
    for (uint64_t seed = 100; seed < 140; ++seed) {
        double want[BATCH][LABELS], margin;
        int32_t kept[LAYERS][BATCH];
        encoder_fill(&e, seed);
        masked_logits(&e, rule, want, kept, &margin);
        if (margin < 1e-5) continue;
        built made = build(&policy, ZEB_POOL_FIRST);
        compare(made.graph, rule, want, kept, seed);
        drop_built(&made);
        ++compared;
        for (int b = 0; b < BATCH; ++b)
            dropped += e.offsets[b + 1] - e.offsets[b] - kept[LAYERS - 2][b];
    }
    assert_true(compared > 20);
    if (rule[0].tokens.mode != ZEB_SELECT_NONE) assert_true(dropped > 20);
}

static void thresholds_equal_masks(void **state) {
    zeb_layer_rule rule[LAYERS] = {{.tokens = {.mode = ZEB_SELECT_THRESHOLD, .value = 0.2f, .floor = 2}},
                                   {.tokens = {.mode = ZEB_SELECT_THRESHOLD, .value = 0.25f, .floor = 1}}};
    (void)state;
    check_policy(rule);
}

static void ratios_equal_masks(void **state) {
    zeb_layer_rule rule[LAYERS] = {{.tokens = {.mode = ZEB_SELECT_RATIO, .value = 0.7f, .floor = 2, .keep_last = 1}},
                                   {.tokens = {.mode = ZEB_SELECT_RATIO, .value = 0.5f, .floor = 2, .keep_last = 1}}};
    (void)state;
    check_policy(rule);
}

static void a_layer_between_keeps_all(void **state) {
    zeb_layer_rule rule[LAYERS] = {{.tokens = {.mode = ZEB_SELECT_TOPK, .count = 3, .floor = 2}},
                                   {.score_threshold = 0.1f},
                                   {.tokens = {.mode = ZEB_SELECT_TOPK, .count = 1, .floor = 1}}};
    (void)state;
    check_policy(rule);
}

static void gates_equal_masks(void **state) {
    zeb_layer_rule rule[LAYERS] = {{.gate_weight = "gate.0", .gate_bias = "gate.0.bias"},
                                   {.gate_weight = "gate.1",
                                    .gate_bias = "gate.1.bias",
                                    .tokens = {.mode = ZEB_SELECT_TOPK, .count = 4, .floor = 2}},
                                   {.gate_weight = "gate.2", .gate_bias = "gate.2.bias", .score_threshold = 0.05f}};
    (void)state;
    check_policy(rule);
}

static void heads_that_gave_most_equal_masks(void **state) {
    zeb_layer_rule rule[LAYERS] = {
        {.tokens = {.mode = ZEB_SELECT_RATIO, .value = 0.7f, .floor = 2}}, {.heads_kept = 1}, {.heads_kept = 1}};
    (void)state;
    check_policy(rule);
    rule[0].gate_weight = "gate.0";
    rule[0].gate_bias = "gate.0.bias";
    rule[1].heads_kept = 0; /* all run, and are weighed all the same */
    check_policy(rule);
    rule[2].heads_kept = HEADS;
    check_policy(rule);
}

static void closed_blocks_equal_masks(void **state) {
    zeb_layer_rule rule[LAYERS] = {
        {.ffn = {.size = 3, .threshold = 0.6f}},
        {.tokens = {.mode = ZEB_SELECT_RELATIVE, .value = 0.9f, .floor = 2}, .ffn = {.size = 1, .threshold = 0.2f}},
        {.ffn = {.size = 4, .threshold = 0.9f}}};
    (void)state;
    check_policy(rule);
    zeb_policy policy = {.name = "test", .layers = LAYERS, .rule = rule};
    built made = build(&policy, ZEB_POOL_FIRST);
    assert_true(has_node(made.graph, "layer.0.ffn.blocks"));
    assert_true(has_node(made.graph, "layer.2.ffn.blocks"));
    assert_true(zeb_graph_find(made.graph, "layer.1.ffn.blocks.open") >= 0);
    drop_built(&made);
}

/* With tokens dropped, a gate and closed blocks beside: any mix. */
static void exits_equal_masks(void **state) {
    zeb_layer_rule rule[LAYERS] = {{.tokens = {.mode = ZEB_SELECT_RATIO, .value = 0.7f, .floor = 2},
                                    .exit_weight = "exit.0",
                                    .exit_bias = "exit.0.bias",
                                    .confidence = 0.6f},
                                   {.ffn = {.size = 3, .threshold = 0.5f},
                                    .gate_weight = "gate.1",
                                    .gate_bias = "gate.1.bias",
                                    .exit_weight = "exit.1",
                                    .exit_bias = "exit.1.bias",
                                    .confidence = 0.7f}};
    (void)state;
    check_policy(rule);
}

/* Nobody leaves at a confidence of 1 with soft logits, everybody at next to none: the last layers then cost nothing. */
static void those_that_left_cost_nothing(void **state) {
    zeb_layer_rule rule[LAYERS] = {{.exit_weight = "exit.0", .exit_bias = "exit.0.bias", .confidence = 0.01f}};
    zeb_policy policy = {.name = "test", .layers = LAYERS, .rule = rule};
    float logits[BATCH][LABELS];
    zeb_error error = {""};
    zeb_cost *cost = NULL;
    zeb_work node[96], work;
    int32_t length[BATCH];
    (void)state;
    encoder_fill(&e, 5);
    for (int b = 0; b < BATCH; ++b)
        length[b] = e.offsets[b + 1] - e.offsets[b];
    built made = build(&policy, ZEB_POOL_FIRST);
    assert_int_equal(zeb_cost_create(made.graph, &cost, &error), ZEB_OK);
    run(made.graph, logits, cost);
    assert_int_equal(zeb_cost_executed(cost, length, BATCH, node, &work, &error), ZEB_OK);
    int behind = 0;
    for (uint32_t i = 0; i < made.graph->node_count; ++i) {
        const char *name = made.graph->node[i].name;
        if (strncmp(name, "layer.1.", 8) != 0 && strncmp(name, "layer.2.", 8) != 0) continue;
        assert_int_equal(node[i].flops, 0);
        ++behind;
    }
    assert_true(behind > 10);
    zeb_cost_destroy(cost);
    drop_built(&made);
}

static void wrong_policies_are_refused(void **state) {
    zeb_layer_rule rule[LAYERS] = {{.gate_weight = "gate.0", .gate_bias = "gate.9.bias"}};
    zeb_policy policy = {.name = "test", .layers = LAYERS - 1, .rule = rule};
    zeb_builder *dense = NULL, *sparse = NULL;
    const zeb_graph *graph;
    zeb_error error = {""};
    (void)state;
    encoder_fill(&e, 1);
    assert_int_equal(zeb_builder_create(&dense, &error), ZEB_OK);
    assert_int_equal(encoder_graph(&e, ZEB_POOL_FIRST, dense, &error), ZEB_OK);
    assert_int_equal(zeb_builder_finish(dense, &graph, &error), ZEB_OK);
    assert_int_equal(zeb_builder_create(&sparse, &error), ZEB_OK);
    assert_int_equal(zeb_policy_apply(&policy, graph, encoder_weight, &e, sparse, &error), ZEB_ERR_ARGUMENT);
    assert_non_null(strstr(error.text, "2 layers, the graph has 3"));
    policy.layers = LAYERS;
    assert_int_equal(zeb_policy_apply(&policy, graph, encoder_weight, &e, sparse, &error), ZEB_ERR_NOT_FOUND);
    assert_non_null(strstr(error.text, "gate.9.bias"));
    zeb_builder_destroy(sparse);
    assert_int_equal(zeb_builder_create(&sparse, &error), ZEB_OK);
    assert_int_equal(zeb_policy_apply(&policy, graph, NULL, NULL, sparse, &error), ZEB_ERR_ARGUMENT);
    zeb_builder_destroy(sparse);
    rule[0] = (zeb_layer_rule){.ffn = {.size = 5, .threshold = 0.1f}};
    assert_int_equal(zeb_builder_create(&sparse, &error), ZEB_OK);
    assert_int_equal(zeb_policy_apply(&policy, graph, NULL, NULL, sparse, &error), ZEB_ERR_ARGUMENT);
    assert_non_null(strstr(error.text, "layer.0.ffn.blocks"));
    assert_non_null(strstr(error.text, "12 columns do not divide into blocks of 5"));
    zeb_builder_destroy(sparse);
    rule[0] = (zeb_layer_rule){.heads_kept = 0};
    rule[1].heads_kept = HEADS + 1;
    assert_int_equal(zeb_builder_create(&sparse, &error), ZEB_OK);
    assert_int_equal(zeb_policy_apply(&policy, graph, NULL, NULL, sparse, &error), ZEB_ERR_ARGUMENT);
    assert_non_null(strstr(error.text, "'layer.1.gates' (head-topk): count 3 must be within 1 and the 2 heads"));
    zeb_builder_destroy(sparse);
    rule[1].heads_kept = 0;
    rule[0] = (zeb_layer_rule){.exit_weight = "gate.0", .exit_bias = "gate.0.bias", .confidence = 0.9f};
    assert_int_equal(zeb_builder_create(&sparse, &error), ZEB_OK);
    assert_int_equal(zeb_policy_apply(&policy, graph, encoder_weight, &e, sparse, &error), ZEB_ERR_ARGUMENT);
    assert_non_null(strstr(error.text, "logits")); /* a head of other labels than the results */
    zeb_builder_destroy(sparse);
    rule[0] = (zeb_layer_rule){.exit_weight = "exit.0", .exit_bias = "exit.0.bias", .confidence = 0.9f};
    e.layer[0].exit_bias[1] = NAN;
    assert_int_equal(zeb_builder_create(&sparse, &error), ZEB_OK);
    assert_int_equal(zeb_policy_apply(&policy, graph, encoder_weight, &e, sparse, &error), ZEB_ERR_RANGE);
    assert_non_null(strstr(error.text, "number 1 of the policy's weight 'exit.0.bias' is not finite"));
    zeb_builder_destroy(sparse);
    zeb_builder_destroy(dense);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(first_row_rewrite_is_exact),
        cmocka_unit_test(first_row_rewrite_saves_the_work),
        cmocka_unit_test(other_pools_are_left_alone),
        cmocka_unit_test(thresholds_equal_masks),
        cmocka_unit_test(ratios_equal_masks),
        cmocka_unit_test(a_layer_between_keeps_all),
        cmocka_unit_test(gates_equal_masks),
        cmocka_unit_test(closed_blocks_equal_masks),
        cmocka_unit_test(heads_that_gave_most_equal_masks),
        cmocka_unit_test(exits_equal_masks),
        cmocka_unit_test(those_that_left_cost_nothing),
        cmocka_unit_test(wrong_policies_are_refused),
    };
    return cmocka_run_group_tests(tests, open_ref, close_ref);
}
