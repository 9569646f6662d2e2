/* base/json.h - JSON files read strictly: what a key must hold is said where it is read, and every complaint names the
 * file and the key.
 *
 * Duplicate keys and trailing text are errors. Integers are JSON integers (no 3.0, no "3"). A JSON null counts as
 * absent. Not for several threads at a time while it is opened or closed; reading is free of side effects. */
#ifndef ZEB_BASE_JSON_H
#define ZEB_BASE_JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "zeb/status.h"

typedef struct zeb_json zeb_json;

/* Parses a file of at most 64 MiB whose root is an object. Errors: ZEB_ERR_IO, or ZEB_ERR_FORMAT with line and column.
 */
ZEB_MUST_CHECK zeb_status zeb_json_open(const char *path, zeb_json **json, zeb_error *error);
/* The same from memory; path is only for messages. */
ZEB_MUST_CHECK zeb_status zeb_json_parse(const char *path, const void *text, size_t size, zeb_json **json,
                                         zeb_error *error);
void zeb_json_close(zeb_json *json); /* takes NULL; every value and string read from it dies */

const json_t *zeb_json_root(const zeb_json *json);
const char *zeb_json_path(const zeb_json *json);
/* True for a key that is there and not null. */
bool zeb_json_has(const zeb_json *json, const char *key);

/* The value at a top-level key. fallback is used when the key is absent; NULL makes the key required. */
ZEB_MUST_CHECK zeb_status zeb_json_i64(const zeb_json *json, const char *key, int64_t least, int64_t most,
                                       const int64_t *fallback, int64_t *value, zeb_error *error);
ZEB_MUST_CHECK zeb_status zeb_json_f64(const zeb_json *json, const char *key, const double *fallback, double *value,
                                       zeb_error *error);
ZEB_MUST_CHECK zeb_status zeb_json_bool(const zeb_json *json, const char *key, const bool *fallback, bool *value,
                                        zeb_error *error);
/* The text lives as long as the document. */
ZEB_MUST_CHECK zeb_status zeb_json_text(const zeb_json *json, const char *key, const char *fallback, const char **value,
                                        zeb_error *error);

#endif
