/* One source, one flaw each: -DBAD_FLAW=n picks it. The file zeb_<BAD_NAME>.so is a plugin in all else. */
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "table.h"

enum {
    FINE,
    MAGIC,
    OLDER,
    NEWER,
    SMALL,
    MISSING,
    UNRESOLVED,
    CONSTRUCTOR,
    HANG,
    ABORT,
    NAMED,
    NO_ENTRY,
    EXIT,
    NO_TABLE,
    BACKEND_SMALL,
    COUNT_FAILS,
    EMPTY,
    SENSOR_MISSING,
    SENSOR,
    CHATTY
};

#if BAD_FLAW == 6
extern int zeb_symbol_that_nobody_has(void);
#endif

#if BAD_FLAW == 7
__attribute__((constructor)) static void crash(void) {
    (void)fputs("about to crash\n", stderr);
    (void)raise(SIGSEGV);
}
#endif

static zeb_status flawed_count(uint32_t *count, zeb_error *error) {
    if (BAD_FLAW == ABORT) {
        (void)fputs("driver: the card is on fire\n", stderr);
        abort();
    }
    if (BAD_FLAW == EXIT) _exit(3);
    if (BAD_FLAW == HANG)
        for (;;)
            (void)pause();
    if (BAD_FLAW == COUNT_FAILS) return zeb_fail(error, ZEB_ERR_DEVICE, "the driver is out to lunch");
    if (BAD_FLAW == CHATTY) {
        (void)puts("this must not reach the program's standard output");
        (void)fflush(stdout);
        for (int i = 0; i < 10000; i++)
            (void)fputs("more words than any pipe holds\n", stderr);
    }
#if BAD_FLAW == 6
    *count = (uint32_t)zeb_symbol_that_nobody_has();
    return ZEB_OK;
#else
    return bad_count(count, error);
#endif
}

static const zeb_backend backend = {BAD_BACKEND};

static zeb_status sensor_open(const char *root, zeb_sensor **sensor, zeb_error *error) {
    (void)root, (void)sensor;
    return zeb_fail(error, ZEB_ERR_NOT_FOUND, "no thermometer in the window");
}

static zeb_status sensor_channels(zeb_sensor *sensor, zeb_channel *channel, uint32_t capacity, uint32_t *count,
                                  zeb_error *error) {
    (void)sensor, (void)channel, (void)capacity, (void)error;
    *count = 0;
    return ZEB_OK;
}

static zeb_status sensor_sample(zeb_sensor *sensor, zeb_reading *reading, uint32_t count, zeb_error *error) {
    (void)sensor, (void)reading, (void)count, (void)error;
    return ZEB_OK;
}

static void sensor_close(zeb_sensor *sensor) {
    (void)sensor;
}

#if BAD_FLAW == 11
ZEB_PLUGIN_EXPORT const zeb_plugin *some_other_entry(void);
const zeb_plugin *some_other_entry(void) {
#else
const zeb_plugin *zeb_plugin_entry(void) {
#endif
    static zeb_backend flawed;
    static zeb_sensor_table sensor;
    static zeb_plugin plugin = {BAD_PLUGIN};
    flawed = backend;
    flawed.device_count = flawed_count;
    sensor = (zeb_sensor_table){.struct_size = sizeof sensor,
                                .open = sensor_open,
                                .channels = sensor_channels,
                                .sample = sensor_sample,
                                .close = sensor_close};
    plugin.backend = &flawed;
    switch (BAD_FLAW) {
        case MAGIC: plugin.magic = 0x464c457fu; break;
        case OLDER: plugin.abi = ZEB_PLUGIN_ABI - 1; break;
        case NEWER: plugin.abi = ZEB_PLUGIN_ABI + 1; break;
        case SMALL: plugin.struct_size = 24; break;
        case MISSING: flawed.submit = NULL; break;
        case NAMED: plugin.name = "somebody-else"; break;
        case NO_TABLE: return NULL;
        case BACKEND_SMALL: flawed.struct_size = 16; break;
        case EMPTY: plugin.backend = NULL; break;
        case SENSOR_MISSING:
            sensor.sample = NULL;
            plugin.sensor = &sensor;
            break;
        case SENSOR: plugin.sensor = &sensor; break;
        default: break;
    }
    return &plugin;
}
