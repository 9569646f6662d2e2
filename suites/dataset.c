#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"
#include "suites/reader.h"

/* ---- what the readers share ---- */

zeb_status zeb_reader_skip(zeb_reader *reader, uint64_t line, const char *problem, zeb_error *error) {
    zeb_dataset *dataset = reader->dataset;
    dataset->rows_skipped++;
    if (dataset->rows_skipped == 1)
        (void)snprintf(dataset->first_skip, sizeof dataset->first_skip, "%s:%llu: %s", dataset->path,
                       (unsigned long long)line, problem);
    if (dataset->skips == ZEB_DATASET_SKIPS_MAX) return ZEB_OK;
    char *text;
    zeb_status status =
        zeb_arena_format(reader->arena, &text, error, "%s:%llu: %s", dataset->path, (unsigned long long)line, problem);
    if (status == ZEB_OK) dataset->skip[dataset->skips++] = text;
    return status;
}

zeb_status zeb_reader_add(zeb_reader *reader, const zeb_example *example, zeb_error *error) {
    zeb_dataset *dataset = reader->dataset;
    if (dataset->count == reader->capacity) {
        size_t capacity = reader->capacity == 0 ? 256 : 2 * reader->capacity;
        void *grown =
            capacity > SIZE_MAX / sizeof *example ? NULL : realloc(reader->example, capacity * sizeof *example);
        if (grown == NULL) return zeb_fail(error, ZEB_ERR_MEMORY, "%s: out of memory", dataset->path);
        reader->example = grown;
        reader->capacity = capacity;
    }
    reader->example[dataset->count++] = *example;
    return ZEB_OK;
}

bool zeb_reader_label(const zeb_task *task, const char *value, zeb_example *example, char *problem, size_t capacity) {
    if (task->kind == ZEB_TASK_REGRESSION) {
        double target;
        if (!zeb_text_to_f64(value, &target)) {
            (void)snprintf(problem, capacity, "score \"%.40s\" is not a number", value);
        } else if (target < task->target_min || target > task->target_max) {
            (void)snprintf(problem, capacity, "score %.40s is outside %g to %g", value, task->target_min,
                           task->target_max);
        } else {
            example->target = target;
            return true;
        }
        return false;
    }
    for (int32_t i = 0; i < task->labels; i++) {
        if (strcmp(value, task->label_value[i]) != 0) continue;
        example->label = i;
        example->target = i;
        return true;
    }
    (void)snprintf(problem, capacity, "label \"%.40s\" is none of this task's", value);
    return false;
}

/* ---- parsing a file in memory ---- */

static zeb_status copy_examples(zeb_reader *reader, zeb_error *error) {
    zeb_dataset *dataset = reader->dataset;
    void *memory;
    zeb_status status = zeb_arena_alloc(reader->arena, dataset->count, sizeof *dataset->example, &memory, error);
    if (status != ZEB_OK) return status;
    if (dataset->count > 0) memcpy(memory, reader->example, dataset->count * sizeof *dataset->example);
    dataset->example = memory;
    return ZEB_OK;
}

zeb_status zeb_dataset_parse(const zeb_task *task, const zeb_columns *columns, bool labelled, const char *path,
                             const void *bytes, size_t size, size_t limit, zeb_arena *arena, zeb_dataset *dataset,
                             zeb_error *error) {
    *dataset = (zeb_dataset){.task = task, .path = path};
    zeb_reader reader = {.task = task,
                         .columns = columns != NULL ? columns : &task->columns,
                         .must_be_labelled = labelled,
                         .limit = limit == 0 ? SIZE_MAX : limit,
                         .arena = arena,
                         .dataset = dataset};
    zeb_sha256(bytes, size, dataset->hash);
    zeb_status status = zeb_arena_copy(arena, bytes, size, &reader.text, error);
    if (status == ZEB_OK) {
        reader.size = size;
        status = task->format == ZEB_FILE_TSV ? zeb_reader_tsv(&reader, error) : zeb_reader_jsonl(&reader, error);
    }
    if (status == ZEB_OK && dataset->count == 0) {
        status = dataset->first_skip[0] == '\0'
                     ? zeb_fail(error, ZEB_ERR_FORMAT, "%s: no rows", path)
                     : zeb_fail(error, ZEB_ERR_FORMAT, "%s: none of %llu rows can be read, the first is %.300s", path,
                                (unsigned long long)dataset->rows_read, dataset->first_skip + strlen(path) + 1);
    }
    if (status == ZEB_OK) status = copy_examples(&reader, error);
    free(reader.example);
    return status;
}

/* ---- finding the file ---- */

static const zeb_split *find_split(const zeb_task *task, const char *name) {
    for (size_t i = 0; i < ZEB_TASK_SPLITS_MAX && task->split[i].name != NULL; i++)
        if (strcmp(task->split[i].name, name) == 0) return &task->split[i];
    return NULL;
}

/* A split that names no file of the table is a file's stem; it must not lead out of the folder. */
static bool stem_is_safe(const char *stem) {
    return stem[0] != '\0' && stem[0] != '.' && strchr(stem, '/') == NULL && strlen(stem) < 60;
}

static int is_data_file(const struct dirent *entry) {
    const char *dot = strrchr(entry->d_name, '.');
    return dot != NULL && (strcmp(dot, ".tsv") == 0 || strcmp(dot, ".jsonl") == 0);
}

/* "dev_matched.tsv, train.tsv" of a folder, in order, as far as it fits. */
static void list_folder(const char *folder, char *text, size_t capacity) {
    struct dirent **entry = NULL;
    size_t used = 0;
    int found = scandir(folder, &entry, is_data_file, alphasort);
    text[0] = '\0';
    for (int i = 0; i < found; i++) {
        int wrote = snprintf(text + used, capacity - used, "%s%s", used > 0 ? ", " : "", entry[i]->d_name);
        if (wrote > 0 && (size_t)wrote < capacity - used) used += (size_t)wrote;
        text[used] = '\0';
        free(entry[i]);
    }
    free(entry);
}

/* official: the file is one of the task's own splits. */
static zeb_status not_found(const zeb_task *task, const char *root, const char *folder, const char *file, bool official,
                            zeb_error *error) {
    if (!zeb_path_is_folder(root))
        return zeb_fail(error, ZEB_ERR_NOT_FOUND, "data folder %s: %s; 'scripts/fetch %s/%s' gets this task's", root,
                        access(root, F_OK) == 0 ? "not a folder" : strerror(errno), task->suite, task->folder);
    if (folder == NULL)
        return zeb_fail(error, ZEB_ERR_NOT_FOUND, "%s holds no %s/%s; 'scripts/fetch %s/%s' gets it", root, task->suite,
                        task->folder, task->suite, task->folder);
    char files[256];
    list_folder(folder, files, sizeof files);
    if (official)
        return zeb_fail(error, ZEB_ERR_NOT_FOUND, "%s: no file %s%s%s; 'scripts/fetch %s/%s' gets all splits", folder,
                        file, files[0] ? "; there is " : "", files, task->suite, task->folder);
    return zeb_fail(error, ZEB_ERR_NOT_FOUND, "%s: no file %s%s%s%s", folder, file, files[0] ? "; there is " : "",
                    files, files[0] ? " (a file's name without its ending can be given as the split)" : "");
}

/* The task's folder below root: root/suite/folder, else root/folder (the layout of GLUE's own download), else NULL. */
static zeb_status find_folder(const zeb_task *task, const char *root, zeb_arena *arena, char **folder,
                              zeb_error *error) {
    char *inner;
    zeb_status status = zeb_path_join(arena, root, task->suite, &inner, error);
    if (status == ZEB_OK) status = zeb_path_join(arena, inner, task->folder, folder, error);
    if (status != ZEB_OK || zeb_path_is_folder(*folder)) return status;
    status = zeb_path_join(arena, root, task->folder, folder, error);
    if (status == ZEB_OK && !zeb_path_is_folder(*folder)) *folder = NULL;
    return status;
}

static zeb_status find_file(const zeb_task *task, const char *root, const char *name, const zeb_split *split,
                            zeb_arena *arena, char **path, zeb_error *error) {
    char *file = NULL, *folder = NULL;
    zeb_status status = split != NULL ? zeb_arena_copy(arena, split->file, strlen(split->file), &file, error)
                                      : zeb_arena_format(arena, &file, error, "%s.%s", name,
                                                         task->format == ZEB_FILE_TSV ? "tsv" : "jsonl");
    if (status == ZEB_OK) status = find_folder(task, root, arena, &folder, error);
    if (status != ZEB_OK) return status;
    if (folder == NULL) return not_found(task, root, NULL, file, split != NULL, error);
    status = zeb_path_join(arena, folder, file, path, error);
    /* What is there and cannot be read says why when it is opened. */
    if (status == ZEB_OK && access(*path, F_OK) != 0 && errno == ENOENT)
        status = not_found(task, root, folder, file, split != NULL, error);
    return status;
}

zeb_status zeb_dataset_open(const zeb_task *task, const char *data_root, const char *split, size_t limit,
                            zeb_arena *arena, zeb_dataset *dataset, zeb_error *error) {
    *dataset = (zeb_dataset){.task = task};
    const char *name = split != NULL ? split : task->default_split;
    const zeb_split *row = find_split(task, name);
    if (row == NULL && !stem_is_safe(name))
        return zeb_fail(error, ZEB_ERR_ARGUMENT, "\"%s\" is no split of %s", name, task->name);
    char *path = NULL;
    zeb_status status = find_file(task, data_root, name, row, arena, &path, error);
    if (status != ZEB_OK) return status;
    zeb_map map;
    status = zeb_map_open(path, &map, error);
    if (status != ZEB_OK) return status;
    status = zeb_dataset_parse(task, row != NULL ? row->columns : NULL, row != NULL && row->labelled, path, map.data,
                               map.size, limit, arena, dataset, error);
    zeb_map_close(&map);
    zeb_text_copy(dataset->split, sizeof dataset->split, name);
    dataset->rows_official = row != NULL ? row->rows : 0;
    return status;
}
