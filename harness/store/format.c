#include "store/format.h"

#include <stdlib.h>
#include <string.h>

#include "store/json.h"
#include "store/table.h"

zeb_row_format zeb_row_format_find(const char *name) {
    static const char *const names[] = {
        [ZEB_FORMAT_TABLE] = "table", [ZEB_FORMAT_MD] = "md",       [ZEB_FORMAT_CSV] = "csv",
        [ZEB_FORMAT_JSON] = "json",   [ZEB_FORMAT_JSONL] = "jsonl", [ZEB_FORMAT_HTML] = "html",
    };
    for (size_t i = ZEB_FORMAT_TABLE; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(name, names[i]) == 0) return (zeb_row_format)i;
    }
    return ZEB_FORMAT_NONE;
}

/* ---- JSON ----------------------------------------------------------------------------------------------------- */

static zeb_status no_memory(zeb_error *error) {
    return zeb_fail(error, ZEB_ERR_MEMORY, "no memory to write rows");
}

static zeb_status write_jsonl(FILE *out, const zeb_row *const *row, size_t count, zeb_error *error) {
    for (size_t i = 0; i < count; i++) {
        json_t *object = zeb_row_json(row[i]);
        if (object == NULL) return no_memory(error);
        char *text = json_dumps(object, JSON_COMPACT | ZEB_JSON_FLAGS);
        json_decref(object);
        if (text == NULL) return no_memory(error);
        (void)fprintf(out, "%s\n", text); /* one call: lines of several writers don't mix */
        free(text);
    }
    return ZEB_OK;
}

static zeb_status write_json(FILE *out, const zeb_row *const *row, size_t count, zeb_error *error) {
    json_t *array = json_array();
    bool whole = array != NULL;
    for (size_t i = 0; whole && i < count; i++)
        whole = json_array_append_new(array, zeb_row_json(row[i])) == 0;
    if (whole && json_dumpf(array, out, JSON_INDENT(2) | ZEB_JSON_FLAGS) == 0) (void)fputc('\n', out);
    json_decref(array);
    return whole ? ZEB_OK : no_memory(error);
}

/* ---- CSV ------------------------------------------------------------------------------------------------------ */

static void csv_text(FILE *out, const char *text) {
    if (strpbrk(text, ",\"\r\n") == NULL) {
        (void)fputs(text, out);
        return;
    }
    (void)fputc('"', out);
    for (; *text != '\0'; text++) {
        if (*text == '"') (void)fputc('"', out);
        (void)fputc(*text, out);
    }
    (void)fputc('"', out);
}

static void csv_value(FILE *out, zeb_value value) {
    switch (value.kind) {
        case ZEB_VALUE_NULL: break;
        case ZEB_VALUE_INT: (void)fprintf(out, "%lld", (long long)value.integer); break;
        case ZEB_VALUE_REAL: (void)fprintf(out, "%.15g", value.real); break;
        case ZEB_VALUE_TEXT: csv_text(out, value.text); break;
    }
}

/* The parts of a row that become columns, with the prefix of their names. */
typedef struct csv_part {
    zeb_table_id table;
    const char *prefix;
    const void *record;
} csv_part;

enum { CSV_PARTS = 6 };

static void csv_parts(const zeb_row *row, const zeb_row_metric *none, csv_part part[CSV_PARTS]) {
    const void *headline = row->metric_count > 0 ? row->metric : none;
    const csv_part all[CSV_PARTS] = {{ZEB_TABLE_ROW, "", row},
                                     {ZEB_TABLE_METRIC, "metric_", headline},
                                     {ZEB_TABLE_SETTINGS, "requested_", &row->requested},
                                     {ZEB_TABLE_SETTINGS, "effective_", &row->effective},
                                     {ZEB_TABLE_ENERGY, "energy_", &row->energy},
                                     {ZEB_TABLE_CARBON, "carbon_", &row->carbon}};
    memcpy(part, all, sizeof all);
}

static void csv_header(FILE *out) {
    static const zeb_row empty;
    csv_part part[CSV_PARTS];
    csv_parts(&empty, NULL, part);
    (void)fputs("schema", out);
    for (int p = 0; p < CSV_PARTS; p++) {
        const zeb_table *table = zeb_table_get(part[p].table);
        for (size_t i = 0; i < table->column_count; i++) {
            (void)fprintf(out, ",%s%s", part[p].prefix, table->column[i].name);
        }
    }
    (void)fputs(",flags\r\n", out);
}

static void csv_row(FILE *out, const zeb_row *row) {
    const zeb_row_metric none = {.name = ""};
    csv_part part[CSV_PARTS];
    csv_parts(row, &none, part);
    (void)fprintf(out, "%d", ZEB_SCHEMA);
    for (int p = 0; p < CSV_PARTS; p++) {
        const zeb_table *table = zeb_table_get(part[p].table);
        bool absent = part[p].table == ZEB_TABLE_METRIC && row->metric_count == 0;
        for (size_t i = 0; i < table->column_count; i++) {
            (void)fputc(',', out);
            if (!absent) csv_value(out, zeb_column_get(&table->column[i], part[p].record));
        }
    }
    (void)fputc(',', out);
    for (size_t i = 0; i < row->flag_count; i++)
        (void)fprintf(out, "%s%s", i > 0 ? ";" : "", row->flag[i]);
    (void)fputs("\r\n", out);
}

/* ---- all ------------------------------------------------------------------------------------------------------ */

zeb_status zeb_rows_write(FILE *out, zeb_row_format format, unsigned options, const zeb_row *const *row, size_t count,
                          zeb_error *error) {
    zeb_status status = ZEB_OK;
    switch (format) {
        case ZEB_FORMAT_TABLE:
            status = zeb_table_write(out, (options & ZEB_WRITE_COLOUR) != 0, row, count, error);
            break;
        case ZEB_FORMAT_MD: status = zeb_table_write_md(out, row, count, error); break;
        case ZEB_FORMAT_CSV:
            if ((options & ZEB_WRITE_NO_HEADER) == 0) csv_header(out);
            for (size_t i = 0; i < count; i++)
                csv_row(out, row[i]);
            break;
        case ZEB_FORMAT_JSON: status = write_json(out, row, count, error); break;
        case ZEB_FORMAT_JSONL: status = write_jsonl(out, row, count, error); break;
        default: return zeb_fail(error, ZEB_ERR_ARGUMENT, "rows can't be written in this format");
    }
    if (status == ZEB_OK && ferror(out) != 0) return zeb_fail(error, ZEB_ERR_IO, "could not write the rows");
    return status;
}
