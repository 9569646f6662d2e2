#include "models/quantise.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "models/checkpoint.h"
#include "models/quantise_row.h"
#include "zeb/number.h"

enum { CHUNK = 1 << 18, NAME_TEXT = 512 };

/* A tensor on its way: where its bytes go, and for a quantised one those of its scales. */
typedef struct move {
    const zeb_stored_tensor *from;
    bool quantised, half; /* half: F32 to F16 */
    uint64_t at, size;
    uint64_t scale_at, scale_size;
} move;

typedef struct job {
    const zeb_quantise_options *options;
    zeb_quantise_report *report;
    zeb_checkpoint *checkpoint;
    zeb_arena *arena;
    move *moves;
    size_t count;
    uint64_t data_at; /* where the tensors' bytes begin in the output */
    uint64_t data_size;
    int file;
    char *path; /* of the file being written */
    double squares, misses;
    zeb_error *error;
} job;

/* ---- which tensors ---------------------------------------------------------------------------------------------- */

static bool ends_with(const char *text, const char *end) {
    size_t a = strlen(text), b = strlen(end);
    return a >= b && strcmp(text + a - b, end) == 0;
}

static bool is_float(zeb_stored_dtype dtype) {
    return dtype == ZEB_STORED_F32 || dtype == ZEB_STORED_F16 || dtype == ZEB_STORED_BF16;
}

/* Matrices of linear layers by the names that checkpoints of the families give them. */
static bool wanted(const job *j, const zeb_stored_tensor *t) {
    if (t->rank != 2 || !ends_with(t->name, ".weight") || strstr(t->name, "embedding") != NULL) return false;
    if (strstr(t->name, "layer.") != NULL) return true;
    if (strstr(t->name, "pooler.") != NULL) return j->options->pooler;
    return strstr(t->name, "classifier.") != NULL && j->options->classifier;
}

static zeb_status judge(const job *j, move *m) {
    const zeb_stored_tensor *t = m->from;
    char name[NAME_TEXT];
    if (t->rank == 2 && (t->dtype == ZEB_STORED_I8 || t->dtype == ZEB_STORED_U8)) {
        (void)snprintf(name, sizeof name, "%s_scale", t->name);
        if (zeb_checkpoint_find(j->checkpoint, name) != NULL)
            return zeb_fail(j->error, ZEB_ERR_UNSUPPORTED,
                            "%s: \"%.120s\" is quantised already: start from the float checkpoint",
                            zeb_checkpoint_path(j->checkpoint), t->name);
    }
    m->half = j->options->half && t->dtype == ZEB_STORED_F32;
    m->quantised = is_float(t->dtype) && wanted(j, t);
    if (!m->quantised || j->options->bits == 8) return ZEB_OK;
    if (t->extent[1] % j->options->group != 0)
        return zeb_fail(j->error, ZEB_ERR_ARGUMENT, "%s: \"%.120s\" has %lld columns, which groups of %d do not divide",
                        zeb_checkpoint_path(j->checkpoint), t->name, (long long)t->extent[1], j->options->group);
    return ZEB_OK;
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
            move *m = &j->moves[j->count++];
            m->from = zeb_safetensors_at(file, i);
            status = judge(j, m);
            j->report->quantised += m->quantised;
        }
    }
    j->report->tensors = j->count;
    if (status == ZEB_OK && j->report->quantised == 0)
        status = zeb_fail(j->error, ZEB_ERR_UNSUPPORTED, "%s: no matrix of an encoder layer is there to quantise",
                          zeb_checkpoint_path(j->checkpoint));
    return status;
}

/* ---- where they go ---------------------------------------------------------------------------------------------- */

static size_t element(const move *m) {
    return m->quantised ? 1 : m->half ? 2 : zeb_stored_dtype_bytes(m->from->dtype);
}

static size_t scale_element(const job *j) {
    return j->options->bits == 8 ? 4 : 2;
}

static uint64_t scales(const job *j, const move *m) {
    uint64_t rows = (uint64_t)m->from->extent[0];
    return j->options->bits == 8 ? rows : rows * (uint64_t)(m->from->extent[1] / j->options->group);
}

/* Widest elements first, so that every tensor is aligned to its own. */
static void place(job *j) {
    for (size_t width = 8; width >= 1; width /= 2) {
        for (size_t i = 0; i < j->count; i++) {
            move *m = &j->moves[i];
            if (m->quantised && scale_element(j) == width) {
                m->scale_at = j->data_size;
                m->scale_size = width * scales(j, m);
                j->data_size += m->scale_size;
            }
            if (element(m) != width) continue;
            m->at = j->data_size;
            m->size =
                m->quantised && j->options->bits == 4 ? (uint64_t)m->from->count / 2 : (uint64_t)m->from->count * width;
            j->data_size += m->size;
        }
    }
}

static json_t *entry(const char *dtype, uint32_t rank, const int64_t *extent, uint64_t at, uint64_t size) {
    json_t *shape = json_array();
    for (uint32_t i = 0; i < rank; i++)
        (void)json_array_append_new(shape, json_integer(extent[i]));
    const json_int_t begin = (json_int_t)at, end = begin + (json_int_t)size;
    return json_pack("{s:s, s:o, s:[I, I]}", "dtype", dtype, "shape", shape, "data_offsets", begin, end);
}

static int add_entries(const job *j, json_t *header, const move *m) {
    const zeb_stored_tensor *t = m->from;
    const bool four = j->options->bits == 4;
    if (!m->quantised)
        return json_object_set_new(
            header, t->name,
            entry(m->half ? "F16" : zeb_stored_dtype_name(t->dtype), t->rank, t->extent, m->at, m->size));
    char name[NAME_TEXT];
    (void)snprintf(name, sizeof name, "%s_scale", t->name);
    const int64_t packed[2] = {t->extent[0], four ? t->extent[1] / 2 : t->extent[1]};
    const int64_t scale[2] = {t->extent[0], four ? t->extent[1] / j->options->group : 1};
    int failed = json_object_set_new(header, t->name, entry(four ? "U8" : "I8", 2, packed, m->at, m->size));
    return failed != 0
               ? failed
               : json_object_set_new(header, name,
                                     entry(four ? "F16" : "F32", four ? 2 : 1, scale, m->scale_at, m->scale_size));
}

static char *header_text(const job *j) {
    static const char *const range[] = {"absmax", "percentile", "mse"};
    char how[64];
    if (j->options->bits == 4)
        (void)snprintf(how, sizeof how, "int4, groups of %d, %s", j->options->group, range[j->options->range]);
    else
        (void)snprintf(how, sizeof how, "int8, %s", range[j->options->range]);
    json_t *header = json_pack("{s:{s:s, s:s}}", "__metadata__", "format", "pt", "zeb.quantised", how);
    int failed = header == NULL;
    for (size_t i = 0; i < j->count && failed == 0; i++)
        failed = add_entries(j, header, &j->moves[i]);
    char *text = failed == 0 ? json_dumps(header, JSON_COMPACT | JSON_PRESERVE_ORDER) : NULL;
    json_decref(header);
    return text;
}

/* ---- writing ---------------------------------------------------------------------------------------------------- */

static zeb_status put(const job *j, const void *data, size_t size, uint64_t at) {
    for (const char *from = data; size > 0;) {
        ssize_t written = pwrite(j->file, from, size, (off_t)at);
        if (written < 0 && errno == EINTR) continue;
        if (written < 0) return zeb_fail(j->error, ZEB_ERR_IO, "%s: could not write: %s", j->path, strerror(errno));
        from += written;
        at += (uint64_t)written;
        size -= (size_t)written;
    }
    return ZEB_OK;
}

/* The length, the header, and blanks until the tensors begin at a multiple of 8. */
static zeb_status write_header(job *j) {
    char *text = header_text(j);
    if (text == NULL) return zeb_fail(j->error, ZEB_ERR_MEMORY, "no memory for the header of %s", j->path);
    size_t length = strlen(text), padded = (length + 7) / 8 * 8;
    unsigned char size[8];
    for (int i = 0; i < 8; i++)
        size[i] = (unsigned char)((uint64_t)padded >> (8 * i));
    j->data_at = 8 + padded;
    zeb_status status = put(j, size, sizeof size, 0);
    if (status == ZEB_OK) status = put(j, text, length, 8);
    if (status == ZEB_OK) status = put(j, "       ", padded - length, 8 + length);
    free(text);
    return status;
}

/* Lets go of the pages of a mapped file that were read. */
static void forget(const unsigned char *data, size_t bytes) {
    const uintptr_t page = 4096, begin = ((uintptr_t)data + page - 1) / page * page;
    const uintptr_t end = ((uintptr_t)data + bytes) / page * page;
    if (end > begin) (void)madvise((void *)begin, end - begin, MADV_DONTNEED); /* clean pages: read again if needed */
}

/* Elements first .. first + n of a float tensor, which may be misaligned. */
static void widen(const zeb_stored_tensor *t, size_t first, size_t n, float *to) {
    if (t->dtype == ZEB_STORED_F32) {
        memcpy(to, t->data + 4 * first, 4 * n);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        uint16_t half;
        memcpy(&half, t->data + 2 * (first + i), sizeof half);
        to[i] = t->dtype == ZEB_STORED_F16 ? zeb_f16_to_f32(half) : zeb_bf16_to_f32(half);
    }
}

static zeb_status not_finite(const job *j, const zeb_stored_tensor *t, size_t index, const char *what) {
    return zeb_fail(j->error, ZEB_ERR_RANGE, "%s: \"%.120s\" %s (element %zu)", zeb_checkpoint_path(j->checkpoint),
                    t->name, what, index);
}

static zeb_status copy(job *j, const move *m) {
    zeb_status status = ZEB_OK;
    for (size_t done = 0; done < m->from->bytes && status == ZEB_OK; done += CHUNK) {
        size_t some = m->from->bytes - done < CHUNK ? m->from->bytes - done : CHUNK;
        status = put(j, m->from->data + done, some, j->data_at + m->at + done);
        forget(m->from->data + done, some);
    }
    return status;
}

static zeb_status copy_half(job *j, const move *m) {
    enum { SOME = 8192 };
    float value[SOME];
    uint16_t half[SOME];
    size_t count = (size_t)m->from->count;
    zeb_status status = ZEB_OK;
    for (size_t done = 0; done < count && status == ZEB_OK; done += SOME) {
        size_t some = count - done < SOME ? count - done : SOME;
        widen(m->from, done, some, value);
        for (size_t i = 0; i < some; i++) {
            half[i] = zeb_f32_to_f16(value[i]);
            if (isfinite(value[i]) && (half[i] & 0x7fffu) >= 0x7c00u)
                return not_finite(j, m->from, done + i, "is too large for F16: leave out --half");
        }
        status = put(j, half, 2 * some, j->data_at + m->at + 2 * done);
    }
    forget(m->from->data, m->from->bytes);
    return status;
}

/* What the rounding did to a weight that now is q steps. */
static void note_error(job *j, float x, int q, float step) {
    double miss = (double)x - q * (double)step;
    j->squares += (double)x * (double)x;
    j->misses += miss * miss;
}

static void note_row8(job *j, const float *x, size_t n, const int8_t *q, float scale) {
    for (size_t i = 0; i < n; i++)
        note_error(j, x[i], q[i], scale);
}

static void note_row4(job *j, const float *x, size_t n, const uint8_t *packed, const uint16_t *scale) {
    for (size_t i = 0; i < n; i++)
        note_error(j, x[i], (packed[i / 2] >> (i % 2 * 4) & 15) - 8,
                   zeb_f16_to_f32(scale[i / (size_t)j->options->group]));
}

/* Room for a row in all its forms. */
typedef struct row_room {
    float *x, *scratch;
    void *packed;
    void *scale; /* of all rows (I8) or of one (U4) */
} row_room;

static zeb_status quantise_row(job *j, const move *m, size_t row, const row_room *room) {
    const zeb_stored_tensor *t = m->from;
    const size_t k = (size_t)t->extent[1];
    widen(t, row * k, k, room->x);
    for (size_t i = 0; i < k; i++)
        if (!isfinite(room->x[i])) return not_finite(j, t, row * k + i, "holds a weight that is not finite");
    if (j->options->bits == 8) {
        float *scale = (float *)room->scale + row;
        *scale = zeb_quantise_row8(room->x, k, j->options, room->scratch, room->packed);
        note_row8(j, room->x, k, room->packed, *scale);
        return put(j, room->packed, k, j->data_at + m->at + row * k);
    }
    const size_t groups = k / (size_t)j->options->group;
    zeb_quantise_row4(room->x, k, j->options, room->scratch, room->packed, room->scale);
    note_row4(j, room->x, k, room->packed, room->scale);
    zeb_status status = put(j, room->packed, k / 2, j->data_at + m->at + row * (k / 2));
    return status == ZEB_OK ? put(j, room->scale, 2 * groups, j->data_at + m->scale_at + row * 2 * groups) : status;
}

static zeb_status quantise(job *j, const move *m) {
    const size_t n = (size_t)m->from->extent[0], k = (size_t)m->from->extent[1];
    row_room room = {.x = malloc(4 * k), .scratch = malloc(4 * k), .packed = malloc(k), .scale = malloc(4 * n + 4 * k)};
    zeb_status status = ZEB_OK;
    if (room.x == NULL || room.scratch == NULL || room.packed == NULL || room.scale == NULL)
        status = zeb_fail(j->error, ZEB_ERR_MEMORY, "no memory for a row of \"%.120s\"", m->from->name);
    const size_t row_bytes = k * zeb_stored_dtype_bytes(m->from->dtype);
    size_t kept = 0; /* the first row whose pages may still be there */
    for (size_t row = 0; row < n && status == ZEB_OK; row++) {
        status = quantise_row(j, m, row, &room);
        if ((row + 1 - kept) * row_bytes < CHUNK && row + 1 < n) continue;
        forget(m->from->data + kept * row_bytes, (row + 1 - kept) * row_bytes);
        kept = row + 1;
    }
    if (status == ZEB_OK && j->options->bits == 8) status = put(j, room.scale, 4 * n, j->data_at + m->scale_at);
    free(room.x);
    free(room.scratch);
    free(room.packed);
    free(room.scale);
    return status;
}

static zeb_status write_tensors(job *j) {
    zeb_status status = ZEB_OK;
    for (size_t i = 0; i < j->count && status == ZEB_OK; i++) {
        const move *m = &j->moves[i];
        status = m->quantised ? quantise(j, m) : m->half ? copy_half(j, m) : copy(j, m);
    }
    return status;
}

static zeb_status write_model(job *j, const char *folder) {
    zeb_status status = zeb_path_join(j->arena, folder, "model.safetensors", &j->path, j->error);
    if (status != ZEB_OK) return status;
    j->file = open(j->path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (j->file < 0) return zeb_fail(j->error, ZEB_ERR_IO, "%s: could not write: %s", j->path, strerror(errno));
    place(j);
    status = write_header(j);
    if (status == ZEB_OK) status = write_tensors(j);
    if (status == ZEB_OK && fsync(j->file) != 0)
        status = zeb_fail(j->error, ZEB_ERR_IO, "%s: could not write: %s", j->path, strerror(errno));
    if (close(j->file) != 0 && status == ZEB_OK)
        status = zeb_fail(j->error, ZEB_ERR_IO, "%s: could not write: %s", j->path, strerror(errno));
    j->report->bytes_out = j->data_at + j->data_size;
    j->report->error = j->squares > 0 ? sqrt(j->misses / j->squares) : 0;
    return status == ZEB_OK ? zeb_sha256_file(j->path, j->report->sha256, j->error) : status;
}

/* ---- the folder ------------------------------------------------------------------------------------------------- */

static const char *const companions[] = {
    "config.json", "vocab.txt", "tokenizer_config.json", "tokenizer.json", "special_tokens_map.json", NULL};

static zeb_status copy_file(job *j, const char *from, const char *to, const char *name) {
    char *source, *target;
    zeb_map map = {0};
    zeb_status status = zeb_path_join(j->arena, from, name, &source, j->error);
    if (status == ZEB_OK) status = zeb_path_join(j->arena, to, name, &target, j->error);
    if (status != ZEB_OK || !zeb_path_is_file(source)) return status;
    status = zeb_map_open(source, &map, j->error);
    if (status != ZEB_OK) return status;
    j->path = target;
    j->file = open(target, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (j->file < 0) status = zeb_fail(j->error, ZEB_ERR_IO, "%s: could not write: %s", target, strerror(errno));
    if (status == ZEB_OK) status = put(j, map.data, map.size, 0);
    if (j->file >= 0 && close(j->file) != 0 && status == ZEB_OK)
        status = zeb_fail(j->error, ZEB_ERR_IO, "%s: could not write: %s", target, strerror(errno));
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

static zeb_status fill(job *j, const char *from, const char *part) {
    zeb_status status = write_model(j, part);
    for (size_t i = 0; companions[i] != NULL && status == ZEB_OK; i++)
        status = copy_file(j, from, part, companions[i]);
    return status == ZEB_OK ? copy_policy(j, from, part) : status;
}

/* Removes what was begun: our own files in our own folder. */
static void undo(job *j, const char *part) {
    static const char *const ours[] = {"model.safetensors", "policy.json", NULL};
    const char *const *const lists[] = {ours, companions};
    zeb_error ignored;
    for (size_t l = 0; l < 2; l++) {
        for (size_t i = 0; lists[l][i] != NULL; i++) {
            char *path;
            if (zeb_path_join(j->arena, part, lists[l][i], &path, &ignored) == ZEB_OK) (void)unlink(path);
        }
    }
    (void)rmdir(part);
}

static zeb_status check_options(const zeb_quantise_options *o, zeb_error *error) {
    if (o->bits != 8 && o->bits != 4) return zeb_fail(error, ZEB_ERR_ARGUMENT, "weights can have 8 or 4 bits");
    if (o->bits == 4 && o->group != 32 && o->group != 64)
        return zeb_fail(error, ZEB_ERR_ARGUMENT, "groups can have 32 or 64 columns");
    if (o->range == ZEB_RANGE_PERCENTILE && !(o->percentile > 0.5 && o->percentile <= 1))
        return zeb_fail(error, ZEB_ERR_ARGUMENT, "a percentile must be above 50 and at most 100 %%");
    return ZEB_OK;
}

static zeb_status make(job *j, const char *from, const char *to) {
    char *part;
    size_t end = strlen(to);
    while (end > 1 && to[end - 1] == '/')
        end--;
    zeb_status status = zeb_arena_format(j->arena, &part, j->error, "%.*s.%ld.part", (int)end, to, (long)getpid());
    if (status != ZEB_OK) return status;
    if (mkdir(part, 0777) != 0)
        return zeb_fail(j->error, ZEB_ERR_IO, "%s: could not make it: %s", part, strerror(errno));
    status = fill(j, from, part);
    if (status == ZEB_OK && rename(part, to) != 0) /* over an empty folder, or nothing */
        status = zeb_fail(j->error,
                          errno == ENOTEMPTY || errno == EEXIST || errno == ENOTDIR ? ZEB_ERR_ARGUMENT : ZEB_ERR_IO,
                          "%s: is in the way: %s", to, strerror(errno));
    if (status != ZEB_OK) undo(j, part);
    return status;
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
    if (status == ZEB_OK) status = make(&j, from, to);
    zeb_checkpoint_close(j.checkpoint);
    zeb_arena_destroy(j.arena);
    return status;
}
