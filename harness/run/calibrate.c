#include "run/calibrate.h"

#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "run/calibrate_search.h"
#include "run/slice.h"

const char *zeb_calibration_shape_name(zeb_calibration_shape shape) {
    static const char *const name[] = {"best", "even", "early", "late"};
    return (unsigned)shape < sizeof name / sizeof name[0] ? name[shape] : "?";
}
/* ---- opening ---------------------------------------------------------------------------------------------------- */

static zeb_status allocate(zeb_search *s) {
    const zeb_session *session = &s->session;
    size_t examples = session->data.count;
    void *memory = NULL;
    for (size_t i = 0; i < examples; i++) {
        s->tokens += (uint64_t)session->sequence[i].length;
        if (session->sequence[i].length > s->longest) s->longest = session->sequence[i].length;
    }
    zeb_status status = zeb_arena_alloc(s->arena, examples * (size_t)session->labels, sizeof(float), &memory, s->error);
    s->logits = memory;
    if (status == ZEB_OK)
        status = zeb_arena_alloc(s->arena, examples * (size_t)session->labels, sizeof(float), &memory, s->error);
    s->whole = memory;
    if (status == ZEB_OK) status = zeb_arena_alloc(s->arena, examples, sizeof(zeb_prediction), &memory, s->error);
    s->prediction = memory;
    for (int32_t l = 0; l < session->layers && status == ZEB_OK; l++) {
        status = zeb_arena_alloc(s->arena, s->tokens, sizeof(float), &memory, s->error);
        s->importance[l] = memory;
    }
    return status;
}

static zeb_status open_slice(zeb_search *s, zeb_row *row) {
    const zeb_calibration_options *options = s->options;
    const zeb_slice slice = {.share = options->share, .min_tokens = options->min_tokens};
    s->what = options->what;
    zeb_status status = zeb_slice_open(&s->what, &slice, s->registry, s->arena, &s->session, row, s->error);
    if (status == ZEB_OK && s->session.layers < 2)
        status = zeb_fail(s->error, ZEB_ERR_UNSUPPORTED,
                          "%s has one layer, which already computes [CLS] alone: there is nothing to drop",
                          options->what.model);
    return status == ZEB_OK ? allocate(s) : status;
}

static void report(const zeb_search *s, const zeb_row *row, const zeb_trial *dense, const zeb_trial *best,
                   zeb_calibration *to) {
    to->layers = s->session.layers;
    memcpy(to->tokens, best->tokens, sizeof to->tokens);
    memcpy(to->heads, best->heads, sizeof to->heads);
    for (int32_t l = 0; l < to->layers; l++)
        to->kept[l] = best->kept[l] / (double)s->tokens;
    to->flops_dense = s->dense_flops;
    to->flops_executed = best->flops;
    to->dense = dense->metric;
    to->sparse = best->metric;
    to->shape = best->shape;
    to->reached = zeb_search_reached(s, best);
    to->examples = s->session.data.count;
    to->rows = s->tokens;
    to->truncated = row->rows_truncated.value;
    to->rows_skipped = row->rows_skipped.value;
    zeb_text_copy(to->model, sizeof to->model, row->model);
    zeb_text_copy(to->data_hash, sizeof to->data_hash, row->data_hash);
    (void)snprintf(to->device, sizeof to->device, "%.30s:%.30s", row->backend, row->device);
}

static zeb_status find(zeb_search *s, zeb_calibration *result) {
    zeb_row row = {0};
    zeb_trial *memory = calloc(2, sizeof *memory);
    if (memory == NULL) return zeb_fail(s->error, ZEB_ERR_MEMORY, "no memory for a trial");
    zeb_trial *dense = &memory[0], *best = &memory[1];
    zeb_status status = open_slice(s, &row);
    atomic_store(&s->shared->stage, ZEB_CALIBRATION_DENSE);
    if (status == ZEB_OK) status = zeb_search_sweep(s, false, dense);
    s->dense_flops = dense->flops;
    if (status == ZEB_OK)
        memcpy(s->whole, s->logits, s->session.data.count * (size_t)s->session.labels * sizeof *s->whole);
    atomic_store(&s->shared->stage, ZEB_CALIBRATION_TRY);
    s->dense = dense->metric;
    if (status == ZEB_OK && s->options->flops == 0 && !s->dense.defined)
        status = zeb_fail(s->error, ZEB_ERR_RANGE, "--max-drop needs a score, but %s is not defined on the slice",
                          s->dense.name);
    if (status == ZEB_OK) status = zeb_search_shapes(s, best);
    if (status == ZEB_OK) status = zeb_model_hash(s->session.model, result->model_hash, s->error);
    if (status == ZEB_OK) report(s, &row, dense, best, result);
    result->trials = (uint32_t)atomic_load(&s->shared->done);
    free(memory);
    return status;
}

typedef struct assignment {
    const zeb_calibration_options *options;
    const zeb_registry *registry;
} assignment;

/* In the worker. */
static zeb_status work(const void *input, zeb_shared *shared, zeb_error *error) {
    const assignment *given = input;
    zeb_search *s = calloc(1, sizeof *s);
    if (s == NULL) return zeb_fail(error, ZEB_ERR_MEMORY, "no memory for a search");
    s->options = given->options;
    s->registry = given->registry;
    s->shared = shared;
    s->error = error;
    zeb_status status = zeb_arena_create(&s->arena, error);
    if (status == ZEB_OK) status = find(s, shared->result);
    zeb_session_close(&s->session);
    zeb_arena_destroy(s->arena);
    free(s);
    return status;
}

static zeb_status check_options(const zeb_calibration_options *o, zeb_error *error) {
    if (!(o->flops > 0 && o->flops < 1) && o->flops != 0)
        return zeb_fail(error, ZEB_ERR_ARGUMENT, "--flops is a share of the dense work: above 0 and below 1");
    if (o->flops == 0 && !(o->max_drop > 0 && o->max_drop < 1))
        return zeb_fail(error, ZEB_ERR_ARGUMENT, "--max-drop must be above 0 and below 100%%");
    if (o->floor < 1) return zeb_fail(error, ZEB_ERR_ARGUMENT, "--floor must be at least 1: [CLS] always stays");
    return zeb_slice_check(o->what.split, o->share, error);
}

zeb_status zeb_calibrate(const zeb_calibration_options *options, const zeb_registry *registry,
                         const zeb_worker_watch *watch, zeb_calibration *result, zeb_error *error) {
    const assignment given = {.options = options, .registry = registry};
    zeb_status status = check_options(options, error);
    if (status != ZEB_OK) return status;
    return zeb_worker_call(work, &given, sizeof *result, "; no policy was written", watch, result, error);
}
