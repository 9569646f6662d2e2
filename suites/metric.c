#include "suites/metric.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

const char *zeb_metric_name(zeb_metric_kind kind) {
    switch (kind) {
        case ZEB_METRIC_NONE: return "none";
        case ZEB_METRIC_ACCURACY: return "accuracy";
        case ZEB_METRIC_F1: return "f1";
        case ZEB_METRIC_MACRO_F1: return "macro_f1";
        case ZEB_METRIC_MATTHEWS: return "matthews";
        case ZEB_METRIC_PEARSON: return "pearson";
        case ZEB_METRIC_SPEARMAN: return "spearman";
        case ZEB_METRIC_F1_ANSWERS: return "f1a";
        case ZEB_METRIC_EXACT_QUESTIONS: return "em";
        case ZEB_METRIC_GENDER_PARITY: return "gender_parity";
        case ZEB_METRIC_CHOICE_ACCURACY: return "accuracy";
        case ZEB_METRIC_CHOICE_EXACT: return "em";
        case ZEB_METRIC_CHOICE_F1: return "f1";
    }
    return "none";
}

void zeb_confusion_count(const int32_t *truth, const int32_t *predicted, const uint32_t *weight, size_t n,
                         int32_t labels, double *confusion) {
    memset(confusion, 0, (size_t)labels * (size_t)labels * sizeof *confusion);
    for (size_t i = 0; i < n; i++)
        confusion[truth[i] * labels + predicted[i]] += weight == NULL ? 1 : weight[i];
}

/* Marginals of one class: right, in truth, in prediction. */
typedef struct margin {
    double right, truth, predicted;
} margin;

static margin class_margin(const double *confusion, int32_t labels, int32_t class) {
    margin m = {.right = confusion[class * labels + class]};
    for (int32_t other = 0; other < labels; other++) {
        m.truth += confusion[class * labels + other];
        m.predicted += confusion[other * labels + class];
    }
    return m;
}

static double class_f1(margin m) {
    return m.truth + m.predicted > 0 ? 2 * m.right / (m.truth + m.predicted) : 0;
}

static double macro_f1(const double *confusion, int32_t labels) {
    double sum = 0, classes = 0;
    for (int32_t class = 0; class < labels; class ++) {
        margin m = class_margin(confusion, labels, class);
        if (m.truth + m.predicted == 0) continue; /* a class that nobody names is no class of this sample */
        sum += class_f1(m);
        classes++;
    }
    return sum / classes;
}

static double matthews(const double *confusion, int32_t labels) {
    double right = 0, total = 0, both = 0, truths = 0, predictions = 0;
    for (int32_t class = 0; class < labels; class ++) {
        margin m = class_margin(confusion, labels, class);
        right += m.right;
        total += m.truth;
        both += m.truth * m.predicted;
        truths += m.truth * m.truth;
        predictions += m.predicted * m.predicted;
    }
    /* Counts are integers and exact in a double up to samples of 10^7: the zero test below is exact, too. */
    double spread_truth = total * total - truths, spread_predicted = total * total - predictions;
    if (spread_truth == 0 || spread_predicted == 0) return 0;
    return (right * total - both) / (sqrt(spread_truth) * sqrt(spread_predicted));
}

bool zeb_confusion_metric(zeb_metric_kind kind, const double *confusion, int32_t labels, double *value) {
    double total = 0, right = 0;
    for (int32_t i = 0; i < labels * labels; i++)
        total += confusion[i];
    for (int32_t i = 0; i < labels; i++)
        right += confusion[i * labels + i];
    *value = 0;
    if (total == 0) return false;
    switch (kind) {
        case ZEB_METRIC_ACCURACY: *value = right / total; return true;
        case ZEB_METRIC_F1:
        case ZEB_METRIC_F1_ANSWERS: *value = labels > 1 ? class_f1(class_margin(confusion, labels, 1)) : 0; return true;
        case ZEB_METRIC_MACRO_F1: *value = macro_f1(confusion, labels); return true;
        case ZEB_METRIC_MATTHEWS: *value = matthews(confusion, labels); return true;
        default: return false;
    }
}

/* True when every counted value is the same: then there is no correlation, whatever rounding makes of the mean. */
static bool is_constant(const double *value, const uint32_t *weight, size_t n) {
    size_t first = 0;
    while (first < n && weight != NULL && weight[first] == 0)
        first++;
    for (size_t i = first; i < n; i++)
        if ((weight == NULL || weight[i] > 0) && value[i] != value[first]) return false;
    return true;
}

/* Correlation knows no scale: squares of deviations brought to 1 stay in the range of a double, whatever the scores. */
static double largest_deviation(const double *value, size_t n, double mean) {
    double largest = 0;
    for (size_t i = 0; i < n; i++)
        largest = fmax(largest, fabs(value[i] - mean));
    return largest;
}

bool zeb_pearson(const double *x, const double *y, const uint32_t *weight, size_t n, double *value) {
    double total = 0, mean_x = 0, mean_y = 0, xx = 0, yy = 0, xy = 0;
    *value = 0;
    if (is_constant(x, weight, n) || is_constant(y, weight, n)) return false;
    for (size_t i = 0; i < n; i++) {
        double w = weight == NULL ? 1 : weight[i];
        total += w;
        mean_x += w * x[i];
        mean_y += w * y[i];
    }
    mean_x /= total;
    mean_y /= total;
    double scale_x = largest_deviation(x, n, mean_x), scale_y = largest_deviation(y, n, mean_y);
    for (size_t i = 0; i < n; i++) {
        double w = weight == NULL ? 1 : weight[i], dx = (x[i] - mean_x) / scale_x, dy = (y[i] - mean_y) / scale_y;
        xx += w * dx * dx;
        yy += w * dy * dy;
        xy += w * dx * dy;
    }
    double r = xy / (sqrt(xx) * sqrt(yy));
    if (!isfinite(r)) return false;
    *value = fmin(1, fmax(-1, r));
    return true;
}

/* qsort has no context, so that pairs are sorted. */
typedef struct placed {
    double value;
    size_t place;
} placed;

static int compare_placed(const void *a, const void *b) {
    const placed *x = a, *y = b;
    if (x->value != y->value) return x->value < y->value ? -1 : 1;
    return (x->place > y->place) - (x->place < y->place);
}

bool zeb_rank_order(const double *value, size_t n, size_t *order) {
    placed *sorted = n > 0 ? calloc(n, sizeof *sorted) : NULL;
    if (sorted == NULL) return n == 0;
    for (size_t i = 0; i < n; i++)
        sorted[i] = (placed){value[i], i};
    qsort(sorted, n, sizeof *sorted, compare_placed);
    for (size_t i = 0; i < n; i++)
        order[i] = sorted[i].place;
    free(sorted);
    return true;
}

void zeb_rank_weighted(const double *value, const size_t *order, const uint32_t *weight, size_t n, double *rank) {
    double before = 0; /* how many counted values stand before this run of equal ones */
    for (size_t start = 0, end; start < n; start = end) {
        double here = 0;
        for (end = start; end < n && value[order[end]] == value[order[start]]; end++)
            here += weight == NULL ? 1 : weight[order[end]];
        for (size_t i = start; i < end; i++)
            rank[order[i]] = before + (here + 1) / 2;
        before += here;
    }
}
