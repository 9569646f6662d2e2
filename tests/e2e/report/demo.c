/* Writes a demonstration database and its report: demo DATABASE OUT.html [ROWS]; ROWS keeps the first few alone. */
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "rows.h"
#include "store/import.h"
#include "store/peak.h"
#include "store/report.h"

/* Peaks of the first row on cpu, whose device and number of threads alone then have a bound. */
static zeb_status add_peaks(zeb_store *store, int64_t run, zeb_row *row, size_t count, zeb_error *error) {
    zeb_stored_peak peak[] = {
        {.peak = {.name = "fp32", .kind = ZEB_PEAK_OPERATIONS, .per_second = 1.16e11}},
        {.peak = {.name = "int8", .kind = ZEB_PEAK_OPERATIONS, .per_second = 4.6e11}},
        {.peak = {.name = "L2", .kind = ZEB_PEAK_BYTES, .per_second = 1.1e11, .capacity_bytes = 1u << 20}},
        {.peak = {.name = "DRAM", .kind = ZEB_PEAK_BYTES, .per_second = 2.2e10}}};
    size_t peaks = sizeof peak / sizeof peak[0], of = 0;
    while (of + 1 < count && strcmp(row[of].backend, "cpu") != 0)
        of++;
    for (size_t i = 0; i < peaks; i++) {
        zeb_text_copy(peak[i].backend, sizeof peak[i].backend, row[of].backend);
        zeb_text_copy(peak[i].device, sizeof peak[i].device, row[of].device);
        zeb_text_copy(peak[i].device_name, sizeof peak[i].device_name, row[of].device_name);
        zeb_text_copy(peak[i].measured_utc, sizeof peak[i].measured_utc, "2026-11-23T20:00:00Z");
        peak[i].peak.threads = (uint32_t)row[of].effective.threads.value;
    }
    for (size_t i = 0; i < count; i++) {
        if (row[i].outcome != ZEB_OUTCOME_OK) continue;
        row[i].bound_flops_per_s = row[i].bound_share = (zeb_maybe_f64){0};
        row[i].bound_by[0] = '\0';
        row[i].flops_executed = zeb_f64(872 * 4e7);
        row[i].bytes_executed = zeb_f64(872 * 1.3e7);
        zeb_peak_bound(peak, peaks, &row[i]);
    }
    return zeb_store_put_peaks(store, run, peak, peaks, error);
}

/* 0.05 kWh of training for the model that the policies are of. */
static zeb_status add_training(zeb_store *store, const char *database, zeb_error *error) {
    char path[512];
    zeb_import_counts counts;
    (void)snprintf(path, sizeof path, "%s.emissions.csv", database);
    FILE *file = fopen(path, "we");
    if (file == NULL) return zeb_fail(error, ZEB_ERR_IO, "%s: cannot be written", path);
    (void)fputs("timestamp,run_id,duration,emissions,energy_consumed,country_iso_code,codecarbon_version\n"
                "2026-11-23T22:34:28,78df43ff,544.0,0.023,0.05,FRA,3.3.2\n",
                file);
    if (fclose(file) != 0) return zeb_fail(error, ZEB_ERR_IO, "%s: not written to its end", path);
    return zeb_store_import_emissions(store, path, "bert-mini-sst2", &counts, error);
}

static zeb_status fill(zeb_store *store, zeb_arena *arena, uint64_t most, zeb_error *error) {
    zeb_run_info info = test_run_info();
    zeb_row *row = NULL;
    size_t count = 0;
    int64_t run = 0;
    test_rows_demo(arena, &row, &count);
    zeb_status status = zeb_store_begin_run(store, &info, &run, error);
    if (status == ZEB_OK) status = add_peaks(store, run, row, count, error);
    for (size_t i = 0; status == ZEB_OK && i < count && i < most; i++)
        status = zeb_store_put(store, run, &row[i], NULL, error);
    /* The first case once more: the older row must be history. */
    if (status == ZEB_OK && most > count) status = zeb_store_put(store, run, &row[0], NULL, error);
    if (status == ZEB_OK) status = zeb_store_end_run(store, run, "2026-11-23T21:04:00Z", 1, error);
    return status;
}

int main(int argc, char **argv) {
    zeb_error error = {.text = ""};
    zeb_store *store = NULL;
    zeb_arena *arena = NULL;
    uint64_t most = UINT64_MAX;
    if (argc < 3 || (argc > 3 && !zeb_text_to_u64(argv[3], &most))) return 2;
    zeb_status status = zeb_store_open(argv[1], true, &store, &error);
    if (status == ZEB_OK) status = zeb_arena_create(&arena, &error);
    if (status == ZEB_OK) status = fill(store, arena, most, &error);
    if (status == ZEB_OK) status = add_training(store, argv[1], &error);
    zeb_store_close(store);
    zeb_arena_destroy(arena);
    if (status == ZEB_OK) status = zeb_report_save(argv[1], ZEB_FORMAT_HTML, argv[2], &error);
    if (status == ZEB_OK) status = zeb_report_write(argv[1], ZEB_FORMAT_TABLE, stdout, &error);
    if (status == ZEB_OK) status = zeb_report_write(argv[1], ZEB_FORMAT_MD, stdout, &error);
    if (status != ZEB_OK) (void)fprintf(stderr, "%s\n", error.text);
    return status == ZEB_OK ? 0 : 1;
}
