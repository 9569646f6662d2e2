#include "cli/compare_write.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

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

/* Names come from files and plugins: one line, no control characters. */
static void plain(char *text) {
    for (; *text != '\0'; text++)
        if ((unsigned char)*text < 0x20 || *text == 0x7f) *text = ' ';
}

static size_t width_of(const char *text) {
    size_t width = 0;
    for (; *text != '\0'; text++)
        width += ((unsigned char)*text & 0xC0u) != 0x80u;
    return width;
}

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

static const zeb_row *ok_row(const zeb_record *record) {
    return record != NULL && record->row.outcome == ZEB_OUTCOME_OK ? &record->row : NULL;
}

static void p50_text(char *to, size_t capacity, const zeb_row *row) {
    static const char *const unit[] = {"ns", "us", "ms", "s", NULL};
    if (row != NULL && row->latency.p50.value.has) amount(to, capacity, row->latency.p50.value.value, 1000, unit);
}

static void memory_text(char *to, size_t capacity, const zeb_row *row) {
    static const char *const unit[] = {"B", "KiB", "MiB", "GiB", NULL};
    if (row != NULL && row->peak_rss_bytes.has) amount(to, capacity, (double)row->peak_rss_bytes.value, 1024, unit);
}

/* Microjoules a query, measured; an estimate is no measurement, and a change of one says nothing. */
static zeb_maybe_f64 energy_of(const zeb_row *row) {
    if (row == NULL || !row->energy.valid || row->energy.kind != ZEB_ROW_ENERGY_MEASURED || !row->energy.gross_uj.has ||
        !row->energy.examples.has || row->energy.examples.value == 0)
        return (zeb_maybe_f64){0};
    return zeb_f64((double)row->energy.gross_uj.value / (double)row->energy.examples.value);
}

static void energy_text(char *to, size_t capacity, const zeb_row *row) {
    static const char *const unit[] = {"uJ", "mJ", "J", "kJ", NULL};
    zeb_maybe_f64 uj = energy_of(row);
    if (uj.has) amount(to, capacity, uj.value, 1000, unit);
}

static const zeb_row_metric *headline(const zeb_row *row) {
    return row != NULL && row->metric_count > 0 ? &row->metric[0] : NULL;
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
    const zeb_row_metric *a = headline(then), *b = headline(now);
    sides s = {{0}, {0}};
    char both[CELL_MAX] = "-";
    score_text(s.then, sizeof s.then, a);
    score_text(s.now, sizeof s.now, b);
    if (a == NULL && b == NULL) return;
    arrow(both, &s);
    (void)snprintf(to, CELL_MAX, "%.31s %.120s", b != NULL ? b->name : a->name,
                   strcmp(s.then, s.now) == 0 ? s.now : both);
}

static void p_text(char *to, size_t capacity, double p) {
    (void)snprintf(to, capacity, p < 1e-6 ? "< 1e-6" : "%.2g", p);
}

static const zeb_record *of_case(const zeb_change *c) {
    return c->now != NULL ? c->now : c->then;
}

/* "cpu x4", "cuda:1"; of a device that did not open, what it was before. */
static void device_text(char *to, const zeb_change *c) {
    const zeb_row *row = &of_case(c)->row;
    const char *id = row->device;
    char threads[32] = "";
    if (id[0] == '\0' && c->then != NULL) id = c->then->row.device;
    bool simple = id[0] == '\0' || strcmp(id, "0") == 0 || strcmp(id, row->backend) == 0;
    if (row->effective.threads.has)
        (void)snprintf(threads, sizeof threads, " x%lld", (long long)row->effective.threads.value);
    (void)snprintf(to, CELL_MAX, "%s%s%s%s", row->backend, simple ? "" : ":", simple ? "" : id, threads);
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

static const char *precision_of(const zeb_row *row) {
    return row->requested.precision[0] != '\0' ? row->requested.precision : row->precision;
}

static void make_line(const zeb_change *c, line *l) {
    const zeb_row *row = &of_case(c)->row, *then = ok_row(c->then), *now = ok_row(c->now);
    sides p50 = {{0}, {0}}, energy = {{0}, {0}}, memory = {{0}, {0}};
    for (int i = 0; i < COLUMNS; i++)
        zeb_text_copy(l->text[i], CELL_MAX, "-");
    keep_text(l->text[COLUMN_VERDICT], zeb_change_name(c->kind));
    keep_text(l->text[COLUMN_MODEL], row->model);
    keep_text(l->text[COLUMN_TASK], row->task);
    keep_text(l->text[COLUMN_PRECISION], precision_of(row));
    keep_text(l->text[COLUMN_POLICY], row->policy);
    keep_text(l->text[COLUMN_SCENARIO], row->scenario);
    device_text(l->text[COLUMN_DEVICE], c);
    p50_text(p50.then, sizeof p50.then, then);
    p50_text(p50.now, sizeof p50.now, now);
    arrow(l->text[COLUMN_P50], &p50);
    if (c->has_ratio) {
        (void)snprintf(l->text[COLUMN_RATIO], CELL_MAX, "%.3f [%.3f, %.3f]", c->ratio.value, c->ratio.lo, c->ratio.hi);
        p_text(l->text[COLUMN_P], CELL_MAX, c->comparable ? c->time_holm : c->time_p);
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
        plain(l->text[i]);
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

/* ---- what is to be said ---------------------------------------------------------------------------------------------
 */

typedef struct difference_list {
    zeb_difference difference[ZEB_DIFFERENCES_MAX];
    size_t count;
} difference_list;

static bool has_difference(const difference_list *list, const zeb_difference *d) {
    for (size_t i = 0; i < list->count; i++)
        if (strcmp(list->difference[i].what, d->what) == 0 && strcmp(list->difference[i].then, d->then) == 0 &&
            strcmp(list->difference[i].now, d->now) == 0)
            return true;
    return false;
}

/* What is different in the same way about all pairs: another commit of zeb, another kernel. */
static void find_common(const zeb_changes *changes, difference_list *common) {
    bool first = true;
    for (size_t i = 0; i < changes->count; i++) {
        const zeb_change *c = &changes->change[i];
        difference_list mine;
        if (c->then == NULL || c->now == NULL) continue;
        mine.count = zeb_change_differences(c, mine.difference);
        if (first) *common = mine;
        first = false;
        size_t kept = 0;
        for (size_t d = 0; d < common->count; d++)
            if (has_difference(&mine, &common->difference[d])) common->difference[kept++] = common->difference[d];
        common->count = kept;
    }
}

static void write_differences(FILE *out, const char *who, const difference_list *list, const difference_list *but) {
    const char *separator = "";
    for (size_t i = 0; i < list->count; i++) {
        zeb_difference d = list->difference[i];
        if (but != NULL && has_difference(but, &d)) continue;
        plain(d.then);
        plain(d.now);
        if (separator[0] == '\0') (void)fprintf(out, "%s: changed since: ", who);
        (void)fprintf(out, "%s%s %s -> %s", separator, d.what, d.then[0] != '\0' ? d.then : "unknown",
                      d.now[0] != '\0' ? d.now : "unknown");
        separator = ", ";
    }
    if (separator[0] != '\0') (void)fputc('\n', out);
}

/* What kept the device from working undisturbed. */
static void write_disturbed(FILE *out, const char *who, const char *when, const zeb_row *row) {
    static const char *const name[] = {"foreign-load", "oversubscribed", "quota-throttled", "steal-time", "throttled"};
    const char *separator = "";
    for (size_t i = 0; row != NULL && i < row->flag_count; i++)
        for (size_t k = 0; k < sizeof name / sizeof name[0]; k++) {
            if (strcmp(row->flag[i], name[k]) != 0) continue;
            if (separator[0] == '\0') (void)fprintf(out, "%s: disturbed while it was measured %s: ", who, when);
            (void)fprintf(out, "%s%s", separator, name[k]);
            separator = ", ";
        }
    if (separator[0] != '\0') (void)fputc('\n', out);
}

static void write_score(FILE *out, const char *who, const zeb_change *c) {
    const zeb_row_metric *a = headline(ok_row(c->then)), *b = headline(ok_row(c->now));
    char p[32];
    p_text(p, sizeof p, c->score_holm);
    if (!c->comparable || a == NULL || b == NULL || !a->value.has || !b->value.has) return;
    if (c->score_test == ZEB_SCORE_MCNEMAR)
        (void)fprintf(out, "%s: %llu answers became right, %llu wrong (McNemar, p %s)\n", who,
                      (unsigned long long)c->pairs.only_b, (unsigned long long)c->pairs.only_a, p);
    if (a->value.value == b->value.value || c->score != ZEB_TREND_SAME) return;
    (void)fprintf(
        out,
        "%s: the score moved by %+.2f points on the same examples: too little to be sure of, but a device that "
        "is deterministic gives the same answers to the same model\n",
        who, 100 * (b->value.value - a->value.value));
}

static void write_outcome(FILE *out, const char *who, const zeb_change *c) {
    char reason[ZEB_ROW_REASON_MAX] = "";
    if (c->now != NULL) zeb_text_copy(reason, sizeof reason, c->now->row.reason);
    plain(reason);
    if (c->kind == ZEB_CHANGE_MISSING)
        (void)fprintf(out, "%s: missing: it was ok in run %lld, and this run has no row of it\n", who,
                      (long long)c->then->run_id);
    else if (c->now->row.outcome != ZEB_OUTCOME_OK)
        (void)fprintf(out, "%s: %s -> %s: %s\n", who,
                      c->then != NULL ? zeb_outcome_name(c->then->row.outcome) : "no row",
                      zeb_outcome_name(c->now->row.outcome), reason);
    if (c->kind == ZEB_CHANGE_DIFFERS) (void)fprintf(out, "%s: not comparable: data differs\n", who);
    if (c->kind == ZEB_CHANGE_WORSE && c->time == ZEB_TREND_DOWN) (void)fprintf(out, "%s: slower, too\n", who);
    if (c->binned)
        (void)fprintf(out,
                      "%s: of more than 100000 samples a histogram is kept: the ratio's interval is wider by its "
                      "error, 1/128\n",
                      who);
}

static void write_remarks(FILE *out, const char *before, const zeb_changes *changes, const line *lines) {
    difference_list common = {.count = 0};
    char who[3 * CELL_MAX];
    find_common(changes, &common);
    (void)snprintf(who, sizeof who, "%sall cases", before);
    write_differences(out, who, &common, NULL);
    for (size_t i = 0; i < changes->count; i++) {
        const zeb_change *c = &changes->change[i];
        difference_list mine;
        mine.count = zeb_change_differences(c, mine.difference);
        (void)snprintf(who, sizeof who, "%s%s, %s", before, lines[i].text[COLUMN_TASK], lines[i].text[COLUMN_DEVICE]);
        write_outcome(out, who, c);
        write_score(out, who, c);
        write_differences(out, who, &mine, &common);
        write_disturbed(out, who, "then", ok_row(c->then));
        write_disturbed(out, who, "now", ok_row(c->now));
    }
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
        for (size_t blank = width_of(text); blank < width[c] + 2 && c + 1 < COLUMNS; blank++)
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
        width[c] = width_of(columns[c].title);
        for (size_t i = 0; i < changes->count; i++) {
            size_t w = width_of(lines[i].text[c]);
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
    write_remarks(out, "", changes, lines);
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
    if (memory != NULL) write_remarks(memory, "", changes, lines);
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

/* ---- JSON -----------------------------------------------------------------------------------------------------------
 */

static json_t *text_json(const char *text) {
    json_t *value = text != NULL && text[0] != '\0' ? json_string(text) : NULL;
    return value != NULL ? value : json_null();
}

static json_t *real_json(bool has, double value) {
    return has && isfinite(value) ? json_real(value) : json_null();
}

static json_t *maybe_json(zeb_maybe_f64 value) {
    return real_json(value.has, value.value);
}

static json_t *bytes_json(zeb_maybe_u64 value) {
    return value.has ? json_integer((json_int_t)value.value) : json_null();
}

static json_t *metric_json(const zeb_row_metric *m) {
    static const zeb_row_metric none;
    if (m == NULL) m = &none;
    return json_pack("{s:o, s:o, s:o, s:o}", "name", text_json(m->name), "value", maybe_json(m->value), "lo",
                     maybe_json(m->lo), "hi", maybe_json(m->hi));
}

static json_t *side_json(const zeb_record *record) {
    if (record == NULL) return json_null();
    const zeb_row *row = &record->row;
    return json_pack("{s:I, s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "row", (json_int_t)record->id, "run",
                     (json_int_t)record->run_id, "verdict", text_json(zeb_outcome_name(row->outcome)), "reason",
                     text_json(row->reason), "p50_ns", maybe_json(row->latency.p50.value), "score",
                     metric_json(headline(row)), "uj_per_query", maybe_json(energy_of(row)), "peak_rss_bytes",
                     bytes_json(row->peak_rss_bytes), "device_memory_bytes", bytes_json(row->device_memory_bytes));
}

static json_t *time_json(const zeb_change *c) {
    return json_pack("{s:s, s:o, s:o, s:o, s:o, s:o, s:b}", "trend", zeb_trend_name(c->time), "ratio",
                     real_json(c->has_ratio, c->ratio.value), "lo", real_json(c->has_ratio, c->ratio.lo), "hi",
                     real_json(c->has_ratio, c->ratio.hi), "p", real_json(c->has_ratio, c->time_p), "p_holm",
                     real_json(c->has_ratio && c->comparable, c->time_holm), "histogram", c->binned);
}

static json_t *score_json(const zeb_change *c) {
    bool tested = c->score_test >= ZEB_SCORE_PROPORTIONS, paired = c->score_test == ZEB_SCORE_MCNEMAR;
    return json_pack("{s:s, s:s, s:o, s:o, s:o, s:o}", "trend", zeb_trend_name(c->score), "test",
                     zeb_score_test_name(c->score_test), "p", real_json(tested, c->score_p), "p_holm",
                     real_json(tested, c->score_holm), "became_right",
                     paired ? json_integer((json_int_t)c->pairs.only_b) : json_null(), "became_wrong",
                     paired ? json_integer((json_int_t)c->pairs.only_a) : json_null());
}

static json_t *differences_json(const zeb_change *c) {
    zeb_difference difference[ZEB_DIFFERENCES_MAX];
    size_t count = zeb_change_differences(c, difference);
    json_t *array = json_array();
    for (size_t i = 0; i < count; i++)
        (void)json_array_append_new(array,
                                    json_pack("{s:s, s:o, s:o}", "what", difference[i].what, "then",
                                              text_json(difference[i].then), "now", text_json(difference[i].now)));
    return array;
}

static json_t *case_json(const zeb_change *c) {
    const zeb_row *row = &of_case(c)->row;
    const char *device = row->device[0] == '\0' && c->then != NULL ? c->then->row.device : row->device;
    return json_pack("{s:s, s:b, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:b, s:o, s:o, s:o}", "verdict",
                     zeb_change_name(c->kind), "loss", zeb_change_is_loss(c->kind), "model", text_json(row->model),
                     "task", text_json(row->task), "backend", text_json(row->backend), "device", text_json(device),
                     "precision", text_json(precision_of(row)), "policy", text_json(row->policy), "scenario",
                     text_json(row->scenario), "changed", differences_json(c), "comparable", c->comparable, "then",
                     side_json(c->then), "now", side_json(c->now), "latency", time_json(c));
}

zeb_status zeb_compare_write_json(FILE *out, const zeb_changes *changes, double tolerance, zeb_error *error) {
    json_t *cases = json_array(), *tally = json_object();
    bool whole = cases != NULL && tally != NULL;
    for (size_t i = 0; whole && i < changes->count; i++) {
        json_t *object = case_json(&changes->change[i]);
        whole = object != NULL && json_object_set_new(object, "score", score_json(&changes->change[i])) == 0;
        if (json_array_append_new(cases, object) != 0) whole = false;
    }
    for (int k = 0; whole && k < ZEB_CHANGE_KINDS; k++)
        whole = json_object_set_new(tally, zeb_change_name((zeb_change_kind)k),
                                    json_integer((json_int_t)changes->tally[k])) == 0;
    json_t *root = json_pack("{s:I, s:o, s:o, s:f, s:I, s:o, s:o}", "run", (json_int_t)changes->run.id, "base",
                             changes->base != NULL ? json_integer(changes->base->id) : json_null(), "expected_run",
                             changes->expected != NULL ? json_integer(changes->expected->id) : json_null(), "tolerance",
                             tolerance, "losses", (json_int_t)changes->losses, "verdicts", tally, "cases", cases);
    if (whole && root != NULL && json_dumpf(root, out, JSON_INDENT(2) | JSON_REAL_PRECISION(15)) == 0)
        (void)fputc('\n', out);
    else
        whole = false;
    json_decref(root);
    if (!whole && ferror(out) == 0) return zeb_fail(error, ZEB_ERR_MEMORY, "no memory to write the comparison");
    return written(out, error);
}
