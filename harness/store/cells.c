#include "store/cells.h"

#include <stdio.h>
#include <string.h>

const zeb_cell_column zeb_cell_columns[ZEB_CELL_COUNT] = {
    [ZEB_CELL_MODEL] = {"model", false, true},
    [ZEB_CELL_TASK] = {"task", false, true},
    [ZEB_CELL_DEVICE] = {"device", false, false},
    [ZEB_CELL_PRECISION] = {"precision", false, true},
    [ZEB_CELL_POLICY] = {"policy", false, true},
    [ZEB_CELL_SCENARIO] = {"scenario", false, true},
    [ZEB_CELL_SETTINGS] = {"settings", false, true},
    [ZEB_CELL_VERDICT] = {"verdict", false, false},
    [ZEB_CELL_METRIC] = {"score [95 % interval]", false, false},
    [ZEB_CELL_P50] = {"p50", true, false},
    [ZEB_CELL_P90] = {"p90", true, false},
    [ZEB_CELL_P99] = {"p99", true, false},
    [ZEB_CELL_THROUGHPUT] = {"seq/s", true, false},
    [ZEB_CELL_SAVED] = {"FLOPs, time saved", true, true},
    [ZEB_CELL_MEMORY] = {"peak memory", true, false},
    [ZEB_CELL_ENERGY] = {"energy/query", true, false},
    [ZEB_CELL_CO2] = {"gCO2e/1M queries", true, false},
};

void zeb_cell_line(char *to, size_t capacity, const char *text) {
    size_t length = strlen(text);
    if (length >= capacity) length = capacity - 1;
    while (length > 0 && text[length] != '\0' && ((unsigned char)text[length] & 0xC0u) == 0x80u)
        length--;
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)text[i];
        to[i] = c < 0x20 || c == 0x7f ? ' ' : text[i];
    }
    to[length] = '\0';
}

/* Three significant digits, never in powers of ten for what people meet here. */
static void number(char *to, size_t capacity, double value) {
    double size = fabs(value);
    int decimals = size >= 99.95 || size < 5e-10 ? 0 : size >= 9.995 ? 1 : size >= 0.9995 ? 2 : 3;
    for (double limit = 0.09995; size >= 5e-10 && size < limit && decimals < 9; limit /= 10)
        decimals++;
    (void)snprintf(to, capacity, "%.*f", decimals, value);
}

/* value in the largest unit of which there is at least one. unit[i] is scale[i] base units, rising. */
static void with_unit(char *to, size_t capacity, double value, const double *scale, const char *const *unit,
                      int units) {
    int i = 0;
    while (i + 1 < units && fabs(value) >= scale[i + 1] * 0.9995)
        i++;
    char text[48];
    number(text, sizeof text, value / scale[i]);
    (void)snprintf(to, capacity, "%s %s", text, unit[i]);
}

static void duration(char *to, zeb_maybe_f64 ns) {
    static const double scale[] = {1, 1e3, 1e6, 1e9};
    static const char *const unit[] = {"ns", "us", "ms", "s"};
    if (ns.has) with_unit(to, ZEB_CELL_MAX, ns.value, scale, unit, 4);
}

/* With the greater half of its interval. */
static void median(char *to, const zeb_row_quantile *q) {
    duration(to, q->value);
    if (!q->value.has || !q->lo.has || !q->hi.has || q->value.value <= 0) return;
    const double below = q->value.value - q->lo.value, above = q->hi.value - q->value.value;
    const size_t used = strlen(to);
    (void)snprintf(to + used, ZEB_CELL_MAX - used, " ±%.1f %%", 100 * (below > above ? below : above) / q->value.value);
}

static void memory(char *to, zeb_maybe_u64 bytes) {
    static const double scale[] = {1, 1024.0, 1048576.0, 1073741824.0};
    static const char *const unit[] = {"B", "KiB", "MiB", "GiB"};
    if (bytes.has) with_unit(to, ZEB_CELL_MAX, (double)bytes.value, scale, unit, 4);
}

static void metric(char *to, const zeb_row *row) {
    if (row->metric_count == 0) return;
    const zeb_row_metric *m = &row->metric[0];
    char name[sizeof m->name];
    zeb_cell_line(name, sizeof name, m->name);
    if (!m->value.has) {
        (void)snprintf(to, ZEB_CELL_MAX, "%s not defined", name);
    } else if (m->lo.has && m->hi.has) {
        (void)snprintf(to, ZEB_CELL_MAX, "%s %.2f [%.2f, %.2f]", name, 100 * m->value.value, 100 * m->lo.value,
                       100 * m->hi.value);
    } else {
        (void)snprintf(to, ZEB_CELL_MAX, "%s %.2f", name, 100 * m->value.value);
    }
}

/* Energy a query from gross; the whole where the number of queries in the window is not known. */
static void energy(char *to, const zeb_row *row) {
    static const double scale[] = {1, 1e3, 1e6, 1e9};
    static const char *const unit[] = {"uJ", "mJ", "J", "kJ"};
    const zeb_row_energy *e = &row->energy;
    if (row->outcome == ZEB_OUTCOME_UNSUPPORTED) return;
    if (!e->known || !e->valid || !e->gross_uj.has) {
        (void)snprintf(to, ZEB_CELL_MAX, "%s", e->known ? "invalid" : row->n > 0 ? "no sensor" : "-");
        return;
    }
    bool each = e->examples.has && e->examples.value > 0, estimated = e->kind == ZEB_ROW_ENERGY_ESTIMATED;
    double uj = (double)e->gross_uj.value / (each ? (double)e->examples.value : 1.0);
    char text[64];
    with_unit(text, sizeof text, uj, scale, unit, 4);
    (void)snprintf(to, ZEB_CELL_MAX, "%s%s%s%s", estimated ? "~" : "", text, each ? "" : " in all",
                   estimated ? " est" : "");
}

static void co2(char *to, const zeb_row *row) {
    const zeb_row_energy *e = &row->energy;
    if (!row->carbon.co2_ug.has) return;
    bool each = e->examples.has && e->examples.value > 0, estimated = e->kind == ZEB_ROW_ENERGY_ESTIMATED;
    double ug = (double)row->carbon.co2_ug.value; /* ug a query is g a million queries */
    char text[48];
    number(text, sizeof text, each ? ug / (double)e->examples.value : ug / 1e6);
    (void)snprintf(to, ZEB_CELL_MAX, "%s%s%s%s", estimated ? "~" : "", text, each ? "" : " g in all",
                   estimated ? " est" : "");
}

static void device(char *to, const zeb_row *row) {
    char backend[ZEB_ROW_NAME_MAX], id[ZEB_ROW_NAME_MAX], threads[32] = "";
    zeb_cell_line(backend, sizeof backend, row->backend);
    zeb_cell_line(id, sizeof id, row->device);
    bool plain = id[0] == '\0' || strcmp(id, "0") == 0 || strcmp(id, backend) == 0;
    if (row->effective.threads.has) {
        (void)snprintf(threads, sizeof threads, " x%lld", (long long)row->effective.threads.value);
    }
    (void)snprintf(to, ZEB_CELL_MAX, "%s%s%s%s", backend, plain ? "" : ":", plain ? "" : id, threads);
}

static void precision(char *to, const zeb_row *row) {
    if (row->precision[0] != '\0') zeb_cell_line(to, ZEB_CELL_MAX, row->precision);
    if (strcmp(row->precision, "auto") != 0 || row->effective.precision[0] == '\0') return;
    char took[ZEB_ROW_NAME_MAX];
    zeb_cell_line(took, sizeof took, row->effective.precision);
    (void)snprintf(to, ZEB_CELL_MAX, "auto: %s", took);
}

static void scenario(char *to, const zeb_row *row) {
    if (row->scenario[0] != '\0') zeb_cell_line(to, ZEB_CELL_MAX, row->scenario);
    if (strcmp(row->scenario, "offline") == 0 && row->requested.batch.has)
        (void)snprintf(to, ZEB_CELL_MAX, "offline, batch %lld", (long long)row->requested.batch.value);
}

static void settings(char *to, const zeb_row *row) {
    const zeb_row_settings *asked = &row->requested;
    char split[sizeof row->split], text[ZEB_CELL_MAX] = "";
    size_t used = 0;
    zeb_cell_line(split, sizeof split, row->split);
#define ADD(...) used += (size_t)snprintf(text + used, sizeof text - used, __VA_ARGS__)
    if (split[0] != '\0') ADD("%s", split);
    if (row->examples > 0) ADD(" of %llu", (unsigned long long)row->examples);
    if (asked->seq_max.has) ADD(", up to %lld tokens", (long long)asked->seq_max.value);
    if (asked->isa[0] != '\0') ADD(", isa %.15s", asked->isa);
    if (asked->tune.has && asked->tune.value != 0) ADD(", tuned");
    if (asked->pinned.has && asked->pinned.value == 0) ADD(", not pinned");
#undef ADD
    if (used > 0) zeb_cell_line(to, ZEB_CELL_MAX, text);
}

static void text_cell(char *to, const char *text) {
    if (text[0] != '\0') zeb_cell_line(to, ZEB_CELL_MAX, text);
}

void zeb_cells_make(const zeb_row *row, zeb_cells *cells) {
    for (int i = 0; i < ZEB_CELL_COUNT; i++)
        (void)snprintf(cells->text[i], ZEB_CELL_MAX, "-");
    text_cell(cells->text[ZEB_CELL_MODEL], row->model);
    text_cell(cells->text[ZEB_CELL_TASK], row->task);
    device(cells->text[ZEB_CELL_DEVICE], row);
    precision(cells->text[ZEB_CELL_PRECISION], row);
    text_cell(cells->text[ZEB_CELL_POLICY], row->policy);
    scenario(cells->text[ZEB_CELL_SCENARIO], row);
    settings(cells->text[ZEB_CELL_SETTINGS], row);
    text_cell(cells->text[ZEB_CELL_VERDICT], zeb_outcome_name(row->outcome));
    metric(cells->text[ZEB_CELL_METRIC], row);
    median(cells->text[ZEB_CELL_P50], &row->latency.p50);
    duration(cells->text[ZEB_CELL_P90], row->latency.p90.value);
    duration(cells->text[ZEB_CELL_P99], row->latency.p99.value);
    if (row->throughput_per_s.has) {
        number(cells->text[ZEB_CELL_THROUGHPUT], ZEB_CELL_MAX, row->throughput_per_s.value);
    }
    if (row->flops_saved.has && row->time_saved.has) {
        (void)snprintf(cells->text[ZEB_CELL_SAVED], ZEB_CELL_MAX, "%.0f %%, %.0f %%", 100 * row->flops_saved.value,
                       100 * row->time_saved.value);
    }
    memory(cells->text[ZEB_CELL_MEMORY], row->peak_rss_bytes);
    energy(cells->text[ZEB_CELL_ENERGY], row);
    co2(cells->text[ZEB_CELL_CO2], row);
}
