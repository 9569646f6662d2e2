/* run/measure.h - timed passes over a session: warm-up, one pass over all examples that is also scored, then more in
 * random order until the median is known well enough or time is up. */
#ifndef ZEB_RUN_MEASURE_H
#define ZEB_RUN_MEASURE_H

#include "run/session.h"
#include "run/worker.h"

/* Samples that are kept; later ones only count in the totals. A median is known long before. */
enum { ZEB_SAMPLES_MAX = 8000000 };

typedef struct zeb_measurement {
    uint64_t *sample_ns; /* [ZEB_SAMPLES_MAX], in the order taken */
    size_t samples;
    uint64_t timed_ns;         /* sum of the timed spans */
    uint64_t sequences;        /* in them */
    uint64_t first_ns;         /* the first pass after compile */
    uint64_t first_done_ns;    /* when it was done, on the clock */
    uint64_t warmup;           /* passes before sampling */
    uint64_t begin_ns, end_ns; /* the window around all timed passes */
    double ci;                 /* relative half-width reached; < 0: too few samples to say */
    bool capped;               /* time was up first */
    bool interrupted;          /* the user stopped */
    size_t scored;             /* examples with logits: all of them unless interrupted */
    float *logits;             /* [data.count, labels] */
    uint64_t tokens;           /* into the first layer, of the scored examples */
    zeb_kept *kept;            /* [layers]: sums over the scored examples; -1 where a layer skips none of that kind */
    double flops_dense, flops_executed, bytes_dense, bytes_executed; /* of the scored examples */
} zeb_measurement;

/* Runs the passes. window_min_ns: sample at least this long (an energy sensor's need). Results are in the arena. */
ZEB_MUST_CHECK zeb_status zeb_measure(zeb_session *session, uint64_t window_min_ns, zeb_shared *shared,
                                      zeb_measurement *measured, zeb_error *error);

/* The passes before: at least three and up to a quarter of a second. */
ZEB_MUST_CHECK zeb_status zeb_warm_up(zeb_session *session, zeb_shared *shared, zeb_measurement *measured,
                                      zeb_error *error);

#endif
