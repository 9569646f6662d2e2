#include "models/model.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/text.h"
#include "models/model_internal.h"

/* The folder of a path: all before its last slash. */
static zeb_status folder_of(zeb_arena *arena, const char *path, char **folder, zeb_error *error) {
    const char *slash = strrchr(path, '/');
    if (slash == NULL) return zeb_arena_copy(arena, ".", 1, folder, error);
    return zeb_arena_copy(arena, path, slash == path ? 1 : (size_t)(slash - path), folder, error);
}

static zeb_status open_card(zeb_model *model, const char *path, zeb_error *error) {
    zeb_json *card = NULL;
    const char *checkpoint, *name;
    char *folder;
    zeb_status status = zeb_json_open(path, &card, error);
    if (status == ZEB_OK) status = zeb_json_text(card, "checkpoint", NULL, &checkpoint, error);
    if (status == ZEB_OK) status = folder_of(model->arena, path, &folder, error);
    if (status != ZEB_OK) goto done;
    if (checkpoint[0] == '/')
        status = zeb_arena_copy(model->arena, checkpoint, strlen(checkpoint), &model->folder, error);
    else
        status = zeb_path_join(model->arena, folder, checkpoint, &model->folder, error);
    if (status == ZEB_OK && !zeb_path_is_folder(model->folder))
        status = zeb_fail(error, ZEB_ERR_NOT_FOUND, "%s: \"checkpoint\" names %s, which is not a folder", path,
                          model->folder);
    if (status == ZEB_OK) status = zeb_json_text(card, "name", "", &name, error);
    if (status == ZEB_OK && name[0] != '\0') zeb_text_copy(model->info.name, sizeof model->info.name, name);
done:
    zeb_json_close(card);
    return status;
}

/* Finds the checkpoint's folder and a name for it. */
static zeb_status locate(zeb_model *model, const char *path, zeb_error *error) {
    zeb_text_copy(model->info.path, sizeof model->info.path, path);
    zeb_status status = ZEB_OK;
    char *config, *card;
    if (zeb_path_is_file(path)) {
        status = open_card(model, path, error);
    } else if (!zeb_path_is_folder(path)) {
        status =
            zeb_fail(error, ZEB_ERR_NOT_FOUND,
                     "%s: no such model folder or card; 'zeb list models' shows the paths of those that ship", path);
    } else {
        status = zeb_path_join(model->arena, path, "config.json", &config, error);
        if (status == ZEB_OK) status = zeb_path_join(model->arena, path, "card.json", &card, error);
        if (status != ZEB_OK) return status;
        if (!zeb_path_is_file(config) && zeb_path_is_file(card))
            status = open_card(model, card, error);
        else
            status = zeb_arena_copy(model->arena, path, strlen(path), &model->folder, error);
    }
    if (status == ZEB_OK && model->info.name[0] == '\0')
        zeb_path_name(model->folder, model->info.name, sizeof model->info.name);
    return status;
}

/* A card is for people, so one that cannot be read, or says nothing of a task, takes nothing away. */
static zeb_status read_task(zeb_model *model, const char *path, zeb_error *error) {
    char *beside;
    const char *task;
    zeb_json *card = NULL;
    zeb_error ignored;
    zeb_status status = zeb_path_join(model->arena, model->folder, "card.json", &beside, error);
    if (status == ZEB_OK && zeb_json_open(zeb_path_is_file(path) ? path : beside, &card, &ignored) == ZEB_OK &&
        zeb_json_text(card, "task", "", &task, &ignored) == ZEB_OK)
        zeb_text_copy(model->info.task, sizeof model->info.task, task);
    zeb_json_close(card);
    return status;
}

static zeb_status open_parts(zeb_model *model, const char *path, zeb_error *error) {
    char *config;
    const char *type;
    zeb_status status = locate(model, path, error);
    if (status == ZEB_OK) status = read_task(model, path, error);
    if (status == ZEB_OK) status = zeb_path_join(model->arena, model->folder, "config.json", &config, error);
    if (status == ZEB_OK) status = zeb_json_open(config, &model->config, error);
    if (status == ZEB_OK) status = zeb_json_text(model->config, "model_type", NULL, &type, error);
    if (status != ZEB_OK) return status;
    model->family = zeb_family_find(type);
    if (model->family == NULL) {
        char known[128];
        zeb_family_names(known, sizeof known);
        return zeb_fail(error, ZEB_ERR_UNSUPPORTED, "%s: \"model_type\" is \"%.60s\"; zeb knows: %s", config, type,
                        known);
    }
    zeb_text_copy(model->info.family, sizeof model->info.family, type);
    status = zeb_checkpoint_open(model->folder, &model->checkpoint, error);
    if (status != ZEB_OK) return status;
    for (size_t i = 0; i < zeb_checkpoint_files(model->checkpoint); i++)
        model->info.file_bytes += zeb_safetensors_bytes(zeb_checkpoint_file(model->checkpoint, i));
    status = zeb_model_labels(model, error);
    return status == ZEB_OK ? model->family->open(model, error) : status;
}

zeb_status zeb_model_open(const char *path, zeb_model **model, zeb_error *error) {
    *model = NULL;
    zeb_model *made = calloc(1, sizeof *made);
    if (made == NULL) return zeb_fail(error, ZEB_ERR_MEMORY, "out of memory");
    zeb_status status = zeb_arena_create(&made->arena, error);
    if (status == ZEB_OK) status = open_parts(made, path, error);
    if (status == ZEB_OK)
        *model = made;
    else
        zeb_model_close(made);
    return status;
}

void zeb_model_close(zeb_model *model) {
    if (model == NULL) return;
    zeb_checkpoint_close(model->checkpoint);
    zeb_safetensors_close(model->added);
    zeb_json_close(model->config);
    zeb_arena_destroy(model->arena);
    free(model);
}

const zeb_model_info *zeb_model_about(const zeb_model *model) {
    return &model->info;
}

const char *zeb_model_folder(const zeb_model *model) {
    return model->folder;
}

void zeb_model_forget(const zeb_model *model) {
    for (size_t i = 0; i < zeb_checkpoint_files(model->checkpoint); i++)
        zeb_safetensors_forget(zeb_checkpoint_file(model->checkpoint, i));
}

zeb_status zeb_model_hash(const zeb_model *model, char hex[65], zeb_error *error) {
    return zeb_checkpoint_hash(model->checkpoint, hex, error);
}

zeb_status zeb_model_graph(const zeb_model *model, const zeb_graph_options *options, zeb_builder *builder,
                           zeb_error *error) {
    if (options->token_max < 1 || options->batch_max < 1)
        return zeb_fail(error, ZEB_ERR_ARGUMENT, "a graph of %lld tokens and %lld sequences at the most holds nothing",
                        (long long)options->token_max, (long long)options->batch_max);
    return model->family->graph(model, options, builder, error);
}
