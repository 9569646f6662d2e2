#include "energy/window.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "base/text.h"
#include "energy/channel.h"

static const uint64_t idle_wanted_ns = 30000000000u;
static const double drift_most = 0.05;

/* ---- which channels add up ---- */

static bool is_psys(const zeb_channel *about) {
    return strcmp(about->domain, "psys") == 0;
}

static bool stands_alone(const zeb_channel *about) {
    return about->kind != ZEB_CHANNEL_TEMPERATURE && about->parent == ZEB_NONE && about->mirror == ZEB_NONE;
}

void zeb_channel_set_count(zeb_channel_set *set) {
    bool others = false;
    for (uint32_t i = 0; i < set->count; i++) {
        others = others || (stands_alone(&set->about[i]) && !is_psys(&set->about[i]));
    }
    for (uint32_t i = 0; i < set->count; i++) {
        set->counted[i] = stands_alone(&set->about[i]) && !(others && is_psys(&set->about[i]));
    }
}

/* ---- idle ---- */

typedef struct idle_side {
    bool known;
    double watts;
} idle_side;

static double seconds_of(zeb_window window) {
    return window.end_ns > window.begin_ns ? (double)(window.end_ns - window.begin_ns) / 1e9 : 0;
}

static idle_side idle_power(const zeb_channel_set *set, const zeb_trace *trace, uint32_t i, zeb_window window) {
    zeb_channel_result result;
    zeb_channel_integrate(trace, i, &set->about[i], set->interval_ns, window, &result);
    if (!result.known) return (idle_side){.known = false};
    return (idle_side){.known = true, .watts = result.energy_uj / 1e6 / seconds_of(window)};
}

/* Mean of both sides weighted by their length; one side alone where the other is unknown. */
static idle_side idle_mean(idle_side before, idle_side after, zeb_window b, zeb_window a) {
    if (!before.known) return after;
    if (!after.known) return before;
    double tb = seconds_of(b), ta = seconds_of(a);
    return (idle_side){.known = true, .watts = (before.watts * tb + after.watts * ta) / (tb + ta)};
}

/* Sums over counted channels; a sum with an unknown part is unknown. */
typedef struct idle_sum {
    idle_side before, after, mean;
} idle_sum;

static void add_side(idle_side *sum, idle_side more) {
    sum->known = sum->known && more.known;
    sum->watts += more.watts;
}

static void settle_idle(zeb_energy *out, const idle_sum *sum, zeb_window before, zeb_window after) {
    if (!sum->mean.known) return;
    out->idle_known = true;
    out->idle_watts = sum->mean.watts;
    out->idle_short = (sum->before.known && before.end_ns - before.begin_ns < idle_wanted_ns) ||
                      (sum->after.known && after.end_ns - after.begin_ns < idle_wanted_ns) || !sum->before.known ||
                      !sum->after.known;
    if (sum->before.known && sum->after.known) {
        double middle = (sum->before.watts + sum->after.watts) / 2;
        out->drift_known = true;
        out->idle_drift = fabs(sum->after.watts - sum->before.watts) / middle;
        out->idle_drifted = out->idle_drift > drift_most;
    }
    if (!out->known) return;
    out->idle_uj = llround(out->idle_watts * out->seconds * 1e6);
    out->net_uj = out->gross_uj - out->idle_uj;
}

/* ---- the total ---- */

/* Memory whose counter has never moved while other meters did is not metered on this machine (many desktop parts have
 * the zone and no meter). A still package or rail is a fault instead. */
static bool unmetered(const zeb_energy_channel *c) {
    return !c->known && !c->moved && c->kind == ZEB_CHANNEL_ENERGY_COUNTER && strcmp(c->domain, "dram") == 0 &&
           strncmp(c->reason, "stuck", 5) == 0;
}

static void fill_channel(const zeb_channel_set *set, const zeb_trace *trace, uint32_t i, zeb_window work,
                         zeb_energy_channel *c) {
    const zeb_channel *about = &set->about[i];
    zeb_channel_result result;
    zeb_channel_integrate(trace, i, about, set->interval_ns, work, &result);
    *c = (zeb_energy_channel){.kind = about->kind, .counted = set->counted[i], .known = result.known};
    zeb_text_copy(c->name, sizeof c->name, about->name);
    zeb_text_copy(c->domain, sizeof c->domain, about->domain);
    zeb_text_copy(c->reason, sizeof c->reason, result.reason);
    c->moved = about->kind != ZEB_CHANNEL_ENERGY_COUNTER || result.known || zeb_channel_moved(trace, i);
    c->gross_uj = result.known ? llround(result.energy_uj) : 0;
    c->resolution_uj = result.resolution_uj;
    c->updates = result.updates;
    c->samples = result.samples;
    c->gaps = result.gaps;
}

static void leave_out_unmetered(zeb_energy *out) {
    bool any = false;
    for (uint32_t i = 0; i < out->channel_count; i++) {
        any = any || (out->channel[i].counted && out->channel[i].known);
    }
    for (uint32_t i = 0; any && i < out->channel_count; i++) {
        zeb_energy_channel *c = &out->channel[i];
        if (!c->counted || !unmetered(c)) continue;
        c->counted = false;
        size_t used = strlen(out->note);
        (void)snprintf(out->note + used, sizeof out->note - used, "%s%.40s never moves: not metered, left out",
                       used > 0 ? "; " : "", c->name);
    }
}

static void sum_channels(zeb_energy *out) {
    uint32_t counted = 0;
    out->known = true;
    for (uint32_t i = 0; i < out->channel_count; i++) {
        const zeb_energy_channel *c = &out->channel[i];
        if (!c->counted) continue;
        counted++;
        out->samples += c->samples;
        out->gaps += c->gaps;
        out->gross_uj += c->gross_uj;
        if (!c->known && out->known) {
            (void)snprintf(out->reason, sizeof out->reason, "%.40s: %.140s", c->name, c->reason);
            out->known = false;
        }
    }
    if (counted == 0) {
        zeb_text_copy(out->reason, sizeof out->reason, "the sensor has no channel of energy or power");
        out->known = false;
    }
    out->valid = out->known || counted == 0;
    if (!out->known) out->gross_uj = 0;
}

void zeb_channel_set_energy(const zeb_channel_set *set, const zeb_trace *trace, zeb_window work, zeb_window idle_before,
                            zeb_window idle_after, zeb_energy *out) {
    *out = (zeb_energy){.kind = ZEB_ENERGY_MEASURED, .seconds = seconds_of(work), .channel_count = set->count};
    zeb_text_copy(out->source, sizeof out->source, set->source);
    for (uint32_t i = 0; i < set->count; i++) {
        fill_channel(set, trace, i, work, &out->channel[i]);
    }
    leave_out_unmetered(out);
    sum_channels(out);
    idle_sum sum = {.before = {.known = true}, .after = {.known = true}, .mean = {.known = true}};
    bool any = false;
    for (uint32_t i = 0; i < set->count; i++) {
        idle_side before = idle_power(set, trace, i, idle_before), after = idle_power(set, trace, i, idle_after);
        idle_side mean = idle_mean(before, after, idle_before, idle_after);
        out->channel[i].idle_known = mean.known;
        out->channel[i].idle_watts = mean.watts;
        if (!out->channel[i].counted) continue;
        any = true;
        add_side(&sum.before, before);
        add_side(&sum.after, after);
        add_side(&sum.mean, mean);
    }
    if (any) settle_idle(out, &sum, idle_before, idle_after);
}

/* ---- without a sensor ---- */

void zeb_energy_estimate(double tdp_watts, double utilisation, zeb_window work, zeb_energy *out) {
    *out = (zeb_energy){.kind = ZEB_ENERGY_ESTIMATED, .valid = true, .seconds = seconds_of(work)};
    zeb_text_copy(out->source, sizeof out->source, "tdp");
    bool power = isfinite(tdp_watts) && tdp_watts > 0;
    bool used = isfinite(utilisation) && utilisation > 0 && utilisation <= 1;
    if (!power || !used || !(out->seconds > 0)) {
        out->kind = ZEB_ENERGY_NONE;
        out->source[0] = '\0';
        zeb_text_copy(out->reason, sizeof out->reason,
                      !power  ? "no sensor, and the design power is not known"
                      : !used ? "no sensor, and the utilisation is not known"
                              : "no window");
        return;
    }
    out->known = true;
    out->gross_uj = llround(tdp_watts * utilisation * out->seconds * 1e6);
}
