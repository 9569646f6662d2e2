/* energy/window.h - what a span of work drew: gross, idle and net energy, channel by channel and in all.
 *
 * A number is here only if it can be defended. Every channel and the total say whether they are known; one that a rule
 * refused says which rule, in words, and has no number. Nothing is clamped, nothing missing is 0.
 *
 * Rules for a window (docs/measurement.md says why):
 *   too short      counters 1 s, powers 5 s, or what the channel's window_min_ns says (NVML 10 s)
 *   not covered    there must be samples at or around both ends
 *   unreadable     any reading in the window failed
 *   range unknown  the counter wraps, and where could not be read
 *   implied power  more than twice the most that the domain can draw, or past half the range where that is unknown
 *   sparse         polled too rarely to tell one wrap from two
 *   quantisation   one update of the counter, plus what was drawn between an unmarked end and its samples, is 1 % of
 *                  the window's energy or more; for powers: fewer than 100 samples
 *   gaps           powers: more than 5 % of the window without the samples that were due
 *   stuck          the counter did not move, or the power read 0 throughout */
#ifndef ZEB_ENERGY_WINDOW_H
#define ZEB_ENERGY_WINDOW_H

#include "zeb/plugin.h"

enum { ZEB_ENERGY_CHANNELS_MAX = 64, ZEB_ENERGY_REASON_MAX = 192 };

/* A span of CLOCK_MONOTONIC. end_ns <= begin_ns: no window. */
typedef struct zeb_window {
    uint64_t begin_ns, end_ns;
} zeb_window;

typedef enum zeb_energy_kind {
    ZEB_ENERGY_NONE = 0,     /* no source */
    ZEB_ENERGY_MEASURED = 1, /* counters or sampled powers */
    ZEB_ENERGY_ESTIMATED = 2 /* design power times utilisation: never ranked with measured values */
} zeb_energy_kind;

/* One channel over the work. */
typedef struct zeb_energy_channel {
    char name[ZEB_NAME_MAX];
    char domain[ZEB_NAME_MAX];
    zeb_channel_kind kind;
    bool counted;    /* part of the total: not inside another channel, no mirror, not psys beside packages */
    bool known;      /* gross_uj holds */
    bool idle_known; /* idle_watts holds */
    bool moved;      /* counters: any change since the sampler was made */
    int64_t gross_uj;
    double idle_watts;
    double resolution_uj; /* counters: what one update is worth at the window's mean power, or one count if more */
    uint64_t updates;     /* counters: updates in the window, as far as can be told; powers: samples */
    uint64_t samples;     /* readings that the window was made from */
    uint64_t gaps;        /* intervals longer than the sampler owed */
    char reason[ZEB_ENERGY_REASON_MAX]; /* why not known */
} zeb_energy_channel;

typedef struct zeb_energy {
    /* known: gross_uj holds. Otherwise reason says why; `valid` is false when there was a measurement that a rule
     * refused (the row is then `invalid`), and true when there was nothing to measure with. */
    bool known;
    bool valid;
    zeb_energy_kind kind;
    char source[ZEB_NAME_MAX]; /* sensor name, or "tdp" */
    int64_t gross_uj;
    bool idle_known;   /* idle_watts holds, and where gross_uj does idle_uj and net_uj */
    bool drift_known;  /* idle_drift holds: there was idle before and after */
    bool idle_short;   /* a flag: the idle power came from less than 30 s on either side */
    bool idle_drifted; /* a flag: drift above 5 % */
    int64_t idle_uj;   /* idle power times the work's duration */
    int64_t net_uj;    /* gross - idle; may be negative when idle was noisier than the work was heavy */
    double idle_watts;
    double idle_drift;      /* |after - before| / mean of the two */
    double seconds;         /* the work's duration */
    uint64_t samples, gaps; /* sums over the counted channels */
    char reason[ZEB_ENERGY_REASON_MAX];
    char note[ZEB_ENERGY_REASON_MAX]; /* what a reader must know of a known total: "dram-0 never moves, left out" */
    uint32_t channel_count;
    zeb_energy_channel channel[ZEB_ENERGY_CHANNELS_MAX];
} zeb_energy;

/* design power (W) x utilisation (0, 1] x duration, marked as an estimate. A design power or utilisation that is not
 * known (<= 0, above 1, not finite) leaves the energy unknown. */
void zeb_energy_estimate(double tdp_watts, double utilisation, zeb_window work, zeb_energy *out);

#endif
