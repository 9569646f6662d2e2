#include "intercept.h"

#include <dlfcn.h>
#include <string.h>

intercept seen;

/* The real function of that name. */
static void real(const char *name, void *function) {
    void *symbol = dlsym(RTLD_NEXT, name);
    memcpy(function, &symbol, sizeof symbol);
}

/* Nothing that is queued from here on starts before the gate is opened. */
static void hold_queue(cl_command_queue queue) {
    cl_context context = NULL;
    cl_int code = CL_SUCCESS;
    if (!seen.hold) return;
    if (clGetCommandQueueInfo(queue, CL_QUEUE_CONTEXT, sizeof context, &context, NULL) != CL_SUCCESS) return;
    seen.gate = clCreateUserEvent(context, &code);
    if (code == CL_SUCCESS) code = clEnqueueBarrierWithWaitList(queue, 1, &seen.gate, NULL);
    seen.hold = code != CL_SUCCESS;
}

/* A wait behind a closed gate would never end: the test is to fail, not to hang. */
static void note_wait(void) {
    seen.waits++;
    if (seen.gate != NULL) (void)clSetUserEventStatus(seen.gate, CL_COMPLETE);
}

cl_int clEnqueueNDRangeKernel(cl_command_queue queue, cl_kernel kernel, cl_uint dimensions, const size_t *offset,
                              const size_t *global, const size_t *local, cl_uint waits, const cl_event *list,
                              cl_event *event) {
    cl_int (*call)(cl_command_queue, cl_kernel, cl_uint, const size_t *, const size_t *, const size_t *, cl_uint,
                   const cl_event *, cl_event *);
    real("clEnqueueNDRangeKernel", &call);
    hold_queue(queue);
    seen.kernels++;
    return call(queue, kernel, dimensions, offset, global, local, waits, list, event);
}

cl_int clEnqueueFillBuffer(cl_command_queue queue, cl_mem buffer, const void *pattern, size_t pattern_size,
                           size_t offset, size_t size, cl_uint waits, const cl_event *list, cl_event *event) {
    cl_int (*call)(cl_command_queue, cl_mem, const void *, size_t, size_t, size_t, cl_uint, const cl_event *,
                   cl_event *);
    real("clEnqueueFillBuffer", &call);
    hold_queue(queue);
    return call(queue, buffer, pattern, pattern_size, offset, size, waits, list, event);
}

cl_int clEnqueueReadBuffer(cl_command_queue queue, cl_mem buffer, cl_bool blocking, size_t offset, size_t size,
                           void *data, cl_uint waits, const cl_event *list, cl_event *event) {
    cl_int (*call)(cl_command_queue, cl_mem, cl_bool, size_t, size_t, void *, cl_uint, const cl_event *, cl_event *);
    real("clEnqueueReadBuffer", &call);
    seen.copies_to_host++;
    seen.kernels_at_last_copy = seen.kernels;
    if (blocking) note_wait();
    return call(queue, buffer, blocking, offset, size, data, waits, list, event);
}

void *clEnqueueMapBuffer(cl_command_queue queue, cl_mem buffer, cl_bool blocking, cl_map_flags flags, size_t offset,
                         size_t size, cl_uint waits, const cl_event *list, cl_event *event, cl_int *code) {
    void *(*call)(cl_command_queue, cl_mem, cl_bool, cl_map_flags, size_t, size_t, cl_uint, const cl_event *,
                  cl_event *, cl_int *);
    real("clEnqueueMapBuffer", &call);
    seen.copies_to_host++;
    if (blocking) note_wait();
    return call(queue, buffer, blocking, flags, offset, size, waits, list, event, code);
}

cl_int clFinish(cl_command_queue queue) {
    cl_int (*call)(cl_command_queue);
    real("clFinish", &call);
    note_wait();
    return call(queue);
}

cl_int clWaitForEvents(cl_uint count, const cl_event *list) {
    cl_int (*call)(cl_uint, const cl_event *);
    real("clWaitForEvents", &call);
    note_wait();
    return call(count, list);
}
