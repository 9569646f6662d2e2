#include "tokenizers/unicode.h"

static uint32_t range_value(const zeb_unicode_range *table, size_t count, uint32_t c) {
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (c < table[middle].first)
            high = middle;
        else if (c > table[middle].last)
            low = middle + 1;
        else
            return table[middle].value;
    }
    return 0;
}

uint32_t zeb_unicode_flags_of(uint32_t c) {
    return range_value(zeb_unicode_flags, zeb_unicode_flags_count, c);
}

uint32_t zeb_unicode_order_of(uint32_t c) {
    return c < zeb_unicode_order[0].first ? 0 : range_value(zeb_unicode_order, zeb_unicode_order_count, c);
}

/* Ranges of step 2 interleave only with ranges that do not overlap them, so a plain bisection finds the one. */
static size_t shifted(const zeb_unicode_shift *table, size_t count, uint32_t c, uint32_t *out) {
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const zeb_unicode_shift *at = &table[middle];
        if (c < at->first)
            high = middle;
        else if (c > at->last)
            low = middle + 1;
        else if ((c - at->first) % (uint32_t)at->step != 0)
            return 0;
        else {
            *out = (uint32_t)((int32_t)c + at->delta);
            return 1;
        }
    }
    return 0;
}

static size_t sequence(const zeb_unicode_sequence *table, size_t count, uint32_t c, uint32_t *out) {
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (c < table[middle].from) {
            high = middle;
        } else if (c > table[middle].from) {
            low = middle + 1;
        } else {
            size_t length = 0;
            for (; length < ZEB_UNICODE_OUT_MAX && table[middle].to[length] != 0; length++)
                out[length] = table[middle].to[length];
            return length;
        }
    }
    return 0;
}

/* Hangul syllables decompose by arithmetic (The Unicode Standard, 3.12). */
static size_t hangul(uint32_t index, uint32_t out[ZEB_UNICODE_OUT_MAX]) {
    enum { L_BASE = 0x1100, V_BASE = 0x1161, T_BASE = 0x11A7, V_COUNT = 21, T_COUNT = 28 };
    out[0] = L_BASE + index / (V_COUNT * T_COUNT);
    out[1] = V_BASE + index % (V_COUNT * T_COUNT) / T_COUNT;
    out[2] = T_BASE + index % T_COUNT;
    return index % T_COUNT == 0 ? 2 : 3;
}

size_t zeb_unicode_strip(uint32_t c, uint32_t out[ZEB_UNICODE_OUT_MAX]) {
    enum { HANGUL_FIRST = 0xAC00, HANGUL_LAST = 0xD7A3 };
    if (c >= HANGUL_FIRST && c <= HANGUL_LAST) return hangul(c - HANGUL_FIRST, out);
    if (shifted(zeb_unicode_strips, zeb_unicode_strips_count, c, out) == 1) return 1;
    return sequence(zeb_unicode_strip_sequences, zeb_unicode_strip_sequences_count, c, out);
}

size_t zeb_unicode_lower(uint32_t c, uint32_t out[ZEB_UNICODE_OUT_MAX]) {
    if (shifted(zeb_unicode_lowers, zeb_unicode_lowers_count, c, out) == 1) return 1;
    return sequence(zeb_unicode_lower_sequences, zeb_unicode_lower_sequences_count, c, out);
}
