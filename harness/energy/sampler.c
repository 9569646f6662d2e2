#include "energy/sampler.h"

#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/text.h"
#include "energy/channel.h"

static const uint64_t interval_least_ns = 1000000u;

struct zeb_sampler {
    const zeb_sensor_table *table;
    zeb_sensor *sensor;
    char source[ZEB_NAME_MAX];
    zeb_channel about[ZEB_ENERGY_CHANNELS_MAX];
    bool counted[ZEB_ENERGY_CHANNELS_MAX];
    zeb_channel_set set;
    pthread_mutex_t control; /* held over start and stop: the thread has one owner at a time */
    pthread_mutex_t lock;    /* held over the sensor, the trace and the two flags below */
    pthread_cond_t wake;
    pthread_t thread;
    bool running;
    bool stopping;
    zeb_trace trace;
};

/* ---- opening ---- */

static zeb_status check_channel(const zeb_channel *about, uint32_t i, uint32_t count, zeb_error *error) {
    bool parent = about->parent == ZEB_NONE || (about->parent >= 0 && about->parent < (int32_t)count);
    bool mirror = about->mirror == ZEB_NONE || (about->mirror >= 0 && about->mirror < (int32_t)count);
    bool self = about->parent == (int32_t)i || about->mirror == (int32_t)i;
    bool kind = about->kind >= ZEB_CHANNEL_ENERGY_COUNTER && about->kind <= ZEB_CHANNEL_TEMPERATURE;
    bool unit = about->kind != ZEB_CHANNEL_ENERGY_COUNTER || (isfinite(about->unit_uj) && about->unit_uj > 0);
    if (parent && mirror && !self && kind && unit) return ZEB_OK;
    return zeb_fail(error, ZEB_ERR_FORMAT, "sensor channel %u (%.40s): %s", i, about->name,
                    !kind   ? "unknown kind"
                    : !unit ? "a counter without a unit"
                            : "a parent or mirror that is no other channel");
}

/* Parts draw no more than the whole: a channel without a bound has its parent's. */
static void inherit_power(zeb_channel *about, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        if (about[i].max_power_uw == 0 && about[i].parent != ZEB_NONE) {
            about[i].max_power_uw = about[about[i].parent].max_power_uw;
        }
    }
}

static zeb_status read_channels(zeb_sampler *s, zeb_error *error) {
    uint32_t count = 0;
    zeb_status status = s->table->channels(s->sensor, s->about, ZEB_ENERGY_CHANNELS_MAX, &count, error);
    if (status != ZEB_OK) return status;
    if (count == 0) return zeb_fail(error, ZEB_ERR_NOT_FOUND, "the sensor %s has no channels", s->source);
    if (count > ZEB_ENERGY_CHANNELS_MAX) {
        return zeb_fail(error, ZEB_ERR_RANGE, "the sensor %s has %u channels, at most %d are read", s->source, count,
                        ZEB_ENERGY_CHANNELS_MAX);
    }
    for (uint32_t i = 0; i < count; i++) {
        s->about[i].name[ZEB_NAME_MAX - 1] = '\0';
        s->about[i].domain[ZEB_NAME_MAX - 1] = '\0';
        status = check_channel(&s->about[i], i, count, error);
        if (status != ZEB_OK) return status;
    }
    inherit_power(s->about, count);
    s->set = (zeb_channel_set){.count = count, .about = s->about, .counted = s->counted, .source = s->source};
    zeb_channel_set_count(&s->set);
    zeb_trace_init(&s->trace, count);
    return ZEB_OK;
}

static void choose_interval(zeb_sampler *s, uint64_t wish_ns) {
    uint64_t longest = UINT64_MAX;
    for (uint32_t i = 0; i < s->set.count; i++) {
        uint64_t bound = zeb_channel_interval(&s->about[i]);
        if (bound < longest) longest = bound;
    }
    uint64_t interval = wish_ns == 0 || wish_ns > longest ? longest : wish_ns;
    s->set.interval_ns = interval < interval_least_ns ? interval_least_ns : interval;
}

static zeb_status make_locks(zeb_sampler *s, zeb_error *error) {
    pthread_condattr_t attributes;
    if (pthread_mutex_init(&s->control, NULL) != 0) return zeb_fail(error, ZEB_ERR_MEMORY, "sampler: no mutex");
    if (pthread_mutex_init(&s->lock, NULL) != 0) goto no_lock;
    if (pthread_condattr_init(&attributes) != 0) goto no_condition;
    (void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    int made = pthread_cond_init(&s->wake, &attributes);
    (void)pthread_condattr_destroy(&attributes);
    if (made == 0) return ZEB_OK;
no_condition:
    (void)pthread_mutex_destroy(&s->lock);
no_lock:
    (void)pthread_mutex_destroy(&s->control);
    return zeb_fail(error, ZEB_ERR_MEMORY, "sampler: no mutex");
}

static void drop_locks(zeb_sampler *s) {
    (void)pthread_cond_destroy(&s->wake);
    (void)pthread_mutex_destroy(&s->lock);
    (void)pthread_mutex_destroy(&s->control);
}

zeb_status zeb_sampler_create(const zeb_sensor_table *table, const char *sensor_name, const char *root,
                              uint64_t interval_ns, zeb_sampler **sampler, zeb_error *error) {
    *sampler = NULL;
    zeb_sampler *s = calloc(1, sizeof *s);
    if (s == NULL) return zeb_fail(error, ZEB_ERR_MEMORY, "sampler: out of memory");
    s->table = table;
    zeb_text_copy(s->source, sizeof s->source, sensor_name);
    zeb_status status = make_locks(s, error);
    if (status != ZEB_OK) {
        free(s);
        return status;
    }
    status = table->open(root == NULL ? "" : root, &s->sensor, error);
    if (status == ZEB_OK) status = read_channels(s, error);
    if (status != ZEB_OK) {
        zeb_sampler_destroy(s);
        return status;
    }
    choose_interval(s, interval_ns);
    *sampler = s;
    return ZEB_OK;
}

void zeb_sampler_destroy(zeb_sampler *s) {
    if (s == NULL) return;
    zeb_sampler_stop(s);
    s->table->close(s->sensor);
    zeb_trace_clear(&s->trace);
    drop_locks(s);
    free(s);
}

/* ---- sampling ---- */

/* Under the lock. The set's time is that of its latest reading, so that a mark never lies before what it stands for. */
static zeb_status take_sample(zeb_sampler *s, uint64_t *time_ns, zeb_error *error) {
    zeb_reading *reading = NULL;
    zeb_status status = zeb_trace_next(&s->trace, &reading, error);
    if (status != ZEB_OK) return status;
    zeb_error unread; /* a failed sample is told by its readings */
    bool failed = s->table->sample(s->sensor, reading, s->set.count, &unread) != ZEB_OK;
    uint64_t latest = 0;
    for (uint32_t i = 0; i < s->set.count; i++) {
        if (failed) reading[i].valid = 0;
        if (reading[i].time_ns > latest) latest = reading[i].time_ns;
    }
    *time_ns = zeb_trace_commit(&s->trace, latest != 0 ? latest : zeb_clock_now_ns());
    return ZEB_OK;
}

zeb_status zeb_sampler_mark(zeb_sampler *s, uint64_t *time_ns, zeb_error *error) {
    (void)pthread_mutex_lock(&s->lock);
    zeb_status status = take_sample(s, time_ns, error);
    (void)pthread_mutex_unlock(&s->lock);
    return status;
}

/* Looks at once and then at a steady beat; a look that came late moves no later one. Running out of memory leaves a
 * hole that the window's rules then see. */
static void *watch(void *argument) {
    zeb_sampler *s = argument;
    (void)pthread_mutex_lock(&s->lock);
    uint64_t due = zeb_clock_now_ns();
    while (!s->stopping) {
        uint64_t now = zeb_clock_now_ns(), taken = 0;
        if (now >= due) {
            zeb_error unheard;
            (void)!take_sample(s, &taken, &unheard);
            due += s->set.interval_ns * ((now - due) / s->set.interval_ns + 1);
            continue;
        }
        struct timespec until = {.tv_sec = (time_t)(due / 1000000000u), .tv_nsec = (long)(due % 1000000000u)};
        (void)pthread_cond_timedwait(&s->wake, &s->lock, &until);
    }
    (void)pthread_mutex_unlock(&s->lock);
    return NULL;
}

/* Signals are for the program's main thread. */
static int start_quietly(zeb_sampler *s) {
    sigset_t all, before;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    int fault = pthread_create(&s->thread, NULL, watch, s);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return fault;
}

zeb_status zeb_sampler_start(zeb_sampler *s, zeb_error *error) {
    zeb_status status = ZEB_OK;
    (void)pthread_mutex_lock(&s->control);
    if (!s->running) {
        (void)pthread_mutex_lock(&s->lock);
        s->stopping = false;
        (void)pthread_mutex_unlock(&s->lock);
        int fault = start_quietly(s);
        s->running = fault == 0;
        if (fault != 0) status = zeb_fail(error, ZEB_ERR_MEMORY, "sampler: no thread: %s", strerror(fault));
    }
    (void)pthread_mutex_unlock(&s->control);
    return status;
}

void zeb_sampler_stop(zeb_sampler *s) {
    (void)pthread_mutex_lock(&s->control);
    if (s->running) {
        (void)pthread_mutex_lock(&s->lock);
        s->stopping = true;
        (void)pthread_cond_signal(&s->wake);
        (void)pthread_mutex_unlock(&s->lock);
        (void)pthread_join(s->thread, NULL);
        s->running = false;
    }
    (void)pthread_mutex_unlock(&s->control);
}

/* ---- answers ---- */

zeb_status zeb_sampler_energy(zeb_sampler *s, zeb_window work, zeb_window idle_before, zeb_window idle_after,
                              zeb_energy *out, zeb_error *error) {
    if (work.end_ns <= work.begin_ns) {
        *out = (zeb_energy){.valid = true};
        return zeb_fail(error, ZEB_ERR_ARGUMENT, "energy: the window of work is empty");
    }
    (void)pthread_mutex_lock(&s->lock);
    zeb_channel_set_energy(&s->set, &s->trace, work, idle_before, idle_after, out);
    (void)pthread_mutex_unlock(&s->lock);
    return ZEB_OK;
}

const char *zeb_sampler_source(const zeb_sampler *s) {
    return s->source;
}

const zeb_channel *zeb_sampler_channels(const zeb_sampler *s, uint32_t *count) {
    *count = s->set.count;
    return s->about;
}

uint64_t zeb_sampler_interval_ns(const zeb_sampler *s) {
    return s->set.interval_ns;
}

uint64_t zeb_sampler_window_ns(const zeb_sampler *s) {
    uint64_t longest = 0;
    for (uint32_t i = 0; i < s->set.count; i++) {
        uint64_t window = zeb_channel_work(&s->about[i]);
        if (s->counted[i] && window > longest) longest = window;
    }
    return longest;
}

bool zeb_sampler_counts(const zeb_sampler *s, uint32_t i) {
    return i < s->set.count && s->counted[i];
}
