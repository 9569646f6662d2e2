#include "store/report.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "store/curve.h"
#include "store/json.h"
#include "store/resources.h"

/* What a report is made from: the rows of a database, for the time of one call. */
typedef struct report {
    zeb_store *store;
    zeb_arena *arena;
    zeb_record *record;
    size_t count;
} report;

static void report_close(report *r) {
    zeb_arena_destroy(r->arena);
    zeb_store_close(r->store);
}

static zeb_status report_open(const char *database, const zeb_store_filter *filter, report *r, zeb_error *error) {
    *r = (report){.store = NULL};
    zeb_status status = zeb_store_open_read(database, &r->store, error);
    if (status == ZEB_OK) status = zeb_arena_create(&r->arena, error);
    if (status == ZEB_OK) status = zeb_store_rows(r->store, filter, r->arena, &r->record, &r->count, error);
    return status;
}

static zeb_status row_pointers(const report *r, const zeb_row ***row, zeb_error *error) {
    void *memory = NULL;
    zeb_status status = zeb_arena_alloc(r->arena, r->count, sizeof(void *), &memory, error);
    *row = memory;
    for (size_t i = 0; status == ZEB_OK && i < r->count; i++)
        (*row)[i] = &r->record[i].row;
    return status;
}

/* ---- JSON and HTML -------------------------------------------------------------------------------------------- */

/* A row's samples are read here and forgotten: those of a whole history would fill the memory. */
static zeb_status read_curve(const report *r, const zeb_record *record, zeb_curve *curve, zeb_error *error) {
    zeb_arena *arena = NULL;
    zeb_row row = {0};
    zeb_status status = zeb_arena_create(&arena, error);
    if (status == ZEB_OK) status = zeb_store_samples(r->store, record->id, arena, &row, error);
    if (status == ZEB_OK) status = zeb_curve_make(&row, curve, error);
    zeb_arena_destroy(arena);
    return status;
}

/* A curve a row; of older rows only if `all` are wanted. Room for all is taken at once: small pieces in between would
 * keep malloc from using the room of one row's samples for the next one's. */
static zeb_status read_curves(const report *r, bool all, zeb_curve **curve, zeb_error *error) {
    void *memory = NULL;
    zeb_status status = zeb_arena_alloc(r->arena, r->count, sizeof(zeb_curve), &memory, error);
    *curve = memory;
    for (size_t i = 0; status == ZEB_OK && i < r->count; i++) {
        if (all || r->record[i].latest) status = read_curve(r, &r->record[i], &(*curve)[i], error);
    }
    return status;
}

static json_t *curve_json(const zeb_curve *curve, bool *whole) {
    if (!curve->known) return json_null();
    json_t *array = json_array();
    for (int i = 0; i < ZEB_CURVE_POINTS; i++) {
        if (json_array_append_new(array, json_integer((json_int_t)curve->ns[i])) != 0) *whole = false;
    }
    return array;
}

static json_t *record_json(const zeb_record *record, const zeb_curve *curve, bool *whole) {
    json_t *object = zeb_row_json(&record->row);
    if (object == NULL) return NULL;
    zeb_json_put(object, "id", json_integer(record->id), whole);
    zeb_json_put(object, "run_id", json_integer(record->run_id), whole);
    zeb_json_put(object, "latest", json_boolean(record->latest), whole);
    zeb_json_put(object, "curve_ns", curve_json(curve, whole), whole);
    return object;
}

static json_t *records_json(const report *r, const zeb_curve *curve, bool *whole) {
    json_t *array = json_array();
    for (size_t i = 0; i < r->count; i++) {
        if (json_array_append_new(array, record_json(&r->record[i], &curve[i], whole)) != 0) *whole = false;
    }
    return array;
}

/* Each run once: its CPU flags alone are longer than a row. */
static json_t *runs_json(const report *r, bool *whole) {
    json_t *array = json_array();
    for (size_t i = 0; i < r->count; i++) {
        const zeb_record *record = &r->record[i];
        if (i > 0 && r->record[i - 1].run_id == record->run_id) continue;
        json_t *object = zeb_run_json(&record->run);
        if (object != NULL) {
            zeb_json_put(object, "id", json_integer(record->run_id), whole);
            zeb_json_put(object, "finished_utc", zeb_json_text_or_null(record->finished_utc), whole);
        }
        if (json_array_append_new(array, object) != 0) *whole = false;
    }
    return array;
}

static zeb_status report_json(const report *r, bool all_curves, json_t **document, zeb_error *error) {
    static const char *const view[] = {"pareto_latency", "pareto_energy", "energy_ranking",
                                       "verdicts",       "trained",       "peak"};
    bool whole = true;
    zeb_curve *curve = NULL;
    zeb_status status = read_curves(r, all_curves, &curve, error);
    if (status != ZEB_OK) return status;
    *document = json_object();
    zeb_json_put(*document, "schema", json_integer(ZEB_SCHEMA), &whole);
    zeb_json_put(*document, "rows", records_json(r, curve, &whole), &whole);
    zeb_json_put(*document, "runs", runs_json(r, &whole), &whole);
    for (size_t i = 0; status == ZEB_OK && i < sizeof view / sizeof view[0]; i++) {
        json_t *array = NULL;
        status = zeb_view_json(r->store, view[i], &array, error);
        if (status == ZEB_OK) zeb_json_put(*document, view[i], array, &whole);
    }
    if (status == ZEB_OK && !whole) status = zeb_fail(error, ZEB_ERR_MEMORY, "no memory to make the report");
    if (status != ZEB_OK) {
        json_decref(*document);
        *document = NULL;
    }
    return status;
}

/* Inside a script element "</script" and "<!--" would end or change it, whatever the JSON: so no "<" is written as it
 * is. Outside of strings JSON has none. */
static void write_escaped(FILE *out, const char *text) {
    for (; *text != '\0'; text++) {
        if (*text == '<' || *text == '>' || *text == '&') {
            (void)fprintf(out, "\\u%04x", (unsigned)*text);
        } else {
            (void)fputc(*text, out);
        }
    }
}

static const char *find(const char *text, const char *end, const char *what) {
    return memmem(text, (size_t)(end - text), what, strlen(what));
}

/* report.html with {{name}} replaced by the resource of that name, {{data}} by the document. */
static zeb_status write_template(FILE *out, const char *data, zeb_error *error) {
    const zeb_resource *page = zeb_template_find("report.html");
    if (page == NULL) return zeb_fail(error, ZEB_ERR_INTERNAL, "the report's template is not built in");
    const char *at = page->data, *end = page->data + page->size;
    for (const char *mark = find(at, end, "{{"); mark != NULL; mark = find(at, end, "{{")) {
        const char *close = find(mark, end, "}}");
        char name[32] = "";
        (void)fwrite(at, 1, (size_t)(mark - at), out);
        if (close == NULL || close - mark - 2 >= (ptrdiff_t)sizeof name) break;
        memcpy(name, mark + 2, (size_t)(close - mark - 2));
        const zeb_resource *part = zeb_template_find(name);
        if (part != NULL) {
            (void)fwrite(part->data, 1, part->size, out);
        } else if (strcmp(name, "data") == 0) {
            write_escaped(out, data);
        } else {
            return zeb_fail(error, ZEB_ERR_INTERNAL, "the report's template names %s, which is not built in", name);
        }
        at = close + 2;
    }
    (void)fwrite(at, 1, (size_t)(end - at), out);
    return ZEB_OK;
}

static zeb_status write_document(const char *database, zeb_row_format format, FILE *out, zeb_error *error) {
    report r;
    json_t *document = NULL;
    char *text = NULL;
    zeb_status status = report_open(database, NULL, &r, error);
    if (status != ZEB_OK) goto done;
    status = report_json(&r, format == ZEB_FORMAT_JSON, &document, error);
    if (status != ZEB_OK) goto done;
    text = json_dumps(document, (format == ZEB_FORMAT_HTML ? JSON_COMPACT : JSON_INDENT(2)) | ZEB_JSON_FLAGS);
    if (text == NULL) {
        status = zeb_fail(error, ZEB_ERR_MEMORY, "no memory to write the report");
    } else if (format == ZEB_FORMAT_HTML) {
        status = write_template(out, text, error);
    } else {
        (void)fprintf(out, "%s\n", text);
    }
done:
    free(text);
    json_decref(document);
    report_close(&r);
    return status;
}

/* ---- Markdown and the rest ------------------------------------------------------------------------------------ */

static void md_fact(FILE *out, const char *name, const char *value) {
    char line[ZEB_ROW_REASON_MAX];
    if (value == NULL || value[0] == '\0') return;
    (void)snprintf(line, sizeof line, "%s", value);
    for (char *c = line; *c != '\0'; c++) {
        if (*c == '`' || (unsigned char)*c < 0x20) *c = ' ';
    }
    (void)fprintf(out, "- %s: `%s`\n", name, line);
}

static void md_provenance(FILE *out, const report *r) {
    for (size_t i = 0; i < r->count; i++) {
        const zeb_record *record = &r->record[i];
        const zeb_run_info *run = &record->run;
        if (i > 0 && r->record[i - 1].run_id == record->run_id) continue;
        (void)fprintf(out, "\n## Run %lld\n\n", (long long)record->run_id);
        md_fact(out, "started", run->started_utc);
        md_fact(out, "zeb", run->zeb_version);
        md_fact(out, "commit", run->zeb_commit);
        md_fact(out, "compiler", run->compiler);
        md_fact(out, "CPU", run->cpu_model);
        md_fact(out, "governor", run->governor);
        md_fact(out, "OS", run->os);
        md_fact(out, "kernel", run->kernel);
        md_fact(out, "model sha256", record->row.model_hash);
        md_fact(out, "data sha256", record->row.data_hash);
    }
}

static zeb_status write_rows(const char *database, zeb_row_format format, FILE *out, zeb_error *error) {
    const zeb_store_filter filter = {.latest_only = true};
    report r;
    const zeb_row **row = NULL;
    zeb_status status = report_open(database, &filter, &r, error);
    if (status == ZEB_OK) status = row_pointers(&r, &row, error);
    if (status == ZEB_OK && format == ZEB_FORMAT_MD) (void)fputs("# zeb report\n\n", out);
    if (status == ZEB_OK) status = zeb_rows_write(out, format, 0, row, r.count, error);
    if (status == ZEB_OK && format == ZEB_FORMAT_MD) {
        (void)fputs("\nEnergy is gross. `~ est` marks estimates, which are not comparable with measurements.\n", out);
        md_provenance(out, &r);
    }
    report_close(&r);
    return status;
}

/* ---- the interface -------------------------------------------------------------------------------------------- */

zeb_status zeb_report_write(const char *database, zeb_row_format format, FILE *out, zeb_error *error) {
    bool document = format == ZEB_FORMAT_HTML || format == ZEB_FORMAT_JSON;
    zeb_status status =
        document ? write_document(database, format, out, error) : write_rows(database, format, out, error);
    if (status != ZEB_OK) return status;
    return fflush(out) == 0 && ferror(out) == 0
               ? ZEB_OK
               : zeb_fail(error, ZEB_ERR_IO, "could not write the report: %s", strerror(errno));
}

typedef struct report_order {
    const char *database;
    zeb_row_format format;
} report_order;

static zeb_status write_report(FILE *out, void *user, zeb_error *error) {
    const report_order *order = user;
    return zeb_report_write(order->database, order->format, out, error);
}

zeb_status zeb_report_save(const char *database, zeb_row_format format, const char *out_path, zeb_error *error) {
    report_order order = {.database = database, .format = format};
    return zeb_file_replace(out_path, write_report, &order, error);
}
