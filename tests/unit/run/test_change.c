/* Which rows are of one case, and what becomes of a pair: on rows that are built here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/random.h"
#include "run/change.h"
#include "run/change_answers.h"
#include "run/histogram.h"
#include "suites/interval.h"

enum { SAMPLES = 400, EXAMPLES = 872 };

typedef struct fixture {
    zeb_arena *arena;
    zeb_error error;
} fixture;

static int setup(void **state) {
    fixture *f = calloc(1, sizeof *f);
    *state = f;
    return f != NULL && zeb_arena_create(&f->arena, &f->error) == ZEB_OK ? 0 : -1;
}

static int teardown(void **state) {
    fixture *f = *state;
    zeb_arena_destroy(f->arena);
    free(f);
    return 0;
}

static void *take(fixture *f, size_t count, size_t size) {
    void *memory = NULL;
    assert_int_equal(zeb_arena_alloc(f->arena, count, size, &memory, &f->error), ZEB_OK);
    return memory;
}

static void set(char *to, const char *text) {
    (void)snprintf(to, 32, "%s", text);
}

/* An ok row of plugin gpu, all of whose settings are known. */
static zeb_record ok_row(int64_t id, const char *device) {
    zeb_record r = {.id = id, .run_id = id, .run = {.host = "lab", .zeb_version = "1"}};
    zeb_row *row = &r.row;
    row->outcome = ZEB_OUTCOME_OK;
    set(row->model, "bert");
    row->model_path = "/models/bert";
    set(row->model_hash, "aaaa");
    set(row->task, "glue/sst2");
    set(row->split, "dev");
    set(row->data_hash, "dddd");
    row->task_version = zeb_i64(2);
    row->examples = EXAMPLES;
    set(row->backend, "gpu");
    set(row->device, device);
    set(row->driver, "525");
    set(row->precision, "fp32");
    set(row->policy, "dense");
    set(row->scenario, "single");
    set(row->requested.precision, "fp32");
    row->requested.threads = zeb_i64(2);
    row->requested.pinned = zeb_i64(1);
    row->requested.batch = zeb_i64(32);
    row->requested.seq_max = zeb_i64(128);
    row->n = SAMPLES;
    return r;
}

/* What a worker leaves that died before its device opened. */
static zeb_record crashed_row(int64_t id) {
    zeb_record r = ok_row(id, "");
    r.row.outcome = ZEB_OUTCOME_CRASHED;
    r.row.model_hash[0] = r.row.data_hash[0] = r.row.driver[0] = '\0';
    r.row.examples = r.row.n = 0;
    return r;
}

/* Times around median_ns with a spread of some percent, from a seed. */
static void give_times(fixture *f, zeb_record *r, double median_ns, uint64_t seed) {
    uint64_t *sample = take(f, SAMPLES, sizeof *sample);
    zeb_random random;
    zeb_random_seed(&random, seed);
    for (int i = 0; i < SAMPLES; i++)
        sample[i] = (uint64_t)(median_ns * (0.97 + 0.06 * zeb_random_unit(&random)));
    r->row.sample_ns = sample;
    r->row.sample_count = SAMPLES;
    r->row.latency.p50.value = zeb_f64(median_ns);
}

static void give_accuracy(fixture *f, zeb_record *r, int right, int of) {
    zeb_row_metric *m = take(f, 1, sizeof *m);
    double lo, hi;
    zeb_interval_wilson(right, of, ZEB_Z_95, &lo, &hi);
    *m = (zeb_row_metric){.name = "accuracy",
                          .method = "wilson",
                          .defined = true,
                          .value = zeb_f64((double)right / of),
                          .lo = zeb_f64(lo),
                          .hi = zeb_f64(hi)};
    r->row.metric = m;
    r->row.metric_count = 1;
}

static void assert_near(double value, double expected, double within) {
    if (!(fabs(value - expected) <= within)) fail_msg("%.9g instead of %.9g", value, expected);
}

/* ---- pairs ----------------------------------------------------------------------------------------------------------
 */

static zeb_change *pair(fixture *f, zeb_record *then, size_t then_count, zeb_record *expected, size_t expected_count,
                        zeb_record *now, size_t now_count, bool any_place, size_t *count) {
    zeb_change *change;
    assert_int_equal(zeb_changes_pair(then, then_count, expected, expected_count, now, now_count, any_place, f->arena,
                                      &change, count, &f->error),
                     ZEB_OK);
    return change;
}

/* The row that `now` is paired with, where `then` is all that there was. */
static const zeb_record *partner(fixture *f, zeb_record then, zeb_record now) {
    size_t count;
    zeb_record *both = take(f, 2, sizeof *both);
    both[0] = then;
    both[1] = now;
    return pair(f, &both[0], 1, NULL, 0, &both[1], 1, false, &count)[0].then;
}

static void test_a_case_is_what_was_asked_for(void **state) {
    fixture *f = *state;
    zeb_record now = ok_row(9, "0");
    assert_non_null(partner(f, ok_row(1, "0"), now));
#define IS_ANOTHER_CASE(change)                                                                                        \
    do {                                                                                                               \
        zeb_record other = ok_row(1, "0");                                                                             \
        zeb_row *row = &other.row;                                                                                     \
        (void)row;                                                                                                     \
        change;                                                                                                        \
        if (partner(f, other, now) != NULL) fail_msg("the same case in spite of " #change);                            \
    } while (false)
    IS_ANOTHER_CASE(set(row->model, "other"));
    IS_ANOTHER_CASE(set(row->task, "glue/rte"));
    IS_ANOTHER_CASE(set(row->split, "test"));
    IS_ANOTHER_CASE(set(row->backend, "cpu"));
    IS_ANOTHER_CASE(set(row->device, "1"));
    IS_ANOTHER_CASE(set(row->policy, "half"));
    IS_ANOTHER_CASE(set(row->scenario, "offline"));
    IS_ANOTHER_CASE(set(row->requested.precision, "auto"));
    IS_ANOTHER_CASE(set(row->requested.isa, "avx2"));
    IS_ANOTHER_CASE(row->requested.threads = zeb_i64(1));
    IS_ANOTHER_CASE(row->requested.threads = (zeb_maybe_i64){0});
    IS_ANOTHER_CASE(row->requested.pinned = zeb_i64(0));
    IS_ANOTHER_CASE(row->requested.batch = zeb_i64(1));
    IS_ANOTHER_CASE(row->requested.seq_max = zeb_i64(64));
    IS_ANOTHER_CASE(row->requested.limit = zeb_i64(10));
    IS_ANOTHER_CASE(other.run.host = "elsewhere");
    IS_ANOTHER_CASE((row->model_path = "/other/bert", set(row->model_hash, "bbbb")));
#undef IS_ANOTHER_CASE
}

/* A row that tells all that was asked is known by that: names of what was opened are others where nothing was. */
static void test_a_failed_row_is_known_by_what_was_asked(void **state) {
    fixture *f = *state;
    zeb_record then = ok_row(1, "0"), now = crashed_row(9);
    then.row.requested.device = now.row.requested.device = "gpu";
    then.row.requested.policy = now.row.requested.policy = "/p/half.json";
    then.row.requested.data = now.row.requested.data = "/data";
    then.row.requested.tune = now.row.requested.tune = zeb_i64(0);
    set(then.row.policy, "half");
    set(now.row.policy, "half.json");
    set(now.row.model, "folder");
    assert_non_null(partner(f, then, now));
    zeb_record other = then;
    other.row.requested.device = "gpu:1";
    assert_null(partner(f, other, now));
    other = then;
    other.row.requested.policy = "/q/half.json";
    assert_null(partner(f, other, now));
    other = then;
    other.row.requested.data = "/elsewhere";
    assert_null(partner(f, other, now));
    other = then;
    other.row.requested.tune = zeb_i64(1);
    assert_null(partner(f, other, now));
    other = then; /* of an older schema: by its names */
    other.row.requested.device = other.row.requested.policy = other.row.requested.data = NULL;
    other.row.requested.tune = (zeb_maybe_i64){0};
    assert_null(partner(f, other, now));
    set(now.row.policy, "half");
    set(now.row.model, "bert");
    assert_non_null(partner(f, other, now));
}

static void test_what_only_explains_is_no_part_of_a_case(void **state) {
    fixture *f = *state;
    zeb_record then = ok_row(1, "0");
    set(then.row.model_hash, "bbbb"); /* trained anew at the same place */
    set(then.row.driver, "510");
    then.row.seed = zeb_u64(7);
    then.row.requested.target_ci = zeb_f64(0.5);
    set(then.row.effective.isa, "avx2");
    assert_non_null(partner(f, then, ok_row(9, "0")));
    then = ok_row(1, "0");
    then.row.model_path = "/moved/bert"; /* the same weights at another place */
    assert_non_null(partner(f, then, ok_row(9, "0")));
}

static void test_the_newest_ok_row_of_the_same_policy_is_taken(void **state) {
    fixture *f = *state;
    size_t count;
    zeb_record now = ok_row(9, "0");
    set(now.row.policy_hash, "p1");
    zeb_record then[4] = {ok_row(1, "0"), ok_row(2, "0"), ok_row(3, "0"), crashed_row(4)};
    set(then[0].row.policy_hash, "p1");
    set(then[1].row.policy_hash, "p1");
    set(then[2].row.policy_hash, "p2");
    assert_ptr_equal(pair(f, then, 4, NULL, 0, &now, 1, false, &count)->then, &then[1]);
    set(now.row.policy_hash, "p3"); /* no such policy before: the newest of that name */
    assert_ptr_equal(pair(f, then, 4, NULL, 0, &now, 1, false, &count)->then, &then[2]);
    assert_ptr_equal(pair(f, &then[3], 1, NULL, 0, &now, 1, false, &count)->then, &then[3]);
}

static void test_a_base_may_be_of_another_host(void **state) {
    fixture *f = *state;
    size_t count;
    zeb_record now = ok_row(9, "0"), base = ok_row(1, "0");
    base.run.host = "elsewhere";
    base.row.model_path = "/home/other/bert";
    set(base.row.model_hash, "bbbb");
    assert_null(pair(f, NULL, 0, &base, 1, &now, 1, false, &count)->then);
    assert_int_equal(count, 2); /* the other is missed then */
    assert_ptr_equal(pair(f, NULL, 0, &base, 1, &now, 1, true, &count)->then, &base);
    assert_int_equal(count, 1);
}

static void test_a_crashed_row_stands_for_the_device_that_no_other_row_has(void **state) {
    fixture *f = *state;
    size_t count;
    zeb_record then[2] = {ok_row(1, "0"), ok_row(2, "1")};
    zeb_record now[2] = {crashed_row(8), ok_row(9, "1")};
    zeb_change *change = pair(f, then, 2, then, 2, now, 2, false, &count);
    assert_int_equal(count, 2);
    assert_ptr_equal(change[0].then, &then[0]);
    assert_ptr_equal(change[1].then, &then[1]);
    zeb_record turned[2] = {crashed_row(8), ok_row(9, "0")}; /* in another order, the crashed one is still device 1 */
    change = pair(f, then, 2, then, 2, turned, 2, false, &count);
    assert_int_equal(count, 2);
    assert_ptr_equal(change[0].then, &then[1]);
    assert_ptr_equal(change[1].then, &then[0]);
    zeb_record both[2] = {crashed_row(8), crashed_row(9)};
    change = pair(f, then, 2, then, 2, both, 2, false, &count);
    assert_int_equal(count, 2);
    assert_ptr_equal(change[0].then, &then[0]);
    assert_ptr_equal(change[1].then, &then[1]);
}

static void test_what_was_expected_and_is_not_there_is_missing(void **state) {
    fixture *f = *state;
    size_t count;
    zeb_record now = ok_row(9, "0");
    zeb_record expected[4] = {ok_row(5, "0"), crashed_row(6), ok_row(7, "2"), crashed_row(8)};
    set(expected[1].row.device, "1");
    set(expected[3].row.device, "3"); /* never was ok: nothing was lost with it */
    zeb_record then[2] = {ok_row(1, "1"), ok_row(2, "2")};
    zeb_change *change = pair(f, then, 2, expected, 4, &now, 1, false, &count);
    assert_int_equal(count, 3);
    assert_ptr_equal(change[0].then, &expected[0]);
    assert_null(change[1].now);
    assert_ptr_equal(change[1].then, &then[0]); /* the last good row of a case that crashed the night before */
    assert_null(change[2].now);
    assert_ptr_equal(change[2].then, &expected[2]);
    zeb_record twice[2] = {ok_row(5, "0"), ok_row(6, "0")}; /* two policies of one name, say */
    (void)pair(f, NULL, 0, twice, 2, &now, 1, false, &count);
    assert_int_equal(count, 2);
}

/* ---- judgements -----------------------------------------------------------------------------------------------------
 */

static zeb_change judge_answers(fixture *f, zeb_record *then, zeb_record *now, const bool *then_right,
                                const bool *now_right, size_t answers) {
    zeb_change change = {.then = then, .now = now};
    assert_int_equal(zeb_change_measure(&change, then_right, now_right, answers, &f->error), ZEB_OK);
    zeb_changes_settle(&change, 1, 0.05);
    return change;
}

static zeb_change judge(fixture *f, zeb_record *then, zeb_record *now) {
    return judge_answers(f, then, now, NULL, NULL, 0);
}

static void assert_kind(zeb_change_kind expected, const zeb_change *change) {
    if (change->kind != expected)
        fail_msg("%s instead of %s (ratio %g [%g, %g], p %g; score p %g)", zeb_change_name(change->kind),
                 zeb_change_name(expected), change->ratio.value, change->ratio.lo, change->ratio.hi, change->time_holm,
                 change->score_holm);
}

static void test_times(void **state) {
    fixture *f = *state;
    const struct {
        double ratio;
        zeb_change_kind kind;
    } table[] = {{1, ZEB_CHANGE_SAME},    {1.04, ZEB_CHANGE_SAME},   {1.08, ZEB_CHANGE_SLOWER}, {3, ZEB_CHANGE_SLOWER},
                 {0.97, ZEB_CHANGE_SAME}, {0.92, ZEB_CHANGE_FASTER}, {0.3, ZEB_CHANGE_FASTER}};
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        zeb_record then = ok_row(1, "0"), now = ok_row(2, "0");
        give_times(f, &then, 1e6, 1);
        give_times(f, &now, 1e6 * table[i].ratio, 2);
        zeb_change change = judge(f, &then, &now);
        assert_kind(table[i].kind, &change);
        assert_true(change.has_ratio && !change.binned);
        assert_true(change.ratio.value > table[i].ratio * 0.99 && change.ratio.value < table[i].ratio * 1.01);
    }
}

static void test_few_samples_prove_nothing(void **state) {
    fixture *f = *state;
    zeb_record then = ok_row(1, "0"), now = ok_row(2, "0");
    give_times(f, &then, 1e6, 1);
    give_times(f, &now, 2e6, 2);
    then.row.sample_count = now.row.sample_count = 3; /* all twice as long, yet p is 2/20 */
    zeb_change change = judge(f, &then, &now);
    assert_true(change.ratio.lo > 1.5);
    assert_kind(ZEB_CHANGE_SAME, &change);
}

static void test_rows_without_samples_are_not_judged_by_time(void **state) {
    fixture *f = *state;
    zeb_record then = ok_row(1, "0"), now = ok_row(2, "0");
    give_times(f, &now, 2e6, 2);
    zeb_change change = judge(f, &then, &now);
    assert_false(change.has_ratio);
    assert_int_equal(change.time, ZEB_TREND_UNKNOWN);
    assert_kind(ZEB_CHANGE_SAME, &change);
}

/* The samples of a row as the histogram that takes their place past 100,000. */
static void fold_times(fixture *f, zeb_record *r, uint64_t weight) {
    zeb_histogram *h = calloc(1, sizeof *h);
    assert_non_null(h);
    for (size_t i = 0; i < r->row.sample_count; i++)
        zeb_histogram_add(h, r->row.sample_ns[i]);
    zeb_row_bucket *bucket = take(f, SAMPLES, sizeof *bucket);
    for (size_t b = 0; b < ZEB_HISTOGRAM_BUCKETS; b++) {
        if (h->count[b] == 0) continue;
        zeb_row_bucket *to = &bucket[r->row.bucket_count++];
        zeb_histogram_bounds(b, &to->lo_ns, &to->hi_ns);
        to->count = h->count[b] * weight;
    }
    free(h);
    r->row.bucket = bucket;
    r->row.sample_count = 0;
    r->row.sample_ns = NULL;
}

static void test_histograms(void **state) {
    fixture *f = *state;
    for (int folded = 1; folded <= 3; folded++) { /* then, now, both */
        zeb_record then = ok_row(1, "0"), now = ok_row(2, "0"), slow = ok_row(3, "0");
        give_times(f, &then, 1e6, 1);
        give_times(f, &now, 1e6, 2);
        give_times(f, &slow, 1.2e6, 3);
        zeb_change exact = judge(f, &then, &slow);
        zeb_record unfolded = then;
        if (folded & 1) fold_times(f, &then, 1000);
        if (folded & 2) fold_times(f, &now, 1000);
        if (folded & 2) fold_times(f, &slow, 1000);
        zeb_change change = judge(f, &unfolded, &then); /* itself, in the same buckets: nothing between them */
        assert_int_equal(change.binned, folded & 1);
        assert_near(change.ratio.value, 1, 1e-12);
        change = judge(f, &then, &now);
        assert_true(change.binned);
        assert_kind(ZEB_CHANGE_SAME, &change);
        assert_true(change.ratio.lo < 1 - 1.0 / 256 && change.ratio.hi > 1 + 1.0 / 256);
        change = judge(f, &then, &slow);
        assert_kind(ZEB_CHANGE_SLOWER, &change);
        assert_true(change.ratio.lo < exact.ratio.value && exact.ratio.value < change.ratio.hi);
    }
}

/* One case in a hundred is slower by chance with p 0.003, which is no news; one by itself is. */
static void test_holm(void **state) {
    fixture *f = *state;
    enum { CASES = 100 };
    zeb_record *then = take(f, CASES, sizeof *then), *now = take(f, CASES, sizeof *now);
    zeb_change *change = take(f, CASES, sizeof *change);
    for (int i = 0; i < CASES; i++) {
        then[i] = ok_row(i + 1, "0");
        now[i] = ok_row(i + 1001, "0");
        change[i] = (zeb_change){.then = &then[i],
                                 .now = &now[i],
                                 .comparable = true,
                                 .has_ratio = true,
                                 .ratio = {.value = 1.2, .lo = 1.1, .hi = 1.3},
                                 .time_p = i == 0   ? 0.00001
                                           : i == 1 ? 0.003
                                                    : 0.5};
    }
    zeb_changes_settle(change, CASES, 0.05);
    assert_kind(ZEB_CHANGE_SLOWER, &change[0]);
    assert_near(change[0].time_holm, 0.001, 1e-9);
    assert_kind(ZEB_CHANGE_SAME, &change[1]);
    assert_near(change[1].time_holm, 99 * 0.003, 1e-9);
    assert_near(change[2].time_holm, 1, 0);
    zeb_changes_settle(&change[1], 1, 0.05);
    assert_kind(ZEB_CHANGE_SLOWER, &change[1]);
    zeb_changes_settle(&change[1], 1, 0.15); /* the tolerance is above the interval's lower end */
    assert_kind(ZEB_CHANGE_SAME, &change[1]);
}

static void test_outcomes(void **state) {
    fixture *f = *state;
    zeb_record then = ok_row(1, "0"), now = ok_row(2, "0"), crashed = crashed_row(3), earlier = crashed_row(4);
    give_times(f, &then, 1e6, 1);
    give_times(f, &now, 1e6, 2);
    const struct {
        zeb_record *then, *now;
        zeb_change_kind kind;
        bool loss;
    } table[] = {{&then, &crashed, ZEB_CHANGE_LOST, true},
                 {&then, NULL, ZEB_CHANGE_MISSING, true},
                 {NULL, &now, ZEB_CHANGE_NEW, false},
                 {&earlier, &now, ZEB_CHANGE_NEW, false},
                 {&earlier, &crashed, ZEB_CHANGE_NEVER_OK, false},
                 {NULL, &crashed, ZEB_CHANGE_NEVER_OK, false},
                 {&then, &now, ZEB_CHANGE_SAME, false}};
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        zeb_change change = judge(f, table[i].then, table[i].now);
        assert_kind(table[i].kind, &change);
        assert_int_equal(zeb_change_is_loss(change.kind), table[i].loss);
    }
}

static void test_other_data_is_not_compared(void **state) {
    fixture *f = *state;
    for (int what = 0; what < 4; what++) {
        zeb_record then = ok_row(1, "0"), now = ok_row(2, "0");
        give_times(f, &then, 1e6, 1);
        give_times(f, &now, 3e6, 2);
        give_accuracy(f, &then, 800, EXAMPLES);
        give_accuracy(f, &now, 400, EXAMPLES);
        if (what == 0) set(now.row.data_hash, "eeee");
        if (what == 1) now.row.task_version = zeb_i64(3);
        if (what == 2) now.row.examples = EXAMPLES - 1;
        if (what == 3) then.row.data_hash[0] = now.row.data_hash[0] = '\0';
        zeb_change change = judge(f, &then, &now);
        assert_kind(ZEB_CHANGE_DIFFERS, &change);
        assert_int_equal(change.time, ZEB_TREND_UNKNOWN);
        assert_int_equal(change.score, ZEB_TREND_UNKNOWN);
    }
}

static void test_accuracies(void **state) {
    fixture *f = *state;
    const struct {
        int then, now;
        zeb_change_kind kind;
    } table[] = {{794, 794, ZEB_CHANGE_SAME},
                 {794, 790, ZEB_CHANGE_SAME},
                 {794, 744, ZEB_CHANGE_WORSE}, /* 91.1 -> 85.3: z = 3.7 */
                 {744, 794, ZEB_CHANGE_BETTER}};
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        zeb_record then = ok_row(1, "0"), now = ok_row(2, "0");
        give_accuracy(f, &then, table[i].then, EXAMPLES);
        give_accuracy(f, &now, table[i].now, EXAMPLES);
        zeb_change change = judge(f, &then, &now);
        assert_kind(table[i].kind, &change);
        assert_int_equal(change.score_test, ZEB_SCORE_PROPORTIONS);
    }
    /* z of 794 and 744 of 872 by hand: 50/872 over sqrt(2 m (1 - m) / 872), m = 769/872; p from a table of the normal
     */
    zeb_record then = ok_row(1, "0"), now = ok_row(2, "0");
    give_accuracy(f, &then, 794, EXAMPLES);
    give_accuracy(f, &now, 744, EXAMPLES);
    zeb_change change = judge(f, &then, &now);
    assert_near(change.score_p, 0.000207, 0.00001);
}

/* An accuracy of choices is one of half as many questions as rows, and must not pass for more than it is. */
static void test_an_accuracy_of_fewer_is_judged_by_its_interval(void **state) {
    fixture *f = *state;
    zeb_record then = ok_row(1, "0"), now = ok_row(2, "0");
    give_accuracy(f, &then, 397, EXAMPLES / 2);
    give_accuracy(f, &now, 372, EXAMPLES / 2);
    zeb_change change = judge(f, &then, &now);
    assert_int_equal(change.score_test, ZEB_SCORE_INTERVALS);
    assert_kind(ZEB_CHANGE_SAME, &change);
    give_accuracy(f, &now, 340, EXAMPLES / 2);
    change = judge(f, &then, &now);
    assert_kind(ZEB_CHANGE_WORSE, &change);
    change = judge(f, &now, &then);
    assert_kind(ZEB_CHANGE_BETTER, &change);
}

static void test_a_score_that_is_no_longer_defined_is_worse(void **state) {
    fixture *f = *state;
    zeb_record then = ok_row(1, "0"), now = ok_row(2, "0");
    give_accuracy(f, &then, 794, EXAMPLES);
    const zeb_row_metric none = {.name = "accuracy"};
    now.row.metric = &none;
    now.row.metric_count = 1;
    zeb_change change = judge(f, &then, &now);
    assert_kind(ZEB_CHANGE_WORSE, &change);
    change = judge(f, &now, &then);
    assert_kind(ZEB_CHANGE_BETTER, &change);
}

/* Ten answers fewer are too few for two proportions, and many for the same questions. */
static void test_answers_to_the_same_questions_tell_more(void **state) {
    fixture *f = *state;
    zeb_record then = ok_row(1, "0"), now = ok_row(2, "0");
    bool *a = take(f, EXAMPLES, sizeof *a), *b = take(f, EXAMPLES, sizeof *b);
    for (int i = 0; i < EXAMPLES; i++) {
        a[i] = i < 794;
        b[i] = i < 784;
    }
    give_accuracy(f, &then, 794, EXAMPLES);
    give_accuracy(f, &now, 784, EXAMPLES);
    zeb_change change = judge(f, &then, &now);
    assert_kind(ZEB_CHANGE_SAME, &change);
    change = judge_answers(f, &then, &now, a, b, EXAMPLES);
    assert_int_equal(change.score_test, ZEB_SCORE_MCNEMAR);
    assert_int_equal(change.pairs.only_a, 10);
    assert_int_equal(change.pairs.only_b, 0);
    assert_kind(ZEB_CHANGE_WORSE, &change);
    change = judge_answers(f, &now, &then, b, a, EXAMPLES);
    assert_kind(ZEB_CHANGE_BETTER, &change);
    change = judge_answers(f, &then, &now, b, b, EXAMPLES);
    assert_kind(ZEB_CHANGE_SAME, &change);
}

static void test_a_worse_score_is_graver_than_a_slower_pass(void **state) {
    fixture *f = *state;
    zeb_record then = ok_row(1, "0"), now = ok_row(2, "0");
    give_times(f, &then, 1e6, 1);
    give_times(f, &now, 2e6, 2);
    give_accuracy(f, &then, 794, EXAMPLES);
    give_accuracy(f, &now, 500, EXAMPLES);
    zeb_change change = judge(f, &then, &now);
    assert_kind(ZEB_CHANGE_WORSE, &change);
    assert_int_equal(change.time, ZEB_TREND_DOWN);
    give_times(f, &now, 0.5e6, 2); /* nor does it help that it is faster */
    change = judge(f, &then, &now);
    assert_kind(ZEB_CHANGE_WORSE, &change);
}

static void test_differences(void **state) {
    (void)state;
    zeb_record then = ok_row(1, "0"), now = ok_row(2, "0");
    const zeb_change change = {.then = &then, .now = &now};
    zeb_difference d[ZEB_DIFFERENCES_MAX];
    assert_int_equal(zeb_change_differences(&change, d), 0);
    set(now.row.driver, "530");
    set(now.row.model_hash, "0123456789abcdef");
    now.row.effective.threads = zeb_i64(2); /* unknown then */
    then.row.effective.batch = zeb_i64(1);
    now.row.effective.batch = zeb_i64(2);
    now.run.zeb_commit = "c1";
    assert_int_equal(zeb_change_differences(&change, d), 4);
    assert_string_equal(d[0].what, "model_hash");
    assert_string_equal(d[0].now, "0123456789ab");
    assert_string_equal(d[1].what, "driver");
    assert_string_equal(d[1].then, "525");
    assert_string_equal(d[1].now, "530");
    assert_string_equal(d[2].what, "batch");
    assert_string_equal(d[3].what, "zeb_commit");
    assert_string_equal(d[3].then, "");
    const zeb_change alone = {.now = &now};
    assert_int_equal(zeb_change_differences(&alone, d), 0);
}

/* ---- files of answers -----------------------------------------------------------------------------------------------
 */

typedef struct answer_files {
    char path[2][64];
    zeb_answers *answers;
} answer_files;

static void write_text(char path[64], const char *text) {
    (void)snprintf(path, 64, "/tmp/zeb-answers-XXXXXX");
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    FILE *file = fdopen(fd, "w");
    assert_non_null(file);
    (void)fputs(text, file);
    assert_int_equal(fclose(file), 0);
}

#define LINE(device, index, label, prediction)                                                                         \
    "{\"model\": \"bert\", \"task\": \"glue/sst2\", \"device\": \"" device "\", \"index\": " #index                    \
    ", \"label\": " #label ", \"prediction\": " #prediction ", \"scores\": [0, 1]}\n"

/* The answers that two texts give for rows of three examples, of which `then` and `now` have so many right. */
static size_t count_answers(fixture *f, const char *then_text, const char *now_text, int then_right, int now_right,
                            const bool **a, const bool **b, char note[256]) {
    answer_files files;
    size_t count = 0;
    zeb_record then = ok_row(1, "0"), now = ok_row(2, "0");
    give_accuracy(f, &then, then_right, 3);
    give_accuracy(f, &now, now_right, 3);
    then.row.examples = now.row.examples = 3;
    write_text(files.path[0], then_text);
    write_text(files.path[1], now_text);
    assert_int_equal(zeb_answers_open(files.path[0], files.path[1], &files.answers, &f->error), ZEB_OK);
    assert_int_equal(zeb_answers_pair(files.answers, &then.row, &now.row, f->arena, a, b, &count, &f->error), ZEB_OK);
    (void)snprintf(note, 256, "%s", zeb_answers_note(files.answers));
    zeb_answers_close(files.answers);
    (void)remove(files.path[0]);
    (void)remove(files.path[1]);
    return count;
}

static void test_answers_are_paired(void **state) {
    fixture *f = *state;
    const bool *a = NULL, *b = NULL;
    char note[256];
    const char *two = LINE("gpu", 0, 1, 1) LINE("gpu", 1, 0, 1) LINE("gpu", 4, 1, 1);
    const char *one = LINE("cpu", 0, 1, 1) LINE("gpu:0", 0, 1, 0) LINE("gpu:0", 1, 0, 1) LINE("gpu:0", 4, 1, 1);
    assert_int_equal(count_answers(f, two, one, 2, 1, &a, &b, note), 3);
    const bool expect_a[] = {true, false, true}, expect_b[] = {false, false, true};
    assert_memory_equal(a, expect_a, sizeof expect_a);
    assert_memory_equal(b, expect_b, sizeof expect_b);
    assert_string_equal(note, "");
}

static void test_answers_that_are_not_the_rows_are_not_used(void **state) {
    fixture *f = *state;
    const bool *a = NULL, *b = NULL;
    char note[256];
    const char *two = LINE("gpu", 0, 1, 1) LINE("gpu", 1, 0, 1) LINE("gpu", 4, 1, 1);
    const char *policies = LINE("gpu", 0, 1, 1) LINE("gpu", 1, 0, 1) LINE("gpu", 0, 1, 1);
    const char *elsewhere = LINE("gpu:1", 0, 1, 1) LINE("gpu:1", 1, 0, 1) LINE("gpu:1", 4, 1, 1);
    const char *others = LINE("gpu", 0, 1, 1) LINE("gpu", 1, 0, 1) LINE("gpu", 5, 1, 1);
    assert_int_equal(count_answers(f, two, two, 2, 1, &a, &b, note), 0);
    assert_non_null(strstr(note, "not the score of bert"));
    assert_int_equal(count_answers(f, two, policies, 2, 2, &a, &b, note), 0);
    assert_non_null(strstr(note, "several rows' lines"));
    assert_int_equal(count_answers(f, elsewhere, two, 2, 2, &a, &b, note), 0);
    assert_non_null(strstr(note, "no lines"));
    assert_int_equal(count_answers(f, two, others, 2, 2, &a, &b, note), 0);
}

static void test_a_file_of_something_else_is_refused(void **state) {
    fixture *f = *state;
    char path[64];
    zeb_answers *answers;
    write_text(path, LINE("gpu", 0, 1, 1) "{\"model\": 7}\n");
    assert_int_equal(zeb_answers_open(path, path, &answers, &f->error), ZEB_ERR_FORMAT);
    assert_non_null(strstr(f->error.text, ":2: not a line"));
    (void)remove(path);
    assert_int_equal(zeb_answers_open(path, path, &answers, &f->error), ZEB_ERR_IO);
}

int main(void) {
#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_a_case_is_what_was_asked_for),
        TEST(test_what_only_explains_is_no_part_of_a_case),
        TEST(test_a_failed_row_is_known_by_what_was_asked),
        TEST(test_the_newest_ok_row_of_the_same_policy_is_taken),
        TEST(test_a_base_may_be_of_another_host),
        TEST(test_a_crashed_row_stands_for_the_device_that_no_other_row_has),
        TEST(test_what_was_expected_and_is_not_there_is_missing),
        TEST(test_times),
        TEST(test_few_samples_prove_nothing),
        TEST(test_rows_without_samples_are_not_judged_by_time),
        TEST(test_histograms),
        TEST(test_holm),
        TEST(test_outcomes),
        TEST(test_other_data_is_not_compared),
        TEST(test_accuracies),
        TEST(test_an_accuracy_of_fewer_is_judged_by_its_interval),
        TEST(test_a_score_that_is_no_longer_defined_is_worse),
        TEST(test_answers_to_the_same_questions_tell_more),
        TEST(test_a_worse_score_is_graver_than_a_slower_pass),
        TEST(test_differences),
        TEST(test_answers_are_paired),
        TEST(test_answers_that_are_not_the_rows_are_not_used),
        TEST(test_a_file_of_something_else_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
