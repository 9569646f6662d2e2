/* The sensor `powercap`: energy counters of the processor's packages, their parts and their memory, from Linux
 * powercap. Files stay open; a sample is one pread a zone and allocates nothing. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "zones.h"

struct zeb_sensor {
    size_t count;
    zone zones[ZONES_MAX];
};

static uint64_t now_ns(void) {
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static zeb_status powercap_open(const char *root, zeb_sensor **sensor, zeb_error *error) {
    *sensor = NULL;
    zeb_sensor *opened = calloc(1, sizeof *opened);
    if (opened == NULL) return zeb_fail(error, ZEB_ERR_MEMORY, "powercap: out of memory");
    zeb_status status = zones_open(root == NULL ? "" : root, opened->zones, ZONES_MAX, &opened->count, error);
    if (status != ZEB_OK) {
        free(opened);
        return status;
    }
    *sensor = opened;
    return ZEB_OK;
}

static zeb_status powercap_channels(zeb_sensor *sensor, zeb_channel *channel, uint32_t capacity, uint32_t *count,
                                    zeb_error *error) {
    (void)error;
    for (size_t i = 0; i < sensor->count && i < capacity; i++) {
        channel[i] = sensor->zones[i].channel;
    }
    *count = (uint32_t)sensor->count;
    return ZEB_OK;
}

static zeb_status powercap_sample(zeb_sensor *sensor, zeb_reading *reading, uint32_t count, zeb_error *error) {
    size_t valid = 0;
    for (size_t i = 0; i < sensor->count && i < count; i++) {
        uint64_t value = 0;
        int ok = zones_read_counter(sensor->zones[i].fd, &value);
        reading[i] = (zeb_reading){.value = value, .time_ns = now_ns(), .valid = ok ? 1u : 0u};
        valid += ok ? 1 : 0;
    }
    if (valid == 0) return zeb_fail(error, ZEB_ERR_IO, "powercap: no energy counter could be read");
    return ZEB_OK;
}

static void powercap_close(zeb_sensor *sensor) {
    if (sensor == NULL) return;
    zones_close(sensor->zones, sensor->count);
    free(sensor);
}

static const zeb_sensor_table powercap_sensor = {
    .struct_size = sizeof(zeb_sensor_table),
    .open = powercap_open,
    .channels = powercap_channels,
    .sample = powercap_sample,
    .close = powercap_close,
};

static const zeb_plugin powercap_plugin = {
    .magic = ZEB_PLUGIN_MAGIC,
    .abi = ZEB_PLUGIN_ABI,
    .struct_size = sizeof(zeb_plugin),
    .name = "powercap",
    .version = ZEB_PLUGIN_VERSION,
    .backend = NULL,
    .sensor = &powercap_sensor,
};

const zeb_plugin *zeb_plugin_entry(void) {
    return &powercap_plugin;
}
