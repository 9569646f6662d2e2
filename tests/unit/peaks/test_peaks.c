/* The peaks of the plugin cpu: every loop runs on this processor, and what it says can be. Nothing is said of how fast
 * the machine is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "cpuinfo.h"
#include "peaks.h"

enum { MOST = 128, THREADS = 3 };

/* A device with so many threads and the processor's best instruction set. */
static zeb_device open_device(uint32_t threads) {
    zeb_device device = {0};
    zeb_error error = {{0}};
    cpu_isa isa;
    int pinned, lowered;
    assert_int_equal(cpu_isa_choose("", &isa, &lowered, &error), ZEB_OK);
    assert_int_equal(cpu_pool_create(threads, NULL, &device.pool, &pinned, &error), ZEB_OK);
    device.kernels = isa.kernels;
    return device;
}

static void test_what_it_says_can_be(void **state) {
    (void)state;
    zeb_device device = open_device(THREADS);
    zeb_error error = {{0}};
    uint32_t listed = 0, made = 0;
    static zeb_peak peak[MOST];
    assert_int_equal(cpu_peaks(&device, NULL, 0, &listed, &error), ZEB_OK);
    assert_in_range(listed, 1, MOST);
    assert_int_equal(cpu_peaks(&device, peak, MOST, &made, &error), ZEB_OK);
    assert_int_equal(made, listed);
    for (uint32_t i = 0; i < made; i++) {
        const zeb_peak *p = &peak[i];
        bool bytes = p->kind == ZEB_PEAK_BYTES;
        assert_true(bytes || p->kind == ZEB_PEAK_OPERATIONS);
        assert_true(p->threads == 1 || p->threads == 2 || p->threads == THREADS);
        assert_true(p->per_second > 1e6 && p->per_second < 1e16);
        assert_true(p->median_per_second > 0 && p->median_per_second <= p->per_second);
        assert_int_equal(p->working_set_bytes > 0, bytes);
        if (p->capacity_bytes > 0) assert_true(p->working_set_bytes <= p->capacity_bytes);
        for (uint32_t k = 0; k < i; k++) /* one of a name and number of threads */
            assert_false(strcmp(peak[k].name, p->name) == 0 && peak[k].threads == p->threads);
    }
    cpu_pool_destroy(device.pool);
}

static void test_no_more_than_there_is_room_for(void **state) {
    (void)state;
    zeb_device device = open_device(1);
    zeb_error error = {{0}};
    uint32_t count = 0;
    zeb_peak peak[2];
    memset(peak, 0x5a, sizeof peak);
    assert_int_equal(cpu_peaks(&device, peak, 1, &count, &error), ZEB_OK);
    assert_in_range(count, 1, MOST);
    assert_true(peak[0].per_second > 0);
    for (size_t i = 0; i < sizeof peak[1]; i++)
        assert_int_equal(((const unsigned char *)&peak[1])[i], 0x5a);
    cpu_pool_destroy(device.pool);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_what_it_says_can_be),
                                       cmocka_unit_test(test_no_more_than_there_is_room_for)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
