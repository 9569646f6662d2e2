#include "models/safetensors.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/arena.h"
#include "base/file.h"

enum { LENGTH_BYTES = 8, HEADER_MAX = 100000000 /* the format's own bound */ };

static const struct {
    const char *name;
    size_t bytes;
} dtype_table[] = {
    [ZEB_STORED_BOOL] = {"BOOL", 1},       [ZEB_STORED_U8] = {"U8", 1},           [ZEB_STORED_I8] = {"I8", 1},
    [ZEB_STORED_F8_E5M2] = {"F8_E5M2", 1}, [ZEB_STORED_F8_E4M3] = {"F8_E4M3", 1}, [ZEB_STORED_I16] = {"I16", 2},
    [ZEB_STORED_U16] = {"U16", 2},         [ZEB_STORED_F16] = {"F16", 2},         [ZEB_STORED_BF16] = {"BF16", 2},
    [ZEB_STORED_I32] = {"I32", 4},         [ZEB_STORED_U32] = {"U32", 4},         [ZEB_STORED_F32] = {"F32", 4},
    [ZEB_STORED_F64] = {"F64", 8},         [ZEB_STORED_I64] = {"I64", 8},         [ZEB_STORED_U64] = {"U64", 8},
};

struct zeb_safetensors {
    zeb_map map;
    zeb_arena *arena;
    json_t *header; /* owns the names and the metadata */
    char *path;
    const unsigned char *data; /* where offsets count from */
    size_t data_bytes;
    zeb_stored_tensor *tensor; /* by place in the file */
    const zeb_stored_tensor **by_name;
    size_t count;
};

const char *zeb_stored_dtype_name(zeb_stored_dtype dtype) {
    return (size_t)dtype < sizeof dtype_table / sizeof dtype_table[0] ? dtype_table[dtype].name : "?";
}

size_t zeb_stored_dtype_bytes(zeb_stored_dtype dtype) {
    return (size_t)dtype < sizeof dtype_table / sizeof dtype_table[0] ? dtype_table[dtype].bytes : 0;
}

const char *zeb_stored_shape(const zeb_stored_tensor *tensor, char *text, size_t capacity) {
    size_t used = 0;
    for (uint32_t i = 0; i <= tensor->rank && used < capacity; i++) {
        int wrote = i == tensor->rank ? snprintf(text + used, capacity - used, "%s]", i == 0 ? "[" : "")
                                      : snprintf(text + used, capacity - used, "%c%lld", i == 0 ? '[' : ',',
                                                 (long long)tensor->extent[i]);
        used += wrote > 0 ? (size_t)wrote : 0;
    }
    return text;
}

/* A complaint about one tensor; a long name is cut so that the reason still fits. */
#define TENSOR_FAIL(file, name, status, format, ...)                                                                   \
    zeb_fail(error, status, "%s: tensor \"%.120s\": " format, (file)->path, name, __VA_ARGS__)

static zeb_status read_dtype(const zeb_safetensors *file, const json_t *entry, zeb_stored_tensor *tensor,
                             zeb_error *error) {
    const char *text = json_string_value(json_object_get(entry, "dtype"));
    if (text == NULL) return TENSOR_FAIL(file, tensor->name, ZEB_ERR_FORMAT, "\"%s\" is not a string", "dtype");
    for (size_t i = 0; i < sizeof dtype_table / sizeof dtype_table[0]; i++) {
        if (strcmp(text, dtype_table[i].name) == 0) {
            tensor->dtype = (zeb_stored_dtype)i;
            return ZEB_OK;
        }
    }
    return TENSOR_FAIL(file, tensor->name, ZEB_ERR_UNSUPPORTED, "element type \"%.40s\" is not known to zeb", text);
}

static zeb_status read_shape(const zeb_safetensors *file, const json_t *entry, zeb_stored_tensor *tensor,
                             zeb_error *error) {
    const json_t *shape = json_object_get(entry, "shape");
    if (!json_is_array(shape))
        return TENSOR_FAIL(file, tensor->name, ZEB_ERR_FORMAT, "\"%s\" is not an array", "shape");
    size_t rank = json_array_size(shape);
    if (rank > ZEB_STORED_RANK_MAX)
        return TENSOR_FAIL(file, tensor->name, ZEB_ERR_UNSUPPORTED, "%zu dimensions are more than zeb reads (%d)", rank,
                           ZEB_STORED_RANK_MAX);
    tensor->rank = (uint32_t)rank;
    tensor->count = 1;
    for (size_t i = 0; i < rank; i++) {
        const json_t *extent = json_array_get(shape, i);
        if (!json_is_integer(extent) || json_integer_value(extent) < 0)
            return TENSOR_FAIL(file, tensor->name, ZEB_ERR_FORMAT, "extent %zu of its shape is not a count", i);
        tensor->extent[i] = json_integer_value(extent);
        if (__builtin_mul_overflow(tensor->count, tensor->extent[i], &tensor->count))
            return TENSOR_FAIL(file, tensor->name, ZEB_ERR_FORMAT,
                               "its shape has more than 2^63 elements at extent %zu", i);
    }
    return ZEB_OK;
}

static zeb_status read_place(const zeb_safetensors *file, const json_t *entry, zeb_stored_tensor *tensor,
                             zeb_error *error) {
    const json_t *offsets = json_object_get(entry, "data_offsets");
    const json_t *first = json_array_get(offsets, 0);
    const json_t *last = json_array_get(offsets, 1);
    if (json_array_size(offsets) != 2 || !json_is_integer(first) || !json_is_integer(last))
        return TENSOR_FAIL(file, tensor->name, ZEB_ERR_FORMAT, "\"%s\" is not a pair of integers", "data_offsets");
    int64_t begin = json_integer_value(first), end = json_integer_value(last);
    if (begin < 0 || end < begin)
        return TENSOR_FAIL(file, tensor->name, ZEB_ERR_FORMAT, "its bytes %lld to %lld are not a range",
                           (long long)begin, (long long)end);
    if ((uint64_t)end > file->data_bytes)
        return TENSOR_FAIL(file, tensor->name, ZEB_ERR_FORMAT,
                           "its bytes %lld to %lld reach past the end of the file, which holds %zu (is it truncated?)",
                           (long long)begin, (long long)end, file->data_bytes);
    uint64_t wanted;
    char shape[160];
    size_t element = zeb_stored_dtype_bytes(tensor->dtype);
    if (__builtin_mul_overflow((uint64_t)tensor->count, (uint64_t)element, &wanted) ||
        wanted != (uint64_t)(end - begin))
        return TENSOR_FAIL(file, tensor->name, ZEB_ERR_FORMAT, "shape %s of %s does not fit its %lld bytes",
                           zeb_stored_shape(tensor, shape, sizeof shape), zeb_stored_dtype_name(tensor->dtype),
                           (long long)(end - begin));
    tensor->data = file->data + begin;
    tensor->bytes = (size_t)(end - begin);
    return ZEB_OK;
}

static zeb_status read_tensor(const zeb_safetensors *file, const char *name, const json_t *entry,
                              zeb_stored_tensor *tensor, zeb_error *error) {
    *tensor = (zeb_stored_tensor){.name = name};
    for (const char *c = name; *c != '\0'; c++) {
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            return zeb_fail(error, ZEB_ERR_FORMAT, "%s: a tensor's name holds a control character", file->path);
    }
    if (!json_is_object(entry)) return TENSOR_FAIL(file, name, ZEB_ERR_FORMAT, "%s", "its entry is not an object");
    zeb_status status = read_dtype(file, entry, tensor, error);
    if (status == ZEB_OK) status = read_shape(file, entry, tensor, error);
    if (status == ZEB_OK) status = read_place(file, entry, tensor, error);
    return status;
}

static int order_place(const void *left, const void *right) {
    const zeb_stored_tensor *a = left, *b = right;
    if (a->data != b->data) return a->data < b->data ? -1 : 1;
    if (a->bytes != b->bytes) return a->bytes < b->bytes ? -1 : 1;
    return strcmp(a->name, b->name);
}

static int order_name(const void *left, const void *right) {
    const zeb_stored_tensor *const *a = left, *const *b = right;
    return strcmp((*a)->name, (*b)->name);
}

/* Sorted by place, the tensors must fill the data region exactly. */
static zeb_status check_places(const zeb_safetensors *file, zeb_error *error) {
    const unsigned char *at = file->data;
    for (size_t i = 0; i < file->count; i++) {
        const zeb_stored_tensor *tensor = &file->tensor[i];
        if (tensor->data < at)
            return TENSOR_FAIL(file, tensor->name, ZEB_ERR_FORMAT, "its bytes overlap those of \"%.120s\"",
                               file->tensor[i - 1].name);
        if (tensor->data > at)
            return TENSOR_FAIL(file, tensor->name, ZEB_ERR_FORMAT,
                               "%zu bytes before it belong to no tensor, which the format forbids",
                               (size_t)(tensor->data - at));
        at += tensor->bytes;
    }
    size_t rest = (size_t)(file->data + file->data_bytes - at);
    if (rest > 0)
        return zeb_fail(error, ZEB_ERR_FORMAT, "%s: the last %zu bytes belong to no tensor, which the format forbids",
                        file->path, rest);
    return ZEB_OK;
}

static zeb_status check_metadata(const zeb_safetensors *file, const json_t *metadata, zeb_error *error) {
    const char *key;
    const json_t *value;
    if (!json_is_object(metadata))
        return zeb_fail(error, ZEB_ERR_FORMAT, "%s: \"__metadata__\" is not an object", file->path);
    void *iterator = json_object_iter((json_t *)(uintptr_t)metadata);
    for (; iterator != NULL; iterator = json_object_iter_next((json_t *)(uintptr_t)metadata, iterator)) {
        key = json_object_iter_key(iterator);
        value = json_object_iter_value(iterator);
        if (!json_is_string(value))
            return zeb_fail(error, ZEB_ERR_FORMAT, "%s: \"__metadata__\": \"%.80s\" is not a string", file->path, key);
    }
    return ZEB_OK;
}

static zeb_status read_tensors(zeb_safetensors *file, zeb_error *error) {
    void *memory;
    size_t entries = json_object_size(file->header);
    zeb_status status = zeb_arena_alloc(file->arena, entries, sizeof *file->tensor, &memory, error);
    if (status != ZEB_OK) return status;
    file->tensor = memory;
    status = zeb_arena_alloc(file->arena, entries, sizeof *file->by_name, &memory, error);
    if (status != ZEB_OK) return status;
    file->by_name = memory;
    void *iterator = json_object_iter(file->header);
    for (; iterator != NULL; iterator = json_object_iter_next(file->header, iterator)) {
        const char *name = json_object_iter_key(iterator);
        const json_t *entry = json_object_iter_value(iterator);
        if (strcmp(name, "__metadata__") == 0)
            status = check_metadata(file, entry, error);
        else
            status = read_tensor(file, name, entry, &file->tensor[file->count++], error);
        if (status != ZEB_OK) return status;
    }
    if (file->count > 1) qsort(file->tensor, file->count, sizeof *file->tensor, order_place);
    for (size_t i = 0; i < file->count; i++)
        file->by_name[i] = &file->tensor[i];
    if (file->count > 1) qsort(file->by_name, file->count, sizeof *file->by_name, order_name);
    return check_places(file, error);
}

static zeb_status read_header(zeb_safetensors *file, zeb_error *error) {
    if (file->map.size < LENGTH_BYTES)
        return zeb_fail(error, ZEB_ERR_FORMAT, "%s: %zu bytes are too few for a safetensors file", file->path,
                        file->map.size);
    uint64_t length = 0;
    for (int i = LENGTH_BYTES - 1; i >= 0; i--)
        length = length << 8 | file->map.data[i];
    if (length > file->map.size - LENGTH_BYTES)
        return zeb_fail(error, ZEB_ERR_FORMAT,
                        "%s: its header claims %llu bytes, but the file has %zu (truncated, or not safetensors)",
                        file->path, (unsigned long long)length, file->map.size);
    if (length > HEADER_MAX)
        return zeb_fail(error, ZEB_ERR_FORMAT, "%s: a header of %llu bytes is over the format's bound of %d",
                        file->path, (unsigned long long)length, HEADER_MAX);
    const char *text = (const char *)file->map.data + LENGTH_BYTES;
    json_error_t why;
    file->header = json_loadb(text, (size_t)length, JSON_REJECT_DUPLICATES, &why);
    if (file->header == NULL)
        return zeb_fail(error, ZEB_ERR_FORMAT, "%s: its header is not valid JSON: %s", file->path, why.text);
    if (!json_is_object(file->header))
        return zeb_fail(error, ZEB_ERR_FORMAT, "%s: its header is not a JSON object", file->path);
    file->data = file->map.data + LENGTH_BYTES + (size_t)length;
    file->data_bytes = file->map.size - LENGTH_BYTES - (size_t)length;
    return read_tensors(file, error);
}

zeb_status zeb_safetensors_open(const char *path, zeb_safetensors **file, zeb_error *error) {
    *file = NULL;
    zeb_safetensors *made = calloc(1, sizeof *made);
    if (made == NULL) return zeb_fail(error, ZEB_ERR_MEMORY, "out of memory");
    zeb_status status = zeb_arena_create(&made->arena, error);
    if (status == ZEB_OK) status = zeb_arena_copy(made->arena, path, strlen(path), &made->path, error);
    if (status == ZEB_OK) status = zeb_map_open(path, &made->map, error);
    if (status == ZEB_OK) status = read_header(made, error);
    if (status == ZEB_OK)
        *file = made;
    else
        zeb_safetensors_close(made);
    return status;
}

void zeb_safetensors_close(zeb_safetensors *file) {
    if (file == NULL) return;
    json_decref(file->header);
    zeb_map_close(&file->map);
    zeb_arena_destroy(file->arena);
    free(file);
}

size_t zeb_safetensors_count(const zeb_safetensors *file) {
    return file->count;
}

const zeb_stored_tensor *zeb_safetensors_at(const zeb_safetensors *file, size_t index) {
    return index < file->count ? &file->tensor[index] : NULL;
}

const zeb_stored_tensor *zeb_safetensors_find(const zeb_safetensors *file, const char *name) {
    size_t low = 0, high = file->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(name, file->by_name[middle]->name);
        if (order == 0) return file->by_name[middle];
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

const char *zeb_safetensors_metadata(const zeb_safetensors *file, const char *key) {
    return json_string_value(json_object_get(json_object_get(file->header, "__metadata__"), key));
}

void zeb_safetensors_forget(const zeb_safetensors *file) {
    if (file->map.size > 0) (void)madvise((void *)(uintptr_t)file->map.data, file->map.size, MADV_DONTNEED);
}

const char *zeb_safetensors_path(const zeb_safetensors *file) {
    return file->path;
}

size_t zeb_safetensors_bytes(const zeb_safetensors *file) {
    return file->map.size;
}
