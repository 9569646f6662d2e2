#include <string.h>

#include "fail.h"
#include "plan.h"

enum { SPAN_KERNEL = 1, SPAN_TO_DEVICE = 2, SPAN_TO_HOST = 3, SPAN_WAIT = 4 }; /* zeb_profile_span.kind */

/* The list of commands that a profile tells of begins anew with the first command after a wait's reads. */
static void marks_begin(zeb_plan *plan) {
    if (!plan->marks_old) return;
    for (uint32_t i = 0; i < plan->mark_count; i++)
        (void)clReleaseEvent(plan->mark[i].event);
    plan->mark_count = 0;
    plan->marks_old = false;
}

/* Where the next command's event goes: NULL when nobody listens. */
static cl_event *mark_next(zeb_plan *plan, const char *name, int32_t node, uint32_t kind) {
    if (!plan->device->profiling || plan->mark_count == plan->mark_capacity) return NULL;
    ocl_mark *mark = &plan->mark[plan->mark_count];
    *mark = (ocl_mark){.name = name, .node = node, .kind = kind};
    return &mark->event;
}

/* Counts the mark whose command was queued. */
static void mark_done(zeb_plan *plan, const cl_event *event, cl_int code) {
    if (event != NULL && code == CL_SUCCESS) plan->mark_count++;
}

static zeb_status check_access(const zeb_plan *plan, int32_t tensor, size_t bytes, zeb_error *error) {
    if (tensor < 0 || (uint32_t)tensor >= plan->tensor_count)
        return zeb_fail(error, ZEB_ERR_ARGUMENT, "the plan has no tensor %d", tensor);
    const ocl_tensor *about = &plan->tensor[tensor];
    if (about->role != ZEB_ROLE_INPUT && about->role != ZEB_ROLE_OUTPUT)
        return zeb_fail(error, ZEB_ERR_ARGUMENT, "tensor '%s' is neither an input nor an output", about->name);
    if (bytes > about->bytes)
        return zeb_fail(error, ZEB_ERR_RANGE, "tensor '%s' has %zu bytes, not %zu", about->name, about->bytes, bytes);
    return ZEB_OK;
}

zeb_status ocl_write(zeb_plan *plan, int32_t tensor, const void *data, size_t bytes, zeb_error *error) {
    zeb_status status = check_access(plan, tensor, bytes, error);
    if (status != ZEB_OK || bytes == 0) return status;
    ocl_tensor *about = &plan->tensor[tensor];
    marks_begin(plan);
    cl_event *event = mark_next(plan, "write", ZEB_NONE, SPAN_TO_DEVICE);
    cl_int code = clEnqueueWriteBuffer(plan->device->queue, about->memory, CL_TRUE, 0, bytes, data, 0, NULL, event);
    mark_done(plan, event, code);
    if (code == CL_SUCCESS && about->row_count != NULL) memcpy(about->row_count, data, bytes);
    return ocl_fail(error, "clEnqueueWriteBuffer", code, about->name);
}

/* Offsets rise from 0 to the live count, which is within the maximum: kernels rely on it. */
static zeb_status check_rows(const zeb_plan *plan, zeb_error *error) {
    for (uint32_t i = 0; i < plan->rows_count; i++) {
        const ocl_rows *rows = &plan->rows[i];
        const int32_t *offsets = plan->tensor[rows->offsets].row_count;
        int32_t live = plan->tensor[rows->live].row_count[0];
        bool fine = offsets[0] == 0 && offsets[rows->batch] == live && live <= rows->most;
        for (int32_t b = 0; fine && b < rows->batch; b++)
            fine = offsets[b] <= offsets[b + 1];
        if (!fine)
            return zeb_fail(error, ZEB_ERR_RANGE, "'%s' must rise from 0 to the live count, %d, at most %d",
                            plan->tensor[rows->offsets].name, live, rows->most);
    }
    return ZEB_OK;
}

/* The event of the last command is kept: only it tells of a fault of the device. */
static void keep_last(zeb_plan *plan, cl_event event, const cl_event *marked) {
    if (plan->last != NULL) (void)clReleaseEvent(plan->last);
    plan->last = event;
    if (marked != NULL) (void)clRetainEvent(event);
}

static zeb_status launch(zeb_plan *plan, const ocl_step *step, bool last, zeb_error *error) {
    cl_event own = NULL;
    cl_event *mark = mark_next(plan, step->name, step->node, SPAN_KERNEL);
    cl_event *event = mark != NULL ? mark : last ? &own : NULL;
    cl_int code =
        clEnqueueNDRangeKernel(plan->device->queue, step->kernel, 2, NULL, step->global, step->local, 0, NULL, event);
    mark_done(plan, mark, code);
    if (code == CL_SUCCESS && last && event != NULL) keep_last(plan, *event, mark);
    if (code == CL_SUCCESS) return ZEB_OK;
    char about[ZEB_TEXT_MAX];
    (void)snprintf(about, sizeof about, "kernel %s of node '%.100s'", step->name, plan->node_name[step->node]);
    return ocl_fail(error, "clEnqueueNDRangeKernel", code, about);
}

/* The flag of ids outside their table: cleared before the first kernel, copied to the host after the last. */
static zeb_status clear_range(zeb_plan *plan, zeb_error *error) {
    const cl_int zero = 0;
    plan->out_of_range = 0;
    cl_event *event = mark_next(plan, "clear", ZEB_NONE, SPAN_KERNEL);
    cl_int code =
        clEnqueueFillBuffer(plan->device->queue, plan->range, &zero, sizeof zero, 0, sizeof zero, 0, NULL, event);
    mark_done(plan, event, code);
    return ocl_fail(error, "clEnqueueFillBuffer", code, "the range flag");
}

static zeb_status fetch_range(zeb_plan *plan, zeb_error *error) {
    cl_event own = NULL;
    cl_event *mark = mark_next(plan, "range", ZEB_NONE, SPAN_TO_HOST);
    cl_event *event = mark != NULL ? mark : &own;
    cl_int code = clEnqueueReadBuffer(plan->device->queue, plan->range, CL_FALSE, 0, sizeof plan->out_of_range,
                                      &plan->out_of_range, 0, NULL, event);
    mark_done(plan, mark, code);
    if (code == CL_SUCCESS) keep_last(plan, *event, mark);
    return ocl_fail(error, "clEnqueueReadBuffer", code, "the range flag");
}

zeb_status ocl_submit(zeb_plan *plan, zeb_error *error) {
    zeb_status status = check_rows(plan, error);
    if (status != ZEB_OK) return status;
    marks_begin(plan);
    if (plan->ranged) status = clear_range(plan, error);
    for (uint32_t i = 0; status == ZEB_OK && i < plan->step_count; i++)
        status = launch(plan, &plan->step[i], i + 1 == plan->step_count && !plan->ranged, error);
    if (status == ZEB_OK && plan->ranged) status = fetch_range(plan, error);
    if (status == ZEB_OK) status = ocl_fail(error, "clFlush", clFlush(plan->device->queue), NULL);
    return status;
}

/* With profiling, a marker stands for the wait: queued when the host begins to wait, done when everything is. */
static zeb_status mark_wait(zeb_plan *plan, zeb_error *error) {
    cl_event *event = mark_next(plan, "wait", ZEB_NONE, SPAN_WAIT);
    if (event == NULL) return ZEB_OK;
    cl_int code = clEnqueueMarkerWithWaitList(plan->device->queue, 0, NULL, event);
    mark_done(plan, event, code);
    return ocl_fail(error, "clEnqueueMarkerWithWaitList", code, NULL);
}

zeb_status ocl_wait(zeb_plan *plan, zeb_error *error) {
    cl_int state = CL_COMPLETE;
    zeb_status status = mark_wait(plan, error);
    plan->marks_old = true;
    if (status == ZEB_OK) status = ocl_fail(error, "clFinish", clFinish(plan->device->queue), NULL);
    if (status != ZEB_OK || plan->last == NULL) return status;
    cl_int code = clGetEventInfo(plan->last, CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof state, &state, NULL);
    (void)clReleaseEvent(plan->last);
    plan->last = NULL;
    if (code != CL_SUCCESS) return ocl_fail(error, "clGetEventInfo", code, NULL);
    if (state < 0) return ocl_fail(error, "a command of the pass", state, NULL);
    if (plan->out_of_range <= 0 || (uint32_t)plan->out_of_range > plan->node_count) return ZEB_OK;
    return zeb_fail(error, ZEB_ERR_RANGE, "node '%s': an id is outside its table",
                    plan->node_name[plan->out_of_range - 1]);
}

zeb_status ocl_read(zeb_plan *plan, int32_t tensor, void *data, size_t bytes, zeb_error *error) {
    zeb_status status = check_access(plan, tensor, bytes, error);
    if (status != ZEB_OK || bytes == 0) return status;
    const ocl_tensor *about = &plan->tensor[tensor];
    cl_event *event = mark_next(plan, "read", ZEB_NONE, SPAN_TO_HOST);
    cl_int code = clEnqueueReadBuffer(plan->device->queue, about->memory, CL_TRUE, 0, bytes, data, 0, NULL, event);
    mark_done(plan, event, code);
    return ocl_fail(error, "clEnqueueReadBuffer", code, about->name);
}

static zeb_status span_of(const ocl_mark *mark, zeb_profile_span *span, zeb_error *error) {
    cl_ulong begin = 0;
    cl_ulong end = 0;
    cl_profiling_info from = mark->kind == SPAN_WAIT ? CL_PROFILING_COMMAND_QUEUED : CL_PROFILING_COMMAND_START;
    cl_int code = clGetEventProfilingInfo(mark->event, from, sizeof begin, &begin, NULL);
    if (code == CL_SUCCESS)
        code = clGetEventProfilingInfo(mark->event, CL_PROFILING_COMMAND_END, sizeof end, &end, NULL);
    if (code != CL_SUCCESS) return ocl_fail(error, "clGetEventProfilingInfo", code, mark->name);
    *span = (zeb_profile_span){.node = mark->node, .kind = mark->kind, .begin_ns = begin, .end_ns = end};
    (void)snprintf(span->name, sizeof span->name, "%s", mark->name);
    return ZEB_OK;
}

/* Spans come in the order of commands; a wait begins before what it waits for ends. */
static void sort_spans(zeb_profile_span *span, uint32_t count) {
    for (uint32_t i = 1; i < count; i++) {
        zeb_profile_span moved = span[i];
        uint32_t to = i;
        for (; to > 0 && span[to - 1].begin_ns > moved.begin_ns; to--)
            span[to] = span[to - 1];
        span[to] = moved;
    }
}

zeb_status ocl_profile(zeb_plan *plan, zeb_profile_span *span, uint32_t capacity, uint32_t *count, zeb_error *error) {
    *count = 0;
    zeb_status status = ocl_fail(error, "clFinish", clFinish(plan->device->queue), NULL);
    if (status == ZEB_OK && !plan->device->profiling) return ocl_device_profile(plan->device, error);
    for (uint32_t i = 0; status == ZEB_OK && i < plan->mark_count && i < capacity; i++)
        status = span_of(&plan->mark[i], &span[i], error);
    if (status != ZEB_OK) return status;
    *count = plan->mark_count;
    sort_spans(span, plan->mark_count < capacity ? plan->mark_count : capacity);
    return ZEB_OK;
}
