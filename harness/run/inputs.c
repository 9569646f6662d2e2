#include "run/inputs.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* An input of linear layers: a tensor of the graph, and what was seen of it. */
typedef struct seen {
    int32_t tensor;
    size_t k;
    double *moments; /* [k,k] */
} seen;

typedef struct inputs {
    const zeb_inputs_options *options;
    const zeb_registry *registry;
    zeb_shared *shared;
    zeb_case what;
    zeb_session session;
    zeb_arena *arena;
    seen *input; /* [count] */
    size_t count;
    float *x; /* room for the largest of them */
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
            add_four(h + i * k, a, row, i + 1);
        }
    }
}

/* ---- seeing ----------------------------------------------------------------------------------------------------- */

static seen *find(const inputs *in, int32_t tensor) {
    for (size_t i = 0; i < in->count; i++)
        if (in->input[i].tensor == tensor) return &in->input[i];
    return NULL;
}

/* Every input of a linear layer, once, with room for its moments. */
static zeb_status list(inputs *in) {
    const zeb_graph *graph = in->session.graph;
    size_t most = 0;
    void *memory;
    zeb_status status = zeb_arena_alloc(in->arena, graph->node_count, sizeof *in->input, &memory, in->error);
    in->input = memory;
    for (uint32_t i = 0; i < graph->node_count && status == ZEB_OK; i++) {
        const zeb_node *node = &graph->node[i];
        const int32_t tensor = node->input[ZEB_LINEAR_X];
        if (node->op != ZEB_OP_LINEAR || find(in, tensor) != NULL) continue;
        const zeb_tensor *x = &graph->tensor[tensor];
        seen *to = &in->input[in->count++];
        *to = (seen){.tensor = tensor, .k = (size_t)x->extent[1].max};
        if (x->bytes > most) most = x->bytes;
        status = zeb_arena_alloc(in->arena, to->k * to->k, sizeof(double), &memory, in->error);
        to->moments = memory;
    }
    if (status == ZEB_OK) status = zeb_arena_alloc(in->arena, most, 1, &memory, in->error);
    in->x = memory;
    return status;
}

/* Puts a plan in place of the session's in which these inputs can be read. */
static zeb_status tap(inputs *in) {
    zeb_session *session = &in->session;
    const zeb_backend *backend = session->device.backend;
    zeb_graph graph = *session->graph;
    void *memory;
    zeb_status status = zeb_arena_alloc(in->arena, graph.tensor_count, sizeof(zeb_tensor), &memory, in->error);
    if (status != ZEB_OK) return status;
    zeb_tensor *tensor = memcpy(memory, graph.tensor, graph.tensor_count * sizeof(zeb_tensor));
    graph.tensor = tensor;
    for (size_t i = 0; i < in->count; i++)
        tensor[in->input[i].tensor].role = ZEB_ROLE_OUTPUT;
    backend->release(session->plan);
    session->plan = NULL;
    return backend->compile(session->device.device, &graph, &session->plan, in->error);
}

static zeb_status note(inputs *in) {
    zeb_session *session = &in->session;
    zeb_work plain, executed; /* the counts that the device kept come with them */
    zeb_status status = zeb_session_work(session, &plain, &executed, in->error);
    for (size_t i = 0; i < in->count && status == ZEB_OK; i++) {
        const seen *s = &in->input[i];
        const zeb_tensor *x = &session->graph->tensor[s->tensor];
        const size_t rows =
            x->offsets == ZEB_NONE ? (size_t)session->batch.sequences : (size_t)zeb_cost_rows(session->cost, s->tensor);
        status = session->device.backend->read(session->plan, s->tensor, in->x, rows * s->k * sizeof(float), in->error);
        if (status != ZEB_OK) return status;
        zeb_inputs_add(in->x, rows, s->k, s->moments);
        for (size_t d = 0; d < s->k; d++)
            if (!isfinite(s->moments[d * s->k + d]))
                return zeb_fail(in->error, ZEB_ERR_RANGE, "'%s' is not finite on the calibration slice", x->name);
    }
    return status;
}

static zeb_status see(inputs *in) {
    zeb_session *session = &in->session;
    atomic_store(&in->shared->total, session->data.count);
    zeb_status status = list(in);
    if (status == ZEB_OK) status = tap(in);
    for (size_t at = 0; at < session->data.count && status == ZEB_OK;) {
        zeb_batch_clear(&session->batch);
        while (at < session->data.count && zeb_batch_add(&session->batch, &session->sequence[at]))
            at++;
        status = zeb_session_pass(session, in->error);
        if (status == ZEB_OK) status = note(in);
        atomic_store(&in->shared->done, at);
        if (status == ZEB_OK && atomic_load(&in->shared->stop) != 0)
            status = zeb_fail(in->error, ZEB_ERR_INTERRUPTED, "stopped by the user; no checkpoint was written");
    }
    return status;
}

/* ---- quantising ------------------------------------------------------------------------------------------------- */

/* The model's weights are in place in the graph, so that a node is found by where its matrix lies. */
static const double *moments(void *user, const char *name, size_t k) {
    const inputs *in = user;
    const zeb_graph *graph = in->session.graph;
    zeb_weight weight;
    zeb_error ignored;
    if (zeb_model_tensor(in->session.model, name, &weight, &ignored) != ZEB_OK) return NULL;
    for (uint32_t i = 0; i < graph->node_count; i++) {
        const zeb_node *node = &graph->node[i];
        if (node->op != ZEB_OP_LINEAR || graph->tensor[node->input[ZEB_LINEAR_W]].data != weight.data) continue;
        const seen *s = find(in, node->input[ZEB_LINEAR_X]);
        return s != NULL && s->k == k ? s->moments : NULL;
    }
    return NULL;
}

static zeb_status quantise(inputs *in) {
    zeb_row row = {0};
    in->what = in->options->what;
    in->what.precision = ZEB_PRECISION_F32;
    in->what.scenario = ZEB_SCENARIO_OFFLINE;
    zeb_quantise_options options = in->options->quantise;
    options.moments = moments;
    options.user = in;
    options.stop = &in->shared->stop;
    zeb_status status =
        zeb_slice_open(&in->what, &in->options->slice, in->registry, in->arena, &in->session, &row, in->error);
    if (status == ZEB_OK) status = see(in);
    if (status != ZEB_OK) return status;
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
    zeb_status status = zeb_arena_create(&in.arena, error);
    if (status == ZEB_OK) status = quantise(&in);
    zeb_session_close(&in.session);
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
