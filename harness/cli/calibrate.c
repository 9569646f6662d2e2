/* zeb calibrate: a sparsity policy for a checkpoint, without training. */
#include <string.h>

#include "base/file.h"
#include "cli/commands.h"
#include "cli/commit.h"
#include "cli/progress.h"
#include "run/bench.h"
#include "run/calibrate.h"

typedef struct calibrate_settings {
    zeb_cli_slice slice;
    const char *model, *task, *device, *isa, *precision, *mode, *shape, *name, *out, *format, *plugin_dir;
    double flops, max_drop;
    uint64_t floor, threads, batch, limit, seed, timeout_ns;
    bool keep_last, no_pin, verbose;
} calibrate_settings;

#define AT(field) offsetof(calibrate_settings, field)

/* As zeb_select_mode, from THRESHOLD on; heads: NONE. */
static const char *const modes[] = {"threshold", "topk", "ratio", "relative", "heads", NULL};
static const char *const shapes[] = {"best", "even", "early", "late", NULL};
static const char *const formats[] = {"table", "json", NULL};

static const zeb_option options[] = {
    {"model", ZEB_OPTION_TEXT, "DIR|CARD", NULL, AT(model),
     "Checkpoint: a Hugging Face folder or a card.json that names one. Default: the one that ships.", NULL},
    {"task", ZEB_OPTION_TEXT, "NAME", "glue/sst2", AT(task), "The task that the checkpoint was trained for.", NULL},
    ZEB_CLI_SLICE_OPTIONS(calibrate_settings, slice),
    {"flops", ZEB_OPTION_PERCENT, "SHARE", NULL, AT(flops),
     "Wanted work: executed over dense FLOPs, without padding and with the [CLS]-only last layer in both. Default: "
     "50%, "
     "unless --max-drop is given.",
     NULL},
    {"max-drop", ZEB_OPTION_PERCENT, "SHARE", NULL, AT(max_drop),
     "Instead: as little work as keeps the score on the slice within this of the dense one.", NULL},
    {"mode", ZEB_OPTION_CHOICE, "NAME", "threshold", AT(mode),
     "How layers choose rows: by a threshold of importance (relative: of importance times the rows of the sequence), a "
     "number of rows, or a share of them; heads: layers keep all rows, and the heads that gave most in those before.",
     modes},
    {"shape", ZEB_OPTION_CHOICE, "NAME", "best", AT(shape),
     "Where rows are dropped: alike in all layers, mostly in early or in late ones, or as scores best.", shapes},
    {"floor", ZEB_OPTION_COUNT, "N", "2", AT(floor), "Rows that always survive ([CLS] is one).", NULL},
    {"keep-last", ZEB_OPTION_FLAG, NULL, NULL, AT(keep_last), "The last row ([SEP]) always survives.", NULL},
    {"limit", ZEB_OPTION_COUNT, "N", "1024", AT(limit), "Examples of the slice at most, spread evenly; 0: all.", NULL},
    {"device", ZEB_OPTION_TEXT, "NAME", "cpu", AT(device), "A plugin or plugin:device that selects rows.", NULL},
    {"precision", ZEB_OPTION_CHOICE, "NAME", "fp32", AT(precision), "Arithmetic of the linear layers.",
     zeb_precision_names},
    {"threads", ZEB_OPTION_COUNT, "N", "0", AT(threads), "Threads of a CPU device; 0: all it may use.", NULL},
    {"no-pin", ZEB_OPTION_FLAG, NULL, NULL, AT(no_pin), "Do not pin threads to processors.", NULL},
    {"isa", ZEB_OPTION_TEXT, "NAME", NULL, AT(isa), "Highest instruction set a CPU device may use.", NULL},
    {"batch", ZEB_OPTION_COUNT, "N", "32", AT(batch), "Sequences a pass.", NULL},
    {"seed", ZEB_OPTION_COUNT, "N", "1", AT(seed), "Seed of the score's interval.", NULL},
    {"timeout", ZEB_OPTION_DURATION, "TIME", "30min", AT(timeout_ns), "A search that takes longer is stopped.", NULL},
    {"name", ZEB_OPTION_TEXT, "NAME", NULL, AT(name),
     "Name of the policy. Default: made of mode, shape, goal and --min-tokens.", NULL},
    {"out", ZEB_OPTION_TEXT, "FILE", "policy.json", AT(out), "Where to; replaced only when all is written.", NULL},
    {"format", ZEB_OPTION_CHOICE, "NAME", "table", AT(format), "What is printed on stdout.", formats},
    {"plugin-dir", ZEB_OPTION_TEXT, "DIR[:DIR]", NULL, AT(plugin_dir), "Look for plugins here first.", NULL},
    {"verbose", ZEB_OPTION_FLAG, NULL, NULL, AT(verbose), "Say more on stderr.", NULL},
    {0}};

static const char *const examples[] = {
    "zeb calibrate --data ./glue_data --flops 0.5 --out half.json",
    "zeb calibrate --model ./my-bert --task glue/mrpc --data ./glue_data --max-drop 1%",
    "zeb calibrate --data ./glue_data --mode heads --max-drop 0.5% --min-tokens 20",
    "zeb calibrate --data ./glue_data --mode ratio --flops 0.4 && zeb run --device cpu --policy policy.json", NULL};

static void on_progress(const zeb_shared *shared, void *user) {
    static const char *const name[] = {"opening", "dense", "searching"};
    uint32_t stage = atomic_load(&shared->stage);
    zeb_progress_show(user, "calibrate", stage < 3 ? name[stage] : "?", 0, 0);
}

static zeb_status check_ranges(const calibrate_settings *set, zeb_error *error) {
    if (set->flops >= 0 && set->max_drop >= 0)
        return zeb_fail(error, ZEB_ERR_ARGUMENT, "--flops and --max-drop are two goals: give one");
    if (set->flops == 0)
        return zeb_fail(error, ZEB_ERR_ARGUMENT, "--flops is a share of the dense work: above 0 and below 1");
    if (set->floor < 1 || set->floor > 65536) return zeb_fail(error, ZEB_ERR_ARGUMENT, "--floor must be 1 to 65536");
    if (strcmp(set->mode, "heads") == 0 && strcmp(set->shape, "best") != 0)
        return zeb_fail(error, ZEB_ERR_ARGUMENT, "--shape is about rows: --mode heads finds its own");
    if (set->name != NULL && (set->name[0] == '\0' || strcmp(set->name, "dense") == 0))
        return zeb_fail(error, ZEB_ERR_ARGUMENT, "--name must not be %s: rows without a policy are called dense",
                        set->name[0] == '\0' ? "empty" : "dense");
    zeb_status status = zeb_cli_slice_check(&set->slice, error);
    return status == ZEB_OK ? zeb_cli_sizes(set->batch, set->slice.seq_max, set->threads, error) : status;
}

static zeb_status make_options(const calibrate_settings *set, const zeb_places *places, zeb_arena *arena,
                               zeb_calibration_options *to, zeb_error *error) {
    const zeb_task *task;
    zeb_status status = zeb_cli_task(set->task, &task, error);
    if (status != ZEB_OK) return status;
    double flops = set->flops > 0 ? set->flops : set->max_drop < 0 ? 0.5 : 0;
    zeb_select_mode mode = ZEB_SELECT_THRESHOLD + (zeb_select_mode)zeb_choice_index(modes, set->mode);
    zeb_case what = {
        .model = set->model != NULL ? set->model : places->model,
        .task = task->name,
        .data = set->slice.data != NULL ? set->slice.data : places->data,
        .split = set->slice.split,
        .device = set->device,
        .isa = set->isa,
        .precision = (zeb_precision)zeb_choice_index(zeb_precision_names, set->precision),
        .scenario = ZEB_SCENARIO_OFFLINE,
        .threads = (uint32_t)set->threads,
        .pin = !set->no_pin,
        .batch = (uint32_t)set->batch,
        .seq_max = (uint32_t)set->slice.seq_max,
        .limit = set->limit,
        .timeout_ns = set->timeout_ns,
        .seed = set->seed,
    };
    *to = (zeb_calibration_options){.what = what,
                                    .flops = flops,
                                    .max_drop = set->max_drop,
                                    .mode = mode <= ZEB_SELECT_RELATIVE ? mode : ZEB_SELECT_NONE,
                                    .shape = (zeb_calibration_shape)zeb_choice_index(shapes, set->shape),
                                    .floor = (int32_t)set->floor,
                                    .keep_last = set->keep_last,
                                    .share = set->slice.share,
                                    .min_tokens = (int32_t)set->slice.min_tokens,
                                    .name = set->name,
                                    .made_by = "zeb " ZEB_VERSION " (" ZEB_COMMIT ")"};
    if (set->name != NULL) return ZEB_OK;
    const bool shaped = strcmp(set->shape, "best") != 0;
    char *name, from[32] = "";
    if (set->slice.min_tokens > 0)
        (void)snprintf(from, sizeof from, "-from%llu", (unsigned long long)set->slice.min_tokens);
    status =
        zeb_arena_format(arena, &name, error, "%s%s%s-%s%.4g%s", set->mode, shaped ? "-" : "", shaped ? set->shape : "",
                         flops > 0 ? "" : "drop-", flops > 0 ? flops : set->max_drop, from);
    to->name = name;
    return status;
}

static void print_metric(const char *what, const zeb_metric *m) {
    if (!m->defined)
        (void)printf("%s: not defined on the slice\n", what);
    else if (m->has_interval)
        (void)printf("%s: %s %.2f [%.2f, %.2f]\n", what, m->name, 100 * m->value, 100 * m->lo, 100 * m->hi);
    else
        (void)printf("%s: %s %.2f\n", what, m->name, 100 * m->value);
}

static void print_table(const zeb_calibration_options *o, const zeb_calibration *c) {
    (void)printf("model %s, task %s, device %s, %llu examples of the calibration slice, %.1f tokens on "
                 "average\n\nlayer  rows kept  rule\n",
                 c->model, o->what.task, c->device, (unsigned long long)c->examples,
                 (double)c->rows / (double)c->examples);
    for (int32_t l = 0; l < c->layers; l++) {
        const zeb_select *t = &c->tokens[l];
        (void)printf("%5d  %7.1f %%  ", l, 100 * c->kept[l]);
        if (t->mode == ZEB_SELECT_THRESHOLD) (void)printf("importance >= %.6g\n", (double)t->value);
        if (t->mode == ZEB_SELECT_RELATIVE) (void)printf("importance x rows >= %.6g\n", (double)t->value);
        if (t->mode == ZEB_SELECT_RATIO) (void)printf("%.4g of the rows\n", (double)t->value);
        if (t->mode == ZEB_SELECT_TOPK) (void)printf("%d rows\n", t->count);
        if (t->mode == ZEB_SELECT_NONE && c->heads[l] == 0) (void)printf("all\n");
        if (t->mode == ZEB_SELECT_NONE && c->heads[l] > 0) (void)printf("all, %d heads\n", c->heads[l]);
    }
    (void)printf("\nwork: %.4f of the dense FLOPs (shape %s, %u trials)\n", c->flops_executed / c->flops_dense,
                 zeb_calibration_shape_name(c->shape), c->trials);
    print_metric("dense", &c->dense);
    print_metric("sparse", &c->sparse);
}

static void print_json(const zeb_calibration_options *o, const zeb_calibration *c, const char *out) {
    (void)putchar('{');
    zeb_cli_json_text("policy", out, ", ");
    (void)printf(
        "\"mode\": \"%s\", \"shape\": \"%s\", \"flops\": %.9g, \"reached\": %s, \"trials\": %u, \"examples\": %llu, "
        "\"metric\": \"%s\", \"dense\": ",
        o->mode == ZEB_SELECT_NONE ? "heads" : modes[o->mode - ZEB_SELECT_THRESHOLD],
        zeb_calibration_shape_name(c->shape), c->flops_executed / c->flops_dense, c->reached ? "true" : "false",
        c->trials, (unsigned long long)c->examples, c->dense.name);
    (void)(c->dense.defined ? printf("%.9g", c->dense.value) : printf("null"));
    (void)printf(", \"sparse\": ");
    (void)(c->sparse.defined ? printf("%.9g", c->sparse.value) : printf("null"));
    (void)printf(", \"kept\": [");
    for (int32_t l = 0; l < c->layers; l++)
        (void)printf("%s%.9g", l > 0 ? ", " : "", c->kept[l]);
    (void)printf("]");
    for (int32_t l = 1; l < c->layers && o->mode == ZEB_SELECT_NONE; l++) /* all run in the first layer */
        (void)printf("%s%d%s", l > 1 ? ", " : ", \"heads\": [", c->heads[l], l + 1 < c->layers ? "" : "]");
    (void)printf("}\n");
}

static zeb_status search(const zeb_calibration_options *o, const zeb_registry *registry, const zeb_log *log,
                         zeb_calibration *result, zeb_error *error) {
    zeb_cli_watch watch;
    zeb_cli_watch_begin(&watch, o->what.timeout_ns, UINT64_C(10000000000), on_progress);
    zeb_status status = zeb_calibrate(o, registry, &watch.worker, result, error);
    zeb_cli_watch_end(&watch, log, "calibrate");
    return status;
}

static int run(const void *settings, const char *const *operands, size_t operand_count) {
    (void)operands;
    (void)operand_count;
    const calibrate_settings *set = settings;
    zeb_log log = zeb_cli_log(set->verbose);
    zeb_error error = {{0}};
    zeb_arena *arena = NULL;
    zeb_registry *registry = NULL;
    zeb_places places;
    zeb_calibration_options o;
    zeb_calibration result;
    zeb_status status = check_ranges(set, &error);
    if (status == ZEB_OK) status = zeb_file_check(set->out, &error); /* not found out when the search is done */
    if (status == ZEB_OK) status = zeb_arena_create(&arena, &error);
    if (status == ZEB_OK) status = zeb_places_find(set->plugin_dir, arena, &places, &error);
    if (status == ZEB_OK) status = make_options(set, &places, arena, &o, &error);
    if (status == ZEB_OK) status = zeb_registry_open(places.plugins, places.plugin_count, &log, &registry, &error);
    if (status == ZEB_OK) status = search(&o, registry, &log, &result, &error);
    if (status == ZEB_OK) status = zeb_calibration_write(&o, &result, set->out, &error);
    if (status == ZEB_OK && strcmp(set->format, "json") == 0) print_json(&o, &result, set->out);
    if (status == ZEB_OK && strcmp(set->format, "table") == 0) print_table(&o, &result);
    int exit_status = status == ZEB_OK ? ZEB_EXIT_OK : zeb_cli_fail(zeb_cli_exit(status), &error);
    if (status == ZEB_OK && !result.reached) {
        zeb_log_write(&log, ZEB_LOG_WARNING, "%s is the nearest that was found, but not what was wanted", set->out);
        exit_status = ZEB_EXIT_NOT_OK;
    }
    zeb_registry_close(registry);
    zeb_arena_destroy(arena);
    return exit_status;
}

const zeb_command zeb_command_calibrate = {.name = "calibrate",
                                           .summary = "find a sparsity policy on a slice of train, without training",
                                           .operands = "",
                                           .options = options,
                                           .examples = examples,
                                           .settings_size = sizeof(calibrate_settings),
                                           .run = run};
