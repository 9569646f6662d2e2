/* A mix: the smallest format of each matrix whose outputs stay within the budget. */
#include <math.h>
#include <unistd.h>

#include "base/file.h"
#include "models/quantise_job.h"

typedef zeb_quantise_job job;

/* Rounds a matrix to the end of the file; the relative error of its outputs, -1 where nothing is known of its inputs.
 */
static zeb_status attempt(const job *j, const zeb_move *m, zeb_quantise_format format, uint64_t at, zeb_rounding *r,
                          double *error) {
    zeb_status status = zeb_quantise_round(j, m, format, at, at + zeb_quantise_code_bytes(m, format), r);
    *error = r->h == NULL ? -1 : r->outputs > 0 ? sqrt(r->wrong / r->outputs) : 0;
    return status;
}

static zeb_status choose(job *j, zeb_move *m, uint64_t *end) {
    zeb_rounding r;
    double error = -1;
    zeb_status status = ZEB_OK;
    m->format = ZEB_QUANTISE_U4;
    if (m->from->extent[1] % m->group == 0) status = attempt(j, m, m->format, *end, &r, &error);
    bool fits = error >= 0 && error <= j->options->budget;
    if (status == ZEB_OK && !fits) {
        m->format = ZEB_QUANTISE_I8;
        status = attempt(j, m, m->format, *end, &r, &error);
        fits = error <= j->options->budget;
    }
    if (status != ZEB_OK) return status;
    if (!fits) {
        m->format = ZEB_QUANTISE_KEEP;
        return ZEB_OK;
    }
    zeb_quantise_note(j, &r);
    m->chosen_at = (int64_t)*end;
    *end += zeb_quantise_code_bytes(m, m->format) + zeb_quantise_scale_bytes(m, m->format);
    return ZEB_OK;
}

zeb_status zeb_quantise_mix(job *j, const char *folder) {
    char *path;
    uint64_t end = 0;
    zeb_status status = zeb_path_join(j->arena, folder, "mix", &path, j->error);
    if (status == ZEB_OK) status = zeb_quantise_create(j, path);
    if (status != ZEB_OK) return status;
    j->chosen = j->file;
    (void)unlink(path);
    for (size_t i = 0; i < j->count && status == ZEB_OK; i++)
        if (j->order[i]->format == ZEB_QUANTISE_MIXED) status = choose(j, j->order[i], &end);
    j->file = -1;
    return status;
}
