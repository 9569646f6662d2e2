/* plugins/registry.h - the plugins that this machine has: found by scanning folders, probed, verified, loaded.
 *
 * A file zeb_<name>.so in one of the folders is the plugin <name>; the first folder that has the name wins. With
 * ZEB_PROBE_CHILD every plugin is first tried in a child process (all children side by side), so that a crash, a hang
 * or an abort makes it `broken` instead of ending the program. Loaded plugins stay loaded until the process ends.
 *
 * Forking is only safe while no plugin has started a driver or thread in this process: open the registry first, then
 * devices. A process that is itself a child made for one case passes ZEB_PROBE_NEVER and the one name it needs.
 * Not for several threads at a time; an open registry may be read from many. */
#ifndef ZEB_PLUGINS_REGISTRY_H
#define ZEB_PLUGINS_REGISTRY_H

#include <stddef.h>
#include <stdint.h>

#include "base/log.h"
#include "zeb/plugin.h"

typedef struct zeb_registry zeb_registry;

typedef enum zeb_probe_mode {
    ZEB_PROBE_CHILD = 0, /* try each plugin in a child first; also learns its devices and sensor */
    ZEB_PROBE_NEVER = 1  /* load straight away: the caller already is a child that may crash */
} zeb_probe_mode;

enum { ZEB_PROBE_TIMEOUT_MS = 20000 };

typedef struct zeb_registry_options {
    const char *const *folder; /* searched in order; folders that do not exist are passed over */
    size_t folder_count;
    const char *const *wanted; /* load only these names; wanted_count 0: all that are found */
    size_t wanted_count;
    const char *const
        *used;         /* ask only these for devices (a driver's start costs far more than a load); used_count 0: */
    size_t used_count; /* all. The others are loaded, and their sensors tried. */
    zeb_probe_mode probe;
    uint32_t probe_timeout_ms; /* 0: ZEB_PROBE_TIMEOUT_MS */
    const zeb_log *log;        /* may be NULL; broken plugins are warnings */
} zeb_registry_options;

/* What is known of one plugin. All pointers live as long as the registry (the plugin's own: as the process). */
typedef struct zeb_plugin_record {
    const char *name;         /* from the file name */
    const char *path;         /* of the shared object */
    const zeb_plugin *plugin; /* NULL when broken */
    const char *problem;      /* why it is broken, in a sentence; NULL when fine */
    bool asked;               /* it was asked for its devices: device_count is known */
    uint32_t device_count;
    const zeb_device_info *device; /* [device_count] */
    bool probed;                   /* it was tried in a child: what follows is known */
    bool sensor_here;              /* the sensor table could be opened on this machine */
    const char *sensor_problem;    /* why not; NULL when it could, or when there is no sensor table */
} zeb_plugin_record;

/* Everything in the folders, probed in children. */
ZEB_MUST_CHECK zeb_status zeb_registry_open(const char *const *folders, size_t folder_count, const zeb_log *log,
                                            zeb_registry **registry, zeb_error *error);

/* The same with all choices. Broken plugins are records, not errors; errors are a lack of memory or of processes. */
ZEB_MUST_CHECK zeb_status zeb_registry_open_with(const zeb_registry_options *options, zeb_registry **registry,
                                                 zeb_error *error);

/* Takes NULL. Plugins stay loaded (their drivers do not survive being unloaded). */
void zeb_registry_close(zeb_registry *registry);

/* Records in the order of their names. */
size_t zeb_registry_count(const zeb_registry *registry);
const zeb_plugin_record *zeb_registry_at(const zeb_registry *registry, size_t index);

/* The record of that name, broken or not; NULL if there is none. */
const zeb_plugin_record *zeb_registry_find(const zeb_registry *registry, const char *name);

/* The plugin of that name, ready for use; else one sentence: which names there are and which is nearest, or why it is
 * broken. ZEB_ERR_NOT_FOUND, ZEB_ERR_FORMAT. */
ZEB_MUST_CHECK zeb_status zeb_registry_require(const zeb_registry *registry, const char *name,
                                               const zeb_plugin_record **record, zeb_error *error);

#endif
