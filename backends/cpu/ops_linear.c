/* ops_linear.c - LINEAR: packed weights, panel by panel, the register tiles of a panel balanced over the rows. */
#include <string.h>

#include "pack.h"
#include "plan.h"

/* Longest stretch of k in one go: a panel of it stays in the first-level cache while the rows pass. */
enum { K_BLOCK = 256 };

static const cpu_linear_part *part_of(const cpu_linear *l, int panel) {
    uint32_t i = 0;
    while (i + 1 < l->parts && panel >= l->part[i + 1].first)
        i++;
    return &l->part[i];
}

/* out[r0 .. r1, c0 .. c1] = residual, or 0: what a closed group leaves. */
static void close_columns(const zeb_plan *plan, const cpu_linear_part *part, int64_t r0, int64_t r1, int64_t c0,
                          int64_t c1) {
    const size_t bytes = (size_t)(c1 - c0) * sizeof(float);
    for (int64_t r = r0; r < r1; r++) {
        float *out = cpu_row(plan, part->out, r) + c0;
        if (part->residual == ZEB_NONE)
            memset(out, 0, bytes);
        else
            memcpy(out, cpu_row(plan, part->residual, r) + c0, bytes);
    }
}

static void add_residual(const zeb_plan *plan, const cpu_linear_part *part, int64_t r0, int64_t r1, int64_t c0, int n) {
    for (int64_t r = r0; r < r1; r++)
        plan->kernels->axpy(cpu_row(plan, part->out, r) + c0, cpu_row(plan, part->residual, r) + c0, 1.0f, n);
}

/* One panel for rows r0 .. r1. */
static void run_panel(const zeb_plan *plan, const cpu_linear *l, int panel, int64_t r0, int64_t r1) {
    const cpu_kernels *kernels = plan->kernels;
    const cpu_linear_part *part = part_of(l, panel);
    const int64_t columns = kernels->tile_columns, c0 = (panel - part->first) * columns;
    const int64_t tiles = (r1 - r0 + kernels->tile_rows - 1) / kernels->tile_rows;
    const bool late_residual = part->residual != ZEB_NONE && part->activation != ZEB_ACT_NONE;
    cpu_tile tile = {.lda = plan->tensor[l->x].ld,
                     .ldb = (size_t)columns,
                     .ldc = plan->tensor[part->out].ld,
                     .n = (int)(part->n - c0 < columns ? part->n - c0 : columns)};
    const int64_t blocks = (l->k + K_BLOCK - 1) / K_BLOCK;
    for (int64_t block = 0; block < blocks; block++) {
        const int64_t k = l->k * block / blocks, k_end = l->k * (block + 1) / blocks;
        const bool last = block + 1 == blocks;
        tile.k = (int)(k_end - k);
        tile.b = l->packed + (panel * l->k + k) * columns;
        tile.accumulate = k > 0;
        tile.bias = k == 0 && l->bias != NULL ? l->bias + panel * columns : NULL;
        for (int64_t i = 0; i < tiles; i++) {
            const int64_t r = r0 + (r1 - r0) * i / tiles, end = r0 + (r1 - r0) * (i + 1) / tiles;
            /* the next stretch of weights, half of it in each of the first two tiles */
            tile.ahead = i < 2 ? (const char *)(tile.b + tile.k * columns) + i * tile.k * 64 : NULL;
            tile.a = cpu_row(plan, l->x, r) + k;
            tile.c = cpu_row(plan, part->out, r) + c0;
            if (last && part->residual != ZEB_NONE && !late_residual) {
                tile.residual = cpu_row(plan, part->residual, r) + c0;
                tile.ldr = plan->tensor[part->residual].ld;
            }
            kernels->tile[end - r](&tile);
            if (last && part->activation != ZEB_ACT_NONE)
                kernels->activate(part->activation, tile.c, tile.ldc, (int)(end - r), tile.n);
            if (last && late_residual) add_residual(plan, part, r, end, c0, tile.n);
        }
    }
}

/* A panel of one sequence under its gates: not computed if all its groups are closed, else closed groups are wiped. */
static void run_gated_panel(const zeb_plan *plan, const cpu_linear *l, int panel, int64_t r0, int64_t r1,
                            const float *gate) {
    const cpu_linear_part *part = part_of(l, panel);
    const int64_t columns = plan->kernels->tile_columns, c0 = (panel - part->first) * columns;
    const int64_t c1 = c0 + columns < part->n ? c0 + columns : part->n, width = part->n / l->gate_groups;
    bool open = false;
    for (int64_t g = c0 / width; g * width < c1; g++)
        open = open || gate[g] != 0.0f;
    if (open) run_panel(plan, l, panel, r0, r1);
    for (int64_t g = c0 / width; g * width < c1; g++) {
        const int64_t from = g * width > c0 ? g * width : c0, to = (g + 1) * width < c1 ? (g + 1) * width : c1;
        if (gate[g] == 0.0f) close_columns(plan, part, r0, r1, from, to);
    }
}

static void run_linear(const cpu_hand *hand, const cpu_stage *stage, int64_t r0, int64_t r1, int p0, int p1) {
    const zeb_plan *plan = hand->plan;
    const cpu_linear *l = &stage->as.linear;
    if (l->gates == ZEB_NONE) {
        for (int p = p0; p < p1; p++)
            run_panel(plan, l, p, r0, r1);
        return;
    }
    for (int64_t r = r0; r < r1;) {
        const int64_t b = cpu_sequence_of(plan, l->x, r);
        int64_t first, end;
        cpu_sequence_rows(plan, l->x, b, &first, &end);
        end = end < r1 ? end : r1;
        if (end <= r) end = r + 1; /* a row of no sequence can't be: go on all the same */
        const float *gate = cpu_row(plan, l->gates, b);
        for (int p = p0; p < p1; p++)
            run_gated_panel(plan, l, p, r, end, gate);
        r = end;
    }
}

zeb_status cpu_lower_linears(zeb_plan *plan, const zeb_node *const *node, uint32_t count, cpu_stage *stage,
                             zeb_error *error) {
    cpu_linear *l = &stage->as.linear;
    const size_t columns = (size_t)plan->kernels->tile_columns;
    zeb_status status = ZEB_OK;
    bool biased = false;
    l->x = node[0]->input[ZEB_LINEAR_X];
    l->gates = node[0]->input[ZEB_LINEAR_GATES];
    l->gate_groups = node[0]->attr.linear.gate_groups;
    l->k = plan->tensor[l->x].width;
    for (uint32_t i = 0; i < count; i++) {
        cpu_linear_part *part = &l->part[l->parts++];
        part->out = node[i]->output[0];
        part->residual = node[i]->input[ZEB_LINEAR_RESIDUAL];
        part->activation = node[i]->attr.linear.activation;
        part->first = l->panels;
        part->n = plan->tensor[node[i]->input[ZEB_LINEAR_W]].rows;
        part->count = cpu_panels(plan->kernels, part->n);
        l->panels += part->count;
        biased = biased || node[i]->input[ZEB_LINEAR_BIAS] != ZEB_NONE;
        cpu_stage_reads(stage, part->residual);
        cpu_stage_writes(stage, part->out);
    }
    float *packed = NULL, *bias = NULL;
    const size_t panel = (size_t)l->k * columns;
    status = cpu_plan_hold(plan, (size_t)l->panels * panel * sizeof *packed, (void **)&packed, error);
    if (status == ZEB_OK && biased)
        status = cpu_plan_hold(plan, (size_t)l->panels * columns * sizeof *bias, (void **)&bias, error);
    for (uint32_t i = 0; status == ZEB_OK && i < count; i++) {
        const cpu_linear_part *part = &l->part[i];
        const int32_t from = node[i]->input[ZEB_LINEAR_BIAS];
        cpu_pack_f32(plan->kernels, &plan->tensor[node[i]->input[ZEB_LINEAR_W]], packed + (size_t)part->first * panel);
        if (from != ZEB_NONE)
            plan->kernels->widen(plan->tensor[from].dtype, plan->tensor[from].data,
                                 bias + (size_t)part->first * columns, (size_t)part->n);
    }
    l->packed = packed;
    l->bias = bias;
    cpu_stage_reads(stage, l->x);
    cpu_stage_reads(stage, l->gates);
    stage->space = l->part[0].out;
    stage->panels = l->panels;
    stage->rows = run_linear;
    return status;
}

CPU_LOWER(linear) {
    return cpu_lower_linears(plan, &node, 1, stage, error);
}
