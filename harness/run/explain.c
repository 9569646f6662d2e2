#include "run/explain.h"

#include "run/bench.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/text.h"
#include "run/session.h"
#include "run/tune.h"

enum { REPEATS = 7, SPANS_MAX = 4096, KIND_KERNEL = 1, KIND_WAIT = 4 };

/* A stage as spans of passes name it. */
typedef struct stage {
    char name[ZEB_NAME_MAX];
    int32_t node; /* or ZEB_NONE */
    uint32_t kind;
    double now_ns[REPEATS]; /* in the repetitions of the batch in hand */
    double sum_ns;          /* of the medians */
} stage;

/* What a node of the graph needed, summed over the batches. */
typedef struct need {
    double flops, bytes, rows, least_ns;
    double predicted_ns; /* < 0: unknown */
    bool known;
} need;

typedef struct work {
    const zeb_explain_options *options;
    zeb_session session;
    zeb_costs costs; /* of the device; empty where nothing is to be predicted */
    zeb_arena *arena;
    zeb_profile_fn profile;
    zeb_profile_span *span; /* [SPANS_MAX] */
    stage *stage;           /* [ZEB_EXPLAIN_LINES_MAX] */
    uint32_t stages;
    need *need;         /* [node_count] */
    zeb_work *executed; /* [node_count], of the batch in hand */
    zeb_explanation *result;
    zeb_error *error;
} work;

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double value[REPEATS]) {
    qsort(value, REPEATS, sizeof *value, ascending);
    return value[REPEATS / 2];
}

/* ---- what it took ----------------------------------------------------------------------------------------------- */

/* The stage that a span tells of, made where it is new; NULL when there are too many. All kernels of a node are one
 * stage, which has the node's name. */
static stage *stage_of(work *w, const zeb_profile_span *span) {
    const zeb_graph *graph = w->session.graph;
    bool named = span->kind == KIND_KERNEL && span->node >= 0 && (uint32_t)span->node < graph->node_count;
    for (uint32_t i = 0; i < w->stages; i++) {
        stage *s = &w->stage[i];
        bool same = named ? s->node == span->node : strncmp(s->name, span->name, sizeof s->name) == 0;
        if (s->kind == span->kind && same) return s;
    }
    if (w->stages == ZEB_EXPLAIN_LINES_MAX) return NULL;
    stage *s = &w->stage[w->stages++];
    *s = (stage){.node = named ? span->node : ZEB_NONE, .kind = span->kind};
    if (named)
        zeb_text_copy(s->name, sizeof s->name, graph->node[span->node].name);
    else
        memcpy(s->name, span->name, sizeof s->name - 1);
    return s;
}

static zeb_status take_spans(work *w, int repeat) {
    uint32_t count = 0;
    zeb_status status = w->profile(w->session.plan, w->span, SPANS_MAX, &count, w->error);
    for (uint32_t i = 0; status == ZEB_OK && i < count && i < SPANS_MAX; i++) {
        stage *s = stage_of(w, &w->span[i]);
        if (s == NULL || w->span[i].end_ns < w->span[i].begin_ns) continue;
        s->now_ns[repeat] += (double)(w->span[i].end_ns - w->span[i].begin_ns);
    }
    return status;
}

/* ---- what it needs ---------------------------------------------------------------------------------------------- */

static const char *precision_of(const zeb_node *node) {
    uint32_t precision = 0;
    if (node->op == ZEB_OP_LINEAR) precision = node->attr.linear.precision;
    if (node->op == ZEB_OP_ATTENTION) precision = node->attr.attention.precision;
    return zeb_precision_name(precision);
}

/* Bytes of the matrix that a node multiplies by as it is stored, and the fewest that a plan may keep it in; tables that
 * are looked up are not read whole. */
static double weights_of(const zeb_graph *graph, const zeb_node *node, double *fewest) {
    static const double each[] = {4, 2, 1, 0.5, 0.5}; /* of an element, by precision */
    *fewest = 0;
    if (node->op != ZEB_OP_LINEAR && node->op != ZEB_OP_LOG_LIKELIHOOD) return 0;
    const zeb_tensor *w = &graph->tensor[node->input[ZEB_LINEAR_W]];
    uint32_t precision = node->op == ZEB_OP_LINEAR ? node->attr.linear.precision : 0;
    double stored = (double)w->bytes;
    double packed = (double)w->extent[0].max * (double)w->extent[1].max * (precision < 5 ? each[precision] : 4);
    *fewest = fmin(stored, packed);
    return stored;
}

static void add_need(work *w, uint32_t index, double pass_bytes) {
    const zeb_graph *graph = w->session.graph;
    const zeb_node *node = &graph->node[index];
    const zeb_row *row = &w->result->row;
    need *n = &w->need[index];
    double flops = (double)w->executed[index].flops, bytes = (double)w->executed[index].bytes;
    n->flops += flops;
    n->bytes += bytes;
    double predicted = zeb_costs_node(&w->costs, graph, node, w->session.cost, (size_t)w->session.batch.sequences);
    n->predicted_ns = predicted < 0 || n->predicted_ns < 0 ? -1 : n->predicted_ns + predicted;
    int32_t out = node->output[0];
    if (out != ZEB_NONE) n->rows += (double)zeb_cost_rows(w->session.cost, out);
    double rate = zeb_peak_rate(w->options->peak, w->options->peaks, row, precision_of(node));
    double fewest, stored = weights_of(graph, node, &fewest);
    double near_bytes = bytes - stored + fewest;
    double near = zeb_peak_bandwidth(w->options->peak, w->options->peaks, row, near_bytes);
    double far = zeb_peak_bandwidth(w->options->peak, w->options->peaks, row, pass_bytes);
    n->known = rate > 0 && near > 0 && far > 0;
    if (!n->known) return;
    n->least_ns += 1e9 * fmax(flops / rate, fmax(near_bytes / near, fewest / far));
}

static zeb_status count_work(work *w) {
    zeb_session *session = &w->session;
    zeb_work dense, executed;
    zeb_status status = zeb_session_work(session, &dense, &executed, w->error);
    if (status == ZEB_OK)
        status = zeb_cost_executed(session->cost, session->length, (size_t)session->batch.sequences, w->executed,
                                   &executed, w->error);
    if (status != ZEB_OK) return status;
    w->result->flops += (double)executed.flops;
    w->result->bytes += (double)executed.bytes;
    w->result->flops_dense += (double)dense.flops;
    w->result->tokens += (double)session->batch.tokens;
    for (uint32_t i = 0; i < session->graph->node_count; i++)
        add_need(w, i, (double)executed.bytes);
    return ZEB_OK;
}

/* ---- running ---------------------------------------------------------------------------------------------------- */

static void next_batch(zeb_session *session, size_t *at) {
    zeb_batch_clear(&session->batch);
    while (*at < session->data.count && zeb_batch_add(&session->batch, &session->sequence[*at]))
        ++*at;
}

/* Every batch `REPEATS` times, with the profile or without; a first time that does not count. */
static zeb_status run_batches(work *w, bool profiled) {
    zeb_session *session = &w->session;
    zeb_status status = ZEB_OK;
    for (size_t at = 0; at < session->data.count && status == ZEB_OK;) {
        double took[REPEATS];
        next_batch(session, &at);
        status = zeb_session_pass(session, w->error);
        for (uint32_t s = 0; s < w->stages; s++)
            memset(w->stage[s].now_ns, 0, sizeof w->stage[s].now_ns);
        for (int r = 0; r < REPEATS && status == ZEB_OK; r++) {
            uint64_t begin = zeb_clock_now_ns();
            status = zeb_session_pass(session, w->error);
            took[r] = (double)(zeb_clock_now_ns() - begin);
            if (status == ZEB_OK && profiled) status = take_spans(w, r);
        }
        if (status != ZEB_OK) break;
        for (uint32_t s = 0; s < w->stages; s++)
            w->stage[s].sum_ns += median(w->stage[s].now_ns);
        if (profiled) continue;
        w->result->pass_ns += median(took);
        w->result->passes++;
        status = count_work(w);
    }
    return status;
}

/* ---- the lines -------------------------------------------------------------------------------------------------- */

/* The stage that computes a node: the one that claims it, or claims the nearest before it. */
static int32_t claimed_by(const work *w, uint32_t node) {
    int32_t best = ZEB_NONE;
    for (uint32_t s = 0; s < w->stages; s++) {
        const stage *candidate = &w->stage[s];
        if (candidate->kind != KIND_KERNEL || candidate->node < 0 || (uint32_t)candidate->node > node) continue;
        if (best == ZEB_NONE || candidate->node > w->stage[best].node) best = (int32_t)s;
    }
    return best;
}

static void add_node(const work *w, zeb_explain_line *line, uint32_t index) {
    const zeb_node *node = &w->session.graph->node[index];
    const need *n = &w->need[index];
    double passes = w->result->passes;
    if (line->nodes == 0) {
        zeb_text_copy(line->op, sizeof line->op, zeb_op_name(node->op));
        line->least_ns = line->predicted_ns = 0;
    }
    line->nodes++;
    line->rows = n->rows / passes;
    line->flops += n->flops / passes;
    line->bytes += n->bytes / passes;
    line->predicted_ns =
        n->predicted_ns >= 0 && line->predicted_ns >= 0 ? line->predicted_ns + n->predicted_ns / passes : -1;
    line->least_ns = n->known && line->least_ns >= 0 ? line->least_ns + n->least_ns / passes : -1;
}

static void make_lines(work *w) {
    zeb_explanation *result = w->result;
    const zeb_graph *graph = w->session.graph;
    for (uint32_t s = 0; s < w->stages; s++) {
        zeb_explain_line *line = &result->line[result->lines++];
        *line = (zeb_explain_line){.least_ns = -1,
                                   .predicted_ns = -1,
                                   .took_ns = w->stage[s].sum_ns / result->passes,
                                   .waits = w->stage[s].kind == KIND_WAIT};
        zeb_text_copy(line->name, sizeof line->name, w->stage[s].name);
    }
    for (uint32_t i = 0; i < graph->node_count; i++) {
        int32_t at = claimed_by(w, i);
        if (at == ZEB_NONE) {
            if (result->lines == ZEB_EXPLAIN_LINES_MAX) return;
            at = (int32_t)result->lines++;
            result->line[at] = (zeb_explain_line){.least_ns = -1, .predicted_ns = -1, .took_ns = -1};
            zeb_text_copy(result->line[at].name, sizeof result->line[at].name, graph->node[i].name);
        }
        add_node(w, &result->line[at], i);
    }
    result->pass_predicted_ns = zeb_costs_at(&w->costs, zeb_costs_pass, 1);
    for (uint32_t i = 0; i < graph->node_count; i++) {
        double ns = w->need[i].predicted_ns;
        result->pass_predicted_ns =
            ns < 0 || result->pass_predicted_ns < 0 ? -1 : result->pass_predicted_ns + ns / result->passes;
    }
    result->tokens /= result->passes;
    result->pass_ns /= result->passes;
    result->flops /= result->passes;
    result->bytes /= result->passes;
    result->flops_dense /= result->passes;
}

static zeb_status allocate(work *w) {
    size_t nodes = w->session.graph->node_count;
    void *memory = NULL;
    zeb_status status = zeb_arena_alloc(w->arena, SPANS_MAX, sizeof *w->span, &memory, w->error);
    w->span = memory;
    if (status == ZEB_OK)
        status = zeb_arena_alloc(w->arena, ZEB_EXPLAIN_LINES_MAX, sizeof *w->stage, &memory, w->error);
    w->stage = memory;
    if (status == ZEB_OK) status = zeb_arena_alloc(w->arena, nodes, sizeof *w->need, &memory, w->error);
    w->need = memory;
    if (status == ZEB_OK) status = zeb_arena_alloc(w->arena, nodes, sizeof *w->executed, &memory, w->error);
    w->executed = memory;
    return status;
}

/* The device's cost table, as far as this graph needs it. */
static zeb_status find_costs(work *w, zeb_shared *shared) {
    const zeb_explain_options *o = w->options;
    zeb_session *session = &w->session;
    zeb_explanation *result = w->result;
    if (!o->predict || session->device.info.kind == ZEB_DEVICE_NONE) return ZEB_OK;
    atomic_store(&shared->stage, ZEB_EXPLAIN_MEASURE);
    zeb_status status = zeb_costs_fingerprint(o->registry, &session->device, result->fingerprint, w->error);
    if (status == ZEB_OK)
        status = zeb_costs_make(result->fingerprint, o->timing, o->timings, NULL, 0, w->arena, &w->costs, w->error);
    if (status == ZEB_OK)
        status = zeb_costs_measure(&session->device, session->graph, o->what.seq_max, &w->costs, shared, &result->made,
                                   w->error);
    result->tuned = zeb_tune_wanted(&o->what);
    if (status == ZEB_OK && result->tuned)
        status = zeb_tune_measure(session, &w->costs, shared, &result->made, w->error);
    if (status == ZEB_OK)
        status = zeb_costs_make(result->fingerprint, o->timing, o->timings, result->made.timing, result->made.count,
                                w->arena, &w->costs, w->error);
    if (status == ZEB_OK)
        status = zeb_costs_choices(&w->costs, &session->device, result->choice, &result->choices, w->error);
    if (status == ZEB_OK && result->tuned) status = zeb_tune(session, &w->costs, &result->row, w->error);
    return status == ZEB_OK ? zeb_costs_hash(&w->costs, result->costs, w->error) : status;
}

/* In the worker. */
static zeb_status explain(const void *input, zeb_shared *shared, zeb_error *error) {
    const zeb_explain_options *options = input;
    work *w = calloc(1, sizeof *w);
    if (w == NULL) return zeb_fail(error, ZEB_ERR_MEMORY, "no memory to explain");
    *w = (work){.options = options, .result = shared->result, .error = error};
    zeb_status status = zeb_arena_create(&w->arena, error);
    if (status == ZEB_OK)
        status = zeb_session_open(&options->what, options->registry, w->arena, &w->session, &w->result->row, error);
    if (status == ZEB_OK) w->result->measurable = zeb_backend_peaks(w->session.device.backend) != NULL;
    if (status == ZEB_OK) status = find_costs(w, shared);
    atomic_store(&shared->stage, ZEB_EXPLAIN_RUN);
    if (status == ZEB_OK) status = allocate(w);
    if (status == ZEB_OK) status = run_batches(w, false);
    if (status == ZEB_OK) w->profile = zeb_backend_profile(w->session.device.backend);
    uint32_t none = 0;
    if (status == ZEB_OK && w->profile != NULL) {
        status = w->profile(w->session.plan, w->span, SPANS_MAX, &none, error); /* switches it on */
        if (status == ZEB_OK) status = run_batches(w, true);
        w->result->profiled = status == ZEB_OK && w->stages > 0;
    }
    if (status == ZEB_OK) make_lines(w);
    zeb_session_close(&w->session);
    zeb_arena_destroy(w->arena);
    free(w);
    return status;
}

zeb_status zeb_explain(const zeb_explain_options *options, const zeb_worker_watch *watch, zeb_explanation *result,
                       zeb_error *error) {
    return zeb_worker_call(explain, options, sizeof *result, "", watch, result, error);
}
