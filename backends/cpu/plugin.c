/* plugin.c - the plugin `cpu`: one device, the processors that this process may use. */
#include <stdlib.h>
#include <string.h>

#include "blocks.h"
#include "cpuinfo.h"
#include "peaks.h"
#include "plan.h"

static zeb_status device_count(uint32_t *count, zeb_error *error) {
    (void)error;
    *count = 1;
    return ZEB_OK;
}

static zeb_status device_info(uint32_t index, zeb_device_info *info, zeb_error *error) {
    if (index != 0) return zeb_fail(error, ZEB_ERR_ARGUMENT, "cpu has one device, not %u", index + 1);
    cpu_places *places = malloc(sizeof *places);
    if (places == NULL) return zeb_fail(error, ZEB_ERR_MEMORY, "no memory for the list of processors");
    memset(info, 0, sizeof *info);
    zeb_status status = cpu_places_find("", places, error);
    if (status == ZEB_OK) {
        cpu_isa isa;
        int lowered;
        status = cpu_isa_choose("", &isa, &lowered, error);
        (void)snprintf(info->id, sizeof info->id, "0");
        cpu_name(info->name);
        if (status == ZEB_OK)
            (void)snprintf(info->driver, sizeof info->driver, "zeb cpu %s, %s", ZEB_PLUGIN_VERSION, isa.name);
        info->kind = ZEB_DEVICE_CPU;
        info->units = places->limit;
    }
    free(places);
    return status;
}

/* What took effect, for the row: differences from what was asked are said in the note. */
static void settle(zeb_device *device, const zeb_device_options *options, const cpu_isa *isa, int lowered,
                   const cpu_places *places, uint32_t threads, int pinned) {
    zeb_device_settings *s = &device->settings;
    s->struct_size = sizeof *s;
    s->threads = threads;
    s->pinned = (uint32_t)pinned;
    (void)snprintf(s->isa, sizeof s->isa, "%s", isa->name);
    size_t used = 0;
    s->note[0] = '\0';
    if (lowered)
        used += (size_t)snprintf(s->note + used, sizeof s->note - used, "isa-asked=%.*s isa-lowered=%s ",
                                 ZEB_NAME_MAX - 1, options->isa, isa->refused != NULL ? "system" : "processor");
    if (isa->refused != NULL)
        used += (size_t)snprintf(s->note + used, sizeof s->note - used, "isa-refused=%s ", isa->refused);
    if (isa->slower != NULL)
        used += (size_t)snprintf(s->note + used, sizeof s->note - used, "isa-slower=%s ", isa->slower);
    if (options->threads > threads)
        used += (size_t)snprintf(s->note + used, sizeof s->note - used, "threads-asked=%u threads-lowered=%s ",
                                 options->threads, places->limit < places->count ? "cgroup-quota" : "affinity");
    (void)snprintf(s->note + used, sizeof s->note - used, "processors=%u", places->count);
}

static zeb_status open_device(uint32_t index, const zeb_device_options *options, zeb_device **result,
                              zeb_error *error) {
    if (index != 0) return zeb_fail(error, ZEB_ERR_ARGUMENT, "cpu has one device, not %u", index + 1);
    static const zeb_device_options nothing = {.struct_size = sizeof nothing};
    if (options == NULL) options = &nothing;
    cpu_isa isa;
    int lowered, pinned = 0;
    zeb_status status = cpu_isa_choose(options->isa, &isa, &lowered, error);
    if (status != ZEB_OK) return status;
    cpu_places *places = malloc(sizeof *places);
    zeb_device *device = calloc(1, sizeof *device);
    if (places == NULL || device == NULL) {
        status = zeb_fail(error, ZEB_ERR_MEMORY, "no memory for a device");
        goto done;
    }
    status = cpu_places_find("", places, error);
    if (status != ZEB_OK) goto done;
    const uint32_t asked = options->threads == 0 ? places->limit : options->threads;
    const uint32_t threads = asked < places->limit ? asked : places->limit;
    device->kernels = isa.kernels;
    device->choices = cpu_choices_of(isa.kernels);
    const int pin = threads > 1 || options->pin == 1; /* one thread is left to the system unless it is asked for */
    status = cpu_pool_create(threads, pin ? places->processor : NULL, &device->pool, &pinned, error);
    if (status != ZEB_OK) goto done;
    settle(device, options, &isa, lowered, places, threads, pinned);
    *result = device;
    device = NULL;
done:
    free(device);
    free(places);
    return status;
}

static void close_device(zeb_device *device) {
    if (device == NULL) return;
    cpu_pool_destroy(device->pool);
    free(device);
}

static zeb_status settings(zeb_device *device, zeb_device_settings *out, zeb_error *error) {
    (void)error;
    *out = device->settings;
    return ZEB_OK;
}

/* ---- plans ----------------------------------------------------------------------------------------------------- */

static zeb_status find_tensor(zeb_plan *plan, int32_t id, size_t bytes, const cpu_tensor **tensor, zeb_error *error) {
    if (id < 0 || (uint32_t)id >= plan->tensors)
        return zeb_fail(error, ZEB_ERR_ARGUMENT, "tensor %d is not in the plan", id);
    const cpu_tensor *t = &plan->tensor[id];
    if (t->role != ZEB_ROLE_INPUT && t->role != ZEB_ROLE_OUTPUT)
        return zeb_fail(error, ZEB_ERR_ARGUMENT, "tensor %d is neither an input nor an output", id);
    const size_t most = zeb_dtype_bytes(t->dtype, (size_t)t->rows * (size_t)t->width);
    if (bytes > most) return zeb_fail(error, ZEB_ERR_RANGE, "%zu bytes for tensor %d, which has %zu", bytes, id, most);
    *tensor = t;
    return ZEB_OK;
}

/* Between the harness's dense rows and ours, which may be padded. */
static void copy_rows(const cpu_tensor *t, unsigned char *dense, size_t bytes, bool to_plan) {
    const size_t row = zeb_dtype_bytes(t->dtype, (size_t)t->width), stride = zeb_dtype_bytes(t->dtype, t->ld);
    unsigned char *own = t->data;
    for (size_t done = 0; done < bytes; own += stride) {
        const size_t some = row == stride ? bytes : bytes - done < row ? bytes - done : row;
        if (to_plan)
            memcpy(own, dense + done, some);
        else
            memcpy(dense + done, own, some);
        done += some;
    }
}

static zeb_status write_tensor(zeb_plan *plan, int32_t id, const void *data, size_t bytes, zeb_error *error) {
    const cpu_tensor *t = NULL;
    const zeb_status status = find_tensor(plan, id, bytes, &t, error);
    if (status == ZEB_OK) copy_rows(t, (unsigned char *)(uintptr_t)data, bytes, true);
    return status;
}

static zeb_status read_tensor(zeb_plan *plan, int32_t id, void *data, size_t bytes, zeb_error *error) {
    const cpu_tensor *t = NULL;
    const zeb_status status = find_tensor(plan, id, bytes, &t, error);
    if (status == ZEB_OK) copy_rows(t, data, bytes, false);
    return status;
}

static zeb_status wait_plan(zeb_plan *plan, zeb_error *error) {
    (void)plan, (void)error; /* submit returns when the pass is done: the caller's thread is a worker */
    return ZEB_OK;
}

static zeb_status memory(zeb_plan *plan, uint64_t *bytes, zeb_error *error) {
    (void)error;
    *bytes = plan->held_bytes;
    return ZEB_OK;
}

static zeb_status profile(zeb_plan *plan, zeb_profile_span *span, uint32_t capacity, uint32_t *count,
                          zeb_error *error) {
    if (!plan->profiling) {
        plan->span = calloc(2 * (size_t)plan->stages + 2, sizeof *plan->span);
        if (plan->span == NULL) return zeb_fail(error, ZEB_ERR_MEMORY, "no memory for a profile");
        plan->profiling = true;
        *count = 0;
        return ZEB_OK;
    }
    *count = plan->stages;
    for (uint32_t i = 0; i < plan->stages && i < capacity; i++) {
        memset(&span[i], 0, sizeof span[i]);
        (void)snprintf(span[i].name, sizeof span[i].name, "%s", plan->stage[i].name);
        span[i].node = plan->stage[i].node;
        span[i].kind = 1;
        span[i].begin_ns = plan->span[2 * i];
        span[i].end_ns = plan->span[2 * i + 1];
    }
    return ZEB_OK;
}

static const zeb_backend backend = {
    .struct_size = sizeof backend,
    .skip = ZEB_SKIP_EXACT,
    .device_count = device_count,
    .device_info = device_info,
    .open = open_device,
    .close = close_device,
    .settings = settings,
    .check = cpu_check,
    .compile = cpu_compile,
    .write = write_tensor,
    .submit = cpu_pass,
    .wait = wait_plan,
    .read = read_tensor,
    .release = cpu_release,
    .memory = memory,
    .profile = profile,
    .peaks = cpu_peaks,
    .blocks_done = cpu_blocks_done,
    .choices = cpu_choices_list,
    .choose = cpu_choose,
};

static const zeb_plugin plugin = {
    .magic = ZEB_PLUGIN_MAGIC,
    .abi = ZEB_PLUGIN_ABI,
    .struct_size = sizeof plugin,
    .name = "cpu",
    .version = ZEB_PLUGIN_VERSION,
    .backend = &backend,
    .sensor = NULL,
};

const zeb_plugin *zeb_plugin_entry(void) {
    return &plugin;
}
