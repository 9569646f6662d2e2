/* Scoring a task: gathers what its metrics need, evaluates them, and puts an interval round each. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "base/text.h"
#include "suites/interval.h"
#include "suites/metric.h"

/* Everything that evaluating all metrics once takes; one block of memory for each kind of array. */
typedef struct scorer {
    const zeb_task *task;
    size_t n, units; /* a unit is what is drawn in a resample: an example, or the examples of one group */
    size_t *unit;    /* [units + 1] first example of each */
    int32_t *truth, *predicted;
    double *confusion;
    double *gold, *score, *gold_rank, *score_rank, *choice;
    size_t *gold_order, *score_order;
    uint32_t *weight;
    int metrics; /* of the task, 1 or 2 */
} scorer;

/* Value [0] is the headline, then the task's metrics where it has two. */
typedef struct outcome {
    double value[ZEB_METRICS_MAX];
    bool defined[ZEB_METRICS_MAX];
} outcome;

static int outcomes(const scorer *s) {
    return s->metrics == 1 ? 1 : 1 + s->metrics;
}

/* ---- evaluating ---- */

/* What one group adds to a metric: 1 or 0, or the F1 of its choice. */
static double group_value(const scorer *s, zeb_metric_kind kind, size_t unit) {
    size_t first = s->unit[unit], end = s->unit[unit + 1], chosen = first;
    for (size_t i = first; i < end; i++) {
        if (s->choice[i] > s->choice[chosen]) chosen = i;
        if (kind == ZEB_METRIC_EXACT_QUESTIONS && s->predicted[i] != s->truth[i]) return 0;
        if (kind == ZEB_METRIC_GENDER_PARITY && s->predicted[i] != s->predicted[first]) return 0;
    }
    if (kind == ZEB_METRIC_CHOICE_ACCURACY || kind == ZEB_METRIC_CHOICE_EXACT) return s->truth[chosen] == 1;
    return kind == ZEB_METRIC_CHOICE_F1 ? s->gold[chosen] : 1;
}

static bool group_metric(const scorer *s, zeb_metric_kind kind, const uint32_t *weight, double *value) {
    double sum = 0, total = 0;
    for (size_t unit = 0; unit < s->units; unit++) {
        double w = weight == NULL ? 1 : weight[s->unit[unit]];
        total += w;
        if (w > 0) sum += w * group_value(s, kind, unit);
    }
    *value = total > 0 ? sum / total : 0;
    return total > 0;
}

/* True for metrics of groups that are a proportion of them. */
static bool is_group_share(zeb_metric_kind kind) {
    return kind == ZEB_METRIC_EXACT_QUESTIONS || kind == ZEB_METRIC_GENDER_PARITY ||
           kind == ZEB_METRIC_CHOICE_ACCURACY || kind == ZEB_METRIC_CHOICE_EXACT;
}

static bool evaluate_one(const scorer *s, zeb_metric_kind kind, const uint32_t *weight, double *value) {
    switch (kind) {
        case ZEB_METRIC_PEARSON: return zeb_pearson(s->gold, s->score, weight, s->n, value);
        case ZEB_METRIC_SPEARMAN:
            zeb_rank_weighted(s->gold, s->gold_order, weight, s->n, s->gold_rank);
            zeb_rank_weighted(s->score, s->score_order, weight, s->n, s->score_rank);
            return zeb_pearson(s->gold_rank, s->score_rank, weight, s->n, value);
        case ZEB_METRIC_EXACT_QUESTIONS:
        case ZEB_METRIC_GENDER_PARITY:
        case ZEB_METRIC_CHOICE_ACCURACY:
        case ZEB_METRIC_CHOICE_EXACT:
        case ZEB_METRIC_CHOICE_F1: return group_metric(s, kind, weight, value);
        default: return zeb_confusion_metric(kind, s->confusion, s->task->labels, value);
    }
}

static outcome evaluate(const scorer *s, const uint32_t *weight) {
    outcome out = {0};
    if (s->task->kind == ZEB_TASK_CLASSIFICATION)
        zeb_confusion_count(s->truth, s->predicted, weight, s->n, s->task->labels, s->confusion);
    int first = outcomes(s) - s->metrics;
    for (int i = 0; i < s->metrics; i++)
        out.defined[first + i] = evaluate_one(s, s->task->metric[i], weight, &out.value[first + i]);
    if (s->metrics == 1) return out;
    out.value[0] = out.value[1];
    out.defined[0] = out.defined[1];
    if (s->task->headline_mean) {
        out.defined[0] = out.defined[1] && out.defined[2];
        out.value[0] = out.defined[0] ? (out.value[1] + out.value[2]) / 2 : 0;
    }
    return out;
}

/* ---- gathering ---- */

static bool allocate(scorer *s) {
    size_t n = s->n > 0 ? s->n : 1, labels = (size_t)s->task->labels;
    s->unit = calloc(n + 1, sizeof *s->unit);
    s->truth = calloc(2 * n, sizeof *s->truth);
    s->confusion = calloc(labels * labels, sizeof *s->confusion);
    s->gold = calloc(5 * n, sizeof *s->gold);
    s->gold_order = calloc(2 * n, sizeof *s->gold_order);
    s->weight = calloc(n, sizeof *s->weight);
    if (!s->unit || !s->truth || !s->confusion || !s->gold || !s->gold_order || !s->weight) return false;
    s->predicted = s->truth + n;
    s->score = s->gold + n;
    s->gold_rank = s->gold + 2 * n;
    s->score_rank = s->gold + 3 * n;
    s->choice = s->gold + 4 * n;
    s->score_order = s->gold_order + n;
    return true;
}

static void release(scorer *s) {
    free(s->unit);
    free(s->truth);
    free(s->confusion);
    free(s->gold);
    free(s->gold_order);
    free(s->weight);
}

static zeb_status gather(scorer *s, const zeb_dataset *d, const zeb_prediction *p, zeb_error *error) {
    for (size_t i = 0; i < s->n; i++) {
        const zeb_example *example = &d->example[i];
        bool joins = i > 0 && example->group >= 0 && example->group == d->example[i - 1].group;
        if (!joins) s->unit[s->units++] = i;
        s->truth[i] = example->label;
        s->gold[i] = example->target;
        s->predicted[i] = p[i].label;
        s->score[i] = p[i].score;
        s->choice[i] = p[i].choice;
        bool regression = s->task->kind == ZEB_TASK_REGRESSION;
        if (!isfinite(p[i].choice) || (regression && !isfinite(p[i].score)))
            return zeb_fail(error, ZEB_ERR_RANGE, "%s: the prediction of row %lld is not a finite number",
                            s->task->name, (long long)example->index);
        if (!regression && (p[i].label < 0 || p[i].label >= s->task->labels))
            return zeb_fail(error, ZEB_ERR_RANGE, "%s: the prediction of row %lld is label %d of %d", s->task->name,
                            (long long)example->index, p[i].label, s->task->labels);
    }
    s->unit[s->units] = s->n;
    if (!zeb_rank_order(s->gold, s->n, s->gold_order) || !zeb_rank_order(s->score, s->n, s->score_order))
        return zeb_fail(error, ZEB_ERR_MEMORY, "out of memory");
    return ZEB_OK;
}

/* ---- intervals ---- */

static void set_interval(zeb_metric *metric, double lo, double hi, const char *method) {
    metric->lo = lo;
    metric->hi = hi;
    metric->has_interval = true;
    zeb_text_copy(metric->method, sizeof metric->method, method);
}

/* The closed form of a metric's interval; false where there is none. */
static bool closed_interval(const scorer *s, zeb_metric_kind kind, zeb_metric *metric) {
    bool grouped = is_group_share(kind);
    double total = (double)(grouped ? s->units : s->n), lo, hi;
    if (kind == ZEB_METRIC_PEARSON) {
        zeb_interval_fisher(metric->value, s->n, ZEB_Z_95, &lo, &hi);
        set_interval(metric, lo, hi, "fisher-z");
    } else if (kind == ZEB_METRIC_SPEARMAN) {
        zeb_interval_bonett_wright(metric->value, s->n, ZEB_Z_95, &lo, &hi);
        set_interval(metric, lo, hi, "bonett-wright");
    } else if (grouped || (kind == ZEB_METRIC_ACCURACY && s->units == s->n)) {
        zeb_interval_wilson(round(metric->value * total), total, ZEB_Z_95, &lo, &hi);
        set_interval(metric, lo, hi, "wilson");
    } else {
        return false;
    }
    return true;
}

static void draw_weights(scorer *s, zeb_random *random) {
    memset(s->weight, 0, s->n * sizeof *s->weight);
    for (size_t drawn = 0; drawn < s->units; drawn++) {
        size_t unit = (size_t)zeb_random_below(random, s->units);
        for (size_t i = s->unit[unit]; i < s->unit[unit + 1]; i++)
            s->weight[i]++;
    }
}

/* Percentile bootstrap (Efron 1979) of every outcome that still lacks an interval. A resample in which a metric is not
 * defined is left out of that metric; with less than half of them left there is no interval, nor with resamples that
 * are all alike (everything right): they know nothing of what was not drawn. */
static bool bootstrap(scorer *s, uint64_t seed, zeb_metric *metric) {
    int kinds = outcomes(s);
    size_t kept[ZEB_METRICS_MAX] = {0};
    double *value = calloc((size_t)ZEB_METRICS_MAX * ZEB_BOOTSTRAP_RESAMPLES, sizeof *value);
    if (value == NULL) return false;
    zeb_random random;
    zeb_random_seed(&random, seed);
    for (int resample = 0; resample < ZEB_BOOTSTRAP_RESAMPLES; resample++) {
        draw_weights(s, &random);
        outcome out = evaluate(s, s->weight);
        for (int i = 0; i < kinds; i++)
            if (out.defined[i]) value[i * ZEB_BOOTSTRAP_RESAMPLES + (int)kept[i]++] = out.value[i];
    }
    for (int i = 0; i < kinds; i++) {
        double *own = value + (ptrdiff_t)i * ZEB_BOOTSTRAP_RESAMPLES;
        if (!metric[i].defined || metric[i].has_interval || 2 * kept[i] < ZEB_BOOTSTRAP_RESAMPLES) continue;
        zeb_sort_doubles(own, kept[i]);
        double lo = zeb_quantile_sorted(own, kept[i], 0.025), hi = zeb_quantile_sorted(own, kept[i], 0.975);
        if (hi - lo > 1e-12) set_interval(&metric[i], lo, hi, "bootstrap");
    }
    free(value);
    return true;
}

static void name_metric(const zeb_task *task, int place, int metrics, zeb_metric *metric) {
    const char *first = zeb_metric_name(task->metric[0]), *second = zeb_metric_name(task->metric[1]);
    if (place == 0 && metrics == 2 && task->headline_mean)
        (void)snprintf(metric->name, sizeof metric->name, "mean_%.12s_%.12s", first, second);
    else
        zeb_text_copy(metric->name, sizeof metric->name, place == 2 ? second : first);
}

static zeb_status score(scorer *s, const zeb_dataset *d, const zeb_prediction *p, uint64_t seed, zeb_metric *metric,
                        zeb_error *error) {
    if (!allocate(s)) return zeb_fail(error, ZEB_ERR_MEMORY, "out of memory for the scores of %zu examples", s->n);
    zeb_status status = gather(s, d, p, error);
    if (status != ZEB_OK) return status;
    outcome out = evaluate(s, NULL);
    bool resample = false;
    for (int i = 0; i < outcomes(s); i++) {
        bool mean = i == 0 && outcomes(s) > 1 && s->task->headline_mean;
        metric[i].value = out.value[i];
        metric[i].defined = out.defined[i];
        zeb_metric_kind kind = mean ? ZEB_METRIC_NONE : s->task->metric[i > 0 ? i - 1 : 0];
        if (metric[i].defined && !closed_interval(s, kind, &metric[i])) resample = true;
    }
    /* One unit can be drawn in one way only: that says nothing about spread. */
    if (resample && s->units > 1 && !bootstrap(s, seed, metric))
        return zeb_fail(error, ZEB_ERR_MEMORY, "out of memory for resamples");
    return ZEB_OK;
}

zeb_status zeb_task_score(const zeb_task *t, const zeb_dataset *d, const zeb_prediction *p, size_t n, uint64_t seed,
                          zeb_metric *metric, size_t capacity, size_t *count, zeb_error *error) {
    scorer s = {.task = t, .n = n, .metrics = t->metric[1] == ZEB_METRIC_NONE ? 1 : 2};
    *count = 0;
    if (n > d->count) return zeb_fail(error, ZEB_ERR_ARGUMENT, "%zu predictions of %zu examples", n, d->count);
    if (capacity < (size_t)outcomes(&s))
        return zeb_fail(error, ZEB_ERR_ARGUMENT, "%s has %d scores; there is room for %zu", t->name, outcomes(&s),
                        capacity);
    for (int i = 0; i < outcomes(&s); i++) {
        metric[i] = (zeb_metric){0};
        name_metric(t, i, s.metrics, &metric[i]);
    }
    *count = (size_t)outcomes(&s);
    if (!d->labelled || n == 0) return ZEB_OK;
    zeb_status status = score(&s, d, p, seed, metric, error);
    release(&s);
    return status;
}
