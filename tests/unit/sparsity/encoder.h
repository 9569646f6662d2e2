/* A small encoder with random weights, as a graph and as numbers to compute with by hand. */
#ifndef ZEB_TEST_ENCODER_H
#define ZEB_TEST_ENCODER_H

#include "sparsity/rules.h"

enum { LAYERS = 3, HEADS = 2, DIM = 4, WIDTH = HEADS * DIM, INNER = 12, LABELS = 3, TOKENS = 24, BATCH = 4 };

typedef struct encoder_layer {
    float q[WIDTH * WIDTH], k[WIDTH * WIDTH], v[WIDTH * WIDTH], o[WIDTH * WIDTH];
    float up[INNER * WIDTH], down[WIDTH * INNER];
    float gamma[2][WIDTH], beta[2][WIDTH];
    float gate[HEADS * WIDTH], gate_bias[HEADS];
    float exit[LABELS * WIDTH], exit_bias[LABELS];
} encoder_layer;

typedef struct encoder {
    encoder_layer layer[LAYERS];
    float classifier[LABELS * WIDTH];
    float x[TOKENS * WIDTH];
    int32_t offsets[BATCH + 1];
} encoder;

/* Random weights, inputs and lengths (one sequence may be empty). */
void encoder_fill(encoder *e, uint64_t seed);

/* The dense graph: input "x" [T,WIDTH], output "logits" [B,LABELS]. pool: zeb_pool_kind. */
zeb_status encoder_graph(const encoder *e, uint32_t pool, zeb_builder *builder, zeb_error *error);

/* Gate weights "gate.<l>" and "gate.<l>.bias", exit heads "exit.<l>" and "exit.<l>.bias". */
zeb_status encoder_weight(void *context, const char *name, zeb_policy_weight *weight, zeb_error *error);

/* masked.c: the same by hand, in binary64: every row stays where it is, and a mask says which are still alive.
 * kept[LAYERS][BATCH] counts the rows alive after each layer. margin falls to the least distance of anything from a
 * threshold or from the next in the ranking, so that a test can tell a real difference from a coin toss. */
void masked_logits(const encoder *e, const zeb_layer_rule *rule, double logits[BATCH][LABELS],
                   int32_t kept[LAYERS][BATCH], double *margin);

#endif
