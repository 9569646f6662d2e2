/* Every way in which a plugin can be wrong, and that each costs that plugin alone and is said in words. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "plugins/devices.h"
#include "plugins/registry.h"

#define BAD_FOLDER ZEB_BINARY_DIR "/bad_plugins"

static const char *const bad_folder[] = {BAD_FOLDER};

/* A registry of one bad plugin. The time limit is generous: only the plugin that hangs uses it up. */
static zeb_registry *open_one(const char *name, zeb_probe_mode probe, uint32_t timeout_ms) {
    zeb_registry *registry = NULL;
    zeb_error error = {0};
    const zeb_registry_options options = {.folder = bad_folder,
                                          .folder_count = 1,
                                          .wanted = &name,
                                          .wanted_count = 1,
                                          .probe = probe,
                                          .probe_timeout_ms = timeout_ms};
    assert_int_equal(zeb_registry_open_with(&options, &registry, &error), ZEB_OK);
    assert_int_equal(zeb_registry_count(registry), 1);
    return registry;
}

static void assert_says(const char *text, const char *part) {
    if (text == NULL || strstr(text, part) == NULL)
        fail_msg("'%s' does not say '%s'", text == NULL ? "(NULL)" : text, part);
}

/* Each flaw with what its message must say. */
static const struct {
    const char *name;
    const char *says[3];
} flaw[] = {
    {"text", {"zeb_text.so", "not a shared object", "text file"}},
    {"void", {"zeb_void.so", "empty file", ""}},
    {"Bad_Name", {"zeb_Bad_Name.so", "name is made of", ""}},
    {"magic", {"0x464c457f", "0x3142455a", "not a zeb plugin"}},
    {"older", {"older plugin ABI 0", "speaks ABI 1", "rebuild"}},
    {"newer", {"newer plugin ABI 2", "speaks ABI 1", "update zeb"}},
    {"small", {"struct_size 24", "at least 48", "rebuild"}},
    {"backend-small", {"backend table", "struct_size 16", "rebuild"}},
    {"missing", {"backend table", "'submit'", "required"}},
    {"sensor-missing", {"sensor table", "'sample'", "required"}},
    {"empty", {"neither a backend nor a sensor", "", ""}},
    {"unresolved", {"cannot be loaded", "undefined symbol", "zeb_symbol_that_nobody_has"}},
    {"no-entry", {"exports no zeb_plugin_entry", "undefined symbol", ""}},
    {"no-table", {"returned no table", "", ""}},
    {"named", {"somebody-else", "'named'", "zeb_somebody-else.so"}},
    {"constructor", {"crashes in loading", "signal 11 (SIGSEGV)", "last words: about to crash"}},
    {"abort", {"crashes in device_count", "signal 6 (SIGABRT)", "last words: driver: the card is on fire"}},
    {"exit", {"device_count", "exit status 3", ""}},
    {"count-fails", {"device_count failed", "out to lunch", ""}},
};

static void test_each_flaw(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof flaw / sizeof flaw[0]; i++) {
        zeb_registry *registry = open_one(flaw[i].name, ZEB_PROBE_CHILD, 0);
        const zeb_plugin_record *record = zeb_registry_at(registry, 0);
        zeb_error error = {0};
        assert_string_equal(record->name, flaw[i].name);
        assert_null(record->plugin);
        for (size_t k = 0; k < 3; k++)
            assert_says(record->problem, flaw[i].says[k]);
        const zeb_plugin_record *required = record;
        assert_int_equal(zeb_registry_require(registry, flaw[i].name, &required, &error), ZEB_ERR_FORMAT);
        assert_null(required);
        assert_says(error.text, flaw[i].says[0]);
        zeb_registry_close(registry);
    }
}

static void test_hang_is_ended(void **state) {
    (void)state;
    zeb_registry *registry = open_one("hang", ZEB_PROBE_CHILD, 150);
    assert_says(zeb_registry_at(registry, 0)->problem, "hangs in device_count: no answer within 150 ms");
    zeb_registry_close(registry);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* no child is left behind */
}

static void test_fine(void **state) {
    (void)state;
    zeb_registry *registry = open_one("fine", ZEB_PROBE_CHILD, 0);
    const zeb_plugin_record *record = zeb_registry_at(registry, 0);
    assert_null(record->problem);
    assert_non_null(record->plugin);
    assert_true(record->probed);
    assert_true(record->asked);
    assert_int_equal(record->device_count, 2);
    assert_string_equal(record->device[1].id, "d1");
    assert_null(zeb_backend_memory(record->plugin->backend));
    assert_null(zeb_backend_profile(record->plugin->backend));
    zeb_registry_close(registry);
    registry = open_one("fine", ZEB_PROBE_NEVER, 0);
    record = zeb_registry_at(registry, 0);
    assert_non_null(record->plugin);
    assert_false(record->probed);
    zeb_registry_close(registry);
}

/* Optional calls past the end of an older, shorter table are not read. */
static void test_short_table(void **state) {
    (void)state;
    zeb_registry *registry = open_one("fine", ZEB_PROBE_NEVER, 0);
    zeb_backend table = *zeb_registry_at(registry, 0)->plugin->backend;
    memset(&table.memory, 0x55, sizeof table.memory);
    memset(&table.profile, 0x55, sizeof table.profile);
    table.struct_size = offsetof(zeb_backend, memory);
    assert_true(zeb_backend_memory(&table) == NULL);
    assert_true(zeb_backend_profile(&table) == NULL);
    table.struct_size = offsetof(zeb_backend, profile);
    assert_true(zeb_backend_memory(&table) != NULL);
    assert_true(zeb_backend_profile(&table) == NULL);
    zeb_registry_close(registry);
}

static void test_sensor_absent_is_fine(void **state) {
    (void)state;
    zeb_registry *registry = open_one("sensor", ZEB_PROBE_CHILD, 0);
    const zeb_plugin_record *record = zeb_registry_at(registry, 0);
    assert_non_null(record->plugin);
    assert_false(record->sensor_here);
    assert_says(record->sensor_problem, "no thermometer");
    zeb_registry_close(registry);
}

/* A plugin that prints: nothing on our standard output, and its flood does not stop the probe. */
static void test_chatty(void **state) {
    (void)state;
    int pair[2];
    assert_int_equal(pipe(pair), 0);
    (void)fflush(stdout);
    int kept = dup(STDOUT_FILENO);
    assert_true(dup2(pair[1], STDOUT_FILENO) >= 0);
    zeb_registry *registry = NULL;
    const char *const wanted[] = {"chatty"};
    const zeb_registry_options options = {
        .folder = bad_folder, .folder_count = 1, .wanted = wanted, .wanted_count = 1, .probe = ZEB_PROBE_CHILD};
    zeb_error error = {0};
    zeb_status status = zeb_registry_open_with(&options, &registry, &error);
    assert_true(dup2(kept, STDOUT_FILENO) >= 0);
    (void)close(kept);
    (void)close(pair[1]);
    char byte;
    assert_int_equal(read(pair[0], &byte, 1), 0);
    (void)close(pair[0]);
    assert_int_equal(status, ZEB_OK);
    assert_null(zeb_registry_at(registry, 0)->problem);
    zeb_registry_close(registry);
}

/* All at once, with a log: the sound ones load, each broken one is a warning, order is by name, first folder wins. */
static void test_whole_folder(void **state) {
    (void)state;
    const char *const folders[] = {BAD_FOLDER, BAD_FOLDER "/second", BAD_FOLDER "/there-is-no-such-folder"};
    static const char *const wanted[] = {"text", "void",   "magic",   "older", "abort",
                                         "fine", "sensor", "missing", "exit"};
    char *text = NULL;
    size_t size = 0;
    FILE *stream = open_memstream(&text, &size);
    assert_non_null(stream);
    const zeb_log log = {.stream = stream, .level = ZEB_LOG_WARNING};
    zeb_registry *registry = NULL;
    zeb_error error = {0};
    const zeb_registry_options options = {.folder = folders,
                                          .folder_count = 3,
                                          .wanted = wanted,
                                          .wanted_count = sizeof wanted / sizeof wanted[0],
                                          .log = &log};
    assert_int_equal(zeb_registry_open_with(&options, &registry, &error), ZEB_OK);
    (void)fclose(stream);
    assert_int_equal(zeb_registry_count(registry), sizeof wanted / sizeof wanted[0]);
    size_t broken = 0;
    for (size_t i = 0; i < zeb_registry_count(registry); i++) {
        const zeb_plugin_record *record = zeb_registry_at(registry, i);
        assert_true((record->plugin == NULL) == (record->problem != NULL));
        if (i > 0) assert_true(strcmp(zeb_registry_at(registry, i - 1)->name, record->name) < 0);
        if (record->problem == NULL) continue;
        broken++;
        assert_says(text, record->problem);
    }
    assert_int_equal(broken, 7);
    assert_says(text, "there-is-no-such-folder: No such file");
    assert_string_equal(zeb_registry_find(registry, "fine")->path, BAD_FOLDER "/zeb_fine.so");
    free(text);
    zeb_registry_close(registry);
}

/* Plugins whose devices nobody will use are not asked for them: what is wrong there is not met, sensors are. */
static void test_used_alone_are_asked(void **state) {
    (void)state;
    static const char *const wanted[] = {"abort", "fine", "sensor"};
    static const char *const used[] = {"fine"};
    zeb_registry *registry = NULL;
    zeb_error error = {0};
    const zeb_registry_options options = {
        .folder = bad_folder, .folder_count = 1, .wanted = wanted, .wanted_count = 3, .used = used, .used_count = 1};
    assert_int_equal(zeb_registry_open_with(&options, &registry, &error), ZEB_OK);
    const zeb_plugin_record *abort_record = zeb_registry_find(registry, "abort");
    assert_non_null(abort_record->plugin);
    assert_true(abort_record->probed);
    assert_false(abort_record->asked);
    assert_true(zeb_registry_find(registry, "fine")->asked);
    assert_int_equal(zeb_registry_find(registry, "fine")->device_count, 2);
    assert_says(zeb_registry_find(registry, "sensor")->sensor_problem, "no thermometer");
    zeb_registry_close(registry);
}

static void test_unknown_name(void **state) {
    (void)state;
    zeb_registry *registry = open_one("fine", ZEB_PROBE_NEVER, 0);
    const zeb_plugin_record *record = NULL;
    zeb_error error = {0};
    assert_int_equal(zeb_registry_require(registry, "fime", &record, &error), ZEB_ERR_NOT_FOUND);
    assert_says(error.text, "no plugin named 'fime'");
    assert_says(error.text, "did you mean 'fine'?");
    zeb_registry_close(registry);
    assert_int_equal(zeb_registry_open(NULL, 0, NULL, &registry, &error), ZEB_OK);
    assert_int_equal(zeb_registry_count(registry), 0);
    assert_int_equal(zeb_registry_require(registry, "cpu", &record, &error), ZEB_ERR_NOT_FOUND);
    assert_says(error.text, "no plugins were found");
    zeb_registry_close(registry);
}

static void test_device_open(void **state) {
    (void)state;
    zeb_registry *registry = open_one("fine", ZEB_PROBE_NEVER, 0);
    zeb_device_handle handle;
    zeb_error error = {0};
    assert_int_equal(zeb_device_open(registry, "fine", NULL, &handle, &error), ZEB_OK);
    assert_string_equal(handle.info.id, "d0");
    assert_int_equal(handle.settings.threads, 7);
    zeb_device_close(&handle);
    assert_null(handle.backend);
    zeb_device_close(&handle);
    assert_int_equal(zeb_device_open(registry, "fine:d1", NULL, &handle, &error), ZEB_OK);
    assert_string_equal(handle.info.id, "d1");
    zeb_device_close(&handle);
    assert_int_equal(zeb_device_open(registry, "fine:d2", NULL, &handle, &error), ZEB_ERR_NOT_FOUND);
    assert_says(error.text, "no device 'd2'; there are: d0, d1");
    const zeb_device_options many = {.threads = 99};
    assert_int_equal(zeb_device_open(registry, "fine", &many, &handle, &error), ZEB_ERR_DEVICE);
    assert_null(handle.backend);
    static const char *const wrong[] = {"", ":", ":d0", "fine:"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        assert_int_equal(zeb_device_open(registry, wrong[i], NULL, &handle, &error), ZEB_ERR_ARGUMENT);
    assert_int_equal(zeb_device_open(registry, "other:d0", NULL, &handle, &error), ZEB_ERR_NOT_FOUND);
    zeb_registry_close(registry);
}

/* Devices are listed in a child whether or not the registry has probed; a child that dies is an error, not our end. */
static void test_device_list(void **state) {
    (void)state;
    static const zeb_probe_mode mode[] = {ZEB_PROBE_CHILD, ZEB_PROBE_NEVER};
    zeb_error error = {0};
    zeb_arena *arena = NULL;
    const zeb_device_info *info = NULL;
    size_t count = 0;
    assert_int_equal(zeb_arena_create(&arena, &error), ZEB_OK);
    for (size_t i = 0; i < 2; i++) {
        zeb_registry *registry = open_one("fine", mode[i], 0);
        assert_int_equal(zeb_device_list(zeb_registry_at(registry, 0), 0, arena, &info, &count, &error), ZEB_OK);
        assert_int_equal(count, 2);
        assert_string_equal(info[0].name, "device 0");
        zeb_registry_close(registry);
    }
    zeb_registry *registry = open_one("abort", ZEB_PROBE_NEVER, 0);
    assert_non_null(zeb_registry_at(registry, 0)->plugin); /* not probed: its fault is not known yet */
    assert_int_equal(zeb_device_list(zeb_registry_at(registry, 0), 0, arena, &info, &count, &error), ZEB_ERR_DEVICE);
    assert_says(error.text, "SIGABRT");
    assert_int_equal(count, 0);
    zeb_registry_close(registry);
    zeb_arena_destroy(arena);
}

int main(void) {
    const struct CMUnitTest test[] = {
        cmocka_unit_test(test_each_flaw),
        cmocka_unit_test(test_hang_is_ended),
        cmocka_unit_test(test_fine),
        cmocka_unit_test(test_short_table),
        cmocka_unit_test(test_sensor_absent_is_fine),
        cmocka_unit_test(test_chatty),
        cmocka_unit_test(test_whole_folder),
        cmocka_unit_test(test_unknown_name),
        cmocka_unit_test(test_used_alone_are_asked),
        cmocka_unit_test(test_device_open),
        cmocka_unit_test(test_device_list),
    };
    return cmocka_run_group_tests(test, NULL, NULL);
}
