#include "steps.h"

#include "pack.h"

static size_t rows_of(const ocl_build *build, int32_t tensor) {
    return (size_t)ocl_extent(build, tensor, 0);
}

static size_t width_of(const ocl_build *build, int32_t tensor) {
    return (size_t)ocl_extent(build, tensor, 1);
}

static void steps_embed(ocl_build *build) {
    const int32_t *in = build->node->input;
    const zeb_embed_attr *attr = &build->node->attr.embed;
    int32_t out = build->node->output[0];
    ocl_step_begin(build, "embed");
    ocl_arg_tensor(build, in[ZEB_EMBED_IDS]);
    ocl_arg_tensor(build, in[ZEB_EMBED_TYPES]);
    ocl_arg_weight(build, in[ZEB_EMBED_WORD]);
    ocl_arg_weight(build, in[ZEB_EMBED_POSITION]);
    ocl_arg_weight(build, in[ZEB_EMBED_TYPE]);
    ocl_arg_weight(build, in[ZEB_EMBED_GAMMA]);
    ocl_arg_weight(build, in[ZEB_EMBED_BETA]);
    ocl_arg_tensor(build, out);
    ocl_arg_offsets(build, in[ZEB_EMBED_IDS]);
    ocl_arg_live(build, in[ZEB_EMBED_IDS]);
    ocl_arg_int(build, ocl_extent(build, in[ZEB_EMBED_WORD], 1));
    ocl_arg_int(build, ocl_extent(build, in[ZEB_EMBED_WORD], 0));
    ocl_arg_int(build, in[ZEB_EMBED_POSITION] == ZEB_NONE ? 0 : ocl_extent(build, in[ZEB_EMBED_POSITION], 0));
    ocl_arg_int(build, in[ZEB_EMBED_TYPE] == ZEB_NONE ? 0 : ocl_extent(build, in[ZEB_EMBED_TYPE], 0));
    ocl_arg_uint(build, attr->norm);
    ocl_arg_float(build, attr->epsilon);
    ocl_arg_range(build);
    ocl_step_end(build, rows_of(build, out), 1);
}

static void steps_linear(ocl_build *build) {
    const int32_t *in = build->node->input;
    const zeb_linear_attr *attr = &build->node->attr.linear;
    int64_t columns = ocl_extent(build, in[ZEB_LINEAR_W], 0);
    size_t rows = rows_of(build, in[ZEB_LINEAR_X]);
    ocl_step_begin(build, "linear");
    ocl_arg_tensor(build, in[ZEB_LINEAR_X]);
    ocl_arg_packed(build, in[ZEB_LINEAR_W]);
    ocl_arg_weight(build, in[ZEB_LINEAR_BIAS]);
    ocl_arg_tensor(build, in[ZEB_LINEAR_RESIDUAL]);
    ocl_arg_tensor(build, in[ZEB_LINEAR_GATES]);
    ocl_arg_offsets(build, in[ZEB_LINEAR_X]);
    ocl_arg_int(build, attr->gate_groups);
    ocl_arg_tensor(build, build->node->output[0]);
    ocl_arg_live(build, in[ZEB_LINEAR_X]);
    ocl_arg_int(build, ocl_extent(build, in[ZEB_LINEAR_W], 1));
    ocl_arg_int(build, columns);
    ocl_arg_int(build, (int64_t)ocl_packed_stride(columns));
    ocl_arg_uint(build, attr->activation);
    ocl_step_end(build, ocl_packed_stride(columns) / OCL_LINEAR_COLUMNS,
                 (rows + OCL_LINEAR_ROWS - 1) / OCL_LINEAR_ROWS);
}

static void steps_norm(ocl_build *build) {
    const int32_t *in = build->node->input;
    ocl_step_begin(build, "norm");
    ocl_arg_tensor(build, in[ZEB_NORM_X]);
    ocl_arg_tensor(build, in[ZEB_NORM_RESIDUAL]);
    ocl_arg_weight(build, in[ZEB_NORM_GAMMA]);
    ocl_arg_weight(build, in[ZEB_NORM_BETA]);
    ocl_arg_tensor(build, build->node->output[0]);
    ocl_arg_live(build, in[ZEB_NORM_X]);
    ocl_arg_int(build, ocl_extent(build, in[ZEB_NORM_X], 1));
    ocl_arg_uint(build, build->node->attr.norm.kind);
    ocl_arg_float(build, build->node->attr.norm.epsilon);
    ocl_step_end(build, rows_of(build, in[ZEB_NORM_X]), 1);
}

static void steps_gather(ocl_build *build) {
    const int32_t *in = build->node->input;
    ocl_step_begin(build, "gather");
    ocl_arg_tensor(build, in[ZEB_GATHER_X]);
    ocl_arg_tensor(build, in[ZEB_GATHER_INDICES]);
    ocl_arg_tensor(build, build->node->output[0]);
    ocl_arg_live(build, in[ZEB_GATHER_INDICES]);
    ocl_arg_int(build, ocl_extent(build, in[ZEB_GATHER_X], 1));
    ocl_arg_live(build, in[ZEB_GATHER_X]);
    ocl_arg_range(build);
    ocl_step_end(build, width_of(build, in[ZEB_GATHER_X]), rows_of(build, in[ZEB_GATHER_INDICES]));
}

static void steps_activation(ocl_build *build) {
    const int32_t *in = build->node->input;
    ocl_step_begin(build, "activation");
    ocl_arg_tensor(build, in[ZEB_ACTIVATION_X]);
    ocl_arg_tensor(build, in[ZEB_ACTIVATION_GATE]);
    ocl_arg_tensor(build, build->node->output[0]);
    ocl_arg_live(build, in[ZEB_ACTIVATION_X]);
    ocl_arg_int(build, ocl_extent(build, in[ZEB_ACTIVATION_X], 1));
    ocl_arg_uint(build, build->node->attr.activation.activation);
    ocl_step_end(build, width_of(build, in[ZEB_ACTIVATION_X]), rows_of(build, in[ZEB_ACTIVATION_X]));
}

/* out: the tensor's buffer, or for head-gate's means a scratch place. */
static void step_pool(ocl_build *build, int32_t x, int32_t out, uint32_t kind) {
    int64_t batch = ocl_batch(build, x);
    ocl_step_begin(build, "pool");
    ocl_arg_tensor(build, x);
    ocl_arg_tensor(build, build->graph->tensor[x].offsets);
    if (out == ZEB_NONE)
        ocl_arg_scratch(build, OCL_HEAD_GATE_MEAN);
    else
        ocl_arg_tensor(build, out);
    ocl_arg_int(build, batch);
    ocl_arg_int(build, ocl_extent(build, x, 1));
    ocl_arg_uint(build, kind);
    ocl_step_end(build, width_of(build, x), (size_t)batch);
}

static void steps_head_gate(ocl_build *build) {
    const int32_t *in = build->node->input;
    int64_t heads = ocl_extent(build, in[ZEB_HEAD_GATE_W], 0);
    int64_t batch = ocl_batch(build, in[ZEB_HEAD_GATE_X]);
    step_pool(build, in[ZEB_HEAD_GATE_X], ZEB_NONE, ZEB_POOL_MEAN);
    ocl_step_begin(build, "head_gate");
    ocl_arg_scratch(build, OCL_HEAD_GATE_MEAN);
    ocl_arg_tensor(build, build->graph->tensor[in[ZEB_HEAD_GATE_X]].offsets);
    ocl_arg_weight(build, in[ZEB_HEAD_GATE_W]);
    ocl_arg_weight(build, in[ZEB_HEAD_GATE_BIAS]);
    ocl_arg_tensor(build, build->node->output[0]);
    ocl_arg_int(build, batch);
    ocl_arg_int(build, heads);
    ocl_arg_int(build, ocl_extent(build, in[ZEB_HEAD_GATE_X], 1));
    ocl_step_end(build, (size_t)heads, (size_t)batch);
}

static void likelihood_head(ocl_build *build, const char *kernel) {
    const int32_t *in = build->node->input;
    ocl_step_begin(build, kernel);
    ocl_arg_tensor(build, in[ZEB_LOG_LIKELIHOOD_X]);
    ocl_arg_weight(build, in[ZEB_LOG_LIKELIHOOD_W]);
    ocl_arg_tensor(build, in[ZEB_LOG_LIKELIHOOD_TARGETS]);
    ocl_arg_scratch(build, OCL_LIKELIHOOD_GREATEST);
    ocl_arg_scratch(build, OCL_LIKELIHOOD_TOTAL);
}

static void likelihood_tail(ocl_build *build) {
    const int32_t *in = build->node->input;
    ocl_arg_live(build, in[ZEB_LOG_LIKELIHOOD_X]);
    ocl_arg_int(build, ocl_extent(build, in[ZEB_LOG_LIKELIHOOD_X], 1));
    ocl_arg_int(build, ocl_extent(build, in[ZEB_LOG_LIKELIHOOD_W], 0));
    ocl_arg_int(build, OCL_LIKELIHOOD_PARTS);
}

static void steps_log_likelihood(ocl_build *build) {
    size_t rows = rows_of(build, build->node->input[ZEB_LOG_LIKELIHOOD_X]);
    likelihood_head(build, "likelihood_part");
    likelihood_tail(build);
    ocl_step_end(build, OCL_LIKELIHOOD_PARTS, rows);
    likelihood_head(build, "likelihood_join");
    ocl_arg_tensor(build, build->node->output[0]);
    likelihood_tail(build);
    ocl_arg_range(build);
    ocl_step_end(build, rows, 1);
}

static void steps_select(ocl_build *build) {
    const int32_t *in = build->node->input;
    int32_t importance = in[ZEB_SELECT_IMPORTANCE];
    cl_mem memory = importance == ZEB_NONE ? NULL : build->plan->tensor[importance].memory;
    ocl_steps_selection(build, &build->node->attr.select, memory, in[ZEB_SELECT_ROWS], OCL_SELECT_KEEP,
                        OCL_SELECT_COUNTS, ZEB_SELECT_INDICES);
}

static void steps_blocks(ocl_build *build) {
    const zeb_node *node = build->node;
    ocl_step_begin(build, "blocks");
    ocl_arg_tensor(build, node->input[ZEB_BLOCKS_X]);
    ocl_arg_tensor(build, node->output[ZEB_BLOCKS_OUT]);
    ocl_arg_tensor(build, node->output[ZEB_BLOCKS_OPEN]);
    ocl_arg_live(build, node->input[ZEB_BLOCKS_X]);
    ocl_arg_int(build, ocl_extent(build, node->input[ZEB_BLOCKS_X], 1));
    ocl_arg_int(build, node->attr.blocks.size);
    ocl_arg_float(build, node->attr.blocks.threshold);
    ocl_step_end(build, rows_of(build, node->input[ZEB_BLOCKS_X]), 1);
}

static void steps_exit(ocl_build *build) {
    const zeb_node *node = build->node;
    int32_t here = node->input[ZEB_EXIT_HERE], rows = node->input[ZEB_EXIT_ROWS];
    ocl_step_begin(build, "exit_logits");
    ocl_arg_tensor(build, here);
    ocl_arg_tensor(build, node->input[ZEB_EXIT_BEFORE]);
    ocl_arg_offsets(build, rows);
    ocl_arg_tensor(build, node->output[ZEB_EXIT_LOGITS]);
    ocl_arg_int(build, ocl_extent(build, here, 1));
    ocl_step_end(build, width_of(build, here), (size_t)ocl_batch(build, rows));
    if (node->attr.exit.confidence <= 0.0f) return;
    ocl_step_begin(build, "exit_mark");
    ocl_arg_tensor(build, here);
    ocl_arg_offsets(build, rows);
    ocl_arg_live(build, rows);
    ocl_arg_int(build, ocl_extent(build, here, 1));
    ocl_arg_float(build, node->attr.exit.confidence);
    ocl_arg_scratch(build, OCL_SELECT_KEEP);
    ocl_step_end(build, (size_t)ocl_extent(build, rows, 0), 1);
    ocl_steps_survivors(build, rows, OCL_SELECT_KEEP, OCL_SELECT_COUNTS, ZEB_EXIT_INDICES);
}

static void steps_head_topk(ocl_build *build) {
    const zeb_node *node = build->node;
    int32_t x = node->input[ZEB_HEAD_TOPK_X], heads = node->attr.head_topk.heads;
    size_t batch = (size_t)ocl_batch(build, x);
    ocl_step_begin(build, "head_weigh");
    ocl_arg_tensor(build, x);
    ocl_arg_offsets(build, x);
    ocl_arg_tensor(build, node->input[ZEB_HEAD_TOPK_BEFORE]);
    ocl_arg_tensor(build, node->output[ZEB_HEAD_TOPK_IMPORTANCE]);
    ocl_arg_int(build, heads);
    ocl_arg_int(build, ocl_extent(build, x, 1) / heads);
    ocl_step_end(build, (size_t)heads, batch);
    ocl_step_begin(build, "head_choose");
    ocl_arg_tensor(build, node->output[ZEB_HEAD_TOPK_IMPORTANCE]);
    ocl_arg_offsets(build, x);
    ocl_arg_tensor(build, node->output[ZEB_HEAD_TOPK_GATES]);
    ocl_arg_int(build, heads);
    ocl_arg_int(build, node->attr.head_topk.count);
    ocl_step_end(build, (size_t)heads, batch);
}

void ocl_steps(ocl_build *build) {
    const zeb_node *node = build->node;
    switch (node->op) {
        case ZEB_OP_EMBED: steps_embed(build); break;
        case ZEB_OP_LINEAR: steps_linear(build); break;
        case ZEB_OP_NORM: steps_norm(build); break;
        case ZEB_OP_ATTENTION: ocl_steps_attention(build); break;
        case ZEB_OP_SELECT: steps_select(build); break;
        case ZEB_OP_GATHER: steps_gather(build); break;
        case ZEB_OP_ACTIVATION: steps_activation(build); break;
        case ZEB_OP_POOL: step_pool(build, node->input[ZEB_POOL_X], node->output[0], node->attr.pool.kind); break;
        case ZEB_OP_HEAD_GATE: steps_head_gate(build); break;
        case ZEB_OP_LOG_LIKELIHOOD: steps_log_likelihood(build); break;
        case ZEB_OP_BLOCKS: steps_blocks(build); break;
        case ZEB_OP_EXIT: steps_exit(build); break;
        case ZEB_OP_HEAD_TOPK: steps_head_topk(build); break;
    }
}
