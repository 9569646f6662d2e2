/* Scores against scikit-learn and SciPy: golden_metrics.json, made by scripts/golden/make_metrics.py. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "suites/metric.h"

static zeb_metric_kind kind_of(const char *name) {
    for (int kind = ZEB_METRIC_ACCURACY; kind <= ZEB_METRIC_GENDER_PARITY; kind++)
        if (strcmp(zeb_metric_name((zeb_metric_kind)kind), name) == 0) return (zeb_metric_kind)kind;
    fail_msg("no metric \"%s\"", name);
    return ZEB_METRIC_NONE;
}

/* A task, a dataset and predictions out of thin air. */
typedef struct made {
    zeb_task task;
    zeb_dataset dataset;
    zeb_prediction *prediction;
    size_t n;
} made;

static made make(int32_t labels, size_t n) {
    made m = {.n = n};
    m.task = (zeb_task){
        .name = "test/made", .kind = labels > 1 ? ZEB_TASK_CLASSIFICATION : ZEB_TASK_REGRESSION, .labels = labels};
    m.dataset = (zeb_dataset){.labelled = true, .count = n};
    m.dataset.example = calloc(n + 1, sizeof(zeb_example));
    m.prediction = calloc(n + 1, sizeof(zeb_prediction));
    assert_non_null(m.dataset.example);
    assert_non_null(m.prediction);
    for (size_t i = 0; i < n; i++)
        m.dataset.example[i] = (zeb_example){.index = (int64_t)i, .group = -1};
    return m;
}

static void drop(made *m) {
    free(m->dataset.example);
    free(m->prediction);
}

static void set(made *m, size_t i, double truth, double predicted) {
    bool regression = m->task.kind == ZEB_TASK_REGRESSION; /* whose scores need not fit a label */
    m->dataset.example[i].label = regression ? -1 : (int32_t)truth;
    m->dataset.example[i].target = truth;
    m->prediction[i] = (zeb_prediction){.label = regression ? -1 : (int32_t)predicted, .score = predicted};
}

static size_t score(const made *m, uint64_t seed, zeb_metric metric[ZEB_METRICS_MAX]) {
    size_t count = 0;
    zeb_error error = {0};
    if (zeb_task_score(&m->task, &m->dataset, m->prediction, m->n, seed, metric, ZEB_METRICS_MAX, &count, &error) !=
        ZEB_OK)
        fail_msg("%s", error.text);
    return count;
}

static made make_case(const json_t *one) {
    const json_t *truth = json_object_get(one, "truth"), *predicted = json_object_get(one, "predicted");
    made m = make((int32_t)json_integer_value(json_object_get(one, "labels")), json_array_size(truth));
    const json_t *kinds = json_object_get(one, "kinds");
    for (size_t i = 0; i < json_array_size(kinds); i++)
        m.task.metric[i] = kind_of(json_string_value(json_array_get(kinds, i)));
    m.task.headline_mean = json_is_true(json_object_get(one, "mean"));
    for (size_t i = 0; i < m.n; i++)
        set(&m, i, json_number_value(json_array_get(truth, i)), json_number_value(json_array_get(predicted, i)));
    return m;
}

static void expect_near(const char *name, const char *what, double value, double expected, double tolerance) {
    if (!(fabs(value - expected) <= tolerance))
        fail_msg("%s: %s is %.17g, expected %.17g", name, what, value, expected);
}

static void check_metric(const char *name, const zeb_metric *got, const json_t *want) {
    assert_string_equal(got->name, json_string_value(json_object_get(want, "name")));
    const json_t *value = json_object_get(want, "value"), *lo = json_object_get(want, "lo");
    if (got->defined != !json_is_null(value)) fail_msg("%s: %s defined: %d", name, got->name, got->defined);
    expect_near(name, got->name, got->value, got->defined ? json_number_value(value) : 0, 1e-9);
    if (got->has_interval != (lo != NULL)) fail_msg("%s: %s has an interval: %d", name, got->name, got->has_interval);
    if (lo == NULL) {
        assert_true(got->lo == 0 && got->hi == 0);
        assert_string_equal(got->method, "");
        return;
    }
    assert_string_equal(got->method, json_string_value(json_object_get(want, "method")));
    expect_near(name, "lo", got->lo, json_number_value(lo), 1e-7);
    expect_near(name, "hi", got->hi, json_number_value(json_object_get(want, "hi")), 1e-7);
}

static void test_golden(void **state) {
    (void)state;
    json_error_t problem;
    json_t *golden = json_load_file(ZEB_SOURCE_DIR "/tests/unit/suites/golden_metrics.json", 0, &problem);
    if (golden == NULL) fail_msg("golden_metrics.json:%d: %s", problem.line, problem.text);
    uint64_t seed = (uint64_t)json_integer_value(json_object_get(golden, "seed"));
    const json_t *cases = json_object_get(golden, "cases");
    assert_true(json_array_size(cases) > 100);
    for (size_t i = 0; i < json_array_size(cases); i++) {
        const json_t *one = json_array_get(cases, i), *wanted = json_object_get(one, "metrics");
        const char *name = json_string_value(json_object_get(one, "name"));
        made m = make_case(one);
        zeb_metric metric[ZEB_METRICS_MAX];
        size_t count = score(&m, seed, metric);
        assert_int_equal(count, json_array_size(wanted));
        for (size_t k = 0; k < count; k++)
            check_metric(name, &metric[k], json_array_get(wanted, k));
        drop(&m);
    }
    json_decref(golden);
}

static void test_same_seed_same_interval(void **state) {
    (void)state;
    made m = make(2, 200);
    m.task.metric[0] = ZEB_METRIC_MATTHEWS;
    for (size_t i = 0; i < m.n; i++)
        set(&m, i, i % 3 == 0, i % 4 == 0);
    zeb_metric first[ZEB_METRICS_MAX], again[ZEB_METRICS_MAX], other[ZEB_METRICS_MAX];
    (void)score(&m, 7, first);
    (void)score(&m, 7, again);
    (void)score(&m, 8, other);
    assert_true(first[0].lo == again[0].lo && first[0].hi == again[0].hi);
    assert_true(first[0].lo != other[0].lo || first[0].hi != other[0].hi);
    assert_true(first[0].lo < first[0].value && first[0].value < first[0].hi);
    drop(&m);
}

static void test_unlabelled_data_has_no_score(void **state) {
    (void)state;
    made m = make(2, 5);
    m.task.metric[0] = ZEB_METRIC_ACCURACY;
    m.dataset.labelled = false;
    zeb_metric metric[ZEB_METRICS_MAX];
    assert_int_equal(score(&m, 1, metric), 1);
    assert_false(metric[0].defined);
    assert_false(metric[0].has_interval);
    assert_string_equal(metric[0].name, "accuracy");
    drop(&m);
}

static void expect_refused(const made *m, size_t n, size_t capacity, zeb_status status, const char *part) {
    zeb_metric metric[ZEB_METRICS_MAX];
    size_t count = 9;
    zeb_error error = {0};
    assert_int_equal(zeb_task_score(&m->task, &m->dataset, m->prediction, n, 1, metric, capacity, &count, &error),
                     status);
    if (strstr(error.text, part) == NULL) fail_msg("\"%s\" does not say \"%s\"", error.text, part);
}

static void test_broken_predictions(void **state) {
    (void)state;
    made m = make(2, 3);
    m.task.metric[0] = ZEB_METRIC_ACCURACY;
    m.prediction[1].label = 2;
    expect_refused(&m, 3, ZEB_METRICS_MAX, ZEB_ERR_RANGE, "row 1 is label 2 of 2");
    m.prediction[1].label = -1;
    expect_refused(&m, 3, ZEB_METRICS_MAX, ZEB_ERR_RANGE, "row 1");
    expect_refused(&m, 4, ZEB_METRICS_MAX, ZEB_ERR_ARGUMENT, "4 predictions of 3");
    expect_refused(&m, 3, 0, ZEB_ERR_ARGUMENT, "room for 0");
    drop(&m);
    m = make(1, 3);
    m.task.metric[0] = ZEB_METRIC_PEARSON;
    m.prediction[2].score = (double)NAN;
    expect_refused(&m, 3, ZEB_METRICS_MAX, ZEB_ERR_RANGE, "row 2 is not a finite number");
    m.prediction[2].score = (double)INFINITY;
    expect_refused(&m, 3, ZEB_METRICS_MAX, ZEB_ERR_RANGE, "row 2");
    drop(&m);
}

/* Questions of MultiRC: all answers of one must be right; F1a counts answers, and is resampled by question. */
static void test_questions(void **state) {
    (void)state;
    made m = make(2, 8);
    m.task.metric[0] = ZEB_METRIC_EXACT_QUESTIONS;
    m.task.metric[1] = ZEB_METRIC_F1_ANSWERS;
    static const int64_t question[] = {0, 0, 0, 1, 1, 2, 3, 3};
    static const int truth[] = {1, 0, 1, 0, 0, 1, 1, 0}, predicted[] = {1, 0, 1, 0, 1, 1, 0, 0};
    for (size_t i = 0; i < m.n; i++) {
        set(&m, i, truth[i], predicted[i]);
        m.dataset.example[i].group = question[i];
    }
    zeb_metric metric[ZEB_METRICS_MAX];
    assert_int_equal(score(&m, 1, metric), 3);
    assert_string_equal(metric[1].name, "em");
    expect_near("em", "value", metric[1].value, 2.0 / 4, 1e-15);
    assert_string_equal(metric[1].method, "wilson");
    expect_near("em", "lo", metric[1].lo, 0.15003898915214955, 1e-12); /* 2 of 4 questions, not of 8 answers */
    expect_near("f1a", "value", metric[2].value, 2 * 3.0 / (4 + 4), 1e-15);
    assert_string_equal(metric[2].method, "bootstrap");
    drop(&m);
}

static void test_gender_parity(void **state) {
    (void)state;
    made m = make(2, 6);
    m.task.metric[0] = ZEB_METRIC_ACCURACY;
    m.task.metric[1] = ZEB_METRIC_GENDER_PARITY;
    static const int truth[] = {0, 0, 1, 1, 0, 0}, predicted[] = {1, 1, 1, 0, 0, 0};
    for (size_t i = 0; i < m.n; i++) {
        set(&m, i, truth[i], predicted[i]);
        m.dataset.example[i].group = (int64_t)i / 2;
    }
    zeb_metric metric[ZEB_METRICS_MAX];
    assert_int_equal(score(&m, 1, metric), 3);
    expect_near("accuracy", "value", metric[0].value, 3.0 / 6, 1e-15);
    assert_string_equal(metric[0].method, "bootstrap"); /* pairs are not independent: Wilson would be too narrow */
    expect_near("parity", "value", metric[2].value, 2.0 / 3, 1e-15);
    drop(&m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden),
        cmocka_unit_test(test_same_seed_same_interval),
        cmocka_unit_test(test_unlabelled_data_has_no_score),
        cmocka_unit_test(test_broken_predictions),
        cmocka_unit_test(test_questions),
        cmocka_unit_test(test_gender_parity),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
