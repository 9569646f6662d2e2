/* kernels.h - the OpenCL C sources inside the plugin, in the order in which they are compiled. */
#ifndef OCL_KERNELS_H
#define OCL_KERNELS_H

#include <stddef.h>

typedef struct ocl_source {
    const char *name;
    const char *text; /* not terminated */
    size_t size;
} ocl_source;

extern const ocl_source ocl_sources[];
extern const unsigned ocl_source_count;

#endif
