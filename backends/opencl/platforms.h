/* platforms.h - the devices of all OpenCL platforms as one list, in the order of the ICD loader. */
#ifndef OCL_PLATFORMS_H
#define OCL_PLATFORMS_H

#include <CL/cl.h>

#include "zeb/plugin.h"

enum { OCL_DEVICES_MAX = 64, OCL_PLATFORMS_MAX = 16 };

typedef struct ocl_listing {
    cl_device_id device[OCL_DEVICES_MAX];
    cl_platform_id platform[OCL_DEVICES_MAX];
    uint32_t count;
} ocl_listing;

/* No platform, or platforms without devices: a count of 0, no error. A platform that fails beside ones that work is
 * left out; if nothing works its error is the answer. */
ZEB_MUST_CHECK zeb_status ocl_list(ocl_listing *listing, zeb_error *error);

/* Names, driver, kind and sizes of a listed device; ids are "0", "1", ... */
ZEB_MUST_CHECK zeb_status ocl_describe(const ocl_listing *listing, uint32_t index, zeb_device_info *info,
                                       zeb_error *error);

/* zeb's kind for a CL_DEVICE_TYPE. */
zeb_device_kind ocl_kind(cl_device_type type);

#endif
