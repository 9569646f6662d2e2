#include "run/calibrate_search.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "run/finite.h"

enum { STEPS_MAX = 16, BUDGET_STEPS = 8, NUDGES_MAX = 24 };
static const double tolerance = 0.01, weakest = 1.0, strongest = 0.01;

/* ---- one run over the slice ------------------------------------------------------------------------------------- */

static bool is_threshold(uint32_t mode) {
    return mode == ZEB_SELECT_THRESHOLD || mode == ZEB_SELECT_RELATIVE;
}

/* Makes importance what a relative threshold is compared with: times the rows of the sequence. */
static void make_relative(const zeb_search *s, const int32_t *offsets, float *importance) {
    for (int32_t b = 0; b < s->session.batch.sequences; b++)
        for (int32_t t = offsets[b]; t < offsets[b + 1]; t++)
            importance[t] *= (float)(offsets[b + 1] - offsets[b]);
}

/* Adds the importance of the rows of the batch in hand. */
static zeb_status note_importance(zeb_search *s) {
    zeb_session *session = &s->session;
    size_t rows = (size_t)session->batch.tokens;
    const int32_t *offsets = session->batch.offsets; /* of the rows that enter the layer */
    zeb_status status = ZEB_OK;
    for (int32_t l = 0; l + 1 < session->layers && status == ZEB_OK; l++) {
        zeb_kept kept = {.tokens = -1};
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

static zeb_status note_work(zeb_search *s, zeb_trial *t) {
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

static zeb_status score(zeb_search *s, zeb_trial *t) {
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
    for (size_t i = 0; i < data->count * labels; i++) {
        double step = (double)s->logits[i] - (double)s->whole[i];
        t->moved += step * step / (double)(data->count * labels);
    }
    return status;
}

/* See the header. */
zeb_status zeb_search_sweep(zeb_search *s, bool watch, zeb_trial *t) {
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
static zeb_status run_under(zeb_search *s, const zeb_select *tokens, bool watch, zeb_trial *t) {
    zeb_policy *policy = NULL;
    zeb_status status =
        zeb_policy_make(s->options->name, s->session.layers, tokens, t != NULL ? t->heads : NULL, &policy, s->error);
    if (status == ZEB_OK) status = zeb_session_replan(&s->session, policy, watch, s->error);
    if (status == ZEB_OK) status = zeb_search_sweep(s, watch, t);
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
static void shares(const zeb_search *s, zeb_calibration_shape shape, double r, double *share) {
    int32_t drops = s->session.layers - 1;
    for (int32_t l = 0; l < drops; l++) {
        double w = 1;
        if (shape == ZEB_SHAPE_LATE) w = 2.0 * (l + 1) / (drops + 1);
        if (shape == ZEB_SHAPE_EARLY) w = 2.0 * (drops - l) / (drops + 1);
        share[l] = pow(r, w);
    }
}

static void ladder(const zeb_search *s, zeb_select_mode mode, const double *share, zeb_select *tokens) {
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

zeb_status zeb_search_measure(zeb_search *s, zeb_trial *t) {
    zeb_status status = run_under(s, t->tokens, false, t);
    atomic_fetch_add(&s->shared->done, 1);
    return status;
}

static zeb_status attempt(zeb_search *s, zeb_calibration_shape shape, double r, zeb_trial *t) {
    double share[ZEB_CALIBRATION_LAYERS_MAX];
    zeb_status status = ZEB_OK;
    *t = (zeb_trial){.shape = shape};
    shares(s, shape, r, share);
    ladder(s, is_threshold(s->options->mode) ? ZEB_SELECT_RATIO : s->options->mode, share, t->tokens);
    if (is_threshold(s->options->mode)) {
        status = run_under(s, t->tokens, true, NULL);
        for (int32_t l = 0; l + 1 < s->session.layers && status == ZEB_OK; l++) {
            t->tokens[l].mode = s->options->mode;
            t->tokens[l].value = quantile(s->importance[l], s->rows[l], share[l]);
        }
    }
    return status == ZEB_OK ? zeb_search_measure(s, t) : status;
}

/* ---- the search ------------------------------------------------------------------------------------------------- */

static double miss(const zeb_search *s, const zeb_trial *t) {
    return fabs(t->flops / s->dense_flops / s->options->flops - 1);
}

/* A little more (direction 1) or less (-1) in a layer; false where there is no more or less. */
static bool step_layer(const zeb_search *s, int direction, zeb_select *tokens) {
    if (tokens->mode == ZEB_SELECT_TOPK) {
        tokens->count += direction;
        return tokens->count >= s->options->floor && tokens->count <= s->longest;
    }
    tokens->value *= direction > 0 ? 1.01f : 0.99f;
    return tokens->value <= 1.0f;
}

/* Numbers of rows go in steps: a little more or less in a layer, from the last, as long as that comes nearer. */
static zeb_status nudge(zeb_search *s, zeb_trial *best) {
    zeb_status status = ZEB_OK;
    int32_t l = s->session.layers - 2;
    for (int tries = 0; tries < NUDGES_MAX && l >= 0 && miss(s, best) > tolerance && status == ZEB_OK; tries++) {
        zeb_trial next = {.shape = best->shape};
        int direction = best->flops > s->options->flops * s->dense_flops ? -1 : 1;
        memcpy(next.tokens, best->tokens, sizeof next.tokens);
        if (!step_layer(s, direction, &next.tokens[l])) {
            l--;
            continue;
        }
        status = zeb_search_measure(s, &next);
        if (status == ZEB_OK && miss(s, &next) < miss(s, best))
            *best = next;
        else
            l--;
    }
    return status;
}

static zeb_status for_flops(zeb_search *s, zeb_calibration_shape shape, zeb_trial *best) {
    double low = strongest, high = weakest, wanted = s->options->flops * s->dense_flops;
    zeb_status status = attempt(s, shape, low, best);
    if (status != ZEB_OK) return status;
    if (best->flops > wanted * (1 + tolerance))
        return zeb_fail(s->error, ZEB_ERR_RANGE,
                        "--flops %.4g is out of reach: with next to nothing but the floor of %d rows left in each "
                        "layer it is still %.3f of the dense work",
                        s->options->flops, s->options->floor, best->flops / s->dense_flops);
    for (int step = 0; step < STEPS_MAX && miss(s, best) > tolerance; step++) {
        zeb_trial next;
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

static bool in_budget(const zeb_search *s, const zeb_trial *t) {
    return t->metric.defined && t->metric.value >= s->dense.value - s->options->max_drop;
}

/* The least work whose score is within the budget: bisection, as if scores fell steadily; the best trial that kept to
 * the budget wins whatever the others did. */
static zeb_status for_budget(zeb_search *s, zeb_calibration_shape shape, zeb_trial *best) {
    double low = strongest, high = weakest;
    zeb_status status = attempt(s, shape, high, best); /* keeps every row, or nearly */
    for (int step = 0; step < BUDGET_STEPS && status == ZEB_OK; step++) {
        zeb_trial next;
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

bool zeb_search_reached(const zeb_search *s, const zeb_trial *t) {
    if (s->options->mode == ZEB_SELECT_NONE && s->options->flops > 0)
        return t->flops <= s->options->flops * s->dense_flops * (1 + tolerance); /* heads go in steps */
    return s->options->flops > 0 ? miss(s, t) <= tolerance : in_budget(s, t);
}

/* Is a better than b? */
static bool better(const zeb_search *s, const zeb_trial *a, const zeb_trial *b) {
    if (zeb_search_reached(s, a) != zeb_search_reached(s, b)) return zeb_search_reached(s, a);
    if (s->options->flops > 0) return a->metric.value > b->metric.value;
    return a->flops < b->flops;
}

zeb_status zeb_search_shapes(zeb_search *s, zeb_trial *best) {
    static const zeb_calibration_shape all[] = {ZEB_SHAPE_EVEN, ZEB_SHAPE_EARLY, ZEB_SHAPE_LATE};
    zeb_status status = ZEB_OK;
    bool any = false;
    if (s->options->mode == ZEB_SELECT_NONE) return zeb_search_heads(s, best);
    for (size_t i = 0; i < sizeof all / sizeof all[0] && status == ZEB_OK; i++) {
        zeb_trial found;
        if (s->options->shape != ZEB_SHAPE_BEST && s->options->shape != all[i]) continue;
        status = s->options->flops > 0 ? for_flops(s, all[i], &found) : for_budget(s, all[i], &found);
        if (status == ZEB_OK && (!any || better(s, &found, best))) *best = found;
        any = true;
    }
    return status;
}
