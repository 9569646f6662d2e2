#include "base/json.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"

enum { JSON_BYTES_MAX = 64 << 20 };

struct zeb_json {
    json_t *root;
    char *path;
};

zeb_status zeb_json_parse(const char *path, const void *text, size_t size, zeb_json **json, zeb_error *error) {
    *json = NULL;
    if (size > JSON_BYTES_MAX)
        return zeb_fail(error, ZEB_ERR_FORMAT, "%s: %zu bytes are too many for JSON", path, size);
    json_error_t why;
    json_t *root = json_loadb(text, size, JSON_REJECT_DUPLICATES, &why);
    if (root == NULL)
        return zeb_fail(error, ZEB_ERR_FORMAT, "%s: line %d, column %d: not valid JSON: %s", path, why.line, why.column,
                        why.text);
    zeb_status status = ZEB_OK;
    if (!json_is_object(root)) {
        status = zeb_fail(error, ZEB_ERR_FORMAT, "%s: not a JSON object", path);
    } else {
        zeb_json *made = calloc(1, sizeof *made);
        char *copy = strdup(path);
        if (made == NULL || copy == NULL) {
            free(made);
            free(copy);
            status = zeb_fail(error, ZEB_ERR_MEMORY, "out of memory");
        } else {
            *made = (zeb_json){.root = root, .path = copy};
            *json = made;
        }
    }
    if (status != ZEB_OK) json_decref(root);
    return status;
}

zeb_status zeb_json_open(const char *path, zeb_json **json, zeb_error *error) {
    zeb_map map;
    *json = NULL;
    zeb_status status = zeb_map_open(path, &map, error);
    if (status == ZEB_OK) status = zeb_json_parse(path, map.data, map.size, json, error);
    zeb_map_close(&map);
    return status;
}

void zeb_json_close(zeb_json *json) {
    if (json == NULL) return;
    json_decref(json->root);
    free(json->path);
    free(json);
}

const json_t *zeb_json_root(const zeb_json *json) {
    return json->root;
}

const char *zeb_json_path(const zeb_json *json) {
    return json->path;
}

static const json_t *json_value(const zeb_json *json, const char *key) {
    const json_t *value = json_object_get(json->root, key);
    return json_is_null(value) ? NULL : value;
}

bool zeb_json_has(const zeb_json *json, const char *key) {
    return json_value(json, key) != NULL;
}

static zeb_status json_absent(const zeb_json *json, const char *key, zeb_error *error) {
    return zeb_fail(error, ZEB_ERR_FORMAT, "%s: \"%s\" is missing", json->path, key);
}

static zeb_status json_wrong(const zeb_json *json, const char *key, const char *wanted, zeb_error *error) {
    return zeb_fail(error, ZEB_ERR_FORMAT, "%s: \"%s\" is not %s", json->path, key, wanted);
}

zeb_status zeb_json_i64(const zeb_json *json, const char *key, int64_t least, int64_t most, const int64_t *fallback,
                        int64_t *value, zeb_error *error) {
    const json_t *at = json_value(json, key);
    if (at == NULL) {
        if (fallback == NULL) return json_absent(json, key, error);
        *value = *fallback;
        return ZEB_OK;
    }
    if (!json_is_integer(at)) return json_wrong(json, key, "an integer", error);
    int64_t got = json_integer_value(at);
    if (got < least || got > most)
        return zeb_fail(error, ZEB_ERR_FORMAT, "%s: \"%s\" is %lld, which is not within %lld..%lld", json->path, key,
                        (long long)got, (long long)least, (long long)most);
    *value = got;
    return ZEB_OK;
}

zeb_status zeb_json_f64(const zeb_json *json, const char *key, const double *fallback, double *value,
                        zeb_error *error) {
    const json_t *at = json_value(json, key);
    if (at == NULL) {
        if (fallback == NULL) return json_absent(json, key, error);
        *value = *fallback;
        return ZEB_OK;
    }
    if (!json_is_number(at)) return json_wrong(json, key, "a number", error);
    *value = json_number_value(at);
    return ZEB_OK;
}

zeb_status zeb_json_bool(const zeb_json *json, const char *key, const bool *fallback, bool *value, zeb_error *error) {
    const json_t *at = json_value(json, key);
    if (at == NULL) {
        if (fallback == NULL) return json_absent(json, key, error);
        *value = *fallback;
        return ZEB_OK;
    }
    if (!json_is_boolean(at)) return json_wrong(json, key, "true or false", error);
    *value = json_is_true(at);
    return ZEB_OK;
}

zeb_status zeb_json_text(const zeb_json *json, const char *key, const char *fallback, const char **value,
                         zeb_error *error) {
    const json_t *at = json_value(json, key);
    if (at == NULL) {
        if (fallback == NULL) return json_absent(json, key, error);
        *value = fallback;
        return ZEB_OK;
    }
    if (!json_is_string(at)) return json_wrong(json, key, "a string", error);
    *value = json_string_value(at);
    return ZEB_OK;
}
