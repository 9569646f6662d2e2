/* cpuinfo.h - the processor that we run on: instruction sets, the processors this process may use, its name. */
#ifndef ZEB_CPU_CPUINFO_H
#define ZEB_CPU_CPUINFO_H

#include "kernels.h"
#include "zeb/plugin.h"

/* Instruction sets, weakest first within an architecture. A set includes those before it. */
typedef struct cpu_isa {
    const char *name;
    const cpu_kernels *kernels;
    int available;      /* on this processor, with its operating system */
    const char *slower; /* of a chosen set: a greater one that was not taken, being slower; or NULL */
    /* The set itself, or of a chosen one a greater set, if the processor has it and the system refuses it; or NULL. */
    const char *refused;
} cpu_isa;

/* Fills isa[capacity] with the sets of this build, weakest first; returns how many. */
uint32_t cpu_isa_list(cpu_isa *isa, uint32_t capacity);

/* Whether a table multiplies bfloat16 faster by slab_bf16 than as F32, by a tenth at least: about a millisecond of
 * trial. */
int cpu_halves_pay(const cpu_kernels *kernels);

/* The best available set not above `asked` ("" for the best of all). A set that adds nothing but products of bfloat16
 * is taken unasked where those pay: processors differ by a factor of four. A name that no build knows is
 * ZEB_ERR_ARGUMENT; a set of this architecture that the processor lacks is lowered, with *lowered = 1. */
ZEB_MUST_CHECK zeb_status cpu_isa_choose(const char *asked, cpu_isa *chosen, int *lowered, zeb_error *error);

/* The same among isa[n]. */
ZEB_MUST_CHECK zeb_status cpu_isa_choose_of(const cpu_isa *isa, uint32_t n, const char *asked, cpu_isa *chosen,
                                            int *lowered, zeb_error *error);

enum { CPU_PROCESSORS_MAX = 1024 };

/* Where threads may run: processors of the affinity mask in ascending order, and how many of them a cgroup's CPU
 * bandwidth allows at a time (quota over period, rounded up; at least 1). */
typedef struct cpu_places {
    uint32_t count; /* processors in the mask */
    uint32_t limit; /* min(count, quota) */
    int processor[CPU_PROCESSORS_MAX];
} cpu_places;

/* Processors' worth of time that the control groups of this process allow, versions 1 and 2, the tightest on the way to
 * their root; 0: no limit. Files are looked for below `root` ("" on a live machine). */
double cpu_quota_find(const char *root);

ZEB_MUST_CHECK zeb_status cpu_places_find(const char *root, cpu_places *places, zeb_error *error);

/* "Intel(R) Xeon(R) ...", or the architecture's name where the system does not say. */
void cpu_name(char name[ZEB_TEXT_MAX]);

#endif
