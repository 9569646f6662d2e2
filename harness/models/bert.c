/* BERT with a sequence head: classification and regression (Devlin et al. 2019, arXiv:1810.04805; names and defaults of
 * Hugging Face's BertForSequenceClassification).
 *
 *   x = norm(word[id] + position[i] + type[t])
 *   a layer: x = norm(x + Wo.attention(Wq x, Wk x, Wv x)); x = norm(x + Wout.act(Win x)); every W with its bias
 *   logits = Wc.tanh(Wp.x[first] + bp) + bc */
#include <inttypes.h>
#include <math.h>

#include "models/bert.h"

enum { NAME_MAX_BYTES = 64 };

/* What the steps of one graph share; the first error ends it. */
typedef struct drawing {
    const zeb_model *model;
    const zeb_bert *state;
    const zeb_graph_options *options;
    zeb_builder *builder;
    zeb_error *error;
    zeb_status status;
    char prefix[NAME_MAX_BYTES]; /* "layer.3." or "" */
} drawing;

/* The weight as wide as in the whole model, for a graph whose weights nobody reads. Groups that do not fit are told as
 * F32. */
static zeb_weight whole_weight(const drawing *d, const zeb_weight *weight, const zeb_bert_slot *at) {
    zeb_weight whole = *weight;
    whole.extent[0] = d->state->extent[at->rows];
    if (at->columns != BERT_ONE) whole.extent[1] = d->state->extent[at->columns];
    whole.data = d->state;
    if (whole.group > 0 && whole.extent[1] % whole.group != 0) {
        whole.dtype = ZEB_F32;
        whole.scale = NULL;
    }
    return whole;
}

static int32_t add_weight(drawing *d, const zeb_weight *weight, const zeb_bert_slot *at) {
    char name[NAME_MAX_BYTES * 2];
    int32_t tensor = ZEB_NONE;
    zeb_weight used = d->options->whole ? whole_weight(d, weight, at) : *weight;
    (void)snprintf(name, sizeof name, "%s%s", d->prefix, at->graph);
    if (d->status == ZEB_OK) d->status = zeb_weight_add(&used, name, d->builder, &tensor, d->error);
    return tensor;
}

static int32_t add_node(drawing *d, const zeb_node *node, const char *name) {
    char full[NAME_MAX_BYTES * 2];
    int32_t output[ZEB_NODE_OUTPUTS_MAX] = {ZEB_NONE};
    (void)snprintf(full, sizeof full, "%s%s", d->prefix, name);
    zeb_node named = *node;
    named.name = full; /* the builder copies it */
    if (d->status == ZEB_OK) d->status = zeb_builder_node(d->builder, &named, 0, output, d->error);
    return output[0];
}

/* The arithmetic of one matrix. A quantised checkpoint runs every matrix in the form that it is stored in; a float one
 * is quantised by the plan when the precision asks for it, but only inside the encoder (head = pooler and classifier).
 */
static uint32_t precision_of(const drawing *d, const zeb_weight *weight, bool head) {
    uint32_t asked = d->options->precision;
    if (weight->dtype == ZEB_I8) return ZEB_PRECISION_W8A8;
    if (weight->dtype == ZEB_U4) return asked == ZEB_PRECISION_W4A16 ? ZEB_PRECISION_W4A16 : ZEB_PRECISION_W4A8;
    return d->state->eight || d->state->four || head ? ZEB_PRECISION_F32 : asked;
}

static uint32_t attention_precision(uint32_t asked) {
    if (asked == ZEB_PRECISION_W4A8) return ZEB_PRECISION_W8A8;
    return asked == ZEB_PRECISION_W4A16 ? ZEB_PRECISION_F32 : asked;
}

/* One linear layer whose weight is at slot `w` and whose bias is at the next one. */
static int32_t add_linear(drawing *d, const zeb_weight *weight, const zeb_bert_slot *at, const char *name, int32_t x,
                          int32_t residual, uint32_t activation, bool head) {
    zeb_node node = zeb_node_make(name, ZEB_OP_LINEAR);
    node.input[ZEB_LINEAR_X] = x;
    node.input[ZEB_LINEAR_W] = add_weight(d, weight, at);
    node.input[ZEB_LINEAR_BIAS] = add_weight(d, weight + 1, at + 1);
    node.input[ZEB_LINEAR_RESIDUAL] = residual;
    node.attr.linear = (zeb_linear_attr){.activation = activation, .precision = precision_of(d, weight, head)};
    return add_node(d, &node, name);
}

static int32_t add_norm(drawing *d, const zeb_weight *weight, const zeb_bert_slot *at, const char *name, int32_t x) {
    zeb_node node = zeb_node_make(name, ZEB_OP_NORM);
    node.input[ZEB_NORM_X] = x;
    node.input[ZEB_NORM_GAMMA] = add_weight(d, weight, at);
    node.input[ZEB_NORM_BETA] = add_weight(d, weight + 1, at + 1);
    node.attr.norm = (zeb_norm_attr){.kind = ZEB_NORM_LAYER, .epsilon = d->state->epsilon};
    return add_node(d, &node, name);
}

static int32_t add_embed(drawing *d) {
    int32_t offsets = ZEB_NONE, ids = ZEB_NONE, types = ZEB_NONE;
    const zeb_weight *weight = d->state->outer;
    if (d->status == ZEB_OK)
        d->status =
            zeb_builder_rows(d->builder, "tokens", d->options->token_max, d->options->batch_max, &offsets, d->error);
    if (d->status == ZEB_OK) d->status = zeb_builder_input(d->builder, "ids", ZEB_I32, offsets, 0, &ids, d->error);
    if (d->status == ZEB_OK) d->status = zeb_builder_input(d->builder, "types", ZEB_I32, offsets, 0, &types, d->error);
    zeb_node node = zeb_node_make("embed", ZEB_OP_EMBED);
    node.input[ZEB_EMBED_IDS] = ids;
    node.input[ZEB_EMBED_TYPES] = types;
    node.input[ZEB_EMBED_WORD] = add_weight(d, &weight[BERT_WORD], &zeb_bert_outer[BERT_WORD]);
    node.input[ZEB_EMBED_POSITION] = add_weight(d, &weight[BERT_POSITION], &zeb_bert_outer[BERT_POSITION]);
    node.input[ZEB_EMBED_TYPE] = add_weight(d, &weight[BERT_TYPE], &zeb_bert_outer[BERT_TYPE]);
    node.input[ZEB_EMBED_GAMMA] = add_weight(d, &weight[BERT_EMBED_GAMMA], &zeb_bert_outer[BERT_EMBED_GAMMA]);
    node.input[ZEB_EMBED_BETA] = add_weight(d, &weight[BERT_EMBED_BETA], &zeb_bert_outer[BERT_EMBED_BETA]);
    node.attr.embed = (zeb_embed_attr){.norm = ZEB_NORM_LAYER, .epsilon = d->state->epsilon};
    return add_node(d, &node, "embed");
}

static int32_t add_attention(drawing *d, int32_t l, int32_t q, int32_t k, int32_t v) {
    const zeb_model_info *info = &d->model->info;
    int32_t width = info->hidden / info->heads;
    int32_t heads = d->options->whole ? info->heads : (int32_t)d->state->layer[l].heads;
    zeb_node node = zeb_node_make("attention", ZEB_OP_ATTENTION);
    node.input[ZEB_ATTENTION_Q] = q;
    node.input[ZEB_ATTENTION_K] = k;
    node.input[ZEB_ATTENTION_V] = v;
    node.attr.attention = (zeb_attention_attr){.heads = heads,
                                               .kv_heads = heads,
                                               .head_dim = width,
                                               .scale = 1.0f / sqrtf((float)width),
                                               .precision = attention_precision(d->options->precision)};
    return add_node(d, &node, "attention");
}

static int32_t add_layer(drawing *d, int32_t l, int32_t x) {
    const zeb_weight *w = d->state->layer[l].weight;
    const zeb_bert_slot *at = zeb_bert_layer_slot;
    (void)snprintf(d->prefix, sizeof d->prefix, "layer.%d.", l);
    int32_t q = add_linear(d, &w[BERT_Q_W], &at[BERT_Q_W], "q", x, ZEB_NONE, ZEB_ACT_NONE, false);
    int32_t k = add_linear(d, &w[BERT_K_W], &at[BERT_K_W], "k", x, ZEB_NONE, ZEB_ACT_NONE, false);
    int32_t v = add_linear(d, &w[BERT_V_W], &at[BERT_V_W], "v", x, ZEB_NONE, ZEB_ACT_NONE, false);
    int32_t context = add_attention(d, l, q, k, v);
    int32_t y = add_linear(d, &w[BERT_OUTPUT_W], &at[BERT_OUTPUT_W], "output", context, x, ZEB_ACT_NONE, false);
    y = add_norm(d, &w[BERT_NORM1_GAMMA], &at[BERT_NORM1_GAMMA], "norm1", y);
    int32_t wide = add_linear(d, &w[BERT_IN_W], &at[BERT_IN_W], "ffn.in", y, ZEB_NONE, d->state->activation, false);
    y = add_linear(d, &w[BERT_OUT_W], &at[BERT_OUT_W], "ffn.out", wide, y, ZEB_ACT_NONE, false);
    return add_norm(d, &w[BERT_NORM2_GAMMA], &at[BERT_NORM2_GAMMA], "norm2", y);
}

static int32_t add_head(drawing *d, int32_t x) {
    const zeb_weight *w = d->state->outer;
    const zeb_bert_slot *at = zeb_bert_outer;
    d->prefix[0] = '\0';
    zeb_node node = zeb_node_make("pool", ZEB_OP_POOL);
    node.input[ZEB_POOL_X] = x;
    node.attr.pool.kind = ZEB_POOL_FIRST;
    int32_t first = add_node(d, &node, "pool");
    first = add_linear(d, &w[BERT_POOLER_W], &at[BERT_POOLER_W], "pooler", first, ZEB_NONE, ZEB_ACT_TANH, true);
    return add_linear(d, &w[BERT_CLASSIFIER_W], &at[BERT_CLASSIFIER_W], "logits", first, ZEB_NONE, ZEB_ACT_NONE, true);
}

/* A quantised checkpoint runs in the precision that it is made for and in no other, whatever was asked: a row must not
 * claim an arithmetic that did not happen. Of float weights, 4 bits need columns in whole groups. */
static zeb_status check_precision(const zeb_model *model, uint32_t precision, zeb_error *error) {
    const zeb_bert *state = model->state;
    bool four = precision == ZEB_PRECISION_W4A8 || precision == ZEB_PRECISION_W4A16;
    const char *made_for = state->four ? "w4a8 or w4a16" : state->eight ? "w8a8" : NULL;
    if (precision > ZEB_PRECISION_W4A16) return zeb_fail(error, ZEB_ERR_ARGUMENT, "precision %u is unknown", precision);
    if (made_for != NULL && !(state->four ? four : precision == ZEB_PRECISION_W8A8))
        return zeb_fail(error, ZEB_ERR_UNSUPPORTED, "%s: its weights are quantised (%s): ask for precision %s",
                        zeb_checkpoint_path(model->checkpoint), model->info.dtype, made_for);
    for (int32_t l = 0; made_for == NULL && four && l < model->info.layers; l++) {
        int64_t width = zeb_bert_extent_of(model, state, l, BERT_WIDTH), ffn = state->layer[l].ffn;
        if (model->info.hidden % 32 == 0 && width % 32 == 0 && ffn % 32 == 0) continue;
        return zeb_fail(error, ZEB_ERR_UNSUPPORTED,
                        "%s: 4-bit precision works on groups of 32 columns; hidden size %d, heads' width %" PRId64
                        " or FFN %" PRId64 " of layer %d is no multiple",
                        model->folder, model->info.hidden, width, ffn, l);
    }
    return ZEB_OK;
}

static zeb_status bert_graph(const zeb_model *model, const zeb_graph_options *options, zeb_builder *builder,
                             zeb_error *error) {
    zeb_status status = check_precision(model, options->precision, error);
    if (status != ZEB_OK) return status;
    drawing d = {.model = model, .state = model->state, .options = options, .builder = builder, .error = error};
    int32_t x = add_embed(&d);
    for (int32_t l = 0; l < model->info.layers; l++)
        x = add_layer(&d, l, x);
    int32_t logits = add_head(&d, x);
    if (d.status == ZEB_OK) d.status = zeb_builder_output(builder, logits, error);
    return d.status;
}

const zeb_family zeb_family_bert = {.model_type = "bert", .open = zeb_bert_open, .graph = bert_graph};
