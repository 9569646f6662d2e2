/* zeb quantize: a float checkpoint to I8 or U4 weights and tables, without Python. */
#include <stddef.h>
#include <string.h>

#include "cli/commands.h"
#include "models/model.h"
#include "models/quantise.h"

typedef struct quantize_settings {
    const char *model, *out, *weights, *embeddings, *range, *print;
    uint64_t group;
    double percentile;
    bool pooler, classifier, half, share;
} quantize_settings;

#define AT(field) offsetof(quantize_settings, field)

static const char *const number_formats[] = {"keep", "int8", "int4", NULL}; /* as zeb_quantise_format */
static const char *const ranges[] = {"absmax", "percentile", "mse", NULL};
static const char *const formats[] = {"table", "json", NULL};

static const zeb_option options[] = {
    {"model", ZEB_OPTION_TEXT, "DIR|CARD", NULL, AT(model),
     "Checkpoint with float weights: a Hugging Face folder or a card.json. Default: the one that ships.", NULL},
    {"out", ZEB_OPTION_TEXT, "DIR", NULL, AT(out), "Folder to make; there must be none, or an empty one.", NULL},
    {"weights", ZEB_OPTION_CHOICE, "NAME", "int8", AT(weights),
     "int8: a scale an output channel, for w8a8; int4: a scale a group of columns, for w4a8 and w4a16.",
     number_formats},
    {"embeddings", ZEB_OPTION_CHOICE, "NAME", "keep", AT(embeddings),
     "The word, position and type tables; int8: a scale a row, int4: a scale a group of 32.", number_formats},
    {"group", ZEB_OPTION_COUNT, "N", "32", AT(group), "Columns a scale of int4 weights: 32 or 64.", NULL},
    {"range", ZEB_OPTION_CHOICE, "NAME", "absmax", AT(range),
     "Greatest magnitude that is represented: all of them, a percentile, or the one of least squared error.", ranges},
    {"percentile", ZEB_OPTION_PERCENT, "SHARE", "99.9%", AT(percentile), "Of the range percentile.", NULL},
    {"pooler", ZEB_OPTION_FLAG, NULL, NULL, AT(pooler), "Quantise the pooler's matrix too.", NULL},
    {"classifier", ZEB_OPTION_FLAG, NULL, NULL, AT(classifier), "And the classifier's.", NULL},
    {"half", ZEB_OPTION_FLAG, NULL, NULL, AT(half), "Store what stays float (norms, biases) as F16.", NULL},
    {"share", ZEB_OPTION_FLAG, NULL, NULL, AT(share),
     "Leave what does not change in the shards beside the model's folder (../) where it is, and point at it.", NULL},
    {"format", ZEB_OPTION_CHOICE, "NAME", "table", AT(print), "What is printed on stdout.", formats},
    {0}};

static const char *const examples[] = {"zeb quantize --out ./bert-int8 && zeb run --model ./bert-int8 --precision w8a8",
                                       "zeb quantize --model ./my-bert --weights int4 --embeddings int4 --range mse "
                                       "--out ./bert-int4",
                                       NULL};

static void print(const quantize_settings *set, const zeb_quantise_report *r) {
    if (strcmp(set->print, "json") == 0) {
        (void)printf(
            "{\"model\": \"%s\", \"tensors\": %llu, \"quantised\": %llu, \"bytes_in\": %llu, \"bytes_out\": %llu, "
            "\"error\": %.9g, \"sha256\": \"%s\"}\n",
            set->out, (unsigned long long)r->tensors, (unsigned long long)r->quantised, (unsigned long long)r->bytes_in,
            (unsigned long long)r->bytes_out, r->error, r->sha256);
        return;
    }
    (void)printf("%s: %llu of %llu tensors are quantised (weights %s, embeddings %s), %.1f MiB instead of %.1f MiB, "
                 "relative error %.4f\n",
                 set->out, (unsigned long long)r->quantised, (unsigned long long)r->tensors, set->weights,
                 set->embeddings, (double)r->bytes_out / 1048576, (double)r->bytes_in / 1048576, r->error);
    if (r->policy) (void)printf("%s/policy.json: the policy under the new model's hash\n", set->out);
}

static zeb_quantise_format format_of(const char *name) {
    zeb_quantise_format format = ZEB_QUANTISE_KEEP;
    while (strcmp(number_formats[format], name) != 0)
        format++;
    return format;
}

static int run(const void *settings, const char *const *operands, size_t operand_count) {
    (void)operands;
    (void)operand_count;
    const quantize_settings *set = settings;
    zeb_error error = {{0}};
    zeb_arena *arena = NULL;
    zeb_model *model = NULL;
    zeb_places places;
    zeb_quantise_options o = {.weights = format_of(set->weights),
                              .embeddings = format_of(set->embeddings),
                              .group = set->group <= 64 ? (int32_t)set->group : -1,
                              .percentile = set->percentile,
                              .pooler = set->pooler,
                              .classifier = set->classifier,
                              .half = set->half,
                              .share = set->share};
    while (strcmp(ranges[o.range], set->range) != 0)
        o.range++;
    zeb_quantise_report report;
    zeb_status status = set->out != NULL && set->out[0] != '\0'
                            ? zeb_arena_create(&arena, &error)
                            : zeb_fail(&error, ZEB_ERR_ARGUMENT, "--out DIR is needed: where the new checkpoint goes");
    if (status == ZEB_OK) status = zeb_places_find(NULL, arena, &places, &error);
    if (status == ZEB_OK) status = zeb_model_open(set->model != NULL ? set->model : places.model, &model, &error);
    if (status == ZEB_OK) status = zeb_quantise(zeb_model_folder(model), set->out, &o, &report, &error);
    if (status == ZEB_OK) print(set, &report);
    zeb_model_close(model);
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
