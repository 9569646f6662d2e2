/* store/peak.h - peaks of devices in the database, and the roofline bound of a row.
 *
 * A row's executed work is F FLOPs and B bytes (graph/cost.h) over its scored examples. Its ceiling is the peak rate of
 * its precision (w8a8 and w4a8: int8; w4a16: fp32) with its threads; its slope is the bandwidth of the nearest level
 * that a pass's bytes fit, with the same threads. The bound is min(ceiling, F/B x bandwidth) FLOP/s (Williams, Waterman
 * and Patterson 2009), the share what throughput says was reached of it. B counts every tensor for every op that uses
 * it: under a bandwidth limit a device that fuses can do better than the bound. */
#ifndef ZEB_STORE_PEAK_H
#define ZEB_STORE_PEAK_H

#include "store/store.h"
#include "zeb/plugin.h"

/* One peak as it is stored. */
typedef struct zeb_stored_peak {
    char backend[ZEB_ROW_NAME_MAX];
    char device[ZEB_ROW_NAME_MAX];
    char device_name[ZEB_ROW_TEXT_MAX];
    char measured_utc[24];
    zeb_peak peak;
} zeb_stored_peak;

/* Stores peak[count] of a run in one transaction; durable on return. */
ZEB_MUST_CHECK zeb_status zeb_store_put_peaks(zeb_store *store, int64_t run_id, const zeb_stored_peak *peak,
                                              size_t count, zeb_error *error);

/* The newest peak of each device, name and number of threads, in the arena; backend and device NULL: of all. */
ZEB_MUST_CHECK zeb_status zeb_store_peaks(zeb_store *store, const char *backend, const char *device, zeb_arena *arena,
                                          zeb_stored_peak **peak, size_t *count, zeb_error *error);

/* Fills the row's bound from peak[count], of which those of another device or number of threads are passed over.
 * Without peaks, or where the row's work, threads or throughput are unknown, the row stays as it is. */
void zeb_peak_bound(const zeb_stored_peak *peak, size_t count, zeb_row *row);

/* The ceiling of a precision ("fp32", "w8a8", ...) on the row's device with its threads, in FLOP/s, and the bandwidth
 * of the nearest level that holds so many bytes, in bytes/s; 0 where that was not measured. */
double zeb_peak_rate(const zeb_stored_peak *peak, size_t count, const zeb_row *row, const char *precision);
double zeb_peak_bandwidth(const zeb_stored_peak *peak, size_t count, const zeb_row *row, double bytes);

#endif
