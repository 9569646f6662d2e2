/* Whole encoders: two layers as models/ builds them, with token dropping, head gates, the [CLS]-only last layer. */
#include "encoder.h"
#include "suite.h"

typedef struct chain_case {
    int64_t tokens, batch;
    int32_t heads, dim, ffn;
    int embed, gates, cls_only;
    uint32_t precision;
    float threshold;
    zeb_select select[2]; /* of each layer's attention */
} chain_case;

static void build_chain(op_fixture *fx, const void *parameters) {
    const chain_case *c = parameters;
    op_encoder encoder = {.tokens = c->tokens,
                          .batch = c->batch,
                          .layers = 2,
                          .heads = c->heads,
                          .kv_heads = c->heads,
                          .dim = c->dim,
                          .ffn = c->ffn,
                          .labels = 2,
                          .embed = c->embed,
                          .cls_only = c->cls_only,
                          .table = ZEB_F32,
                          .real = ZEB_F32,
                          .norm = ZEB_NORM_LAYER,
                          .activation = ZEB_ACT_GELU_ERF,
                          .pool = ZEB_POOL_FIRST};
    for (int l = 0; l < 2; ++l)
        encoder.layer[l] = (op_layer){.project = c->precision,
                                      .output = c->precision,
                                      .ffn_in = c->precision,
                                      .ffn_out = c->precision,
                                      .gates = c->gates,
                                      .gate_bias = 0.05f,
                                      .threshold = c->threshold,
                                      .select = c->select[l]};
    op_encoder_build(fx, &encoder);
    fx->precision = c->precision;
    fx->told = !c->embed && (c->gates || c->threshold > 0.0f || c->select[0].mode > ZEB_SELECT_FIRST ||
                             c->select[1].mode > ZEB_SELECT_FIRST);
}

void op_cases_chain(op_suite *suite) {
    static const zeb_select first = {.mode = ZEB_SELECT_FIRST};
    static const zeb_select half = {.mode = ZEB_SELECT_RATIO, .value = 0.5f, .floor = 2};
    static const zeb_select above = {.mode = ZEB_SELECT_THRESHOLD, .value = 0.05f, .floor = 2, .keep_last = 1};
    static const zeb_select five = {.mode = ZEB_SELECT_TOPK, .count = 5, .floor = 2};
    const chain_case all[] = {
        {.tokens = 24, .batch = 3, .heads = 2, .dim = 16, .ffn = 64, .embed = 1},
        {.tokens = 50, .batch = 4, .heads = 4, .dim = 64, .ffn = 300, .embed = 1, .cls_only = 1},
        {.tokens = 24, .batch = 3, .heads = 2, .dim = 16, .ffn = 64, .select = {{0}, first}},
        {.tokens = 24, .batch = 3, .heads = 2, .dim = 16, .ffn = 64, .select = {half, {0}}, .cls_only = 1},
        {.tokens = 33, .batch = 4, .heads = 4, .dim = 16, .ffn = 64, .select = {above, half}},
        {.tokens = 33, .batch = 4, .heads = 4, .dim = 16, .ffn = 64, .select = {five, first}},
        {.tokens = 24, .batch = 3, .heads = 4, .dim = 8, .ffn = 40, .gates = 1},
        {.tokens = 24, .batch = 3, .heads = 4, .dim = 8, .ffn = 40, .gates = 1, .select = {half, five}},
        {.tokens = 24, .batch = 3, .heads = 4, .dim = 8, .ffn = 40, .threshold = 0.03f, .select = {half, first}},
        {.tokens = 24, .batch = 3, .heads = 2, .dim = 16, .ffn = 64, .precision = ZEB_PRECISION_BF16},
        {.tokens = 24, .batch = 3, .heads = 2, .dim = 16, .ffn = 64, .precision = ZEB_PRECISION_W8A8},
        {.tokens = 24, .batch = 3, .heads = 2, .dim = 16, .ffn = 64, .precision = ZEB_PRECISION_W4A8},
        {.tokens = 24, .batch = 3, .heads = 2, .dim = 16, .ffn = 64, .precision = ZEB_PRECISION_W4A16},
        /* Batches that a device may take through several nodes a part at a time. */
        {.tokens = 200, .batch = 16, .heads = 2, .dim = 16, .ffn = 64, .embed = 1, .cls_only = 1},
        {.tokens = 200, .batch = 16, .heads = 2, .dim = 16, .ffn = 64, .select = {half, {0}}},
        {.tokens = 300, .batch = 2, .heads = 2, .dim = 16, .ffn = 64},
        {.tokens = 200, .batch = 16, .heads = 2, .dim = 16, .ffn = 64, .precision = ZEB_PRECISION_BF16},
        {.tokens = 200, .batch = 16, .heads = 2, .dim = 16, .ffn = 64, .precision = ZEB_PRECISION_W8A8},
    };
    for (size_t i = 0; i < sizeof all / sizeof all[0]; ++i) {
        char name[160];
        const chain_case *c = &all[i];
        (void)snprintf(name, sizeof name, "2 layers T%d B%d H%d Dh%d F%d%s%s%s select %u,%u threshold %g precision %u",
                       (int)c->tokens, (int)c->batch, c->heads, c->dim, c->ffn, c->embed ? " embed" : "",
                       c->gates ? " gates" : "", c->cls_only ? " cls-only" : "", c->select[0].mode, c->select[1].mode,
                       (double)c->threshold, c->precision);
        op_case(suite, OP_LINE_CHAIN, name, build_chain, c);
    }
}
