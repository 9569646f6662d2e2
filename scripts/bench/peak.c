/* peak.c - what one core can do at most: loops of 24 independent accumulators (of AMX: four, each busy for longer than
 * its turn comes round), in assembler, so that no compiler has a say. bench_peak gives GOP/s of fp32, bf16 and int8 in
 * vectors, then of bf16 and int8 in AMX tiles, then of fp32 and int8 in vectors of 256 bits, each the best of some
 * short loops; 0 where the processor lacks it. */
#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static double now(void) {
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

#define R8(X, a, b, c, d, e, f, g, h) X(a) X(b) X(c) X(d) X(e) X(f) X(g) X(h)
#define R24(X) R8(X, 0, 1, 2, 3, 4, 5, 6, 7) R8(X, 8, 9, 10, 11, 12, 13, 14, 15) R8(X, 16, 17, 18, 19, 20, 21, 22, 23)

/* Best rate over `tries` loops of `n` rounds of the 24 instructions, each of `ops` operations. */
#define RATE(best, tries, n, ops, text)                                                                                \
    for (int t_ = 0; t_ < (tries); t_++) {                                                                             \
        const double begin_ = now();                                                                                   \
        for (long i_ = 0; i_ < (n); i_++)                                                                              \
            __asm__ volatile(text ::: "memory");                                                                       \
        const double rate_ = (double)(n)*24.0 * (ops) / (now() - begin_) * 1e-9;                                       \
        if (rate_ > (best)) (best) = rate_;                                                                            \
    }

#if defined(__x86_64__)
#include <cpuid.h>

/* AMX-BF16, -TILE and -INT8; the system's leave is asked for after that. */
static int has_tiles(void) {
    unsigned a, b, c, d;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (d >> 22 & 1) && (d >> 24 & 1) && (d >> 25 & 1);
}

#define ZMM(op, i) op " %%zmm30, %%zmm31, %%zmm" #i "\n\t"
#define YMM(op, i) op " %%ymm30, %%ymm31, %%ymm" #i "\n\t"
#define F512(i) ZMM("vfmadd231ps", i)
#define B512(i) ZMM("vdpbf16ps", i)
#define I512(i) ZMM("vpdpbusd", i)
#define I256(i) "%{vex%} vpdpbusd %%ymm14, %%ymm15, %%ymm" #i "\n\t"
#define F256(i) "vfmadd231ps %%ymm14, %%ymm15, %%ymm" #i "\n\t"
#define R12(X) R8(X, 0, 1, 2, 3, 4, 5, 6, 7) X(8) X(9) X(10) X(11)
#define CLEAR(i) "vpxord %%zmm" #i ", %%zmm" #i ", %%zmm" #i "\n\t"

#define T4(op)                                                                                                         \
    op " %%tmm6, %%tmm4, %%tmm0\n\t" op " %%tmm7, %%tmm4, %%tmm1\n\t" op " %%tmm6, %%tmm5, %%tmm2\n\t" op              \
       " %%tmm7, %%tmm5, %%tmm3\n\t"

static int has_avx_vnni(void) {
    unsigned a, b, c, d;
    return __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a >> 4 & 1);
}

static void measure_tiles(double *bf16, double *int8) {
    enum { ARCH_REQ_XCOMP_PERM = 0x1023, TILE_DATA = 18 };
    static const unsigned char shape[64] = {
        [0] = 1,   [16] = 64, [18] = 64, [20] = 64, [22] = 64, [24] = 64, [26] = 64, [28] = 64, [30] = 64,
        [48] = 16, [49] = 16, [50] = 16, [51] = 16, [52] = 16, [53] = 16, [54] = 16, [55] = 16};
    if (!has_tiles() || syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, TILE_DATA) != 0) return;
    __asm__ volatile("ldtilecfg %0" : : "m"(shape));
    RATE(*bf16, 5, 2000, 16384.0 / 3, T4("tdpbf16ps") T4("tdpbf16ps")) /* 8 of 16384 operations, counted as 24 */
    RATE(*int8, 5, 2000, 32768.0 / 3, T4("tdpbusd") T4("tdpbusd"))
    __asm__ volatile("tilerelease" : :);
}

static void measure_256(double *fp32, double *int8) {
    if (!__builtin_cpu_supports("fma")) return;
    __asm__ volatile("vzeroall" ::: "memory");
    RATE(*fp32, 5, 4000, 16.0, R12(F256) R12(F256))
    if (has_avx_vnni()) RATE(*int8, 5, 4000, 64.0, R12(I256) R12(I256))
}

static void measure(double *fp32, double *bf16, double *int8) {
    if (__builtin_cpu_supports("avx512f")) {
        __asm__ volatile(R24(CLEAR) CLEAR(30) CLEAR(31)::: "memory");
        RATE(*fp32, 5, 4000, 32.0, R24(F512))
        if (__builtin_cpu_supports("avx512bf16")) RATE(*bf16, 5, 4000, 64.0, R24(B512))
        if (__builtin_cpu_supports("avx512vnni")) RATE(*int8, 5, 4000, 128.0, R24(I512))
    } else {
        measure_256(fp32, int8);
    }
}
#elif defined(__aarch64__)
static void measure_tiles(double *bf16, double *int8) {
    (void)bf16, (void)int8;
}
static void measure_256(double *fp32, double *int8) {
    (void)fp32, (void)int8;
}
#define FNEON(i) "fmla v" #i ".4s, v30.4s, v31.4s\n\t"
static void measure(double *fp32, double *bf16, double *int8) {
    (void)bf16, (void)int8;
    RATE(*fp32, 5, 4000, 8.0, R24(FNEON))
}
#endif

void bench_peak(double rate[7]);

void bench_peak(double rate[7]) {
    for (int i = 0; i < 7; i++)
        rate[i] = 0;
    measure(&rate[0], &rate[1], &rate[2]);
    measure_tiles(&rate[3], &rate[4]);
    measure_256(&rate[5], &rate[6]);
}
