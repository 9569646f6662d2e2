#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "run/change.h"
#include "run/histogram.h"
#include "suites/interval.h"

enum { RESAMPLES = 2000, SEED = 1, SAMPLES_MOST = 100000 };

static const double CERTAIN = 0.01; /* p below this, corrected */

const char *zeb_change_name(zeb_change_kind kind) {
    static const char *const name[] = {"same",   "never-ok", "new",     "better", "faster",
                                       "slower", "worse",    "differs", "lost",   "missing"};
    return (unsigned)kind < ZEB_CHANGE_KINDS ? name[kind] : "";
}

const char *zeb_trend_name(zeb_trend trend) {
    static const char *const name[] = {"unknown", "same", "better", "worse"};
    return (unsigned)trend < sizeof name / sizeof name[0] ? name[trend] : "";
}

const char *zeb_score_test_name(zeb_score_test test) {
    static const char *const name[] = {"none", "intervals", "two-proportions", "mcnemar"};
    return (unsigned)test < sizeof name / sizeof name[0] ? name[test] : "";
}

/* Unknown is not the same: what no hash vouches for is not compared. */
static bool same_examples(const zeb_row *a, const zeb_row *b) {
    return a->data_hash[0] != '\0' && strcmp(a->data_hash, b->data_hash) == 0 && a->task_version.has &&
           b->task_version.has && a->task_version.value == b->task_version.value && a->examples == b->examples;
}

/* ---- time -----------------------------------------------------------------------------------------------------------
 */

typedef struct sample_list {
    uint64_t *value;
    size_t count;
} sample_list;

static uint64_t middle(uint64_t lo, uint64_t hi) {
    return lo + (hi - lo) / 2;
}

/* Evenly spaced ranks of a histogram, so many at most: fewer samples than there were make p and interval wider, never
 * narrower. */
static size_t unfold(const zeb_row *row, uint64_t *value) {
    uint64_t total = 0, below = 0;
    for (size_t b = 0; b < row->bucket_count; b++)
        total += row->bucket[b].count;
    size_t count = total < SAMPLES_MOST ? (size_t)total : SAMPLES_MOST, at = 0;
    for (size_t b = 0; b < row->bucket_count; b++) {
        below += row->bucket[b].count;
        while (at < count && ((double)at + 0.5) / (double)count * (double)total < (double)below)
            value[at++] = middle(row->bucket[b].lo_ns, row->bucket[b].hi_ns);
    }
    return at;
}

/* The samples of a row in memory of their own; binned: as the middles of a histogram's buckets, whatever they were. */
static zeb_status copy_samples(const zeb_row *row, bool binned, sample_list *list, zeb_error *error) {
    size_t most = row->bucket_count > 0 ? SAMPLES_MOST : row->sample_count;
    list->value = calloc(most > 0 ? most : 1, sizeof *list->value);
    if (list->value == NULL) return zeb_fail(error, ZEB_ERR_MEMORY, "no memory for %zu samples", most);
    if (row->bucket_count > 0) {
        list->count = unfold(row, list->value);
        return ZEB_OK;
    }
    for (list->count = 0; list->count < row->sample_count; list->count++) {
        uint64_t lo, hi, sample = row->sample_ns[list->count];
        zeb_histogram_bounds(zeb_histogram_bucket(sample), &lo, &hi);
        list->value[list->count] = binned ? middle(lo, hi) : sample;
    }
    return ZEB_OK;
}

static bool has_samples(const zeb_row *row) {
    return row->sample_count > 0 || row->bucket_count > 0;
}

static zeb_status measure_time(zeb_change *change, zeb_error *error) {
    const zeb_row *then = &change->then->row, *now = &change->now->row;
    if (!has_samples(then) || !has_samples(now)) return ZEB_OK;
    sample_list a = {0}, b = {0};
    zeb_rank_test test = {.p = 1};
    change->binned = then->bucket_count > 0 || now->bucket_count > 0;
    zeb_status status = copy_samples(then, change->binned, &a, error);
    if (status == ZEB_OK) status = copy_samples(now, change->binned, &b, error);
    if (status == ZEB_OK && (a.count == 0 || b.count == 0)) goto done;
    if (status == ZEB_OK) status = zeb_compare_ranks(a.value, a.count, b.value, b.count, &test, error);
    if (status != ZEB_OK) goto done;
    change->time_p = test.p;
    status = zeb_compare_medians(a.value, a.count, b.value, b.count, RESAMPLES, SEED, &change->ratio, error);
    change->has_ratio = status == ZEB_OK;
    if (status == ZEB_ERR_RANGE) status = ZEB_OK; /* a median of 0 ns has no ratio: that is unknown, not an error */
    if (change->binned) {                         /* each median is at most 1/256 of itself away */
        change->ratio.lo *= (1 - 1.0 / 256) / (1 + 1.0 / 256);
        change->ratio.hi *= (1 + 1.0 / 256) / (1 - 1.0 / 256);
    }
done:
    free(a.value);
    free(b.value);
    return status;
}

/* ---- scores ---------------------------------------------------------------------------------------------------------
 */

/* True where the metric is a share of the row's examples, which its Wilson interval tells: the accuracy of choices is
 * one of fewer. */
static bool is_share(const zeb_row_metric *m, uint64_t examples) {
    double lo, hi, n = (double)examples;
    if (examples == 0 || strcmp(m->name, "accuracy") != 0 || !m->value.has || !m->lo.has || !m->hi.has) return false;
    zeb_interval_wilson(m->value.value * n, n, ZEB_Z_95, &lo, &hi);
    return fabs(lo - m->lo.value) < 1e-6 && fabs(hi - m->hi.value) < 1e-6;
}

/* Two-sided p of two shares of n each. */
static double proportions_p(double a, double b, double n) {
    double mean = (a + b) / 2, variance = 2 * mean * (1 - mean) / n;
    return variance > 0 ? erfc(fabs(a - b) / sqrt(2 * variance)) : 1;
}

static void measure_score(zeb_change *change, const bool *then_right, const bool *now_right, size_t answers) {
    const zeb_row *then = &change->then->row, *now = &change->now->row;
    if (then->metric_count == 0 || now->metric_count == 0) return;
    const zeb_row_metric *a = &then->metric[0], *b = &now->metric[0];
    if (strcmp(a->name, b->name) != 0) return;
    if (!a->value.has || !b->value.has) { /* a score that has become undefined: all predictions alike, or not finite */
        change->score = a->value.has == b->value.has ? ZEB_TREND_SAME : a->value.has ? ZEB_TREND_DOWN : ZEB_TREND_UP;
        return;
    }
    if (then_right != NULL && now_right != NULL && answers > 0) {
        change->score_test = ZEB_SCORE_MCNEMAR;
        zeb_compare_answers(then_right, now_right, answers, &change->pairs);
        change->score_p = change->pairs.p_mid;
    } else if (is_share(a, then->examples) && is_share(b, now->examples)) {
        change->score_test = ZEB_SCORE_PROPORTIONS;
        change->score_p = proportions_p(a->value.value, b->value.value, (double)now->examples);
    } else if (a->lo.has && a->hi.has && b->lo.has && b->hi.has) {
        change->score_test = ZEB_SCORE_INTERVALS;
    } else if (a->value.value == b->value.value) {
        change->score = ZEB_TREND_SAME;
    }
}

zeb_status zeb_change_measure(zeb_change *change, const bool *then_right, const bool *now_right, size_t answers,
                              zeb_error *error) {
    if (!zeb_change_ok(change->then) || !zeb_change_ok(change->now)) return ZEB_OK;
    change->comparable = same_examples(&change->then->row, &change->now->row);
    if (change->comparable) measure_score(change, then_right, now_right, answers);
    return measure_time(change, error);
}

/* ---- all cases ------------------------------------------------------------------------------------------------------
 */

static bool has_time_p(const zeb_change *c) {
    return c->comparable && c->has_ratio;
}

static bool has_score_p(const zeb_change *c) {
    return c->score_test >= ZEB_SCORE_PROPORTIONS;
}

/* Holm's step-down: the k-th smallest of m p-values times m - k + 1, and never less than the one before. O(n^2) over
 * the cases of a run, so that nothing is allocated. */
static double holm(const zeb_change *change, size_t count, bool (*has)(const zeb_change *), bool time, double mine) {
    size_t tests = 0;
    double corrected = 0;
    for (size_t i = 0; i < count; i++)
        tests += has(&change[i]);
    for (size_t i = 0; i < count; i++) {
        double p = time ? change[i].time_p : change[i].score_p;
        if (!has(&change[i]) || p > mine) continue;
        size_t smaller = 0;
        for (size_t k = 0; k < count; k++)
            smaller += has(&change[k]) && (time ? change[k].time_p : change[k].score_p) < p;
        corrected = fmax(corrected, (double)(tests - smaller) * p);
    }
    return fmin(1, corrected);
}

static void settle_time(zeb_change *c, double tolerance) {
    if (!has_time_p(c)) return;
    c->time = ZEB_TREND_SAME;
    if (c->time_holm >= CERTAIN) return;
    if (c->ratio.lo > 1 + tolerance) c->time = ZEB_TREND_DOWN;
    if (c->ratio.hi < 1 / (1 + tolerance)) c->time = ZEB_TREND_UP;
}

static void settle_score(zeb_change *c) {
    if (c->score_test == ZEB_SCORE_NOT_TESTED) return;
    const zeb_row_metric *a = &c->then->row.metric[0], *b = &c->now->row.metric[0];
    c->score = ZEB_TREND_SAME;
    if (c->score_test == ZEB_SCORE_INTERVALS) {
        if (b->hi.value < a->lo.value) c->score = ZEB_TREND_DOWN;
        if (b->lo.value > a->hi.value) c->score = ZEB_TREND_UP;
        return;
    }
    double gain = b->value.value - a->value.value;
    if (c->score_test == ZEB_SCORE_MCNEMAR) gain = (double)c->pairs.only_b - (double)c->pairs.only_a;
    if (c->score_holm < CERTAIN) c->score = gain < 0 ? ZEB_TREND_DOWN : ZEB_TREND_UP;
}

static zeb_change_kind kind_of(const zeb_change *c) {
    if (c->now == NULL) return ZEB_CHANGE_MISSING;
    if (!zeb_change_ok(c->now)) return zeb_change_ok(c->then) ? ZEB_CHANGE_LOST : ZEB_CHANGE_NEVER_OK;
    if (!zeb_change_ok(c->then)) return ZEB_CHANGE_NEW;
    if (!c->comparable) return ZEB_CHANGE_DIFFERS;
    if (c->score == ZEB_TREND_DOWN) return ZEB_CHANGE_WORSE;
    if (c->time == ZEB_TREND_DOWN) return ZEB_CHANGE_SLOWER;
    if (c->time == ZEB_TREND_UP) return ZEB_CHANGE_FASTER;
    return c->score == ZEB_TREND_UP ? ZEB_CHANGE_BETTER : ZEB_CHANGE_SAME;
}

void zeb_changes_settle(zeb_change *change, size_t count, double tolerance) {
    for (size_t i = 0; i < count; i++) {
        zeb_change *c = &change[i];
        if (has_time_p(c)) c->time_holm = holm(change, count, has_time_p, true, c->time_p);
        if (has_score_p(c)) c->score_holm = holm(change, count, has_score_p, false, c->score_p);
        settle_time(c, tolerance);
        settle_score(c);
        c->kind = kind_of(c);
    }
}
