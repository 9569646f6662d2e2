#include "platforms.h"

#include <string.h>

#include "fail.h"

enum { NO_PLATFORM = -1001 /* CL_PLATFORM_NOT_FOUND_KHR: the loader works, no driver is installed */ };

zeb_status ocl_list(ocl_listing *listing, zeb_error *error) {
    cl_platform_id platform[OCL_PLATFORMS_MAX];
    cl_uint platforms = 0;
    zeb_status worst = ZEB_OK;
    *listing = (ocl_listing){0};
    cl_int code = clGetPlatformIDs(OCL_PLATFORMS_MAX, platform, &platforms);
    if (code == NO_PLATFORM) return ZEB_OK;
    if (code != CL_SUCCESS) return ocl_fail(error, "clGetPlatformIDs", code, NULL);
    if (platforms > OCL_PLATFORMS_MAX) platforms = OCL_PLATFORMS_MAX;
    for (cl_uint i = 0; i < platforms && listing->count < OCL_DEVICES_MAX; i++) {
        cl_uint room = OCL_DEVICES_MAX - listing->count;
        cl_uint found = 0;
        code = clGetDeviceIDs(platform[i], CL_DEVICE_TYPE_ALL, room, listing->device + listing->count, &found);
        if (code == CL_DEVICE_NOT_FOUND) continue;
        if (code != CL_SUCCESS) {
            worst = ocl_fail(error, "clGetDeviceIDs", code, NULL);
            continue;
        }
        if (found > room) found = room;
        for (cl_uint k = 0; k < found; k++)
            listing->platform[listing->count++] = platform[i];
    }
    return listing->count > 0 ? ZEB_OK : worst;
}

zeb_device_kind ocl_kind(cl_device_type type) {
    if ((type & CL_DEVICE_TYPE_GPU) != 0) return ZEB_DEVICE_GPU;
    if ((type & CL_DEVICE_TYPE_CPU) != 0) return ZEB_DEVICE_CPU;
    return (type & CL_DEVICE_TYPE_ACCELERATOR) != 0 ? ZEB_DEVICE_NPU : ZEB_DEVICE_NONE;
}

static void device_text(cl_device_id device, cl_device_info what, char *text, size_t capacity) {
    char whole[1024] = "";
    if (clGetDeviceInfo(device, what, sizeof whole - 1, whole, NULL) != CL_SUCCESS) whole[0] = '\0';
    const char *start = whole + strspn(whole, " ");
    (void)snprintf(text, capacity, "%s", start);
}

static void platform_text(cl_platform_id platform, cl_platform_info what, char *text, size_t capacity) {
    char whole[1024] = "";
    if (clGetPlatformInfo(platform, what, sizeof whole - 1, whole, NULL) != CL_SUCCESS) whole[0] = '\0';
    (void)snprintf(text, capacity, "%s", whole);
}

zeb_status ocl_describe(const ocl_listing *listing, uint32_t index, zeb_device_info *info, zeb_error *error) {
    *info = (zeb_device_info){0};
    if (index >= listing->count)
        return zeb_fail(error, ZEB_ERR_NOT_FOUND, "OpenCL device %u: there are %u", index, listing->count);
    char platform[64];
    char version[80];
    char driver[64];
    cl_device_type type = 0;
    cl_uint units = 0;
    cl_ulong memory = 0;
    cl_device_id device = listing->device[index];
    cl_int code = clGetDeviceInfo(device, CL_DEVICE_TYPE, sizeof type, &type, NULL);
    if (code != CL_SUCCESS) return ocl_fail(error, "clGetDeviceInfo(CL_DEVICE_TYPE)", code, NULL);
    if (clGetDeviceInfo(device, CL_DEVICE_MAX_COMPUTE_UNITS, sizeof units, &units, NULL) != CL_SUCCESS) units = 0;
    if (clGetDeviceInfo(device, CL_DEVICE_GLOBAL_MEM_SIZE, sizeof memory, &memory, NULL) != CL_SUCCESS) memory = 0;
    platform_text(listing->platform[index], CL_PLATFORM_NAME, platform, sizeof platform);
    platform_text(listing->platform[index], CL_PLATFORM_VERSION, version, sizeof version);
    device_text(device, CL_DRIVER_VERSION, driver, sizeof driver);
    (void)snprintf(info->id, sizeof info->id, "%u", index);
    device_text(device, CL_DEVICE_NAME, info->name, sizeof info->name);
    (void)snprintf(info->driver, sizeof info->driver, "%s, %s, driver %s", platform, version, driver);
    info->kind = ocl_kind(type);
    info->units = units;
    info->memory_bytes = memory;
    return ZEB_OK;
}
