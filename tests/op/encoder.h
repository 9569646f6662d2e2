/* op/encoder.h - small BERT-like graphs as models/ and sparsity/ make them, with every choice in the caller's hand. */
#ifndef ZEB_OP_ENCODER_H
#define ZEB_OP_ENCODER_H

#include "fixture.h"

typedef struct op_layer {
    uint32_t project, output, ffn_in, ffn_out, attention; /* zeb_precision */
    int stored;                    /* matrices come quantised, where the precision has such weights */
    int gates, importance, causal; /* gates: of heads */
    int32_t heads_kept;            /* of those that gave most in the layers before; 0: not asked, nor in layer 0 */
    float gate_bias, threshold;    /* threshold: of scores */
    zeb_select select;
    zeb_blocks_attr blocks; /* size 0: none */
    float confidence;       /* of the exit behind the layer; 0: none */
} op_layer;

enum { OP_LAYERS_MAX = 3 };

typedef struct op_encoder {
    int64_t tokens, batch;
    int32_t layers, heads, kv_heads, dim, ffn, labels, group;
    int embed, cls_only, add_in_norm; /* add_in_norm: residuals are inputs of the norms */
    int mixed;                        /* for those who draw one: layers and matrices differ in precision */
    zeb_dtype table, real;            /* of the embedding; of matrices that aren't quantised */
    uint32_t norm, activation, pool;
    op_layer layer[OP_LAYERS_MAX];
} op_encoder;

/* Builds it; finals are the logits and all decisions that a policy makes readable. parameters: op_encoder. */
void op_encoder_build(op_fixture *fx, const void *parameters);

#endif
