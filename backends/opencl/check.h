/* check.h - which nodes this plugin can do, and whether a graph is well formed enough to ask. */
#ifndef OCL_CHECK_H
#define OCL_CHECK_H

#include "device.h"

/* Fills verdict[node_count]. ZEB_ERR_ARGUMENT for a malformed graph, naming node or tensor. */
ZEB_MUST_CHECK zeb_status ocl_check(zeb_device *device, const zeb_graph *graph, zeb_verdict *verdict, zeb_error *error);

#endif
