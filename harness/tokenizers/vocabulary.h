/* tokenizers/vocabulary.h - private to the room: vocab.txt as a hash table over the mapped file. */
#ifndef ZEB_TOKENIZERS_VOCABULARY_H
#define ZEB_TOKENIZERS_VOCABULARY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/file.h"

/* Where a token stands in the file, without its "##". */
typedef struct zeb_vocabulary_token {
    uint32_t offset, length;
} zeb_vocabulary_token;

typedef struct zeb_vocabulary_slot {
    uint32_t tag; /* upper half of the hash */
    int32_t id;   /* -1: free */
} zeb_vocabulary_slot;

typedef struct zeb_vocabulary {
    zeb_map map;
    zeb_vocabulary_token *token; /* [count] */
    zeb_vocabulary_slot *slot;   /* [mask + 1] */
    uint32_t mask;
    int32_t count;
    uint32_t longest; /* bytes of the longest token */
} zeb_vocabulary;

/* Tokens that start a word and tokens that continue one ("##") live in one table under different seeds. The hash runs
 * byte by byte, so that all prefixes of a word are hashed in one pass. */
#define ZEB_VOCABULARY_START UINT64_C(0xcbf29ce484222325)
#define ZEB_VOCABULARY_REST UINT64_C(0x9e3779b97f4a7c15)
static inline uint64_t zeb_vocabulary_hash(uint64_t hash, unsigned char byte) {
    return (hash ^ byte) * UINT64_C(0x100000001b3); /* FNV-1a */
}

/* Errors name the file and the lines. A vocabulary that failed to open is zeroed. */
ZEB_MUST_CHECK zeb_status zeb_vocabulary_open(const char *path, zeb_vocabulary *vocabulary, zeb_error *error);
void zeb_vocabulary_close(zeb_vocabulary *vocabulary); /* takes a zeroed one */

/* The id of text[length] (without "##"; rest: as a continuation) whose hash is given; -1 when there is none. */
int32_t zeb_vocabulary_find(const zeb_vocabulary *vocabulary, const char *text, size_t length, bool rest,
                            uint64_t hash);
/* The id of a token as the file spells it, or -1. */
int32_t zeb_vocabulary_id(const zeb_vocabulary *vocabulary, const char *token, size_t length);

#endif
