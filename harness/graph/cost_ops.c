/* The work of each op; graph/cost.h says what is counted. */
#include "graph/cost_state.h"

static const zeb_tensor *input(const zeb_cost *cost, const zeb_node *node, uint32_t position) {
    int32_t id = node->input[position];
    return id == ZEB_NONE ? NULL : &cost->graph.tensor[id];
}

static uint64_t rows_of(const zeb_cost *cost, const zeb_node *node, uint32_t position) {
    return zeb_cost_rows(cost, node->input[position]);
}

static uint64_t width_of(const zeb_cost *cost, const zeb_node *node, uint32_t position) {
    const zeb_tensor *x = input(cost, node, position);
    return x->rank == 2 ? (uint64_t)x->extent[1].max : 1;
}

static const zeb_cost_space *space_of(const zeb_cost *cost, int32_t tensor) {
    return &cost->space[cost->space_of[tensor]];
}

/* Bytes of the live part of a tensor; weights with their scales. */
static uint64_t bytes_of(const zeb_cost *cost, int32_t id) {
    if (id == ZEB_NONE) return 0;
    const zeb_tensor *tensor = &cost->graph.tensor[id];
    if (tensor->role == ZEB_ROLE_WEIGHT)
        return tensor->bytes + (tensor->scale == ZEB_NONE ? 0 : cost->graph.tensor[tensor->scale].bytes);
    if (tensor->offsets == ZEB_NONE) return tensor->bytes;
    return tensor->bytes / (uint64_t)tensor->extent[0].max * zeb_cost_rows(cost, id);
}

/* Every input and output once. */
static uint64_t all_bytes(const zeb_cost *cost, const zeb_node *node) {
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < ZEB_NODE_INPUTS_MAX; ++i)
        bytes += bytes_of(cost, node->input[i]);
    for (uint32_t i = 0; i < ZEB_NODE_OUTPUTS_MAX; ++i)
        bytes += bytes_of(cost, node->output[i]);
    return bytes;
}

static uint64_t norm_flops(uint32_t kind) {
    switch (kind) {
        case ZEB_NORM_LAYER: return 7; /* sum, subtract, square, sum, scale, gamma, beta */
        case ZEB_NORM_RMS: return 4;   /* square, sum, scale, gamma */
        case ZEB_NORM_AFFINE: return 2;
        default: return 0;
    }
}

/* Groups of a sequence that are open; without gates all of them. */
static uint64_t open_groups(const float *gates, int64_t b, int64_t groups) {
    uint64_t open = 0;
    if (gates == NULL) return (uint64_t)groups;
    for (int64_t g = 0; g < groups; ++g)
        open += gates[b * groups + g] != 0.0f;
    return open;
}

static uint64_t embed_flops(const zeb_cost *cost, const zeb_node *node, uint64_t *bytes) {
    const zeb_tensor *word = input(cost, node, ZEB_EMBED_WORD);
    uint64_t rows = rows_of(cost, node, ZEB_EMBED_IDS), width = (uint64_t)word->extent[1].max, tables = 0;
    *bytes = rows * 4 * (input(cost, node, ZEB_EMBED_TYPES) != NULL ? 2 : 1) + bytes_of(cost, node->output[0]) +
             bytes_of(cost, node->input[ZEB_EMBED_GAMMA]) + bytes_of(cost, node->input[ZEB_EMBED_BETA]);
    for (uint32_t i = ZEB_EMBED_WORD; i <= ZEB_EMBED_TYPE; ++i) {
        const zeb_tensor *table = input(cost, node, i);
        if (table == NULL) continue;
        ++tables;
        *bytes += rows * zeb_dtype_bytes(table->dtype, width);
        if (table->scale != ZEB_NONE)
            *bytes += rows * (cost->graph.tensor[table->scale].bytes / (uint64_t)table->extent[0].max);
    }
    return rows * width * (tables - 1 + norm_flops(node->attr.embed.norm));
}

static uint64_t linear_flops(const zeb_cost *cost, const zeb_node *node) {
    const zeb_linear_attr *attr = &node->attr.linear;
    const zeb_tensor *w = input(cost, node, ZEB_LINEAR_W);
    uint64_t n = (uint64_t)w->extent[0].max, k = (uint64_t)w->extent[1].max, rows = rows_of(cost, node, ZEB_LINEAR_X);
    uint64_t column = 2 * k + (input(cost, node, ZEB_LINEAR_BIAS) != NULL) + (attr->activation != ZEB_ACT_NONE);
    uint64_t residual = input(cost, node, ZEB_LINEAR_RESIDUAL) != NULL ? rows * n : 0;
    const float *gates = attr->gate_groups > 0 ? zeb_cost_gate_values(cost, node->input[ZEB_LINEAR_GATES]) : NULL;
    uint64_t done = cost->dense ? UINT64_MAX : cost->done[node->input[ZEB_LINEAR_X]];
    if (gates == NULL) return rows * n * column - (done < rows * k ? 2 * n * (rows * k - done) : 0) + residual;
    const zeb_cost_space *space = space_of(cost, node->input[ZEB_LINEAR_X]);
    uint64_t columns = 0; /* rows times their open columns */
    for (int64_t b = 0; b < space->batch_max; ++b)
        columns +=
            (uint64_t)space->length[b] * open_groups(gates, b, attr->gate_groups) * (n / (uint64_t)attr->gate_groups);
    return columns * column + residual;
}

/* Query-key pairs of a sequence that may see each other. */
static uint64_t pairs_of(const zeb_attention_attr *attr, uint64_t queries, uint64_t keys) {
    uint64_t pairs = 0;
    if (attr->causal == 0) return queries * keys;
    for (uint64_t i = 0; i < queries; ++i)
        pairs += i + 1 + keys > queries ? i + 1 + keys - queries : 0;
    return pairs;
}

static uint64_t attention_flops(const zeb_cost *cost, const zeb_node *node) {
    const zeb_attention_attr *attr = &node->attr.attention;
    const zeb_cost_space *q = space_of(cost, node->input[ZEB_ATTENTION_Q]);
    const zeb_cost_space *k = space_of(cost, node->input[ZEB_ATTENTION_K]);
    const zeb_cost_space *out = space_of(cost, node->output[ZEB_ATTENTION_CONTEXT]);
    int importance = node->output[ZEB_ATTENTION_IMPORTANCE] != ZEB_NONE || attr->select.mode > ZEB_SELECT_FIRST;
    const float *gates = zeb_cost_gate_values(cost, node->input[ZEB_ATTENTION_GATES]);
    uint64_t flops = 0, dim = (uint64_t)attr->head_dim;
    for (int64_t b = 0; b < q->batch_max; ++b) {
        uint64_t queries = (uint64_t)q->length[b], kept = (uint64_t)out->length[b];
        uint64_t heads = open_groups(gates, b, attr->heads), pairs = pairs_of(attr, queries, (uint64_t)k->length[b]);
        if (queries == 0) continue;
        uint64_t survivors = kept == queries ? pairs : pairs * kept / queries;
        uint64_t scored = importance ? pairs : survivors; /* the first row alone needs no other's probabilities */
        flops += heads * (scored * (2 * dim + 5 + (importance ? 1 : 0)) + survivors * 2 * dim);
    }
    return flops;
}

static uint64_t head_gate_flops(const zeb_cost *cost, const zeb_node *node) {
    const zeb_tensor *w = input(cost, node, ZEB_HEAD_GATE_W);
    const zeb_cost_space *space = space_of(cost, node->input[ZEB_HEAD_GATE_X]);
    uint64_t heads = (uint64_t)w->extent[0].max, width = (uint64_t)w->extent[1].max;
    uint64_t flops = rows_of(cost, node, ZEB_HEAD_GATE_X) * width;
    for (int64_t b = 0; b < space->batch_max; ++b)
        if (space->length[b] > 0) flops += width + heads * (2 * width + 2);
    return flops;
}

/* `sums` for magnitudes and their sums; a division, an addition and a comparison a head. */
static uint64_t head_topk_flops(const zeb_cost *cost, const zeb_node *node, uint64_t sums) {
    const zeb_cost_space *space = space_of(cost, node->input[ZEB_HEAD_TOPK_X]);
    for (int64_t b = 0; b < space->batch_max; ++b)
        if (space->length[b] > 0) sums += 3 * (uint64_t)node->attr.head_topk.heads;
    return sums;
}

zeb_work zeb_cost_node(const zeb_cost *cost, const zeb_node *node) {
    zeb_work work = {.bytes = all_bytes(cost, node)};
    uint64_t x = node->op == ZEB_OP_SELECT ? 0 : rows_of(cost, node, 0) * width_of(cost, node, 0);
    switch (node->op) {
        case ZEB_OP_EMBED: work.flops = embed_flops(cost, node, &work.bytes); break;
        case ZEB_OP_LINEAR: work.flops = linear_flops(cost, node); break;
        case ZEB_OP_NORM:
            work.flops = x * (norm_flops(node->attr.norm.kind) + (input(cost, node, ZEB_NORM_RESIDUAL) != NULL));
            break;
        case ZEB_OP_ATTENTION: work.flops = attention_flops(cost, node); break;
        case ZEB_OP_SELECT: /* a comparison a row; the rows themselves are not touched */
            work.flops =
                node->input[ZEB_SELECT_IMPORTANCE] == ZEB_NONE ? 0 : rows_of(cost, node, ZEB_SELECT_IMPORTANCE);
            work.bytes -= bytes_of(cost, node->input[ZEB_SELECT_ROWS]);
            break;
        case ZEB_OP_GATHER: /* reads the rows that it writes */
            work.bytes = 2 * bytes_of(cost, node->output[0]) + bytes_of(cost, node->input[ZEB_GATHER_INDICES]);
            break;
        case ZEB_OP_ACTIVATION:
            work.flops = x * (1 + (uint64_t)(input(cost, node, ZEB_ACTIVATION_GATE) != NULL));
            break;
        case ZEB_OP_POOL:
            work.flops = node->attr.pool.kind == ZEB_POOL_FIRST ? 0 : x;
            if (node->attr.pool.kind == ZEB_POOL_FIRST) work.bytes = 2 * bytes_of(cost, node->output[0]);
            break;
        case ZEB_OP_HEAD_GATE: work.flops = head_gate_flops(cost, node); break;
        case ZEB_OP_HEAD_TOPK: work.flops = head_topk_flops(cost, node, 2 * x); break;
        case ZEB_OP_BLOCKS: work.flops = x; break; /* a comparison an element */
        case ZEB_OP_EXIT:                          /* subtract, exp, add; the rows themselves are not touched */
            work.flops = node->attr.exit.confidence > 0.0f ? 3 * x : 0;
            work.bytes -= bytes_of(cost, node->input[ZEB_EXIT_ROWS]);
            break;
        case ZEB_OP_LOG_LIKELIHOOD: {
            uint64_t vocab = (uint64_t)input(cost, node, ZEB_LOG_LIKELIHOOD_W)->extent[0].max;
            work.flops = vocab * (2 * x + 3 * rows_of(cost, node, 0));
            break;
        }
    }
    return work;
}
