#include "fail.h"

#include <stdbool.h>

#define OCL_CODE(name)                                                                                                 \
    case name: return #name

const char *ocl_code_name(cl_int code) {
    switch (code) {
        OCL_CODE(CL_SUCCESS);
        OCL_CODE(CL_DEVICE_NOT_FOUND);
        OCL_CODE(CL_DEVICE_NOT_AVAILABLE);
        OCL_CODE(CL_COMPILER_NOT_AVAILABLE);
        OCL_CODE(CL_MEM_OBJECT_ALLOCATION_FAILURE);
        OCL_CODE(CL_OUT_OF_RESOURCES);
        OCL_CODE(CL_OUT_OF_HOST_MEMORY);
        OCL_CODE(CL_PROFILING_INFO_NOT_AVAILABLE);
        OCL_CODE(CL_BUILD_PROGRAM_FAILURE);
        OCL_CODE(CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST);
        OCL_CODE(CL_DEVICE_PARTITION_FAILED);
        OCL_CODE(CL_INVALID_VALUE);
        OCL_CODE(CL_INVALID_PLATFORM);
        OCL_CODE(CL_INVALID_DEVICE);
        OCL_CODE(CL_INVALID_CONTEXT);
        OCL_CODE(CL_INVALID_QUEUE_PROPERTIES);
        OCL_CODE(CL_INVALID_COMMAND_QUEUE);
        OCL_CODE(CL_INVALID_MEM_OBJECT);
        OCL_CODE(CL_INVALID_BINARY);
        OCL_CODE(CL_INVALID_BUILD_OPTIONS);
        OCL_CODE(CL_INVALID_PROGRAM);
        OCL_CODE(CL_INVALID_PROGRAM_EXECUTABLE);
        OCL_CODE(CL_INVALID_KERNEL_NAME);
        OCL_CODE(CL_INVALID_KERNEL);
        OCL_CODE(CL_INVALID_ARG_INDEX);
        OCL_CODE(CL_INVALID_ARG_VALUE);
        OCL_CODE(CL_INVALID_ARG_SIZE);
        OCL_CODE(CL_INVALID_KERNEL_ARGS);
        OCL_CODE(CL_INVALID_WORK_DIMENSION);
        OCL_CODE(CL_INVALID_WORK_GROUP_SIZE);
        OCL_CODE(CL_INVALID_WORK_ITEM_SIZE);
        OCL_CODE(CL_INVALID_GLOBAL_OFFSET);
        OCL_CODE(CL_INVALID_EVENT_WAIT_LIST);
        OCL_CODE(CL_INVALID_EVENT);
        OCL_CODE(CL_INVALID_OPERATION);
        OCL_CODE(CL_INVALID_BUFFER_SIZE);
        OCL_CODE(CL_INVALID_GLOBAL_WORK_SIZE);
        OCL_CODE(CL_INVALID_DEVICE_PARTITION_COUNT);
        case -1001: return "CL_PLATFORM_NOT_FOUND_KHR";
        default: return "unknown code";
    }
}

zeb_status ocl_fail(zeb_error *error, const char *call, cl_int code, const char *about) {
    if (code == CL_SUCCESS) return ZEB_OK;
    bool memory =
        code == CL_MEM_OBJECT_ALLOCATION_FAILURE || code == CL_OUT_OF_HOST_MEMORY || code == CL_INVALID_BUFFER_SIZE;
    return zeb_fail(error, memory ? ZEB_ERR_MEMORY : ZEB_ERR_DEVICE, "%s%s%s: %s (%d)", call,
                    about == NULL ? "" : " for ", about == NULL ? "" : about, ocl_code_name(code), code);
}
