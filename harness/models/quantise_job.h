/* models/quantise_job.h - private to the room: a quantisation under way, shared by the files quantise*.c. */
#ifndef ZEB_MODELS_QUANTISE_JOB_H
#define ZEB_MODELS_QUANTISE_JOB_H

#include "base/arena.h"
#include "models/checkpoint.h"
#include "models/quantise.h"

enum { ZEB_QUANTISE_NAME_MAX = 512 };

/* A tensor on its way: where its bytes go, and for a quantised one those of its scales. */
typedef struct zeb_move {
    const zeb_stored_tensor *from;
    const char *shared;         /* the shared file in which it stands, as the index names it; else NULL */
    const char *shard;          /* likewise, if it stays there */
    zeb_quantise_format format; /* MIXED only until it is chosen; KEEP: it stays as it is, or: */
    bool half;                  /* F32 becomes F16 */
    bool matrix;                /* of a linear layer */
    int32_t group;              /* U4 */
    uint64_t at, size;
    uint64_t scale_at, scale_size;
    int32_t layer;     /* of the encoder: -1 before them, the greatest number behind them */
    int64_t chosen_at; /* of a mix: where its codes and scales are in the job's `chosen`; -1: not there */
} zeb_move;

typedef struct zeb_quantise_job {
    const zeb_quantise_options *options;
    zeb_quantise_report *report;
    zeb_checkpoint *checkpoint;
    zeb_arena *arena;
    zeb_move *moves;
    zeb_move **order; /* the same in the order of layers */
    size_t count;
    uint64_t data_at; /* where the tensors' bytes begin in the output */
    uint64_t data_size;
    int file;
    char *path;             /* of the file being written */
    int chosen;             /* a file with the codes of a mix, or -1 */
    double squares, misses; /* of the weights and their errors */
    double outputs, wrong;  /* of the outputs and theirs, where inputs are known */
    zeb_error *error;
} zeb_quantise_job;

/* quantise_matrix.c: a matrix on its way to codes. */
typedef struct zeb_rounding {
    const zeb_quantise_job *job;
    const zeb_stored_tensor *from;
    zeb_quantise_format format; /* I8 or U4 */
    size_t group;
    bool gptq;
    const double *h; /* second moments of the inputs, or NULL */
    void *packed;    /* the row's codes */
    void *scale;     /* and its scales */
    size_t packed_bytes, scale_bytes;
    double squares, misses, outputs, wrong; /* over the rows so far */
    float *x, *scratch;                     /* room for a row */
    double *w, *u;
    size_t held; /* the first row whose pages may still be there */
} zeb_rounding;

ZEB_MUST_CHECK zeb_status zeb_rounding_open(const zeb_quantise_job *job, const zeb_move *move,
                                            zeb_quantise_format format, zeb_rounding *rounding);
/* Rows in ascending order, each once. */
ZEB_MUST_CHECK zeb_status zeb_rounding_row(zeb_rounding *rounding, size_t row);
void zeb_rounding_close(zeb_rounding *rounding);

/* Elements first .. first + n of a float tensor, which may be misaligned. */
void zeb_quantise_widen(const zeb_stored_tensor *tensor, size_t first, size_t n, float *to);
/* Lets go of the pages of a mapped file that were read. */
void zeb_quantise_forget(const unsigned char *data, size_t bytes);
ZEB_MUST_CHECK zeb_status zeb_quantise_not_finite(const zeb_quantise_job *job, const zeb_stored_tensor *tensor,
                                                  size_t index, const char *what);

/* quantise_write.c: the safetensors file at `path` with every move that stays in no shard. */
ZEB_MUST_CHECK zeb_status zeb_quantise_write(zeb_quantise_job *job, const char *path);

/* quantise_folder.c: folder `to`, whole or not at all: the model, what belongs to it, the policy. */
ZEB_MUST_CHECK zeb_status zeb_quantise_folder(zeb_quantise_job *job, const char *from, const char *to);

/* Opens a new file at path as job->file, which is -1 after a failure. */
ZEB_MUST_CHECK zeb_status zeb_quantise_create(zeb_quantise_job *job, char *path);
/* Bytes of a move's codes and of its scales in a format. */
uint64_t zeb_quantise_code_bytes(const zeb_move *move, zeb_quantise_format format);
uint64_t zeb_quantise_scale_bytes(const zeb_move *move, zeb_quantise_format format);

/* Rounds a matrix or table into job->file: its codes from `at` on, its scales from `scale_at`. What that does to it and
 * to the outputs is then in *rounding, which is closed. */
ZEB_MUST_CHECK zeb_status zeb_quantise_round(const zeb_quantise_job *job, const zeb_move *move,
                                             zeb_quantise_format format, uint64_t at, uint64_t scale_at,
                                             zeb_rounding *rounding);
void zeb_quantise_note(zeb_quantise_job *job, const zeb_rounding *rounding);

/* quantise_mix.c: chooses the formats of the moves that are MIXED, and keeps their codes in job->chosen, a file that is
 * made in a folder and has no name. */
ZEB_MUST_CHECK zeb_status zeb_quantise_mix(zeb_quantise_job *job, const char *folder);

/* quantise.c: with all formats known, what becomes of the rest; and counts. */
void zeb_quantise_settle(zeb_quantise_job *job);

/* All of data at an offset of job->file. */
ZEB_MUST_CHECK zeb_status zeb_quantise_put(const zeb_quantise_job *job, const void *data, size_t size, uint64_t at);
/* Syncs and closes job->file; a failure before it goes ahead of its own. */
ZEB_MUST_CHECK zeb_status zeb_quantise_close(zeb_quantise_job *job, zeb_status before);

#endif
