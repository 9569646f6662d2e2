#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/text.h"
#include "run/host.h"
#include "run/host_files.h"

static const double busy_processors = 0.1;
static const double busy_share = 0.02;
static const double steal_share = 0.01;
static const double waited_share = 0.02;         /* a machine's own chores take up to 1.5 % of a processor */
static const uint64_t span_least_ns = 100000000; /* shorter ones are too short for shares of time */
static const uint64_t ticks_least = 50;          /* half a second a processor: USER_HZ is 100 */

/* ---- processor time ---- */

/* Blank-separated numbers from text into value[capacity]; how many. */
static size_t numbers(const char *text, uint64_t *value, size_t capacity) {
    size_t count = 0;
    while (count < capacity) {
        char digits[24];
        text += strspn(text, " \t\n");
        size_t length = strcspn(text, " \t\n");
        if (length == 0 || length >= sizeof digits) break;
        memcpy(digits, text, length);
        digits[length] = '\0';
        if (!zeb_text_to_u64(digits, &value[count])) break;
        count++;
        text += length;
    }
    return count;
}

/* /proc/stat: user nice system idle iowait irq softirq steal; guest time is in user already. */
static void read_ticks(const char *root, zeb_host_snapshot *s) {
    enum { USER, NICE, SYSTEM, IDLE, IOWAIT, IRQ, SOFTIRQ, STEAL, FIELDS };
    uint64_t field[FIELDS] = {0};
    char line[512];
    FILE *file = zeb_host_open(root, "/proc/stat");
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        if (strncmp(line, "cpu ", 4) == 0) {
            s->has_ticks = numbers(line + 4, field, FIELDS) == FIELDS;
        } else if (strncmp(line, "cpu", 3) == 0) {
            s->cpus++;
        }
    }
    if (file != NULL) (void)fclose(file);
    s->has_ticks = s->has_ticks && s->cpus > 0;
    s->busy_ticks = field[USER] + field[NICE] + field[SYSTEM] + field[IRQ] + field[SOFTIRQ];
    s->steal_ticks = field[STEAL];
    s->total_ticks = s->busy_ticks + field[IDLE] + field[IOWAIT] + field[STEAL];
}

/* /proc/self/stat: the name may hold anything, so that fields are counted from its last parenthesis. After the state
 * come ten numbers (some negative) and then utime, stime, cutime, cstime. */
static void read_own(const char *root, zeb_host_snapshot *s) {
    char line[1024];
    if (!zeb_host_line(zeb_host_open(root, "/proc/self/stat"), line, sizeof line)) return;
    const char *at = strrchr(line, ')');
    if (at == NULL) return;
    at++;
    for (size_t i = 0; i < 11; i++) {
        at += strspn(at, " ");
        at += strcspn(at, " ");
    }
    uint64_t time[4];
    s->has_own = numbers(at, time, 4) == 4;
    if (s->has_own) s->own_ticks = time[0] + time[1] + time[2] + time[3];
}

/* ---- waiting for a processor ---- */

/* /proc/self/task/<thread>/schedstat: time on a processor, time ready without one, times that it ran. Threads may come
 * and go while the folder is read. */
static void read_waits(const char *root, zeb_host_snapshot *s) {
    char path[512];
    (void)snprintf(path, sizeof path, "%s/proc/self/task", root);
    DIR *folder = opendir(path);
    for (struct dirent *entry;
         folder != NULL && (entry = readdir(folder)) != NULL && s->waits < ZEB_HOST_THREADS_MAX;) {
        char line[128];
        uint64_t thread, value[3];
        if (!zeb_text_to_u64(entry->d_name, &thread)) continue;
        if (!zeb_host_line(zeb_host_open(root, "/proc/self/task/%s/schedstat", entry->d_name), line, sizeof line))
            continue;
        if (numbers(line, value, 3) == 3) s->wait[s->waits++] = (zeb_host_wait){thread, value[1]};
    }
    if (folder != NULL) (void)closedir(folder);
}

/* cpu.stat: a stop of any group on the way up stops the process. */
static void read_quota_stops(const char *root, const char *folder, bool v2, void *user) {
    (void)v2;
    zeb_host_snapshot *s = user;
    char text[32];
    uint64_t stops;
    if (!zeb_host_value(zeb_host_open(root, "%s/cpu.stat", folder), "nr_throttled", ' ', text, sizeof text)) return;
    if (!zeb_text_to_u64(text, &stops)) return;
    s->has_quota_stops = true;
    s->quota_stops += stops;
}

/* ---- throttling and frequency ---- */

static bool throttle_count(const char *root, uint32_t cpu, const char *which, uint64_t *count) {
    return zeb_host_number(
        zeb_host_open(root, "/sys/devices/system/cpu/cpu%" PRIu32 "/thermal_throttle/%s", cpu, which), count);
}

static void read_processors(const char *root, zeb_host_snapshot *s) {
    zeb_host_cpus online, allowed;
    char list[256];
    if (zeb_host_cpus_online(root, &online)) {
        for (uint32_t cpu = 0; cpu < ZEB_HOST_CPUS_MAX; cpu++) {
            uint64_t count = 0;
            if (!zeb_host_cpus_has(&online, cpu)) continue;
            if (throttle_count(root, cpu, "core_throttle_count", &count)) {
                s->throttle_core += count;
                s->has_throttle = true;
            }
            if (throttle_count(root, cpu, "package_throttle_count", &count)) {
                s->throttle_package += count;
                s->has_throttle = true;
            }
        }
    }
    if (!zeb_host_cpus_allowed(root, &allowed, list, sizeof list)) return;
    s->governor_fixed = true;
    for (uint32_t cpu = 0; cpu < ZEB_HOST_CPUS_MAX; cpu++) {
        char governor[ZEB_HOST_GOVERNOR_MAX];
        if (!zeb_host_cpus_has(&allowed, cpu) || !zeb_host_governor(root, cpu, governor)) continue;
        s->has_governor = true;
        s->governor_fixed = s->governor_fixed && zeb_host_cpu_fixed(root, cpu, governor);
    }
}

void zeb_host_snapshot_take(const char *root, zeb_host_snapshot *snapshot) {
    memset(snapshot, 0, sizeof *snapshot);
    snapshot->time_ns = zeb_clock_now_ns();
    read_ticks(root, snapshot);
    read_own(root, snapshot);
    read_waits(root, snapshot);
    zeb_host_groups(root, read_quota_stops, snapshot);
    read_processors(root, snapshot);
}

/* ---- between two ---- */

/* Counters of processors that went off and on again may go back: nothing is known of such a span. */
static void compare_ticks(const zeb_host_snapshot *a, const zeb_host_snapshot *b, zeb_host_delta *d) {
    if (!a->has_ticks || !b->has_ticks || a->cpus != b->cpus) return;
    if (b->total_ticks < a->total_ticks || b->busy_ticks < a->busy_ticks || b->steal_ticks < a->steal_ticks) return;
    uint64_t total = b->total_ticks - a->total_ticks, busy = b->busy_ticks - a->busy_ticks;
    if (total < ticks_least * a->cpus) return;
    d->has_utilisation = true;
    d->utilisation = (double)busy / (double)total;
    d->has_steal = true;
    d->steal = (double)(b->steal_ticks - a->steal_ticks) / (double)total;
    d->is_stolen = d->steal > steal_share;
    if (!a->has_own || !b->has_own || b->own_ticks < a->own_ticks) return;
    uint64_t own = b->own_ticks - a->own_ticks;
    uint64_t foreign = busy > own ? busy - own : 0; /* own time is finer than the ticks and may exceed them a little */
    double share = (double)foreign / (double)total;
    d->has_foreign_load = true;
    d->foreign_load = share * a->cpus;
    d->is_loaded = d->foreign_load > busy_processors && share > busy_share;
}

/* What thread had waited when the snapshot was taken; 0 for one that was not there. */
static uint64_t waited_before(const zeb_host_snapshot *s, uint64_t thread) {
    for (size_t i = 0; i < s->waits; i++)
        if (s->wait[i].thread == thread) return s->wait[i].waited_ns;
    return 0;
}

/* The thread that waited longest decides. A team waits for its slowest member, so that a mean over threads would hide
 * the one processor of many that is shared; and a sum would grow with the threads, as what the kernel and its daemons
 * take from a busy machine grows with its processors. */
static void compare_waits(const zeb_host_snapshot *a, const zeb_host_snapshot *b, zeb_host_delta *d) {
    if (a->time_ns == 0 || b->time_ns < a->time_ns + span_least_ns) return;
    uint64_t longest_ns = 0;
    for (size_t i = 0; i < b->waits; i++) {
        uint64_t before_ns = waited_before(a, b->wait[i].thread), after_ns = b->wait[i].waited_ns;
        if (after_ns > before_ns && after_ns - before_ns > longest_ns) longest_ns = after_ns - before_ns;
    }
    d->has_waited = a->waits > 0 && b->waits > 0;
    if (d->has_waited) d->waited = (double)longest_ns / (double)(b->time_ns - a->time_ns);
    d->is_crowded = d->has_waited && d->waited > waited_share;
}

void zeb_host_delta_make(const zeb_host_snapshot *begin, const zeb_host_snapshot *end, zeb_host_delta *delta) {
    memset(delta, 0, sizeof *delta);
    compare_ticks(begin, end, delta);
    compare_waits(begin, end, delta);
    delta->has_quota_stops = begin->has_quota_stops && end->has_quota_stops && end->quota_stops >= begin->quota_stops;
    if (delta->has_quota_stops) delta->quota_stops = end->quota_stops - begin->quota_stops;
    if (begin->has_throttle && end->has_throttle && end->throttle_core >= begin->throttle_core &&
        end->throttle_package >= begin->throttle_package) {
        delta->has_throttled = true;
        delta->throttled = end->throttle_core - begin->throttle_core + end->throttle_package - begin->throttle_package;
    }
    delta->has_governor = begin->has_governor && end->has_governor;
    delta->governor_fixed = delta->has_governor && begin->governor_fixed && end->governor_fixed;
}

/* ---- memory ---- */

bool zeb_host_peak_rss_of(const char *root, int64_t pid, uint64_t *bytes) {
    char text[64], who[24] = "self";
    if (pid > 0) (void)snprintf(who, sizeof who, "%" PRId64, pid);
    return zeb_host_value(zeb_host_open(root, "/proc/%s/status", who), "VmHWM", ':', text, sizeof text) &&
           zeb_host_kilobytes(text, bytes);
}

bool zeb_host_peak_rss(uint64_t *bytes) {
    return zeb_host_peak_rss_of("", 0, bytes);
}

bool zeb_host_peak_reset(void) {
    int fd = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC);
    if (fd < 0) return false;
    bool done = write(fd, "5", 1) == 1;
    (void)close(fd);
    return done;
}
