/* The same ids as Hugging Face tokenizers; scripts/golden/make_wordpiece.py wrote what is compared with. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "fixture.h"
#include "tokenizers/tokenizer.h"

#define HERE ZEB_SOURCE_DIR "/tests/unit/tokenizers"
#define DATA ZEB_SOURCE_DIR "/../shared/data"

enum { LINES_MAX = 256, NASTY_PAIR_MAX = 12, GLUE_PAIR_MAX = 64 };

/* Cuts text into lines in place; the last may lack its end. */
static size_t split_lines(char *text, char *line[], size_t capacity) {
    size_t count = 0;
    for (char *at = text; at != NULL && *at != '\0';) {
        assert_true(count < capacity);
        line[count++] = at;
        at = strchr(at, '\n');
        if (at != NULL) *at++ = '\0';
    }
    return count;
}

static size_t put_utf8(unsigned long c, char *out) {
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    size_t length = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (size_t i = length - 1; i > 0; i--, c >>= 6)
        out[i] = (char)(0x80 | (c & 0x3F));
    out[0] = (char)((length == 2 ? 0xC0 : length == 3 ? 0xE0 : 0xF0) | c);
    return length;
}

/* \u{HEX} and \\ in place; the text may then hold NULs. */
static size_t unescape(char *text) {
    size_t length = 0;
    for (const char *at = text; *at != '\0';) {
        if (at[0] == '\\' && at[1] == 'u') {
            char *end;
            length += put_utf8(strtoul(at + 3, &end, 16), text + length);
            assert_int_equal(*end, '}');
            at = end + 1;
        } else {
            at += at[0] == '\\';
            text[length++] = *at++;
        }
    }
    return length;
}

/* Compares with "id id:1 ..."; the line's number is for the message. */
static void assert_ids(const char *golden, const zeb_encoding *encoding, const char *config, size_t line) {
    int32_t i = 0;
    for (const char *at = golden; *at != '\0'; i++) {
        char *end;
        long id = strtol(at, &end, 10), type = 0;
        if (*end == ':') type = strtol(end + 1, &end, 10);
        if (i >= encoding->length || encoding->id[i] != id || encoding->type[i] != type)
            fail_msg("%s, line %zu, token %d of %d: wanted %ld:%ld, got %d:%d", config, line + 1, i, encoding->length,
                     id, type, i < encoding->length ? encoding->id[i] : -1,
                     i < encoding->length ? encoding->type[i] : -1);
        at = *end == ' ' ? end + 1 : end;
    }
    if (i != encoding->length)
        fail_msg("%s, line %zu: wanted %d tokens, got %d", config, line + 1, i, encoding->length);
}

static void write_config(const char *folder, const char *config) {
    static const char *const word[] = {"false", "true", "null"};
    char json[256];
    assert_int_equal(strlen(config), 5);
    int length =
        snprintf(json, sizeof json, "{\"do_lower_case\": %s, \"strip_accents\": %s, \"tokenize_chinese_chars\": %s}",
                 word[config[0] - '0'], word[config[2] - '0'], word[config[4] - '0']);
    fixture_write(folder, "tokenizer_config.json", json, (size_t)length);
}

static void nasty_lines_give_the_reference_ids(void **state) {
    (void)state;
    char folder[64], *line[LINES_MAX], *golden[LINES_MAX * 8];
    size_t size, length[LINES_MAX];
    char *text = fixture_read(HERE "/nasty.txt", &size), *wanted = fixture_read(HERE "/nasty.golden", &size);
    char *vocabulary = fixture_read(HERE "/vocab/vocab.txt", &size);
    assert_true(text != NULL && wanted != NULL && vocabulary != NULL);
    size_t lines = split_lines(text, line, LINES_MAX), goldens = split_lines(wanted, golden, LINES_MAX * 8);
    assert_true(lines > 60);
    assert_int_equal(goldens % (2 * lines + 1), 0);
    assert_int_equal(goldens / (2 * lines + 1), 4);
    for (size_t i = 0; i < lines; i++)
        length[i] = unescape(line[i]);
    fixture_folder(folder, sizeof folder);
    fixture_write(folder, "vocab.txt", vocabulary, size);
    for (size_t at = 0; at < goldens;) {
        zeb_error error = {{0}};
        zeb_tokenizer *tokenizer;
        zeb_arena *arena;
        zeb_encoding encoding;
        const char *config = golden[at++];
        write_config(folder, config);
        if (zeb_tokenizer_open(folder, &tokenizer, &error) != ZEB_OK) fail_msg("%s", error.text);
        assert_int_equal(zeb_arena_create(&arena, &error), ZEB_OK);
        for (size_t i = 0; i < lines; i++) {
            size_t next = (i + 1) % lines;
            assert_int_equal(
                zeb_tokenizer_encode(tokenizer, line[i], length[i], NULL, 0, INT32_MAX, arena, &encoding, &error),
                ZEB_OK);
            assert_false(encoding.truncated);
            assert_ids(golden[at++], &encoding, config, i);
            assert_int_equal(zeb_tokenizer_encode(tokenizer, line[i], length[i], line[next], length[next],
                                                  NASTY_PAIR_MAX, arena, &encoding, &error),
                             ZEB_OK);
            assert_ids(golden[at++], &encoding, config, i);
        }
        zeb_arena_destroy(arena);
        zeb_tokenizer_close(tokenizer);
    }
    fixture_remove(folder);
    free(text);
    free(wanted);
    free(vocabulary);
}

/* All ids of one file, to be hashed. */
typedef struct stream {
    int32_t *id;
    size_t count, capacity, texts;
} stream;

static void encode_into(stream *s, const zeb_tokenizer *tokenizer, const char *a, size_t a_length, const char *b,
                        size_t b_length) {
    zeb_error error = {{0}};
    zeb_arena *arena;
    zeb_encoding encoding;
    assert_int_equal(zeb_arena_create(&arena, &error), ZEB_OK);
    if (zeb_tokenizer_encode(tokenizer, a, a_length, b, b_length, b != NULL ? GLUE_PAIR_MAX : INT32_MAX, arena,
                             &encoding, &error) != ZEB_OK)
        fail_msg("%s", error.text);
    if (s->count + (size_t)encoding.length > s->capacity) {
        s->capacity = 2 * (s->count + (size_t)encoding.length);
        s->id = realloc(s->id, s->capacity * sizeof *s->id);
        assert_non_null(s->id);
    }
    memcpy(s->id + s->count, encoding.id, (size_t)encoding.length * sizeof *s->id);
    s->count += (size_t)encoding.length;
    s->texts++;
    zeb_arena_destroy(arena);
}

/* Every field of a line alone, then its first and last as a pair. */
static void encode_line(stream *s, const zeb_tokenizer *tokenizer, const char *line, size_t length) {
    if (length > 0 && line[length - 1] == '\r') length--;
    const char *end = line + length, *last = line, *tab = memchr(line, '\t', length);
    size_t first_length = tab != NULL ? (size_t)(tab - line) : length;
    for (;; last = tab + 1) {
        tab = memchr(last, '\t', (size_t)(end - last));
        encode_into(s, tokenizer, last, (size_t)((tab != NULL ? tab : end) - last), NULL, 0);
        if (tab == NULL) break;
    }
    encode_into(s, tokenizer, line, first_length, last, (size_t)(end - last));
}

/* "name texts ids sha256", separated by tabs. */
static void check_file(const zeb_tokenizer *tokenizer, const char *golden) {
    char name[128], hash[ZEB_SHA256_HEX], got[ZEB_SHA256_HEX], path[512];
    size_t texts, ids, size;
    stream s = {0};
    assert_int_equal(sscanf(golden, "%127[^\t]\t%zu\t%zu\t%64s", name, &texts, &ids, hash), 4);
    (void)snprintf(path, sizeof path, DATA "/%s", name);
    char *bytes = fixture_read(path, &size), *at = bytes;
    if (bytes == NULL) fail_msg("%s: missing, while the rest of the data is there", path);
    for (char *end = bytes + size;; at++) {
        char *stop = memchr(at, '\n', (size_t)(end - at));
        encode_line(&s, tokenizer, at, (size_t)((stop != NULL ? stop : end) - at));
        if (stop == NULL) break;
        at = stop;
    }
    zeb_sha256(s.id, s.count * sizeof *s.id, got);
    if (s.texts != texts || s.count != ids || strcmp(hash, got) != 0)
        fail_msg("%s: %zu texts, %zu ids, %s; wanted %zu, %zu, %s", name, s.texts, s.count, got, texts, ids, hash);
    free(s.id);
    free(bytes);
}

static void all_glue_sentences_give_the_reference_ids(void **state) {
    (void)state;
    zeb_error error = {{0}};
    zeb_tokenizer *tokenizer;
    char *line[LINES_MAX];
    size_t size;
    if (!zeb_path_is_folder(DATA "/glue")) {
        print_message("SKIPPED: %s/glue is not here, so no GLUE sentence was compared\n", DATA);
        skip();
    }
    char *golden = fixture_read(HERE "/glue.golden", &size);
    assert_non_null(golden);
    if (zeb_tokenizer_open(DATA "/vocab/bert-base-uncased", &tokenizer, &error) != ZEB_OK) fail_msg("%s", error.text);
    assert_int_equal(zeb_tokenizer_vocab_size(tokenizer), 30522);
    size_t lines = split_lines(golden, line, LINES_MAX);
    assert_true(lines > 20);
    for (size_t i = 0; i < lines; i++)
        check_file(tokenizer, line[i]);
    zeb_tokenizer_close(tokenizer);
    free(golden);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nasty_lines_give_the_reference_ids),
        cmocka_unit_test(all_glue_sentences_give_the_reference_ids),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
