/* models/model_internal.h - private to the room: what a family sees of a model. */
#ifndef ZEB_MODELS_MODEL_INTERNAL_H
#define ZEB_MODELS_MODEL_INTERNAL_H

#include "base/arena.h"
#include "base/json.h"
#include "models/checkpoint.h"
#include "models/model.h"

/* A family of architectures: one file, one entry in family.c. */
typedef struct zeb_family {
    const char *model_type; /* config.json "model_type" */
    /* Reads model->config, resolves every weight, fills the shape fields of model->info and model->state (in
     * model->arena). */
    zeb_status (*open)(zeb_model *model, zeb_error *error);
    zeb_status (*graph)(const zeb_model *model, const zeb_graph_options *options, zeb_builder *builder,
                        zeb_error *error);
} zeb_family;

extern const zeb_family zeb_family_bert;

/* By model_type; NULL when unknown. */
const zeb_family *zeb_family_find(const char *model_type);
/* "bert, ..." for messages, in text[capacity]. */
void zeb_family_names(char *text, size_t capacity);

struct zeb_model {
    zeb_arena *arena;
    char *folder;
    zeb_json *config;
    zeb_checkpoint *checkpoint;
    zeb_safetensors *added; /* a policy's weights, or NULL */
    const zeb_family *family;
    void *state;
    zeb_model_info info;
};

/* What a family asks of a weight. */
typedef struct zeb_weight_need {
    const char *const *name; /* candidates, NULL-terminated; the first is the one that messages name */
    uint32_t rank;
    int64_t extent[2];
    const char *key[2]; /* the config keys that gave the extents, for messages */
} zeb_weight_need;

/* Finds and checks a weight; a misaligned one is copied into the arena. */
ZEB_MUST_CHECK zeb_status zeb_weight_find(zeb_model *model, const zeb_weight_need *need, zeb_weight *weight,
                                          zeb_error *error);

/* Adds a weight (and its scale) to a graph under a name of the graph. */
ZEB_MUST_CHECK zeb_status zeb_weight_add(const zeb_weight *weight, const char *name, zeb_builder *builder,
                                         int32_t *tensor, zeb_error *error);

/* Elements. */
uint64_t zeb_weight_count(const zeb_weight *weight);

/* num_labels, id2label and problem_type into info.labels, .label_name and .regression (labels.c). */
ZEB_MUST_CHECK zeb_status zeb_model_labels(zeb_model *model, zeb_error *error);

#endif
