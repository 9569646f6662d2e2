#include "models/checkpoint.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"

struct zeb_checkpoint {
    zeb_arena *arena;
    char *path;
    size_t folder; /* length of the folder's path and the slash behind it */
    zeb_safetensors **file;
    size_t files;
};

static zeb_status open_single(zeb_checkpoint *made, zeb_error *error) {
    void *memory;
    zeb_status status = zeb_arena_alloc(made->arena, 1, sizeof *made->file, &memory, error);
    if (status != ZEB_OK) return status;
    made->file = memory;
    status = zeb_safetensors_open(made->path, &made->file[0], error);
    if (status == ZEB_OK) made->files = 1;
    return status;
}

/* A path from the folder down, or from the folder above it, so that checkpoints beside each other can share a shard.
 * Nothing leads further up, and no part is empty or "." (one file must not have two spellings). */
static bool is_shard_name(const char *name) {
    if (strncmp(name, "../", 3) == 0) name += 3;
    while (true) {
        size_t length = strcspn(name, "/");
        if (length == 0 || (length == 1 && name[0] == '.') || (length == 2 && name[0] == '.' && name[1] == '.'))
            return false;
        if (name[length] == '\0') return true;
        name += length + 1;
    }
}

/* The file that the index names for a tensor, opened the first time. */
static zeb_status shard_of(zeb_checkpoint *made, const char *folder, const char *tensor, const char *name,
                           const zeb_safetensors **file, zeb_error *error) {
    if (name == NULL || !is_shard_name(name))
        return zeb_fail(error, ZEB_ERR_FORMAT,
                        "%s: tensor \"%.120s\": \"%.80s\" is not the name of a file in this folder or beside it",
                        made->path, tensor, name != NULL ? name : "");
    char *path;
    zeb_status status = zeb_path_join(made->arena, folder, name, &path, error);
    if (status != ZEB_OK) return status;
    for (size_t i = 0; i < made->files; i++) {
        if (strcmp(zeb_safetensors_path(made->file[i]), path) == 0) {
            *file = made->file[i];
            return ZEB_OK;
        }
    }
    if (!zeb_path_is_file(path))
        return zeb_fail(error, ZEB_ERR_NOT_FOUND, "%s: tensor \"%.120s\" should be in %s, and there is no such file",
                        made->path, tensor, path);
    status = zeb_safetensors_open(path, &made->file[made->files], error);
    if (status == ZEB_OK) *file = made->file[made->files++];
    return status;
}

/* No tensor may stand in two shards: which one would be meant? */
static zeb_status check_shards(const zeb_checkpoint *made, zeb_error *error) {
    for (size_t i = 1; i < made->files; i++) {
        for (size_t k = 0; k < zeb_safetensors_count(made->file[i]); k++) {
            const char *name = zeb_safetensors_at(made->file[i], k)->name;
            for (size_t before = 0; before < i; before++) {
                if (zeb_safetensors_find(made->file[before], name) != NULL)
                    return zeb_fail(error, ZEB_ERR_FORMAT, "%s and %s both hold tensor \"%.120s\"",
                                    zeb_safetensors_path(made->file[before]), zeb_safetensors_path(made->file[i]),
                                    name);
            }
        }
    }
    return ZEB_OK;
}

static int order_path(const void *left, const void *right) {
    zeb_safetensors *const *a = left, *const *b = right;
    return strcmp(zeb_safetensors_path(*a), zeb_safetensors_path(*b));
}

static zeb_status open_shards(zeb_checkpoint *made, const char *folder, const zeb_json *index, zeb_error *error) {
    json_t *map = json_object_get(zeb_json_root(index), "weight_map");
    if (!json_is_object(map))
        return zeb_fail(error, ZEB_ERR_FORMAT, "%s: \"weight_map\" is missing or not an object", made->path);
    void *memory;
    zeb_status status = zeb_arena_alloc(made->arena, json_object_size(map), sizeof *made->file, &memory, error);
    if (status != ZEB_OK) return status;
    made->file = memory;
    for (void *at = json_object_iter(map); at != NULL; at = json_object_iter_next(map, at)) {
        const zeb_safetensors *file = NULL;
        const char *tensor = json_object_iter_key(at);
        status = shard_of(made, folder, tensor, json_string_value(json_object_iter_value(at)), &file, error);
        if (status != ZEB_OK) return status;
        if (zeb_safetensors_find(file, tensor) == NULL)
            return zeb_fail(error, ZEB_ERR_FORMAT, "%s: tensor \"%.120s\" is not in %s, where the index puts it",
                            made->path, tensor, zeb_safetensors_path(file));
    }
    if (made->files > 1) qsort(made->file, made->files, sizeof *made->file, order_path);
    return check_shards(made, error);
}

static zeb_status open_files(zeb_checkpoint *made, const char *folder, zeb_error *error) {
    zeb_status status = zeb_path_join(made->arena, folder, "model.safetensors", &made->path, error);
    if (status != ZEB_OK) return status;
    made->folder = strlen(made->path) - strlen("model.safetensors");
    if (zeb_path_is_file(made->path)) return open_single(made, error);
    char *index_path;
    status = zeb_path_join(made->arena, folder, "model.safetensors.index.json", &index_path, error);
    if (status != ZEB_OK) return status;
    if (!zeb_path_is_file(index_path))
        return zeb_fail(error, ZEB_ERR_NOT_FOUND,
                        "%s: there is neither model.safetensors nor model.safetensors.index.json in it", folder);
    made->path = index_path;
    zeb_json *index = NULL;
    status = zeb_json_open(index_path, &index, error);
    if (status == ZEB_OK) status = open_shards(made, folder, index, error);
    zeb_json_close(index);
    return status;
}

zeb_status zeb_checkpoint_open(const char *folder, zeb_checkpoint **checkpoint, zeb_error *error) {
    *checkpoint = NULL;
    zeb_checkpoint *made = calloc(1, sizeof *made);
    if (made == NULL) return zeb_fail(error, ZEB_ERR_MEMORY, "out of memory");
    zeb_status status = zeb_arena_create(&made->arena, error);
    if (status == ZEB_OK) status = open_files(made, folder, error);
    if (status == ZEB_OK)
        *checkpoint = made;
    else
        zeb_checkpoint_close(made);
    return status;
}

void zeb_checkpoint_close(zeb_checkpoint *checkpoint) {
    if (checkpoint == NULL) return;
    for (size_t i = 0; i < checkpoint->files; i++)
        zeb_safetensors_close(checkpoint->file[i]);
    zeb_arena_destroy(checkpoint->arena);
    free(checkpoint);
}

const zeb_stored_tensor *zeb_checkpoint_find(const zeb_checkpoint *checkpoint, const char *name) {
    for (size_t i = 0; i < checkpoint->files; i++) {
        const zeb_stored_tensor *tensor = zeb_safetensors_find(checkpoint->file[i], name);
        if (tensor != NULL) return tensor;
    }
    return NULL;
}

size_t zeb_checkpoint_files(const zeb_checkpoint *checkpoint) {
    return checkpoint->files;
}

const zeb_safetensors *zeb_checkpoint_file(const zeb_checkpoint *checkpoint, size_t index) {
    return index < checkpoint->files ? checkpoint->file[index] : NULL;
}

const char *zeb_checkpoint_path(const zeb_checkpoint *checkpoint) {
    return checkpoint->path;
}

const char *zeb_checkpoint_name(const zeb_checkpoint *checkpoint, size_t index) {
    return zeb_safetensors_path(checkpoint->file[index]) + checkpoint->folder;
}

zeb_status zeb_checkpoint_hash(const zeb_checkpoint *checkpoint, char hex[65], zeb_error *error) {
    enum { DIGITS = ZEB_SHA256_HEX - 1 };
    const size_t files = checkpoint->files;
    if (files == 1) return zeb_sha256_file(zeb_safetensors_path(checkpoint->file[0]), hex, error);
    char *all = malloc(files * DIGITS + 1);
    if (all == NULL) return zeb_fail(error, ZEB_ERR_MEMORY, "out of memory");
    zeb_status status = ZEB_OK;
    for (size_t i = 0; i < files && status == ZEB_OK; i++) /* each NUL gives way to the next hash */
        status = zeb_sha256_file(zeb_safetensors_path(checkpoint->file[i]), all + i * DIGITS, error);
    if (status == ZEB_OK) zeb_sha256(all, files * DIGITS, hex);
    free(all);
    return status;
}
