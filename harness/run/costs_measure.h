/* run/costs_measure.h - fills the cost table of a device: every node that it lacks is compiled alone, a few times over
 * in one plan, and timed at a handful of rows.
 *
 * Weights are those of the model: their values don't change times, and every copy in the plan packs its own, so that
 * they come from as far away as in a real plan. Other inputs are random numbers and valid indices. */
#ifndef ZEB_RUN_COSTS_MEASURE_H
#define ZEB_RUN_COSTS_MEASURE_H

#include "run/costs.h"
#include "run/worker.h"

enum { ZEB_COSTS_MADE_MAX = 4096 };

/* What was measured, and whether the machine had other work meanwhile. */
typedef struct zeb_costs_made {
    uint32_t count;
    bool disturbed;
    zeb_timing timing[ZEB_COSTS_MADE_MAX];
} zeb_costs_made;

/* Measures what the device may choose between, if *have lacks any of it, and what the nodes of the graph need up to
 * `reach` rows of a sequence and neither `have` nor *made holds, and adds it to *made. A node that the device does not
 * do alone stays unknown. shared->done and ->total count signatures; ZEB_ERR_INTERRUPTED after a stop. */
ZEB_MUST_CHECK zeb_status zeb_costs_measure(const zeb_device_handle *device, const zeb_graph *graph, uint32_t reach,
                                            const zeb_costs *have, zeb_shared *shared, zeb_costs_made *made,
                                            zeb_error *error);

#endif
