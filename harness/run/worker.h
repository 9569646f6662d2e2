/* run/worker.h - one piece of work in a process of its own, so that a plugin that crashes, hangs or eats all memory
 * costs one row and never the run.
 *
 * The worker is forked, not started anew, and shares one mapping with its parent: what it finished before it died is
 * still there. Its stdout and stderr end in a pipe; the last lines are kept as its last words. */
#ifndef ZEB_RUN_WORKER_H
#define ZEB_RUN_WORKER_H

#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"

enum { ZEB_WORKER_WORDS_MAX = 2048 };

/* What parent and worker share. The worker writes everything but `stop`. */
typedef struct zeb_shared {
    _Atomic uint32_t stop;  /* set by the parent: finish the row in hand and end */
    _Atomic uint32_t stage; /* of the caller's own counting */
    _Atomic uint64_t done, total;
    bool finished; /* the body returned; status and error are its own */
    zeb_status status;
    zeb_error error;
    zeb_arena *arena; /* in the mapping: what is allocated here is the parent's to read once `finished` */
    void *result;     /* the body's, in that arena */
} zeb_shared;

/* Runs in the worker. */
typedef zeb_status (*zeb_worker_body)(const void *input, zeb_shared *shared, zeb_error *error);

typedef enum zeb_worker_end {
    ZEB_WORKER_RETURNED = 1,
    ZEB_WORKER_DIED,
    ZEB_WORKER_TIMED_OUT,
    ZEB_WORKER_KILLED
} zeb_worker_end;

typedef struct zeb_worker_report {
    zeb_worker_end end;
    int signal_number;                /* DIED by a signal, else 0 */
    int exit_code;                    /* DIED by exiting before the body returned */
    char words[ZEB_WORKER_WORDS_MAX]; /* the end of what it printed */
} zeb_worker_report;

typedef struct zeb_worker_watch {
    uint64_t timeout_ns;                                    /* 0: none */
    uint64_t grace_ns;                                      /* time to finish after a stop before it is killed */
    const volatile sig_atomic_t *stop;                      /* the user's wish; may be NULL */
    void (*progress)(const zeb_shared *shared, void *user); /* about ten times a second; may be NULL */
    void *user;
    char *words; /* [ZEB_WORKER_WORDS_MAX], of zeb_worker_call: receives what a worker that returned, well or with an
                    error, had to say; "" for one that didn't, whose error has it; may be NULL */
} zeb_worker_watch;

/* The shared mapping: `size` bytes of address space, of which only what is used takes memory. */
ZEB_MUST_CHECK zeb_status zeb_shared_create(size_t size, zeb_shared **shared, zeb_error *error);
void zeb_shared_destroy(zeb_shared *shared); /* takes NULL */

/* `bytes` of the mapping for a large array, zero and untouched: memory is taken only page by page as it is written.
 * At most once a mapping, which must be at least twice that large. */
ZEB_MUST_CHECK zeb_status zeb_shared_reserve(zeb_shared *shared, size_t bytes, void **memory, zeb_error *error);

/* Forks, runs body(input, shared) in the child, supervises it and reports how it ended. The caller must have no
 * threads. ZEB_OK whenever there is a report: how the body fared is in *shared. */
ZEB_MUST_CHECK zeb_status zeb_worker_run(zeb_worker_body body, const void *input, zeb_shared *shared,
                                         const zeb_worker_watch *watch, zeb_worker_report *report, zeb_error *error);

/* For work that either yields its result or an error: the body finds `size` zero bytes in shared->result, and they are
 * copied to `result` when it returned ZEB_OK. Otherwise the error is the body's own; ZEB_ERR_INTERRUPTED for a worker
 * that was stopped and did not end by itself, ZEB_ERR_DEVICE for one that died or ran out of time, with its last words
 * and `lost`, what that means ("; no policy was written", "" for nothing). */
ZEB_MUST_CHECK zeb_status zeb_worker_call(zeb_worker_body body, const void *input, size_t size, const char *lost,
                                          const zeb_worker_watch *watch, void *result, zeb_error *error);

#endif
