#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "store/internal.h"

/* ---- statements ----------------------------------------------------------------------------------------------- */

/* "INSERT INTO table (keys, columns) VALUES (?, ...)" from the table's description. */
static char *insert_text(const zeb_table *table) {
    sqlite3_str *text = sqlite3_str_new(NULL);
    size_t count = table->column_count;
    sqlite3_str_appendf(text, "INSERT INTO \"%w\" (", table->name);
    for (int i = 0; i < 2 && table->key[i] != NULL; i++, count++)
        sqlite3_str_appendf(text, "\"%w\", ", table->key[i]);
    for (size_t i = 0; i < table->column_count; i++) {
        sqlite3_str_appendf(text, "%s\"%w\"", i > 0 ? ", " : "", table->column[i].name);
    }
    sqlite3_str_appendall(text, ") VALUES (");
    for (size_t i = 0; i < count; i++)
        sqlite3_str_appendall(text, i > 0 ? ", ?" : "?");
    sqlite3_str_appendall(text, ")");
    return sqlite3_str_finish(text);
}

static zeb_status insert_prepare(zeb_store *s, zeb_table_id id, zeb_error *error) {
    if (s->insert[id] != NULL) return ZEB_OK;
    char *text = insert_text(zeb_table_get(id));
    int code = text == NULL ? SQLITE_NOMEM
                            : sqlite3_prepare_v3(s->db, text, -1, SQLITE_PREPARE_PERSISTENT, &s->insert[id], NULL);
    sqlite3_free(text);
    return code == SQLITE_OK ? ZEB_OK : zeb_sql_fail(s->db, s->path, code, "prepare a row", error);
}

/* Steps a statement that gives no line and makes it ready for the next. */
static zeb_status finish(zeb_store *s, sqlite3_stmt *statement, int code, const char *doing, zeb_error *error) {
    if (code == SQLITE_OK) code = sqlite3_step(statement);
    zeb_status status = code == SQLITE_DONE ? ZEB_OK : zeb_sql_fail(s->db, s->path, code, doing, error);
    (void)sqlite3_reset(statement);
    (void)sqlite3_clear_bindings(statement);
    return status;
}

static zeb_value int_value(int64_t integer) {
    return (zeb_value){.kind = ZEB_VALUE_INT, .integer = integer};
}

/* One line of a table: its keys, then the struct's columns. key[i].kind NULL: the table has no such key. */
static zeb_status insert(zeb_store *s, zeb_table_id id, const zeb_value key[2], const void *record, zeb_error *error) {
    const zeb_table *table = zeb_table_get(id);
    zeb_status status = insert_prepare(s, id, error);
    if (status != ZEB_OK) return status;
    sqlite3_stmt *statement = s->insert[id];
    int code = SQLITE_OK, index = 1;
    for (int i = 0; code == SQLITE_OK && i < 2 && table->key[i] != NULL; i++) {
        code = zeb_value_bind(statement, index++, key[i]);
    }
    for (size_t i = 0; code == SQLITE_OK && i < table->column_count; i++) {
        code = zeb_value_bind(statement, index++, zeb_column_get(&table->column[i], record));
    }
    return finish(s, statement, code, "store a row", error);
}

/* ---- the parts of a row --------------------------------------------------------------------------------------- */

static zeb_status insert_settings(zeb_store *s, int64_t row_id, const char *which, const zeb_row_settings *settings,
                                  zeb_error *error) {
    const zeb_value key[2] = {int_value(row_id), {.kind = ZEB_VALUE_TEXT, .text = which}};
    return insert(s, ZEB_TABLE_SETTINGS, key, settings, error);
}

/* An array of structs, each with its position. */
static zeb_status insert_list(zeb_store *s, zeb_table_id id, int64_t row_id, const void *item, size_t item_size,
                              size_t count, zeb_error *error) {
    zeb_status status = ZEB_OK;
    for (size_t i = 0; status == ZEB_OK && i < count; i++) {
        const zeb_value key[2] = {int_value(row_id), int_value((int64_t)i)};
        status = insert(s, id, key, (const char *)item + i * item_size, error);
    }
    return status;
}

static zeb_status insert_energy(zeb_store *s, int64_t row_id, const zeb_row *row, zeb_error *error) {
    const zeb_value key[2] = {int_value(row_id)};
    zeb_status status = insert(s, ZEB_TABLE_ENERGY, key, &row->energy, error);
    if (status == ZEB_OK) {
        status = insert_list(s, ZEB_TABLE_CHANNEL, row_id, row->energy.channel, sizeof(zeb_row_channel),
                             row->energy.channel_count, error);
    }
    return status == ZEB_OK ? insert(s, ZEB_TABLE_CARBON, key, &row->carbon, error) : status;
}

static zeb_status insert_flags(zeb_store *s, int64_t row_id, const zeb_row *row, zeb_error *error) {
    sqlite3_stmt *statement = NULL;
    if (row->flag_count == 0) return ZEB_OK;
    int code =
        sqlite3_prepare_v2(s->db, "INSERT INTO flag (row_id, position, name) VALUES (?, ?, ?)", -1, &statement, NULL);
    zeb_status status = code == SQLITE_OK ? ZEB_OK : zeb_sql_fail(s->db, s->path, code, "prepare a flag", error);
    for (size_t i = 0; status == ZEB_OK && i < row->flag_count; i++) {
        code = sqlite3_bind_int64(statement, 1, row_id);
        if (code == SQLITE_OK) code = sqlite3_bind_int64(statement, 2, (int64_t)i);
        const zeb_value name = {.kind = ZEB_VALUE_TEXT, .text = row->flag[i]};
        if (code == SQLITE_OK) code = zeb_value_bind(statement, 3, name);
        status = finish(s, statement, code, "store a flag", error);
    }
    (void)sqlite3_finalize(statement);
    return status;
}

static zeb_status insert_samples(zeb_store *s, int64_t row_id, const zeb_row *row, zeb_error *error) {
    sqlite3_stmt *statement = NULL;
    zeb_sample_blob blob;
    zeb_status status = zeb_sample_encode(row, &blob, error);
    if (status != ZEB_OK || blob.encoding == NULL) return status;
    int code = sqlite3_prepare_v2(s->db, "INSERT INTO sample (row_id, encoding, count, data) VALUES (?, ?, ?, ?)", -1,
                                  &statement, NULL);
    if (code == SQLITE_OK) code = sqlite3_bind_int64(statement, 1, row_id);
    if (code == SQLITE_OK) code = sqlite3_bind_text(statement, 2, blob.encoding, -1, SQLITE_STATIC);
    if (code == SQLITE_OK) code = sqlite3_bind_int64(statement, 3, (int64_t)blob.count);
    if (code == SQLITE_OK) code = sqlite3_bind_blob64(statement, 4, blob.data, blob.size, SQLITE_STATIC);
    status = finish(s, statement, code, "store the samples", error);
    (void)sqlite3_finalize(statement);
    free(blob.data);
    return status;
}

static zeb_status insert_row(zeb_store *s, int64_t run_id, const zeb_row *row, int64_t *row_id, zeb_error *error) {
    const zeb_value key[2] = {int_value(run_id)};
    zeb_status status = insert(s, ZEB_TABLE_ROW, key, row, error);
    if (status != ZEB_OK) return status;
    int64_t id = sqlite3_last_insert_rowid(s->db);
    *row_id = id;
    status = insert_settings(s, id, "requested", &row->requested, error);
    if (status == ZEB_OK) status = insert_settings(s, id, "effective", &row->effective, error);
    if (status == ZEB_OK) {
        status = insert_list(s, ZEB_TABLE_METRIC, id, row->metric, sizeof *row->metric, row->metric_count, error);
    }
    if (status == ZEB_OK) status = insert_energy(s, id, row, error);
    if (status == ZEB_OK) {
        status = insert_list(s, ZEB_TABLE_KEPT, id, row->kept, sizeof *row->kept, row->kept_count, error);
    }
    if (status == ZEB_OK) status = insert_flags(s, id, row, error);
    if (status == ZEB_OK) status = insert_samples(s, id, row, error);
    return status;
}

/* ---- the interface -------------------------------------------------------------------------------------------- */

zeb_status zeb_store_put(zeb_store *store, int64_t run_id, const zeb_row *row, int64_t *row_id, zeb_error *error) {
    int64_t id = 0;
    zeb_status status = zeb_row_check(row, error);
    if (status == ZEB_OK) status = zeb_sql_exec(store->db, store->path, "BEGIN IMMEDIATE", "begin a row", error);
    if (status != ZEB_OK) return status;
    status = insert_row(store, run_id, row, &id, error);
    if (status == ZEB_OK) status = zeb_sql_exec(store->db, store->path, "COMMIT", "store a row", error);
    if (status != ZEB_OK) {
        (void)sqlite3_exec(store->db, "ROLLBACK", NULL, NULL, NULL);
    } else if (row_id != NULL) {
        *row_id = id;
    }
    return status;
}

/* The argument vector as a JSON array; bytes that are not UTF-8 become '?'. free() the result. */
static char *argv_json(const zeb_run_info *info) {
    json_t *array = json_array();
    for (size_t i = 0; i < info->argc; i++) {
        char *clean = zeb_utf8_clean(info->argv[i]);
        (void)json_array_append_new(array, clean == NULL ? NULL : json_string(clean));
        free(clean);
    }
    bool whole = array != NULL && json_array_size(array) == info->argc;
    char *text = whole ? json_dumps(array, JSON_COMPACT) : NULL;
    json_decref(array);
    return text;
}

zeb_status zeb_store_begin_run(zeb_store *store, const zeb_run_info *info, int64_t *run_id, zeb_error *error) {
    if (info->zeb_version == NULL || info->started_utc == NULL || (info->argv == NULL && info->argc > 0)) {
        return zeb_fail(error, ZEB_ERR_ARGUMENT, "run: zeb_version, started_utc and argv are required");
    }
    char *argv = argv_json(info);
    if (argv == NULL) return zeb_fail(error, ZEB_ERR_MEMORY, "no memory to store the command line");
    const zeb_value key[2] = {{.kind = ZEB_VALUE_TEXT, .text = argv}};
    zeb_status status = insert(store, ZEB_TABLE_RUN, key, info, error);
    if (status == ZEB_OK) *run_id = sqlite3_last_insert_rowid(store->db);
    free(argv);
    return status;
}

zeb_status zeb_store_end_run(zeb_store *store, int64_t run_id, const char *finished_utc, int exit_code,
                             zeb_error *error) {
    sqlite3_stmt *statement = NULL;
    int code = sqlite3_prepare_v2(store->db, "UPDATE run SET finished_utc = ?, exit_code = ? WHERE id = ?", -1,
                                  &statement, NULL);
    if (code == SQLITE_OK) code = sqlite3_bind_text(statement, 1, finished_utc, -1, SQLITE_STATIC);
    if (code == SQLITE_OK) code = sqlite3_bind_int(statement, 2, exit_code);
    if (code == SQLITE_OK) code = sqlite3_bind_int64(statement, 3, run_id);
    zeb_status status = finish(store, statement, code, "end the run", error);
    (void)sqlite3_finalize(statement);
    if (status == ZEB_OK && sqlite3_changes(store->db) == 0) {
        status = zeb_fail(error, ZEB_ERR_NOT_FOUND, "%s: there is no run %lld", store->path, (long long)run_id);
    }
    return status;
}
