/* plugins/devices.h - devices by name: "opencl" is a plugin's first device, "opencl:1" the one with that id. */
#ifndef ZEB_PLUGINS_DEVICES_H
#define ZEB_PLUGINS_DEVICES_H

#include "base/arena.h"
#include "plugins/registry.h"

/* An open device with what a row stores about it. */
typedef struct zeb_device_handle {
    const zeb_plugin *plugin;
    const zeb_backend *backend;
    zeb_device *device;
    zeb_device_info info;
    zeb_device_settings settings; /* what took effect */
} zeb_device_handle;

/* Finds and opens the device that spec names. options may be NULL; its struct_size is set here. Errors: no such plugin,
 * a broken one, one without devices, an id that is not there (the sentence lists those that are), the plugin's own. */
ZEB_MUST_CHECK zeb_status zeb_device_open(const zeb_registry *registry, const char *spec,
                                          const zeb_device_options *options, zeb_device_handle *handle,
                                          zeb_error *error);
void zeb_device_close(zeb_device_handle *handle); /* takes a zeroed one; zeroes it. Plans are released before. */

/* The plugin's name in a spec: the part before ':' (all of it without one), in plugin[capacity]; *id is what stands
 * after it or NULL. ZEB_ERR_ARGUMENT for an empty or overlong part. */
ZEB_MUST_CHECK zeb_status zeb_device_split(const char *spec, char *plugin, size_t capacity, const char **id,
                                           zeb_error *error);

/* The devices of a plugin, asked in a child process so that this one starts no driver: info[count] in the arena. Uses
 * what the registry's probe has learnt where there was one. A plugin without a backend gives 0 devices; a child that
 * crashes or takes longer than timeout_ms (0: ZEB_PROBE_TIMEOUT_MS) is ZEB_ERR_DEVICE with its last words. */
ZEB_MUST_CHECK zeb_status zeb_device_list(const zeb_plugin_record *record, uint32_t timeout_ms, zeb_arena *arena,
                                          const zeb_device_info **info, size_t *count, zeb_error *error);

/* Optional calls of a backend, NULL where its table is older or leaves them out. */
typedef zeb_status (*zeb_memory_fn)(zeb_plan *plan, uint64_t *bytes, zeb_error *error);
typedef zeb_status (*zeb_profile_fn)(zeb_plan *plan, zeb_profile_span *span, uint32_t capacity, uint32_t *count,
                                     zeb_error *error);
typedef zeb_status (*zeb_peaks_fn)(zeb_device *device, zeb_peak *peak, uint32_t capacity, uint32_t *count,
                                   zeb_error *error);
zeb_memory_fn zeb_backend_memory(const zeb_backend *backend);
zeb_profile_fn zeb_backend_profile(const zeb_backend *backend);
zeb_peaks_fn zeb_backend_peaks(const zeb_backend *backend);
typedef zeb_status (*zeb_blocks_done_fn)(zeb_plan *plan, int32_t tensor, uint64_t *count, zeb_error *error);
zeb_blocks_done_fn zeb_backend_blocks_done(const zeb_backend *backend);
typedef zeb_status (*zeb_choices_fn)(zeb_device *device, bool measure, zeb_choice *choice, uint32_t capacity,
                                     uint32_t *count, zeb_error *error);
typedef zeb_status (*zeb_choose_fn)(zeb_device *device, const char *name, uint32_t value, zeb_error *error);
zeb_choices_fn zeb_backend_choices(const zeb_backend *backend);
zeb_choose_fn zeb_backend_choose(const zeb_backend *backend);

#endif
