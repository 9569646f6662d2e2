/* intercept.h - stands between the plugin and libOpenCL: the program's own definitions of these calls come first when
 * the loader binds the plugin, and hand over to the real ones. What the plugin does is thus seen without asking it. */
#ifndef OPENCL_TEST_INTERCEPT_H
#define OPENCL_TEST_INTERCEPT_H

#include <CL/cl.h>
#include <stdbool.h>

typedef struct intercept {
    unsigned kernels;              /* launches */
    unsigned waits;                /* calls in which the host waits for the device */
    unsigned copies_to_host;       /* queued or done */
    unsigned kernels_at_last_copy; /* launches before the last copy to the host was queued */
    bool hold;                     /* put a gate before the next command of a submit: the device may not start */
    cl_event gate;
} intercept;

extern intercept seen;

#endif
