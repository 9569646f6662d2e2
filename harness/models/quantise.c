/* Which tensors change, and to what. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "models/quantise_job.h"

typedef zeb_quantise_job job;

static bool ends_with(const char *text, const char *end) {
    size_t a = strlen(text), b = strlen(end);
    return a >= b && strcmp(text + a - b, end) == 0;
}

static bool is_float(zeb_stored_dtype dtype) {
    return dtype == ZEB_STORED_F32 || dtype == ZEB_STORED_F16 || dtype == ZEB_STORED_BF16;
}

static bool is_packed(const zeb_stored_tensor *t) {
    return t != NULL && t->rank == 2 && (t->dtype == ZEB_STORED_I8 || t->dtype == ZEB_STORED_U8);
}

/* The scale of a matrix that is quantised already: its type is part of the format. */
static bool is_scale(const job *j, const zeb_stored_tensor *t) {
    char name[ZEB_QUANTISE_NAME_MAX];
    const size_t length = strlen(t->name), end = strlen("_scale");
    if (length >= sizeof name || !ends_with(t->name, "_scale")) return false;
    (void)snprintf(name, sizeof name, "%.*s", (int)(length - end), t->name);
    return is_packed(zeb_checkpoint_find(j->checkpoint, name));
}

static bool is_table(const zeb_stored_tensor *t) {
    return ends_with(t->name, "_embeddings.weight");
}

/* In 4 bits the words alone: the other tables are small, and every row of a sequence reads from them. */
static zeb_quantise_format table_format(const job *j, const zeb_stored_tensor *t) {
    const bool four = j->options->embeddings == ZEB_QUANTISE_U4;
    return four && !ends_with(t->name, "word_embeddings.weight") ? ZEB_QUANTISE_I8 : j->options->embeddings;
}

/* By the names that checkpoints of the families give matrices of linear layers. */
static bool is_matrix(const job *j, const zeb_stored_tensor *t) {
    if (t->rank != 2 || !ends_with(t->name, ".weight") || strstr(t->name, "embedding") != NULL) return false;
    return strstr(t->name, "layer.") != NULL || (strstr(t->name, "pooler.") != NULL && j->options->pooler) ||
           (strstr(t->name, "classifier.") != NULL && j->options->classifier);
}

/* Where the model comes to a matrix. */
static int32_t layer_of(const zeb_move *m) {
    const char *layer = strstr(m->from->name, "layer.");
    if (!m->matrix) return -1;
    return layer != NULL ? (int32_t)(strtoul(layer + strlen("layer."), NULL, 10) & INT16_MAX) : INT32_MAX;
}

static zeb_status judge(const job *j, zeb_move *m) {
    const zeb_stored_tensor *t = m->from;
    const bool table = t->rank == 2 && is_table(t);
    m->matrix = is_matrix(j, t);
    m->format = m->matrix ? j->options->weights : table ? table_format(j, t) : ZEB_QUANTISE_KEEP;
    m->group = j->options->group;
    if (m->format != ZEB_QUANTISE_KEEP && is_packed(t))
        return zeb_fail(
            j->error, ZEB_ERR_UNSUPPORTED,
            "%s: \"%.120s\" is quantised already: start from the float checkpoint, or leave words as they are with "
            "--embeddings keep",
            zeb_checkpoint_path(j->checkpoint), t->name);
    if (!is_float(t->dtype)) m->format = ZEB_QUANTISE_KEEP;
    if (m->format == ZEB_QUANTISE_U4 && t->extent[1] % m->group != 0)
        return zeb_fail(j->error, ZEB_ERR_ARGUMENT, "%s: \"%.120s\" has %lld columns, which groups of %d do not divide",
                        zeb_checkpoint_path(j->checkpoint), t->name, (long long)t->extent[1], m->group);
    m->layer = layer_of(m);
    m->chosen_at = -1;
    return ZEB_OK;
}

static void count(zeb_quantise_report *report, const zeb_move *m) {
    report->quantised += m->format != ZEB_QUANTISE_KEEP;
    report->eight += m->matrix && m->format == ZEB_QUANTISE_I8;
    report->four += m->matrix && m->format == ZEB_QUANTISE_U4;
    report->floats += m->matrix && m->format == ZEB_QUANTISE_KEEP;
}

static zeb_status nothing(const job *j) {
    return zeb_fail(j->error, ZEB_ERR_UNSUPPORTED, "%s: there is nothing to quantise: it has no float %s",
                    zeb_checkpoint_path(j->checkpoint),
                    j->options->weights != ZEB_QUANTISE_KEEP ? "matrix of an encoder layer" : "embedding table");
}

/* The name of a file that other checkpoints read too, if its tensors may stay there; else NULL. */
static const char *shared_shard(const job *j, size_t file) {
    const char *name = zeb_checkpoint_name(j->checkpoint, file);
    return j->options->keep_shards && strncmp(name, "../", 3) == 0 ? name : NULL;
}

static int by_layer(const void *left, const void *right) {
    const zeb_move *a = *(zeb_move *const *)left, *b = *(zeb_move *const *)right;
    return a->layer != b->layer ? (a->layer > b->layer) - (a->layer < b->layer) : (a > b) - (a < b);
}

static zeb_status list(job *j) {
    size_t most = 0, wanted = 0;
    for (size_t f = 0; f < zeb_checkpoint_files(j->checkpoint); f++)
        most += zeb_safetensors_count(zeb_checkpoint_file(j->checkpoint, f));
    void *memory = NULL;
    zeb_status status = zeb_arena_alloc(j->arena, most, sizeof *j->moves, &memory, j->error);
    j->moves = memory;
    if (status == ZEB_OK) status = zeb_arena_alloc(j->arena, most, sizeof *j->order, &memory, j->error);
    j->order = memory;
    for (size_t f = 0; f < zeb_checkpoint_files(j->checkpoint) && status == ZEB_OK; f++) {
        const zeb_safetensors *file = zeb_checkpoint_file(j->checkpoint, f);
        j->report->bytes_in += zeb_safetensors_bytes(file);
        for (size_t i = 0; i < zeb_safetensors_count(file) && status == ZEB_OK; i++) {
            zeb_move *m = &j->moves[j->count];
            m->from = zeb_safetensors_at(file, i);
            m->shared = shared_shard(j, f);
            status = judge(j, m);
            wanted += m->format != ZEB_QUANTISE_KEEP;
            j->order[j->count++] = m;
        }
    }
    if (status == ZEB_OK && wanted == 0) status = nothing(j);
    if (status == ZEB_OK) qsort(j->order, j->count, sizeof *j->order, by_layer);
    return status;
}

void zeb_quantise_settle(job *j) {
    j->report->tensors = j->count;
    for (size_t i = 0; i < j->count; i++) {
        zeb_move *m = &j->moves[i];
        m->half = j->options->half && m->from->dtype == ZEB_STORED_F32 && m->format == ZEB_QUANTISE_KEEP &&
                  !is_scale(j, m->from);
        m->shard = m->format == ZEB_QUANTISE_KEEP && !m->half ? m->shared : NULL;
        count(j->report, m);
    }
}

static zeb_status check_options(const zeb_quantise_options *o, zeb_error *error) {
    if (o->weights == ZEB_QUANTISE_KEEP && o->embeddings == ZEB_QUANTISE_KEEP)
        return zeb_fail(error, ZEB_ERR_ARGUMENT, "neither weights nor embeddings are to be quantised");
    if ((o->weights >= ZEB_QUANTISE_U4 || o->embeddings == ZEB_QUANTISE_U4) && o->group != 32 && o->group != 64)
        return zeb_fail(error, ZEB_ERR_ARGUMENT, "groups can have 32 or 64 columns");
    if (o->range == ZEB_RANGE_PERCENTILE && !(o->percentile > 0.5 && o->percentile <= 1))
        return zeb_fail(error, ZEB_ERR_ARGUMENT, "a percentile must be above 50 and at most 100 %%");
    if ((o->gptq || o->weights == ZEB_QUANTISE_MIXED) && o->moments == NULL)
        return zeb_fail(error, ZEB_ERR_ARGUMENT, "GPTQ and a mix of formats need inputs that were seen");
    if (o->weights == ZEB_QUANTISE_MIXED && !(o->budget > 0 && o->budget < 1))
        return zeb_fail(error, ZEB_ERR_ARGUMENT, "the budget of a mix must be above 0 and below 1");
    return ZEB_OK;
}

/* Before the work is done, so that nobody waits for a refusal. */
static zeb_status check_target(const char *to, zeb_error *error) {
    if (rmdir(to) != 0 && errno != ENOENT)
        return zeb_fail(error, ZEB_ERR_ARGUMENT, "%s: is in the way: %s", to, strerror(errno));
    return ZEB_OK;
}

zeb_status zeb_quantise(const char *from, const char *to, const zeb_quantise_options *options,
                        zeb_quantise_report *report, zeb_error *error) {
    job j = {.options = options, .report = report, .error = error, .file = -1, .chosen = -1};
    *report = (zeb_quantise_report){0};
    zeb_status status = check_options(options, error);
    if (status == ZEB_OK) status = check_target(to, error);
    if (status == ZEB_OK) status = zeb_arena_create(&j.arena, error);
    if (status == ZEB_OK) status = zeb_checkpoint_open(from, &j.checkpoint, error);
    if (status == ZEB_OK) status = list(&j);
    if (status == ZEB_OK) status = zeb_quantise_folder(&j, from, to);
    if (j.chosen >= 0) (void)close(j.chosen);
    zeb_checkpoint_close(j.checkpoint);
    zeb_arena_destroy(j.arena);
    return status;
}
