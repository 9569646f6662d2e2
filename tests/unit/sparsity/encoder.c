#include "encoder.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static double uniform(uint64_t *state) {
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return (double)((z ^ z >> 31) >> 11) * 0x1p-53;
}

static void fill(float *data, size_t count, double centre, double spread, uint64_t *seed) {
    for (size_t i = 0; i < count; ++i)
        data[i] = (float)(centre + spread * (2.0 * uniform(seed) - 1.0));
}

void encoder_fill(encoder *e, uint64_t seed) {
    for (int l = 0; l < LAYERS; ++l) {
        encoder_layer *at = &e->layer[l];
        fill(at->q, WIDTH * WIDTH, 0.0, 1.0, &seed);
        fill(at->k, WIDTH * WIDTH, 0.0, 1.0, &seed);
        fill(at->v, WIDTH * WIDTH, 0.0, 1.0, &seed);
        fill(at->o, WIDTH * WIDTH, 0.0, 0.7, &seed);
        fill(at->up, INNER * WIDTH, 0.0, 0.7, &seed);
        fill(at->down, WIDTH * INNER, 0.0, 0.7, &seed);
        for (int i = 0; i < 2; ++i)
            fill(at->gamma[i], WIDTH, 1.0, 0.2, &seed);
        for (int i = 0; i < 2; ++i)
            fill(at->beta[i], WIDTH, 0.0, 0.2, &seed);
        fill(at->gate, HEADS * WIDTH, 0.0, 1.0, &seed);
        fill(at->gate_bias, HEADS, 0.1, 0.3, &seed);
    }
    fill(e->classifier, LABELS * WIDTH, 0.0, 1.0, &seed);
    fill(e->x, TOKENS * WIDTH, 0.0, 1.5, &seed);
    e->offsets[0] = 0;
    for (int b = 0; b < BATCH; ++b) {
        int32_t length = (int32_t)(uniform(&seed) * (TOKENS / BATCH + 3)) - 1;
        int32_t end = e->offsets[b] + (length > 0 ? length : 0);
        e->offsets[b + 1] = end < TOKENS ? end : TOKENS;
    }
    for (int l = 0; l < LAYERS; ++l) {
        fill(e->layer[l].exit, LABELS * WIDTH, 0.0, 0.7, &seed);
        fill(e->layer[l].exit_bias, LABELS, 0.0, 0.2, &seed);
    }
}

typedef struct drawing {
    zeb_builder *b;
    zeb_status status;
    zeb_error *error;
} drawing;

static int32_t add(drawing *d, const zeb_node *node) {
    int32_t out[ZEB_NODE_OUTPUTS_MAX] = {ZEB_NONE};
    if (d->status == ZEB_OK) d->status = zeb_builder_node(d->b, node, 0, out, d->error);
    return out[0];
}

static int32_t weight(drawing *d, const char *name, const float *data, int64_t n, int64_t k) {
    int64_t extents[2] = {n, k};
    int32_t tensor = ZEB_NONE;
    if (d->status == ZEB_OK)
        d->status = zeb_builder_weight(d->b, name, ZEB_F32, k == 0 ? 1 : 2, extents, data, &tensor, d->error);
    return tensor;
}

static int32_t linear(drawing *d, int l, const char *part, const float *w, int32_t x, int64_t n, int64_t k,
                      int32_t residual, uint32_t activation) {
    char name[32], label[48];
    (void)snprintf(name, sizeof name, "layer.%d.%s", l, part);
    (void)snprintf(label, sizeof label, "%s.weight", name);
    zeb_node node = zeb_node_make(l < LAYERS ? name : part, ZEB_OP_LINEAR);
    node.input[ZEB_LINEAR_X] = x;
    node.input[ZEB_LINEAR_W] = weight(d, label, w, n, k);
    node.input[ZEB_LINEAR_RESIDUAL] = residual;
    node.attr.linear.activation = activation;
    return add(d, &node);
}

static int32_t norm(drawing *d, int l, int which, const encoder_layer *at, int32_t x) {
    char name[32], label[48];
    (void)snprintf(name, sizeof name, "layer.%d.norm%d", l, which + 1);
    zeb_node node = zeb_node_make(name, ZEB_OP_NORM);
    node.input[ZEB_NORM_X] = x;
    (void)snprintf(label, sizeof label, "%s.gamma", name);
    node.input[ZEB_NORM_GAMMA] = weight(d, label, at->gamma[which], WIDTH, 0);
    (void)snprintf(label, sizeof label, "%s.beta", name);
    node.input[ZEB_NORM_BETA] = weight(d, label, at->beta[which], WIDTH, 0);
    node.attr.norm = (zeb_norm_attr){.kind = ZEB_NORM_LAYER, .epsilon = 1e-12f};
    return add(d, &node);
}

zeb_status encoder_graph(const encoder *e, uint32_t pool, zeb_builder *builder, zeb_error *error) {
    drawing d = {.b = builder, .error = error};
    int32_t offsets, x = ZEB_NONE;
    d.status = zeb_builder_rows(builder, "tokens", TOKENS, BATCH, &offsets, error);
    if (d.status == ZEB_OK) d.status = zeb_builder_input(builder, "x", ZEB_F32, offsets, WIDTH, &x, error);
    for (int l = 0; l < LAYERS; ++l) {
        const encoder_layer *at = &e->layer[l];
        char name[32];
        (void)snprintf(name, sizeof name, "layer.%d.attention", l);
        zeb_node node = zeb_node_make(name, ZEB_OP_ATTENTION);
        node.input[ZEB_ATTENTION_Q] = linear(&d, l, "q", at->q, x, WIDTH, WIDTH, ZEB_NONE, ZEB_ACT_NONE);
        node.input[ZEB_ATTENTION_K] = linear(&d, l, "k", at->k, x, WIDTH, WIDTH, ZEB_NONE, ZEB_ACT_NONE);
        node.input[ZEB_ATTENTION_V] = linear(&d, l, "v", at->v, x, WIDTH, WIDTH, ZEB_NONE, ZEB_ACT_NONE);
        node.attr.attention = (zeb_attention_attr){.heads = HEADS, .kv_heads = HEADS, .head_dim = DIM, .scale = 0.5f};
        int32_t y = linear(&d, l, "output", at->o, add(&d, &node), WIDTH, WIDTH, x, ZEB_ACT_NONE);
        y = norm(&d, l, 0, at, y);
        int32_t inner = linear(&d, l, "ffn.in", at->up, y, INNER, WIDTH, ZEB_NONE, ZEB_ACT_GELU_ERF);
        x = norm(&d, l, 1, at, linear(&d, l, "ffn.out", at->down, inner, WIDTH, INNER, y, ZEB_ACT_NONE));
    }
    zeb_node node = zeb_node_make("pool", ZEB_OP_POOL);
    node.input[ZEB_POOL_X] = x;
    node.attr.pool.kind = pool;
    x = linear(&d, LAYERS, "logits", e->classifier, add(&d, &node), LABELS, WIDTH, ZEB_NONE, ZEB_ACT_NONE);
    if (d.status == ZEB_OK) d.status = zeb_builder_output(builder, x, error);
    return d.status;
}

zeb_status encoder_weight(void *context, const char *name, zeb_policy_weight *weight_out, zeb_error *error) {
    const encoder *e = context;
    for (int l = 0; l < LAYERS; ++l) {
        char gate[24], bias[24], out[24], out_bias[24];
        (void)snprintf(out, sizeof out, "exit.%d", l);
        (void)snprintf(out_bias, sizeof out_bias, "exit.%d.bias", l);
        (void)snprintf(gate, sizeof gate, "gate.%d", l);
        (void)snprintf(bias, sizeof bias, "gate.%d.bias", l);
        if (strcmp(name, gate) == 0)
            *weight_out = (zeb_policy_weight){ZEB_F32, 2, {HEADS, WIDTH}, e->layer[l].gate};
        else if (strcmp(name, bias) == 0)
            *weight_out = (zeb_policy_weight){ZEB_F32, 1, {HEADS, 1}, e->layer[l].gate_bias};
        else if (strcmp(name, out) == 0)
            *weight_out = (zeb_policy_weight){ZEB_F32, 2, {LABELS, WIDTH}, e->layer[l].exit};
        else if (strcmp(name, out_bias) == 0)
            *weight_out = (zeb_policy_weight){ZEB_F32, 1, {LABELS, 1}, e->layer[l].exit_bias};
        else
            continue;
        return ZEB_OK;
    }
    return zeb_fail(error, ZEB_ERR_NOT_FOUND, "no weight '%s'", name);
}
