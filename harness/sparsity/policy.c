/* policy.json, read strictly: a misspelt key would silently mean "skip nothing". */
#include "sparsity/policy.h"

#include <jansson.h>
#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "graph/precision.h"
#include "sparsity/rules.h"

#define MODES "\"threshold\", \"relative\", \"topk\", \"ratio\""
static const double THRESHOLD_MAX = 1000.0; /* of numbers whose size is about 1: far above what is any use */

/* One file being read; `where` is what the key at hand belongs to ("" or "layers[2]."). */
typedef struct reading {
    zeb_policy *policy;
    const char *path;
    char where[48];
    zeb_error *error;
} reading;

static zeb_status bad(const reading *at, const char *key, const char *what) {
    return zeb_fail(at->error, ZEB_ERR_FORMAT, "%s: %s%s %s", at->path, at->where, key, what);
}

/* Every key of the object is one of those. */
static zeb_status check_keys(const reading *at, const json_t *object, const char *inside, const char *const *known) {
    const char *key;
    json_t *value;
    json_t *all = json_deep_copy(object); /* iteration wants a mutable one */
    zeb_status status = all != NULL ? ZEB_OK : zeb_fail(at->error, ZEB_ERR_MEMORY, "out of memory");
    json_object_foreach(all, key, value) {
        size_t i = 0;
        while (known[i] != NULL && strcmp(known[i], key) != 0)
            ++i;
        if (known[i] == NULL && status == ZEB_OK)
            status =
                zeb_fail(at->error, ZEB_ERR_FORMAT, "%s: %s%s has no key '%.60s'", at->path, at->where, inside, key);
    }
    json_decref(all);
    return status;
}

static const json_t *get(const json_t *object, const char *key) {
    const json_t *value = json_object_get(object, key);
    return json_is_null(value) ? NULL : value;
}

static zeb_status keep_text(const reading *at, const json_t *value, const char *key, const char **text) {
    char *copy = NULL;
    if (!json_is_string(value) || json_string_length(value) == 0) return bad(at, key, "must be text");
    zeb_status status =
        zeb_arena_copy(at->policy->arena, json_string_value(value), json_string_length(value), &copy, at->error);
    *text = copy;
    return status;
}

static zeb_status read_tokens(const reading *at, const json_t *tokens, zeb_select *select) {
    static const char *const known[] = {"mode", "value", NULL};
    if (tokens == NULL) return ZEB_OK;
    if (!json_is_object(tokens)) return bad(at, "tokens", "must be an object or null");
    zeb_status status = check_keys(at, tokens, "tokens", known);
    if (status != ZEB_OK) return status;
    const json_t *value = get(tokens, "value");
    const char *mode = json_string_value(get(tokens, "mode"));
    if (mode == NULL) return bad(at, "tokens.mode", "must be one of " MODES);
    if (!json_is_number(value)) return bad(at, "tokens.value", "must be a number");
    double number = json_number_value(value);
    select->value = (float)number;
    if (strcmp(mode, "threshold") == 0) {
        select->mode = ZEB_SELECT_THRESHOLD;
        return number >= 0.0 && number <= 1.0 ? ZEB_OK : bad(at, "tokens.value", "must be within 0 and 1");
    }
    if (strcmp(mode, "ratio") == 0) {
        select->mode = ZEB_SELECT_RATIO;
        return select->value > 0.0f && number <= 1.0 ? ZEB_OK
                                                     : bad(at, "tokens.value", "must be above 0 and at most 1");
    }
    if (strcmp(mode, "relative") == 0) {
        select->mode = ZEB_SELECT_RELATIVE;
        return number >= 0.0 && number <= THRESHOLD_MAX ? ZEB_OK : bad(at, "tokens.value", "must be within 0 and 1000");
    }
    if (strcmp(mode, "topk") != 0) return bad(at, "tokens.mode", "must be one of " MODES);
    select->mode = ZEB_SELECT_TOPK;
    select->value = 0.0f;
    if (!(number >= 1.0 && number <= (double)INT_MAX) || (double)(int32_t)number != number)
        return bad(at, "tokens.value", "must be a whole number of at least 1");
    select->count = (int32_t)number;
    return ZEB_OK;
}

static zeb_status read_heads_kept(const reading *at, const json_t *keep, bool first, zeb_layer_rule *rule) {
    if (first) return bad(at, "heads.keep", "comes too early: heads are told by what they gave in the layers before");
    if (!json_is_integer(keep) || json_integer_value(keep) < 1 || json_integer_value(keep) > INT_MAX)
        return bad(at, "heads.keep", "must be a whole number of at least 1");
    rule->heads_kept = (int32_t)json_integer_value(keep);
    if (rule[-1].heads_kept > 0 && rule->heads_kept > rule[-1].heads_kept)
        return bad(at, "heads.keep", "must be no more than the layer before keeps: dropped heads don't come back");
    return ZEB_OK;
}

static zeb_status read_heads(const reading *at, const json_t *heads, zeb_layer_rule *rule) {
    static const char *const known[] = {"weight", "bias", NULL}, *const only[] = {"keep", NULL};
    bool first = rule == at->policy->rule;
    if (!first && rule[-1].heads_kept > 0 && (heads == NULL || get(heads, "keep") == NULL))
        return bad(at, "heads.keep", "must be there: the layer before drops heads, and they don't come back");
    if (heads == NULL) return ZEB_OK;
    if (!json_is_object(heads)) return bad(at, "heads", "must be an object or null");
    zeb_status status = check_keys(at, heads, "heads", get(heads, "keep") != NULL ? only : known);
    if (status == ZEB_OK && get(heads, "keep") != NULL) return read_heads_kept(at, get(heads, "keep"), first, rule);
    if (status == ZEB_OK) status = keep_text(at, get(heads, "weight"), "heads.weight", &rule->gate_weight);
    if (status == ZEB_OK) status = keep_text(at, get(heads, "bias"), "heads.bias", &rule->gate_bias);
    return status;
}

static zeb_status read_ffn(const reading *at, const json_t *ffn, zeb_blocks_attr *blocks) {
    static const char *const known[] = {"block", "threshold", NULL};
    if (ffn == NULL) return ZEB_OK;
    if (!json_is_object(ffn)) return bad(at, "ffn", "must be an object or null");
    zeb_status status = check_keys(at, ffn, "ffn", known);
    if (status != ZEB_OK) return status;
    const json_t *block = get(ffn, "block"), *threshold = get(ffn, "threshold");
    if (!json_is_integer(block) || json_integer_value(block) < 1 || json_integer_value(block) > INT_MAX)
        return bad(at, "ffn.block", "must be a whole number of at least 1");
    double value = json_is_number(threshold) ? json_number_value(threshold) : -1.0;
    *blocks = (zeb_blocks_attr){.size = (int32_t)json_integer_value(block), .threshold = (float)value};
    return value >= 0.0 && value <= THRESHOLD_MAX ? ZEB_OK
                                                  : bad(at, "ffn.threshold", "must be a number within 0 and 1000");
}

static zeb_status read_exit(const reading *at, const json_t *exit, zeb_layer_rule *rule) {
    static const char *const known[] = {"weight", "bias", "confidence", NULL};
    if (exit == NULL) return ZEB_OK;
    if (!json_is_object(exit)) return bad(at, "exit", "must be an object or null");
    if (rule + 1 == at->policy->rule + at->policy->layers)
        return bad(at, "exit", "is behind the last layer, where there is nothing left to skip");
    zeb_status status = check_keys(at, exit, "exit", known);
    if (status == ZEB_OK) status = keep_text(at, get(exit, "weight"), "exit.weight", &rule->exit_weight);
    if (status == ZEB_OK) status = keep_text(at, get(exit, "bias"), "exit.bias", &rule->exit_bias);
    if (status != ZEB_OK) return status;
    const json_t *confidence = get(exit, "confidence");
    rule->confidence = json_is_number(confidence) ? (float)json_number_value(confidence) : 0.0f;
    return rule->confidence > 0.0f && rule->confidence <= 1.0f
               ? ZEB_OK
               : bad(at, "exit.confidence", "must be a number above 0 and at most 1");
}

static bool is_hash(const char *text) {
    return text != NULL && strlen(text) == 64 && strspn(text, "0123456789abcdef") == 64;
}

/* A file beside the policy: its path from where the program stands. */
static zeb_status read_weights(const reading *at, const json_t *weights) {
    static const char *const known[] = {"file", "sha256", NULL};
    zeb_policy *policy = at->policy;
    const char *name, *slash = strrchr(at->path, '/');
    char *path = NULL;
    if (weights == NULL) return ZEB_OK;
    if (!json_is_object(weights)) return bad(at, "weights", "must be an object or null");
    zeb_status status = check_keys(at, weights, "weights", known);
    if (status == ZEB_OK) status = keep_text(at, get(weights, "file"), "weights.file", &name);
    if (status == ZEB_OK) status = keep_text(at, get(weights, "sha256"), "weights.sha256", &policy->weights_sha256);
    if (status != ZEB_OK) return status;
    if (strchr(name, '/') != NULL) return bad(at, "weights.file", "must be the name of a file in the policy's folder");
    if (!is_hash(policy->weights_sha256)) return bad(at, "weights.sha256", "must be 64 hexadecimal digits");
    int folder = slash != NULL ? (int)(slash + 1 - at->path) : 0;
    status = zeb_arena_format(policy->arena, &path, at->error, "%.*s%s", folder, at->path, name);
    policy->weights = path;
    return status;
}

static zeb_status read_layer(const reading *at, const json_t *layer, zeb_layer_rule *rule) {
    static const char *const known[] = {"tokens", "score_threshold", "heads", "ffn", "exit", NULL};
    const json_t *threshold = get(layer, "score_threshold");
    zeb_status status = check_keys(at, layer, "", known);
    if (status == ZEB_OK) status = read_tokens(at, get(layer, "tokens"), &rule->tokens);
    if (status == ZEB_OK) status = read_heads(at, get(layer, "heads"), rule);
    if (status == ZEB_OK) status = read_ffn(at, get(layer, "ffn"), &rule->ffn);
    if (status == ZEB_OK) status = read_exit(at, get(layer, "exit"), rule);
    if (status != ZEB_OK) return status;
    if (threshold == NULL) return ZEB_OK;
    double value = json_is_number(threshold) ? json_number_value(threshold) : -1.0;
    rule->score_threshold = (float)value;
    return value >= 0.0 && value <= 1.0 ? ZEB_OK : bad(at, "score_threshold", "must be a number within 0 and 1");
}

static zeb_status read_layers(reading *at, const json_t *layers, int32_t floor, int32_t keep_last) {
    zeb_policy *policy = at->policy;
    void *memory = NULL;
    zeb_status status =
        zeb_arena_alloc(policy->arena, (size_t)policy->layers, sizeof *policy->rule, &memory, at->error);
    policy->rule = memory;
    for (int32_t l = 0; status == ZEB_OK && l < policy->layers; ++l) {
        const json_t *layer = json_array_get(layers, (size_t)l);
        (void)snprintf(at->where, sizeof at->where, "layers[%d]", l);
        if (!json_is_object(layer)) return bad(at, "", "must be an object");
        (void)snprintf(at->where, sizeof at->where, "layers[%d].", l);
        policy->rule[l].tokens = (zeb_select){.floor = floor, .keep_last = keep_last};
        status = read_layer(at, layer, &policy->rule[l]);
    }
    at->where[0] = '\0';
    return status;
}

static zeb_status read_precisions(const reading *at, const json_t *list) {
    if (list == NULL) return ZEB_OK;
    if (!json_is_array(list) || json_array_size(list) == 0) return bad(at, "precisions", "must be a list of names");
    for (size_t i = 0; i < json_array_size(list); ++i) {
        const char *name = json_string_value(json_array_get(list, i));
        uint32_t p = 0;
        while (name != NULL && zeb_precision_names[p] != NULL && strcmp(name, zeb_precision_names[p]) != 0)
            ++p;
        if (name == NULL || zeb_precision_names[p] == NULL)
            return bad(at, "precisions", "must be names of precisions: \"fp32\", \"bf16\", \"w8a8\", ...");
        at->policy->precisions |= 1u << p;
    }
    return ZEB_OK;
}

/* The policy is for this model and no other. */
static zeb_status check_model(const reading *at, const json_t *root, const char *sha256) {
    const json_t *value = get(root, "model_sha256");
    if (value == NULL) return ZEB_OK;
    const char *made_for = json_string_value(value);
    if (!is_hash(made_for)) return bad(at, "model_sha256", "must be 64 hexadecimal digits or null");
    if (sha256 == NULL || strcmp(made_for, sha256) == 0) return ZEB_OK;
    return zeb_fail(at->error, ZEB_ERR_ARGUMENT,
                    "%s was made for the model with SHA-256 %.12s..., but this model's is %.12s...: use the model it "
                    "came with, or make a policy for this one",
                    at->path, made_for, sha256);
}

static zeb_status read_root(reading *at, const zeb_json *json, const char *sha256, int32_t layers) {
    /* provenance: where it came from, for people; nothing in it is read */
    static const char *const known[] = {"schema",    "name",   "model_sha256", "weights",    "floor",
                                        "keep_last", "layers", "provenance",   "precisions", NULL};
    static const int64_t two = 2;
    static const bool no = false;
    const json_t *root = zeb_json_root(json), *list = get(root, "layers");
    const char *schema = NULL;
    int64_t floor = 2;
    bool keep_last = false;
    zeb_status status = zeb_json_text(json, "schema", NULL, &schema, at->error);
    if (status == ZEB_OK && strcmp(schema, "zeb-policy-1") != 0)
        return zeb_fail(at->error, ZEB_ERR_VERSION, "%s: schema is \"%.60s\", not \"zeb-policy-1\"", at->path, schema);
    if (status == ZEB_OK) status = check_keys(at, root, "the policy", known);
    if (status == ZEB_OK) status = keep_text(at, get(root, "name"), "name", &at->policy->name);
    if (status == ZEB_OK && strcmp(at->policy->name, "dense") == 0)
        return bad(at, "name", "must not be \"dense\": rows without a policy have that name");
    if (status == ZEB_OK) status = read_weights(at, get(root, "weights"));
    if (status == ZEB_OK) status = zeb_json_i64(json, "floor", 1, INT32_MAX, &two, &floor, at->error);
    if (status == ZEB_OK) status = zeb_json_bool(json, "keep_last", &no, &keep_last, at->error);
    if (status == ZEB_OK) status = read_precisions(at, get(root, "precisions"));
    if (status == ZEB_OK) status = check_model(at, root, sha256);
    if (status != ZEB_OK) return status;
    if (!json_is_array(list)) return bad(at, "layers", "must be a list");
    if (json_array_size(list) != (size_t)layers)
        return zeb_fail(at->error, ZEB_ERR_ARGUMENT, "%s: layers has %zu entries, but the model has %d layers",
                        at->path, json_array_size(list), layers);
    at->policy->layers = layers;
    return read_layers(at, list, (int32_t)floor, keep_last);
}

zeb_status zeb_policy_open(const char *path, const char *model_sha256, int32_t layers, zeb_policy **out,
                           zeb_error *error) {
    zeb_json *json = NULL;
    *out = NULL;
    zeb_policy *policy = calloc(1, sizeof *policy);
    if (policy == NULL) return zeb_fail(error, ZEB_ERR_MEMORY, "out of memory for a policy");
    reading at = {.policy = policy, .path = path, .error = error};
    zeb_status status = zeb_arena_create(&policy->arena, error);
    if (status == ZEB_OK) status = zeb_json_open(path, &json, error);
    if (status == ZEB_OK) status = read_root(&at, json, model_sha256, layers);
    zeb_json_close(json);
    if (status == ZEB_OK)
        *out = policy;
    else
        zeb_policy_close(policy);
    return status;
}

void zeb_policy_close(zeb_policy *policy) {
    if (policy == NULL) return;
    zeb_arena_destroy(policy->arena);
    free(policy);
}

uint32_t zeb_policy_precisions(const zeb_policy *policy) {
    return policy->precisions;
}

const char *zeb_policy_name(const zeb_policy *policy) {
    return policy->name;
}

const char *zeb_policy_weights(const zeb_policy *policy, const char **sha256) {
    *sha256 = policy->weights_sha256;
    return policy->weights;
}
