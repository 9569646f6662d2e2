#include "build.h"

#include <stdlib.h>
#include <string.h>

#include "fail.h"
#include "pack.h"

/* Names the node (and what it is about) in an error of OpenCL. */
static void build_fail(ocl_build *build, const char *call, cl_int code, const char *what) {
    char about[256];
    if (code == CL_SUCCESS || build->status != ZEB_OK) return;
    (void)snprintf(about, sizeof about, "%s of node '%.100s'", what, build->node == NULL ? "-" : build->node->name);
    build->status = ocl_fail(build->error, call, code, about);
}

cl_mem ocl_build_memory(ocl_build *build, size_t bytes, const void *data, const char *about) {
    zeb_plan *plan = build->plan;
    cl_int code = CL_SUCCESS;
    void *source = NULL;
    if (build->status != ZEB_OK) return NULL;
    if (plan->memory_count == plan->memory_capacity) {
        uint32_t capacity = plan->memory_capacity * 2 + 64;
        cl_mem *grown = realloc(plan->memory, (size_t)capacity * OCL_HANDLE_BYTES);
        if (grown == NULL) {
            build->status = zeb_fail(build->error, ZEB_ERR_MEMORY, "no memory for a list of %u buffers", capacity);
            return NULL;
        }
        plan->memory = grown;
        plan->memory_capacity = capacity;
    }
    memcpy(&source, &data, sizeof source); /* OpenCL's prototype is not const; it only reads */
    cl_mem_flags flags = data == NULL ? CL_MEM_READ_WRITE : CL_MEM_READ_ONLY | CL_MEM_COPY_HOST_PTR;
    cl_mem memory = clCreateBuffer(plan->device->context, flags, bytes, source, &code);
    if (code == CL_SUCCESS)
        plan->memory[plan->memory_count++] = memory;
    else
        memory = NULL;
    if (code == CL_SUCCESS && data == NULL) {
        const cl_uchar zero = 0;
        code = clEnqueueFillBuffer(plan->device->queue, memory, &zero, sizeof zero, 0, bytes, 0, NULL, NULL);
    }
    plan->bytes += bytes;
    if (code != CL_SUCCESS) {
        char text[160];
        (void)snprintf(text, sizeof text, "%zu bytes of '%.100s'", bytes, about);
        build->status = ocl_fail(build->error, "clCreateBuffer", code, text);
        return NULL;
    }
    return memory;
}

void ocl_step_begin(ocl_build *build, const char *kernel) {
    zeb_plan *plan = build->plan;
    cl_int code = CL_SUCCESS;
    if (build->status != ZEB_OK) return;
    if (plan->step_count == plan->step_capacity) {
        uint32_t capacity = plan->step_capacity * 2 + 64;
        ocl_step *grown = realloc(plan->step, capacity * sizeof *grown);
        if (grown == NULL) {
            build->status = zeb_fail(build->error, ZEB_ERR_MEMORY, "no memory for a list of %u launches", capacity);
            return;
        }
        plan->step = grown;
        plan->step_capacity = capacity;
    }
    build->step = &plan->step[plan->step_count];
    *build->step = (ocl_step){.name = kernel, .node = build->node_index};
    build->argument = 0;
    build->step->kernel = clCreateKernel(plan->device->program, kernel, &code);
    build_fail(build, "clCreateKernel", code, kernel);
    if (code == CL_SUCCESS) plan->step_count++;
}

/* Groups of one row: 64 wide on a GPU, smaller on a CPU, whose threads want many groups. */
void ocl_step_end(ocl_build *build, size_t columns, size_t rows) {
    size_t most = 1;
    if (build->status != ZEB_OK) return;
    const zeb_device *device = build->plan->device;
    cl_int code =
        clGetKernelWorkGroupInfo(build->step->kernel, device->id, CL_KERNEL_WORK_GROUP_SIZE, sizeof most, &most, NULL);
    size_t width = (device->type & CL_DEVICE_TYPE_CPU) != 0 ? 8 : 64;
    while (width > most)
        width /= 2;
    if (width == 0) width = 1;
    build->step->local[0] = width;
    build->step->local[1] = 1;
    build->step->global[0] = (columns + width - 1) / width * width;
    build->step->global[1] = rows;
    build_fail(build, "clGetKernelWorkGroupInfo", code, build->step->name);
}

static void set_argument(ocl_build *build, size_t size, const void *value) {
    if (build->status != ZEB_OK) return;
    cl_int code = clSetKernelArg(build->step->kernel, build->argument++, size, value);
    build_fail(build, "clSetKernelArg", code, build->step->name);
}

void ocl_arg_memory(ocl_build *build, cl_mem memory) {
    set_argument(build, OCL_HANDLE_BYTES, memory == NULL ? NULL : (const void *)&memory);
}

void ocl_arg_int(ocl_build *build, int64_t value) {
    cl_int narrow = (cl_int)value; /* extents were held under 2^31 by check */
    set_argument(build, sizeof narrow, &narrow);
}

void ocl_arg_uint(ocl_build *build, uint32_t value) {
    cl_uint same = value;
    set_argument(build, sizeof same, &same);
}

void ocl_arg_float(ocl_build *build, float value) {
    set_argument(build, sizeof value, &value);
}

void ocl_arg_tensor(ocl_build *build, int32_t tensor) {
    cl_mem memory = NULL;
    if (build->status != ZEB_OK) return;
    if (tensor != ZEB_NONE && build->graph->tensor[tensor].role == ZEB_ROLE_WEIGHT) {
        ocl_arg_weight(build, tensor);
        return;
    }
    if (tensor != ZEB_NONE) {
        memory = build->plan->tensor[tensor].memory;
        if (memory == NULL)
            build->status = zeb_fail(build->error, ZEB_ERR_ARGUMENT, "node '%s' reads '%s', which nothing makes",
                                     build->node->name, build->graph->tensor[tensor].name);
    }
    ocl_arg_memory(build, memory);
}

/* Converts through host memory, but for weights that are as they should be already. */
static cl_mem make_weight(ocl_build *build, const zeb_tensor *weight, bool pack) {
    size_t count =
        pack ? ocl_packed_stride(weight->extent[0].max) * (size_t)weight->extent[1].max : ocl_elements(weight);
    size_t bytes = count * sizeof(float);
    const zeb_tensor *scale = weight->scale == ZEB_NONE ? NULL : &build->graph->tensor[weight->scale];
    if (!pack && weight->dtype == ZEB_F32) return ocl_build_memory(build, bytes, weight->data, weight->name);
    float *host = malloc(bytes);
    if (host == NULL) {
        build->status =
            zeb_fail(build->error, ZEB_ERR_MEMORY, "no memory to convert '%s' (%zu bytes)", weight->name, bytes);
        return NULL;
    }
    if (pack)
        ocl_pack_linear(weight, host);
    else
        ocl_unpack(weight, scale, host);
    cl_mem memory = ocl_build_memory(build, bytes, host, weight->name);
    free(host);
    return memory;
}

static void weight_argument(ocl_build *build, int32_t tensor, cl_mem *made, bool pack) {
    if (build->status != ZEB_OK) return;
    if (tensor != ZEB_NONE && build->graph->tensor[tensor].role != ZEB_ROLE_WEIGHT) {
        build->status = zeb_fail(build->error, ZEB_ERR_ARGUMENT, "node '%s': '%s' must be a weight", build->node->name,
                                 build->graph->tensor[tensor].name);
        return;
    }
    if (tensor != ZEB_NONE && made[tensor] == NULL)
        made[tensor] = make_weight(build, &build->graph->tensor[tensor], pack);
    ocl_arg_memory(build, tensor == ZEB_NONE ? NULL : made[tensor]);
}

void ocl_arg_weight(ocl_build *build, int32_t tensor) {
    weight_argument(build, tensor, build->rows, false);
}

void ocl_arg_packed(ocl_build *build, int32_t tensor) {
    weight_argument(build, tensor, build->packed, true);
}

void ocl_arg_scratch(ocl_build *build, uint32_t place) {
    int32_t buffer = build->layout.scratch[build->node_index][place];
    ocl_arg_memory(build, buffer == ZEB_NONE ? NULL : build->buffer[buffer]);
}

void ocl_arg_offsets(ocl_build *build, int32_t rows) {
    int32_t offsets = rows == ZEB_NONE ? ZEB_NONE : build->graph->tensor[rows].offsets;
    ocl_arg_tensor(build, offsets);
    ocl_arg_int(build, offsets == ZEB_NONE ? 0 : ocl_extent(build, offsets, 0) - 1);
}

void ocl_arg_live(ocl_build *build, int32_t rows) {
    int32_t live = build->graph->tensor[rows].extent[0].live;
    if (live == ZEB_NONE)
        ocl_arg_memory(build, build->plan->constants);
    else
        ocl_arg_tensor(build, live);
    ocl_arg_int(build, live == ZEB_NONE ? rows : 0);
    ocl_arg_int(build, ocl_extent(build, rows, 0));
}

void ocl_arg_range(ocl_build *build) {
    build->plan->ranged = true;
    ocl_arg_memory(build, build->plan->range);
    ocl_arg_int(build, build->node_index);
}

int64_t ocl_extent(const ocl_build *build, int32_t tensor, uint32_t i) {
    return i < build->graph->tensor[tensor].rank ? build->graph->tensor[tensor].extent[i].max : 1;
}

int64_t ocl_batch(const ocl_build *build, int32_t rows) {
    return ocl_extent(build, build->graph->tensor[rows].offsets, 0) - 1;
}
