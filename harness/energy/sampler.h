/* energy/sampler.h - watches one sensor on a thread of its own and answers what a span of work drew.
 *
 * The thread looks every min(1 s, range / (4 * most power)) at counters (20 ms where it is not known how often one
 * changes) and every max(update, 20 ms) at powers;
 * the ends of a window are sampled by whoever works, with zeb_sampler_mark, so that they are exact:
 *
 *     zeb_sampler_start(s, &error);
 *     zeb_sampler_mark(s, &work.begin_ns, &error);   ... work ...   zeb_sampler_mark(s, &work.end_ns, &error);
 *     zeb_sampler_energy(s, work, before, after, &energy, &error);
 *
 * Threads: every call may come from any thread at any time; destroy must be the last. The sensor itself is only ever
 * called under the sampler's lock. */
#ifndef ZEB_ENERGY_SAMPLER_H
#define ZEB_ENERGY_SAMPLER_H

#include "energy/window.h"

typedef struct zeb_sampler zeb_sampler;

/* Opens the sensor (name is what rows will call the source; root "" is this machine, a folder is a recorded tree).
 * interval_ns 0 takes the longest that the rules allow; a longer wish is cut to it. The table must outlive the sampler.
 * ZEB_ERR_NOT_FOUND and ZEB_ERR_IO are the sensor's own words. */
ZEB_MUST_CHECK zeb_status zeb_sampler_create(const zeb_sensor_table *table, const char *sensor_name, const char *root,
                                             uint64_t interval_ns, zeb_sampler **sampler, zeb_error *error);
void zeb_sampler_destroy(zeb_sampler *sampler); /* takes NULL; stops first */

/* Starting a running sampler and stopping a still one do nothing. What was sampled stays. */
ZEB_MUST_CHECK zeb_status zeb_sampler_start(zeb_sampler *sampler, zeb_error *error);
void zeb_sampler_stop(zeb_sampler *sampler);

/* Takes a sample now, running or not, and returns its time, to be used as the end of a window. A sensor that can't be
 * read now makes the windows that touch the sample invalid; it is not an error here. */
ZEB_MUST_CHECK zeb_status zeb_sampler_mark(zeb_sampler *sampler, uint64_t *time_ns, zeb_error *error);

/* Energy of `work`, with idle power from the windows before and after (either may be absent: {0, 0}). A window that a
 * rule refuses is ZEB_OK with out->known false and the rule in out->reason. */
ZEB_MUST_CHECK zeb_status zeb_sampler_energy(zeb_sampler *sampler, zeb_window work, zeb_window idle_before,
                                             zeb_window idle_after, zeb_energy *out, zeb_error *error);

/* What is watched: constant while the sampler lives. */
const char *zeb_sampler_source(const zeb_sampler *sampler);
const zeb_channel *zeb_sampler_channels(const zeb_sampler *sampler, uint32_t *count);
uint64_t zeb_sampler_interval_ns(const zeb_sampler *sampler); /* in effect */
/* The shortest work that can give a valid window: the longest that the rules for counted channels ask for, which is
 * their shortest window or 101 updates. */
uint64_t zeb_sampler_window_ns(const zeb_sampler *sampler);
/* Whether channel i is part of the total. */
bool zeb_sampler_counts(const zeb_sampler *sampler, uint32_t i);

#endif
