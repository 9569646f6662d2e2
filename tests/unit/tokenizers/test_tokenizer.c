/* What a tokenizer refuses, in which words, and how it truncates. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "fixture.h"
#include "tokenizers/tokenizer.h"

static const char vocabulary[] = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\nb\n##b\nab\n##ba\nc\n";
enum { PAD, UNK, CLS, SEP, MASK, A, B, REST_B, AB, REST_BA, C };

static char folder[64];

static int make_folder(void **state) {
    (void)state;
    fixture_folder(folder, sizeof folder);
    fixture_write(folder, "vocab.txt", vocabulary, sizeof vocabulary - 1);
    return 0;
}

static int remove_folder(void **state) {
    (void)state;
    fixture_remove(folder);
    return 0;
}

/* Opening must fail so, with every one of the words in the sentence. */
static void assert_refused(zeb_status status, const char *first, const char *second) {
    zeb_error error = {{0}};
    zeb_tokenizer *tokenizer;
    assert_int_equal(zeb_tokenizer_open(folder, &tokenizer, &error), status);
    assert_null(tokenizer);
    if (strstr(error.text, first) == NULL || strstr(error.text, second) == NULL)
        fail_msg("'%s' does not speak of '%s' and '%s'", error.text, first, second);
}

static void set_vocabulary(const char *text) {
    fixture_write(folder, "vocab.txt", text, strlen(text));
}

static void set_config(const char *text) {
    fixture_write(folder, "tokenizer_config.json", text, text != NULL ? strlen(text) : 0);
}

static void bad_vocabularies_are_refused(void **state) {
    (void)state;
    set_vocabulary("[UNK]\n[CLS]\n[SEP]\nx\n##x\ny\nx\n");
    assert_refused(ZEB_ERR_FORMAT, "\"x\"", "line 4 and again on line 7");
    set_vocabulary("[UNK]\n[CLS]\n[SEP]\n##x\nx\r\n##x\n");
    assert_refused(ZEB_ERR_FORMAT, "\"##x\"", "line 4 and again on line 6");
    set_vocabulary("[UNK]\n[CLS]\n[SEP]\n\na\n\n");
    assert_refused(ZEB_ERR_FORMAT, "\"\"", "line 4 and again on line 6");
    set_vocabulary("[CLS]\n[SEP]\na\n");
    assert_refused(ZEB_ERR_FORMAT, "[UNK]", "vocab.txt");
    set_vocabulary("[UNK]\n[SEP]\na\n");
    assert_refused(ZEB_ERR_FORMAT, "[CLS]", "missing");
    set_vocabulary("[UNK]\n[CLS]\na\n");
    assert_refused(ZEB_ERR_FORMAT, "[SEP]", "missing");
    set_vocabulary("");
    assert_refused(ZEB_ERR_FORMAT, "vocab.txt", "empty");
    set_vocabulary("[UNK]\n[CLS]\n[SEP]\n\xff\n");
    assert_refused(ZEB_ERR_FORMAT, "invalid UTF-8", "byte 18");
    fixture_write(folder, "vocab.txt", NULL, 0);
    assert_refused(ZEB_ERR_NOT_FOUND, "vocab.txt", "no such file");
}

static void bad_configs_are_refused(void **state) {
    (void)state;
    set_config("{\"do_lower_case\": 1}");
    assert_refused(ZEB_ERR_FORMAT, "tokenizer_config.json", "do_lower_case");
    set_config("{\"do_basic_tokenize\": false}");
    assert_refused(ZEB_ERR_UNSUPPORTED, "tokenizer_config.json", "do_basic_tokenize");
    set_config("{\"tokenizer_class\": \"RobertaTokenizer\"}");
    assert_refused(ZEB_ERR_UNSUPPORTED, "RobertaTokenizer", "WordPiece");
    set_config("{\"sep_token\": 3}");
    assert_refused(ZEB_ERR_FORMAT, "sep_token", "no token");
    set_config("{\"cls_token\": \"<s>\"}");
    assert_refused(ZEB_ERR_FORMAT, "<s>", "missing");
    set_config("{\"added_tokens_decoder\": {\"11\": {\"content\": \"[NEW]\"}}}");
    assert_refused(ZEB_ERR_UNSUPPORTED, "[NEW]", "added_tokens_decoder");
    set_config("{\"added_tokens_decoder\": {\"4\": {\"content\": \"[MASK]\", \"lstrip\": true}}}");
    assert_refused(ZEB_ERR_UNSUPPORTED, "[MASK]", "plain");
    set_config("{\"do_lower_case\": true");
    assert_refused(ZEB_ERR_FORMAT, "tokenizer_config.json", "line 1");
    set_config(NULL);
}

/* One text or pair with the folder's tokenizer; the ids must be wanted[count]. */
static void assert_encoded(const char *a, const char *b, int32_t most, const int32_t *wanted, int32_t count,
                           bool truncated) {
    zeb_error error = {{0}};
    zeb_tokenizer *tokenizer;
    zeb_arena *arena;
    zeb_encoding encoding;
    if (zeb_tokenizer_open(folder, &tokenizer, &error) != ZEB_OK) fail_msg("%s", error.text);
    assert_int_equal(zeb_arena_create(&arena, &error), ZEB_OK);
    if (zeb_tokenizer_encode(tokenizer, a, strlen(a), b, b != NULL ? strlen(b) : 0, most, arena, &encoding, &error) !=
        ZEB_OK)
        fail_msg("%s", error.text);
    assert_int_equal(encoding.length, count);
    assert_memory_equal(encoding.id, wanted, (size_t)count * sizeof *wanted);
    assert_int_equal(encoding.truncated, truncated);
    int32_t second = 0; /* types: 0 up to the first [SEP] of a pair, then 1 */
    for (int32_t i = 0; i < count; i++) {
        assert_int_equal(encoding.type[i], second);
        if (b != NULL && encoding.id[i] == SEP) second = 1;
    }
    zeb_arena_destroy(arena);
    zeb_tokenizer_close(tokenizer);
}

#define WANT(...) (const int32_t[]){__VA_ARGS__}, (int32_t)(sizeof((const int32_t[]){__VA_ARGS__}) / sizeof(int32_t))

static void words_become_their_longest_pieces(void **state) {
    (void)state;
    assert_encoded("abba A b", NULL, 512, WANT(CLS, AB, REST_BA, A, B, SEP), false);
    assert_encoded("ba", NULL, 512, WANT(CLS, UNK, SEP), false); /* no "##a" */
    assert_encoded("", NULL, 512, WANT(CLS, SEP), false);
    assert_encoded("a", "", 512, WANT(CLS, A, SEP, SEP), false);
    assert_encoded("c[MASK]c [pad]", NULL, 512, WANT(CLS, C, MASK, C, UNK, UNK, UNK, SEP), false);
}

static void options_change_what_is_seen(void **state) {
    (void)state;
    assert_encoded("A \xc3\xa4", NULL, 512, WANT(CLS, A, A, SEP), false);
    set_config("{\"do_lower_case\": false}");
    assert_encoded("A \xc3\xa4", NULL, 512, WANT(CLS, UNK, UNK, SEP), false);
    set_config("{\"do_lower_case\": false, \"strip_accents\": true}");
    assert_encoded("A \xc3\xa4", NULL, 512, WANT(CLS, UNK, A, SEP), false);
    set_config("{\"mask_token\": {\"content\": \"c\"}, \"tokenizer_class\": \"BertTokenizerFast\"}");
    assert_encoded("acb", NULL, 512, WANT(CLS, A, C, B, SEP), false); /* a special token needs no word's end */
    set_config("{\"pad_token\": \"a\", \"mask_token\": \"ab\", \"unk_token\": \"[UNK]\"}");
    assert_encoded("cabac", NULL, 512, WANT(CLS, C, AB, A, C, SEP), false); /* of two at one place the longer */
    set_config("{\"pad_token\": \"ab\", \"mask_token\": \"a\"}");
    assert_encoded("cabac", NULL, 512, WANT(CLS, C, AB, A, C, SEP), false);
    set_config(NULL);
}

static void line_ends_may_be_dos(void **state) {
    (void)state;
    set_vocabulary("[PAD]\r\n[UNK]\r\n[CLS]\r\n[SEP]\r\n[MASK]\r\na\r\nb\r\n##b");
    assert_encoded("abb b a", NULL, 512, WANT(CLS, A, REST_B, REST_B, B, A, SEP), false);
}

static void the_longer_text_is_cut_first(void **state) {
    (void)state;
    assert_encoded("a b c", NULL, 4, WANT(CLS, A, B, SEP), true);
    assert_encoded("a b c", NULL, 5, WANT(CLS, A, B, C, SEP), false);
    assert_encoded("a b c", NULL, 2, WANT(CLS, SEP), true);
    assert_encoded("a b c a", "b", 6, WANT(CLS, A, B, SEP, B, SEP), true);
    assert_encoded("b", "a b c a", 6, WANT(CLS, B, SEP, A, B, SEP), true);
    assert_encoded("a b c", "c b a", 6, WANT(CLS, A, SEP, C, B, SEP), true);   /* an odd token goes to the second ... */
    assert_encoded("a b c a", "c b a", 6, WANT(CLS, A, B, SEP, C, SEP), true); /* ... or to the longer */
    assert_encoded("a b", "c", 3, WANT(CLS, SEP, SEP), true);
}

/* Encoding must fail so; most is the room for ids. */
static void assert_unencodable(zeb_status status, const char *a, size_t length, const char *b, int32_t most,
                               const char *word) {
    zeb_error error = {{0}};
    zeb_tokenizer *tokenizer;
    zeb_arena *arena;
    zeb_encoding encoding;
    assert_int_equal(zeb_tokenizer_open(folder, &tokenizer, &error), ZEB_OK);
    assert_int_equal(zeb_arena_create(&arena, &error), ZEB_OK);
    assert_int_equal(
        zeb_tokenizer_encode(tokenizer, a, length, b, b != NULL ? strlen(b) : 0, most, arena, &encoding, &error),
        status);
    if (strstr(error.text, word) == NULL) fail_msg("'%s' does not speak of '%s'", error.text, word);
    zeb_arena_destroy(arena);
    zeb_tokenizer_close(tokenizer);
}

static void broken_texts_are_refused(void **state) {
    (void)state;
    static const char *const broken[] = {"ab\x80",
                                         "ab\xc3",
                                         "ab\xc0\xaf",
                                         "ab\xed\xa0\x80",
                                         "ab\xf4\x90\x80\x80",
                                         "ab\xe2\x82",
                                         "ab\xf8\x88\x80\x80\x80",
                                         "ab\xff"};
    for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++)
        assert_unencodable(ZEB_ERR_FORMAT, broken[i], strlen(broken[i]), NULL, 512, "text a: invalid UTF-8 at byte 2");
    assert_unencodable(ZEB_ERR_FORMAT, "\xe2\x82\xac", 2, NULL, 512, "invalid UTF-8 at byte 0"); /* cut short */
    assert_unencodable(ZEB_ERR_FORMAT, "a", 1, "b\xff", 512, "text b: invalid UTF-8 at byte 1");
    assert_unencodable(ZEB_ERR_ARGUMENT, "a", 1, NULL, 1, "no room");
    assert_unencodable(ZEB_ERR_ARGUMENT, "a", 1, "b", 2, "no room");
    assert_unencodable(ZEB_ERR_ARGUMENT, "a", 1, "b", -5, "no room");
}

static void tokens_are_found_by_their_spelling(void **state) {
    (void)state;
    zeb_error error = {{0}};
    zeb_tokenizer *tokenizer;
    assert_int_equal(zeb_tokenizer_open(folder, &tokenizer, &error), ZEB_OK);
    assert_int_equal(zeb_tokenizer_vocab_size(tokenizer), C + 1);
    assert_int_equal(zeb_tokenizer_token_id(tokenizer, "##b"), REST_B);
    assert_int_equal(zeb_tokenizer_token_id(tokenizer, "b"), B);
    assert_int_equal(zeb_tokenizer_token_id(tokenizer, "[PAD]"), PAD);
    assert_int_equal(zeb_tokenizer_token_id(tokenizer, "##a"), -1);
    assert_int_equal(zeb_tokenizer_token_id(tokenizer, ""), -1);
    zeb_tokenizer_close(tokenizer);
    zeb_tokenizer_close(NULL);
}

#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)

int main(void) {
    const struct CMUnitTest tests[] = {
        IN_FOLDER(bad_vocabularies_are_refused),
        IN_FOLDER(bad_configs_are_refused),
        IN_FOLDER(words_become_their_longest_pieces),
        IN_FOLDER(options_change_what_is_seen),
        IN_FOLDER(line_ends_may_be_dos),
        IN_FOLDER(the_longer_text_is_cut_first),
        IN_FOLDER(broken_texts_are_refused),
        IN_FOLDER(tokens_are_found_by_their_spelling),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
