#include <string.h>

#include "store/internal.h"
#include "store/resources.h"

/* One snapshot: while several programs make a database, a reader must see all of it or nothing. */
static zeb_status read_identity(sqlite3 *db, const char *path, int64_t *application, int64_t *version, int64_t *objects,
                                zeb_error *error) {
    zeb_status status = zeb_sql_exec(db, path, "SAVEPOINT identity", "read it", error);
    if (status != ZEB_OK) return status;
    status = zeb_sql_int(db, path, "SELECT count(*) FROM sqlite_schema", objects, error);
    if (status == ZEB_OK) status = zeb_sql_int(db, path, "PRAGMA application_id", application, error);
    if (status == ZEB_OK) status = zeb_sql_int(db, path, "PRAGMA user_version", version, error);
    (void)sqlite3_exec(db, "RELEASE identity", NULL, NULL, NULL);
    return status;
}

zeb_status zeb_store_identify(sqlite3 *db, const char *path, int *schema, zeb_error *error) {
    int64_t application = 0, version = 0, objects = 0;
    zeb_status status = read_identity(db, path, &application, &version, &objects, error);
    if (status != ZEB_OK) return status;
    *schema = 0;
    if (application == 0 && version == 0 && objects == 0) return ZEB_OK;
    if (application != ZEB_APPLICATION_ID) {
        return zeb_fail(error, ZEB_ERR_FORMAT, "%s: an SQLite database, but of another program, not of zeb", path);
    }
    if (version > ZEB_SCHEMA) {
        return zeb_fail(
            error, ZEB_ERR_VERSION,
            "%s: has schema %lld, written by a newer zeb; this one knows up to schema %d: use the newer zeb "
            "or another --db",
            path, (long long)version, ZEB_SCHEMA);
    }
    *schema = (int)version;
    return ZEB_OK;
}

static zeb_status apply(sqlite3 *db, const char *path, int from, zeb_error *error) {
    char doing[ZEB_ROW_TEXT_MAX], pragma[96];
    (void)snprintf(doing, sizeof doing, "apply %s", zeb_migration[from].name);
    (void)snprintf(pragma, sizeof pragma, "PRAGMA user_version = %d; PRAGMA application_id = %d", from + 1,
                   (int)ZEB_APPLICATION_ID);
    zeb_status status = zeb_sql_exec(db, path, zeb_migration[from].data, doing, error);
    return status == ZEB_OK ? zeb_sql_exec(db, path, pragma, doing, error) : status;
}

/* The schema is read again inside the transaction: another process may have migrated while this one waited. */
static zeb_status migrate_locked(sqlite3 *db, const char *path, zeb_error *error) {
    int schema = 0;
    zeb_status status = zeb_store_identify(db, path, &schema, error);
    for (int i = schema; status == ZEB_OK && i < ZEB_SCHEMA; i++)
        status = apply(db, path, i, error);
    return status;
}

zeb_status zeb_store_migrate(sqlite3 *db, const char *path, bool fresh, zeb_error *error) {
    int schema = 0;
    zeb_status status = zeb_store_identify(db, path, &schema, error);
    if (status != ZEB_OK || schema == ZEB_SCHEMA) return status;
    if (zeb_migration_count != ZEB_SCHEMA) {
        return zeb_fail(error, ZEB_ERR_INTERNAL, "%zu migrations are built in, but the schema is %d",
                        zeb_migration_count, ZEB_SCHEMA);
    }
    if (schema == 0 && !fresh) return zeb_fail(error, ZEB_ERR_FORMAT, "%s: is empty, not a database of zeb", path);
    status = zeb_sql_exec(db, path, "BEGIN IMMEDIATE", "begin a migration", error);
    if (status != ZEB_OK) return status;
    status = migrate_locked(db, path, error);
    if (status == ZEB_OK) status = zeb_sql_exec(db, path, "COMMIT", "commit a migration", error);
    if (status != ZEB_OK) (void)sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
    return status;
}

zeb_status zeb_store_views(zeb_store *store, zeb_error *error) {
    zeb_status status = ZEB_OK;
    for (size_t i = 0; status == ZEB_OK && i < zeb_query_count; i++) {
        char doing[ZEB_ROW_TEXT_MAX];
        (void)snprintf(doing, sizeof doing, "make the view of %s", zeb_query[i].name);
        status = zeb_sql_exec(store->db, store->path, zeb_query[i].data, doing, error);
    }
    return status;
}
