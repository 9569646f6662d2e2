/* Random graphs: whatever a policy and a mixture of precisions may make of a small encoder, drawn from one number. */
#include "encoder.h"
#include "suite.h"

static int64_t one_of(op_random *random, const int64_t *choice, size_t count) {
    return choice[op_random_below(random, (int64_t)count)];
}
#define ONE_OF(random, ...)                                                                                            \
    one_of(random, (const int64_t[]){__VA_ARGS__}, sizeof((const int64_t[]){__VA_ARGS__}) / sizeof(int64_t))

static bool chance(op_random *random, double of) {
    return op_random_unit(random) < of;
}

enum { MANY = 16 }; /* sequences, of more rows than a device may take in one piece */

static float between(op_random *random, double low, double high) {
    return (float)(low + (high - low) * op_random_unit(random));
}

static zeb_select draw_select(op_random *random, const op_encoder *c) {
    double mean = (double)c->batch / (double)c->tokens;
    zeb_select select = {.mode = (uint32_t)ONE_OF(random, ZEB_SELECT_FIRST, ZEB_SELECT_THRESHOLD, ZEB_SELECT_TOPK,
                                                  ZEB_SELECT_RATIO, ZEB_SELECT_RATIO, ZEB_SELECT_RELATIVE),
                         .floor = (int32_t)ONE_OF(random, 1, 2, 2, 3, 9),
                         .keep_last = chance(random, 0.3)};
    if (select.mode == ZEB_SELECT_THRESHOLD) select.value = between(random, 0.3 * mean, 1.5 * mean);
    if (select.mode == ZEB_SELECT_RELATIVE) select.value = between(random, 0.5, 1.3);
    if (select.mode == ZEB_SELECT_RATIO) select.value = between(random, 0.05, 1.0);
    select.count = 1 + (int32_t)op_random_below(random, c->tokens);
    return select;
}

/* The graph's own precision, or in mixtures now and then any. */
static uint32_t draw_precision(op_random *random, const op_encoder *c, uint32_t usual, int64_t k) {
    uint32_t precision =
        !c->mixed || chance(random, 0.7) ? usual : (uint32_t)op_random_below(random, ZEB_PRECISION_W4A16 + 1);
    return precision >= ZEB_PRECISION_W4A8 && k % 32 != 0 ? (uint32_t)ZEB_PRECISION_W8A8 : precision;
}

static void draw_layer(op_random *random, op_encoder *c, int at, uint32_t usual) {
    op_layer *l = &c->layer[at];
    int64_t width = (int64_t)c->heads * c->dim;
    bool last = at == c->layers - 1;
    double often = c->batch >= MANY ? 0.5 : 1; /* else plain layers in a row, which may go together, are rare */
    *l = (op_layer){.project = draw_precision(random, c, usual, width),
                    .output = draw_precision(random, c, usual, width),
                    .ffn_in = draw_precision(random, c, usual, width),
                    .ffn_out = draw_precision(random, c, usual, c->ffn),
                    .attention = c->mixed && chance(random, 0.3)
                                     ? (uint32_t)op_random_below(random, ZEB_PRECISION_W8A8 + 1)
                                 : usual > ZEB_PRECISION_W8A8 ? (uint32_t)ZEB_PRECISION_W8A8
                                                              : usual,
                    .stored = chance(random, 0.5),
                    .gates = c->kv_heads == c->heads && chance(random, 0.3 * often),
                    .gate_bias = (float)ONE_OF(random, 0, 0, 0, -9, 9),
                    .importance = chance(random, 0.3 * often),
                    .causal = chance(random, 0.1)};
    if (chance(random, 0.25)) l->threshold = between(random, 0.1, 1.0) / (1.0f + (float)(c->tokens / c->batch));
    if (chance(random, 0.6 * often) && !(last && c->cls_only)) l->select = draw_select(random, c);
    if (chance(random, 0.25)) {
        int32_t size = (int32_t)ONE_OF(random, 1, 4, 8, 16, 32, 64);
        if (c->ffn % size == 0) l->blocks = (zeb_blocks_attr){size, between(random, 0.0, 1.2)};
    }
    if (!last && chance(random, 0.3 * often)) l->confidence = between(random, 0.3, 1.0);
    if (c->kv_heads == c->heads && !l->gates && chance(random, 0.3 * often))
        l->heads_kept = 1 + (int32_t)op_random_below(random, c->heads);
}

static op_encoder draw(op_random *random) {
    op_encoder c = {.layers = 1 + (int32_t)op_random_below(random, OP_LAYERS_MAX),
                    .batch = ONE_OF(random, 1, 1, 2, 3, 5, 9),
                    .embed = chance(random, 0.5),
                    .mixed = chance(random, 0.5),
                    .cls_only = chance(random, 0.4),
                    .add_in_norm = chance(random, 0.3),
                    .group = (int32_t)ONE_OF(random, 32, 64),
                    .labels = 2 + (int32_t)op_random_below(random, 4)};
    bool even = chance(random, 0.5);
    c.dim = (int32_t)(even ? ONE_OF(random, 16, 32, 64) : ONE_OF(random, 1, 3, 5, 8, 13, 20, 24, 33, 48, 80));
    c.heads = (int32_t)(even ? ONE_OF(random, 1, 2, 4) : ONE_OF(random, 1, 2, 3, 5, 6));
    if (c.heads * c.dim < 8) c.heads = 8;
    c.kv_heads = c.heads % 2 == 0 && chance(random, 0.15) ? c.heads / 2 : c.heads;
    c.ffn = (int32_t)(even ? ONE_OF(random, 64, 128, 192) : 8 + op_random_below(random, 150));
    c.tokens = chance(random, 0.3) ? 60 + op_random_below(random, 100) : 1 + op_random_below(random, 60);
    if (chance(random, 0.1)) {
        c.batch = ONE_OF(random, MANY, 20, 40);
        c.tokens = 160 + op_random_below(random, 300);
    }
    bool grouped = c.heads * c.dim % 32 == 0;
    c.real = (zeb_dtype)ONE_OF(random, ZEB_F32, ZEB_F32, ZEB_F16, ZEB_BF16);
    c.table = (zeb_dtype)(grouped ? ONE_OF(random, ZEB_F32, ZEB_BF16, ZEB_I8, ZEB_U4)
                                  : ONE_OF(random, ZEB_F32, ZEB_F16, ZEB_I8));
    c.norm = (uint32_t)ONE_OF(random, ZEB_NORM_LAYER, ZEB_NORM_LAYER, ZEB_NORM_RMS, ZEB_NORM_AFFINE);
    c.activation =
        (uint32_t)ONE_OF(random, ZEB_ACT_GELU_ERF, ZEB_ACT_GELU_ERF, ZEB_ACT_GELU_TANH, ZEB_ACT_RELU, ZEB_ACT_SILU);
    c.pool = (uint32_t)ONE_OF(random, ZEB_POOL_FIRST, ZEB_POOL_FIRST, ZEB_POOL_MEAN, ZEB_POOL_MAX);
    uint32_t usual = (uint32_t)ONE_OF(random, ZEB_PRECISION_F32, ZEB_PRECISION_F32, ZEB_PRECISION_BF16,
                                      ZEB_PRECISION_W8A8, ZEB_PRECISION_W8A8, ZEB_PRECISION_W4A8, ZEB_PRECISION_W4A16);
    if (usual == ZEB_PRECISION_F32 && !c.mixed) c.table = c.real;
    for (int l = 0; l < c.layers; ++l)
        draw_layer(random, &c, l, usual);
    return c;
}

static void build_random(op_fixture *fx, const void *parameters) {
    op_encoder_build(fx, parameters);
    fx->told = true;
    fx->precision = ZEB_PRECISION_W8A8;
}

static void describe(const op_encoder *c, uint64_t seed, char *text, size_t size) {
    int at = snprintf(text, size, "seed %llu: T%d B%d H%d/%d Dh%d F%d%s%s norm %u act %u pool %u",
                      (unsigned long long)seed, (int)c->tokens, (int)c->batch, c->heads, c->kv_heads, c->dim, c->ffn,
                      c->embed ? " embed" : "", c->cls_only ? " cls-only" : "", c->norm, c->activation, c->pool);
    for (int i = 0; i < c->layers && at > 0 && (size_t)at < size; ++i) {
        const op_layer *l = &c->layer[i];
        at += snprintf(text + at, size - (size_t)at, "; %u%u%u%u attention %u%s%s%s%s select %u%s%s%s", l->project,
                       l->output, l->ffn_in, l->ffn_out, l->attention, l->stored ? " stored" : "",
                       l->gates ? " gates" : "", l->heads_kept > 0 ? " heads" : "", l->causal ? " causal" : "",
                       l->select.mode, l->threshold > 0.0f ? " threshold" : "", l->blocks.size > 0 ? " blocks" : "",
                       l->confidence > 0.0f ? " exit" : "");
    }
}

/* Odd seeds on one thread. */
static void run_seed(op_suite *suite, uint64_t seed) {
    op_random random = {seed * 2654435761u + 1};
    char name[OP_NOW_MAX - 16];
    op_encoder encoder = draw(&random);
    describe(&encoder, seed, name, sizeof name);
    op_target many = suite->target;
    if (seed % 2 == 1 && suite->single.device != NULL) suite->target = suite->single;
    op_case(suite, OP_LINE_RANDOM, name, build_random, &encoder);
    suite->target = many;
}

void op_cases_random(op_suite *suite) {
    /* Places of a tensor that other sequences of a batch still needed; not where few graphs are wanted, for time. */
    static const uint64_t found[] = {260, 779};
    enum { FEW = 30 };
    for (uint64_t i = 0; i < suite->seeds; ++i)
        run_seed(suite, suite->first + i);
    for (size_t i = 0; i < sizeof found / sizeof found[0] && suite->seeds > FEW; ++i)
        run_seed(suite, found[i]);
}
