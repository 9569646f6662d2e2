/* models/model.h - a checkpoint opened: who it is, its weights in place, and the graph of its forward pass.
 *
 * A model is read-only once it is open and may then be used by several threads; its weights are memory-mapped, and a
 * graph or plan made from it must not outlive it. */
#ifndef ZEB_MODELS_MODEL_H
#define ZEB_MODELS_MODEL_H

#include <stdbool.h>

#include "graph/builder.h"

typedef struct zeb_model zeb_model;

enum { ZEB_MODEL_PATH_MAX = 4096, ZEB_MODEL_LABELS_MAX = 100000 };

typedef struct zeb_model_info {
    char name[64];                 /* the card's "name", else the folder's own name */
    char family[32];               /* config.json "model_type" */
    char path[ZEB_MODEL_PATH_MAX]; /* as it was asked for: folder or card */
    char task[64];                 /* that it was trained for, as its card says; "" where none does */
    int32_t layers, heads, hidden, ffn, vocab, position_max, labels;
    bool regression;               /* one output that is a value, not a class score */
    bool removed;                  /* a layer has fewer heads or neurons than `heads` and `ffn`, the whole model's */
    const char *const *label_name; /* [labels], owned by the model; "LABEL_0" where the config gives no names */
    uint64_t parameters;           /* elements of the weights that the graph uses; scales are not counted */
    uint64_t file_bytes;           /* of all safetensors files */
    char dtype[32];                /* of the encoder's matrices: "F32", "F16", "BF16", "I8", "U4", or "I8:6,U4:18" */
} zeb_model_info;

/* Opens a Hugging Face folder (config.json, model.safetensors or its shards), or a card: a JSON file whose "checkpoint"
 * names the folder relative to itself (a folder with card.json and no config.json counts as its card). All weights that
 * the family needs are found and compared with the config here. Errors: ZEB_ERR_NOT_FOUND, ZEB_ERR_IO,
 * ZEB_ERR_FORMAT (broken file, or config and weights disagree), ZEB_ERR_UNSUPPORTED (family or option unknown). */
ZEB_MUST_CHECK zeb_status zeb_model_open(const char *path, zeb_model **model, zeb_error *error);
void zeb_model_close(zeb_model *model); /* takes NULL */

const zeb_model_info *zeb_model_about(const zeb_model *model);
/* The checkpoint's folder, where the tokenizer's files are too. */
const char *zeb_model_folder(const zeb_model *model);

/* The checkpoint's hash: models/checkpoint.h, zeb_checkpoint_hash. Reads every byte: computed when asked for. */
ZEB_MUST_CHECK zeb_status zeb_model_hash(const zeb_model *model, char hex[65], zeb_error *error);

/* Lets go of the pages of mapped weights that were read so far: memory, not contents. */
void zeb_model_forget(const zeb_model *model);

typedef struct zeb_graph_options {
    int64_t token_max;  /* T: most tokens of a batch, >= 1 */
    int64_t batch_max;  /* B: most sequences of a batch, >= 1 */
    uint32_t precision; /* zeb_precision of the encoder's matrices and, where attention knows it, of attention; pooler
                           and classifier stay F32 unless they are stored quantised */
    bool whole; /* before heads and neurons were removed: for its cost alone, the weights' values aren't there */
} zeb_graph_options;

/* The dense graph of the forward pass, every row in every layer. Inputs "tokens.offsets" I32 [B+1], "tokens.count" I32
 * [1], "ids" and "types" I32 [T]; output "logits" F32 [B, labels]. Nodes: "embed"; a layer l "layer.<l>.q", ".k", ".v",
 * ".attention", ".output", ".norm1", ".ffn.in", ".ffn.out", ".norm2"; "pool", "pooler", "logits" (the classifier).
 * A quantised checkpoint runs in what it is stored for (I8: W8A8; any U4: W4A8 or W4A16, its I8
 * matrices W8A8, its float ones F32); any other precision is ZEB_ERR_UNSUPPORTED with the way out. Formulas: Devlin et
 * al. 2019, as in Hugging Face's BertForSequenceClassification without dropout. */
ZEB_MUST_CHECK zeb_status zeb_model_graph(const zeb_model *model, const zeb_graph_options *options,
                                          zeb_builder *builder, zeb_error *error);

/* A weight as a graph wants it. */
typedef struct zeb_weight {
    const char *name; /* in the checkpoint */
    zeb_dtype dtype;
    uint32_t rank;     /* 1 or 2 */
    int64_t extent[2]; /* in elements: U4 [N,K], not [N,K/2] */
    const void *data;  /* aligned to the element */
    int32_t group;     /* U4: elements of K a scale; else 0 */
    const void *scale; /* I8: F32 [N]; U4: F16 [N, K/group]; else NULL */
    const char *scale_name;
} zeb_weight;

/* Opens a file of weights that do not come with the model: a policy's. It stays open until the model is closed. Once.
 */
ZEB_MUST_CHECK zeb_status zeb_model_add_weights(zeb_model *model, const char *path, zeb_error *error);
/* Any tensor of the added file or the checkpoint by its name there, such as a policy's head gates. Errors:
 * ZEB_ERR_NOT_FOUND; ZEB_ERR_UNSUPPORTED for one that no graph can hold (rank over 2, integer types). */
ZEB_MUST_CHECK zeb_status zeb_model_tensor(const zeb_model *model, const char *name, zeb_weight *weight,
                                           zeb_error *error);

#endif
