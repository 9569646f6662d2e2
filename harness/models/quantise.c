/* Which tensors change, and to what. */
#include <errno.h>
#include <math.h>
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

/* The relative error of a matrix's outputs in a format; -1 where nothing is known of its inputs. */
static zeb_status output_error(const job *j, const zeb_move *m, zeb_quantise_format format, double *error) {
    zeb_rounding r;
    zeb_status status = zeb_rounding_open(j, m, format, &r);
    *error = -1;
    const bool known = status == ZEB_OK && r.h != NULL;
    for (size_t row = 0; known && row < (size_t)m->from->extent[0] && status == ZEB_OK; row++)
        status = zeb_rounding_row(&r, row);
    if (known) *error = r.outputs > 0 ? sqrt(r.wrong / r.outputs) : 0;
    zeb_rounding_close(&r);
    return status;
}

/* MIXED: the smallest format whose output error is within the budget. */
static zeb_status choose(const job *j, zeb_move *m) {
    double error = -1;
    zeb_status status = ZEB_OK;
    m->format = ZEB_QUANTISE_U4;
    if (m->from->extent[1] % m->group == 0) status = output_error(j, m, ZEB_QUANTISE_U4, &error);
    if (status != ZEB_OK || (error >= 0 && error <= j->options->budget)) return status;
    m->format = ZEB_QUANTISE_I8;
    status = output_error(j, m, ZEB_QUANTISE_I8, &error);
    if (status == ZEB_OK && error > j->options->budget) m->format = ZEB_QUANTISE_KEEP;
    return status;
}

static zeb_status judge(const job *j, zeb_move *m) {
    const zeb_stored_tensor *t = m->from;
    const bool table = t->rank == 2 && is_table(t);
    m->matrix = is_matrix(j, t);
    m->format = m->matrix ? j->options->weights : table ? table_format(j, t) : ZEB_QUANTISE_KEEP;
    m->group = j->options->group;
    if (m->format != ZEB_QUANTISE_KEEP && is_packed(t))
        return zeb_fail(j->error, ZEB_ERR_UNSUPPORTED,
                        "%s: \"%.120s\" is quantised already: start from the float checkpoint",
                        zeb_checkpoint_path(j->checkpoint), t->name);
    if (!is_float(t->dtype)) m->format = ZEB_QUANTISE_KEEP;
    if (m->format == ZEB_QUANTISE_U4 && t->extent[1] % m->group != 0)
        return zeb_fail(j->error, ZEB_ERR_ARGUMENT, "%s: \"%.120s\" has %lld columns, which groups of %d do not divide",
                        zeb_checkpoint_path(j->checkpoint), t->name, (long long)t->extent[1], m->group);
    zeb_status status = m->format == ZEB_QUANTISE_MIXED ? choose(j, m) : ZEB_OK;
    m->half = j->options->half && t->dtype == ZEB_STORED_F32 && m->format == ZEB_QUANTISE_KEEP && !is_scale(j, t);
    return status;
}

static void count(zeb_quantise_report *report, const zeb_move *m) {
    report->quantised += m->format != ZEB_QUANTISE_KEEP;
    report->eight += m->matrix && m->format == ZEB_QUANTISE_I8;
    report->four += m->matrix && m->format == ZEB_QUANTISE_U4;
    report->floats += m->matrix && m->format == ZEB_QUANTISE_KEEP;
}

/* The name of a file that other checkpoints read too, if its tensors may stay there; else NULL. */
static const char *shared_shard(const job *j, size_t file) {
    const char *name = zeb_checkpoint_name(j->checkpoint, file);
    return j->options->keep_shards && strncmp(name, "../", 3) == 0 ? name : NULL;
}

static zeb_status list(job *j) {
    size_t most = 0;
    for (size_t f = 0; f < zeb_checkpoint_files(j->checkpoint); f++)
        most += zeb_safetensors_count(zeb_checkpoint_file(j->checkpoint, f));
    void *memory = NULL;
    zeb_status status = zeb_arena_alloc(j->arena, most, sizeof *j->moves, &memory, j->error);
    j->moves = memory;
    for (size_t f = 0; f < zeb_checkpoint_files(j->checkpoint) && status == ZEB_OK; f++) {
        const zeb_safetensors *file = zeb_checkpoint_file(j->checkpoint, f);
        j->report->bytes_in += zeb_safetensors_bytes(file);
        for (size_t i = 0; i < zeb_safetensors_count(file) && status == ZEB_OK; i++) {
            zeb_move *m = &j->moves[j->count++];
            m->from = zeb_safetensors_at(file, i);
            status = judge(j, m);
            if (m->format == ZEB_QUANTISE_KEEP && !m->half) m->shard = shared_shard(j, f);
            count(j->report, m);
        }
    }
    j->report->tensors = j->count;
    if (status == ZEB_OK && j->report->quantised == 0)
        status = zeb_fail(j->error, ZEB_ERR_UNSUPPORTED, "%s: there is nothing to quantise: it has no float %s",
                          zeb_checkpoint_path(j->checkpoint),
                          j->options->weights != ZEB_QUANTISE_KEEP ? "matrix of an encoder layer" : "embedding table");
    return status;
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
    job j = {.options = options, .report = report, .error = error, .file = -1};
    *report = (zeb_quantise_report){0};
    zeb_status status = check_options(options, error);
    if (status == ZEB_OK) status = check_target(to, error);
    if (status == ZEB_OK) status = zeb_arena_create(&j.arena, error);
    if (status == ZEB_OK) status = zeb_checkpoint_open(from, &j.checkpoint, error);
    if (status == ZEB_OK) status = list(&j);
    if (status == ZEB_OK) status = zeb_quantise_folder(&j, from, to);
    zeb_checkpoint_close(j.checkpoint);
    zeb_arena_destroy(j.arena);
    return status;
}
