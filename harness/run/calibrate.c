#include "run/calibrate.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "run/finite.h"
#include "run/session.h"
#include "run/slice.h"

enum { STEPS_MAX = 16, BUDGET_STEPS = 8, NUDGES_MAX = 24, EXAMPLES_MIN = 8 };
static const double tolerance = 0.01, weakest = 1.0, strongest = 0.01;

/* What one run over the slice gave. */
typedef struct trial {
    zeb_calibration_shape shape;
    zeb_select tokens[ZEB_CALIBRATION_LAYERS_MAX];
    double kept[ZEB_CALIBRATION_LAYERS_MAX]; /* rows */
    double flops;
    zeb_metric metric;
} trial;

typedef struct search {
    const zeb_calibration_options *options;
    zeb_case what; /* of the session: the options', without the limit */
    const zeb_registry *registry;
    zeb_shared *shared;
    zeb_session session;
    zeb_arena *arena;
    uint64_t tokens;
    int32_t longest;
    double dense_flops;
    zeb_metric dense;
    float *logits;                                 /* [examples, labels] */
    float *importance[ZEB_CALIBRATION_LAYERS_MAX]; /* [tokens] each: of the rows that entered the layer */
    size_t rows[ZEB_CALIBRATION_LAYERS_MAX];       /* how many of them */
    zeb_prediction *prediction;                    /* [examples] */
    zeb_error *error;
} search;

const char *zeb_calibration_shape_name(zeb_calibration_shape shape) {
    static const char *const name[] = {"best", "even", "early", "late"};
    return (unsigned)shape < sizeof name / sizeof name[0] ? name[shape] : "?";
}

/* ---- one run over the slice ------------------------------------------------------------------------------------- */

static bool is_threshold(uint32_t mode) {
    return mode == ZEB_SELECT_THRESHOLD || mode == ZEB_SELECT_RELATIVE;
}

/* Makes importance what a relative threshold is compared with: times the rows of the sequence. */
static void make_relative(const search *s, const int32_t *offsets, float *importance) {
    for (int32_t b = 0; b < s->session.batch.sequences; b++)
        for (int32_t t = offsets[b]; t < offsets[b + 1]; t++)
            importance[t] *= (float)(offsets[b + 1] - offsets[b]);
}

/* Adds the importance of the rows of the batch in hand. */
static zeb_status note_importance(search *s) {
    zeb_session *session = &s->session;
    size_t rows = (size_t)session->batch.tokens;
    const int32_t *offsets = session->batch.offsets; /* of the rows that enter the layer */
    zeb_status status = ZEB_OK;
    for (int32_t l = 0; l + 1 < session->layers && status == ZEB_OK; l++) {
        zeb_kept kept;
        status = session->device.backend->read(session->plan, session->importance[l], s->importance[l] + s->rows[l],
                                               rows * sizeof(float), s->error);
        if (status == ZEB_OK && s->options->mode == ZEB_SELECT_RELATIVE)
            make_relative(s, offsets, s->importance[l] + s->rows[l]);
        s->rows[l] += rows;
        if (status == ZEB_OK) status = zeb_session_kept(session, l, &kept, s->error);
        if (status != ZEB_OK || kept.tokens < 0) continue;
        rows = (size_t)kept.tokens;
        offsets = session->scratch; /* left there by zeb_session_kept; a trial has no gates */
    }
    return status;
}

static zeb_status note_work(search *s, trial *t) {
    zeb_session *session = &s->session;
    zeb_work plain, executed;
    double rows = (double)session->batch.tokens;
    zeb_status status = zeb_session_work(session, &plain, &executed, s->error);
    if (status == ZEB_OK) t->flops += (double)executed.flops;
    for (int32_t l = 0; l < session->layers && status == ZEB_OK; l++) {
        zeb_kept kept;
        status = zeb_session_kept(session, l, &kept, s->error);
        if (status == ZEB_OK && kept.tokens >= 0) rows = (double)kept.tokens;
        t->kept[l] += rows;
    }
    return status;
}

static zeb_status score(search *s, trial *t) {
    const zeb_session *session = &s->session;
    const zeb_dataset *data = &session->data;
    size_t labels = (size_t)session->labels, count;
    for (size_t i = 0; i < data->count; i++) {
        const float *logits = s->logits + i * labels;
        size_t best = 0;
        for (size_t c = 1; c < labels; c++)
            if (logits[c] > logits[best]) best = c;
        bool regression = session->class_of == NULL;
        s->prediction[i] =
            (zeb_prediction){.label = regression ? -1 : session->class_of[best], .score = (double)logits[best]};
    }
    zeb_metric metric[ZEB_METRICS_MAX];
    zeb_status status = zeb_task_score(data->task, data, s->prediction, data->count, s->options->what.seed, metric,
                                       ZEB_METRICS_MAX, &count, s->error);
    if (status == ZEB_OK) t->metric = metric[0];
    return status;
}

/* Runs the slice under the plan that is there. watch: collects importance instead of scores and work. */
static zeb_status sweep(search *s, bool watch, trial *t) {
    zeb_session *session = &s->session;
    size_t labels = (size_t)session->labels;
    memset(s->rows, 0, sizeof s->rows);
    for (size_t at = 0; at < session->data.count;) {
        size_t first = at;
        zeb_batch_clear(&session->batch);
        while (at < session->data.count && zeb_batch_add(&session->batch, &session->sequence[at]))
            at++;
        zeb_status status = zeb_session_pass(session, s->error);
        if (status == ZEB_OK) status = watch ? note_importance(s) : note_work(s, t);
        if (status != ZEB_OK) return status;
        if (atomic_load(&s->shared->stop) != 0)
            return zeb_fail(s->error, ZEB_ERR_INTERRUPTED, "stopped by the user; no policy was written");
        for (size_t i = 0; i < (at - first) * labels; i++)
            if (!isfinite(session->logits[i])) return zeb_finite_blame(session, first + i / labels, s->error);
        memcpy(s->logits + first * labels, session->logits, (at - first) * labels * sizeof(float));
    }
    return watch ? ZEB_OK : score(s, t);
}

/* Runs the slice under these selections. */
static zeb_status run_under(search *s, const zeb_select *tokens, bool watch, trial *t) {
    zeb_policy *policy = NULL;
    zeb_status status = zeb_policy_make(s->options->name, s->session.layers, tokens, &policy, s->error);
    if (status == ZEB_OK) status = zeb_session_replan(&s->session, policy, watch, s->error);
    if (status == ZEB_OK) status = sweep(s, watch, t);
    return status;
}

/* ---- from r to a policy ----------------------------------------------------------------------------------------- */

static int descending(const void *a, const void *b) {
    float x = *(const float *)a, y = *(const float *)b;
    return (x < y) - (x > y);
}

/* The importance that a share r of the rows reaches. */
static float quantile(float *value, size_t n, double r) {
    if (n == 0) return 0.0f;
    qsort(value, n, sizeof *value, descending);
    size_t rank = (size_t)ceil(r * (double)n);
    return value[rank > n ? n - 1 : rank > 0 ? rank - 1 : 0];
}

/* The wanted shares of the rows that enter each layer. */
static void shares(const search *s, zeb_calibration_shape shape, double r, double *share) {
    int32_t drops = s->session.layers - 1;
    for (int32_t l = 0; l < drops; l++) {
        double w = 1;
        if (shape == ZEB_SHAPE_LATE) w = 2.0 * (l + 1) / (drops + 1);
        if (shape == ZEB_SHAPE_EARLY) w = 2.0 * (drops - l) / (drops + 1);
        share[l] = pow(r, w);
    }
}

static void ladder(const search *s, zeb_select_mode mode, const double *share, zeb_select *tokens) {
    double rows = s->longest;
    for (int32_t l = 0; l < s->session.layers; l++) {
        tokens[l] = (zeb_select){.floor = s->options->floor, .keep_last = s->options->keep_last};
        if (l + 1 == s->session.layers) continue;
        rows *= share[l];
        tokens[l].mode = mode;
        if (mode == ZEB_SELECT_RATIO) tokens[l].value = (float)share[l];
        if (mode == ZEB_SELECT_TOPK) tokens[l].count = (int32_t)fmax(s->options->floor, round(rows));
    }
}

static zeb_status measure(search *s, trial *t) {
    zeb_status status = run_under(s, t->tokens, false, t);
    atomic_fetch_add(&s->shared->done, 1);
    return status;
}

static zeb_status attempt(search *s, zeb_calibration_shape shape, double r, trial *t) {
    double share[ZEB_CALIBRATION_LAYERS_MAX];
    zeb_status status = ZEB_OK;
    *t = (trial){.shape = shape};
    shares(s, shape, r, share);
    ladder(s, is_threshold(s->options->mode) ? ZEB_SELECT_RATIO : s->options->mode, share, t->tokens);
    if (is_threshold(s->options->mode)) {
        status = run_under(s, t->tokens, true, NULL);
        for (int32_t l = 0; l + 1 < s->session.layers && status == ZEB_OK; l++) {
            t->tokens[l].mode = s->options->mode;
            t->tokens[l].value = quantile(s->importance[l], s->rows[l], share[l]);
        }
    }
    return status == ZEB_OK ? measure(s, t) : status;
}

/* ---- the search ------------------------------------------------------------------------------------------------- */

static double miss(const search *s, const trial *t) {
    return fabs(t->flops / s->dense_flops / s->options->flops - 1);
}

/* A little more (direction 1) or less (-1) in a layer; false where there is no more or less. */
static bool step_layer(const search *s, int direction, zeb_select *tokens) {
    if (tokens->mode == ZEB_SELECT_TOPK) {
        tokens->count += direction;
        return tokens->count >= s->options->floor && tokens->count <= s->longest;
    }
    tokens->value *= direction > 0 ? 1.01f : 0.99f;
    return tokens->value <= 1.0f;
}

/* Numbers of rows go in steps: a little more or less in a layer, from the last, as long as that comes nearer. */
static zeb_status nudge(search *s, trial *best) {
    zeb_status status = ZEB_OK;
    int32_t l = s->session.layers - 2;
    for (int tries = 0; tries < NUDGES_MAX && l >= 0 && miss(s, best) > tolerance && status == ZEB_OK; tries++) {
        trial next = {.shape = best->shape};
        int direction = best->flops > s->options->flops * s->dense_flops ? -1 : 1;
        memcpy(next.tokens, best->tokens, sizeof next.tokens);
        if (!step_layer(s, direction, &next.tokens[l])) {
            l--;
            continue;
        }
        status = measure(s, &next);
        if (status == ZEB_OK && miss(s, &next) < miss(s, best))
            *best = next;
        else
            l--;
    }
    return status;
}

static zeb_status for_flops(search *s, zeb_calibration_shape shape, trial *best) {
    double low = strongest, high = weakest, wanted = s->options->flops * s->dense_flops;
    zeb_status status = attempt(s, shape, low, best);
    if (status != ZEB_OK) return status;
    if (best->flops > wanted * (1 + tolerance))
        return zeb_fail(s->error, ZEB_ERR_RANGE,
                        "--flops %.4g is out of reach: with next to nothing but the floor of %d rows left in each "
                        "layer it is still %.3f of the dense work",
                        s->options->flops, s->options->floor, best->flops / s->dense_flops);
    for (int step = 0; step < STEPS_MAX && miss(s, best) > tolerance; step++) {
        trial next;
        double r = 0.5 * (low + high);
        status = attempt(s, shape, r, &next);
        if (status != ZEB_OK) return status;
        if (miss(s, &next) < miss(s, best)) *best = next;
        if (next.flops > wanted)
            high = r;
        else
            low = r;
    }
    return is_threshold(s->options->mode) ? ZEB_OK : nudge(s, best);
}

static bool in_budget(const search *s, const trial *t) {
    return t->metric.defined && t->metric.value >= s->dense.value - s->options->max_drop;
}

/* The least work whose score is within the budget: bisection, as if scores fell steadily; the best trial that kept to
 * the budget wins whatever the others did. */
static zeb_status for_budget(search *s, zeb_calibration_shape shape, trial *best) {
    double low = strongest, high = weakest;
    zeb_status status = attempt(s, shape, high, best); /* keeps every row, or nearly */
    for (int step = 0; step < BUDGET_STEPS && status == ZEB_OK; step++) {
        trial next;
        double r = 0.5 * (low + high);
        status = attempt(s, shape, r, &next);
        bool good = in_budget(s, &next);
        if (good)
            high = r;
        else
            low = r;
        if (status == ZEB_OK && good && next.flops < best->flops) *best = next;
    }
    return status;
}

static bool reached(const search *s, const trial *t) {
    return s->options->flops > 0 ? miss(s, t) <= tolerance : in_budget(s, t);
}

/* Is a better than b? */
static bool better(const search *s, const trial *a, const trial *b) {
    if (reached(s, a) != reached(s, b)) return reached(s, a);
    if (s->options->flops > 0) return a->metric.value > b->metric.value;
    return a->flops < b->flops;
}

static zeb_status try_shapes(search *s, trial *best) {
    static const zeb_calibration_shape all[] = {ZEB_SHAPE_EVEN, ZEB_SHAPE_EARLY, ZEB_SHAPE_LATE};
    zeb_status status = ZEB_OK;
    bool any = false;
    for (size_t i = 0; i < sizeof all / sizeof all[0] && status == ZEB_OK; i++) {
        trial found;
        if (s->options->shape != ZEB_SHAPE_BEST && s->options->shape != all[i]) continue;
        status = s->options->flops > 0 ? for_flops(s, all[i], &found) : for_budget(s, all[i], &found);
        if (status == ZEB_OK && (!any || better(s, &found, best))) *best = found;
        any = true;
    }
    return status;
}

/* ---- opening ---------------------------------------------------------------------------------------------------- */

typedef struct slice_filter {
    double share;
    zeb_status status;
    zeb_error *error;
} slice_filter;

static bool in_slice(const zeb_example *example, void *user) {
    slice_filter *filter = user;
    bool has = false;
    if (filter->status == ZEB_OK) filter->status = zeb_slice_has(example, filter->share, &has, filter->error);
    return has;
}

/* A train file that is the dev file under another name. */
static zeb_status check_leak(const search *s) {
    const zeb_case *what = &s->options->what;
    const zeb_dataset *data = &s->session.data;
    zeb_arena *arena;
    zeb_dataset dev;
    zeb_error ignored;
    zeb_status status = zeb_arena_create(&arena, s->error);
    if (status != ZEB_OK) return status;
    bool same = zeb_dataset_open(data->task, what->data, NULL, 1, arena, &dev, &ignored) == ZEB_OK &&
                strcmp(dev.hash, data->hash) == 0;
    if (same)
        status = zeb_fail(s->error, ZEB_ERR_ARGUMENT, "%s holds the same bytes as the %s split: that is not train",
                          data->path, dev.split);
    zeb_arena_destroy(arena);
    return status;
}

/* Leaves examples that are long enough, and of these at most the limit, spread evenly. */
static void thin(search *s) {
    zeb_session *session = &s->session;
    size_t kept = 0, limit = s->options->what.limit;
    for (size_t i = 0; i < session->data.count; i++) {
        if (session->sequence[i].length < s->options->min_tokens) continue;
        session->sequence[kept] = session->sequence[i];
        session->data.example[kept++] = session->data.example[i];
    }
    session->data.count = limit > 0 && limit < kept ? limit : kept;
    for (size_t i = 0; i < session->data.count; i++) {
        session->sequence[i] = session->sequence[i * kept / session->data.count];
        session->data.example[i] = session->data.example[i * kept / session->data.count];
    }
}

static zeb_status allocate(search *s) {
    const zeb_session *session = &s->session;
    size_t examples = session->data.count;
    void *memory = NULL;
    for (size_t i = 0; i < examples; i++) {
        s->tokens += (uint64_t)session->sequence[i].length;
        if (session->sequence[i].length > s->longest) s->longest = session->sequence[i].length;
    }
    zeb_status status = zeb_arena_alloc(s->arena, examples * (size_t)session->labels, sizeof(float), &memory, s->error);
    s->logits = memory;
    if (status == ZEB_OK) status = zeb_arena_alloc(s->arena, examples, sizeof(zeb_prediction), &memory, s->error);
    s->prediction = memory;
    for (int32_t l = 0; l < session->layers && status == ZEB_OK; l++) {
        status = zeb_arena_alloc(s->arena, s->tokens, sizeof(float), &memory, s->error);
        s->importance[l] = memory;
    }
    return status;
}

static zeb_status open_slice(search *s, zeb_row *row) {
    const zeb_calibration_options *options = s->options;
    slice_filter filter = {.share = options->share, .error = s->error};
    s->what = options->what;
    s->what.limit = 0;
    zeb_status status =
        zeb_session_open_kept(&s->what, s->registry, in_slice, &filter, s->arena, &s->session, row, s->error);
    if (filter.status != ZEB_OK) return filter.status;
    if (status != ZEB_OK) return status;
    thin(s);
    if (s->session.data.count < EXAMPLES_MIN)
        return zeb_fail(
            s->error, ZEB_ERR_RANGE,
            "the calibration slice of %s (%.3g %% of %llu rows) has %zu examples of at least %d tokens, too "
            "few to fit anything on: raise --share",
            s->session.data.path, 100 * options->share, (unsigned long long)s->session.data.rows_read,
            s->session.data.count, options->min_tokens);
    if (s->session.device.info.kind == ZEB_DEVICE_NONE)
        return zeb_fail(s->error, ZEB_ERR_UNSUPPORTED, "--device %s computes nothing: it cannot tell what matters",
                        options->what.device);
    if (s->session.layers < 2)
        return zeb_fail(s->error, ZEB_ERR_UNSUPPORTED,
                        "%s has one layer, which already computes [CLS] alone: there is nothing to drop",
                        options->what.model);
    status = check_leak(s);
    return status == ZEB_OK ? allocate(s) : status;
}

static void report(const search *s, const zeb_row *row, const trial *dense, const trial *best, zeb_calibration *to) {
    to->layers = s->session.layers;
    memcpy(to->tokens, best->tokens, sizeof to->tokens);
    for (int32_t l = 0; l < to->layers; l++)
        to->kept[l] = best->kept[l] / (double)s->tokens;
    to->flops_dense = s->dense_flops;
    to->flops_executed = best->flops;
    to->dense = dense->metric;
    to->sparse = best->metric;
    to->shape = best->shape;
    to->reached = reached(s, best);
    to->examples = s->session.data.count;
    to->rows = s->tokens;
    to->truncated = row->rows_truncated.value;
    zeb_text_copy(to->model, sizeof to->model, row->model);
    zeb_text_copy(to->data_hash, sizeof to->data_hash, row->data_hash);
    (void)snprintf(to->device, sizeof to->device, "%.30s:%.30s", row->backend, row->device);
}

static zeb_status find(search *s, zeb_calibration *result) {
    zeb_row row = {0};
    trial *memory = calloc(2, sizeof *memory);
    if (memory == NULL) return zeb_fail(s->error, ZEB_ERR_MEMORY, "no memory for a trial");
    trial *dense = &memory[0], *best = &memory[1];
    zeb_status status = open_slice(s, &row);
    atomic_store(&s->shared->stage, ZEB_CALIBRATION_DENSE);
    if (status == ZEB_OK) status = sweep(s, false, dense);
    s->dense_flops = dense->flops;
    atomic_store(&s->shared->stage, ZEB_CALIBRATION_TRY);
    s->dense = dense->metric;
    if (status == ZEB_OK && s->options->flops == 0 && !s->dense.defined)
        status = zeb_fail(s->error, ZEB_ERR_RANGE, "--max-drop needs a score, but %s is not defined on the slice",
                          s->dense.name);
    if (status == ZEB_OK) status = try_shapes(s, best);
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
    search *s = calloc(1, sizeof *s);
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
    if (!(o->share > 0 && o->share <= 1))
        return zeb_fail(error, ZEB_ERR_ARGUMENT, "--share is the calibration slice's part of train: above 0");
    return zeb_slice_check(o->what.split, error);
}

zeb_status zeb_calibrate(const zeb_calibration_options *options, const zeb_registry *registry,
                         const zeb_worker_watch *watch, zeb_calibration *result, zeb_error *error) {
    zeb_shared *shared = NULL;
    void *memory = NULL;
    zeb_status status = check_options(options, error);
    if (status == ZEB_OK) status = zeb_shared_create((size_t)1 << 24, &shared, error);
    if (status == ZEB_OK) status = zeb_arena_alloc(shared->arena, 1, sizeof *result, &memory, error);
    if (status != ZEB_OK) goto done;
    shared->result = memory;
    assignment given = {.options = options, .registry = registry};
    zeb_worker_report ended;
    status = zeb_worker_run(work, &given, shared, watch, &ended, error);
    if (status != ZEB_OK) goto done;
    if (ended.end != ZEB_WORKER_RETURNED) {
        bool stopped = ended.end == ZEB_WORKER_KILLED;
        status = zeb_fail(error, stopped ? ZEB_ERR_INTERRUPTED : ZEB_ERR_DEVICE, "%s; no policy was written: %.300s",
                          stopped                             ? "stopped by the user"
                          : ended.end == ZEB_WORKER_TIMED_OUT ? "no answer within --timeout"
                                                              : "the worker died",
                          ended.words);
    } else if (shared->status != ZEB_OK) {
        status = shared->status;
        *error = shared->error;
    } else {
        memcpy(result, memory, sizeof *result);
    }
done:
    zeb_shared_destroy(shared);
    return status;
}
