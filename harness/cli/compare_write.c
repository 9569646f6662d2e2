#include "cli/compare_write.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "cli/compare_parts.h"

/* ---- cells ----------------------------------------------------------------------------------------------------------
 */

enum { CELL_MAX = 160 };

typedef enum column {
    COLUMN_VERDICT,
    COLUMN_MODEL,
    COLUMN_TASK,
    COLUMN_DEVICE,
    COLUMN_PRECISION,
    COLUMN_POLICY,
    COLUMN_SCENARIO,
    COLUMN_P50,
    COLUMN_RATIO,
    COLUMN_P,
    COLUMN_SCORE,
    COLUMN_ENERGY,
    COLUMN_MEMORY,
    COLUMN_ROWS,
    COLUMNS
} column;

static const struct {
    const char *title;
    bool common; /* above the table where all cases agree */
} columns[COLUMNS] = {
    [COLUMN_VERDICT] = {"verdict", false},
    [COLUMN_MODEL] = {"model", true},
    [COLUMN_TASK] = {"task", true},
    [COLUMN_DEVICE] = {"device", false},
    [COLUMN_PRECISION] = {"precision", true},
    [COLUMN_POLICY] = {"policy", true},
    [COLUMN_SCENARIO] = {"scenario", true},
    [COLUMN_P50] = {"p50", false},
    [COLUMN_RATIO] = {"ratio [95 % interval]", false},
    [COLUMN_P] = {"p", false},
    [COLUMN_SCORE] = {"score [95 % interval]", false},
    [COLUMN_ENERGY] = {"energy/query", false},
    [COLUMN_MEMORY] = {"peak memory", false},
    [COLUMN_ROWS] = {"rows", false},
};

typedef struct line {
    char text[COLUMNS][CELL_MAX];
} line;

/* "1.23 ms": in the largest unit, `step` of the next smaller, of which there is at least one. */
static void amount(char *to, size_t capacity, double value, double step, const char *const *unit) {
    while (unit[1] != NULL && fabs(value) >= step * 0.9995) {
        value /= step;
        unit++;
    }
    (void)snprintf(to, capacity, "%.*f %s", fabs(value) < 9.995 ? 2 : fabs(value) < 99.95 ? 1 : 0, value, *unit);
}

typedef struct sides {
    char then[64], now[64];
} sides;

static void arrow(char *to, const sides *s) {
    if (s->then[0] == '\0' && s->now[0] == '\0') return;
    (void)snprintf(to, CELL_MAX, "%s -> %s", s->then[0] != '\0' ? s->then : "-", s->now[0] != '\0' ? s->now : "-");
}

static void p50_text(char *to, size_t capacity, const zeb_row *row) {
    static const char *const unit[] = {"ns", "us", "ms", "s", NULL};
    if (row != NULL && row->latency.p50.value.has) amount(to, capacity, row->latency.p50.value.value, 1000, unit);
}

static void memory_text(char *to, size_t capacity, const zeb_row *row) {
    static const char *const unit[] = {"B", "KiB", "MiB", "GiB", NULL};
    if (row != NULL && row->peak_rss_bytes.has) amount(to, capacity, (double)row->peak_rss_bytes.value, 1024, unit);
}

static void energy_text(char *to, size_t capacity, const zeb_row *row) {
    static const char *const unit[] = {"uJ", "mJ", "J", "kJ", NULL};
    zeb_maybe_f64 uj = zeb_compare_energy(row);
    if (uj.has) amount(to, capacity, uj.value, 1000, unit);
}

static void score_text(char *to, size_t capacity, const zeb_row_metric *m) {
    if (m == NULL) return;
    if (!m->value.has)
        (void)snprintf(to, capacity, "not defined");
    else if (m->lo.has && m->hi.has)
        (void)snprintf(to, capacity, "%.2f [%.2f, %.2f]", 100 * m->value.value, 100 * m->lo.value, 100 * m->hi.value);
    else
        (void)snprintf(to, capacity, "%.2f", 100 * m->value.value);
}

static void score_cell(char *to, const zeb_row *then, const zeb_row *now) {
    const zeb_row_metric *a = zeb_compare_headline(then), *b = zeb_compare_headline(now);
    sides s = {{0}, {0}};
    char both[CELL_MAX] = "-";
    score_text(s.then, sizeof s.then, a);
    score_text(s.now, sizeof s.now, b);
    if (a == NULL && b == NULL) return;
    arrow(both, &s);
    (void)snprintf(to, CELL_MAX, "%.31s %.120s", b != NULL ? b->name : a->name,
                   strcmp(s.then, s.now) == 0 ? s.now : both);
}

static void rows_text(char *to, const zeb_change *c) {
    sides s = {{0}, {0}};
    if (c->then != NULL) (void)snprintf(s.then, sizeof s.then, "%lld", (long long)c->then->id);
    if (c->now != NULL) (void)snprintf(s.now, sizeof s.now, "%lld", (long long)c->now->id);
    arrow(to, &s);
}

static void keep_text(char *to, const char *text) {
    if (text[0] != '\0') zeb_text_copy(to, CELL_MAX, text);
}

static void make_line(const zeb_change *c, line *l) {
    const zeb_row *row = &zeb_compare_record(c)->row, *then = zeb_compare_ok(c->then), *now = zeb_compare_ok(c->now);
    sides p50 = {{0}, {0}}, energy = {{0}, {0}}, memory = {{0}, {0}};
    for (int i = 0; i < COLUMNS; i++)
        zeb_text_copy(l->text[i], CELL_MAX, "-");
    keep_text(l->text[COLUMN_VERDICT], zeb_change_name(c->kind));
    keep_text(l->text[COLUMN_MODEL], row->model);
    keep_text(l->text[COLUMN_TASK], row->task);
    keep_text(l->text[COLUMN_PRECISION], zeb_change_precision(row));
    keep_text(l->text[COLUMN_POLICY], row->policy);
    keep_text(l->text[COLUMN_SCENARIO], row->scenario);
    zeb_compare_device(l->text[COLUMN_DEVICE], CELL_MAX, c);
    p50_text(p50.then, sizeof p50.then, then);
    p50_text(p50.now, sizeof p50.now, now);
    arrow(l->text[COLUMN_P50], &p50);
    if (c->has_ratio) {
        (void)snprintf(l->text[COLUMN_RATIO], CELL_MAX, "%.3f [%.3f, %.3f]", c->ratio.value, c->ratio.lo, c->ratio.hi);
        zeb_compare_p(l->text[COLUMN_P], CELL_MAX, c->comparable ? c->time_holm : c->time_p);
    }
    score_cell(l->text[COLUMN_SCORE], then, now);
    energy_text(energy.then, sizeof energy.then, then);
    energy_text(energy.now, sizeof energy.now, now);
    arrow(l->text[COLUMN_ENERGY], &energy);
    memory_text(memory.then, sizeof memory.then, then);
    memory_text(memory.now, sizeof memory.now, now);
    arrow(l->text[COLUMN_MEMORY], &memory);
    rows_text(l->text[COLUMN_ROWS], c);
    for (int i = 0; i < COLUMNS; i++)
        zeb_compare_plain(l->text[i]);
}

static zeb_status make_lines(const zeb_changes *changes, line **lines, bool hoisted[COLUMNS], zeb_error *error) {
    *lines = calloc(changes->count > 0 ? changes->count : 1, sizeof **lines);
    if (*lines == NULL) return zeb_fail(error, ZEB_ERR_MEMORY, "no memory for a table of %zu cases", changes->count);
    for (size_t i = 0; i < changes->count; i++)
        make_line(&changes->change[i], &(*lines)[i]);
    for (int c = 0; c < COLUMNS; c++) {
        hoisted[c] = columns[c].common && changes->count > 0;
        for (size_t i = 1; i < changes->count; i++)
            if (strcmp((*lines)[0].text[c], (*lines)[i].text[c]) != 0) hoisted[c] = false;
    }
    return ZEB_OK;
}

static void write_title(FILE *out, const zeb_changes *changes) {
    (void)fprintf(out, "run %lld of %s against ", (long long)changes->run.id, changes->run.info.started_utc);
    if (changes->base != NULL)
        (void)fprintf(out, "run %lld of %s\n", (long long)changes->base->id, changes->base->info.started_utc);
    else
        (void)fputs("the newest earlier row of each case\n", out);
}

static void write_common(FILE *out, const bool *hoisted, const line *lines) {
    const char *separator = "";
    for (int c = 0; c < COLUMNS; c++) {
        if (!hoisted[c] || strcmp(lines[0].text[c], "-") == 0) continue;
        (void)fprintf(out, "%s%s %s", separator, columns[c].title, lines[0].text[c]);
        separator = ", ";
    }
    if (separator[0] != '\0') (void)fputs("\n", out);
    (void)fputs("\n", out);
}

static void write_tally(FILE *out, const zeb_changes *changes) {
    const char *separator = "";
    for (int k = ZEB_CHANGE_KINDS; k-- > 0;) {
        if (changes->tally[k] == 0) continue;
        (void)fprintf(out, "%s%zu %s", separator, changes->tally[k], zeb_change_name((zeb_change_kind)k));
        separator = ", ";
    }
    (void)fputs(separator[0] != '\0' ? "\n" : "no cases\n", out);
}

/* ---- tables ---------------------------------------------------------------------------------------------------------
 */

static const char *colour_of(zeb_change_kind kind) {
    if (zeb_change_is_loss(kind)) return "\033[31m";
    return kind == ZEB_CHANGE_NEVER_OK ? "\033[33m" : kind == ZEB_CHANGE_SAME ? "" : "\033[32m";
}

static void write_cells(FILE *out, const line *l, const bool *hoisted, const size_t *width, const char *colour) {
    for (int c = 0; c < COLUMNS; c++) {
        const char *text = l != NULL ? l->text[c] : columns[c].title;
        bool coloured = c == COLUMN_VERDICT && colour[0] != '\0';
        if (hoisted[c]) continue;
        (void)fprintf(out, "%s%s%s", coloured ? colour : "", text, coloured ? "\033[0m" : "");
        for (size_t blank = zeb_text_width(text); blank < width[c] + 2 && c + 1 < COLUMNS; blank++)
            (void)fputc(' ', out);
    }
    (void)fputc('\n', out);
}

static zeb_status written(FILE *out, zeb_error *error) {
    return ferror(out) == 0 ? ZEB_OK : zeb_fail(error, ZEB_ERR_IO, "could not write the comparison");
}

zeb_status zeb_compare_write_table(FILE *out, bool colour, const zeb_changes *changes, zeb_error *error) {
    line *lines = NULL;
    bool hoisted[COLUMNS];
    size_t width[COLUMNS];
    zeb_status status = make_lines(changes, &lines, hoisted, error);
    if (status != ZEB_OK) return status;
    for (int c = 0; c < COLUMNS; c++) {
        width[c] = zeb_text_width(columns[c].title);
        for (size_t i = 0; i < changes->count; i++) {
            size_t w = zeb_text_width(lines[i].text[c]);
            width[c] = w > width[c] ? w : width[c];
        }
    }
    write_title(out, changes);
    if (changes->count > 0) {
        write_common(out, hoisted, lines);
        write_cells(out, NULL, hoisted, width, "");
    }
    for (size_t i = 0; i < changes->count; i++)
        write_cells(out, &lines[i], hoisted, width, colour ? colour_of(changes->change[i].kind) : "");
    zeb_compare_remarks(out, changes);
    write_tally(out, changes);
    free(lines);
    return written(out, error);
}

static void md_text(FILE *out, const char *text) {
    for (; *text != '\0'; text++) {
        if (strchr("|\\`*_<[]~", *text) != NULL) (void)fputc('\\', out);
        (void)fputc(*text, out);
    }
}

zeb_status zeb_compare_write_md(FILE *out, const zeb_changes *changes, zeb_error *error) {
    line *lines = NULL;
    char *remarks = NULL;
    size_t size = 0;
    bool hoisted[COLUMNS];
    zeb_status status = make_lines(changes, &lines, hoisted, error);
    if (status != ZEB_OK) return status;
    write_title(out, changes);
    (void)fputc('\n', out);
    for (int c = 0; c < COLUMNS; c++)
        (void)fprintf(out, "| %s ", columns[c].title);
    (void)fputs("|\n", out);
    for (int c = 0; c < COLUMNS; c++)
        (void)fputs("| --- ", out);
    (void)fputs("|\n", out);
    for (size_t i = 0; i < changes->count; i++) {
        for (int c = 0; c < COLUMNS; c++) {
            (void)fputs("| ", out);
            md_text(out, lines[i].text[c]);
            (void)fputc(' ', out);
        }
        (void)fputs("|\n", out);
    }
    FILE *memory = open_memstream(&remarks, &size);
    if (memory != NULL) zeb_compare_remarks(memory, changes);
    free(lines);
    if (memory == NULL || fclose(memory) != 0) {
        free(remarks);
        return zeb_fail(error, ZEB_ERR_MEMORY, "no memory for the remarks of %zu cases", changes->count);
    }
    (void)fputc('\n', out);
    for (char *at = remarks, *end; *at != '\0'; at = end + 1) {
        end = strchr(at, '\n');
        *end = '\0';
        (void)fputs("- ", out);
        md_text(out, at);
        (void)fputc('\n', out);
    }
    free(remarks);
    if (size > 0) (void)fputc('\n', out);
    write_tally(out, changes);
    return written(out, error);
}
