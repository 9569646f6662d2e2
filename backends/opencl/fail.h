/* fail.h - OpenCL's error codes as sentences: the call that failed and the code by name and number. */
#ifndef OCL_FAIL_H
#define OCL_FAIL_H

#include <CL/cl.h>

#include "zeb/status.h"

/* ZEB_OK for CL_SUCCESS. Lack of memory is ZEB_ERR_MEMORY, everything else ZEB_ERR_DEVICE; about says what the call was
 * for ("kernel linear of node 'layer.0.q'"), or NULL. */
ZEB_MUST_CHECK zeb_status ocl_fail(zeb_error *error, const char *call, cl_int code, const char *about);

const char *ocl_code_name(cl_int code);

#endif
