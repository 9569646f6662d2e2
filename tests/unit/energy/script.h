/* A sensor that says what a test wrote down: for the logic of windows, without files and without waiting. */
#ifndef ZEB_TESTS_ENERGY_SCRIPT_H
#define ZEB_TESTS_ENERGY_SCRIPT_H

#include "energy/sampler.h"

enum { SCRIPT_CHANNELS_MAX = 8, SCRIPT_SETS_MAX = 4096 };
#define SECOND UINT64_C(1000000000)
#define MILLISECOND UINT64_C(1000000)

typedef struct script {
    uint32_t channels;
    zeb_channel about[SCRIPT_CHANNELS_MAX];
    /* What the next sample says. time_ns 0: the real clock. */
    uint64_t time_ns;
    uint64_t value[SCRIPT_CHANNELS_MAX];
    bool broken[SCRIPT_CHANNELS_MAX]; /* unreadable this time */
    bool failing;                     /* the whole call fails */
    bool alive;                       /* counts the real clock's milliseconds instead of value (thread tests) */
    uint64_t samples;
    int opened;
} script;

/* The one script of the test program; its table's open takes it. */
extern script the_script;
extern const zeb_sensor_table script_table;

/* An empty script at time 1000 s. */
void script_clear(void);
/* Adds a counter (range in microjoules, 0 never wraps; watts 0 unknown; updates every millisecond), or a power. */
uint32_t script_counter(const char *name, const char *domain, uint64_t range, uint64_t watts);
uint32_t script_power(const char *name, const char *domain);

zeb_sampler *script_open(void);
/* Moves time on and takes a sample. */
uint64_t script_mark(zeb_sampler *sampler, uint64_t later_ns);
zeb_energy script_energy(zeb_sampler *sampler, zeb_window work, zeb_window before, zeb_window after);
#define NO_WINDOW ((zeb_window){0, 0})

/* Fails unless the total is unknown and its reason has the words. */
void script_refused(const zeb_energy *energy, const char *words);

/* In binary64: cmocka's own compares in binary32. */
void assert_near(double value, double expected, double most);

#endif
