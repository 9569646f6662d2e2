#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "suites/answer.h"
#include "suites/metric.h"

#define FIXTURES ZEB_SOURCE_DIR "/suites/superglue/fixtures"
#define SHARED ZEB_SOURCE_DIR "/../shared/data"

static int make_arena(void **state) {
    zeb_error error;
    return zeb_arena_create((zeb_arena **)state, &error) == ZEB_OK ? 0 : -1;
}

static int drop_arena(void **state) {
    zeb_arena_destroy(*state);
    return 0;
}

static zeb_dataset open_split(zeb_arena *arena, const char *task, const char *root, const char *split, size_t limit) {
    zeb_dataset dataset;
    zeb_error error = {0};
    if (zeb_dataset_open(zeb_task_find(task), root, split, limit, arena, &dataset, &error) != ZEB_OK)
        fail_msg("%s", error.text);
    return dataset;
}

static zeb_status parse(zeb_arena *arena, const char *task, bool labelled, const char *text, zeb_dataset *dataset,
                        zeb_error *error) {
    return zeb_dataset_parse(zeb_task_find(task), NULL, labelled, "val.jsonl", text, strlen(text), 0, arena, dataset,
                             error);
}

static void expect_example(const zeb_dataset *d, size_t i, const char *a, const char *b, int32_t label, int64_t group) {
    assert_true(i < d->count);
    assert_string_equal(d->example[i].a, a);
    assert_string_equal(d->example[i].b, b);
    assert_int_equal(d->example[i].label, label);
    assert_int_equal(d->example[i].group, group);
    assert_int_equal(d->example[i].a_len, strlen(a));
    assert_int_equal(d->example[i].b_len, strlen(b));
    assert_int_equal(d->example[i].index, i);
}

/* ---- layouts ---- */

static void test_fixture_of_every_task(void **state) {
    size_t seen = 0;
    for (size_t i = 0; i < zeb_task_count(); i++) {
        const zeb_task *task = zeb_task_at(i);
        if (strcmp(task->suite, "superglue") != 0) continue;
        zeb_dataset d = open_split(*state, task->name, FIXTURES, NULL, 0);
        assert_true(d.labelled);
        assert_int_equal(d.rows_skipped, 0);
        assert_in_range(d.count, 3, 10);
        seen++;
    }
    assert_int_equal(seen, 10);
}

static void test_pairs(void **state) {
    zeb_dataset d = open_split(*state, "superglue/boolq", FIXTURES, "dev", 0);
    assert_string_equal(d.example[1].b, "does a tram run over the orva bridge");
    assert_int_equal(d.example[0].label, 1); /* true */
    assert_int_equal(d.example[1].label, 0);
    d = open_split(*state, "superglue/boolq", FIXTURES, "test", 0);
    assert_false(d.labelled);
    assert_int_equal(d.example[0].label, -1);
    d = open_split(*state, "superglue/cb", FIXTURES, "dev", 0);
    assert_string_equal(d.task->label_name[d.example[2].label], "neutral");
    d = open_split(*state, "ax-g", FIXTURES, NULL, 0);
    expect_example(&d, 2, "The plumber thanked the tenant because he had called early.",
                   "The plumber had called early.", 1, 1);
    assert_int_equal(d.example[1].group, 0);
}

static void test_words_and_pronouns(void **state) {
    zeb_dataset d = open_split(*state, "wic", FIXTURES, NULL, 0);
    expect_example(&d, 1, "bank: They sat on the bank of the stream.", "The bank closes at four.", 0, -1);
    d = open_split(*state, "wsc", FIXTURES, NULL, 0);
    expect_example(&d, 0, "The jar did not fit on the shelf because *it* was too tall .", "The jar", 1, -1);
}

static void test_miscounted_pronoun_is_found(void **state) {
    zeb_dataset d;
    zeb_error error = {0};
    assert_int_equal(
        parse(*state, "wsc", true,
              "{\"text\": \"It rained, so he said it was late.\", \"label\": true, \"target\": "
              "{\"span1_text\": \"the day\", \"span1_index\": 0, \"span2_text\": \"it\", \"span2_index\": 4}}\n"
              "{\"text\": \"He slept.\", \"label\": true, \"target\": "
              "{\"span1_text\": \"the day\", \"span1_index\": 0, \"span2_text\": \"it\", \"span2_index\": 0}}\n",
              &d, &error),
        ZEB_OK);
    expect_example(&d, 0, "It rained, so he said *it* was late.", "the day", 1, -1);
    assert_string_equal(d.first_skip, "val.jsonl:2: \"it\" does not stand in the text");
}

static void test_choices(void **state) {
    zeb_dataset d = open_split(*state, "copa", FIXTURES, NULL, 0);
    assert_int_equal(d.count, 6);
    expect_example(&d, 0, "The lamp went out. What was the cause?", "The bulb burned through.", 1, 0);
    expect_example(&d, 1, "The lamp went out. What was the cause?", "The window was open.", 0, 0);
    expect_example(&d, 3, "The girl watered the beans. What happened?", "The beans grew.", 1, 1);
}

static void test_questions_of_a_passage(void **state) {
    zeb_dataset d = open_split(*state, "multirc", FIXTURES, NULL, 0);
    assert_int_equal(d.count, 7);
    assert_int_equal(d.rows_read, 2);
    assert_string_equal(d.example[4].b, "Did the goat need the ladder? Yes, \"it did\"");
    static const int64_t group[] = {0, 0, 0, 1, 1, 2, 2};
    static const int32_t label[] = {1, 1, 0, 1, 0, 1, 0};
    for (size_t i = 0; i < 7; i++) {
        assert_int_equal(d.example[i].group, group[i]);
        assert_int_equal(d.example[i].label, label[i]);
    }
    assert_ptr_equal(d.example[0].a, d.example[4].a); /* one copy of the passage */
    zeb_dataset some = open_split(*state, "multirc", FIXTURES, NULL, 2);
    assert_int_equal(some.count, 3); /* the question that is begun is kept whole */
}

static void test_entities(void **state) {
    zeb_dataset d = open_split(*state, "record", FIXTURES, NULL, 0);
    assert_int_equal(d.count, 8); /* four distinct entities, two queries */
    assert_string_equal(d.example[0].b, "\"We wish the people of Brückau well,\" the sellers wrote.");
    assert_string_equal(d.example[6].b, "Mara Lind would not say what the buyer paid.");
    assert_int_equal(d.example[6].label, 1);
    assert_int_equal(d.example[7].label, 1);
    assert_int_equal(d.example[4].label, 0);
    assert_int_equal(d.example[6].group, 1);
}

/* ---- malformed records ---- */

static void expect_skip(zeb_arena *arena, const char *task, const char *record, const char *part) {
    zeb_dataset d;
    zeb_error error = {0};
    assert_int_equal(parse(arena, task, true, record, &d, &error), ZEB_ERR_FORMAT);
    if (strstr(error.text, part) == NULL) fail_msg("\"%s\" does not say \"%s\"", error.text, part);
}

static void test_malformed_records(void **state) {
    expect_skip(*state, "boolq", "", "the file is empty");
    expect_skip(*state, "boolq", "\n", "empty line");
    expect_skip(*state, "boolq", "{\"passage\": \"p\", \"question\": \"q\", \"label\": true", "column 47");
    expect_skip(*state, "boolq", "[1]", "not a JSON object");
    expect_skip(*state, "boolq", "{\"passage\": \"p\", \"question\": \"q\"}", "no \"label\"");
    expect_skip(*state, "boolq", "{\"passage\": \"p\", \"question\": \"q\", \"label\": 1}", "label \"1\" is none");
    expect_skip(*state, "boolq", "{\"passage\": \"p\", \"question\": 3, \"label\": true}", "no text \"question\"");
    expect_skip(*state, "boolq", "{\"passage\": \"\", \"question\": \"\", \"label\": true}", "no text");
    expect_skip(*state, "boolq", "{\"passage\": \"p\\u0000q\", \"question\": \"q\", \"label\": true}", "column");
    expect_skip(*state, "boolq", "{\"passage\": \"p\", \"passage\": \"q\", \"label\": true}", "column");
    expect_skip(*state, "copa",
                "{\"premise\": \"p\", \"choice1\": \"a\", \"choice2\": \"b\", \"question\": \"why\", \"label\": 0}",
                "neither cause nor effect");
    expect_skip(*state, "multirc", "{\"passage\": {\"text\": \"t\", \"questions\": []}}", "no examples in it");
    expect_skip(*state, "multirc", "{\"passage\": {\"text\": \"t\", \"questions\": 1}}", "no list \"questions\"");
    expect_skip(*state, "multirc", "{\"passage\": 3}", "no text \"text\"");
    expect_skip(*state, "wsc", "{\"text\": \"t\", \"label\": true}", "no text \"target.span1_text\"");
    expect_skip(*state, "record",
                "{\"passage\": {\"text\": \"ab\", \"entities\": [{\"start\": 1, \"end\": 2}]}, \"qas\": []}",
                "an entity at 1 to 2 is outside");
    expect_skip(
        *state, "record",
        "{\"passage\": {\"text\": \"ab\", \"entities\": [{\"start\": 0, \"end\": 0}]}, \"qas\": [{\"query\": \"q\", "
        "\"answers\": []}]}",
        "a query without @placeholder");
}

/* A record is read whole or not at all: the good answers before the bad one go, too. */
static void test_half_a_record_is_none(void **state) {
    zeb_dataset d;
    zeb_error error = {0};
    assert_int_equal(
        parse(*state, "multirc", true,
              "{\"passage\": {\"text\": \"t\", \"questions\": [{\"question\": \"q\", \"answers\": [{\"text\": \"a\", "
              "\"label\": 1}, {\"text\": \"b\", \"label\": 2}]}]}}\n"
              "{\"passage\": {\"text\": \"u\", \"questions\": [{\"question\": \"q\", \"answers\": [{\"text\": \"c\", "
              "\"label\": 1}]}]}}\n",
              &d, &error),
        ZEB_OK);
    assert_int_equal(d.count, 1);
    assert_int_equal(d.rows_skipped, 1);
    expect_example(&d, 0, "u", "q c", 1, 0);
}

/* ---- answers and scores ---- */

static void expect_normal(zeb_arena *arena, const char *text, const char *expected) {
    char *normal;
    zeb_error error;
    assert_int_equal(zeb_answer_normalise(arena, text, &normal, &error), ZEB_OK);
    assert_string_equal(normal, expected);
}

static void test_normal_answers(void **state) {
    expect_normal(*state, "The  U.S.A.,\tan \xc3\x84PFEL", "usa \xc3\xa4pfel");
    expect_normal(*state, "a", "");
    expect_normal(*state, "", "");
    expect_normal(*state, "...", "");
    expect_normal(*state, " \xc2\xa0 Theatre another an", "theatre another");
    expect_normal(*state, "\xc4\xb0\xc8\xba", "i\xe2\xb1\xa5"); /* two letters whose lower case has another length */
}

static void test_answer_f1(void **state) {
    (void)state;
    assert_true(zeb_answer_f1("mara lind", "mara lind") == 1);
    assert_true(zeb_answer_f1("mara lind", "lind") == 2.0 / 3);
    assert_true(zeb_answer_f1("lind lind", "lind") == 2.0 / 3); /* a word counts as often as both have it */
    assert_true(zeb_answer_f1("x", "y") == 0);
    assert_true(zeb_answer_f1("", "y") == 0);
    assert_true(zeb_answer_f1("", "") == 1);
}

static void test_choice_scores(void **state) {
    zeb_dataset d = open_split(*state, "record", FIXTURES, NULL, 0);
    zeb_prediction p[8] = {0};
    p[0].choice = 2; /* Brückau: right */
    p[1].choice = 1;
    p[5].choice = -1; /* Orva Paper: wrong, but preferred to what follows only if all others are lower */
    p[4].choice = -2, p[6].choice = -3, p[7].choice = -4;
    zeb_metric metric[ZEB_METRICS_MAX];
    size_t count;
    zeb_error error = {0};
    assert_int_equal(zeb_task_score(d.task, &d, p, d.count, 1, metric, ZEB_METRICS_MAX, &count, &error), ZEB_OK);
    assert_int_equal(count, 3);
    assert_string_equal(metric[0].name, "mean_em_f1");
    assert_true(metric[1].value == 0.5 && metric[2].value == 0.5);
    assert_string_equal(metric[1].method, "wilson");
    assert_string_equal(metric[2].method, "bootstrap");
    p[7].choice = 0;
    assert_int_equal(zeb_task_score(d.task, &d, p, d.count, 1, metric, ZEB_METRICS_MAX, &count, &error), ZEB_OK);
    assert_true(metric[0].value == 1);
    zeb_dataset copa = open_split(*state, "copa", FIXTURES, NULL, 0);
    memset(p, 0, sizeof p); /* equal: the first choice is taken */
    assert_int_equal(zeb_task_score(copa.task, &copa, p, copa.count, 1, metric, ZEB_METRICS_MAX, &count, &error),
                     ZEB_OK);
    assert_int_equal(count, 1);
    assert_string_equal(metric[0].name, "accuracy");
    assert_true(metric[0].value == 1.0 / 3);
    p[0].choice = (double)NAN;
    assert_int_equal(zeb_task_score(copa.task, &copa, p, copa.count, 1, metric, ZEB_METRICS_MAX, &count, &error),
                     ZEB_ERR_RANGE);
}

/* ---- the real files, where they are ---- */

static void test_official_files(void **state) {
    static const struct {
        const char *task, *split;
        size_t rows, examples, groups;
    } known[] = {{"superglue/boolq", "dev", 3270, 3270, 0},       {"superglue/cb", "dev", 56, 56, 0},
                 {"superglue/copa", "dev", 100, 200, 100},        {"superglue/multirc", "dev", 83, 4848, 953},
                 {"superglue/rte", "dev", 277, 277, 0},           {"superglue/wic", "dev", 638, 638, 0},
                 {"superglue/wsc", "dev", 104, 104, 0},           {"superglue/ax-b", "diagnostic", 1104, 1104, 0},
                 {"superglue/ax-g", "diagnostic", 356, 356, 178}, {"superglue/multirc", "test", 166, 9693, 1820}};
    zeb_dataset probe;
    zeb_error error;
    if (zeb_dataset_open(zeb_task_find("superglue/rte"), SHARED, "dev", 1, *state, &probe, &error) != ZEB_OK) {
        print_message("SKIPPED: the full SuperGLUE files are not here: %s\n", error.text);
        skip();
    }
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        zeb_dataset d = open_split(*state, known[i].task, SHARED, known[i].split, 0);
        assert_int_equal(d.rows_read, known[i].rows);
        assert_int_equal(d.rows_official, known[i].rows);
        assert_int_equal(d.rows_skipped, 0);
        assert_int_equal(d.count, known[i].examples);
        assert_int_equal(d.example[d.count - 1].group + 1, known[i].groups);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_fixture_of_every_task, make_arena, drop_arena),
        cmocka_unit_test_setup_teardown(test_pairs, make_arena, drop_arena),
        cmocka_unit_test_setup_teardown(test_words_and_pronouns, make_arena, drop_arena),
        cmocka_unit_test_setup_teardown(test_miscounted_pronoun_is_found, make_arena, drop_arena),
        cmocka_unit_test_setup_teardown(test_choices, make_arena, drop_arena),
        cmocka_unit_test_setup_teardown(test_questions_of_a_passage, make_arena, drop_arena),
        cmocka_unit_test_setup_teardown(test_entities, make_arena, drop_arena),
        cmocka_unit_test_setup_teardown(test_malformed_records, make_arena, drop_arena),
        cmocka_unit_test_setup_teardown(test_half_a_record_is_none, make_arena, drop_arena),
        cmocka_unit_test_setup_teardown(test_normal_answers, make_arena, drop_arena),
        cmocka_unit_test(test_answer_f1),
        cmocka_unit_test_setup_teardown(test_choice_scores, make_arena, drop_arena),
        cmocka_unit_test_setup_teardown(test_official_files, make_arena, drop_arena),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
