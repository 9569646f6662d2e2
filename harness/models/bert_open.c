/* A BERT checkpoint opened: its config read, its weights found and compared with it. */
#include <inttypes.h>
#include <string.h>

#include "models/bert.h"

static const char *const extent_name[BERT_EXTENT_KEYS] = {
    "hidden_size",     "intermediate_size", "vocab_size", "max_position_embeddings",
    "type_vocab_size", "num_labels",        "hidden_size"};

const zeb_bert_slot zeb_bert_outer[BERT_OUTER_COUNT] = {
    [BERT_WORD] = {"embeddings.word_embeddings.weight", "embed.word", BERT_VOCAB, BERT_HIDDEN, false},
    [BERT_POSITION] = {"embeddings.position_embeddings.weight", "embed.position", BERT_POSITIONS, BERT_HIDDEN, false},
    [BERT_TYPE] = {"embeddings.token_type_embeddings.weight", "embed.type", BERT_TYPES, BERT_HIDDEN, false},
    [BERT_EMBED_GAMMA] = {"embeddings.LayerNorm.weight", "embed.gamma", BERT_HIDDEN, BERT_ONE, false},
    [BERT_EMBED_BETA] = {"embeddings.LayerNorm.bias", "embed.beta", BERT_HIDDEN, BERT_ONE, false},
    [BERT_POOLER_W] = {"pooler.dense.weight", "pooler.weight", BERT_HIDDEN, BERT_HIDDEN, true},
    [BERT_POOLER_B] = {"pooler.dense.bias", "pooler.bias", BERT_HIDDEN, BERT_ONE, false},
    [BERT_CLASSIFIER_W] = {"classifier.weight", "classifier.weight", BERT_LABELS, BERT_HIDDEN, true},
    [BERT_CLASSIFIER_B] = {"classifier.bias", "classifier.bias", BERT_LABELS, BERT_ONE, false},
};

const zeb_bert_slot zeb_bert_layer_slot[BERT_LAYER_COUNT] = {
    [BERT_Q_W] = {"attention.self.query.weight", "q.weight", BERT_WIDTH, BERT_HIDDEN, true},
    [BERT_Q_B] = {"attention.self.query.bias", "q.bias", BERT_WIDTH, BERT_ONE, false},
    [BERT_K_W] = {"attention.self.key.weight", "k.weight", BERT_WIDTH, BERT_HIDDEN, true},
    [BERT_K_B] = {"attention.self.key.bias", "k.bias", BERT_WIDTH, BERT_ONE, false},
    [BERT_V_W] = {"attention.self.value.weight", "v.weight", BERT_WIDTH, BERT_HIDDEN, true},
    [BERT_V_B] = {"attention.self.value.bias", "v.bias", BERT_WIDTH, BERT_ONE, false},
    [BERT_OUTPUT_W] = {"attention.output.dense.weight", "output.weight", BERT_HIDDEN, BERT_WIDTH, true},
    [BERT_OUTPUT_B] = {"attention.output.dense.bias", "output.bias", BERT_HIDDEN, BERT_ONE, false},
    [BERT_NORM1_GAMMA] = {"attention.output.LayerNorm.weight", "norm1.gamma", BERT_HIDDEN, BERT_ONE, false},
    [BERT_NORM1_BETA] = {"attention.output.LayerNorm.bias", "norm1.beta", BERT_HIDDEN, BERT_ONE, false},
    [BERT_IN_W] = {"intermediate.dense.weight", "ffn.in.weight", BERT_FFN, BERT_HIDDEN, true},
    [BERT_IN_B] = {"intermediate.dense.bias", "ffn.in.bias", BERT_FFN, BERT_ONE, false},
    [BERT_OUT_W] = {"output.dense.weight", "ffn.out.weight", BERT_HIDDEN, BERT_FFN, true},
    [BERT_OUT_B] = {"output.dense.bias", "ffn.out.bias", BERT_HIDDEN, BERT_ONE, false},
    [BERT_NORM2_GAMMA] = {"output.LayerNorm.weight", "norm2.gamma", BERT_HIDDEN, BERT_ONE, false},
    [BERT_NORM2_BETA] = {"output.LayerNorm.bias", "norm2.beta", BERT_HIDDEN, BERT_ONE, false},
};

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

static zeb_status read_extents(zeb_model *model, zeb_bert *state, zeb_error *error) {
    const zeb_json *config = model->config;
    int64_t layers, heads, two = 2, *extent = state->extent;
    zeb_model_info *info = &model->info;
    zeb_status status = zeb_json_i64(config, "hidden_size", 1, 1 << 20, NULL, &extent[BERT_HIDDEN], error);
    if (status == ZEB_OK)
        status = zeb_json_i64(config, "intermediate_size", 1, 1 << 22, NULL, &extent[BERT_FFN], error);
    if (status == ZEB_OK) status = zeb_json_i64(config, "vocab_size", 1, 1 << 26, NULL, &extent[BERT_VOCAB], error);
    if (status == ZEB_OK)
        status = zeb_json_i64(config, "max_position_embeddings", 1, 1 << 24, NULL, &extent[BERT_POSITIONS], error);
    if (status == ZEB_OK)
        status = zeb_json_i64(config, "type_vocab_size", 1, 1 << 20, &two, &extent[BERT_TYPES], error);
    if (status == ZEB_OK) status = zeb_json_i64(config, "num_hidden_layers", 1, 10000, NULL, &layers, error);
    if (status == ZEB_OK) status = zeb_json_i64(config, "num_attention_heads", 1, 1 << 20, NULL, &heads, error);
    if (status != ZEB_OK) return status;
    if (extent[BERT_HIDDEN] % heads != 0)
        return zeb_fail(error, ZEB_ERR_FORMAT,
                        "%s: \"hidden_size\" %" PRId64 " is no multiple of \"num_attention_heads\" %" PRId64,
                        zeb_json_path(config), extent[BERT_HIDDEN], heads);
    extent[BERT_LABELS] = info->labels;
    extent[BERT_WIDTH] = extent[BERT_HIDDEN];
    info->layers = (int32_t)layers;
    info->heads = (int32_t)heads;
    info->hidden = (int32_t)extent[BERT_HIDDEN];
    info->ffn = (int32_t)extent[BERT_FFN];
    info->vocab = (int32_t)extent[BERT_VOCAB];
    info->position_max = (int32_t)extent[BERT_POSITIONS];
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

static zeb_status read_layers(zeb_model *model, zeb_bert *state, zeb_error *error) {
    void *memory;
    zeb_status status =
        zeb_arena_alloc(model->arena, (size_t)model->info.layers, sizeof(zeb_bert_layer), &memory, error);
    if (status != ZEB_OK) return status;
    state->layer = memory;
    for (int32_t l = 0; l < model->info.layers && status == ZEB_OK; l++) {
        zeb_bert_layer *layer = &state->layer[l];
        status = read_left(model, "layer_heads", l, model->info.heads, &layer->heads, error);
        if (status == ZEB_OK) status = read_left(model, "layer_ffn", l, state->extent[BERT_FFN], &layer->ffn, error);
    }
    return status;
}

static zeb_status read_config(zeb_model *model, zeb_bert *state, zeb_error *error) {
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

int64_t zeb_bert_extent_of(const zeb_model *model, const zeb_bert *state, int32_t l, zeb_bert_extent key) {
    if (l >= 0 && key == BERT_FFN) return state->layer[l].ffn;
    if (l >= 0 && key == BERT_WIDTH) return state->layer[l].heads * (model->info.hidden / model->info.heads);
    return state->extent[key];
}

/* The config's key for it. */
static const char *key_of(const zeb_model *model, zeb_bert_extent key) {
    if (key == BERT_FFN && zeb_json_has(model->config, "layer_ffn")) return "layer_ffn";
    if (key == BERT_WIDTH && zeb_json_has(model->config, "layer_heads")) return "layer_heads";
    return extent_name[key];
}

static zeb_status find_slot(zeb_model *model, zeb_bert *state, const zeb_bert_slot *at, int32_t layer,
                            zeb_weight *weight, zeb_error *error) {
    char path[SPELLING_MAX], text[SPELLINGS][SPELLING_MAX];
    const char *name[SPELLINGS + 1];
    if (layer < 0)
        (void)snprintf(path, sizeof path, "%s", at->stored);
    else
        (void)snprintf(path, sizeof path, "encoder.layer.%d.%s", layer, at->stored);
    spell(path, text, name);
    bool vector = at->columns == BERT_ONE;
    zeb_weight_need need = {.name = name,
                            .rank = vector ? 1 : 2,
                            .extent = {zeb_bert_extent_of(model, state, layer, at->rows),
                                       vector ? 1 : zeb_bert_extent_of(model, state, layer, at->columns)},
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
    (void)snprintf(path, sizeof path, "encoder.layer.%d.%s", model->info.layers, zeb_bert_layer_slot[BERT_Q_W].stored);
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
static void describe_dtype(zeb_model *model, const zeb_bert *state) {
    int count[ZEB_U4 + 1] = {0}, kinds = 0;
    for (int32_t l = 0; l < model->info.layers; l++)
        for (int i = 0; i < BERT_LAYER_COUNT; i++)
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

zeb_status zeb_bert_open(zeb_model *model, zeb_error *error) {
    void *memory;
    zeb_status status = zeb_arena_alloc(model->arena, 1, sizeof(zeb_bert), &memory, error);
    if (status != ZEB_OK) return status;
    zeb_bert *state = memory;
    model->state = state;
    status = read_config(model, state, error);
    if (status == ZEB_OK) status = refuse_more_layers(model, error);
    for (int i = 0; i < BERT_OUTER_COUNT && status == ZEB_OK; i++)
        status = find_slot(model, state, &zeb_bert_outer[i], -1, &state->outer[i], error);
    for (int32_t l = 0; l < model->info.layers && status == ZEB_OK; l++)
        for (int i = 0; i < BERT_LAYER_COUNT && status == ZEB_OK; i++)
            status = find_slot(model, state, &zeb_bert_layer_slot[i], l, &state->layer[l].weight[i], error);
    if (status == ZEB_OK) describe_dtype(model, state);
    return status;
}
