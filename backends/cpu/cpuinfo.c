/* cpuinfo.c - what the processor and the operating system offer, asked at run time. */
#include "cpuinfo.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

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
    int avx2, avx2vnni, avx512, avx512vnni, avx512bf16, amx, amx_refused;
} x86_features;

/* Linux hands the tiles out on request: their eight kilobytes make a thread's state too large for some signal stacks.
 * Granted once, it holds for all threads of the process, those to come too. */
static int tiles_granted(void) {
    enum { ARCH_REQ_XCOMP_PERM = 0x1023, TILE_DATA = 18 };
    return syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, TILE_DATA) == 0;
}

static x86_features x86_probe(void) {
    x86_features found = {0};
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
        found.avx512bf16 = found.avx512vnni && (a >> 5 & 1);
        const int tiles_there = found.amx && found.avx512bf16;
        found.amx = tiles_there && tiles_granted();
        found.amx_refused = tiles_there && !found.amx;
    } else {
        found.amx = 0;
    }
    return found;
}
#endif

static void add(cpu_isa *isa, uint32_t *count, uint32_t capacity, const cpu_kernels *kernels, int available) {
    if (*count < capacity) isa[(*count)++] = (cpu_isa){kernels->isa, kernels, available, NULL, NULL};
}

uint32_t cpu_isa_list(cpu_isa *isa, uint32_t capacity) {
    uint32_t n = 0;
    add(isa, &n, capacity, &cpu_kernels_scalar, 1);
#if defined(__x86_64__)
    const x86_features found = x86_probe();
    add(isa, &n, capacity, &cpu_kernels_avx2, found.avx2);
    add(isa, &n, capacity, &cpu_kernels_avx2vnni, found.avx2vnni);
    add(isa, &n, capacity, &cpu_kernels_avx512, found.avx512);
    add(isa, &n, capacity, &cpu_kernels_avx512vnni, found.avx512vnni);
    add(isa, &n, capacity, &cpu_kernels_avx512bf16, found.avx512bf16);
    add(isa, &n, capacity, &cpu_kernels_amx, found.amx);
    if (found.amx_refused && n > 0 && isa[n - 1].kernels == &cpu_kernels_amx) isa[n - 1].refused = isa[n - 1].name;
#elif defined(__aarch64__)
    const unsigned long more = getauxval(AT_HWCAP2);
    const int dotprod = (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0, i8mm = dotprod && (more & HWCAP2_I8MM) != 0;
    add(isa, &n, capacity, &cpu_kernels_neon, 1);
    add(isa, &n, capacity, &cpu_kernels_dotprod, dotprod);
    add(isa, &n, capacity, &cpu_kernels_i8mm, i8mm);
    add(isa, &n, capacity, &cpu_kernels_i8mmbf16, i8mm && (more & HWCAP2_BF16) != 0);
#endif
    return n;
}

/* What a trial multiplies: a register tile, its operands in the first-level cache. */
enum { TRIAL_K = 256, TRIAL_ROUNDS = 16, TRIAL_TRIES = 9 };
typedef struct trial {
    float a[CPU_TILE_ROWS_MAX * TRIAL_K], b[TRIAL_K * CPU_TILE_COLUMNS_MAX];
    uint16_t x[CPU_TILE_ROWS_MAX * TRIAL_K], w[TRIAL_K * CPU_TILE_COLUMNS_MAX];
    float c[CPU_TILE_ROWS_MAX * CPU_TILE_COLUMNS_MAX];
} trial;

/* Nanoseconds of one try. */
static int64_t time_tile(const cpu_kernels *kernels, int halves, trial *t) {
    const int rows = kernels->tile_rows, columns = kernels->tile_columns;
    const cpu_slab slab = {.x = t->x,
                           .ldx = TRIAL_K * 2,
                           .w = t->w,
                           .c = t->c,
                           .ldc = (size_t)columns,
                           .rows = rows,
                           .n = columns,
                           .steps = TRIAL_K / 32,
                           .activation = ZEB_ACT_NONE};
    const cpu_tile tile = {.a = t->a,
                           .lda = TRIAL_K,
                           .b = t->b,
                           .ldb = (size_t)columns,
                           .c = t->c,
                           .ldc = (size_t)columns,
                           .k = TRIAL_K,
                           .n = columns};
    struct timespec begin, end;
    (void)clock_gettime(CLOCK_MONOTONIC, &begin);
    for (int j = 0; j < TRIAL_ROUNDS; j++) {
        if (halves)
            kernels->slab_bf16(&slab);
        else
            kernels->tile[rows](&tile);
    }
    (void)clock_gettime(CLOCK_MONOTONIC, &end);
    return (end.tv_sec - begin.tv_sec) * (int64_t)1000000000 + (end.tv_nsec - begin.tv_nsec);
}

int cpu_halves_pay(const cpu_kernels *kernels) {
    int64_t least[2] = {INT64_MAX, INT64_MAX}; /* of floats, of halves */
    trial *t = malloc(sizeof *t);
    if (t == NULL) return 0;
    for (size_t i = 0; i < sizeof t->a / sizeof t->a[0]; i++)
        t->a[i] = 0.5f, t->x[i] = 0x3f00;
    for (size_t i = 0; i < sizeof t->b / sizeof t->b[0]; i++)
        t->b[i] = 0.5f, t->w[i] = 0x3f00;
    for (int i = 0; i < 2 * TRIAL_TRIES; i++) { /* in turn: a disturbance meets both */
        const int64_t took = time_tile(kernels, i % 2, t);
        if (took < least[i % 2]) least[i % 2] = took;
    }
    free(t);
    return least[1] + least[1] / 10 < least[0];
}

enum { ISA_MAX = 8 };

zeb_status cpu_isa_choose(const char *asked, cpu_isa *chosen, int *lowered, zeb_error *error) {
    cpu_isa isa[ISA_MAX];
    const uint32_t n = cpu_isa_list(isa, ISA_MAX);
    return cpu_isa_choose_of(isa, n, asked, chosen, lowered, error);
}

zeb_status cpu_isa_choose_of(const cpu_isa *isa, uint32_t n, const char *asked, cpu_isa *chosen, int *lowered,
                             zeb_error *error) {
    uint32_t limit = n;
    const char *slower = NULL, *refused = NULL;
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
        const cpu_kernels *k = isa[i].kernels;
        const int halves_alone = k->slab_bf16 != NULL && k->slab_i8 == NULL; /* is all that it adds */
        if (!isa[i].available) {
            *lowered = asked[0] != '\0';
            if (isa[i].refused != NULL) refused = isa[i].refused;
        } else if (halves_alone && strcmp(isa[i].name, asked) != 0 && !cpu_halves_pay(k)) {
            slower = isa[i].name;
        } else {
            *chosen = isa[i];
            chosen->slower = slower;
            chosen->refused = refused;
            return ZEB_OK;
        }
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
