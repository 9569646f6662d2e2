/* suites/shapes.h - from one JSON record to its examples; not for other rooms. */
#ifndef ZEB_SUITES_SHAPES_H
#define ZEB_SUITES_SHAPES_H

#include <jansson.h>

#include "suites/reader.h"

/* A record being read. */
typedef struct zeb_record {
    zeb_reader *reader;
    const json_t *root;
    size_t first; /* examples of the dataset before it */
    char problem[192]; /* why it is malformed; "" while it is not */
    zeb_error *error;
} zeb_record;

/* Adds the examples of the record, by the task's shape. A malformed one leaves its reason in record->problem and may
 * have added some, which the caller takes back; the status is for memory alone. */
ZEB_MUST_CHECK zeb_status zeb_shape_read(zeb_record *record);

/* True when the record has its labels, whatever they are. */
bool zeb_shape_has_label(const zeb_task *task, const zeb_columns *columns, const json_t *root);

#endif
