/* ops_rows.c - ops in which every row is alone: embed, norm, activation, gather. */
#include <string.h>

#include "plan.h"
#include "zeb/number.h"

/* ---- embed ----------------------------------------------------------------------------------------------------- */

/* to[width] = row `id` of a table */
static void widen_row(const zeb_plan *plan, const cpu_tensor *t, int64_t id, float *to) {
    const size_t width = (size_t)t->width;
    const char *row = (const char *)t->data + zeb_dtype_bytes(t->dtype, (size_t)id * width);
    if (t->dtype == ZEB_I8) {
        plan->kernels->widen_codes(ZEB_I8, row, ((const float *)plan->tensor[t->scale].data)[id], to, width);
    } else if (t->dtype == ZEB_U4) {
        const size_t group = (size_t)t->group, groups = width / group;
        const uint16_t *scale = (const uint16_t *)plan->tensor[t->scale].data + (size_t)id * groups;
        for (size_t g = 0; g < groups; g++)
            plan->kernels->widen_codes(ZEB_U4, row + g * group / 2, zeb_f16_to_f32(scale[g]), to + g * group, group);
    } else {
        plan->kernels->widen(t->dtype, row, to, width);
    }
}

/* out (+)= row `id` of a table; an id outside it gives zeros and a note. */
static void add_table_row(const cpu_hand *hand, const cpu_stage *stage, int32_t table, int64_t id, bool first,
                          float *out, float *spare) {
    zeb_plan *plan = hand->plan;
    const cpu_tensor *t = &plan->tensor[table];
    const int width = (int)t->width;
    if (id < 0 || id >= t->rows) {
        atomic_store(&hand->whole->bad_id_stage, (int32_t)(stage - plan->stage) + 1);
        if (first) memset(out, 0, (size_t)width * sizeof *out);
        return;
    }
    const float *row = spare;
    if (!first && t->dtype == ZEB_F32)
        row = (const float *)t->data + (size_t)(id * t->width);
    else
        widen_row(plan, t, id, first ? out : spare);
    if (!first) plan->kernels->axpy(out, row, 1.0f, width);
}

static void embed_strip(const cpu_hand *hand, const cpu_stage *stage, int64_t r0, int64_t r1) {
    const zeb_plan *plan = hand->plan;
    const cpu_embed *e = &stage->as.embed;
    const int32_t *ids = cpu_ints(plan, e->ids);
    int64_t first = 0, end = 0;
    for (int64_t t = r0; t < r1; t++) {
        if (e->position != ZEB_NONE && t >= end)
            cpu_sequence_rows(plan, e->ids, cpu_sequence_of(plan, e->ids, t), &first, &end);
        float *out = cpu_row(plan, e->out, t);
        add_table_row(hand, stage, e->word, ids[t], true, out, hand->scratch);
        if (e->position != ZEB_NONE) add_table_row(hand, stage, e->position, t - first, false, out, hand->scratch);
        if (e->type != ZEB_NONE)
            add_table_row(hand, stage, e->type, cpu_ints(plan, e->types)[t], false, out, hand->scratch);
    }
    const cpu_tensor *t = &plan->tensor[e->out];
    float *out = cpu_row(plan, e->out, r0);
    if (e->norm.kind != 0)
        plan->kernels->norm(&e->norm, out, t->ld, NULL, 0, NULL, out, t->ld, (int)(r1 - r0), (int)t->width);
    if (e->codes != ZEB_NONE) cpu_code_rows(plan, e->out, e->codes, r0, r1);
}

static void run_embed(const cpu_hand *hand, const cpu_stage *stage, int64_t r0, int64_t r1, int p0, int p1) {
    (void)p0, (void)p1;
    for (int64_t r = r0; r < r1; r += CPU_STRIP_ROWS)
        embed_strip(hand, stage, r, r + CPU_STRIP_ROWS < r1 ? r + CPU_STRIP_ROWS : r1);
}

CPU_LOWER(embed) {
    cpu_embed *e = &stage->as.embed;
    e->ids = node->input[ZEB_EMBED_IDS];
    e->types = node->input[ZEB_EMBED_TYPES];
    e->word = node->input[ZEB_EMBED_WORD];
    e->position = node->input[ZEB_EMBED_POSITION];
    e->type = e->types == ZEB_NONE ? ZEB_NONE : node->input[ZEB_EMBED_TYPE];
    e->out = node->output[0];
    e->codes = ZEB_NONE;
    e->norm.kind = node->attr.embed.norm;
    e->norm.epsilon = node->attr.embed.epsilon;
    zeb_status status = ZEB_OK;
    if (e->norm.kind != 0) {
        status = cpu_plan_widen(plan, node->input[ZEB_EMBED_GAMMA], 0, &e->norm.gamma, error);
        if (status == ZEB_OK) status = cpu_plan_widen(plan, node->input[ZEB_EMBED_BETA], 0, &e->norm.beta, error);
    }
    cpu_plan_scratch(plan, (size_t)plan->tensor[e->out].width * sizeof(float));
    cpu_stage_reads(stage, e->ids);
    cpu_stage_reads(stage, e->types);
    cpu_stage_writes(stage, e->out);
    stage->space = e->out;
    stage->rows = run_embed;
    return status;
}

/* ---- norm ------------------------------------------------------------------------------------------------------ */

static void run_norm(const cpu_hand *hand, const cpu_stage *stage, int64_t r0, int64_t r1, int p0, int p1) {
    const zeb_plan *plan = hand->plan;
    const cpu_norm *n = &stage->as.norm;
    const cpu_tensor *x = &plan->tensor[n->x], *out = &plan->tensor[n->out];
    (void)p0, (void)p1;
    for (int64_t r = r0; r < r1; r += CPU_STRIP_ROWS) {
        const int64_t end = r + CPU_STRIP_ROWS < r1 ? r + CPU_STRIP_ROWS : r1;
        const float *residual = n->residual == ZEB_NONE ? NULL : cpu_row(plan, n->residual, n->by == ZEB_NONE ? r : 0);
        const size_t ldr = n->residual == ZEB_NONE ? 0 : plan->tensor[n->residual].ld;
        const int32_t *by = n->by == ZEB_NONE ? NULL : cpu_ints(plan, n->by) + r;
        plan->kernels->norm(&n->row, cpu_row(plan, n->x, r), x->ld, residual, ldr, by, cpu_row(plan, n->out, r),
                            out->ld, (int)(end - r), (int)out->width);
        if (n->codes != ZEB_NONE) cpu_code_rows(plan, n->out, n->codes, r, end);
    }
}

CPU_LOWER(norm) {
    cpu_norm *n = &stage->as.norm;
    n->x = node->input[ZEB_NORM_X];
    n->by = plan->tensor[n->x].by;
    n->residual = n->by == ZEB_NONE ? node->input[ZEB_NORM_RESIDUAL] : plan->tensor[n->x].from;
    n->out = node->output[0];
    n->codes = ZEB_NONE;
    n->row.kind = node->attr.norm.kind;
    n->row.epsilon = node->attr.norm.epsilon;
    zeb_status status = cpu_plan_widen(plan, node->input[ZEB_NORM_GAMMA], 0, &n->row.gamma, error);
    if (status == ZEB_OK) status = cpu_plan_widen(plan, node->input[ZEB_NORM_BETA], 0, &n->row.beta, error);
    if (n->row.kind == ZEB_NORM_RMS) n->row.beta = NULL; /* has none by definition */
    cpu_stage_reads(stage, n->x);
    cpu_stage_reads(stage, n->residual);
    cpu_stage_reads(stage, n->by);
    if (n->by != ZEB_NONE) stage->scattered = n->residual;
    cpu_stage_writes(stage, n->out);
    stage->space = n->out;
    stage->rows = run_norm;
    return status;
}

/* ---- activation ------------------------------------------------------------------------------------------------ */

static void run_activation(const cpu_hand *hand, const cpu_stage *stage, int64_t r0, int64_t r1, int p0, int p1) {
    const zeb_plan *plan = hand->plan;
    const cpu_activation *a = &stage->as.activation;
    const int width = (int)plan->tensor[a->out].width;
    (void)p0, (void)p1;
    for (int64_t t = r0; t < r1; t++) {
        float *out = cpu_row(plan, a->out, t);
        memcpy(out, cpu_row(plan, a->x, t), (size_t)width * sizeof *out);
        plan->kernels->activate(a->activation, out, 0, 1, width);
        if (a->gate != ZEB_NONE) plan->kernels->multiply(out, cpu_row(plan, a->gate, t), width);
    }
}

CPU_LOWER(activation) {
    cpu_activation *a = &stage->as.activation;
    (void)plan, (void)error;
    a->x = node->input[ZEB_ACTIVATION_X];
    a->gate = node->input[ZEB_ACTIVATION_GATE];
    a->out = node->output[0];
    a->activation = node->attr.activation.activation;
    cpu_stage_reads(stage, a->x);
    cpu_stage_reads(stage, a->gate);
    cpu_stage_writes(stage, a->out);
    stage->space = a->out;
    stage->rows = run_activation;
    return ZEB_OK;
}

/* ---- gather ---------------------------------------------------------------------------------------------------- */

static void run_gather(const cpu_hand *hand, const cpu_stage *stage, int64_t r0, int64_t r1, int p0, int p1) {
    const zeb_plan *plan = hand->plan;
    const cpu_gather *g = &stage->as.gather;
    const cpu_tensor *x = &plan->tensor[g->x], *out = &plan->tensor[g->out];
    const size_t bytes = zeb_dtype_bytes(x->dtype, (size_t)x->width);
    const int32_t *index = cpu_ints(plan, g->indices);
    (void)p0, (void)p1;
    for (int64_t t = r0; t < r1; t++) { /* both types are of four bytes */
        char *to = (char *)out->data + (size_t)t * out->ld * 4;
        if (index[t] >= 0 && index[t] < x->rows)
            memcpy(to, (const char *)x->data + (size_t)index[t] * x->ld * 4, bytes);
        else
            memset(to, 0, bytes);
    }
}

CPU_LOWER(gather) {
    cpu_gather *g = &stage->as.gather;
    (void)plan, (void)error;
    g->x = node->input[ZEB_GATHER_X];
    g->indices = node->input[ZEB_GATHER_INDICES];
    g->out = node->output[0];
    cpu_stage_reads(stage, g->x);
    cpu_stage_reads(stage, g->indices);
    cpu_stage_writes(stage, g->out);
    stage->space = g->out;
    stage->scattered = g->x;
    stage->rows = run_gather;
    return ZEB_OK;
}
