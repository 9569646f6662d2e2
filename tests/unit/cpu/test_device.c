/* The device as the harness opens it: what was asked and what took effect. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dlfcn.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "zeb/plugin.h"

static const zeb_backend *backend(void) {
    void *library = dlopen(ZEB_PLUGIN_DIR "/zeb_cpu.so", RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) fail_msg("%s", dlerror());
    zeb_plugin_entry_fn entry;
    *(void **)&entry = dlsym(library, ZEB_PLUGIN_ENTRY_NAME);
    assert_non_null(entry);
    return entry()->backend; /* the harness never unloads a plugin either */
}

static zeb_device_settings opened(uint32_t threads, const char *isa) {
    const zeb_backend *b = backend();
    zeb_error error = {""};
    zeb_device_options options = {.struct_size = sizeof options, .threads = threads};
    zeb_device_settings settings = {.struct_size = sizeof settings};
    zeb_device *device = NULL;
    (void)snprintf(options.isa, sizeof options.isa, "%s", isa);
    assert_int_equal(b->open(0, &options, &device, &error), ZEB_OK);
    assert_int_equal(b->settings(device, &settings, &error), ZEB_OK);
    b->close(device);
    return settings;
}

/* In a process whose signals have a stack too small for AMX tiles, Linux refuses them. The exit status says what was
 * found: 0 all as it should be. */
static int without_tiles(const zeb_backend *b) {
    static char stack[8192];
    const stack_t small = {.ss_sp = stack, .ss_size = sizeof stack};
    zeb_error error = {""};
    zeb_device_options options = {.struct_size = sizeof options, .threads = 1};
    zeb_device_settings settings = {.struct_size = sizeof settings};
    zeb_device *device = NULL;
    if (sigaltstack(&small, NULL) != 0) return 1;
    if (b->open(0, &options, &device, &error) != ZEB_OK || b->settings(device, &settings, &error) != ZEB_OK) return 2;
    b->close(device);
    if (strcmp(settings.isa, "amx") == 0) return 3;
    return strstr(settings.note, "isa-refused=amx ") != NULL ? 0 : 4;
}

/* Before any other test: what a process was granted once stays granted. */
static void test_tiles_refused(void **state) {
    (void)state;
    const zeb_backend *b = backend();
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) _exit(without_tiles(b));
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    const zeb_device_settings here = opened(1, "");
    if (strcmp(here.isa, "amx") != 0) {
        print_message("SKIPPED: this processor has no AMX tiles that could be refused\n");
        skip();
    }
    assert_null(strstr(here.note, "isa-refused"));
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void test_threads_above_the_machine(void **state) {
    (void)state;
    zeb_device_info info;
    zeb_error error = {""};
    assert_int_equal(backend()->device_info(0, &info, &error), ZEB_OK);
    const zeb_device_settings settings = opened(100000, "");
    assert_int_equal(settings.threads, info.units);
    assert_non_null(strstr(settings.note, "threads-asked=100000"));
    assert_int_equal(opened(0, "").threads, info.units);
    assert_null(strstr(opened(1, "").note, "threads-asked"));
}

static void test_threads_above_the_affinity(void **state) {
    (void)state;
    cpu_set_t before, one;
    assert_int_equal(sched_getaffinity(0, sizeof before, &before), 0);
    CPU_ZERO(&one);
    for (int i = 0; i < CPU_SETSIZE && CPU_COUNT(&one) == 0; i++)
        if (CPU_ISSET(i, &before)) CPU_SET(i, &one);
    assert_int_equal(sched_setaffinity(0, sizeof one, &one), 0);
    const zeb_device_settings settings = opened(2, "");
    assert_int_equal(sched_setaffinity(0, sizeof before, &before), 0);
    assert_int_equal(settings.threads, 1);
    assert_non_null(strstr(settings.note, "threads-asked=2 threads-lowered=affinity"));
    assert_non_null(strstr(settings.note, "processors=1"));
}

static void test_isa(void **state) {
    (void)state;
    const zeb_backend *b = backend();
    zeb_error error = {""};
    zeb_device *device = NULL;
    assert_string_equal(opened(1, "scalar").isa, "scalar");
    zeb_device_options options = {.struct_size = sizeof options, .isa = "mmx"};
    assert_int_equal(b->open(0, &options, &device, &error), ZEB_ERR_ARGUMENT);
    assert_non_null(strstr(error.text, "mmx"));
    assert_int_equal(b->open(1, &options, &device, &error), ZEB_ERR_ARGUMENT);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_tiles_refused),
                                       cmocka_unit_test(test_threads_above_the_machine),
                                       cmocka_unit_test(test_threads_above_the_affinity), cmocka_unit_test(test_isa)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
