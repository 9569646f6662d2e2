/* zeb explain: the stages of a compiled plan, what each needs at least and what it took. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/text.h"
#include "cli/commands.h"
#include "cli/progress.h"
#include "cli/provenance.h"
#include "run/bench.h"
#include "run/explain.h"
#include "run/tune.h"
#include "suites/task.h"

typedef struct explain_settings {
    const char *model, *task, *data, *split, *device, *policy, *isa, *precision, *db, *format, *plugin_dir;
    uint64_t threads, batch, seq_max, limit, timeout_ns;
    bool no_pin, tune, no_predict, remake, verbose;
} explain_settings;

#define AT(field) offsetof(explain_settings, field)

static const char *const formats[] = {"table", "json", NULL};

static const zeb_option options[] = {
    {"model", ZEB_OPTION_TEXT, "DIR|CARD", NULL, AT(model),
     "Checkpoint: a Hugging Face folder or a card.json that names one. Default: the one that ships.", NULL},
    {"policy", ZEB_OPTION_TEXT, "FILE", NULL, AT(policy), "Sparsity policy (policy.json). Default: dense.", NULL},
    {"device", ZEB_OPTION_TEXT, "NAME", "cpu", AT(device), "A plugin or plugin:device.", NULL},
    {"precision", ZEB_OPTION_CHOICE, "NAME", "fp32", AT(precision),
     "Arithmetic of the linear layers; auto: the fastest in each of fp32, bf16 and w8a8, by the device's cost table.",
     zeb_precision_choices},
    {"tune", ZEB_OPTION_FLAG, NULL, NULL, AT(tune),
     "Fit the policy to the device by its cost table: selections that do not pay are dropped, rows that cost nothing "
     "are kept.",
     NULL},
    {"task", ZEB_OPTION_TEXT, "NAME", "glue/sst2", AT(task), "Task whose examples are run.", NULL},
    {"data", ZEB_OPTION_TEXT, "DIR", NULL, AT(data), "Root of the data sets. Default: $ZEB_DATA, or what ships.", NULL},
    {"split", ZEB_OPTION_TEXT, "NAME", NULL, AT(split), "Split of the task. Default: the task's own, mostly dev.",
     NULL},
    {"limit", ZEB_OPTION_COUNT, "N", "16", AT(limit), "Examples, each run several times.", NULL},
    {"batch", ZEB_OPTION_COUNT, "N", "1", AT(batch), "Sequences a pass.", NULL},
    {"seq-max", ZEB_OPTION_COUNT, "N", "128", AT(seq_max), "Tokens a sequence at most; longer ones are truncated.",
     NULL},
    {"threads", ZEB_OPTION_COUNT, "N", "0", AT(threads), "Threads of a CPU device; 0: all it may use.", NULL},
    {"no-pin", ZEB_OPTION_FLAG, NULL, NULL, AT(no_pin), "Do not pin threads to processors.", NULL},
    {"isa", ZEB_OPTION_TEXT, "NAME", NULL, AT(isa), "Highest instruction set a CPU device may use.", NULL},
    {"timeout", ZEB_OPTION_DURATION, "TIME", "10min", AT(timeout_ns), "A device that takes longer is stopped.", NULL},
    {"db", ZEB_OPTION_TEXT, "FILE", "results/local/zeb.db", AT(db),
     "Database with the device's peaks (zeb roofline), and with its cost table, which is made here.", NULL},
    {"no-predict", ZEB_OPTION_FLAG, NULL, NULL, AT(no_predict), "Measure and use no cost table.", NULL},
    {"remake", ZEB_OPTION_FLAG, NULL, NULL, AT(remake),
     "Measure the cost table anew, as after a disturbed measurement.", NULL},
    {"format", ZEB_OPTION_CHOICE, "NAME", "table", AT(format), "What is printed on stdout.", formats},
    {"plugin-dir", ZEB_OPTION_TEXT, "DIR[:DIR]", NULL, AT(plugin_dir), "Look for plugins here first.", NULL},
    {"verbose", ZEB_OPTION_FLAG, NULL, NULL, AT(verbose), "Say more on stderr.", NULL},
    {0}};

static const char *const examples[] = {"zeb roofline && zeb explain --device cpu --threads 1",
                                       "zeb explain --policy policy.json --precision w8a8 --format json", NULL};

/* ---- printing --------------------------------------------------------------------------------------------------- */

static const char *time_text(double ns, char *text, size_t capacity) {
    if (ns < 0)
        (void)snprintf(text, capacity, "-");
    else
        (void)snprintf(text, capacity, "%.2f us", ns * 1e-3);
    return text;
}

/* "+4 %": by how much the prediction was off. */
static const char *error_text(double predicted, double took, char *text, size_t capacity) {
    if (predicted < 0 || !(took > 0))
        (void)snprintf(text, capacity, "-");
    else
        (void)snprintf(text, capacity, "%+.0f %%", 100 * (predicted / took - 1));
    return text;
}

static void print_line(const zeb_explain_line *l, double total_ns) {
    char least[24], took[24], predicted[24], error[24], share[24] = "-", part[24] = "-";
    if (l->least_ns >= 0 && l->took_ns > 0)
        (void)snprintf(share, sizeof share, "%.0f %%", 100 * l->least_ns / l->took_ns);
    if (l->took_ns >= 0 && total_ns > 0 && !l->waits)
        (void)snprintf(part, sizeof part, "%.1f %%", 100 * l->took_ns / total_ns);
    (void)printf("%-28.28s %-14s %5u %8.1f %10.3f %10.1f %12s %12s %7s %12s %7s %7s\n", l->name, l->op, l->nodes,
                 l->rows, l->flops * 1e-6, l->bytes / 1024, time_text(l->least_ns, least, sizeof least),
                 time_text(l->predicted_ns, predicted, sizeof predicted),
                 error_text(l->predicted_ns, l->took_ns, error, sizeof error), time_text(l->took_ns, took, sizeof took),
                 share, part);
}

static void print_choices(const zeb_explanation *e) {
    char text[24];
    if (e->choices > 0) (void)printf("choices of the device, as its trials took (* built in):");
    for (uint32_t i = 0; i < e->choices; i++) {
        const zeb_choice *c = &e->choice[i];
        if (i == 0 || strcmp(c->name, c[-1].name) != 0) (void)printf("\n  %-14s", c->name);
        (void)printf("  %u%s %s", c->value, c->built_in ? "*" : "",
                     c->ns > 0 ? time_text(c->ns, text, sizeof text) : "not tried");
    }
    if (e->choices > 0) (void)printf("\n");
}

static void print_table(const zeb_explanation *e) {
    char text[24];
    double least = 0, took = 0;
    for (uint32_t i = 0; i < e->lines; i++) {
        if (e->line[i].took_ns > 0 && !e->line[i].waits) took += e->line[i].took_ns;
        if (e->line[i].nodes > 0) least = least >= 0 && e->line[i].least_ns >= 0 ? least + e->line[i].least_ns : -1;
    }
    (void)printf("model %s, policy %s, device %s:%s, %lld threads%s%s%s%s\n", e->row.model, e->row.policy,
                 e->row.backend, e->row.device,
                 (long long)(e->row.effective.threads.has ? e->row.effective.threads.value : 1),
                 e->row.effective.isa[0] != '\0' ? ", " : "", e->row.effective.isa,
                 e->costs[0] != '\0' ? ", cost table " : "", e->costs);
    if (e->tuned) (void)printf("took effect: %s\n", e->row.effective.note);
    (void)printf("%u passes of %.1f tokens on average; %.4f of the model's FLOPs were executed\n\n", e->passes,
                 e->tokens, e->flops / e->flops_dense);
    (void)printf("%-28s %-14s %5s %8s %10s %10s %12s %12s %7s %12s %7s %7s\n", "stage", "op", "nodes", "rows", "MFLOP",
                 "KiB", "needs", "predicted", "off", "took", "roof", "of all");
    for (uint32_t i = 0; i < e->lines; i++)
        print_line(&e->line[i], took);
    (void)printf("\nall stages: need %s", time_text(least, text, sizeof text));
    if (e->profiled) (void)printf(", took %s", time_text(took, text, sizeof text));
    (void)printf("; the whole pass took %s", time_text(e->pass_ns, text, sizeof text));
    if (e->pass_predicted_ns >= 0) {
        (void)printf(", predicted %s", time_text(e->pass_predicted_ns, text, sizeof text));
        (void)printf(" (%s)", error_text(e->pass_predicted_ns, e->pass_ns, text, sizeof text));
    }
    (void)printf("\n");
    print_choices(e);
}

static void print_number(const char *name, double value, const char *end) {
    if (value < 0)
        (void)printf("\"%s\": null%s", name, end);
    else
        (void)printf("\"%s\": %.9g%s", name, value, end);
}

static void print_json(const zeb_explanation *e) {
    (void)putchar('{');
    zeb_cli_json_text("model", e->row.model, ", ");
    zeb_cli_json_text("policy", e->row.policy, ", ");
    zeb_cli_json_text("backend", e->row.backend, ", ");
    zeb_cli_json_text("device", e->row.device, ", ");
    (void)printf(
        "\"profiled\": %s, \"passes\": %u, \"tokens\": %.9g, \"flops\": {\"dense\": %.9g, \"executed\": %.9g}, ",
        e->profiled ? "true" : "false", e->passes, e->tokens, e->flops_dense, e->flops);
    if (e->costs[0] != '\0')
        (void)printf("\"costs\": {\"hash\": \"%s\", \"measured\": %u}, ", e->costs, e->made.count);
    else
        (void)printf("\"costs\": null, ");
    if (e->tuned) {
        (void)printf("\"effective\": {\"precision\": \"%s\", ", e->row.effective.precision);
        zeb_cli_json_text("note", e->row.effective.note, "}, ");
    }
    (void)printf("\"choices\": [");
    for (uint32_t i = 0; i < e->choices; i++) {
        (void)printf("%s{", i > 0 ? ", " : "");
        zeb_cli_json_text("name", e->choice[i].name, ", ");
        (void)printf("\"value\": %u, \"built_in\": %s, ", e->choice[i].value, e->choice[i].built_in ? "true" : "false");
        print_number("ns", e->choice[i].ns > 0 ? e->choice[i].ns : -1, "}");
    }
    (void)printf("], ");
    print_number("pass_predicted_ns", e->pass_predicted_ns, ", ");
    print_number("pass_ns", e->pass_ns, ", \"stages\": [");
    for (uint32_t i = 0; i < e->lines; i++) {
        const zeb_explain_line *l = &e->line[i];
        (void)printf("%s\n {", i > 0 ? "," : "");
        zeb_cli_json_text("name", l->name, ", ");
        (void)printf("\"op\": \"%s\", \"nodes\": %u, \"rows\": %.9g, \"flops\": %.9g, \"bytes\": %.9g, ", l->op,
                     l->nodes, l->rows, l->flops, l->bytes);
        print_number("needs_ns", l->least_ns, ", ");
        print_number("predicted_ns", l->predicted_ns, ", ");
        print_number("took_ns", l->took_ns, "}");
    }
    (void)printf("\n]}\n");
}

/* ---- doing ------------------------------------------------------------------------------------------------------ */

/* What the database knows is a help, not a need: without one, or with one that can't be read, there is nothing. */
static void find_known(const explain_settings *set, zeb_arena *arena, const zeb_log *log, zeb_explain_options *asked) {
    zeb_store *store = NULL;
    zeb_error why = {{0}};
    zeb_stored_peak *peak = NULL;
    zeb_stored_timing *timing = NULL;
    size_t spoilt = 0;
    if (!zeb_path_is_file(set->db)) return;
    zeb_status status = zeb_store_open_read(set->db, &store, &why);
    if (status == ZEB_OK) status = zeb_store_peaks(store, NULL, NULL, arena, &peak, &asked->peaks, &why);
    asked->peak = peak;
    if (status == ZEB_OK && !set->remake)
        status = zeb_store_timings(store, NULL, arena, &timing, &asked->timings, &spoilt, &why);
    asked->timing = timing;
    if (status != ZEB_OK) zeb_log_write(log, ZEB_LOG_WARNING, "no peaks and no cost table: %s", why.text);
    if (spoilt > 0)
        zeb_log_write(log, ZEB_LOG_WARNING, "%s: %zu timings are not as they were written and are measured again",
                      set->db, spoilt);
    zeb_store_close(store);
}

/* Keeps what was measured for the next time; that it can't be kept takes nothing from what is printed. */
static void keep_timings(const explain_settings *set, zeb_arena *arena, const zeb_log *log, const zeb_explanation *e) {
    zeb_store *store = NULL;
    zeb_error why = {{0}};
    int64_t run_id = 0;
    char utc[21];
    if (e->made.count == 0) return;
    zeb_status status = zeb_store_open(set->db, true, &store, &why);
    if (status == ZEB_OK) status = zeb_provenance_begin(store, arena, &run_id, &why);
    if (status == ZEB_OK)
        status = zeb_store_put_timings(store, run_id, e->row.backend, e->row.device, e->fingerprint, e->made.timing,
                                       e->made.count, &why);
    zeb_clock_utc(utc);
    if (status == ZEB_OK) status = zeb_store_end_run(store, run_id, utc, ZEB_EXIT_OK, &why);
    zeb_store_close(store);
    if (status != ZEB_OK) {
        zeb_log_write(log, ZEB_LOG_WARNING, "the cost table was not kept: %s", why.text);
        return;
    }
    zeb_log_write(log, ZEB_LOG_INFO, "cost table of %s:%s: %u times measured, kept in %s", e->row.backend,
                  e->row.device, e->made.count, set->db);
    if (e->made.disturbed)
        zeb_log_write(log, ZEB_LOG_WARNING,
                      "the machine had other work while the cost table was measured: make it again with --remake when "
                      "it is quiet");
}

static void on_progress(const zeb_shared *shared, void *user) {
    static const char *const name[] = {"opening", "measuring the cost table", "running"};
    uint32_t stage = atomic_load(&shared->stage);
    zeb_progress_show(user, "explain", stage < 3 ? name[stage] : "?", atomic_load(&shared->done), 0);
}

static zeb_status make_case(const explain_settings *set, const zeb_places *places, zeb_case *what, zeb_error *error) {
    const zeb_task *task;
    zeb_status status = zeb_cli_task(set->task, &task, error);
    if (status == ZEB_OK) status = zeb_cli_sizes(set->batch, set->seq_max, set->threads, error);
    if (status != ZEB_OK) return status;
    *what = (zeb_case){.model = set->model != NULL ? set->model : places->model,
                       .task = task->name,
                       .data = set->data != NULL ? set->data : places->data,
                       .split = set->split != NULL ? set->split : task->default_split,
                       .device = set->device,
                       .policy = set->policy,
                       .isa = set->isa,
                       .scenario = ZEB_SCENARIO_OFFLINE,
                       .threads = (uint32_t)set->threads,
                       .pin = !set->no_pin,
                       .batch = (uint32_t)set->batch,
                       .seq_max = (uint32_t)set->seq_max,
                       .limit = set->limit,
                       .timeout_ns = set->timeout_ns,
                       .tune = set->tune};
    zeb_precision_choose(what, set->precision);
    if (set->no_predict && zeb_tune_wanted(what))
        return zeb_fail(error, ZEB_ERR_ARGUMENT, "--no-predict leaves nothing to tune by");
    return ZEB_OK;
}

static zeb_status explain(const explain_settings *set, const zeb_places *places, const zeb_registry *registry,
                          zeb_arena *arena, const zeb_log *log, zeb_explanation *result, zeb_error *error) {
    zeb_explain_options asked = {.registry = registry, .predict = !set->no_predict};
    zeb_cli_watch watch;
    zeb_status status = make_case(set, places, &asked.what, error);
    if (status != ZEB_OK) return status;
    find_known(set, arena, log, &asked);
    zeb_cli_watch_begin(&watch, set->timeout_ns, UINT64_C(2000000000), on_progress);
    status = zeb_explain(&asked, &watch.worker, result, error);
    zeb_cli_watch_end(&watch, log, "explain");
    if (status != ZEB_OK) return status;
    keep_timings(set, arena, log, result);
    bool known = false;
    for (uint32_t i = 0; i < result->lines; i++)
        known |= result->line[i].least_ns >= 0;
    if (!known && result->measurable)
        zeb_log_write(log, ZEB_LOG_INFO,
                      "what stages need is not known: 'zeb roofline --device %s --db %s' measures this device",
                      set->device, set->db);
    else if (!known)
        zeb_log_write(log, ZEB_LOG_INFO,
                      "what stages need is not known: the plugin does not measure the device's peaks");
    if (!result->profiled) zeb_log_write(log, ZEB_LOG_INFO, "device gives no profile: nodes are shown, not stages");
    return ZEB_OK;
}

static int run(const void *settings, const char *const *operands, size_t operand_count) {
    (void)operands;
    (void)operand_count;
    const explain_settings *set = settings;
    zeb_log log = zeb_cli_log(set->verbose);
    zeb_error error = {{0}};
    zeb_arena *arena = NULL;
    zeb_registry *registry = NULL;
    zeb_places places;
    zeb_explanation *result = calloc(1, sizeof *result);
    zeb_status status =
        result != NULL ? zeb_arena_create(&arena, &error) : zeb_fail(&error, ZEB_ERR_MEMORY, "no memory to explain");
    if (status == ZEB_OK) status = zeb_places_find(set->plugin_dir, arena, &places, &error);
    if (status == ZEB_OK) status = zeb_registry_open(places.plugins, places.plugin_count, &log, &registry, &error);
    if (status == ZEB_OK) status = explain(set, &places, registry, arena, &log, result, &error);
    if (status == ZEB_OK && strcmp(set->format, "json") == 0) print_json(result);
    if (status == ZEB_OK && strcmp(set->format, "table") == 0) print_table(result);
    free(result);
    zeb_registry_close(registry);
    zeb_arena_destroy(arena);
    return status == ZEB_OK ? ZEB_EXIT_OK : zeb_cli_fail(zeb_cli_exit(status), &error);
}

const zeb_command zeb_command_explain = {.name = "explain",
                                         .summary =
                                             "show where a pass spends its time, and what it would need at least",
                                         .operands = "",
                                         .options = options,
                                         .examples = examples,
                                         .settings_size = sizeof(explain_settings),
                                         .run = run};
