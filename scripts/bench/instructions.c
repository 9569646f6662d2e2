/* instructions.c - passes of BERT-mini on a plugin, for callgrind, which counts from here: what comes before
 * would take most of the time. Leaves a dump a case, and prints a line for each: its name, then the device's
 * settings. */
#include <stdio.h>
#include <stdlib.h>
#include <valgrind/callgrind.h>

#include "bert.h"

static char error[512];

static void leave(void) {
    (void)fprintf(stderr, "%s\n", error);
    exit(1);
}

static float *make_weights(const bench_config *c) {
    const int64_t count = bench_weights(c);
    float *w = malloc((size_t)count * sizeof *w);
    uint32_t random = 1;
    for (int64_t i = 0; w != NULL && i < count; i++) {
        random = random * 1664525u + 1013904223u;
        w[i] = ((float)(random >> 8) / 16777216.0f - 0.5f) * 0.2f;
    }
    return w;
}

/* One case: int8 says the precision of all but scores under 48 keys, which the engine keeps in F32. */
static void count(const char *plugin, const char *isa, bench_config c, const float *weights, const char *name) {
    char settings[512];
    uint64_t ns;
    int32_t ids[64], offsets[2] = {0, c.token_max};
    for (int i = 0; i < c.token_max; i++)
        ids[i] = (i * 7 + 3) % c.vocab;
    bench *b = bench_open(plugin, 1, isa, &c, weights, error);
    if (b == NULL || bench_write(b, ids, offsets, error) != 0) leave();
    CALLGRIND_START_INSTRUMENTATION;
    CALLGRIND_ZERO_STATS;
    if (bench_run(b, 1, &ns, error) != 0) leave();
    CALLGRIND_DUMP_STATS_AT(name);
    CALLGRIND_STOP_INSTRUMENTATION;
    bench_settings(b, settings);
    bench_close(b);
    (void)printf("%s %s\n", name, settings);
}

int main(int argc, char **argv) {
    bench_config c = {
        .layers = 4, .hidden = 256, .heads = 4, .ffn = 1024, .vocab = 64, .positions = 64, .labels = 2, .batch_max = 1};
    float *weights = make_weights(&c);
    if (argc != 3 || weights == NULL) return 2;
    for (int i = 0; i < 8; i++) {
        char name[64];
        c.token_max = i & 1 ? 64 : 16;
        c.precision = c.attention_precision = i & 2 ? 2 : 0; /* W8A8 or F32 */
        for (int l = 0; l < 3; l++)
            c.keep[l] = i & 4 ? 0.6f : 0;
        (void)snprintf(name, sizeof name, "%s-%s-%d", i & 2 ? "int8" : "fp32", i & 4 ? "pruned" : "dense", c.token_max);
        count(argv[1], argv[2], c, weights, name);
    }
    free(weights);
    return 0;
}
