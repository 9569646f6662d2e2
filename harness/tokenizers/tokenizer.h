/* tokenizers/tokenizer.h - text to ids: WordPiece exactly as BERT's.
 *
 * The ids are those of Hugging Face `tokenizers` 0.23 with BertNormalizer, BertPreTokenizer, WordPiece and BERT's
 * template (Devlin et al. 2019; Wu et al. 2016, arXiv:1609.08144, section 4.1): clean text, ideographs apart, accents
 * stripped, lower case, split at white space and punctuation, greedy longest match, [UNK] for a word that does not
 * come out or is longer than 100 characters. Special tokens written out in the text ("[SEP]") are those tokens. */
#ifndef ZEB_TOKENIZERS_TOKENIZER_H
#define ZEB_TOKENIZERS_TOKENIZER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"

typedef struct zeb_tokenizer zeb_tokenizer;

/* Opens a checkpoint's vocab.txt (one token a line, its number the id) and, where there is one, tokenizer_config.json
 * (do_lower_case, strip_accents, tokenize_chinese_chars and the names of the special tokens). Errors: a missing file, a
 * token that stands on two lines (both are named), no [UNK], [CLS] or [SEP], invalid UTF-8, options or added tokens
 * that are not BERT's (ZEB_ERR_UNSUPPORTED). Once open it is read-only and may be used by several threads. */
ZEB_MUST_CHECK zeb_status zeb_tokenizer_open(const char *folder, zeb_tokenizer **tokenizer, zeb_error *error);
void zeb_tokenizer_close(zeb_tokenizer *tokenizer); /* takes NULL */

/* An encoded text or pair, in the arena. */
typedef struct zeb_encoding {
    int32_t *id;
    int32_t *type;  /* 0 for [CLS] a [SEP], 1 for b [SEP] */
    int32_t length; /* of both */
    bool truncated; /* tokens were left out to keep within length_max */
} zeb_encoding;

/* [CLS] a [SEP], or [CLS] a [SEP] b [SEP] when b is not NULL, of at most length_max ids ("longest_first": the longer of
 * the two loses first). Texts are UTF-8 of any bytes' length, a NUL among them is dropped like any control character.
 * Errors: ZEB_ERR_FORMAT for invalid UTF-8, naming the byte; ZEB_ERR_ARGUMENT when length_max has no room for the
 * special tokens (2, or 3 for a pair). */
ZEB_MUST_CHECK zeb_status zeb_tokenizer_encode(const zeb_tokenizer *tokenizer, const char *a, size_t a_length,
                                               const char *b, size_t b_length, int32_t length_max, zeb_arena *arena,
                                               zeb_encoding *encoding, zeb_error *error);

/* Lines of vocab.txt: ids are below it. */
int32_t zeb_tokenizer_vocab_size(const zeb_tokenizer *tokenizer);
/* The id of a token as vocab.txt spells it ("##ing", "[MASK]"), or -1. */
int32_t zeb_tokenizer_token_id(const zeb_tokenizer *tokenizer, const char *token);

#endif
