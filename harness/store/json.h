/* store/json.h - rows and query results as JSON values. Private to the room. */
#ifndef ZEB_STORE_JSON_H
#define ZEB_STORE_JSON_H

#include <jansson.h>

#include "store/internal.h"

/* How JSON is written everywhere: 15 digits are what a double surely holds. */
enum { ZEB_JSON_FLAGS = JSON_REAL_PRECISION(15) };

/* The object of a row: the contract's fields first, every key always there, unknown null. NULL: no memory. */
json_t *zeb_row_json(const zeb_row *row);

/* The object of a run: provenance. NULL: no memory. */
json_t *zeb_run_json(const zeb_run_info *run);

/* A view's lines as an array of objects. */
ZEB_MUST_CHECK zeb_status zeb_view_json(zeb_store *store, const char *view, json_t **array, zeb_error *error);

/* Sets key to value, which may be NULL where there was no memory: then *whole becomes false. Steals the value. */
void zeb_json_put(json_t *object, const char *key, json_t *value, bool *whole);

/* Text as JSON: NULL and "" become null, bad UTF-8 '?'. */
json_t *zeb_json_text_or_null(const char *text);

#endif
