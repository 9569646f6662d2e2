/* attention.h - the pieces of ATTENTION: a task (one head of one sequence, all queries or some), the desk on which a
 * worker does it, and the tiles of queries that it consists of. */
#ifndef ZEB_CPU_ATTENTION_H
#define ZEB_CPU_ATTENTION_H

#include "pack.h"
#include "plan.h"

typedef struct cpu_task {
    int64_t sequence, head, chunk;
    int64_t key_first, keys;      /* rows of k and v */
    int64_t query_first, queries; /* rows of q that make up the sequence */
    int64_t from, to;             /* queries (or survivors) of this task, counted in the sequence */
    const int32_t *survivor;      /* rows of q, when only these are wanted; `from` and `to` count in it */
    int64_t context_first;        /* first context row of the sequence */
    /* Probabilities of this head, kept from the round that weighed them for the one that needs them; NULL: not kept. */
    unsigned char *kept;
    size_t kept_row; /* bytes */
    float *all;      /* contexts of all rows, not of survivors, go here; or NULL */
} cpu_task;

enum {
    CPU_QUERIES_MAX = 64 /* of a tile */
};

/* Where a worker keeps its things during a task. */
typedef struct cpu_desk {
    float *keys;    /* panels [keys][head_dim][columns] */
    float *scores;  /* [tile_rows][ld] */
    float *queries; /* [tile_rows][head_dim] of survivors, gathered */
    size_t ld;
    /* Scores from eight bits (precision W8A8): */
    unsigned char *codes; /* rows of keys, then of queries */
    size_t ld_codes;
    int8_t *code_panels; /* keys as weights */
    int32_t *start;      /* [keys] */
    float *key_scale;    /* [keys] */
    float query_scale[CPU_TILE_ROWS_MAX];
    /* Contexts from eight bits, where kernels offer it: */
    int8_t *values;            /* as weights */
    float *value_scale;        /* [head_dim] */
    unsigned char *high, *low; /* [tile_rows] probabilities */
    size_t ld_split;
    /* In bfloat16: */
    uint16_t *half_queries, *half_keys, *half_values; /* rows, and weights of slabs */
    uint16_t *half;                                   /* [CPU_QUERIES_MAX] probabilities */
    size_t ld_half;                                   /* bytes */
} cpu_desk;

/* Cuts `count` things of `size` bytes from the memory that begins at *scratch. Addresses are numbers here, so that the
 * size of it all can be found by cutting from 0. */
void *cpu_cut(uintptr_t *scratch, size_t count, size_t size);

/* Lays a desk out from the address *scratch on and moves it past; from 0, that says how much a desk takes. */
cpu_desk cpu_desk_at(const zeb_plan *plan, const cpu_attention *a, uintptr_t *scratch);

/* Moves the rows of scores together for a task that has fewer keys than there is room for. */
void cpu_desk_fit(const zeb_plan *plan, const cpu_attention *a, const cpu_task *t, cpu_desk *d);

/* Lays out the keys of a task for its scores, and the values for its contexts if they are needed in eight bits. */
void cpu_task_keys(const zeb_plan *plan, const cpu_attention *a, const cpu_task *t, const cpu_desk *d);
void cpu_task_values(const zeb_plan *plan, const cpu_attention *a, const cpu_task *t, const cpu_desk *d);

/* Scores of queries from .. from + rows of the task and their softmax: unnormalised probabilities on the desk, what to
 * multiply them by in share[rows] (1 where a threshold has normalised them already). Adds to partial[keys] unless it is
 * NULL. */
void cpu_tile_weigh(const zeb_plan *plan, const cpu_attention *a, const cpu_task *t, cpu_desk *d, int64_t from,
                    int rows, float *partial, float *share);

/* Brings what cpu_tile_weigh left into the form that cpu_tile_context reads. */
void cpu_tile_ready(const zeb_plan *plan, const cpu_attention *a, const cpu_task *t, const cpu_desk *d, int rows);

/* context rows from .. of the task out of the probabilities on the desk. */
void cpu_tile_context(const zeb_plan *plan, const cpu_attention *a, const cpu_task *t, const cpu_desk *d, int64_t from,
                      int rows, const float *share);

/* Puts the probabilities on the desk aside for later, and brings those of the task's survivors back. */
void cpu_tile_keep(const zeb_plan *plan, const cpu_attention *a, const cpu_task *t, const cpu_desk *d, int64_t from,
                   int rows, const float *share);
void cpu_tile_recall(const zeb_plan *plan, const cpu_attention *a, const cpu_task *t, const cpu_desk *d, int64_t from,
                     int rows, float *share);

/* Where context row i of the task's sequence goes. */
static inline float *cpu_context_row(const zeb_plan *plan, const cpu_attention *a, const cpu_task *t, int64_t i) {
    return t->all == NULL ? cpu_row(plan, a->context, t->context_first + i)
                          : t->all + (size_t)(t->query_first + i) * plan->tensor[a->context].ld;
}

/* Queries of a tile, at most. */
int cpu_tile_queries(const zeb_plan *plan, const cpu_attention *a, const cpu_task *t);

/* Keys that query i of the sequence may see. */
int64_t cpu_visible_keys(const cpu_attention *a, const cpu_task *t, int64_t i);

/* The same steps in bfloat16 (attention_half.c), for a->halves. Nothing is kept. */
cpu_desk cpu_half_desk_at(const zeb_plan *plan, const cpu_attention *a, uintptr_t *scratch);
void cpu_half_desk_fit(const zeb_plan *plan, const cpu_task *t, cpu_desk *d);
void cpu_half_keys(const zeb_plan *plan, const cpu_attention *a, const cpu_task *t, const cpu_desk *d);
void cpu_half_values(const zeb_plan *plan, const cpu_attention *a, const cpu_task *t, const cpu_desk *d);
void cpu_half_weigh(const zeb_plan *plan, const cpu_attention *a, const cpu_task *t, const cpu_desk *d, int64_t from,
                    int rows, float *partial, float *share);
void cpu_half_context(const zeb_plan *plan, const cpu_attention *a, const cpu_task *t, const cpu_desk *d, int64_t from,
                      int rows, const float *share);

/* Bytes of one kept row of that many probabilities. */
size_t cpu_kept_row(const zeb_plan *plan, const cpu_attention *a, int64_t keys);

#endif
