#include "base/text.h"

#include <ctype.h>
#include <errno.h>
#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

void zeb_text_copy(char *to, size_t capacity, const char *text) {
    if (capacity == 0) return;
    size_t length = strnlen(text, capacity - 1);
    memcpy(to, text, length);
    to[length] = '\0';
}

bool zeb_text_to_i64(const char *text, int64_t *value) {
    if (!isdigit((unsigned char)text[text[0] == '-'])) return false;
    char *end;
    errno = 0;
    long long parsed = strtoll(text, &end, 10);
    if (errno != 0 || *end != '\0') return false;
    *value = parsed;
    return true;
}

bool zeb_text_to_u64(const char *text, uint64_t *value) {
    if (!isdigit((unsigned char)text[0])) return false;
    char *end;
    errno = 0;
    unsigned long long parsed = strtoull(text, &end, 10);
    if (errno != 0 || *end != '\0') return false;
    *value = parsed;
    return true;
}

bool zeb_text_to_f64(const char *text, double *value) {
    size_t sign = text[0] == '-' || text[0] == '+';
    if (!isdigit((unsigned char)text[sign]) && text[sign] != '.') return false;
    /* zeb never calls setlocale, so the decimal point is '.'. */
    char *end;
    double parsed = strtod(text, &end);
    if (*end != '\0' || end == text || !isfinite(parsed)) return false;
    *value = parsed;
    return true;
}

enum { DISTANCE_WORD_MAX = 63 };

size_t zeb_text_distance(const char *a, const char *b) {
    size_t n = strnlen(a, DISTANCE_WORD_MAX);
    size_t m = strnlen(b, DISTANCE_WORD_MAX);
    size_t row[3][DISTANCE_WORD_MAX + 1]; /* rows i-2, i-1, i of the optimal string alignment table */
    for (size_t j = 0; j <= m; j++)
        row[0][j] = 0, row[1][j] = j;
    for (size_t i = 1; i <= n; i++) {
        row[2][0] = i;
        for (size_t j = 1; j <= m; j++) {
            size_t best = row[1][j - 1] + (a[i - 1] != b[j - 1]);
            if (row[1][j] + 1 < best) best = row[1][j] + 1;
            if (row[2][j - 1] + 1 < best) best = row[2][j - 1] + 1;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && row[0][j - 2] + 1 < best)
                best = row[0][j - 2] + 1;
            row[2][j] = best;
        }
        memcpy(row[0], row[1], sizeof row[0]);
        memcpy(row[1], row[2], sizeof row[1]);
    }
    return row[1][m];
}

const char *zeb_text_nearest(const char *word, const char *const *candidates, size_t count) {
    const char *nearest = NULL;
    size_t best = strlen(word) / 3 + 2; /* further away is no longer a typing slip */
    for (size_t i = 0; i < count; i++) {
        size_t distance = zeb_text_distance(word, candidates[i]);
        if (distance < best) {
            best = distance;
            nearest = candidates[i];
        }
    }
    return nearest;
}

size_t zeb_text_width(const char *text) {
    size_t width = 0;
    for (; *text != '\0'; text++)
        width += ((unsigned char)*text & 0xC0u) != 0x80u;
    return width;
}

bool zeb_text_utf8_valid(const char *text, size_t length, size_t *bad) {
    for (size_t at = 0; at < length;) {
        utf8proc_int32_t code;
        utf8proc_ssize_t used =
            utf8proc_iterate((const utf8proc_uint8_t *)text + at, (utf8proc_ssize_t)(length - at), &code);
        if (used <= 0) {
            if (bad != NULL) *bad = at;
            return false;
        }
        at += (size_t)used;
    }
    return true;
}
