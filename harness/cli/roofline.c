/* zeb roofline: what devices can do at most, measured and stored. */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/text.h"
#include "cli/commands.h"
#include "cli/provenance.h"
#include "plugins/devices.h"
#include "run/worker.h"
#include "store/peak.h"

typedef struct roofline_settings {
    const char *device, *db, *format, *plugin_dir;
    uint64_t threads, timeout_ns;
    bool no_pin, no_store;
} roofline_settings;

#define AT(field) offsetof(roofline_settings, field)

enum { PEAKS_MAX = 256 };

static const char *const formats[] = {"table", "json", NULL};

static const zeb_option options[] = {
    {"device", ZEB_OPTION_TEXT, "NAME", "cpu", AT(device), "A plugin or plugin:device that can measure its peaks.",
     NULL},
    {"threads", ZEB_OPTION_COUNT, "N", "0", AT(threads), "Most threads of a CPU device; 0: all it may use.", NULL},
    {"no-pin", ZEB_OPTION_FLAG, NULL, NULL, AT(no_pin), "Do not pin threads to processors.", NULL},
    {"timeout", ZEB_OPTION_DURATION, "TIME", "5min", AT(timeout_ns), "A device that takes longer is stopped.", NULL},
    {"db", ZEB_OPTION_TEXT, "FILE", "results/local/zeb.db", AT(db),
     "Database that keeps the peaks; rows stored there later say how near they came.", NULL},
    {"no-store", ZEB_OPTION_FLAG, NULL, NULL, AT(no_store), "Print the peaks alone.", NULL},
    {"format", ZEB_OPTION_CHOICE, "NAME", "table", AT(format), "What is printed on stdout.", formats},
    {"plugin-dir", ZEB_OPTION_TEXT, "DIR[:DIR]", NULL, AT(plugin_dir), "Look for plugins here first.", NULL},
    {0}};

static const char *const examples[] = {"zeb roofline", "zeb roofline --device cpu --threads 1 --format json", NULL};

/* ---- in the worker ---------------------------------------------------------------------------------------------- */

typedef struct assignment {
    const zeb_registry *registry;
    const roofline_settings *set;
} assignment;

typedef struct finding {
    zeb_stored_peak of; /* the device */
    uint32_t count;
    zeb_peak peak[PEAKS_MAX];
} finding;

static zeb_status measure(const void *input, zeb_shared *shared, zeb_error *error) {
    const assignment *given = input;
    finding *found = shared->result;
    zeb_device_handle device = {0};
    zeb_device_options asked = {.threads = (uint32_t)given->set->threads, .pin = !given->set->no_pin};
    zeb_status status = zeb_device_open(given->registry, given->set->device, &asked, &device, error);
    if (status != ZEB_OK) return status;
    zeb_text_copy(found->of.backend, sizeof found->of.backend, device.plugin->name);
    zeb_text_copy(found->of.device, sizeof found->of.device, device.info.id);
    zeb_text_copy(found->of.device_name, sizeof found->of.device_name, device.info.name);
    zeb_clock_utc(found->of.measured_utc);
    zeb_peaks_fn peaks = zeb_backend_peaks(device.backend);
    if (peaks == NULL)
        status =
            zeb_fail(error, ZEB_ERR_UNSUPPORTED, "--device %s: its plugin does not measure peaks", given->set->device);
    else
        status = peaks(device.device, found->peak, PEAKS_MAX, &found->count, error);
    if (status == ZEB_OK && found->count > PEAKS_MAX) found->count = PEAKS_MAX;
    zeb_device_close(&device);
    return status;
}

/* A peak that cannot be is a fault of the plugin, and must not become anybody's ceiling. */
static zeb_status check(const finding *found, zeb_error *error) {
    for (uint32_t i = 0; i < found->count; i++) {
        const zeb_peak *p = &found->peak[i];
        bool good = p->name[0] != '\0' && memchr(p->name, '\0', sizeof p->name) != NULL && p->threads > 0 &&
                    (p->kind == ZEB_PEAK_OPERATIONS || p->kind == ZEB_PEAK_BYTES) && p->per_second > 0 &&
                    p->per_second < 1e18 && p->median_per_second >= 0 && p->median_per_second <= p->per_second;
        if (!good)
            return zeb_fail(error, ZEB_ERR_DEVICE, "plugin '%s' gave a peak that cannot be (number %u)",
                            found->of.backend, i);
    }
    if (found->count == 0)
        return zeb_fail(error, ZEB_ERR_UNSUPPORTED, "plugin '%s' knows no way to measure this device",
                        found->of.backend);
    return ZEB_OK;
}

/* Measures in a process of its own; *found is malloc'ed. */
static zeb_status find_peaks(const zeb_registry *registry, const roofline_settings *set, finding **found,
                             zeb_error *error) {
    *found = calloc(1, sizeof **found);
    if (*found == NULL) return zeb_fail(error, ZEB_ERR_MEMORY, "no memory for peaks");
    const assignment given = {.registry = registry, .set = set};
    const zeb_worker_watch watch = {.timeout_ns = set->timeout_ns, .grace_ns = UINT64_C(5000000000)};
    zeb_status status = zeb_worker_call(measure, &given, sizeof **found, "", &watch, *found, error);
    return status == ZEB_OK ? check(*found, error) : status;
}

/* ---- what becomes of it ----------------------------------------------------------------------------------------- */

static zeb_status store_peaks(const roofline_settings *set, const finding *found, zeb_arena *arena, zeb_error *error) {
    zeb_store *store = NULL;
    void *memory = NULL;
    int64_t run_id = 0;
    zeb_status status = zeb_arena_alloc(arena, found->count, sizeof(zeb_stored_peak), &memory, error);
    zeb_stored_peak *peak = memory;
    for (uint32_t i = 0; i < found->count && status == ZEB_OK; i++) {
        peak[i] = found->of;
        peak[i].peak = found->peak[i];
    }
    if (status == ZEB_OK) status = zeb_store_open(set->db, true, &store, error);
    if (status == ZEB_OK) status = zeb_provenance_begin(store, arena, &run_id, error);
    if (status == ZEB_OK) status = zeb_store_put_peaks(store, run_id, peak, found->count, error);
    char utc[21];
    zeb_clock_utc(utc);
    if (status == ZEB_OK) status = zeb_store_end_run(store, run_id, utc, ZEB_EXIT_OK, error);
    zeb_store_close(store);
    return status;
}

static void print_table(const finding *found) {
    (void)printf("%s:%s, %s\n\n%-6s %7s %14s %14s %12s\n", found->of.backend, found->of.device, found->of.device_name,
                 "peak", "threads", "best", "median", "over");
    for (uint32_t i = 0; i < found->count; i++) {
        const zeb_peak *p = &found->peak[i];
        const char *unit = p->kind == ZEB_PEAK_BYTES ? "GB/s" : "GOP/s";
        char over[32] = "";
        if (p->working_set_bytes > 0)
            (void)snprintf(over, sizeof over, "%.4g MiB", (double)p->working_set_bytes / 1048576);
        (void)printf("%-6s %7u %8.1f %-5s %8.1f %-5s %12s\n", p->name, p->threads, p->per_second * 1e-9, unit,
                     p->median_per_second * 1e-9, unit, over);
    }
}

static void print_json(const finding *found) {
    (void)printf("[");
    for (uint32_t i = 0; i < found->count; i++) {
        const zeb_peak *p = &found->peak[i];
        (void)printf("%s\n {", i > 0 ? "," : "");
        zeb_cli_json_text("backend", found->of.backend, ", ");
        zeb_cli_json_text("device", found->of.device, ", ");
        zeb_cli_json_text("name", p->name, ", ");
        (void)printf("\"kind\": \"%s\", \"threads\": %u, \"per_second\": %.9g, \"median_per_second\": %.9g, ",
                     p->kind == ZEB_PEAK_BYTES ? "bytes" : "operations", p->threads, p->per_second,
                     p->median_per_second);
        (void)(p->working_set_bytes > 0
                   ? printf("\"working_set_bytes\": %llu, ", (unsigned long long)p->working_set_bytes)
                   : printf("\"working_set_bytes\": null, "));
        (void)(p->capacity_bytes > 0 ? printf("\"capacity_bytes\": %llu}", (unsigned long long)p->capacity_bytes)
                                     : printf("\"capacity_bytes\": null}"));
    }
    (void)printf("\n]\n");
}

static int run(const void *settings, const char *const *operands, size_t operand_count) {
    (void)operands;
    (void)operand_count;
    const roofline_settings *set = settings;
    zeb_error error = {{0}};
    zeb_arena *arena = NULL;
    zeb_registry *registry = NULL;
    finding *found = NULL;
    zeb_places places;
    zeb_log log = zeb_cli_log(false);
    zeb_status status = set->threads <= 4096 ? zeb_arena_create(&arena, &error)
                                             : zeb_fail(&error, ZEB_ERR_ARGUMENT, "--threads must be at most 4096");
    if (status == ZEB_OK) status = zeb_places_find(set->plugin_dir, arena, &places, &error);
    if (status == ZEB_OK) status = zeb_registry_open(places.plugins, places.plugin_count, &log, &registry, &error);
    if (status == ZEB_OK) status = find_peaks(registry, set, &found, &error);
    if (status == ZEB_OK && strcmp(set->format, "json") == 0) print_json(found);
    if (status == ZEB_OK && strcmp(set->format, "table") == 0) print_table(found);
    if (status == ZEB_OK && !set->no_store) status = store_peaks(set, found, arena, &error);
    int exit_status = status == ZEB_OK ? ZEB_EXIT_OK : zeb_cli_fail(zeb_cli_exit(status), &error);
    free(found);
    zeb_registry_close(registry);
    zeb_arena_destroy(arena);
    return exit_status;
}

const zeb_command zeb_command_roofline = {.name = "roofline",
                                          .summary = "measure what a device can do at most and store it",
                                          .operands = "",
                                          .options = options,
                                          .examples = examples,
                                          .settings_size = sizeof(roofline_settings),
                                          .run = run};
