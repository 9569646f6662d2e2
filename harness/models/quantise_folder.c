/* The folder of a quantised checkpoint: made beside its place under another name, and renamed when it is whole. */
#include <dirent.h>
#include <errno.h>
#include <jansson.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "models/quantise_job.h"

typedef zeb_quantise_job job;

static const char single[] = "model.safetensors", own[] = "encoder.safetensors",
                  index_name[] = "model.safetensors.index.json";

static bool in_shards(const job *j) {
    for (size_t i = 0; i < j->count; i++)
        if (j->moves[i].shard != NULL) return true;
    return false;
}

/* ---- the model -------------------------------------------------------------------------------------------------- */

static int map_move(json_t *map, const zeb_move *m) {
    char name[ZEB_QUANTISE_NAME_MAX];
    const char *shard = m->shard != NULL ? m->shard : own;
    int bad = json_object_set_new(map, m->from->name, json_string(shard));
    if (bad != 0 || m->format == ZEB_QUANTISE_KEEP) return bad;
    (void)snprintf(name, sizeof name, "%s_scale", m->from->name);
    return json_object_set_new(map, name, json_string(shard));
}

static zeb_status write_index(job *j, const char *folder) {
    char *path, *text = NULL;
    zeb_status status = zeb_path_join(j->arena, folder, index_name, &path, j->error);
    if (status == ZEB_OK) status = zeb_quantise_create(j, path);
    if (status != ZEB_OK) return status;
    uint64_t bytes = j->data_size; /* of all tensors */
    for (size_t i = 0; i < j->count; i++)
        if (j->moves[i].shard != NULL) bytes += j->moves[i].from->bytes;
    json_t *map = json_object();
    json_t *index = json_pack("{s:{s:I}, s:o}", "metadata", "total_size", (json_int_t)bytes, "weight_map", map);
    int bad = index == NULL;
    for (size_t i = 0; i < j->count && bad == 0; i++)
        bad = map_move(map, &j->moves[i]);
    if (bad == 0) text = json_dumps(index, JSON_INDENT(1) | JSON_SORT_KEYS);
    status = text == NULL ? zeb_fail(j->error, ZEB_ERR_MEMORY, "no memory for %s", path)
                          : zeb_quantise_put(j, text, strlen(text), 0);
    free(text);
    json_decref(index);
    return zeb_quantise_close(j, status);
}

/* A shared shard is found from the new folder only if both folders lie in the same one. */
static zeb_status check_beside(const job *j, const char *from, const char *part, const char *to) {
    char *up[2] = {NULL, NULL}, *real[2] = {NULL, NULL};
    zeb_status status = zeb_path_join(j->arena, from, "..", &up[0], j->error);
    if (status == ZEB_OK) status = zeb_path_join(j->arena, part, "..", &up[1], j->error);
    for (int i = 0; i < 2 && status == ZEB_OK; i++)
        real[i] = realpath(up[i], NULL);
    if (status == ZEB_OK && (real[0] == NULL || real[1] == NULL || strcmp(real[0], real[1]) != 0))
        status = zeb_fail(j->error, ZEB_ERR_ARGUMENT, "%s: is not beside %s, whose shards it is to share", to, from);
    free(real[0]);
    free(real[1]);
    return status;
}

/* What was written is opened like any checkpoint, for its hash and its size. */
static zeb_status look_at(job *j, const char *folder) {
    zeb_checkpoint *made = NULL;
    zeb_status status = zeb_checkpoint_open(folder, &made, j->error);
    for (size_t i = 0; status == ZEB_OK && i < zeb_checkpoint_files(made); i++)
        j->report->bytes_out += zeb_safetensors_bytes(zeb_checkpoint_file(made, i));
    if (status == ZEB_OK) status = zeb_checkpoint_hash(made, j->report->sha256, j->error);
    zeb_checkpoint_close(made);
    return status;
}

static zeb_status write_model(job *j, const char *from, const char *part, const char *to) {
    char *path;
    const bool shards = in_shards(j);
    zeb_status status = shards ? check_beside(j, from, part, to) : ZEB_OK;
    if (status == ZEB_OK) status = zeb_path_join(j->arena, part, shards ? own : single, &path, j->error);
    if (status == ZEB_OK) status = zeb_quantise_write(j, path);
    if (status == ZEB_OK && shards) status = write_index(j, part);
    return status == ZEB_OK ? look_at(j, part) : status;
}

/* ---- what belongs to it ----------------------------------------------------------------------------------------- */

static const char *const companions[] = {
    "config.json", "vocab.txt", "tokenizer_config.json", "tokenizer.json", "special_tokens_map.json", NULL};

static zeb_status copy_file(job *j, const char *from, const char *to, const char *name) {
    char *source, *target;
    zeb_map map = {0};
    zeb_status status = zeb_path_join(j->arena, from, name, &source, j->error);
    if (status == ZEB_OK) status = zeb_path_join(j->arena, to, name, &target, j->error);
    if (status != ZEB_OK || !zeb_path_is_file(source)) return status;
    status = zeb_map_open(source, &map, j->error);
    if (status == ZEB_OK) status = zeb_quantise_create(j, target);
    if (status == ZEB_OK) status = zeb_quantise_close(j, zeb_quantise_put(j, map.data, map.size, 0));
    zeb_map_close(&map);
    return status;
}

/* A policy is tied to its model by hash: it comes along under the new one, and says whose it was. */
static zeb_status copy_policy(job *j, const char *from, const char *to) {
    char *source, *target;
    zeb_json *json = NULL;
    zeb_status status = zeb_path_join(j->arena, from, "policy.json", &source, j->error);
    if (status == ZEB_OK) status = zeb_path_join(j->arena, to, "policy.json", &target, j->error);
    if (status != ZEB_OK || !zeb_path_is_file(source)) return status;
    status = zeb_json_open(source, &json, j->error);
    if (status != ZEB_OK) return status;
    const char *beside = json_string_value(json_object_get(json_object_get(zeb_json_root(json), "weights"), "file"));
    if (beside != NULL && strchr(beside, '/') == NULL) status = copy_file(j, from, to, beside);
    if (status != ZEB_OK) {
        zeb_json_close(json);
        return status;
    }
    json_t *policy = json_deep_copy(zeb_json_root(json));
    json_t *origin = json_object_get(policy, "provenance");
    if (!json_is_object(origin)) {
        origin = json_object();
        (void)json_object_set_new(policy, "provenance", origin);
    }
    const json_t *was = json_object_get(policy, "model_sha256");
    if (json_is_string(was))
        (void)json_object_set_new(origin, "float_model_sha256", json_string(json_string_value(was)));
    (void)json_object_set_new(policy, "model_sha256", json_string(j->report->sha256));
    if (policy == NULL || json_dump_file(policy, target, JSON_INDENT(1) | JSON_REAL_PRECISION(9)) != 0)
        status = zeb_fail(j->error, ZEB_ERR_IO, "%s: could not write", target);
    json_decref(policy);
    zeb_json_close(json);
    j->report->policy = status == ZEB_OK;
    return status;
}

static zeb_status fill(job *j, const char *from, const char *part, const char *to) {
    zeb_status status = j->options->weights == ZEB_QUANTISE_MIXED ? zeb_quantise_mix(j, part) : ZEB_OK;
    if (status == ZEB_OK) zeb_quantise_settle(j);
    if (status == ZEB_OK) status = write_model(j, from, part, to);
    for (size_t i = 0; companions[i] != NULL && status == ZEB_OK; i++)
        status = copy_file(j, from, part, companions[i]);
    return status == ZEB_OK ? copy_policy(j, from, part) : status;
}

/* Removes a folder that a run began: nobody else puts files there. */
static void undo(job *j, const char *part) {
    DIR *folder = opendir(part);
    zeb_error ignored;
    for (struct dirent *entry; folder != NULL && (entry = readdir(folder)) != NULL;) {
        char *path;
        if (zeb_path_join(j->arena, part, entry->d_name, &path, &ignored) == ZEB_OK) (void)unlink(path);
    }
    if (folder != NULL) (void)closedir(folder);
    (void)rmdir(part);
}

/* Removes what earlier runs to the same place, the first `end` bytes of `to`, left when they were killed. */
static void sweep(job *j, const char *to, size_t end) {
    size_t name = end;
    char *path, *rest;
    zeb_error ignored;
    while (name > 0 && to[name - 1] != '/')
        name--;
    if (zeb_arena_format(j->arena, &path, &ignored, "%.*s.", (int)name, to) != ZEB_OK) return;
    DIR *folder = opendir(path);
    for (struct dirent *entry; folder != NULL && (entry = readdir(folder)) != NULL;) {
        const char *after = entry->d_name + (end - name);
        if (strncmp(entry->d_name, to + name, end - name) != 0 || *after != '.') continue;
        const long pid = strtol(after + 1, &rest, 10);
        if (pid <= 0 || strcmp(rest, ".part") != 0 || kill((pid_t)pid, 0) == 0 || errno != ESRCH) continue;
        if (zeb_arena_format(j->arena, &path, &ignored, "%.*s%s", (int)name, to, entry->d_name) == ZEB_OK)
            undo(j, path);
    }
    if (folder != NULL) (void)closedir(folder);
}

zeb_status zeb_quantise_folder(job *j, const char *from, const char *to) {
    char *part;
    size_t end = strlen(to);
    while (end > 1 && to[end - 1] == '/')
        end--;
    zeb_status status = zeb_arena_format(j->arena, &part, j->error, "%.*s.%ld.part", (int)end, to, (long)getpid());
    if (status != ZEB_OK) return status;
    sweep(j, to, end);
    if (mkdir(part, 0777) != 0)
        return zeb_fail(j->error, ZEB_ERR_IO, "%s: could not make it: %s", part, strerror(errno));
    status = fill(j, from, part, to);
    if (status == ZEB_OK && rename(part, to) != 0) /* over an empty folder, or nothing */
        status = zeb_fail(j->error,
                          errno == ENOTEMPTY || errno == EEXIST || errno == ENOTDIR ? ZEB_ERR_ARGUMENT : ZEB_ERR_IO,
                          "%s: is in the way: %s", to, strerror(errno));
    if (status != ZEB_OK) undo(j, part);
    return status;
}
