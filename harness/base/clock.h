/* base/clock.h - the one clock of every measurement: CLOCK_MONOTONIC, in nanoseconds. */
#ifndef ZEB_BASE_CLOCK_H
#define ZEB_BASE_CLOCK_H

#include <stdint.h>

uint64_t zeb_clock_now_ns(void);

/* Sleeps until the given time of that clock; returns early on a signal. */
void zeb_clock_sleep_until(uint64_t time_ns);

/* The calendar time for provenance alone, never for durations: "2026-11-23T21:00:00Z" in text[21]. */
void zeb_clock_utc(char text[21]);

#endif
