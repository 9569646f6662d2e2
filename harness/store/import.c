#include "store/import.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "store/internal.h"

enum { FIELDS_MAX = 128, LINE_MAX_BYTES = 1 << 20 };

/* A column of emissions.csv and the column of `training` that it goes to. */
typedef struct field {
    const char *csv, *sql;
    bool number, required;
} field;

static const field fields[] = {
    {"run_id", "codecarbon_run_id", false, true},
    {"timestamp", "timestamp", false, true},
    {"experiment_id", "experiment_id", false, false},
    {"project_name", "project_name", false, false},
    {"duration", "duration_s", true, true},
    {"emissions", "emissions_kg", true, true},
    {"cpu_energy", "cpu_energy_kwh", true, false},
    {"gpu_energy", "gpu_energy_kwh", true, false},
    {"ram_energy", "ram_energy_kwh", true, false},
    {"energy_consumed", "energy_consumed_kwh", true, true},
    {"country_iso_code", "country_iso_code", false, false},
    {"region", "region", false, false},
    {"cpu_model", "cpu_model", false, false},
    {"gpu_model", "gpu_model", false, false},
    {"tracking_mode", "tracking_mode", false, false},
    {"codecarbon_version", "codecarbon_version", false, false},
    {"pue", "pue", true, false},
};
enum { FIELDS = sizeof fields / sizeof fields[0] };

typedef struct reader {
    FILE *file;
    const char *path;
    char *line;
    size_t capacity;
    unsigned long number;
    char *cell[FIELDS_MAX];
    int cells;
} reader;

/* Cuts one CSV line in place into cells (RFC 4180 quotes; a quoted line break is not something CodeCarbon writes). */
static bool split(reader *r) {
    char *from = r->line, *to = r->line;
    r->cells = 0;
    for (bool more = true; more;) {
        if (r->cells == FIELDS_MAX) return false;
        r->cell[r->cells++] = to;
        bool quoted = *from == '"';
        if (quoted) from++;
        for (; *from != '\0' && (quoted || *from != ','); from++) {
            if (quoted && *from == '"' && *++from != '"') break;
            *to++ = *from;
        }
        more = *from == ',';
        if (!more && *from != '\0') return false;
        if (more) from++;
        *to++ = '\0';
    }
    return true;
}

/* ZEB_OK and not *there at the end of the file; empty lines are passed over. */
static zeb_status read_line(reader *r, bool *there, zeb_error *error) {
    for (;;) {
        ssize_t length = getline(&r->line, &r->capacity, r->file);
        *there = length >= 0;
        if (length < 0) {
            return feof(r->file) ? ZEB_OK : zeb_fail(error, ZEB_ERR_IO, "%s: %s", r->path, strerror(errno));
        }
        r->number++;
        while (length > 0 && strchr("\r\n", r->line[length - 1]) != NULL)
            r->line[--length] = '\0';
        if (length == 0) continue;
        if (length > LINE_MAX_BYTES || memchr(r->line, '\0', (size_t)length) != NULL || !split(r)) {
            return zeb_fail(error, ZEB_ERR_FORMAT, "%s:%lu: not a line of CSV", r->path, r->number);
        }
        return ZEB_OK;
    }
}

static zeb_status read_header(reader *r, int position[FIELDS], zeb_error *error) {
    bool there = false;
    zeb_status status = read_line(r, &there, error);
    if (status != ZEB_OK) return status;
    if (!there) return zeb_fail(error, ZEB_ERR_FORMAT, "%s: is empty, not an emissions.csv", r->path);
    for (int f = 0; f < FIELDS; f++) {
        position[f] = -1;
        for (int c = 0; c < r->cells; c++) {
            if (strcmp(r->cell[c], fields[f].csv) == 0) position[f] = c;
        }
        if (position[f] < 0 && fields[f].required) {
            return zeb_fail(error, ZEB_ERR_FORMAT, "%s: has no column %s, so it is not an emissions.csv of CodeCarbon",
                            r->path, fields[f].csv);
        }
    }
    return ZEB_OK;
}

static zeb_status bind_field(reader *r, sqlite3_stmt *statement, const field *f, int index, const char *text,
                             zeb_error *error) {
    zeb_value value = {.kind = ZEB_VALUE_NULL};
    if (text != NULL && text[0] != '\0') value = (zeb_value){.kind = ZEB_VALUE_TEXT, .text = text};
    if (value.kind == ZEB_VALUE_TEXT && f->number) {
        value.kind = ZEB_VALUE_REAL;
        if (!zeb_text_to_f64(text, &value.real)) {
            return zeb_fail(error, ZEB_ERR_FORMAT, "%s:%lu: %s is not a number: %.40s", r->path, r->number, f->csv,
                            text);
        }
        if (value.real < 0) {
            return zeb_fail(error, ZEB_ERR_FORMAT, "%s:%lu: %s is negative: %.40s", r->path, r->number, f->csv, text);
        }
    }
    if (value.kind == ZEB_VALUE_NULL && f->required) {
        return zeb_fail(error, ZEB_ERR_FORMAT, "%s:%lu: %s is missing", r->path, r->number, f->csv);
    }
    return zeb_value_bind(statement, index, value) == SQLITE_OK
               ? ZEB_OK
               : zeb_fail(error, ZEB_ERR_MEMORY, "no memory to import");
}

/* What a line goes into; `made` is NULL where the model is not told. */
typedef struct inserts {
    sqlite3_stmt *training; /* ?1 ...: the fields */
    sqlite3_stmt *made;     /* ?1, ?2: run and time, which stand first in the fields; ?3: the model */
} inserts;

/* *changes is 1 where the statement added something. */
static zeb_status insert_line(zeb_store *s, reader *r, const int position[FIELDS], sqlite3_stmt *statement, int count,
                              int *changes, zeb_error *error) {
    zeb_status status = ZEB_OK;
    for (int f = 0; status == ZEB_OK && f < count; f++) {
        const char *text = position[f] >= 0 && position[f] < r->cells ? r->cell[position[f]] : NULL;
        status = bind_field(r, statement, &fields[f], f + 1, text, error);
    }
    if (status != ZEB_OK) return status;
    int code = sqlite3_step(statement);
    if (code != SQLITE_DONE) return zeb_sql_fail(s->db, s->path, code, "import a line", error);
    if (sqlite3_changes(s->db) > 0) *changes = 1;
    (void)sqlite3_reset(statement);
    return ZEB_OK;
}

static zeb_status import_line(zeb_store *s, reader *r, const int position[FIELDS], const inserts *into,
                              zeb_import_counts *counts, zeb_error *error) {
    int changes = 0;
    zeb_status status = insert_line(s, r, position, into->training, FIELDS, &changes, error);
    if (status == ZEB_OK && into->made != NULL) status = insert_line(s, r, position, into->made, 2, &changes, error);
    if (status != ZEB_OK) return status;
    counts->imported += changes == 1;
    counts->known += changes == 0;
    return ZEB_OK;
}

static zeb_status prepare_import(zeb_store *s, const char *model, inserts *into, zeb_error *error) {
    sqlite3_str *text = sqlite3_str_new(NULL);
    for (int f = 0; f < FIELDS; f++)
        sqlite3_str_appendf(text, "%s%s", f > 0 ? ", " : "INSERT INTO training (", fields[f].sql);
    for (int f = 0; f < FIELDS; f++)
        sqlite3_str_appendall(text, f > 0 ? ", ?" : ") VALUES (?");
    sqlite3_str_appendall(text, ") ON CONFLICT (codecarbon_run_id, timestamp) DO NOTHING");
    char *sql = sqlite3_str_finish(text);
    int code = sql == NULL ? SQLITE_NOMEM : sqlite3_prepare_v2(s->db, sql, -1, &into->training, NULL);
    sqlite3_free(sql);
    if (code == SQLITE_OK && model != NULL)
        code = sqlite3_prepare_v2(s->db,
                                  "INSERT OR IGNORE INTO training_model (training_id, model) SELECT id, ?3 "
                                  "FROM training WHERE codecarbon_run_id = ?1 AND timestamp = ?2",
                                  -1, &into->made, NULL);
    if (code == SQLITE_OK && model != NULL) code = sqlite3_bind_text(into->made, 3, model, -1, SQLITE_TRANSIENT);
    return code == SQLITE_OK ? ZEB_OK : zeb_sql_fail(s->db, s->path, code, "import", error);
}

static zeb_status import_all(zeb_store *s, reader *r, const char *model, zeb_import_counts *counts, zeb_error *error) {
    int position[FIELDS] = {0};
    inserts into = {0};
    zeb_status status = read_header(r, position, error);
    if (status == ZEB_OK) status = prepare_import(s, model, &into, error);
    for (bool there = true; status == ZEB_OK;) {
        status = read_line(r, &there, error);
        if (status != ZEB_OK || !there) break;
        status = import_line(s, r, position, &into, counts, error);
    }
    (void)sqlite3_finalize(into.training);
    (void)sqlite3_finalize(into.made);
    if (status == ZEB_OK && counts->imported + counts->known == 0)
        status = zeb_fail(error, ZEB_ERR_FORMAT, "%s: has a header and no line: nothing was tracked", r->path);
    return status;
}

zeb_status zeb_store_import_emissions(zeb_store *store, const char *csv_path, const char *model,
                                      zeb_import_counts *counts, zeb_error *error) {
    reader r = {.path = csv_path, .file = fopen(csv_path, "re")};
    *counts = (zeb_import_counts){.imported = 0};
    if (r.file == NULL) {
        return zeb_fail(error, errno == ENOENT ? ZEB_ERR_NOT_FOUND : ZEB_ERR_IO, "%s: %s", csv_path, strerror(errno));
    }
    zeb_status status = zeb_sql_exec(store->db, store->path, "BEGIN IMMEDIATE", "import", error);
    if (status == ZEB_OK) {
        status = import_all(store, &r, model, counts, error);
        if (status == ZEB_OK) status = zeb_sql_exec(store->db, store->path, "COMMIT", "import", error);
        if (status != ZEB_OK) (void)sqlite3_exec(store->db, "ROLLBACK", NULL, NULL, NULL);
    }
    if (status != ZEB_OK) *counts = (zeb_import_counts){.imported = 0};
    free(r.line);
    (void)fclose(r.file);
    return status;
}

/* ---- export --------------------------------------------------------------------------------------------------- */

static void csv_cell(FILE *out, sqlite3_stmt *from, int index) {
    if (sqlite3_column_type(from, index) == SQLITE_FLOAT) {
        (void)fprintf(out, "%.15g", sqlite3_column_double(from, index));
        return;
    }
    const char *text = (const char *)sqlite3_column_text(from, index);
    if (text == NULL) return;
    bool quoted = strpbrk(text, ",\"\r\n") != NULL;
    if (quoted) (void)fputc('"', out);
    for (; *text != '\0'; text++) {
        if (*text == '"') (void)fputc('"', out);
        (void)fputc(*text, out);
    }
    if (quoted) (void)fputc('"', out);
}

zeb_status zeb_store_export_emissions(zeb_store *store, FILE *out, zeb_error *error) {
    sqlite3_str *text = sqlite3_str_new(NULL);
    sqlite3_stmt *statement = NULL;
    for (int f = 0; f < FIELDS; f++) {
        sqlite3_str_appendf(text, "%s%s", f > 0 ? ", " : "SELECT ", fields[f].sql);
        (void)fprintf(out, "%s%s", f > 0 ? "," : "", fields[f].csv);
    }
    (void)fputs("\r\n", out);
    sqlite3_str_appendall(text, " FROM training ORDER BY id");
    char *sql = sqlite3_str_finish(text);
    int code = sql == NULL ? SQLITE_NOMEM : sqlite3_prepare_v2(store->db, sql, -1, &statement, NULL);
    sqlite3_free(sql);
    if (code == SQLITE_OK) code = sqlite3_step(statement);
    for (; code == SQLITE_ROW; code = sqlite3_step(statement)) {
        for (int f = 0; f < FIELDS; f++) {
            if (f > 0) (void)fputc(',', out);
            csv_cell(out, statement, f);
        }
        (void)fputs("\r\n", out);
    }
    (void)sqlite3_finalize(statement);
    if (code != SQLITE_DONE) return zeb_sql_fail(store->db, store->path, code, "export", error);
    return ferror(out) == 0 ? ZEB_OK : zeb_fail(error, ZEB_ERR_IO, "could not write the export");
}
