#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "cli/commands.h"

static zeb_status add_folder(zeb_places *places, const char *folder, zeb_error *error) {
    size_t most = sizeof places->plugins / sizeof places->plugins[0];
    if (places->plugin_count == most) return zeb_fail(error, ZEB_ERR_ARGUMENT, "more than %zu plugin folders", most);
    places->plugins[places->plugin_count++] = folder;
    return ZEB_OK;
}

/* Adds the parts of a colon-separated list. */
static zeb_status add_list(zeb_places *places, const char *list, zeb_arena *arena, zeb_error *error) {
    while (list != NULL && *list != '\0') {
        size_t length = strcspn(list, ":");
        char *folder;
        zeb_status status = zeb_arena_copy(arena, list, length, &folder, error);
        if (status == ZEB_OK && length > 0) status = add_folder(places, folder, error);
        if (status != ZEB_OK) return status;
        list += length + (list[length] == ':');
    }
    return ZEB_OK;
}

/* The first of "<beside>/<installed>" and "<source tree>/<source>" that exists; the second if none does. */
static zeb_status find(zeb_arena *arena, const char *beside, const char *installed, const char *source,
                       const char **place, zeb_error *error) {
    char *path;
    zeb_status status = zeb_path_join(arena, beside, installed, &path, error);
    if (status == ZEB_OK && !zeb_path_is_folder(path))
        status = zeb_path_join(arena, ZEB_SOURCE_DIR, source, &path, error);
    *place = path;
    return status;
}

zeb_status zeb_places_find(const char *plugin_dir, zeb_arena *arena, zeb_places *places, zeb_error *error) {
    *places = (zeb_places){0};
    char program[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", program, sizeof program - 1);
    if (length <= 0) return zeb_fail(error, ZEB_ERR_IO, "/proc/self/exe cannot be read: where zeb stands is unknown");
    program[length] = '\0';
    *strrchr(program, '/') = '\0'; /* a link target of /proc is absolute */
    zeb_status status = add_list(places, plugin_dir, arena, error);
    for (size_t i = 0; i < places->plugin_count && status == ZEB_OK; i++) /* a slip of who asks; paths may be empty */
        if (!zeb_path_is_folder(places->plugins[i]))
            status = zeb_fail(error, ZEB_ERR_ARGUMENT, "--plugin-dir %s: no such folder", places->plugins[i]);
    if (status == ZEB_OK) status = add_list(places, getenv("ZEB_PLUGIN_PATH"), arena, error);
    char *folder;
    if (status == ZEB_OK) status = zeb_path_join(arena, program, "../plugins", &folder, error);
    if (status == ZEB_OK && zeb_path_is_folder(folder)) status = add_folder(places, folder, error);
    if (status == ZEB_OK) status = zeb_path_join(arena, program, "../" ZEB_PLUGIN_INSTALL_DIR, &folder, error);
    if (status == ZEB_OK && zeb_path_is_folder(folder)) status = add_folder(places, folder, error);
    if (status == ZEB_OK) status = find(arena, program, "../share/zeb/data", "suites/data", &places->data, error);
    if (status == ZEB_OK)
        status = find(arena, program, "../share/zeb/baselines", "baselines", &places->baselines, error);
    const char *data = getenv("ZEB_DATA");
    if (data != NULL && *data != '\0') places->data = data;
    char *model;
    if (status == ZEB_OK) status = zeb_path_join(arena, places->baselines, "bert-mini-sst2", &model, error);
    if (status == ZEB_OK) places->model = model;
    return status;
}

bool zeb_cli_colour(FILE *stream) {
    const char *none = getenv("NO_COLOR");
    return (none == NULL || *none == '\0') && isatty(fileno(stream)) == 1;
}

zeb_log zeb_cli_log(bool verbose) {
    return (zeb_log){
        .stream = stderr, .level = verbose ? ZEB_LOG_DEBUG : ZEB_LOG_INFO, .colour = zeb_cli_colour(stderr)};
}

void zeb_cli_said(const zeb_log *log, const char *name, const char *words) {
    size_t length = strlen(words);
    while (length > 0 && words[length - 1] == '\n')
        length--;
    if (length > 0) zeb_log_write(log, ZEB_LOG_WARNING, "%s: it said: %.*s", name, (int)length, words);
}

int zeb_cli_fail(int exit_status, const zeb_error *error) {
    zeb_log log = zeb_cli_log(false);
    zeb_log_write(&log, ZEB_LOG_ERROR, "%s", error->text);
    return exit_status;
}

int zeb_cli_exit(zeb_status status) {
    if (status == ZEB_OK) return ZEB_EXIT_OK;
    if (status == ZEB_ERR_ARGUMENT) return ZEB_EXIT_USAGE;
    return status == ZEB_ERR_INTERRUPTED ? ZEB_EXIT_NOT_OK : ZEB_EXIT_NOTHING;
}
