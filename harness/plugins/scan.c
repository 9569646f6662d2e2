#include "plugins/scan.h"

#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"

static const char file_prefix[] = "zeb_";
static const char file_suffix[] = ".so";

/* A list that grows while folders are read; the array is the heap's until it is copied into the arena. */
typedef struct scan_list {
    zeb_plugin_file *file;
    size_t count;
    size_t capacity;
} scan_list;

static bool scan_has(const scan_list *list, const char *name, size_t length) {
    for (size_t i = 0; i < list->count; i++)
        if (strlen(list->file[i].name) == length && memcmp(list->file[i].name, name, length) == 0) return true;
    return false;
}

static zeb_status scan_add(scan_list *list, const char *folder, const char *entry, zeb_arena *arena, zeb_error *error) {
    size_t length = strlen(entry);
    size_t around = sizeof file_prefix - 1 + sizeof file_suffix - 1;
    if (length <= around || strncmp(entry, file_prefix, sizeof file_prefix - 1) != 0 ||
        strcmp(entry + length - (sizeof file_suffix - 1), file_suffix) != 0)
        return ZEB_OK;
    const char *name = entry + sizeof file_prefix - 1;
    size_t name_length = length - around;
    if (scan_has(list, name, name_length)) return ZEB_OK;
    if (list->count == list->capacity) {
        size_t capacity = list->capacity == 0 ? 16 : list->capacity * 2;
        zeb_plugin_file *file = realloc(list->file, capacity * sizeof *file);
        if (file == NULL) return zeb_fail(error, ZEB_ERR_MEMORY, "no memory for a list of %zu plugins", capacity);
        list->file = file;
        list->capacity = capacity;
    }
    char *copy = NULL;
    char *path = NULL;
    zeb_status status = zeb_arena_copy(arena, name, name_length, &copy, error);
    if (status == ZEB_OK) status = zeb_path_join(arena, folder, entry, &path, error);
    if (status == ZEB_OK) list->file[list->count++] = (zeb_plugin_file){.name = copy, .path = path};
    return status;
}

static zeb_status scan_folder(scan_list *list, const char *folder, const zeb_log *log, zeb_arena *arena,
                              zeb_error *error) {
    DIR *stream = opendir(folder);
    if (stream == NULL) {
        zeb_log_write(log, ZEB_LOG_WARNING, "plugin folder %s: %s", folder, strerror(errno));
        return ZEB_OK;
    }
    zeb_status status = ZEB_OK;
    for (struct dirent *entry; status == ZEB_OK && (entry = readdir(stream)) != NULL;)
        status = scan_add(list, folder, entry->d_name, arena, error);
    (void)closedir(stream);
    return status;
}

static int compare_files(const void *a, const void *b) {
    return strcmp(((const zeb_plugin_file *)a)->name, ((const zeb_plugin_file *)b)->name);
}

zeb_status zeb_plugin_scan(const char *const *folders, size_t folder_count, const zeb_log *log, zeb_arena *arena,
                           zeb_plugin_file **file, size_t *count, zeb_error *error) {
    scan_list list = {0};
    void *copy = NULL;
    zeb_status status = ZEB_OK;
    for (size_t i = 0; status == ZEB_OK && i < folder_count; i++)
        status = scan_folder(&list, folders[i], log, arena, error);
    if (status == ZEB_OK) status = zeb_arena_alloc(arena, list.count, sizeof *list.file, &copy, error);
    if (status == ZEB_OK) {
        if (list.count > 0) {
            memcpy(copy, list.file, list.count * sizeof *list.file);
            qsort(copy, list.count, sizeof *list.file, compare_files);
        }
        *file = copy;
        *count = list.count;
    }
    free(list.file);
    return status;
}
