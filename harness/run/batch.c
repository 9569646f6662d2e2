#include "run/batch.h"

#include <string.h>

static zeb_status ints(zeb_arena *arena, int64_t count, int32_t **memory, zeb_error *error) {
    void *fresh;
    zeb_status status = zeb_arena_alloc(arena, (size_t)count, sizeof(int32_t), &fresh, error);
    *memory = fresh;
    return status;
}

zeb_status zeb_batch_create(zeb_arena *arena, int32_t sequence_max, int32_t token_max, zeb_batch *batch,
                            zeb_error *error) {
    *batch = (zeb_batch){.sequence_max = sequence_max, .token_max = token_max};
    zeb_status status = ints(arena, token_max, &batch->id, error);
    if (status == ZEB_OK) status = ints(arena, token_max, &batch->type, error);
    if (status == ZEB_OK) status = ints(arena, (int64_t)sequence_max + 1, &batch->offsets, error);
    return status;
}

void zeb_batch_clear(zeb_batch *batch) {
    batch->tokens = 0;
    batch->sequences = 0;
    memset(batch->offsets, 0, ((size_t)batch->sequence_max + 1) * sizeof(int32_t));
}

bool zeb_batch_add(zeb_batch *batch, const zeb_sequence *sequence) {
    if (batch->sequences == batch->sequence_max || sequence->length > batch->token_max - batch->tokens) return false;
    memcpy(batch->id + batch->tokens, sequence->id, (size_t)sequence->length * sizeof(int32_t));
    memcpy(batch->type + batch->tokens, sequence->type, (size_t)sequence->length * sizeof(int32_t));
    batch->tokens += sequence->length;
    batch->sequences++;
    for (int32_t b = batch->sequences; b <= batch->sequence_max; b++)
        batch->offsets[b] = batch->tokens;
    return true;
}
