/* zeb list: what there is to choose from. */
#include <dirent.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "cli/commands.h"
#include "models/model.h"
#include "suites/task.h"

typedef struct list_settings {
    const char *format, *plugin_dir;
} list_settings;

#define AT(field) offsetof(list_settings, field)

static const char *const formats[] = {"table", "json", NULL};

static const zeb_option options[] = {
    {"format", ZEB_OPTION_CHOICE, "NAME", "table", AT(format), "How it is printed.", formats},
    {"plugin-dir", ZEB_OPTION_TEXT, "DIR[:DIR]", NULL, AT(plugin_dir), "Look for plugins here first.", NULL},
    {0}};

static const char *const examples[] = {"zeb list devices", "zeb list tasks --format json", NULL};

/* A JSON array of objects whose keys are the columns is what every list is made of. */
typedef zeb_status (*list_fn)(const zeb_places *places, json_t *rows, zeb_arena *arena, zeb_error *error);

static zeb_status append(json_t *rows, json_t *row, zeb_error *error) {
    if (row != NULL && json_array_append_new(rows, row) == 0) return ZEB_OK;
    return zeb_fail(error, ZEB_ERR_MEMORY, "out of memory, or a text that is not UTF-8");
}

static int by_name(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static zeb_status list_model(const char *path, json_t *rows, zeb_error *error) {
    zeb_model *model;
    zeb_error why = {{0}};
    if (zeb_model_open(path, &model, &why) != ZEB_OK)
        return append(rows, json_pack("{ssss}", "path", path, "problem", why.text), error);
    const zeb_model_info *about = zeb_model_about(model);
    json_t *row = json_pack("{sssssisisisisssIss}", "name", about->name, "family", about->family, "layers",
                            about->layers, "hidden", about->hidden, "heads", about->heads, "labels", about->labels,
                            "dtype", about->dtype, "parameters", (json_int_t)about->parameters, "path", path);
    zeb_model_close(model);
    return append(rows, row, error);
}

static zeb_status list_models(const zeb_places *places, json_t *rows, zeb_arena *arena, zeb_error *error) {
    enum { MOST = 1024 };
    const char *path[MOST];
    size_t count = 0;
    DIR *folder = opendir(places->baselines);
    if (folder == NULL) return zeb_fail(error, ZEB_ERR_NOT_FOUND, "%s: no folder of checkpoints", places->baselines);
    zeb_status status = ZEB_OK;
    for (struct dirent *entry; status == ZEB_OK && count < MOST && (entry = readdir(folder)) != NULL;) {
        if (entry->d_name[0] == '.') continue;
        char *model, *config;
        status = zeb_path_join(arena, places->baselines, entry->d_name, &model, error);
        if (status == ZEB_OK) status = zeb_path_join(arena, model, "config.json", &config, error);
        if (status == ZEB_OK && zeb_path_is_file(config)) path[count++] = model;
    }
    (void)closedir(folder);
    qsort(path, count, sizeof path[0], by_name);
    for (size_t i = 0; i < count && status == ZEB_OK; i++)
        status = list_model(path[i], rows, error);
    return status;
}

static zeb_status list_tasks(const zeb_places *places, json_t *rows, zeb_arena *arena, zeb_error *error) {
    (void)arena;
    for (size_t i = 0; i < zeb_task_count(); i++) {
        const zeb_task *task = zeb_task_at(i);
        zeb_status status = append(rows,
                                   json_pack("{sssssisiss}", "name", task->name, "title", task->title, "labels",
                                             task->labels, "version", task->version, "data", places->data),
                                   error);
        if (status != ZEB_OK) return status;
    }
    return ZEB_OK;
}

static zeb_status open_registry(const zeb_places *places, zeb_registry **registry, zeb_error *error) {
    return zeb_registry_open(places->plugins, places->plugin_count, NULL, registry, error);
}

static zeb_status list_devices(const zeb_places *places, json_t *rows, zeb_arena *arena, zeb_error *error) {
    (void)arena;
    static const char *const kind[] = {"?", "cpu", "gpu", "npu", "none", "example"};
    zeb_registry *registry;
    zeb_status status = open_registry(places, &registry, error);
    for (size_t i = 0; status == ZEB_OK && i < zeb_registry_count(registry); i++) {
        const zeb_plugin_record *record = zeb_registry_at(registry, i);
        for (uint32_t d = 0; status == ZEB_OK && d < record->device_count; d++) {
            const zeb_device_info *info = &record->device[d];
            status = append(rows,
                            json_pack("{sssssssssssI}", "plugin", record->name, "id", info->id, "kind",
                                      (unsigned)info->kind < 6 ? kind[info->kind] : kind[0], "name", info->name,
                                      "driver", info->driver, "units", (json_int_t)info->units),
                            error);
        }
    }
    zeb_registry_close(registry);
    return status;
}

static zeb_status list_plugins(const zeb_places *places, json_t *rows, zeb_arena *arena, zeb_error *error) {
    (void)arena;
    zeb_registry *registry;
    zeb_status status = open_registry(places, &registry, error);
    for (size_t i = 0; status == ZEB_OK && i < zeb_registry_count(registry); i++) {
        const zeb_plugin_record *record = zeb_registry_at(registry, i);
        const zeb_plugin *plugin = record->plugin;
        status = append(rows,
                        json_pack("{ssss?sssbsbss}", "name", record->name, "version",
                                  plugin != NULL ? plugin->version : NULL, "state", plugin != NULL ? "ok" : "broken",
                                  "devices", plugin != NULL && plugin->backend != NULL, "sensor",
                                  plugin != NULL && plugin->sensor != NULL, "path", record->path),
                        error);
        if (status == ZEB_OK && record->problem != NULL)
            (void)json_object_set_new(json_array_get(rows, json_array_size(rows) - 1), "problem",
                                      json_string(record->problem));
    }
    zeb_registry_close(registry);
    return status;
}

static zeb_status list_sensors(const zeb_places *places, json_t *rows, zeb_arena *arena, zeb_error *error) {
    (void)arena;
    zeb_registry *registry;
    zeb_status status = open_registry(places, &registry, error);
    for (size_t i = 0; status == ZEB_OK && i < zeb_registry_count(registry); i++) {
        const zeb_plugin_record *record = zeb_registry_at(registry, i);
        if (record->plugin == NULL || record->plugin->sensor == NULL) continue;
        status = append(rows,
                        json_pack("{sssbss?}", "name", record->name, "here", record->sensor_here, "problem",
                                  record->sensor_problem),
                        error);
    }
    zeb_registry_close(registry);
    return status;
}

/* The value as a cell; numbers and texts alike. */
static void cell_text(const json_t *value, char *text, size_t capacity) {
    if (json_is_string(value))
        (void)snprintf(text, capacity, "%s", json_string_value(value));
    else if (json_is_integer(value))
        (void)snprintf(text, capacity, "%lld", (long long)json_integer_value(value));
    else if (json_is_boolean(value))
        (void)snprintf(text, capacity, "%s", json_is_true(value) ? "yes" : "no");
    else
        (void)snprintf(text, capacity, "-");
}

static void print_cell(const char *text, size_t width, bool last) {
    if (last)
        (void)printf("%s\n", text);
    else
        (void)printf("%-*s  ", (int)width, text);
}

static void print_table(const json_t *rows) {
    enum { COLUMNS = 12 };
    const char *key[COLUMNS];
    size_t width[COLUMNS], columns = 0, i;
    const char *name;
    json_t *row, *value;
    char text[1024];
    json_array_foreach(rows, i, row) json_object_foreach(row, name, value) {
        size_t c = 0;
        while (c < columns && strcmp(key[c], name) != 0)
            c++;
        if (c == COLUMNS) continue;
        if (c == columns) {
            key[columns] = name;
            width[columns++] = strlen(name);
        }
        cell_text(value, text, sizeof text);
        if (strlen(text) > width[c]) width[c] = strlen(text);
    }
    for (size_t c = 0; c < columns; c++)
        print_cell(key[c], width[c], c + 1 == columns);
    json_array_foreach(rows, i, row) {
        for (size_t c = 0; c < columns; c++) {
            cell_text(json_object_get(row, key[c]), text, sizeof text);
            print_cell(text, width[c], c + 1 == columns);
        }
    }
}

static int run(const void *settings, const char *const *operands, size_t operand_count) {
    static const struct {
        const char *name;
        list_fn list;
    } lists[] = {{"models", list_models},
                 {"tasks", list_tasks},
                 {"devices", list_devices},
                 {"plugins", list_plugins},
                 {"sensors", list_sensors}};
    const list_settings *set = settings;
    zeb_error error = {{0}};
    list_fn list = NULL;
    for (size_t i = 0; operand_count == 1 && i < sizeof lists / sizeof lists[0]; i++)
        if (strcmp(operands[0], lists[i].name) == 0) list = lists[i].list;
    if (list == NULL) {
        (void)zeb_fail(&error, ZEB_ERR_ARGUMENT, "say which list: zeb list models|tasks|devices|plugins|sensors");
        return zeb_cli_fail(ZEB_EXIT_USAGE, &error);
    }
    zeb_arena *arena = NULL;
    zeb_places places;
    json_t *rows = json_array();
    zeb_status status = rows != NULL ? ZEB_OK : zeb_fail(&error, ZEB_ERR_MEMORY, "out of memory");
    if (status == ZEB_OK) status = zeb_arena_create(&arena, &error);
    if (status == ZEB_OK) status = zeb_places_find(set->plugin_dir, arena, &places, &error);
    if (status == ZEB_OK) status = list(&places, rows, arena, &error);
    if (status == ZEB_OK && strcmp(set->format, "json") == 0) {
        (void)json_dumpf(rows, stdout, JSON_INDENT(2));
        (void)putchar('\n');
    } else if (status == ZEB_OK) {
        print_table(rows);
    }
    json_decref(rows);
    zeb_arena_destroy(arena);
    return status == ZEB_OK ? ZEB_EXIT_OK : zeb_cli_fail(zeb_cli_exit(status), &error);
}

const zeb_command zeb_command_list = {.name = "list",
                                      .summary = "show models, tasks, devices, plugins or sensors",
                                      .operands = "models|tasks|devices|plugins|sensors",
                                      .operand_max = 1,
                                      .options = options,
                                      .examples = examples,
                                      .settings_size = sizeof(list_settings),
                                      .run = run};
