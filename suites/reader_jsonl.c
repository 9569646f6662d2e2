/* JSON lines: SuperGLUE's official layout, one record a line. */
#include <stdio.h>
#include <string.h>

#include "suites/shapes.h"
#include "suites/tsv.h"

/* Parses one line; NULL with the reason in problem. jansson refuses invalid UTF-8 and NUL in texts itself. */
static json_t *parse_line(const char *line, size_t length, char *problem, size_t capacity) {
    json_error_t about;
    json_t *root = json_loadb(line, length, JSON_REJECT_DUPLICATES, &about);
    if (root == NULL) {
        (void)snprintf(problem, capacity, "column %d: %.120s", about.column, about.text);
    } else if (!json_is_object(root)) {
        (void)snprintf(problem, capacity, "not a JSON object");
        json_decref(root);
        root = NULL;
    }
    return root;
}

/* Reads one record whole or not at all. */
static zeb_status read_record(zeb_reader *reader, const json_t *root, uint64_t line, zeb_error *error) {
    zeb_dataset *dataset = reader->dataset;
    size_t before = dataset->count;
    zeb_entry record = {.reader = reader, .root = root, .first = before, .error = error};
    /* The first record says whether the file has labels; the ones after it must agree. */
    if (before == 0)
        dataset->labelled = reader->must_be_labelled || zeb_shape_has_label(reader->task, reader->columns, root);
    zeb_status status = zeb_shape_read(&record);
    if (status != ZEB_OK) return status;
    if (record.problem[0] == '\0' && dataset->count == before)
        (void)snprintf(record.problem, sizeof record.problem, "no examples in it");
    if (record.problem[0] == '\0') return ZEB_OK;
    dataset->count = before;
    return zeb_reader_skip(reader, line, record.problem, error);
}

zeb_status zeb_reader_jsonl(zeb_reader *reader, zeb_error *error) {
    zeb_dataset *dataset = reader->dataset;
    zeb_tsv cursor;
    char *line, problem[192];
    size_t length;
    zeb_tsv_start(&cursor, reader->text, reader->size);
    if (cursor.at == cursor.size) return zeb_fail(error, ZEB_ERR_FORMAT, "%s: the file is empty", dataset->path);
    while (dataset->count < reader->limit && zeb_tsv_line(&cursor, &line, &length, problem)) {
        dataset->rows_read++;
        json_t *root = problem[0] == '\0' ? parse_line(line, length, problem, sizeof problem) : NULL;
        zeb_status status = root != NULL ? read_record(reader, root, cursor.line, error)
                                         : zeb_reader_skip(reader, cursor.line, problem, error);
        json_decref(root);
        if (status != ZEB_OK) return status;
    }
    return ZEB_OK;
}
