#include "run/execute.h"

#include <string.h>

#include "base/clock.h"
#include "base/text.h"
#include "energy/carbon.h"
#include "energy/sampler.h"
#include "run/bench.h"
#include "run/fill.h"
#include "run/host.h"
#include "run/measure.h"
#include "run/tune.h"

#define KEEP(field, text) zeb_text_copy((field), sizeof(field), (text))

enum { ESTIMATE_WINDOW_NS = 1000000000 };

/* The energy side of a case: a sampler, if there is a sensor, and the idle windows around the work. */
typedef struct meter {
    zeb_sampler *sampler; /* NULL: nothing to measure with */
    zeb_window before, work, after;
    char reason[ZEB_ROW_TEXT_MAX]; /* why there is no sensor */
} meter;

/* Opens the wanted sensor. That there is none is no error; that a named one fails is. */
static zeb_status watch_open(const zeb_assignment *assignment, meter *watch, zeb_error *error) {
    const zeb_case *what = assignment->what;
    bool automatic = what->sensor == NULL || strcmp(what->sensor, "auto") == 0;
    KEEP(watch->reason, "no sensor");
    if (!automatic && strcmp(what->sensor, "none") == 0) {
        KEEP(watch->reason, "no sensor asked for");
        return ZEB_OK;
    }
    const char *root = what->sensor_root != NULL ? what->sensor_root : "";
    for (size_t i = 0; i < zeb_registry_count(assignment->registry); i++) {
        const zeb_plugin_record *record = zeb_registry_at(assignment->registry, i);
        if (record->plugin == NULL || record->plugin->sensor == NULL) continue;
        if (!automatic && strcmp(what->sensor, record->name) != 0) continue;
        zeb_error why = {{0}};
        if (zeb_sampler_create(record->plugin->sensor, record->name, root, 0, &watch->sampler, &why) == ZEB_OK)
            return zeb_sampler_start(watch->sampler, error);
        if (!automatic) return zeb_fail(error, ZEB_ERR_NOT_FOUND, "--sensor %s: %s", what->sensor, why.text);
        KEEP(watch->reason, why.text);
    }
    if (automatic) return ZEB_OK;
    return zeb_fail(error, ZEB_ERR_NOT_FOUND, "--sensor %s: no such sensor; 'zeb list sensors' lists them",
                    what->sensor);
}

/* Sits still for a while, unless the user stops it, and says what window that was. */
static zeb_status rest(meter *watch, uint64_t idle_ns, zeb_shared *shared, zeb_window *window, zeb_error *error) {
    if (watch->sampler == NULL || idle_ns == 0) return ZEB_OK;
    atomic_store(&shared->stage, ZEB_STAGE_IDLE);
    zeb_status status = zeb_sampler_mark(watch->sampler, &window->begin_ns, error);
    uint64_t until = zeb_clock_now_ns() + idle_ns;
    for (uint64_t now; status == ZEB_OK && (now = zeb_clock_now_ns()) < until && !atomic_load(&shared->stop);)
        zeb_clock_sleep_until(until - now > 100000000 ? now + 100000000 : until);
    if (status == ZEB_OK) status = zeb_sampler_mark(watch->sampler, &window->end_ns, error);
    return status;
}

static zeb_status mark(meter *watch, uint64_t *time_ns, zeb_error *error) {
    if (watch->sampler != NULL) return zeb_sampler_mark(watch->sampler, time_ns, error);
    *time_ns = zeb_clock_now_ns();
    return ZEB_OK;
}

/* What was drawn, measured or (marked) estimated, and what that is in CO2. */
static zeb_status account(const zeb_session *session, meter *watch, const zeb_host_delta *host, zeb_energy *energy,
                          zeb_arena *arena, zeb_row *row, zeb_error *error) {
    const zeb_case *what = session->what;
    zeb_status status = ZEB_OK;
    double tdp = what->tdp_watts;
    if (watch->sampler != NULL) {
        status = zeb_sampler_energy(watch->sampler, watch->work, watch->before, watch->after, energy, error);
    } else if (tdp > 0 && host->has_utilisation) {
        zeb_energy_estimate(tdp, host->utilisation, watch->work, energy);
    } else {
        energy->valid = true;
        KEEP(energy->reason, tdp > 0 ? "no estimate: the work was too short to know the utilisation" : watch->reason);
    }
    zeb_carbon carbon;
    if (status == ZEB_OK)
        status = zeb_carbon_find(what->country, what->region, what->carbon_g_per_kwh, what->pue, &carbon, error);
    if (status == ZEB_OK) status = zeb_fill_energy(row, energy, &carbon, arena, error);
    return status;
}

/* Idle, warm-up, the measured passes, idle again. The warm-up comes right before the passes: a device that has rested
 * in between is cold again, and only where there is a sensor. */
static zeb_status measure(zeb_session *session, meter *watch, zeb_shared *shared, zeb_measurement *measured,
                          zeb_host_delta *host, zeb_error *error) {
    zeb_host_snapshot before, after;
    zeb_status status = rest(watch, session->what->idle_ns, shared, &watch->before, error);
    atomic_store(&shared->stage, ZEB_STAGE_WARM_UP);
    if (status == ZEB_OK) status = zeb_warm_up(session, shared, measured, error);
    /* an estimate needs the utilisation, which takes a while to know, as a sensor needs its window */
    uint64_t estimate_ns = session->what->tdp_watts > 0 ? ESTIMATE_WINDOW_NS : 0;
    uint64_t window_ns = watch->sampler != NULL ? zeb_sampler_window_ns(watch->sampler) * 11 / 10 : estimate_ns;
    if (status == ZEB_OK) status = mark(watch, &watch->work.begin_ns, error);
    zeb_host_snapshot_take("", &before);
    if (status == ZEB_OK) status = zeb_measure(session, window_ns, shared, measured, error);
    zeb_host_snapshot_take("", &after);
    zeb_host_delta_make(&before, &after, host);
    if (status == ZEB_OK) status = mark(watch, &watch->work.end_ns, error);
    if (status == ZEB_OK && !measured->interrupted)
        status = rest(watch, session->what->idle_ns, shared, &watch->after, error);
    return status;
}

/* Sets the verdict of a case that was measured to its end. */
static void judge(const zeb_measurement *measured, zeb_row *row) {
    row->outcome = ZEB_OUTCOME_OK;
    if (measured->interrupted) {
        row->outcome = ZEB_OUTCOME_INTERRUPTED;
        (void)snprintf(row->reason, sizeof row->reason, "stopped by the user after %zu scored examples",
                       measured->scored);
    } else if (row->energy.kind == ZEB_ROW_ENERGY_MEASURED && !row->energy.valid) {
        row->outcome = ZEB_OUTCOME_INVALID;
        KEEP(row->reason, row->energy.reason);
    }
}

static zeb_status run_opened(const zeb_assignment *assignment, zeb_session *session, meter *watch, zeb_shared *shared,
                             zeb_outcome_record *record, zeb_error *error) {
    zeb_measurement measured = {0};
    zeb_host_delta host = {0};
    zeb_latency latency = {0};
    zeb_energy energy = {0};
    zeb_row *row = &record->row;
    zeb_status status = watch_open(assignment, watch, error);
    if (status == ZEB_OK) status = measure(session, watch, shared, &measured, &host, error);
    if (status != ZEB_OK) return status;
    atomic_store(&shared->stage, ZEB_STAGE_SCORE);
    uint64_t rested_ns = watch->before.end_ns - watch->before.begin_ns; /* no part of starting */
    if (measured.warmup > 0) row->startup_ns = zeb_u64(measured.first_done_ns - assignment->begin_ns - rested_ns);
    status = zeb_fill_latency(row, &measured, &latency, error);
    if (status == ZEB_OK) status = zeb_fill_scores(record, session, &measured, shared->arena, error);
    if (status == ZEB_OK) status = account(session, watch, &host, &energy, shared->arena, row, error);
    if (status == ZEB_OK) status = zeb_fill_work(row, session, &measured, shared->arena, error);
    if (status == ZEB_OK)
        status = zeb_fill_flags(row, session, &measured, &latency, &energy, &host, shared->arena, error);
    if (status == ZEB_OK && row->model_hash[0] == '\0') status = zeb_model_hash(session->model, row->model_hash, error);
    if (status == ZEB_OK) judge(&measured, row);
    return status;
}

/* By a cost table that was measured before: nothing of it is made here, where time is measured. */
static zeb_status tune(const zeb_assignment *assignment, zeb_session *session, zeb_row *row, zeb_error *error) {
    char fingerprint[ZEB_FINGERPRINT_MAX];
    zeb_costs costs;
    zeb_status status = zeb_costs_fingerprint(assignment->registry, &session->device, fingerprint, error);
    if (status == ZEB_OK)
        status = zeb_costs_make(fingerprint, assignment->timing, assignment->timings, NULL, 0, session->arena, &costs,
                                error);
    return status == ZEB_OK ? zeb_tune(session, &costs, row, error) : status;
}

zeb_status zeb_execute(const void *input, zeb_shared *shared, zeb_error *error) {
    const zeb_assignment *assignment = input;
    zeb_outcome_record *record = shared->result;
    zeb_row *row = &record->row;
    zeb_session session = {0};
    meter watch = {0};
    zeb_arena *arena = NULL;
    atomic_store(&shared->stage, ZEB_STAGE_OPEN);
    zeb_status status = zeb_arena_create(&arena, error);
    if (status != ZEB_OK) goto done;
    status = zeb_session_open(assignment->what, assignment->registry, arena, &session, row, error);
    if (status == ZEB_OK && zeb_tune_wanted(assignment->what)) status = tune(assignment, &session, row, error);
    record->opened = status == ZEB_OK;
    if (status == ZEB_OK) status = run_opened(assignment, &session, &watch, shared, record, error);
    zeb_fill_memory(row);
    zeb_session_close(&session);
done:
    zeb_sampler_destroy(watch.sampler);
    zeb_arena_destroy(arena);
    if (status != ZEB_OK) {
        row->outcome = session.refused ? ZEB_OUTCOME_UNSUPPORTED : ZEB_OUTCOME_FAILED;
        KEEP(row->reason, error->text[0] != '\0' ? error->text : zeb_status_name(status));
    }
    return status;
}
