/* store/internal.h - what the files of the room share. Private to the room. */
#ifndef ZEB_STORE_INTERNAL_H
#define ZEB_STORE_INTERNAL_H

#include <sqlite3.h>

#include "store/columns.h"
#include "store/store.h"

enum { ZEB_APPLICATION_ID = 0x5a454231 }; /* the bytes "ZEB1" */

struct zeb_store {
    sqlite3 *db;
    char *path;
    int schema;
    sqlite3_stmt *insert[ZEB_TABLE_COUNT]; /* prepared on first use */
};

/* Turns an SQLite result into a sentence that names the file and what was being done ("store a row"). */
ZEB_MUST_CHECK zeb_status zeb_sql_fail(sqlite3 *db, const char *path, int code, const char *doing, zeb_error *error);

/* Runs statements that give no lines. */
ZEB_MUST_CHECK zeb_status zeb_sql_exec(sqlite3 *db, const char *path, const char *sql, const char *doing,
                                       zeb_error *error);

/* The first integer of a query's first line. */
ZEB_MUST_CHECK zeb_status zeb_sql_int(sqlite3 *db, const char *path, const char *sql, int64_t *value, zeb_error *error);

/* Brings db to ZEB_SCHEMA; `fresh`: an empty file may become a database. */
ZEB_MUST_CHECK zeb_status zeb_store_migrate(sqlite3 *db, const char *path, bool fresh, zeb_error *error);

/* The file's schema, refused when it is not zeb's or newer; 0 for an empty database. */
ZEB_MUST_CHECK zeb_status zeb_store_identify(sqlite3 *db, const char *path, int *schema, zeb_error *error);

/* Makes the views of reports/queries for this connection alone (they are temporary: a database never carries old
 * ones). */
ZEB_MUST_CHECK zeb_status zeb_store_views(zeb_store *store, zeb_error *error);

/* ---- latency samples ------------------------------------------------------------------------------------------ */

enum { ZEB_SAMPLE_MAX = 100000 };

typedef struct zeb_sample_blob {
    const char *encoding; /* "u64le" or "histogram"; NULL: there are none */
    unsigned char *data;  /* malloc'ed */
    size_t size;
    uint64_t count;
} zeb_sample_blob;

/* The samples or buckets of a row as bytes. free(blob.data). */
ZEB_MUST_CHECK zeb_status zeb_sample_encode(const zeb_row *row, zeb_sample_blob *blob, zeb_error *error);

/* Fills sample_ns or bucket of the row, in the arena. */
ZEB_MUST_CHECK zeb_status zeb_sample_decode(const char *encoding, const unsigned char *data, size_t size,
                                            zeb_arena *arena, zeb_row *row, zeb_error *error);

/* The bucket of a sample in the log-linear histogram: exact below 256 ns, then 128 buckets an octave. */
zeb_row_bucket zeb_sample_bucket(uint64_t sample_ns);

#endif
