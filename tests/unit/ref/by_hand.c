/* ref defines the ops, so here it is itself compared: with numbers worked out by hand or on paper. (Whole encoders with
 * dropped tokens, gates and score thresholds are compared with masked computation in tests/unit/sparsity.) */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dlfcn.h>
#include <math.h>
#include <string.h>

#include "graph/builder.h"
#include "zeb/plugin.h"

static const zeb_backend *ref;
static zeb_device *device;

enum { TOKENS = 5, BATCH = 3 };
static const int32_t OFFSETS[BATCH + 1] = {0, 3, 3, 5}; /* three rows, none, two */

typedef struct context {
    zeb_builder *b;
    zeb_error error;
    int32_t offsets;
    int32_t input[8];
    const void *data[8];
    size_t bytes[8], inputs;
    int32_t out[ZEB_NODE_OUTPUTS_MAX];
    zeb_plan *plan;
    zeb_status status; /* of submit */
} context;

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

static int set_up(void **state) {
    static context c;
    memset(&c, 0, sizeof c);
    assert_int_equal(zeb_builder_create(&c.b, &c.error), ZEB_OK);
    assert_int_equal(zeb_builder_rows(c.b, "tokens", TOKENS, BATCH, &c.offsets, &c.error), ZEB_OK);
    *state = &c;
    return 0;
}

static int tear_down(void **state) {
    context *c = *state;
    ref->release(c->plan);
    zeb_builder_destroy(c->b);
    return 0;
}

static int32_t rows(context *c, const char *name, zeb_dtype dtype, int64_t width, const void *data) {
    assert_int_equal(zeb_builder_input(c->b, name, dtype, c->offsets, width, &c->input[c->inputs], &c->error), ZEB_OK);
    c->data[c->inputs] = data;
    c->bytes[c->inputs] = zeb_builder_tensor(c->b, c->input[c->inputs])->bytes;
    return c->input[c->inputs++];
}

static int32_t plain(context *c, const char *name, int64_t first, int64_t second, const void *data) {
    int64_t extents[2] = {first, second};
    assert_int_equal(zeb_builder_plain(c->b, name, ZEB_F32, 2, extents, &c->input[c->inputs], &c->error), ZEB_OK);
    c->data[c->inputs] = data;
    c->bytes[c->inputs] = (size_t)(first * second) * 4;
    return c->input[c->inputs++];
}

static int32_t weight(context *c, const char *name, zeb_dtype dtype, int64_t n, int64_t k, const void *data) {
    int64_t extents[2] = {n, k};
    int32_t tensor;
    assert_int_equal(zeb_builder_weight(c->b, name, dtype, k == 0 ? 1 : 2, extents, data, &tensor, &c->error), ZEB_OK);
    return tensor;
}

/* Adds the node and runs the graph. */
static void run(context *c, const zeb_node *node, uint32_t want) {
    const zeb_graph *graph;
    if (zeb_builder_node(c->b, node, want, c->out, &c->error) != ZEB_OK) fail_msg("%s", c->error.text);
    for (int i = 0; i < ZEB_NODE_OUTPUTS_MAX; ++i)
        if (c->out[i] != ZEB_NONE) assert_int_equal(zeb_builder_output(c->b, c->out[i], &c->error), ZEB_OK);
    assert_int_equal(zeb_builder_finish(c->b, &graph, &c->error), ZEB_OK);
    if (ref->compile(device, graph, &c->plan, &c->error) != ZEB_OK) fail_msg("%s", c->error.text);
    assert_int_equal(ref->write(c->plan, c->offsets, OFFSETS, sizeof OFFSETS, &c->error), ZEB_OK);
    assert_int_equal(ref->write(c->plan, c->offsets + 1, &OFFSETS[BATCH], 4, &c->error), ZEB_OK);
    for (size_t i = 0; i < c->inputs; ++i)
        assert_int_equal(ref->write(c->plan, c->input[i], c->data[i], c->bytes[i], &c->error), ZEB_OK);
    c->status = ref->submit(c->plan, &c->error);
}

static void expect(context *c, int position, const double *want, size_t count, double tolerance) {
    float got[64];
    if (c->status != ZEB_OK) fail_msg("%s", c->error.text);
    assert_int_equal(ref->read(c->plan, c->out[position], got, count * sizeof *got, &c->error), ZEB_OK);
    for (size_t i = 0; i < count; ++i)
        if (!(fabs((double)got[i] - want[i]) <= tolerance))
            fail_msg("output %d [%zu] is %.9g instead of %.9g", position, i, (double)got[i], want[i]);
}

static void expect_integers(context *c, int position, const int32_t *want, size_t count) {
    int32_t got[16];
    if (c->status != ZEB_OK) fail_msg("%s", c->error.text);
    assert_int_equal(ref->read(c->plan, c->out[position], got, count * sizeof *got, &c->error), ZEB_OK);
    for (size_t i = 0; i < count; ++i)
        assert_int_equal(got[i], want[i]);
}

static void embed_adds_word_position_and_type(void **state) {
    context *c = *state;
    static const int32_t ids[TOKENS] = {2, 0, 1, 1, 2}, types[TOKENS] = {0, 0, 1, 1, 0};
    static const float word[6] = {1, 2, 3, 4, 5, 6}, position[10] = {10, 20, 30, 40, 50, 60, 70, 80, 90, 99};
    static const float type[4] = {100, 200, 300, 400};
    static const double want[10] = {115, 226, 131, 242, 353, 464, 313, 424, 135, 246};
    zeb_node node = zeb_node_make("embed", ZEB_OP_EMBED);
    node.input[ZEB_EMBED_IDS] = rows(c, "ids", ZEB_I32, 0, ids);
    node.input[ZEB_EMBED_TYPES] = rows(c, "types", ZEB_I32, 0, types);
    node.input[ZEB_EMBED_WORD] = weight(c, "word", ZEB_F32, 3, 2, word);
    node.input[ZEB_EMBED_POSITION] = weight(c, "position", ZEB_F32, 5, 2, position);
    node.input[ZEB_EMBED_TYPE] = weight(c, "type", ZEB_F32, 2, 2, type);
    run(c, &node, 0);
    expect(c, 0, want, 10, 0.0);
}

static void embed_refuses_ids_outside_its_table(void **state) {
    context *c = *state;
    static const int32_t ids[TOKENS] = {0, 0, 3, 0, 0};
    static const float word[3] = {1, 2, 3};
    zeb_node node = zeb_node_make("embed", ZEB_OP_EMBED);
    node.input[ZEB_EMBED_IDS] = rows(c, "ids", ZEB_I32, 0, ids);
    node.input[ZEB_EMBED_WORD] = weight(c, "word", ZEB_F32, 3, 1, word);
    run(c, &node, 0);
    assert_int_equal(c->status, ZEB_ERR_RANGE);
    assert_non_null(strstr(c->error.text, "'embed'"));
    assert_non_null(strstr(c->error.text, "'word'"));
}

static const float X[TOKENS] = {-2, -0.5f, 0, 1, 3};

static void activate(context *c, uint32_t kind, const double *want) {
    zeb_node node = zeb_node_make("act", ZEB_OP_ACTIVATION);
    node.input[ZEB_ACTIVATION_X] = rows(c, "x", ZEB_F32, 1, X);
    node.attr.activation.activation = kind;
    run(c, &node, 0);
    expect(c, 0, want, TOKENS, 5e-7);
}

static void gelu_erf(void **state) {
    activate(*state, ZEB_ACT_GELU_ERF, (double[]){-0.04550026, -0.15426877, 0, 0.84134475, 2.99595031});
}

static void gelu_tanh(void **state) {
    activate(*state, ZEB_ACT_GELU_TANH, (double[]){-0.04540231, -0.15428599, 0, 0.84119199, 2.99636261});
}

static void relu(void **state) {
    activate(*state, ZEB_ACT_RELU, (double[]){0, 0, 0, 1, 3});
}

static void silu(void **state) {
    activate(*state, ZEB_ACT_SILU, (double[]){-0.23840584, -0.18877033, 0, 0.73105858, 2.85772238});
}

static void tanh_itself(void **state) {
    activate(*state, ZEB_ACT_TANH, (double[]){-0.96402758, -0.46211716, 0, 0.76159416, 0.99505475});
}

static const float TWO[TOKENS * 2] = {1, 3, -2, 2, 0, 0, 4, 4, 3, -4};

static void norm(context *c, uint32_t kind, float epsilon, int with_beta, const double *want) {
    static const float gamma[2] = {2, 0.5f}, beta[2] = {0.25f, -1};
    zeb_node node = zeb_node_make("norm", ZEB_OP_NORM);
    node.input[ZEB_NORM_X] = rows(c, "x", ZEB_F32, 2, TWO);
    node.input[ZEB_NORM_GAMMA] = weight(c, "gamma", ZEB_F32, 2, 0, gamma);
    if (with_beta) node.input[ZEB_NORM_BETA] = weight(c, "beta", ZEB_F32, 2, 0, beta);
    node.attr.norm = (zeb_norm_attr){.kind = kind, .epsilon = epsilon};
    run(c, &node, 0);
    expect(c, 0, want, 10, 1e-6);
}

static void layer_norm(void **state) {
    norm(*state, ZEB_NORM_LAYER, 1e-12f, 1, (double[]){-1.75, -0.5, -1.75, -0.5, 0.25, -1, 0.25, -1, 2.25, -1.5});
}

static void rms_norm(void **state) {
    double a = sqrt(5.0), b = 2.0, d = sqrt(12.5);
    norm(*state, ZEB_NORM_RMS, 1e-12f, 0, (double[]){2 / a, 1.5 / a, -4 / b, 1 / b, 0, 0, 2, 0.5, 6 / d, -2 / d});
}

static void affine_norm(void **state) {
    norm(*state, ZEB_NORM_AFFINE, 0.0f, 1, (double[]){2.25, 0.5, -3.75, 0, 0.25, -1, 8.25, 1, 6.25, -3});
}

static void pool(context *c, uint32_t kind, const double *want) {
    zeb_node node = zeb_node_make("pool", ZEB_OP_POOL);
    node.input[ZEB_POOL_X] = rows(c, "x", ZEB_F32, 2, TWO);
    node.attr.pool.kind = kind;
    run(c, &node, 0);
    expect(c, 0, want, BATCH * 2, 1e-6);
}

static void pool_first(void **state) {
    pool(*state, ZEB_POOL_FIRST, (double[]){1, 3, 0, 0, 4, 4});
}

static void pool_mean(void **state) {
    pool(*state, ZEB_POOL_MEAN, (double[]){-1.0 / 3, 5.0 / 3, 0, 0, 3.5, 0});
}

static void pool_max(void **state) {
    pool(*state, ZEB_POOL_MAX, (double[]){1, 3, 0, 0, 4, 4});
}

static void linear_with_gates_and_residual(void **state) {
    context *c = *state;
    static const float w[8] = {1, 0, 0, 1, 1, 1, 1, -1}, bias[4] = {0.5f, 0, 0, 0};
    static const float gates[BATCH * 2] = {1, 0, 1, 1, 0, 1}, residual[TOKENS * 4] = {100, 100, 100, 100};
    zeb_node node = zeb_node_make("fc", ZEB_OP_LINEAR);
    node.input[ZEB_LINEAR_X] = rows(c, "x", ZEB_F32, 2, TWO);
    node.input[ZEB_LINEAR_W] = weight(c, "w", ZEB_F32, 4, 2, w);
    node.input[ZEB_LINEAR_BIAS] = weight(c, "b", ZEB_F32, 4, 0, bias);
    node.input[ZEB_LINEAR_RESIDUAL] = rows(c, "r", ZEB_F32, 4, residual);
    node.input[ZEB_LINEAR_GATES] = plain(c, "gates", BATCH, 2, gates);
    node.attr.linear = (zeb_linear_attr){.activation = ZEB_ACT_RELU, .gate_groups = 2};
    run(c, &node, 0);
    expect(c, 0, (double[]){101.5, 103, 100, 100, 0, 2, 0, 0, 0.5, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0, 7}, 20, 0.0);
}

/* q.k = 0 everywhere but row 0 of the first sequence, so probabilities are known. */
static void attention(context *c, const zeb_attention_attr *attr, uint32_t want) {
    static const float q[TOKENS] = {1, 0, 0, 0, 0}, k[TOKENS] = {0, 0.6931472f, 0, 0, 0};
    static const float v[TOKENS] = {4, 8, 12, 1, 2};
    zeb_node node = zeb_node_make("attention", ZEB_OP_ATTENTION);
    node.input[ZEB_ATTENTION_Q] = rows(c, "q", ZEB_F32, 1, q);
    node.input[ZEB_ATTENTION_K] = rows(c, "k", ZEB_F32, 1, k);
    node.input[ZEB_ATTENTION_V] = rows(c, "v", ZEB_F32, 1, v);
    node.attr.attention = *attr;
    run(c, &node, want);
}

static void attention_and_importance(void **state) {
    zeb_attention_attr attr = {.heads = 1, .kv_heads = 1, .head_dim = 1, .scale = 1.0f};
    attention(*state, &attr, 1u << ZEB_ATTENTION_IMPORTANCE);
    expect(*state, ZEB_ATTENTION_CONTEXT, (double[]){8, 8, 8, 1.5, 1.5}, 5, 1e-6);
    expect(*state, ZEB_ATTENTION_IMPORTANCE,
           (double[]){(0.25 + 2.0 / 3) / 3, (0.5 + 2.0 / 3) / 3, (0.25 + 2.0 / 3) / 3, 0.5, 0.5}, 5, 1e-6);
}

static void attention_causal(void **state) {
    zeb_attention_attr attr = {.heads = 1, .kv_heads = 1, .head_dim = 1, .scale = 1.0f, .causal = 1};
    attention(*state, &attr, 1u << ZEB_ATTENTION_IMPORTANCE);
    expect(*state, ZEB_ATTENTION_CONTEXT, (double[]){4, 6, 8, 1, 1.5}, 5, 1e-6);
    expect(*state, ZEB_ATTENTION_IMPORTANCE,
           (double[]){(1 + 0.5 + 1.0 / 3) / 3, (0.5 + 1.0 / 3) / 3, 1.0 / 9, 0.75, 0.25}, 5, 1e-6);
}

static void attention_threshold_without_renormalising(void **state) {
    zeb_attention_attr attr = {.heads = 1, .kv_heads = 1, .head_dim = 1, .scale = 1.0f, .score_threshold = 0.3f};
    attention(*state, &attr, 0);
    expect(*state, ZEB_ATTENTION_CONTEXT, (double[]){4, 8, 8, 1.5, 1.5}, 5, 1e-6);
}

static void attention_selects_between_softmax_and_context(void **state) {
    zeb_attention_attr attr = {.heads = 1, .kv_heads = 1, .head_dim = 1, .scale = 1.0f};
    attr.select = (zeb_select){.mode = ZEB_SELECT_TOPK, .count = 2, .floor = 1};
    attention(*state, &attr, 0);
    expect_integers(*state, ZEB_ATTENTION_INDICES, (int32_t[]){0, 1, 3, 4}, 4);
    expect_integers(*state, ZEB_ATTENTION_OFFSETS, (int32_t[]){0, 2, 2, 4}, 4);
    expect_integers(*state, ZEB_ATTENTION_COUNT, (int32_t[]){4}, 1);
    expect(*state, ZEB_ATTENTION_CONTEXT, (double[]){8, 8, 1.5, 1.5}, 4, 1e-6);
}

/* Two query heads share one key head; the second is closed for the last sequence. */
static void attention_shares_keys_and_closes_heads(void **state) {
    context *c = *state;
    static const float q[TOKENS * 2] = {0}, k[TOKENS] = {0}, v[TOKENS] = {3, 6, 9, 1, 2};
    static const float gates[BATCH * 2] = {1, 1, 1, 1, 1, 0};
    zeb_node node = zeb_node_make("attention", ZEB_OP_ATTENTION);
    node.input[ZEB_ATTENTION_Q] = rows(c, "q", ZEB_F32, 2, q);
    node.input[ZEB_ATTENTION_K] = rows(c, "k", ZEB_F32, 1, k);
    node.input[ZEB_ATTENTION_V] = rows(c, "v", ZEB_F32, 1, v);
    node.input[ZEB_ATTENTION_GATES] = plain(c, "gates", BATCH, 2, gates);
    node.attr.attention = (zeb_attention_attr){.heads = 2, .kv_heads = 1, .head_dim = 1, .scale = 1.0f};
    run(c, &node, 1u << ZEB_ATTENTION_IMPORTANCE);
    expect(c, ZEB_ATTENTION_CONTEXT, (double[]){6, 6, 6, 6, 6, 6, 1.5, 0, 1.5, 0}, 10, 1e-6);
    expect(c, ZEB_ATTENTION_IMPORTANCE, (double[]){1.0 / 3, 1.0 / 3, 1.0 / 3, 0.25, 0.25}, 5, 1e-6);
}

static const float SOME[TOKENS] = {0.1f, NAN, 0.5f, 0.5f, 0.5f};
static const float TIED[TOKENS] = {0.1f, 0.5f, 0.5f, 0.5f, 0.5f};

static void select_rows(context *c, const float *importance, zeb_select select, const int32_t *want, size_t count) {
    zeb_node node = zeb_node_make("select", ZEB_OP_SELECT);
    node.input[ZEB_SELECT_IMPORTANCE] = node.input[ZEB_SELECT_ROWS] = rows(c, "importance", ZEB_F32, 0, importance);
    node.attr.select = select;
    run(c, &node, 0);
    expect_integers(c, ZEB_SELECT_INDICES, want, count);
    expect_integers(c, ZEB_SELECT_COUNT, (int32_t[]){(int32_t)count}, 1);
}

static void select_breaks_ties_by_row(void **state) {
    select_rows(*state, TIED, (zeb_select){.mode = ZEB_SELECT_TOPK, .count = 2, .floor = 1}, (int32_t[]){0, 1, 3, 4},
                4);
}

static void select_counts_forced_rows(void **state) {
    select_rows(*state, SOME, (zeb_select){.mode = ZEB_SELECT_TOPK, .count = 2, .floor = 1, .keep_last = 1},
                (int32_t[]){0, 2, 3, 4}, 4);
}

static void select_nan_comes_last(void **state) {
    select_rows(*state, SOME, (zeb_select){.mode = ZEB_SELECT_RATIO, .value = 0.6f, .floor = 1},
                (int32_t[]){0, 2, 3, 4}, 4);
}

static void select_floor_adds_the_best(void **state) {
    select_rows(*state, SOME, (zeb_select){.mode = ZEB_SELECT_THRESHOLD, .value = 0.9f, .floor = 2},
                (int32_t[]){0, 2, 3, 4}, 4);
}

static void select_threshold_includes_its_value(void **state) {
    select_rows(*state, SOME, (zeb_select){.mode = ZEB_SELECT_THRESHOLD, .value = 0.5f, .floor = 1},
                (int32_t[]){0, 2, 3, 4}, 4);
}

static void select_relative_counts_the_rows(void **state) {
    select_rows(*state, SOME, (zeb_select){.mode = ZEB_SELECT_RELATIVE, .value = 1.2f, .floor = 1},
                (int32_t[]){0, 2, 3}, 3); /* 0.5 of 3 rows reaches it, 0.5 of 2 does not */
}

static void ratio_is_a_binary32_product(void **state) {
    (void)state;
    zeb_select select = {.mode = ZEB_SELECT_RATIO, .value = 0.3f, .floor = 1};
    assert_int_equal(zeb_select_quota(&select, 10), 3); /* 0.3f is above 0.3, but 0.3f * 10 rounds to 3 */
    assert_int_equal(zeb_select_quota(&select, 11), 4);
    assert_int_equal(zeb_select_quota(&select, 1), 1);
    assert_int_equal(zeb_select_quota(&select, 0), 0);
}

static void head_gates_from_the_mean(void **state) {
    context *c = *state;
    static const float w[4] = {1, 0, 0, -1}, bias[2] = {0, 1.6f};
    zeb_node node = zeb_node_make("gate", ZEB_OP_HEAD_GATE);
    node.input[ZEB_HEAD_GATE_X] = rows(c, "x", ZEB_F32, 2, TWO); /* means -1/3, 5/3 and 3.5, 0 */
    node.input[ZEB_HEAD_GATE_W] = weight(c, "w", ZEB_F32, 2, 2, w);
    node.input[ZEB_HEAD_GATE_BIAS] = weight(c, "b", ZEB_F32, 2, 0, bias);
    run(c, &node, 0);
    expect(c, 0, (double[]){0, 0, 0, 0, 1, 1}, 6, 0.0);
}

/* Two heads of one column; the second sequence's are equal, or not a number. */
static void heads_that_gave_most(void **state) {
    context *c = *state;
    static const float x[2 * TOKENS] = {1, -1, -2, 3, 0, -5, -4, 4, 2, -2};
    zeb_node node = zeb_node_make("heads", ZEB_OP_HEAD_TOPK);
    node.input[ZEB_HEAD_TOPK_X] = rows(c, "x", ZEB_F32, 2, x);
    node.attr.head_topk = (zeb_head_topk_attr){.heads = 2, .count = 1};
    run(c, &node, 0);
    expect(c, ZEB_HEAD_TOPK_GATES, (double[]){0, 1, 0, 0, 1, 0}, 6, 0.0);
    expect(c, ZEB_HEAD_TOPK_IMPORTANCE, (double[]){1, 3, 0, 0, 3, 3}, 6, 0.0);
}

static void a_head_that_is_no_number_stays(void **state) {
    context *c = *state;
    static const float x[2 * TOKENS] = {1, NAN, 9, 3, 9, 5, NAN, 4, NAN, NAN};
    static const float before[2 * BATCH] = {9, 0, 7, 8, 1, 2};
    zeb_node node = zeb_node_make("heads", ZEB_OP_HEAD_TOPK);
    node.input[ZEB_HEAD_TOPK_X] = rows(c, "x", ZEB_F32, 2, x);
    node.input[ZEB_HEAD_TOPK_BEFORE] = plain(c, "before", BATCH, 2, before);
    node.attr.head_topk = (zeb_head_topk_attr){.heads = 2, .count = 1};
    run(c, &node, 0);
    expect(c, ZEB_HEAD_TOPK_GATES, (double[]){0, 1, 0, 0, 1, 0}, 6, 0.0);
    float importance[2 * BATCH];
    assert_int_equal(ref->read(c->plan, c->out[ZEB_HEAD_TOPK_IMPORTANCE], importance, sizeof importance, &c->error),
                     ZEB_OK);
    assert_true(importance[2] == 7.0f && importance[3] == 8.0f && isnan(importance[1]) && isnan(importance[4]));
}

static void log_likelihood_of_targets(void **state) {
    context *c = *state;
    static const float w[3] = {0, 1, 2};
    static const int32_t targets[TOKENS] = {0, -1, 2, 1, 2};
    zeb_node node = zeb_node_make("score", ZEB_OP_LOG_LIKELIHOOD);
    node.input[ZEB_LOG_LIKELIHOOD_X] = rows(c, "x", ZEB_F32, 1, X);
    node.input[ZEB_LOG_LIKELIHOOD_W] = weight(c, "w", ZEB_F32, 3, 1, w);
    node.input[ZEB_LOG_LIKELIHOOD_TARGETS] = rows(c, "targets", ZEB_I32, 0, targets);
    run(c, &node, 0);
    double a = log(1 + exp(-2.0) + exp(-4.0)), d = log(1 + exp(1.0) + exp(2.0)), e = log(1 + exp(3.0) + exp(6.0));
    expect(c, 0, (double[]){-a, 0, -log(3.0), 1 - d, 6 - e}, 5, 1e-6);
}

/* Row 0: x = 1, -2 -> a = rint(63.5) = 64, -127 with scale 2/127; row 2 is all zeros. */
static void w8a8_by_hand(void **state) {
    context *c = *state;
    static const float x[TOKENS * 2] = {1, -2, 2, 0, 0, 0, -1, 1, 0.5f, 0.25f}, scale[2] = {0.5f, 0.01f};
    static const int8_t w[4] = {10, -3, 127, 127};
    zeb_node node = zeb_node_make("fc", ZEB_OP_LINEAR);
    node.input[ZEB_LINEAR_X] = rows(c, "x", ZEB_F32, 2, x);
    node.input[ZEB_LINEAR_W] = weight(c, "w", ZEB_I8, 2, 2, w);
    int32_t scales = weight(c, "s", ZEB_F32, 2, 0, scale);
    assert_int_equal(zeb_builder_quantised(c->b, node.input[ZEB_LINEAR_W], scales, 0, &c->error), ZEB_OK);
    node.attr.linear.precision = ZEB_PRECISION_W8A8;
    run(c, &node, 0);
    double s = 2.0 / 127, one = 1.0 / 127, half = 0.5 / 127;
    expect(c, 0,
           (double[]){(640 + 381) * s * 0.5, (64 - 127) * 127 * s * 0.01, 1270 * s * 0.5, 127 * 127 * s * 0.01, 0, 0,
                      (-1270 - 381) * one * 0.5, 0, (1270 - 3 * 64) * half * 0.5, (127 + 64) * 127 * half * 0.01},
           10, 2e-5);
}

/* One row of 64 columns in two groups; only four nibbles are not zero. */
static void w4_by_hand(context *c, uint32_t precision, double first) {
    static float x[TOKENS * 64];
    static uint8_t packed[32];
    static const uint16_t scale[2] = {0x3c00, 0x3800}; /* 1 and 1/2 */
    memset(packed, 0x88, sizeof packed);
    packed[0] = 0x8f;  /* column 0: 7, column 1: 0 */
    packed[1] = 0x18;  /* column 2: 0, column 3: -7 */
    packed[31] = 0xa9; /* column 62: 1, column 63: 2 */
    memset(x, 0, sizeof x);
    x[0] = 1.0f;
    x[3] = 0.3f;
    x[62] = -0.5f;
    x[63] = 0.25f;
    zeb_node node = zeb_node_make("fc", ZEB_OP_LINEAR);
    node.input[ZEB_LINEAR_X] = rows(c, "x", ZEB_F32, 64, x);
    node.input[ZEB_LINEAR_W] = weight(c, "w", ZEB_U4, 1, 64, packed);
    int32_t scales = weight(c, "s", ZEB_F16, 1, 2, scale);
    assert_int_equal(zeb_builder_quantised(c->b, node.input[ZEB_LINEAR_W], scales, 32, &c->error), ZEB_OK);
    node.attr.linear.precision = precision;
    run(c, &node, 0);
    expect(c, 0, (double[]){first, 0, 0, 0, 0}, 5, 1e-6);
}

static void w4a16_by_hand(void **state) {
    w4_by_hand(*state, ZEB_PRECISION_W4A16, 7 - 2.1 + 0.5 * (-0.5 + 0.5));
}

static void w4a8_by_hand(void **state) { /* a = 127, 38, -64 (a tie, to even), 32 */
    w4_by_hand(*state, ZEB_PRECISION_W4A8, (7 * 127 - 7 * 38 + 0.5 * (-64 + 64)) / 127);
}

static void bf16_rounds_both_operands(void **state) {
    context *c = *state;
    static const float x[TOKENS] = {1.0f + 0x1p-9f, 3, 0, 0, 0}, w[1] = {1.0f + 0x1p-7f + 0x1p-9f};
    zeb_node node = zeb_node_make("fc", ZEB_OP_LINEAR);
    node.input[ZEB_LINEAR_X] = rows(c, "x", ZEB_F32, 1, x);
    node.input[ZEB_LINEAR_W] = weight(c, "w", ZEB_F32, 1, 1, w);
    node.attr.linear.precision = ZEB_PRECISION_BF16;
    run(c, &node, 0);
    expect(c, 0, (double[]){1 + 0x1p-7, 3 + 3 * 0x1p-7, 0, 0, 0}, 5, 0.0);
}

static void offsets_that_lie_are_refused(void **state) {
    context *c = *state;
    static const int32_t falling[BATCH + 1] = {0, 4, 3, 5};
    int32_t many = 6;
    activate(c, ZEB_ACT_RELU, (double[]){0, 0, 0, 1, 3});
    assert_int_equal(ref->write(c->plan, c->offsets, falling, sizeof falling, &c->error), ZEB_OK);
    assert_int_equal(ref->submit(c->plan, &c->error), ZEB_ERR_RANGE);
    assert_non_null(strstr(c->error.text, "tokens.offsets"));
    assert_int_equal(ref->write(c->plan, c->offsets, OFFSETS, sizeof OFFSETS, &c->error), ZEB_OK);
    assert_int_equal(ref->write(c->plan, c->offsets + 1, &many, 4, &c->error), ZEB_OK);
    assert_int_equal(ref->submit(c->plan, &c->error), ZEB_ERR_RANGE);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(embed_adds_word_position_and_type),
        CASE(embed_refuses_ids_outside_its_table),
        CASE(gelu_erf),
        CASE(gelu_tanh),
        CASE(relu),
        CASE(silu),
        CASE(tanh_itself),
        CASE(layer_norm),
        CASE(affine_norm),
        CASE(pool_first),
        CASE(pool_mean),
        CASE(pool_max),
        CASE(linear_with_gates_and_residual),
        CASE(attention_and_importance),
        CASE(attention_causal),
        CASE(attention_threshold_without_renormalising),
        CASE(attention_selects_between_softmax_and_context),
        CASE(attention_shares_keys_and_closes_heads),
        CASE(select_breaks_ties_by_row),
        CASE(select_counts_forced_rows),
        CASE(select_nan_comes_last),
        CASE(select_floor_adds_the_best),
        CASE(select_threshold_includes_its_value),
        CASE(select_relative_counts_the_rows),
        CASE(ratio_is_a_binary32_product),
        CASE(head_gates_from_the_mean),
        CASE(heads_that_gave_most),
        CASE(a_head_that_is_no_number_stays),
        CASE(log_likelihood_of_targets),
        CASE(w8a8_by_hand),
        CASE(w4a16_by_hand),
        CASE(w4a8_by_hand),
        CASE(bf16_rounds_both_operands),
        CASE(offsets_that_lie_are_refused),
        CASE(rms_norm),
    };
    return cmocka_run_group_tests(tests, open_ref, close_ref);
}
