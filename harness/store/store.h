/* store/store.h - the database of results: one SQLite file, one row a case, nothing lost.
 *
 * A row that zeb_store_put has accepted is on the disk: WAL, synchronous=FULL, one transaction a row. A process killed
 * at any moment leaves every accepted row and no half of one. Several programs may use a file at a time; a writer waits
 * up to ten seconds for another. A zeb_store belongs to one thread at a time and must not be used across a fork.
 *
 * The schema is made of numbered migrations (results/schema), applied when a database is opened for writing. The file
 * states its schema in PRAGMA user_version and that it is zeb's in PRAGMA application_id.
 *
 * Errors name the file: ZEB_ERR_NOT_FOUND no such file; ZEB_ERR_FORMAT not a database, not zeb's, or damaged;
 * ZEB_ERR_VERSION a newer schema; ZEB_ERR_IO read-only, full disk, refused; ZEB_ERR_TIMEOUT locked by another program;
 * ZEB_ERR_ARGUMENT a row that breaks the rules of row.h (the sentence names the field). */
#ifndef ZEB_STORE_STORE_H
#define ZEB_STORE_STORE_H

#include "base/arena.h"
#include "store/row.h"

typedef struct zeb_store zeb_store;

/* Opens path for writing and brings its schema up to date. create: a missing or empty file becomes a new database
 * (missing folders on the way are made); otherwise they are errors. */
ZEB_MUST_CHECK zeb_status zeb_store_open(const char *path, bool create, zeb_store **store, zeb_error *error);

/* Opens an existing database for reading alone: nothing is migrated, the file may be read-only. */
ZEB_MUST_CHECK zeb_status zeb_store_open_read(const char *path, zeb_store **store, zeb_error *error);

void zeb_store_close(zeb_store *store); /* takes NULL */

/* ---- writing -------------------------------------------------------------------------------------------------- */

/* Records one invocation of zeb; durable on return. */
ZEB_MUST_CHECK zeb_status zeb_store_begin_run(zeb_store *store, const zeb_run_info *info, int64_t *run_id,
                                              zeb_error *error);

/* Stores one row with all that hangs on it in one transaction; durable on return. The row is checked first: see
 * zeb_row_check. More than 100,000 samples are kept as a histogram. row_id may be NULL. */
ZEB_MUST_CHECK zeb_status zeb_store_put(zeb_store *store, int64_t run_id, const zeb_row *row, int64_t *row_id,
                                        zeb_error *error);

/* Records how and when the run ended; a run without an end was killed. */
ZEB_MUST_CHECK zeb_status zeb_store_end_run(zeb_store *store, int64_t run_id, const char *finished_utc, int exit_code,
                                            zeb_error *error);

/* The rules a row must keep, also enforced by the schema: required names, a reason with every verdict but ok, n > 0 and
 * a median in an ok row, numbers unknown where energy is unknown or invalid, no CO2 without energy, unsigned numbers
 * within 63 bits. ZEB_ERR_ARGUMENT names the first field that breaks one. */
ZEB_MUST_CHECK zeb_status zeb_row_check(const zeb_row *row, zeb_error *error);

/* ---- reading -------------------------------------------------------------------------------------------------- */

/* A stored row with its run. */
typedef struct zeb_record {
    int64_t id, run_id;
    bool latest; /* no later row of the same case exists (see reports/queries) */
    zeb_row row; /* without sample_ns or bucket: see zeb_store_samples */
    zeb_run_info run;
    const char *finished_utc; /* NULL: the run never ended orderly */
} zeb_record;

/* Which rows. A zeroed filter takes all. */
typedef struct zeb_store_filter {
    int64_t run_id;    /* 0: of all runs */
    bool latest_only;  /* one row a case: the newest */
    int64_t ok_before; /* not 0: of the runs before this one, the newest ok row of each case and policy on each host */
} zeb_store_filter;

/* The rows in the order in which they were stored, in the arena. filter may be NULL. */
ZEB_MUST_CHECK zeb_status zeb_store_rows(zeb_store *store, const zeb_store_filter *filter, zeb_arena *arena,
                                         zeb_record **record, size_t *count, zeb_error *error);

/* Fills sample_ns or bucket of a row that was read without, in the arena; both stay empty where none are stored. */
ZEB_MUST_CHECK zeb_status zeb_store_samples(zeb_store *store, int64_t row_id, zeb_arena *arena, zeb_row *row,
                                            zeb_error *error);

/* An invocation of zeb that is on record, with or without rows (zeb roofline has peaks, zeb explain times). */
typedef struct zeb_stored_run {
    int64_t id;
    zeb_run_info info;
    const char *finished_utc;   /* NULL: it still runs, or never ended orderly */
    uint64_t rows, interrupted; /* rows of it, and those of them that the user stopped */
} zeb_stored_run;

/* All runs in the order in which they began, in the arena. */
ZEB_MUST_CHECK zeb_status zeb_store_runs(zeb_store *store, zeb_arena *arena, zeb_stored_run **run, size_t *count,
                                         zeb_error *error);

/* The number of rows with each outcome: count[ZEB_OUTCOME_INTERRUPTED + 1], indexed by outcome; run_id 0: all runs. */
ZEB_MUST_CHECK zeb_status zeb_store_count(zeb_store *store, int64_t run_id, uint64_t count[8], zeb_error *error);

/* Schema number of the open file; the newest this zeb knows is ZEB_SCHEMA. */
int zeb_store_schema(const zeb_store *store);

#endif
