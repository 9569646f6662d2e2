/* A tokenizer's files and options. */
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "tokenizers/tokenizer_internal.h"
#include "tokenizers/unicode.h"

static const struct {
    const char *key, *text;
    bool needed;
} special_table[SPECIAL_COUNT] = {
    [SPECIAL_UNK] = {"unk_token", "[UNK]", true},     [SPECIAL_CLS] = {"cls_token", "[CLS]", true},
    [SPECIAL_SEP] = {"sep_token", "[SEP]", true},     [SPECIAL_PAD] = {"pad_token", "[PAD]", false},
    [SPECIAL_MASK] = {"mask_token", "[MASK]", false},
};

/* "[SEP]", or an added token's object with "content". */
static zeb_status read_special(zeb_tokenizer *t, const zeb_json *config, size_t i, zeb_error *error) {
    const char *text = special_table[i].text;
    if (config != NULL && zeb_json_has(config, special_table[i].key)) {
        const json_t *value = json_object_get(zeb_json_root(config), special_table[i].key);
        text = json_string_value(json_is_object(value) ? json_object_get(value, "content") : value);
        if (text == NULL || text[0] == '\0')
            return zeb_fail(error, ZEB_ERR_FORMAT, "%s: \"%s\" is no token", zeb_json_path(config),
                            special_table[i].key);
    }
    t->special[i].length = strlen(text);
    return zeb_arena_copy(t->arena, text, t->special[i].length, &t->special[i].text, error);
}

/* Tokens that were added to the vocabulary, or that take blanks with them, would get other ids: refuse, don't guess. */
static zeb_status refuse_added(const zeb_tokenizer *t, const zeb_json *config, zeb_error *error) {
    static const char *const flags[] = {"lstrip", "rstrip", "single_word", "normalized"};
    json_t *added = json_object_get(zeb_json_root(config), "added_tokens_decoder");
    for (void *at = json_object_iter(added); at != NULL; at = json_object_iter_next(added, at)) {
        const json_t *token = json_object_iter_value(at);
        const char *text = json_string_value(json_object_get(token, "content"));
        bool known = false;
        for (size_t i = 0; i < SPECIAL_COUNT; i++)
            known |= text != NULL && strcmp(text, t->special[i].text) == 0;
        for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++)
            known &= !json_is_true(json_object_get(token, flags[i]));
        if (!known)
            return zeb_fail(error, ZEB_ERR_UNSUPPORTED,
                            "%s: \"added_tokens_decoder\": token \"%.60s\" is none of BERT's five plain special tokens",
                            zeb_json_path(config), text != NULL ? text : "");
    }
    return ZEB_OK;
}

static zeb_status check_class(const zeb_json *config, zeb_error *error) {
    static const char *const known[] = {"BertTokenizer",       "DistilBertTokenizer", "ElectraTokenizer",
                                        "MobileBertTokenizer", "TokenizersBackend",   "PreTrainedTokenizer"};
    const char *name;
    zeb_status status = zeb_json_text(config, "tokenizer_class", known[0], &name, error);
    if (status != ZEB_OK) return status;
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        size_t length = strlen(known[i]);
        if (strncmp(name, known[i], length) == 0 && (name[length] == '\0' || strcmp(name + length, "Fast") == 0))
            return ZEB_OK;
    }
    return zeb_fail(error, ZEB_ERR_UNSUPPORTED, "%s: \"tokenizer_class\" is \"%.60s\"; zeb knows BERT's WordPiece",
                    zeb_json_path(config), name);
}

static zeb_status read_options(zeb_tokenizer *t, const zeb_json *config, zeb_error *error) {
    const bool yes = true;
    bool basic;
    zeb_status status = check_class(config, error);
    if (status == ZEB_OK) status = zeb_json_bool(config, "do_basic_tokenize", &yes, &basic, error);
    if (status == ZEB_OK && !basic)
        status = zeb_fail(error, ZEB_ERR_UNSUPPORTED, "%s: \"do_basic_tokenize\" is false; zeb always splits words",
                          zeb_json_path(config));
    if (status == ZEB_OK) status = zeb_json_bool(config, "do_lower_case", &yes, &t->lower, error);
    if (status == ZEB_OK) status = zeb_json_bool(config, "strip_accents", &t->lower, &t->strip, error);
    if (status == ZEB_OK) status = zeb_json_bool(config, "tokenize_chinese_chars", &yes, &t->ideographs, error);
    return status;
}

/* Without the file: BERT's defaults. */
static zeb_status read_config(zeb_tokenizer *t, const char *folder, zeb_error *error) {
    zeb_json *config = NULL;
    char *path;
    t->lower = t->strip = t->ideographs = true;
    zeb_status status = zeb_path_join(t->arena, folder, "tokenizer_config.json", &path, error);
    if (status != ZEB_OK) return status;
    if (zeb_path_is_file(path)) status = zeb_json_open(path, &config, error);
    if (status == ZEB_OK && config != NULL) status = read_options(t, config, error);
    for (size_t i = 0; i < SPECIAL_COUNT && status == ZEB_OK; i++)
        status = read_special(t, config, i, error);
    if (status == ZEB_OK && config != NULL) status = refuse_added(t, config, error);
    zeb_json_close(config);
    return status;
}

static zeb_status read_vocabulary(zeb_tokenizer *t, const char *folder, zeb_error *error) {
    char *path;
    zeb_status status = zeb_path_join(t->arena, folder, "vocab.txt", &path, error);
    if (status != ZEB_OK) return status;
    if (!zeb_path_is_file(path))
        return zeb_fail(error, ZEB_ERR_NOT_FOUND, "%s: no such file; zeb reads a WordPiece vocabulary from vocab.txt",
                        path);
    status = zeb_vocabulary_open(path, &t->vocabulary, error);
    for (size_t i = 0; i < SPECIAL_COUNT && status == ZEB_OK; i++) {
        zeb_special *special = &t->special[i];
        special->id = zeb_vocabulary_id(&t->vocabulary, special->text, special->length);
        if (special->id >= 0)
            t->special_first[(unsigned char)special->text[0]] = true;
        else if (special_table[i].needed)
            status = zeb_fail(error, ZEB_ERR_FORMAT, "%s: the token \"%.60s\" is missing", path, special->text);
    }
    return status;
}

static void prepare_ascii(zeb_tokenizer *t) {
    for (uint32_t c = 0; c < 128; c++) {
        uint32_t lower[ZEB_UNICODE_OUT_MAX] = {c};
        t->ascii_flags[c] = (uint8_t)zeb_unicode_flags_of(c);
        if (t->lower && (t->ascii_flags[c] & ZEB_UNICODE_LOWER) != 0) (void)zeb_unicode_lower(c, lower);
        t->ascii_lower[c] = (uint8_t)lower[0];
    }
}

zeb_status zeb_tokenizer_open(const char *folder, zeb_tokenizer **tokenizer, zeb_error *error) {
    *tokenizer = NULL;
    zeb_tokenizer *made = calloc(1, sizeof *made);
    if (made == NULL) return zeb_fail(error, ZEB_ERR_MEMORY, "out of memory");
    zeb_status status = zeb_arena_create(&made->arena, error);
    if (status == ZEB_OK) status = read_config(made, folder, error);
    if (status == ZEB_OK) status = read_vocabulary(made, folder, error);
    prepare_ascii(made);
    if (status == ZEB_OK)
        *tokenizer = made;
    else
        zeb_tokenizer_close(made);
    return status;
}

void zeb_tokenizer_close(zeb_tokenizer *tokenizer) {
    if (tokenizer == NULL) return;
    zeb_vocabulary_close(&tokenizer->vocabulary);
    zeb_arena_destroy(tokenizer->arena);
    free(tokenizer);
}

int32_t zeb_tokenizer_vocab_size(const zeb_tokenizer *tokenizer) {
    return tokenizer->vocabulary.count;
}

int32_t zeb_tokenizer_token_id(const zeb_tokenizer *tokenizer, const char *token) {
    return zeb_vocabulary_id(&tokenizer->vocabulary, token, strlen(token));
}
