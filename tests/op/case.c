/* How a case runs. The target gets two plans, one in which every produced tensor is readable and one in which only the
 * last results are, so that it may fuse; both are alive, written and submitted together. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "told.h"

enum { VARIANTS = 2 };

typedef struct run {
    op_suite *suite;
    int line;
    const char *name;
    op_fixture fx;
    zeb_plan *ref, *plan[VARIANTS];
    op_told *told; /* instead of ref, where choices may turn */
    const zeb_graph *graph[VARIANTS];
    void **want;    /* [tensor_count] what ref computed; told: the first plan */
    void **another; /* [tensor_count] room for a second result */
    bool failed;
} run;

const char *op_line_name(int line) {
    if (line == OP_LINE_CHAIN) return "chain";
    if (line == OP_LINE_RANDOM) return "random";
    if (line == OP_LINE_MODEL) return "model";
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

static op_tolerance tolerance_for(const run *r, uint32_t tensor) {
    const zeb_graph *graph = &r->fx.graph;
    if (r->line == OP_LINE_CHAIN || r->line >= OP_LINE_RANDOM) return op_tolerance_of(0, 0, r->fx.precision);
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

/* Reads what can be read of a finished pass. */
static zeb_status finish(run *r, int variant, void **result, zeb_error *error) {
    const zeb_backend *backend = r->suite->target.backend;
    const zeb_graph *graph = r->graph[variant];
    zeb_status status = backend->wait(r->plan[variant], error);
    for (uint32_t i = 0; status == ZEB_OK && i < graph->tensor_count; ++i) {
        if (!produced(&graph->tensor[i])) continue;
        memset(result[i], 0xff, graph->tensor[i].bytes);
        status = backend->read(r->plan[variant], (int32_t)i, result[i], graph->tensor[i].bytes, error);
    }
    return status;
}

/* The results of a plan in `another` against those in `want`. */
static void compare(run *r, int variant, char *where) {
    const zeb_graph *graph = r->graph[variant];
    for (uint32_t i = 0; where[0] == '\0' && i < graph->tensor_count; ++i)
        if (produced(&graph->tensor[i]))
            (void)op_compare(&graph->tensor[i], tolerance_for(r, i), op_live_rows(&r->fx, i, r->want), r->want[i],
                             r->another[i], &r->suite->tally[r->line].worst, where);
}

/* Finishes one plan and judges it: against ref, or told; the second plan then against the first. */
static zeb_status judge(run *r, int variant, char *where, zeb_error *error) {
    bool told = r->told != NULL && variant == 0;
    zeb_status status = finish(r, variant, told ? r->want : r->another, error);
    if (status == ZEB_OK && told)
        status = op_told_judge(r->told, r->want, &r->suite->tally[r->line].worst, where, error);
    else if (status == ZEB_OK)
        compare(r, variant, where);
    return status;
}

static void run_pass(run *r, int pass) {
    zeb_error error = {""};
    char where[OP_WHERE_MAX] = "";
    int v = 0;
    op_fill_pass(&r->fx, pass);
    zeb_status status = r->told == NULL ? run_ref(r, r->want, &error) : ZEB_OK;
    for (int s = 0; status == ZEB_OK && s < VARIANTS; ++s)
        status = start(r, s, &error);
    for (; status == ZEB_OK && v < VARIANTS; ++v) {
        status = judge(r, v, where, &error);
        if (status != ZEB_OK || where[0] != '\0') break;
    }
    if (status == ZEB_OK && v == VARIANTS) return;
    op_failure(r->suite, r->line, r->name, "pass '%s'%s: %s%s", op_pass_name(pass),
               v == 1 ? ", only last results readable" : "", where, error.text);
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
    if (status == ZEB_OK && r->fx.told)
        status = op_told_create(&r->fx, ref, &r->told, &error);
    else if (status == ZEB_OK)
        status = ref->backend->compile(ref->device, &r->fx.graph, &r->ref, &error);
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
        if (r->fx.passes == 0 || (r->fx.passes >> pass & 1) != 0) run_pass(r, pass);
    if (!r->failed) ++r->suite->tally[r->line].passed;
    for (int v = 0; v < VARIANTS; ++v)
        if (r->plan[v] != NULL) target->backend->release(r->plan[v]);
    if (r->ref != NULL) ref->backend->release(r->ref);
    op_told_release(r->told);
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
