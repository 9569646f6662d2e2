#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "suites/task.h"

#define FIXTURES ZEB_SOURCE_DIR "/suites/glue/fixtures"
#define SHIPPED ZEB_SOURCE_DIR "/suites/data"
#define SHARED ZEB_SOURCE_DIR "/../shared/data"

static int make_arena(void **state) {
    zeb_error error;
    return zeb_arena_create((zeb_arena **)state, &error) == ZEB_OK ? 0 : -1;
}

static int drop_arena(void **state) {
    zeb_arena_destroy(*state);
    return 0;
}

static const zeb_task *task_of(const char *name) {
    const zeb_task *task = zeb_task_find(name);
    assert_non_null(task);
    return task;
}

static zeb_dataset open_split(zeb_arena *arena, const char *task, const char *root, const char *split, size_t limit) {
    zeb_dataset dataset;
    zeb_error error = {0};
    if (zeb_dataset_open(task_of(task), root, split, limit, arena, &dataset, &error) != ZEB_OK)
        fail_msg("%s", error.text);
    return dataset;
}

static void expect_failure(zeb_arena *arena, const char *task, const char *root, const char *split, zeb_status status,
                           const char *part) {
    zeb_dataset dataset;
    zeb_error error = {0};
    assert_int_equal(zeb_dataset_open(task_of(task), root, split, 0, arena, &dataset, &error), status);
    if (strstr(error.text, part) == NULL) fail_msg("\"%s\" does not say \"%s\"", error.text, part);
}

/* ---- the table ---- */

static void test_table_is_whole(void **state) {
    (void)state;
    assert_true(zeb_task_count() >= 11);
    for (size_t i = 0; i < zeb_task_count(); i++) {
        const zeb_task *task = zeb_task_at(i);
        assert_ptr_equal(zeb_task_find(task->name), task);
        assert_non_null(task->title);
        assert_true(task->version > 0);
        assert_int_not_equal(task->metric[0], ZEB_METRIC_NONE);
        assert_true(!task->headline_mean || task->metric[1] != ZEB_METRIC_NONE);
        assert_int_equal(strncmp(task->name, task->suite, strlen(task->suite)), 0);
        bool has_default = false;
        for (size_t s = 0; s < ZEB_TASK_SPLITS_MAX && task->split[s].name != NULL; s++)
            has_default |= strcmp(task->split[s].name, task->default_split) == 0 && task->split[s].labelled;
        assert_true(has_default);
        if (task->kind == ZEB_TASK_REGRESSION) continue;
        assert_in_range(task->labels, 2, 16);
        for (int32_t label = 0; label < task->labels; label++)
            assert_non_null(task->label_value[label]);
    }
}

static void test_names(void **state) {
    (void)state;
    assert_string_equal(task_of("SST-2")->name, "glue/sst2");
    assert_string_equal(task_of("glue/SST-2")->name, "glue/sst2");
    assert_string_equal(task_of("stsb")->name, "glue/stsb");
    assert_string_equal(task_of("rte")->name, "glue/rte");
    assert_string_equal(task_of("mnli_mismatched")->name, "glue/mnli-mm");
    assert_string_equal(task_of("glue/mnli_matched")->name, "glue/mnli");
    assert_null(zeb_task_find("sst3"));
    assert_null(zeb_task_find(""));
    assert_null(zeb_task_find("glue/"));
    char endless[5000];
    memset(endless, 's', sizeof endless - 1);
    endless[sizeof endless - 1] = '\0';
    assert_null(zeb_task_find(endless));
    assert_string_equal(zeb_task_suggest("glue/sst3"), "glue/sst2");
    assert_string_equal(zeb_task_suggest("mrcp"), "glue/mrpc");
    assert_null(zeb_task_suggest("imagenet"));
}

static void test_label_maps(void **state) {
    (void)state;
    zeb_error error;
    int32_t class_of[3];
    const char *const upper[] = {"POSITIVE", "NEGATIVE"};
    assert_int_equal(zeb_task_map_labels(task_of("sst2"), upper, 2, class_of, &error), ZEB_OK);
    assert_int_equal(class_of[0], 1);
    assert_int_equal(class_of[1], 0);
    const char *const plain[] = {"LABEL_0", "LABEL_1", "LABEL_2"};
    assert_int_equal(zeb_task_map_labels(task_of("mnli"), plain, 3, class_of, &error), ZEB_OK);
    assert_int_equal(class_of[2], 2);
    const char *const other_order[] = {"contradiction", "neutral", "entailment"};
    assert_int_equal(zeb_task_map_labels(task_of("mnli"), other_order, 3, class_of, &error), ZEB_OK);
    assert_int_equal(class_of[0], 2);
    assert_int_equal(class_of[2], 0);
    assert_int_equal(zeb_task_map_labels(task_of("mnli"), NULL, 3, class_of, &error), ZEB_OK);
    assert_int_equal(class_of[0], 0);
    assert_int_equal(zeb_task_map_labels(task_of("sst2"), other_order, 3, class_of, &error), ZEB_ERR_FORMAT);
    const char *const half[] = {"negative", "glad"}, *const twice[] = {"positive", "positive"};
    const char *const swapped[] = {"LABEL_1", "LABEL_0"};
    assert_int_equal(zeb_task_map_labels(task_of("sst2"), half, 2, class_of, &error), ZEB_ERR_FORMAT);
    assert_non_null(strstr(error.text, "\"glad\""));
    assert_int_equal(zeb_task_map_labels(task_of("sst2"), twice, 2, class_of, &error), ZEB_ERR_FORMAT);
    assert_int_equal(zeb_task_map_labels(task_of("sst2"), swapped, 2, class_of, &error), ZEB_ERR_FORMAT);
    assert_int_equal(zeb_task_map_labels(task_of("stsb"), plain, 1, class_of, &error), ZEB_OK);
    assert_int_equal(class_of[0], 0);
}

/* ---- layouts ---- */

static void test_fixture_of_every_task(void **state) {
    for (size_t i = 0; i < zeb_task_count(); i++) {
        const zeb_task *task = zeb_task_at(i);
        if (strcmp(task->suite, "glue") != 0) continue;
        zeb_dataset d = open_split(*state, task->name, FIXTURES, NULL, 0);
        assert_true(d.labelled);
        assert_int_equal(d.rows_skipped, 0);
        assert_int_equal(d.count, d.rows_read);
        assert_in_range(d.count, 11, 12);
        assert_true(d.rows_official > d.count); /* so that a fixture can never pass for the data */
        assert_string_equal(d.split, task->default_split);
        for (size_t k = 0; k < d.count; k++) {
            const zeb_example *e = &d.example[k];
            assert_int_equal(e->index, k);
            assert_int_equal(e->group, -1);
            assert_int_equal(e->a_len, strlen(e->a));
            assert_true(e->a_len > 0);
            assert_int_equal(task->pair, e->b != NULL);
            assert_null(strpbrk(e->a, "\t\r\n"));
            if (task->pair) assert_null(strpbrk(e->b, "\t\r\n"));
            if (task->kind == ZEB_TASK_CLASSIFICATION)
                assert_in_range(e->label, 0, task->labels - 1);
            else
                assert_int_equal(e->label, -1);
        }
    }
}

static void test_labels_mean_what_they_say(void **state) {
    zeb_dataset d = open_split(*state, "cola", FIXTURES, "dev", 0);
    assert_string_equal(d.example[1].a, "The gardener watered in the every greenhouse plant.");
    assert_string_equal(d.task->label_name[d.example[1].label], "unacceptable");
    assert_string_equal(d.example[8].a, "\"Come in,\" said the clerk.");
    d = open_split(*state, "mnli", FIXTURES, "dev", 0);
    assert_string_equal(d.task->label_name[d.example[2].label], "contradiction");
    d = open_split(*state, "ax", FIXTURES, NULL, 0);
    assert_string_equal(d.task->label_name[d.example[2].label], "contradiction");
    d = open_split(*state, "wnli", FIXTURES, NULL, 0);
    assert_string_equal(d.task->label_name[d.example[0].label], "entailment");
    d = open_split(*state, "stsb", FIXTURES, NULL, 0);
    assert_true(d.example[1].target == 4.6);
    d = open_split(*state, "mrpc", FIXTURES, NULL, 0);
    assert_string_equal(d.example[0].b, "On Tuesday the council voted for a new bridge.");
    assert_string_equal(d.task->label_name[d.example[0].label], "equivalent");
}

static void test_unlabelled_split(void **state) {
    zeb_dataset d = open_split(*state, "cola", FIXTURES, "test", 0);
    assert_false(d.labelled);
    assert_int_equal(d.count, 4);
    assert_int_equal(d.example[0].label, -1);
    assert_string_equal(d.example[0].a, "The gardener watered every plant in the greenhouse.");
    d = open_split(*state, "ax", FIXTURES, "test", 0);
    assert_false(d.labelled);
}

static void test_limit_and_hash(void **state) {
    zeb_dataset all = open_split(*state, "sst2", SHIPPED, "dev", 0);
    assert_int_equal(all.count, 872);
    assert_int_equal(all.rows_official, 872);
    assert_string_equal(all.hash, "54a9c12c77e402fc14d6a66a506f24d999f596b0176eb777c972cccc2f9cc4b0");
    size_t positive = 0;
    for (size_t i = 0; i < all.count; i++)
        positive += all.example[i].label == 1;
    assert_int_equal(positive, 444);
    zeb_dataset some = open_split(*state, "sst2", SHIPPED, "dev", 5);
    assert_int_equal(some.count, 5);
    assert_int_equal(some.rows_read, 5);
    assert_string_equal(some.hash, all.hash);
    assert_string_equal(some.example[4].a, all.example[4].a);
    /* GLUE's own download has no suite folder */
    zeb_dataset bare = open_split(*state, "sst2", SHIPPED "/glue", "dev", 0);
    assert_int_equal(bare.count, 872);
}

static void test_file_stem_as_split(void **state) {
    zeb_dataset d = open_split(*state, "mnli-mm", FIXTURES, "dev_matched", 0);
    assert_int_equal(d.rows_official, 0);
    assert_true(d.labelled);
    expect_failure(*state, "mnli", FIXTURES, "../RTE/dev", ZEB_ERR_ARGUMENT, "no split");
    expect_failure(*state, "mnli", FIXTURES, "", ZEB_ERR_ARGUMENT, "no split");
    expect_failure(*state, "mnli", FIXTURES, ".", ZEB_ERR_ARGUMENT, "no split");
}

static void test_missing_files(void **state) {
    expect_failure(*state, "sst2", ZEB_SOURCE_DIR "/nowhere", "dev", ZEB_ERR_NOT_FOUND, "No such file or directory; ");
    expect_failure(*state, "sst2", ZEB_SOURCE_DIR "/LICENSE", "dev", ZEB_ERR_NOT_FOUND, "LICENSE: not a folder; ");
    char root[] = "/tmp/zeb-dataset-XXXXXX", folder[64], file[80];
    assert_non_null(mkdtemp(root));
    (void)snprintf(folder, sizeof folder, "%s/SST-2", root);
    (void)snprintf(file, sizeof file, "%s/dev.tsv", folder);
    assert_int_equal(mkdir(folder, 0700) | mkfifo(file, 0600), 0); /* opened without care, it would be waited for */
    expect_failure(*state, "sst2", root, "dev", ZEB_ERR_IO, "dev.tsv: not a regular file");
    (void)unlink(file);
    (void)rmdir(folder);
    (void)rmdir(root);
    expect_failure(*state, "rte", SHIPPED, "dev", ZEB_ERR_NOT_FOUND, "holds no glue/RTE");
    expect_failure(*state, "mnli", FIXTURES, "train", ZEB_ERR_NOT_FOUND, "dev_matched.tsv, dev_mismatched.tsv");
}

/* ---- malformed input, in memory ---- */

static zeb_status parse(zeb_arena *arena, const char *task, const char *text, size_t size, zeb_dataset *dataset,
                        zeb_error *error) {
    return zeb_dataset_parse(task_of(task), NULL, true, "dev.tsv", text, size, 0, arena, dataset, error);
}

static zeb_dataset parse_well(zeb_arena *arena, const char *task, const char *text) {
    zeb_dataset dataset;
    zeb_error error = {0};
    if (parse(arena, task, text, strlen(text), &dataset, &error) != ZEB_OK) fail_msg("%s", error.text);
    return dataset;
}

static void test_malformed_rows_are_counted(void **state) {
    zeb_dataset d = parse_well(*state, "sst2",
                               "sentence\tlabel\n"
                               "good\t1\n"
                               "no label\n"
                               "three\t1\t2\n"
                               "odd label\t2\n"
                               "\n"
                               "bad byte \xfe\t1\n"
                               "\t1\n"
                               "space label\t1 \n"
                               "bad\t0");
    assert_int_equal(d.rows_read, 9);
    assert_int_equal(d.rows_skipped, 7);
    assert_int_equal(d.count, 2);
    assert_int_equal(d.example[1].index, 8); /* malformed rows keep their number */
    assert_string_equal(d.example[1].a, "bad");
    assert_int_equal(d.skips, 7);
    assert_string_equal(d.first_skip, "dev.tsv:3: 1 columns where 2 are expected");
    assert_string_equal(d.skip[1], "dev.tsv:4: 3 columns where 2 are expected");
    assert_string_equal(d.skip[2], "dev.tsv:5: label \"2\" is none of this task's");
    assert_string_equal(d.skip[3], "dev.tsv:6: empty line");
    assert_string_equal(d.skip[4], "dev.tsv:7: byte 0xfe at column 10 is not UTF-8");
    assert_string_equal(d.skip[5], "dev.tsv:8: no text");
    assert_non_null(strstr(d.skip[6], "label \"1 \""));
}

static void test_only_the_first_skips_are_described(void **state) {
    char text[4096] = "sentence\tlabel\nfine\t1\n";
    for (int i = 0; i < 100; i++)
        strncat(text, "x\n", sizeof text - strlen(text) - 1);
    zeb_dataset d = parse_well(*state, "sst2", text);
    assert_int_equal(d.rows_skipped, 100);
    assert_int_equal(d.skips, ZEB_DATASET_SKIPS_MAX);
}

static void test_pairs_may_have_one_empty_text(void **state) {
    zeb_dataset d = parse_well(*state, "qqp",
                               "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n"
                               "1\t2\t3\tWhy?\t\t0\n"
                               "1\t2\t3\t\t\t0\n");
    assert_int_equal(d.count, 1);
    assert_string_equal(d.example[0].b, "");
    assert_int_equal(d.rows_skipped, 1);
}

static void test_scores_outside_their_bounds(void **state) {
    zeb_dataset d =
        parse_well(*state, "stsb",
                   "sentence1\tsentence2\tscore\n"
                   "a\tb\t5\na\tb\t5.001\na\tb\t-0.1\na\tb\tnan\na\tb\tinf\na\tb\t\na\tb\t3,5\na\tb\t0.0\n");
    assert_int_equal(d.count, 2);
    assert_int_equal(d.rows_skipped, 6);
    assert_string_equal(d.skip[0], "dev.tsv:3: score 5.001 is outside 0 to 5");
    assert_string_equal(d.skip[2], "dev.tsv:5: score \"nan\" is not a number");
}

static void expect_format_error(zeb_arena *arena, const char *task, const char *text, size_t size, const char *part) {
    zeb_dataset d;
    zeb_error error = {0};
    assert_int_equal(parse(arena, task, text, size, &d, &error), ZEB_ERR_FORMAT);
    if (strstr(error.text, part) == NULL) fail_msg("\"%s\" does not say \"%s\"", error.text, part);
}

static void test_hopeless_files(void **state) {
    expect_format_error(*state, "sst2", "", 0, "the file is empty");
    expect_format_error(*state, "sst2", "sentence\tlabel\n", 15, "no rows");
    expect_format_error(*state, "sst2", "text\tlabel\na\t1\n", 15, "no column \"sentence\"");
    expect_format_error(*state, "sst2", "sentence\tlabels\na\t1\n", 20, "no column \"label\"");
    expect_format_error(*state, "mrpc", "Quality\t#1 String\n", 18, "no column \"#2 String\"");
    expect_format_error(*state, "sst2", "\xff\xfe\n", 3, "the header cannot be read");
    expect_format_error(*state, "sst2", "sentence\tlabel\nx\n\n", 18, "none of 2 rows can be read");
    expect_format_error(*state, "cola", "a\tb\n", 4, "2 columns where 4");
}

static void test_long_row_is_named_not_kept(void **state) {
    size_t size = (1 << 20) + 64;
    char *text = malloc(size);
    assert_non_null(text);
    memset(text, 'y', size);
    memcpy(text, "sentence\tlabel\nok\t1\n", 20);
    zeb_dataset d;
    zeb_error error = {0};
    assert_int_equal(parse(*state, "sst2", text, size, &d, &error), ZEB_OK);
    assert_int_equal(d.count, 1);
    assert_non_null(strstr(d.first_skip, "dev.tsv:3: a line of 1048620 bytes"));
    free(text);
}

/* ---- the real files, where they are ---- */

static void test_official_files(void **state) {
    static const struct {
        const char *task, *split;
        size_t rows, skipped;
        int32_t of_label_1; /* how often label 1 occurs, counted by another program */
    } known[] = {
        {"cola", "train", 8551, 0, 6023},       {"cola", "dev", 1043, 0, 721}, {"sst2", "train", 67349, 0, 37569},
        {"mrpc", "train", 3668, 0, 2474},       {"mrpc", "dev", 408, 0, 279},  {"mnli", "dev", 9815, 0, 3123},
        {"qnli", "dev", 5463, 0, 2761},         {"rte", "dev", 277, 0, 131},   {"wnli", "dev", 71, 0, 31},
        {"ax", "diagnostic", 1104, 0, 386},     {"stsb", "dev", 1500, 0, 0},   {"ax", "test", 1104, 0, 0},
        {"qqp", "train_subset", 23496, 1, 8747}};
    zeb_arena *arena = *state;
    zeb_dataset probe;
    zeb_error error;
    if (zeb_dataset_open(task_of("rte"), SHARED, "dev", 1, arena, &probe, &error) != ZEB_OK) {
        print_message("SKIPPED: the full GLUE files are not here: %s\n", error.text);
        skip();
    }
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        zeb_dataset d = open_split(arena, known[i].task, SHARED, known[i].split, 0);
        assert_int_equal(d.count, known[i].rows);
        assert_int_equal(d.rows_skipped, known[i].skipped);
        int32_t ones = 0;
        for (size_t k = 0; k < d.count; k++)
            ones += d.example[k].label == 1;
        assert_int_equal(ones, known[i].of_label_1);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table_is_whole),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_label_maps),
        cmocka_unit_test_setup_teardown(test_fixture_of_every_task, make_arena, drop_arena),
        cmocka_unit_test_setup_teardown(test_labels_mean_what_they_say, make_arena, drop_arena),
        cmocka_unit_test_setup_teardown(test_unlabelled_split, make_arena, drop_arena),
        cmocka_unit_test_setup_teardown(test_limit_and_hash, make_arena, drop_arena),
        cmocka_unit_test_setup_teardown(test_file_stem_as_split, make_arena, drop_arena),
        cmocka_unit_test_setup_teardown(test_missing_files, make_arena, drop_arena),
        cmocka_unit_test_setup_teardown(test_malformed_rows_are_counted, make_arena, drop_arena),
        cmocka_unit_test_setup_teardown(test_only_the_first_skips_are_described, make_arena, drop_arena),
        cmocka_unit_test_setup_teardown(test_pairs_may_have_one_empty_text, make_arena, drop_arena),
        cmocka_unit_test_setup_teardown(test_scores_outside_their_bounds, make_arena, drop_arena),
        cmocka_unit_test_setup_teardown(test_hopeless_files, make_arena, drop_arena),
        cmocka_unit_test_setup_teardown(test_long_row_is_named_not_kept, make_arena, drop_arena),
        cmocka_unit_test_setup_teardown(test_official_files, make_arena, drop_arena),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
