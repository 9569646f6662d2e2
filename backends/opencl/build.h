/* build.h - a plan under construction: the words in which steps*.c write down an op's launches.
 *
 * The first error stays in the build and every later call does nothing, so that a launch reads as a list. */
#ifndef OCL_BUILD_H
#define OCL_BUILD_H

#include "memory.h"
#include "plan.h"

typedef struct ocl_build {
    zeb_plan *plan;
    const zeb_graph *graph;
    const zeb_node *node; /* the one being compiled */
    int32_t node_index;
    ocl_layout layout;
    cl_mem *buffer; /* [layout.count] */
    cl_mem *rows;   /* [tensor_count] weights as they are, made when first asked for */
    cl_mem *packed; /* [tensor_count] weights for the linear kernel */
    ocl_step *step; /* the launch being described */
    cl_uint argument;
    zeb_status status;
    zeb_error *error;
} ocl_build;

/* A buffer of the plan, zeroed, or holding data. NULL after an error. */
cl_mem ocl_build_memory(ocl_build *build, size_t bytes, const void *data, const char *about);

/* Begins and ends a launch over columns x rows work-items (rounded up to whole groups; kernels look for themselves). */
void ocl_step_begin(ocl_build *build, const char *kernel);
void ocl_step_end(ocl_build *build, size_t columns, size_t rows);

/* The next argument. */
void ocl_arg_memory(ocl_build *build, cl_mem memory); /* NULL: a null pointer */
void ocl_arg_int(ocl_build *build, int64_t value);
void ocl_arg_uint(ocl_build *build, uint32_t value);
void ocl_arg_float(ocl_build *build, float value);
/* By tensor id; ZEB_NONE is a null pointer. */
void ocl_arg_tensor(ocl_build *build, int32_t tensor);
void ocl_arg_weight(ocl_build *build, int32_t tensor);  /* as binary32 rows */
void ocl_arg_packed(ocl_build *build, int32_t tensor);  /* for the linear kernel */
void ocl_arg_scratch(ocl_build *build, uint32_t place); /* of the node */
void ocl_arg_offsets(ocl_build *build, int32_t rows);   /* offsets of a row space and its number of sequences */
void ocl_arg_live(ocl_build *build, int32_t rows);      /* live, at, most */
void ocl_arg_range(ocl_build *build);                   /* range, node */

/* The extents of a tensor; its number of sequences. */
int64_t ocl_extent(const ocl_build *build, int32_t tensor, uint32_t i);
int64_t ocl_batch(const ocl_build *build, int32_t rows);

#endif
