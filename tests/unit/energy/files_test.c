/* What is written for other tools: CodeCarbon's emissions.csv and OpenMetrics. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "energy/codecarbon.h"
#include "energy/openmetrics.h"

/* The order that readers of the file rely on (CodeCarbon 3). */
static const char header[] =
    "timestamp,project_name,run_id,experiment_id,duration,emissions,emissions_rate,cpu_power,gpu_power,ram_power,"
    "cpu_energy,gpu_energy,ram_energy,energy_consumed,water_consumed,country_name,country_iso_code,region,"
    "cloud_provider,cloud_region,os,python_version,codecarbon_version,cpu_count,cpu_model,gpu_count,gpu_model,"
    "longitude,latitude,ram_total_size,tracking_mode,cpu_utilization_percent,gpu_utilization_percent,"
    "ram_utilization_percent,ram_used_gb,on_cloud,pue,wue\n";

static size_t fields_of(const char *line) {
    size_t fields = 1;
    for (bool quoted = false; *line != '\0'; line++) {
        if (*line == '"') quoted = !quoted;
        if (*line == ',' && !quoted) fields++;
    }
    return fields;
}

static void test_codecarbon(void **state) {
    (void)state;
    char *text = NULL;
    size_t size = 0;
    zeb_error error;
    FILE *stream = open_memstream(&text, &size);
    zeb_codecarbon row;
    zeb_codecarbon_clear(&row);
    row.timestamp = "2026-11-23T21:00:00";
    row.project_name = "zeb, \"bench\"";
    row.duration = 4;
    row.emissions = 0.001;
    row.cpu_energy = 0.1;
    row.cpu_count = 8;
    row.pue = 1;
    assert_int_equal(zeb_codecarbon_header(stream, &error), ZEB_OK);
    assert_int_equal(zeb_codecarbon_write(stream, &row, &error), ZEB_OK);
    assert_int_equal(fclose(stream), 0);
    assert_int_equal(strncmp(text, header, strlen(header)), 0);
    const char *line = text + strlen(header);
    assert_string_equal(
        line, "2026-11-23T21:00:00,\"zeb, \"\"bench\"\"\",,,4,0.001,0.00025,,,,0.1,,,,,,,,,,,,,8,,,,,,,,,,,,,1,\n");
    assert_int_equal(fields_of(line), fields_of(header));
    free(text);
}

static void test_codecarbon_rate_needs_a_duration(void **state) {
    (void)state;
    char *text = NULL;
    size_t size = 0;
    zeb_error error;
    FILE *stream = open_memstream(&text, &size);
    zeb_codecarbon row;
    zeb_codecarbon_clear(&row);
    row.emissions = 0.5;
    row.duration = 0;
    assert_int_equal(zeb_codecarbon_write(stream, &row, &error), ZEB_OK);
    assert_int_equal(fclose(stream), 0);
    assert_int_equal(strncmp(text, ",,,,0,0.5,,", 11), 0);
    assert_null(strstr(text, "nan"));
    assert_null(strstr(text, "inf"));
    free(text);
}

static void test_full_disk_is_told(void **state) {
    (void)state;
    FILE *stream = fopen("/dev/full", "w");
    if (stream == NULL) {
        print_message("SKIPPED: no /dev/full here\n");
        skip();
    }
    zeb_error error = {{0}};
    assert_int_equal(zeb_codecarbon_header(stream, &error), ZEB_ERR_IO);
    assert_non_null(strstr(error.text, "No space left"));
    assert_int_equal(zeb_openmetrics_write(stream, NULL, 0, &error), ZEB_ERR_IO);
    (void)fclose(stream);
}

static void test_openmetrics(void **state) {
    (void)state;
    char *text = NULL;
    size_t size = 0;
    zeb_error error;
    FILE *stream = open_memstream(&text, &size);
    const zeb_openmetric samples[] = {
        {.device = "cpu", .domain = "package", .source = "powercap", .energy_uj = 12500001},
        {.device = "a\"b\\c\nd", .domain = "gpu", .source = "tdp", .estimated = true, .energy_uj = 5},
    };
    assert_int_equal(zeb_openmetrics_write(stream, samples, 2, &error), ZEB_OK);
    assert_int_equal(fclose(stream), 0);
    assert_string_equal(
        text,
        "# TYPE zeb_energy_joules counter\n"
        "# UNIT zeb_energy_joules joules\n"
        "# HELP zeb_energy_joules Gross energy drawn while measured work ran.\n"
        "zeb_energy_joules_total{device=\"cpu\",domain=\"package\",source=\"powercap\",kind=\"measured\"} 12.500001\n"
        "zeb_energy_joules_total{device=\"a\\\"b\\\\c\\nd\",domain=\"gpu\",source=\"tdp\","
        "kind=\"estimated\"} 0.000005\n"
        "# EOF\n");
    free(text);
    stream = open_memstream(&text, &size);
    const zeb_openmetric negative = {.device = "cpu", .domain = "package", .source = "x", .energy_uj = -1};
    assert_int_equal(zeb_openmetrics_write(stream, &negative, 1, &error), ZEB_ERR_ARGUMENT);
    assert_int_equal(fclose(stream), 0);
    assert_int_equal(size, 0);
    free(text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_codecarbon),
        cmocka_unit_test(test_codecarbon_rate_needs_a_duration),
        cmocka_unit_test(test_full_disk_is_told),
        cmocka_unit_test(test_openmetrics),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
