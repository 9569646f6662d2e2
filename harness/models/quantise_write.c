/* The new safetensors file: where each tensor goes, the header, and the bytes, a few rows at a time. */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "models/quantise_job.h"
#include "models/quantise_row.h"
#include "zeb/number.h"

enum { CHUNK = 1 << 18 };

typedef zeb_quantise_job job;
typedef zeb_move move;

/* ---- files ------------------------------------------------------------------------------------------------------ */

static zeb_status failed(const job *j) {
    return zeb_fail(j->error, ZEB_ERR_IO, "%s: could not write: %s", j->path, strerror(errno));
}

zeb_status zeb_quantise_create(job *j, char *path) {
    j->path = path;
    j->file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    return j->file < 0 ? failed(j) : ZEB_OK;
}

zeb_status zeb_quantise_put(const job *j, const void *data, size_t size, uint64_t at) {
    for (const char *from = data; size > 0;) {
        ssize_t written = pwrite(j->file, from, size, (off_t)at);
        if (written < 0 && errno == EINTR) continue;
        if (written < 0) return failed(j);
        from += written;
        at += (uint64_t)written;
        size -= (size_t)written;
    }
    return ZEB_OK;
}

zeb_status zeb_quantise_close(job *j, zeb_status before) {
    zeb_status status = before;
    if (status == ZEB_OK && fsync(j->file) != 0) status = failed(j);
    if (close(j->file) != 0 && status == ZEB_OK) status = failed(j);
    j->file = -1;
    return status;
}

/* ---- where they go ---------------------------------------------------------------------------------------------- */

static size_t element(const move *m) {
    return m->format != ZEB_QUANTISE_KEEP ? 1 : m->half ? 2 : zeb_stored_dtype_bytes(m->from->dtype);
}

/* Widest elements first, so that every tensor is aligned to its own. */
static void place(job *j) {
    for (size_t width = 8; width >= 1; width /= 2) {
        for (size_t i = 0; i < j->count; i++) {
            move *m = &j->moves[i];
            const uint64_t rows = (uint64_t)m->from->extent[0], count = (uint64_t)m->from->count;
            const bool four = m->format == ZEB_QUANTISE_U4;
            if (m->shard != NULL) continue;
            if (m->format != ZEB_QUANTISE_KEEP && width == (four ? 2 : 4)) {
                m->scale_at = j->data_size;
                m->scale_size = width * (four ? count / (uint64_t)m->group : rows);
                j->data_size += m->scale_size;
            }
            if (element(m) != width) continue;
            m->at = j->data_size;
            m->size = four ? count / 2 : count * width;
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

static int add_entries(json_t *header, const move *m) {
    const zeb_stored_tensor *t = m->from;
    const bool four = m->format == ZEB_QUANTISE_U4;
    if (m->format == ZEB_QUANTISE_KEEP)
        return json_object_set_new(
            header, t->name,
            entry(m->half ? "F16" : zeb_stored_dtype_name(t->dtype), t->rank, t->extent, m->at, m->size));
    char name[ZEB_QUANTISE_NAME_MAX];
    (void)snprintf(name, sizeof name, "%s_scale", t->name);
    const int64_t packed[2] = {t->extent[0], four ? t->extent[1] / 2 : t->extent[1]};
    const int64_t scale[2] = {t->extent[0], four ? t->extent[1] / m->group : 1};
    int bad = json_object_set_new(header, t->name, entry(four ? "U8" : "I8", 2, packed, m->at, m->size));
    return bad != 0 ? bad
                    : json_object_set_new(header, name,
                                          entry(four ? "F16" : "F32", four ? 2 : 1, scale, m->scale_at, m->scale_size));
}

static char *header_text(const job *j) {
    static const char *const range[] = {"absmax", "percentile", "mse"};
    static const char *const format[] = {"keep", "int8", "int4"};
    const zeb_quantise_options *o = j->options;
    char how[96];
    (void)snprintf(how, sizeof how, "weights %s%s, embeddings %s, %s", format[o->weights],
                   o->weights != ZEB_QUANTISE_U4 ? ""
                   : o->group == 64              ? " in groups of 64"
                                                 : " in groups of 32",
                   format[o->embeddings], range[o->range]);
    json_t *header = json_pack("{s:{s:s, s:s}}", "__metadata__", "format", "pt", "zeb.quantised", how);
    int bad = header == NULL;
    for (size_t i = 0; i < j->count && bad == 0; i++)
        if (j->moves[i].shard == NULL) bad = add_entries(header, &j->moves[i]);
    char *text = bad == 0 ? json_dumps(header, JSON_COMPACT | JSON_PRESERVE_ORDER) : NULL;
    json_decref(header);
    return text;
}

/* ---- writing ---------------------------------------------------------------------------------------------------- */

/* The length, the header, and blanks until the tensors begin at a multiple of 8. */
static zeb_status write_header(job *j) {
    char *text = header_text(j);
    if (text == NULL) return zeb_fail(j->error, ZEB_ERR_MEMORY, "no memory for the header of %s", j->path);
    size_t length = strlen(text), padded = (length + 7) / 8 * 8;
    unsigned char size[8];
    for (int i = 0; i < 8; i++)
        size[i] = (unsigned char)((uint64_t)padded >> (8 * i));
    j->data_at = 8 + padded;
    zeb_status status = zeb_quantise_put(j, size, sizeof size, 0);
    if (status == ZEB_OK) status = zeb_quantise_put(j, text, length, 8);
    if (status == ZEB_OK) status = zeb_quantise_put(j, "       ", padded - length, 8 + length);
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
        status = zeb_quantise_put(j, m->from->data + done, some, j->data_at + m->at + done);
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
        status = zeb_quantise_put(j, half, 2 * some, j->data_at + m->at + 2 * done);
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

static void note_row4(job *j, const float *x, size_t n, size_t group, const uint8_t *packed, const uint16_t *scale) {
    for (size_t i = 0; i < n; i++)
        note_error(j, x[i], (packed[i / 2] >> (i % 2 * 4) & 15) - 8, zeb_f16_to_f32(scale[i / group]));
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
    if (m->format == ZEB_QUANTISE_I8) {
        float *scale = (float *)room->scale + row;
        *scale = zeb_quantise_row8(room->x, k, j->options, room->scratch, room->packed);
        note_row8(j, room->x, k, room->packed, *scale);
        return zeb_quantise_put(j, room->packed, k, j->data_at + m->at + row * k);
    }
    const size_t group = (size_t)m->group, groups = k / group;
    zeb_quantise_row4(room->x, k, group, j->options, room->scratch, room->packed, room->scale);
    note_row4(j, room->x, k, group, room->packed, room->scale);
    zeb_status status = zeb_quantise_put(j, room->packed, k / 2, j->data_at + m->at + row * (k / 2));
    return status == ZEB_OK ? zeb_quantise_put(j, room->scale, 2 * groups, j->data_at + m->scale_at + row * 2 * groups)
                            : status;
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
    if (status == ZEB_OK && m->format == ZEB_QUANTISE_I8)
        status = zeb_quantise_put(j, room.scale, 4 * n, j->data_at + m->scale_at);
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
        if (m->shard == NULL)
            status = m->format != ZEB_QUANTISE_KEEP ? quantise(j, m) : m->half ? copy_half(j, m) : copy(j, m);
    }
    return status;
}

zeb_status zeb_quantise_write(job *j, const char *path) {
    char *named;
    zeb_status status = zeb_arena_copy(j->arena, path, strlen(path), &named, j->error);
    if (status == ZEB_OK) status = zeb_quantise_create(j, named);
    if (status != ZEB_OK) return status;
    place(j);
    status = write_header(j);
    if (status == ZEB_OK) status = write_tensors(j);
    j->report->error = j->squares > 0 ? sqrt(j->misses / j->squares) : 0;
    return zeb_quantise_close(j, status);
}
