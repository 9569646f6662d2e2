/* template - a backend to copy. It does two ops, LINEAR and NORM in F32, one after the other on the calling thread; the
 * rest it refuses with a reason. Read plugin.c from the end: the table, then compile, then submit. */
#ifndef ZEB_TEMPLATE_H
#define ZEB_TEMPLATE_H

#include "zeb/host_plan.h"
#include "zeb/number.h"
#include "zeb/plugin.h"

/* A plan is yours: whatever compile prepared so that submit has nothing left to find out. This one keeps tensors in
 * host memory (zeb/host_plan.h) and a packed copy of each node's constants. A GPU's would hold buffers, kernels and a
 * recorded command buffer. */
typedef struct template_packed {
    float *w;    /* LINEAR: the matrix as F32 [N,K]; NORM: gamma [D] */
    float *bias; /* LINEAR: [N]; NORM: beta [D]; zeros where the graph gives none */
    double epsilon;
} template_packed;

struct zeb_plan {
    zeb_host_plan host;
    template_packed *packed; /* [node_count] */
};

/* ops.c: each writes the live rows of output 0. */
void template_linear(zeb_plan *plan, const zeb_node *node, const template_packed *packed);
void template_norm(zeb_plan *plan, const zeb_node *node, const template_packed *packed);

#endif
