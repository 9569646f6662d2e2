#include "store/table.h"

#include <stdlib.h>
#include <string.h>

#include "base/text.h"

static zeb_status make_all(const zeb_row *const *row, size_t count, zeb_cells **cells, zeb_error *error) {
    *cells = calloc(count > 0 ? count : 1, sizeof **cells);
    if (*cells == NULL) return zeb_fail(error, ZEB_ERR_MEMORY, "no memory to write a table of %zu rows", count);
    for (size_t i = 0; i < count; i++)
        zeb_cells_make(row[i], &(*cells)[i]);
    return ZEB_OK;
}

static bool all_agree(const zeb_cells *cells, size_t count, int column) {
    for (size_t i = 1; i < count; i++) {
        if (strcmp(cells[0].text[column], cells[i].text[column]) != 0) return false;
    }
    return count > 0;
}

static size_t column_width(const zeb_cells *cells, size_t count, int column) {
    size_t width = zeb_text_width(zeb_cell_columns[column].title);
    for (size_t i = 0; i < count; i++) {
        size_t w = zeb_text_width(cells[i].text[column]);
        width = w > width ? w : width;
    }
    return width;
}

static void pad(FILE *out, size_t count) {
    while (count-- > 0)
        (void)fputc(' ', out);
}

static const char *cell_colour(bool colour, int column, const char *text) {
    if (!colour || column != ZEB_CELL_VERDICT) return "";
    if (strcmp(text, "ok") == 0) return "\033[32m";
    return strcmp(text, "unsupported") == 0 || strcmp(text, "interrupted") == 0 ? "\033[33m" : "\033[31m";
}

static void write_cell(FILE *out, bool colour, int column, size_t width, bool last, const char *text) {
    size_t blanks = width - zeb_text_width(text);
    const char *start = cell_colour(colour, column, text);
    if (zeb_cell_columns[column].number) pad(out, blanks);
    (void)fprintf(out, "%s%s%s", start, text, start[0] != '\0' ? "\033[0m" : "");
    if (!zeb_cell_columns[column].number && !last) pad(out, blanks);
    (void)fputs(last ? "\n" : "  ", out);
}

/* "cpu x4: failed: reason" for every row that isn't ok, warnings for those that were disturbed or not given all of
 * their data, what to know of an energy, then what a mark means. */
static void write_remarks(FILE *out, const zeb_row *const *row, const zeb_cells *cells, size_t count) {
    bool estimated = false;
    for (size_t i = 0; i < count; i++) {
        const zeb_row *r = row[i];
        char line[ZEB_ROW_REASON_MAX];
        estimated = estimated || (r->energy.valid && r->energy.kind == ZEB_ROW_ENERGY_ESTIMATED);
        if (zeb_row_disturbances(r, line, sizeof line))
            (void)fprintf(out, "%s, %s: warning: disturbed while it was measured (%s); its times are too long\n",
                          cells[i].text[ZEB_CELL_TASK], cells[i].text[ZEB_CELL_DEVICE], line);
        if (r->rows_skipped.has && r->rows_skipped.value > 0)
            (void)fprintf(out, "%s, %s: warning: %llu of %llu rows could not be read; the score is of the others\n",
                          cells[i].text[ZEB_CELL_TASK], cells[i].text[ZEB_CELL_DEVICE],
                          (unsigned long long)r->rows_skipped.value, (unsigned long long)r->rows_read.value);
        zeb_cell_line(line, sizeof line, r->energy.note);
        if (line[0] != '\0')
            (void)fprintf(out, "%s, %s: energy: %s\n", cells[i].text[ZEB_CELL_TASK], cells[i].text[ZEB_CELL_DEVICE],
                          line);
        if (r->outcome == ZEB_OUTCOME_OK) continue;
        zeb_cell_line(line, sizeof line, r->reason);
        (void)fprintf(out, "%s, %s: %s: %s\n", cells[i].text[ZEB_CELL_TASK], cells[i].text[ZEB_CELL_DEVICE],
                      cells[i].text[ZEB_CELL_VERDICT], line);
    }
    if (estimated) (void)fputs("~ est: an estimate, not a measurement; not comparable with measured energy\n", out);
}

static void write_common(FILE *out, const bool *hoisted, const zeb_cells *cells) {
    const char *separator = "";
    for (int c = 0; c < ZEB_CELL_COUNT; c++) {
        if (!hoisted[c] || strcmp(cells[0].text[c], "-") == 0) continue;
        (void)fprintf(out, "%s%s %s", separator, zeb_cell_columns[c].title, cells[0].text[c]);
        separator = ", ";
    }
    if (separator[0] != '\0') (void)fputs("\n\n", out);
}

zeb_status zeb_table_write(FILE *out, bool colour, const zeb_row *const *row, size_t count, zeb_error *error) {
    zeb_cells *cells = NULL;
    bool hoisted[ZEB_CELL_COUNT];
    size_t width[ZEB_CELL_COUNT];
    zeb_status status = make_all(row, count, &cells, error);
    if (status != ZEB_OK) return status;
    for (int c = 0; c < ZEB_CELL_COUNT; c++) {
        hoisted[c] = zeb_cell_columns[c].common && all_agree(cells, count, c);
        width[c] = column_width(cells, count, c);
    }
    if (count == 0) {
        (void)fputs("no rows\n", out);
    } else {
        write_common(out, hoisted, cells);
        for (int c = 0; c < ZEB_CELL_COUNT; c++) {
            if (!hoisted[c]) write_cell(out, false, c, width[c], c + 1 == ZEB_CELL_COUNT, zeb_cell_columns[c].title);
        }
        for (size_t i = 0; i < count; i++) {
            for (int c = 0; c < ZEB_CELL_COUNT; c++) {
                if (!hoisted[c]) write_cell(out, colour, c, width[c], c + 1 == ZEB_CELL_COUNT, cells[i].text[c]);
            }
        }
        write_remarks(out, row, cells, count);
    }
    free(cells);
    return ZEB_OK;
}

/* ---- Markdown ------------------------------------------------------------------------------------------------- */

static void md_text(FILE *out, const char *text) {
    for (; *text != '\0'; text++) {
        if (strchr("|\\`*_<>[]~", *text) != NULL) (void)fputc('\\', out);
        (void)fputc(*text, out);
    }
}

zeb_status zeb_table_write_md(FILE *out, const zeb_row *const *row, size_t count, zeb_error *error) {
    zeb_cells *cells = NULL;
    zeb_status status = make_all(row, count, &cells, error);
    if (status != ZEB_OK) return status;
    for (int c = 0; c < ZEB_CELL_COUNT; c++)
        (void)fprintf(out, "| %s ", zeb_cell_columns[c].title);
    (void)fputs("|\n", out);
    for (int c = 0; c < ZEB_CELL_COUNT; c++)
        (void)fputs(zeb_cell_columns[c].number ? "| ---: " : "| --- ", out);
    (void)fputs("|\n", out);
    for (size_t i = 0; i < count; i++) {
        for (int c = 0; c < ZEB_CELL_COUNT; c++) {
            (void)fputs("| ", out);
            md_text(out, cells[i].text[c]);
            (void)fputc(' ', out);
            const char *aside = c == ZEB_CELL_VERDICT  ? row[i]->reason
                                : c == ZEB_CELL_ENERGY ? row[i]->energy.note
                                                       : "";
            if (aside[0] == '\0') continue;
            char line[ZEB_ROW_REASON_MAX];
            zeb_cell_line(line, sizeof line, aside);
            (void)fputs("(", out);
            md_text(out, line);
            (void)fputc(')', out);
            (void)fputc(' ', out);
        }
        (void)fputs("|\n", out);
    }
    free(cells);
    return ZEB_OK;
}
