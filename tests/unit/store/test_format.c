/* Rows as text: the contract of jsonl, null for unknown, estimates marked, every format well formed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>

#include "folder.h"
#include "rows.h"
#include "store/cells.h"
#include "store/report.h"

static zeb_arena *arena;

static int setup(void **state) {
    (void)state;
    return zeb_arena_create(&arena, NULL) == ZEB_OK ? 0 : -1;
}

static int teardown(void **state) {
    (void)state;
    zeb_arena_destroy(arena);
    return 0;
}

/* free() the result. */
static char *text_of(zeb_row_format format, unsigned options, const zeb_row *row, size_t count) {
    char *text = NULL;
    size_t size = 0;
    zeb_error error = {.text = ""};
    const zeb_row *pointer[64];
    assert_true(count <= 64);
    for (size_t i = 0; i < count; i++)
        pointer[i] = &row[i];
    FILE *out = open_memstream(&text, &size);
    if (zeb_rows_write(out, format, options, pointer, count, &error) != ZEB_OK) fail_msg("%s", error.text);
    assert_int_equal(fclose(out), 0);
    return text;
}

static json_t *object_of(const zeb_row *row) {
    char *text = text_of(ZEB_FORMAT_JSONL, 0, row, 1);
    json_error_t error;
    assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1); /* one line */
    json_t *object = json_loads(text, 0, &error);
    if (object == NULL) fail_msg("%s: %s", error.text, text);
    free(text);
    return object;
}

static json_t *at(json_t *object, const char *key) {
    json_t *value = json_object_get(object, key);
    if (value == NULL) fail_msg("no key %s", key);
    return value;
}

static void test_contract_keys(void **state) {
    (void)state;
    static const char *const first[] = {
        "schema",     "verdict",          "reason",   "model",          "task",   "backend", "device",
        "precision",  "policy",           "scenario", "threads",        "n",      "metric",  "metrics",
        "latency_ns", "throughput_per_s", "flops",    "peak_rss_bytes", "energy", "co2_ug",  "flags"};
    for (int o = ZEB_OUTCOME_OK; o <= ZEB_OUTCOME_INTERRUPTED; o++) {
        zeb_row row = test_row_bare((zeb_outcome)o);
        json_t *object = object_of(&row);
        void *entry = json_object_iter(object);
        for (size_t i = 0; i < sizeof first / sizeof first[0]; i++, entry = json_object_iter_next(object, entry)) {
            assert_string_equal(json_object_iter_key(entry), first[i]);
        }
        assert_string_equal(json_string_value(at(object, "verdict")), zeb_outcome_name((zeb_outcome)o));
        static const char *const unknown[] = {
            "threads", "throughput_per_s", "peak_rss_bytes", "co2_ug",      "precision_",
            "seed",    "tokens",           "startup_ns",     "duration_ns", "model_hash"};
        for (size_t i = 0; i < sizeof unknown / sizeof unknown[0]; i++) {
            if (strcmp(unknown[i], "precision_") != 0) assert_true(json_is_null(at(object, unknown[i])));
        }
        static const char *const energies[] = {"gross_uj", "idle_uj", "net_uj", "source", "kind"};
        for (int i = 0; i < 5; i++)
            assert_true(json_is_null(at(at(object, "energy"), energies[i])));
        static const char *const metric[] = {"name", "value", "lo", "hi"};
        for (int i = 0; i < 4; i++)
            assert_true(json_is_null(at(at(object, "metric"), metric[i])));
        assert_true(json_is_null(at(at(object, "flops"), "executed")));
        assert_int_equal(json_array_size(at(object, "metrics")), 0);
        json_decref(object);
    }
}

static void test_full_row_as_json(void **state) {
    (void)state;
    zeb_row row = test_row_full(arena, 1);
    json_t *object = object_of(&row);
    assert_int_equal(json_integer_value(at(object, "schema")), ZEB_SCHEMA);
    assert_int_equal(json_integer_value(at(object, "threads")), 4); /* effective, not the 8 that were requested */
    assert_int_equal(json_integer_value(at(at(object, "requested"), "threads")), 8);
    assert_int_equal(json_integer_value(at(object, "n")), 500);
    assert_true(json_is_integer(at(at(object, "latency_ns"), "p50")));
    assert_true(json_is_integer(at(at(object, "flops"), "dense")));
    assert_int_equal(json_integer_value(at(at(object, "flops"), "dense")), 147000000000);
    assert_int_equal(json_integer_value(at(at(object, "energy"), "gross_uj")), 41234 * 872);
    assert_string_equal(json_string_value(at(at(object, "energy"), "kind")), "measured");
    assert_true(json_real_value(at(at(object, "metric"), "value")) == 0.8761);
    assert_string_equal(json_string_value(at(object, "last_words")), "a line\nand ? one that is not UTF-8");
    assert_string_equal(json_string_value(json_array_get(at(object, "flags"), 1)), "governor-not-fixed");
    assert_int_equal(json_array_size(at(object, "kept")), 4);
    json_decref(object);
}

static void test_not_finite_is_unknown(void **state) {
    (void)state;
    zeb_row row = test_row_bare(ZEB_OUTCOME_OK);
    row.throughput_per_s = (zeb_maybe_f64){.has = true, .value = (double)NAN};
    row.latency.mean = (zeb_maybe_f64){.has = true, .value = (double)INFINITY};
    json_t *object = object_of(&row);
    assert_true(json_is_null(at(object, "throughput_per_s")));
    assert_true(json_is_null(at(at(object, "latency_ns"), "mean")));
    json_decref(object);
    assert_false(zeb_f64((double)NAN).has);
}

/* Counts the fields of a CSV line that begins at *text and moves *text past it; quotes are minded. */
static size_t csv_fields(const char **text) {
    size_t fields = 1;
    bool quoted = false;
    for (; **text != '\0'; (*text)++) {
        if (**text == '"') quoted = !quoted;
        if (quoted) continue;
        if (**text == ',') fields++;
        if (**text == '\n') {
            (*text)++;
            break;
        }
    }
    return fields;
}

static void test_csv(void **state) {
    (void)state;
    zeb_row row[3] = {test_row_full(arena, 1), test_row_bare(ZEB_OUTCOME_OK), test_row_bare(ZEB_OUTCOME_FAILED)};
    (void)snprintf(row[2].reason, sizeof row[2].reason, "a \"b\", c\nd");
    char *text = text_of(ZEB_FORMAT_CSV, 0, row, 3), *bare = text_of(ZEB_FORMAT_CSV, ZEB_WRITE_NO_HEADER, row, 3);
    const char *line = text;
    size_t fields = csv_fields(&line);
    assert_true(fields > 100);
    assert_string_equal(line, bare);
    for (int i = 0; i < 3; i++)
        assert_int_equal(csv_fields(&line), fields);
    assert_int_equal(*line, '\0');
    assert_non_null(strstr(text, "failed,\"a \"\"b\"\", c\nd\""));
    assert_non_null(strstr(text, ",threads,") == NULL ? strstr(text, "effective_threads") : NULL);
    free(text);
    free(bare);
}

static void test_table(void **state) {
    (void)state;
    zeb_row *row = NULL;
    size_t count = 0;
    test_rows_demo(arena, &row, &count);
    char *text = text_of(ZEB_FORMAT_TABLE, 0, row, count);
    assert_null(strchr(text, '\033'));
    assert_non_null(strstr(text, "task glue/sst2, precision fp32\n"));
    assert_non_null(strstr(text, "accuracy 87.50 [85.30, 89.50]"));
    assert_non_null(strstr(text, "~410 mJ est"));
    assert_non_null(strstr(text, "no sensor"));
    assert_non_null(strstr(text, "unsupported: layer.0.attention"));
    assert_non_null(strstr(text, "an estimate, not a measurement"));
    free(text);
    text = text_of(ZEB_FORMAT_TABLE, ZEB_WRITE_COLOUR, row, count);
    assert_non_null(strstr(text, "\033[32mok\033[0m"));
    free(text);
    text = text_of(ZEB_FORMAT_MD, 0, row, count);
    size_t lines = 0;
    for (const char *c = text; *c != '\0'; c++)
        lines += *c == '\n';
    assert_int_equal(lines, count + 2);
    free(text);
    zeb_row noted = test_row_full(arena, 1);
    noted.rows_skipped = zeb_u64(5);
    text = text_of(ZEB_FORMAT_TABLE, 0, &noted, 1);
    assert_non_null(strstr(text, "cpu x4: energy: dram never moves: not metered, left out\n"));
    assert_non_null(strstr(text, "cpu x4: warning: 5 of 872 rows could not be read; the score is of the others\n"));
    free(text);
    text = text_of(ZEB_FORMAT_MD, 0, &noted, 1);
    assert_non_null(strstr(text, "41.2 mJ (dram never moves: not metered, left out) |"));
    free(text);
    text = text_of(ZEB_FORMAT_TABLE, 0, row, 0);
    assert_string_equal(text, "no rows\n");
    free(text);
}

static void test_nasty_text_stays_in_its_cell(void **state) {
    (void)state;
    zeb_row row = test_row_bare(ZEB_OUTCOME_FAILED);
    (void)snprintf(row.reason, sizeof row.reason, "bell\a esc\033[2J pipe | and\nnew line");
    char *table = text_of(ZEB_FORMAT_TABLE, 0, &row, 1), *md = text_of(ZEB_FORMAT_MD, 0, &row, 1);
    assert_null(strchr(table, '\033'));
    assert_null(strchr(table, '\a'));
    assert_non_null(strstr(md, "pipe \\| and new line"));
    free(table);
    free(md);
}

static void test_numbers_for_people(void **state) {
    (void)state;
    const struct {
        double ns;
        const char *text;
    } known[] = {{0, "0 ns"},         {0.5, "0.500 ns"},    {999, "999 ns"},       {1000, "1.00 us"},
                 {999600, "1.00 ms"}, {1234567, "1.23 ms"}, {99940000, "99.9 ms"}, {99960000, "100 ms"},
                 {61e9, "61.0 s"},    {12345e9, "12345 s"}};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        zeb_row row = test_row_bare(ZEB_OUTCOME_OK);
        zeb_cells cells;
        row.latency.p50.value = zeb_f64(known[i].ns);
        zeb_cells_make(&row, &cells);
        assert_string_equal(cells.text[ZEB_CELL_P50], known[i].text);
    }
}

/* What tells one case from another stands in its line, or above the table where all agree. */
static void test_cases_can_be_told_apart(void **state) {
    (void)state;
    zeb_row row[2] = {test_row_full(arena, 1), test_row_full(arena, 1)};
    char *text = text_of(ZEB_FORMAT_TABLE, 0, row, 2);
    assert_non_null(strstr(text, "settings dev of 872, up to 128 tokens"));
    free(text);
    row[1].examples = 100;
    row[1].requested.seq_max = zeb_i64(16);
    row[1].requested.tune = zeb_i64(1);
    row[1].latency.p50 = (zeb_row_quantile){.value = zeb_f64(1000), .lo = zeb_f64(990), .hi = zeb_f64(1005)};
    (void)snprintf(row[1].precision, sizeof row[1].precision, "auto");
    (void)snprintf(row[1].effective.precision, sizeof row[1].effective.precision, "mixed");
    text = text_of(ZEB_FORMAT_TABLE, 0, row, 2);
    assert_non_null(strstr(text, "dev of 872, up to 128 tokens"));
    assert_non_null(strstr(text, "dev of 100, up to 16 tokens"));
    assert_non_null(strstr(text, ", tuned"));
    assert_non_null(strstr(text, "1.00 us ±1.0 %"));
    assert_non_null(strstr(text, "auto: mixed"));
    free(text);
}

static void test_write_error_is_seen(void **state) {
    (void)state;
    zeb_row row = test_row_full(arena, 1);
    const zeb_row *pointer = &row;
    zeb_error error = {.text = ""};
    FILE *full = fopen("/dev/full", "w");
    if (full == NULL) skip();
    (void)setvbuf(full, NULL, _IONBF, 0);
    for (int format = ZEB_FORMAT_TABLE; format <= ZEB_FORMAT_JSONL; format++) {
        clearerr(full);
        assert_int_equal(zeb_rows_write(full, (zeb_row_format)format, 0, &pointer, 1, &error), ZEB_ERR_IO);
    }
    assert_int_equal(zeb_rows_write(full, ZEB_FORMAT_HTML, 0, &pointer, 1, &error), ZEB_ERR_ARGUMENT);
    (void)fclose(full);
    assert_int_equal(zeb_row_format_find("jsonl"), ZEB_FORMAT_JSONL);
    assert_int_equal(zeb_row_format_find("xml"), ZEB_FORMAT_NONE);
}

/* ---- reports -------------------------------------------------------------------------------------------------- */

/* A device that computes nothing would be the best in every ranking. */
static void put_idle(zeb_store *store, int64_t run, zeb_row row) {
    static const char *const flag[] = {"no-compute"};
    zeb_row_metric metric = row.metric[0];
    (void)snprintf(row.backend, sizeof row.backend, "idle");
    metric.value = metric.hi = zeb_f64(1);
    row.metric = &metric;
    row.latency.p50 = (zeb_row_quantile){.value = zeb_f64(1)};
    row.energy.gross_uj = zeb_i64(1);
    row.flag = flag;
    row.flag_count = 1;
    zeb_error error = {.text = ""};
    if (zeb_store_put(store, run, &row, NULL, &error) != ZEB_OK) fail_msg("%s", error.text);
}

static void demo_database(const char *path) {
    zeb_error error = {.text = ""};
    zeb_store *store = NULL;
    zeb_row *row = NULL;
    zeb_run_info info = test_run_info();
    int64_t run = 0;
    size_t count = 0;
    test_rows_demo(arena, &row, &count);
    if (zeb_store_open(path, true, &store, &error) != ZEB_OK) fail_msg("%s", error.text);
    assert_int_equal(zeb_store_begin_run(store, &info, &run, &error), ZEB_OK);
    for (size_t i = 0; i < count; i++) {
        if (zeb_store_put(store, run, &row[i], NULL, &error) != ZEB_OK) fail_msg("%s", error.text);
    }
    put_idle(store, run, row[1]);
    zeb_store_close(store);
}

/* free() the result. */
static char *report_text(const char *path, zeb_row_format format) {
    char *text = NULL;
    size_t size = 0;
    zeb_error error = {.text = ""};
    FILE *out = open_memstream(&text, &size);
    if (zeb_report_write(path, format, out, &error) != ZEB_OK) fail_msg("%s", error.text);
    assert_int_equal(fclose(out), 0);
    return text;
}

/* No row is on both fronts' wrong side: checks the view against its definition, pair by pair. */
static void assert_front(json_t *report, const char *view, const char *cost) {
    json_t *front = at(report, view);
    assert_true(json_array_size(front) > 1);
    for (size_t i = 0; i < json_array_size(front); i++) {
        for (size_t j = 0; j < json_array_size(front); j++) {
            json_t *a = json_array_get(front, i), *b = json_array_get(front, j);
            const char *kind_a = json_string_value(json_object_get(a, "energy_kind"));
            const char *kind_b = json_string_value(json_object_get(b, "energy_kind"));
            bool comparable = strcmp(json_string_value(at(a, "scenario")), json_string_value(at(b, "scenario"))) == 0;
            if (kind_a != NULL) comparable = comparable && strcmp(kind_a, kind_b) == 0;
            if (i == j || !comparable) continue;
            bool better = json_number_value(at(a, "value")) > json_number_value(at(b, "value"));
            bool dearer = json_number_value(at(a, cost)) > json_number_value(at(b, cost));
            assert_true(better == dearer); /* on a front, better costs more */
        }
    }
}

static void test_report(void **state) {
    test_folder *folder = *state;
    const char *path = test_folder_file(folder, "a.db");
    demo_database(path);
    char *text = report_text(path, ZEB_FORMAT_JSON);
    json_t *report = json_loads(text, 0, NULL);
    assert_non_null(report);
    assert_int_equal(json_array_size(at(report, "rows")), 19);
    assert_int_equal(json_array_size(at(report, "runs")), 1);
    assert_int_equal(json_array_size(at(json_array_get(at(report, "rows"), 0), "curve_ns")), 201);
    assert_true(json_number_value(at(json_array_get(at(report, "pareto_latency"), 0), "p50_ns")) > 1);
    assert_true(json_array_size(at(report, "energy_ranking")) == 11); /* without the idle device */
    assert_front(report, "pareto_latency", "p50_ns");
    assert_front(report, "pareto_energy", "uj_per_query");
    size_t guessed = 0;
    for (size_t i = 0; i < json_array_size(at(report, "pareto_energy")); i++) {
        json_t *point = json_array_get(at(report, "pareto_energy"), i);
        guessed += strcmp(json_string_value(at(point, "energy_kind")), "estimated") == 0;
    }
    assert_int_equal(guessed, 2); /* a front of their own: measured points would beat both */
    json_decref(report);
    free(text);
    text = report_text(path, ZEB_FORMAT_HTML);
    size_t scripts = 0, ends = 0;
    for (const char *c = text; (c = strstr(c, "<script")) != NULL; c++)
        scripts++;
    for (const char *c = text; (c = strstr(c, "</script>")) != NULL; c++)
        ends++;
    assert_int_equal(scripts, ends); /* no row's text closes or opens a script */
    assert_null(strstr(text, "alert(1)</script>"));
    assert_null(strstr(text, "src=\"http"));
    assert_null(strstr(text, "href=\"http"));
    free(text);
}

/* One that is the better in everything, and rows of other data, another version of the task and fewer examples, which
 * it must not beat; of the same data it does. */
static void test_other_data_is_not_compared(void **state) {
    test_folder *folder = *state;
    const char *path = test_folder_file(folder, "a.db");
    enum { ROWS = 5 };
    static const char *const device[ROWS] = {"best", "hash", "version", "examples", "beaten"};
    static const char other[] = "0000000000000000000000000000000000000000000000000000000000000000";
    zeb_error error = {.text = ""};
    zeb_store *store = NULL;
    zeb_run_info info = test_run_info();
    int64_t run = 0, id[ROWS];
    if (zeb_store_open(path, true, &store, &error) != ZEB_OK) fail_msg("%s", error.text);
    assert_int_equal(zeb_store_begin_run(store, &info, &run, &error), ZEB_OK);
    for (int i = 0; i < ROWS; i++) {
        zeb_row row = test_row_full(arena, 1);
        row.outcome = ZEB_OUTCOME_OK;
        row.reason[0] = '\0';
        row.requested.device = device[i];
        if (i > 0) row.latency.p50.value.value *= 2;
        if (i > 0) row.energy.gross_uj.value *= 2;
        if (i == 1) memcpy(row.data_hash, other, sizeof other);
        if (i == 2) row.task_version = zeb_i64(2);
        if (i == 3) row.examples = 100;
        if (zeb_store_put(store, run, &row, &id[i], &error) != ZEB_OK) fail_msg("%s", error.text);
    }
    zeb_store_close(store);
    char *text = report_text(path, ZEB_FORMAT_JSON);
    json_t *report = json_loads(text, 0, NULL);
    free(text);
    static const char *const views[] = {"pareto_latency", "pareto_energy"};
    for (size_t v = 0; v < 2; v++) {
        assert_int_equal(json_array_size(at(report, views[v])), ROWS - 1);
        for (size_t i = 0; i + 1 < ROWS; i++)
            assert_int_not_equal(json_integer_value(at(json_array_get(at(report, views[v]), i), "id")), id[4]);
    }
    json_t *ranking = at(report, "energy_ranking");
    assert_int_equal(json_array_size(ranking), ROWS);
    for (size_t i = 0; i < ROWS; i++) {
        json_t *entry = json_array_get(ranking, i);
        assert_int_equal(json_integer_value(at(entry, "place")), json_integer_value(at(entry, "id")) == id[4] ? 2 : 1);
        (void)at(entry, "data_hash");
    }
    json_decref(report);
}

static void test_report_is_replaced_whole(void **state) {
    test_folder *folder = *state;
    zeb_error error = {.text = ""};
    char out[128];
    (void)snprintf(out, sizeof out, "%s", test_folder_file(folder, "r.html"));
    FILE *old = fopen(out, "w");
    assert_non_null(old);
    (void)fputs("old", old);
    (void)fclose(old);
    const char *path = test_folder_file(folder, "none.db");
    assert_int_equal(zeb_report_save(path, ZEB_FORMAT_HTML, out, &error), ZEB_ERR_NOT_FOUND);
    struct stat info;
    assert_int_equal(stat(out, &info), 0);
    assert_int_equal(info.st_size, 3); /* the old one stands */
    demo_database(path);
    assert_int_equal(zeb_report_save(path, ZEB_FORMAT_HTML, out, &error), ZEB_OK);
    assert_int_equal(stat(out, &info), 0);
    assert_true(info.st_size > 100000);
    assert_int_equal(zeb_report_save(path, ZEB_FORMAT_HTML, "/nonexistent/r.html", &error), ZEB_ERR_IO);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_contract_keys),
        cmocka_unit_test(test_full_row_as_json),
        cmocka_unit_test(test_not_finite_is_unknown),
        cmocka_unit_test(test_csv),
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_nasty_text_stays_in_its_cell),
        cmocka_unit_test(test_numbers_for_people),
        cmocka_unit_test(test_cases_can_be_told_apart),
        cmocka_unit_test(test_write_error_is_seen),
        IN_TEST_FOLDER(test_report),
        IN_TEST_FOLDER(test_other_data_is_not_compared),
        IN_TEST_FOLDER(test_report_is_replaced_whole),
    };
    return cmocka_run_group_tests_name("store_format", tests, setup, teardown);
}
