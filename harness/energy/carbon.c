#include "energy/carbon.h"

#include <math.h>
#include <string.h>
#include <strings.h>

#include "base/text.h"

static const double world_g_per_kwh = 475;
static const int32_t world_year = 2019;
static const double uj_per_kwh = 3.6e12;

const zeb_carbon_country *zeb_carbon_country_find(const char *code) {
    for (size_t i = 0; i < zeb_carbon_country_count; i++) {
        if (strcasecmp(zeb_carbon_countries[i].code, code) == 0) return &zeb_carbon_countries[i];
    }
    return NULL;
}

static const zeb_carbon_region *find_region(const char *country, const char *name) {
    for (size_t i = 0; i < zeb_carbon_region_count; i++) {
        const zeb_carbon_region *r = &zeb_carbon_regions[i];
        bool here = country == NULL || strcasecmp(r->country, country) == 0;
        if (here && strcasecmp(r->name, name) == 0) return r;
    }
    return NULL;
}

/* Shares are per cent with rounding: what they add up to stands for the whole. */
static double region_intensity(const zeb_carbon_region *region) {
    double grams = 0, whole = 0;
    for (size_t i = 0; i < ZEB_FUEL_COUNT; i++) {
        grams += region->share[i] * zeb_carbon_fuels[i].g_per_kwh;
        whole += region->share[i];
    }
    return grams / whole;
}

static bool is_code(const char *text) {
    size_t length = 0;
    for (; text[length] != '\0'; length++) {
        char c = (char)(text[length] | 0x20);
        if (length >= 3 || c < 'a' || c > 'z') return false;
    }
    return length == 3;
}

static void use_region(zeb_carbon *c, const zeb_carbon_region *region) {
    c->scope = ZEB_CARBON_REGION;
    c->g_per_kwh = region_intensity(region);
    c->year = region->year;
    (void)snprintf(c->place, sizeof c->place, "%s/%s", region->country, region->name);
    zeb_text_copy(c->source, sizeof c->source, zeb_carbon_region_source);
}

static void use_country(zeb_carbon *c, const zeb_carbon_country *country) {
    c->scope = ZEB_CARBON_COUNTRY;
    c->g_per_kwh = country->g_per_kwh;
    c->year = country->year;
    zeb_text_copy(c->place, sizeof c->place, country->code);
    zeb_text_copy(c->source, sizeof c->source, zeb_carbon_country_source);
}

static void use_world(zeb_carbon *c) {
    c->scope = ZEB_CARBON_WORLD;
    c->g_per_kwh = world_g_per_kwh;
    c->year = world_year;
    zeb_text_copy(c->place, sizeof c->place, "world");
    zeb_text_copy(c->source, sizeof c->source, "IEA, Global Energy and CO2 Status Report 2019");
}

static void use_forced(zeb_carbon *c, double g_per_kwh) {
    c->scope = ZEB_CARBON_FORCED;
    c->g_per_kwh = g_per_kwh;
    zeb_text_copy(c->source, sizeof c->source, "given by the user");
}

zeb_status zeb_carbon_find(const char *country, const char *region, double g_per_kwh_forced, double pue,
                           zeb_carbon *carbon, zeb_error *error) {
    *carbon = (zeb_carbon){.pue = pue};
    if (!isfinite(pue) || pue < 1) {
        return zeb_fail(error, ZEB_ERR_ARGUMENT, "PUE %g: at least 1 (a site draws no less than its machines)", pue);
    }
    if (!isfinite(g_per_kwh_forced)) return zeb_fail(error, ZEB_ERR_ARGUMENT, "carbon intensity: not a finite number");
    if (country != NULL && !is_code(country)) {
        return zeb_fail(error, ZEB_ERR_ARGUMENT,
                        "country \"%.32s\": three letters of ISO 3166-1 (FRA, DEU, USA) are needed", country);
    }
    if (g_per_kwh_forced >= 0) {
        use_forced(carbon, g_per_kwh_forced);
        return ZEB_OK;
    }
    const zeb_carbon_region *area = region != NULL ? find_region(country, region) : NULL;
    const zeb_carbon_country *land = country != NULL ? zeb_carbon_country_find(country) : NULL;
    if (area != NULL) {
        use_region(carbon, area);
    } else if (land != NULL) {
        use_country(carbon, land);
    } else {
        use_world(carbon);
    }
    return ZEB_OK;
}

static double grams(const zeb_carbon *carbon, int64_t energy_uj) {
    return (double)energy_uj / uj_per_kwh * carbon->g_per_kwh * carbon->pue;
}

bool zeb_carbon_ug(const zeb_carbon *carbon, int64_t energy_uj, uint64_t *co2_ug) {
    if (energy_uj < 0) return false;
    double ug = grams(carbon, energy_uj) * 1e6;
    if (!(ug < 9.2e18)) return false;
    *co2_ug = (uint64_t)llround(ug);
    return true;
}
