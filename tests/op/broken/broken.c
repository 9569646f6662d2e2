/* ref with one defect, chosen by DEFECT, for the suite to catch. */
#include <signal.h>

#include "ref.h"

enum defect {
    DEFECT_UNWRITTEN = 1, /* the last live row of every output is left as it was */
    DEFECT_ROWS,          /* the first two rows of every output change places */
    DEFECT_STALE,         /* rows past the live count of the first pass are never written */
    DEFECT_GELU,          /* tanh's formula where erf's is asked for */
    DEFECT_THRESHOLD,     /* score thresholds are ignored */
    DEFECT_CAUSAL,        /* every query sees every key */
    DEFECT_FORCED,        /* the last row may be lost where it must stay */
    DEFECT_DOUBLED,       /* relative thresholds are taken twice */
    DEFECT_SHARED,        /* plans share their inputs */
    DEFECT_REFUSES,       /* compile refuses what check accepted */
    DEFECT_BOUNDS,        /* writes are cut, not refused */
    DEFECT_KEEPS,         /* the graph is looked at after compile */
    DEFECT_CRASH
};

const zeb_plugin *ref_plugin_entry(void);

/* Test-only state, which is part of the defects. */
static zeb_plan *last_plan;
static int64_t first_live = -1;
static const zeb_node *kept;
static unsigned char before[1 << 22];

static const zeb_backend *ref_backend(void) {
    return ref_plugin_entry()->backend;
}

/* Spoils one output of a finished pass; `before` holds what it held at the start of the pass. */
static void spoil(zeb_plan *plan, uint32_t tensor) {
    const zeb_tensor *about = &plan->host.tensor[tensor];
    int64_t live = zeb_host_live(&plan->host, (int32_t)tensor);
    size_t row = about->bytes / (size_t)about->extent[0].max;
    unsigned char *data = plan->host.data[tensor], spare[8192];
    if (live < 1 || row > sizeof spare || about->offsets == ZEB_NONE) return;
    if (DEFECT == DEFECT_UNWRITTEN) memcpy(data + (size_t)(live - 1) * row, before + (size_t)(live - 1) * row, row);
    if (DEFECT == DEFECT_STALE && live > first_live)
        memcpy(data + (size_t)first_live * row, before + (size_t)first_live * row, (size_t)(live - first_live) * row);
    if (DEFECT == DEFECT_ROWS && live > 1) {
        memcpy(spare, data, row);
        memmove(data, data + row, row);
        memcpy(data + row, spare, row);
    }
}

static zeb_status broken_submit(zeb_plan *plan, zeb_error *error) {
    uint32_t last = 0;
    for (uint32_t i = 0; i < plan->host.tensor_count; ++i)
        if (plan->host.tensor[i].role == ZEB_ROLE_OUTPUT) last = i;
    if (plan->host.tensor[last].bytes <= sizeof before)
        memcpy(before, plan->host.data[last], plan->host.tensor[last].bytes);
    for (uint32_t i = 0; DEFECT == DEFECT_CRASH && i < plan->host.node_count; ++i)
        if (plan->host.node[i].op == ZEB_OP_LOG_LIKELIHOOD) (void)raise(SIGSEGV);
    if (DEFECT == DEFECT_KEEPS && kept->op != plan->host.node[0].op)
        return zeb_fail(error, ZEB_ERR_INTERNAL, "the graph is gone");
    zeb_status status = ref_backend()->submit(plan, error);
    if (status != ZEB_OK || plan->host.tensor[last].bytes > sizeof before) return status;
    if (first_live < 0) first_live = zeb_host_live(&plan->host, (int32_t)last);
    spoil(plan, last);
    return ZEB_OK;
}

/* Changes what the graph asks for. */
static void misread(zeb_node *node) {
    if (DEFECT == DEFECT_GELU && node->op == ZEB_OP_ACTIVATION && node->attr.activation.activation == ZEB_ACT_GELU_ERF)
        node->attr.activation.activation = ZEB_ACT_GELU_TANH;
    if (DEFECT == DEFECT_THRESHOLD && node->op == ZEB_OP_ATTENTION) node->attr.attention.score_threshold = 0.0f;
    if (DEFECT == DEFECT_FORCED && node->op == ZEB_OP_ATTENTION) node->attr.attention.select.keep_last = 0;
    if (DEFECT == DEFECT_DOUBLED && node->op == ZEB_OP_ATTENTION &&
        node->attr.attention.select.mode == ZEB_SELECT_RELATIVE)
        node->attr.attention.select.value *= 2.0f;
    if (DEFECT == DEFECT_CAUSAL && node->op == ZEB_OP_ATTENTION) node->attr.attention.causal = 0;
}

static zeb_status broken_compile(zeb_device *device, const zeb_graph *graph, zeb_plan **plan, zeb_error *error) {
    for (uint32_t i = 0; DEFECT == DEFECT_REFUSES && i < graph->node_count; ++i)
        if (graph->node[i].op == ZEB_OP_POOL) return zeb_fail(error, ZEB_ERR_UNSUPPORTED, "no pool today");
    zeb_status status = ref_backend()->compile(device, graph, plan, error);
    if (status != ZEB_OK) return status;
    for (uint32_t i = 0; i < graph->node_count; ++i)
        misread(&(*plan)->host.node[i]);
    last_plan = *plan;
    kept = graph->node;
    first_live = -1;
    return ZEB_OK;
}

static void broken_release(zeb_plan *plan) {
    if (plan == last_plan) last_plan = NULL;
    ref_backend()->release(plan);
}

static zeb_status broken_write(zeb_plan *plan, int32_t tensor, const void *data, size_t bytes, zeb_error *error) {
    if (DEFECT == DEFECT_BOUNDS && tensor >= 0 && (uint32_t)tensor < plan->host.tensor_count &&
        bytes > plan->host.tensor[tensor].bytes)
        bytes = plan->host.tensor[tensor].bytes;
    if (DEFECT == DEFECT_SHARED && last_plan != NULL && last_plan != plan && tensor >= 0 &&
        (uint32_t)tensor < plan->host.tensor_count && plan->host.tensor[tensor].role == ZEB_ROLE_INPUT)
        plan = last_plan;
    return ref_backend()->write(plan, tensor, data, bytes, error);
}

static zeb_backend backend;
static zeb_plugin plugin;

const zeb_plugin *zeb_plugin_entry(void) {
    plugin = *ref_plugin_entry();
    backend = *ref_backend();
    backend.submit = broken_submit;
    backend.compile = broken_compile;
    backend.release = broken_release;
    backend.write = broken_write;
    plugin.name = DEFECT_NAME;
    plugin.backend = &backend;
    return &plugin;
}
