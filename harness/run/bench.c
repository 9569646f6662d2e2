#include "run/bench.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/text.h"
#include "run/execute.h"

#define KEEP(field, text) zeb_text_copy((field), sizeof(field), (text))

enum { SHARED_BYTES_LOG2 = 32, STOP_GRACE_S = 10 };

const char *zeb_stage_name(zeb_stage stage) {
    static const char *const name[] = {"starting", "opening", "idling", "warming up", "measuring", "scoring"};
    return (unsigned)stage < sizeof name / sizeof name[0] ? name[stage] : "?";
}

const char *const zeb_precision_choices[] = {"fp32", "bf16", "w8a8", "w4a8", "w4a16", "auto", NULL};

void zeb_precision_choose(zeb_case *what, const char *choice) {
    if (strcmp(choice, "auto") == 0) what->precisions = ZEB_PRECISIONS_AUTO;
    for (uint32_t p = 0; zeb_precision_names[p] != NULL; p++)
        if (strcmp(choice, zeb_precision_names[p]) == 0) what->precision = (zeb_precision)p;
}

/* A path of the case in full: the same words in another folder are another case. */
static zeb_status keep_path(const char *path, zeb_arena *arena, const char **to, zeb_error *error) {
    char *full = NULL;
    zeb_status status = path != NULL ? zeb_path_full(arena, path, &full, error) : ZEB_OK;
    *to = full;
    return status;
}

/* What is known of a row before anything was tried; paths in the arena. */
static zeb_status prefill(const zeb_case *what, zeb_arena *arena, zeb_row *row, zeb_error *error) {
    zeb_path_name(what->model, row->model, sizeof row->model);
    KEEP(row->task, what->task);
    KEEP(row->split, what->split);
    (void)snprintf(row->backend, sizeof row->backend, "%.*s", (int)strcspn(what->device, ":"), what->device);
    KEEP(row->precision, what->precisions != 0 ? "auto" : zeb_precision_name(what->precision));
    if (what->policy == NULL)
        KEEP(row->policy, "dense");
    else
        zeb_path_name(what->policy, row->policy, sizeof row->policy);
    KEEP(row->scenario, what->scenario == ZEB_SCENARIO_OFFLINE ? "offline" : "single");
    zeb_row_settings *asked = &row->requested;
    if (what->threads > 0) asked->threads = zeb_i64(what->threads);
    asked->pinned = zeb_i64(what->pin);
    asked->batch = zeb_i64(what->batch);
    asked->seq_max = zeb_i64(what->seq_max);
    if (what->limit > 0) asked->limit = zeb_i64((int64_t)what->limit);
    asked->target_ci = zeb_f64(what->target_ci);
    asked->max_time_ns = zeb_u64(what->max_time_ns);
    if (what->timeout_ns > 0) asked->timeout_ns = zeb_u64(what->timeout_ns);
    if (what->isa != NULL) KEEP(asked->isa, what->isa);
    KEEP(asked->precision, row->precision);
    row->seed = zeb_u64(what->seed);
    row->order_seed = row->seed; /* one seed serves all */
    row->effective.timeout_ns = asked->timeout_ns;
    zeb_clock_utc(row->started_utc);
    asked->device = what->device;
    asked->policy = "dense";
    asked->tune = zeb_i64(what->tune);
    zeb_status status = keep_path(what->model, arena, &row->model_path, error);
    if (status == ZEB_OK) status = keep_path(what->data, arena, &asked->data, error);
    if (status == ZEB_OK && what->policy != NULL) status = keep_path(what->policy, arena, &asked->policy, error);
    return status;
}

static const char *signal_meaning(int number) {
    return number == SIGKILL ? " (killed from outside: out of memory?)" : "";
}

/* The verdict of a worker that did not come back by itself. */
static void judge_end(const zeb_case *what, const zeb_worker_report *report, zeb_row *row) {
    switch (report->end) {
        case ZEB_WORKER_TIMED_OUT:
            row->outcome = ZEB_OUTCOME_TIMEOUT;
            (void)snprintf(row->reason, sizeof row->reason, "no answer within --timeout %.3g s",
                           (double)what->timeout_ns * 1e-9);
            return;
        case ZEB_WORKER_KILLED:
            row->outcome = ZEB_OUTCOME_INTERRUPTED;
            KEEP(row->reason, "stopped by the user; the worker did not end by itself and was killed");
            return;
        case ZEB_WORKER_DIED:
            row->outcome = ZEB_OUTCOME_CRASHED;
            if (report->signal_number > 0) {
                row->signal_number = zeb_i64(report->signal_number);
                (void)snprintf(row->reason, sizeof row->reason, "the worker died of signal %d, %s%s",
                               report->signal_number, strsignal(report->signal_number),
                               signal_meaning(report->signal_number));
            } else {
                row->exit_code = zeb_i64(report->exit_code);
                (void)snprintf(row->reason, sizeof row->reason, "the worker exited with code %d before it was done",
                               report->exit_code);
            }
            return;
        case ZEB_WORKER_RETURNED: return;
    }
}

/* A line an example. False: a name that is no UTF-8, or no memory; a full disk is the stream's to tell. */
static bool write_predictions(FILE *to, const zeb_case *what, const zeb_outcome_record *record) {
    for (size_t i = 0; i < record->answer_count; i++) {
        const zeb_answer *answer = &record->answer[i];
        const float *logits = &record->logits[i * (size_t)record->labels];
        json_t *label, *prediction, *scores = json_array();
        if (answer->predicted >= 0) {
            label = answer->label >= 0 ? json_integer(answer->label) : json_null();
            prediction = json_integer(answer->predicted);
        } else {
            label = json_real(answer->target);
            prediction = json_real(answer->score);
        }
        for (int32_t c = 0; c < record->labels; c++)
            (void)json_array_append_new(scores, json_real((double)logits[c]));
        json_t *line = json_pack("{s:s, s:s, s:s, s:I, s:o, s:o, s:o}", "model", record->row.model, "task",
                                 record->row.task, "device", what->device, "index", (json_int_t)answer->index, "label",
                                 label, "prediction", prediction, "scores", scores);
        bool whole = line != NULL && json_array_size(scores) == (size_t)record->labels;
        if (whole && json_dumpf(line, to, JSON_REAL_PRECISION(9)) == 0) (void)fputc('\n', to);
        json_decref(line);
        if (!whole) return false;
    }
    return true;
}

typedef struct progress_context {
    const zeb_bench *bench;
    const zeb_case *what;
} progress_context;

static void on_tick(const zeb_shared *shared, void *user) {
    const progress_context *context = user;
    context->bench->on_progress(context->what, (zeb_stage)atomic_load(&shared->stage), atomic_load(&shared->done),
                                atomic_load(&shared->total), context->bench->user);
}

/* What a finished case tells the later ones of its run: what they have saved. */
typedef struct finished {
    double rate, flops; /* sequences a second, operations; 0: not known */
    char precision[ZEB_ROW_NAME_MAX];
} finished;

static bool same_but_policy(const zeb_case *a, const zeb_case *b) {
    return strcmp(a->model, b->model) == 0 && strcmp(a->task, b->task) == 0 && strcmp(a->split, b->split) == 0 &&
           strcmp(a->device, b->device) == 0 && a->scenario == b->scenario;
}

/* Compares cases[at] with the dense case before it, if there is one that ran in the same precision. */
static void note_saved(const zeb_case *cases, finished *before, size_t at, zeb_row *row) {
    if (row->outcome != ZEB_OUTCOME_OK || !row->throughput_per_s.has || !row->flops_executed.has) return;
    double rate = row->throughput_per_s.value, flops = row->flops_executed.value;
    finished *mine = &before[at];
    mine->rate = rate;
    mine->flops = flops;
    KEEP(mine->precision, row->effective.precision);
    for (size_t i = 0; cases[at].policy != NULL && i < at; i++) {
        if (cases[i].policy != NULL || !(before[i].rate > 0) || !(before[i].flops > 0) ||
            !same_but_policy(&cases[i], &cases[at]) || strcmp(before[i].precision, mine->precision) != 0)
            continue;
        row->flops_saved = zeb_f64(1 - flops / before[i].flops);
        row->time_saved = zeb_f64(1 - before[i].rate / rate);
    }
}

/* Runs a case in a worker; *row is what became of it, in shared's arena or fallen. Errors: no memory, no process. */
static zeb_status work(const zeb_bench *bench, const zeb_case *what, zeb_shared *shared, zeb_row *fallen,
                       zeb_worker_report *report, zeb_bench_summary *summary, zeb_row **row, zeb_error *error) {
    void *memory;
    zeb_status status = zeb_arena_alloc(shared->arena, 1, sizeof(zeb_outcome_record), &memory, error);
    if (status != ZEB_OK) return status;
    zeb_outcome_record *record = shared->result = memory;
    record->row = *fallen;
    zeb_assignment assignment = {.what = what,
                                 .registry = bench->registry,
                                 .timing = bench->timing,
                                 .timings = bench->timings,
                                 .begin_ns = zeb_clock_now_ns()};
    progress_context context = {.bench = bench, .what = what};
    zeb_worker_watch watch = {.timeout_ns = what->timeout_ns,
                              .grace_ns = (uint64_t)STOP_GRACE_S * 1000000000u,
                              .stop = bench->stop,
                              .progress = bench->on_progress != NULL ? on_tick : NULL,
                              .user = &context};
    status = zeb_worker_run(zeb_execute, &assignment, shared, &watch, report, error);
    if (status != ZEB_OK) return status;
    bool returned = report->end == ZEB_WORKER_RETURNED;
    *row = returned ? &record->row : fallen;
    if (!returned) judge_end(what, report, *row);
    summary->opened += returned ? record->opened : atomic_load(&shared->stage) > ZEB_STAGE_OPEN;
    if (!returned || bench->predictions == NULL) return ZEB_OK;
    (*row)->predictions_path = record->answer_count > 0 ? bench->predictions_path : NULL;
    if (write_predictions(bench->predictions, what, record)) return ZEB_OK;
    summary->unwritten++;
    zeb_log_write(bench->log, ZEB_LOG_ERROR, "%s on %s: the predictions could not be written: %s", what->task,
                  what->device, "a name that is no UTF-8, or no memory");
    return ZEB_OK;
}

/* Runs cases[at] and hands its row on. */
static zeb_status run_case(const zeb_bench *bench, const zeb_case *cases, finished *before, size_t at,
                           zeb_bench_summary *summary, zeb_error *error) {
    zeb_shared *shared = NULL;
    zeb_row fallen = {0}; /* for a worker that died: nothing of its memory is trusted */
    zeb_row *row = &fallen;
    zeb_worker_report report = {0};
    zeb_error why = {{0}};
    zeb_arena *asked = NULL;
    zeb_status status = zeb_arena_create(&asked, error);
    if (status != ZEB_OK) return status;
    uint64_t begin = zeb_clock_now_ns();
    status = prefill(&cases[at], asked, &fallen, &why);
    if (status == ZEB_OK) status = zeb_shared_create((size_t)1 << SHARED_BYTES_LOG2, &shared, &why);
    if (status == ZEB_OK) status = work(bench, &cases[at], shared, &fallen, &report, summary, &row, &why);
    if (status != ZEB_OK) {
        row->outcome = ZEB_OUTCOME_FAILED;
        KEEP(row->reason, why.text);
    }
    row->last_words = report.words[0] != '\0' ? report.words : NULL;
    row->duration_ns = zeb_u64(zeb_clock_now_ns() - begin);
    summary->rows++;
    summary->ok += row->outcome == ZEB_OUTCOME_OK;
    note_saved(cases, before, at, row);
    status = bench->on_row(&cases[at], row, bench->user, error);
    zeb_arena_destroy(asked);
    zeb_shared_destroy(shared);
    return status;
}

zeb_status zeb_bench_run(const zeb_bench *bench, const zeb_case *cases, size_t count, zeb_bench_summary *summary,
                         zeb_error *error) {
    *summary = (zeb_bench_summary){0};
    finished *before = calloc(count > 0 ? count : 1, sizeof *before);
    if (before == NULL) return zeb_fail(error, ZEB_ERR_MEMORY, "no memory for %zu cases", count);
    zeb_status status = ZEB_OK;
    for (size_t i = 0; i < count && status == ZEB_OK; i++) {
        status = run_case(bench, cases, before, i, summary, error);
        if (status == ZEB_OK && bench->stop != NULL && *bench->stop)
            status = zeb_fail(error, ZEB_ERR_INTERRUPTED, "stopped by the user after %zu of %zu cases", i + 1, count);
    }
    free(before);
    return status;
}
