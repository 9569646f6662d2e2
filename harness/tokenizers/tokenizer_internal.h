/* tokenizers/tokenizer_internal.h - private to the room: an open tokenizer. */
#ifndef ZEB_TOKENIZERS_TOKENIZER_INTERNAL_H
#define ZEB_TOKENIZERS_TOKENIZER_INTERNAL_H

#include "tokenizers/tokenizer.h"
#include "tokenizers/vocabulary.h"

enum { SPECIAL_UNK, SPECIAL_CLS, SPECIAL_SEP, SPECIAL_PAD, SPECIAL_MASK, SPECIAL_COUNT };

typedef struct zeb_special {
    char *text; /* in the tokenizer's arena */
    size_t length;
    int32_t id; /* -1: not in the vocabulary, never matched */
} zeb_special;

struct zeb_tokenizer {
    zeb_arena *arena;
    zeb_vocabulary vocabulary;
    zeb_special special[SPECIAL_COUNT];
    bool lower, strip, ideographs;
    bool special_first[256];  /* bytes that a special token starts with */
    uint8_t ascii_flags[128]; /* ZEB_UNICODE_* */
    uint8_t ascii_lower[128]; /* in lower case if `lower` */
};

#endif
