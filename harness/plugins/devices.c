#include "plugins/devices.h"

#include <string.h>

#include "plugins/probe.h"

zeb_status zeb_device_split(const char *spec, char *plugin, size_t capacity, const char **id, zeb_error *error) {
    size_t length = strcspn(spec, ":");
    *id = spec[length] == ':' ? spec + length + 1 : NULL;
    if (length == 0 || length >= capacity || (*id != NULL && (**id == '\0' || strlen(*id) >= ZEB_NAME_MAX)))
        return zeb_fail(error, ZEB_ERR_ARGUMENT, "'%s' names no device: write \"plugin\" or \"plugin:id\"", spec);
    memcpy(plugin, spec, length);
    plugin[length] = '\0';
    return ZEB_OK;
}

/* The index of the device with that id (NULL: the first). */
static zeb_status find_device(const zeb_plugin *plugin, const char *id, uint32_t *index, zeb_device_info *info,
                              zeb_error *error) {
    uint32_t count = 0;
    char list[256] = "";
    size_t used = 0;
    zeb_status status = plugin->backend->device_count(&count, error);
    if (status != ZEB_OK) return status;
    if (count == 0)
        return zeb_fail(error, ZEB_ERR_NOT_FOUND, "plugin '%s' finds no device on this machine", plugin->name);
    for (*index = 0; *index < count; (*index)++) {
        *info = (zeb_device_info){0};
        status = plugin->backend->device_info(*index, info, error);
        if (status != ZEB_OK) return status;
        info->id[sizeof info->id - 1] = '\0';
        if (id == NULL || strcmp(info->id, id) == 0) return ZEB_OK;
        int wrote = snprintf(list + used, sizeof list - used, "%s%s", used > 0 ? ", " : "", info->id);
        if (wrote > 0 && (size_t)wrote < sizeof list - used)
            used += (size_t)wrote;
        else
            list[used] = '\0';
    }
    return zeb_fail(error, ZEB_ERR_NOT_FOUND, "plugin '%s' has no device '%s'; there are: %s", plugin->name, id, list);
}

zeb_status zeb_device_open(const zeb_registry *registry, const char *spec, const zeb_device_options *options,
                           zeb_device_handle *handle, zeb_error *error) {
    char name[ZEB_NAME_MAX];
    const char *id = NULL;
    uint32_t index = 0;
    const zeb_plugin_record *record = NULL;
    *handle = (zeb_device_handle){0};
    zeb_device_handle made = {0};
    zeb_status status = zeb_device_split(spec, name, sizeof name, &id, error);
    if (status == ZEB_OK) status = zeb_registry_require(registry, name, &record, error);
    if (status != ZEB_OK) return status;
    made.plugin = record->plugin;
    made.backend = record->plugin->backend;
    if (made.backend == NULL)
        return zeb_fail(error, ZEB_ERR_UNSUPPORTED, "plugin '%s' has a sensor but no devices", name);
    status = find_device(made.plugin, id, &index, &made.info, error);
    if (status != ZEB_OK) return status;
    zeb_device_options asked = {0};
    if (options != NULL) asked = *options;
    asked.struct_size = sizeof asked;
    status = made.backend->open(index, &asked, &made.device, error);
    if (status != ZEB_OK) return status;
    made.settings.struct_size = sizeof made.settings;
    status = made.backend->settings(made.device, &made.settings, error);
    if (status == ZEB_OK)
        *handle = made;
    else
        made.backend->close(made.device);
    return status;
}

void zeb_device_close(zeb_device_handle *handle) {
    if (handle->backend != NULL) handle->backend->close(handle->device);
    *handle = (zeb_device_handle){0};
}

zeb_status zeb_device_list(const zeb_plugin_record *record, uint32_t timeout_ms, zeb_arena *arena,
                           const zeb_device_info **info, size_t *count, zeb_error *error) {
    *info = NULL;
    *count = 0;
    if (record->plugin == NULL)
        return zeb_fail(error, ZEB_ERR_FORMAT, "plugin '%s' is broken: %s", record->name, record->problem);
    if (record->plugin->backend == NULL) return ZEB_OK;
    if (record->asked) {
        *info = record->device;
        *count = record->device_count;
        return ZEB_OK;
    }
    zeb_probe_job job = {.name = record->name, .path = record->path, .ask_devices = true};
    zeb_status status = zeb_probe_run(&job, 1, timeout_ms == 0 ? ZEB_PROBE_TIMEOUT_MS : timeout_ms, arena, error);
    if (status != ZEB_OK) return status;
    if (job.status != ZEB_OK) return zeb_fail(error, ZEB_ERR_DEVICE, "%s", job.problem.text);
    *info = job.device;
    *count = job.device_count;
    return ZEB_OK;
}

zeb_memory_fn zeb_backend_memory(const zeb_backend *backend) {
    bool there = backend->struct_size >= offsetof(zeb_backend, memory) + sizeof backend->memory;
    return there ? backend->memory : NULL;
}

zeb_profile_fn zeb_backend_profile(const zeb_backend *backend) {
    bool there = backend->struct_size >= offsetof(zeb_backend, profile) + sizeof backend->profile;
    return there ? backend->profile : NULL;
}

zeb_peaks_fn zeb_backend_peaks(const zeb_backend *backend) {
    bool there = backend->struct_size >= offsetof(zeb_backend, peaks) + sizeof backend->peaks;
    return there ? backend->peaks : NULL;
}

zeb_blocks_done_fn zeb_backend_blocks_done(const zeb_backend *backend) {
    bool there = backend->struct_size >= offsetof(zeb_backend, blocks_done) + sizeof backend->blocks_done;
    return there ? backend->blocks_done : NULL;
}

zeb_choices_fn zeb_backend_choices(const zeb_backend *backend) {
    bool there = backend->struct_size >= offsetof(zeb_backend, choices) + sizeof backend->choices;
    return there ? backend->choices : NULL;
}

zeb_choose_fn zeb_backend_choose(const zeb_backend *backend) {
    bool there = backend->struct_size >= offsetof(zeb_backend, choose) + sizeof backend->choose;
    return there ? backend->choose : NULL;
}
