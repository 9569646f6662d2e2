/* zeb/host_plan.h - a plan whose tensors all lie in host memory: the part that simple plugins have in common.
 *
 * Header-only, so that a plugin still links nothing. zeb_host_plan_create copies the graph (a plan must not keep the
 * harness's) and allocates every tensor at its maximum extents; write and read are the backend calls of zeb/plugin.h
 * with all their checks; zeb_host_live says how many rows are there in this pass. Weights are not copied: their data
 * stays mapped until release. Not for several threads at a time. */
#ifndef ZEB_HOST_PLAN_H
#define ZEB_HOST_PLAN_H

#include <stdlib.h>
#include <string.h>

#include "zeb/graph.h"
#include "zeb/status.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct zeb_host_plan {
    uint32_t tensor_count, node_count;
    zeb_tensor *tensor; /* copies, names included */
    zeb_node *node;
    void **data; /* [tensor_count] 64-byte aligned; weights point into the checkpoint */
    char *names;
    uint64_t bytes; /* allocated for tensors */
} zeb_host_plan;

static inline void zeb_host_plan_destroy(zeb_host_plan *plan) { /* takes a zeroed one */
    for (uint32_t i = 0; plan->data != NULL && plan->tensor != NULL && i < plan->tensor_count; ++i)
        if (plan->tensor[i].role != ZEB_ROLE_WEIGHT) free(plan->data[i]);
    free(plan->tensor);
    free(plan->node);
    free(plan->data);
    free(plan->names);
    plan->tensor = NULL;
    plan->node = NULL;
    plan->data = NULL;
    plan->names = NULL;
    plan->tensor_count = plan->node_count = 0;
    plan->bytes = 0;
}

/* Bytes up to the next multiple of 64, as aligned_alloc wants them. */
static inline size_t zeb_host_rounded(size_t bytes) {
    return (bytes + 63) / 64 * 64;
}

/* Copies the names behind each other and lets tensors and nodes point there. */
static inline int zeb_host_plan_names(zeb_host_plan *plan) {
    size_t length = 1;
    for (uint32_t i = 0; i < plan->tensor_count; ++i)
        length += strlen(plan->tensor[i].name) + 1;
    for (uint32_t i = 0; i < plan->node_count; ++i)
        length += strlen(plan->node[i].name) + 1;
    plan->names = (char *)malloc(length);
    if (plan->names == NULL) return 0;
    char *at = plan->names;
    for (uint32_t i = 0; i < plan->tensor_count + plan->node_count; ++i) {
        const char **name = i < plan->tensor_count ? &plan->tensor[i].name : &plan->node[i - plan->tensor_count].name;
        size_t size = strlen(*name) + 1;
        memcpy(at, *name, size);
        *name = at;
        at += size;
    }
    return 1;
}

static inline zeb_status zeb_host_plan_create(const zeb_graph *graph, zeb_host_plan *plan, zeb_error *error) {
    memset(plan, 0, sizeof *plan);
    plan->tensor_count = graph->tensor_count;
    plan->node_count = graph->node_count;
    plan->tensor = (zeb_tensor *)calloc(graph->tensor_count + 1, sizeof *plan->tensor);
    plan->node = (zeb_node *)calloc(graph->node_count + 1, sizeof *plan->node);
    plan->data = (void **)calloc(graph->tensor_count + 1, sizeof *plan->data);
    int there = plan->tensor != NULL && plan->node != NULL && plan->data != NULL;
    if (there && graph->tensor_count > 0)
        memcpy(plan->tensor, graph->tensor, graph->tensor_count * sizeof *plan->tensor);
    if (there && graph->node_count > 0) memcpy(plan->node, graph->node, graph->node_count * sizeof *plan->node);
    there = there && zeb_host_plan_names(plan);
    for (uint32_t i = 0; there && i < graph->tensor_count; ++i) {
        const zeb_tensor *tensor = &graph->tensor[i];
        if (tensor->role == ZEB_ROLE_WEIGHT) {
            memcpy(&plan->data[i], &tensor->data, sizeof tensor->data);
            continue;
        }
        plan->data[i] = aligned_alloc(64, zeb_host_rounded(tensor->bytes));
        there = plan->data[i] != NULL;
        if (there) memset(plan->data[i], 0, zeb_host_rounded(tensor->bytes));
        plan->bytes += tensor->bytes;
    }
    if (there) return ZEB_OK;
    zeb_host_plan_destroy(plan);
    return zeb_fail(error, ZEB_ERR_MEMORY, "out of memory for the plan's tensors");
}

/* The checks of write and read. */
static inline zeb_status zeb_host_plan_access(const zeb_host_plan *plan, int32_t tensor, size_t bytes, const char *what,
                                              zeb_error *error) {
    if (tensor < 0 || (uint32_t)tensor >= plan->tensor_count)
        return zeb_fail(error, ZEB_ERR_ARGUMENT, "%s: the plan has no tensor %d", what, (int)tensor);
    const zeb_tensor *about = &plan->tensor[tensor];
    if (about->role != ZEB_ROLE_INPUT && about->role != ZEB_ROLE_OUTPUT)
        return zeb_fail(error, ZEB_ERR_ARGUMENT, "%s: tensor '%s' is no input or output", what, about->name);
    if (bytes > about->bytes)
        return zeb_fail(error, ZEB_ERR_RANGE, "%s: %zu bytes, but tensor '%s' has %zu", what, bytes, about->name,
                        about->bytes);
    return ZEB_OK;
}

static inline zeb_status zeb_host_plan_write(zeb_host_plan *plan, int32_t tensor, const void *data, size_t bytes,
                                             zeb_error *error) {
    zeb_status status = zeb_host_plan_access(plan, tensor, bytes, "write", error);
    if (status == ZEB_OK && bytes > 0) memcpy(plan->data[tensor], data, bytes);
    return status;
}

static inline zeb_status zeb_host_plan_read(const zeb_host_plan *plan, int32_t tensor, void *data, size_t bytes,
                                            zeb_error *error) {
    zeb_status status = zeb_host_plan_access(plan, tensor, bytes, "read", error);
    if (status == ZEB_OK && bytes > 0) memcpy(data, plan->data[tensor], bytes);
    return status;
}

/* Rows of a tensor that are there in this pass: its live count, or the maximum. */
static inline int64_t zeb_host_live(const zeb_host_plan *plan, int32_t tensor) {
    const zeb_extent *extent = &plan->tensor[tensor].extent[0];
    return extent->live == ZEB_NONE ? extent->max : ((const int32_t *)plan->data[extent->live])[0];
}

/* The row spaces that the harness wrote make sense: offsets start at 0, never fall, end at the live count, which is
 * within the maximum. Called at the start of a pass. */
static inline zeb_status zeb_host_plan_rows_check(const zeb_host_plan *plan, zeb_error *error) {
    for (uint32_t i = 0; i < plan->tensor_count; ++i) {
        const zeb_tensor *rows = &plan->tensor[i];
        if (rows->offsets == ZEB_NONE || plan->tensor[rows->offsets].role != ZEB_ROLE_INPUT) continue;
        const zeb_tensor *about = &plan->tensor[rows->offsets];
        const int32_t *offsets = (const int32_t *)plan->data[rows->offsets];
        int64_t batch = about->extent[0].max - 1, live = zeb_host_live(plan, (int32_t)i);
        int fine = offsets[0] == 0 && offsets[batch] == live && live <= rows->extent[0].max;
        for (int64_t b = 0; fine && b < batch; ++b)
            fine = offsets[b] <= offsets[b + 1];
        if (!fine)
            return zeb_fail(error, ZEB_ERR_RANGE,
                            "'%s' must rise from 0 to the live count, %lld, of '%s', at most %lld", about->name,
                            (long long)live, rows->name, (long long)rows->extent[0].max);
    }
    return ZEB_OK;
}

#ifdef __cplusplus
}
#endif

#endif
