/* Any bytes as a text or a pair: the first byte chooses among three tokenizers and whether there is a second text (all
 * behind the first 0xFF, which no UTF-8 holds), the second byte is the most ids. With the first byte's top bit the rest
 * is a vocabulary instead. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"
#include "tokenizers/tokenizer.h"

#define VOCABULARY ZEB_SOURCE_DIR "/tests/unit/tokenizers/vocab/vocab.txt"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { TOKENIZERS = 3 };
static const char *const option[TOKENIZERS] = {"{}", "{\"do_lower_case\": false}",
                                               "{\"strip_accents\": false, \"tokenize_chinese_chars\": false}"};
static zeb_tokenizer *tokenizer[TOKENIZERS];
static char folder[64] = "/tmp/zeb-fuzz-wordpiece-XXXXXX", vocabulary[96], config[96];

static void must(int holds) {
    if (!holds) __builtin_trap();
}

static void put(const char *path, const void *bytes, size_t size) {
    (void)unlink(path);
    FILE *file = fopen(path, "wb");
    must(file != NULL);
    must(fwrite(bytes, 1, size, file) == size && fclose(file) == 0);
}

static void clean_up(void) {
    for (int i = 0; i < TOKENIZERS; i++)
        zeb_tokenizer_close(tokenizer[i]);
    (void)unlink(vocabulary);
    (void)unlink(config);
    (void)rmdir(folder);
}

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    (void)argc;
    (void)argv;
    zeb_error error = {{0}};
    must(mkdtemp(folder) != NULL);
    (void)snprintf(vocabulary, sizeof vocabulary, "%s/vocab.txt", folder);
    (void)snprintf(config, sizeof config, "%s/tokenizer_config.json", folder);
    must(symlink(VOCABULARY, vocabulary) == 0 && atexit(clean_up) == 0);
    for (int i = 0; i < TOKENIZERS; i++) {
        put(config, option[i], strlen(option[i]));
        must(zeb_tokenizer_open(folder, &tokenizer[i], &error) == ZEB_OK);
    }
    must(unlink(config) == 0);
    return 0;
}

static void open_vocabulary(const uint8_t *data, size_t size) {
    zeb_error error = {{0}};
    zeb_tokenizer *made = NULL;
    put(vocabulary, data, size);
    zeb_status status = zeb_tokenizer_open(folder, &made, &error);
    must((status == ZEB_OK) == (made != NULL) && (status == ZEB_OK) == (error.text[0] == '\0'));
    if (made != NULL) must(zeb_tokenizer_token_id(made, "[SEP]") < zeb_tokenizer_vocab_size(made));
    zeb_tokenizer_close(made);
}

static void check(const zeb_tokenizer *t, const zeb_encoding *e, int32_t most, int pair) {
    int32_t sep = zeb_tokenizer_token_id(t, "[SEP]");
    must(e->length >= (pair ? 3 : 2) && e->length <= most);
    must(e->id[0] == zeb_tokenizer_token_id(t, "[CLS]") && e->id[e->length - 1] == sep);
    must(!e->truncated || e->length == most);
    for (int32_t i = 0; i < e->length; i++) {
        must(e->id[i] >= 0 && e->id[i] < zeb_tokenizer_vocab_size(t));
        must(e->type[i] >= (i > 0 ? e->type[i - 1] : 0) && e->type[i] <= pair);
    }
    must(e->type[e->length - 1] == pair);
}

static void encode(const zeb_tokenizer *t, const char *a, size_t a_length, const char *b, size_t b_length,
                   int32_t most) {
    zeb_error error = {{0}};
    zeb_arena *arena;
    zeb_encoding encoding;
    must(zeb_arena_create(&arena, &error) == ZEB_OK);
    zeb_status status = zeb_tokenizer_encode(t, a, a_length, b, b_length, most, arena, &encoding, &error);
    int valid = zeb_text_utf8_valid(a, a_length, NULL) && (b == NULL || zeb_text_utf8_valid(b, b_length, NULL));
    if (status == ZEB_OK)
        check(t, &encoding, most, b != NULL);
    else
        must(status == ZEB_ERR_ARGUMENT ? most < (b != NULL ? 3 : 2) : status == ZEB_ERR_FORMAT && !valid);
    must((status == ZEB_OK) == (error.text[0] == '\0'));
    zeb_arena_destroy(arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 2) return 0;
    if (data[0] >= 128) {
        open_vocabulary(data + 1, size - 1);
        return 0;
    }
    const char *a = (const char *)data + 2, *end = (const char *)data + size;
    const char *cut = data[0] >= 64 ? memchr(a, 0xFF, size - 2) : NULL;
    size_t a_length = (size_t)((cut != NULL ? cut : end) - a), b_length = cut != NULL ? (size_t)(end - cut - 1) : 0;
    encode(tokenizer[data[0] % TOKENIZERS], a, a_length, cut != NULL ? cut + 1 : NULL, b_length, data[1]);
    return 0;
}
