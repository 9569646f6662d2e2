/* run/change.h - what became of the cases of a run: each is paired with the row that stood before it, and the pair is
 * judged. Whether a difference is one: run/compare.h.
 *
 * A case is what was asked for: model, data, task, split, policy, device, precision, tuning, scenario, threads,
 * pinning, batch, longest sequence, limit and instruction set, on one host. Files are the same by their path, or where
 * that has changed by their hash, a device by its id. Rows of schemas before 6 do not tell all of that and go by the
 * names of what was opened, with any device of the plugin where none was. */
#ifndef ZEB_RUN_CHANGE_H
#define ZEB_RUN_CHANGE_H

#include "run/compare.h"
#include "store/store.h"

/* What became of a case, from nothing to the gravest. */
typedef enum zeb_change_kind {
    ZEB_CHANGE_SAME,
    ZEB_CHANGE_NEVER_OK, /* no good row now, and none before: nothing that could get worse */
    ZEB_CHANGE_NEW,      /* ok, and no good row before */
    ZEB_CHANGE_BETTER,   /* a better score */
    ZEB_CHANGE_FASTER,
    ZEB_CHANGE_SLOWER,  /* from here on something was lost: zeb_change_is_loss */
    ZEB_CHANGE_WORSE,   /* a worse score */
    ZEB_CHANGE_DIFFERS, /* not comparable: other examples or another version of the task */
    ZEB_CHANGE_LOST,    /* was ok, is not */
    ZEB_CHANGE_MISSING, /* was ok, and this run has no row of it */
    ZEB_CHANGE_KINDS
} zeb_change_kind;

/* "same", "never-ok", "new", ...; never NULL. */
const char *zeb_change_name(zeb_change_kind kind);

static inline bool zeb_change_is_loss(zeb_change_kind kind) {
    return kind >= ZEB_CHANGE_SLOWER;
}

/* Time and score each by itself. */
typedef enum zeb_trend { ZEB_TREND_UNKNOWN, ZEB_TREND_SAME, ZEB_TREND_UP, ZEB_TREND_DOWN } zeb_trend;

/* "unknown", "same", "better", "worse". */
const char *zeb_trend_name(zeb_trend trend);

/* How it was found out whether scores differ. */
typedef enum zeb_score_test {
    ZEB_SCORE_NOT_TESTED,
    ZEB_SCORE_INTERVALS,   /* worse where the 95 % intervals do not meet */
    ZEB_SCORE_PROPORTIONS, /* two proportions, pooled variance: as if other examples had been drawn */
    ZEB_SCORE_MCNEMAR      /* the answers to the same questions */
} zeb_score_test;

/* "none", "intervals", "two-proportions", "mcnemar". */
const char *zeb_score_test_name(zeb_score_test test);

/* A case and what is known of its change. Rows belong to the caller. */
typedef struct zeb_change {
    zeb_record *then; /* NULL: none. Not ok where no good row is left to compare with */
    zeb_record *now;  /* NULL: the case is missing */
    zeb_change_kind kind;
    bool comparable; /* both ok, over the same examples */

    zeb_trend time;
    bool has_ratio; /* the samples of both are at hand */
    bool binned;    /* one was a histogram: both were put into its buckets, and the interval is wider by their error */
    zeb_ratio ratio;
    double time_p, time_holm; /* Mann-Whitney, and corrected for the number of cases */

    zeb_trend score;
    zeb_score_test score_test;
    zeb_pair_test pairs;        /* McNemar alone: a is then, b is now */
    double score_p, score_holm; /* of the tests that have one */
} zeb_change;

/* Whether there is a row, and it is a good one. */
static inline bool zeb_change_ok(const zeb_record *record) {
    return record != NULL && record->row.outcome == ZEB_OUTCOME_OK;
}

/* The precision that was asked for; rows of the first schemas name it alone. */
static inline const char *zeb_change_precision(const zeb_row *row) {
    return row->requested.precision[0] != '\0' ? row->requested.precision : row->precision;
}

/* any_place: rows were chosen by hand, host and paths may differ. */
bool zeb_change_same_case(const zeb_record *a, const zeb_record *b, bool any_place);

/* Pairs now[now_count], the rows of one run, with the best of then[then_count]: of the same case the ok ones first,
 * then the same policy by its hash, then the same path of the model, then the newest. What of expected[expected_count]
 * no row of now stands for, and that was ok once, becomes a case without `now`. any_place: rows were chosen by hand,
 * host and place of the model may differ. *change is in the arena, in the order of now, the missing last; nothing is
 * judged. */
ZEB_MUST_CHECK zeb_status zeb_changes_pair(zeb_record *then, size_t then_count, zeb_record *expected,
                                           size_t expected_count, zeb_record *now, size_t now_count, bool any_place,
                                           zeb_arena *arena, zeb_change **change, size_t *count, zeb_error *error);

/* What two rows alone say: times (which needs their samples) and scores, with p-values that are not corrected yet. The
 * same answers given by both rows, [answers] each, make McNemar's test of the scores; NULL where they are not at hand.
 */
ZEB_MUST_CHECK zeb_status zeb_change_measure(zeb_change *change, const bool *then_right, const bool *now_right,
                                             size_t answers, zeb_error *error);

/* What of it counts, all cases seen together: times whose ratio is above 1 + tolerance (or below 1 / (1 + tolerance))
 * with its whole interval and whose p is below 0.01 after Holm's correction (1979), scores in the same way. Sets the
 * kinds. */
void zeb_changes_settle(zeb_change *change, size_t count, double tolerance);

/* Something that is not the same about two rows and may explain a change. */
typedef struct zeb_difference {
    const char *what;       /* "driver" */
    char then[72], now[72]; /* "" for unknown; hashes by their first 12 digits */
} zeb_difference;

enum { ZEB_DIFFERENCES_MAX = 32 };

/* The number of differences, which is 0 where there are not two rows. What an unopened device leaves unknown is none.
 */
size_t zeb_change_differences(const zeb_change *change, zeb_difference difference[ZEB_DIFFERENCES_MAX]);

/* ---- of a database ------------------------------------------------------------------------------------------------
 */

typedef struct zeb_changes_options {
    int64_t run, base;                      /* 0: the newest run, the newest earlier row of each case */
    double tolerance;                       /* 0.05: a median within 5 % is no change */
    const char *now_answers, *then_answers; /* files of `zeb run --predictions`; NULL: none */
} zeb_changes_options;

typedef struct zeb_changes {
    zeb_stored_run run;
    const zeb_stored_run *base;     /* as asked; NULL: none was */
    const zeb_stored_run *expected; /* the run whose cases this one should have; NULL: none is known */
    zeb_change *change;
    size_t count;
    size_t compared; /* pairs of ok rows */
    size_t tally[ZEB_CHANGE_KINDS];
    size_t losses;
    char note[256]; /* about the answers' files: what could not be used, "" for nothing */
} zeb_changes;

/* Compares a run with what stood before it. Without base, expected is the newest earlier run of the same command line
 * on the same host that ended and that nobody stopped; words that choose no case (--predictions, --db, --format,
 * --verbose) are not looked at. ZEB_ERR_ARGUMENT: no such run, or one that runs no cases; ZEB_ERR_NOT_FOUND: the
 * database has no run of cases. Everything is in the arena. */
ZEB_MUST_CHECK zeb_status zeb_changes_find(zeb_store *store, const zeb_changes_options *options, zeb_arena *arena,
                                           zeb_changes *changes, zeb_error *error);

#endif
