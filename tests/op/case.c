/* How a case runs. The target gets two plans, one in which every produced tensor is readable and one in which only the
 * last results are, so that it may fuse; both are alive, written and submitted together. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "compare.h"
#include "suite.h"

enum { VARIANTS = 2, DRAWS_MAX = 40 };

typedef struct run {
    op_suite *suite;
    int line;
    const char *name;
    op_fixture fx;
    zeb_plan *ref, *plan[VARIANTS];
    const zeb_graph *graph[VARIANTS];
    void **want;    /* [tensor_count] what ref computed */
    void **another; /* [tensor_count] room for a second result */
    bool failed;
} run;

const char *op_line_name(int line) {
    if (line == OP_LINE_CHAIN) return "chain";
    return line == OP_LINE_CONTRACT ? "contract" : zeb_op_name((zeb_op)line);
}

void op_failure(op_suite *suite, int line, const char *name, const char *format, ...) {
    char text[512];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (suite->tally[line].failed++ < OP_FAILURES_SHOWN)
        printf("FAIL %s/%s %s '%s': %s\n", suite->target.plugin->name, suite->target.info.id, op_line_name(line), name,
               text);
    (void)fflush(stdout);
}

static bool produced(const zeb_tensor *tensor) {
    return tensor->role == ZEB_ROLE_OUTPUT;
}

/* Notes the first node that the device refuses, and that compile refuses it too. */
static bool is_supported(run *r) {
    const op_target *target = &r->suite->target;
    const zeb_graph *graph = r->graph[0];
    op_tally *tally = &r->suite->tally[r->line];
    zeb_error error = {""};
    zeb_verdict *verdict = calloc(graph->node_count, sizeof *verdict);
    if (verdict == NULL || target->backend->check(target->device, graph, verdict, &error) != ZEB_OK) {
        op_failure(r->suite, r->line, r->name, "check: %s", error.text);
        free(verdict);
        return false;
    }
    uint32_t i = 0;
    while (i < graph->node_count && verdict[i].supported != 0)
        ++i;
    bool supported = i == graph->node_count;
    if (!supported) {
        zeb_plan *plan = NULL;
        zeb_status status = target->backend->compile(target->device, graph, &plan, &error);
        if (status == ZEB_OK) target->backend->release(plan);
        if (status != ZEB_ERR_UNSUPPORTED || verdict[i].reason[0] == '\0') {
            op_failure(r->suite, r->line, r->name, "check refuses '%s' for '%s', compile says '%s'",
                       graph->node[i].name, verdict[i].reason, zeb_status_name(status));
        } else {
            char text[ZEB_TEXT_MAX];
            (void)snprintf(text, sizeof text, "%s: %.200s", zeb_op_name(graph->node[i].op), verdict[i].reason);
            ++tally->unsupported;
            uint32_t seen = 0;
            while (seen < tally->reasons && strcmp(tally->reason[seen], text) != 0)
                ++seen;
            if (seen == tally->reasons && seen < OP_REASONS_MAX)
                (void)snprintf(tally->reason[tally->reasons++], ZEB_TEXT_MAX, "%s", text);
        }
    }
    free(verdict);
    return supported;
}

static zeb_status write_inputs(const op_fixture *fx, const zeb_backend *backend, zeb_plan *plan, zeb_error *error) {
    zeb_status status =
        backend->write(plan, fx->offsets, fx->offsets_data, (size_t)(fx->batch_max + 1) * sizeof(int32_t), error);
    if (status == ZEB_OK)
        status = backend->write(plan, fx->count, &fx->offsets_data[fx->batch_max], sizeof(int32_t), error);
    for (size_t i = 0; status == ZEB_OK && i < fx->input_count; ++i)
        status = backend->write(plan, fx->input[i].tensor, fx->input[i].data,
                                fx->graph.tensor[fx->input[i].tensor].bytes, error);
    return status;
}

/* One pass on ref; every produced tensor goes to result[]. */
static zeb_status run_ref(run *r, void **result, zeb_error *error) {
    const zeb_backend *backend = r->suite->ref.backend;
    zeb_status status = write_inputs(&r->fx, backend, r->ref, error);
    if (status == ZEB_OK) status = backend->submit(r->ref, error);
    if (status == ZEB_OK) status = backend->wait(r->ref, error);
    for (uint32_t i = 0; status == ZEB_OK && i < r->fx.graph.tensor_count; ++i)
        if (produced(&r->fx.graph.tensor[i]))
            status = backend->read(r->ref, (int32_t)i, result[i], r->fx.graph.tensor[i].bytes, error);
    return status;
}

/* Live rows of a tensor, by the counts that ref computed. */
static int64_t live_rows(const run *r, uint32_t tensor) {
    const zeb_extent *extent = &r->fx.graph.tensor[tensor].extent[0];
    if (extent->live == ZEB_NONE) return extent->max;
    if (extent->live == r->fx.count) return r->fx.offsets_data[r->fx.batch_max];
    return ((const int32_t *)r->want[extent->live])[0];
}

/* Moves every number of the drawn inputs by up to a relative `by`: far more than arithmetic differs by. */
static void shake(run *r, double by) {
    for (size_t n = 0; n < r->fx.input_count; ++n) {
        const op_input *input = &r->fx.input[n];
        if (input->fill != OP_FILL_NORMAL && input->fill != OP_FILL_WIDE) continue;
        const float *drawn = input->saved;
        float *value = input->data;
        for (size_t i = 0; i < r->fx.graph.tensor[input->tensor].bytes / sizeof *value; ++i)
            value[i] = (float)((double)drawn[i] * (1.0 + by * (2.0 * op_random_unit(&r->fx.random) - 1.0)));
    }
}

static void copy_inputs(run *r, bool save) {
    for (size_t n = 0; n < r->fx.input_count; ++n) {
        const op_input *input = &r->fx.input[n];
        size_t bytes = r->fx.graph.tensor[input->tensor].bytes;
        memcpy(save ? input->saved : input->data, save ? input->data : input->saved, bytes);
    }
}

/* Would slightly other numbers make another choice? Then the draw says nothing about a device. */
static bool is_steady(run *r, zeb_error *error) {
    static const op_tolerance near = {2e-3, 2e-3};
    double worst = 0.0;
    char where[OP_WHERE_MAX];
    bool steady = true;
    copy_inputs(r, true);
    for (int draw = 0; draw < 2 && steady; ++draw) {
        shake(r, 2e-5);
        steady = run_ref(r, r->another, error) == ZEB_OK;
        for (uint32_t i = 0; steady && i < r->fx.graph.tensor_count; ++i)
            if (produced(&r->fx.graph.tensor[i]))
                steady =
                    op_compare(&r->fx.graph.tensor[i], near, live_rows(r, i), r->want[i], r->another[i], &worst, where);
    }
    copy_inputs(r, false);
    return steady;
}

/* Draws the inputs of a pass and lets ref compute it. */
static bool draw_pass(run *r, int pass) {
    zeb_error error = {""};
    for (int draw = 0; draw < DRAWS_MAX; ++draw) {
        op_fill_pass(&r->fx, pass);
        if (run_ref(r, r->want, &error) != ZEB_OK) break;
        if (!r->fx.jumps || is_steady(r, &error)) return true;
    }
    op_failure(r->suite, r->line, r->name, "no data for pass '%s' that is clear of every threshold: %s",
               op_pass_name(pass), error.text);
    return false;
}

static op_tolerance tolerance_for(const run *r, uint32_t tensor) {
    const zeb_graph *graph = &r->fx.graph;
    if (r->line == OP_LINE_CHAIN) return op_tolerance_of(0, 0, r->fx.precision);
    for (uint32_t i = 0; i < graph->node_count; ++i)
        for (uint32_t j = 0; j < ZEB_NODE_OUTPUTS_MAX; ++j)
            if (graph->node[i].output[j] == (int32_t)tensor) {
                int own = graph->node[i].op == ZEB_OP_LINEAR || graph->node[i].op == ZEB_OP_ATTENTION;
                return op_tolerance_of(graph->node[i].op, j, own ? r->fx.precision : ZEB_PRECISION_F32);
            }
    return (op_tolerance){0.0, 0.0};
}

/* Poisons what the plan will compute, writes the inputs and starts. */
static zeb_status start(run *r, int variant, zeb_error *error) {
    const zeb_backend *backend = r->suite->target.backend;
    const zeb_graph *graph = r->graph[variant];
    zeb_status status = ZEB_OK;
    for (uint32_t i = 0; status == ZEB_OK && i < graph->tensor_count; ++i) {
        if (!produced(&graph->tensor[i])) continue;
        memset(r->another[i], 0xff, graph->tensor[i].bytes); /* NaN, and -1 */
        status = backend->write(r->plan[variant], (int32_t)i, r->another[i], graph->tensor[i].bytes, error);
    }
    if (status == ZEB_OK) status = write_inputs(&r->fx, backend, r->plan[variant], error);
    if (status == ZEB_OK) status = backend->submit(r->plan[variant], error);
    return status;
}

static zeb_status finish(run *r, int variant, char *where, zeb_error *error) {
    const zeb_backend *backend = r->suite->target.backend;
    const zeb_graph *graph = r->graph[variant];
    zeb_status status = backend->wait(r->plan[variant], error);
    for (uint32_t i = 0; status == ZEB_OK && where[0] == '\0' && i < graph->tensor_count; ++i) {
        if (!produced(&graph->tensor[i])) continue;
        memset(r->another[i], 0xff, graph->tensor[i].bytes);
        status = backend->read(r->plan[variant], (int32_t)i, r->another[i], graph->tensor[i].bytes, error);
        if (status == ZEB_OK)
            (void)op_compare(&graph->tensor[i], tolerance_for(r, i), live_rows(r, i), r->want[i], r->another[i],
                             &r->suite->tally[r->line].worst, where);
    }
    return status;
}

static void run_pass(run *r, int pass) {
    zeb_error error = {""};
    char where[OP_WHERE_MAX] = "";
    zeb_status status = ZEB_OK;
    if (!draw_pass(r, pass)) {
        r->failed = true;
        return;
    }
    for (int v = 0; status == ZEB_OK && v < VARIANTS; ++v)
        status = start(r, v, &error);
    for (int v = 0; status == ZEB_OK && v < VARIANTS; ++v) {
        status = finish(r, v, where, &error);
        if (status == ZEB_OK && where[0] == '\0') continue;
        op_failure(r->suite, r->line, r->name, "pass '%s'%s: %s%s", op_pass_name(pass),
                   v == 1 ? ", only last results readable" : "", where, error.text);
        r->failed = true;
        return;
    }
    if (status == ZEB_OK) return;
    op_failure(r->suite, r->line, r->name, "pass '%s': %s", op_pass_name(pass), error.text);
    r->failed = true;
}

/* Results' rooms, in the fixture's arena. */
static zeb_status make_rooms(run *r, zeb_error *error) {
    void *room = NULL;
    const zeb_graph *graph = &r->fx.graph;
    zeb_status status = zeb_arena_alloc(r->fx.arena, graph->tensor_count, 2 * sizeof(void *), &room, error);
    r->want = room;
    r->another = status == ZEB_OK ? r->want + graph->tensor_count : NULL;
    for (uint32_t i = 0; status == ZEB_OK && i < graph->tensor_count; ++i) {
        if (!produced(&graph->tensor[i])) continue;
        status = zeb_arena_alloc(r->fx.arena, graph->tensor[i].bytes, 1, &r->want[i], error);
        if (status == ZEB_OK) status = zeb_arena_alloc(r->fx.arena, graph->tensor[i].bytes, 1, &r->another[i], error);
    }
    return status;
}

static void run_passes(run *r) {
    zeb_error error = {""};
    const op_target *ref = &r->suite->ref, *target = &r->suite->target;
    zeb_status status = make_rooms(r, &error);
    if (status == ZEB_OK) status = ref->backend->compile(ref->device, &r->fx.graph, &r->ref, &error);
    for (int v = 0; status == ZEB_OK && v < VARIANTS; ++v) {
        op_loan loan;
        status = op_loan_make(&r->fx, r->graph[v], &loan, &error);
        if (status == ZEB_OK) status = target->backend->compile(target->device, &loan.graph, &r->plan[v], &error);
        if (status == ZEB_OK) op_loan_spoil(&loan);
    }
    if (status != ZEB_OK) {
        op_failure(r->suite, r->line, r->name, "compile: %s", error.text);
        r->failed = true;
    }
    for (int pass = 0; pass < OP_PASSES && !r->failed; ++pass)
        run_pass(r, pass);
    if (!r->failed) ++r->suite->tally[r->line].passed;
    for (int v = 0; v < VARIANTS; ++v)
        if (r->plan[v] != NULL) target->backend->release(r->plan[v]);
    if (r->ref != NULL) ref->backend->release(r->ref);
}

static uint64_t seed_of(uint64_t seed, const char *op, const char *name) {
    for (; *op != '\0'; ++op)
        seed = (seed ^ (unsigned char)*op) * 1099511628211u;
    for (; *name != '\0'; ++name)
        seed = (seed ^ (unsigned char)*name) * 1099511628211u;
    return seed;
}

void op_case(op_suite *suite, int line, const char *name, op_build_fn *build, const void *parameters) {
    zeb_error error = {""};
    if (suite->only != NULL && strcmp(suite->only, op_line_name(line)) != 0) return;
    if (suite->list) {
        printf("%-15s %s\n", op_line_name(line), name);
        return;
    }
    (void)snprintf(suite->now, OP_NOW_MAX, "%s '%s'", op_line_name(line), name);
    run r = {.suite = suite, .line = line, .name = name};
    zeb_status status = op_fixture_create(&r.fx, seed_of(suite->seed, op_line_name(line), name), &error);
    if (status == ZEB_OK) {
        build(&r.fx, parameters);
        status = op_fixture_finish(&r.fx, &error);
    }
    r.graph[0] = &r.fx.graph;
    r.graph[1] = &r.fx.closed;
    if (status != ZEB_OK)
        op_failure(suite, line, name, "the case itself: %s", error.text);
    else if (is_supported(&r))
        run_passes(&r);
    op_fixture_destroy(&r.fx);
}
