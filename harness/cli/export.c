#include "cli/export.h"

#include <math.h>
#include <string.h>

#include "base/text.h"
#include "energy/carbon.h"
#include "energy/codecarbon.h"
#include "energy/openmetrics.h"

static const double uj_per_kwh = 3.6e12, gib = 1073741824.0;

/* The rows of a database that drew something, for the time of one export. */
typedef struct drawn {
    zeb_arena *arena;
    zeb_record *record;
    size_t count;
} drawn;

static bool has_energy(const zeb_row_energy *energy) {
    return energy->known && energy->valid && energy->gross_uj.has && energy->gross_uj.value >= 0;
}

static zeb_status drawn_open(zeb_store *store, drawn *rows, zeb_error *error) {
    *rows = (drawn){.arena = NULL};
    size_t all = 0;
    zeb_status status = zeb_arena_create(&rows->arena, error);
    if (status == ZEB_OK) status = zeb_store_rows(store, NULL, rows->arena, &rows->record, &all, error);
    for (size_t i = 0; status == ZEB_OK && i < all; i++)
        if (has_energy(&rows->record[i].row.energy)) rows->record[rows->count++] = rows->record[i];
    return status;
}

static bool is_estimate(const zeb_row *row) {
    return row->energy.kind == ZEB_ROW_ENERGY_ESTIMATED;
}

/* ---- CodeCarbon ------------------------------------------------------------------------------------------------ */

/* The counted energy of a domain, kWh; not known where the row has none of it. */
static double domain_kwh(const zeb_row_energy *energy, const char *domain) {
    double uj = 0;
    bool any = false;
    for (size_t i = 0; i < energy->channel_count; i++) {
        const zeb_row_channel *c = &energy->channel[i];
        if (!c->counted || !c->valid || !c->gross_uj.has || strcmp(c->domain, domain) != 0) continue;
        uj += (double)c->gross_uj.value;
        any = true;
    }
    return any ? uj / uj_per_kwh : (double)NAN;
}

/* Energies of the parts and the powers that they mean. */
static void fill_energy(const zeb_row *row, zeb_codecarbon *to) {
    const zeb_row_energy *energy = &row->energy;
    double total = (double)energy->gross_uj.value / uj_per_kwh;
    double pue = row->carbon.pue.has ? row->carbon.pue.value : (double)NAN;
    double cpu = is_estimate(row) ? total : domain_kwh(energy, "package");
    double gpu = domain_kwh(energy, "gpu"), ram = domain_kwh(energy, "dram");
    if (energy->window_ns.has && energy->window_ns.value > 0) {
        to->duration = (double)energy->window_ns.value / 1e9;
        double watts = 3.6e6 / to->duration; /* of a kWh in that time */
        to->cpu_power = cpu * watts;
        to->gpu_power = gpu * watts;
        to->ram_power = ram * watts;
    }
    to->cpu_energy = cpu * pue;
    to->gpu_energy = gpu * pue;
    to->ram_energy = ram * pue;
    to->energy_consumed = total * pue;
    to->pue = pue;
    if (row->carbon.co2_ug.has) to->emissions = (double)row->carbon.co2_ug.value / 1e9;
}

/* Text that a line points into. */
typedef struct line_text {
    char timestamp[24], run[48], version[80], country[4];
    char experiment[7 * ZEB_ROW_NAME_MAX + 8];
} line_text;

/* "CAN/quebec" is a country and a region, "FRA" a country; "world" and "" are neither. */
static void fill_place(const zeb_row *row, line_text *text, zeb_codecarbon *to) {
    const char *place = row->carbon.place;
    size_t length = strcspn(place, "/");
    if (length != 3) return;
    (void)snprintf(text->country, sizeof text->country, "%.3s", place);
    to->country_iso_code = text->country;
    const zeb_carbon_country *country = zeb_carbon_country_find(text->country);
    if (country != NULL) to->country_name = country->name;
    if (place[length] == '/') to->region = place + length + 1;
}

static void fill_line(const zeb_record *record, line_text *text, zeb_codecarbon *to) {
    const zeb_row *row = &record->row;
    const char *utc = row->started_utc[0] != '\0' ? row->started_utc : record->run.started_utc;
    zeb_codecarbon_clear(to);
    (void)snprintf(text->timestamp, sizeof text->timestamp, "%.*s", (int)strcspn(utc, "Z"), utc);
    (void)snprintf(text->run, sizeof text->run, "zeb-%lld-%lld", (long long)record->run_id, (long long)record->id);
    (void)snprintf(text->version, sizeof text->version, "zeb %s", record->run.zeb_version);
    (void)snprintf(text->experiment, sizeof text->experiment, "%s %s %s:%s %s %s %s", row->model, row->task,
                   row->backend, row->device, row->scenario, row->precision, row->policy);
    to->timestamp = text->timestamp;
    to->project_name = is_estimate(row) ? "zeb-estimate" : "zeb";
    to->run_id = text->run;
    to->experiment_id = text->experiment;
    to->os = record->run.os;
    to->codecarbon_version = text->version;
    to->cpu_model = record->run.cpu_model;
    if (record->run.cpu_count.has) to->cpu_count = (double)record->run.cpu_count.value;
    if (record->run.memory_bytes.has) to->ram_total_size = (double)record->run.memory_bytes.value / gib;
    to->tracking_mode = "machine"; /* meters and utilisation are those of all processes */
    fill_energy(row, to);
    fill_place(row, text, to);
}

zeb_status zeb_export_codecarbon(zeb_store *store, FILE *out, zeb_error *error) {
    drawn rows;
    zeb_status status = drawn_open(store, &rows, error);
    if (status == ZEB_OK) status = zeb_codecarbon_header(out, error);
    for (size_t i = 0; status == ZEB_OK && i < rows.count; i++) {
        line_text text;
        zeb_codecarbon line;
        fill_line(&rows.record[i], &text, &line);
        status = zeb_codecarbon_write(out, &line, error);
    }
    zeb_arena_destroy(rows.arena);
    return status;
}

/* ---- OpenMetrics ----------------------------------------------------------------------------------------------- */

typedef struct metric_list {
    zeb_openmetric *metric;
    size_t count;
} metric_list;

static bool same_labels(const zeb_openmetric *a, const zeb_openmetric *b) {
    return a->estimated == b->estimated && strcmp(a->device, b->device) == 0 && strcmp(a->domain, b->domain) == 0 &&
           strcmp(a->source, b->source) == 0;
}

static zeb_status add_metric(metric_list *list, const zeb_openmetric *more, zeb_error *error) {
    for (size_t i = 0; i < list->count; i++) {
        zeb_openmetric *sum = &list->metric[i];
        if (!same_labels(sum, more)) continue;
        if (more->energy_uj > INT64_MAX - sum->energy_uj)
            return zeb_fail(error, ZEB_ERR_RANGE, "the energy of %s does not fit 64 bits", sum->device);
        sum->energy_uj += more->energy_uj;
        return ZEB_OK;
    }
    list->metric[list->count++] = *more;
    return ZEB_OK;
}

/* An estimate has no channels: it is of the processor's design power. */
static zeb_status add_row(metric_list *list, const zeb_row *row, zeb_arena *arena, zeb_error *error) {
    char *device;
    zeb_status status =
        zeb_arena_format(arena, &device, error, "%s%s%s", row->backend, row->device[0] != '\0' ? ":" : "", row->device);
    zeb_openmetric m = {.device = device, .estimated = is_estimate(row)};
    if (status == ZEB_OK && m.estimated) {
        m.domain = "package";
        m.source = row->energy.source;
        m.energy_uj = row->energy.gross_uj.value;
        return add_metric(list, &m, error);
    }
    for (size_t i = 0; status == ZEB_OK && i < row->energy.channel_count; i++) {
        const zeb_row_channel *c = &row->energy.channel[i];
        if (!c->counted || !c->valid || !c->gross_uj.has) continue;
        m.domain = c->domain[0] != '\0' ? c->domain : c->name;
        m.source = c->source;
        m.energy_uj = c->gross_uj.value;
        status = add_metric(list, &m, error);
    }
    return status;
}

zeb_status zeb_export_openmetrics(zeb_store *store, FILE *out, zeb_error *error) {
    drawn rows;
    metric_list list = {.count = 0};
    void *memory = NULL;
    zeb_status status = drawn_open(store, &rows, error);
    size_t most = rows.count;
    for (size_t i = 0; i < rows.count; i++)
        most += rows.record[i].row.energy.channel_count;
    if (status == ZEB_OK) status = zeb_arena_alloc(rows.arena, most, sizeof *list.metric, &memory, error);
    list.metric = memory;
    for (size_t i = 0; status == ZEB_OK && i < rows.count; i++)
        status = add_row(&list, &rows.record[i].row, rows.arena, error);
    if (status == ZEB_OK) status = zeb_openmetrics_write(out, list.metric, list.count, error);
    zeb_arena_destroy(rows.arena);
    return status;
}
