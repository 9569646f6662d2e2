/* run/session.h - everything a case needs, opened and compiled: model, tokens, graph, device, plan. Lives in the
 * worker.
 *
 * Opening goes the one path: checkpoint -> data set -> tokens -> graph -> rewrites -> check -> compile. What is learnt
 * on the way (hashes, names, effective settings) is written into the row at once, so that a row that fails later still
 * says what it was about. */
#ifndef ZEB_RUN_SESSION_H
#define ZEB_RUN_SESSION_H

#include "graph/builder.h"
#include "graph/cost.h"
#include "models/model.h"
#include "plugins/devices.h"
#include "run/batch.h"
#include "sparsity/policy.h"
#include "store/row.h"
#include "suites/task.h"
#include "tokenizers/tokenizer.h"
#include "zeb/bench.h"

enum { ZEB_SESSION_LAYERS_MAX = 256 };

typedef struct zeb_session {
    const zeb_case *what;
    zeb_arena *arena;
    zeb_arena *texts; /* of the data set alone */
    zeb_model *model;
    zeb_tokenizer *tokenizer;
    zeb_policy *policy; /* NULL: dense */
    zeb_dataset data;
    zeb_sequence *sequence; /* [data.count] */
    zeb_builder *plain;     /* the family's graph, every row in every layer */
    zeb_builder *rewritten; /* as the policy wants it: what is compiled */
    const zeb_graph *plain_graph;
    const zeb_graph *graph;
    zeb_cost *plain_cost, *cost; /* of plain_graph and graph */
    int32_t *length;             /* [sequence_max]: scratch of zeb_session_work */
    zeb_device_handle device;
    zeb_plan *plan;
    zeb_batch batch;
    float *logits; /* [sequence_max, labels] */
    int32_t labels;
    int32_t *class_of; /* [labels]: the task's class of each output; NULL for regression */
    bool refused;      /* the device can't do the graph: why the case is `unsupported` */
    bool words_cut;    /* the vocabulary ends long before the model's word table */
    bool other_task;   /* the model's card names another task */
    struct {
        int32_t offsets, count, id, type, logits; /* tensor ids in `graph` */
    } at;
    int32_t kept[ZEB_SESSION_LAYERS_MAX];       /* per encoder layer: id of its kept offsets, or ZEB_NONE */
    int32_t gates[ZEB_SESSION_LAYERS_MAX];      /* likewise of its head gates [B,H] */
    int32_t exits[ZEB_SESSION_LAYERS_MAX];      /* likewise of the offsets of what stays behind its exit */
    int32_t open[ZEB_SESSION_LAYERS_MAX];       /* likewise of its rows' numbers of open FFN blocks */
    int32_t importance[ZEB_SESSION_LAYERS_MAX]; /* of a watched plan: F32, a value a row that enters; else ZEB_NONE */
    void *scratch;                              /* for reading one of these */
    int32_t layers;
} zeb_session;

/* Opens the case. session->refused is set when the device can't do the graph: error then names the nodes. What was
 * opened is closed by zeb_session_close, also after a failure. */
ZEB_MUST_CHECK zeb_status zeb_session_open(const zeb_case *what, const zeb_registry *registry, zeb_arena *arena,
                                           zeb_session *session, zeb_row *row, zeb_error *error);
/* The same with only those of the first what->limit examples for which keep() is true. */
ZEB_MUST_CHECK zeb_status zeb_session_open_kept(const zeb_case *what, const zeb_registry *registry,
                                                bool (*keep)(const zeb_example *example, void *user), void *user,
                                                zeb_arena *arena, zeb_session *session, zeb_row *row, zeb_error *error);
/* The same, but nothing is compiled: session->plan stays NULL. */
ZEB_MUST_CHECK zeb_status zeb_session_prepare(const zeb_case *what, const zeb_registry *registry,
                                              bool (*keep)(const zeb_example *example, void *user), void *user,
                                              zeb_arena *arena, zeb_session *session, zeb_row *row, zeb_error *error);
/* Lets go of the data set's texts and the tokenizer, for who needs the tokens alone: data.example, data.path and
 * tokenizer are NULL afterwards. */
void zeb_session_forget_texts(zeb_session *session);
void zeb_session_close(zeb_session *session);

/* Puts an open session under another policy (NULL: dense), which the session then owns; the plan before is released,
 * and after an error there is none. watch: the importance of every layer's rows becomes readable, session->importance
 * says where; it is not counted as work. */
ZEB_MUST_CHECK zeb_status zeb_session_replan(zeb_session *session, zeb_policy *policy, bool watch, zeb_error *error);

/* What a policy's head gates are made of: a zeb_policy_weight_fn; the context is the zeb_model. */
ZEB_MUST_CHECK zeb_status zeb_session_weight(void *model, const char *name, zeb_policy_weight *weight,
                                             zeb_error *error);

/* One pass over session->batch: write, submit, wait, read the logits. */
ZEB_MUST_CHECK zeb_status zeb_session_pass(zeb_session *session, zeb_error *error);

/* After a pass: the work it took as the model stands, and as it was executed. */
ZEB_MUST_CHECK zeb_status zeb_session_work(zeb_session *session, zeb_work *dense, zeb_work *executed, zeb_error *error);

/* What a layer kept of the batch: tokens after its selection and exit, open heads summed over the sequences, sequences
 * with tokens after its exit, and of its rows' `blocks` of FFN neurons the open ones and those that the device says it
 * multiplied; -1 where it skips none of that kind, or the device does not say. */
typedef struct zeb_kept {
    int64_t tokens, heads, sequences, blocks, blocks_open, blocks_done;
    /* sums over the sequences of the batch: of the share of its tokens that each has left, of its square, and of the
     * square of its open heads; 0 where tokens or heads is -1 */
    double share, share_squared, heads_squared;
} zeb_kept;

/* After zeb_session_work of a pass. */
ZEB_MUST_CHECK zeb_status zeb_session_kept(zeb_session *session, int32_t layer, zeb_kept *kept, zeb_error *error);

#endif
