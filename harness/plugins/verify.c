#include "plugins/verify.h"

#include <string.h>

typedef struct zeb_required {
    const char *name;
    size_t offset;
} zeb_required;

bool zeb_plugin_name_valid(const char *name) {
    size_t length = strlen(name);
    return length > 0 && length < ZEB_NAME_MAX && strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == length;
}

/* The struct_size of a table and that none of the functions it must have is missing. */
static zeb_status verify_table(const void *table, const char *which, size_t least, const zeb_required *required,
                               size_t count, zeb_error *error) {
    uint32_t size = 0;
    memcpy(&size, table, sizeof size);
    if (size < least)
        return zeb_fail(
            error, ZEB_ERR_VERSION,
            "its %s table says struct_size %u, but ABI %u needs at least %zu bytes: rebuild the plugin with "
            "this zeb's headers",
            which, size, ZEB_PLUGIN_ABI, least);
    for (size_t i = 0; i < count; i++) {
        void *function = NULL;
        memcpy(&function, (const char *)table + required[i].offset, sizeof function);
        if (function == NULL)
            return zeb_fail(error, ZEB_ERR_FORMAT, "its %s table has no '%s', which is required", which,
                            required[i].name);
    }
    return ZEB_OK;
}

static zeb_status verify_backend(const zeb_backend *backend, zeb_error *error) {
#define ZEB_CALL(member)                                                                                               \
    { #member, offsetof(zeb_backend, member) }
    static const zeb_required call[] = {ZEB_CALL(device_count), ZEB_CALL(device_info), ZEB_CALL(open),
                                        ZEB_CALL(close),        ZEB_CALL(settings),    ZEB_CALL(check),
                                        ZEB_CALL(compile),      ZEB_CALL(write),       ZEB_CALL(submit),
                                        ZEB_CALL(wait),         ZEB_CALL(read),        ZEB_CALL(release)};
#undef ZEB_CALL
    size_t least = offsetof(zeb_backend, release) + sizeof backend->release;
    return verify_table(backend, "backend", least, call, sizeof call / sizeof call[0], error);
}

static zeb_status verify_sensor(const zeb_sensor_table *sensor, zeb_error *error) {
#define ZEB_CALL(member)                                                                                               \
    { #member, offsetof(zeb_sensor_table, member) }
    static const zeb_required call[] = {ZEB_CALL(open), ZEB_CALL(channels), ZEB_CALL(sample), ZEB_CALL(close)};
#undef ZEB_CALL
    size_t least = offsetof(zeb_sensor_table, close) + sizeof sensor->close;
    return verify_table(sensor, "sensor", least, call, sizeof call / sizeof call[0], error);
}

static zeb_status verify_abi(const zeb_plugin *plugin, zeb_error *error) {
    if (plugin->magic != ZEB_PLUGIN_MAGIC)
        return zeb_fail(error, ZEB_ERR_FORMAT,
                        "its table starts with 0x%08x instead of zeb's magic 0x%08x: it is not a zeb plugin",
                        plugin->magic, ZEB_PLUGIN_MAGIC);
    if (plugin->abi < ZEB_PLUGIN_ABI)
        return zeb_fail(
            error, ZEB_ERR_VERSION,
            "it was built for the older plugin ABI %u, this zeb speaks ABI %u: rebuild the plugin with this "
            "zeb's headers",
            plugin->abi, ZEB_PLUGIN_ABI);
    if (plugin->abi > ZEB_PLUGIN_ABI)
        return zeb_fail(error, ZEB_ERR_VERSION,
                        "it was built for the newer plugin ABI %u, this zeb speaks ABI %u: update zeb, or rebuild the "
                        "plugin with this zeb's headers",
                        plugin->abi, ZEB_PLUGIN_ABI);
    size_t least = offsetof(zeb_plugin, sensor) + sizeof(void *);
    if (plugin->struct_size < least)
        return zeb_fail(error, ZEB_ERR_VERSION,
                        "its table says struct_size %u, but ABI %u needs at least %zu bytes: rebuild the plugin with "
                        "this zeb's headers",
                        plugin->struct_size, ZEB_PLUGIN_ABI, least);
    return ZEB_OK;
}

zeb_status zeb_plugin_verify(const zeb_plugin *plugin, const char *name, zeb_error *error) {
    if (plugin == NULL) return zeb_fail(error, ZEB_ERR_FORMAT, "its " ZEB_PLUGIN_ENTRY_NAME " returned no table");
    zeb_status status = verify_abi(plugin, error);
    if (status != ZEB_OK) return status;
    if (plugin->name == NULL || plugin->version == NULL)
        return zeb_fail(error, ZEB_ERR_FORMAT, "its table has no %s", plugin->name == NULL ? "name" : "version");
    if (strcmp(plugin->name, name) != 0)
        return zeb_fail(error, ZEB_ERR_FORMAT,
                        "it calls itself '%.64s', but its file name says '%s': the file must be zeb_%.64s.so",
                        plugin->name, name, plugin->name);
    if (plugin->backend == NULL && plugin->sensor == NULL)
        return zeb_fail(error, ZEB_ERR_FORMAT, "it has neither a backend nor a sensor table");
    if (plugin->backend != NULL) status = verify_backend(plugin->backend, error);
    if (status == ZEB_OK && plugin->sensor != NULL) status = verify_sensor(plugin->sensor, error);
    return status;
}
