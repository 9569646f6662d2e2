/* zeb run: cases from the options, rows to the database and to stdout. */
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/text.h"
#include "cli/commands.h"
#include "cli/progress.h"
#include "cli/provenance.h"
#include "energy/carbon.h"
#include "plugins/devices.h"
#include "run/bench.h"
#include "run/tune.h"
#include "store/format.h"
#include "store/peak.h"
#include "store/store.h"
#include "suites/task.h"

/* Beyond these a number is a slip, and its energy or CO2 would not fit a row. */
enum { TDP_MOST = 1000000, CARBON_MOST = 100000, PUE_MOST = 100 };

typedef struct run_settings {
    const char *model, *task, *data, *split, *device, *policy, *isa, *precision, *scenario, *db, *format, *predictions,
        *plugin_dir, *sensor, *sensor_root, *country, *region;
    uint64_t threads, batch, seq_max, limit, seed, max_time_ns, timeout_ns, idle_ns;
    double target_ci, tdp, carbon, pue;
    bool no_pin, tune, verbose;
} run_settings;

#define AT(field) offsetof(run_settings, field)

static const char *const scenarios[] = {"single", "offline", NULL};
static const char *const formats[] = {"table", "md", "csv", "json", "jsonl", NULL};

static const zeb_option options[] = {
    {"model", ZEB_OPTION_TEXT, "DIR|CARD", NULL, AT(model),
     "Checkpoint: a Hugging Face folder or a card.json that names one. Default: the one that ships.", NULL},
    {"task", ZEB_OPTION_TEXT, "NAME[,...]", "glue/sst2", AT(task), "Tasks; 'zeb list tasks' shows them.", NULL},
    {"data", ZEB_OPTION_TEXT, "DIR", NULL, AT(data), "Root of the data sets. Default: $ZEB_DATA, or what ships.", NULL},
    {"split", ZEB_OPTION_TEXT, "NAME", NULL, AT(split), "Split of the task. Default: the task's own, mostly dev.",
     NULL},
    {"device", ZEB_OPTION_TEXT, "NAME[,...]", "all", AT(device),
     "Devices: a plugin, plugin:device, or all that compute (null and template only by name; a broken plugin "
     "has a failed row).",
     NULL},
    {"policy", ZEB_OPTION_TEXT, "FILE[,...]", "dense", AT(policy),
     "Sparsity policies (policy.json), or dense. After dense in one list, a policy's row says what share of dense's "
     "operations and time it saved.",
     NULL},
    {"precision", ZEB_OPTION_CHOICE, "NAME", "fp32", AT(precision),
     "Arithmetic of the linear layers; auto: the fastest in each of fp32, bf16 and w8a8, by the device's cost table "
     "(zeb explain).",
     zeb_precision_choices},
    {"tune", ZEB_OPTION_FLAG, NULL, NULL, AT(tune),
     "Fit the policy to the device by its cost table: selections that do not pay are dropped, rows that cost nothing "
     "are kept.",
     NULL},
    {"scenario", ZEB_OPTION_CHOICE, "NAME", "single", AT(scenario),
     "single: latency of one sequence a pass; offline: throughput of ragged batches.", scenarios},
    {"threads", ZEB_OPTION_COUNT, "N", "0", AT(threads), "Threads of a CPU device; 0: all it may use.", NULL},
    {"no-pin", ZEB_OPTION_FLAG, NULL, NULL, AT(no_pin), "Do not pin threads to processors.", NULL},
    {"isa", ZEB_OPTION_TEXT, "NAME", NULL, AT(isa), "Highest instruction set a CPU device may use (scalar, avx2, ...).",
     NULL},
    {"batch", ZEB_OPTION_COUNT, "N", "32", AT(batch), "Sequences a pass in offline.", NULL},
    {"seq-max", ZEB_OPTION_COUNT, "N", "128", AT(seq_max), "Tokens a sequence at most; longer ones are truncated.",
     NULL},
    {"limit", ZEB_OPTION_COUNT, "N", "0", AT(limit), "Examples at most; 0: the whole split.", NULL},
    {"target-ci", ZEB_OPTION_PERCENT, "SHARE", "1%", AT(target_ci),
     "Sample until the 95 % interval of the median is this narrow (half-width).", NULL},
    {"max-time", ZEB_OPTION_DURATION, "TIME", "60s", AT(max_time_ns),
     "Cap on sampling; one pass over the examples is always finished.", NULL},
    {"timeout", ZEB_OPTION_DURATION, "TIME", "30min", AT(timeout_ns), "A case that takes longer is stopped.", NULL},
    {"seed", ZEB_OPTION_COUNT, "N", "1", AT(seed), "Seed of everything random.", NULL},
    {"sensor", ZEB_OPTION_TEXT, "NAME", "auto", AT(sensor), "Energy sensor: a plugin, auto (the first found) or none.",
     NULL},
    {"sensor-root", ZEB_OPTION_TEXT, "DIR", "", AT(sensor_root), "Recorded tree to read sensors from, for replays.",
     NULL},
    {"idle", ZEB_OPTION_DURATION, "TIME", "30s", AT(idle_ns),
     "Idle power is measured this long before and after each case, if there is a sensor.", NULL},
    {"tdp", ZEB_OPTION_NUMBER, "WATTS", "0", AT(tdp),
     "Without a sensor, estimate energy from this power; the row is marked as an estimate. 0: no estimate.", NULL},
    {"country", ZEB_OPTION_TEXT, "ISO3", NULL, AT(country), "Where the electricity comes from. Default: world mean.",
     NULL},
    {"region", ZEB_OPTION_TEXT, "NAME", NULL, AT(region),
     "Part of the country: a province of CAN by its English name. Default: the country's mean.", NULL},
    {"carbon", ZEB_OPTION_NUMBER, "G/KWH", "-1", AT(carbon), "Carbon intensity, if known better; -1: from the tables.",
     NULL},
    {"pue", ZEB_OPTION_NUMBER, "RATIO", "1", AT(pue), "Power usage effectiveness of the site.", NULL},
    {"db", ZEB_OPTION_TEXT, "FILE", "results/local/zeb.db", AT(db), "Database of results; made if missing.", NULL},
    {"format", ZEB_OPTION_CHOICE, "NAME", "table", AT(format), "What is printed on stdout.", formats},
    {"predictions", ZEB_OPTION_TEXT, "FILE", NULL, AT(predictions), "Write a JSON line for every example.", NULL},
    {"plugin-dir", ZEB_OPTION_TEXT, "DIR[:DIR]", NULL, AT(plugin_dir), "Look for plugins here first.", NULL},
    {"verbose", ZEB_OPTION_FLAG, NULL, NULL, AT(verbose), "Say more on stderr.", NULL},
    {0}};

static const char *const examples[] = {
    "zeb run                                                  # the shipped model on every device",
    "zeb run --device cpu --threads 1 --scenario single",
    "zeb run --device cpu,opencl --scenario offline --batch 32 --format jsonl",
    "zeb run --model ./my-bert --task glue/mrpc,glue/rte --data ./glue_data --device cpu",
    "zeb run --device cpu --precision w8a8 --policy dense,half.json  # what skipping saves of the dense time",
    "zeb run --device cpu --country FRA --tdp 65",
    NULL};

typedef struct run_context {
    zeb_store *store;
    int64_t run_id;
    const volatile sig_atomic_t *stop;
    zeb_log log;
    zeb_progress progress;
    zeb_row_format format;
    zeb_stored_peak *peak; /* [peaks]: what zeb roofline has measured */
    size_t peaks;
    zeb_stored_timing *timing; /* [timings]: cost tables that zeb explain has measured */
    size_t timings;
    bool unstored;  /* a row could not be kept in the database */
    bool unprinted; /* stdout took no more */
} run_context;

/* What a case is called in messages. */
static void case_name(const zeb_case *what, char *name, size_t capacity) {
    char policy[ZEB_ROW_NAME_MAX] = "";
    if (what->policy != NULL) zeb_path_name(what->policy, policy, sizeof policy);
    (void)snprintf(name, capacity, "%s on %s (%s%s%s)", what->task, what->device,
                   what->scenario == ZEB_SCENARIO_OFFLINE ? "offline" : "single", policy[0] != '\0' ? ", " : "",
                   policy);
}

static void on_progress(const zeb_case *what, zeb_stage stage, uint64_t done, uint64_t total, void *user) {
    run_context *context = user;
    char name[128];
    case_name(what, name, sizeof name);
    zeb_progress_show(&context->progress, name, zeb_stage_name(stage), done, total);
}

/* Another program may hold the database as long as a backup takes. The next case waits rather than that a row is lost.
 */
enum { LOCK_PATIENCE_S = 1200 };

/* True while it is worth trying once more to write to the database. */
static bool still_locked(const run_context *context, zeb_status status, uint64_t begin_ns, const zeb_error *why) {
    if (status != ZEB_ERR_TIMEOUT || *context->stop != 0 || context->unstored) return false; /* once a sweep */
    if (zeb_clock_now_ns() - begin_ns > LOCK_PATIENCE_S * 1000000000ull) return false;
    zeb_log_write(&context->log, ZEB_LOG_WARNING, "%s; trying again, for %d minutes in all", why->text,
                  LOCK_PATIENCE_S / 60);
    return true;
}

static zeb_status store_row(const run_context *context, const zeb_row *row, zeb_error *why) {
    const uint64_t begin_ns = zeb_clock_now_ns();
    zeb_status status;
    do
        status = zeb_store_put(context->store, context->run_id, row, NULL, why);
    while (still_locked(context, status, begin_ns, why));
    return status;
}

/* Opens the database and begins the run in it. */
static zeb_status store_begin(run_context *context, const char *path, zeb_arena *arena, zeb_error *error) {
    const uint64_t begin_ns = zeb_clock_now_ns();
    zeb_status status;
    do
        status = zeb_store_open(path, true, &context->store, error);
    while (still_locked(context, status, begin_ns, error));
    if (status != ZEB_OK) return status;
    do
        status = zeb_provenance_begin(context->store, arena, &context->run_id, error);
    while (still_locked(context, status, begin_ns, error));
    return status;
}

static zeb_status store_end(const run_context *context, int exit_status, zeb_error *why) {
    const uint64_t begin_ns = zeb_clock_now_ns();
    zeb_status status;
    char utc[21];
    zeb_clock_utc(utc);
    do
        status = zeb_store_end_run(context->store, context->run_id, utc, exit_status, why);
    while (still_locked(context, status, begin_ns, why));
    return status;
}

/* A row that the database refuses goes to stderr as it would have gone to a jsonl file: all but its samples is kept. */
static void rescue(run_context *context, const zeb_row *row, const zeb_error *why) {
    context->unstored = true;
    zeb_log_write(&context->log, ZEB_LOG_ERROR, "%s; the row that could not be stored follows as JSON", why->text);
    zeb_error ignored;
    zeb_status status = zeb_rows_write(stderr, ZEB_FORMAT_JSONL, 0, &row, 1, &ignored);
    if (status != ZEB_OK) zeb_log_write(&context->log, ZEB_LOG_ERROR, "%s", ignored.text);
}

/* One on a full disk or a closed pipe ends with a message, once; the cases to come still go to the database. */
static void print_row(run_context *context, const zeb_row *row) {
    zeb_error why;
    if (context->format != ZEB_FORMAT_JSONL || context->unprinted) return;
    zeb_status status = zeb_rows_write(stdout, ZEB_FORMAT_JSONL, 0, &row, 1, &why);
    if (status == ZEB_OK && fflush(stdout) == 0) return;
    context->unprinted = true;
    zeb_log_write(&context->log, ZEB_LOG_ERROR, "stdout takes no more rows; they still go to the database");
}

static zeb_status on_row(const zeb_case *what, const zeb_row *finished, void *user, zeb_error *error) {
    (void)error;
    run_context *context = user;
    char name[128];
    zeb_row bounded = *finished;
    const zeb_row *row = &bounded;
    zeb_peak_bound(context->peak, context->peaks, &bounded);
    case_name(what, name, sizeof name);
    zeb_progress_end(&context->progress);
    zeb_error why = {{0}};
    if (store_row(context, row, &why) != ZEB_OK) rescue(context, row, &why);
    zeb_log_level level = row->outcome == ZEB_OUTCOME_OK ? ZEB_LOG_INFO : ZEB_LOG_WARNING;
    zeb_log_write(&context->log, level, "%s: %s%s%s", name, zeb_outcome_name(row->outcome),
                  row->reason[0] != '\0' ? ": " : "", row->reason);
    if (row->last_words != NULL) zeb_cli_said(&context->log, name, row->last_words);
    print_row(context, row);
    return ZEB_OK;
}

/* The comma-separated parts of a list. */
static zeb_status split_list(zeb_arena *arena, const char *list, const char **part, size_t capacity, size_t *count,
                             zeb_error *error) {
    *count = 0;
    for (;;) {
        size_t length = strcspn(list, ",");
        char *copy;
        if (length == 0) return zeb_fail(error, ZEB_ERR_ARGUMENT, "an empty name in the list");
        if (*count == capacity) return zeb_fail(error, ZEB_ERR_ARGUMENT, "more than %zu names in a list", capacity);
        zeb_status status = zeb_arena_copy(arena, list, length, &copy, error);
        if (status != ZEB_OK) return status;
        part[(*count)++] = copy;
        if (list[length] == '\0') return ZEB_OK;
        list += length + 1;
    }
}

enum { LIST_MAX = 64 };

typedef struct case_list {
    zeb_case *cases;
    size_t count;
} case_list;

/* "all": every device of every plugin that is a real one, and every broken plugin: its row says why, and whoever
 * counted on its device learns that it is gone. */
static zeb_status all_devices(const zeb_registry *registry, zeb_arena *arena, const zeb_log *log, const char **device,
                              size_t *count, zeb_error *error) {
    size_t computing = 0;
    *count = 0;
    for (size_t i = 0; i < zeb_registry_count(registry); i++) {
        const zeb_plugin_record *record = zeb_registry_at(registry, i);
        const bool broken = record->plugin == NULL;
        if (!broken && record->plugin->backend != NULL && record->device_count == 0)
            zeb_log_write(log, ZEB_LOG_WARNING, "%s finds no device on this machine", record->name);
        for (uint32_t d = 0; d < (broken ? 1 : record->device_count); d++) {
            if (!broken && record->device[d].kind >= ZEB_DEVICE_NONE) continue;
            if (*count == LIST_MAX)
                return zeb_fail(error, ZEB_ERR_ARGUMENT, "more than %d devices: name some of them", LIST_MAX);
            char *spec;
            zeb_status status =
                broken ? zeb_arena_format(arena, &spec, error, "%s", record->name)
                       : zeb_arena_format(arena, &spec, error, "%s:%s", record->name, record->device[d].id);
            if (status != ZEB_OK) return status;
            device[(*count)++] = spec;
            computing += !broken;
        }
    }
    if (computing == 0) return zeb_fail(error, ZEB_ERR_NOT_FOUND, "no device was found; 'zeb doctor' says why");
    return ZEB_OK;
}

static zeb_status check_ranges(const run_settings *set, zeb_error *error) {
    if (set->seed > INT64_MAX) return zeb_fail(error, ZEB_ERR_ARGUMENT, "--seed must be below 2^63");
    if (set->limit > UINT32_MAX) return zeb_fail(error, ZEB_ERR_ARGUMENT, "--limit must be at most %u", UINT32_MAX);
    if (*set->db == '\0') return zeb_fail(error, ZEB_ERR_ARGUMENT, "--db needs a file");
    if ((set->carbon < 0 && set->carbon != -1) || set->carbon > CARBON_MOST)
        return zeb_fail(error, ZEB_ERR_ARGUMENT, "--carbon must be 0 to %d g/kWh; -1 asks the tables", CARBON_MOST);
    if (set->target_ci <= 0) return zeb_fail(error, ZEB_ERR_ARGUMENT, "--target-ci must be above 0");
    if (set->pue < 1 || set->pue > PUE_MOST)
        return zeb_fail(error, ZEB_ERR_ARGUMENT, "--pue is a site's total power over its computers': 1 to %d",
                        PUE_MOST);
    if (set->tdp < 0 || set->tdp > TDP_MOST)
        return zeb_fail(error, ZEB_ERR_ARGUMENT, "--tdp must be 0 to %d W", TDP_MOST);
    if (*set->sensor_root != '\0' && !zeb_path_is_folder(set->sensor_root))
        return zeb_fail(error, ZEB_ERR_ARGUMENT, "--sensor-root %s: no such folder", set->sensor_root);
    return zeb_cli_sizes(set->batch, set->seq_max, set->threads, error);
}

static zeb_case make_case(const run_settings *set, const zeb_places *places, const zeb_task *task, const char *device,
                          const char *policy) {
    zeb_case what = {
        .model = set->model != NULL ? set->model : places->model,
        .task = task->name,
        .data = set->data != NULL ? set->data : places->data,
        .split = set->split != NULL ? set->split : task->default_split,
        .device = device,
        .policy = strcmp(policy, "dense") == 0 ? NULL : policy,
        .isa = set->isa,
        .scenario = strcmp(set->scenario, "offline") == 0 ? ZEB_SCENARIO_OFFLINE : ZEB_SCENARIO_SINGLE,
        .threads = (uint32_t)set->threads,
        .pin = !set->no_pin,
        .batch = (uint32_t)set->batch,
        .seq_max = (uint32_t)set->seq_max,
        .limit = set->limit,
        .target_ci = set->target_ci,
        .max_time_ns = set->max_time_ns,
        .timeout_ns = set->timeout_ns,
        .idle_ns = set->idle_ns,
        .seed = set->seed,
        .tdp_watts = set->tdp,
        .carbon_g_per_kwh = set->carbon,
        .pue = set->pue,
        .country = set->country,
        .region = set->region,
        .sensor = set->sensor,
        .sensor_root = set->sensor_root,
        .tune = set->tune,
    };
    zeb_precision_choose(&what, set->precision);
    return what;
}

/* Tasks x devices x policies, policies innermost, so that compared cases are neighbours in time. */
static zeb_status make_cases(const run_settings *set, const zeb_places *places, const zeb_registry *registry,
                             const zeb_log *log, zeb_arena *arena, case_list *list, zeb_error *error) {
    const char *task_name[LIST_MAX], *device[LIST_MAX], *policy[LIST_MAX];
    size_t tasks, devices, policies;
    zeb_status status = split_list(arena, set->task, task_name, LIST_MAX, &tasks, error);
    if (status == ZEB_OK && strcmp(set->device, "all") == 0)
        status = all_devices(registry, arena, log, device, &devices, error);
    else if (status == ZEB_OK)
        status = split_list(arena, set->device, device, LIST_MAX, &devices, error);
    if (status == ZEB_OK) status = split_list(arena, set->policy, policy, LIST_MAX, &policies, error);
    void *memory = NULL;
    if (status == ZEB_OK) status = zeb_arena_alloc(arena, tasks * devices * policies, sizeof(zeb_case), &memory, error);
    if (status != ZEB_OK) return status;
    *list = (case_list){.cases = memory};
    for (size_t t = 0; t < tasks; t++) {
        const zeb_task *task;
        status = zeb_cli_task(task_name[t], &task, error);
        if (status != ZEB_OK) return status;
        for (size_t i = 0; i < devices * policies; i++)
            list->cases[list->count++] = make_case(set, places, task, device[i / policies], policy[i % policies]);
    }
    return ZEB_OK;
}

/* Opens the registry; where devices are named, only their plugins are asked for devices, which starts their drivers. */
static zeb_status open_registry(const run_settings *set, const zeb_places *places, const zeb_log *log, zeb_arena *arena,
                                zeb_registry **registry, zeb_error *error) {
    const char *spec[LIST_MAX];
    zeb_registry_options wish = {
        .folder = places->plugins, .folder_count = places->plugin_count, .used = spec, .log = log};
    bool all = strcmp(set->device, "all") == 0;
    zeb_status status = all ? ZEB_OK : split_list(arena, set->device, spec, LIST_MAX, &wish.used_count, error);
    for (size_t i = 0; i < wish.used_count && status == ZEB_OK; i++) {
        char *plugin;
        status = zeb_arena_copy(arena, spec[i], strcspn(spec[i], ":"), &plugin, error);
        spec[i] = plugin;
    }
    return status == ZEB_OK ? zeb_registry_open_with(&wish, registry, error) : status;
}

/* Says what is known instead of a region that is not. */
static zeb_status fail_region(const run_settings *set, zeb_error *error) {
    char known[320] = "";
    for (size_t i = 0, used = 0; i < zeb_carbon_region_count && used < sizeof known; i++)
        if (strcasecmp(zeb_carbon_regions[i].country, set->country) == 0)
            used += (size_t)snprintf(known + used, sizeof known - used, "%s%s", used > 0 ? ", " : "",
                                     zeb_carbon_regions[i].name);
    return zeb_fail(
        error, ZEB_ERR_ARGUMENT,
        "--region %.40s: no carbon intensity is known for it in %s (%s); give --carbon, or leave it out for "
        "the country's mean",
        set->region, set->country, known[0] != '\0' ? known : "nor for any other region there");
}

/* Where the electricity comes from. */
static zeb_status check_place(const run_settings *set, zeb_error *error) {
    zeb_carbon carbon;
    zeb_status status = zeb_carbon_find(set->country, set->region, -1, set->pue, &carbon, error);
    if (status != ZEB_OK) return status;
    if (set->region != NULL && set->country == NULL)
        return zeb_fail(error, ZEB_ERR_ARGUMENT, "--region %.40s: of which country? Give --country too", set->region);
    if (set->carbon >= 0) return ZEB_OK;
    if (set->country != NULL && carbon.scope == ZEB_CARBON_WORLD)
        return zeb_fail(error, ZEB_ERR_ARGUMENT,
                        "--country %s: no carbon intensity is known for it; give --carbon, or leave it out for the "
                        "world's mean",
                        set->country);
    return set->region == NULL || carbon.scope == ZEB_CARBON_REGION ? ZEB_OK : fail_region(set, error);
}

/* What is named must be known before anything runs: the place, the sensor. */
static zeb_status check_settings(const run_settings *set, const zeb_registry *registry, zeb_error *error) {
    zeb_status status = check_place(set, error);
    if (status != ZEB_OK) return status;
    const zeb_plugin_record *record;
    if (strcmp(set->sensor, "auto") == 0 || strcmp(set->sensor, "none") == 0) return ZEB_OK;
    return zeb_registry_require(registry, set->sensor, &record, error);
}

/* A name of no plugin is a slip, and ends the run before anything was measured. One that is broken fails in its own
 * rows instead, as its device would: the others are measured, unless there is none. */
static zeb_status check_devices(const zeb_registry *registry, const case_list *list, zeb_error *error) {
    zeb_status broken = ZEB_OK;
    size_t whole = 0;
    for (size_t i = 0; i < list->count; i++) {
        char plugin[ZEB_NAME_MAX];
        const char *id;
        const zeb_plugin_record *record;
        zeb_status status = zeb_device_split(list->cases[i].device, plugin, sizeof plugin, &id, error);
        if (status == ZEB_OK) status = zeb_registry_require(registry, plugin, &record, error);
        if (status != ZEB_OK && (status == ZEB_ERR_ARGUMENT || zeb_registry_find(registry, plugin) == NULL))
            return status;
        if (status != ZEB_OK) broken = status;
        whole += status == ZEB_OK;
    }
    return whole > 0 ? ZEB_OK : broken;
}

static zeb_status print_rows(run_context *context, zeb_arena *arena, zeb_error *error) {
    if (context->format == ZEB_FORMAT_JSONL) return ZEB_OK;
    zeb_store_filter filter = {.run_id = context->run_id};
    zeb_record *record;
    size_t count;
    void *memory = NULL;
    zeb_status status = zeb_store_rows(context->store, &filter, arena, &record, &count, error);
    if (status == ZEB_OK) status = zeb_arena_alloc(arena, count, sizeof(zeb_row *), &memory, error);
    if (status != ZEB_OK) return status;
    const zeb_row **row = memory;
    for (size_t i = 0; i < count; i++)
        row[i] = &record[i].row;
    unsigned how = zeb_cli_colour(stdout) ? ZEB_WRITE_COLOUR : 0;
    return zeb_rows_write(stdout, context->format, how, row, count, error);
}

/* A closed pipe, and a limit of file size, are errors like a full disk. */
static void ignore_signals(void) {
    (void)signal(SIGPIPE, SIG_IGN);
    (void)signal(SIGXFSZ, SIG_IGN);
}

/* Everything between an open database and its end; *exit_status is set when ZEB_OK. */
static zeb_status run_cases(run_context *context, const zeb_registry *registry, const case_list *list,
                            const run_settings *set, zeb_arena *arena, int *exit_status, zeb_error *error) {
    zeb_bench bench = {.registry = registry,
                       .log = &context->log,
                       .timing = context->timing,
                       .timings = context->timings,
                       .stop = context->stop,
                       .on_progress = on_progress,
                       .on_row = on_row,
                       .user = context};
    char path[PATH_MAX];
    if (set->predictions != NULL && (bench.predictions = fopen(set->predictions, "we")) == NULL)
        return zeb_fail(error, ZEB_ERR_IO, "--predictions %s: cannot be written: %s", set->predictions,
                        strerror(errno));
    if (set->predictions != NULL) bench.predictions_path = realpath(set->predictions, path);
    zeb_bench_summary summary;
    zeb_status status = zeb_bench_run(&bench, list->cases, list->count, &summary, error);
    zeb_progress_end(&context->progress);
    bool whole = summary.unwritten == 0;
    if (bench.predictions != NULL) {
        const bool faulty = ferror(bench.predictions) != 0; /* fclose does not tell of earlier faults */
        if (fclose(bench.predictions) != 0 || faulty) {
            zeb_log_write(&context->log, ZEB_LOG_ERROR, "--predictions %s: not written to its end", set->predictions);
            whole = false;
        }
    }
    zeb_error why = {{0}};
    zeb_status printed = print_rows(context, arena, &why);
    if (printed != ZEB_OK) zeb_log_write(&context->log, ZEB_LOG_ERROR, "%s", why.text);
    if (status != ZEB_OK && status != ZEB_ERR_INTERRUPTED) return status;
    if (status == ZEB_ERR_INTERRUPTED) zeb_log_write(&context->log, ZEB_LOG_WARNING, "%s", error->text);
    whole = whole && printed == ZEB_OK && !context->unstored && !context->unprinted;
    *exit_status = status == ZEB_OK && summary.ok == list->count && whole ? ZEB_EXIT_OK
                   : summary.opened == 0 && *context->stop == 0           ? ZEB_EXIT_NOTHING
                                                                          : ZEB_EXIT_NOT_OK;
    if (store_end(context, *exit_status, &why) != ZEB_OK) {
        zeb_log_write(&context->log, ZEB_LOG_ERROR, "%s: the run stays without its end", why.text);
        if (*exit_status == ZEB_EXIT_OK) *exit_status = ZEB_EXIT_NOT_OK;
    }
    zeb_log_write(&context->log, ZEB_LOG_INFO, "%zu of %zu cases ok; rows are in %s%s", summary.ok, list->count,
                  set->db, context->unstored ? ", but for those above that could not be stored" : "");
    return ZEB_OK;
}

static int run(const void *settings, const char *const *operands, size_t operand_count) {
    (void)operands;
    (void)operand_count;
    const run_settings *set = settings;
    run_context context = {.log = zeb_cli_log(set->verbose), .format = zeb_row_format_find(set->format)};
    zeb_error error = {{0}};
    zeb_arena *arena = NULL;
    zeb_registry *registry = NULL;
    zeb_places places;
    case_list list = {0};
    size_t spoilt; /* they are missing, and said so where they are missed */
    int result = ZEB_EXIT_NOTHING;
    context.stop = zeb_cli_stop();
    ignore_signals();
    zeb_progress_begin(&context.progress, stderr);
    zeb_status status = check_ranges(set, &error);
    if (status == ZEB_OK) status = zeb_arena_create(&arena, &error);
    if (status == ZEB_OK) status = zeb_places_find(set->plugin_dir, arena, &places, &error);
    if (status == ZEB_OK) status = open_registry(set, &places, &context.log, arena, &registry, &error);
    if (status == ZEB_OK) status = check_settings(set, registry, &error);
    if (status == ZEB_OK) status = make_cases(set, &places, registry, &context.log, arena, &list, &error);
    if (status == ZEB_OK) status = check_devices(registry, &list, &error);
    if (status == ZEB_OK) status = store_begin(&context, set->db, arena, &error);
    if (status == ZEB_OK)
        status = zeb_store_peaks(context.store, NULL, NULL, arena, &context.peak, &context.peaks, &error);
    if (status == ZEB_OK && list.count > 0 && zeb_tune_wanted(&list.cases[0]))
        status = zeb_store_timings(context.store, NULL, arena, &context.timing, &context.timings, &spoilt, &error);
    if (status == ZEB_OK) status = run_cases(&context, registry, &list, set, arena, &result, &error);
    if (status != ZEB_OK) result = zeb_cli_fail(zeb_cli_exit(status), &error);
    zeb_store_close(context.store);
    zeb_registry_close(registry);
    zeb_arena_destroy(arena);
    return result;
}

const zeb_command zeb_command_run = {.name = "run",
                                     .summary = "run a model over tasks on devices and store a row a case",
                                     .operands = "",
                                     .options = options,
                                     .examples = examples,
                                     .settings_size = sizeof(run_settings),
                                     .run = run};
