/* A backend that goes wrong in one chosen way (FAULT_<name>), for the tests of how a case survives it. */
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "zeb/host_plan.h"
#include "zeb/plugin.h"

#define TEXT_(x) #x
#define TEXT(x) TEXT_(x)

enum {
    FAULT_crash = 1,
    FAULT_hang,
    FAULT_abort,
    FAULT_exit,
    FAULT_memory,
    FAULT_refuse,
    FAULT_fail,
    FAULT_nan,
    FAULT_slow,
    FAULT_late,
    FAULT_quote
};
#define FAULT_OF_(x) FAULT_##x
#define FAULT_OF(x) FAULT_OF_(x)
static const int fault = FAULT_OF(FAULT_NAME);

struct zeb_device {
    int open;
};

struct zeb_plan {
    zeb_host_plan host;
    uint64_t passes;
};

static zeb_status device_count(uint32_t *count, zeb_error *error) {
    (void)error;
    *count = 1;
    return ZEB_OK;
}

static zeb_status device_info(uint32_t index, zeb_device_info *info, zeb_error *error) {
    (void)index;
    (void)error;
    *info = (zeb_device_info){.id = "0", .name = "faulty", .kind = ZEB_DEVICE_NONE};
    if (fault == FAULT_quote) (void)snprintf(info->id, sizeof info->id, "b\"s\\\n\xff\xc3\xa9");
    return ZEB_OK;
}

static zeb_status open_device(uint32_t index, const zeb_device_options *options, zeb_device **device,
                              zeb_error *error) {
    (void)index;
    (void)options;
    *device = calloc(1, sizeof **device);
    return *device != NULL ? ZEB_OK : zeb_fail(error, ZEB_ERR_MEMORY, "out of memory");
}

static void close_device(zeb_device *device) {
    free(device);
}

static zeb_status settings(zeb_device *device, zeb_device_settings *set, zeb_error *error) {
    (void)device;
    (void)error;
    *set = (zeb_device_settings){.struct_size = sizeof *set, .threads = 1};
    return ZEB_OK;
}

static zeb_status check(zeb_device *device, const zeb_graph *graph, zeb_verdict *verdict, zeb_error *error) {
    (void)device;
    (void)error;
    for (uint32_t i = 0; i < graph->node_count; i++) {
        verdict[i] = (zeb_verdict){.supported = 1};
        if (fault == FAULT_refuse && graph->node[i].op == ZEB_OP_ATTENTION)
            verdict[i] = (zeb_verdict){.supported = 0, .reason = "attention is beyond this device"};
    }
    return ZEB_OK;
}

static zeb_status compile(zeb_device *device, const zeb_graph *graph, zeb_plan **plan, zeb_error *error) {
    (void)device;
    *plan = calloc(1, sizeof **plan);
    if (*plan == NULL) return zeb_fail(error, ZEB_ERR_MEMORY, "out of memory");
    return zeb_host_plan_create(graph, &(*plan)->host, error);
}

static zeb_status write_tensor(zeb_plan *plan, int32_t tensor, const void *data, size_t bytes, zeb_error *error) {
    return zeb_host_plan_write(&plan->host, tensor, data, bytes, error);
}

static void eat_memory(void) {
    for (;;) {
        char *piece = malloc((size_t)64 << 20);
        if (piece == NULL) abort();
        for (size_t i = 0; i < (size_t)64 << 20; i += 4096)
            piece[i] = 1;
    }
}

static zeb_status submit(zeb_plan *plan, zeb_error *error) {
    plan->passes++;
    if (fault == FAULT_crash || (fault == FAULT_late && plan->passes > 20)) {
        static const char words[] = "faulty: about to crash\n";
        (void)!write(STDERR_FILENO, words, sizeof words - 1);
        (void)raise(SIGSEGV);
    }
    if (fault == FAULT_abort) abort();
    if (fault == FAULT_exit) _exit(0);
    if (fault == FAULT_memory) eat_memory();
    if (fault == FAULT_fail) return zeb_fail(error, ZEB_ERR_DEVICE, "the device fell off the bus");
    return ZEB_OK;
}

static zeb_status wait_plan(zeb_plan *plan, zeb_error *error) {
    (void)plan;
    (void)error;
    const struct timespec nap = {.tv_nsec = 2000000};
    if (fault == FAULT_slow) (void)nanosleep(&nap, NULL);
    while (fault == FAULT_hang)
        (void)pause();
    return ZEB_OK;
}

static zeb_status read_tensor(zeb_plan *plan, int32_t tensor, void *data, size_t bytes, zeb_error *error) {
    zeb_status status = zeb_host_plan_read(&plan->host, tensor, data, bytes, error);
    if (fault == FAULT_nan && status == ZEB_OK)
        for (size_t i = 0; i < bytes / sizeof(float); i++)
            ((float *)data)[i] = NAN;
    return status;
}

static void release(zeb_plan *plan) {
    if (plan != NULL) zeb_host_plan_destroy(&plan->host);
    free(plan);
}

static zeb_status peaks(zeb_device *device, zeb_peak *peak, uint32_t capacity, uint32_t *count, zeb_error *error) {
    (void)device;
    (void)error;
    *count = 1;
    if (capacity > 0)
        *peak =
            (zeb_peak){.name = "L\"1", .kind = ZEB_PEAK_BYTES, .threads = 1, .per_second = 2, .median_per_second = 1};
    return ZEB_OK;
}

ZEB_PLUGIN_EXPORT const zeb_plugin *zeb_plugin_entry(void) {
    static const zeb_backend backend = {.struct_size = sizeof backend,
                                        .skip = ZEB_SKIP_EXACT,
                                        .device_count = device_count,
                                        .device_info = device_info,
                                        .open = open_device,
                                        .close = close_device,
                                        .settings = settings,
                                        .check = check,
                                        .compile = compile,
                                        .write = write_tensor,
                                        .submit = submit,
                                        .wait = wait_plan,
                                        .read = read_tensor,
                                        .release = release,
                                        .peaks = peaks};
    static const zeb_plugin plugin = {.magic = ZEB_PLUGIN_MAGIC,
                                      .abi = ZEB_PLUGIN_ABI,
                                      .struct_size = sizeof plugin,
                                      .name = "faulty-" TEXT(FAULT_NAME),
                                      .version = ZEB_PLUGIN_VERSION,
                                      .backend = &backend};
    return &plugin;
}
