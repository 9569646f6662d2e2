#include <dlfcn.h>
#include <string.h>

#include "suite.h"

zeb_status op_plugin_load(const char *path, const zeb_plugin **plugin, zeb_error *error) {
    *plugin = NULL;
    void *object = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (object == NULL) return zeb_fail(error, ZEB_ERR_IO, "%s", dlerror());
    void *symbol = dlsym(object, ZEB_PLUGIN_ENTRY_NAME);
    if (symbol == NULL) return zeb_fail(error, ZEB_ERR_FORMAT, "%s: no %s", path, ZEB_PLUGIN_ENTRY_NAME);
    zeb_plugin_entry_fn entry;
    memcpy(&entry, &symbol, sizeof entry); /* ISO C has no cast from void * to a function */
    const zeb_plugin *found = entry();
    if (found == NULL || found->magic != ZEB_PLUGIN_MAGIC || found->abi != ZEB_PLUGIN_ABI)
        return zeb_fail(error, ZEB_ERR_VERSION, "%s: not a plugin of ABI %u", path, ZEB_PLUGIN_ABI);
    *plugin = found;
    return ZEB_OK;
}

zeb_status op_target_open(const zeb_plugin *plugin, uint32_t index, uint32_t threads, const char *isa,
                          op_target *target, zeb_error *error) {
    *target = (op_target){.plugin = plugin, .backend = plugin->backend};
    zeb_device_options options = {.struct_size = sizeof options, .threads = threads};
    if (isa != NULL) (void)snprintf(options.isa, sizeof options.isa, "%s", isa);
    zeb_status status = plugin->backend->device_info(index, &target->info, error);
    if (status == ZEB_OK) status = plugin->backend->open(index, &options, &target->device, error);
    return status;
}

void op_target_close(op_target *target) {
    if (target->device != NULL) target->backend->close(target->device);
    *target = (op_target){0};
}
