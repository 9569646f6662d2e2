/* Text to ids: one pass over the bytes, one word in hand. */
#include <string.h>

#include "tokenizers/tokenizer_internal.h"
#include "tokenizers/unicode.h"

enum { WORD_CHARS_MAX = 100, WORD_BYTES_MAX = WORD_CHARS_MAX * 4 };

/* Where ids go, and the word that is being gathered, normalised. Ids past capacity are counted but not kept: the
 * truncation never asks for them. */
typedef struct encoder {
    const zeb_tokenizer *t;
    int32_t *id;
    size_t capacity, count;
    size_t chars;   /* of the word; past WORD_CHARS_MAX only counted */
    size_t bytes;   /* of the word in text */
    size_t barrier; /* marks are not sorted to before this byte */
    char text[WORD_BYTES_MAX];
} encoder;

static void push_id(encoder *e, int32_t id) {
    if (e->count < e->capacity) e->id[e->count] = id;
    e->count++;
}

/* The longest token at the start of text[length], which begins or continues a word; its length, or 0. */
static size_t longest_piece(const zeb_vocabulary *v, const char *text, size_t length, bool rest, int32_t *id) {
    uint64_t prefix[WORD_BYTES_MAX], hash = rest ? ZEB_VOCABULARY_REST : ZEB_VOCABULARY_START;
    size_t most = length < v->longest ? length : v->longest;
    for (size_t i = 0; i < most; i++)
        prefix[i] = hash = zeb_vocabulary_hash(hash, (unsigned char)text[i]);
    for (size_t n = most; n > 0; n--) {
        if (n < length && ((unsigned char)text[n] & 0xC0) == 0x80) continue; /* inside a character */
        *id = zeb_vocabulary_find(v, text, n, rest, prefix[n - 1]);
        if (*id >= 0) return n;
    }
    return 0;
}

/* Ends the word in hand: its pieces, or [UNK] when one is missing or it is too long. */
static void end_word(encoder *e) {
    size_t before = e->count;
    bool known = e->chars <= WORD_CHARS_MAX;
    for (size_t at = 0; known && at < e->bytes;) {
        int32_t id = -1;
        size_t length = longest_piece(&e->t->vocabulary, e->text + at, e->bytes - at, at > 0, &id);
        known = length > 0;
        at += length;
        push_id(e, id);
    }
    if (!known) {
        e->count = before;
        push_id(e, e->t->special[SPECIAL_UNK].id);
    }
    e->chars = e->bytes = e->barrier = 0;
}

static inline void flush(encoder *e) {
    if (e->chars > 0) end_word(e);
    e->barrier = 0;
}

static size_t put_utf8(uint32_t c, char out[4]) {
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    size_t length = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    static const unsigned lead[] = {0, 0, 0xC0, 0xE0, 0xF0};
    for (size_t i = length - 1; i > 0; i--, c >>= 6)
        out[i] = (char)(0x80 | (c & 0x3F));
    out[0] = (char)(lead[length] | c);
    return length;
}

/* One well-formed code point at text[0..left), or 0 bytes (Unicode 3.9, table 3-7). */
static size_t get_utf8(const unsigned char *text, size_t left, uint32_t *c) {
    size_t length = text[0] < 0xC2 ? 0 : text[0] < 0xE0 ? 2 : text[0] < 0xF0 ? 3 : text[0] < 0xF5 ? 4 : 0;
    if (length == 0 || length > left) return 0;
    uint32_t value = text[0] & (0x7Fu >> length);
    for (size_t i = 1; i < length; i++) {
        if ((text[i] & 0xC0) != 0x80) return 0;
        value = value << 6 | (text[i] & 0x3Fu);
    }
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    if (value < least[length] || value > 0x10FFFF || (value >= 0xD800 && value <= 0xDFFF)) return 0;
    *c = value;
    return length;
}

/* Appends to the word. A mark goes before marks of a higher combining class, as canonical ordering wants. */
static void append(encoder *e, uint32_t c, uint32_t order) {
    char utf8[4];
    size_t length = put_utf8(c, utf8), at = e->bytes;
    if (++e->chars > WORD_CHARS_MAX) return;
    while (order > 0 && at > e->barrier) {
        size_t before = at - 1;
        uint32_t previous = 0;
        while (before > e->barrier && ((unsigned char)e->text[before] & 0xC0) == 0x80)
            before--;
        (void)get_utf8((const unsigned char *)e->text + before, at - before, &previous);
        if (zeb_unicode_order_of(previous) <= order) break;
        at = before;
    }
    if (at < e->bytes) memmove(e->text + at + length, e->text + at, e->bytes - at);
    memcpy(e->text + at, utf8, length);
    e->bytes += length;
}

/* A code point after clean-up and stripping. */
static void add_normal(encoder *e, uint32_t c) {
    uint32_t out[ZEB_UNICODE_OUT_MAX] = {c}, flags = zeb_unicode_flags_of(c);
    size_t count = e->t->lower && (flags & ZEB_UNICODE_LOWER) != 0 ? zeb_unicode_lower(c, out) : 1;
    for (size_t i = 0; i < count; i++) {
        if (out[i] != c) flags = zeb_unicode_flags_of(out[i]);
        if ((flags & (ZEB_UNICODE_WHITE | ZEB_UNICODE_PUNCT)) != 0) flush(e);
        if ((flags & ZEB_UNICODE_WHITE) != 0) continue;
        append(e, out[i], e->t->strip ? zeb_unicode_order_of(out[i]) : 0);
        if ((flags & ZEB_UNICODE_PUNCT) != 0) flush(e);
    }
}

/* A code point of the text that is not ASCII. */
static void add_code_point(encoder *e, uint32_t c) {
    uint32_t flags = zeb_unicode_flags_of(c), out[ZEB_UNICODE_OUT_MAX] = {c};
    if ((flags & ZEB_UNICODE_DROP) != 0) return;
    bool alone = (flags & ZEB_UNICODE_CJK) != 0 && e->t->ideographs;
    if ((flags & ZEB_UNICODE_SPACE) != 0 || alone) flush(e);
    if ((flags & ZEB_UNICODE_SPACE) != 0) return;
    size_t count = 1;
    if (e->t->strip && (flags & ZEB_UNICODE_STRIP) != 0) {
        count = zeb_unicode_strip(c, out);
        if ((flags & ZEB_UNICODE_BARRIER) != 0) e->barrier = e->bytes;
    }
    for (size_t i = 0; i < count; i++)
        add_normal(e, out[i]);
    if (alone) flush(e);
}

/* ASCII has neither ideographs nor marks. */
static inline void add_ascii(encoder *e, unsigned char byte) {
    uint32_t flags = e->t->ascii_flags[byte];
    if ((flags & (ZEB_UNICODE_DROP | ZEB_UNICODE_WHITE | ZEB_UNICODE_PUNCT)) == 0) {
        if (++e->chars <= WORD_CHARS_MAX) e->text[e->bytes++] = (char)e->t->ascii_lower[byte];
        return;
    }
    if ((flags & ZEB_UNICODE_DROP) != 0) return;
    flush(e);
    if ((flags & ZEB_UNICODE_WHITE) != 0) return;
    e->text[0] = (char)e->t->ascii_lower[byte];
    e->bytes = e->chars = 1;
    end_word(e);
}

/* The longest special token that is written at text; its length, or 0. */
static size_t special_at(const zeb_tokenizer *t, const char *text, size_t left, int32_t *id) {
    size_t longest = 0;
    for (size_t i = 0; i < SPECIAL_COUNT; i++) {
        const zeb_special *special = &t->special[i];
        if (special->id < 0 || special->length <= longest || special->length > left) continue;
        if (memcmp(special->text, text, special->length) != 0) continue;
        longest = special->length;
        *id = special->id;
    }
    return longest;
}

/* Encodes one text. With `stop`, what lies behind the last id that is kept is not looked at. */
static zeb_status encode_text(encoder *e, const char *text, size_t length, bool stop, const char *which,
                              zeb_error *error) {
    const unsigned char *byte = (const unsigned char *)text;
    for (size_t at = 0; at < length && !(stop && e->count > e->capacity);) {
        int32_t id = -1;
        size_t step = e->t->special_first[byte[at]] ? special_at(e->t, text + at, length - at, &id) : 0;
        if (step > 0) {
            flush(e);
            push_id(e, id);
        } else if (byte[at] < 0x80) {
            add_ascii(e, byte[at]);
            step = 1;
        } else {
            uint32_t c = 0;
            step = get_utf8(byte + at, length - at, &c);
            if (step == 0)
                return zeb_fail(error, ZEB_ERR_FORMAT, "text %s: invalid UTF-8 at byte %zu of %zu", which, at, length);
            add_code_point(e, c);
        }
        at += step;
    }
    flush(e);
    return ZEB_OK;
}

/* "longest_first": how many tokens of each text stay when both may keep `most` together. */
static void share(size_t most, size_t *a, size_t *b) {
    if (*a + *b <= most) return;
    bool swapped = *a > *b;
    size_t less = swapped ? *b : *a;
    size_t more = less > most ? less : most - less > less ? most - less : less;
    if (less + more > most) {
        less = most / 2;
        more = less + most % 2;
    }
    *a = swapped ? more : less;
    *b = swapped ? less : more;
}

static size_t least(size_t a, size_t b) {
    return a < b ? a : b;
}

static zeb_status reserve(zeb_arena *arena, size_t capacity, zeb_encoding *encoding, zeb_error *error) {
    void *memory;
    zeb_status status = zeb_arena_alloc(arena, capacity, sizeof(int32_t), &memory, error);
    if (status != ZEB_OK) return status;
    encoding->id = memory;
    status = zeb_arena_alloc(arena, capacity, sizeof(int32_t), &memory, error);
    encoding->type = memory;
    return status;
}

/* Both texts' ids stand at their places of greatest length; move b's up and write the special tokens. */
static void assemble(const zeb_tokenizer *t, zeb_encoding *encoding, size_t a, const int32_t *b_ids, size_t b,
                     bool pair) {
    int32_t *id = encoding->id;
    size_t length = a + 2;
    id[0] = t->special[SPECIAL_CLS].id;
    id[a + 1] = t->special[SPECIAL_SEP].id;
    if (pair) {
        memmove(id + length, b_ids, b * sizeof *id);
        id[length + b] = t->special[SPECIAL_SEP].id;
        for (size_t i = 0; i <= b; i++)
            encoding->type[length + i] = 1;
        length += b + 1;
    }
    encoding->length = (int32_t)length;
}

zeb_status zeb_tokenizer_encode(const zeb_tokenizer *tokenizer, const char *a, size_t a_length, const char *b,
                                size_t b_length, int32_t length_max, zeb_arena *arena, zeb_encoding *encoding,
                                zeb_error *error) {
    *encoding = (zeb_encoding){0};
    int32_t special = b != NULL ? 3 : 2;
    if (length_max < special)
        return zeb_fail(error, ZEB_ERR_ARGUMENT, "%d tokens have no room for the %d special ones", length_max, special);
    size_t most = (size_t)(length_max - special);
    if (b == NULL) b_length = 0;
    /* A text never has more tokens than bytes. */
    size_t a_capacity = least(a_length, most), b_capacity = least(b_length, most);
    zeb_status status = reserve(arena, a_capacity + b_capacity + (size_t)special, encoding, error);
    if (status != ZEB_OK) return status;
    encoder e = {.t = tokenizer};
    e.id = encoding->id + 1;
    e.capacity = a_capacity;
    status = encode_text(&e, a, a_length, b == NULL, "a", error);
    size_t a_count = e.count, b_count = 0;
    int32_t *b_ids = encoding->id + a_capacity + 2;
    if (status == ZEB_OK && b != NULL) {
        e.id = b_ids;
        e.capacity = b_capacity;
        e.count = 0;
        status = encode_text(&e, b, b_length, false, "b", error);
        b_count = e.count;
    }
    if (status != ZEB_OK) return status;
    encoding->truncated = a_count + b_count > most;
    if (b != NULL)
        share(most, &a_count, &b_count);
    else
        a_count = least(a_count, most);
    assemble(tokenizer, encoding, a_count, b_ids, b_count, b != NULL);
    return ZEB_OK;
}
