/* store/timing.h - measured times of single nodes in the database: the cost tables of devices (run/costs.h). */
#ifndef ZEB_STORE_TIMING_H
#define ZEB_STORE_TIMING_H

#include "store/store.h"

enum { ZEB_SIGNATURE_MAX = 256, ZEB_FINGERPRINT_MAX = 65 };

/* A node of this signature takes ns with so many rows. */
typedef struct zeb_timing {
    char signature[ZEB_SIGNATURE_MAX];
    uint32_t rows;
    double ns;
} zeb_timing;

/* One of them as it is stored. */
typedef struct zeb_stored_timing {
    char fingerprint[ZEB_FINGERPRINT_MAX]; /* of the device and its settings: 64 hexadecimal digits */
    zeb_timing timing;
} zeb_stored_timing;

/* Stores timing[count] of one device in one transaction; durable on return. */
ZEB_MUST_CHECK zeb_status zeb_store_put_timings(zeb_store *store, int64_t run_id, const char *backend,
                                                const char *device, const char *fingerprint, const zeb_timing *timing,
                                                size_t count, zeb_error *error);

/* The newest timing of each fingerprint, signature and number of rows, in that order, in the arena; backend NULL: of
 * all. Lines that are not as they were written are left out, and counted in *spoilt. */
ZEB_MUST_CHECK zeb_status zeb_store_timings(zeb_store *store, const char *backend, zeb_arena *arena,
                                            zeb_stored_timing **timing, size_t *count, size_t *spoilt,
                                            zeb_error *error);

#endif
