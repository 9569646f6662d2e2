/* models/bert.h - private to bert.c and bert_open.c: what an opened BERT is. */
#ifndef ZEB_MODELS_BERT_H
#define ZEB_MODELS_BERT_H

#include "models/model_internal.h"

/* The weights outside the layers, then those of a layer. */
enum {
    BERT_WORD,
    BERT_POSITION,
    BERT_TYPE,
    BERT_EMBED_GAMMA,
    BERT_EMBED_BETA,
    BERT_POOLER_W,
    BERT_POOLER_B,
    BERT_CLASSIFIER_W,
    BERT_CLASSIFIER_B,
    BERT_OUTER_COUNT
};
enum {
    BERT_Q_W,
    BERT_Q_B,
    BERT_K_W,
    BERT_K_B,
    BERT_V_W,
    BERT_V_B,
    BERT_OUTPUT_W,
    BERT_OUTPUT_B,
    BERT_NORM1_GAMMA,
    BERT_NORM1_BETA,
    BERT_IN_W,
    BERT_IN_B,
    BERT_OUT_W,
    BERT_OUT_B,
    BERT_NORM2_GAMMA,
    BERT_NORM2_BETA,
    BERT_LAYER_COUNT
};

/* Extents by what the config calls them; WIDTH: a layer's heads side by side; ONE marks a vector. */
typedef enum zeb_bert_extent {
    BERT_HIDDEN,
    BERT_FFN,
    BERT_VOCAB,
    BERT_POSITIONS,
    BERT_TYPES,
    BERT_LABELS,
    BERT_WIDTH,
    BERT_EXTENT_KEYS,
    BERT_ONE
} zeb_bert_extent;

typedef struct zeb_bert_slot {
    const char *stored; /* behind "bert." or "encoder.layer.<l>." */
    const char *graph;  /* behind "layer.<l>." */
    zeb_bert_extent rows, columns;
    bool linear; /* the matrix of a linear layer */
} zeb_bert_slot;

extern const zeb_bert_slot zeb_bert_outer[BERT_OUTER_COUNT], zeb_bert_layer_slot[BERT_LAYER_COUNT];

/* A layer of a model that heads and neurons were removed from has extents of its own. */
typedef struct zeb_bert_layer {
    int64_t heads, ffn;
    zeb_weight weight[BERT_LAYER_COUNT];
} zeb_bert_layer;

typedef struct zeb_bert {
    int64_t extent[BERT_EXTENT_KEYS]; /* of the whole model */
    uint32_t activation;
    float epsilon;
    bool eight, four; /* some matrix is stored as I8 / as U4 */
    zeb_weight outer[BERT_OUTER_COUNT];
    zeb_bert_layer *layer;
} zeb_bert;

/* zeb_family.open */
ZEB_MUST_CHECK zeb_status zeb_bert_open(zeb_model *model, zeb_error *error);
/* What layer l (-1: none) has of an extent. */
int64_t zeb_bert_extent_of(const zeb_model *model, const zeb_bert *state, int32_t l, zeb_bert_extent key);

#endif
