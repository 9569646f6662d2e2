/* plugins/probe.h - plugins tried in child processes: what happens there happens to nobody else.
 *
 * A child loads the plugin, verifies it, counts and describes its devices (if asked) and opens and closes its sensor,
 * and says so step by step, so that a child that dies or hangs is known by the step in which it did. Its standard
 * output and error go nowhere but into the last words that are kept. */
#ifndef ZEB_PLUGINS_PROBE_H
#define ZEB_PLUGINS_PROBE_H

#include "base/arena.h"
#include "zeb/plugin.h"

enum { ZEB_PROBE_DEVICES_MAX = 64, ZEB_PROBE_WORDS_MAX = 240 };

/* One plugin to try. The first three are given; the rest is the answer. */
typedef struct zeb_probe_job {
    const char *name;
    const char *path;
    bool ask_devices;
    zeb_status status; /* ZEB_OK: fine */
    zeb_error problem; /* the sentence when not */
    uint32_t device_count;
    zeb_device_info *device; /* [device_count] in the arena */
    bool sensor_here;
    zeb_error sensor_problem; /* empty when there is nothing to say */
} zeb_probe_job;

/* Tries all jobs, several at a time; each child has timeout_ms. Broken plugins are answers in their jobs; errors are
 * that no child or pipe could be made. Call only while this process has one thread and no driver started. */
ZEB_MUST_CHECK zeb_status zeb_probe_run(zeb_probe_job *job, size_t count, uint32_t timeout_ms, zeb_arena *arena,
                                        zeb_error *error);

#endif
