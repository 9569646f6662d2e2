#include "store/timing.h"

#include <math.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/text.h"
#include "store/internal.h"

enum { DIGEST = 17 };

/* What tells a line that was changed or torn from one that was written here. */
static void digest_of(const char *fingerprint, const zeb_timing *timing, char digest[DIGEST]) {
    char text[512], hex[ZEB_SHA256_HEX];
    int length =
        snprintf(text, sizeof text, "%s\n%s\n%u\n%.17g", fingerprint, timing->signature, timing->rows, timing->ns);
    zeb_sha256(text, (size_t)length, hex);
    memcpy(digest, hex, DIGEST - 1);
    digest[DIGEST - 1] = '\0';
}

static const char insert_sql[] =
    "INSERT INTO timing (run_id, backend, device, fingerprint, signature, rows, ns, digest, measured_utc) "
    "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";

static int bind_timing(sqlite3_stmt *statement, const char *fingerprint, const zeb_timing *timing) {
    char digest[DIGEST];
    digest_of(fingerprint, timing, digest);
    int code = sqlite3_bind_text(statement, 5, timing->signature, -1, SQLITE_TRANSIENT);
    if (code == SQLITE_OK) code = sqlite3_bind_int64(statement, 6, timing->rows);
    if (code == SQLITE_OK) code = sqlite3_bind_double(statement, 7, timing->ns);
    return code == SQLITE_OK ? sqlite3_bind_text(statement, 8, digest, -1, SQLITE_TRANSIENT) : code;
}

static int prepare_insert(zeb_store *s, int64_t run_id, const char *const text[3], const char *utc,
                          sqlite3_stmt **statement) {
    int code = sqlite3_prepare_v2(s->db, insert_sql, -1, statement, NULL);
    if (code == SQLITE_OK) code = sqlite3_bind_int64(*statement, 1, run_id);
    for (int i = 0; i < 3 && code == SQLITE_OK; i++)
        code = zeb_value_bind(*statement, 2 + i, (zeb_value){.kind = ZEB_VALUE_TEXT, .text = text[i]});
    return code == SQLITE_OK ? sqlite3_bind_text(*statement, 9, utc, -1, SQLITE_TRANSIENT) : code;
}

zeb_status zeb_store_put_timings(zeb_store *store, int64_t run_id, const char *backend, const char *device,
                                 const char *fingerprint, const zeb_timing *timing, size_t count, zeb_error *error) {
    sqlite3_stmt *statement = NULL;
    char utc[21];
    zeb_clock_utc(utc);
    zeb_status status = zeb_sql_exec(store->db, store->path, "BEGIN IMMEDIATE", "store timings", error);
    if (status != ZEB_OK) return status;
    const char *const text[] = {backend, device, fingerprint};
    int code = prepare_insert(store, run_id, text, utc, &statement);
    for (size_t i = 0; i < count && code == SQLITE_OK; i++) {
        code = bind_timing(statement, fingerprint, &timing[i]);
        if (code == SQLITE_OK) code = sqlite3_step(statement);
        if (code == SQLITE_DONE) code = sqlite3_reset(statement);
    }
    if (code != SQLITE_OK) status = zeb_sql_fail(store->db, store->path, code, "store a timing", error);
    (void)sqlite3_finalize(statement);
    if (status == ZEB_OK) status = zeb_sql_exec(store->db, store->path, "COMMIT", "store timings", error);
    if (status != ZEB_OK) (void)sqlite3_exec(store->db, "ROLLBACK", NULL, NULL, NULL);
    return status;
}

static const char select_sql[] =
    "SELECT fingerprint, signature, rows, ns, digest FROM timing WHERE id IN (SELECT max(id) FROM timing WHERE "
    "(?1 IS NULL OR backend = ?1) GROUP BY fingerprint, signature, rows) ORDER BY fingerprint, signature, rows";

/* false: the line is not as it was written. */
static bool take_timing(sqlite3_stmt *from, zeb_stored_timing *to) {
    char digest[DIGEST];
    const char *text[3];
    static const int column[] = {0, 1, 4};
    for (int i = 0; i < 3; i++) {
        text[i] = (const char *)sqlite3_column_text(from, column[i]);
        if (text[i] == NULL) return false;
    }
    zeb_text_copy(to->fingerprint, sizeof to->fingerprint, text[0]);
    zeb_text_copy(to->timing.signature, sizeof to->timing.signature, text[1]);
    to->timing.rows = (uint32_t)sqlite3_column_int64(from, 2);
    to->timing.ns = sqlite3_column_double(from, 3);
    digest_of(to->fingerprint, &to->timing, digest);
    return strcmp(digest, text[2]) == 0 && isfinite(to->timing.ns);
}

zeb_status zeb_store_timings(zeb_store *store, const char *backend, zeb_arena *arena, zeb_stored_timing **timing,
                             size_t *count, size_t *spoilt, zeb_error *error) {
    int64_t most = 0;
    void *memory = NULL;
    sqlite3_stmt *statement = NULL;
    *count = *spoilt = 0;
    zeb_status status = zeb_sql_int(store->db, store->path, "SELECT count(*) FROM timing", &most, error);
    if (status == ZEB_OK) status = zeb_arena_alloc(arena, (size_t)most, sizeof **timing, &memory, error);
    if (status != ZEB_OK) return status;
    *timing = memory;
    int code = sqlite3_prepare_v2(store->db, select_sql, -1, &statement, NULL);
    if (code == SQLITE_OK && backend != NULL) code = sqlite3_bind_text(statement, 1, backend, -1, SQLITE_STATIC);
    if (code == SQLITE_OK) code = sqlite3_step(statement);
    for (; code == SQLITE_ROW && *count + *spoilt < (size_t)most; code = sqlite3_step(statement)) {
        if (take_timing(statement, &(*timing)[*count]))
            ++*count;
        else
            ++*spoilt;
    }
    if (code != SQLITE_DONE && code != SQLITE_ROW) {
        status = zeb_sql_fail(store->db, store->path, code, "read timings", error);
        *count = 0;
    }
    (void)sqlite3_finalize(statement);
    return status;
}
