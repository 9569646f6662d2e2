#include "energy/channel.h"

#include <inttypes.h>
#include <math.h>

static const uint64_t second_ns = 1000000000u;
static const uint64_t short_interval_ns = 20000000u;
static const double quantisation_most = 0.01;
static const double register_lag_s = 0.1;
static const double gap_share_most = 0.05;
static const uint64_t updates_least = 100;

/* Everything one integration carries along. */
typedef struct walk {
    const zeb_trace *trace;
    uint32_t index;
    const zeb_channel *about;
    uint64_t interval_ns;
    zeb_window window;
    size_t low, high;   /* sets at or just outside the ends */
    double energy_uj;   /* of the part inside the window */
    double edge_uj;     /* of whole intervals that an end cuts: not known better than that */
    uint64_t moved;     /* intervals in which the counter changed */
    uint64_t stalled;   /* intervals of two updates or more in which it did not */
    uint64_t excess_ns; /* time by which intervals were longer than the sampler owed */
    zeb_channel_result *out;
} walk;

ZEB_PRINTF(2, 3) static bool refuse(walk *w, const char *format, ...) {
    va_list args;
    va_start(args, format);
    (void)vsnprintf(w->out->reason, sizeof w->out->reason, format, args);
    va_end(args);
    return false;
}

static double milliseconds(uint64_t ns) {
    return (double)ns / 1e6;
}

uint64_t zeb_channel_interval(const zeb_channel *about) {
    bool counter = about->kind == ZEB_CHANNEL_ENERGY_COUNTER;
    if (about->kind == ZEB_CHANNEL_POWER) {
        return about->update_ns > short_interval_ns ? about->update_ns : short_interval_ns;
    }
    uint64_t longest = counter && about->update_ns == 0 ? short_interval_ns : second_ns;
    bool bounded = counter && about->range != 0 && about->range != ZEB_RANGE_UNKNOWN && about->max_power_uw != 0;
    if (!bounded) return longest;
    /* Half the time in which it may wrap at twice its power: a look that comes late is still in time. */
    double ns = (double)about->range * about->unit_uj / (4.0 * (double)about->max_power_uw) * 1e9;
    return ns >= (double)longest ? longest : (uint64_t)ns;
}

uint64_t zeb_channel_window(const zeb_channel *about) {
    if (about->window_min_ns != 0) return about->window_min_ns;
    return about->kind == ZEB_CHANNEL_POWER ? 5 * second_ns : second_ns;
}

uint64_t zeb_channel_work(const zeb_channel *about) {
    uint64_t window = zeb_channel_window(about);
    uint64_t update = about->update_ns != 0 ? about->update_ns : short_interval_ns;
    uint64_t updates = (updates_least + 1) * update; /* one alone must be under 1 % */
    return window > updates ? window : updates;
}

/* Finds the sets at the ends of the window, or around them where an end was not marked. */
static bool cover(walk *w) {
    uint64_t span = w->window.end_ns - w->window.begin_ns;
    uint64_t least = zeb_channel_window(w->about);
    if (span < least) {
        return refuse(w, "window too short: %.0f ms, at least %.0f ms", milliseconds(span), milliseconds(least));
    }
    w->low = zeb_trace_find(w->trace, w->window.begin_ns);
    w->high = zeb_trace_find(w->trace, w->window.end_ns);
    if (w->high == w->trace->sets) return refuse(w, "window not covered: no sample at or after its end");
    if (zeb_trace_time(w->trace, w->low) != w->window.begin_ns) {
        if (w->low == 0) return refuse(w, "window not covered: no sample at or before its begin");
        w->low--;
    }
    return true;
}

/* Share of the interval between two sets that lies in the window. */
static double share(const walk *w, size_t set) {
    uint64_t from = zeb_trace_time(w->trace, set - 1), to = zeb_trace_time(w->trace, set);
    if (to == from) return 1.0;
    uint64_t begin = from > w->window.begin_ns ? from : w->window.begin_ns;
    uint64_t end = to < w->window.end_ns ? to : w->window.end_ns;
    return begin >= end ? 0.0 : (double)(end - begin) / (double)(to - from);
}

static void note_gap(walk *w, size_t set) {
    uint64_t span = zeb_trace_time(w->trace, set) - zeb_trace_time(w->trace, set - 1);
    if (span <= w->interval_ns + w->interval_ns / 2 + 5000000u) return;
    w->out->gaps++;
    w->excess_ns += span - w->interval_ns;
}

/* ---- counters ---- */

/* Counts from a to b, over at most one wrap. */
static bool advance(walk *w, uint64_t a, uint64_t b, uint64_t *counts) {
    uint64_t range = w->about->range;
    if (range == ZEB_RANGE_UNKNOWN) return refuse(w, "range unknown: where the counter wraps could not be read");
    if (range != 0 && (a > range || b > range)) {
        return refuse(w, "the counter read %" PRIu64 ", past its range of %" PRIu64, a > range ? a : b, range);
    }
    if (b >= a) {
        *counts = b - a;
    } else if (range == 0) {
        return refuse(w, "the counter went backwards, from %" PRIu64 " to %" PRIu64 ", and does not wrap", a, b);
    } else {
        *counts = range - a + b;
    }
    return true;
}

/* Whether so much can have been drawn between two readings. The span is widened by what a register may lag: readings
 * may lie microseconds apart and an update between them. The whole window is judged without that. */
static bool believe(walk *w, double drawn_uj, uint64_t span_ns) {
    const zeb_channel *about = w->about;
    double range_uj = (double)about->range * about->unit_uj;
    bool wraps = about->range != 0;
    if (about->max_power_uw == 0) {
        if (wraps && drawn_uj > range_uj / 2) {
            return refuse(w, "implied power: the counter advanced %.0f J in %.0f ms, over half its range",
                          drawn_uj / 1e6, milliseconds(span_ns));
        }
        return true;
    }
    double bound_uw = 2.0 * (double)about->max_power_uw;
    double span_s = (double)span_ns / 1e9;
    if (wraps && bound_uw * span_s >= range_uj) {
        return refuse(w, "sparse: %.0f ms between two readings, in which the counter may have wrapped more than once",
                      milliseconds(span_ns));
    }
    double lag_s = 2.0 * (double)about->update_ns / 1e9 + register_lag_s;
    if (drawn_uj > bound_uw * (span_s + lag_s)) {
        return refuse(w, "implied power: %.0f J in %.0f ms, over twice the %.0f W that it can draw", drawn_uj / 1e6,
                      milliseconds(span_ns), (double)about->max_power_uw / 1e6);
    }
    return true;
}

static bool count_interval(walk *w, size_t set) {
    const zeb_reading *a = zeb_trace_reading(w->trace, set - 1, w->index);
    const zeb_reading *b = zeb_trace_reading(w->trace, set, w->index);
    uint64_t counts = 0, span = b->time_ns > a->time_ns ? b->time_ns - a->time_ns : 0;
    if (!advance(w, a->value, b->value, &counts)) return false;
    double drawn_uj = (double)counts * w->about->unit_uj, part = share(w, set);
    if (!believe(w, drawn_uj, span)) return false;
    w->energy_uj += drawn_uj * part;
    if (part < 1.0) w->edge_uj += drawn_uj;
    if (counts > 0) {
        w->moved++;
    } else if (w->about->update_ns != 0 && span >= 2 * w->about->update_ns) {
        w->stalled++;
    }
    return true;
}

/* What one update is worth: known from how often the register changes, or, where it changes less often than it should
 * (or nothing is known), from the changes that were seen. */
static bool judge_counter(walk *w) {
    zeb_channel_result *out = w->out;
    if (w->moved == 0) return refuse(w, "stuck: the counter did not move");
    uint64_t span = w->window.end_ns - w->window.begin_ns;
    double mean_uw = w->energy_uj / ((double)span / 1e9), most_uw = (double)w->about->max_power_uw;
    if (most_uw > 0 && mean_uw > 2.0 * most_uw) {
        return refuse(w, "implied power: %.0f W over the window, over twice the %.0f W that it can draw", mean_uw / 1e6,
                      most_uw / 1e6);
    }
    bool seen_only = w->about->update_ns == 0 || w->stalled > 0;
    out->updates = seen_only ? w->moved : span / w->about->update_ns;
    double step_uj = out->updates == 0 ? w->energy_uj : w->energy_uj / (double)out->updates;
    out->resolution_uj = fmax(step_uj, w->about->unit_uj);
    double doubt = (out->resolution_uj + w->edge_uj) / w->energy_uj;
    if (doubt >= quantisation_most) {
        return refuse(w, "quantisation: the window is known to %.1f %% (%" PRIu64 " updates), 1 %% is needed",
                      100 * doubt, out->updates);
    }
    out->energy_uj = w->energy_uj;
    return true;
}

/* ---- powers ---- */

static bool power_interval(walk *w, size_t set) {
    const zeb_reading *a = zeb_trace_reading(w->trace, set - 1, w->index);
    const zeb_reading *b = zeb_trace_reading(w->trace, set, w->index);
    uint64_t from = zeb_trace_time(w->trace, set - 1), to = zeb_trace_time(w->trace, set);
    double most = 2.0 * (double)w->about->max_power_uw;
    if (most > 0 && ((double)a->value > most || (double)b->value > most)) {
        return refuse(w, "implied power: %.0f W read, over twice the %.0f W that it can draw",
                      (double)(a->value > b->value ? a->value : b->value) / 1e6, most / 2e6);
    }
    if (to == from) return true;
    uint64_t begin = from > w->window.begin_ns ? from : w->window.begin_ns;
    uint64_t end = to < w->window.end_ns ? to : w->window.end_ns;
    if (begin >= end) return true;
    double slope = ((double)b->value - (double)a->value) / (double)(to - from);
    double left = (double)a->value + slope * (double)(begin - from);
    double right = (double)a->value + slope * (double)(end - from);
    w->energy_uj += 0.5 * (left + right) * (double)(end - begin) / 1e9;
    return true;
}

static bool judge_power(walk *w) {
    zeb_channel_result *out = w->out;
    uint64_t span = w->window.end_ns - w->window.begin_ns;
    out->updates = out->samples;
    if (w->about->update_ns != 0 && span / w->about->update_ns < out->updates) {
        out->updates = span / w->about->update_ns;
    }
    if (out->updates < updates_least) {
        return refuse(w, "quantisation: %" PRIu64 " power samples, at least %" PRIu64 " are needed", out->updates,
                      updates_least);
    }
    if ((double)w->excess_ns > gap_share_most * (double)span) {
        return refuse(w, "gaps: %.0f ms of %.0f ms without samples", milliseconds(w->excess_ns), milliseconds(span));
    }
    if (!(w->energy_uj > 0)) return refuse(w, "stuck: the power read 0 throughout");
    out->resolution_uj = w->energy_uj / (double)out->updates;
    out->energy_uj = w->energy_uj;
    return true;
}

static bool integrate(walk *w) {
    if (!cover(w)) return false;
    bool counter = w->about->kind == ZEB_CHANNEL_ENERGY_COUNTER;
    w->out->samples = w->high - w->low + 1;
    for (size_t set = w->low; set <= w->high; set++) {
        if (zeb_trace_reading(w->trace, set, w->index)->valid) continue;
        return refuse(w, "unreadable: a reading in the window failed");
    }
    for (size_t set = w->low + 1; set <= w->high; set++) {
        note_gap(w, set);
        if (!(counter ? count_interval(w, set) : power_interval(w, set))) return false;
    }
    return counter ? judge_counter(w) : judge_power(w);
}

void zeb_channel_integrate(const zeb_trace *trace, uint32_t index, const zeb_channel *about, uint64_t interval_ns,
                           zeb_window window, zeb_channel_result *out) {
    *out = (zeb_channel_result){.known = false};
    walk w = {.trace = trace, .index = index, .about = about, .interval_ns = interval_ns, .window = window, .out = out};
    if (about->kind == ZEB_CHANNEL_TEMPERATURE) {
        (void)refuse(&w, "a temperature has no energy");
    } else if (window.end_ns <= window.begin_ns) {
        (void)refuse(&w, "no window");
    } else {
        out->known = integrate(&w);
    }
}

bool zeb_channel_moved(const zeb_trace *trace, uint32_t index) {
    const zeb_reading *first = NULL;
    for (size_t set = 0; set < trace->sets; set++) {
        const zeb_reading *reading = zeb_trace_reading(trace, set, index);
        if (!reading->valid) continue;
        if (first != NULL && first->value != reading->value) return true;
        if (first == NULL) first = reading;
    }
    return false;
}
