/* op/fixture.h - one small graph under test, with its weights and the random inputs of its passes.
 *
 * Building is sticky: the first error stays in `error`, later calls do nothing and give ZEB_NONE, and the runner
 * reports it. Everything dies with the fixture. */
#ifndef ZEB_OP_FIXTURE_H
#define ZEB_OP_FIXTURE_H

#include <stdbool.h>

#include "base/arena.h"
#include "graph/builder.h"

/* splitmix64: one number is a seed, and seeds differ by case. */
typedef struct op_random {
    uint64_t state;
} op_random;

uint64_t op_random_next(op_random *random);
double op_random_unit(op_random *random);                  /* [0,1) */
int64_t op_random_below(op_random *random, int64_t bound); /* [0,bound) */
double op_random_normal(op_random *random);

/* What an input holds. Rows past the live count always hold NaN or ids that are outside every table. */
typedef enum op_fill {
    OP_FILL_NORMAL,     /* N(0,1) */
    OP_FILL_IDS,        /* [0,range) */
    OP_FILL_TARGETS,    /* [-1,range) */
    OP_FILL_GATES,      /* 0 or 1; pass 0 all 1 */
    OP_FILL_IMPORTANCE, /* by pass: distinct, many ties, some NaN, all equal, all NaN, infinities */
    OP_FILL_WIDE        /* rows of very different sizes, zeros among them */
} op_fill;

typedef struct op_input {
    int32_t tensor;
    op_fill fill;
    int64_t range;
    void *data;
} op_input;

enum { OP_INPUTS_MAX = 16, OP_FINALS_MAX = 32 };

typedef struct op_fixture {
    zeb_arena *arena;
    zeb_builder *builder;
    op_random random;
    zeb_error error;
    zeb_status status;
    int64_t token_max, batch_max;
    int32_t offsets, count; /* of the row space that the passes fill */
    int32_t *offsets_data;  /* [batch_max+1] */
    op_input input[OP_INPUTS_MAX];
    size_t input_count;
    int32_t final[OP_FINALS_MAX]; /* outputs when only the last results are readable */
    size_t final_count;
    int32_t out[ZEB_NODE_OUTPUTS_MAX]; /* of the node added last */
    uint32_t weights;
    uint32_t passes; /* mask of those to run; 0: all */
    bool told;       /* a hair's breadth of difference may turn a choice: judged node by node (told.h) */
    zeb_op op;       /* whose tolerance holds; 0 for a chain */
    uint32_t precision;
    zeb_graph graph;  /* every produced tensor readable */
    zeb_graph closed; /* only the finals readable */
} op_fixture;

zeb_status op_fixture_create(op_fixture *fx, uint64_t seed, zeb_error *error);
void op_fixture_destroy(op_fixture *fx);
/* Ends building: makes the two graphs. */
zeb_status op_fixture_finish(op_fixture *fx, zeb_error *error);

void op_rows(op_fixture *fx, int64_t token_max, int64_t batch_max);
int32_t op_rows_input(op_fixture *fx, const char *name, op_fill fill, int64_t range, int64_t width);
int32_t op_plain_input(op_fixture *fx, const char *name, op_fill fill, int64_t first, int64_t second);
/* Takes over a graph that others made in fx->builder: its row space "tokens", what it makes readable. */
void op_adopt(op_fixture *fx, int64_t token_max, int64_t batch_max);
/* One of its inputs of rows. */
void op_adopt_input(op_fixture *fx, const char *name, op_fill fill, int64_t range);
/* Weights: N(0,1)/sqrt(k) matrices, vectors mean + spread * N(0,1). Odd ones are aligned to their elements only, and
 * NaN stands before and behind each. I8 and U4 come with their scales. */
int32_t op_matrix(op_fixture *fx, const char *name, zeb_dtype dtype, int64_t n, int64_t k);
int32_t op_grouped(op_fixture *fx, const char *name, int64_t n, int64_t k, int32_t group); /* U4 */
int32_t op_vector(op_fixture *fx, const char *name, zeb_dtype dtype, int64_t n, double mean, double spread);
/* Adds the node and gives its main output; all are in fx->out. */
int32_t op_node(op_fixture *fx, const zeb_node *node, uint32_t want);
void op_final(op_fixture *fx, int32_t tensor);

/* A graph with everything in it copied (weights' data excepted), to be spoilt after it was compiled: a plan may keep
 * nothing of it. */
typedef struct op_loan {
    zeb_graph graph;
    zeb_tensor *tensor;
    zeb_node *node;
    char *names;
    size_t names_bytes;
} op_loan;
zeb_status op_loan_make(op_fixture *fx, const zeb_graph *graph, op_loan *loan, zeb_error *error);
void op_loan_spoil(op_loan *loan);

/* fill.c: the sequences and inputs of pass `pass` in [0, OP_PASSES). */
enum { OP_PASSES = 8 };
void op_fill_pass(op_fixture *fx, int pass);
const char *op_pass_name(int pass);

#endif
