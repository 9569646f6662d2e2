#include "store/store.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "store/internal.h"

enum { BUSY_TIMEOUT_MS = 10000, SMALLEST_DATABASE = 512 };

/* ---- errors --------------------------------------------------------------------------------------------------- */

zeb_status zeb_sql_fail(sqlite3 *db, const char *path, int code, const char *doing, zeb_error *error) {
    switch (code & 0xff) {
        case SQLITE_NOTADB:
            return zeb_fail(error, ZEB_ERR_FORMAT, "%s: not a database of zeb (nor of SQLite); it was left as it is",
                            path);
        case SQLITE_CORRUPT:
            return zeb_fail(error, ZEB_ERR_FORMAT,
                            "%s: the database is damaged (%s); `sqlite3 FILE .recover` may save rows", path,
                            sqlite3_errmsg(db));
        case SQLITE_FULL:
            return zeb_fail(error, ZEB_ERR_IO, "%s: the disk is full, could not %s; all rows stored before are safe",
                            path, doing);
        case SQLITE_READONLY:
            return zeb_fail(error, ZEB_ERR_IO,
                            "%s: is read-only, could not %s; make it and its folder writable or use "
                            "another --db",
                            path, doing);
        case SQLITE_BUSY:
        case SQLITE_LOCKED:
            return zeb_fail(error, ZEB_ERR_TIMEOUT, "%s: another program has held its lock for %d s, could not %s",
                            path, BUSY_TIMEOUT_MS / 1000, doing);
        case SQLITE_NOMEM: return zeb_fail(error, ZEB_ERR_MEMORY, "%s: no memory to %s", path, doing);
        case SQLITE_CONSTRAINT:
            return zeb_fail(error, ZEB_ERR_ARGUMENT, "%s: could not %s: %s", path, doing, sqlite3_errmsg(db));
        case SQLITE_CANTOPEN:
            if (db != NULL && sqlite3_system_errno(db) != 0)
                return zeb_fail(error, ZEB_ERR_IO, "%s: could not %s: %s; --db names another place", path, doing,
                                strerror(sqlite3_system_errno(db)));
            return zeb_fail(error, ZEB_ERR_IO, "%s: could not %s: %s", path, doing, sqlite3_errstr(code));
        case SQLITE_PERM:
        case SQLITE_AUTH:
        case SQLITE_IOERR:
            return zeb_fail(error, ZEB_ERR_IO, "%s: could not %s: %s", path, doing,
                            db != NULL ? sqlite3_errmsg(db) : sqlite3_errstr(code));
        default: break;
    }
    return zeb_fail(error, ZEB_ERR_INTERNAL, "%s: could not %s: %s", path, doing,
                    db != NULL ? sqlite3_errmsg(db) : sqlite3_errstr(code));
}

zeb_status zeb_sql_exec(sqlite3 *db, const char *path, const char *sql, const char *doing, zeb_error *error) {
    int code = sqlite3_exec(db, sql, NULL, NULL, NULL);
    return code == SQLITE_OK ? ZEB_OK : zeb_sql_fail(db, path, code, doing, error);
}

zeb_status zeb_sql_int(sqlite3 *db, const char *path, const char *sql, int64_t *value, zeb_error *error) {
    sqlite3_stmt *statement = NULL;
    int code = sqlite3_prepare_v2(db, sql, -1, &statement, NULL);
    if (code == SQLITE_OK) code = sqlite3_step(statement);
    if (code == SQLITE_ROW) *value = sqlite3_column_int64(statement, 0);
    zeb_status status = code == SQLITE_ROW ? ZEB_OK : zeb_sql_fail(db, path, code, "read it", error);
    (void)sqlite3_finalize(statement);
    return status;
}

/* ---- opening -------------------------------------------------------------------------------------------------- */

static zeb_status check_file(const char *path, bool create, zeb_error *error) {
    struct stat info;
    if (stat(path, &info) != 0) {
        if (errno != ENOENT) return zeb_fail(error, ZEB_ERR_IO, "%s: %s", path, strerror(errno));
        return create ? ZEB_OK
                      : zeb_fail(error, ZEB_ERR_NOT_FOUND, "%s: no such database; `zeb run --db` makes one", path);
    }
    if (!S_ISREG(info.st_mode)) return zeb_fail(error, ZEB_ERR_FORMAT, "%s: not a file, so not a database", path);
    if (info.st_size == 0 && !create) {
        return zeb_fail(error, ZEB_ERR_FORMAT, "%s: is empty, not a database of zeb", path);
    }
    /* SQLite takes a file of a few bytes for an empty database and would write over it. */
    if (info.st_size > 0 && info.st_size < SMALLEST_DATABASE)
        return zeb_sql_fail(NULL, path, SQLITE_NOTADB, "open it", error);
    return ZEB_OK;
}

/* Makes every missing folder above path, like mkdir -p. */
static zeb_status make_folders(const char *path, zeb_error *error) {
    char *copy = strdup(path);
    if (copy == NULL) return zeb_fail(error, ZEB_ERR_MEMORY, "no memory to open %s", path);
    zeb_status status = ZEB_OK;
    for (char *slash = strchr(copy + 1, '/'); copy[0] != '\0' && slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (mkdir(copy, 0777) != 0 && errno != EEXIST) {
            status = zeb_fail(error, ZEB_ERR_IO, "%s: could not make this folder: %s; --db names another place", copy,
                              strerror(errno));
            break;
        }
        *slash = '/';
    }
    free(copy);
    return status;
}

static zeb_status store_new(const char *path, zeb_store **store, zeb_error *error) {
    *store = NULL;
    zeb_store *s = calloc(1, sizeof *s);
    if (s != NULL) s->path = strdup(path);
    if (s == NULL || s->path == NULL) {
        free(s);
        return zeb_fail(error, ZEB_ERR_MEMORY, "no memory to open %s", path);
    }
    *store = s;
    return ZEB_OK;
}

static zeb_status connect(zeb_store *s, const char *name, int flags, zeb_error *error) {
    int code = sqlite3_open_v2(name, &s->db, flags | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE, NULL);
    if (code != SQLITE_OK) return zeb_sql_fail(s->db, s->path, code, "open it", error);
    (void)sqlite3_busy_timeout(s->db, BUSY_TIMEOUT_MS);
    (void)sqlite3_db_config(s->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    (void)sqlite3_db_config(s->db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    return ZEB_OK;
}

/* SQLite does not wait for other programs when it changes the journal mode, so that is tried again here. */
static zeb_status set_up(zeb_store *s, zeb_error *error) {
    const char *sql = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; "
                      "PRAGMA temp_store = MEMORY";
    const uint64_t pause_ns = 10000000, end_ns = zeb_clock_now_ns() + BUSY_TIMEOUT_MS * 1000000ull;
    zeb_status status = zeb_sql_exec(s->db, s->path, sql, "set it up", error);
    while (status == ZEB_ERR_TIMEOUT && zeb_clock_now_ns() < end_ns) {
        zeb_clock_sleep_until(zeb_clock_now_ns() + pause_ns);
        status = zeb_sql_exec(s->db, s->path, sql, "set it up", error);
    }
    return status;
}

/* A file is looked at before anything is changed in it: a foreign database must not even get zeb's journal mode. */
static zeb_status prepare_write(zeb_store *s, bool create, zeb_error *error) {
    int schema = 0;
    zeb_status status = zeb_store_identify(s->db, s->path, &schema, error);
    if (status != ZEB_OK) return status;
    if (sqlite3_db_readonly(s->db, "main") == 1)
        return zeb_sql_fail(s->db, s->path, SQLITE_READONLY, "open it for writing", error);
    if (schema == 0 && !create) return zeb_fail(error, ZEB_ERR_FORMAT, "%s: is empty, not a database of zeb", s->path);
    status = set_up(s, error);
    if (status == ZEB_OK) status = zeb_store_migrate(s->db, s->path, create, error);
    return status == ZEB_OK ? zeb_store_views(s, error) : status;
}

zeb_status zeb_store_open(const char *path, bool create, zeb_store **store, zeb_error *error) {
    *store = NULL;
    zeb_status status = check_file(path, create, error);
    if (status == ZEB_OK && create) status = make_folders(path, error);
    if (status == ZEB_OK) status = store_new(path, store, error);
    zeb_store *s = *store;
    if (status != ZEB_OK || s == NULL) return status;
    status = connect(s, path, SQLITE_OPEN_READWRITE | (create ? SQLITE_OPEN_CREATE : 0), error);
    if (status == ZEB_OK) status = prepare_write(s, create, error);
    if (status != ZEB_OK) {
        zeb_store_close(s);
        *store = NULL;
        return status;
    }
    s->schema = ZEB_SCHEMA;
    return ZEB_OK;
}

/* "file:" and the path with what a URI would misread escaped, then the query. NULL: no memory. */
static char *file_uri(const char *path, const char *query) {
    size_t capacity = 3 * strlen(path) + strlen(query) + 8;
    char *uri = malloc(capacity);
    if (uri == NULL) return NULL;
    size_t at = (size_t)snprintf(uri, capacity, "file:");
    for (const char *p = path; *p != '\0'; p++) {
        bool special = strchr("%?#", *p) != NULL;
        at += (size_t)snprintf(uri + at, capacity - at, special ? "%%%02X" : "%c", (unsigned char)*p);
    }
    (void)snprintf(uri + at, capacity - at, "%s", query);
    return uri;
}

/* Without a write-ahead log to read, the file alone is the database, and a folder that can't be written (WAL wants its
 * index there) is no obstacle. */
static bool has_log(const char *path) {
    char *name = NULL;
    struct stat info;
    if (asprintf(&name, "%s-wal", path) < 0) return true;
    bool there = stat(name, &info) == 0 && info.st_size > 0;
    free(name);
    return there;
}

/* Opened as if for writing where that is allowed, so that the last reader tidies the log of a zeb that was killed; but
 * no statement may change a thing (query_only). */
static zeb_status connect_read(zeb_store *s, bool immutable, zeb_error *error) {
    char *uri = file_uri(s->path, immutable ? "?mode=ro&immutable=1" : "?mode=rw");
    if (uri == NULL) return zeb_fail(error, ZEB_ERR_MEMORY, "no memory to open %s", s->path);
    int mode = immutable ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE;
    zeb_status status = connect(s, uri, mode | SQLITE_OPEN_URI, error);
    free(uri);
    return status == ZEB_OK ? zeb_store_identify(s->db, s->path, &s->schema, error) : status;
}

static zeb_status open_read(zeb_store *s, zeb_error *error) {
    zeb_status status = connect_read(s, false, error);
    if (status == ZEB_ERR_IO && !has_log(s->path)) {
        (void)sqlite3_close(s->db);
        s->db = NULL;
        status = connect_read(s, true, error);
    }
    if (status != ZEB_OK) return status;
    if (s->schema == 0) return zeb_fail(error, ZEB_ERR_FORMAT, "%s: is empty, not a database of zeb", s->path);
    if (s->schema < ZEB_SCHEMA) {
        return zeb_fail(error, ZEB_ERR_VERSION,
                        "%s: has schema %d, this zeb reads schema %d: any `zeb run --db %s` brings it up to date",
                        s->path, s->schema, ZEB_SCHEMA, s->path);
    }
    status = zeb_sql_exec(s->db, s->path, "PRAGMA temp_store = MEMORY", "set it up", error);
    if (status == ZEB_OK) status = zeb_store_views(s, error);
    return status == ZEB_OK ? zeb_sql_exec(s->db, s->path, "PRAGMA query_only = ON", "set it up", error) : status;
}

zeb_status zeb_store_open_read(const char *path, zeb_store **store, zeb_error *error) {
    *store = NULL;
    zeb_status status = check_file(path, false, error);
    if (status == ZEB_OK) status = store_new(path, store, error);
    if (status != ZEB_OK || *store == NULL) return status;
    status = open_read(*store, error);
    if (status != ZEB_OK) {
        zeb_store_close(*store);
        *store = NULL;
    }
    return status;
}

void zeb_store_close(zeb_store *store) {
    if (store == NULL) return;
    for (int i = 0; i < ZEB_TABLE_COUNT; i++)
        (void)sqlite3_finalize(store->insert[i]);
    (void)sqlite3_close(store->db);
    free(store->path);
    free(store);
}

int zeb_store_schema(const zeb_store *store) {
    return store->schema;
}
