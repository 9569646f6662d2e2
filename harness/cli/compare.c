/* zeb compare: what of a run has become slower, worse or lost since its cases last ran. */
#include <stddef.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/compare_write.h"

typedef struct compare_settings {
    const char *db, *format, *predictions, *base_predictions;
    uint64_t run, base;
    double tolerance;
} compare_settings;

#define AT(field) offsetof(compare_settings, field)

static const char *const formats[] = {"table", "md", "json", NULL};

static const zeb_option options[] = {
    {"db", ZEB_OPTION_TEXT, "FILE", "results/local/zeb.db", AT(db), "Database of results; it is only read.", NULL},
    {"run", ZEB_OPTION_COUNT, "N", "0", AT(run), "The run to judge, by its id; 0: the newest.", NULL},
    {"base", ZEB_OPTION_COUNT, "N", "0", AT(base),
     "Compare with this run's rows, whatever the host. 0: each case with its newest earlier row that is ok, of any "
     "run; cases that the newest earlier run of the same command line had are then missed where they are not there.",
     NULL},
    {"tolerance", ZEB_OPTION_PERCENT, "SHARE", "5%", AT(tolerance),
     "A median counts as changed when the whole 95 % interval of the ratio lies beyond this: between two nights, the "
     "same machine differs by more than its samples of one night tell.",
     NULL},
    {"predictions", ZEB_OPTION_TEXT, "FILE", NULL, AT(predictions),
     "What zeb run --predictions wrote in the run: with the base's, accuracies are compared answer by answer "
     "(McNemar).",
     NULL},
    {"base-predictions", ZEB_OPTION_TEXT, "FILE", NULL, AT(base_predictions), "The same of the base.", NULL},
    {"format", ZEB_OPTION_CHOICE, "NAME", "table", AT(format), "What is printed on stdout.", formats},
    {0}};

static const char *const examples[] = {
    "zeb run --db nightly.db; [ $? -lt 2 ] && zeb compare --db nightly.db   # tonight against the nights before",
    "zeb compare --db nightly.db --base 1 --tolerance 10%   # against a fixed run: slow drift adds up",
    "zeb compare --run 12 --base 11 --predictions b.jsonl --base-predictions a.jsonl", NULL};

static zeb_status check(const compare_settings *set, zeb_error *error) {
    if (set->run > INT64_MAX || set->base > INT64_MAX)
        return zeb_fail(error, ZEB_ERR_ARGUMENT, "--run and --base must be below 2^63");
    if ((set->predictions == NULL) != (set->base_predictions == NULL))
        return zeb_fail(error, ZEB_ERR_ARGUMENT, "--predictions and --base-predictions need each other");
    return ZEB_OK;
}

static zeb_status write_changes(const compare_settings *set, const zeb_changes *changes, zeb_error *error) {
    if (strcmp(set->format, "json") == 0) return zeb_compare_write_json(stdout, changes, set->tolerance, error);
    if (strcmp(set->format, "md") == 0) return zeb_compare_write_md(stdout, changes, error);
    return zeb_compare_write_table(stdout, zeb_cli_colour(stdout), changes, error);
}

static void warn(const zeb_changes *changes) {
    zeb_log log = zeb_cli_log(false);
    if (changes->run.finished_utc == NULL)
        zeb_log_write(&log, ZEB_LOG_WARNING, "run %lld has not ended, or was killed", (long long)changes->run.id);
    if (changes->expected == NULL)
        zeb_log_write(&log, ZEB_LOG_INFO,
                      "no earlier run of this command line ended: cases that are missing can't be told");
    if (changes->note[0] != '\0') zeb_log_write(&log, ZEB_LOG_WARNING, "%s", changes->note);
}

static int run(const void *settings, const char *const *operands, size_t operand_count) {
    (void)operands;
    (void)operand_count;
    const compare_settings *set = settings;
    zeb_error error = {{0}};
    zeb_arena *arena = NULL;
    zeb_store *store = NULL;
    zeb_changes changes = {0};
    zeb_status status = check(set, &error);
    const zeb_changes_options asked = {.run = (int64_t)set->run,
                                       .base = (int64_t)set->base,
                                       .tolerance = set->tolerance,
                                       .now_answers = set->predictions,
                                       .then_answers = set->base_predictions};
    if (status == ZEB_OK) status = zeb_arena_create(&arena, &error);
    if (status == ZEB_OK) status = zeb_store_open_read(set->db, &store, &error);
    if (status == ZEB_OK) status = zeb_changes_find(store, &asked, arena, &changes, &error);
    if (status == ZEB_OK) {
        warn(&changes);
        status = write_changes(set, &changes, &error);
    }
    if (status == ZEB_OK && changes.compared == 0)
        status = zeb_fail(&error, ZEB_ERR_NOT_FOUND,
                          "nothing to compare: none of the cases of run %lld has an earlier row that is ok",
                          (long long)changes.run.id);
    int exit_status = status != ZEB_OK     ? zeb_cli_fail(zeb_cli_exit(status), &error)
                      : changes.losses > 0 ? ZEB_EXIT_NOT_OK
                                           : ZEB_EXIT_OK;
    zeb_store_close(store);
    zeb_arena_destroy(arena);
    return exit_status;
}

const zeb_command zeb_command_compare = {
    .name = "compare",
    .summary = "tell what became slower, worse or was lost since a case last ran",
    .operands = "",
    .options = options,
    .examples = examples,
    .exit_status = "0 nothing was lost, 1 a case is slower, worse, lost, missing or over other "
                   "data (differs), 2 wrong usage, 3 nothing to compare or no database.",
    .settings_size = sizeof(compare_settings),
    .run = run};
