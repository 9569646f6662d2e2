/* peaks.c - loops in assembler, so that no compiler has a say in what is measured. */
#include "peaks.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#if defined(__aarch64__)
#include <sys/auxv.h>
#elif defined(__x86_64__)
#include <cpuid.h>
#endif

/* Runs `rounds` rounds over `bytes` bytes at data (loops of operations read nothing). */
typedef void (*peak_loop)(const void *data, size_t bytes, uint64_t rounds);

#define R8(X, a, b, c, d, e, f, g, h) X(a) X(b) X(c) X(d) X(e) X(f) X(g) X(h)
#define R12(X) R8(X, 0, 1, 2, 3, 4, 5, 6, 7) X(8) X(9) X(10) X(11)
#define R24(X) R8(X, 0, 1, 2, 3, 4, 5, 6, 7) R8(X, 8, 9, 10, 11, 12, 13, 14, 15) R8(X, 16, 17, 18, 19, 20, 21, 22, 23)

#if defined(__x86_64__)
#define CLOBBER16                                                                                                      \
    "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12",         \
        "xmm13", "xmm14", "xmm15", "cc", "memory"
#define CLOBBER32                                                                                                      \
    CLOBBER16, "xmm16", "xmm17", "xmm18", "xmm19", "xmm20", "xmm21", "xmm22", "xmm23", "xmm24", "xmm25", "xmm26",      \
        "xmm27", "xmm28", "xmm29", "xmm30", "xmm31"
#define OPERATIONS(name, isa, clear, body, clobber)                                                                    \
    __attribute__((target(isa))) static void name(const void *data, size_t bytes, uint64_t rounds) {                   \
        (void)data, (void)bytes;                                                                                       \
        __asm__ volatile(clear ".p2align 5\n1:\n\t" body "dec %0\n\tjnz 1b" : "+r"(rounds) : : clobber);               \
    }
#define ZERO512(i) "vpxord %%zmm" #i ", %%zmm" #i ", %%zmm" #i "\n\t"
#define FMA512(i) "vfmadd231ps %%zmm30, %%zmm31, %%zmm" #i "\n\t"
#define BF512(i) "vdpbf16ps %%zmm30, %%zmm31, %%zmm" #i "\n\t"
#define DOT512(i) "vpdpbusd %%zmm30, %%zmm31, %%zmm" #i "\n\t"
#define FMA256(i) "vfmadd231ps %%ymm14, %%ymm15, %%ymm" #i "\n\t"
#define DOT256(i) "%{vex%} vpdpbusd %%ymm14, %%ymm15, %%ymm" #i "\n\t"
/* The multiply-adds of bytes without VNNI, products in 16 bits: two instructions of arithmetic and one to add up. */
#define MADD256(i)                                                                                                     \
    "vpmaddubsw %%ymm14, %%ymm15, %%ymm12\n\tvpmaddwd %%ymm12, %%ymm13, %%ymm12\n\t"                                   \
    "vpaddd %%ymm12, %%ymm" #i ", %%ymm" #i "\n\t"

OPERATIONS(fma_512, "avx512f", R24(ZERO512) ZERO512(30) ZERO512(31), R24(FMA512), CLOBBER32)
OPERATIONS(bf16_512, "avx512f", R24(ZERO512) ZERO512(30) ZERO512(31), R24(BF512), CLOBBER32)
OPERATIONS(dot_512, "avx512f", R24(ZERO512) ZERO512(30) ZERO512(31), R24(DOT512), CLOBBER32)
/* Four sums by two tiles of rows and two of weights, all of 16 x 64 bytes. */
#define TILES(op)                                                                                                      \
    op " %%tmm6, %%tmm4, %%tmm0\n\t" op " %%tmm7, %%tmm4, %%tmm1\n\t" op " %%tmm6, %%tmm5, %%tmm2\n\t" op              \
       " %%tmm7, %%tmm5, %%tmm3\n\t"
#define ZERO_TILES                                                                                                     \
    "tilezero %%tmm0\n\ttilezero %%tmm1\n\ttilezero %%tmm2\n\ttilezero %%tmm3\n\ttilezero %%tmm4\n\t"                  \
    "tilezero %%tmm5\n\ttilezero %%tmm6\n\ttilezero %%tmm7\n\t"
static const unsigned char whole_tiles[64] = {
    [0] = 1,   [16] = 64, [18] = 64, [20] = 64, [22] = 64, [24] = 64, [26] = 64, [28] = 64, [30] = 64,
    [48] = 16, [49] = 16, [50] = 16, [51] = 16, [52] = 16, [53] = 16, [54] = 16, [55] = 16}; /* as ldtilecfg reads it */
#define OPERATIONS_TILES(name, isa, op)                                                                                \
    __attribute__((target(isa))) static void name(const void *data, size_t bytes, uint64_t rounds) {                   \
        (void)data, (void)bytes;                                                                                       \
        __asm__ volatile("ldtilecfg %1\n\t" ZERO_TILES ".p2align 5\n1:\n\t" TILES(op)                                  \
                             TILES(op) "dec %0\n\tjnz 1b\n\ttilerelease"                                               \
                         : "+r"(rounds)                                                                                \
                         : "m"(whole_tiles)                                                                            \
                         : "cc", "memory");                                                                            \
    }
OPERATIONS_TILES(bf16_tiles, "amx-tile,amx-bf16", "tdpbf16ps")
OPERATIONS_TILES(dot_tiles, "amx-tile,amx-int8", "tdpbusd")

OPERATIONS(fma_256, "avx2", "vzeroall\n\t", R12(FMA256) R12(FMA256), CLOBBER16)
OPERATIONS(dot_256, "avx2", "vzeroall\n\t", R12(DOT256) R12(DOT256), CLOBBER16)
OPERATIONS(madd_256, "avx2", "vzeroall\n\t", R12(MADD256) R12(MADD256), CLOBBER16)

/* Loads 512 bytes a turn. */
#define READ(name, isa, body, clobber)                                                                                 \
    __attribute__((target(isa))) static void name(const void *data, size_t bytes, uint64_t rounds) {                   \
        for (; rounds > 0; rounds--) {                                                                                 \
            const void *at = data;                                                                                     \
            uint64_t turns = bytes / 512;                                                                              \
            __asm__ volatile(".p2align 5\n1:\n\t" body "add $512, %0\n\tdec %1\n\tjnz 1b"                              \
                             : "+r"(at), "+r"(turns)                                                                   \
                             :                                                                                         \
                             : clobber);                                                                               \
        }                                                                                                              \
    }
#define LOAD64(i) "vmovups " #i "*64(%0), %%zmm" #i "\n\t"
#define LOAD32(i) "vmovups " #i "*32(%0), %%ymm" #i "\n\t"
#define LOAD16(i) "movups " #i "*16(%0), %%xmm" #i "\n\t"
#define LOAD16B(i) "movups 256+" #i "*16(%0), %%xmm" #i "\n\t"
#define R16(X) R8(X, 0, 1, 2, 3, 4, 5, 6, 7) R8(X, 8, 9, 10, 11, 12, 13, 14, 15)
READ(read_512, "avx512f", R8(LOAD64, 0, 1, 2, 3, 4, 5, 6, 7), CLOBBER16)
READ(read_256, "avx2", R16(LOAD32), CLOBBER16)
READ(read_128, "sse2", R16(LOAD16) R16(LOAD16B), CLOBBER16)
#elif defined(__aarch64__)
#define CLOBBER                                                                                                        \
    "v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7", "v8", "v9", "v10", "v11", "v12", "v13", "v14", "v15", "v16",       \
        "v17", "v18", "v19", "v20", "v21", "v22", "v23", "v30", "v31", "cc", "memory"
#define OPERATIONS(name, extension, body)                                                                              \
    static void name(const void *data, size_t bytes, uint64_t rounds) {                                                \
        (void)data, (void)bytes;                                                                                       \
        __asm__ volatile(extension R24(ZERO) ZERO(30) ZERO(31) "1:\n\t" body "subs %0, %0, #1\n\tb.ne 1b"              \
                         : "+r"(rounds)                                                                                \
                         :                                                                                             \
                         : CLOBBER);                                                                                   \
    }
#define ZERO(i) "movi v" #i ".4s, #0\n\t"
#define FMLA(i) "fmla v" #i ".4s, v30.4s, v31.4s\n\t"
#define SDOT(i) "sdot v" #i ".4s, v30.16b, v31.16b\n\t"
#define SMMLA(i) "smmla v" #i ".4s, v30.16b, v31.16b\n\t"
#define BFMMLA(i) "bfmmla v" #i ".4s, v30.8h, v31.8h\n\t"
OPERATIONS(fma_neon, "", R24(FMLA))
OPERATIONS(dot_neon, ".arch armv8.2-a+dotprod\n\t", R24(SDOT))
OPERATIONS(mmla_neon, ".arch armv8.2-a+i8mm\n\t", R24(SMMLA))
OPERATIONS(bf16_neon, ".arch armv8.2-a+bf16\n\t", R24(BFMMLA))

static void read_neon(const void *data, size_t bytes, uint64_t rounds) {
    for (; rounds > 0; rounds--) {
        const void *at = data;
        uint64_t turns = bytes / 128;
        __asm__ volatile("1:\n\tldp q0, q1, [%0]\n\tldp q2, q3, [%0, #32]\n\tldp q4, q5, [%0, #64]\n\t"
                         "ldp q6, q7, [%0, #96]\n\tadd %0, %0, #128\n\tsubs %1, %1, #1\n\tb.ne 1b"
                         : "+r"(at), "+r"(turns)
                         :
                         : CLOBBER);
    }
}
#endif

/* ---- what there is to measure ----------------------------------------------------------------------------------- */

typedef struct task {
    const char *name;
    zeb_peak_kind kind;
    peak_loop loop;
    double amount; /* operations a round; bytes: unused */
    bool shared;   /* the level is one for all processors */
    size_t level;  /* bytes that the level holds (of one processor, or of all where shared); 0: no limit */
    size_t set;    /* bytes that a thread reads over and over; DRAM: all threads together */
    size_t most;   /* bytes that all threads may read together; 0: no limit */
} task;

enum { TASKS_MAX = 8, TRIES = 21, TRIES_LARGE = 5, ROUND_NS = 2000000 };

/* Sets that are large take long, and come from memory however often they were read before. */
static const size_t large = (size_t)64 << 20;

static void add_operations(task *tasks, uint32_t *count, const char *name, peak_loop loop, double amount) {
    tasks[(*count)++] = (task){.name = name, .kind = ZEB_PEAK_OPERATIONS, .loop = loop, .amount = amount};
}

#if defined(__x86_64__)
/* Not every compiler's __builtin_cpu_supports knows it. */
static bool has_avxvnni(void) {
    unsigned a = 0, b = 0, c = 0, d = 0;
    return __get_cpuid_count(7, 1, &a, &b, &c, &d) != 0 && (a >> 4 & 1) != 0;
}

static peak_loop list_operations(const zeb_device *device, task *tasks, uint32_t *count) {
    const bool tiles = device->kernels->slab_i8 != NULL; /* the system grants them, and --isa did not refuse them */
    if (__builtin_cpu_supports("avx512f")) {
        add_operations(tasks, count, "fp32", fma_512, 24 * 32);
        if (tiles)
            add_operations(tasks, count, "bf16", bf16_tiles, 8 * 16 * 16 * 64);
        else if (__builtin_cpu_supports("avx512bf16"))
            add_operations(tasks, count, "bf16", bf16_512, 24 * 64);
        if (tiles)
            add_operations(tasks, count, "int8", dot_tiles, 8 * 16 * 16 * 128);
        else if (__builtin_cpu_supports("avx512vnni"))
            add_operations(tasks, count, "int8", dot_512, 24 * 128);
        else
            add_operations(tasks, count, "int8", madd_256, 24 * 64);
        return read_512;
    }
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
        add_operations(tasks, count, "fp32", fma_256, 24 * 16);
        add_operations(tasks, count, "int8", has_avxvnni() ? dot_256 : madd_256, 24 * 64);
        return read_256;
    }
    return read_128;
}
#elif defined(__aarch64__)
static peak_loop list_operations(const zeb_device *device, task *tasks, uint32_t *count) {
    (void)device;
    enum { CAP_DOT = 20, CAP2_I8MM = 13, CAP2_BF16 = 14 }; /* bits of the kernel's arch/arm64 uapi hwcap.h */
    const unsigned long cap = getauxval(AT_HWCAP), cap2 = getauxval(AT_HWCAP2);
    add_operations(tasks, count, "fp32", fma_neon, 24 * 8);
    if ((cap2 >> CAP2_BF16 & 1) != 0) add_operations(tasks, count, "bf16", bf16_neon, 24 * 32);
    if ((cap2 >> CAP2_I8MM & 1) != 0)
        add_operations(tasks, count, "int8", mmla_neon, 24 * 64);
    else if ((cap >> CAP_DOT & 1) != 0)
        add_operations(tasks, count, "int8", dot_neon, 24 * 32);
    return read_neon;
}
#else
static void read_plain(const void *data, size_t bytes, uint64_t rounds) {
    for (; rounds > 0; rounds--) {
        uint64_t sum = 0;
        for (size_t i = 0; i < bytes / sizeof sum; i++)
            sum += ((const uint64_t *)data)[i];
        __asm__ volatile("" : : "r"(sum) : "memory");
    }
}
static peak_loop list_operations(const zeb_device *device, task *tasks, uint32_t *count) {
    (void)device, (void)tasks, (void)count;
    return read_plain;
}
#endif

/* "32K" and "1024K" of sysfs in bytes; 0 unknown. */
static size_t cache_size(int index, char *type, char *level) {
    char path[96], text[32] = "";
    static const char *const part[] = {"type", "level", "size"};
    size_t size = 0;
    for (int i = 0; i < 3; i++) {
        (void)snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu0/cache/index%d/%s", index, part[i]);
        FILE *file = fopen(path, "re");
        if (file == NULL) return 0;
        char *line = fgets(text, sizeof text, file);
        (void)fclose(file);
        if (line == NULL) return 0;
        if (i == 0) *type = text[0];
        if (i == 1) *level = text[0];
    }
    char *unit;
    size = strtoull(text, &unit, 10);
    return *unit == 'K' ? size << 10 : *unit == 'M' ? size << 20 : size;
}

/* Levels of unknown size are left out: where their loads would come from is not known either. */
static void list_levels(task *tasks, uint32_t *count, peak_loop loop) {
    static const char *const name[] = {"L1", "L2", "L3"};
    size_t size[3] = {0}, last = 0;
    for (int i = 0; i < 8; i++) {
        char type = 0, level = 0;
        const size_t bytes = cache_size(i, &type, &level);
        if (bytes > 0 && type != 'I' && level >= '1' && level <= '3') size[level - '1'] = bytes;
    }
    for (int i = 0; i < 3; i++) {
        if (size[i] == 0) continue;
        /* half of a level of one's own; of a shared one enough to miss the level below, since a guest may be told of a
         * cache that it has only a part of */
        size_t set = i == 2 && size[1] > 0 && 8 * size[1] < size[2] ? 4 * size[1] : size[i] / 2;
        tasks[(*count)++] = (task){.name = name[i],
                                   .kind = ZEB_PEAK_BYTES,
                                   .loop = loop,
                                   .shared = i == 2,
                                   .level = size[i],
                                   .set = set,
                                   .most = i == 2 ? size[i] / 2 : 0};
        last = size[i];
    }
    const long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGE_SIZE);
    const size_t memory = pages > 0 && page > 0 ? (size_t)pages * (size_t)page : 0;
    size_t set = 4 * last > (size_t)256 << 20 ? 4 * last : (size_t)256 << 20;
    if (set > (size_t)1 << 30) set = (size_t)1 << 30;
    if (set >= 2 * last && set <= memory / 4)
        tasks[(*count)++] =
            (task){.name = "DRAM", .kind = ZEB_PEAK_BYTES, .loop = loop, .shared = true, .set = set, .most = set};
}

/* ---- measuring -------------------------------------------------------------------------------------------------- */

static uint64_t now_ns(void) {
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* What the workers of one try share. */
typedef struct trial {
    cpu_pool *pool;
    const task *what;
    uint32_t threads;
    const unsigned char *data;
    size_t bytes; /* of one thread */
    uint64_t rounds;
    uint64_t *begin, *end; /* [workers] */
} trial;

static void work(void *context, uint32_t worker) {
    const trial *t = context;
    const bool mine = worker < t->threads;
    const unsigned char *data = mine && t->data != NULL ? t->data + worker * t->bytes : NULL;
    if (mine && t->bytes < large) t->what->loop(data, t->bytes, t->rounds / 8 + 1); /* clock rises, cache fills */
    cpu_pool_barrier(t->pool, worker);
    if (!mine) return;
    t->begin[worker] = now_ns();
    t->what->loop(data, t->bytes, t->rounds);
    t->end[worker] = now_ns();
}

/* Nanoseconds from the first begin to the last end. */
static double run(trial *t) {
    cpu_pool_run(t->pool, work, t);
    uint64_t begin = UINT64_MAX, end = 0;
    for (uint32_t i = 0; i < t->threads; i++) {
        if (t->begin[i] < begin) begin = t->begin[i];
        if (t->end[i] > end) end = t->end[i];
    }
    return end > begin ? (double)(end - begin) : 1.0;
}

static int ascending(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void measure(trial *t, zeb_peak *peak) {
    double rate[TRIES] = {0};
    const double amount = t->what->kind == ZEB_PEAK_BYTES ? (double)t->bytes : t->what->amount;
    const int tries = t->bytes * t->threads >= large ? TRIES_LARGE : TRIES;
    t->rounds = 1;
    while (run(t) < ROUND_NS && t->rounds < (uint64_t)1 << 40)
        t->rounds *= 2;
    for (int i = 0; i < tries; i++)
        rate[i] = amount * (double)t->rounds * t->threads * 1e9 / run(t);
    qsort(rate, (size_t)tries, sizeof rate[0], ascending);
    memset(peak, 0, sizeof *peak);
    (void)snprintf(peak->name, sizeof peak->name, "%s", t->what->name);
    peak->kind = (uint32_t)t->what->kind;
    peak->threads = t->threads;
    peak->per_second = rate[tries - 1];
    peak->median_per_second = rate[tries / 2];
    if (t->what->kind != ZEB_PEAK_BYTES) return;
    peak->working_set_bytes = t->bytes * t->threads;
    peak->capacity_bytes = t->what->shared ? t->what->level : t->what->level * t->threads;
}

/* Bytes that each of so many threads reads; 0: for operations, and where so many sets do not fit the level. */
static size_t set_of(const task *what, uint32_t threads) {
    const bool divided = what->level == 0; /* DRAM */
    const size_t bytes = (divided ? what->set / threads : what->set) & ~(size_t)4095;
    return what->most > 0 && bytes * threads > what->most ? 0 : bytes;
}

static uint32_t next_threads(uint32_t threads, uint32_t most) {
    return threads == most ? most + 1 : 2 * threads < most ? 2 * threads : most;
}

static zeb_status measure_all(trial *t, const task *tasks, uint32_t count, zeb_peak *peak, uint32_t capacity,
                              uint32_t *made, zeb_error *error) {
    const uint32_t most = cpu_pool_threads(t->pool);
    *made = 0;
    for (uint32_t i = 0; i < count; i++) {
        size_t held = 0;
        unsigned char *data = NULL;
        for (uint32_t n = 1; n <= most; n = next_threads(n, most))
            if (set_of(&tasks[i], n) * n > held) held = set_of(&tasks[i], n) * n;
        if (held > 0 && *made < capacity) {
            void *memory = mmap(NULL, held, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
            if (memory == MAP_FAILED) return zeb_fail(error, ZEB_ERR_MEMORY, "no memory for %zu bytes to read", held);
            (void)madvise(memory, held, MADV_HUGEPAGE);
            memset(memory, 1, held);
            data = memory;
        }
        for (uint32_t n = 1; n <= most; n = next_threads(n, most)) {
            t->what = &tasks[i];
            t->threads = n;
            t->data = data;
            t->bytes = set_of(&tasks[i], n);
            if (tasks[i].kind == ZEB_PEAK_BYTES && t->bytes == 0) continue;
            if (*made < capacity) measure(t, &peak[*made]);
            ++*made;
        }
        if (data != NULL) (void)munmap(data, held);
    }
    return ZEB_OK;
}

zeb_status cpu_peaks(zeb_device *device, zeb_peak *peak, uint32_t capacity, uint32_t *count, zeb_error *error) {
    task tasks[TASKS_MAX];
    uint32_t listed = 0;
    const peak_loop loop = list_operations(device, tasks, &listed);
    list_levels(tasks, &listed, loop);
    const uint32_t workers = cpu_pool_threads(device->pool);
    trial t = {
        .pool = device->pool, .begin = calloc(workers, sizeof(uint64_t)), .end = calloc(workers, sizeof(uint64_t))};
    zeb_status status = t.begin == NULL || t.end == NULL
                            ? zeb_fail(error, ZEB_ERR_MEMORY, "no memory for the times of %u threads", workers)
                            : measure_all(&t, tasks, listed, peak, capacity, count, error);
    free(t.begin);
    free(t.end);
    return status;
}
