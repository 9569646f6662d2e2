/* Where an intensity comes from, and what it makes of an energy. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <ctype.h>
#include <math.h>
#include <string.h>

#include "energy/carbon.h"
#include "script.h"

static zeb_carbon find(const char *country, const char *region, double forced, double pue) {
    zeb_carbon carbon;
    zeb_error error = {{0}};
    if (zeb_carbon_find(country, region, forced, pue, &carbon, &error) != ZEB_OK) fail_msg("%s", error.text);
    return carbon;
}

static void test_order_of_sources(void **state) {
    (void)state;
    zeb_carbon c = find(NULL, NULL, -1, 1);
    assert_int_equal(c.scope, ZEB_CARBON_WORLD);
    assert_near(c.g_per_kwh, 475, 0);
    assert_int_equal(c.year, 2019);
    assert_string_equal(c.place, "world");
    c = find("FRA", NULL, -1, 1);
    assert_int_equal(c.scope, ZEB_CARBON_COUNTRY);
    assert_near(c.g_per_kwh, 56.039, 1e-12);
    assert_int_equal(c.year, 2023);
    assert_non_null(strstr(c.source, "Our World in Data"));
    assert_near(find("deu", NULL, -1, 1).g_per_kwh, 380.95, 1e-12);
    assert_near(find("Usa", NULL, -1, 1).g_per_kwh, 369.473, 1e-12);
    c = find("CAN", "Quebec", -1, 1);
    assert_int_equal(c.scope, ZEB_CARBON_REGION);
    assert_true(c.g_per_kwh > 26 && c.g_per_kwh < 40);
    assert_string_equal(c.place, "CAN/quebec");
    c = find("CAN", "quebec", 12.5, 1);
    assert_int_equal(c.scope, ZEB_CARBON_FORCED);
    assert_near(c.g_per_kwh, 12.5, 0);
    assert_int_equal(c.year, 0);
    assert_near(find(NULL, NULL, 0, 1).g_per_kwh, 0, 0); /* the user says so */
}

static void test_what_is_missing_falls_through_and_is_said(void **state) {
    (void)state;
    zeb_carbon c = find("XKX", NULL, -1, 1);
    assert_int_equal(c.scope, ZEB_CARBON_WORLD);
    assert_string_equal(c.place, "world");
    c = find("FRA", "quebec", -1, 1); /* a region of another country */
    assert_int_equal(c.scope, ZEB_CARBON_COUNTRY);
    assert_string_equal(c.place, "FRA");
}

static void test_bad_wishes(void **state) {
    (void)state;
    zeb_carbon c;
    zeb_error error = {{0}};
    const char *const codes[] = {"", "FR", "FRAN", "F1A", "fr\xc3\xa9"};
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        assert_int_equal(zeb_carbon_find(codes[i], NULL, -1, 1, &c, &error), ZEB_ERR_ARGUMENT);
        assert_non_null(strstr(error.text, "ISO 3166-1"));
    }
    assert_int_equal(zeb_carbon_find(NULL, NULL, -1, 0.9, &c, &error), ZEB_ERR_ARGUMENT);
    assert_int_equal(zeb_carbon_find(NULL, NULL, -1, (double)NAN, &c, &error), ZEB_ERR_ARGUMENT);
    assert_int_equal(zeb_carbon_find(NULL, NULL, (double)INFINITY, 1, &c, &error), ZEB_ERR_ARGUMENT);
}

static void test_grams(void **state) {
    (void)state;
    zeb_carbon c = find(NULL, NULL, 500, 1.2);
    uint64_t ug = 7;
    assert_true(zeb_carbon_ug(&c, 3600000000000, &ug)); /* 1 kWh */
    assert_int_equal(ug, 600000000);
    assert_true(zeb_carbon_ug(&c, 0, &ug));
    assert_int_equal(ug, 0);
    assert_true(zeb_carbon_ug(&c, 1000000, &ug)); /* 1 J */
    assert_int_equal(ug, 167);
    ug = 7;
    assert_false(zeb_carbon_ug(&c, -1, &ug));
    c.g_per_kwh = 1e20;
    assert_false(zeb_carbon_ug(&c, INT64_MAX, &ug));
    assert_int_equal(ug, 7);
}

static void test_tables_hold_together(void **state) {
    (void)state;
    assert_true(zeb_carbon_country_count > 40);
    for (size_t i = 0; i < zeb_carbon_country_count; i++) {
        const zeb_carbon_country *c = &zeb_carbon_countries[i];
        assert_int_equal(strlen(c->code), 3);
        assert_true(isupper((unsigned char)c->code[0]));
        assert_true(c->g_per_kwh > 10 && c->g_per_kwh < 1200);
        assert_true(c->year >= 2019 && c->year <= 2026);
        if (i > 0) assert_true(strcmp(zeb_carbon_countries[i - 1].code, c->code) < 0); /* in order: none twice */
    }
    const double expected[] = {995, 816, 743, 38, 26, 29, 48, 26, 230};
    for (size_t i = 0; i < ZEB_FUEL_COUNT; i++) {
        assert_near(zeb_carbon_fuels[i].g_per_kwh, expected[i], 0);
        assert_non_null(zeb_carbon_fuels[i].name);
    }
    for (size_t i = 0; i < zeb_carbon_region_count; i++) {
        double sum = 0;
        for (size_t f = 0; f < ZEB_FUEL_COUNT; f++) {
            sum += zeb_carbon_regions[i].share[f];
        }
        assert_near(sum, 100, 1.5); /* two mixes have a share without a name */
        assert_non_null(zeb_carbon_country_find(zeb_carbon_regions[i].country));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order_of_sources),     cmocka_unit_test(test_what_is_missing_falls_through_and_is_said),
        cmocka_unit_test(test_bad_wishes),           cmocka_unit_test(test_grams),
        cmocka_unit_test(test_tables_hold_together),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
