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
#include <sys/syscall.h>
#include <unistd.h>

/* XCR0: which register files the operating system saves. */
static uint64_t extended_control(void) {
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t)high << 32 | low;
}

typedef struct x86_features {
    int avx2, avx2vnni, avx512, avx512vnni, amx;
} x86_features;

/* Linux hands the tiles out on request: their eight kilobytes make a thread's state too large for some signal stacks.
 * Granted once, it holds for all threads of the process, those to come too. */
static int tiles_granted(void) {
    enum { ARCH_REQ_XCOMP_PERM = 0x1023, TILE_DATA = 18 };
    return syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, TILE_DATA) == 0;
}

static x86_features x86_probe(void) {
    x86_features found = {0, 0, 0, 0, 0};
    uint32_t a, b, c, d, c1;
    if (!__get_cpuid(1, &a, &b, &c1, &d)) return found;
    const int osxsave = c1 >> 27 & 1, fma = c1 >> 12 & 1, avx = c1 >> 28 & 1, f16c = c1 >> 29 & 1;
    if (!osxsave || !avx || (extended_control() & 0x6) != 0x6) return found;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return found;
    found.avx2 = fma && f16c && (b >> 5 & 1);
    const uint32_t wanted = 1u << 16 | 1u << 17 | 1u << 30 | 1u << 31; /* F, DQ, BW, VL */
    found.avx512 = found.avx2 && (b & wanted) == wanted && (extended_control() & 0xe0) == 0xe0;
    found.avx512vnni = found.avx512 && (c >> 11 & 1);
    const uint32_t tiles = 1u << 22 | 1u << 24 | 1u << 25; /* BF16, TILE, INT8 */
    found.amx = found.avx512vnni && (d & tiles) == tiles && (extended_control() & 0x60000) == 0x60000;
    if (a >= 1 && __get_cpuid_count(7, 1, &a, &b, &c, &d)) {
        found.avx2vnni = found.avx2 && (a >> 4 & 1);
        found.amx = found.amx && (a >> 5 & 1) && tiles_granted(); /* with BF16 among the AVX-512 instructions */
    } else {
        found.amx = 0;
    }
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
    if (n < capacity) isa[n++] = (cpu_isa){"amx", &cpu_kernels_amx, found.amx};
#elif defined(__aarch64__)
    if (n < capacity) isa[n++] = (cpu_isa){"neon", &cpu_kernels_neon, 1};
    const int dotprod = (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0;
    if (n < capacity) isa[n++] = (cpu_isa){"dotprod", &cpu_kernels_dotprod, dotprod};
    const int i8mm = dotprod && (getauxval(AT_HWCAP2) & HWCAP2_I8MM) != 0;
    if (n < capacity) isa[n++] = (cpu_isa){"i8mm", &cpu_kernels_i8mm, i8mm};
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

/* The limit of one group, or 0: version 2 in `cpu.max`, version 1 (controllers "cpu", "cpu,cpuacct") in two files. */
static double group_limit(const char *root, const char *controllers, const char *group) {
    char path[1280], quota[64], period[64];
    if (controllers[0] == '\0') {
        (void)snprintf(path, sizeof path, "%s/sys/fs/cgroup%s/cpu.max", root, group);
        if (!read_line(path, quota, sizeof quota)) return 0;
        const char *second = strchr(quota, ' ');
        return second != NULL ? quota_of(quota, second + 1) : 0;
    }
    (void)snprintf(path, sizeof path, "%s/sys/fs/cgroup/%s%s/cpu.cfs_quota_us", root, controllers, group);
    if (!read_line(path, quota, sizeof quota)) return 0;
    (void)snprintf(path, sizeof path, "%s/sys/fs/cgroup/%s%s/cpu.cfs_period_us", root, controllers, group);
    return read_line(path, period, sizeof period) ? quota_of(quota, period) : 0;
}

/* Limits hold along the whole path. In a container it may be that of the host, while only the container's part is
 * mounted: the root of the mount is always looked at. */
static double path_limit(const char *root, const char *controllers, char *group) {
    double least = 0;
    for (;;) {
        if (strcmp(group, "/") == 0) group[0] = '\0';
        const double limit = group_limit(root, controllers, group);
        if (limit > 0 && (least == 0 || limit < least)) least = limit;
        char *last = strrchr(group, '/');
        if (last == NULL) return least;
        *last = '\0';
    }
}

double cpu_quota_find(const char *root) {
    char line[768], path[512];
    double least = 0;
    (void)snprintf(path, sizeof path, "%s/proc/self/cgroup", root);
    FILE *file = fopen(path, "re");
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        char *controllers = strchr(line, ':'), *group = controllers != NULL ? strchr(controllers + 1, ':') : NULL;
        if (group == NULL) continue;
        controllers++;
        *group++ = '\0';
        if (controllers[0] != '\0' && strcmp(controllers, "cpu") != 0 && strcmp(controllers, "cpu,cpuacct") != 0 &&
            strcmp(controllers, "cpuacct,cpu") != 0)
            continue;
        const double limit = path_limit(root, controllers, group);
        if (limit > 0 && (least == 0 || limit < least)) least = limit;
    }
    if (file != NULL) (void)fclose(file);
    return least;
}

zeb_status cpu_places_find(const char *root, cpu_places *places, zeb_error *error) {
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
    const double quota = cpu_quota_find(root);
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
