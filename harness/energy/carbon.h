/* energy/carbon.h - grams of CO2 equivalent of a kilowatt-hour, and of a result.
 *
 *     g = kWh * intensity (g/kWh) * PUE
 *
 * The intensity is, in this order: the value that the user forced, that of a region, that of a country, that of the
 * world; the year, the place and the source travel with it. Sources of the tables: carbon_table.c. */
#ifndef ZEB_ENERGY_CARBON_H
#define ZEB_ENERGY_CARBON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "zeb/status.h"

typedef enum zeb_carbon_scope {
    ZEB_CARBON_WORLD = 1,
    ZEB_CARBON_COUNTRY = 2,
    ZEB_CARBON_REGION = 3,
    ZEB_CARBON_FORCED = 4
} zeb_carbon_scope;

typedef struct zeb_carbon {
    double g_per_kwh; /* intensity of the electricity */
    double pue;       /* power usage effectiveness of the site, >= 1 */
    int32_t year;     /* that the intensity is for; 0: not known (a forced value) */
    zeb_carbon_scope scope;
    char place[48]; /* "FRA", "CAN/ontario", "world"; "" for a forced value */
    char source[160];
} zeb_carbon;

/* country: ISO 3166-1 alpha-3 in any case, or NULL; region: a name of the table ("ontario"), or NULL; g_per_kwh_forced:
 * negative for none; pue: 1 where nothing is known. A country or region that the tables do not have falls through to
 * the next wider value, and scope and place say which. ZEB_ERR_ARGUMENT: a country that is no code, a PUE below 1, a
 * forced value that is not finite. */
ZEB_MUST_CHECK zeb_status zeb_carbon_find(const char *country, const char *region, double g_per_kwh_forced, double pue,
                                          zeb_carbon *carbon, zeb_error *error);

/* Micrograms of CO2e of energy_uj. false, nothing written, for a negative energy or a result past 64 bits. */
ZEB_MUST_CHECK bool zeb_carbon_ug(const zeb_carbon *carbon, int64_t energy_uj, uint64_t *co2_ug);

/* ---- tables ---- */

typedef struct zeb_carbon_country {
    const char *code; /* ISO 3166-1 alpha-3 */
    const char *name;
    double g_per_kwh; /* life cycle, electricity generated in the country */
    int32_t year;
} zeb_carbon_country;

typedef struct zeb_carbon_fuel {
    const char *name;
    double g_per_kwh;
} zeb_carbon_fuel;

/* Order of the shares of a region. */
enum {
    ZEB_FUEL_COAL,
    ZEB_FUEL_PETROLEUM,
    ZEB_FUEL_GAS,
    ZEB_FUEL_GEOTHERMAL,
    ZEB_FUEL_HYDRO,
    ZEB_FUEL_NUCLEAR,
    ZEB_FUEL_SOLAR,
    ZEB_FUEL_WIND,
    ZEB_FUEL_BIOMASS,
    ZEB_FUEL_COUNT
};

typedef struct zeb_carbon_region {
    const char *country; /* ISO 3166-1 alpha-3 */
    const char *name;
    double share[ZEB_FUEL_COUNT]; /* per cent of generation; they add up to about 100 */
    int32_t year;
} zeb_carbon_region;

extern const zeb_carbon_country zeb_carbon_countries[];
extern const size_t zeb_carbon_country_count;
extern const zeb_carbon_region zeb_carbon_regions[];
extern const size_t zeb_carbon_region_count;
extern const zeb_carbon_fuel zeb_carbon_fuels[ZEB_FUEL_COUNT];
extern const char zeb_carbon_country_source[];
extern const char zeb_carbon_region_source[];

/* NULL when the table has no such country. Case does not matter. */
const zeb_carbon_country *zeb_carbon_country_find(const char *code);

#endif
