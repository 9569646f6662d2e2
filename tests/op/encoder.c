#include "encoder.h"

#include <math.h>

static const char *label(op_fixture *fx, int layer, const char *part) {
    char *text = NULL;
    if (fx->status == ZEB_OK) fx->status = zeb_arena_format(fx->arena, &text, &fx->error, "layer.%d.%s", layer, part);
    return fx->status == ZEB_OK ? text : "?";
}

typedef struct dense {
    int64_t k, n;
    int32_t residual, gates;
    int stored;
    zeb_linear_attr attr;
} dense;

static int32_t linear(op_fixture *fx, const op_encoder *c, const char *name, int32_t x, const dense *d) {
    char text[96];
    uint32_t precision = d->attr.precision;
    zeb_node node = zeb_node_make(name, ZEB_OP_LINEAR);
    node.input[ZEB_LINEAR_X] = x;
    (void)snprintf(text, sizeof text, "%s.weight", name);
    if (d->stored && precision >= ZEB_PRECISION_W4A8)
        node.input[ZEB_LINEAR_W] = op_grouped(fx, text, d->n, d->k, d->k % c->group == 0 ? c->group : 32);
    else
        node.input[ZEB_LINEAR_W] =
            op_matrix(fx, text, d->stored && precision == ZEB_PRECISION_W8A8 ? ZEB_I8 : c->real, d->n, d->k);
    (void)snprintf(text, sizeof text, "%s.bias", name);
    node.input[ZEB_LINEAR_BIAS] = op_vector(fx, text, ZEB_F32, d->n, 0.0, 0.1);
    node.input[ZEB_LINEAR_RESIDUAL] = d->residual;
    node.input[ZEB_LINEAR_GATES] = d->gates;
    node.attr.linear = d->attr;
    return op_node(fx, &node, 0);
}

static int32_t norm(op_fixture *fx, const op_encoder *c, const char *name, int32_t x, int32_t residual) {
    char text[96];
    int64_t width = (int64_t)c->heads * c->dim;
    zeb_node node = zeb_node_make(name, ZEB_OP_NORM);
    node.input[ZEB_NORM_X] = x;
    node.input[ZEB_NORM_RESIDUAL] = residual;
    (void)snprintf(text, sizeof text, "%s.gamma", name);
    node.input[ZEB_NORM_GAMMA] = op_vector(fx, text, ZEB_F32, width, 1.0, 0.1);
    (void)snprintf(text, sizeof text, "%s.beta", name);
    if (c->norm != ZEB_NORM_RMS) node.input[ZEB_NORM_BETA] = op_vector(fx, text, ZEB_F32, width, 0.0, 0.1);
    node.attr.norm = (zeb_norm_attr){.kind = c->norm, .epsilon = 1e-12f};
    return op_node(fx, &node, 0);
}

static int32_t gather(op_fixture *fx, const char *name, int32_t x, int32_t indices) {
    zeb_node node = zeb_node_make(name, ZEB_OP_GATHER);
    node.input[ZEB_GATHER_X] = x;
    node.input[ZEB_GATHER_INDICES] = indices;
    return op_node(fx, &node, 0);
}

static int32_t head_gates(op_fixture *fx, int layer, int32_t x, const op_encoder *c) {
    zeb_node node = zeb_node_make(label(fx, layer, "gate"), ZEB_OP_HEAD_GATE);
    node.input[ZEB_HEAD_GATE_X] = x;
    node.input[ZEB_HEAD_GATE_W] =
        op_matrix(fx, label(fx, layer, "gate.weight"), ZEB_F32, c->heads, (int64_t)c->heads * c->dim);
    node.input[ZEB_HEAD_GATE_BIAS] =
        op_vector(fx, label(fx, layer, "gate.bias"), ZEB_F32, c->heads, (double)c->layer[layer].gate_bias, 0.1);
    int32_t gates = op_node(fx, &node, 0);
    op_final(fx, gates);
    return gates;
}

/* What the layers so far know of their heads. */
typedef struct cascade {
    int32_t context, importance;
} cascade;

static int32_t best_heads(op_fixture *fx, int layer, cascade *heads, const op_encoder *c) {
    zeb_node node = zeb_node_make(label(fx, layer, "heads"), ZEB_OP_HEAD_TOPK);
    node.input[ZEB_HEAD_TOPK_X] = heads->context;
    node.input[ZEB_HEAD_TOPK_BEFORE] = heads->importance;
    node.attr.head_topk = (zeb_head_topk_attr){c->heads, c->layer[layer].heads_kept};
    int32_t gates = op_node(fx, &node, 0);
    heads->importance = fx->out[ZEB_HEAD_TOPK_IMPORTANCE];
    op_final(fx, gates);
    return gates;
}

/* Attention of a layer with its projections; *residual becomes the rows that survive. */
static int32_t attend(op_fixture *fx, int layer, int32_t x, int32_t *residual, cascade *heads, const op_encoder *c) {
    const op_layer *l = &c->layer[layer];
    int64_t width = (int64_t)c->heads * c->dim, kv_width = (int64_t)c->kv_heads * c->dim;
    int32_t gates = l->gates ? head_gates(fx, layer, x, c) : ZEB_NONE, queries = x;
    if (l->heads_kept > 0 && layer > 0) gates = best_heads(fx, layer, heads, c);
    dense d = {.k = width,
               .n = width,
               .residual = ZEB_NONE,
               .gates = gates,
               .stored = l->stored,
               .attr = {.precision = l->project, .gate_groups = gates != ZEB_NONE ? c->heads : 0}};
    if (c->cls_only && layer == c->layers - 1) {
        zeb_node first = zeb_node_make("cls", ZEB_OP_SELECT);
        first.input[ZEB_SELECT_ROWS] = x;
        first.attr.select.mode = ZEB_SELECT_FIRST;
        queries = *residual = gather(fx, "cls.rows", x, op_node(fx, &first, 0));
    }
    zeb_node node = zeb_node_make(label(fx, layer, "attention"), ZEB_OP_ATTENTION);
    node.input[ZEB_ATTENTION_Q] = linear(fx, c, label(fx, layer, "q"), queries, &d);
    d.n = kv_width;
    node.input[ZEB_ATTENTION_K] = linear(fx, c, label(fx, layer, "k"), x, &d);
    node.input[ZEB_ATTENTION_V] = linear(fx, c, label(fx, layer, "v"), x, &d);
    node.input[ZEB_ATTENTION_GATES] = gates;
    node.attr.attention = (zeb_attention_attr){.heads = c->heads,
                                               .kv_heads = c->kv_heads,
                                               .head_dim = c->dim,
                                               .scale = 1.0f / sqrtf((float)c->dim),
                                               .causal = l->causal,
                                               .score_threshold = l->threshold,
                                               .precision = l->attention,
                                               .select = l->select};
    int32_t context = heads->context = op_node(fx, &node, l->importance ? 1u << ZEB_ATTENTION_IMPORTANCE : 0);
    if (l->select.mode != ZEB_SELECT_NONE) {
        int32_t indices = fx->out[ZEB_ATTENTION_INDICES];
        op_final(fx, fx->out[ZEB_ATTENTION_OFFSETS]);
        *residual = gather(fx, label(fx, layer, "rows"), x, indices);
    }
    return context;
}

static int32_t closed_blocks(op_fixture *fx, int layer, int32_t x, const zeb_blocks_attr *blocks) {
    zeb_node node = zeb_node_make(label(fx, layer, "blocks"), ZEB_OP_BLOCKS);
    node.input[ZEB_BLOCKS_X] = x;
    node.attr.blocks = *blocks;
    int32_t out = op_node(fx, &node, 0);
    op_final(fx, fx->out[ZEB_BLOCKS_OPEN]);
    return out;
}

static int32_t encode(op_fixture *fx, int layer, int32_t x, cascade *heads, const op_encoder *c) {
    const op_layer *l = &c->layer[layer];
    int64_t width = (int64_t)c->heads * c->dim;
    int32_t residual = x, context = attend(fx, layer, x, &residual, heads, c);
    dense out = {width, width, ZEB_NONE, ZEB_NONE, l->stored, {.precision = l->output}};
    dense in = {width, c->ffn, ZEB_NONE, ZEB_NONE, l->stored, {.precision = l->ffn_in, .activation = c->activation}};
    if (!c->add_in_norm) out.residual = residual;
    int32_t y = linear(fx, c, label(fx, layer, "output"), context, &out);
    y = norm(fx, c, label(fx, layer, "norm1"), y, c->add_in_norm ? residual : ZEB_NONE);
    int32_t inner = linear(fx, c, label(fx, layer, "ffn.in"), y, &in);
    if (l->blocks.size > 0) inner = closed_blocks(fx, layer, inner, &l->blocks);
    dense back = {c->ffn, width, c->add_in_norm ? ZEB_NONE : y, ZEB_NONE, l->stored, {.precision = l->ffn_out}};
    int32_t z = linear(fx, c, label(fx, layer, "ffn.out"), inner, &back);
    return norm(fx, c, label(fx, layer, "norm2"), z, c->add_in_norm ? y : ZEB_NONE);
}

static int32_t table(op_fixture *fx, const op_encoder *c, const char *name, int64_t rows) {
    int64_t width = (int64_t)c->heads * c->dim;
    return c->table == ZEB_U4 ? op_grouped(fx, name, rows, width, width % c->group == 0 ? c->group : 32)
                              : op_matrix(fx, name, c->table, rows, width);
}

static int32_t embed(op_fixture *fx, const op_encoder *c) {
    int64_t width = (int64_t)c->heads * c->dim;
    if (!c->embed) return op_rows_input(fx, "x", OP_FILL_NORMAL, 0, width);
    zeb_node node = zeb_node_make("embed", ZEB_OP_EMBED);
    node.input[ZEB_EMBED_IDS] = op_rows_input(fx, "ids", OP_FILL_IDS, 101, 0);
    node.input[ZEB_EMBED_TYPES] = op_rows_input(fx, "types", OP_FILL_IDS, 2, 0);
    node.input[ZEB_EMBED_WORD] = table(fx, c, "word", 101);
    node.input[ZEB_EMBED_POSITION] = table(fx, c, "position", c->tokens);
    node.input[ZEB_EMBED_TYPE] = table(fx, c, "type", 2);
    node.input[ZEB_EMBED_GAMMA] = op_vector(fx, "embed.gamma", ZEB_F32, width, 1.0, 0.1);
    node.input[ZEB_EMBED_BETA] = op_vector(fx, "embed.beta", ZEB_F32, width, 0.0, 0.1);
    node.attr.embed = (zeb_embed_attr){.norm = ZEB_NORM_LAYER, .epsilon = 1e-12f};
    return op_node(fx, &node, 0);
}

static int32_t pool(op_fixture *fx, const char *name, int32_t x, uint32_t kind) {
    zeb_node node = zeb_node_make(name, ZEB_OP_POOL);
    node.input[ZEB_POOL_X] = x;
    node.attr.pool.kind = kind;
    return op_node(fx, &node, 0);
}

static int32_t head(op_fixture *fx, const op_encoder *c, const char *name, int32_t x) {
    dense d = {(int64_t)c->heads * c->dim, c->labels, ZEB_NONE, ZEB_NONE, 0, {.precision = ZEB_PRECISION_F32}};
    return linear(fx, c, name, x, &d);
}

/* Sequences that are sure leave behind a layer; gives the rows that stay. */
static int32_t leave(op_fixture *fx, int layer, int32_t x, int32_t *left, const op_encoder *c) {
    zeb_node node = zeb_node_make(label(fx, layer, "exit"), ZEB_OP_EXIT);
    int32_t first = pool(fx, label(fx, layer, "exit.pool"), x, ZEB_POOL_FIRST);
    node.input[ZEB_EXIT_HERE] = head(fx, c, label(fx, layer, "exit.head"), first);
    node.input[ZEB_EXIT_ROWS] = x;
    node.input[ZEB_EXIT_BEFORE] = *left;
    node.attr.exit.confidence = c->layer[layer].confidence;
    *left = op_node(fx, &node, 0);
    op_final(fx, fx->out[ZEB_EXIT_OFFSETS]);
    return gather(fx, label(fx, layer, "exit.rows"), x, fx->out[ZEB_EXIT_INDICES]);
}

void op_encoder_build(op_fixture *fx, const void *parameters) {
    const op_encoder *c = parameters;
    int64_t width = (int64_t)c->heads * c->dim;
    int32_t left = ZEB_NONE, staying = ZEB_NONE;
    cascade heads = {ZEB_NONE, ZEB_NONE};
    op_rows(fx, c->tokens, c->batch);
    int32_t x = embed(fx, c);
    for (int layer = 0; layer < c->layers; ++layer) {
        x = encode(fx, layer, x, &heads, c);
        if (c->layer[layer].confidence > 0.0f) staying = x = leave(fx, layer, x, &left, c);
    }
    dense d = {width, width, ZEB_NONE, ZEB_NONE, 0, {.activation = ZEB_ACT_TANH}};
    x = head(fx, c, "classifier", linear(fx, c, "pooler", pool(fx, "pool", x, c->pool), &d));
    if (left != ZEB_NONE) {
        zeb_node node = zeb_node_make("logits", ZEB_OP_EXIT);
        node.input[ZEB_EXIT_HERE] = x;
        node.input[ZEB_EXIT_ROWS] = staying;
        node.input[ZEB_EXIT_BEFORE] = left;
        x = op_node(fx, &node, 0);
    }
    op_final(fx, x);
}
