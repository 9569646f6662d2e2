/* run/costs.h - the cost table of a device: how long each kind of node takes it, as a function of the rows.
 *
 * It knows of a device only what the plugin boundary says, so every plugin has one. A node's signature is all that its
 * time depends on but the rows: op, attributes, and the shapes of what it reads. Times are those of a node among others
 * in a plan, without what a pass costs by itself (signature "pass"). Between measured rows they are interpolated, past
 * the last continued at its slope. A selecting attention has two signatures, one keeping all rows and one a half; the
 * share that is kept lies between or beyond. Made by run/costs_measure.h, kept by store/timing.h. Docs: adr/0004. */
#ifndef ZEB_RUN_COSTS_H
#define ZEB_RUN_COSTS_H

#include "graph/cost.h"
#include "plugins/devices.h"
#include "plugins/registry.h"
#include "store/timing.h"

/* A view of stored timings; zeroed, it is an empty table. */
typedef struct zeb_costs {
    char fingerprint[ZEB_FINGERPRINT_MAX];
    const zeb_timing *timing; /* [count] by signature and rows, each once */
    size_t count;
} zeb_costs;

/* The device as it is open: SHA-256 over the way of measuring, the plugin's name, version and file, device, driver and
 * the settings in effect. Anything that changes times changes it. */
ZEB_MUST_CHECK zeb_status zeb_costs_fingerprint(const zeb_registry *registry, const zeb_device_handle *device,
                                                char fingerprint[ZEB_FINGERPRINT_MAX], zeb_error *error);

/* The table of that fingerprint out of stored ones and new ones, which win; in the arena. */
ZEB_MUST_CHECK zeb_status zeb_costs_make(const char *fingerprint, const zeb_stored_timing *stored, size_t stored_count,
                                         const zeb_timing *made, size_t made_count, zeb_arena *arena, zeb_costs *costs,
                                         zeb_error *error);

/* Twelve hexadecimal digits that tell this table from any other. */
ZEB_MUST_CHECK zeb_status zeb_costs_hash(const zeb_costs *costs, char hash[13], zeb_error *error);

/* ns of a signature at so many rows; < 0 where it was never measured. 0 rows take 0. */
double zeb_costs_at(const zeb_costs *costs, const char *signature, double rows);
/* The most rows that were measured of it; 0: none. */
uint32_t zeb_costs_reach(const zeb_costs *costs, const char *signature);

/* What the pass itself costs, before any node: the signature. */
extern const char zeb_costs_pass[];

/* What the device may do in several ways (zeb_backend.choices): a value has the signature of its choice, the value as
 * its rows, and the ns of the plugin's own trial. */
enum { ZEB_CHOICES_MAX = 64 };
void zeb_costs_choice(const zeb_choice *choice, char signature[ZEB_SIGNATURE_MAX]);
/* All of them, with ns of the table; < 0 where it has none. */
ZEB_MUST_CHECK zeb_status zeb_costs_choices(const zeb_costs *costs, const zeb_device_handle *device,
                                            zeb_choice choice[ZEB_CHOICES_MAX], uint32_t *count, zeb_error *error);

/* The signature of a node. `half`: of a selecting attention that keeps a half of the rows; others have one signature
 * whatever it is. */
void zeb_costs_signature(const zeb_graph *graph, const zeb_node *node, bool half, char text[ZEB_SIGNATURE_MAX]);
bool zeb_costs_selects(const zeb_node *node); /* it has two */

/* The input whose rows count. */
uint32_t zeb_costs_driver(const zeb_node *node);
/* Whether input i lies in the row space that the node's time is a function of. */
bool zeb_costs_in_rows(const zeb_graph *graph, const zeb_node *node, uint32_t input);

/* ns of a node in the pass that `cost` counted last, over so many sequences; < 0: unknown. */
double zeb_costs_node(const zeb_costs *costs, const zeb_graph *graph, const zeb_node *node, const zeb_cost *cost,
                      size_t sequences);
/* ns of that pass, all nodes and the pass itself; < 0: unknown. */
double zeb_costs_graph(const zeb_costs *costs, const zeb_graph *graph, const zeb_cost *cost, size_t sequences);

#endif
