/* run/batch.h - sequences packed end to end, the way a plan's inputs want them: no padding, offsets, a live count. */
#ifndef ZEB_RUN_BATCH_H
#define ZEB_RUN_BATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"

/* One tokenised sequence; the memory is someone else's. */
typedef struct zeb_sequence {
    const int32_t *id;
    const int32_t *type;
    int32_t length;
} zeb_sequence;

typedef struct zeb_batch {
    int32_t *id;      /* [token_max], the first `tokens` are live */
    int32_t *type;    /* [token_max] */
    int32_t *offsets; /* [sequence_max + 1]; those past the live sequences repeat the last */
    int32_t tokens;
    int32_t sequences;
    int32_t token_max;
    int32_t sequence_max;
} zeb_batch;

/* Room for sequence_max sequences and token_max tokens, in the arena. */
ZEB_MUST_CHECK zeb_status zeb_batch_create(zeb_arena *arena, int32_t sequence_max, int32_t token_max, zeb_batch *batch,
                                           zeb_error *error);

void zeb_batch_clear(zeb_batch *batch);

/* Appends a sequence; false if it does not fit (the batch is then as it was). */
bool zeb_batch_add(zeb_batch *batch, const zeb_sequence *sequence);

#endif
