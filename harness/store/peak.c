#include "store/peak.h"

#include <math.h>
#include <string.h>

#include "base/text.h"
#include "store/internal.h"

/* ---- the table -------------------------------------------------------------------------------------------------- */

static const char insert_sql[] =
    "INSERT INTO peak (run_id, backend, device, device_name, name, kind, threads, per_second, median_per_second, "
    "working_set_bytes, capacity_bytes, measured_utc) VALUES (?1, ?2, ?3, nullif(?4, ''), ?5, ?6, ?7, ?8, ?9, "
    "nullif(?10, 0), nullif(?11, 0), ?12)";

static int bind_text(sqlite3_stmt *statement, int index, const char *text) {
    return zeb_value_bind(statement, index, (zeb_value){.kind = ZEB_VALUE_TEXT, .text = text});
}

static int bind_peak(sqlite3_stmt *statement, int64_t run_id, const zeb_stored_peak *p) {
    const char *kind = p->peak.kind == ZEB_PEAK_OPERATIONS ? "operations" : "bytes";
    const char *text[] = {p->backend, p->device, p->device_name, p->peak.name, kind};
    int code = sqlite3_bind_int64(statement, 1, run_id);
    for (int i = 0; i < 5 && code == SQLITE_OK; i++)
        code = bind_text(statement, 2 + i, text[i]);
    if (code == SQLITE_OK) code = sqlite3_bind_int64(statement, 7, p->peak.threads);
    if (code == SQLITE_OK) code = sqlite3_bind_double(statement, 8, p->peak.per_second);
    if (code == SQLITE_OK && p->peak.median_per_second > 0)
        code = sqlite3_bind_double(statement, 9, p->peak.median_per_second);
    if (code == SQLITE_OK) code = sqlite3_bind_int64(statement, 10, (int64_t)p->peak.working_set_bytes);
    if (code == SQLITE_OK) code = sqlite3_bind_int64(statement, 11, (int64_t)p->peak.capacity_bytes);
    return code == SQLITE_OK ? bind_text(statement, 12, p->measured_utc) : code;
}

static zeb_status put_all(zeb_store *s, int64_t run_id, const zeb_stored_peak *peak, size_t count, zeb_error *error) {
    sqlite3_stmt *statement = NULL;
    int code = sqlite3_prepare_v2(s->db, insert_sql, -1, &statement, NULL);
    for (size_t i = 0; i < count && code == SQLITE_OK; i++) {
        code = bind_peak(statement, run_id, &peak[i]);
        if (code == SQLITE_OK) code = sqlite3_step(statement);
        if (code == SQLITE_DONE) code = sqlite3_reset(statement);
        if (code == SQLITE_OK) code = sqlite3_clear_bindings(statement);
    }
    zeb_status status = code == SQLITE_OK ? ZEB_OK : zeb_sql_fail(s->db, s->path, code, "store a peak", error);
    (void)sqlite3_finalize(statement);
    return status;
}

zeb_status zeb_store_put_peaks(zeb_store *store, int64_t run_id, const zeb_stored_peak *peak, size_t count,
                               zeb_error *error) {
    zeb_status status = zeb_sql_exec(store->db, store->path, "BEGIN IMMEDIATE", "store peaks", error);
    if (status != ZEB_OK) return status;
    status = put_all(store, run_id, peak, count, error);
    if (status == ZEB_OK) status = zeb_sql_exec(store->db, store->path, "COMMIT", "store peaks", error);
    if (status != ZEB_OK) (void)sqlite3_exec(store->db, "ROLLBACK", NULL, NULL, NULL);
    return status;
}

static const char select_sql[] =
    "SELECT backend, device, coalesce(device_name, ''), name, measured_utc, kind, threads, per_second, "
    "coalesce(median_per_second, 0), coalesce(working_set_bytes, 0), coalesce(capacity_bytes, 0) FROM peak "
    "WHERE (?1 IS NULL OR backend = ?1) AND (?2 IS NULL OR device = ?2) AND id IN "
    "(SELECT max(id) FROM peak GROUP BY backend, device, device_name, name, threads) ORDER BY id";

static void take_text(sqlite3_stmt *from, int index, char *to, size_t capacity) {
    const char *text = (const char *)sqlite3_column_text(from, index);
    zeb_text_copy(to, capacity, text != NULL ? text : "");
}

static void take_peak(sqlite3_stmt *from, zeb_stored_peak *to) {
    char kind[16];
    take_text(from, 0, to->backend, sizeof to->backend);
    take_text(from, 1, to->device, sizeof to->device);
    take_text(from, 2, to->device_name, sizeof to->device_name);
    take_text(from, 3, to->peak.name, sizeof to->peak.name);
    take_text(from, 4, to->measured_utc, sizeof to->measured_utc);
    take_text(from, 5, kind, sizeof kind);
    to->peak.kind = strcmp(kind, "operations") == 0 ? ZEB_PEAK_OPERATIONS : ZEB_PEAK_BYTES;
    to->peak.threads = (uint32_t)sqlite3_column_int64(from, 6);
    to->peak.per_second = sqlite3_column_double(from, 7);
    to->peak.median_per_second = sqlite3_column_double(from, 8);
    to->peak.working_set_bytes = (uint64_t)sqlite3_column_int64(from, 9);
    to->peak.capacity_bytes = (uint64_t)sqlite3_column_int64(from, 10);
}

zeb_status zeb_store_peaks(zeb_store *store, const char *backend, const char *device, zeb_arena *arena,
                           zeb_stored_peak **peak, size_t *count, zeb_error *error) {
    int64_t most = 0;
    void *memory = NULL;
    sqlite3_stmt *statement = NULL;
    *count = 0;
    zeb_status status = zeb_sql_int(store->db, store->path, "SELECT count(*) FROM peak", &most, error);
    if (status == ZEB_OK) status = zeb_arena_alloc(arena, (size_t)most, sizeof **peak, &memory, error);
    if (status != ZEB_OK) return status;
    *peak = memory;
    int code = sqlite3_prepare_v2(store->db, select_sql, -1, &statement, NULL);
    if (code == SQLITE_OK && backend != NULL) code = bind_text(statement, 1, backend);
    if (code == SQLITE_OK && device != NULL) code = bind_text(statement, 2, device);
    if (code == SQLITE_OK) code = sqlite3_step(statement);
    while (code == SQLITE_ROW && *count < (size_t)most) {
        take_peak(statement, &(*peak)[(*count)++]);
        code = sqlite3_step(statement);
    }
    if (code != SQLITE_DONE && code != SQLITE_ROW) {
        status = zeb_sql_fail(store->db, store->path, code, "read peaks", error);
        *count = 0;
    }
    (void)sqlite3_finalize(statement);
    return status;
}

/* ---- the bound -------------------------------------------------------------------------------------------------- */

/* The rate that limits linear layers of a precision; NULL: not known. */
static const char *rate_name(const char *precision) {
    static const char *const of[][2] = {
        {"fp32", "fp32"}, {"bf16", "bf16"}, {"w8a8", "int8"}, {"w4a8", "int8"}, {"w4a16", "fp32"}};
    for (size_t i = 0; i < sizeof of / sizeof of[0]; i++)
        if (strcmp(precision, of[i][0]) == 0) return of[i][1];
    return NULL;
}

static bool applies(const zeb_stored_peak *p, const zeb_row *row) {
    int64_t threads = row->effective.threads.has ? row->effective.threads.value : 1;
    return strcmp(p->backend, row->backend) == 0 && strcmp(p->device, row->device) == 0 &&
           strcmp(p->device_name, row->device_name) == 0 && p->peak.threads == threads;
}

static const zeb_peak *find_rate(const zeb_stored_peak *peak, size_t count, const zeb_row *row, const char *precision) {
    const char *name = rate_name(precision);
    for (size_t i = 0; i < count && name != NULL; i++)
        if (applies(&peak[i], row) && peak[i].peak.kind == ZEB_PEAK_OPERATIONS && strcmp(peak[i].peak.name, name) == 0)
            return &peak[i].peak;
    return NULL;
}

/* The smallest level that holds so many bytes; one without a limit holds all. */
static const zeb_peak *find_level(const zeb_stored_peak *peak, size_t count, const zeb_row *row, double bytes) {
    const zeb_peak *best = NULL;
    for (size_t i = 0; i < count; i++) {
        const zeb_peak *p = &peak[i].peak;
        if (!applies(&peak[i], row) || p->kind != ZEB_PEAK_BYTES) continue;
        bool limited = p->capacity_bytes > 0;
        if (limited && (double)p->capacity_bytes < bytes) continue;
        if (best == NULL || (limited && (best->capacity_bytes == 0 || p->capacity_bytes < best->capacity_bytes)))
            best = p;
    }
    return best;
}

void zeb_peak_bound(const zeb_stored_peak *peak, size_t count, zeb_row *row) {
    double flops = row->flops_executed.value, bytes = row->bytes_executed.value, examples = (double)row->examples;
    if (!row->flops_executed.has || !row->bytes_executed.has || !row->throughput_per_s.has) return;
    if (!(flops > 0) || !(bytes > 0) || !(examples > 0)) return;
    double batch = row->effective.batch.has ? (double)row->effective.batch.value : 1;
    double passes = ceil(examples / batch);
    const char *precision = row->effective.precision[0] != '\0' ? row->effective.precision : row->precision;
    const zeb_peak *rate = find_rate(peak, count, row, precision);
    const zeb_peak *level = find_level(peak, count, row, bytes / passes);
    if (rate == NULL || level == NULL) return;
    double slope = flops / bytes * level->per_second;
    double bound = fmin(rate->per_second, slope);
    row->bound_flops_per_s = zeb_f64(bound);
    row->bound_share = zeb_f64(flops / examples * row->throughput_per_s.value / bound);
    zeb_text_copy(row->bound_by, sizeof row->bound_by, slope < rate->per_second ? level->name : rate->name);
}

double zeb_peak_rate(const zeb_stored_peak *peak, size_t count, const zeb_row *row, const char *precision) {
    const zeb_peak *rate = find_rate(peak, count, row, precision);
    return rate != NULL ? rate->per_second : 0;
}

double zeb_peak_bandwidth(const zeb_stored_peak *peak, size_t count, const zeb_row *row, double bytes) {
    const zeb_peak *level = find_level(peak, count, row, bytes);
    return level != NULL ? level->per_second : 0;
}
