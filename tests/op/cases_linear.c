/* Linear layers: shapes, epilogues, gates, precisions. */
#include "suite.h"

typedef struct linear_case {
    int64_t tokens, batch, k, n;
    uint32_t activation, precision;
    int bias, residual, groups, plain;
    zeb_dtype dtype;
    int32_t group; /* of U4 */
    int32_t block; /* x comes from BLOCKS of this size; 0: as it is drawn */
    float threshold;
} linear_case;

static void build_linear(op_fixture *fx, const void *parameters) {
    const linear_case *c = parameters;
    op_rows(fx, c->tokens, c->batch);
    zeb_node node = zeb_node_make("linear", ZEB_OP_LINEAR);
    int integers = c->precision == ZEB_PRECISION_W8A8 || c->precision == ZEB_PRECISION_W4A8;
    node.input[ZEB_LINEAR_X] = c->plain ? op_plain_input(fx, "x", OP_FILL_NORMAL, c->tokens, c->k)
                                        : op_rows_input(fx, "x", integers ? OP_FILL_WIDE : OP_FILL_NORMAL, 0, c->k);
    if (c->block > 0) {
        zeb_node blocks = zeb_node_make("blocks", ZEB_OP_BLOCKS);
        blocks.input[ZEB_BLOCKS_X] = node.input[ZEB_LINEAR_X];
        blocks.attr.blocks = (zeb_blocks_attr){.size = c->block, .threshold = c->threshold};
        node.input[ZEB_LINEAR_X] = op_node(fx, &blocks, 0);
        op_final(fx, fx->out[ZEB_BLOCKS_OPEN]);
    }
    node.input[ZEB_LINEAR_W] =
        c->dtype == ZEB_U4 ? op_grouped(fx, "w", c->n, c->k, c->group) : op_matrix(fx, "w", c->dtype, c->n, c->k);
    zeb_dtype vector = c->dtype == ZEB_F16 || c->dtype == ZEB_BF16 ? c->dtype : ZEB_F32;
    if (c->bias) node.input[ZEB_LINEAR_BIAS] = op_vector(fx, "bias", vector, c->n, 0.0, 0.5);
    if (c->residual)
        node.input[ZEB_LINEAR_RESIDUAL] = c->plain ? op_plain_input(fx, "residual", OP_FILL_NORMAL, c->tokens, c->n)
                                                   : op_rows_input(fx, "residual", OP_FILL_NORMAL, 0, c->n);
    if (c->groups > 0) node.input[ZEB_LINEAR_GATES] = op_plain_input(fx, "gates", OP_FILL_GATES, c->batch, c->groups);
    node.attr.linear =
        (zeb_linear_attr){.activation = c->activation, .precision = c->precision, .gate_groups = c->groups};
    fx->precision = c->precision;
    op_node(fx, &node, 0);
}

static void one(op_suite *suite, const linear_case *c) {
    static const char *const precision[] = {"f32", "bf16", "w8a8", "w4a8", "w4a16"};
    static const char *const dtype[] = {"", "f32", "f16", "bf16", "", "i8", "u4"};
    char name[160];
    (void)snprintf(name, sizeof name, "T%d B%d K%d N%d %s/%s%d act %u%s%s gates %d%s block %d:%g", (int)c->tokens,
                   (int)c->batch, (int)c->k, (int)c->n, precision[c->precision], dtype[c->dtype], c->group,
                   c->activation, c->bias ? " bias" : "", c->residual ? " residual" : "", c->groups,
                   c->plain ? " plain" : "", c->block, (double)c->threshold);
    op_case(suite, c->block > 0 ? ZEB_OP_BLOCKS : ZEB_OP_LINEAR, name, build_linear, c);
}

static void epilogues(op_suite *suite) {
    linear_case c = {.tokens = 33, .batch = 4, .k = 64, .n = 48, .dtype = ZEB_F32};
    for (c.activation = 0; c.activation <= ZEB_ACT_TANH; ++c.activation)
        for (int extra = 0; extra < 4; ++extra) {
            c.bias = extra & 1;
            c.residual = extra >> 1;
            one(suite, &c);
        }
    c.bias = 1;
    for (int groups = 1; groups <= 48; groups *= groups == 12 ? 4 : groups == 1 ? 4 : 3)
        for (int extra = 0; extra < 4; ++extra) {
            c.groups = groups;
            c.residual = extra & 1;
            c.activation = extra >> 1 ? ZEB_ACT_GELU_ERF : ZEB_ACT_NONE;
            one(suite, &c);
        }
}

static void precisions(op_suite *suite) {
    static const struct {
        uint32_t precision;
        zeb_dtype dtype;
        int32_t group;
    } kind[] = {{ZEB_PRECISION_F32, ZEB_F16, 0},   {ZEB_PRECISION_F32, ZEB_BF16, 0},  {ZEB_PRECISION_BF16, ZEB_F32, 0},
                {ZEB_PRECISION_BF16, ZEB_BF16, 0}, {ZEB_PRECISION_W8A8, ZEB_F32, 0},  {ZEB_PRECISION_W8A8, ZEB_F16, 0},
                {ZEB_PRECISION_W8A8, ZEB_I8, 0},   {ZEB_PRECISION_W4A8, ZEB_F32, 0},  {ZEB_PRECISION_W4A8, ZEB_U4, 32},
                {ZEB_PRECISION_W4A8, ZEB_U4, 64},  {ZEB_PRECISION_W4A16, ZEB_F32, 0}, {ZEB_PRECISION_W4A16, ZEB_U4, 32},
                {ZEB_PRECISION_W4A16, ZEB_U4, 64}};
    static const int64_t shape[][2] = {{64, 1}, {128, 77}, {256, 96}, {100, 33}, {1, 5}};
    for (size_t i = 0; i < sizeof kind / sizeof kind[0]; ++i)
        for (size_t s = 0; s < 5; ++s) {
            int four = kind[i].precision == ZEB_PRECISION_W4A8 || kind[i].precision == ZEB_PRECISION_W4A16;
            if (four && shape[s][0] % 64 != 0) continue;
            linear_case c = {.tokens = 19,
                             .batch = 3,
                             .k = shape[s][0],
                             .n = shape[s][1],
                             .precision = kind[i].precision,
                             .dtype = kind[i].dtype,
                             .group = kind[i].group};
            one(suite, &c);
            c.bias = 1;
            c.residual = 1;
            c.activation = ZEB_ACT_GELU_ERF;
            c.groups = s == 2 ? 4 : 0;
            one(suite, &c);
        }
}

/* Rows with closed blocks, one row to several tiles of them, in every precision. */
static void blocks(op_suite *suite) {
    static const int64_t shape[][4] = {{1, 1, 64, 33}, {19, 3, 256, 40}, {40, 4, 1024, 96}, {9, 2, 300, 5}};
    for (size_t s = 0; s < 4; ++s)
        for (uint32_t p = 0; p <= ZEB_PRECISION_W4A16; ++p)
            for (int kind = 0; kind < 3; ++kind) { /* some closed, all closed, none; by threshold */
                int odd = shape[s][2] % 32 != 0, four = p == ZEB_PRECISION_W4A8 || p == ZEB_PRECISION_W4A16;
                if (odd && four) continue;
                linear_case c = {.tokens = shape[s][0],
                                 .batch = shape[s][1],
                                 .k = shape[s][2],
                                 .n = shape[s][3],
                                 .precision = p,
                                 .dtype = ZEB_F32,
                                 .block = odd      ? 6
                                          : s == 1 ? 64
                                                   : 32,
                                 .threshold = kind == 0   ? 2.2f
                                              : kind == 1 ? 1e9f
                                                          : 0.0f,
                                 .bias = 1,
                                 .residual = s % 2 == 0,
                                 .activation = s == 2 ? ZEB_ACT_GELU_ERF : ZEB_ACT_NONE,
                                 .groups = s == 1 ? 4 : 0};
                one(suite, &c);
            }
}

void op_cases_linear(op_suite *suite) {
    static const int64_t shape[][4] = {{1, 1, 1, 1},      {7, 3, 5, 3},     {9, 4, 17, 40},  {16, 2, 256, 96},
                                       {130, 5, 100, 77}, {64, 4, 31, 257}, {5, 5, 300, 2},  {128, 1, 64, 64},
                                       {2, 1, 768, 33},   {37, 8, 16, 1},   {48, 3, 63, 65}, {257, 16, 8, 24}};
    for (size_t s = 0; s < sizeof shape / sizeof shape[0]; ++s)
        for (int plain = 0; plain < 2; ++plain) {
            linear_case c = {.tokens = shape[s][0],
                             .batch = shape[s][1],
                             .k = shape[s][2],
                             .n = shape[s][3],
                             .bias = 1,
                             .plain = plain,
                             .residual = plain,
                             .dtype = ZEB_F32};
            one(suite, &c);
        }
    epilogues(suite);
    precisions(suite);
    blocks(suite);
}
