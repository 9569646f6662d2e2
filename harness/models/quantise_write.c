/* The new safetensors file: where each tensor goes, the header, and the bytes, a few rows at a time. */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "models/quantise_job.h"
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
    j->file = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
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

uint64_t zeb_quantise_code_bytes(const move *m, zeb_quantise_format format) {
    return (uint64_t)m->from->count / (format == ZEB_QUANTISE_U4 ? 2 : 1);
}

uint64_t zeb_quantise_scale_bytes(const move *m, zeb_quantise_format format) {
    return format == ZEB_QUANTISE_U4 ? 2 * (uint64_t)m->from->count / (uint64_t)m->group
                                     : 4 * (uint64_t)m->from->extent[0];
}

/* Widest elements first, so that every tensor is aligned to its own. */
static void place(job *j) {
    for (size_t width = 8; width >= 1; width /= 2) {
        for (size_t i = 0; i < j->count; i++) {
            move *m = &j->moves[i];
            const bool codes = m->format != ZEB_QUANTISE_KEEP;
            if (m->shard != NULL) continue;
            if (codes && width == (m->format == ZEB_QUANTISE_U4 ? 2 : 4)) {
                m->scale_at = j->data_size;
                m->scale_size = zeb_quantise_scale_bytes(m, m->format);
                j->data_size += m->scale_size;
            }
            if (element(m) != width) continue;
            m->at = j->data_size;
            m->size = codes ? zeb_quantise_code_bytes(m, m->format) : (uint64_t)m->from->count * width;
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
    static const char *const format[] = {"keep", "int8", "int4", "mixed"};
    const zeb_quantise_options *o = j->options;
    char how[96];
    (void)snprintf(how, sizeof how, "weights %s%s, embeddings %s, %s%s", format[o->weights],
                   o->weights <= ZEB_QUANTISE_I8 ? ""
                   : o->group == 64              ? " in groups of 64"
                                                 : " in groups of 32",
                   format[o->embeddings], range[o->range], o->gptq ? ", gptq" : "");
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

static zeb_status copy(job *j, const move *m) {
    zeb_status status = ZEB_OK;
    for (size_t done = 0; done < m->from->bytes && status == ZEB_OK; done += CHUNK) {
        size_t some = m->from->bytes - done < CHUNK ? m->from->bytes - done : CHUNK;
        status = zeb_quantise_put(j, m->from->data + done, some, j->data_at + m->at + done);
        zeb_quantise_forget(m->from->data + done, some);
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
        zeb_quantise_widen(m->from, done, some, value);
        for (size_t i = 0; i < some; i++) {
            half[i] = zeb_f32_to_f16(value[i]);
            if (isfinite(value[i]) && (half[i] & 0x7fffu) >= 0x7c00u)
                return zeb_quantise_not_finite(j, m->from, done + i, "is too large for F16: leave out --half");
        }
        status = zeb_quantise_put(j, half, 2 * some, j->data_at + m->at + 2 * done);
    }
    zeb_quantise_forget(m->from->data, m->from->bytes);
    return status;
}

zeb_status zeb_quantise_round(const job *j, const move *m, zeb_quantise_format format, uint64_t at, uint64_t scale_at,
                              zeb_rounding *r) {
    zeb_status status = zeb_rounding_open(j, m, format, r);
    const size_t rows = (size_t)m->from->extent[0];
    for (size_t row = 0; row < rows && status == ZEB_OK; row++) {
        status = zeb_rounding_row(r, row);
        if (status == ZEB_OK) status = zeb_quantise_put(j, r->packed, r->packed_bytes, at + row * r->packed_bytes);
        if (status == ZEB_OK) status = zeb_quantise_put(j, r->scale, r->scale_bytes, scale_at + row * r->scale_bytes);
    }
    zeb_rounding_close(r);
    return status;
}

void zeb_quantise_note(job *j, const zeb_rounding *r) {
    j->squares += r->squares;
    j->misses += r->misses;
    j->outputs += r->outputs;
    j->wrong += r->wrong;
}

/* What was rounded before: size bytes at `from` of the file of the mix. */
static zeb_status move_codes(const job *j, uint64_t from, uint64_t size, uint64_t to) {
    char some[1 << 14];
    zeb_status status = ZEB_OK;
    while (size > 0 && status == ZEB_OK) {
        const ssize_t got = pread(j->chosen, some, size < sizeof some ? (size_t)size : sizeof some, (off_t)from);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return zeb_fail(j->error, ZEB_ERR_IO, "%s: its codes could not be read back", j->path);
        status = zeb_quantise_put(j, some, (size_t)got, to);
        from += (uint64_t)got;
        to += (uint64_t)got;
        size -= (uint64_t)got;
    }
    return status;
}

static zeb_status quantise(job *j, const move *m) {
    const uint64_t at = j->data_at + m->at, scale_at = j->data_at + m->scale_at;
    zeb_rounding r;
    zeb_status status;
    if (m->chosen_at >= 0) {
        status = move_codes(j, (uint64_t)m->chosen_at, m->size, at);
        return status == ZEB_OK ? move_codes(j, (uint64_t)m->chosen_at + m->size, m->scale_size, scale_at) : status;
    }
    status = zeb_quantise_round(j, m, m->format, at, scale_at, &r);
    zeb_quantise_note(j, &r);
    return status;
}

static zeb_status write_tensors(job *j) {
    zeb_status status = ZEB_OK;
    for (size_t i = 0; i < j->count && status == ZEB_OK; i++) {
        const move *m = j->order[i];
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
    j->report->output_error = j->outputs > 0 ? sqrt(j->wrong / j->outputs) : -1;
    return zeb_quantise_close(j, status);
}
