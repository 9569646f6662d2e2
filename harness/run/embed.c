/* The public face of this room: zeb/bench.h. */
#include <stdlib.h>

#include "plugins/registry.h"
#include "run/bench.h"
#include "store/format.h"

#if defined(__GNUC__)
#define ZEB_PUBLIC __attribute__((visibility("default")))
#else
#define ZEB_PUBLIC
#endif

typedef struct row_taker {
    zeb_row_taker take;
    void *user;
} row_taker;

static zeb_status on_row(const zeb_case *what, const zeb_row *row, void *user, zeb_error *error) {
    (void)what;
    const row_taker *taker = user;
    char *text = NULL;
    size_t size;
    FILE *stream = open_memstream(&text, &size);
    if (stream == NULL) return zeb_fail(error, ZEB_ERR_MEMORY, "out of memory for a row");
    zeb_status status = zeb_rows_write(stream, ZEB_FORMAT_JSONL, 0, &row, 1, error);
    if (fclose(stream) != 0 && status == ZEB_OK) status = zeb_fail(error, ZEB_ERR_MEMORY, "out of memory for a row");
    if (status == ZEB_OK) status = taker->take(text, taker->user, error);
    free(text);
    return status;
}

ZEB_PUBLIC zeb_case zeb_case_default(void) {
    return (zeb_case){.scenario = ZEB_SCENARIO_SINGLE,
                      .pin = true,
                      .batch = 32,
                      .seq_max = 128,
                      .target_ci = 0.01,
                      .max_time_ns = UINT64_C(60000000000),
                      .timeout_ns = UINT64_C(1800000000000),
                      .idle_ns = UINT64_C(30000000000),
                      .seed = 1,
                      .carbon_g_per_kwh = -1,
                      .pue = 1};
}

ZEB_PUBLIC zeb_status zeb_cases_run(const char *const *plugin_folders, size_t folder_count, const zeb_case *cases,
                                    size_t count, zeb_row_taker take, void *user, zeb_error *error) {
    zeb_registry *registry;
    zeb_status status = zeb_registry_open(plugin_folders, folder_count, NULL, &registry, error);
    if (status != ZEB_OK) return status;
    row_taker taker = {.take = take, .user = user};
    zeb_bench bench = {.registry = registry, .on_row = on_row, .user = &taker};
    zeb_bench_summary summary;
    status = zeb_bench_run(&bench, cases, count, &summary, error);
    zeb_registry_close(registry);
    return status;
}

ZEB_PUBLIC const char *zeb_version(void) {
    return ZEB_VERSION;
}
