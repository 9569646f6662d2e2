/* The inner loops of every instruction set that this processor has: functions against libm in binary64, register tiles
 * of every height and width against sums in binary64, integers exactly. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cpuinfo.h"
#include "zeb/number.h"

enum { ISA_MAX = 8 };

static void for_each_isa(void (*check)(const cpu_kernels *k)) {
    cpu_isa isa[ISA_MAX];
    const uint32_t n = cpu_isa_list(isa, ISA_MAX);
    assert_true(n >= 2 && isa[0].available); /* scalar and at least one more in every build that we know */
    for (uint32_t i = 0; i < n; i++)
        if (isa[i].available) check(isa[i].kernels);
}

static float random_float(uint32_t *seed) { /* -1 .. 1 */
    *seed = *seed * 1664525u + 1013904223u;
    return (float)(int32_t)*seed * 0x1p-31f;
}

/* ---- functions
 * ------------------------------------------------------------------------------------------------------- */

static double act(uint32_t kind, double x) {
    switch (kind) {
        case ZEB_ACT_GELU_ERF: return x < 0 ? 0.5 * x * erfc(-x * sqrt(0.5)) : 0.5 * x * (1 + erf(x * sqrt(0.5)));
        case ZEB_ACT_GELU_TANH: return 0.5 * x * (1 + tanh(0.7978845608028654 * (x + 0.044715 * x * x * x)));
        case ZEB_ACT_RELU: return x > 0 ? x : 0;
        case ZEB_ACT_SILU: return x / (1 + exp(-x));
        default: return tanh(x);
    }
}

/* The errors that kernels.h states. */
static double act_bound(uint32_t kind, double x) {
    const double one = fabs(x) > 1 ? fabs(x) : 1;
    return kind == ZEB_ACT_RELU ? 0 : kind == ZEB_ACT_GELU_ERF ? 1.2e-6 + 6e-8 * one : 3e-7 * one;
}

static void check_activations(const cpu_kernels *k) {
    enum { N = 4001 };
    float x[N], y[N];
    for (uint32_t kind = ZEB_ACT_GELU_ERF; kind <= ZEB_ACT_TANH; kind++) {
        for (int i = 0; i < N; i++)
            x[i] = (float)(i - N / 2) * (i % 2 ? 0.004f : 0.05f);
        x[0] = -1e4f, x[1] = 1e4f, x[2] = -3e38f, x[3] = 0.0f;
        memcpy(y, x, sizeof y);
        k->activate(kind, y, 0, 1, N);
        for (int i = 0; i < N; i++) {
            const double want = act(kind, (double)x[i]);
            if (!(fabs((double)y[i] - want) <= act_bound(kind, (double)x[i])))
                fail_msg("%s activation %u of %g is %.9g instead of %.9g", k->isa, kind, (double)x[i], (double)y[i],
                         want);
        }
    }
    float odd[5] = {NAN, 1, 2, 3, 4};
    k->activate(ZEB_ACT_GELU_ERF, odd, 0, 1, 3);
    assert_true(isnan(odd[0]));
    assert_true(odd[3] == 3.0f && odd[4] == 4.0f); /* nothing past n */
}

static void test_activations(void **state) {
    (void)state;
    for_each_isa(check_activations);
}

static void check_bf16(const cpu_kernels *k) {
    enum { N = 203 };
    float x[N], y[N];
    uint32_t seed = 9;
    for (int i = 0; i < N; i++) {
        seed = seed * 1664525u + 1013904223u;
        x[i] = zeb_bits_f32(i % 3 == 0 ? (seed & 0xffff0000u) | 0x8000u : seed); /* every third is a tie */
    }
    x[0] = HUGE_VALF, x[1] = 3.4e38f, x[2] = -0.0f;
    k->round_bf16(x, N, y);
    for (int i = 0; i < N; i++) {
        const float want = zeb_bf16_to_f32(zeb_f32_to_bf16(x[i]));
        assert_true(isnan(want) ? isnan(y[i]) : zeb_f32_bits(y[i]) == zeb_f32_bits(want));
    }
}

static void test_bf16(void **state) {
    (void)state;
    for_each_isa(check_bf16);
}

static void check_softmax(const cpu_kernels *k) {
    enum { N = 77, ROWS = 2 };
    float s[ROWS * N], peak[ROWS], sum[ROWS];
    uint32_t seed = 5;
    for (int sign = -1; sign <= 1; sign += 2) {
        float in[ROWS * N];
        for (int i = 0; i < ROWS * N; i++)
            in[i] = s[i] = 40.0f * random_float(&seed);
        const int seen[ROWS] = {N, 31};
        const float scale = 0.125f * (float)sign;
        k->softmax(s, N, ROWS, N, seen, scale, peak, sum);
        for (int r = 0; r < ROWS; r++) {
            double most = -HUGE_VAL, total = 0;
            for (int i = 0; i < seen[r]; i++)
                most = fmax(most, (double)scale * (double)in[r * N + i]);
            for (int i = 0; i < N; i++) {
                const double want = i < seen[r] ? exp((double)scale * (double)in[r * N + i] - most) : 0;
                total += want;
                assert_true(fabs((double)s[r * N + i] - want) <= 2e-6 * want);
            }
            assert_true(fabs((double)sum[r] - total) <= 2e-6 * total);
        }
    }
    float none[3] = {1, 2, 3};
    const int zero = 0;
    k->softmax(none, 3, 1, 3, &zero, 1.0f, peak, sum);
    assert_true(none[0] == 0 && none[2] == 0 && sum[0] == 0);
}

static void test_softmax(void **state) {
    (void)state;
    for_each_isa(check_softmax);
}

/* ---- tiles
 * ----------------------------------------------------------------------------------------------------------- */

enum { K_MOST = 70, LD = 80, COLUMNS = CPU_TILE_COLUMNS_MAX, ROWS = CPU_TILE_ROWS_MAX };

typedef struct matrices {
    float a[ROWS * LD], b[K_MOST * COLUMNS], c[ROWS * LD], bias[COLUMNS], residual[ROWS * LD];
} matrices;

static void check_tile(const cpu_kernels *k, matrices *m, int rows, int n, int depth, int options) {
    float before[ROWS * LD];
    memcpy(before, m->c, sizeof before);
    const cpu_tile tile = {.a = m->a,
                           .lda = LD,
                           .b = m->b,
                           .ldb = (size_t)k->tile_columns,
                           .c = m->c,
                           .ldc = LD,
                           .bias = options & 1 ? m->bias : NULL,
                           .residual = options & 2 ? m->residual : NULL,
                           .ldr = LD,
                           .k = depth,
                           .n = n,
                           .accumulate = options >> 2 & 1};
    k->tile[rows](&tile);
    for (int r = 0; r < ROWS; r++) {
        for (int c = 0; c < LD; c++) {
            double want = (double)before[r * LD + c];
            if (r < rows && c < n) {
                want = (options & 4 ? want : 0) + (options & 1 ? (double)m->bias[c] : 0) +
                       (options & 2 ? (double)m->residual[r * LD + c] : 0);
                for (int i = 0; i < depth; i++)
                    want += (double)m->a[r * LD + i] * (double)m->b[i * k->tile_columns + c];
            }
            if (!(fabs((double)m->c[r * LD + c] - want) <= 2e-5))
                fail_msg("%s tile %dx%d, k %d, options %d: [%d,%d] is %g instead of %g", k->isa, rows, n, depth,
                         options, r, c, (double)m->c[r * LD + c], want);
        }
    }
}

static void check_tiles(const cpu_kernels *k) {
    matrices *m = malloc(sizeof *m);
    uint32_t seed = 3;
    assert_non_null(m);
    for (size_t i = 0; i < sizeof *m / sizeof(float); i++)
        ((float *)m)[i] = random_float(&seed);
    assert_true(k->tile_rows <= ROWS && k->tile_columns <= COLUMNS);
    for (int rows = 1; rows <= k->tile_rows; rows++)
        for (int n = 1; n <= k->tile_columns; n++)
            for (int options = 0; options < 8; options++)
                check_tile(k, m, rows, n, 1 + (rows * 7 + n * 5 + options * 3) % K_MOST, options);
    free(m);
}

static void test_tiles(void **state) {
    (void)state;
    for_each_isa(check_tiles);
}

/* ---- eight bits
 * -------------------------------------------------------------------------------------------------------- */

static int code_at(const cpu_kernels *k, const unsigned char *codes, int i) {
    int16_t wide;
    if (k->i8_bytes == 1) return k->i8_offset != 0 ? codes[i] - k->i8_offset : (int8_t)codes[i];
    memcpy(&wide, codes + 2 * i, 2);
    return wide;
}

static void check_quantise(const cpu_kernels *k) {
    for (int n = 1; n < 150; n += n < 40 ? 1 : 13) {
        float x[3 * 160], scale[3];
        unsigned char codes[3 * 320];
        uint32_t seed = (uint32_t)n;
        for (int i = 0; i < 480; i++)
            x[i] = random_float(&seed) * (float)(1 + i % 50);
        for (int i = 0; i < n; i++)
            x[160 + i] = i == 0 ? 1e-38f : 0.0f; /* a row that is too small */
        k->quantise(x, 160, 3, n, codes, 320, scale);
        for (int r = 0; r < 3; r++) {
            int8_t want[160];
            const float want_scale = zeb_quantise_i8(x + r * 160, (size_t)n, want);
            assert_true(scale[r] == want_scale);
            for (int i = 0; i < n; i++)
                assert_int_equal(code_at(k, codes + r * 320, i), want[i]);
        }
    }
}

static void test_quantise(void **state) {
    (void)state;
    for_each_isa(check_quantise);
}

/* Products of extreme numbers: whoever adds pairs in 16 bits with saturation fails here. */
static void check_i8_tile(const cpu_kernels *k, int rows, int n, int depth, int extreme) {
    enum { D = 64 };
    float x[ROWS * D], x_scale[ROWS], c[ROWS * LD], w_row[D], w_scale[COLUMNS];
    int8_t w[COLUMNS * D], panel[COLUMNS * (D + 4)];
    int32_t start[COLUMNS];
    unsigned char codes[ROWS * 128];
    uint32_t seed = (uint32_t)(rows * 100 + n);
    for (int i = 0; i < ROWS * D; i++)
        x[i] = extreme ? 1.0f : random_float(&seed);
    memset(codes, k->i8_offset, sizeof codes);
    k->quantise(x, D, rows, depth, codes, 128, x_scale);
    for (int j = 0; j < COLUMNS; j++) {
        for (int i = 0; i < depth; i++)
            w_row[i] = extreme ? 1.0f : random_float(&seed);
        w_scale[j] = zeb_quantise_i8(w_row, (size_t)depth, w + j * D);
    }
    const int steps = (depth + k->i8_step - 1) / k->i8_step, columns = k->tile_columns;
    memset(panel, 0, sizeof panel);
    for (int j = 0; j < columns; j++) {
        start[j] = 0;
        for (int i = 0; i < depth; i++) {
            panel[(i / k->i8_step * columns + j) * k->i8_step + i % k->i8_step] = w[j * D + i];
            start[j] -= k->i8_offset * w[j * D + i];
        }
    }
    const cpu_tile_i8 tile = {.x = codes,
                              .ldx = 128,
                              .x_scale = x_scale,
                              .w = panel,
                              .start = start,
                              .w_scale = w_scale,
                              .c = c,
                              .ldc = LD,
                              .steps = steps,
                              .groups = 1,
                              .n = n};
    k->tile_i8[rows](&tile);
    for (int r = 0; r < rows; r++)
        for (int j = 0; j < n; j++) {
            int32_t sum = 0;
            for (int i = 0; i < depth; i++)
                sum += code_at(k, codes + r * 128, i) * w[j * D + i];
            assert_true(c[r * LD + j] == (float)sum * (x_scale[r] * w_scale[j]));
        }
}

static void check_i8_tiles(const cpu_kernels *k) {
    for (int rows = 1; rows <= k->tile_rows; rows++)
        for (int n = 1; n <= k->tile_columns; n += n % 3 + 1)
            for (int extreme = 0; extreme < 2; extreme++)
                check_i8_tile(k, rows, n, 1 + (rows * 11 + n * 3) % 64, extreme);
}

static void test_i8_tiles(void **state) {
    (void)state;
    for_each_isa(check_i8_tiles);
}

/* ---- slabs
 * ------------------------------------------------------------------------------------------------------------- */

enum { SLAB_ROWS = 100, SLAB_N = 96, SLAB_K = 192 };

typedef struct slab_case {
    int rows, n, steps, extras; /* bit 0: bias, bit 1: residual */
    uint32_t activation;
} slab_case;

/* The slab of a case but for its operands. */
static cpu_slab slab_of(const slab_case *o, float *c, const float *bias, const float *residual) {
    return (cpu_slab){.c = c,
                      .ldc = SLAB_N,
                      .bias = o->extras & 1 ? bias : NULL,
                      .residual = o->extras >> 1 & 1 ? residual : NULL,
                      .ldr = SLAB_N,
                      .rows = o->rows,
                      .n = o->n,
                      .steps = o->steps,
                      .activation = o->activation};
}

/* Integers exactly, and what follows them by the operations that the tiles take. */
static void check_slab_i8(const cpu_kernels *k, const slab_case *o) {
    static unsigned char x[SLAB_ROWS * SLAB_K];
    static int8_t w[SLAB_N * SLAB_K], plain[SLAB_N * SLAB_K];
    static float c[SLAB_ROWS * SLAB_N], want[SLAB_ROWS * SLAB_N], residual[SLAB_ROWS * SLAB_N];
    float x_scale[SLAB_ROWS], w_scale[SLAB_N], bias[SLAB_N];
    int32_t start[SLAB_N] = {0};
    uint32_t seed = (uint32_t)(o->rows * 1000 + o->n);
    const int depth = o->steps * 64, columns = k->tile_columns;
    for (int i = 0; i < SLAB_ROWS * SLAB_K; i++)
        x[i] = (unsigned char)(128 + (int)(127.4f * random_float(&seed)));
    for (int i = 0; i < SLAB_ROWS * SLAB_N; i++)
        residual[i] = random_float(&seed), c[i] = 7.0f;
    for (int r = 0; r < o->rows; r++)
        x_scale[r] = 0.01f + fabsf(random_float(&seed)) * 1e-3f;
    for (int j = 0; j < SLAB_N; j++) {
        w_scale[j] = 1e-3f * random_float(&seed);
        bias[j] = random_float(&seed);
        for (int i = 0; i < depth; i++) {
            const int8_t value = (int8_t)(127.4f * random_float(&seed));
            plain[j * SLAB_K + i] = value;
            w[((j / columns * (depth / 4) + i / 4) * columns + j % columns) * 4 + i % 4] = value;
            start[j] -= 128 * value;
        }
    }
    const bool with_bias = o->extras & 1, with_residual = o->extras >> 1 & 1;
    cpu_slab slab = slab_of(o, c, bias, residual);
    slab.x = x, slab.ldx = SLAB_K, slab.x_scale = x_scale;
    slab.w = w, slab.start = start, slab.w_scale = w_scale;
    k->slab_i8(&slab);
    for (int r = 0; r < SLAB_ROWS; r++)
        for (int j = 0; j < SLAB_N; j++) {
            int32_t sum = 0;
            for (int i = 0; i < depth; i++)
                sum += (x[r * SLAB_K + i] - 128) * plain[j * SLAB_K + i];
            want[r * SLAB_N + j] =
                fmaf((float)sum, x_scale[r < o->rows ? r : 0] * w_scale[j], with_bias ? bias[j] : 0.0f);
        }
    k->activate(o->activation, want, SLAB_N, SLAB_ROWS, SLAB_N);
    for (int r = 0; r < SLAB_ROWS; r++)
        for (int j = 0; j < SLAB_N; j++) {
            const bool live = r < o->rows && j < o->n;
            const float y = want[r * SLAB_N + j] + (with_residual ? residual[r * SLAB_N + j] : 0.0f);
            if (c[r * SLAB_N + j] != (live ? y : 7.0f))
                fail_msg("%s slab %dx%d, %d steps, extras %d: [%d,%d] is %.9g instead of %.9g", k->isa, o->rows, o->n,
                         o->steps, o->extras, r, j, (double)c[r * SLAB_N + j], (double)(live ? y : 7.0f));
        }
}

/* Bfloat16 against sums of the rounded numbers in binary64. */
static void check_slab_bf16(const cpu_kernels *k, const slab_case *o) {
    enum { HALF_K = 2 * SLAB_K / 4 };
    static float x[SLAB_ROWS * HALF_K], w[SLAB_N * HALF_K], c[SLAB_ROWS * SLAB_N], want[SLAB_ROWS * SLAB_N];
    static float residual[SLAB_ROWS * SLAB_N];
    static uint16_t rows[SLAB_ROWS * HALF_K], panel[SLAB_N * HALF_K];
    float bias[SLAB_N];
    uint32_t seed = (uint32_t)(o->rows * 1000 + o->n);
    const int padded = o->steps * 32, depth = padded - o->n % 30, columns = k->tile_columns, step = k->half_step;
    for (int i = 0; i < SLAB_ROWS * HALF_K; i++)
        x[i] = random_float(&seed);
    for (int i = 0; i < SLAB_ROWS * SLAB_N; i++)
        residual[i] = random_float(&seed), c[i] = 7.0f;
    memset(rows, 0xff, sizeof rows); /* NaNs, which narrow has to leave none of */
    memset(panel, 0, sizeof panel);
    k->narrow(x, HALF_K, o->rows, depth, rows, HALF_K * sizeof *rows);
    for (int j = 0; j < SLAB_N; j++) {
        bias[j] = random_float(&seed);
        for (int i = 0; i < depth; i++) {
            w[j * HALF_K + i] = zeb_bf16_to_f32(zeb_f32_to_bf16(random_float(&seed)));
            panel[((j / columns * (padded / step) + i / step) * columns + j % columns) * step + i % step] =
                zeb_f32_to_bf16(w[j * HALF_K + i]);
        }
    }
    const bool with_bias = o->extras & 1, with_residual = o->extras >> 1 & 1;
    cpu_slab slab = slab_of(o, c, bias, residual);
    slab.x = rows, slab.ldx = HALF_K * sizeof *rows, slab.w = panel;
    k->slab_bf16(&slab);
    for (int r = 0; r < SLAB_ROWS; r++)
        for (int j = 0; j < SLAB_N; j++) {
            double sum = with_bias ? (double)bias[j] : 0;
            for (int i = 0; i < depth; i++)
                sum += (double)zeb_bf16_to_f32(zeb_f32_to_bf16(x[r * HALF_K + i])) * (double)w[j * HALF_K + i];
            want[r * SLAB_N + j] = (float)sum;
        }
    k->activate(o->activation, want, SLAB_N, SLAB_ROWS, SLAB_N);
    for (int r = 0; r < SLAB_ROWS; r++)
        for (int j = 0; j < SLAB_N; j++) {
            const bool live = r < o->rows && j < o->n;
            const float y = live ? want[r * SLAB_N + j] + (with_residual ? residual[r * SLAB_N + j] : 0.0f) : 7.0f;
            if (!(fabsf(c[r * SLAB_N + j] - y) <= (live ? 2e-5f : 0.0f)))
                fail_msg("%s bf16 slab %dx%d, k %d, extras %d: [%d,%d] is %.9g instead of %.9g", k->isa, o->rows, o->n,
                         depth, o->extras, r, j, (double)c[r * SLAB_N + j], (double)y);
        }
}

static void check_slabs_bf16(const cpu_kernels *k) {
    if (k->slab_bf16 == NULL) return;
    for (int rows = 1; rows <= SLAB_ROWS; rows += rows < 40 ? 1 : 17) {
        const slab_case o = {rows, 1 + rows * 37 % SLAB_N, 1 + rows % 3, rows % 4, rows % 2 ? ZEB_ACT_GELU_ERF : 0};
        check_slab_bf16(k, &o);
    }
    for (uint32_t activation = ZEB_ACT_NONE; activation <= ZEB_ACT_TANH; activation++)
        check_slab_bf16(k, &(slab_case){33, 64, 2, 3, activation});
}

static void test_slabs_bf16(void **state) {
    (void)state;
    cpu_isa isa[ISA_MAX];
    const uint32_t n = cpu_isa_list(isa, ISA_MAX);
    bool any = false;
    for (uint32_t i = 0; i < n; i++)
        any |= isa[i].available && isa[i].kernels->slab_bf16 != NULL;
    for_each_isa(check_slabs_bf16);
    if (!any) {
        print_message("SKIPPED: this processor multiplies no bfloat16, no slab was computed\n");
        skip();
    }
}

enum { FOUR_K = 192 };

/* Numbers of four bits against sums of each group in integers: unpacked in registers, before the tiles, and in a slab.
 */
static void check_four(const cpu_kernels *k, int rows, int n, int groups, int group) {
    static unsigned char x[SLAB_ROWS * 2 * FOUR_K];
    static int8_t packed[SLAB_N * FOUR_K / 2], room[SLAB_N * FOUR_K], number[SLAB_N][FOUR_K];
    static float plain[SLAB_ROWS * FOUR_K], c[SLAB_ROWS * SLAB_N], scale[SLAB_N * FOUR_K / 32];
    static int32_t start[SLAB_N * FOUR_K / 32];
    float x_scale[SLAB_ROWS], bias[SLAB_N];
    const int depth = groups * group, columns = k->tile_columns, bytes = columns * k->i8_step;
    const int panels = (n + columns - 1) / columns, steps = depth / k->i8_step;
    uint32_t seed = (uint32_t)(rows * 1000 + n);
    memset(packed, 0, sizeof packed);
    for (int i = 0; i < rows * depth; i++)
        plain[i] = random_float(&seed);
    k->quantise(plain, (size_t)depth, rows, depth, x, 2 * FOUR_K, x_scale);
    for (int j = 0; j < panels * columns; j++) {
        bias[j] = random_float(&seed);
        for (int g = 0; g < groups; g++) {
            const int at = (j / columns * groups + g) * columns + j % columns;
            scale[at] = random_float(&seed);
            start[at] = 0;
            for (int i = g * group; i < (g + 1) * group; i++) {
                const int place = j % columns * k->i8_step + i % k->i8_step, half = bytes / 2;
                const int value = (int)(8 + 7.99f * random_float(&seed)) - 8;
                int8_t *to = packed + (j / columns * steps + i / k->i8_step) * half + place % half;
                number[j][i] = (int8_t)value;
                *to = (int8_t)((uint8_t)*to | (unsigned)(value & 15) << (place < half ? 0 : 4));
                start[at] -= 16 * k->i8_offset * value;
            }
        }
    }
    for (int way = 0; way < 3; way++) {
        const cpu_slab slab = {
            x, 2 * FOUR_K,         x_scale,      packed, start, scale, c, SLAB_N, bias, NULL, 0, rows,
            n, group / k->i8_step, ZEB_ACT_NONE, groups, room};
        const cpu_tile_i8 tile = {.x = x,
                                  .ldx = 2 * FOUR_K,
                                  .x_scale = x_scale,
                                  .w = way == 0 ? packed : room,
                                  .start = start,
                                  .w_scale = scale,
                                  .c = c,
                                  .ldc = SLAB_N,
                                  .bias = bias,
                                  .steps = group / k->i8_step,
                                  .groups = groups,
                                  .n = n};
        if (way < 2 && (rows > k->groups_rows || n > columns)) continue;
        if (way == 0 && k->tile_four[rows] == NULL) continue;
        if (way == 2 && (k->slab_four == NULL || rows < 2)) continue;
        memset(c, 0, sizeof c);
        if (way == 0) k->tile_four[rows](&tile);
        if (way == 1) k->unpack_four(packed, steps, room), k->tile_groups[rows](&tile);
        if (way == 2) k->slab_four(&slab);
        for (int r = 0; r < rows; r++)
            for (int j = 0; j < n; j++) {
                double want = 0;
                for (int i = 0; i < depth; i++)
                    want += 16.0 * code_at(k, x + r * 2 * FOUR_K, i) * number[j][i] *
                            (double)scale[(j / columns * groups + i / group) * columns + j % columns];
                want = want * (double)x_scale[r] + (double)bias[j];
                if (!(fabs((double)c[r * SLAB_N + j] - want) <= 2e-3))
                    fail_msg("%s four bits, way %d, %dx%d, %d groups of %d: [%d,%d] is %.9g instead of %.9g", k->isa,
                             way, rows, n, groups, group, r, j, (double)c[r * SLAB_N + j], want);
            }
    }
}

static void check_fours(const cpu_kernels *k) {
    for (int rows = 1; rows <= SLAB_ROWS; rows += rows < 40 ? 1 : 17)
        for (int wide = 0; wide < 2; wide++)
            check_four(k, rows, 1 + rows * 37 % (rows <= k->groups_rows ? k->tile_columns : SLAB_N),
                       1 + rows % (wide ? 3 : 6), wide ? 64 : 32);
}

static void test_four_bits(void **state) {
    (void)state;
    for_each_isa(check_fours);
}

static void check_slabs(const cpu_kernels *k) {
    if (k->slab_i8 == NULL) return;
    for (int rows = 2; rows <= SLAB_ROWS; rows += rows < 40 ? 1 : 17) {
        const slab_case o = {rows, 1 + rows * 37 % SLAB_N, 1 + rows % 3, rows % 4, rows % 2 ? ZEB_ACT_GELU_ERF : 0};
        check_slab_i8(k, &o);
    }
    for (uint32_t activation = ZEB_ACT_NONE; activation <= ZEB_ACT_TANH; activation++)
        check_slab_i8(k, &(slab_case){33, 64, 2, 3, activation});
}

static void test_slabs(void **state) {
    (void)state;
    cpu_isa isa;
    int lowered = 0;
    zeb_error error;
    for_each_isa(check_slabs);
    if (cpu_isa_choose("", &isa, &lowered, &error) != ZEB_OK || isa.kernels->slab_i8 == NULL) {
        print_message("SKIPPED: this processor has no AMX, no slab was computed\n");
        skip();
    }
}

/* ---- choice
 * ------------------------------------------------------------------------------------------------------------ */

static void test_choice_of_isa(void **state) {
    (void)state;
    zeb_error error = {""};
    cpu_isa isa;
    int lowered = -1;
    assert_int_equal(cpu_isa_choose("", &isa, &lowered, &error), ZEB_OK);
    assert_int_equal(lowered, 0);
    assert_true(isa.available);
    assert_int_equal(cpu_isa_choose("scalar", &isa, &lowered, &error), ZEB_OK);
    assert_string_equal(isa.name, "scalar");
    assert_int_equal(lowered, 0);
    assert_int_equal(cpu_isa_choose("sse9", &isa, &lowered, &error), ZEB_ERR_ARGUMENT);
    assert_non_null(strstr(error.text, "sse9"));
    assert_non_null(strstr(error.text, "scalar"));
}

static void slab_of_no_time(const cpu_slab *slab) {
    (void)slab;
}

static volatile float nowhere;
static void slab_of_much_time(const cpu_slab *slab) {
    for (int i = 0; i < 16 * slab->rows * slab->n * slab->steps * 32; i++) /* sanitizers slow the others down */
        nowhere = (float)i;
}

/* A set that adds products of bfloat16 alone is taken where they are faster, or where it is asked for. */
static void test_choice_by_trial(void **state) {
    (void)state;
    zeb_error error = {""};
    cpu_kernels fast = cpu_kernels_scalar, slow = cpu_kernels_scalar;
    fast.slab_bf16 = slab_of_no_time;
    slow.slab_bf16 = slab_of_much_time;
    const cpu_isa list[] = {{"plain", &cpu_kernels_scalar, 1, NULL, NULL},
                            {"fast", &fast, 1, NULL, NULL},
                            {"slow", &slow, 1, NULL, NULL},
                            {"missing", &cpu_kernels_scalar, 0, NULL, NULL},
                            {"withheld", &cpu_kernels_scalar, 0, NULL, "withheld"}};
    static const struct {
        uint32_t n;
        const char *asked, *chosen, *slower, *refused;
        int lowered;
    } want[] = {{4, "", "fast", "slow", NULL, 0},        {2, "", "fast", NULL, NULL, 0},
                {4, "slow", "slow", NULL, NULL, 0},      {4, "plain", "plain", NULL, NULL, 0},
                {4, "missing", "fast", "slow", NULL, 1}, {5, "missing", "fast", "slow", NULL, 1},
                {5, "", "fast", "slow", "withheld", 0},  {5, "withheld", "fast", "slow", "withheld", 1}};
    for (size_t i = 0; i < sizeof want / sizeof want[0]; i++) {
        cpu_isa isa;
        int lowered = -1;
        assert_int_equal(cpu_isa_choose_of(list, want[i].n, want[i].asked, &isa, &lowered, &error), ZEB_OK);
        assert_string_equal(isa.name, want[i].chosen);
        assert_int_equal(lowered, want[i].lowered);
        assert_int_equal(isa.slower == NULL, want[i].slower == NULL);
        if (want[i].slower != NULL) assert_string_equal(isa.slower, want[i].slower);
        assert_int_equal(isa.refused == NULL, want[i].refused == NULL);
        if (want[i].refused != NULL) assert_string_equal(isa.refused, want[i].refused);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_activations), cmocka_unit_test(test_softmax),
        cmocka_unit_test(test_tiles),       cmocka_unit_test(test_quantise),
        cmocka_unit_test(test_i8_tiles),    cmocka_unit_test(test_choice_of_isa),
        cmocka_unit_test(test_bf16),        cmocka_unit_test(test_slabs),
        cmocka_unit_test(test_slabs_bf16),  cmocka_unit_test(test_choice_by_trial),
        cmocka_unit_test(test_four_bits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
