/* bert.h - a BERT graph over weights handed in, run on a plugin: what the benchmark scripts load with ctypes.
 *
 * Not part of zeb: includes only the public headers, so that it measures a plugin and nothing else. Weights are one
 * array of floats in this order: word [vocab, hidden], position [positions, hidden], type [2, hidden], gamma, beta;
 * each layer: q, k, v, output (weight [hidden, hidden], bias), gamma, beta, ffn in [ffn, hidden], bias, ffn out
 * [hidden, ffn], bias, gamma, beta; pooler [hidden, hidden], bias; classifier [labels, hidden], bias. */
#ifndef ZEB_BENCH_BERT_H
#define ZEB_BENCH_BERT_H

#include "zeb/plugin.h"

enum { BENCH_LAYERS_MAX = 48 };

typedef struct bench_config {
    int32_t layers, hidden, heads, ffn, vocab, positions, labels;
    int32_t token_max, batch_max;
    int32_t precision;            /* zeb_precision of linear layers */
    int32_t attention_precision;  /* of attention */
    int32_t first_only;           /* last layer for row 0 of each sequence alone (exact) */
    int32_t logits_of_layers;     /* unused, 0 */
    float keep[BENCH_LAYERS_MAX]; /* share of rows that layer l keeps after its softmax; 0: all */
} bench_config;

typedef struct bench bench;

/* NULL on failure, with a sentence in error. The weights stay the caller's and must outlive the bench. */
bench *bench_open(const char *plugin, uint32_t threads, const char *isa, const bench_config *config,
                  const float *weights, char error[512]);
/* One linear layer x[rows, k] . w[n, k] + bias[n] instead; weights are w, then bias. */
bench *bench_open_linear(const char *plugin, uint32_t threads, const char *isa, int32_t precision, int32_t rows,
                         int32_t k, int32_t n, const float *weights, const float *x, char error[512]);
void bench_close(bench *b);
/* Number of floats that the configuration's weights have. */
int64_t bench_weights(const bench_config *config);
/* One batch: ids of all sequences end to end, offsets [batch_max + 1]. 0, or 1 with a sentence in error. */
int bench_write(bench *b, const int32_t *ids, const int32_t *offsets, char error[512]);
/* `passes` passes; the time of each in ns[passes]. */
int bench_run(bench *b, int passes, uint64_t *ns, char error[512]);
/* The same without what the plan's own stages took, which bring rows into fewer bits; profiled, so a little slower. */
int bench_run_ready(bench *b, int passes, uint64_t *ns, char error[512]);
int bench_logits(bench *b, float *logits, char error[512]);
/* Time of each stage of one pass: name[capacity][64], ns[capacity]; returns how many. */
int bench_profile(bench *b, char (*name)[64], uint64_t *ns, int capacity);
void bench_settings(bench *b, char text[512]);

#endif
