#include "run/host.h"

#include <inttypes.h>
#include <string.h>

#include "base/text.h"
#include "run/host_files.h"

/* ---- the processor ---- */

static void read_cpu(const char *root, zeb_host *host) {
    static const char *const model_keys[] = {"model name", "Model", "Hardware", "cpu model"};
    static const char *const flag_keys[] = {"flags", "Features", "isa"};
    for (size_t i = 0; i < sizeof model_keys / sizeof model_keys[0] && host->cpu_model[0] == '\0'; i++) {
        (void)zeb_host_value(zeb_host_open(root, "/proc/cpuinfo"), model_keys[i], ':', host->cpu_model,
                             sizeof host->cpu_model);
    }
    for (size_t i = 0; i < sizeof flag_keys / sizeof flag_keys[0] && host->cpu_flags[0] == '\0'; i++) {
        (void)zeb_host_value(zeb_host_open(root, "/proc/cpuinfo"), flag_keys[i], ':', host->cpu_flags,
                             sizeof host->cpu_flags);
    }
    if (host->cpu_model[0] != '\0') return;
    char board[160]; /* a device tree's text ends in NUL, not in a new line */
    if (zeb_host_line(zeb_host_open(root, "/proc/device-tree/model"), board, sizeof board)) {
        zeb_text_copy(host->cpu_model, sizeof host->cpu_model, board);
    }
}

static bool has_flag(const char *flags, const char *flag) {
    size_t length = strlen(flag);
    for (const char *at = strstr(flags, flag); at != NULL; at = strstr(at + 1, flag)) {
        bool begins = at == flags || at[-1] == ' ';
        if (begins && (at[length] == ' ' || at[length] == '\0')) return true;
    }
    return false;
}

/* Firmware that only hypervisors have. */
static const char *known_vendor(const char *text) {
    static const char *const vendors[] = {"QEMU",         "KVM",          "VMware",     "VirtualBox",
                                          "innotek GmbH", "Xen",          "Amazon EC2", "Google Compute Engine",
                                          "Bochs",        "Parallels",    "OpenStack",  "Virtual Machine",
                                          "BHYVE",        "Alibaba Cloud"};
    for (size_t i = 0; i < sizeof vendors / sizeof vendors[0]; i++) {
        if (strstr(text, vendors[i]) != NULL) return vendors[i];
    }
    return NULL;
}

/* Names the hypervisor where one can be told: its own folder, the firmware's names, the flag that every hypervisor
 * sets on x86. Without the flag x86 is bare metal; other processors do not tell. Cloud metal instances carry the
 * vendor's name without being virtual, so that on x86 the flag decides. */
static void read_virtual(const char *root, zeb_host *host) {
    static const char *const files[] = {"/sys/class/dmi/id/product_name", "/sys/class/dmi/id/sys_vendor",
                                        "/proc/device-tree/hypervisor/compatible"};
    char text[128];
    const char *named = NULL;
    char own[64] = "";
    if (zeb_host_line(zeb_host_open(root, "/sys/hypervisor/type"), text, sizeof text) && strcmp(text, "none") != 0) {
        zeb_text_copy(own, sizeof own, text);
    }
    for (size_t i = 0; i < sizeof files / sizeof files[0] && named == NULL; i++) {
        if (zeb_host_line(zeb_host_open(root, "%s", files[i]), text, sizeof text)) named = known_vendor(text);
    }
    bool x86 = has_flag(host->cpu_flags, "fpu") && has_flag(host->cpu_flags, "cx8");
    bool flagged = has_flag(host->cpu_flags, "hypervisor");
    host->is_virtual = x86 ? flagged : (own[0] != '\0' || named != NULL);
    host->has_virtual = x86 || host->is_virtual;
    if (!host->is_virtual) return;
    zeb_text_copy(host->hypervisor, sizeof host->hypervisor,
                  own[0] != '\0' ? own : (named != NULL ? named : "cpu flag"));
}

/* ---- frequency ---- */

bool zeb_host_governor(const char *root, uint32_t cpu, char governor[ZEB_HOST_GOVERNOR_MAX]) {
    return zeb_host_line(zeb_host_open(root, "/sys/devices/system/cpu/cpu%" PRIu32 "/cpufreq/scaling_governor", cpu),
                         governor, ZEB_HOST_GOVERNOR_MAX);
}

static bool frequency(const char *root, uint32_t cpu, const char *which, uint64_t *khz) {
    return zeb_host_number(zeb_host_open(root, "/sys/devices/system/cpu/cpu%" PRIu32 "/cpufreq/%s", cpu, which), khz);
}

bool zeb_host_cpu_fixed(const char *root, uint32_t cpu, const char *governor) {
    uint64_t low = 0, high = 0;
    if (strcmp(governor, "performance") == 0) return true;
    return frequency(root, cpu, "scaling_min_freq", &low) && frequency(root, cpu, "scaling_max_freq", &high) &&
           low == high;
}

static void read_frequency(const char *root, const zeb_host_cpus *allowed, zeb_host *host) {
    uint64_t sum = 0, read = 0;
    for (uint32_t cpu = 0; cpu < ZEB_HOST_CPUS_MAX; cpu++) {
        char governor[ZEB_HOST_GOVERNOR_MAX];
        uint64_t khz = 0;
        if (!zeb_host_cpus_has(allowed, cpu)) continue;
        if (zeb_host_governor(root, cpu, governor)) {
            bool first = host->governor[0] == '\0';
            bool same = strcmp(host->governor, governor) == 0;
            zeb_text_copy(host->governor, sizeof host->governor, first || same ? governor : "mixed");
        }
        if (frequency(root, cpu, "scaling_min_freq", &khz)) {
            if (host->frequency_min_khz == 0 || khz < host->frequency_min_khz) host->frequency_min_khz = khz;
        }
        if (frequency(root, cpu, "scaling_max_freq", &khz) && khz > host->frequency_max_khz) {
            host->frequency_max_khz = khz;
        }
        if (frequency(root, cpu, "scaling_cur_freq", &khz)) {
            sum += khz;
            read++;
        }
    }
    if (read > 0) host->frequency_now_khz = sum / read;
}

/* ---- control groups ---- */

static void tighten(zeb_host *host, double quota_us, double period_us) {
    if (!(quota_us > 0) || !(period_us > 0)) return;
    double cpus = quota_us / period_us;
    if (!host->has_quota || cpus < host->quota_cpus) host->quota_cpus = cpus;
    host->has_quota = true;
}

/* "max 100000" or "150000 100000"; or two files of version 1, where -1, no limit, is no unsigned number. */
static void read_group_quota(const char *root, const char *folder, bool v2, void *user) {
    char text[64];
    double quota = 0, period = 0;
    uint64_t quota_us = 0, period_us = 0;
    if (!v2) {
        if (zeb_host_number(zeb_host_open(root, "%s/cpu.cfs_quota_us", folder), &quota_us) &&
            zeb_host_number(zeb_host_open(root, "%s/cpu.cfs_period_us", folder), &period_us))
            tighten(user, (double)quota_us, (double)period_us);
        return;
    }
    if (!zeb_host_line(zeb_host_open(root, "%s/cpu.max", folder), text, sizeof text)) return;
    char *blank = strchr(text, ' ');
    if (blank == NULL) return;
    *blank = '\0';
    if (zeb_text_to_f64(text, &quota) && zeb_text_to_f64(blank + 1, &period)) tighten(user, quota, period);
}

/* ---- the rest ---- */

static void read_os(const char *root, zeb_host *host) {
    char text[160];
    FILE *file = zeb_host_open(root, "/etc/os-release");
    if (file == NULL) file = zeb_host_open(root, "/usr/lib/os-release");
    if (!zeb_host_value(file, "PRETTY_NAME", '=', text, sizeof text)) return;
    size_t length = strlen(text);
    bool quoted = length >= 2 && (text[0] == '"' || text[0] == '\'') && text[length - 1] == text[0];
    if (quoted) text[length - 1] = '\0';
    zeb_text_copy(host->os, sizeof host->os, text + (quoted ? 1 : 0));
}

static void read_load(const char *root, zeb_host *host) {
    char text[128];
    double load[3];
    if (!zeb_host_line(zeb_host_open(root, "/proc/loadavg"), text, sizeof text)) return;
    char *at = text;
    for (size_t i = 0; i < 3; i++) {
        size_t length = strcspn(at, " ");
        bool more = at[length] == ' ';
        at[length] = '\0';
        if (!zeb_text_to_f64(at, &load[i]) || (!more && i < 2)) return;
        at += length + (more ? 1 : 0);
    }
    host->has_load = true;
    host->load_1min = load[0];
    host->load_5min = load[1];
    host->load_15min = load[2];
}

void zeb_host_read(const char *root, zeb_host *host) {
    zeb_host_cpus set;
    char text[64];
    memset(host, 0, sizeof *host);
    (void)zeb_host_line(zeb_host_open(root, "/proc/sys/kernel/hostname"), host->name, sizeof host->name);
    (void)zeb_host_line(zeb_host_open(root, "/proc/sys/kernel/osrelease"), host->kernel, sizeof host->kernel);
    read_os(root, host);
    read_cpu(root, host);
    read_virtual(root, host);
    if (zeb_host_cpus_online(root, &set)) host->cpus = set.count;
    if (zeb_host_cpus_allowed(root, &set, host->cpu_list, sizeof host->cpu_list)) {
        host->cpus_allowed = set.count;
        read_frequency(root, &set, host);
    }
    zeb_host_groups(root, read_group_quota, host);
    read_load(root, host);
    if (zeb_host_value(zeb_host_open(root, "/proc/meminfo"), "MemTotal", ':', text, sizeof text)) {
        (void)zeb_host_kilobytes(text, &host->memory_bytes);
    }
}
