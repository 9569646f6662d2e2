#include "run/inputs.h"

#include <malloc.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "run/stages.h"

/* An input of linear layers: a tensor of the graph, and what was seen of it. */
typedef struct seen {
    int32_t tensor;
    size_t k;
    double *moments; /* lower triangle */
} seen;

typedef struct inputs {
    const zeb_inputs_options *options;
    const zeb_registry *registry;
    zeb_shared *shared;
    zeb_case what;
    zeb_session session;
    zeb_arena *arena;
    zeb_stages *stages;
    size_t next;     /* stage; the moments are those of the one before */
    zeb_arena *of;   /* the moments' memory */
    seen *input;     /* [count] of that stage */
    int32_t *tensor; /* [count], their tensors */
    size_t count;
    zeb_error *error;
} inputs;

/* to[n] += the sum of a[r] * row[r][n], in loops of a fixed length, which become vectors. */
static void add_four(double *restrict to, const double a[4], const float *const row[4], size_t n) {
    enum { SOME = 8 };
    const float *restrict x0 = row[0], *restrict x1 = row[1], *restrict x2 = row[2], *restrict x3 = row[3];
    size_t i = 0;
    for (; i + SOME <= n; i += SOME)
        for (size_t j = i; j < i + SOME; j++)
            to[j] += (a[0] * (double)x0[j] + a[1] * (double)x1[j]) + (a[2] * (double)x2[j] + a[3] * (double)x3[j]);
    for (; i < n; i++)
        to[i] += (a[0] * (double)x0[i] + a[1] * (double)x1[i]) + (a[2] * (double)x2[i] + a[3] * (double)x3[i]);
}

/* Four rows at a time, so that a row of h is fetched once for them; what is missing of four counts nothing. */
void zeb_inputs_add(const float *x, size_t rows, size_t k, double *h) {
    for (size_t r = 0; r < rows; r += 4) {
        const float *row[4];
        double a[4];
        for (size_t n = 0; n < 4; n++)
            row[n] = x + (r + n < rows ? r + n : r) * k;
        for (size_t i = 0; i < k; i++) {
            for (size_t n = 0; n < 4; n++)
                a[n] = r + n < rows ? (double)row[n][i] : 0;
            add_four(h + i * (i + 1) / 2, a, row, i + 1);
        }
    }
}

/* ---- seeing ----------------------------------------------------------------------------------------------------- */

static seen *find(const inputs *in, int32_t tensor) {
    for (size_t i = 0; i < in->count; i++)
        if (in->input[i].tensor == tensor) return &in->input[i];
    return NULL;
}

/* Every input of a stage's linear layers, once, with room for its moments. */
static zeb_status list(inputs *in, size_t stage) {
    const zeb_graph *graph = in->session.graph;
    void *memory = NULL;
    in->count = 0;
    zeb_arena_destroy(in->of);
    zeb_status status = zeb_arena_create(&in->of, in->error);
    if (status == ZEB_OK) status = zeb_arena_alloc(in->of, graph->node_count, sizeof *in->input, &memory, in->error);
    in->input = memory;
    if (status == ZEB_OK) status = zeb_arena_alloc(in->of, graph->node_count, sizeof(int32_t), &memory, in->error);
    in->tensor = memory;
    for (uint32_t i = 0; i < graph->node_count && status == ZEB_OK; i++) {
        const zeb_node *node = &graph->node[i];
        const int32_t tensor = node->input[ZEB_LINEAR_X];
        if (node->op != ZEB_OP_LINEAR || zeb_stages_of(in->stages, i) != stage || find(in, tensor) != NULL) continue;
        const size_t k = (size_t)graph->tensor[tensor].extent[1].max;
        status = zeb_arena_alloc(in->of, k * (k + 1) / 2, sizeof(double), &memory, in->error);
        in->tensor[in->count] = tensor;
        in->input[in->count++] = (seen){.tensor = tensor, .k = k, .moments = memory};
    }
    return status;
}

static void note(void *user, int32_t tensor, const float *x, size_t rows) {
    const seen *s = find(user, tensor);
    zeb_inputs_add(x, rows, s->k, s->moments);
}

static zeb_status check_finite(const inputs *in) {
    for (size_t i = 0; i < in->count; i++) {
        const seen *s = &in->input[i];
        for (size_t d = 0; d < s->k; d++)
            if (!isfinite(s->moments[d * (d + 3) / 2]))
                return zeb_fail(in->error, ZEB_ERR_RANGE, "'%s' is not finite on the calibration slice",
                                in->session.graph->tensor[s->tensor].name);
    }
    return ZEB_OK;
}

/* Runs stages until the moments of this one are there; from the start again for one that has gone by. */
static zeb_status see(inputs *in, size_t stage) {
    zeb_status status = ZEB_OK;
    if (stage + 1 == in->next) return ZEB_OK;
    if (stage < in->next) in->next = 0;
    while (in->next <= stage && status == ZEB_OK) {
        status = list(in, in->next);
        const zeb_stages_watch watch = {.tensor = in->tensor,
                                        .count = in->count,
                                        .seen = note,
                                        .user = in,
                                        .done = &in->shared->done,
                                        .stop = &in->shared->stop};
        if (status == ZEB_OK) status = zeb_stages_run(in->stages, in->next, &watch, in->error);
        if (status == ZEB_OK) status = check_finite(in);
        in->next = status == ZEB_OK ? in->next + 1 : 0;
    }
    return status;
}

/* ---- quantising ------------------------------------------------------------------------------------------------- */

/* The model's weights are in place in the graph, so that a node is found by where its matrix lies. */
static zeb_status moments(void *user, const char *name, size_t k, const double **h) {
    inputs *in = user;
    const zeb_graph *graph = in->session.graph;
    zeb_weight weight;
    zeb_error ignored;
    *h = NULL;
    if (zeb_model_tensor(in->session.model, name, &weight, &ignored) != ZEB_OK) return ZEB_OK;
    for (uint32_t i = 0; i < graph->node_count; i++) {
        const zeb_node *node = &graph->node[i];
        if (node->op != ZEB_OP_LINEAR || graph->tensor[node->input[ZEB_LINEAR_W]].data != weight.data) continue;
        zeb_status status = see(in, zeb_stages_of(in->stages, i));
        if (status != ZEB_OK) return status;
        const seen *s = find(in, node->input[ZEB_LINEAR_X]);
        if (s != NULL && s->k == k) *h = s->moments;
        return ZEB_OK;
    }
    return ZEB_OK;
}

/* So few tokens a batch that what a layer makes of them stays small beside its weights. */
static uint32_t batch_of(uint32_t seq_max) {
    enum { TOKENS = 256, SEQUENCES = 32 };
    return seq_max > TOKENS ? 1 : TOKENS / seq_max < SEQUENCES ? TOKENS / seq_max : SEQUENCES;
}

static zeb_status quantise(inputs *in) {
    zeb_row row = {0};
    in->what = in->options->what;
    in->what.precision = ZEB_PRECISION_F32;
    in->what.scenario = ZEB_SCENARIO_OFFLINE;
    in->what.batch = batch_of(in->what.seq_max);
    zeb_slice slice = in->options->slice;
    slice.plan_later = true;
    zeb_quantise_options options = in->options->quantise;
    options.moments = moments;
    options.user = in;
    options.stop = &in->shared->stop;
    zeb_status status = zeb_slice_open(&in->what, &slice, in->registry, in->arena, &in->session, &row, in->error);
    if (status != ZEB_OK) return status;
    zeb_session_forget_texts(&in->session);
    status = zeb_stages_open(&in->session, in->options->out, &in->stages, in->error);
    if (status != ZEB_OK) return status;
    atomic_store(&in->shared->total, in->session.data.count * zeb_stages_count(in->stages));
    return zeb_quantise(zeb_model_folder(in->session.model), in->options->out, &options, in->shared->result, in->error);
}

typedef struct assignment {
    const zeb_inputs_options *options;
    const zeb_registry *registry;
} assignment;

/* In the worker. */
static zeb_status work(const void *input, zeb_shared *shared, zeb_error *error) {
    const assignment *given = input;
    inputs in = {.options = given->options, .registry = given->registry, .shared = shared, .error = error};
#ifdef M_MMAP_THRESHOLD
    (void)mallopt(M_MMAP_THRESHOLD, 1 << 17); /* what is large goes back to the system when it is freed */
#endif
    zeb_status status = zeb_arena_create(&in.arena, error);
    if (status == ZEB_OK) status = quantise(&in);
    zeb_stages_close(in.stages);
    zeb_session_close(&in.session);
    zeb_arena_destroy(in.of);
    zeb_arena_destroy(in.arena);
    return status;
}

zeb_status zeb_inputs_quantise(const zeb_inputs_options *options, const zeb_registry *registry,
                               const zeb_worker_watch *watch, zeb_quantise_report *report, zeb_error *error) {
    const assignment given = {.options = options, .registry = registry};
    zeb_status status = zeb_slice_check(options->what.split, options->slice.share, error);
    if (status != ZEB_OK) return status;
    return zeb_worker_call(work, &given, sizeof *report, "; no checkpoint was written", watch, report, error);
}
