#include "device.h"

#include <stdlib.h>
#include <string.h>

#include "fail.h"
#include "kernels.h"
#include "platforms.h"

enum { SOURCES_MAX = 16 };

/* The compiler's complaint: the first line of the log that speaks of an error, or its beginning. */
static zeb_status build_failed(const zeb_device *device, cl_int code, zeb_error *error) {
    char head[320] = "";
    size_t size = 0;
    char *log = NULL;
    if (clGetProgramBuildInfo(device->program, device->id, CL_PROGRAM_BUILD_LOG, 0, NULL, &size) == CL_SUCCESS)
        log = calloc(size + 1, 1);
    if (log != NULL &&
        clGetProgramBuildInfo(device->program, device->id, CL_PROGRAM_BUILD_LOG, size, log, NULL) == CL_SUCCESS) {
        const char *start = strstr(log, "error");
        (void)snprintf(head, sizeof head, "%s", start == NULL ? log : start);
        head[strcspn(head, "\n")] = '\0';
    }
    free(log);
    return zeb_fail(error, ZEB_ERR_DEVICE, "clBuildProgram: %s (%d): %s", ocl_code_name(code), code, head);
}

static zeb_status build_program(zeb_device *device, zeb_error *error) {
    const char *text[SOURCES_MAX];
    size_t size[SOURCES_MAX];
    cl_bool compiler = CL_FALSE;
    cl_device_fp_config floats = 0;
    cl_int code = clGetDeviceInfo(device->id, CL_DEVICE_COMPILER_AVAILABLE, sizeof compiler, &compiler, NULL);
    if (code == CL_SUCCESS && compiler == CL_FALSE)
        return zeb_fail(error, ZEB_ERR_UNSUPPORTED, "this OpenCL device has no compiler for kernels");
    if (clGetDeviceInfo(device->id, CL_DEVICE_SINGLE_FP_CONFIG, sizeof floats, &floats, NULL) != CL_SUCCESS) floats = 0;
    bool rounds = (floats & CL_FP_CORRECTLY_ROUNDED_DIVIDE_SQRT) != 0;
    for (unsigned i = 0; i < ocl_source_count && i < SOURCES_MAX; i++) {
        text[i] = ocl_sources[i].text;
        size[i] = ocl_sources[i].size;
    }
    device->program = clCreateProgramWithSource(device->context, ocl_source_count, text, size, &code);
    if (code != CL_SUCCESS) return ocl_fail(error, "clCreateProgramWithSource", code, NULL);
    code =
        clBuildProgram(device->program, 1, &device->id,
                       rounds ? "-cl-std=CL1.2 -cl-fp32-correctly-rounded-divide-sqrt" : "-cl-std=CL1.2", NULL, NULL);
    return code == CL_SUCCESS ? ZEB_OK : build_failed(device, code, error);
}

/* CPU devices can be held to a number of threads; where a driver cannot, all units are used and settings says so. */
static void partition(zeb_device *device, uint32_t threads) {
    cl_device_id part = NULL;
    cl_uint parts = 0;
    const cl_device_partition_property by_count[] = {CL_DEVICE_PARTITION_BY_COUNTS,
                                                     (cl_device_partition_property)threads,
                                                     CL_DEVICE_PARTITION_BY_COUNTS_LIST_END, 0};
    if ((device->type & CL_DEVICE_TYPE_CPU) == 0 || threads == 0 || threads >= device->units) return;
    if (clCreateSubDevices(device->id, by_count, 1, &part, &parts) != CL_SUCCESS || parts != 1) return;
    device->id = part;
    device->partition = true;
    device->units = threads;
}

static zeb_status open_queue(zeb_device *device, cl_command_queue_properties properties, zeb_error *error) {
    cl_int code = CL_SUCCESS;
    device->queue = clCreateCommandQueue(device->context, device->id, properties, &code);
    if (code != CL_SUCCESS) device->queue = NULL;
    return ocl_fail(error, "clCreateCommandQueue", code, NULL);
}

static zeb_status device_fill(zeb_device *device, const ocl_listing *listing, uint32_t index, uint32_t threads,
                              zeb_error *error) {
    device->id = listing->device[index];
    cl_int code = clGetDeviceInfo(device->id, CL_DEVICE_TYPE, sizeof device->type, &device->type, NULL);
    if (code == CL_SUCCESS)
        code = clGetDeviceInfo(device->id, CL_DEVICE_MAX_COMPUTE_UNITS, sizeof device->units, &device->units, NULL);
    if (code == CL_SUCCESS)
        code = clGetDeviceInfo(device->id, CL_DEVICE_MAX_MEM_ALLOC_SIZE, sizeof device->alloc_max, &device->alloc_max,
                               NULL);
    if (code != CL_SUCCESS) return ocl_fail(error, "clGetDeviceInfo", code, NULL);
    if (clGetPlatformInfo(listing->platform[index], CL_PLATFORM_NAME, sizeof device->platform - 1, device->platform,
                          NULL) != CL_SUCCESS)
        device->platform[0] = '\0'; /* a longer name than fits; it is a remark, no more */
    partition(device, threads);
    device->context = clCreateContext(NULL, 1, &device->id, NULL, NULL, &code);
    if (code != CL_SUCCESS) return ocl_fail(error, "clCreateContext", code, NULL);
    zeb_status status = open_queue(device, 0, error);
    return status == ZEB_OK ? build_program(device, error) : status;
}

zeb_status ocl_device_open(uint32_t index, const zeb_device_options *options, zeb_device **device, zeb_error *error) {
    ocl_listing listing;
    *device = NULL;
    zeb_status status = ocl_list(&listing, error);
    if (status != ZEB_OK) return status;
    if (index >= listing.count)
        return zeb_fail(error, ZEB_ERR_NOT_FOUND, "OpenCL device %u: there are %u", index, listing.count);
    zeb_device *made = calloc(1, sizeof *made);
    if (made == NULL) return zeb_fail(error, ZEB_ERR_MEMORY, "no memory for an OpenCL device");
    status = device_fill(made, &listing, index, options == NULL ? 0 : options->threads, error);
    if (status == ZEB_OK)
        *device = made;
    else
        ocl_device_close(made);
    return status;
}

void ocl_device_close(zeb_device *device) {
    if (device == NULL) return;
    if (device->program != NULL) (void)clReleaseProgram(device->program);
    if (device->queue != NULL) (void)clReleaseCommandQueue(device->queue);
    if (device->context != NULL) (void)clReleaseContext(device->context);
    if (device->partition) (void)clReleaseDevice(device->id);
    free(device);
}

zeb_status ocl_device_settings(zeb_device *device, zeb_device_settings *settings, zeb_error *error) {
    (void)error;
    bool cpu = (device->type & CL_DEVICE_TYPE_CPU) != 0;
    settings->threads = cpu ? device->units : 1; /* elsewhere one host thread feeds the queue */
    settings->pinned = 0;
    (void)snprintf(settings->isa, sizeof settings->isa, "opencl-c-1.2");
    (void)snprintf(settings->note, sizeof settings->note, "units=%u platform=%s", device->units, device->platform);
    return ZEB_OK;
}

zeb_status ocl_device_profile(zeb_device *device, zeb_error *error) {
    if (device->profiling) return ZEB_OK;
    cl_command_queue old = device->queue;
    zeb_status status = open_queue(device, CL_QUEUE_PROFILING_ENABLE, error);
    if (status != ZEB_OK) {
        device->queue = old;
        return status;
    }
    (void)clReleaseCommandQueue(old);
    device->profiling = true;
    return ZEB_OK;
}
