/* What is to be said about the cases that zeb compare compared, beside their numbers. */
#include <string.h>

#include "base/text.h"
#include "cli/compare_parts.h"

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
        zeb_compare_plain(d.then);
        zeb_compare_plain(d.now);
        if (separator[0] == '\0') (void)fprintf(out, "%s: changed since: ", who);
        (void)fprintf(out, "%s%s %s -> %s", separator, d.what, d.then[0] != '\0' ? d.then : "unknown",
                      d.now[0] != '\0' ? d.now : "unknown");
        separator = ", ";
    }
    if (separator[0] != '\0') (void)fputc('\n', out);
}

static void write_disturbed(FILE *out, const char *who, const char *when, const zeb_row *row) {
    char by[ZEB_ROW_REASON_MAX];
    if (row != NULL && zeb_row_disturbances(row, by, sizeof by))
        (void)fprintf(out, "%s: disturbed while it was measured %s: %s\n", who, when, by);
}

static void write_score(FILE *out, const char *who, const zeb_change *c) {
    const zeb_row_metric *a = zeb_compare_headline(zeb_compare_ok(c->then)),
                         *b = zeb_compare_headline(zeb_compare_ok(c->now));
    char p[32];
    zeb_compare_p(p, sizeof p, c->score_holm);
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
    zeb_compare_plain(reason);
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

/* "glue/sst2, cpu x4, half.json" */
static void name_case(char *to, size_t capacity, const zeb_change *c) {
    const zeb_row *row = &zeb_compare_record(c)->row;
    bool dense = strcmp(row->policy, "dense") == 0;
    char device[160];
    zeb_compare_device(device, sizeof device, c);
    (void)snprintf(to, capacity, "%s, %s%s%s", row->task, device, dense ? "" : ", ", dense ? "" : row->policy);
    zeb_compare_plain(to);
}

void zeb_compare_remarks(FILE *out, const zeb_changes *changes) {
    difference_list common = {.count = 0};
    find_common(changes, &common);
    write_differences(out, "all cases", &common, NULL);
    for (size_t i = 0; i < changes->count; i++) {
        const zeb_change *c = &changes->change[i];
        char who[320];
        difference_list mine;
        mine.count = zeb_change_differences(c, mine.difference);
        name_case(who, sizeof who, c);
        write_outcome(out, who, c);
        write_score(out, who, c);
        write_differences(out, who, &mine, &common);
        write_disturbed(out, who, "then", zeb_compare_ok(c->then));
        write_disturbed(out, who, "now", zeb_compare_ok(c->now));
    }
}
