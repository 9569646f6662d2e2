#include "plan.h"

#include <stdlib.h>
#include <string.h>

#include "build.h"
#include "check.h"
#include "fail.h"
#include "pack.h"
#include "steps.h"

/* Copies what outlives the graph: names, roles, sizes. */
static zeb_status copy_names(zeb_plan *plan, const zeb_graph *graph, zeb_error *error) {
    size_t size = 1;
    for (uint32_t i = 0; i < graph->tensor_count; i++)
        size += strlen(graph->tensor[i].name) + 1;
    for (uint32_t i = 0; i < graph->node_count; i++)
        size += strlen(graph->node[i].name) + 1;
    plan->tensor_count = graph->tensor_count;
    plan->node_count = graph->node_count;
    plan->names = malloc(size);
    plan->tensor = calloc((size_t)graph->tensor_count + 1, sizeof *plan->tensor);
    plan->node_name = calloc((size_t)graph->node_count + 1, sizeof *plan->node_name);
    plan->rows = calloc((size_t)graph->tensor_count + 1, sizeof *plan->rows);
    if (plan->names == NULL || plan->tensor == NULL || plan->node_name == NULL || plan->rows == NULL)
        return zeb_fail(error, ZEB_ERR_MEMORY, "no memory for a plan of %u tensors", graph->tensor_count);
    char *to = plan->names;
    for (uint32_t i = 0; i < graph->tensor_count; i++) {
        size_t length = strlen(graph->tensor[i].name) + 1;
        plan->tensor[i] = (ocl_tensor){.name = memcpy(to, graph->tensor[i].name, length),
                                       .role = graph->tensor[i].role,
                                       .bytes = 4 * ocl_elements(&graph->tensor[i])};
        to += length;
    }
    for (uint32_t i = 0; i < graph->node_count; i++) {
        size_t length = strlen(graph->node[i].name) + 1;
        plan->node_name[i] = memcpy(to, graph->node[i].name, length);
        to += length;
    }
    return ZEB_OK;
}

static zeb_status shadow(zeb_plan *plan, int32_t tensor, zeb_error *error) {
    ocl_tensor *about = &plan->tensor[tensor];
    if (about->row_count != NULL) return ZEB_OK;
    about->row_count = calloc(1, about->bytes + sizeof *about->row_count);
    return about->row_count != NULL ? ZEB_OK : zeb_fail(error, ZEB_ERR_MEMORY, "no memory for '%s'", about->name);
}

/* Row spaces that the harness lays out are checked on the host before a pass, from what was written. */
static zeb_status find_rows(zeb_plan *plan, const zeb_graph *graph, zeb_error *error) {
    zeb_status status = ZEB_OK;
    for (uint32_t i = 0; status == ZEB_OK && i < graph->tensor_count; i++) {
        const zeb_tensor *tensor = &graph->tensor[i];
        int32_t offsets = tensor->offsets;
        int32_t live = tensor->extent[0].live;
        if (offsets == ZEB_NONE || live == ZEB_NONE || graph->tensor[offsets].role != ZEB_ROLE_INPUT ||
            graph->tensor[live].role != ZEB_ROLE_INPUT)
            continue;
        status = shadow(plan, offsets, error);
        if (status == ZEB_OK) status = shadow(plan, live, error);
        plan->rows[plan->rows_count++] = (ocl_rows){.offsets = offsets,
                                                    .live = live,
                                                    .batch = (int32_t)graph->tensor[offsets].extent[0].max - 1,
                                                    .most = (int32_t)tensor->extent[0].max};
    }
    return status;
}

/* Allocates the planned buffers and gives every tensor its own. */
static void make_buffers(ocl_build *build) {
    zeb_plan *plan = build->plan;
    for (uint32_t i = 0; build->status == ZEB_OK && i < build->layout.count; i++)
        build->buffer[i] = ocl_build_memory(build, build->layout.bytes[i], NULL, "values");
    for (uint32_t i = 0; build->status == ZEB_OK && i < plan->tensor_count; i++)
        if (build->layout.tensor[i] != ZEB_NONE) plan->tensor[i].memory = build->buffer[build->layout.tensor[i]];
    cl_int *most = malloc(((size_t)plan->tensor_count + 1) * sizeof *most);
    if (most == NULL) {
        build->status = zeb_fail(build->error, ZEB_ERR_MEMORY, "no memory for %u extents", plan->tensor_count);
        return;
    }
    for (uint32_t i = 0; i < plan->tensor_count; i++)
        most[i] = (cl_int)build->graph->tensor[i].extent[0].max;
    most[plan->tensor_count] = 0;
    plan->constants = ocl_build_memory(build, ((size_t)plan->tensor_count + 1) * sizeof *most, most, "extents");
    plan->range = ocl_build_memory(build, sizeof(cl_int), NULL, "range flag");
    free(most);
}

static void make_steps(ocl_build *build) {
    zeb_plan *plan = build->plan;
    for (uint32_t i = 0; build->status == ZEB_OK && i < build->graph->node_count; i++) {
        build->node = &build->graph->node[i];
        build->node_index = (int32_t)i;
        ocl_steps(build);
    }
    if (build->status != ZEB_OK) return;
    plan->mark_capacity = plan->step_count + 2 * plan->tensor_count + 8;
    plan->mark = calloc(plan->mark_capacity, sizeof *plan->mark);
    if (plan->mark == NULL) {
        build->status =
            zeb_fail(build->error, ZEB_ERR_MEMORY, "no memory for a list of %u commands", plan->mark_capacity);
        return;
    }
    build->status = ocl_fail(build->error, "clFinish", clFinish(plan->device->queue), "the zeroing of buffers");
}

static zeb_status compile_plan(zeb_plan *plan, const zeb_graph *graph, zeb_error *error) {
    ocl_build build = {.plan = plan, .graph = graph, .error = error};
    size_t tensors = (size_t)graph->tensor_count + 1;
    zeb_status status = copy_names(plan, graph, error);
    if (status == ZEB_OK) status = find_rows(plan, graph, error);
    if (status == ZEB_OK) status = ocl_layout_make(graph, &build.layout, error);
    if (status != ZEB_OK) return status;
    build.buffer = calloc((size_t)build.layout.count + 1, OCL_HANDLE_BYTES);
    build.rows = calloc(tensors, OCL_HANDLE_BYTES);
    build.packed = calloc(tensors, OCL_HANDLE_BYTES);
    if (build.buffer == NULL || build.rows == NULL || build.packed == NULL) {
        status = zeb_fail(error, ZEB_ERR_MEMORY, "no memory to compile a graph of %zu tensors", tensors - 1);
        goto done;
    }
    make_buffers(&build);
    make_steps(&build);
    status = build.status;
done:
    free(build.buffer);
    free(build.rows);
    free(build.packed);
    ocl_layout_free(&build.layout);
    return status;
}

/* compile refuses what check refuses, in the same words. */
static zeb_status check_all(zeb_device *device, const zeb_graph *graph, zeb_error *error) {
    zeb_verdict *verdict = calloc((size_t)graph->node_count + 1, sizeof *verdict);
    if (verdict == NULL) return zeb_fail(error, ZEB_ERR_MEMORY, "no memory to check %u nodes", graph->node_count);
    zeb_status status = ocl_check(device, graph, verdict, error);
    for (uint32_t i = 0; status == ZEB_OK && i < graph->node_count; i++)
        if (verdict[i].supported == 0)
            status = zeb_fail(error, ZEB_ERR_UNSUPPORTED, "node '%s': %s", graph->node[i].name, verdict[i].reason);
    free(verdict);
    return status;
}

zeb_status ocl_compile(zeb_device *device, const zeb_graph *graph, zeb_plan **plan, zeb_error *error) {
    *plan = NULL;
    zeb_status status = check_all(device, graph, error);
    if (status != ZEB_OK) return status;
    zeb_plan *made = calloc(1, sizeof *made);
    if (made == NULL) return zeb_fail(error, ZEB_ERR_MEMORY, "no memory for a plan");
    made->device = device;
    status = compile_plan(made, graph, error);
    if (status == ZEB_OK)
        *plan = made;
    else
        ocl_release(made);
    return status;
}

void ocl_release(zeb_plan *plan) {
    if (plan == NULL) return;
    (void)clFinish(plan->device->queue); /* a pass may be under way, into memory that goes now */
    if (plan->last != NULL) (void)clReleaseEvent(plan->last);
    for (uint32_t i = 0; i < plan->mark_count; i++)
        (void)clReleaseEvent(plan->mark[i].event);
    for (uint32_t i = 0; i < plan->step_count; i++)
        (void)clReleaseKernel(plan->step[i].kernel);
    for (uint32_t i = 0; i < plan->memory_count; i++)
        (void)clReleaseMemObject(plan->memory[i]);
    for (uint32_t i = 0; plan->tensor != NULL && i < plan->tensor_count; i++)
        free(plan->tensor[i].row_count);
    free(plan->names);
    free(plan->tensor);
    free((void *)plan->node_name);
    free(plan->rows);
    free(plan->memory);
    free(plan->step);
    free(plan->mark);
    free(plan);
}

zeb_status ocl_memory(zeb_plan *plan, uint64_t *bytes, zeb_error *error) {
    (void)error;
    *bytes = plan->bytes;
    return ZEB_OK;
}
