/* cli/compare_parts.h - what the tables, the remarks and the JSON of zeb compare share. Private to them. */
#ifndef ZEB_CLI_COMPARE_PARTS_H
#define ZEB_CLI_COMPARE_PARTS_H

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "run/change.h"

/* Names come from files and plugins: one line, no control characters. */
static inline void zeb_compare_plain(char *text) {
    for (; *text != '\0'; text++)
        if ((unsigned char)*text < 0x20 || *text == 0x7f) *text = ' ';
}

static inline const zeb_row *zeb_compare_ok(const zeb_record *record) {
    return zeb_change_ok(record) ? &record->row : NULL;
}

/* Microjoules a query, measured; an estimate is no measurement, and a change of one says nothing. */
static inline zeb_maybe_f64 zeb_compare_energy(const zeb_row *row) {
    if (row == NULL || !row->energy.valid || row->energy.kind != ZEB_ROW_ENERGY_MEASURED || !row->energy.gross_uj.has ||
        !row->energy.examples.has || row->energy.examples.value == 0)
        return (zeb_maybe_f64){0};
    return zeb_f64((double)row->energy.gross_uj.value / (double)row->energy.examples.value);
}

static inline const zeb_row_metric *zeb_compare_headline(const zeb_row *row) {
    return row != NULL && row->metric_count > 0 ? &row->metric[0] : NULL;
}

static inline const zeb_record *zeb_compare_record(const zeb_change *c) {
    return c->now != NULL ? c->now : c->then;
}

static inline void zeb_compare_p(char *to, size_t capacity, double p) {
    (void)snprintf(to, capacity, p < 1e-6 ? "< 1e-6" : "%.2g", p);
}

/* "cpu x4", "cuda:1"; of a device that did not open, what it was before. */
static inline void zeb_compare_device(char *to, size_t capacity, const zeb_change *c) {
    const zeb_row *row = &zeb_compare_record(c)->row;
    const char *id = row->device;
    char threads[32] = "";
    if (id[0] == '\0' && c->then != NULL) id = c->then->row.device;
    bool simple = id[0] == '\0' || strcmp(id, "0") == 0 || strcmp(id, row->backend) == 0;
    if (row->effective.threads.has)
        (void)snprintf(threads, sizeof threads, " x%lld", (long long)row->effective.threads.value);
    (void)snprintf(to, capacity, "%s%s%s%s", row->backend, simple ? "" : ":", simple ? "" : id, threads);
}

/* A line for everything that is to be said about all cases, then about each. */
void zeb_compare_remarks(FILE *out, const zeb_changes *changes);

#endif
