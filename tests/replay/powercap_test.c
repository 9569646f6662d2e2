/* The powercap plugin over recorded machines, alone and under the sampler. Time is the test's own: readings get a
 * virtual clock, and counters are rewritten between them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "energy/sampler.h"
#include "tree.h"

#define ZONES "sys/class/powercap/"
#define SECOND UINT64_C(1000000000)

static const zeb_sensor_table *powercap;
static uint64_t virtual_ns;

static zeb_status virtual_sample(zeb_sensor *sensor, zeb_reading *reading, uint32_t count, zeb_error *error) {
    zeb_status status = powercap->sample(sensor, reading, count, error);
    for (uint32_t i = 0; i < count; i++) {
        assert_true(status != ZEB_OK || reading[i].time_ns > 0);
        reading[i].time_ns = virtual_ns;
    }
    return status;
}

static zeb_sensor_table virtual_table;

static int load_plugin(void **state) {
    (void)state;
    void *library = dlopen(ZEB_PLUGIN_DIR "/zeb_powercap.so", RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) fail_msg("%s", dlerror());
    zeb_plugin_entry_fn entry;
    *(void **)(&entry) = dlsym(library, ZEB_PLUGIN_ENTRY_NAME);
    assert_non_null(entry);
    const zeb_plugin *plugin = entry();
    assert_int_equal(plugin->magic, ZEB_PLUGIN_MAGIC);
    assert_int_equal(plugin->abi, ZEB_PLUGIN_ABI);
    assert_string_equal(plugin->name, "powercap");
    assert_null(plugin->backend);
    powercap = plugin->sensor;
    virtual_table = *powercap;
    virtual_table.sample = virtual_sample;
    return 0;
}

/* ---- one machine under test ---- */

typedef struct machine {
    replay_tree tree;
    zeb_sampler *sampler;
    const zeb_channel *channel;
    uint32_t channels;
} machine;

static void machine_open(machine *m, const char *name) {
    char path[512];
    zeb_error error = {{0}};
    (void)snprintf(path, sizeof path, ZEB_SOURCE_DIR "/tests/replay/trees/%s.txt", name);
    replay_tree_create(&m->tree, path);
    virtual_ns = 1000 * SECOND;
    if (zeb_sampler_create(&virtual_table, "powercap", m->tree.root, 0, &m->sampler, &error) != ZEB_OK) {
        fail_msg("%s", error.text);
    }
    m->channel = zeb_sampler_channels(m->sampler, &m->channels);
}

static void machine_close(machine *m) {
    zeb_sampler_destroy(m->sampler);
    replay_tree_destroy(&m->tree);
}

static void set_energy(const machine *m, const char *zone, uint64_t energy_uj) {
    char path[256], text[32];
    (void)snprintf(path, sizeof path, ZONES "%s/energy_uj", zone);
    (void)snprintf(text, sizeof text, "%llu", (unsigned long long)energy_uj);
    replay_tree_write(&m->tree, path, text);
}

static uint64_t mark_after(const machine *m, uint64_t later_ns) {
    uint64_t time_ns = 0;
    zeb_error error;
    virtual_ns += later_ns;
    assert_int_equal(zeb_sampler_mark(m->sampler, &time_ns, &error), ZEB_OK);
    assert_int_equal(time_ns, virtual_ns);
    return time_ns;
}

static void measure(const machine *m, uint64_t begin, uint64_t end, zeb_energy *energy) {
    zeb_error error;
    assert_int_equal(zeb_sampler_energy(m->sampler, (zeb_window){begin, end}, (zeb_window){0, 0}, (zeb_window){0, 0},
                                        energy, &error),
                     ZEB_OK);
}

static uint32_t index_of(const machine *m, const char *name) {
    for (uint32_t i = 0; i < m->channels; i++) {
        if (strcmp(m->channel[i].name, name) == 0) return i;
    }
    fail_msg("no channel %s", name);
    return 0;
}

/* Every name in order, and which of them count: "package-0* core-0". */
static void expect_channels(const machine *m, const char *expected) {
    char text[512] = "";
    for (uint32_t i = 0; i < m->channels; i++) {
        size_t used = strlen(text);
        (void)snprintf(text + used, sizeof text - used, "%s%s%s", i > 0 ? " " : "", m->channel[i].name,
                       zeb_sampler_counts(m->sampler, i) ? "*" : "");
    }
    assert_string_equal(text, expected);
}

static void expect_reason(const zeb_energy *energy, const char *part) {
    assert_false(energy->known);
    assert_false(energy->valid);
    assert_int_equal(energy->gross_uj, 0);
    if (strstr(energy->reason, part) == NULL) fail_msg("\"%s\" does not say \"%s\"", energy->reason, part);
}

/* ---- what is found ---- */

static void test_desktop(void **state) {
    (void)state;
    machine m;
    machine_open(&m, "desktop");
    expect_channels(&m, "package-0* core-0 uncore-0");
    uint32_t package = index_of(&m, "package-0"), core = index_of(&m, "core-0");
    assert_int_equal(m.channel[core].parent, package);
    assert_int_equal(m.channel[index_of(&m, "uncore-0")].parent, package);
    assert_int_equal(m.channel[package].range, 262143328850u);
    assert_int_equal(m.channel[package].max_power_uw, 95000000);
    assert_int_equal(m.channel[core].max_power_uw, 95000000); /* no more than the package */
    assert_string_equal(m.channel[package].domain, "package");
    assert_int_equal(zeb_sampler_interval_ns(m.sampler), SECOND);
    assert_int_equal(zeb_sampler_window_ns(m.sampler), SECOND);
    uint64_t begin = mark_after(&m, SECOND);
    set_energy(&m, "intel-rapl:0", 1000000 + 80000000);
    set_energy(&m, "intel-rapl:0:0", 700000 + 60000000);
    uint64_t end = mark_after(&m, 2 * SECOND);
    zeb_energy energy;
    measure(&m, begin, end, &energy);
    assert_true(energy.known && energy.valid);
    assert_int_equal(energy.gross_uj, 80000000);
    assert_int_equal(energy.channel[core].gross_uj, 60000000);
    assert_false(energy.channel[index_of(&m, "uncore-0")].known); /* it never moved: unknown, not 0 J */
    assert_false(energy.idle_known);
    machine_close(&m);
}

static void measure_two_sockets(const machine *m, const char *package_0, const char *dram_0, const char *package_1,
                                const char *dram_1) {
    zeb_energy energy;
    uint64_t begin = mark_after(m, SECOND);
    set_energy(m, package_0, 50000000 + 100000000);
    set_energy(m, dram_0, 7000000 + 10000000);
    set_energy(m, package_1, 60000000 + 120000000);
    set_energy(m, dram_1, 8000000 + 13000000);
    uint64_t end = mark_after(m, 2 * SECOND);
    measure(m, begin, end, &energy);
    assert_true(energy.known);
    assert_int_equal(energy.gross_uj, 243000000);
    assert_int_equal(energy.channel[index_of(m, "dram-0")].gross_uj, 10000000);
    assert_int_equal(energy.channel[index_of(m, "dram-1")].gross_uj, 13000000);
    assert_int_equal(energy.channel[index_of(m, "package-0")].gross_uj, 100000000);
}

static void test_two_sockets(void **state) {
    (void)state;
    machine m;
    machine_open(&m, "two-sockets");
    expect_channels(&m, "package-0* dram-0* package-1* dram-1*");
    assert_int_equal(m.channel[index_of(&m, "dram-0")].parent, ZEB_NONE);
    assert_int_equal(m.channel[index_of(&m, "dram-0")].max_power_uw, 36000000);
    measure_two_sockets(&m, "intel-rapl:0", "intel-rapl:0:0", "intel-rapl:1", "intel-rapl:1:0");
    machine_close(&m);
}

static void test_zone_order_means_nothing(void **state) {
    (void)state;
    machine m;
    machine_open(&m, "two-sockets-shuffled");
    expect_channels(&m, "package-0* dram-0* package-1* dram-1* psys");
    measure_two_sockets(&m, "intel-rapl:2", "intel-rapl:2:0", "intel-rapl:0", "intel-rapl:0:0");
    machine_close(&m);
}

static void test_laptop_counts_the_package_once(void **state) {
    (void)state;
    machine m;
    machine_open(&m, "laptop");
    expect_channels(&m, "package-0* core-0 uncore-0 package-0-mmio psys");
    assert_int_equal(m.channel[index_of(&m, "package-0-mmio")].mirror, index_of(&m, "package-0"));
    assert_int_equal(m.channel[index_of(&m, "package-0")].max_power_uw, 45000000); /* half the 90 W peak */
    uint64_t begin = mark_after(&m, SECOND);
    set_energy(&m, "intel-rapl:0", 400000000 + 120000000); /* 60 W, four times the long-term limit, for 2 s */
    set_energy(&m, "intel-rapl-mmio:0", 400000100 + 120000000);
    set_energy(&m, "intel-rapl:1", 900000000 + 150000000);
    uint64_t end = mark_after(&m, 2 * SECOND);
    zeb_energy energy;
    measure(&m, begin, end, &energy);
    assert_true(energy.known);
    assert_int_equal(energy.gross_uj, 120000000);
    assert_int_equal(energy.channel[index_of(&m, "psys")].gross_uj, 150000000);
    machine_close(&m);
}

static void test_amd(void **state) {
    (void)state;
    machine m;
    machine_open(&m, "amd");
    expect_channels(&m, "package-0* core-0");
    assert_int_equal(m.channel[0].max_power_uw, 0);
    assert_int_equal(zeb_sampler_interval_ns(m.sampler), SECOND);
    machine_close(&m);
    machine_open(&m, "amd-mirrored-dies");
    expect_channels(&m, "package-0-die-0* core-0-die-0 package-0-die-1 core-0-die-1");
    assert_int_equal(m.channel[index_of(&m, "package-0-die-1")].mirror, index_of(&m, "package-0-die-0"));
    machine_close(&m);
    machine_open(&m, "two-dies");
    expect_channels(&m, "package-0-die-0* dram-0-die-0* package-0-die-1* dram-0-die-1*");
    machine_close(&m);
}

static void test_mmio_alone_is_no_mirror(void **state) {
    (void)state;
    machine m;
    machine_open(&m, "mmio-only");
    expect_channels(&m, "package-0-mmio*");
    machine_close(&m);
}

static void test_mmio_stands_in_for_an_unreadable_msr(void **state) {
    (void)state;
    machine m;
    char path[512];
    (void)snprintf(path, sizeof path, ZEB_SOURCE_DIR "/tests/replay/trees/laptop.txt");
    replay_tree_create(&m.tree, path);
    replay_tree_write(&m.tree, ZONES "intel-rapl:0/energy_uj", "");
    zeb_error error;
    assert_int_equal(zeb_sampler_create(&virtual_table, "powercap", m.tree.root, 0, &m.sampler, &error), ZEB_OK);
    m.channel = zeb_sampler_channels(m.sampler, &m.channels);
    expect_channels(&m, "package-0 core-0 uncore-0 package-0-mmio* psys");
    machine_close(&m);
}

/* ---- what windows make of it ---- */

static void test_wrap_in_the_middle(void **state) {
    (void)state;
    machine m;
    zeb_energy energy;
    machine_open(&m, "desktop");
    set_energy(&m, "intel-rapl:0", 262143328850u - 30000000u);
    uint64_t begin = mark_after(&m, SECOND);
    set_energy(&m, "intel-rapl:0", 262143328850u - 5000000u);
    (void)mark_after(&m, SECOND);
    set_energy(&m, "intel-rapl:0", 40000000);
    uint64_t end = mark_after(&m, SECOND);
    measure(&m, begin, end, &energy);
    assert_true(energy.known);
    assert_int_equal(energy.gross_uj, 70000000);
    machine_close(&m);
}

static void test_backwards_is_not_a_wrap(void **state) {
    (void)state;
    machine m;
    zeb_energy energy;
    machine_open(&m, "desktop");
    set_energy(&m, "intel-rapl:0", 100000000000u);
    uint64_t begin = mark_after(&m, SECOND);
    set_energy(&m, "intel-rapl:0", 90000000000u);
    uint64_t end = mark_after(&m, SECOND);
    measure(&m, begin, end, &energy);
    expect_reason(&energy, "implied power");
    expect_reason(&energy, "package-0");
    machine_close(&m);
    machine_open(&m, "amd"); /* no limit is known here: half the range is the bound */
    set_energy(&m, "intel-rapl:0", 30000000000u);
    begin = mark_after(&m, SECOND);
    set_energy(&m, "intel-rapl:0", 29000000000u);
    end = mark_after(&m, SECOND);
    measure(&m, begin, end, &energy);
    expect_reason(&energy, "over half its range");
    machine_close(&m);
}

static void test_stuck(void **state) {
    (void)state;
    machine m;
    zeb_energy energy;
    machine_open(&m, "desktop");
    uint64_t begin = mark_after(&m, SECOND);
    uint64_t end = mark_after(&m, 2 * SECOND);
    measure(&m, begin, end, &energy);
    expect_reason(&energy, "stuck");
    machine_close(&m);
}

static void test_memory_without_a_meter_is_left_out(void **state) {
    (void)state;
    machine m;
    zeb_energy energy;
    machine_open(&m, "still-memory");
    expect_channels(&m, "package-0* dram-0*");
    uint64_t begin = mark_after(&m, SECOND);
    set_energy(&m, "intel-rapl:0", 5000000 + 60000000);
    uint64_t end = mark_after(&m, 2 * SECOND);
    measure(&m, begin, end, &energy);
    assert_true(energy.known);
    assert_int_equal(energy.gross_uj, 60000000);
    assert_false(energy.channel[1].counted);
    assert_non_null(strstr(energy.note, "dram-0"));
    machine_close(&m);
}

static void test_range_unreadable(void **state) {
    (void)state;
    machine m;
    zeb_energy energy;
    machine_open(&m, "no-range");
    uint64_t begin = mark_after(&m, SECOND);
    set_energy(&m, "intel-rapl:0", 5000000 + 60000000);
    uint64_t end = mark_after(&m, 2 * SECOND);
    measure(&m, begin, end, &energy);
    expect_reason(&energy, "range unknown");
    machine_close(&m);
}

static void test_one_package_unreadable_spoils_the_sum(void **state) {
    (void)state;
    machine m;
    zeb_energy energy;
    machine_open(&m, "garbled");
    uint64_t begin = mark_after(&m, SECOND);
    set_energy(&m, "intel-rapl:0", 5000000 + 60000000);
    uint64_t end = mark_after(&m, 2 * SECOND);
    measure(&m, begin, end, &energy);
    expect_reason(&energy, "package-1: unreadable");
    assert_true(energy.channel[0].known);
    assert_int_equal(energy.channel[0].gross_uj, 60000000);
    machine_close(&m);
}

static void test_counter_lost_on_the_way(void **state) {
    (void)state;
    machine m;
    zeb_energy energy;
    machine_open(&m, "desktop");
    uint64_t begin = mark_after(&m, SECOND);
    replay_tree_write(&m.tree, ZONES "intel-rapl:0/energy_uj", "123 456");
    (void)mark_after(&m, SECOND);
    set_energy(&m, "intel-rapl:0", 61000000);
    uint64_t end = mark_after(&m, SECOND);
    measure(&m, begin, end, &energy);
    expect_reason(&energy, "unreadable");
    machine_close(&m);
}

/* ---- what is refused ---- */

static void expect_refusal(const char *tree_name, zeb_status expected, const char *part) {
    replay_tree tree;
    zeb_sensor *sensor = NULL;
    zeb_error error = {{0}};
    char path[512];
    (void)snprintf(path, sizeof path, ZEB_SOURCE_DIR "/tests/replay/trees/%s.txt", tree_name);
    replay_tree_create(&tree, path);
    assert_int_equal(powercap->open(tree.root, &sensor, &error), expected);
    assert_null(sensor);
    if (strstr(error.text, part) == NULL) fail_msg("\"%s\" does not say \"%s\"", error.text, part);
    replay_tree_destroy(&tree);
}

static void test_refusals_say_what_helps(void **state) {
    (void)state;
    zeb_sensor *sensor = NULL;
    zeb_error error = {{0}};
    expect_refusal("no-rapl", ZEB_ERR_NOT_FOUND, "intel_rapl_msr");
    expect_refusal("container", ZEB_ERR_IO, "container");
    assert_int_equal(powercap->open("/nowhere/at/all", &sensor, &error), ZEB_ERR_NOT_FOUND);
    assert_non_null(strstr(error.text, "/nowhere/at/all/sys/class/powercap"));
    char longest[2000];
    memset(longest, 'x', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    assert_int_equal(powercap->open(longest, &sensor, &error), ZEB_ERR_ARGUMENT);
    powercap->close(NULL);
}

static void test_permission_names_file_and_remedy(void **state) {
    (void)state;
    replay_tree tree;
    zeb_sensor *sensor = NULL;
    zeb_error error = {{0}};
    char path[512];
    bool root = geteuid() == 0;
    replay_tree_create(&tree, ZEB_SOURCE_DIR "/tests/replay/trees/mmio-only.txt");
    (void)snprintf(path, sizeof path, "%s/" ZONES "intel-rapl-mmio:0/energy_uj", tree.root);
    assert_int_equal(chmod(path, 0), 0);
    if (root && seteuid(65534) != 0) { /* root reads everything: be nobody for a moment */
        replay_tree_destroy(&tree);
        print_message("SKIPPED: can't drop the rights of root here\n");
        skip();
    }
    zeb_status status = powercap->open(tree.root, &sensor, &error);
    if (root) assert_int_equal(seteuid(0), 0);
    assert_int_equal(status, ZEB_ERR_IO);
    assert_non_null(strstr(error.text, "intel-rapl-mmio:0/energy_uj: Permission denied"));
    assert_non_null(strstr(error.text, "CAP_DAC_READ_SEARCH"));
    replay_tree_destroy(&tree);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_desktop),
        cmocka_unit_test(test_two_sockets),
        cmocka_unit_test(test_zone_order_means_nothing),
        cmocka_unit_test(test_laptop_counts_the_package_once),
        cmocka_unit_test(test_amd),
        cmocka_unit_test(test_mmio_alone_is_no_mirror),
        cmocka_unit_test(test_mmio_stands_in_for_an_unreadable_msr),
        cmocka_unit_test(test_wrap_in_the_middle),
        cmocka_unit_test(test_backwards_is_not_a_wrap),
        cmocka_unit_test(test_stuck),
        cmocka_unit_test(test_memory_without_a_meter_is_left_out),
        cmocka_unit_test(test_range_unreadable),
        cmocka_unit_test(test_one_package_unreadable_spoils_the_sum),
        cmocka_unit_test(test_counter_lost_on_the_way),
        cmocka_unit_test(test_refusals_say_what_helps),
        cmocka_unit_test(test_permission_names_file_and_remedy),
    };
    return cmocka_run_group_tests(tests, load_plugin, NULL);
}
