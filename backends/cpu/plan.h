/* plan.h - a compiled graph: tensors with places in one arena, stages in order, and how a pass walks them.
 *
 * A stage is one op after fusion. Stages whose rows don't see each other (linear, norm, activation, embed, gather, log
 * likelihood) and that follow one another over the same row space form a chain. A chain is run either row-wise (each
 * worker takes a range of rows through all stages, block by block, so that activations stay in its cache and nobody
 * waits) or, when rows are few, stage by stage with the columns of each linear layer divided. Other stages divide their
 * work themselves. All row counts are read when the pass runs. */
#ifndef ZEB_CPU_PLAN_H
#define ZEB_CPU_PLAN_H

#include <stdatomic.h>
#include <stdbool.h>

#include "choices.h"
#include "kernels.h"
#include "pool.h"
#include "zeb/plugin.h"

struct zeb_device {
    const cpu_kernels *kernels;
    cpu_pool *pool;
    cpu_choices choices;
    zeb_device_settings settings;
};

/* When something is needed, and where it lies then. */
typedef struct cpu_place {
    int first, last; /* first < 0: never */
    size_t at;       /* bytes from the beginning */
    size_t size;
} cpu_place;

/* A tensor of the graph as the plan sees it: `rows` rows of `width` elements, `ld` apart. */
typedef struct cpu_tensor {
    zeb_dtype dtype;
    zeb_tensor_role role;
    int64_t rows; /* at most */
    int64_t width;
    size_t ld;       /* elements between rows; width for weights */
    int32_t live;    /* tensor that holds the live number of rows, or ZEB_NONE */
    int32_t offsets; /* tensor of sequence offsets, or ZEB_NONE */
    int32_t scale;
    int32_t group;
    int32_t codes;  /* the same rows in eight bits (then codes + 1 has their scales), or ZEB_NONE */
    int32_t halves; /* the same rows rounded to bfloat16, or ZEB_NONE */
    int32_t flags;  /* of its blocks: a byte each, 0 closed; or ZEB_NONE */
    int32_t block;  /* elements of one */
    /* A residual that isn't copied out of `from` (fuse.c), and what is to have it added by the norm behind: rows `by`
     * of `from`; or ZEB_NONE. */
    int32_t from, by;
    cpu_place arena; /* by chains */
    cpu_place local; /* by stages, in what a worker keeps of a block of rows; where one span alone needs it */
    void *data;      /* in the arena; weights: in the checkpoint; in a worker's view of a block: see run.c */
} cpu_tensor;

typedef struct cpu_stage cpu_stage;

/* What a worker holds during a pass. */
typedef struct cpu_hand {
    zeb_plan *plan;  /* as this worker sees it: with tensors of its own where one chain alone needs them */
    zeb_plan *whole; /* what all workers share */
    uint32_t worker, workers;
    void *scratch;        /* plan->scratch_bytes, its own */
    unsigned char *local; /* plan->local_bytes, its own: rows of the block that it takes through a chain */
} cpu_hand;

/* Work on rows r0 .. r1 of the stage's row space; of a linear stage only on panels p0 .. p1. */
typedef void (*cpu_rows_fn)(const cpu_hand *hand, const cpu_stage *stage, int64_t r0, int64_t r1, int p0, int p1);
/* All of the stage, called by every worker; may use barriers. */
typedef void (*cpu_share_fn)(const cpu_hand *hand, const cpu_stage *stage);

typedef struct cpu_embed {
    int32_t ids, types, word, position, type, out;
    cpu_norm_row norm;
    int32_t codes; /* as in cpu_norm */
} cpu_embed;

/* One of the LINEAR nodes that a stage computes together: panels first .. first + count of the packed weights. */
typedef struct cpu_linear_part {
    int32_t out, residual;
    uint32_t activation;
    int first, count;
    int64_t n;
} cpu_linear_part;

enum { CPU_LINEAR_PARTS_MAX = 4 };

typedef struct cpu_linear {
    int32_t x, gates, gate_groups;
    uint32_t parts;
    cpu_linear_part part[CPU_LINEAR_PARTS_MAX];
    int64_t k;
    int panels;
    const float *packed; /* [panels][k][tile_columns] */
    const float *bias;   /* [panels][tile_columns] or NULL */
    bool halves;         /* bfloat16 in slabs: pairs of it in codes_w, groups of four bytes as for eight bits */
    /* Eight-bit arithmetic: */
    bool integers;
    int32_t codes;         /* of x */
    int groups, steps;     /* groups of k, steps of i8_step a group */
    bool four;             /* codes_w in four bits */
    const int8_t *codes_w; /* [panels][groups * steps][tile_columns][i8_step], or half of those bytes */
    const int32_t *start;  /* [panels][groups][tile_columns] */
    const float *scale;    /* [panels][groups][tile_columns] */
    /* Where x has closed blocks: */
    int32_t flags;
    int32_t *open_start;    /* of eight-bit sums, [panels][blocks][tile_columns] */
    _Atomic uint64_t *done; /* blocks multiplied in this pass */
} cpu_linear;

typedef struct cpu_exit {
    int32_t here, rows, before, logits, indices, offsets, count;
    float confidence;
} cpu_exit;

typedef struct cpu_blocks {
    int32_t x, out, open, flags;
    int32_t size;
    float threshold;
} cpu_blocks;

/* Makes the codes or halves of a tensor's rows. */
typedef struct cpu_reduce {
    int32_t x, codes, halves;
} cpu_reduce;

typedef struct cpu_norm {
    int32_t x, residual, out;
    int32_t by;    /* rows of the residual, or ZEB_NONE: the same as of x */
    int32_t codes; /* of out, made in passing, or ZEB_NONE */
    cpu_norm_row row;
} cpu_norm;

typedef struct cpu_attention {
    int32_t q, k, v, gates, context, importance, indices, offsets, count;
    int32_t flags; /* of context: which heads are open, for linear layers to skip the others; or ZEB_NONE */
    zeb_attention_attr attr;
    bool weigh;          /* importance has to be computed */
    bool eight_bits;     /* scores from I8 */
    bool halves;         /* all in bfloat16, rather than in eight bits or more precisely */
    int64_t keys_max;    /* longest sequence that is planned for */
    int32_t sequences;   /* at most */
    float *partial;      /* [heads * chunks][key rows]: sums of p over the queries of a chunk; in the plan */
    unsigned char *kept; /* probabilities between the rounds of a selection, or NULL */
    float *all;          /* instead: contexts of all rows, as far apart as rows of context; or NULL */
    size_t kept_size;
    float *mean;   /* importance where no tensor wants it */
    uint8_t *mark; /* of select */
    uint64_t *key;
} cpu_attention;

typedef struct cpu_select {
    int32_t importance, rows, indices, offsets, count;
    zeb_select attr;
    uint8_t *mark;
    uint64_t *key;
} cpu_select;

typedef struct cpu_gather {
    int32_t x, indices, out;
} cpu_gather;

typedef struct cpu_activation {
    int32_t x, gate, out;
    uint32_t activation;
} cpu_activation;

typedef struct cpu_pooling {
    int32_t x, out;
    uint32_t kind;
} cpu_pooling;

typedef struct cpu_head_gate {
    int32_t x, out;
    const float *w, *bias; /* widened, [heads][k] and [heads] */
} cpu_head_gate;

typedef struct cpu_head_topk {
    int32_t x, before, gates, importance;
    zeb_head_topk_attr attr;
} cpu_head_topk;

typedef struct cpu_likelihood {
    int32_t x, targets, out;
    int64_t k, n;
    int panels;
    const float *packed;
} cpu_likelihood;

enum { CPU_STAGE_READS_MAX = 12, CPU_STAGE_WRITES_MAX = 8 };

struct cpu_stage {
    char name[ZEB_NAME_MAX];
    zeb_op op; /* 0 for a stage of the plan's own */
    int32_t node;
    cpu_rows_fn rows;   /* row-local stages */
    cpu_share_fn share; /* the others; exactly one of the two is set */
    int32_t space;      /* row-local: the tensor whose rows are walked */
    int32_t scattered;  /* row-local, but for this tensor that it reads other rows of; or ZEB_NONE */
    int panels;         /* linear: panels to divide; else 0 */
    int32_t read[CPU_STAGE_READS_MAX];
    int32_t write[CPU_STAGE_WRITES_MAX];
    uint32_t reads, writes;
    _Atomic uint64_t ticket[2]; /* the next task of each round of a stage that hands tasks out */
    union {
        cpu_embed embed;
        cpu_linear linear;
        cpu_norm norm;
        cpu_reduce reduce;
        cpu_attention attention;
        cpu_select select;
        cpu_gather gather;
        cpu_activation activation;
        cpu_pooling pooling;
        cpu_head_gate head_gate;
        cpu_head_topk head_topk;
        cpu_likelihood likelihood;
        cpu_blocks blocks;
        cpu_exit exit;
    } as;
};

/* Sequences that a worker must have for groups of them: they are not divided, so with few some would wait for others.
 */
enum { CPU_SEQUENCES_LEAST = 8 };

typedef struct cpu_chain {
    uint32_t first, count; /* stages */
    bool row_local;
    /* Chains from here on, this one counted, that form a span: row-local ones with attentions between that only look at
     * rows of the same sequence. A group of sequences can go through all of it before the next does. Row-local chains
     * elsewhere are spans of one; inside of one and elsewhere: 0. */
    uint32_t span;
    uint32_t local, locals; /* plan->local[local ...]: tensors that the span it belongs to alone needs, in its rows */
} cpu_chain;

struct zeb_plan {
    zeb_device *device;
    const cpu_kernels *kernels;
    cpu_pool *pool;
    cpu_tensor *tensor;
    uint32_t tensors;
    cpu_stage *stage;
    uint32_t stages;
    cpu_chain *chain;
    uint32_t chains;
    cpu_hand *hand; /* one a worker */
    unsigned char *arena;
    size_t arena_bytes;
    size_t scratch_bytes;  /* of one worker, inside the arena */
    int32_t *local;        /* span by span: see cpu_chain */
    size_t local_bytes;    /* of one worker, inside the arena */
    unsigned char *common; /* memory that stages use one after the other, inside the arena */
    size_t common_bytes;
    struct cpu_block *block; /* packed weights and the like */
    size_t held_bytes;
    _Atomic int32_t bad_id_stage; /* stage + 1 that met an id outside its table in this pass */
    bool profiling;
    uint64_t *span; /* begin and end of each stage of the last pass, nanoseconds */
    char problem[ZEB_TEXT_MAX];
};

/* ---- while compiling ------------------------------------------------------------------------------------------- */

/* Zeroed memory, aligned to 64 bytes (huge pages asked for when large), that lives as long as the plan. */
ZEB_MUST_CHECK zeb_status cpu_plan_hold(zeb_plan *plan, size_t bytes, void **memory, zeb_error *error);

/* A copy of a rank-1 or -2 weight in F32, `slack` zero floats behind it; *out = NULL if tensor is ZEB_NONE. */
ZEB_MUST_CHECK zeb_status cpu_plan_widen(zeb_plan *plan, int32_t tensor, size_t slack, const float **out,
                                         zeb_error *error);

/* Notes that a stage reads or writes a tensor; ZEB_NONE is ignored. */
void cpu_stage_reads(cpu_stage *stage, int32_t tensor);
void cpu_stage_writes(cpu_stage *stage, int32_t tensor);

/* Raises the scratch of each worker to at least that many bytes. */
void cpu_plan_scratch(zeb_plan *plan, size_t bytes);

/* Attention of all heads over the sequences b0 .. b1, for one that neither selects nor weighs. */
void cpu_attend(const cpu_hand *hand, const cpu_stage *stage, int64_t b0, int64_t b1);

/* Gives an attention stage its share of the common memory. */
void cpu_attention_bind(zeb_plan *plan, cpu_attention *attention);

/* Each op's lowering: fills the stage from the node. check.c has been there before, so shapes are right. */
#define CPU_LOWER(op)                                                                                                  \
    ZEB_MUST_CHECK zeb_status cpu_lower_##op(zeb_plan *plan, const zeb_node *node, cpu_stage *stage, zeb_error *error)
CPU_LOWER(embed);
CPU_LOWER(linear);
CPU_LOWER(norm);
CPU_LOWER(attention);
CPU_LOWER(select);
CPU_LOWER(gather);
CPU_LOWER(activation);
CPU_LOWER(pooling);
CPU_LOWER(head_gate);
CPU_LOWER(head_topk);
CPU_LOWER(likelihood);
CPU_LOWER(blocks);
CPU_LOWER(exit);

/* A tensor of the plan's own over the rows of x. */
int32_t cpu_add_tensor(zeb_plan *plan, int32_t x, zeb_dtype dtype, int64_t width, size_t ld);

/* Makes sure that x has codes (eight bits) or halves before the stage that is about to be made, which wants them: in
 * passing by the stage that writes x where that can, else by a stage of its own before it. */
ZEB_MUST_CHECK zeb_status cpu_want_codes(zeb_plan *plan, int32_t x, zeb_error *error);
ZEB_MUST_CHECK zeb_status cpu_want_halves(zeb_plan *plan, int32_t x, zeb_error *error);

/* Rows of x to their codes. */
void cpu_code_rows(const zeb_plan *plan, int32_t x, int32_t codes, int64_t r0, int64_t r1);

/* Several LINEAR nodes of one input as one stage (fuse.c says which go together). */
ZEB_MUST_CHECK zeb_status cpu_lower_linears(zeb_plan *plan, const zeb_node *const *node, uint32_t count,
                                            cpu_stage *stage, zeb_error *error);

/* Verdicts (check.c). Fails only for a malformed graph. */
ZEB_MUST_CHECK zeb_status cpu_check(zeb_device *device, const zeb_graph *graph, zeb_verdict *verdict, zeb_error *error);
ZEB_MUST_CHECK zeb_status cpu_compile(zeb_device *device, const zeb_graph *graph, zeb_plan **plan, zeb_error *error);
void cpu_release(zeb_plan *plan); /* takes NULL */

/* Lifetimes to places, one allocation (memory.c). */
ZEB_MUST_CHECK zeb_status cpu_plan_place(zeb_plan *plan, zeb_error *error);
/* Gives every worker its view of the plan, which is finished but for that (memory.c). */
ZEB_MUST_CHECK zeb_status cpu_plan_view(zeb_plan *plan, zeb_error *error);

/* ---- while running --------------------------------------------------------------------------------------------- */

/* Whether a tensor's rows beyond a block are not kept: one chain alone needs it. */
static inline bool cpu_in_block(const zeb_plan *plan, const cpu_tensor *t) {
    return t->local.size > 0 && t->arena.first == t->arena.last && plan->chain[t->arena.first].row_local;
}

/* One pass (run.c). */
ZEB_MUST_CHECK zeb_status cpu_pass(zeb_plan *plan, zeb_error *error);

/* Live rows of a tensor now, within 0 .. rows. */
static inline int64_t cpu_live_rows(const zeb_plan *plan, int32_t tensor) {
    const cpu_tensor *t = &plan->tensor[tensor];
    if (t->live == ZEB_NONE) return t->rows;
    const int64_t live = *(const int32_t *)plan->tensor[t->live].data;
    return live < 0 ? 0 : live > t->rows ? t->rows : live;
}

/* Rows that row ops take in one go: what they write is still in the first-level cache when they read it again. */
enum { CPU_STRIP_ROWS = 16 };

static inline float *cpu_row(const zeb_plan *plan, int32_t tensor, int64_t row) {
    const cpu_tensor *t = &plan->tensor[tensor];
    return (float *)t->data + (size_t)row * t->ld;
}

static inline int32_t *cpu_ints(const zeb_plan *plan, int32_t tensor) {
    return plan->tensor[tensor].data;
}

/* Sequences of a row space and the rows of one; a space without offsets has one sequence a row. Offsets are held within
 * the live rows, so a wrong batch can't reach outside a tensor. */
int64_t cpu_sequences(const zeb_plan *plan, int32_t tensor);
void cpu_sequence_rows(const zeb_plan *plan, int32_t tensor, int64_t sequence, int64_t *first, int64_t *end);
/* The sequence that holds the row. */
int64_t cpu_sequence_of(const zeb_plan *plan, int32_t tensor, int64_t row);

/* Which rows of n survive, into indices (ascending, counted from `first`); returns how many. mark[n], key[n] are
 * scratch. importance may be NULL for FIRST. */
int64_t cpu_select_rows(const zeb_select *select, const float *importance, int64_t n, int64_t first, int32_t *indices,
                        uint8_t *mark, uint64_t *key);

#endif
