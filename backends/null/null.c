/* null - a device that accepts every graph and computes nothing: its outputs are zeros. What a run costs on it is what
 * the harness costs. Its kind is ZEB_DEVICE_NONE, which tells the conformance suite not to compare values and reports
 * not to rank it. */
#include "zeb/host_plan.h"
#include "zeb/plugin.h"

struct zeb_device {
    int open;
};

struct zeb_plan {
    zeb_host_plan host;
};

static zeb_status device_count(uint32_t *count, zeb_error *error) {
    (void)error;
    *count = 1;
    return ZEB_OK;
}

static zeb_status device_info(uint32_t index, zeb_device_info *info, zeb_error *error) {
    if (index != 0) return zeb_fail(error, ZEB_ERR_ARGUMENT, "null has one device, not %u", index + 1);
    *info = (zeb_device_info){.id = "0", .name = "nothing (measures the harness)", .kind = ZEB_DEVICE_NONE};
    return ZEB_OK;
}

static zeb_status device_open(uint32_t index, const zeb_device_options *options, zeb_device **device,
                              zeb_error *error) {
    (void)options;
    *device = NULL;
    if (index != 0) return zeb_fail(error, ZEB_ERR_ARGUMENT, "null has one device, not %u", index + 1);
    *device = calloc(1, sizeof **device);
    return *device != NULL ? ZEB_OK : zeb_fail(error, ZEB_ERR_MEMORY, "out of memory");
}

static void device_close(zeb_device *device) {
    free(device);
}

static zeb_status device_settings(zeb_device *device, zeb_device_settings *settings, zeb_error *error) {
    (void)device;
    (void)error;
    *settings = (zeb_device_settings){.struct_size = sizeof *settings, .threads = 1};
    return ZEB_OK;
}

static zeb_status check(zeb_device *device, const zeb_graph *graph, zeb_verdict *verdict, zeb_error *error) {
    (void)device;
    (void)error;
    for (uint32_t i = 0; i < graph->node_count; ++i)
        verdict[i] = (zeb_verdict){.supported = 1};
    return ZEB_OK;
}

static void release(zeb_plan *plan) {
    if (plan == NULL) return;
    zeb_host_plan_destroy(&plan->host);
    free(plan);
}

static zeb_status compile(zeb_device *device, const zeb_graph *graph, zeb_plan **plan, zeb_error *error) {
    (void)device;
    *plan = calloc(1, sizeof **plan);
    if (*plan == NULL) return zeb_fail(error, ZEB_ERR_MEMORY, "out of memory for a plan");
    zeb_status status = zeb_host_plan_create(graph, &(*plan)->host, error); /* tensors start as zeros */
    if (status != ZEB_OK) {
        release(*plan);
        *plan = NULL;
    }
    return status;
}

static zeb_status plan_write(zeb_plan *plan, int32_t tensor, const void *data, size_t bytes, zeb_error *error) {
    zeb_status status = zeb_host_plan_access(&plan->host, tensor, bytes, "write", error);
    if (status != ZEB_OK || plan->host.tensor[tensor].role == ZEB_ROLE_OUTPUT) return status; /* they stay zeros */
    return zeb_host_plan_write(&plan->host, tensor, data, bytes, error);
}

static zeb_status plan_read(zeb_plan *plan, int32_t tensor, void *data, size_t bytes, zeb_error *error) {
    return zeb_host_plan_read(&plan->host, tensor, data, bytes, error);
}

static zeb_status nothing(zeb_plan *plan, zeb_error *error) {
    (void)plan;
    (void)error;
    return ZEB_OK;
}

static zeb_status memory(zeb_plan *plan, uint64_t *bytes, zeb_error *error) {
    (void)error;
    *bytes = plan->host.bytes;
    return ZEB_OK;
}

static const zeb_backend BACKEND = {.struct_size = sizeof(zeb_backend),
                                    .skip = ZEB_SKIP_EXACT,
                                    .device_count = device_count,
                                    .device_info = device_info,
                                    .open = device_open,
                                    .close = device_close,
                                    .settings = device_settings,
                                    .check = check,
                                    .compile = compile,
                                    .write = plan_write,
                                    .submit = nothing,
                                    .wait = nothing,
                                    .read = plan_read,
                                    .release = release,
                                    .memory = memory};

static const zeb_plugin PLUGIN = {.magic = ZEB_PLUGIN_MAGIC,
                                  .abi = ZEB_PLUGIN_ABI,
                                  .struct_size = sizeof(zeb_plugin),
                                  .name = "null",
                                  .version = ZEB_PLUGIN_VERSION,
                                  .backend = &BACKEND};

const zeb_plugin *zeb_plugin_entry(void) {
    return &PLUGIN;
}
