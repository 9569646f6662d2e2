#include "told.h"

#include <math.h>
#include <string.h>

/* Tensors that the reference graph has beside those of the graph under test. */
typedef struct aside {
    int32_t context;    /* of an attention: all rows */
    int32_t importance; /* of a selecting one */
    int32_t magnitudes; /* input: |v| of an attention with a threshold, */
    int32_t near[2];    /* its context with a threshold a little lower and a little higher */
    int32_t sums;       /* of a head gate */
    int32_t choice[3];  /* indices, offsets, count that the device's own importance leads to */
} aside;

struct op_told {
    op_fixture *fx;
    const zeb_backend *backend;
    zeb_plan *plan;
    int32_t own; /* tensor id + own is what ref computes, id what it is told */
    zeb_tensor *tensor;
    zeb_node *node;
    aside *aside; /* [node_count] of the graph under test */
    zeb_graph graph;
    void **want; /* [graph.tensor_count] */
};

enum { TENSORS_A_NODE = 7, NODES_A_NODE = 4 };

static bool produced(const zeb_tensor *tensor) {
    return tensor->role == ZEB_ROLE_OUTPUT;
}

static const zeb_tensor *told_of(const op_told *t, int32_t id) {
    return &t->fx->graph.tensor[id];
}

static int32_t add(op_told *t, zeb_tensor_role role, const zeb_tensor *like) {
    zeb_tensor *tensor = &t->tensor[t->graph.tensor_count];
    *tensor = *like;
    tensor->role = role;
    return (int32_t)t->graph.tensor_count++;
}

/* F32 [rows of like, width]; width 0: [rows]. */
static int32_t add_rows(op_told *t, const zeb_tensor *like, int64_t width) {
    zeb_tensor tensor = *like;
    tensor.dtype = ZEB_F32;
    tensor.rank = width > 0 ? 2 : 1;
    tensor.extent[1] = (zeb_extent){.max = width > 0 ? width : 1, .live = ZEB_NONE};
    tensor.bytes = (size_t)(tensor.extent[0].max * tensor.extent[1].max) * sizeof(float);
    return add(t, ZEB_ROLE_OUTPUT, &tensor);
}

static zeb_node *add_node(op_told *t, const zeb_node *like) {
    zeb_node *node = &t->node[t->graph.node_count++];
    *node = *like;
    return node;
}

/* How far single probabilities may be off, and importances, which are means of them, as shares: about three times what
 * the plugin cpu was seen to do. Beside the tolerances of compare.c, which are of the order of 1. */
static const double PROBABILITY[] = {
    [ZEB_PRECISION_F32] = 1e-4, [ZEB_PRECISION_BF16] = 3e-2, [ZEB_PRECISION_W8A8] = 2e-1};
static const double IMPORTANCE[] = {
    [ZEB_PRECISION_F32] = 1e-5, [ZEB_PRECISION_BF16] = 1e-2, [ZEB_PRECISION_W8A8] = 3e-2};

static void add_attention(op_told *t, zeb_node *node, aside *s) {
    zeb_attention_attr *attr = &node->attr.attention;
    const zeb_tensor *q = told_of(t, node->input[ZEB_ATTENTION_Q]), *k = told_of(t, node->input[ZEB_ATTENTION_K]);
    int32_t *importance = &node->output[ZEB_ATTENTION_IMPORTANCE];
    if (attr->select.mode > ZEB_SELECT_FIRST) {
        if (*importance != ZEB_NONE) { /* what the device said of it must lead to its choice, exactly */
            zeb_node choice = zeb_node_make(node->name, ZEB_OP_SELECT);
            choice.input[ZEB_SELECT_IMPORTANCE] = *importance - t->own;
            choice.input[ZEB_SELECT_ROWS] = node->input[ZEB_ATTENTION_K];
            choice.attr.select = attr->select;
            for (int i = 0; i < 3; ++i)
                choice.output[i] = s->choice[i] = node->output[ZEB_ATTENTION_INDICES + i];
            (void)add_node(t, &choice);
        } else {
            *importance = add_rows(t, k, 0);
        }
        s->importance = *importance;
    }
    attr->select = (zeb_select){.mode = ZEB_SELECT_NONE};
    node->output[ZEB_ATTENTION_INDICES] = node->output[ZEB_ATTENTION_OFFSETS] = node->output[ZEB_ATTENTION_COUNT] =
        ZEB_NONE;
    if (attr->score_threshold <= 0.0f) return;
    s->magnitudes = add(t, ZEB_ROLE_INPUT, told_of(t, node->input[ZEB_ATTENTION_V]));
    for (int i = 0; i < 2; ++i) {
        zeb_node *near = add_node(t, node);
        float share = (float)PROBABILITY[attr->precision];
        near->attr.attention.score_threshold *= i == 0 ? 1.0f - share : 1.0f + share;
        near->input[ZEB_ATTENTION_V] = s->magnitudes;
        near->output[ZEB_ATTENTION_IMPORTANCE] = ZEB_NONE;
        near->output[ZEB_ATTENTION_CONTEXT] = s->near[i] = add_rows(t, q, q->extent[1].max);
    }
}

/* The sums whose signs the gates are. */
static void add_gates(op_told *t, const zeb_node *node, aside *s) {
    const zeb_tensor *x = told_of(t, node->input[ZEB_HEAD_GATE_X]), *gates = told_of(t, node->output[0] - t->own);
    zeb_node mean = zeb_node_make(node->name, ZEB_OP_POOL), sum = zeb_node_make(node->name, ZEB_OP_LINEAR);
    mean.input[ZEB_POOL_X] = node->input[ZEB_HEAD_GATE_X];
    mean.attr.pool.kind = ZEB_POOL_MEAN;
    mean.output[0] = add_rows(t, gates, x->extent[1].max);
    sum.input[ZEB_LINEAR_X] = mean.output[0];
    sum.input[ZEB_LINEAR_W] = node->input[ZEB_HEAD_GATE_W];
    sum.input[ZEB_LINEAR_BIAS] = node->input[ZEB_HEAD_GATE_BIAS];
    sum.output[0] = s->sums = add_rows(t, gates, gates->extent[1].max);
    (void)add_node(t, &mean);
    (void)add_node(t, &sum);
}

static void add_nodes(op_told *t) {
    const zeb_graph *graph = &t->fx->graph;
    for (uint32_t i = 0; i < graph->node_count; ++i) {
        aside *s = &t->aside[i];
        *s = (aside){ZEB_NONE, ZEB_NONE, ZEB_NONE, {ZEB_NONE, ZEB_NONE}, ZEB_NONE, {ZEB_NONE, ZEB_NONE, ZEB_NONE}};
        zeb_node *node = add_node(t, &graph->node[i]);
        for (int j = 0; j < ZEB_NODE_OUTPUTS_MAX; ++j)
            if (node->output[j] != ZEB_NONE) node->output[j] += t->own;
        if (node->op == ZEB_OP_ATTENTION) { /* all its rows, of which the survivors are compared */
            const zeb_tensor *q = told_of(t, node->input[ZEB_ATTENTION_Q]);
            node->output[ZEB_ATTENTION_CONTEXT] = s->context = add_rows(t, q, q->extent[1].max);
            add_attention(t, node, s);
        }
        if (node->op == ZEB_OP_HEAD_GATE) add_gates(t, node, s);
    }
}

static void *room(op_fixture *fx, size_t count, size_t bytes, zeb_error *error) {
    void *memory = NULL;
    return zeb_arena_alloc(fx->arena, count, bytes, &memory, error) == ZEB_OK ? memory : NULL;
}

zeb_status op_told_create(op_fixture *fx, const op_target *ref, op_told **told, zeb_error *error) {
    const zeb_graph *graph = &fx->graph;
    size_t tensors = 2 * (size_t)graph->tensor_count + (size_t)TENSORS_A_NODE * graph->node_count;
    op_told *t = *told = room(fx, 1, sizeof *t, error);
    if (t == NULL) return ZEB_ERR_MEMORY;
    *t = (op_told){.fx = fx, .backend = ref->backend, .own = (int32_t)graph->tensor_count};
    t->tensor = room(fx, tensors, sizeof *t->tensor, error);
    t->node = room(fx, (size_t)NODES_A_NODE * graph->node_count, sizeof *t->node, error);
    t->aside = room(fx, graph->node_count, sizeof *t->aside, error);
    t->want = room(fx, tensors, sizeof *t->want, error);
    if (t->tensor == NULL || t->node == NULL || t->aside == NULL || t->want == NULL) return ZEB_ERR_MEMORY;
    for (uint32_t i = 0; i < graph->tensor_count; ++i)
        (void)add(t, produced(&graph->tensor[i]) ? ZEB_ROLE_INPUT : graph->tensor[i].role, &graph->tensor[i]);
    for (uint32_t i = 0; i < graph->tensor_count; ++i) {
        int32_t id = add(t, produced(&graph->tensor[i]) ? ZEB_ROLE_OUTPUT : ZEB_ROLE_VALUE, &graph->tensor[i]);
        if (!produced(&graph->tensor[i])) t->tensor[id].bytes = 1; /* nobody's */
    }
    t->graph.struct_size = sizeof t->graph;
    add_nodes(t);
    t->graph.tensor = t->tensor;
    t->graph.node = t->node;
    for (uint32_t i = 0; i < t->graph.tensor_count; ++i)
        if ((t->want[i] = room(fx, t->tensor[i].bytes, 1, error)) == NULL) return ZEB_ERR_MEMORY;
    return ref->backend->compile(ref->device, &t->graph, &t->plan, error);
}

void op_told_release(op_told *told) {
    if (told != NULL && told->plan != NULL) told->backend->release(told->plan);
}

int64_t op_live_rows(const op_fixture *fx, uint32_t tensor, void *const *got) {
    const zeb_extent *extent = &fx->graph.tensor[tensor].extent[0];
    if (extent->live == ZEB_NONE) return extent->max;
    if (extent->live == fx->count) return fx->offsets_data[fx->batch_max];
    int64_t live = ((const int32_t *)got[extent->live])[0];
    return live < 0 ? 0 : live > extent->max ? extent->max : live;
}

/* Offsets of a tensor's row space: the pass's, or what the device made. */
static const int32_t *offsets_of(const op_told *t, int32_t tensor, void *const *got) {
    int32_t id = told_of(t, tensor)->offsets;
    return id == t->fx->offsets ? t->fx->offsets_data : got[id];
}

/* What the graph's tensor holds in this pass: a result or an input. */
static const void *data_of(const op_told *t, int32_t tensor, void *const *got) {
    for (size_t i = 0; i < t->fx->input_count; ++i)
        if (t->fx->input[i].tensor == tensor) return t->fx->input[i].data;
    return got[tensor];
}

static zeb_status write_magnitudes(op_told *t, const zeb_node *node, int32_t to, void *const *got, zeb_error *error) {
    int32_t v = node->input[ZEB_ATTENTION_V];
    float *magnitude = t->want[to];
    size_t bytes = told_of(t, v)->bytes;
    memcpy(magnitude, data_of(t, v, got), bytes);
    for (size_t i = 0; i < bytes / sizeof *magnitude; ++i)
        magnitude[i] = fabsf(magnitude[i]);
    return t->backend->write(t->plan, to, magnitude, bytes, error);
}

/* Tells ref the inputs and all results, and lets it compute. */
static zeb_status compute(op_told *t, void *const *got, zeb_error *error) {
    const op_fixture *fx = t->fx;
    const zeb_graph *graph = &fx->graph;
    int32_t count = fx->offsets_data[fx->batch_max];
    zeb_status status =
        t->backend->write(t->plan, fx->offsets, fx->offsets_data, (size_t)(fx->batch_max + 1) * sizeof(int32_t), error);
    if (status == ZEB_OK) status = t->backend->write(t->plan, fx->count, &count, sizeof count, error);
    for (size_t i = 0; status == ZEB_OK && i < fx->input_count; ++i)
        status = t->backend->write(t->plan, fx->input[i].tensor, fx->input[i].data,
                                   graph->tensor[fx->input[i].tensor].bytes, error);
    for (uint32_t i = 0; status == ZEB_OK && i < graph->tensor_count; ++i)
        if (produced(&graph->tensor[i]))
            status = t->backend->write(t->plan, (int32_t)i, got[i], graph->tensor[i].bytes, error);
    for (uint32_t i = 0; status == ZEB_OK && i < graph->node_count; ++i)
        if (t->aside[i].magnitudes != ZEB_NONE)
            status = write_magnitudes(t, &graph->node[i], t->aside[i].magnitudes, got, error);
    if (status == ZEB_OK) status = t->backend->submit(t->plan, error);
    if (status == ZEB_OK) status = t->backend->wait(t->plan, error);
    for (uint32_t i = (uint32_t)t->own; status == ZEB_OK && i < t->graph.tensor_count; ++i)
        if (produced(&t->tensor[i]))
            status = t->backend->read(t->plan, (int32_t)i, t->want[i], t->tensor[i].bytes, error);
    return status;
}

/* An op's result against ref's; `want` may be another tensor than its own. */
static bool is_same(op_told *t, const zeb_node *node, uint32_t position, int32_t want, void *const *got, double *worst,
                    char *where) {
    uint32_t id = (uint32_t)node->output[position], precision = ZEB_PRECISION_F32;
    if (node->op == ZEB_OP_LINEAR) precision = node->attr.linear.precision;
    if (node->op == ZEB_OP_ATTENTION) precision = node->attr.attention.precision;
    return op_compare(told_of(t, (int32_t)id), op_tolerance_of(node->op, position, precision),
                      op_live_rows(t->fx, id, got), t->want[want], got[id], worst, where);
}

/* Brings ref's context to the rows of the device's, and forgives what probabilities near the threshold are worth. */
static void adapt_context(op_told *t, uint32_t index, void *const *got) {
    const zeb_node *node = &t->fx->graph.node[index];
    const aside *s = &t->aside[index];
    int32_t context = node->output[ZEB_ATTENTION_CONTEXT];
    bool selects = node->attr.attention.select.mode != ZEB_SELECT_NONE;
    const int32_t *indices = selects ? got[node->output[ZEB_ATTENTION_INDICES]] : NULL;
    int64_t width = told_of(t, context)->extent[1].max;
    const float *exact = t->want[s->context], *device = got[context];
    float *want = t->want[context + t->own];
    for (int64_t i = 0; i < op_live_rows(t->fx, (uint32_t)context, got) * width; ++i) {
        int64_t at = (selects ? indices[i / width] : i / width) * width + i % width;
        want[i] = exact[at];
        if (s->near[0] == ZEB_NONE) continue;
        float slack = ((const float *)t->want[s->near[0]])[at] - ((const float *)t->want[s->near[1]])[at];
        want[i] = fminf(fmaxf(device[i], exact[at] - slack), exact[at] + slack);
    }
}

static bool is_attention_right(op_told *t, uint32_t index, void *const *got, double *worst, char *where) {
    const zeb_node *node = &t->fx->graph.node[index];
    const zeb_attention_attr *attr = &node->attr.attention;
    const aside *s = &t->aside[index];
    if (node->output[ZEB_ATTENTION_IMPORTANCE] != ZEB_NONE &&
        !is_same(t, node, ZEB_ATTENTION_IMPORTANCE, node->output[ZEB_ATTENTION_IMPORTANCE] + t->own, got, worst, where))
        return false;
    if (attr->select.mode != ZEB_SELECT_NONE) {
        op_selection selection = {.name = node->name,
                                  .select = &attr->select,
                                  .importance = s->importance == ZEB_NONE ? NULL : t->want[s->importance],
                                  .relative = IMPORTANCE[attr->precision],
                                  .from = offsets_of(t, node->input[ZEB_ATTENTION_K], got),
                                  .indices = got[node->output[ZEB_ATTENTION_INDICES]],
                                  .kept = got[node->output[ZEB_ATTENTION_OFFSETS]],
                                  .count = *(const int32_t *)got[node->output[ZEB_ATTENTION_COUNT]],
                                  .batch = t->fx->batch_max};
        if (!op_selection_is_right(&selection, where)) return false;
        for (uint32_t i = 0; i < 3 && s->choice[i] != ZEB_NONE; ++i)
            if (!is_same(t, node, ZEB_ATTENTION_INDICES + i, s->choice[i], got, worst, where)) return false;
    }
    adapt_context(t, index, got);
    return is_same(t, node, ZEB_ATTENTION_CONTEXT, node->output[ZEB_ATTENTION_CONTEXT] + t->own, got, worst, where);
}

static bool is_exit_right(op_told *t, const zeb_node *node, void *const *got, double *worst, char *where) {
    int32_t here = node->input[ZEB_EXIT_HERE];
    if (!is_same(t, node, ZEB_EXIT_LOGITS, node->output[0] + t->own, got, worst, where)) return false;
    if (node->attr.exit.confidence <= 0.0f) return true;
    op_selection selection = {.name = node->name,
                              .from = offsets_of(t, node->input[ZEB_EXIT_ROWS], got),
                              .indices = got[node->output[ZEB_EXIT_INDICES]],
                              .kept = got[node->output[ZEB_EXIT_OFFSETS]],
                              .count = *(const int32_t *)got[node->output[ZEB_EXIT_COUNT]],
                              .batch = t->fx->batch_max};
    return op_exits_are_right(&selection, data_of(t, here, got), told_of(t, here)->extent[1].max,
                              node->attr.exit.confidence, where);
}

static bool is_node_right(op_told *t, uint32_t index, void *const *got, double *worst, char *where) {
    const zeb_node *node = &t->fx->graph.node[index];
    if (node->op == ZEB_OP_ATTENTION) return is_attention_right(t, index, got, worst, where);
    if (node->op == ZEB_OP_EXIT) return is_exit_right(t, node, got, worst, where);
    if (node->op == ZEB_OP_HEAD_GATE)
        return op_gates_are_right(node->name, t->want[t->aside[index].sums],
                                  offsets_of(t, node->input[ZEB_HEAD_GATE_X], got), t->fx->batch_max,
                                  told_of(t, node->output[0])->extent[1].max, got[node->output[0]], where);
    if (node->op == ZEB_OP_HEAD_TOPK) {
        int32_t importance = node->output[ZEB_HEAD_TOPK_IMPORTANCE];
        return is_same(t, node, ZEB_HEAD_TOPK_IMPORTANCE, importance + t->own, got, worst, where) &&
               op_heads_are_right(node->name, got[importance], offsets_of(t, node->input[ZEB_HEAD_TOPK_X], got),
                                  t->fx->batch_max, &node->attr.head_topk, got[node->output[0]], where);
    }
    for (uint32_t j = 0; j < ZEB_NODE_OUTPUTS_MAX; ++j)
        if (node->output[j] != ZEB_NONE && !is_same(t, node, j, node->output[j] + t->own, got, worst, where))
            return false;
    return true;
}

zeb_status op_told_judge(op_told *t, void *const *got, double *worst, char where[OP_WHERE_MAX], zeb_error *error) {
    zeb_status status = compute(t, got, error);
    for (uint32_t i = 0; status == ZEB_OK && where[0] == '\0' && i < t->fx->graph.node_count; ++i)
        (void)is_node_right(t, i, got, worst, where);
    return status;
}
