#include "steps.h"

void ocl_steps_selection(ocl_build *build, const zeb_select *select, cl_mem importance, int32_t rows, uint32_t keep,
                         uint32_t counts, uint32_t first_output) {
    ocl_step_begin(build, "select_mark");
    ocl_arg_memory(build, importance);
    ocl_arg_offsets(build, rows);
    ocl_arg_live(build, rows);
    ocl_arg_uint(build, select->mode);
    ocl_arg_float(build, select->value);
    ocl_arg_int(build, select->count);
    ocl_arg_int(build, select->floor);
    ocl_arg_int(build, select->keep_last);
    ocl_arg_scratch(build, keep);
    ocl_step_end(build, (size_t)ocl_extent(build, rows, 0), 1);
    ocl_steps_survivors(build, rows, keep, counts, first_output);
}

void ocl_steps_survivors(ocl_build *build, int32_t rows, uint32_t keep, uint32_t counts, uint32_t first_output) {
    const int32_t *out = build->node->output + first_output; /* indices, offsets, count */
    ocl_step_begin(build, "select_count");
    ocl_arg_scratch(build, keep);
    ocl_arg_offsets(build, rows);
    ocl_arg_scratch(build, counts);
    ocl_step_end(build, (size_t)ocl_batch(build, rows), 1);
    ocl_step_begin(build, "select_offsets");
    ocl_arg_scratch(build, counts);
    ocl_arg_int(build, ocl_batch(build, rows));
    ocl_arg_tensor(build, out[ZEB_SELECT_OFFSETS]);
    ocl_arg_tensor(build, out[ZEB_SELECT_COUNT]);
    ocl_step_end(build, 1, 1);
    ocl_step_begin(build, "select_place");
    ocl_arg_scratch(build, keep);
    ocl_arg_offsets(build, rows);
    ocl_arg_live(build, rows);
    ocl_arg_tensor(build, out[ZEB_SELECT_OFFSETS]);
    ocl_arg_tensor(build, out[ZEB_SELECT_INDICES]);
    ocl_step_end(build, (size_t)ocl_extent(build, rows, 0), 1);
}

/* The arguments that the kernels of attention begin with. */
static void begin(ocl_build *build, const char *kernel, bool with_values) {
    const int32_t *in = build->node->input;
    ocl_step_begin(build, kernel);
    ocl_arg_tensor(build, in[ZEB_ATTENTION_Q]);
    ocl_arg_tensor(build, in[ZEB_ATTENTION_K]);
    if (with_values) ocl_arg_tensor(build, in[ZEB_ATTENTION_V]);
    ocl_arg_tensor(build, in[ZEB_ATTENTION_GATES]);
    ocl_arg_tensor(build, build->graph->tensor[in[ZEB_ATTENTION_Q]].offsets);
    ocl_arg_offsets(build, in[ZEB_ATTENTION_K]);
}

static void shape(ocl_build *build) {
    const zeb_attention_attr *attr = &build->node->attr.attention;
    ocl_arg_int(build, attr->heads);
    ocl_arg_int(build, attr->kv_heads);
    ocl_arg_int(build, attr->head_dim);
    ocl_arg_float(build, attr->scale);
    ocl_arg_int(build, attr->causal);
}

/* Softmax of every query, or of the rows of `indices` alone. */
static void step_softmax(ocl_build *build, int32_t indices, int32_t rows) {
    begin(build, "attention_softmax", false);
    ocl_arg_tensor(build, indices);
    ocl_arg_live(build, rows);
    shape(build);
    ocl_arg_scratch(build, OCL_ATTENTION_GREATEST);
    ocl_arg_scratch(build, OCL_ATTENTION_TOTAL);
    ocl_step_end(build, (size_t)ocl_extent(build, rows, 0), (size_t)build->node->attr.attention.heads);
}

static void arg_importance(ocl_build *build) {
    int32_t wanted = build->node->output[ZEB_ATTENTION_IMPORTANCE];
    if (wanted != ZEB_NONE)
        ocl_arg_tensor(build, wanted);
    else
        ocl_arg_scratch(build, OCL_ATTENTION_WORTH);
}

static void steps_importance(ocl_build *build) {
    const int32_t *in = build->node->input;
    int32_t heads = build->node->attr.attention.heads;
    size_t keys = (size_t)ocl_extent(build, in[ZEB_ATTENTION_K], 0);
    begin(build, "attention_weight", false);
    ocl_arg_live(build, in[ZEB_ATTENTION_K]);
    shape(build);
    ocl_arg_scratch(build, OCL_ATTENTION_GREATEST);
    ocl_arg_scratch(build, OCL_ATTENTION_TOTAL);
    ocl_arg_scratch(build, OCL_ATTENTION_PART);
    ocl_step_end(build, keys, (size_t)heads);
    ocl_step_begin(build, "attention_importance");
    ocl_arg_scratch(build, OCL_ATTENTION_PART);
    ocl_arg_tensor(build, build->graph->tensor[in[ZEB_ATTENTION_Q]].offsets);
    ocl_arg_offsets(build, in[ZEB_ATTENTION_K]);
    ocl_arg_live(build, in[ZEB_ATTENTION_K]);
    ocl_arg_int(build, heads);
    arg_importance(build);
    ocl_step_end(build, keys, 1);
}

static void step_context(ocl_build *build, int32_t indices) {
    int32_t context = build->node->output[ZEB_ATTENTION_CONTEXT];
    begin(build, "attention_context", true);
    ocl_arg_tensor(build, indices);
    ocl_arg_live(build, context);
    shape(build);
    ocl_arg_float(build, build->node->attr.attention.score_threshold);
    ocl_arg_scratch(build, OCL_ATTENTION_GREATEST);
    ocl_arg_scratch(build, OCL_ATTENTION_TOTAL);
    ocl_arg_tensor(build, context);
    ocl_step_end(build, (size_t)ocl_extent(build, context, 0), (size_t)build->node->attr.attention.heads);
}

/* The buffer in which steps_importance leaves its result; NULL where there is none. */
static cl_mem importance_memory(const ocl_build *build) {
    int32_t wanted = build->node->output[ZEB_ATTENTION_IMPORTANCE];
    if (wanted != ZEB_NONE) return build->plan->tensor[wanted].memory;
    int32_t scratch = build->layout.scratch[build->node_index][OCL_ATTENTION_WORTH];
    return scratch == ZEB_NONE ? NULL : build->buffer[scratch];
}

void ocl_steps_attention(ocl_build *build) {
    const int32_t *in = build->node->input;
    const zeb_select *select = &build->node->attr.attention.select;
    bool selects = select->mode != ZEB_SELECT_NONE;
    int32_t indices = selects ? build->node->output[ZEB_ATTENTION_INDICES] : ZEB_NONE;
    bool importance = ocl_needs_importance(build->node) != 0;
    if (importance) {
        step_softmax(build, ZEB_NONE, in[ZEB_ATTENTION_Q]);
        steps_importance(build);
    }
    if (selects)
        ocl_steps_selection(build, select, importance_memory(build), in[ZEB_ATTENTION_K], OCL_ATTENTION_KEEP,
                            OCL_ATTENTION_COUNTS, ZEB_ATTENTION_INDICES);
    if (!importance) step_softmax(build, indices, build->node->output[ZEB_ATTENTION_CONTEXT]);
    step_context(build, indices);
}
