/* base/text.h - strict numbers and bounded strings. */
#ifndef ZEB_BASE_TEXT_H
#define ZEB_BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Copies text into to[capacity], cut if need be, always terminated. */
void zeb_text_copy(char *to, size_t capacity, const char *text);

/* The whole text must be a number (no blanks, no rest) within range; false leaves *value alone. Independent of locale.
 */
bool zeb_text_to_i64(const char *text, int64_t *value);
bool zeb_text_to_u64(const char *text, uint64_t *value);
bool zeb_text_to_f64(const char *text, double *value); /* finite only */

/* Edits (insert, delete, replace, swap neighbours) between two short words, for "did you mean". */
size_t zeb_text_distance(const char *a, const char *b);

/* The entry of candidates[count] nearest to word, or NULL if none is near enough to suggest. */
const char *zeb_text_nearest(const char *word, const char *const *candidates, size_t count);

/* Characters (code points) of UTF-8 text. */
size_t zeb_text_width(const char *text);

/* True if the bytes are well-formed UTF-8; else *bad is the offset of the first offending byte. */
bool zeb_text_utf8_valid(const char *text, size_t length, size_t *bad);

#endif
