/* ops_sequence.c - ops that look at a whole sequence to write one row of it: POOL, HEAD_GATE and HEAD_TOPK. */
#include <math.h>
#include <string.h>

#include "plan.h"

/* ---- pool ------------------------------------------------------------------------------------------------------ */

static void pool_sequence(const zeb_plan *plan, const cpu_pooling *p, int64_t b) {
    const cpu_kernels *kernels = plan->kernels;
    const int width = (int)plan->tensor[p->out].width;
    const size_t bytes = (size_t)width * sizeof(float);
    float *out = cpu_row(plan, p->out, b);
    int64_t first, end;
    cpu_sequence_rows(plan, p->x, b, &first, &end);
    if (first >= end) {
        memset(out, 0, bytes);
        return;
    }
    memcpy(out, cpu_row(plan, p->x, first), bytes);
    if (p->kind == ZEB_POOL_FIRST) return;
    for (int64_t t = first + 1; t < end; t++) {
        if (p->kind == ZEB_POOL_MAX)
            kernels->maximum(out, cpu_row(plan, p->x, t), width);
        else
            kernels->axpy(out, cpu_row(plan, p->x, t), 1.0f, width);
    }
    if (p->kind == ZEB_POOL_MEAN)
        for (int i = 0; i < width; i++)
            out[i] /= (float)(end - first);
}

static void run_pooling(const cpu_hand *hand, const cpu_stage *stage) {
    const cpu_pooling *p = &stage->as.pooling;
    const int64_t sequences = cpu_sequences(hand->plan, p->x), rows = hand->plan->tensor[p->out].rows;
    for (int64_t b = hand->worker; b < sequences && b < rows; b += hand->workers)
        pool_sequence(hand->plan, p, b);
}

CPU_LOWER(pooling) {
    cpu_pooling *p = &stage->as.pooling;
    (void)plan, (void)error;
    p->x = node->input[ZEB_POOL_X];
    p->out = node->output[0];
    p->kind = node->attr.pool.kind;
    cpu_stage_reads(stage, p->x);
    cpu_stage_writes(stage, p->out);
    stage->share = run_pooling;
    return ZEB_OK;
}

/* ---- head gates ------------------------------------------------------------------------------------------------ */

/* The mean in binary64: a gate must not flip by the order of a sum. */
static void gate_sequence(const cpu_hand *hand, const cpu_head_gate *g, int64_t b) {
    const zeb_plan *plan = hand->plan;
    const int64_t width = plan->tensor[g->x].width, heads = plan->tensor[g->out].width;
    double *mean = hand->scratch;
    float *out = cpu_row(plan, g->out, b);
    int64_t first, end;
    cpu_sequence_rows(plan, g->x, b, &first, &end);
    memset(mean, 0, (size_t)width * sizeof *mean);
    for (int64_t t = first; t < end; t++) {
        const float *x = cpu_row(plan, g->x, t);
        for (int64_t k = 0; k < width; k++)
            mean[k] += (double)x[k];
    }
    for (int64_t h = 0; h < heads; h++) {
        double sum = 0;
        for (int64_t k = 0; k < width; k++)
            sum += (double)g->w[h * width + k] * mean[k];
        const double bias = g->bias == NULL ? 0.0 : (double)g->bias[h];
        out[h] = end > first && !(sum / (double)(end - first) + bias <= 0) ? 1.0f : 0.0f;
    }
}

static void run_head_gate(const cpu_hand *hand, const cpu_stage *stage) {
    const cpu_head_gate *g = &stage->as.head_gate;
    const int64_t sequences = cpu_sequences(hand->plan, g->x), rows = hand->plan->tensor[g->out].rows;
    for (int64_t b = hand->worker; b < sequences && b < rows; b += hand->workers)
        gate_sequence(hand, g, b);
}

CPU_LOWER(head_gate) {
    cpu_head_gate *g = &stage->as.head_gate;
    g->x = node->input[ZEB_HEAD_GATE_X];
    g->out = node->output[0];
    zeb_status status = cpu_plan_widen(plan, node->input[ZEB_HEAD_GATE_W], 0, &g->w, error);
    if (status == ZEB_OK) status = cpu_plan_widen(plan, node->input[ZEB_HEAD_GATE_BIAS], 0, &g->bias, error);
    cpu_plan_scratch(plan, (size_t)plan->tensor[g->x].width * sizeof(double));
    cpu_stage_reads(stage, g->x);
    cpu_stage_writes(stage, g->out);
    stage->share = run_head_gate;
    return status;
}

/* ---- the heads that gave most ---------------------------------------------------------------------------------- */

/* Magnitudes column by column first: that is done in vectors. */
static void weigh_heads(const cpu_hand *hand, const cpu_head_topk *k, int64_t b, float *importance) {
    const zeb_plan *plan = hand->plan;
    const int64_t width = plan->tensor[k->x].width, columns = width / k->attr.heads;
    float *magnitude = hand->scratch;
    int64_t first, end;
    cpu_sequence_rows(plan, k->x, b, &first, &end);
    memset(magnitude, 0, (size_t)width * sizeof *magnitude);
    for (int64_t t = first; t < end; t++) {
        const float *x = cpu_row(plan, k->x, t);
        for (int64_t i = 0; i < width; i++)
            magnitude[i] += fabsf(x[i]);
    }
    for (int64_t h = 0; h < k->attr.heads; h++) {
        double sum = 0;
        for (int64_t i = h * columns; i < (h + 1) * columns; i++)
            sum += (double)magnitude[i];
        const double mean = first < end ? sum / (double)((end - first) * columns) : 0;
        importance[h] = (float)((k->before == ZEB_NONE ? 0 : (double)cpu_row(plan, k->before, b)[h]) + mean);
    }
}

static void choose_heads(const cpu_hand *hand, const cpu_head_topk *k, int64_t b) {
    const zeb_plan *plan = hand->plan;
    const int heads = k->attr.heads;
    float *gate = cpu_row(plan, k->gates, b), *importance = cpu_row(plan, k->importance, b);
    int64_t first, end;
    cpu_sequence_rows(plan, k->x, b, &first, &end);
    weigh_heads(hand, k, b, importance);
    for (int h = 0; h < heads; h++) {
        const float mine = isnan(importance[h]) ? INFINITY : importance[h];
        int greater = 0;
        for (int o = 0; o < heads; o++) {
            const float other = isnan(importance[o]) ? INFINITY : importance[o];
            greater += other > mine || (other == mine && o < h);
        }
        gate[h] = first < end && greater < k->attr.count ? 1.0f : 0.0f;
    }
}

static void run_head_topk(const cpu_hand *hand, const cpu_stage *stage) {
    const cpu_head_topk *k = &stage->as.head_topk;
    const int64_t sequences = cpu_sequences(hand->plan, k->x), rows = hand->plan->tensor[k->gates].rows;
    for (int64_t b = hand->worker; b < sequences && b < rows; b += hand->workers)
        choose_heads(hand, k, b);
}

CPU_LOWER(head_topk) {
    (void)error;
    stage->as.head_topk = (cpu_head_topk){.x = node->input[ZEB_HEAD_TOPK_X],
                                          .before = node->input[ZEB_HEAD_TOPK_BEFORE],
                                          .gates = node->output[ZEB_HEAD_TOPK_GATES],
                                          .importance = node->output[ZEB_HEAD_TOPK_IMPORTANCE],
                                          .attr = node->attr.head_topk};
    cpu_plan_scratch(plan, (size_t)plan->tensor[stage->as.head_topk.x].width * sizeof(float));
    for (int i = ZEB_HEAD_TOPK_X; i <= ZEB_HEAD_TOPK_BEFORE; i++)
        cpu_stage_reads(stage, node->input[i]);
    for (int i = ZEB_HEAD_TOPK_GATES; i <= ZEB_HEAD_TOPK_IMPORTANCE; i++)
        cpu_stage_writes(stage, node->output[i]);
    stage->share = run_head_topk;
    return ZEB_OK;
}
