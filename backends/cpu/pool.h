/* pool.h - threads for stages of microseconds: one team, one job at a time, barriers that spin before they sleep.
 *
 * The caller of cpu_pool_run is worker 0; the others wait spinning for a while (a pass usually follows the last soon)
 * and then sleep in a futex, so an idle device costs nothing. No call allocates after create. */
#ifndef ZEB_CPU_POOL_H
#define ZEB_CPU_POOL_H

#include <stdint.h>

#include "zeb/status.h"

typedef struct cpu_pool cpu_pool;

/* threads >= 1. With processor != NULL worker i runs on processor[i] alone; worker 0, the caller's thread, is
 * brought to its own for a cpu_pool_run that finds it elsewhere. *pinned tells whether that worked for all. */
ZEB_MUST_CHECK zeb_status cpu_pool_create(uint32_t threads, const int *processor, cpu_pool **pool, int *pinned,
                                          zeb_error *error);
void cpu_pool_destroy(cpu_pool *pool); /* takes NULL */

uint32_t cpu_pool_threads(const cpu_pool *pool);

/* Runs job(context, worker) on every worker and returns when all are done. From one thread at a time. */
void cpu_pool_run(cpu_pool *pool, void (*job)(void *context, uint32_t worker), void *context);

/* Inside a job: returns when all workers have called it; what they wrote before is seen after. */
void cpu_pool_barrier(cpu_pool *pool, uint32_t worker);

#endif
