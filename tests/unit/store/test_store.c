/* The database: what is put comes back the same, what must not be stored is refused, and every bad file gives its own
 * clear error and stays as it was. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <sys/wait.h>

#include "folder.h"
#include "rows.h"
#include "store/import.h"
#include "store/internal.h"

typedef struct fixture {
    test_folder folder;
    zeb_arena *arena;
    zeb_store *store;
    int64_t run;
    zeb_error error;
} fixture;

static int teardown(void **state) {
    fixture *f = *state;
    zeb_store_close(f->store);
    zeb_arena_destroy(f->arena);
    test_folder_remove(&f->folder);
    free(f);
    return 0;
}

static int setup(void **state) {
    fixture *f = calloc(1, sizeof *f);
    if (f == NULL) return -1;
    *state = f;
    test_folder_make(&f->folder);
    zeb_run_info info = test_run_info();
    if (zeb_arena_create(&f->arena, NULL) != ZEB_OK ||
        zeb_store_open(test_folder_file(&f->folder, "a.db"), true, &f->store, &f->error) != ZEB_OK ||
        zeb_store_begin_run(f->store, &info, &f->run, &f->error) != ZEB_OK) {
        print_error("%s\n", f->error.text);
        (void)teardown(state); /* cmocka doesn't, after a failure here */
        return -1;
    }
    return 0;
}

static void assert_status(zeb_status expected, zeb_status status, const zeb_error *error) {
    if (status != expected)
        fail_msg("%s instead of %s: %s", zeb_status_name(status), zeb_status_name(expected), error->text);
}

static void assert_says(const zeb_error *error, const char *words) {
    if (strstr(error->text, words) == NULL) fail_msg("\"%s\" does not say \"%s\"", error->text, words);
}

/* What makes an accepted row durable can't be seen without pulling a plug, so it is asked for. */
static void test_durable_settings(void **state) {
    fixture *f = *state;
    const struct {
        const char *sql;
        int64_t value;
    } want[] = {{"SELECT journal_mode = 'wal' FROM pragma_journal_mode", 1},
                {"PRAGMA synchronous", 2},
                {"PRAGMA foreign_keys", 1},
                {"PRAGMA user_version", ZEB_SCHEMA},
                {"PRAGMA application_id", ZEB_APPLICATION_ID}};
    for (size_t i = 0; i < sizeof want / sizeof want[0]; i++) {
        int64_t value = -1;
        assert_status(ZEB_OK, zeb_sql_int(f->store->db, "", want[i].sql, &value, &f->error), &f->error);
        if (value != want[i].value) fail_msg("%s is %lld", want[i].sql, (long long)value);
    }
}

/* ---- the round trip ------------------------------------------------------------------------------------------- */

/* All columns of two structs are equal: nothing is lost, nothing unknown becomes a number. */
static void assert_same(zeb_table_id id, const void *a, const void *b) {
    const zeb_table *table = zeb_table_get(id);
    for (size_t i = 0; i < table->column_count; i++) {
        zeb_value x = zeb_column_get(&table->column[i], a), y = zeb_column_get(&table->column[i], b);
        bool same = x.kind == y.kind && x.integer == y.integer && x.real == y.real;
        if (same && x.kind == ZEB_VALUE_TEXT) {
            char *clean = zeb_utf8_clean(x.text);
            same = strcmp(clean, y.text) == 0;
            free(clean);
        }
        if (!same) fail_msg("%s.%s changed on its way through the database", table->name, table->column[i].name);
    }
}

static void assert_same_row(const zeb_row *a, const zeb_row *b) {
    assert_same(ZEB_TABLE_ROW, a, b);
    assert_same(ZEB_TABLE_SETTINGS, &a->requested, &b->requested);
    assert_same(ZEB_TABLE_SETTINGS, &a->effective, &b->effective);
    assert_same(ZEB_TABLE_ENERGY, &a->energy, &b->energy);
    assert_same(ZEB_TABLE_CARBON, &a->carbon, &b->carbon);
    assert_int_equal(a->metric_count, b->metric_count);
    for (size_t i = 0; i < a->metric_count; i++)
        assert_same(ZEB_TABLE_METRIC, &a->metric[i], &b->metric[i]);
    assert_int_equal(a->kept_count, b->kept_count);
    for (size_t i = 0; i < a->kept_count; i++)
        assert_same(ZEB_TABLE_KEPT, &a->kept[i], &b->kept[i]);
    assert_int_equal(a->energy.channel_count, b->energy.channel_count);
    for (size_t i = 0; i < a->energy.channel_count; i++) {
        assert_same(ZEB_TABLE_CHANNEL, &a->energy.channel[i], &b->energy.channel[i]);
    }
    assert_int_equal(a->flag_count, b->flag_count);
    for (size_t i = 0; i < a->flag_count; i++)
        assert_string_equal(a->flag[i], b->flag[i]);
}

static zeb_record *read_all(fixture *f, const zeb_store_filter *filter, size_t *count) {
    zeb_record *record = NULL;
    assert_status(ZEB_OK, zeb_store_rows(f->store, filter, f->arena, &record, count, &f->error), &f->error);
    return record;
}

static void test_full_row_comes_back(void **state) {
    fixture *f = *state;
    zeb_row row = test_row_full(f->arena, 1);
    size_t count = 0;
    assert_status(ZEB_OK, zeb_store_put(f->store, f->run, &row, NULL, &f->error), &f->error);
    zeb_record *record = read_all(f, NULL, &count);
    assert_status(ZEB_OK, zeb_store_samples(f->store, record->id, f->arena, &record->row, &f->error), &f->error);
    assert_int_equal(count, 1);
    assert_same_row(&row, &record->row);
    assert_int_equal(record->row.sample_count, row.sample_count);
    assert_memory_equal(record->row.sample_ns, row.sample_ns, row.sample_count * sizeof *row.sample_ns);
    zeb_run_info info = test_run_info();
    assert_same(ZEB_TABLE_RUN, &info, &record->run);
    assert_int_equal(record->run.argc, info.argc);
    for (size_t i = 0; i < info.argc; i++)
        assert_string_equal(record->run.argv[i], info.argv[i]);
}

/* A test that forgets a column would not see it lost: in the full row every column of every table is known. */
static void test_full_row_is_full(void **state) {
    fixture *f = *state;
    zeb_row row = test_row_full(f->arena, 1);
    const struct {
        zeb_table_id id;
        const void *record;
    } part[] = {
        {ZEB_TABLE_ROW, &row},          {ZEB_TABLE_SETTINGS, &row.requested},    {ZEB_TABLE_SETTINGS, &row.effective},
        {ZEB_TABLE_METRIC, row.metric}, {ZEB_TABLE_CHANNEL, row.energy.channel}, {ZEB_TABLE_CARBON, &row.carbon},
        {ZEB_TABLE_KEPT, row.kept}};
    for (size_t p = 0; p < sizeof part / sizeof part[0]; p++) {
        const zeb_table *table = zeb_table_get(part[p].id);
        for (size_t i = 0; i < table->column_count; i++) {
            bool empty = zeb_column_get(&table->column[i], part[p].record).kind == ZEB_VALUE_NULL;
            bool may_be = part[p].id == ZEB_TABLE_CHANNEL && strcmp(table->column[i].name, "reason") == 0;
            if (empty && !may_be) fail_msg("the full row knows no %s.%s", table->name, table->column[i].name);
        }
    }
}

static void test_bare_rows_stay_unknown(void **state) {
    fixture *f = *state;
    size_t count = 0;
    for (int o = ZEB_OUTCOME_OK; o <= ZEB_OUTCOME_INTERRUPTED; o++) {
        zeb_row row = test_row_bare((zeb_outcome)o);
        assert_status(ZEB_OK, zeb_store_put(f->store, f->run, &row, NULL, &f->error), &f->error);
    }
    zeb_record *record = read_all(f, NULL, &count);
    assert_int_equal(count, ZEB_OUTCOME_INTERRUPTED);
    for (size_t i = 0; i < count; i++) {
        zeb_row row = test_row_bare((zeb_outcome)(i + 1));
        assert_same_row(&row, &record[i].row);
        assert_false(record[i].row.energy.gross_uj.has);
        assert_false(record[i].row.carbon.co2_ug.has);
        assert_false(record[i].row.peak_rss_bytes.has);
    }
}

static void test_many_samples_become_a_histogram(void **state) {
    fixture *f = *state;
    enum { N = ZEB_SAMPLE_MAX + 1 };
    zeb_row row = test_row_bare(ZEB_OUTCOME_OK);
    uint64_t *sample = calloc(N, sizeof *sample), total = 0;
    size_t count = 0;
    for (size_t i = 0; i < N; i++)
        sample[i] = (i * 2654435761u) % 5000000;
    sample[0] = UINT64_MAX; /* even that has a bucket */
    row.n = row.sample_count = N;
    row.sample_ns = sample;
    assert_status(ZEB_OK, zeb_store_put(f->store, f->run, &row, NULL, &f->error), &f->error);
    free(sample);
    zeb_record *record = read_all(f, NULL, &count);
    assert_status(ZEB_OK, zeb_store_samples(f->store, record->id, f->arena, &record->row, &f->error), &f->error);
    const zeb_row *r = &record->row;
    assert_null(r->sample_ns);
    assert_true(r->bucket_count > 1000 && r->bucket_count < 4000);
    for (size_t i = 0; i < r->bucket_count; i++) {
        total += r->bucket[i].count;
        uint64_t width = r->bucket[i].hi_ns - r->bucket[i].lo_ns;
        assert_true(width == 1 || width <= r->bucket[i].lo_ns / 128);
        if (i > 0) assert_true(r->bucket[i].lo_ns >= r->bucket[i - 1].hi_ns);
    }
    assert_int_equal(total, N);
}

/* ---- which row is newest -------------------------------------------------------------------------------------- */

static void test_newest_row_of_a_case(void **state) {
    fixture *f = *state;
    zeb_row row = test_row_bare(ZEB_OUTCOME_OK), other = row;
    zeb_row stopped = test_row_bare(ZEB_OUTCOME_INTERRUPTED);
    other.requested.threads = zeb_i64(2);
    int64_t id[4];
    const zeb_store_filter filter = {.latest_only = true};
    size_t count = 0;
    assert_status(ZEB_OK, zeb_store_put(f->store, f->run, &row, &id[0], &f->error), &f->error);
    assert_status(ZEB_OK, zeb_store_put(f->store, f->run, &row, &id[1], &f->error), &f->error);
    assert_status(ZEB_OK, zeb_store_put(f->store, f->run, &other, &id[2], &f->error), &f->error);
    assert_status(ZEB_OK, zeb_store_put(f->store, f->run, &stopped, &id[3], &f->error), &f->error);
    zeb_record *record = read_all(f, &filter, &count);
    assert_int_equal(count, 2);
    assert_int_equal(record[0].id, id[1]); /* not id[0]: older; not id[3]: interrupted */
    assert_int_equal(record[1].id, id[2]);
    (void)read_all(f, NULL, &count);
    assert_int_equal(count, 4);
    uint64_t outcome[8];
    assert_status(ZEB_OK, zeb_store_count(f->store, f->run, outcome, &f->error), &f->error);
    assert_int_equal(outcome[ZEB_OUTCOME_OK], 3);
    assert_int_equal(outcome[ZEB_OUTCOME_INTERRUPTED], 1);
    assert_int_equal(outcome[ZEB_OUTCOME_FAILED], 0);
}

/* A case as asked: where it ends, a row knows more of its names than one that fell. */
static zeb_row asked_row(zeb_outcome outcome) {
    zeb_row row = test_row_bare(outcome);
    row.model_path = "/e1/ck";
    row.requested.device = "cpu";
    row.requested.policy = "/p/half.json";
    row.requested.data = "/data";
    row.requested.tune = zeb_i64(0);
    return row;
}

static int64_t put(fixture *f, const zeb_row *row) {
    int64_t id = 0;
    assert_status(ZEB_OK, zeb_store_put(f->store, f->run, row, &id, &f->error), &f->error);
    return id;
}

/* The names in a row come from what was opened: a case that falls over before has others, and is the same case. */
static void test_a_failure_is_newer_than_a_success(void **state) {
    fixture *f = *state;
    const zeb_store_filter filter = {.latest_only = true};
    static const zeb_outcome bad[] = {ZEB_OUTCOME_FAILED, ZEB_OUTCOME_CRASHED, ZEB_OUTCOME_TIMEOUT};
    size_t count = 0;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        zeb_row good = asked_row(ZEB_OUTCOME_OK), fallen = asked_row(bad[i]);
        (void)strcpy(good.model, "bert-mini");
        (void)strcpy(good.policy, "half");
        (void)strcpy(fallen.model, "ck");
        (void)strcpy(fallen.policy, "half.json");
        fallen.device[0] = '\0';
        (void)put(f, &good);
        int64_t id = put(f, &fallen);
        zeb_record *record = read_all(f, &filter, &count);
        assert_int_equal(count, 1);
        assert_int_equal(record[0].id, id);
    }
}

/* Everything that was asked tells cases apart, and nothing else does. */
static void test_other_cases_are_not_hidden(void **state) {
    fixture *f = *state;
    const zeb_store_filter filter = {.latest_only = true};
    enum { CASES = 12 };
    zeb_row row[CASES];
    size_t count = 0;
    for (int i = 0; i < CASES; i++)
        row[i] = asked_row(ZEB_OUTCOME_OK);
    row[1].model_path = "/e2/ck";
    row[2].requested.device = "cpu:0";
    row[3].requested.policy = "/q/half.json";
    row[4].requested.data = "/other";
    row[5].requested.tune = zeb_i64(1);
    (void)strcpy(row[6].requested.isa, "scalar");
    (void)strcpy(row[7].requested.isa, "avx2");
    row[8].requested.pinned = zeb_i64(0);
    row[9].requested.pinned = zeb_i64(1);
    row[10].requested.threads = zeb_i64(2);
    (void)strcpy(row[11].requested.precision, "bf16");
    for (int again = 0; again < 2; again++)
        for (int i = 0; i < CASES; i++)
            (void)put(f, &row[i]);
    zeb_record *record = read_all(f, &filter, &count);
    assert_int_equal(count, CASES);
    assert_int_equal(record[0].id, CASES + 1);
}

/* Rows of a schema that did not keep what was asked: among themselves by name, until a row that does tells it again. */
static void test_newest_among_old_rows(void **state) {
    fixture *f = *state;
    const zeb_store_filter filter = {.latest_only = true};
    zeb_row old = test_row_bare(ZEB_OUTCOME_OK), elsewhere = old, now = asked_row(ZEB_OUTCOME_OK);
    zeb_row stopped = asked_row(ZEB_OUTCOME_INTERRUPTED);
    size_t count = 0;
    old.model_path = elsewhere.model_path = "e1/ck";
    (void)strcpy(elsewhere.device, "1");
    (void)put(f, &old);
    int64_t second = put(f, &old), other = put(f, &elsewhere);
    (void)put(f, &stopped);
    zeb_record *record = read_all(f, &filter, &count);
    assert_int_equal(count, 3);
    assert_int_equal(record[0].id, second); /* an interrupted row does not hide it */
    assert_int_equal(record[1].id, other);
    int64_t third = put(f, &now);
    record = read_all(f, &filter, &count);
    assert_int_equal(count, 2);
    assert_int_equal(record[0].id, other);
    assert_int_equal(record[1].id, third);
}

static int64_t put_on(fixture *f, int64_t run, const char *device, zeb_outcome outcome) {
    int64_t id = 0;
    zeb_row row = test_row_bare(outcome);
    (void)snprintf(row.device, sizeof row.device, "%s", device);
    assert_status(ZEB_OK, zeb_store_put(f->store, run, &row, &id, &f->error), &f->error);
    return id;
}

static void test_what_stood_before_a_run(void **state) {
    fixture *f = *state;
    int64_t run[3] = {f->run}, id[3];
    zeb_run_info elsewhere = test_run_info(), here = elsewhere;
    elsewhere.host = "elsewhere";
    assert_status(ZEB_OK, zeb_store_begin_run(f->store, &elsewhere, &run[1], &f->error), &f->error);
    assert_status(ZEB_OK, zeb_store_begin_run(f->store, &here, &run[2], &f->error), &f->error);
    (void)put_on(f, run[0], "a", ZEB_OUTCOME_OK); /* hidden by the next */
    id[0] = put_on(f, run[0], "a", ZEB_OUTCOME_OK);
    (void)put_on(f, run[0], "a", ZEB_OUTCOME_CRASHED);
    id[1] = put_on(f, run[0], "b", ZEB_OUTCOME_OK);
    id[2] = put_on(f, run[1], "a", ZEB_OUTCOME_OK); /* of another host: another case */
    (void)put_on(f, run[2], "a", ZEB_OUTCOME_OK);   /* not before the run */
    zeb_record *record;
    size_t count;
    const zeb_store_filter filter = {.ok_before = run[2]};
    assert_status(ZEB_OK, zeb_store_rows(f->store, &filter, f->arena, &record, &count, &f->error), &f->error);
    assert_int_equal(count, 3);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(record[i].id, id[i]);
    assert_string_equal(record[2].run.host, "elsewhere");
}

static void test_runs_are_listed(void **state) {
    fixture *f = *state;
    zeb_stored_run *run;
    size_t count;
    zeb_run_info info = test_run_info();
    int64_t second = 0;
    assert_status(ZEB_OK, zeb_store_begin_run(f->store, &info, &second, &f->error), &f->error);
    (void)put_on(f, second, "a", ZEB_OUTCOME_OK);
    (void)put_on(f, second, "b", ZEB_OUTCOME_INTERRUPTED);
    assert_status(ZEB_OK, zeb_store_end_run(f->store, second, "2026-11-23T22:00:00Z", 1, &f->error), &f->error);
    assert_status(ZEB_OK, zeb_store_runs(f->store, f->arena, &run, &count, &f->error), &f->error);
    assert_int_equal(count, 2);
    assert_int_equal(run[0].rows, 0);
    assert_null(run[0].finished_utc);
    assert_int_equal(run[1].id, second);
    assert_int_equal(run[1].rows, 2);
    assert_int_equal(run[1].interrupted, 1);
    assert_string_equal(run[1].finished_utc, "2026-11-23T22:00:00Z");
    assert_int_equal(run[1].info.argc, info.argc);
    assert_string_equal(run[1].info.argv[info.argc - 1], info.argv[info.argc - 1]);
}

static void test_samples_can_be_read_later(void **state) {
    fixture *f = *state;
    zeb_row row = test_row_full(f->arena, 7);
    int64_t id = 0;
    zeb_record *record;
    size_t count;
    assert_status(ZEB_OK, zeb_store_put(f->store, f->run, &row, &id, &f->error), &f->error);
    assert_status(ZEB_OK, zeb_store_rows(f->store, NULL, f->arena, &record, &count, &f->error), &f->error);
    assert_int_equal(record[0].row.sample_count, 0);
    assert_status(ZEB_OK, zeb_store_samples(f->store, id, f->arena, &record[0].row, &f->error), &f->error);
    assert_int_equal(record[0].row.sample_count, row.sample_count);
    assert_memory_equal(record[0].row.sample_ns, row.sample_ns, row.sample_count * sizeof *row.sample_ns);
}

static void test_run_ends(void **state) {
    fixture *f = *state;
    zeb_row row = test_row_bare(ZEB_OUTCOME_OK);
    size_t count = 0;
    assert_status(ZEB_OK, zeb_store_put(f->store, f->run, &row, NULL, &f->error), &f->error);
    assert_null(read_all(f, NULL, &count)->finished_utc);
    assert_status(ZEB_OK, zeb_store_end_run(f->store, f->run, "2026-11-23T22:00:00Z", 1, &f->error), &f->error);
    assert_string_equal(read_all(f, NULL, &count)->finished_utc, "2026-11-23T22:00:00Z");
    assert_status(ZEB_ERR_NOT_FOUND, zeb_store_end_run(f->store, 99, "2026", 0, &f->error), &f->error);
}

/* ---- what is refused ------------------------------------------------------------------------------------------ */

static void assert_refused(fixture *f, const zeb_row *row, const char *words) {
    f->error.text[0] = '\0';
    assert_status(ZEB_ERR_ARGUMENT, zeb_store_put(f->store, f->run, row, NULL, &f->error), &f->error);
    assert_says(&f->error, words);
}

static void test_rows_that_break_rules(void **state) {
    fixture *f = *state;
    zeb_row row = test_row_bare(ZEB_OUTCOME_OK);
    size_t count = 0;
    row.n = 0;
    assert_refused(f, &row, "n is 0");
    row = test_row_bare(ZEB_OUTCOME_OK);
    row.latency.p50.value.has = false;
    assert_refused(f, &row, "median");
    row = test_row_bare(ZEB_OUTCOME_FAILED);
    row.reason[0] = '\0';
    assert_refused(f, &row, "no reason");
    row = test_row_bare(ZEB_OUTCOME_NONE);
    assert_refused(f, &row, "no verdict");
    row = test_row_bare(ZEB_OUTCOME_OK);
    row.model[0] = '\0';
    assert_refused(f, &row, "model");
    row = test_row_full(f->arena, 1);
    row.energy.known = row.energy.valid = false;
    assert_refused(f, &row, "energy is not known");
    row = test_row_full(f->arena, 1);
    row.energy.gross_uj.has = false;
    assert_refused(f, &row, "gross_uj is unknown");
    row = test_row_full(f->arena, 1);
    row.energy.source[0] = '\0';
    assert_refused(f, &row, "source");
    row = test_row_full(f->arena, 1);
    row.energy.examples = zeb_u64(0);
    assert_refused(f, &row, "energy of 0 examples");
    row = test_row_full(f->arena, 1);
    row.carbon.intensity_g_per_kwh.has = false;
    assert_refused(f, &row, "co2_ug");
    row = test_row_full(f->arena, 1);
    row.seed = zeb_u64(UINT64_MAX);
    assert_refused(f, &row, "63 bits");
    row = test_row_full(f->arena, 1);
    row.effective.threads = zeb_i64(0); /* the schema's own check */
    assert_refused(f, &row, "threads");
    row = test_row_full(f->arena, 1);
    row.n = 7;
    assert_refused(f, &row, "samples");
    (void)read_all(f, NULL, &count);
    assert_int_equal(count, 0); /* nothing of any of them */
    row = test_row_bare(ZEB_OUTCOME_OK);
    assert_status(ZEB_ERR_ARGUMENT, zeb_store_put(f->store, 4711, &row, NULL, &f->error), &f->error);
    assert_says(&f->error, "FOREIGN KEY");
}

/* The schema holds by itself, whoever writes: each of these would make a row say what no row may. */
static void test_schema_refuses(void **state) {
    fixture *f = *state;
    static const char *const bad[] = {"UPDATE row SET reason = NULL",
                                      "UPDATE row SET verdict = 'ok'",
                                      "UPDATE row SET verdict = 'ok', reason = NULL, n = 0, latency_p50_ns = NULL",
                                      "UPDATE row SET verdict = 'ok', reason = NULL, latency_p50_ns = NULL",
                                      "UPDATE row SET verdict = 'fine'",
                                      "UPDATE row SET verdict = 'unsupported'",
                                      "UPDATE row SET n = 0",
                                      "UPDATE row SET model = ''",
                                      "UPDATE row SET model = NULL",
                                      "UPDATE row SET model_hash = 'abc'",
                                      "UPDATE row SET peak_rss_bytes = 0",
                                      "UPDATE row SET n = 'many'",
                                      "UPDATE row SET run_id = 77",
                                      "UPDATE energy SET gross_uj = NULL",
                                      "UPDATE energy SET known = 0",
                                      "UPDATE energy SET valid = 0",
                                      "UPDATE energy SET kind = NULL",
                                      "UPDATE energy SET kind = 'guessed'",
                                      "UPDATE energy SET source = NULL",
                                      "UPDATE carbon SET intensity_g_per_kwh = NULL",
                                      "UPDATE metric SET value = NULL",
                                      "UPDATE metric SET defined = 0",
                                      "UPDATE metric SET lo = hi + 1",
                                      "UPDATE settings SET threads = 0 WHERE which = 'effective'",
                                      "UPDATE settings SET which = 'guessed' WHERE which = 'effective'",
                                      "UPDATE settings SET tune = 2 WHERE which = 'requested'",
                                      "UPDATE sample SET count = count + 1",
                                      "UPDATE sample SET encoding = 'text'",
                                      "UPDATE run SET argv = NULL",
                                      "UPDATE run SET exit_code = 0",
                                      "INSERT INTO flag VALUES (77, 0, 'x')"};
    zeb_row row = test_row_full(f->arena, 1);
    assert_status(ZEB_OK, zeb_store_put(f->store, f->run, &row, NULL, &f->error), &f->error);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        if (sqlite3_exec(f->store->db, bad[i], NULL, NULL, NULL) == SQLITE_OK) fail_msg("let through: %s", bad[i]);
    }
    assert_int_equal(sqlite3_exec(f->store->db, "UPDATE row SET reason = 'other'", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_exec(f->store->db, "DELETE FROM run", NULL, NULL, NULL), SQLITE_OK);
    int64_t left = -1; /* a run takes its rows along, and they all of theirs */
    const char *sql =
        "SELECT (SELECT count(*) FROM row) + (SELECT count(*) FROM sample) + (SELECT count(*) FROM metric) "
        "+ (SELECT count(*) FROM energy_channel) + (SELECT count(*) FROM settings)";
    assert_status(ZEB_OK, zeb_sql_int(f->store->db, "", sql, &left, &f->error), &f->error);
    assert_int_equal(left, 0);
}

static void test_not_finite_is_not_stored(void **state) {
    fixture *f = *state;
    zeb_row row = test_row_bare(ZEB_OUTCOME_OK);
    size_t count = 0;
    row.throughput_per_s = (zeb_maybe_f64){.has = true, .value = (double)INFINITY};
    row.latency.mean = (zeb_maybe_f64){.has = true, .value = (double)NAN};
    assert_status(ZEB_OK, zeb_store_put(f->store, f->run, &row, NULL, &f->error), &f->error);
    zeb_record *record = read_all(f, NULL, &count);
    assert_false(record->row.throughput_per_s.has);
    assert_false(record->row.latency.mean.has);
    int64_t unknown = 0;
    const char *sql = "SELECT count(*) FROM row WHERE throughput_per_s IS NULL AND latency_mean_ns IS NULL";
    assert_status(ZEB_OK, zeb_sql_int(f->store->db, "", sql, &unknown, &f->error), &f->error);
    assert_int_equal(unknown, 1);
}

/* ---- files that are no database of ours ----------------------------------------------------------------------- */

static void write_file(const char *path, const void *data, size_t size) {
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

static void assert_untouched(const char *path, const void *data, size_t size) {
    char *now = malloc(size + 1);
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    assert_int_equal(fread(now, 1, size + 1, file), size);
    assert_memory_equal(now, data, size);
    (void)fclose(file);
    free(now);
}

static void test_not_a_database(void **state) {
    fixture *f = *state;
    const char *path = test_folder_file(&f->folder, "b.db");
    zeb_store *store = NULL;
    uint64_t word = 12345;
    char bytes[5000];
    for (int round = 0; round < 50; round++) {
        size_t size = (size_t)round * 97 + 1;
        for (size_t i = 0; i < size; i++) {
            word = word * 6364136223846793005u + 1442695040888963407u;
            bytes[i] = (char)(word >> 56);
        }
        if (round % 2 == 1 && size >= 16) memcpy(bytes, "SQLite format 3", 16); /* a true beginning, then rubbish */
        write_file(path, bytes, size);
        zeb_status status = zeb_store_open(path, true, &store, &f->error);
        assert_null(store);
        assert_status(ZEB_ERR_FORMAT, status, &f->error);
        assert_says(&f->error, "b.db");
        assert_untouched(path, bytes, size);
        assert_status(ZEB_ERR_FORMAT, zeb_store_open_read(path, &store, &f->error), &f->error);
    }
}

static void test_other_programs_database(void **state) {
    fixture *f = *state;
    const char *path = test_folder_file(&f->folder, "b.db");
    sqlite3 *db = NULL;
    zeb_store *store = NULL;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "CREATE TABLE mine (x)", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    assert_status(ZEB_ERR_FORMAT, zeb_store_open(path, true, &store, &f->error), &f->error);
    assert_says(&f->error, "another program");
}

static void test_newer_schema(void **state) {
    fixture *f = *state;
    sqlite3 *db = NULL;
    zeb_store *store = NULL;
    zeb_store_close(f->store);
    f->store = NULL;
    const char *path = test_folder_file(&f->folder, "a.db");
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "PRAGMA user_version = 99", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    assert_status(ZEB_ERR_VERSION, zeb_store_open(path, true, &store, &f->error), &f->error);
    assert_says(&f->error, "schema 99");
    assert_status(ZEB_ERR_VERSION, zeb_store_open_read(path, &store, &f->error), &f->error);
}

static void test_missing_and_odd_paths(void **state) {
    fixture *f = *state;
    zeb_store *store = NULL;
    const char *path = test_folder_file(&f->folder, "none.db");
    assert_status(ZEB_ERR_NOT_FOUND, zeb_store_open(path, false, &store, &f->error), &f->error);
    assert_status(ZEB_ERR_NOT_FOUND, zeb_store_open_read(path, &store, &f->error), &f->error);
    assert_status(ZEB_ERR_FORMAT, zeb_store_open(f->folder.path, true, &store, &f->error), &f->error);
    assert_status(ZEB_ERR_IO, zeb_store_open("/proc/zeb.db", true, &store, &f->error), &f->error);
    assert_says(&f->error, "/proc/zeb.db: could not open it: No such file or directory; --db");
    write_file(path, "", 0);
    assert_status(ZEB_ERR_FORMAT, zeb_store_open(path, false, &store, &f->error), &f->error);
    assert_status(ZEB_ERR_FORMAT, zeb_store_open_read(path, &store, &f->error), &f->error);
    assert_status(ZEB_OK, zeb_store_open(path, true, &store, &f->error), &f->error); /* an empty file may become one */
    zeb_store_close(store);
    path = test_folder_file(&f->folder, "odd %41 ?x#y.db"); /* nothing in a name is special */
    assert_status(ZEB_OK, zeb_store_open(path, true, &store, &f->error), &f->error);
    zeb_store_close(store);
    assert_status(ZEB_OK, zeb_store_open_read(path, &store, &f->error), &f->error);
    zeb_store_close(store);
    path = test_folder_file(&f->folder, "new/a.db"); /* folders on the way are made */
    assert_status(ZEB_OK, zeb_store_open(path, true, &store, &f->error), &f->error);
    zeb_store_close(store);
    assert_int_equal(unlink(path), 0);
}

/* ---- what a system refuses ------------------------------------------------------------------------------------ */

/* Runs in a child without privileges, for whom a mode of 0444 means something: 0 when all is as it should be. */
static int read_only_child(const char *path) {
    zeb_store *store = NULL;
    zeb_error error = {.text = ""};
    if (geteuid() == 0 && (setgid(65534) != 0 || setuid(65534) != 0)) return 1;
    if (zeb_store_open(path, true, &store, &error) != ZEB_ERR_IO) return 2;
    if (strstr(error.text, "read-only") == NULL) return 3;
    if (zeb_store_open_read(path, &store, &error) != ZEB_OK) return 4;
    uint64_t count[8];
    if (zeb_store_count(store, 0, count, &error) != ZEB_OK || count[ZEB_OUTCOME_OK] != 1) return 5;
    zeb_store_close(store);
    return 0;
}

static void assert_child(const char *path) {
    int status = 0;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) _exit(read_only_child(path));
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void test_read_only(void **state) {
    fixture *f = *state;
    zeb_row row = test_row_bare(ZEB_OUTCOME_OK);
    assert_status(ZEB_OK, zeb_store_put(f->store, f->run, &row, NULL, &f->error), &f->error);
    zeb_store_close(f->store);
    f->store = NULL;
    const char *path = test_folder_file(&f->folder, "a.db");
    assert_int_equal(chmod(path, 0444), 0);
    assert_child(path);
    assert_int_equal(chmod(f->folder.path, 0555), 0); /* the folder too */
    assert_child(path);
    assert_int_equal(chmod(f->folder.path, 0777), 0);
}

/* A database that may not grow is what a full disk looks like to SQLite. */
static void test_full_disk(void **state) {
    fixture *f = *state;
    zeb_row row = test_row_full(f->arena, 1);
    size_t stored = 0, count = 0;
    assert_int_equal(sqlite3_exec(f->store->db, "PRAGMA max_page_count = 60", NULL, NULL, NULL), SQLITE_OK);
    zeb_status status = ZEB_OK;
    while (status == ZEB_OK && stored < 1000) {
        status = zeb_store_put(f->store, f->run, &row, NULL, &f->error);
        if (status == ZEB_OK) stored++;
    }
    assert_status(ZEB_ERR_IO, status, &f->error);
    assert_says(&f->error, "disk is full");
    assert_true(stored > 0);
    zeb_record *record = read_all(f, NULL, &count);
    assert_int_equal(count, stored);
    assert_same_row(&row, &record[stored - 1].row);
    assert_int_equal(sqlite3_exec(f->store->db, "PRAGMA max_page_count = 100000", NULL, NULL, NULL), SQLITE_OK);
    assert_status(ZEB_OK, zeb_store_put(f->store, f->run, &row, NULL, &f->error), &f->error); /* space was made */
}

static void test_two_writers(void **state) {
    fixture *f = *state;
    zeb_store *other = NULL;
    zeb_row row = test_row_bare(ZEB_OUTCOME_OK);
    zeb_run_info info = test_run_info();
    int64_t run = 0;
    size_t count = 0;
    assert_status(ZEB_OK, zeb_store_open(test_folder_file(&f->folder, "a.db"), true, &other, &f->error), &f->error);
    assert_status(ZEB_OK, zeb_store_begin_run(other, &info, &run, &f->error), &f->error);
    for (int i = 0; i < 10; i++) {
        assert_status(ZEB_OK, zeb_store_put(f->store, f->run, &row, NULL, &f->error), &f->error);
        assert_status(ZEB_OK, zeb_store_put(other, run, &row, NULL, &f->error), &f->error);
    }
    (void)sqlite3_busy_timeout(other->db, 10);
    assert_int_equal(sqlite3_exec(f->store->db, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    assert_status(ZEB_ERR_TIMEOUT, zeb_store_put(other, run, &row, NULL, &f->error), &f->error);
    assert_says(&f->error, "another program");
    assert_int_equal(sqlite3_exec(f->store->db, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
    zeb_store_close(other);
    (void)read_all(f, NULL, &count);
    assert_int_equal(count, 20);
}

/* Several programs that make the same database at the same moment: one makes it, all write to it. */
static void test_made_by_many_at_once(void **state) {
    enum { PROGRAMS = 8, ROWS = 3, ROUNDS = 5 };
    fixture *f = *state;
    const char *path = test_folder_file(&f->folder, "many.db");
    for (int round = 0; round < ROUNDS; round++) {
        pid_t child[PROGRAMS];
        uint64_t count[8];
        zeb_store *store = NULL;
        for (int i = 0; i < PROGRAMS; i++) {
            child[i] = fork();
            assert_true(child[i] >= 0);
            if (child[i] != 0) continue;
            zeb_error error = {.text = ""};
            zeb_run_info info = test_run_info();
            zeb_row row = test_row_bare(ZEB_OUTCOME_OK);
            int64_t run = 0;
            zeb_status status = zeb_store_open(path, true, &store, &error);
            if (status == ZEB_OK) status = zeb_store_begin_run(store, &info, &run, &error);
            for (int k = 0; status == ZEB_OK && k < ROWS; k++)
                status = zeb_store_put(store, run, &row, NULL, &error);
            if (status != ZEB_OK) (void)fprintf(stderr, "%s\n", error.text);
            zeb_store_close(store);
            _exit(status == ZEB_OK ? 0 : 1);
        }
        for (int i = 0; i < PROGRAMS; i++) {
            int status = 0;
            assert_int_equal(waitpid(child[i], &status, 0), child[i]);
            assert_int_equal(status, 0);
        }
        assert_status(ZEB_OK, zeb_store_open_read(path, &store, &f->error), &f->error);
        assert_status(ZEB_OK, zeb_store_count(store, 0, count, &f->error), &f->error);
        assert_int_equal(count[ZEB_OUTCOME_OK], PROGRAMS * ROWS);
        zeb_store_close(store);
        assert_int_equal(unlink(path), 0);
    }
}

/* ---- CodeCarbon ----------------------------------------------------------------------------------------------- */

static const char header[] =
    "timestamp,project_name,run_id,experiment_id,duration,emissions,emissions_rate,cpu_energy,gpu_energy,ram_energy,"
    "energy_consumed,country_name,country_iso_code,region,cpu_model,tracking_mode,pue\n";
static const char line[] = "2026-11-01T10:00:00,sst2,abc,x,321.5,0.0123,3.8e-5,0.01,,0.002,0.012,\"Korea, Republic "
                           "of\",KOR,,\"A \"\"fast\"\" CPU\",process,1.2\n";

static void test_import_emissions(void **state) {
    fixture *f = *state;
    const char *path = test_folder_file(&f->folder, "emissions.csv");
    char text[2048], *export_text = NULL;
    size_t size = 0;
    zeb_import_counts counts;
    (void)snprintf(text, sizeof text, "%s%s", header, line);
    write_file(path, text, strlen(text));
    assert_status(ZEB_OK, zeb_store_import_emissions(f->store, path, NULL, &counts, &f->error), &f->error);
    assert_int_equal(counts.imported, 1);
    assert_status(ZEB_OK, zeb_store_import_emissions(f->store, path, "mini", &counts, &f->error), &f->error);
    assert_int_equal(counts.imported, 1); /* it has a model now */
    assert_status(ZEB_OK, zeb_store_import_emissions(f->store, path, "mini", &counts, &f->error), &f->error);
    assert_int_equal(counts.imported, 0); /* again is not twice */
    assert_int_equal(counts.known, 1);
    assert_status(ZEB_OK, zeb_store_import_emissions(f->store, path, "maxi", &counts, &f->error), &f->error);
    assert_int_equal(counts.imported, 1); /* one training made both */
    assert_status(ZEB_OK, zeb_store_import_emissions(f->store, path, NULL, &counts, &f->error), &f->error);
    assert_int_equal(counts.known, 1);
    int64_t made = 0, lines = 0;
    assert_status(ZEB_OK, zeb_sql_int(f->store->db, path, "SELECT count(*) FROM training", &lines, &f->error),
                  &f->error);
    assert_status(ZEB_OK, zeb_sql_int(f->store->db, path, "SELECT count(*) FROM training_model", &made, &f->error),
                  &f->error);
    assert_int_equal(lines, 1);
    assert_int_equal(made, 2);
    FILE *out = open_memstream(&export_text, &size);
    assert_status(ZEB_OK, zeb_store_export_emissions(f->store, out, &f->error), &f->error);
    (void)fclose(out);
    assert_non_null(strstr(export_text, "abc,2026-11-01T10:00:00,x,sst2,321.5,0.0123,0.01,,0.002,0.012,KOR,,"
                                        "\"A \"\"fast\"\" CPU\",,process,,1.2\r\n"));
    free(export_text);
}

/* The file that training the shipped checkpoint left. */
static void test_import_of_the_checkpoint(void **state) {
    fixture *f = *state;
    zeb_import_counts counts;
    int64_t there = 0;
    const char *path = ZEB_SOURCE_DIR "/baselines/bert-mini-sst2/emissions.csv";
    if (access(path, R_OK) != 0) {
        print_message("SKIPPED: there is no %s\n", path);
        skip();
    }
    assert_status(ZEB_OK, zeb_store_import_emissions(f->store, path, "mini", &counts, &f->error), &f->error);
    assert_true(counts.imported > 0);
    const char *sql =
        "SELECT count(*) FROM training WHERE energy_consumed_kwh > 0 AND emissions_kg > 0 AND duration_s > "
        "0 AND length(country_iso_code) = 3 AND codecarbon_version IS NOT NULL AND id IN (SELECT training_id FROM "
        "training_model WHERE model = 'mini')";
    assert_status(ZEB_OK, zeb_sql_int(f->store->db, path, sql, &there, &f->error), &f->error);
    assert_int_equal(there, counts.imported);
}

static void test_import_refuses(void **state) {
    fixture *f = *state;
    const char *path = test_folder_file(&f->folder, "emissions.csv");
    const struct {
        const char *text, *words;
    } bad[] = {{"", "empty"},
               {"a,b,c\n1,2,3\n", "no column run_id"},
               {"timestamp,run_id,duration,emissions,energy_consumed\nt,r,1,1,1\nt2,r2,1,many,1\n", ":3: emissions"},
               {"timestamp,run_id,duration,emissions,energy_consumed\nt,r,1,1\n", ":2: energy_consumed is missing"},
               {"timestamp,run_id,duration,emissions,energy_consumed\nt,r,1,-2,1\n", ":2: emissions is negative: -2"},
               {"timestamp,run_id,duration,emissions,energy_consumed\n\"t\"x,r,1,1,1\n", ":2: not a line"},
               {"timestamp,run_id,duration,emissions,energy_consumed\n", "no line"}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        zeb_import_counts counts;
        int64_t lines = -1;
        write_file(path, bad[i].text, strlen(bad[i].text));
        zeb_status status = zeb_store_import_emissions(f->store, path, NULL, &counts, &f->error);
        assert_status(ZEB_ERR_FORMAT, status, &f->error);
        assert_says(&f->error, bad[i].words);
        assert_status(ZEB_OK, zeb_sql_int(f->store->db, path, "SELECT count(*) FROM training", &lines, &f->error),
                      &f->error);
        assert_int_equal(lines, 0); /* all lines or none */
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_durable_settings),
        TEST(test_full_row_comes_back),
        TEST(test_full_row_is_full),
        TEST(test_bare_rows_stay_unknown),
        TEST(test_many_samples_become_a_histogram),
        TEST(test_newest_row_of_a_case),
        TEST(test_a_failure_is_newer_than_a_success),
        TEST(test_other_cases_are_not_hidden),
        TEST(test_newest_among_old_rows),
        TEST(test_what_stood_before_a_run),
        TEST(test_runs_are_listed),
        TEST(test_samples_can_be_read_later),
        TEST(test_run_ends),
        TEST(test_rows_that_break_rules),
        TEST(test_schema_refuses),
        TEST(test_not_finite_is_not_stored),
        TEST(test_not_a_database),
        TEST(test_other_programs_database),
        TEST(test_newer_schema),
        TEST(test_missing_and_odd_paths),
        TEST(test_read_only),
        TEST(test_full_disk),
        TEST(test_two_writers),
        TEST(test_made_by_many_at_once),
        TEST(test_import_emissions),
        TEST(test_import_of_the_checkpoint),
        TEST(test_import_refuses),
    };
    return cmocka_run_group_tests_name("store", tests, NULL, NULL);
}
