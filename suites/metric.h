/* suites/metric.h - how right a model was: scores of a task with intervals.
 *
 * Where a formula divides by nothing, the value is what scikit-learn and SciPy say, or the metric is not defined; it is
 * never NaN and never a made-up 0:
 *   no examples                          not defined
 *   F1 without a positive on either side 0 (scikit-learn's zero_division)
 *   Matthews with one class on a side    0 (scikit-learn)
 *   Pearson, Spearman, one side constant not defined (SciPy: nan), nor of fewer than 2 pairs */
#ifndef ZEB_SUITES_METRIC_H
#define ZEB_SUITES_METRIC_H

#include "suites/task.h"

/* What a model said of example i of a dataset. */
typedef struct zeb_prediction {
    int32_t label; /* the task's class (see zeb_task_map_labels); not read for regression */
    double score;  /* regression: the predicted score; else the score of the label, which metrics do not read */
    double choice; /* tasks of choices (COPA, ReCoRD): how much label 1 is preferred to label 0, a difference of logits;
                      the choice of a group with the greatest one is taken, the first of equals */
} zeb_prediction;

typedef struct zeb_metric {
    char name[32];     /* "accuracy", "f1", "pearson", "mean_accuracy_f1", ... */
    double value;      /* in [-1, 1]; 0 where not defined */
    double lo, hi;     /* 95 % interval; 0 where there is none */
    bool defined;      /* value can be used */
    bool has_interval; /* lo and hi can be used */
    char method[32];   /* of the interval: "wilson", "fisher-z", "bonett-wright", "bootstrap"; "" without one */
} zeb_metric;

enum { ZEB_METRICS_MAX = 3, ZEB_BOOTSTRAP_RESAMPLES = 2000 };

const char *zeb_metric_name(zeb_metric_kind kind);

/* Scores p[n], the predictions of d's first n examples. metric[0] is the headline; a task with two metrics also has
 * both after it (capacity: ZEB_METRICS_MAX is always enough). Without gold labels, all are not defined. Intervals:
 * Wilson for proportions, Fisher z for Pearson, Bonett-Wright for Spearman, else the percentile bootstrap over examples
 * (over questions or pairs where examples come in groups), drawn from `seed`, so that the same input gives the same
 * numbers; none where all resamples are alike. ZEB_ERR_RANGE when a predicted label is none of the task's or a
 * predicted score is not finite: that model is broken, not bad. */
ZEB_MUST_CHECK zeb_status zeb_task_score(const zeb_task *t, const zeb_dataset *d, const zeb_prediction *p, size_t n,
                                         uint64_t seed, zeb_metric *metric, size_t capacity, size_t *count,
                                         zeb_error *error);

/* ---- the formulas, on weighted examples: weight[i] says how often example i counts, NULL is once ---- */

/* confusion[truth * labels + predicted] of n examples; both in 0..labels-1. */
void zeb_confusion_count(const int32_t *truth, const int32_t *predicted, const uint32_t *weight, size_t n,
                         int32_t labels, double *confusion);

/* ACCURACY, F1, MACRO_F1 or MATTHEWS of a confusion matrix; false where not defined. Matthews for several classes is
 * Gorodkin's R_K (2004), which is the usual coefficient for two. */
bool zeb_confusion_metric(zeb_metric_kind kind, const double *confusion, int32_t labels, double *value);

/* Pearson's r of weighted pairs; false where not defined. */
bool zeb_pearson(const double *x, const double *y, const uint32_t *weight, size_t n, double *value);

/* order[n]: 0..n-1 sorted by value; false when memory is short. */
bool zeb_rank_order(const double *value, size_t n, size_t *order);
/* Ranks of value[n] from 1, ties averaged, given that order. */
void zeb_rank_weighted(const double *value, const size_t *order, const uint32_t *weight, size_t n, double *rank);

#endif
