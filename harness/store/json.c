#include "store/json.h"

#include <stdlib.h>
#include <string.h>

void zeb_json_put(json_t *object, const char *key, json_t *value, bool *whole) {
    if (json_object_set_new(object, key, value) != 0) *whole = false;
}

json_t *zeb_json_text_or_null(const char *text) {
    if (text == NULL || text[0] == '\0') return json_null();
    json_t *value = json_string(text);
    if (value != NULL) return value;
    char *clean = zeb_utf8_clean(text);
    if (clean == NULL) return NULL;
    value = json_string(clean);
    free(clean);
    return value;
}

/* Whole numbers are written without a fraction, so that 2e9 FLOPs read 2000000000. */
static json_t *real_json(double value) {
    if (!isfinite(value)) return json_null();
    return fabs(value) < 9007199254740992.0 && value == trunc(value) ? json_integer((json_int_t)value)
                                                                     : json_real(value);
}

static json_t *maybe_real(zeb_maybe_f64 value) {
    return value.has ? real_json(value.value) : json_null();
}

/* Times are whole nanoseconds. */
static json_t *maybe_ns(zeb_maybe_f64 value) {
    return value.has && isfinite(value.value) ? json_integer((json_int_t)llround(value.value)) : json_null();
}

static json_t *maybe_u64(zeb_maybe_u64 value) {
    return value.has ? json_integer((json_int_t)value.value) : json_null();
}

static json_t *maybe_i64(zeb_maybe_i64 value) {
    return value.has ? json_integer((json_int_t)value.value) : json_null();
}

static json_t *column_json(const zeb_column *column, const void *record) {
    zeb_value value = zeb_column_get(column, record);
    switch (value.kind) {
        case ZEB_VALUE_NULL: return json_null();
        case ZEB_VALUE_INT:
            return column->kind == ZEB_COLUMN_BOOL ? json_boolean(value.integer != 0) : json_integer(value.integer);
        case ZEB_VALUE_REAL: return real_json(value.real);
        case ZEB_VALUE_TEXT: return zeb_json_text_or_null(value.text);
    }
    return json_null();
}

/* Every column of a struct that the object does not have yet. */
static void put_columns(json_t *object, zeb_table_id id, const void *record, bool *whole) {
    const zeb_table *table = zeb_table_get(id);
    for (size_t i = 0; i < table->column_count; i++) {
        const zeb_column *c = &table->column[i];
        bool latency = id == ZEB_TABLE_ROW && strncmp(c->name, "latency_", 8) == 0;
        bool pair = id == ZEB_TABLE_ROW && (strncmp(c->name, "flops_", 6) == 0 || strncmp(c->name, "bytes_", 6) == 0);
        if (latency || pair || json_object_get(object, c->name) != NULL) continue;
        zeb_json_put(object, c->name, column_json(c, record), whole);
    }
}

static json_t *struct_json(zeb_table_id id, const void *record, bool *whole) {
    json_t *object = json_object();
    put_columns(object, id, record, whole);
    return object;
}

static json_t *list_json(zeb_table_id id, const void *item, size_t item_size, size_t count, bool *whole) {
    json_t *array = json_array();
    for (size_t i = 0; i < count; i++) {
        json_t *object = struct_json(id, (const char *)item + i * item_size, whole);
        if (json_array_append_new(array, object) != 0) *whole = false;
    }
    return array;
}

static json_t *headline_json(const zeb_row *row, bool *whole) {
    const zeb_row_metric none = {.name = ""};
    const zeb_row_metric *m = row->metric_count > 0 ? &row->metric[0] : &none;
    json_t *object = json_object();
    zeb_json_put(object, "name", zeb_json_text_or_null(m->name), whole);
    zeb_json_put(object, "value", maybe_real(m->value), whole);
    zeb_json_put(object, "lo", maybe_real(m->lo), whole);
    zeb_json_put(object, "hi", maybe_real(m->hi), whole);
    return object;
}

static void put_quantile(json_t *object, const char *name, const zeb_row_quantile *quantile, bool *whole) {
    char key[16];
    (void)snprintf(key, sizeof key, "%s_lo", name);
    zeb_json_put(object, key, maybe_ns(quantile->lo), whole);
    (void)snprintf(key, sizeof key, "%s_hi", name);
    zeb_json_put(object, key, maybe_ns(quantile->hi), whole);
}

static json_t *latency_json(const zeb_row_latency *l, bool *whole) {
    json_t *object = json_object();
    zeb_json_put(object, "p50", maybe_ns(l->p50.value), whole);
    zeb_json_put(object, "p90", maybe_ns(l->p90.value), whole);
    zeb_json_put(object, "p95", maybe_ns(l->p95.value), whole);
    zeb_json_put(object, "p99", maybe_ns(l->p99.value), whole);
    zeb_json_put(object, "mean", maybe_ns(l->mean), whole);
    zeb_json_put(object, "mad", maybe_ns(l->mad), whole);
    zeb_json_put(object, "min", maybe_ns(l->min), whole);
    zeb_json_put(object, "max", maybe_ns(l->max), whole);
    zeb_json_put(object, "first", maybe_ns(l->first), whole);
    put_quantile(object, "p50", &l->p50, whole);
    put_quantile(object, "p90", &l->p90, whole);
    put_quantile(object, "p95", &l->p95, whole);
    put_quantile(object, "p99", &l->p99, whole);
    return object;
}

static json_t *pair_json(zeb_maybe_f64 dense, zeb_maybe_f64 executed, bool *whole) {
    json_t *object = json_object();
    zeb_json_put(object, "dense", maybe_real(dense), whole);
    zeb_json_put(object, "executed", maybe_real(executed), whole);
    return object;
}

static json_t *energy_json(const zeb_row_energy *e, bool *whole) {
    json_t *object = json_object();
    zeb_json_put(object, "gross_uj", maybe_i64(e->gross_uj), whole);
    zeb_json_put(object, "idle_uj", maybe_i64(e->idle_uj), whole);
    zeb_json_put(object, "net_uj", maybe_i64(e->net_uj), whole);
    put_columns(object, ZEB_TABLE_ENERGY, e, whole);
    zeb_json_put(object, "channels",
                 list_json(ZEB_TABLE_CHANNEL, e->channel, sizeof *e->channel, e->channel_count, whole), whole);
    return object;
}

static json_t *flags_json(const zeb_row *row, bool *whole) {
    json_t *array = json_array();
    for (size_t i = 0; i < row->flag_count; i++) {
        if (json_array_append_new(array, zeb_json_text_or_null(row->flag[i])) != 0) *whole = false;
    }
    return array;
}

/* The fields that scripts are promised, in the promised order. */
static void put_contract(json_t *object, const zeb_row *row, bool *whole) {
    zeb_json_put(object, "schema", json_integer(ZEB_SCHEMA), whole);
    zeb_json_put(object, "verdict", zeb_json_text_or_null(zeb_outcome_name(row->outcome)), whole);
    zeb_json_put(object, "reason", zeb_json_text_or_null(row->reason), whole);
    zeb_json_put(object, "model", zeb_json_text_or_null(row->model), whole);
    zeb_json_put(object, "task", zeb_json_text_or_null(row->task), whole);
    zeb_json_put(object, "backend", zeb_json_text_or_null(row->backend), whole);
    zeb_json_put(object, "device", zeb_json_text_or_null(row->device), whole);
    zeb_json_put(object, "precision", zeb_json_text_or_null(row->precision), whole);
    zeb_json_put(object, "policy", zeb_json_text_or_null(row->policy), whole);
    zeb_json_put(object, "scenario", zeb_json_text_or_null(row->scenario), whole);
    zeb_json_put(object, "threads", maybe_i64(row->effective.threads), whole);
    zeb_json_put(object, "n", json_integer((json_int_t)row->n), whole);
    zeb_json_put(object, "metric", headline_json(row, whole), whole);
    zeb_json_put(object, "metrics",
                 list_json(ZEB_TABLE_METRIC, row->metric, sizeof *row->metric, row->metric_count, whole), whole);
    zeb_json_put(object, "latency_ns", latency_json(&row->latency, whole), whole);
    zeb_json_put(object, "throughput_per_s", maybe_real(row->throughput_per_s), whole);
    json_t *flops = pair_json(row->flops_dense, row->flops_executed, whole);
    zeb_json_put(flops, "saved", maybe_real(row->flops_saved), whole);
    zeb_json_put(object, "flops", flops, whole);
    zeb_json_put(object, "peak_rss_bytes", maybe_u64(row->peak_rss_bytes), whole);
    zeb_json_put(object, "energy", energy_json(&row->energy, whole), whole);
    zeb_json_put(object, "co2_ug", maybe_u64(row->carbon.co2_ug), whole);
    zeb_json_put(object, "flags", flags_json(row, whole), whole);
}

static json_t *whole_or_null(json_t *object, bool whole) {
    if (whole && object != NULL) return object;
    json_decref(object);
    return NULL;
}

json_t *zeb_row_json(const zeb_row *row) {
    bool whole = true;
    json_t *object = json_object();
    put_contract(object, row, &whole);
    zeb_json_put(object, "bytes", pair_json(row->bytes_dense, row->bytes_executed, &whole), &whole);
    put_columns(object, ZEB_TABLE_ROW, row, &whole);
    zeb_json_put(object, "requested", struct_json(ZEB_TABLE_SETTINGS, &row->requested, &whole), &whole);
    zeb_json_put(object, "effective", struct_json(ZEB_TABLE_SETTINGS, &row->effective, &whole), &whole);
    zeb_json_put(object, "kept", list_json(ZEB_TABLE_KEPT, row->kept, sizeof *row->kept, row->kept_count, &whole),
                 &whole);
    zeb_json_put(object, "carbon", struct_json(ZEB_TABLE_CARBON, &row->carbon, &whole), &whole);
    return whole_or_null(object, whole);
}

json_t *zeb_run_json(const zeb_run_info *run) {
    bool whole = true;
    json_t *object = struct_json(ZEB_TABLE_RUN, run, &whole);
    json_t *argv = json_array();
    for (size_t i = 0; i < run->argc; i++) {
        json_t *word = run->argv[i][0] == '\0' ? json_string("") : zeb_json_text_or_null(run->argv[i]);
        if (json_array_append_new(argv, word) != 0) whole = false;
    }
    zeb_json_put(object, "argv", argv, &whole);
    return whole_or_null(object, whole);
}

/* ---- views ---------------------------------------------------------------------------------------------------- */

static json_t *cell_json(sqlite3_stmt *from, int index) {
    switch (sqlite3_column_type(from, index)) {
        case SQLITE_INTEGER: return json_integer(sqlite3_column_int64(from, index));
        case SQLITE_FLOAT: return real_json(sqlite3_column_double(from, index));
        case SQLITE_TEXT: return zeb_json_text_or_null((const char *)sqlite3_column_text(from, index));
        default: return json_null();
    }
}

static json_t *line_json(sqlite3_stmt *from, bool *whole) {
    json_t *object = json_object();
    for (int i = 0; i < sqlite3_column_count(from); i++) {
        zeb_json_put(object, sqlite3_column_name(from, i), cell_json(from, i), whole);
    }
    return object;
}

zeb_status zeb_view_json(zeb_store *store, const char *view, json_t **array, zeb_error *error) {
    sqlite3_stmt *statement = NULL;
    bool whole = true;
    *array = json_array();
    char *text = sqlite3_mprintf("SELECT * FROM \"%w\"", view);
    int code =
        text == NULL || *array == NULL ? SQLITE_NOMEM : sqlite3_prepare_v2(store->db, text, -1, &statement, NULL);
    if (code == SQLITE_OK) code = sqlite3_step(statement);
    while (code == SQLITE_ROW && whole) {
        if (json_array_append_new(*array, line_json(statement, &whole)) != 0) whole = false;
        code = sqlite3_step(statement);
    }
    zeb_status status = ZEB_OK;
    if (!whole) {
        status = zeb_fail(error, ZEB_ERR_MEMORY, "no memory to read %s", view);
    } else if (code != SQLITE_DONE) {
        status = zeb_sql_fail(store->db, store->path, code, "read a view", error);
    }
    (void)sqlite3_finalize(statement);
    sqlite3_free(text);
    if (status != ZEB_OK) {
        json_decref(*array);
        *array = NULL;
    }
    return status;
}
