/* BERT with a sequence head: classification and regression (Devlin et al. 2019, arXiv:1810.04805; names and defaults of
 * Hugging Face's BertForSequenceClassification).
 *
 *   x = norm(word[id] + position[i] + type[t])
 *   a layer: x = norm(x + Wo.attention(Wq x, Wk x, Wv x)); x = norm(x + Wout.act(Win x)); every W with its bias
 *   logits = Wc.tanh(Wp.x[first] + bp) + bc */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "models/model_internal.h"

/* The weights outside the layers, then those of a layer. */
enum { WORD, POSITION, TYPE, EMBED_GAMMA, EMBED_BETA, POOLER_W, POOLER_B, CLASSIFIER_W, CLASSIFIER_B, OUTER_COUNT };
enum {
    Q_W,
    Q_B,
    K_W,
    K_B,
    V_W,
    V_B,
    OUTPUT_W,
    OUTPUT_B,
    NORM1_GAMMA,
    NORM1_BETA,
    IN_W,
    IN_B,
    OUT_W,
    OUT_B,
    NORM2_GAMMA,
    NORM2_BETA,
    LAYER_COUNT
};

/* Extents by what the config calls them; ONE marks a vector. */
typedef enum extent_key { HIDDEN, FFN, VOCAB, POSITIONS, TYPES, LABELS, WIDTH, EXTENT_KEYS, ONE } extent_key;

/* WIDTH: a layer's heads side by side. */
static const char *const extent_name[EXTENT_KEYS] = {
    "hidden_size",     "intermediate_size", "vocab_size", "max_position_embeddings",
    "type_vocab_size", "num_labels",        "hidden_size"};

typedef struct slot {
    const char *stored; /* behind "bert." or "encoder.layer.<l>." */
    const char *graph;  /* behind "layer.<l>." */
    extent_key rows, columns;
    bool linear; /* the matrix of a linear layer */
} slot;

static const slot outer_slot[OUTER_COUNT] = {
    [WORD] = {"embeddings.word_embeddings.weight", "embed.word", VOCAB, HIDDEN, false},
    [POSITION] = {"embeddings.position_embeddings.weight", "embed.position", POSITIONS, HIDDEN, false},
    [TYPE] = {"embeddings.token_type_embeddings.weight", "embed.type", TYPES, HIDDEN, false},
    [EMBED_GAMMA] = {"embeddings.LayerNorm.weight", "embed.gamma", HIDDEN, ONE, false},
    [EMBED_BETA] = {"embeddings.LayerNorm.bias", "embed.beta", HIDDEN, ONE, false},
    [POOLER_W] = {"pooler.dense.weight", "pooler.weight", HIDDEN, HIDDEN, true},
    [POOLER_B] = {"pooler.dense.bias", "pooler.bias", HIDDEN, ONE, false},
    [CLASSIFIER_W] = {"classifier.weight", "classifier.weight", LABELS, HIDDEN, true},
    [CLASSIFIER_B] = {"classifier.bias", "classifier.bias", LABELS, ONE, false},
};

static const slot layer_slot[LAYER_COUNT] = {
    [Q_W] = {"attention.self.query.weight", "q.weight", WIDTH, HIDDEN, true},
    [Q_B] = {"attention.self.query.bias", "q.bias", WIDTH, ONE, false},
    [K_W] = {"attention.self.key.weight", "k.weight", WIDTH, HIDDEN, true},
    [K_B] = {"attention.self.key.bias", "k.bias", WIDTH, ONE, false},
    [V_W] = {"attention.self.value.weight", "v.weight", WIDTH, HIDDEN, true},
    [V_B] = {"attention.self.value.bias", "v.bias", WIDTH, ONE, false},
    [OUTPUT_W] = {"attention.output.dense.weight", "output.weight", HIDDEN, WIDTH, true},
    [OUTPUT_B] = {"attention.output.dense.bias", "output.bias", HIDDEN, ONE, false},
    [NORM1_GAMMA] = {"attention.output.LayerNorm.weight", "norm1.gamma", HIDDEN, ONE, false},
    [NORM1_BETA] = {"attention.output.LayerNorm.bias", "norm1.beta", HIDDEN, ONE, false},
    [IN_W] = {"intermediate.dense.weight", "ffn.in.weight", FFN, HIDDEN, true},
    [IN_B] = {"intermediate.dense.bias", "ffn.in.bias", FFN, ONE, false},
    [OUT_W] = {"output.dense.weight", "ffn.out.weight", HIDDEN, FFN, true},
    [OUT_B] = {"output.dense.bias", "ffn.out.bias", HIDDEN, ONE, false},
    [NORM2_GAMMA] = {"output.LayerNorm.weight", "norm2.gamma", HIDDEN, ONE, false},
    [NORM2_BETA] = {"output.LayerNorm.bias", "norm2.beta", HIDDEN, ONE, false},
};

/* A layer of a model that heads and neurons were removed from has extents of its own. */
typedef struct bert_layer {
    int64_t heads, ffn;
    zeb_weight weight[LAYER_COUNT];
} bert_layer;

typedef struct bert {
    int64_t extent[EXTENT_KEYS]; /* of the whole model */
    uint32_t activation;
    float epsilon;
    bool eight, four; /* some matrix is stored as I8 / as U4 */
    zeb_weight outer[OUTER_COUNT];
    bert_layer *layer;
} bert;

/* ---- open: the config ---- */

static zeb_status read_activation(const zeb_json *config, uint32_t *activation, zeb_error *error) {
    static const struct {
        const char *name;
        zeb_activation activation;
    } table[] = {{"gelu", ZEB_ACT_GELU_ERF}, {"gelu_new", ZEB_ACT_GELU_TANH}, {"gelu_pytorch_tanh", ZEB_ACT_GELU_TANH},
                 {"relu", ZEB_ACT_RELU},     {"silu", ZEB_ACT_SILU},          {"swish", ZEB_ACT_SILU},
                 {"tanh", ZEB_ACT_TANH}};
    const char *name;
    zeb_status status = zeb_json_text(config, "hidden_act", "gelu", &name, error);
    if (status != ZEB_OK) return status;
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        if (strcmp(name, table[i].name) == 0) {
            *activation = table[i].activation;
            return ZEB_OK;
        }
    }
    return zeb_fail(error, ZEB_ERR_UNSUPPORTED,
                    "%s: \"hidden_act\" is \"%.60s\"; zeb knows gelu, gelu_new, gelu_pytorch_tanh, relu, silu, tanh",
                    zeb_json_path(config), name);
}

/* Options of other architectures that share the name "bert". */
static zeb_status refuse_variants(const zeb_json *config, zeb_error *error) {
    const char *position;
    bool decoder, no = false;
    zeb_status status = zeb_json_text(config, "position_embedding_type", "absolute", &position, error);
    if (status == ZEB_OK) status = zeb_json_bool(config, "is_decoder", &no, &decoder, error);
    if (status != ZEB_OK) return status;
    if (strcmp(position, "absolute") != 0)
        return zeb_fail(error, ZEB_ERR_UNSUPPORTED, "%s: \"position_embedding_type\" is \"%.60s\"; zeb knows absolute",
                        zeb_json_path(config), position);
    if (decoder)
        return zeb_fail(error, ZEB_ERR_UNSUPPORTED, "%s: \"is_decoder\" is true; zeb runs BERT as an encoder",
                        zeb_json_path(config));
    return ZEB_OK;
}

static zeb_status read_extents(zeb_model *model, bert *state, zeb_error *error) {
    const zeb_json *config = model->config;
    int64_t layers, heads, two = 2, *extent = state->extent;
    zeb_model_info *info = &model->info;
    zeb_status status = zeb_json_i64(config, "hidden_size", 1, 1 << 20, NULL, &extent[HIDDEN], error);
    if (status == ZEB_OK) status = zeb_json_i64(config, "intermediate_size", 1, 1 << 22, NULL, &extent[FFN], error);
    if (status == ZEB_OK) status = zeb_json_i64(config, "vocab_size", 1, 1 << 26, NULL, &extent[VOCAB], error);
    if (status == ZEB_OK)
        status = zeb_json_i64(config, "max_position_embeddings", 1, 1 << 24, NULL, &extent[POSITIONS], error);
    if (status == ZEB_OK) status = zeb_json_i64(config, "type_vocab_size", 1, 1 << 20, &two, &extent[TYPES], error);
    if (status == ZEB_OK) status = zeb_json_i64(config, "num_hidden_layers", 1, 10000, NULL, &layers, error);
    if (status == ZEB_OK) status = zeb_json_i64(config, "num_attention_heads", 1, 1 << 20, NULL, &heads, error);
    if (status != ZEB_OK) return status;
    if (extent[HIDDEN] % heads != 0)
        return zeb_fail(error, ZEB_ERR_FORMAT,
                        "%s: \"hidden_size\" %" PRId64 " is no multiple of \"num_attention_heads\" %" PRId64,
                        zeb_json_path(config), extent[HIDDEN], heads);
    extent[LABELS] = info->labels;
    extent[WIDTH] = extent[HIDDEN];
    info->layers = (int32_t)layers;
    info->heads = (int32_t)heads;
    info->hidden = (int32_t)extent[HIDDEN];
    info->ffn = (int32_t)extent[FFN];
    info->vocab = (int32_t)extent[VOCAB];
    info->position_max = (int32_t)extent[POSITIONS];
    return ZEB_OK;
}

/* "layer_heads" or "layer_ffn": how many of `whole` are left in layer l; all without such a list. */
static zeb_status read_left(zeb_model *model, const char *key, int32_t l, int64_t whole, int64_t *left,
                            zeb_error *error) {
    const json_t *list = json_object_get(zeb_json_root(model->config), key);
    *left = whole;
    if (!zeb_json_has(model->config, key)) return ZEB_OK;
    if (json_array_size(list) != (size_t)model->info.layers)
        return zeb_fail(error, ZEB_ERR_FORMAT, "%s: \"%s\" is no list of %d numbers, one a layer",
                        zeb_json_path(model->config), key, model->info.layers);
    const json_t *value = json_array_get(list, (size_t)l);
    *left = json_integer_value(value);
    if (!json_is_integer(value) || *left < 1 || *left > whole)
        return zeb_fail(error, ZEB_ERR_FORMAT, "%s: \"%s\"[%d] is not a whole number within 1..%" PRId64,
                        zeb_json_path(model->config), key, l, whole);
    model->info.removed |= *left < whole;
    return ZEB_OK;
}

static zeb_status read_layers(zeb_model *model, bert *state, zeb_error *error) {
    void *memory;
    zeb_status status = zeb_arena_alloc(model->arena, (size_t)model->info.layers, sizeof(bert_layer), &memory, error);
    if (status != ZEB_OK) return status;
    state->layer = memory;
    for (int32_t l = 0; l < model->info.layers && status == ZEB_OK; l++) {
        bert_layer *layer = &state->layer[l];
        status = read_left(model, "layer_heads", l, model->info.heads, &layer->heads, error);
        if (status == ZEB_OK) status = read_left(model, "layer_ffn", l, state->extent[FFN], &layer->ffn, error);
    }
    return status;
}

static zeb_status read_config(zeb_model *model, bert *state, zeb_error *error) {
    double epsilon, epsilon_default = 1e-12;
    zeb_status status = refuse_variants(model->config, error);
    if (status == ZEB_OK) status = read_extents(model, state, error);
    if (status == ZEB_OK) status = read_layers(model, state, error);
    if (status == ZEB_OK) status = read_activation(model->config, &state->activation, error);
    if (status == ZEB_OK) status = zeb_json_f64(model->config, "layer_norm_eps", &epsilon_default, &epsilon, error);
    if (status != ZEB_OK) return status;
    if (!(epsilon >= 0.0 && epsilon < 1.0))
        return zeb_fail(error, ZEB_ERR_FORMAT, "%s: \"layer_norm_eps\" is %g, which is not within 0..1",
                        zeb_json_path(model->config), epsilon);
    state->epsilon = (float)epsilon;
    return ZEB_OK;
}

/* ---- open: the weights ---- */

/* The spellings under which checkpoints carry a weight: with and without "bert.", and TensorFlow's gamma and beta. */
enum { SPELLINGS = 4, SPELLING_MAX = 128 };

static void spell(const char *path, char text[SPELLINGS][SPELLING_MAX], const char *name[SPELLINGS + 1]) {
    static const char weight[] = "LayerNorm.weight", bias[] = "LayerNorm.bias";
    size_t length = strlen(path), count = 0;
    bool outer = strncmp(path, "classifier.", 11) == 0;
    bool gamma = length >= sizeof weight - 1 && strcmp(path + length - (sizeof weight - 1), weight) == 0;
    bool beta = length >= sizeof bias - 1 && strcmp(path + length - (sizeof bias - 1), bias) == 0;
    for (int prefix = 0; prefix < (outer ? 1 : 2); prefix++) {
        const char *before = prefix == 0 && !outer ? "bert." : "";
        (void)snprintf(text[count], SPELLING_MAX, "%s%s", before, path);
        name[count] = text[count];
        count++;
        if (!gamma && !beta) continue;
        size_t stem = length - (gamma ? sizeof weight - 1 : sizeof bias - 1);
        (void)snprintf(text[count], SPELLING_MAX, "%s%.*sLayerNorm.%s", before, (int)stem, path,
                       gamma ? "gamma" : "beta");
        name[count] = text[count];
        count++;
    }
    name[count] = NULL;
}

/* What layer l (-1: none) has of it. */
static int64_t extent_of(const zeb_model *model, const bert *state, int32_t l, extent_key key) {
    if (l >= 0 && key == FFN) return state->layer[l].ffn;
    if (l >= 0 && key == WIDTH) return state->layer[l].heads * (model->info.hidden / model->info.heads);
    return state->extent[key];
}

/* The config's key for it. */
static const char *key_of(const zeb_model *model, extent_key key) {
    if (key == FFN && zeb_json_has(model->config, "layer_ffn")) return "layer_ffn";
    if (key == WIDTH && zeb_json_has(model->config, "layer_heads")) return "layer_heads";
    return extent_name[key];
}

static zeb_status find_slot(zeb_model *model, bert *state, const slot *at, int32_t layer, zeb_weight *weight,
                            zeb_error *error) {
    char path[SPELLING_MAX], text[SPELLINGS][SPELLING_MAX];
    const char *name[SPELLINGS + 1];
    if (layer < 0)
        (void)snprintf(path, sizeof path, "%s", at->stored);
    else
        (void)snprintf(path, sizeof path, "encoder.layer.%d.%s", layer, at->stored);
    spell(path, text, name);
    bool vector = at->columns == ONE;
    zeb_weight_need need = {
        .name = name,
        .rank = vector ? 1 : 2,
        .extent = {extent_of(model, state, layer, at->rows), vector ? 1 : extent_of(model, state, layer, at->columns)},
        .key = {key_of(model, at->rows), vector ? "" : key_of(model, at->columns)}};
    zeb_status status = zeb_weight_find(model, &need, weight, error);
    if (status != ZEB_OK) return status;
    model->info.parameters += zeb_weight_count(weight);
    state->eight |= at->linear && weight->dtype == ZEB_I8;
    state->four |= at->linear && weight->dtype == ZEB_U4;
    return ZEB_OK;
}

/* A config of fewer layers than are stored would run silently and score badly. */
static zeb_status refuse_more_layers(const zeb_model *model, zeb_error *error) {
    char path[SPELLING_MAX], text[SPELLINGS][SPELLING_MAX];
    const char *name[SPELLINGS + 1];
    (void)snprintf(path, sizeof path, "encoder.layer.%d.%s", model->info.layers, layer_slot[Q_W].stored);
    spell(path, text, name);
    for (size_t i = 0; name[i] != NULL; i++) {
        if (zeb_checkpoint_find(model->checkpoint, name[i]) != NULL)
            return zeb_fail(error, ZEB_ERR_FORMAT, "%s: \"num_hidden_layers\" is %d, but %s has \"%s\"",
                            zeb_json_path(model->config), model->info.layers, zeb_checkpoint_path(model->checkpoint),
                            name[i]);
    }
    return ZEB_OK;
}

static const char *dtype_name(zeb_dtype dtype) {
    switch (dtype) {
        case ZEB_F32: return "F32";
        case ZEB_F16: return "F16";
        case ZEB_BF16: return "BF16";
        case ZEB_I8: return "I8";
        case ZEB_U4: return "U4";
        default: return "?";
    }
}

/* "I8", or of a mixture how many matrices are in each: "I8:6,U4:18". */
static void describe_dtype(zeb_model *model, const bert *state) {
    int count[ZEB_U4 + 1] = {0}, kinds = 0;
    for (int32_t l = 0; l < model->info.layers; l++)
        for (int i = 0; i < LAYER_COUNT; i++)
            if (state->layer[l].weight[i].rank == 2) count[state->layer[l].weight[i].dtype]++;
    for (int dtype = 0; dtype <= ZEB_U4; dtype++)
        kinds += count[dtype] > 0;
    size_t used = 0;
    for (int dtype = 0; dtype <= ZEB_U4 && used < sizeof model->info.dtype; dtype++) {
        char *to = model->info.dtype + used;
        const size_t room = sizeof model->info.dtype - used;
        if (count[dtype] == 0) continue;
        used += (size_t)(kinds == 1 ? snprintf(to, room, "%s", dtype_name((zeb_dtype)dtype))
                                    : snprintf(to, room, "%s%s:%d", used > 0 ? "," : "", dtype_name((zeb_dtype)dtype),
                                               count[dtype]));
    }
}

static zeb_status bert_open(zeb_model *model, zeb_error *error) {
    void *memory;
    zeb_status status = zeb_arena_alloc(model->arena, 1, sizeof(bert), &memory, error);
    if (status != ZEB_OK) return status;
    bert *state = memory;
    model->state = state;
    status = read_config(model, state, error);
    if (status == ZEB_OK) status = refuse_more_layers(model, error);
    for (int i = 0; i < OUTER_COUNT && status == ZEB_OK; i++)
        status = find_slot(model, state, &outer_slot[i], -1, &state->outer[i], error);
    for (int32_t l = 0; l < model->info.layers && status == ZEB_OK; l++)
        for (int i = 0; i < LAYER_COUNT && status == ZEB_OK; i++)
            status = find_slot(model, state, &layer_slot[i], l, &state->layer[l].weight[i], error);
    if (status == ZEB_OK) describe_dtype(model, state);
    return status;
}

/* ---- graph ---- */

enum { NAME_MAX_BYTES = 64 };

/* What the steps of one graph share; the first error ends it. */
typedef struct drawing {
    const zeb_model *model;
    const bert *state;
    const zeb_graph_options *options;
    zeb_builder *builder;
    zeb_error *error;
    zeb_status status;
    char prefix[NAME_MAX_BYTES]; /* "layer.3." or "" */
} drawing;

/* The weight as wide as in the whole model, for a graph whose weights nobody reads. Groups that do not fit are told as
 * F32. */
static zeb_weight whole_weight(const drawing *d, const zeb_weight *weight, const slot *at) {
    zeb_weight whole = *weight;
    whole.extent[0] = d->state->extent[at->rows];
    if (at->columns != ONE) whole.extent[1] = d->state->extent[at->columns];
    whole.data = d->state;
    if (whole.group > 0 && whole.extent[1] % whole.group != 0) {
        whole.dtype = ZEB_F32;
        whole.scale = NULL;
    }
    return whole;
}

static int32_t add_weight(drawing *d, const zeb_weight *weight, const slot *at) {
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
static int32_t add_linear(drawing *d, const zeb_weight *weight, const slot *at, const char *name, int32_t x,
                          int32_t residual, uint32_t activation, bool head) {
    zeb_node node = zeb_node_make(name, ZEB_OP_LINEAR);
    node.input[ZEB_LINEAR_X] = x;
    node.input[ZEB_LINEAR_W] = add_weight(d, weight, at);
    node.input[ZEB_LINEAR_BIAS] = add_weight(d, weight + 1, at + 1);
    node.input[ZEB_LINEAR_RESIDUAL] = residual;
    node.attr.linear = (zeb_linear_attr){.activation = activation, .precision = precision_of(d, weight, head)};
    return add_node(d, &node, name);
}

static int32_t add_norm(drawing *d, const zeb_weight *weight, const slot *at, const char *name, int32_t x) {
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
    node.input[ZEB_EMBED_WORD] = add_weight(d, &weight[WORD], &outer_slot[WORD]);
    node.input[ZEB_EMBED_POSITION] = add_weight(d, &weight[POSITION], &outer_slot[POSITION]);
    node.input[ZEB_EMBED_TYPE] = add_weight(d, &weight[TYPE], &outer_slot[TYPE]);
    node.input[ZEB_EMBED_GAMMA] = add_weight(d, &weight[EMBED_GAMMA], &outer_slot[EMBED_GAMMA]);
    node.input[ZEB_EMBED_BETA] = add_weight(d, &weight[EMBED_BETA], &outer_slot[EMBED_BETA]);
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
    const slot *at = layer_slot;
    (void)snprintf(d->prefix, sizeof d->prefix, "layer.%d.", l);
    int32_t q = add_linear(d, &w[Q_W], &at[Q_W], "q", x, ZEB_NONE, ZEB_ACT_NONE, false);
    int32_t k = add_linear(d, &w[K_W], &at[K_W], "k", x, ZEB_NONE, ZEB_ACT_NONE, false);
    int32_t v = add_linear(d, &w[V_W], &at[V_W], "v", x, ZEB_NONE, ZEB_ACT_NONE, false);
    int32_t context = add_attention(d, l, q, k, v);
    int32_t y = add_linear(d, &w[OUTPUT_W], &at[OUTPUT_W], "output", context, x, ZEB_ACT_NONE, false);
    y = add_norm(d, &w[NORM1_GAMMA], &at[NORM1_GAMMA], "norm1", y);
    int32_t wide = add_linear(d, &w[IN_W], &at[IN_W], "ffn.in", y, ZEB_NONE, d->state->activation, false);
    y = add_linear(d, &w[OUT_W], &at[OUT_W], "ffn.out", wide, y, ZEB_ACT_NONE, false);
    return add_norm(d, &w[NORM2_GAMMA], &at[NORM2_GAMMA], "norm2", y);
}

static int32_t add_head(drawing *d, int32_t x) {
    const zeb_weight *w = d->state->outer;
    const slot *at = outer_slot;
    d->prefix[0] = '\0';
    zeb_node node = zeb_node_make("pool", ZEB_OP_POOL);
    node.input[ZEB_POOL_X] = x;
    node.attr.pool.kind = ZEB_POOL_FIRST;
    int32_t first = add_node(d, &node, "pool");
    first = add_linear(d, &w[POOLER_W], &at[POOLER_W], "pooler", first, ZEB_NONE, ZEB_ACT_TANH, true);
    return add_linear(d, &w[CLASSIFIER_W], &at[CLASSIFIER_W], "logits", first, ZEB_NONE, ZEB_ACT_NONE, true);
}

/* A quantised checkpoint runs in the precision that it is made for and in no other, whatever was asked: a row must not
 * claim an arithmetic that did not happen. Of float weights, 4 bits need columns in whole groups. */
static zeb_status check_precision(const zeb_model *model, uint32_t precision, zeb_error *error) {
    const bert *state = model->state;
    bool four = precision == ZEB_PRECISION_W4A8 || precision == ZEB_PRECISION_W4A16;
    const char *made_for = state->four ? "w4a8 or w4a16" : state->eight ? "w8a8" : NULL;
    if (precision > ZEB_PRECISION_W4A16) return zeb_fail(error, ZEB_ERR_ARGUMENT, "precision %u is unknown", precision);
    if (made_for != NULL && !(state->four ? four : precision == ZEB_PRECISION_W8A8))
        return zeb_fail(error, ZEB_ERR_UNSUPPORTED, "%s: its weights are quantised (%s): ask for precision %s",
                        zeb_checkpoint_path(model->checkpoint), model->info.dtype, made_for);
    for (int32_t l = 0; made_for == NULL && four && l < model->info.layers; l++) {
        int64_t width = extent_of(model, state, l, WIDTH), ffn = state->layer[l].ffn;
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

const zeb_family zeb_family_bert = {.model_type = "bert", .open = bert_open, .graph = bert_graph};
