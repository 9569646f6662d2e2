/* run/host.h - facts about the machine, for provenance and for the flags of a row.
 *
 * Everything is read from /proc, /sys and /etc below a root folder ("" for this machine), so that recorded trees can be
 * replayed. What a machine does not tell stays unknown: text "", numbers guarded by a has_ flag or 0 where said. No
 * call fails. No state: any thread. Formats: proc(5); Documentation/admin-guide/pm/cpufreq.rst and cgroup-v2.rst of the
 * kernel; schedstat: Documentation/scheduler/sched-stats.rst; thermal_throttle:
 * Documentation/ABI/testing/sysfs-devices-system-cpu. */
#ifndef ZEB_RUN_HOST_H
#define ZEB_RUN_HOST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "zeb/status.h"

enum { ZEB_HOST_CPUS_MAX = 4096, ZEB_HOST_GOVERNOR_MAX = 32, ZEB_HOST_THREADS_MAX = 1024 };

/* What does not change while zeb runs. */
typedef struct zeb_host {
    char name[128];   /* of the machine in its network */
    char os[128];     /* "Debian GNU/Linux 12 (bookworm)" */
    char kernel[128]; /* release: "6.1.0-18-amd64" */
    char cpu_model[160];
    char cpu_flags[4096];                          /* instruction-set flags, blank-separated, of the first processor */
    char cpu_list[256];                            /* processors that this process may use: "0-7,16-23" */
    uint32_t cpus;                                 /* processors that are on; 0 unknown */
    uint32_t cpus_allowed;                         /* of these, that this process may use; 0 unknown */
    bool has_quota;                                /* a control group limits processor time */
    double quota_cpus;                             /* to so many processors' worth */
    char governor[ZEB_HOST_GOVERNOR_MAX];          /* of the allowed processors; "mixed" when they differ; "" unknown */
    uint64_t frequency_min_khz, frequency_max_khz; /* of the allowed processors, as set; 0 unknown */
    uint64_t frequency_now_khz;                    /* mean at the time of the call; 0 unknown */
    uint64_t memory_bytes;                         /* 0 unknown */
    bool has_load;
    double load_1min, load_5min, load_15min;
    bool has_virtual; /* is_virtual holds */
    bool is_virtual;
    char hypervisor[64]; /* who says so: "KVM", a firmware vendor, "cpu flag"; "" when not virtual or unknown */
} zeb_host;

void zeb_host_read(const char *root, zeb_host *host);

/* Frequency governor of one processor; false, text empty, where there is no cpufreq. */
ZEB_MUST_CHECK bool zeb_host_governor(const char *root, uint32_t cpu, char governor[ZEB_HOST_GOVERNOR_MAX]);

/* ---- a span of time ---- */

/* How long a thread of this process has been ready to run without a processor, since it began. */
typedef struct zeb_host_wait {
    uint64_t thread;
    uint64_t waited_ns;
} zeb_host_wait;

/* Counters at one moment. */
typedef struct zeb_host_snapshot {
    bool has_ticks;
    uint64_t busy_ticks, steal_ticks, total_ticks; /* of all processors since boot */
    uint32_t cpus;
    bool has_own;
    uint64_t own_ticks; /* of this process and the children it waited for */
    uint64_t time_ns;   /* of the monotonic clock */
    zeb_host_wait wait[ZEB_HOST_THREADS_MAX];
    size_t waits; /* threads of which it is known; 0: the system does not tell */
    bool has_quota_stops;
    uint64_t quota_stops; /* periods in which a control group's quota was used up before its end */
    bool has_throttle;
    uint64_t throttle_core, throttle_package; /* events, summed over processors */
    bool has_governor;
    bool governor_fixed; /* every allowed processor: performance, or minimum = maximum */
} zeb_host_snapshot;

/* What happened between two snapshots of one process. */
typedef struct zeb_host_delta {
    double utilisation;    /* share of all processors' time that was busy, 0 to 1 */
    double foreign_load;   /* processors' worth of time taken by others */
    double steal;          /* share of all processors' time that the hypervisor withheld */
    uint64_t throttled;    /* thermal throttling events; any is a flag */
    double waited;         /* share of the span that the thread that waited longest for a processor waited */
    uint64_t quota_stops;  /* times that a quota stopped the process; any is a flag */
    bool has_utilisation;  /* the numbers hold; the first three not when the span is under half a second, for which */
    bool has_foreign_load; /* ticks are too coarse */
    bool has_steal;
    bool has_throttled;
    bool has_governor;
    bool has_waited; /* not when the span is under a tenth of a second */
    bool has_quota_stops;
    bool is_crowded;     /* a flag: somebody else wanted a thread's processor; waited over 2 % */
    bool is_loaded;      /* a flag: others took more than a tenth of a processor and 2 % of the machine */
    bool is_stolen;      /* a flag: more than 1 % */
    bool governor_fixed; /* at both ends; not fixed is a flag */
} zeb_host_delta;

void zeb_host_snapshot_take(const char *root, zeb_host_snapshot *snapshot);
void zeb_host_delta_make(const zeb_host_snapshot *begin, const zeb_host_snapshot *end, zeb_host_delta *delta);

/* ---- memory of a process ---- */

/* Peak resident memory (VmHWM) of this process, and of process pid of a tree (0: its own). false: unknown. */
ZEB_MUST_CHECK bool zeb_host_peak_rss(uint64_t *bytes);
ZEB_MUST_CHECK bool zeb_host_peak_rss_of(const char *root, int64_t pid, uint64_t *bytes);

/* Sets this process's peak back to what is resident now (proc_pid_clear_refs(5), value 5). false: not allowed here, and
 * the peak still counts from the start of the process. */
ZEB_MUST_CHECK bool zeb_host_peak_reset(void);

#endif
