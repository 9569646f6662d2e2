#include <dlfcn.h>
#include <stddef.h>
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

zeb_status op_target_choose(op_target *target, bool most, zeb_error *error) {
    enum { CHOICES_MAX = 64 };
    zeb_choice choice[CHOICES_MAX];
    uint32_t count = 0;
    const zeb_backend *backend = target->backend;
    if (backend->struct_size < offsetof(zeb_backend, choose) + sizeof backend->choose || backend->choices == NULL)
        return zeb_fail(error, ZEB_ERR_UNSUPPORTED, "%s has no choices", target->plugin->name);
    zeb_status status = backend->choices(target->device, false, choice, CHOICES_MAX, &count, error);
    for (uint32_t i = 0; status == ZEB_OK && i < count; ++i) {
        const bool first = i == 0 || strcmp(choice[i].name, choice[i - 1].name) != 0;
        const bool last = i + 1 == count || strcmp(choice[i].name, choice[i + 1].name) != 0;
        if (most ? last : first) status = backend->choose(target->device, choice[i].name, choice[i].value, error);
    }
    return status;
}

void op_target_close(op_target *target) {
    if (target->device != NULL) target->backend->close(target->device);
    *target = (op_target){0};
}
