/* One matrix or table to codes, a row at a time, and what that does to it and to the outputs. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "models/gptq.h"
#include "models/quantise_job.h"
#include "zeb/number.h"

/* Lets go of the pages of a mapped file that were read. */
void zeb_quantise_forget(const unsigned char *data, size_t bytes) {
    const uintptr_t page = 4096, begin = ((uintptr_t)data + page - 1) / page * page;
    const uintptr_t end = ((uintptr_t)data + bytes) / page * page;
    if (end > begin) (void)madvise((void *)begin, end - begin, MADV_DONTNEED); /* clean pages: read again if needed */
}

/* Elements first .. first + n of a float tensor, which may be misaligned. */
void zeb_quantise_widen(const zeb_stored_tensor *t, size_t first, size_t n, float *to) {
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

zeb_status zeb_quantise_not_finite(const zeb_quantise_job *j, const zeb_stored_tensor *t, size_t index,
                                   const char *what) {
    return zeb_fail(j->error, ZEB_ERR_RANGE, "%s: \"%.120s\" %s (element %zu)", zeb_checkpoint_path(j->checkpoint),
                    t->name, what, index);
}

void zeb_rounding_close(zeb_rounding *r) {
    free(r->x);
    free(r->scratch);
    free(r->packed);
    free(r->scale);
    free(r->w);
    free(r->u);
    r->x = r->scratch = NULL;
    r->packed = r->scale = NULL;
    r->w = r->u = NULL;
}

zeb_status zeb_rounding_open(const zeb_quantise_job *job, const zeb_move *move, zeb_quantise_format format,
                             zeb_rounding *r) {
    const zeb_stored_tensor *t = move->from;
    const size_t k = (size_t)t->extent[1];
    *r = (zeb_rounding){.job = job, .from = t, .format = format, .group = (size_t)move->group};
    r->scale_bytes = format == ZEB_QUANTISE_I8 ? sizeof(float) : 2 * (k / r->group);
    r->packed_bytes = format == ZEB_QUANTISE_I8 ? k : k / 2;
    zeb_status status = ZEB_OK;
    if (move->matrix && job->options->moments != NULL)
        status = job->options->moments(job->options->user, t->name, k, &r->h);
    if (status != ZEB_OK) return status;
    const bool gptq = job->options->gptq && r->h != NULL;
    r->x = malloc(k * sizeof *r->x);
    r->scratch = malloc(k * sizeof *r->scratch);
    r->packed = malloc(k);
    r->scale = malloc(r->scale_bytes);
    r->w = malloc(k * sizeof *r->w);
    r->u = malloc(gptq ? k * (k + 1) / 2 * sizeof *r->u : 1);
    if (r->x == NULL || r->scratch == NULL || r->packed == NULL || r->scale == NULL || r->w == NULL || r->u == NULL)
        status = zeb_fail(job->error, ZEB_ERR_MEMORY, "no memory to quantise \"%.120s\"", t->name);
    else if (gptq)
        status = zeb_gptq_factor(r->h, k, r->u, job->error);
    r->gptq = gptq;
    if (status != ZEB_OK) zeb_rounding_close(r);
    return status;
}

/* Element i of the row as it is now. */
static double value_at(const zeb_rounding *r, size_t i) {
    if (r->format == ZEB_QUANTISE_I8) return ((const int8_t *)r->packed)[i] * (double)*(const float *)r->scale;
    const int q = (((const uint8_t *)r->packed)[i / 2] >> (i % 2 * 4) & 15) - 8;
    return q * (double)zeb_f16_to_f32(((const uint16_t *)r->scale)[i / r->group]);
}

/* Adds what the rounding did to a row, and to the outputs where the inputs are known. */
static void note(zeb_rounding *r, size_t k) {
    for (size_t i = 0; i < k; i++) {
        r->squares += (double)r->x[i] * (double)r->x[i];
        r->w[i] = (double)r->x[i];
    }
    if (r->h != NULL) r->outputs += zeb_gptq_error(r->w, r->h, k);
    for (size_t i = 0; i < k; i++) {
        r->w[i] -= value_at(r, i);
        r->misses += r->w[i] * r->w[i];
    }
    if (r->h != NULL) r->wrong += zeb_gptq_error(r->w, r->h, k);
}

zeb_status zeb_rounding_row(zeb_rounding *r, size_t row) {
    enum { CHUNK = 1 << 18 };
    const zeb_stored_tensor *t = r->from;
    const zeb_quantise_options *o = r->job->options;
    const size_t k = (size_t)t->extent[1], bytes = k * zeb_stored_dtype_bytes(t->dtype);
    if (o->stop != NULL && atomic_load(o->stop) != 0)
        return zeb_fail(r->job->error, ZEB_ERR_INTERRUPTED, "stopped by the user; no checkpoint was written");
    zeb_quantise_widen(t, row * k, k, r->x);
    for (size_t i = 0; i < k; i++)
        if (!isfinite(r->x[i]))
            return zeb_quantise_not_finite(r->job, t, row * k + i, "holds a weight that is not finite");
    if (r->format == ZEB_QUANTISE_I8 && r->gptq)
        *(float *)r->scale = zeb_gptq_row8(r->x, k, r->u, o, r->scratch, r->w, r->packed);
    else if (r->format == ZEB_QUANTISE_I8)
        *(float *)r->scale = zeb_quantise_row8(r->x, k, o, r->scratch, r->packed);
    else if (r->gptq)
        zeb_gptq_row4(r->x, k, r->group, r->u, o, r->scratch, r->w, r->packed, r->scale);
    else
        zeb_quantise_row4(r->x, k, r->group, o, r->scratch, r->packed, r->scale);
    note(r, k);
    const bool last = row + 1 == (size_t)t->extent[0];
    if (!last && (row + 1 - r->held) * bytes < CHUNK) return ZEB_OK;
    zeb_quantise_forget(t->data + r->held * bytes, (row + 1 - r->held) * bytes);
    r->held = row + 1;
    return ZEB_OK;
}
