/* opencl - fp32 on any OpenCL 1.2 device. Live counts stay on the device: every kernel is launched over the maximum
 * extents and work past the live count ends at once, so a pass is one queue of launches without a round trip. */
#include "check.h"
#include "device.h"
#include "plan.h"
#include "platforms.h"

static zeb_status device_count(uint32_t *count, zeb_error *error) {
    ocl_listing listing;
    zeb_status status = ocl_list(&listing, error);
    *count = listing.count;
    return status;
}

static zeb_status device_info(uint32_t index, zeb_device_info *info, zeb_error *error) {
    ocl_listing listing;
    zeb_status status = ocl_list(&listing, error);
    return status == ZEB_OK ? ocl_describe(&listing, index, info, error) : status;
}

static const zeb_backend backend = {
    .struct_size = sizeof(zeb_backend),
    .skip = ZEB_SKIP_BOUNDED,
    .device_count = device_count,
    .device_info = device_info,
    .open = ocl_device_open,
    .close = ocl_device_close,
    .settings = ocl_device_settings,
    .check = ocl_check,
    .compile = ocl_compile,
    .write = ocl_write,
    .submit = ocl_submit,
    .wait = ocl_wait,
    .read = ocl_read,
    .release = ocl_release,
    .memory = ocl_memory,
    .profile = ocl_profile,
};

static const zeb_plugin plugin = {
    .magic = ZEB_PLUGIN_MAGIC,
    .abi = ZEB_PLUGIN_ABI,
    .struct_size = sizeof(zeb_plugin),
    .name = "opencl",
    .version = ZEB_PLUGIN_VERSION,
    .backend = &backend,
};

const zeb_plugin *zeb_plugin_entry(void) {
    return &plugin;
}
