/* cpuinfo.c - what the processor and the operating system offer, asked at run time. */
#include "cpuinfo.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>

#if defined(__aarch64__)
#include <sys/auxv.h>
#endif

#if defined(__x86_64__)
#include <cpuid.h>

/* XCR0: which register files the operating system saves. */
static uint64_t extended_control(void) {
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t)high << 32 | low;
}

typedef struct x86_features {
    int avx2, avx2vnni, avx512, avx512vnni;
} x86_features;

static x86_features x86_probe(void) {
    x86_features found = {0, 0, 0, 0};
    uint32_t a, b, c, d, c1;
    if (!__get_cpuid(1, &a, &b, &c1, &d)) return found;
    const int osxsave = c1 >> 27 & 1, fma = c1 >> 12 & 1, avx = c1 >> 28 & 1, f16c = c1 >> 29 & 1;
    if (!osxsave || !avx || (extended_control() & 0x6) != 0x6) return found;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return found;
    found.avx2 = fma && f16c && (b >> 5 & 1);
    const uint32_t wanted = 1u << 16 | 1u << 17 | 1u << 30 | 1u << 31; /* F, DQ, BW, VL */
    found.avx512 = found.avx2 && (b & wanted) == wanted && (extended_control() & 0xe0) == 0xe0;
    found.avx512vnni = found.avx512 && (c >> 11 & 1);
    if (a >= 1 && __get_cpuid_count(7, 1, &a, &b, &c, &d)) found.avx2vnni = found.avx2 && (a >> 4 & 1);
    return found;
}
#endif

uint32_t cpu_isa_list(cpu_isa *isa, uint32_t capacity) {
    uint32_t n = 0;
    if (n < capacity) isa[n++] = (cpu_isa){"scalar", &cpu_kernels_scalar, 1};
#if defined(__x86_64__)
    const x86_features found = x86_probe();
    if (n < capacity) isa[n++] = (cpu_isa){"avx2", &cpu_kernels_avx2, found.avx2};
    if (n < capacity) isa[n++] = (cpu_isa){"avx2vnni", &cpu_kernels_avx2vnni, found.avx2vnni};
    if (n < capacity) isa[n++] = (cpu_isa){"avx512", &cpu_kernels_avx512, found.avx512};
    if (n < capacity) isa[n++] = (cpu_isa){"avx512vnni", &cpu_kernels_avx512vnni, found.avx512vnni};
#elif defined(__aarch64__)
    if (n < capacity) isa[n++] = (cpu_isa){"neon", &cpu_kernels_neon, 1};
    const int dotprod = (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0;
    if (n < capacity) isa[n++] = (cpu_isa){"dotprod", &cpu_kernels_dotprod, dotprod};
#endif
    return n;
}

enum { ISA_MAX = 8 };

zeb_status cpu_isa_choose(const char *asked, cpu_isa *chosen, int *lowered, zeb_error *error) {
    cpu_isa isa[ISA_MAX];
    const uint32_t n = cpu_isa_list(isa, ISA_MAX);
    uint32_t limit = n;
    if (asked[0] != '\0') {
        for (limit = 0; limit < n && strcmp(isa[limit].name, asked) != 0;)
            limit++;
        if (limit == n) {
            char names[128] = "";
            for (uint32_t i = 0; i < n; i++) {
                const size_t used = strlen(names);
                (void)snprintf(names + used, sizeof names - used, "%s%s", i > 0 ? ", " : "", isa[i].name);
            }
            return zeb_fail(error, ZEB_ERR_ARGUMENT, "unknown instruction set \"%s\": this build knows %s", asked,
                            names);
        }
        limit++;
    }
    *lowered = 0;
    for (uint32_t i = limit; i-- > 0;) {
        if (isa[i].available) {
            *chosen = isa[i];
            return ZEB_OK;
        }
        *lowered = asked[0] != '\0';
    }
    return zeb_fail(error, ZEB_ERR_INTERNAL, "no instruction set is available");
}

/* ---- places ---------------------------------------------------------------------------------------------------- */

/* The first line of a small file, without its end; 0 if there is none. */
static int read_line(const char *path, char *line, size_t capacity) {
    FILE *file = fopen(path, "re");
    if (file == NULL) return 0;
    const int there = fgets(line, (int)capacity, file) != NULL;
    (void)fclose(file);
    if (there) line[strcspn(line, "\n")] = '\0';
    return there;
}

/* Processors' worth of "quota period" in microseconds; 0 for no limit ("max ..." or -1) or nonsense. */
static double quota_of(const char *quota, const char *period) {
    char *end = NULL;
    const double q = strtod(quota, &end);
    if (end == quota || q <= 0) return 0;
    const double p = strtod(period, &end);
    return end == period || p <= 0 ? 0 : q / p;
}

/* The tightest bandwidth of our cgroup (version 2) and its ancestors, or of version 1's cpu controller as containers
 * mount it; 0 if there is none. */
static double cgroup_limit(void) {
    char line[512], path[1024];
    double least = 0;
    FILE *file = fopen("/proc/self/cgroup", "re");
    char group[512] = "/";
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        if (strncmp(line, "0::", 3) == 0) (void)snprintf(group, sizeof group, "%s", line + 3);
    }
    if (file != NULL) (void)fclose(file);
    for (;;) {
        (void)snprintf(path, sizeof path, "/sys/fs/cgroup%s/cpu.max", strcmp(group, "/") == 0 ? "" : group);
        if (read_line(path, line, sizeof line)) {
            char *period = strchr(line, ' ');
            const double q = period != NULL ? quota_of(line, period + 1) : 0;
            if (q > 0 && (least == 0 || q < least)) least = q;
        }
        char *last = strrchr(group, '/');
        if (last == NULL || strcmp(group, "/") == 0) break;
        last[last == group ? 1 : 0] = '\0';
    }
    char period[64];
    if (read_line("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", line, sizeof line) &&
        read_line("/sys/fs/cgroup/cpu/cpu.cfs_period_us", period, sizeof period)) {
        const double q = quota_of(line, period);
        if (q > 0 && (least == 0 || q < least)) least = q;
    }
    return least;
}

zeb_status cpu_places_find(cpu_places *places, zeb_error *error) {
    cpu_set_t *mask = CPU_ALLOC(CPU_PROCESSORS_MAX);
    if (mask == NULL) return zeb_fail(error, ZEB_ERR_MEMORY, "no memory for the processor mask");
    const size_t bytes = CPU_ALLOC_SIZE(CPU_PROCESSORS_MAX);
    CPU_ZERO_S(bytes, mask);
    places->count = 0;
    if (sched_getaffinity(0, bytes, mask) == 0)
        for (int i = 0; i < CPU_PROCESSORS_MAX; i++)
            if (CPU_ISSET_S((size_t)i, bytes, mask)) places->processor[places->count++] = i;
    CPU_FREE(mask);
    if (places->count == 0) return zeb_fail(error, ZEB_ERR_DEVICE, "the system names no processor that we may use");
    places->limit = places->count;
    const double quota = cgroup_limit();
    if (quota > 0 && quota < (double)places->limit) {
        const uint32_t whole = (uint32_t)quota;
        places->limit = whole + ((double)whole < quota);
    }
    return ZEB_OK;
}

void cpu_name(char name[ZEB_TEXT_MAX]) {
    char line[512];
#if defined(__x86_64__)
    (void)snprintf(name, ZEB_TEXT_MAX, "x86-64");
#elif defined(__aarch64__)
    (void)snprintf(name, ZEB_TEXT_MAX, "aarch64");
#else
    (void)snprintf(name, ZEB_TEXT_MAX, "cpu");
#endif
    FILE *file = fopen("/proc/cpuinfo", "re");
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        char *colon = strchr(line, ':');
        if (strncmp(line, "model name", 10) != 0 || colon == NULL) continue;
        colon[strcspn(colon, "\n")] = '\0';
        if (colon[1] == ' ' && colon[2] != '\0')
            (void)snprintf(name, ZEB_TEXT_MAX, "%.*s", ZEB_TEXT_MAX - 1, colon + 2);
        break;
    }
    if (file != NULL) (void)fclose(file);
}
