/* How many threads a control group lets us have, from recorded files of both kinds of groups. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cpuinfo.h"
#include "tree.h"

static double quota(const char *groups, const char *path, const char *limit, const char *more_path, const char *more) {
    replay_tree tree;
    replay_tree_create(&tree, ZEB_SOURCE_DIR "/tests/replay/trees/host-nothing.txt");
    replay_tree_write(&tree, "proc/self/cgroup", groups);
    replay_tree_write(&tree, path, limit);
    if (more != NULL) replay_tree_write(&tree, more_path, more);
    const double found = cpu_quota_find(tree.root);
    cpu_places places;
    zeb_error error = {""};
    assert_int_equal(cpu_places_find(tree.root, &places, &error), ZEB_OK);
    const uint32_t allowed = (uint32_t)found + ((double)(uint32_t)found < found);
    assert_int_equal(places.limit, found > 0 && allowed < places.count ? allowed : places.count);
    assert_true(places.limit >= 1);
    replay_tree_destroy(&tree);
    return found;
}

static void near(double a, double b) {
    assert_true(a > b - 1e-9 && a < b + 1e-9);
}

static void test_version_2(void **state) {
    (void)state;
    near(quota("0::/a/b\n", "sys/fs/cgroup/a/b/cpu.max", "50000 100000", NULL, NULL), 0.5);
    near(quota("0::/a/b\n", "sys/fs/cgroup/a/b/cpu.max", "max 100000", "sys/fs/cgroup/a/cpu.max", "150000 100000"),
         1.5);
    near(quota("0::/a/b\n", "sys/fs/cgroup/a/b/cpu.max", "20000 100000", "sys/fs/cgroup/a/cpu.max", "150000 100000"),
         0.2);
    near(quota("0::/of/the/host\n", "sys/fs/cgroup/cpu.max", "100000 100000", NULL, NULL), 1);
    near(quota("0::/\n", "sys/fs/cgroup/cpu.max", "max 100000", NULL, NULL), 0);
    near(quota("0::/\n", "sys/fs/cgroup/cpu.max", "garbage", NULL, NULL), 0);
    near(quota("0::/\n", "sys/fs/cgroup/cpu.max", "100000", NULL, NULL), 0);
    near(quota("0::/\n", "sys/fs/cgroup/cpu.max", "100000 0", NULL, NULL), 0);
}

static void test_version_1(void **state) {
    (void)state;
    near(quota("4:memory:/m\n3:cpu,cpuacct:/docker/x\n0::/\n", "sys/fs/cgroup/cpu,cpuacct/docker/x/cpu.cfs_quota_us",
               "75000", "sys/fs/cgroup/cpu,cpuacct/docker/x/cpu.cfs_period_us", "50000"),
         1.5);
    near(quota("1:cpu:/job\n", "sys/fs/cgroup/cpu/cpu.cfs_quota_us", "100000", "sys/fs/cgroup/cpu/cpu.cfs_period_us",
               "100000"),
         1);
    near(
        quota("1:cpu:/\n", "sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1", "sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000"),
        0);
    near(quota("2:cpuset:/\n", "sys/fs/cgroup/cpuset/cpu.cfs_quota_us", "1000",
               "sys/fs/cgroup/cpuset/cpu.cfs_period_us", "100000"),
         0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_version_2), cmocka_unit_test(test_version_1)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
