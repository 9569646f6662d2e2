#include "script.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <string.h>

#include "base/clock.h"

script the_script;

static zeb_status script_sensor_open(const char *root, zeb_sensor **sensor, zeb_error *error) {
    if (strcmp(root, "absent") == 0) return zeb_fail(error, ZEB_ERR_NOT_FOUND, "no script below %s", root);
    the_script.opened++;
    *sensor = (zeb_sensor *)&the_script;
    return ZEB_OK;
}

static zeb_status script_channels(zeb_sensor *sensor, zeb_channel *channel, uint32_t capacity, uint32_t *count,
                                  zeb_error *error) {
    (void)error;
    const script *s = (const script *)sensor;
    for (uint32_t i = 0; i < s->channels && i < capacity && i < SCRIPT_CHANNELS_MAX; i++) {
        channel[i] = s->about[i];
    }
    *count = s->channels;
    return ZEB_OK;
}

static zeb_status script_sample(zeb_sensor *sensor, zeb_reading *reading, uint32_t count, zeb_error *error) {
    script *s = (script *)sensor;
    s->samples++;
    for (uint32_t i = 0; i < count; i++) {
        uint64_t now = s->time_ns != 0 ? s->time_ns : zeb_clock_now_ns();
        uint64_t value = s->alive ? now / MILLISECOND * 1000 : s->value[i]; /* alive: one watt */
        reading[i] = (zeb_reading){.value = value, .time_ns = now, .valid = !s->broken[i]};
    }
    return s->failing ? zeb_fail(error, ZEB_ERR_IO, "scripted") : ZEB_OK;
}

static void script_close(zeb_sensor *sensor) {
    if (sensor != NULL) the_script.opened--;
}

const zeb_sensor_table script_table = {
    .struct_size = sizeof(zeb_sensor_table),
    .open = script_sensor_open,
    .channels = script_channels,
    .sample = script_sample,
    .close = script_close,
};

void script_clear(void) {
    memset(&the_script, 0, sizeof the_script);
    the_script.time_ns = 1000 * SECOND;
}

static zeb_channel *add(const char *name, const char *domain, zeb_channel_kind kind) {
    zeb_channel *about = &the_script.about[the_script.channels++];
    (void)snprintf(about->name, sizeof about->name, "%s", name);
    (void)snprintf(about->domain, sizeof about->domain, "%s", domain);
    about->kind = kind;
    about->parent = ZEB_NONE;
    about->mirror = ZEB_NONE;
    about->unit_uj = 1.0;
    return about;
}

uint32_t script_counter(const char *name, const char *domain, uint64_t range, uint64_t watts) {
    zeb_channel *about = add(name, domain, ZEB_CHANNEL_ENERGY_COUNTER);
    about->range = range;
    about->max_power_uw = watts * 1000000u;
    about->update_ns = MILLISECOND;
    return the_script.channels - 1;
}

uint32_t script_power(const char *name, const char *domain) {
    (void)add(name, domain, ZEB_CHANNEL_POWER);
    return the_script.channels - 1;
}

zeb_sampler *script_open(void) {
    zeb_sampler *sampler = NULL;
    zeb_error error = {{0}};
    if (zeb_sampler_create(&script_table, "script", "", 0, &sampler, &error) != ZEB_OK) fail_msg("%s", error.text);
    return sampler;
}

uint64_t script_mark(zeb_sampler *sampler, uint64_t later_ns) {
    uint64_t time_ns = 0;
    zeb_error error;
    the_script.time_ns += later_ns;
    assert_int_equal(zeb_sampler_mark(sampler, &time_ns, &error), ZEB_OK);
    return time_ns;
}

zeb_energy script_energy(zeb_sampler *sampler, zeb_window work, zeb_window before, zeb_window after) {
    zeb_energy energy;
    zeb_error error = {{0}};
    if (zeb_sampler_energy(sampler, work, before, after, &energy, &error) != ZEB_OK) fail_msg("%s", error.text);
    return energy;
}

void script_refused(const zeb_energy *energy, const char *words) {
    assert_false(energy->known);
    assert_int_equal(energy->gross_uj, 0);
    if (strstr(energy->reason, words) == NULL) fail_msg("\"%s\" does not say \"%s\"", energy->reason, words);
}

void assert_near(double value, double expected, double most) {
    if (!(fabs(value - expected) <= most)) fail_msg("%.17g is not %.17g within %g", value, expected, most);
}
