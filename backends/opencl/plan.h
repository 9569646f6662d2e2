/* plan.h - a compiled graph: buffers and a list of kernel launches whose arguments never change. */
#ifndef OCL_PLAN_H
#define OCL_PLAN_H

#include "device.h"

/* Bytes of a cl_mem, which is an opaque pointer. */
enum { OCL_HANDLE_BYTES = sizeof(void *) };

/* What a plan remembers of a tensor. */
typedef struct ocl_tensor {
    const char *name;
    zeb_tensor_role role;
    size_t bytes;
    cl_mem memory;      /* NULL for weights */
    int32_t *row_count; /* inputs that are offsets or live counts: what was written last, for the check at submit */
} ocl_tensor;

/* One launch. */
typedef struct ocl_step {
    cl_kernel kernel;
    const char *name; /* of the kernel function */
    int32_t node;
    size_t global[2];
    size_t local[2];
} ocl_step;

/* Rows that the harness lays out: offsets and live count, both inputs, of a tensor of at most `most` rows. */
typedef struct ocl_rows {
    int32_t offsets;
    int32_t live;
    int32_t batch;
    int32_t most;
} ocl_rows;

/* One command that a profile tells of. kind as in zeb_profile_span. */
typedef struct ocl_mark {
    cl_event event;
    const char *name;
    int32_t node;
    uint32_t kind;
} ocl_mark;

struct zeb_plan {
    zeb_device *device;
    char *names; /* of tensors and nodes, end to end */
    uint32_t tensor_count;
    uint32_t node_count;
    ocl_tensor *tensor;
    const char **node_name;
    cl_mem *memory; /* everything that was allocated */
    uint32_t memory_count;
    uint32_t memory_capacity;
    uint64_t bytes;
    ocl_step *step;
    uint32_t step_count;
    uint32_t step_capacity;
    ocl_rows *rows;
    uint32_t rows_count;
    cl_mem constants; /* [tensor_count] I32: extent[0].max, read where a tensor has no live count */
    cl_mem range;     /* I32: node + 1 of one that met an id outside its table */
    bool ranged;      /* some node may write it */
    cl_int out_of_range;
    cl_event last; /* of the last command of a submitted pass, or NULL */
    ocl_mark *mark;
    uint32_t mark_count;
    uint32_t mark_capacity;
    bool marks_old; /* the pass that the marks tell of is over: the next command starts a new list */
};

ZEB_MUST_CHECK zeb_status ocl_compile(zeb_device *device, const zeb_graph *graph, zeb_plan **plan, zeb_error *error);
void ocl_release(zeb_plan *plan);

ZEB_MUST_CHECK zeb_status ocl_write(zeb_plan *plan, int32_t tensor, const void *data, size_t bytes, zeb_error *error);
ZEB_MUST_CHECK zeb_status ocl_submit(zeb_plan *plan, zeb_error *error);
ZEB_MUST_CHECK zeb_status ocl_wait(zeb_plan *plan, zeb_error *error);
ZEB_MUST_CHECK zeb_status ocl_read(zeb_plan *plan, int32_t tensor, void *data, size_t bytes, zeb_error *error);
ZEB_MUST_CHECK zeb_status ocl_memory(zeb_plan *plan, uint64_t *bytes, zeb_error *error);
ZEB_MUST_CHECK zeb_status ocl_profile(zeb_plan *plan, zeb_profile_span *span, uint32_t capacity, uint32_t *count,
                                      zeb_error *error);

#endif
