/* run/compare.h - is B different from A: tests and intervals on two sets of latencies, and on two sets of answers to
 * the same questions. Everything random comes from a seed. */
#ifndef ZEB_RUN_COMPARE_H
#define ZEB_RUN_COMPARE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "zeb/status.h"

/* Mann and Whitney's U of two independent samples (1947). */
typedef struct zeb_rank_test {
    double u;       /* of a: pairs in which a is greater, ties count a half */
    double p;       /* two-sided */
    double greater; /* u / (na nb): how likely a sample of a is above one of b */
    bool exact;     /* no ties and both up to 20: p counted; else normal, corrected for ties and continuity */
} zeb_rank_test;

/* na, nb > 0. Samples that are all alike give p = 1. */
ZEB_MUST_CHECK zeb_status zeb_compare_ranks(const uint64_t *a, size_t na, const uint64_t *b, size_t nb,
                                            zeb_rank_test *test, zeb_error *error);

typedef struct zeb_ratio {
    double value;  /* median of b / median of a: over 1, b is slower */
    double lo, hi; /* 95 %, percentile bootstrap */
} zeb_ratio;

/* na, nb > 0; ZEB_ERR_RANGE when the median of a, or of a resample of it, is 0. The median of a resample is drawn as
 * what it is, the order statistic of n uniform places, whose joint law with its neighbour is known (Beta): a resample
 * costs the same whatever n. */
ZEB_MUST_CHECK zeb_status zeb_compare_medians(const uint64_t *a, size_t na, const uint64_t *b, size_t nb,
                                              size_t resamples, uint64_t seed, zeb_ratio *ratio, zeb_error *error);

/* McNemar's test (1947) of paired right-or-wrong answers. */
typedef struct zeb_pair_test {
    uint64_t only_a, only_b; /* questions that one alone answered rightly */
    double p_exact;          /* two-sided binomial */
    double p_mid;            /* mid-p: less conservative (Fagerland, Lydersen and Laake 2013) */
} zeb_pair_test;

void zeb_compare_answers(const bool *a_right, const bool *b_right, size_t n, zeb_pair_test *test);
/* The same from the two counts. */
void zeb_compare_discordant(uint64_t only_a, uint64_t only_b, zeb_pair_test *test);

typedef struct zeb_gain {
    double value;  /* accuracy of b - accuracy of a */
    double lo, hi; /* 95 %, paired percentile bootstrap */
} zeb_gain;

/* n > 0 answers to the same n questions, drawn together. */
ZEB_MUST_CHECK zeb_status zeb_compare_accuracies(const bool *a_right, const bool *b_right, size_t n, size_t resamples,
                                                 uint64_t seed, zeb_gain *gain, zeb_error *error);

#endif
