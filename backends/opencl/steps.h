/* steps.h - from a node to its kernel launches. */
#ifndef OCL_STEPS_H
#define OCL_STEPS_H

#include "build.h"

/* Appends the launches of build->node. Errors stay in the build. */
void ocl_steps(ocl_build *build);

/* Attention, and the selection that it shares with the op SELECT: mark, count, add up, place. `keep` and `counts` are
 * scratch places; `importance` a buffer or NULL. */
void ocl_steps_attention(ocl_build *build);
void ocl_steps_selection(ocl_build *build, const zeb_select *select, cl_mem importance, int32_t rows, uint32_t keep,
                         uint32_t counts, uint32_t first_output);
/* The same once the rows are marked. */
void ocl_steps_survivors(ocl_build *build, int32_t rows, uint32_t keep, uint32_t counts, uint32_t first_output);

#endif
