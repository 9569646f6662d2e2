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

enum { ROWS = 45, K = 96, N = 80, CHOICES_MAX = 64 };

typedef struct layer {
    zeb_tensor tensor[5]; /* live rows, offsets, x, w, out */
    zeb_node node;
    zeb_plan *plan;
    float w[N * K], x[ROWS * K], out[ROWS * N], before[ROWS * N];
} layer;

static void set_tensor(zeb_tensor *t, zeb_tensor_role role, zeb_dtype dtype, int64_t rows, int64_t width, bool live) {
    *t = (zeb_tensor){.name = "t", .role = role, .dtype = dtype, .rank = width > 0 ? 2 : 1, .scale = ZEB_NONE};
    t->extent[0] = (zeb_extent){rows, live ? 0 : ZEB_NONE, 0};
    t->extent[1] = (zeb_extent){width > 0 ? width : 1, ZEB_NONE, 0};
    t->offsets = live ? 1 : ZEB_NONE;
    t->bytes = (size_t)(rows * t->extent[1].max) * 4;
}

static void compile_layer(const zeb_backend *b, zeb_device *device, uint32_t precision, layer *l) {
    zeb_error error = {""};
    for (int i = 0; i < N * K; i++)
        l->w[i] = (float)((i * 7919) % 201 - 100) / 100;
    for (int i = 0; i < ROWS * K; i++)
        l->x[i] = (float)((i * 104729) % 401 - 200) / 64;
    set_tensor(&l->tensor[0], ZEB_ROLE_INPUT, ZEB_I32, 1, 0, false);
    set_tensor(&l->tensor[1], ZEB_ROLE_INPUT, ZEB_I32, 2, 0, false);
    set_tensor(&l->tensor[2], ZEB_ROLE_INPUT, ZEB_F32, ROWS, K, true);
    set_tensor(&l->tensor[3], ZEB_ROLE_WEIGHT, ZEB_F32, N, K, false);
    set_tensor(&l->tensor[4], ZEB_ROLE_OUTPUT, ZEB_F32, ROWS, N, true);
    l->tensor[3].data = l->w;
    l->node = (zeb_node){.op = ZEB_OP_LINEAR, .name = "layer"};
    for (int i = 0; i < ZEB_NODE_INPUTS_MAX; i++)
        l->node.input[i] = i == ZEB_LINEAR_X ? 2 : i == ZEB_LINEAR_W ? 3 : ZEB_NONE;
    for (int i = 0; i < ZEB_NODE_OUTPUTS_MAX; i++)
        l->node.output[i] = i == 0 ? 4 : ZEB_NONE;
    l->node.attr.linear = (zeb_linear_attr){.activation = ZEB_ACT_GELU_ERF, .precision = precision};
    const zeb_graph graph = {
        .struct_size = sizeof graph, .tensor_count = 5, .node_count = 1, .tensor = l->tensor, .node = &l->node};
    assert_int_equal(b->compile(device, &graph, &l->plan, &error), ZEB_OK);
    assert_int_equal(b->write(l->plan, 2, l->x, sizeof l->x, &error), ZEB_OK);
}

static void run_layer(const zeb_backend *b, layer *l, int32_t rows, float *out) {
    zeb_error error = {""};
    const int32_t offsets[2] = {0, rows};
    assert_int_equal(b->write(l->plan, 0, &rows, sizeof rows, &error), ZEB_OK);
    assert_int_equal(b->write(l->plan, 1, offsets, sizeof offsets, &error), ZEB_OK);
    assert_int_equal(b->submit(l->plan, &error), ZEB_OK);
    assert_int_equal(b->wait(l->plan, &error), ZEB_OK);
    assert_int_equal(b->read(l->plan, 4, out, (size_t)rows * N * sizeof *out, &error), ZEB_OK);
}

/* In eight and four bits results are the same to the last bit, whatever is chosen. */
static void check_choices(uint32_t threads, uint32_t precision, int32_t rows) {
    static layer l;
    const zeb_backend *b = backend();
    zeb_error error = {""};
    zeb_choice choice[CHOICES_MAX];
    uint32_t count = 0;
    const zeb_device_options options = {.struct_size = sizeof options, .threads = threads};
    zeb_device *device = NULL;
    assert_int_equal(b->open(0, &options, &device, &error), ZEB_OK);
    assert_int_equal(b->choices(device, false, choice, CHOICES_MAX, &count, &error), ZEB_OK);
    assert_in_range(count, 4, CHOICES_MAX);
    compile_layer(b, device, precision, &l);
    run_layer(b, &l, rows, l.before);
    for (uint32_t i = 0, usual = 0; i < count; i++) {
        const bool first = i == 0 || strcmp(choice[i].name, choice[i - 1].name) != 0;
        const bool last = i + 1 == count || strcmp(choice[i].name, choice[i + 1].name) != 0;
        assert_true(choice[i].ns == 0); /* nothing was measured */
        if (first) usual = 0;           /* which no choice has */
        if (choice[i].built_in) usual = choice[i].value;
        assert_int_equal(b->choose(device, choice[i].name, choice[i].value, &error), ZEB_OK);
        run_layer(b, &l, rows, l.out);
        assert_memory_equal(l.out, l.before, (size_t)rows * N * sizeof *l.out);
        if (last) assert_int_equal(b->choose(device, choice[i].name, usual, &error), ZEB_OK); /* fails without one */
    }
    assert_int_equal(b->choose(device, choice[0].name, 12345, &error), ZEB_ERR_ARGUMENT);
    assert_int_equal(b->choose(device, "size", 1, &error), ZEB_ERR_ARGUMENT);
    b->release(l.plan);
    b->close(device);
}

static void test_choices(void **state) {
    (void)state;
    for (uint32_t threads = 1; threads <= 2; threads++) {
        for (int32_t rows = 5; rows <= ROWS; rows += 10) {
            check_choices(threads, ZEB_PRECISION_W8A8, rows);
            check_choices(threads, ZEB_PRECISION_W4A8, rows);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tiles_refused), cmocka_unit_test(test_threads_above_the_machine),
        cmocka_unit_test(test_threads_above_the_affinity), cmocka_unit_test(test_isa), cmocka_unit_test(test_choices)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
