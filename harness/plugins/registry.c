#include "plugins/registry.h"

#include <string.h>

#include "base/arena.h"
#include "base/text.h"
#include "plugins/load.h"
#include "plugins/probe.h"
#include "plugins/scan.h"
#include "plugins/verify.h"

struct zeb_registry {
    zeb_arena *arena;
    zeb_plugin_file *known; /* everything that lies in the folders, wanted or not */
    size_t known_count;
    zeb_plugin_record *record;
    size_t count;
};

/* An empty list names everything. */
static bool is_named(const char *const *list, size_t count, const char *name) {
    for (size_t i = 0; i < count; i++)
        if (strcmp(list[i], name) == 0) return true;
    return count == 0;
}

static zeb_status record_break(zeb_registry *registry, zeb_plugin_record *record, const char *why, const zeb_log *log,
                               zeb_error *error) {
    char *text = NULL;
    zeb_status status = zeb_arena_copy(registry->arena, why, strlen(why), &text, error);
    record->plugin = NULL;
    record->problem = text;
    zeb_log_write(log, ZEB_LOG_WARNING, "plugin '%s' is broken: %s", record->name, why);
    return status;
}

/* Takes over what a child has learnt; a broken plugin is not loaded here. */
static zeb_status record_fill(zeb_registry *registry, zeb_plugin_record *record, const zeb_probe_job *job,
                              const zeb_log *log, zeb_error *error) {
    zeb_status status = ZEB_OK;
    zeb_error why = {0};
    if (job != NULL) {
        if (job->status != ZEB_OK) return record_break(registry, record, job->problem.text, log, error);
        record->probed = true;
        record->asked = job->ask_devices;
        record->device = job->device;
        record->device_count = job->device_count;
        record->sensor_here = job->sensor_here;
        if (job->sensor_problem.text[0] != '\0') {
            char *text = NULL;
            status = zeb_arena_copy(registry->arena, job->sensor_problem.text, strlen(job->sensor_problem.text), &text,
                                    error);
            record->sensor_problem = text;
        }
    }
    if (status != ZEB_OK) return status;
    if (zeb_plugin_load(record->path, record->name, &record->plugin, &why) != ZEB_OK)
        return record_break(registry, record, why.text, log, error);
    zeb_log_write(log, ZEB_LOG_DEBUG, "plugin '%s' %s from %s", record->name, record->plugin->version, record->path);
    return ZEB_OK;
}

/* Chooses the wanted files; names that no plugin can have are broken at once and cost no child. */
static zeb_status choose(zeb_registry *registry, const zeb_registry_options *options, zeb_probe_job *job, size_t *jobs,
                         zeb_error *error) {
    zeb_status status = ZEB_OK;
    *jobs = 0;
    for (size_t i = 0; status == ZEB_OK && i < registry->known_count; i++) {
        const zeb_plugin_file *file = &registry->known[i];
        if (!is_named(options->wanted, options->wanted_count, file->name)) continue;
        zeb_plugin_record *record = &registry->record[registry->count++];
        *record = (zeb_plugin_record){.name = file->name, .path = file->path};
        if (zeb_plugin_name_valid(file->name)) {
            job[(*jobs)++] = (zeb_probe_job){.name = file->name,
                                             .path = file->path,
                                             .ask_devices = is_named(options->used, options->used_count, file->name)};
            continue;
        }
        zeb_error why = {0};
        (void)zeb_fail(&why, ZEB_ERR_FORMAT, "%s: a plugin's name is made of a-z, 0-9 and '-' alone", file->path);
        status = record_break(registry, record, why.text, options->log, error);
    }
    return status;
}

static zeb_status registry_fill(zeb_registry *registry, const zeb_registry_options *options, zeb_error *error) {
    void *record = NULL;
    void *job = NULL;
    size_t jobs = 0;
    zeb_arena *arena = registry->arena;
    bool child = options->probe == ZEB_PROBE_CHILD;
    uint32_t timeout_ms = options->probe_timeout_ms == 0 ? ZEB_PROBE_TIMEOUT_MS : options->probe_timeout_ms;
    zeb_status status = zeb_plugin_scan(options->folder, options->folder_count, options->log, arena, &registry->known,
                                        &registry->known_count, error);
    if (status == ZEB_OK)
        status = zeb_arena_alloc(arena, registry->known_count, sizeof(zeb_plugin_record), &record, error);
    if (status == ZEB_OK) status = zeb_arena_alloc(arena, registry->known_count, sizeof(zeb_probe_job), &job, error);
    if (status != ZEB_OK) return status;
    registry->record = record;
    status = choose(registry, options, job, &jobs, error);
    if (status == ZEB_OK && child) status = zeb_probe_run(job, jobs, timeout_ms, arena, error);
    size_t next = 0;
    for (size_t i = 0; status == ZEB_OK && i < registry->count; i++) {
        if (registry->record[i].problem != NULL) continue;
        const zeb_probe_job *answer = &((zeb_probe_job *)job)[next++];
        status = record_fill(registry, &registry->record[i], child ? answer : NULL, options->log, error);
    }
    return status;
}

zeb_status zeb_registry_open(const char *const *folders, size_t folder_count, const zeb_log *log,
                             zeb_registry **registry, zeb_error *error) {
    const zeb_registry_options options = {.folder = folders, .folder_count = folder_count, .log = log};
    return zeb_registry_open_with(&options, registry, error);
}

zeb_status zeb_registry_open_with(const zeb_registry_options *options, zeb_registry **registry, zeb_error *error) {
    zeb_arena *arena = NULL;
    void *memory = NULL;
    *registry = NULL;
    zeb_status status = zeb_arena_create(&arena, error);
    if (status != ZEB_OK) return status;
    status = zeb_arena_alloc(arena, 1, sizeof(zeb_registry), &memory, error);
    if (status == ZEB_OK) {
        zeb_registry *made = memory;
        made->arena = arena;
        status = registry_fill(made, options, error);
        if (status == ZEB_OK) *registry = made;
    }
    if (status != ZEB_OK) zeb_arena_destroy(arena);
    return status;
}

void zeb_registry_close(zeb_registry *registry) {
    if (registry != NULL) zeb_arena_destroy(registry->arena);
}

size_t zeb_registry_count(const zeb_registry *registry) {
    return registry->count;
}

const zeb_plugin_record *zeb_registry_at(const zeb_registry *registry, size_t index) {
    return index < registry->count ? &registry->record[index] : NULL;
}

const zeb_plugin_record *zeb_registry_find(const zeb_registry *registry, const char *name) {
    for (size_t i = 0; i < registry->count; i++)
        if (strcmp(registry->record[i].name, name) == 0) return &registry->record[i];
    return NULL;
}

/* "no plugin named 'cpuu': did you mean 'cpu'?" or the list of those that there are. */
static zeb_status fail_unknown(const zeb_registry *registry, const char *name, zeb_error *error) {
    const char *candidate[64] = {0};
    char list[256] = "";
    size_t count = 0;
    size_t used = 0;
    for (size_t i = 0; i < registry->known_count && count < sizeof candidate / sizeof candidate[0]; i++) {
        candidate[count++] = registry->known[i].name;
        int wrote = snprintf(list + used, sizeof list - used, "%s%s", used > 0 ? ", " : "", registry->known[i].name);
        if (wrote > 0 && (size_t)wrote < sizeof list - used)
            used += (size_t)wrote;
        else
            list[used] = '\0';
    }
    if (count == 0) return zeb_fail(error, ZEB_ERR_NOT_FOUND, "no plugin named '%s': no plugins were found", name);
    const char *near = zeb_text_nearest(name, candidate, count);
    if (near == NULL || strcmp(near, name) == 0)
        return zeb_fail(error, ZEB_ERR_NOT_FOUND, "no plugin named '%s'; there are: %s", name, list);
    return zeb_fail(error, ZEB_ERR_NOT_FOUND, "no plugin named '%s'; did you mean '%s'? There are: %s", name, near,
                    list);
}

zeb_status zeb_registry_require(const zeb_registry *registry, const char *name, const zeb_plugin_record **record,
                                zeb_error *error) {
    *record = NULL;
    const zeb_plugin_record *found = zeb_registry_find(registry, name);
    if (found == NULL) return fail_unknown(registry, name, error);
    if (found->plugin == NULL)
        return zeb_fail(error, ZEB_ERR_FORMAT, "plugin '%s' is broken: %s", name, found->problem);
    *record = found;
    return ZEB_OK;
}
