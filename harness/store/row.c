#include "store/row.h"

#include <stdio.h>
#include <string.h>

#include "store/columns.h"
#include "store/store.h"

static const char *const outcome_name[] = {
    [ZEB_OUTCOME_NONE] = "",
    [ZEB_OUTCOME_OK] = "ok",
    [ZEB_OUTCOME_UNSUPPORTED] = "unsupported",
    [ZEB_OUTCOME_FAILED] = "failed",
    [ZEB_OUTCOME_CRASHED] = "crashed",
    [ZEB_OUTCOME_TIMEOUT] = "timeout",
    [ZEB_OUTCOME_INVALID] = "invalid",
    [ZEB_OUTCOME_INTERRUPTED] = "interrupted",
};
enum { OUTCOMES = sizeof outcome_name / sizeof outcome_name[0] };

const char *zeb_outcome_name(zeb_outcome outcome) {
    return (size_t)outcome < OUTCOMES ? outcome_name[outcome] : "";
}

bool zeb_row_disturbances(const zeb_row *row, char *text, size_t capacity) {
    static const char *const name[] = {"foreign-load", "oversubscribed", "quota-throttled", "steal-time", "throttled"};
    size_t used = 0;
    text[0] = '\0';
    for (size_t i = 0; i < row->flag_count; i++)
        for (size_t k = 0; k < sizeof name / sizeof name[0]; k++)
            if (strcmp(row->flag[i], name[k]) == 0 && used < capacity)
                used += (size_t)snprintf(text + used, capacity - used, "%s%s", used > 0 ? ", " : "", name[k]);
    return used > 0;
}

zeb_outcome zeb_outcome_find(const char *name) {
    for (int i = 1; i < OUTCOMES; i++) {
        if (strcmp(name, outcome_name[i]) == 0) return (zeb_outcome)i;
    }
    return ZEB_OUTCOME_NONE;
}

/* SQLite's integers are signed: a larger one would come back negative. */
static zeb_status check_range(const zeb_table *table, const void *record, zeb_error *error) {
    for (size_t i = 0; i < table->column_count; i++) {
        const zeb_column *c = &table->column[i];
        const char *at = (const char *)record + c->offset;
        uint64_t value = 0;
        if (c->kind == ZEB_COLUMN_U64) value = *(const uint64_t *)(const void *)at;
        if (c->kind == ZEB_COLUMN_MAYBE_U64) {
            const zeb_maybe_u64 *v = (const void *)at;
            value = v->has ? v->value : 0;
        }
        if (value > INT64_MAX) {
            return zeb_fail(error, ZEB_ERR_ARGUMENT, "row: %s.%s is %llu, more than 63 bits hold", table->name, c->name,
                            (unsigned long long)value);
        }
    }
    return ZEB_OK;
}

static zeb_status check_names(const zeb_row *row, zeb_error *error) {
    const struct {
        const char *name, *value;
    } required[] = {{"model", row->model},
                    {"task", row->task},
                    {"backend", row->backend},
                    {"policy", row->policy},
                    {"scenario", row->scenario}};
    for (size_t i = 0; i < sizeof required / sizeof required[0]; i++) {
        if (required[i].value[0] == '\0') {
            return zeb_fail(error, ZEB_ERR_ARGUMENT, "row: %s is empty, but every row has one", required[i].name);
        }
    }
    return ZEB_OK;
}

static zeb_status check_outcome(const zeb_row *row, zeb_error *error) {
    const char *verdict = zeb_outcome_name(row->outcome);
    if (verdict[0] == '\0') return zeb_fail(error, ZEB_ERR_ARGUMENT, "row: no verdict");
    if ((row->outcome == ZEB_OUTCOME_OK) != (row->reason[0] == '\0')) {
        return zeb_fail(error, ZEB_ERR_ARGUMENT, "row: verdict %s with %s", verdict,
                        row->reason[0] == '\0' ? "no reason" : "a reason");
    }
    if (row->outcome == ZEB_OUTCOME_OK && (row->n == 0 || !row->latency.p50.value.has)) {
        return zeb_fail(error, ZEB_ERR_ARGUMENT, "row: verdict ok, but %s",
                        row->n == 0 ? "n is 0" : "the median latency is unknown");
    }
    if (row->outcome == ZEB_OUTCOME_UNSUPPORTED && row->n != 0) {
        return zeb_fail(error, ZEB_ERR_ARGUMENT, "row: verdict unsupported, but n is %llu", (unsigned long long)row->n);
    }
    if (row->n == 0 && row->latency.p50.value.has) {
        return zeb_fail(error, ZEB_ERR_ARGUMENT, "row: a median latency of 0 samples");
    }
    return ZEB_OK;
}

static zeb_status check_energy(const zeb_row *row, zeb_error *error) {
    const zeb_row_energy *e = &row->energy;
    bool numbers = e->gross_uj.has || e->idle_uj.has || e->net_uj.has;
    if (!e->known && (e->valid || numbers || e->channel_count > 0)) {
        return zeb_fail(error, ZEB_ERR_ARGUMENT, "row: energy is not known, but has values");
    }
    if (e->known &&
        (e->source[0] == '\0' || (e->kind != ZEB_ROW_ENERGY_MEASURED && e->kind != ZEB_ROW_ENERGY_ESTIMATED))) {
        return zeb_fail(error, ZEB_ERR_ARGUMENT, "row: energy is known, but not its source and kind");
    }
    if (e->known && !e->valid && (numbers || e->reason[0] == '\0')) {
        return zeb_fail(error, ZEB_ERR_ARGUMENT, "row: invalid energy must have a reason and no values");
    }
    if (e->valid && !e->gross_uj.has) {
        return zeb_fail(error, ZEB_ERR_ARGUMENT, "row: energy is valid, but gross_uj is unknown");
    }
    if (e->examples.has && e->examples.value == 0) {
        return zeb_fail(error, ZEB_ERR_ARGUMENT, "row: energy of 0 examples; where there were none they are unknown");
    }
    if (row->carbon.co2_ug.has && (!e->valid || !row->carbon.intensity_g_per_kwh.has)) {
        return zeb_fail(error, ZEB_ERR_ARGUMENT, "row: co2_ug without a valid energy and an intensity");
    }
    return ZEB_OK;
}

static zeb_status check_lists(const zeb_row *row, zeb_error *error) {
    for (size_t i = 0; i < row->metric_count; i++) {
        const zeb_row_metric *m = &row->metric[i];
        if (m->name[0] == '\0' || m->defined != m->value.has) {
            return zeb_fail(error, ZEB_ERR_ARGUMENT,
                            "row: metric %zu (%s) must have a name, and a value if and only if "
                            "it is defined",
                            i, m->name);
        }
    }
    if (row->sample_count > 0 && row->sample_count != row->n) {
        return zeb_fail(error, ZEB_ERR_ARGUMENT, "row: %zu samples, but n is %llu", row->sample_count,
                        (unsigned long long)row->n);
    }
    for (size_t i = 0; i < row->flag_count; i++) {
        if (row->flag[i] == NULL || row->flag[i][0] == '\0') {
            return zeb_fail(error, ZEB_ERR_ARGUMENT, "row: flag %zu is empty", i);
        }
    }
    return ZEB_OK;
}

zeb_status zeb_row_check(const zeb_row *row, zeb_error *error) {
    zeb_status status = check_names(row, error);
    if (status == ZEB_OK) status = check_outcome(row, error);
    if (status == ZEB_OK) status = check_energy(row, error);
    if (status == ZEB_OK) status = check_lists(row, error);
    if (status == ZEB_OK) status = check_range(zeb_table_get(ZEB_TABLE_ROW), row, error);
    if (status == ZEB_OK) status = check_range(zeb_table_get(ZEB_TABLE_SETTINGS), &row->requested, error);
    if (status == ZEB_OK) status = check_range(zeb_table_get(ZEB_TABLE_SETTINGS), &row->effective, error);
    if (status == ZEB_OK) status = check_range(zeb_table_get(ZEB_TABLE_ENERGY), &row->energy, error);
    if (status == ZEB_OK) status = check_range(zeb_table_get(ZEB_TABLE_CARBON), &row->carbon, error);
    return status;
}
