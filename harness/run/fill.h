/* run/fill.h - from what was measured to the fields of a row. Variable parts go to the arena that is given. */
#ifndef ZEB_RUN_FILL_H
#define ZEB_RUN_FILL_H

#include "energy/carbon.h"
#include "energy/window.h"
#include "run/execute.h"
#include "run/host.h"
#include "run/measure.h"
#include "run/stats.h"

/* Describes the samples; the description also goes to *latency (zeroed by the caller), for the flags. */
ZEB_MUST_CHECK zeb_status zeb_fill_latency(zeb_row *row, const zeb_measurement *measured, zeb_latency *latency,
                                           zeb_error *error);
/* Metrics, answers and logits. */
ZEB_MUST_CHECK zeb_status zeb_fill_scores(zeb_outcome_record *record, const zeb_session *session,
                                          const zeb_measurement *measured, zeb_arena *arena, zeb_error *error);
ZEB_MUST_CHECK zeb_status zeb_fill_energy(zeb_row *row, const zeb_energy *energy, const zeb_carbon *carbon,
                                          zeb_arena *arena, zeb_error *error);
/* FLOPs, bytes, tokens and what each layer kept. */
ZEB_MUST_CHECK zeb_status zeb_fill_work(zeb_row *row, const zeb_session *session, const zeb_measurement *measured,
                                        zeb_arena *arena, zeb_error *error);
ZEB_MUST_CHECK zeb_status zeb_fill_flags(zeb_row *row, const zeb_session *session, const zeb_measurement *measured,
                                         const zeb_latency *latency, const zeb_energy *energy,
                                         const zeb_host_delta *host, zeb_arena *arena, zeb_error *error);
/* Peak resident memory of this process. */
void zeb_fill_memory(zeb_row *row);

#endif
