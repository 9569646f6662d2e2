#include "suites/answer.h"

#include <ctype.h>
#include <string.h>
#include <utf8proc.h>

static bool is_space(utf8proc_int32_t code) {
    utf8proc_category_t category = utf8proc_category(code);
    return category == UTF8PROC_CATEGORY_ZS || category == UTF8PROC_CATEGORY_ZL || category == UTF8PROC_CATEGORY_ZP ||
           (code >= 0x09 && code <= 0x0d) || (code >= 0x1c && code <= 0x1f) || code == 0x85;
}

static bool is_article(const char *word, size_t length) {
    return (length == 1 && word[0] == 'a') || (length == 2 && memcmp(word, "an", 2) == 0) ||
           (length == 3 && memcmp(word, "the", 3) == 0);
}

/* Ends the word that begins at `begin`: an article goes, anything else gets a blank behind it. */
static size_t end_word(char *text, size_t begin, size_t end) {
    if (end == begin || is_article(text + begin, end - begin)) return begin;
    text[end] = ' ';
    return end + 1;
}

zeb_status zeb_answer_normalise(zeb_arena *arena, const char *text, char **normal, zeb_error *error) {
    size_t length = strlen(text), used = 0, word = 0;
    void *memory;
    /* A lower-case letter can be longer than its capital, by a byte at most (U+0130 aside, which utf8proc keeps short).
     */
    zeb_status status = zeb_arena_alloc(arena, 2 * length + 2, 1, &memory, error);
    if (status != ZEB_OK) return status;
    char *to = memory;
    for (size_t at = 0; at < length;) {
        utf8proc_int32_t code;
        utf8proc_ssize_t taken =
            utf8proc_iterate((const utf8proc_uint8_t *)text + at, (utf8proc_ssize_t)(length - at), &code);
        if (taken <= 0) return zeb_fail(error, ZEB_ERR_FORMAT, "an answer is not UTF-8");
        at += (size_t)taken;
        if (is_space(code))
            used = word = end_word(to, word, used);
        else if (code >= 128 || !ispunct((int)code))
            used += (size_t)utf8proc_encode_char(utf8proc_tolower(code), (utf8proc_uint8_t *)to + used);
    }
    used = end_word(to, word, used);
    to[used > 0 ? used - 1 : 0] = '\0'; /* the last blank */
    *normal = to;
    return ZEB_OK;
}

/* The next word of *at, which moves behind it; NULL after the last. */
static const char *next_word(const char **at, size_t *length) {
    const char *word = *at;
    *length = strcspn(word, " ");
    *at = word + *length + (word[*length] == ' ');
    return *length > 0 ? word : NULL;
}

/* How often a word stands in text[size]. */
static size_t count_word(const char *text, const char *end, const char *word, size_t length) {
    size_t count = 0, found;
    for (const char *other; text < end && (other = next_word(&text, &found)) != NULL;)
        count += found == length && memcmp(other, word, length) == 0;
    return count;
}

double zeb_answer_f1(const char *normal, const char *gold) {
    size_t length, words = 0, shared = 0, gold_words = 0;
    const char *gold_end = gold + strlen(gold);
    for (const char *at = gold; next_word(&at, &length) != NULL;)
        gold_words++;
    const char *word;
    for (const char *at = normal; (word = next_word(&at, &length)) != NULL; words++)
        shared += count_word(normal, word, word, length) < count_word(gold, gold_end, word, length);
    if (words == 0 && gold_words == 0) return 1;
    return 2 * (double)shared / (double)(words + gold_words);
}
