/* What the classes are called and whether the one output is a value: num_labels, id2label, problem_type. */
#include <string.h>

#include "base/text.h"
#include "models/model_internal.h"

/* id2label: {"0": "negative", ...}: every index below the count exactly once. Keys differ and are in range, so count of
 * them is enough to see that none is missing. */
static zeb_status read_names(zeb_model *model, const json_t *map, const char **name, zeb_error *error) {
    const char *path = zeb_json_path(model->config);
    json_t *walked = (json_t *)(uintptr_t)map;
    for (void *at = json_object_iter(walked); at != NULL; at = json_object_iter_next(walked, at)) {
        const char *key = json_object_iter_key(at);
        const char *value = json_string_value(json_object_iter_value(at));
        int64_t index;
        if (!zeb_text_to_i64(key, &index) || index < 0 || index >= model->info.labels || name[index] != NULL)
            return zeb_fail(error, ZEB_ERR_FORMAT, "%s: \"id2label\" has the key \"%.40s\", which is none of 0..%d",
                            path, key, model->info.labels - 1);
        if (value == NULL)
            return zeb_fail(error, ZEB_ERR_FORMAT, "%s: \"id2label\" names label %.40s with something other than text",
                            path, key);
        name[index] = value;
    }
    return ZEB_OK;
}

/* How many labels, by whichever key says so; 2 where none does, as in Hugging Face's configs. */
static zeb_status count_labels(zeb_model *model, const json_t *map, zeb_error *error) {
    const char *path = zeb_json_path(model->config);
    int64_t count, default_count = 2;
    if (map != NULL) {
        if (!json_is_object(map)) return zeb_fail(error, ZEB_ERR_FORMAT, "%s: \"id2label\" is not an object", path);
        default_count = (int64_t)json_object_size(map);
        if (default_count < 1 || default_count > ZEB_MODEL_LABELS_MAX)
            return zeb_fail(error, ZEB_ERR_FORMAT, "%s: \"id2label\" has %lld labels, which is not within 1..%d", path,
                            (long long)default_count, ZEB_MODEL_LABELS_MAX);
    }
    zeb_status status =
        zeb_json_i64(model->config, "num_labels", 1, ZEB_MODEL_LABELS_MAX, &default_count, &count, error);
    if (status != ZEB_OK) return status;
    if (map != NULL && count != default_count)
        return zeb_fail(error, ZEB_ERR_FORMAT, "%s: \"num_labels\" is %lld but \"id2label\" names %lld labels", path,
                        (long long)count, (long long)default_count);
    model->info.labels = (int32_t)count;
    return ZEB_OK;
}

static zeb_status read_problem(zeb_model *model, zeb_error *error) {
    const char *problem, *path = zeb_json_path(model->config);
    zeb_status status =
        zeb_json_text(model->config, "problem_type",
                      model->info.labels == 1 ? "regression" : "single_label_classification", &problem, error);
    if (status != ZEB_OK) return status;
    model->info.regression = strcmp(problem, "regression") == 0;
    if (model->info.regression && model->info.labels != 1)
        return zeb_fail(error, ZEB_ERR_UNSUPPORTED, "%s: regression with %d outputs; zeb scores one", path,
                        model->info.labels);
    if (!model->info.regression && strcmp(problem, "single_label_classification") != 0)
        return zeb_fail(error, ZEB_ERR_UNSUPPORTED,
                        "%s: \"problem_type\" is \"%.60s\"; zeb knows regression and single_label_classification", path,
                        problem);
    if (!model->info.regression && model->info.labels < 2)
        return zeb_fail(error, ZEB_ERR_FORMAT, "%s: classification with a single label", path);
    return ZEB_OK;
}

zeb_status zeb_model_labels(zeb_model *model, zeb_error *error) {
    const json_t *map =
        zeb_json_has(model->config, "id2label") ? json_object_get(zeb_json_root(model->config), "id2label") : NULL;
    zeb_status status = count_labels(model, map, error);
    if (status == ZEB_OK) status = read_problem(model, error);
    if (status != ZEB_OK) return status;
    void *memory;
    status = zeb_arena_alloc(model->arena, (size_t)model->info.labels, sizeof(const char *), &memory, error);
    if (status != ZEB_OK) return status;
    const char **name = memory;
    model->info.label_name = name;
    if (map != NULL) return read_names(model, map, name, error);
    for (int32_t i = 0; i < model->info.labels && status == ZEB_OK; i++) {
        char *made = NULL;
        status = zeb_arena_format(model->arena, &made, error, "LABEL_%d", i);
        name[i] = made;
    }
    return status;
}
