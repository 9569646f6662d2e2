/* suites/glue/glue.h - the table of GLUE's tasks (https://gluebenchmark.com/tasks), in the order of its paper. */
#ifndef ZEB_SUITES_GLUE_GLUE_H
#define ZEB_SUITES_GLUE_GLUE_H

#include "suites/task.h"

extern const zeb_task zeb_glue_task[];
extern const size_t zeb_glue_count;

#endif
