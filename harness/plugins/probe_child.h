/* plugins/probe_child.h - the child's side of a probe, and what it tells its parent. Internal to plugins/. */
#ifndef ZEB_PLUGINS_PROBE_CHILD_H
#define ZEB_PLUGINS_PROBE_CHILD_H

#include "zeb/plugin.h"

typedef enum zeb_probe_kind {
    ZEB_PROBE_STEP = 1,   /* text: what the child is about to do */
    ZEB_PROBE_DEVICE = 2, /* device: one more */
    ZEB_PROBE_SENSOR = 3, /* status of the sensor's open, text: its error */
    ZEB_PROBE_DONE = 4    /* status and text: the verdict; the last message */
} zeb_probe_kind;

/* One message. Smaller than PIPE_BUF, so that each write arrives whole. */
typedef struct zeb_probe_message {
    zeb_probe_kind kind;
    zeb_status status;
    union {
        zeb_error text;
        zeb_device_info device;
    } as;
} zeb_probe_message;

/* Runs in the child: tries the plugin, writes messages to report, never returns. */
_Noreturn void zeb_probe_child(const char *name, const char *path, bool ask_devices, int report);

#endif
