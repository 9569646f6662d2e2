#include "store/columns.h"

#include <stdlib.h>
#include <string.h>

#include "base/text.h"

#define COLUMN(type, column, kind, member)                                                                             \
    { column, ZEB_COLUMN_##kind, offsetof(type, member), sizeof(((type *)NULL)->member) }
#define COLUMNS(array) (array), sizeof(array) / sizeof((array)[0])

#define R(column, kind, member) COLUMN(zeb_row, column, kind, member)
#define QUANTILE(q)                                                                                                    \
    R("latency_" #q "_ns", MAYBE_F64, latency.q.value), R("latency_" #q "_lo_ns", MAYBE_F64, latency.q.lo),            \
        R("latency_" #q "_hi_ns", MAYBE_F64, latency.q.hi)

static const zeb_column row_column[] = {
    R("verdict", OUTCOME, outcome),
    R("reason", TEXT, reason),
    R("signal_number", MAYBE_I64, signal_number),
    R("exit_code", MAYBE_I64, exit_code),
    R("last_words", STRING, last_words),
    R("model", TEXT, model),
    R("model_path", STRING, model_path),
    R("model_hash", TEXT, model_hash),
    R("model_dtype", TEXT, model_dtype),
    R("family", TEXT, family),
    R("parameters", MAYBE_U64, parameters),
    R("task", TEXT, task),
    R("task_version", MAYBE_I64, task_version),
    R("split", TEXT, split),
    R("data_hash", TEXT, data_hash),
    R("rows_read", MAYBE_U64, rows_read),
    R("rows_skipped", MAYBE_U64, rows_skipped),
    R("rows_truncated", MAYBE_U64, rows_truncated),
    R("backend", TEXT, backend),
    R("backend_version", TEXT, backend_version),
    R("device", TEXT, device),
    R("device_name", TEXT, device_name),
    R("driver", TEXT, driver),
    R("precision", TEXT, precision),
    R("policy", TEXT, policy),
    R("policy_hash", TEXT, policy_hash),
    R("scenario", TEXT, scenario),
    R("seed", MAYBE_U64, seed),
    R("order_seed", MAYBE_U64, order_seed),
    R("examples", U64, examples),
    R("predictions_path", STRING, predictions_path),
    R("n", U64, n),
    QUANTILE(p50),
    QUANTILE(p90),
    QUANTILE(p95),
    QUANTILE(p99),
    R("latency_mean_ns", MAYBE_F64, latency.mean),
    R("latency_mad_ns", MAYBE_F64, latency.mad),
    R("latency_min_ns", MAYBE_F64, latency.min),
    R("latency_max_ns", MAYBE_F64, latency.max),
    R("latency_first_ns", MAYBE_F64, latency.first),
    R("throughput_per_s", MAYBE_F64, throughput_per_s),
    R("capped", BOOL, capped),
    R("ci_reached", MAYBE_F64, ci_reached),
    R("startup_ns", MAYBE_U64, startup_ns),
    R("compile_ns", MAYBE_U64, compile_ns),
    R("flops_dense", MAYBE_F64, flops_dense),
    R("flops_executed", MAYBE_F64, flops_executed),
    R("bytes_dense", MAYBE_F64, bytes_dense),
    R("bytes_executed", MAYBE_F64, bytes_executed),
    R("flops_saved", MAYBE_F64, flops_saved),
    R("time_saved", MAYBE_F64, time_saved),
    R("tokens", MAYBE_U64, tokens),
    R("skip_mode", TEXT, skip_mode),
    R("bound_flops_per_s", MAYBE_F64, bound_flops_per_s),
    R("bound_by", TEXT, bound_by),
    R("bound_share", MAYBE_F64, bound_share),
    R("peak_rss_bytes", MAYBE_U64, peak_rss_bytes),
    R("device_memory_bytes", MAYBE_U64, device_memory_bytes),
    R("started_utc", TEXT, started_utc),
    R("duration_ns", MAYBE_U64, duration_ns),
};

#define S(column, kind, member) COLUMN(zeb_row_settings, column, kind, member)
static const zeb_column settings_column[] = {
    S("threads", MAYBE_I64, threads),
    S("pinned", MAYBE_I64, pinned),
    S("batch", MAYBE_I64, batch),
    S("seq_max", MAYBE_I64, seq_max),
    S("limit", MAYBE_I64, limit),
    S("target_ci", MAYBE_F64, target_ci),
    S("max_time_ns", MAYBE_U64, max_time_ns),
    S("timeout_ns", MAYBE_U64, timeout_ns),
    S("warmup", MAYBE_U64, warmup),
    S("isa", TEXT, isa),
    S("precision", TEXT, precision),
    S("note", TEXT, note),
    S("device", STRING, device),
    S("policy", STRING, policy),
    S("data", STRING, data),
    S("tune", MAYBE_I64, tune),
};

#define M(column, kind, member) COLUMN(zeb_row_metric, column, kind, member)
static const zeb_column metric_column[] = {
    M("name", TEXT, name),  M("defined", BOOL, defined), M("value", MAYBE_F64, value),
    M("lo", MAYBE_F64, lo), M("hi", MAYBE_F64, hi),      M("method", TEXT, method),
};

#define E(column, kind, member) COLUMN(zeb_row_energy, column, kind, member)
static const zeb_column energy_column[] = {
    E("known", BOOL, known),
    E("valid", BOOL, valid),
    E("kind", ENERGY, kind),
    E("source", TEXT, source),
    E("reason", TEXT, reason),
    E("note", TEXT, note),
    E("gross_uj", MAYBE_I64, gross_uj),
    E("idle_uj", MAYBE_I64, idle_uj),
    E("net_uj", MAYBE_I64, net_uj),
    E("idle_watts", MAYBE_F64, idle_watts),
    E("idle_drift", MAYBE_F64, idle_drift),
    E("window_ns", MAYBE_U64, window_ns),
    E("samples", MAYBE_U64, samples),
    E("gaps", MAYBE_U64, gaps),
    E("examples", MAYBE_U64, examples),
};

#define C(column, kind, member) COLUMN(zeb_row_channel, column, kind, member)
static const zeb_column channel_column[] = {
    C("source", TEXT, source),
    C("name", TEXT, name),
    C("domain", TEXT, domain),
    C("kind", TEXT, kind),
    C("counted", BOOL, counted),
    C("valid", BOOL, valid),
    C("reason", TEXT, reason),
    C("gross_uj", MAYBE_I64, gross_uj),
    C("idle_uj", MAYBE_I64, idle_uj),
    C("net_uj", MAYBE_I64, net_uj),
    C("resolution_uj", MAYBE_F64, resolution_uj),
    C("samples", MAYBE_U64, samples),
    C("gaps", MAYBE_U64, gaps),
};

#define G(column, kind, member) COLUMN(zeb_row_carbon, column, kind, member)
static const zeb_column carbon_column[] = {
    G("co2_ug", MAYBE_U64, co2_ug), G("intensity_g_per_kwh", MAYBE_F64, intensity_g_per_kwh),
    G("year", MAYBE_I64, year),     G("pue", MAYBE_F64, pue),
    G("source", TEXT, source),      G("place", TEXT, place),
};

#define K(column, kind, member) COLUMN(zeb_row_kept, column, kind, member)
static const zeb_column kept_column[] = {
    K("layer", I32, layer),
    K("tokens_in", MAYBE_F64, tokens_in),
    K("tokens_kept", MAYBE_F64, tokens_kept),
    K("heads_kept", MAYBE_F64, heads_kept),
    K("exits", MAYBE_F64, exits),
    K("blocks_open", MAYBE_F64, blocks_open),
    K("blocks_done", MAYBE_F64, blocks_done),
    K("tokens_share_sd", MAYBE_F64, tokens_share_sd),
    K("heads_kept_sd", MAYBE_F64, heads_kept_sd),
};

#define U(column, kind, member) COLUMN(zeb_run_info, column, kind, member)
static const zeb_column run_column[] = {
    U("zeb_version", STRING, zeb_version),
    U("zeb_commit", STRING, zeb_commit),
    U("compiler", STRING, compiler),
    U("build_flags", STRING, build_flags),
    U("host", STRING, host),
    U("os", STRING, os),
    U("kernel", STRING, kernel),
    U("cpu_model", STRING, cpu_model),
    U("cpu_flags", STRING, cpu_flags),
    U("governor", STRING, governor),
    U("cpu_count", MAYBE_I64, cpu_count),
    U("memory_bytes", MAYBE_U64, memory_bytes),
    U("started_utc", STRING, started_utc),
};

static const zeb_table tables[ZEB_TABLE_COUNT] = {
    [ZEB_TABLE_RUN] = {"run", {"argv", NULL}, COLUMNS(run_column)},
    [ZEB_TABLE_ROW] = {"row", {"run_id", NULL}, COLUMNS(row_column)},
    [ZEB_TABLE_SETTINGS] = {"settings", {"row_id", "which"}, COLUMNS(settings_column)},
    [ZEB_TABLE_METRIC] = {"metric", {"row_id", "position"}, COLUMNS(metric_column)},
    [ZEB_TABLE_ENERGY] = {"energy", {"row_id", NULL}, COLUMNS(energy_column)},
    [ZEB_TABLE_CHANNEL] = {"energy_channel", {"row_id", "position"}, COLUMNS(channel_column)},
    [ZEB_TABLE_CARBON] = {"carbon", {"row_id", NULL}, COLUMNS(carbon_column)},
    [ZEB_TABLE_KEPT] = {"kept_layer", {"row_id", "position"}, COLUMNS(kept_column)},
};

const zeb_table *zeb_table_get(zeb_table_id id) {
    return &tables[id];
}

/* ---- out of a struct ------------------------------------------------------------------------------------------ */

static zeb_value value_null(void) {
    return (zeb_value){.kind = ZEB_VALUE_NULL};
}

static zeb_value value_int(int64_t integer) {
    return (zeb_value){.kind = ZEB_VALUE_INT, .integer = integer};
}

static zeb_value value_text(const char *text) {
    return text == NULL || text[0] == '\0' ? value_null() : (zeb_value){.kind = ZEB_VALUE_TEXT, .text = text};
}

static const char *energy_name(zeb_row_energy_kind kind) {
    switch (kind) {
        case ZEB_ROW_ENERGY_MEASURED: return "measured";
        case ZEB_ROW_ENERGY_ESTIMATED: return "estimated";
    }
    return NULL;
}

zeb_value zeb_column_get(const zeb_column *column, const void *record) {
    const void *at = (const char *)record + column->offset;
    switch (column->kind) {
        case ZEB_COLUMN_TEXT: return value_text(at);
        case ZEB_COLUMN_STRING: return value_text(*(const char *const *)at);
        case ZEB_COLUMN_OUTCOME: return value_text(zeb_outcome_name(*(const zeb_outcome *)at));
        case ZEB_COLUMN_ENERGY: return value_text(energy_name(*(const zeb_row_energy_kind *)at));
        case ZEB_COLUMN_BOOL: return value_int(*(const bool *)at);
        case ZEB_COLUMN_I32: return value_int(*(const int32_t *)at);
        case ZEB_COLUMN_U64: return value_int((int64_t) * (const uint64_t *)at);
        case ZEB_COLUMN_MAYBE_U64: {
            const zeb_maybe_u64 *v = at;
            return v->has ? value_int((int64_t)v->value) : value_null();
        }
        case ZEB_COLUMN_MAYBE_I64: {
            const zeb_maybe_i64 *v = at;
            return v->has ? value_int(v->value) : value_null();
        }
        case ZEB_COLUMN_MAYBE_F64: {
            const zeb_maybe_f64 *v = at;
            return v->has && isfinite(v->value) ? (zeb_value){.kind = ZEB_VALUE_REAL, .real = v->value} : value_null();
        }
    }
    return value_null();
}

char *zeb_utf8_clean(const char *text) {
    size_t length = strlen(text), at = 0, bad = 0;
    char *copy = malloc(length + 1);
    if (copy == NULL) return NULL;
    memcpy(copy, text, length + 1);
    while (at < length && !zeb_text_utf8_valid(copy + at, length - at, &bad)) {
        copy[at + bad] = '?';
        at += bad + 1;
    }
    return copy;
}

static int bind_text(sqlite3_stmt *statement, int index, const char *text) {
    size_t bad = 0;
    if (zeb_text_utf8_valid(text, strlen(text), &bad)) {
        return sqlite3_bind_text64(statement, index, text, strlen(text), SQLITE_TRANSIENT, SQLITE_UTF8);
    }
    char *clean = zeb_utf8_clean(text);
    if (clean == NULL) return SQLITE_NOMEM;
    return sqlite3_bind_text64(statement, index, clean, strlen(clean), free, SQLITE_UTF8);
}

int zeb_value_bind(sqlite3_stmt *statement, int index, zeb_value value) {
    switch (value.kind) {
        case ZEB_VALUE_NULL: return sqlite3_bind_null(statement, index);
        case ZEB_VALUE_INT: return sqlite3_bind_int64(statement, index, value.integer);
        case ZEB_VALUE_REAL: return sqlite3_bind_double(statement, index, value.real);
        case ZEB_VALUE_TEXT: return bind_text(statement, index, value.text);
    }
    return SQLITE_MISUSE;
}

/* ---- into a struct -------------------------------------------------------------------------------------------- */

static zeb_row_energy_kind energy_find(const char *name) {
    if (strcmp(name, "measured") == 0) return ZEB_ROW_ENERGY_MEASURED;
    return strcmp(name, "estimated") == 0 ? ZEB_ROW_ENERGY_ESTIMATED : (zeb_row_energy_kind)0;
}

static zeb_status set_string(const char **to, const char *text, zeb_arena *arena, zeb_error *error) {
    char *copy = NULL;
    zeb_status status = zeb_arena_copy(arena, text, strlen(text), &copy, error);
    *to = copy;
    return status;
}

zeb_status zeb_column_set(const zeb_column *column, void *record, sqlite3_stmt *from, int index, zeb_arena *arena,
                          zeb_error *error) {
    if (sqlite3_column_type(from, index) == SQLITE_NULL) return ZEB_OK; /* the struct was zeroed: unknown */
    void *at = (char *)record + column->offset;
    sqlite3_int64 integer = sqlite3_column_int64(from, index);
    const char *text = "";
    if (column->kind <= ZEB_COLUMN_ENERGY) {
        text = (const char *)sqlite3_column_text(from, index);
        if (text == NULL) return zeb_fail(error, ZEB_ERR_MEMORY, "no memory to read column %s", column->name);
    }
    switch (column->kind) {
        case ZEB_COLUMN_TEXT: zeb_text_copy(at, column->size, text); break;
        case ZEB_COLUMN_STRING: return set_string(at, text, arena, error);
        case ZEB_COLUMN_OUTCOME: *(zeb_outcome *)at = zeb_outcome_find(text); break;
        case ZEB_COLUMN_ENERGY: *(zeb_row_energy_kind *)at = energy_find(text); break;
        case ZEB_COLUMN_BOOL: *(bool *)at = integer != 0; break;
        case ZEB_COLUMN_I32: *(int32_t *)at = (int32_t)integer; break;
        case ZEB_COLUMN_U64: *(uint64_t *)at = (uint64_t)integer; break;
        case ZEB_COLUMN_MAYBE_U64: *(zeb_maybe_u64 *)at = zeb_u64((uint64_t)integer); break;
        case ZEB_COLUMN_MAYBE_I64: *(zeb_maybe_i64 *)at = zeb_i64(integer); break;
        case ZEB_COLUMN_MAYBE_F64: *(zeb_maybe_f64 *)at = zeb_f64(sqlite3_column_double(from, index)); break;
    }
    return ZEB_OK;
}
