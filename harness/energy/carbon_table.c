/* Tables of carbon intensity. Data, not code: each block names where its figures come from. */
#include "energy/carbon.h"

/* Countries: grams of CO2 equivalent, life cycle, a kilowatt-hour generated in that year. Ember (Yearly Electricity
 * Data) and Energy Institute (Statistical Review of World Energy), processed by Our World in Data, "Carbon intensity of
 * electricity generation", CC BY 4.0; the same figures as CodeCarbon 3.3. Trade across borders is not in them. */
const char zeb_carbon_country_source[] =
    "Our World in Data, carbon intensity of electricity (Ember; Energy Institute), CC BY 4.0";

const zeb_carbon_country zeb_carbon_countries[] = {
    {"ARE", "United Arab Emirates", 561.135, 2022},
    {"ARG", "Argentina", 354.103, 2023},
    {"AUS", "Australia", 548.692, 2023},
    {"AUT", "Austria", 110.812, 2023},
    {"BEL", "Belgium", 138.107, 2023},
    {"BGR", "Bulgaria", 335.334, 2023},
    {"BRA", "Brazil", 98.348, 2023},
    {"CAN", "Canada", 170.043, 2023},
    {"CHE", "Switzerland", 34.843, 2023},
    {"CHL", "Chile", 291.113, 2023},
    {"CHN", "China", 582.317, 2023},
    {"COL", "Colombia", 259.511, 2023},
    {"CYP", "Cyprus", 534.323, 2023},
    {"CZE", "Czechia", 449.724, 2023},
    {"DEU", "Germany", 380.95, 2023},
    {"DNK", "Denmark", 151.65, 2023},
    {"EGY", "Egypt", 570.306, 2023},
    {"ESP", "Spain", 174.05, 2023},
    {"EST", "Estonia", 416.667, 2023},
    {"FIN", "Finland", 79.158, 2023},
    {"FRA", "France", 56.039, 2023},
    {"GBR", "United Kingdom", 237.589, 2023},
    {"GRC", "Greece", 336.574, 2023},
    {"HKG", "Hong Kong", 699.499, 2022},
    {"HRV", "Croatia", 204.962, 2023},
    {"HUN", "Hungary", 204.19, 2023},
    {"IDN", "Indonesia", 675.931, 2022},
    {"IND", "India", 713.441, 2023},
    {"IRL", "Ireland", 290.805, 2023},
    {"ISL", "Iceland", 27.68, 2022},
    {"ISR", "Israel", 582.927, 2022},
    {"ITA", "Italy", 330.718, 2023},
    {"JPN", "Japan", 485.392, 2023},
    {"KEN", "Kenya", 70.492, 2023},
    {"KOR", "South Korea", 430.567, 2023},
    {"LTU", "Lithuania", 160.072, 2023},
    {"LUX", "Luxembourg", 105.263, 2023},
    {"LVA", "Latvia", 123.2, 2023},
    {"MAR", "Morocco", 630.014, 2023},
    {"MEX", "Mexico", 507.245, 2023},
    {"MLT", "Malta", 459.144, 2023},
    {"MYS", "Malaysia", 605.831, 2022},
    {"NGA", "Nigeria", 523.247, 2023},
    {"NLD", "Netherlands", 267.622, 2023},
    {"NOR", "Norway", 30.08, 2023},
    {"NZL", "New Zealand", 112.758, 2023},
    {"PAK", "Pakistan", 440.608, 2023},
    {"PER", "Peru", 266.478, 2023},
    {"PHL", "Philippines", 610.688, 2023},
    {"POL", "Poland", 661.926, 2023},
    {"PRT", "Portugal", 165.553, 2023},
    {"ROU", "Romania", 240.583, 2023},
    {"RUS", "Russia", 441.039, 2023},
    {"SAU", "Saudi Arabia", 706.791, 2022},
    {"SGP", "Singapore", 470.783, 2023},
    {"SRB", "Serbia", 636.062, 2023},
    {"SVK", "Slovakia", 116.774, 2023},
    {"SVN", "Slovenia", 231.275, 2023},
    {"SWE", "Sweden", 40.695, 2023},
    {"THA", "Thailand", 549.583, 2023},
    {"TUN", "Tunisia", 563.956, 2023},
    {"TUR", "Turkey", 464.586, 2023},
    {"TWN", "Taiwan", 642.378, 2023},
    {"UKR", "Ukraine", 259.693, 2022},
    {"URY", "Uruguay", 128.788, 2023},
    {"USA", "United States", 369.473, 2023},
    {"VNM", "Vietnam", 475.449, 2023},
    {"ZAF", "South Africa", 707.686, 2023},
};
const size_t zeb_carbon_country_count = sizeof zeb_carbon_countries / sizeof zeb_carbon_countries[0];

/* Sources of electricity, grams of CO2 equivalent a kilowatt-hour. Coal, petroleum and gas: emissions of generation in
 * the USA (EIA, eGRID); geothermal, hydro, nuclear, solar, wind: life cycle (World Nuclear Association, comparison of
 * life-cycle emissions); biomass: IPCC AR5 WG3 Annex III table A.III.2, dedicated biomass, median (130 to 420). */
const zeb_carbon_fuel zeb_carbon_fuels[ZEB_FUEL_COUNT] = {
    [ZEB_FUEL_COAL] = {"coal", 995},       [ZEB_FUEL_PETROLEUM] = {"petroleum", 816},
    [ZEB_FUEL_GAS] = {"natural gas", 743}, [ZEB_FUEL_GEOTHERMAL] = {"geothermal", 38},
    [ZEB_FUEL_HYDRO] = {"hydro", 26},      [ZEB_FUEL_NUCLEAR] = {"nuclear", 29},
    [ZEB_FUEL_SOLAR] = {"solar", 48},      [ZEB_FUEL_WIND] = {"wind", 26},
    [ZEB_FUEL_BIOMASS] = {"biomass", 230},
};

/* Canada's provinces: per cent of generation in 2023 as CodeCarbon 3.3 carries it (its data/private_infra/2023), times
 * the sources above. */
const char zeb_carbon_region_source[] = "provincial generation mixes (CodeCarbon 3.3) times per-source intensities";

const zeb_carbon_region zeb_carbon_regions[] = {
    /* coal, petroleum, gas, geothermal, hydro, nuclear, solar, wind, biomass */
    {"CAN", "alberta", {8, 0.02, 73.5, 0, 1.8, 0, 3.2, 11.3, 2}, 2023},
    {"CAN", "british columbia", {0, 0.1, 2.8, 0, 86.8, 0, 0.6, 2.9, 6.7}, 2023},
    {"CAN", "manitoba", {0, 0.1, 0.6, 0, 97.4, 0, 0.1, 1.7, 0.2}, 2023},
    {"CAN", "new brunswick", {12.1, 0.3, 16.6, 0, 21, 39.9, 0, 8.7, 1.3}, 2023},
    {"CAN", "newfoundland and labrador", {0, 0.4, 0.2, 0, 99, 0, 0, 0.4, 0}, 2023},
    {"CAN", "northwest territories", {0, 10.5, 7.3, 0, 74.2, 0, 0.9, 7.1, 0}, 2023},
    {"CAN", "nova scotia", {47.5, 0, 13.9, 0, 10.9, 0, 0.02, 24.2, 3.5}, 2023},
    {"CAN", "nunavut", {0, 99.8, 0, 0, 0, 0, 0.2, 0, 0}, 2023},
    {"CAN", "ontario", {0, 0.1, 8.6, 0, 23.4, 50.1, 5.2, 11.7, 1}, 2023},
    {"CAN", "prince edward island", {0, 2.2, 0, 0, 0, 0, 0.1, 97.3, 0.6}, 2023},
    {"CAN", "quebec", {0, 0.3, 0.2, 0, 92.1, 0, 0.01, 6.7, 0.7}, 2023},
    {"CAN", "saskatchewan", {27.9, 0, 50.7, 0, 16.6, 0, 0.6, 3, 1.2}, 2023},
    {"CAN", "yukon", {0, 15, 20.2, 0, 64.1, 0, 0.1, 0.2, 0.5}, 2023},
};
const size_t zeb_carbon_region_count = sizeof zeb_carbon_regions / sizeof zeb_carbon_regions[0];
