/* Tab-separated files: GLUE's official layouts. */
#include <stdio.h>
#include <string.h>

#include "suites/reader.h"
#include "suites/tsv.h"

/* Positions of the columns; -1 where there is none. */
typedef struct places {
    int a, b, label;
    size_t fields; /* how many columns every row must have */
} places;

static int column_of(const zeb_tsv_row *row, const char *name) {
    for (size_t i = 0; name != NULL && i < row->fields; i++)
        if (strcmp(row->field[i], name) == 0) return (int)i;
    return -1;
}

static zeb_status missing_column(const zeb_reader *reader, const zeb_tsv_row *row, const char *name, zeb_error *error) {
    if (row->fields == 0)
        return zeb_fail(error, ZEB_ERR_FORMAT, "%s:1: the header cannot be read: %s", reader->dataset->path,
                        row->problem);
    return zeb_fail(error, ZEB_ERR_FORMAT, "%s:1: no column \"%s\"; the header has %zu columns, the first is \"%.40s\"",
                    reader->dataset->path, name, row->fields, row->field[0]);
}

/* Where the columns are, from the first line. A file whose first line does not name the text column is one without a
 * header if the task knows such files; *header says whether that line is data. */
static zeb_status find_places(const zeb_reader *reader, const zeb_tsv_row *first, places *at, bool *header,
                              zeb_error *error) {
    const zeb_columns *columns = reader->columns;
    *at = (places){.a = column_of(first, columns->a),
                   .b = column_of(first, columns->b),
                   .label = column_of(first, columns->label),
                   .fields = first->fields};
    *header = at->a >= 0 || columns->columns == 0;
    if (!*header) {
        *at = (places){columns->a_at, -1, columns->label_at, (size_t)columns->columns};
        return ZEB_OK;
    }
    if (at->a < 0) return missing_column(reader, first, columns->a, error);
    if (at->b < 0 && columns->b != NULL) return missing_column(reader, first, columns->b, error);
    if (at->label < 0 && reader->must_be_labelled) return missing_column(reader, first, columns->label, error);
    return ZEB_OK;
}

static bool read_row(const zeb_reader *reader, const places *at, const zeb_tsv_row *row, zeb_example *example,
                     char *problem, size_t capacity) {
    if (row->fields == 0) {
        (void)snprintf(problem, capacity, "%s", row->problem);
        return false;
    }
    if (row->fields != at->fields) {
        (void)snprintf(problem, capacity, "%zu columns where %zu are expected", row->fields, at->fields);
        return false;
    }
    example->a = row->field[at->a];
    example->a_len = row->length[at->a];
    if (at->b >= 0) {
        example->b = row->field[at->b];
        example->b_len = row->length[at->b];
    }
    if (example->a_len == 0 && example->b_len == 0) {
        (void)snprintf(problem, capacity, "no text");
        return false;
    }
    return at->label < 0 || zeb_reader_label(reader->task, row->field[at->label], example, problem, capacity);
}

zeb_status zeb_reader_tsv(zeb_reader *reader, zeb_error *error) {
    zeb_dataset *dataset = reader->dataset;
    zeb_tsv cursor;
    zeb_tsv_row row;
    places at;
    bool header;
    zeb_tsv_start(&cursor, reader->text, reader->size);
    if (!zeb_tsv_next(&cursor, &row)) return zeb_fail(error, ZEB_ERR_FORMAT, "%s: the file is empty", dataset->path);
    zeb_status status = find_places(reader, &row, &at, &header, error);
    if (status != ZEB_OK) return status;
    dataset->labelled = at.label >= 0;
    bool more = header ? zeb_tsv_next(&cursor, &row) : true;
    for (; more && dataset->count < reader->limit; more = zeb_tsv_next(&cursor, &row)) {
        char problem[192];
        zeb_example example = {.label = -1, .index = (int64_t)dataset->rows_read, .group = -1};
        dataset->rows_read++;
        status = read_row(reader, &at, &row, &example, problem, sizeof problem)
                     ? zeb_reader_add(reader, &example, error)
                     : zeb_reader_skip(reader, cursor.line, problem, error);
        if (status != ZEB_OK) return status;
    }
    return ZEB_OK;
}
