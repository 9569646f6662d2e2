/* device.h - an open OpenCL device: context, one in-order queue, the program built from kernels/. */
#ifndef OCL_DEVICE_H
#define OCL_DEVICE_H

#include <CL/cl.h>

#include "zeb/plugin.h"

struct zeb_device {
    cl_device_id id;
    cl_context context;
    cl_command_queue queue; /* in order; made anew with profiling when somebody asks for a profile */
    cl_program program;
    bool partition; /* id is a sub-device of ours */
    bool profiling;
    cl_device_type type;
    cl_uint units; /* compute units in use */
    cl_ulong alloc_max;
    char platform[64];
};

ZEB_MUST_CHECK zeb_status ocl_device_open(uint32_t index, const zeb_device_options *options, zeb_device **device,
                                          zeb_error *error);
void ocl_device_close(zeb_device *device);
ZEB_MUST_CHECK zeb_status ocl_device_settings(zeb_device *device, zeb_device_settings *settings, zeb_error *error);

/* A queue that records times, in place of the one that does not. The queue must be empty. */
ZEB_MUST_CHECK zeb_status ocl_device_profile(zeb_device *device, zeb_error *error);

#endif
