#include <jansson.h>
#include <string.h>

#include "store/internal.h"

/* "SELECT columns FROM table WHERE key = ?1 ORDER BY position". */
static char *select_text(const zeb_table *table, const char *where) {
    sqlite3_str *text = sqlite3_str_new(NULL);
    sqlite3_str_appendall(text, "SELECT ");
    for (size_t i = 0; i < table->column_count; i++) {
        sqlite3_str_appendf(text, "%s\"%w\"", i > 0 ? ", " : "", table->column[i].name);
    }
    sqlite3_str_appendf(text, " FROM \"%w\" %s", table->name, where);
    return sqlite3_str_finish(text);
}

static zeb_status prepare(zeb_store *s, const char *text, int64_t key, sqlite3_stmt **statement, zeb_error *error) {
    int code = text == NULL ? SQLITE_NOMEM : sqlite3_prepare_v2(s->db, text, -1, statement, NULL);
    if (code == SQLITE_OK) code = sqlite3_bind_int64(*statement, 1, key);
    return code == SQLITE_OK ? ZEB_OK : zeb_sql_fail(s->db, s->path, code, "read rows", error);
}

static zeb_status prepare_table(zeb_store *s, zeb_table_id id, const char *where, int64_t key, sqlite3_stmt **statement,
                                zeb_error *error) {
    char *text = select_text(zeb_table_get(id), where);
    zeb_status status = prepare(s, text, key, statement, error);
    sqlite3_free(text);
    return status;
}

/* ZEB_OK and *line: a line is there; ZEB_OK and not *line: no more. */
static zeb_status next(zeb_store *s, sqlite3_stmt *statement, bool *line, zeb_error *error) {
    int code = sqlite3_step(statement);
    *line = code == SQLITE_ROW;
    if (code == SQLITE_ROW || code == SQLITE_DONE) return ZEB_OK;
    return zeb_sql_fail(s->db, s->path, code, "read rows", error);
}

static zeb_status take(zeb_table_id id, sqlite3_stmt *from, zeb_arena *arena, void *record, zeb_error *error) {
    const zeb_table *table = zeb_table_get(id);
    zeb_status status = ZEB_OK;
    for (size_t i = 0; status == ZEB_OK && i < table->column_count; i++) {
        status = zeb_column_set(&table->column[i], record, from, (int)i, arena, error);
    }
    return status;
}

/* The one line of a table that belongs to a key; *found says whether there is one. */
static zeb_status take_one(zeb_store *s, zeb_table_id id, const char *where, int64_t key, zeb_arena *arena,
                           void *record, zeb_error *error) {
    sqlite3_stmt *statement = NULL;
    bool line = false;
    zeb_status status = prepare_table(s, id, where, key, &statement, error);
    if (status == ZEB_OK) status = next(s, statement, &line, error);
    if (status == ZEB_OK && line) status = take(id, statement, arena, record, error);
    (void)sqlite3_finalize(statement);
    return status;
}

/* All lines of a table that belong to a row, as an array in the arena. */
static zeb_status take_list(zeb_store *s, zeb_table_id id, int64_t row_id, size_t item_size, zeb_arena *arena,
                            void **items, size_t *count, zeb_error *error) {
    char count_text[128];
    int64_t n = 0;
    (void)snprintf(count_text, sizeof count_text, "SELECT count(*) FROM %s WHERE row_id = %lld",
                   zeb_table_get(id)->name, (long long)row_id);
    zeb_status status = zeb_sql_int(s->db, s->path, count_text, &n, error);
    if (status != ZEB_OK || n == 0) return status;
    status = zeb_arena_alloc(arena, (size_t)n, item_size, items, error);
    sqlite3_stmt *statement = NULL;
    if (status == ZEB_OK) {
        status = prepare_table(s, id, "WHERE row_id = ?1 ORDER BY position", row_id, &statement, error);
    }
    size_t done = 0;
    for (bool line = true; status == ZEB_OK && line && done < (size_t)n;) {
        status = next(s, statement, &line, error);
        if (status == ZEB_OK && line) status = take(id, statement, arena, (char *)*items + item_size * done++, error);
    }
    *count = done;
    (void)sqlite3_finalize(statement);
    return status;
}

static zeb_status take_flags(zeb_store *s, int64_t row_id, zeb_arena *arena, zeb_row *row, zeb_error *error) {
    enum { FLAGS_MAX = 256 };
    sqlite3_stmt *statement = NULL;
    void *memory = NULL;
    zeb_status status =
        prepare(s, "SELECT name FROM flag WHERE row_id = ?1 ORDER BY position LIMIT 256", row_id, &statement, error);
    bool line = false;
    if (status == ZEB_OK) status = next(s, statement, &line, error);
    if (status == ZEB_OK && line) status = zeb_arena_alloc(arena, FLAGS_MAX, sizeof(char *), &memory, error);
    const char **flag = memory;
    while (status == ZEB_OK && line && row->flag_count < FLAGS_MAX) {
        const char *name = (const char *)sqlite3_column_text(statement, 0);
        char *copy = NULL;
        status = zeb_arena_copy(arena, name != NULL ? name : "", name != NULL ? strlen(name) : 0, &copy, error);
        if (status != ZEB_OK) break;
        flag[row->flag_count++] = copy;
        status = next(s, statement, &line, error);
    }
    row->flag = flag;
    (void)sqlite3_finalize(statement);
    return status;
}

/* Everything that hangs on the row. */
static zeb_status take_parts(zeb_store *s, int64_t id, zeb_arena *arena, zeb_row *row, zeb_error *error) {
    const char *requested = "WHERE row_id = ?1 AND which = 'requested'";
    const char *effective = "WHERE row_id = ?1 AND which = 'effective'";
    const char *of_row = "WHERE row_id = ?1";
    void *metric = NULL, *channel = NULL, *kept = NULL;
    zeb_status status = take_one(s, ZEB_TABLE_SETTINGS, requested, id, arena, &row->requested, error);
    if (status == ZEB_OK) status = take_one(s, ZEB_TABLE_SETTINGS, effective, id, arena, &row->effective, error);
    if (status == ZEB_OK) {
        status = take_list(s, ZEB_TABLE_METRIC, id, sizeof *row->metric, arena, &metric, &row->metric_count, error);
    }
    if (status == ZEB_OK) status = take_one(s, ZEB_TABLE_ENERGY, of_row, id, arena, &row->energy, error);
    if (status == ZEB_OK) {
        status = take_list(s, ZEB_TABLE_CHANNEL, id, sizeof *row->energy.channel, arena, &channel,
                           &row->energy.channel_count, error);
    }
    if (status == ZEB_OK) status = take_one(s, ZEB_TABLE_CARBON, of_row, id, arena, &row->carbon, error);
    if (status == ZEB_OK) {
        status = take_list(s, ZEB_TABLE_KEPT, id, sizeof *row->kept, arena, &kept, &row->kept_count, error);
    }
    if (status == ZEB_OK) status = take_flags(s, id, arena, row, error);
    row->metric = metric;
    row->energy.channel = channel;
    row->kept = kept;
    return status;
}

/* ---- runs ----------------------------------------------------------------------------------------------------- */

static zeb_status parse_argv(const char *text, zeb_arena *arena, zeb_run_info *run, zeb_error *error) {
    json_t *array = json_loads(text, 0, NULL);
    size_t count = json_array_size(array);
    void *memory = NULL;
    zeb_status status = zeb_arena_alloc(arena, count, sizeof(char *), &memory, error);
    const char **argv = memory;
    for (size_t i = 0; status == ZEB_OK && i < count; i++) {
        const char *word = json_string_value(json_array_get(array, i));
        char *copy = NULL;
        status = zeb_arena_copy(arena, word != NULL ? word : "", word != NULL ? strlen(word) : 0, &copy, error);
        if (status == ZEB_OK) argv[i] = copy;
    }
    json_decref(array);
    if (status != ZEB_OK) return status;
    run->argv = argv;
    run->argc = count;
    return ZEB_OK;
}

static zeb_status take_run(zeb_store *s, zeb_arena *arena, zeb_record *record, zeb_error *error) {
    sqlite3_stmt *statement = NULL;
    bool line = false;
    zeb_status status = take_one(s, ZEB_TABLE_RUN, "WHERE id = ?1", record->run_id, arena, &record->run, error);
    if (status == ZEB_OK) {
        status = prepare(s, "SELECT argv, finished_utc FROM run WHERE id = ?1", record->run_id, &statement, error);
    }
    if (status == ZEB_OK) status = next(s, statement, &line, error);
    if (status == ZEB_OK && line) {
        const char *argv = (const char *)sqlite3_column_text(statement, 0);
        status = parse_argv(argv != NULL ? argv : "[]", arena, &record->run, error);
        const char *finished = (const char *)sqlite3_column_text(statement, 1);
        char *copy = NULL;
        if (status == ZEB_OK && finished != NULL)
            status = zeb_arena_copy(arena, finished, strlen(finished), &copy, error);
        record->finished_utc = copy;
    }
    (void)sqlite3_finalize(statement);
    return status;
}

/* ---- records -------------------------------------------------------------------------------------------------- */

/* What makes a case here is no coarser than what run/change.h takes for one, so that no pair is lost. */
static const char rows_sql[] =
    "SELECT id, run_id, id IN (SELECT id FROM newest) AS newest FROM row "
    "WHERE (?1 = 0 OR run_id = ?1) AND (?2 = 0 OR id IN (SELECT id FROM newest)) AND (?3 = 0 OR id IN ("
    "SELECT id FROM (SELECT r.id, row_number() OVER (PARTITION BY u.host, r.model, r.model_path, r.model_hash, r.task, "
    "r.split, r.backend, r.device, r.policy, r.policy_hash, r.scenario, r.precision, s.precision, s.threads, s.pinned, "
    "s.batch, s.seq_max, s.\"limit\", s.isa, s.device, s.policy, s.data, s.tune ORDER BY r.id DESC) AS place "
    "FROM row AS r JOIN run AS u ON u.id = r.run_id "
    "LEFT JOIN settings AS s ON s.row_id = r.id AND s.which = 'requested' "
    "WHERE r.run_id < ?3 AND r.verdict = 'ok') WHERE place = 1)) ORDER BY id";

/* The number of lines that a statement gives; it is then ready to give them. */
static zeb_status count_lines(zeb_store *s, sqlite3_stmt *statement, size_t *count, zeb_error *error) {
    bool line = true;
    zeb_status status = ZEB_OK;
    for (*count = 0; status == ZEB_OK && line; *count += line)
        status = next(s, statement, &line, error);
    (void)sqlite3_reset(statement);
    return status;
}

static zeb_status list_ids(zeb_store *s, const zeb_store_filter *filter, zeb_arena *arena, zeb_record **record,
                           size_t *count, zeb_error *error) {
    size_t n = 0;
    void *memory = NULL;
    sqlite3_stmt *statement = NULL;
    zeb_status status = prepare(s, rows_sql, filter->run_id, &statement, error);
    if (status == ZEB_OK && (sqlite3_bind_int(statement, 2, filter->latest_only) != SQLITE_OK ||
                             sqlite3_bind_int64(statement, 3, filter->ok_before) != SQLITE_OK)) {
        status = zeb_fail(error, ZEB_ERR_INTERNAL, "%s: could not bind a filter", s->path);
    }
    if (status == ZEB_OK) status = count_lines(s, statement, &n, error);
    if (status == ZEB_OK) status = zeb_arena_alloc(arena, n, sizeof **record, &memory, error);
    *record = memory;
    bool line = true;
    while (status == ZEB_OK && *count < n) {
        status = next(s, statement, &line, error);
        if (status != ZEB_OK || !line) break;
        zeb_record *r = &(*record)[(*count)++];
        r->id = sqlite3_column_int64(statement, 0);
        r->run_id = sqlite3_column_int64(statement, 1);
        r->latest = sqlite3_column_int(statement, 2) != 0;
    }
    (void)sqlite3_finalize(statement);
    return status;
}

static zeb_status take_records(zeb_store *s, zeb_arena *arena, zeb_record *record, size_t count, zeb_error *error) {
    zeb_status status = ZEB_OK;
    for (size_t i = 0; status == ZEB_OK && i < count; i++) {
        zeb_record *r = &record[i];
        status = take_one(s, ZEB_TABLE_ROW, "WHERE id = ?1", r->id, arena, &r->row, error);
        if (status == ZEB_OK) status = take_parts(s, r->id, arena, &r->row, error);
        if (status != ZEB_OK) break;
        if (i > 0 && record[i - 1].run_id == r->run_id) {
            r->run = record[i - 1].run;
            r->finished_utc = record[i - 1].finished_utc;
        } else {
            status = take_run(s, arena, r, error);
        }
    }
    return status;
}

zeb_status zeb_store_rows(zeb_store *store, const zeb_store_filter *filter, zeb_arena *arena, zeb_record **record,
                          size_t *count, zeb_error *error) {
    const zeb_store_filter all = {.run_id = 0};
    if (filter == NULL) filter = &all;
    *count = 0;
    *record = NULL;
    /* One snapshot, so that a writer between two statements can't tear a row apart. */
    zeb_status status = zeb_sql_exec(store->db, store->path, "BEGIN", "read rows", error);
    if (status != ZEB_OK) return status;
    status = list_ids(store, filter, arena, record, count, error);
    if (status == ZEB_OK) status = take_records(store, arena, *record, *count, error);
    (void)sqlite3_exec(store->db, "COMMIT", NULL, NULL, NULL);
    if (status != ZEB_OK) *count = 0;
    return status;
}

zeb_status zeb_store_samples(zeb_store *store, int64_t row_id, zeb_arena *arena, zeb_row *row, zeb_error *error) {
    sqlite3_stmt *statement = NULL;
    bool line = false;
    zeb_status status =
        prepare(store, "SELECT encoding, data FROM sample WHERE row_id = ?1", row_id, &statement, error);
    if (status == ZEB_OK) status = next(store, statement, &line, error);
    if (status == ZEB_OK && line) {
        const char *encoding = (const char *)sqlite3_column_text(statement, 0);
        const void *data = sqlite3_column_blob(statement, 1);
        size_t size = (size_t)sqlite3_column_bytes(statement, 1);
        status = encoding == NULL || data == NULL ? zeb_fail(error, ZEB_ERR_MEMORY, "no memory to read samples")
                                                  : zeb_sample_decode(encoding, data, size, arena, row, error);
    }
    (void)sqlite3_finalize(statement);
    return status;
}

static zeb_status take_runs(zeb_store *s, sqlite3_stmt *statement, zeb_arena *arena, zeb_stored_run *run, size_t n,
                            size_t *count, zeb_error *error) {
    zeb_status status = ZEB_OK;
    bool line = true;
    while (status == ZEB_OK && *count < n) {
        status = next(s, statement, &line, error);
        if (status != ZEB_OK || !line) break;
        zeb_record record = {.run_id = sqlite3_column_int64(statement, 0)};
        status = take_run(s, arena, &record, error);
        run[(*count)++] = (zeb_stored_run){.id = record.run_id,
                                           .info = record.run,
                                           .finished_utc = record.finished_utc,
                                           .rows = (uint64_t)sqlite3_column_int64(statement, 1),
                                           .interrupted = (uint64_t)sqlite3_column_int64(statement, 2)};
    }
    return status;
}

zeb_status zeb_store_runs(zeb_store *store, zeb_arena *arena, zeb_stored_run **run, size_t *count, zeb_error *error) {
    static const char text[] = "SELECT u.id, count(r.id), coalesce(sum(r.verdict = 'interrupted'), 0) FROM run AS u "
                               "LEFT JOIN row AS r ON r.run_id = u.id WHERE u.id >= ?1 GROUP BY u.id ORDER BY u.id";
    sqlite3_stmt *statement = NULL;
    void *memory = NULL;
    size_t n = 0;
    *count = 0;
    zeb_status status = zeb_sql_exec(store->db, store->path, "BEGIN", "read runs", error);
    if (status != ZEB_OK) return status;
    status = prepare(store, text, 0, &statement, error);
    if (status == ZEB_OK) status = count_lines(store, statement, &n, error);
    if (status == ZEB_OK) status = zeb_arena_alloc(arena, n, sizeof **run, &memory, error);
    *run = memory;
    if (status == ZEB_OK) status = take_runs(store, statement, arena, *run, n, count, error);
    (void)sqlite3_finalize(statement);
    (void)sqlite3_exec(store->db, "COMMIT", NULL, NULL, NULL);
    return status;
}

zeb_status zeb_store_count(zeb_store *store, int64_t run_id, uint64_t count[8], zeb_error *error) {
    sqlite3_stmt *statement = NULL;
    memset(count, 0, 8 * sizeof *count);
    zeb_status status = prepare(store, "SELECT verdict, count(*) FROM row WHERE ?1 = 0 OR run_id = ?1 GROUP BY verdict",
                                run_id, &statement, error);
    for (bool line = true; status == ZEB_OK && line;) {
        status = next(store, statement, &line, error);
        if (status != ZEB_OK || !line) break;
        const char *name = (const char *)sqlite3_column_text(statement, 0);
        count[zeb_outcome_find(name != NULL ? name : "")] += (uint64_t)sqlite3_column_int64(statement, 1);
    }
    (void)sqlite3_finalize(statement);
    return status;
}
