/* Attention: shapes, grouped keys, causal, other rows for the queries, thresholds, gates, importance, selection. */
#include <math.h>

#include "suite.h"

typedef struct attention_case {
    int64_t tokens, batch;
    int32_t heads, kv_heads, dim;
    int causal, gates, importance;
    int few_queries, few_keys; /* q (or k and v) are the first rows alone */
    float threshold, sharpness;
    uint32_t precision;
    zeb_select select;
} attention_case;

/* Row 0 of each sequence of x. */
static int32_t first_rows(op_fixture *fx, const char *name, int32_t x, int32_t indices) {
    zeb_node node = zeb_node_make(name, ZEB_OP_GATHER);
    node.input[ZEB_GATHER_X] = x;
    node.input[ZEB_GATHER_INDICES] = indices;
    return op_node(fx, &node, 0);
}

static void build_attention(op_fixture *fx, const void *parameters) {
    const attention_case *c = parameters;
    op_rows(fx, c->tokens, c->batch);
    int32_t q = op_rows_input(fx, "q", OP_FILL_NORMAL, 0, (int64_t)c->heads * c->dim);
    int32_t k = op_rows_input(fx, "k", OP_FILL_NORMAL, 0, (int64_t)c->kv_heads * c->dim);
    int32_t v = op_rows_input(fx, "v", OP_FILL_NORMAL, 0, (int64_t)c->kv_heads * c->dim);
    if (c->few_queries || c->few_keys) {
        zeb_node first = zeb_node_make("first", ZEB_OP_SELECT);
        first.input[ZEB_SELECT_ROWS] = q;
        first.attr.select.mode = ZEB_SELECT_FIRST;
        int32_t indices = op_node(fx, &first, 0);
        if (c->few_queries) q = first_rows(fx, "q.first", q, indices);
        if (c->few_keys) k = first_rows(fx, "k.first", k, indices);
        if (c->few_keys) v = first_rows(fx, "v.first", v, indices);
    }
    zeb_node node = zeb_node_make("attention", ZEB_OP_ATTENTION);
    node.input[ZEB_ATTENTION_Q] = q;
    node.input[ZEB_ATTENTION_K] = k;
    node.input[ZEB_ATTENTION_V] = v;
    if (c->gates) node.input[ZEB_ATTENTION_GATES] = op_plain_input(fx, "gates", OP_FILL_GATES, c->batch, c->heads);
    node.attr.attention = (zeb_attention_attr){.heads = c->heads,
                                               .kv_heads = c->kv_heads,
                                               .head_dim = c->dim,
                                               .scale = c->sharpness / sqrtf((float)c->dim),
                                               .causal = c->causal,
                                               .score_threshold = c->threshold,
                                               .precision = c->precision,
                                               .select = c->select};
    fx->told = c->threshold > 0.0f || c->select.mode > ZEB_SELECT_FIRST;
    fx->precision = c->precision;
    op_node(fx, &node, c->importance ? 1u << ZEB_ATTENTION_IMPORTANCE : 0);
    op_final(fx, fx->out[ZEB_ATTENTION_CONTEXT]);
}

static void one(op_suite *suite, const attention_case *c) {
    static const char *const precision[] = {"f32", "bf16", "w8a8"};
    char name[200];
    (void)snprintf(name, sizeof name, "T%d B%d H%d/%d Dh%d %s%s%s%s%s%s threshold %g sharp %g select %u:%g:%d:%d:%d",
                   (int)c->tokens, (int)c->batch, c->heads, c->kv_heads, c->dim, precision[c->precision],
                   c->causal ? " causal" : "", c->gates ? " gates" : "", c->importance ? " importance" : "",
                   c->few_queries ? " few-queries" : "", c->few_keys ? " few-keys" : "", (double)c->threshold,
                   (double)c->sharpness, c->select.mode, (double)c->select.value, c->select.count, c->select.floor,
                   c->select.keep_last);
    op_case(suite, ZEB_OP_ATTENTION, name, build_attention, c);
}

static void selections(op_suite *suite) {
    static const zeb_select select[] = {
        {.mode = ZEB_SELECT_FIRST},
        {.mode = ZEB_SELECT_THRESHOLD, .value = 0.05f, .floor = 1},
        {.mode = ZEB_SELECT_THRESHOLD, .value = 0.12f, .floor = 3, .keep_last = 1},
        {.mode = ZEB_SELECT_THRESHOLD, .value = 9.0f, .floor = 2},
        {.mode = ZEB_SELECT_THRESHOLD, .value = 0.0f, .floor = 1},
        {.mode = ZEB_SELECT_TOPK, .count = 1, .floor = 1},
        {.mode = ZEB_SELECT_TOPK, .count = 6, .floor = 2, .keep_last = 1},
        {.mode = ZEB_SELECT_RATIO, .value = 0.3f, .floor = 2},
        {.mode = ZEB_SELECT_RATIO, .value = 1.0f, .floor = 1},
        {.mode = ZEB_SELECT_RATIO, .value = 0.75f, .floor = 1, .keep_last = 1},
        {.mode = ZEB_SELECT_RELATIVE, .value = 1.0f, .floor = 2},
    };
    for (size_t i = 0; i < sizeof select / sizeof select[0]; ++i)
        for (int extra = 0; extra < 4; ++extra) {
            attention_case c = {.tokens = 33,
                                .batch = 4,
                                .heads = 3,
                                .kv_heads = extra == 3 ? 1 : 3,
                                .dim = 16,
                                .sharpness = 1.5f,
                                .importance = extra & 1,
                                .gates = extra == 2,
                                .causal = extra == 3,
                                .threshold = extra == 1 ? 0.02f : 0.0f,
                                .select = select[i]};
            one(suite, &c);
        }
    attention_case c = {.tokens = 100,
                        .batch = 3,
                        .heads = 4,
                        .kv_heads = 4,
                        .dim = 64,
                        .sharpness = 1.0f,
                        .importance = 1,
                        .select = {.mode = ZEB_SELECT_RATIO, .value = 0.5f, .floor = 2}};
    for (; c.precision <= ZEB_PRECISION_W8A8; ++c.precision)
        one(suite, &c);
}

static void options(op_suite *suite) {
    for (int extra = 0; extra < 32; ++extra) {
        attention_case c = {.tokens = 21,
                            .batch = 3,
                            .heads = 4,
                            .kv_heads = extra % 3 == 0 ? 2 : 4,
                            .dim = 8,
                            .sharpness = 1.0f,
                            .causal = extra & 1,
                            .gates = extra >> 1 & 1,
                            .importance = extra >> 2 & 1,
                            .few_queries = extra >> 3 & 1,
                            .few_keys = extra >> 4 & 1};
        if (c.few_queries && c.few_keys) continue;
        one(suite, &c);
        c.threshold = 0.06f;
        if (extra % 4 == 2 || extra % 4 == 0) one(suite, &c);
    }
}

void op_cases_attention(op_suite *suite) {
    static const int64_t shape[][5] = {{1, 1, 1, 1, 1},     {7, 3, 2, 1, 5},   {33, 4, 4, 4, 64},  {130, 5, 3, 3, 32},
                                       {65, 2, 4, 2, 80},   {40, 3, 2, 2, 96}, {300, 1, 2, 2, 16}, {20, 20, 4, 1, 24},
                                       {16, 2, 12, 12, 64}, {17, 1, 1, 1, 128}};
    for (size_t s = 0; s < sizeof shape / sizeof shape[0]; ++s)
        for (int importance = 0; importance < 2; ++importance) {
            attention_case c = {.tokens = shape[s][0],
                                .batch = shape[s][1],
                                .heads = (int32_t)shape[s][2],
                                .kv_heads = (int32_t)shape[s][3],
                                .dim = (int32_t)shape[s][4],
                                .sharpness = 1.0f,
                                .importance = importance};
            one(suite, &c);
            c.sharpness = 20.0f; /* nearly one-hot */
            if (s < 4) one(suite, &c);
        }
    options(suite);
    selections(suite);
    for (uint32_t precision = ZEB_PRECISION_BF16; precision <= ZEB_PRECISION_W8A8; ++precision)
        for (int extra = 0; extra < 4; ++extra) {
            attention_case c = {.tokens = 40,
                                .batch = 3,
                                .heads = 4,
                                .kv_heads = 4,
                                .dim = 64,
                                .sharpness = 1.0f,
                                .precision = precision,
                                .importance = extra & 1,
                                .gates = extra >> 1};
            one(suite, &c);
        }
}
