/* zeb quantize: a float checkpoint to I8 or U4 weights and tables, without Python. */
#include <stddef.h>
#include <string.h>

#include "base/file.h"
#include "cli/commands.h"
#include "cli/progress.h"
#include "models/model.h"
#include "models/quantise.h"
#include "run/bench.h"
#include "run/inputs.h"

typedef struct quantize_settings {
    const char *model, *out, *weights, *embeddings, *range, *method, *print;
    zeb_cli_slice slice;
    const char *task, *device, *plugin_dir;
    uint64_t group, limit, threads, timeout_ns;
    double percentile, budget;
    bool pooler, classifier, half, keep_shards, verbose;
} quantize_settings;

#define AT(field) offsetof(quantize_settings, field)

static const char *const number_formats[] = {"keep", "int8", "int4", "mixed", NULL}; /* as zeb_quantise_format */
static const char *const table_formats[] = {"keep", "int8", "int4", NULL};
static const char *const methods[] = {"rtn", "gptq", NULL};
static const char *const ranges[] = {"absmax", "percentile", "mse", NULL};
static const char *const formats[] = {"table", "json", NULL};

static const zeb_option options[] = {
    {"model", ZEB_OPTION_TEXT, "DIR|CARD", NULL, AT(model),
     "Checkpoint with float weights: a Hugging Face folder or a card.json. Default: the one that ships.", NULL},
    {"out", ZEB_OPTION_TEXT, "DIR", NULL, AT(out), "Folder to make; there must be none, or an empty one.", NULL},
    {"weights", ZEB_OPTION_CHOICE, "NAME", "int8", AT(weights),
     "int8: a scale an output channel, for w8a8; int4: a scale a group of columns, for w4a8 and w4a16; mixed: for each "
     "matrix int4, int8 or neither, as --budget allows.",
     number_formats},
    {"method", ZEB_OPTION_CHOICE, "NAME", "rtn", AT(method),
     "rtn: each weight to the nearest number; gptq: what that spoils in the outputs on a slice of train is made up for "
     "in the weights that follow.",
     methods},
    {"budget", ZEB_OPTION_PERCENT, "SHARE", "5%", AT(budget),
     "mixed: the relative error (root mean square) that a matrix's outputs may have on a slice of train.", NULL},
    {"embeddings", ZEB_OPTION_CHOICE, "NAME", "keep", AT(embeddings),
     "The word, position and type tables; int8: a scale a row; int4: the words with a scale a group of columns, the "
     "others as int8.",
     table_formats},
    {"group", ZEB_OPTION_COUNT, "N", "32", AT(group), "Columns a scale of int4 weights and words: 32 or 64.", NULL},
    {"range", ZEB_OPTION_CHOICE, "NAME", "absmax", AT(range),
     "Greatest magnitude that is represented: all of them, a percentile, or the one of least squared error.", ranges},
    {"percentile", ZEB_OPTION_PERCENT, "SHARE", "99.9%", AT(percentile), "Of the range percentile.", NULL},
    {"pooler", ZEB_OPTION_FLAG, NULL, NULL, AT(pooler), "Quantise the pooler's matrix too.", NULL},
    {"classifier", ZEB_OPTION_FLAG, NULL, NULL, AT(classifier), "And the classifier's.", NULL},
    {"half", ZEB_OPTION_FLAG, NULL, NULL, AT(half), "Store what stays float (norms, biases) as F16.", NULL},
    {"keep-shards", ZEB_OPTION_FLAG, NULL, NULL, AT(keep_shards),
     "Leave what does not change in the shards beside the model's folder (../) where it is, and point at it.", NULL},
    {"task", ZEB_OPTION_TEXT, "NAME", "glue/sst2", AT(task), "For gptq and mixed: the task whose train is seen.", NULL},
    ZEB_CLI_SLICE_OPTIONS(quantize_settings, slice),
    {"limit", ZEB_OPTION_COUNT, "N", "512", AT(limit), "Examples of the slice at most, spread evenly; 0: all.", NULL},
    {"device", ZEB_OPTION_TEXT, "NAME", "cpu", AT(device), "A plugin or plugin:device that runs the slice.", NULL},
    {"threads", ZEB_OPTION_COUNT, "N", "0", AT(threads), "Threads of a CPU device; 0: all it may use.", NULL},
    {"timeout", ZEB_OPTION_DURATION, "TIME", "30min", AT(timeout_ns), "gptq and mixed: what takes longer is stopped.",
     NULL},
    {"format", ZEB_OPTION_CHOICE, "NAME", "table", AT(print), "What is printed on stdout.", formats},
    {"plugin-dir", ZEB_OPTION_TEXT, "DIR[:DIR]", NULL, AT(plugin_dir), "Look for plugins here first.", NULL},
    {"verbose", ZEB_OPTION_FLAG, NULL, NULL, AT(verbose), "Say more on stderr.", NULL},
    {0}};

static const char *const examples[] = {"zeb quantize --out ./bert-int8 && zeb run --model ./bert-int8 --precision w8a8",
                                       "zeb quantize --model ./my-bert --weights int4 --embeddings int4 --range mse "
                                       "--out ./bert-int4",
                                       "zeb quantize --weights int4 --method gptq --data ./glue_data --out ./bert-gptq",
                                       NULL};

static void on_progress(const zeb_shared *shared, void *user) {
    const uint64_t done = atomic_load(&shared->done), total = atomic_load(&shared->total);
    zeb_progress_show(user, "quantize", done < total ? "running the slice" : "rounding", done, total);
}

static void print_json(const quantize_settings *set, const zeb_quantise_report *r) {
    (void)putchar('{');
    zeb_cli_json_text("model", set->out, ", ");
    (void)printf("\"tensors\": %llu, \"quantised\": %llu, \"int8\": %llu, \"int4\": %llu, \"float\": %llu, "
                 "\"bytes_in\": %llu, \"bytes_out\": %llu, \"error\": %.9g, \"output_error\": ",
                 (unsigned long long)r->tensors, (unsigned long long)r->quantised, (unsigned long long)r->eight,
                 (unsigned long long)r->four, (unsigned long long)r->floats, (unsigned long long)r->bytes_in,
                 (unsigned long long)r->bytes_out, r->error);
    (void)(r->output_error >= 0 ? printf("%.9g", r->output_error) : printf("null"));
    (void)printf(", \"sha256\": \"%s\"}\n", r->sha256);
}

static void print_table(const quantize_settings *set, const zeb_quantise_report *r) {
    (void)printf("%s: %llu of %llu tensors are quantised (weights %s by %s, embeddings %s), %.1f MiB instead of %.1f "
                 "MiB, relative error %.4f\n",
                 set->out, (unsigned long long)r->quantised, (unsigned long long)r->tensors, set->weights, set->method,
                 set->embeddings, (double)r->bytes_out / 1048576, (double)r->bytes_in / 1048576, r->error);
    if (strcmp(set->weights, "mixed") == 0)
        (void)printf("matrices: %llu int4, %llu int8, %llu float\n", (unsigned long long)r->four,
                     (unsigned long long)r->eight, (unsigned long long)r->floats);
    if (r->output_error >= 0) (void)printf("relative error of their outputs on the slice: %.4f\n", r->output_error);
    if (r->policy) (void)printf("%s/policy.json: the policy under the new model's hash\n", set->out);
}

static zeb_status check_ranges(const quantize_settings *set, zeb_error *error) {
    if (set->out == NULL || set->out[0] == '\0')
        return zeb_fail(error, ZEB_ERR_ARGUMENT, "--out DIR is needed: where the new checkpoint goes");
    zeb_status status = zeb_cli_slice_check(&set->slice, error);
    return status == ZEB_OK ? zeb_cli_sizes(1, set->slice.seq_max, set->threads, error) : status;
}

static zeb_quantise_options make_options(const quantize_settings *set) {
    return (zeb_quantise_options){.weights = (zeb_quantise_format)zeb_choice_index(number_formats, set->weights),
                                  .embeddings = (zeb_quantise_format)zeb_choice_index(table_formats, set->embeddings),
                                  .group = set->group <= 64 ? (int32_t)set->group : -1,
                                  .range = (zeb_range)zeb_choice_index(ranges, set->range),
                                  .percentile = set->percentile,
                                  .pooler = set->pooler,
                                  .classifier = set->classifier,
                                  .half = set->half,
                                  .gptq = strcmp(set->method, "gptq") == 0,
                                  .budget = set->budget,
                                  .keep_shards = set->keep_shards};
}

/* With the inputs of a slice: under the model's own policy, if it has one. */
static zeb_status with_inputs(const quantize_settings *set, const zeb_places *places, const zeb_quantise_options *o,
                              zeb_arena *arena, zeb_quantise_report *report, zeb_error *error) {
    zeb_log log = zeb_cli_log(set->verbose);
    zeb_registry *registry = NULL;
    zeb_model *model = NULL;
    char *policy = NULL;
    const zeb_task *task;
    const char *path = set->model != NULL ? set->model : places->model;
    zeb_status status = zeb_cli_task(set->task, &task, error);
    if (status == ZEB_OK) status = zeb_model_open(path, &model, error);
    if (status == ZEB_OK) status = zeb_path_join(arena, zeb_model_folder(model), "policy.json", &policy, error);
    zeb_model_close(model);
    if (status == ZEB_OK) status = zeb_registry_open(places->plugins, places->plugin_count, &log, &registry, error);
    if (status != ZEB_OK) return status;
    const zeb_inputs_options with = {.what = {.model = path,
                                              .policy = zeb_path_is_file(policy) ? policy : NULL,
                                              .task = task->name,
                                              .data = set->slice.data != NULL ? set->slice.data : places->data,
                                              .split = set->slice.split,
                                              .device = set->device,
                                              .threads = (uint32_t)set->threads,
                                              .pin = true,
                                              .batch = 32,
                                              .seq_max = (uint32_t)set->slice.seq_max,
                                              .limit = set->limit},
                                     .slice = {.share = set->slice.share, .min_tokens = (int32_t)set->slice.min_tokens},
                                     .out = set->out,
                                     .quantise = *o};
    zeb_cli_watch watch;
    zeb_cli_watch_begin(&watch, set->timeout_ns, UINT64_C(10000000000), on_progress);
    status = zeb_inputs_quantise(&with, registry, &watch.worker, report, error);
    zeb_cli_watch_end(&watch, &log, "quantize");
    zeb_registry_close(registry);
    return status;
}

static zeb_status without(const quantize_settings *set, const zeb_places *places, const zeb_quantise_options *o,
                          zeb_quantise_report *report, zeb_error *error) {
    zeb_model *model = NULL;
    zeb_status status = zeb_model_open(set->model != NULL ? set->model : places->model, &model, error);
    if (status == ZEB_OK) status = zeb_quantise(zeb_model_folder(model), set->out, o, report, error);
    zeb_model_close(model);
    return status;
}

static int run(const void *settings, const char *const *operands, size_t operand_count) {
    (void)operands;
    (void)operand_count;
    const quantize_settings *set = settings;
    zeb_error error = {{0}};
    zeb_arena *arena = NULL;
    zeb_places places;
    zeb_quantise_report report = {0};
    const zeb_quantise_options o = make_options(set);
    zeb_status status = check_ranges(set, &error);
    if (status == ZEB_OK) status = zeb_arena_create(&arena, &error);
    if (status == ZEB_OK) status = zeb_places_find(set->plugin_dir, arena, &places, &error);
    if (status == ZEB_OK)
        status = o.gptq || o.weights == ZEB_QUANTISE_MIXED ? with_inputs(set, &places, &o, arena, &report, &error)
                                                           : without(set, &places, &o, &report, &error);
    if (status == ZEB_OK && strcmp(set->print, "json") == 0) print_json(set, &report);
    if (status == ZEB_OK && strcmp(set->print, "table") == 0) print_table(set, &report);
    zeb_arena_destroy(arena);
    return status == ZEB_OK ? ZEB_EXIT_OK : zeb_cli_fail(zeb_cli_exit(status), &error);
}

const zeb_command zeb_command_quantize = {.name = "quantize",
                                          .summary = "make an int8 or int4 checkpoint from a float one",
                                          .operands = "",
                                          .options = options,
                                          .examples = examples,
                                          .settings_size = sizeof(quantize_settings),
                                          .run = run};
