/* A checkpoint in every precision, dense and under policies (one closes all heads): one token and many. */
#include <string.h>

#include "models/model.h"
#include "sparsity/policy.h"
#include "suite.h"

enum { TOKENS = 48, ONE_ROW = 1 << 2, ONE_SEQUENCE = 1 << 4 };

typedef struct model_case {
    const zeb_model *model;
    const zeb_policy *policy; /* NULL: dense */
    uint32_t precision;
    int64_t tokens;
    float *zeros, *closed; /* of gates: a matrix and a bias */
} model_case;

/* Gates that close every head: no weight, and a bias below 0. */
static zeb_status find_gate(void *context, const char *name, zeb_policy_weight *weight, zeb_error *error) {
    const model_case *c = context;
    const zeb_model_info *info = zeb_model_about(c->model);
    bool bias = name[0] == 'b';
    (void)error;
    *weight = (zeb_policy_weight){.dtype = ZEB_F32,
                                  .rank = bias ? 1 : 2,
                                  .extent = {info->heads, bias ? 0 : info->hidden},
                                  .data = bias ? c->closed : c->zeros};
    return ZEB_OK;
}

static void build_model(op_fixture *fx, const void *parameters) {
    model_case c = *(const model_case *)parameters;
    const zeb_model_info *info = zeb_model_about(c.model);
    zeb_graph_options options = {.token_max = c.tokens, .batch_max = 1, .precision = c.precision};
    zeb_builder *plain = NULL;
    const zeb_graph *graph = NULL;
    void *room = NULL;
    size_t heads = (size_t)info->heads, gates = heads * (size_t)info->hidden;
    if (fx->status == ZEB_OK) fx->status = zeb_arena_alloc(fx->arena, gates + heads, sizeof(float), &room, &fx->error);
    c.zeros = room;
    c.closed = fx->status == ZEB_OK ? c.zeros + gates : NULL;
    for (size_t h = 0; fx->status == ZEB_OK && h < heads; ++h)
        c.closed[h] = -1.0f;
    if (fx->status == ZEB_OK) fx->status = zeb_builder_create(&plain, &fx->error);
    if (fx->status == ZEB_OK) fx->status = zeb_model_graph(c.model, &options, plain, &fx->error);
    if (fx->status == ZEB_OK) fx->status = zeb_builder_finish(plain, &graph, &fx->error);
    if (fx->status == ZEB_OK) fx->status = zeb_policy_apply(c.policy, graph, find_gate, &c, fx->builder, &fx->error);
    op_adopt(fx, c.tokens, 1);
    op_adopt_input(fx, "ids", OP_FILL_IDS, info->vocab);
    op_adopt_input(fx, "types", OP_FILL_IDS, 2);
    /* One step of an eight-bit activation is much where trained weights are large: no tolerance of a whole graph fits.
     */
    fx->told = c.policy != NULL || c.precision == ZEB_PRECISION_W8A8 || c.precision == ZEB_PRECISION_W4A8;
    fx->precision = c.precision;
    fx->passes = ONE_ROW | ONE_SEQUENCE;
    zeb_builder_destroy(plain);
}

static void in_precisions(op_suite *suite, model_case *c, const char *what) {
    static const char *const name[] = {"f32", "bf16", "w8a8", "w4a8", "w4a16"};
    for (c->precision = ZEB_PRECISION_F32; c->precision <= ZEB_PRECISION_W4A16; ++c->precision) {
        char text[160];
        const zeb_model_info *info = zeb_model_about(c->model);
        bool stored = strncmp(info->dtype, "I8", 2) == 0; /* it runs in one precision alone, so at its full length */
        if (stored && c->precision != ZEB_PRECISION_W8A8) continue;
        c->tokens = stored ? info->position_max : TOKENS;
        (void)snprintf(text, sizeof text, "%.60s %s %s", info->name, what, name[c->precision]);
        op_case(suite, OP_LINE_MODEL, text, build_model, c);
    }
}

void op_cases_model(op_suite *suite, const char *folder, const char *const *path) {
    zeb_model *model = NULL;
    zeb_policy *policy = NULL;
    zeb_error error = {""};
    if (folder == NULL) return;
    zeb_status status = zeb_model_open(folder, &model, &error);
    int32_t layers = status == ZEB_OK ? zeb_model_about(model)->layers : 0;
    model_case c = {.model = model};
    if (status == ZEB_OK) in_precisions(suite, &c, "dense");
    for (; status == ZEB_OK && *path != NULL; ++path) {
        status = zeb_policy_open(*path, NULL, layers, &policy, &error);
        c.policy = policy;
        if (status == ZEB_OK) in_precisions(suite, &c, zeb_policy_name(policy));
        zeb_policy_close(policy);
    }
    if (status != ZEB_OK) op_failure(suite, OP_LINE_MODEL, folder, "%s", error.text);
    zeb_model_close(model);
}
