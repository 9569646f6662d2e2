/* tokenizers/unicode.h - private to the room: what BERT's text clean-up does with a code point, as measured from
 * Hugging Face `tokenizers` (see scripts/golden/make_unicode_tables.py, which writes the tables). */
#ifndef ZEB_TOKENIZERS_UNICODE_H
#define ZEB_TOKENIZERS_UNICODE_H

#include <stddef.h>
#include <stdint.h>

/* Flags of a code point. The first three are about text as it comes, the others about whatever the steps before left.
 */
enum {
    ZEB_UNICODE_DROP = 1,     /* control, format, private use, U+FFFD, NUL: removed */
    ZEB_UNICODE_SPACE = 2,    /* white space: becomes U+0020 */
    ZEB_UNICODE_CJK = 4,      /* an ideograph: a word of its own */
    ZEB_UNICODE_STRIP = 8,    /* accent stripping changes or removes it */
    ZEB_UNICODE_BARRIER = 16, /* removed by accent stripping, and marks are not sorted across it */
    ZEB_UNICODE_LOWER = 32,   /* lower-casing changes it */
    ZEB_UNICODE_WHITE = 64,   /* separates words */
    ZEB_UNICODE_PUNCT = 128   /* a word of its own */
};
uint32_t zeb_unicode_flags_of(uint32_t c);

/* The canonical combining class that NFD sorts by, of code points that accent stripping leaves; 0 for starters. */
uint32_t zeb_unicode_order_of(uint32_t c);

enum { ZEB_UNICODE_OUT_MAX = 3 };
/* NFD without non-spacing marks / lower case, of a code point that has the flag: how many code points, in out. */
size_t zeb_unicode_strip(uint32_t c, uint32_t out[ZEB_UNICODE_OUT_MAX]);
size_t zeb_unicode_lower(uint32_t c, uint32_t out[ZEB_UNICODE_OUT_MAX]);

/* The tables, sorted by code point. */
typedef struct zeb_unicode_range {
    uint32_t first, last, value;
} zeb_unicode_range;
typedef struct zeb_unicode_shift {
    uint32_t first, last; /* every step-th code point from first to last becomes itself + delta */
    int32_t step, delta;
} zeb_unicode_shift;
typedef struct zeb_unicode_sequence {
    uint32_t from, to[ZEB_UNICODE_OUT_MAX]; /* to ends at the first 0 */
} zeb_unicode_sequence;

extern const zeb_unicode_range zeb_unicode_flags[], zeb_unicode_order[];
extern const size_t zeb_unicode_flags_count, zeb_unicode_order_count;
extern const zeb_unicode_shift zeb_unicode_strips[], zeb_unicode_lowers[];
extern const size_t zeb_unicode_strips_count, zeb_unicode_lowers_count;
extern const zeb_unicode_sequence zeb_unicode_strip_sequences[], zeb_unicode_lower_sequences[];
extern const size_t zeb_unicode_strip_sequences_count, zeb_unicode_lower_sequences_count;

#endif
