/* bad/table.h - a working table of a plugin with one device that can do nothing; each bad plugin spoils one thing. */
#ifndef ZEB_BAD_TABLE_H
#define ZEB_BAD_TABLE_H

#include <string.h>

#include "zeb/plugin.h"

static zeb_status bad_count(uint32_t *count, zeb_error *error) {
    (void)error;
    *count = 2;
    return ZEB_OK;
}

static zeb_status bad_info(uint32_t index, zeb_device_info *info, zeb_error *error) {
    (void)error;
    *info = (zeb_device_info){.kind = ZEB_DEVICE_CPU, .units = 3};
    (void)snprintf(info->id, sizeof info->id, "d%u", index);
    (void)snprintf(info->name, sizeof info->name, "device %u", index);
    return ZEB_OK;
}

static zeb_status bad_open(uint32_t index, const zeb_device_options *options, zeb_device **device, zeb_error *error) {
    static char object[2];
    if (options->threads == 99) return zeb_fail(error, ZEB_ERR_DEVICE, "no 99 threads here");
    *device = (zeb_device *)(void *)&object[index];
    return ZEB_OK;
}

static void bad_close(zeb_device *device) {
    (void)device;
}

static zeb_status bad_settings(zeb_device *device, zeb_device_settings *settings, zeb_error *error) {
    (void)device, (void)error;
    settings->threads = 7;
    return ZEB_OK;
}

static zeb_status bad_check(zeb_device *device, const zeb_graph *graph, zeb_verdict *verdict, zeb_error *error) {
    (void)device, (void)graph, (void)verdict;
    return zeb_fail(error, ZEB_ERR_UNSUPPORTED, "nothing");
}

static zeb_status bad_compile(zeb_device *device, const zeb_graph *graph, zeb_plan **plan, zeb_error *error) {
    (void)device, (void)graph, (void)plan;
    return zeb_fail(error, ZEB_ERR_UNSUPPORTED, "nothing");
}

static zeb_status bad_write(zeb_plan *plan, int32_t tensor, const void *data, size_t bytes, zeb_error *error) {
    (void)plan, (void)tensor, (void)data, (void)bytes;
    return zeb_fail(error, ZEB_ERR_UNSUPPORTED, "nothing");
}

static zeb_status bad_pass(zeb_plan *plan, zeb_error *error) {
    (void)plan;
    return zeb_fail(error, ZEB_ERR_UNSUPPORTED, "nothing");
}

static zeb_status bad_read(zeb_plan *plan, int32_t tensor, void *data, size_t bytes, zeb_error *error) {
    (void)plan, (void)tensor, (void)data, (void)bytes;
    return zeb_fail(error, ZEB_ERR_UNSUPPORTED, "nothing");
}

static void bad_release(zeb_plan *plan) {
    (void)plan;
}

#define BAD_BACKEND                                                                                                    \
    .struct_size = sizeof(zeb_backend), .skip = ZEB_SKIP_EXACT, .device_count = bad_count, .device_info = bad_info,    \
    .open = bad_open, .close = bad_close, .settings = bad_settings, .check = bad_check, .compile = bad_compile,        \
    .write = bad_write, .submit = bad_pass, .wait = bad_pass, .read = bad_read, .release = bad_release

#define BAD_PLUGIN                                                                                                     \
    .magic = ZEB_PLUGIN_MAGIC, .abi = ZEB_PLUGIN_ABI, .struct_size = sizeof(zeb_plugin), .name = BAD_NAME,             \
    .version = "1", .backend = &backend

#endif
