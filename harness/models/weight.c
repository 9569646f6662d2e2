/* Weights as a graph wants them: found, compared with the config, quantised ones tied to their scales. */
#include <inttypes.h>
#include <string.h>

#include "models/model_internal.h"

/* The first element must lie on a multiple of its size; the format does not promise that, so what it got wrong is
 * copied once into the arena (without one, it is refused). */
static zeb_status align(const zeb_model *model, zeb_arena *arena, const zeb_stored_tensor *tensor, const void **data,
                        zeb_error *error) {
    *data = tensor->data;
    if ((uintptr_t)tensor->data % zeb_stored_dtype_bytes(tensor->dtype) == 0) return ZEB_OK;
    if (arena == NULL)
        return zeb_fail(error, ZEB_ERR_UNSUPPORTED, "%s: tensor \"%.120s\" is not aligned to its elements",
                        zeb_checkpoint_path(model->checkpoint), tensor->name);
    void *copy;
    zeb_status status = zeb_arena_alloc(arena, tensor->bytes, 1, &copy, error);
    if (status != ZEB_OK) return status;
    memcpy(copy, tensor->data, tensor->bytes);
    *data = copy;
    return ZEB_OK;
}

/* The graph's type for a stored one; false for those that no graph holds. U8 is packed INT4 when it has a scale. */
static bool graph_dtype(zeb_stored_dtype stored, zeb_dtype *dtype) {
    switch (stored) {
        case ZEB_STORED_F32: *dtype = ZEB_F32; return true;
        case ZEB_STORED_F16: *dtype = ZEB_F16; return true;
        case ZEB_STORED_BF16: *dtype = ZEB_BF16; return true;
        case ZEB_STORED_I8: *dtype = ZEB_I8; return true;
        case ZEB_STORED_U8: *dtype = ZEB_U4; return true;
        default: return false;
    }
}

static zeb_status bad_scale(const zeb_model *model, const zeb_stored_tensor *tensor, const zeb_stored_tensor *scale,
                            zeb_error *error) {
    char of[96], is[96];
    bool four = tensor->dtype == ZEB_STORED_U8;
    return zeb_fail(error, ZEB_ERR_FORMAT, "%s: \"%.120s\" %s %s does not fit \"%.120s\" %s %s: %s is needed",
                    zeb_checkpoint_path(model->checkpoint), scale->name, zeb_stored_dtype_name(scale->dtype),
                    zeb_stored_shape(scale, is, sizeof is), tensor->name, zeb_stored_dtype_name(tensor->dtype),
                    zeb_stored_shape(tensor, of, sizeof of), four ? "F16 [N,K/32] or [N,K/64]" : "F32 [N]");
}

/* "<name>_scale" as docs/formats/quantisation.md has it. */
static zeb_status tie_scale(const zeb_model *model, zeb_arena *arena, const zeb_stored_tensor *tensor,
                            zeb_weight *weight, zeb_error *error) {
    char name[512];
    (void)snprintf(name, sizeof name, "%s_scale", tensor->name);
    const zeb_stored_tensor *scale = zeb_checkpoint_find(model->checkpoint, name);
    if (scale == NULL)
        return zeb_fail(error, ZEB_ERR_FORMAT, "%s: \"%.120s\" is %s but there is no \"%.120s\"",
                        zeb_checkpoint_path(model->checkpoint), tensor->name, zeb_stored_dtype_name(tensor->dtype),
                        name);
    if (tensor->rank != 2 || scale->rank == 0 || scale->extent[0] != tensor->extent[0])
        return bad_scale(model, tensor, scale, error);
    if (tensor->dtype == ZEB_STORED_I8) {
        if (scale->dtype != ZEB_STORED_F32 || scale->rank != 1) return bad_scale(model, tensor, scale, error);
    } else {
        if (scale->dtype != ZEB_STORED_F16 || scale->rank != 2 || scale->extent[1] < 1)
            return bad_scale(model, tensor, scale, error);
        weight->extent[1] = tensor->extent[1] * 2; /* bytes exist, so this cannot overflow */
        int64_t group = weight->extent[1] / scale->extent[1];
        if ((group != 32 && group != 64) || group * scale->extent[1] != weight->extent[1])
            return bad_scale(model, tensor, scale, error);
        weight->group = (int32_t)group;
    }
    weight->scale_name = scale->name;
    return align(model, arena, scale, &weight->scale, error);
}

static zeb_status convert(const zeb_model *model, zeb_arena *arena, const zeb_stored_tensor *tensor, zeb_weight *weight,
                          zeb_error *error) {
    char shape[96];
    *weight = (zeb_weight){.name = tensor->name, .rank = tensor->rank};
    if (!graph_dtype(tensor->dtype, &weight->dtype) || tensor->rank < 1 || tensor->rank > 2 || tensor->count < 1)
        return zeb_fail(error, ZEB_ERR_UNSUPPORTED,
                        "%s: tensor \"%.120s\" is %s %s, which no graph can hold as a weight",
                        zeb_checkpoint_path(model->checkpoint), tensor->name, zeb_stored_dtype_name(tensor->dtype),
                        zeb_stored_shape(tensor, shape, sizeof shape));
    for (uint32_t i = 0; i < tensor->rank; i++)
        weight->extent[i] = tensor->extent[i];
    if (tensor->rank == 1) weight->extent[1] = 1;
    zeb_status status = align(model, arena, tensor, &weight->data, error);
    if (status == ZEB_OK && (weight->dtype == ZEB_I8 || weight->dtype == ZEB_U4))
        status = tie_scale(model, arena, tensor, weight, error);
    return status;
}

static const zeb_stored_tensor *find_any(const zeb_model *model, const char *const *name) {
    for (; *name != NULL; name++) {
        const zeb_stored_tensor *tensor = zeb_checkpoint_find(model->checkpoint, *name);
        if (tensor != NULL) return tensor;
    }
    return NULL;
}

/* The sentence names both sides: what the config asks for by which keys, and what the file has. */
static zeb_status disagree(const zeb_model *model, const zeb_weight_need *need, const zeb_weight *weight,
                           const zeb_stored_tensor *tensor, zeb_error *error) {
    char stored[96], asked[96], keys[128];
    zeb_stored_tensor wanted = {.rank = need->rank, .extent = {need->extent[0], need->extent[1]}};
    bool two = need->rank == 2 && strcmp(need->key[0], need->key[1]) != 0;
    (void)snprintf(keys, sizeof keys, "\"%s\"%s%s%s", need->key[0], two ? " and \"" : "", two ? need->key[1] : "",
                   two ? "\"" : "");
    return zeb_fail(error, ZEB_ERR_FORMAT, "%s: %s ask for \"%.120s\" %s, but %s has it as %s %s%s",
                    zeb_json_path(model->config), keys, tensor->name, zeb_stored_shape(&wanted, asked, sizeof asked),
                    zeb_checkpoint_path(model->checkpoint), zeb_stored_dtype_name(tensor->dtype),
                    zeb_stored_shape(tensor, stored, sizeof stored),
                    weight->dtype == ZEB_U4 ? " (two elements a byte)" : "");
}

zeb_status zeb_weight_find(zeb_model *model, const zeb_weight_need *need, zeb_weight *weight, zeb_error *error) {
    const zeb_stored_tensor *tensor = find_any(model, need->name);
    if (tensor == NULL)
        return zeb_fail(error, ZEB_ERR_FORMAT, "%s: there is no tensor \"%.120s\", which %s asks for",
                        zeb_checkpoint_path(model->checkpoint), need->name[0], zeb_json_path(model->config));
    zeb_status status = convert(model, model->arena, tensor, weight, error);
    if (status != ZEB_OK) return status;
    if (weight->rank != need->rank || weight->extent[0] != need->extent[0] ||
        (need->rank == 2 && weight->extent[1] != need->extent[1]))
        return disagree(model, need, weight, tensor, error);
    return ZEB_OK;
}

zeb_status zeb_model_add_weights(zeb_model *model, const char *path, zeb_error *error) {
    if (model->added != NULL) return zeb_fail(error, ZEB_ERR_ARGUMENT, "%s: other weights were added before", path);
    return zeb_safetensors_open(path, &model->added, error);
}

zeb_status zeb_model_tensor(const zeb_model *model, const char *name, zeb_weight *weight, zeb_error *error) {
    const zeb_stored_tensor *tensor = model->added != NULL ? zeb_safetensors_find(model->added, name) : NULL;
    if (tensor == NULL) tensor = zeb_checkpoint_find(model->checkpoint, name);
    *weight = (zeb_weight){0};
    if (tensor == NULL)
        return zeb_fail(error, ZEB_ERR_NOT_FOUND, "%s: there is no tensor \"%.120s\"",
                        zeb_checkpoint_path(model->checkpoint), name);
    return convert(model, NULL, tensor, weight, error); /* the arena is not for several threads */
}

zeb_status zeb_weight_add(const zeb_weight *weight, const char *name, zeb_builder *builder, int32_t *tensor,
                          zeb_error *error) {
    zeb_status status =
        zeb_builder_weight(builder, name, weight->dtype, weight->rank, weight->extent, weight->data, tensor, error);
    if (status != ZEB_OK || weight->scale == NULL) return status;
    bool four = weight->dtype == ZEB_U4;
    int64_t extent[2] = {weight->extent[0], four ? weight->extent[1] / weight->group : 1};
    char scale_name[128];
    (void)snprintf(scale_name, sizeof scale_name, "%s_scale", name);
    int32_t scale;
    status = zeb_builder_weight(builder, scale_name, four ? ZEB_F16 : ZEB_F32, four ? 2 : 1, extent, weight->scale,
                                &scale, error);
    if (status == ZEB_OK) status = zeb_builder_quantised(builder, *tensor, scale, weight->group, error);
    return status;
}

uint64_t zeb_weight_count(const zeb_weight *weight) {
    return (uint64_t)weight->extent[0] * (uint64_t)weight->extent[1];
}
