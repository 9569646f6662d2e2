/* zeb doctor: what is here, what is not, and what would help. */
#include <stddef.h>

#include "base/file.h"
#include "cli/commands.h"
#include "run/host.h"

typedef struct doctor_settings {
    const char *plugin_dir;
} doctor_settings;

static const zeb_option options[] = {{"plugin-dir", ZEB_OPTION_TEXT, "DIR[:DIR]", NULL,
                                      offsetof(doctor_settings, plugin_dir), "Look for plugins here first.", NULL},
                                     {0}};

static const char *const examples[] = {"zeb doctor", NULL};

static void line(const char *what, const char *state, const char *more) {
    (void)printf("%-12s %-8s %s\n", what, state, more);
}

static void show_host(void) {
    zeb_host host;
    zeb_host_read("", &host);
    char text[512];
    (void)snprintf(text, sizeof text, "%s, %u processors of %u may be used%s%s",
                   host.cpu_model[0] != '\0' ? host.cpu_model : "unknown", host.cpus_allowed, host.cpus,
                   host.has_quota ? ", limited by a quota" : "",
                   host.has_virtual && host.is_virtual ? ", a virtual machine" : "");
    line("cpu", "ok", text);
    line("system", "ok", host.os);
    line("kernel", "ok", host.kernel);
    if (host.governor[0] == '\0')
        line("governor", "unknown", "no cpufreq here: frequencies can't be checked");
    else
        line("governor", "ok", host.governor);
}

static void show_plugin(const zeb_plugin_record *record, size_t *devices) {
    char text[ZEB_ERROR_TEXT_MAX + ZEB_TEXT_MAX];
    if (record->plugin == NULL) {
        line(record->name, "broken", record->problem);
        return;
    }
    for (uint32_t d = 0; d < record->device_count; d++) {
        (void)snprintf(text, sizeof text, "device %s: %s%s%s", record->device[d].id, record->device[d].name,
                       record->device[d].driver[0] != '\0' ? ", " : "", record->device[d].driver);
        line(record->name, "ok", text);
        *devices += record->device[d].kind < ZEB_DEVICE_NONE;
    }
    if (record->plugin->backend != NULL && record->device_count == 0) line(record->name, "absent", "no device found");
    if (record->plugin->sensor != NULL)
        line(record->name, record->sensor_here ? "ok" : "absent",
             record->sensor_problem != NULL ? record->sensor_problem : "energy sensor");
}

static int run(const void *settings, const char *const *operands, size_t operand_count) {
    (void)operands;
    (void)operand_count;
    const doctor_settings *set = settings;
    zeb_error error = {{0}};
    zeb_arena *arena = NULL;
    zeb_registry *registry = NULL;
    zeb_places places;
    size_t devices = 0;
    zeb_status status = zeb_arena_create(&arena, &error);
    if (status == ZEB_OK) status = zeb_places_find(set->plugin_dir, arena, &places, &error);
    if (status == ZEB_OK) status = zeb_registry_open(places.plugins, places.plugin_count, NULL, &registry, &error);
    if (status == ZEB_OK) {
        show_host();
        for (size_t i = 0; i < zeb_registry_count(registry); i++)
            show_plugin(zeb_registry_at(registry, i), &devices);
        line("data", zeb_path_is_folder(places.data) ? "ok" : "absent", places.data);
        line("model", zeb_path_is_folder(places.model) ? "ok" : "absent", places.model);
    }
    zeb_registry_close(registry);
    zeb_arena_destroy(arena);
    if (status != ZEB_OK) return zeb_cli_fail(zeb_cli_exit(status), &error);
    return devices > 0 ? ZEB_EXIT_OK : ZEB_EXIT_NOTHING;
}

const zeb_command zeb_command_doctor = {.name = "doctor",
                                        .summary = "say what works on this machine and what would help",
                                        .operands = "",
                                        .options = options,
                                        .examples = examples,
                                        .settings_size = sizeof(doctor_settings),
                                        .run = run};
