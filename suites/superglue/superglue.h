/* suites/superglue/superglue.h - the table of SuperGLUE's tasks (https://super.gluebenchmark.com/tasks). */
#ifndef ZEB_SUITES_SUPERGLUE_SUPERGLUE_H
#define ZEB_SUITES_SUPERGLUE_SUPERGLUE_H

#include "suites/task.h"

extern const zeb_task zeb_superglue_task[];
extern const size_t zeb_superglue_count;

#endif
