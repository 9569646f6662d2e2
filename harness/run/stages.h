/* run/stages.h - a session's graph run a stage at a time over all its sequences, for a model that is larger than the
 * memory to run it in.
 *
 * A stage is what comes before the first encoder layer, or a layer up to its FFN, or its FFN (with what follows the
 * last). One stage's weights are in a plan at a time; what stages hand on, batch by batch, lies in a file. The session
 * is only prepared, and its batches are made anew for every stage, the same each time. */
#ifndef ZEB_RUN_STAGES_H
#define ZEB_RUN_STAGES_H

#include <stdatomic.h>

#include "run/session.h"

typedef struct zeb_stages zeb_stages;

/* The values of a tensor in one batch: x [rows, k] of F32. */
typedef void (*zeb_stages_seen_fn)(void *user, int32_t tensor, const float *x, size_t rows);

typedef struct zeb_stages_watch {
    const int32_t *tensor; /* [count] of session->graph, F32 of rank 2 that the stage reads or makes */
    size_t count;
    zeb_stages_seen_fn seen; /* called for each of them after every batch, in their order */
    void *user;
    _Atomic uint64_t *done;       /* counts sequences up; may be NULL */
    const _Atomic uint32_t *stop; /* not 0: the stage ends with ZEB_ERR_INTERRUPTED; NULL: never */
} zeb_stages_watch;

/* The files are made under the name `beside` with an ending, and have no name once this returns. The session must
 * outlive what is opened here. */
ZEB_MUST_CHECK zeb_status zeb_stages_open(zeb_session *session, const char *beside, zeb_stages **stages,
                                          zeb_error *error);
void zeb_stages_close(zeb_stages *stages); /* takes NULL */

size_t zeb_stages_count(const zeb_stages *stages);
/* The stage of a node of session->graph, from 0 on. */
size_t zeb_stages_of(const zeb_stages *stages, uint32_t node);

/* Runs a stage: the next one, or the first again. */
ZEB_MUST_CHECK zeb_status zeb_stages_run(zeb_stages *stages, size_t stage, const zeb_stages_watch *watch,
                                         zeb_error *error);

#endif
