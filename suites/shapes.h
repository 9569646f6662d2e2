/* suites/shapes.h - from one JSON record to its examples; not for other rooms. */
#ifndef ZEB_SUITES_SHAPES_H
#define ZEB_SUITES_SHAPES_H

#include "suites/entry.h"

/* Adds the examples of the record, by the task's shape. A malformed one leaves its reason in record->problem and may
 * have added some, which the caller takes back; the status is for memory alone. */
ZEB_MUST_CHECK zeb_status zeb_shape_read(zeb_entry *record);

/* The one that is long: ReCoRD. */
ZEB_MUST_CHECK zeb_status zeb_shape_record(zeb_entry *record);

/* True when the record has its labels, whatever they are. */
bool zeb_shape_has_label(const zeb_task *task, const zeb_columns *columns, const json_t *root);

#endif
