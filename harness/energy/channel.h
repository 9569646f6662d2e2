/* energy/channel.h - one channel over one window: unwrap, integrate, reject. Private to the room. */
#ifndef ZEB_ENERGY_CHANNEL_H
#define ZEB_ENERGY_CHANNEL_H

#include "energy/trace.h"
#include "energy/window.h"

typedef struct zeb_channel_result {
    bool known;
    double energy_uj;
    double resolution_uj;
    uint64_t updates, samples, gaps;
    char reason[ZEB_ENERGY_REASON_MAX];
} zeb_channel_result;

/* about->max_power_uw of 0 is "unknown"; interval_ns is how often the sampler meant to look. */
void zeb_channel_integrate(const zeb_trace *trace, uint32_t index, const zeb_channel *about, uint64_t interval_ns,
                           zeb_window window, zeb_channel_result *out);

/* True if a counter showed two different values anywhere in the trace. */
bool zeb_channel_moved(const zeb_trace *trace, uint32_t index);

/* How often to look at a channel, so that every rule can be kept though a look comes late: every second; a counter that
 * is soon round every range / (4 * most power), which is twice before it may have wrapped; one of which nobody knows
 * how often it changes every 20 ms, since only changes that are seen count; a power every max(update, 20 ms). */
uint64_t zeb_channel_interval(const zeb_channel *about);

/* The shortest window that the channel can be trusted over. */
uint64_t zeb_channel_window(const zeb_channel *about);

/* How long to work for a window that every rule may accept: that, or 101 updates. */
uint64_t zeb_channel_work(const zeb_channel *about);

/* What a sampler watches, and how it adds up. */
typedef struct zeb_channel_set {
    uint32_t count;
    zeb_channel *about;   /* [count] */
    bool *counted;        /* [count] part of the total */
    uint64_t interval_ns; /* how often the sampler means to look */
    const char *source;
} zeb_channel_set;

/* Marks what is counted: energies and powers that are in no other channel and no mirror; psys only when it is alone. */
void zeb_channel_set_count(zeb_channel_set *set);

/* Every channel over the windows, and the total of the counted ones. */
void zeb_channel_set_energy(const zeb_channel_set *set, const zeb_trace *trace, zeb_window work, zeb_window idle_before,
                            zeb_window idle_after, zeb_energy *out);

#endif
