#include "suites/tsv.h"

#include <stdio.h>
#include <string.h>

#include "base/text.h"

void zeb_tsv_start(zeb_tsv *cursor, char *text, size_t size) {
    bool mark = size >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0;
    *cursor = (zeb_tsv){.text = text, .size = size, .at = mark ? 3 : 0};
}

/* Why these bytes can be no row, or an empty text. Looked at before they are cut, so that offsets are those of the
 * line. */
static void line_problem(const char *line, size_t length, char *problem) {
    const size_t capacity = ZEB_TSV_PROBLEM_MAX;
    size_t bad = 0;
    const char *nul = memchr(line, '\0', length);
    problem[0] = '\0';
    if (length == 0) {
        (void)snprintf(problem, capacity, "empty line");
    } else if (length > ZEB_TSV_LINE_MAX) {
        (void)snprintf(problem, capacity, "a line of %zu bytes; %d are allowed", length, ZEB_TSV_LINE_MAX);
    } else if (nul != NULL) {
        (void)snprintf(problem, capacity, "NUL byte at column %zu", (size_t)(nul - line) + 1);
    } else if (!zeb_text_utf8_valid(line, length, &bad)) {
        (void)snprintf(problem, capacity, "byte 0x%02x at column %zu is not UTF-8", (unsigned)(unsigned char)line[bad],
                       bad + 1);
    }
}

static void split_fields(char *line, size_t length, zeb_tsv_row *row) {
    char *end = line + length;
    for (char *start = line;; row->fields++) {
        if (row->fields == ZEB_TSV_FIELDS_MAX) {
            row->fields = 0;
            (void)snprintf(row->problem, sizeof row->problem, "more than %d columns", ZEB_TSV_FIELDS_MAX);
            return;
        }
        char *tab = memchr(start, '\t', (size_t)(end - start));
        row->field[row->fields] = start;
        row->length[row->fields] = (size_t)((tab != NULL ? tab : end) - start);
        if (tab == NULL) break;
        *tab = '\0';
        start = tab + 1;
    }
    row->fields++;
}

bool zeb_tsv_line(zeb_tsv *cursor, char **line, size_t *length, char *problem) {
    if (cursor->at >= cursor->size) return false;
    *line = cursor->text + cursor->at;
    char *feed = memchr(*line, '\n', cursor->size - cursor->at);
    *length = feed != NULL ? (size_t)(feed - *line) : cursor->size - cursor->at;
    cursor->at += *length + (feed != NULL);
    cursor->line++;
    if (*length > 0 && (*line)[*length - 1] == '\r') --*length;
    line_problem(*line, *length, problem);
    if (problem[0] == '\0') (*line)[*length] = '\0';
    return true;
}

bool zeb_tsv_next(zeb_tsv *cursor, zeb_tsv_row *row) {
    char *line;
    size_t length;
    row->fields = 0;
    if (!zeb_tsv_line(cursor, &line, &length, row->problem)) return false;
    if (row->problem[0] == '\0') split_fields(line, length, row);
    return true;
}
