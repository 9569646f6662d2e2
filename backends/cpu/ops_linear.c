/* ops_linear.c - LINEAR: packed weights, panel by panel, the register tiles of a panel balanced over the rows. */
#include <stdlib.h>
#include <string.h>

#include "blocks.h"
#include "pack.h"
#include "plan.h"

/* Longest stretch of k in one go: a panel of it stays in the first-level cache while the rows pass. */
enum { K_BLOCK = 256 };
/* A panel of four bits is left unpacked by the first tile for the others. Beyond so many bytes too little of it would
 * stay in that cache: up to a few tiles, each unpacks it in registers. */
enum { FOUR_ROOM = 24 << 10 };

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

/* One panel for rows r0 .. r1 in F32. */
static void run_panel_f32(const zeb_plan *plan, const cpu_linear *l, int panel, int64_t r0, int64_t r1) {
    const cpu_kernels *kernels = plan->kernels;
    const cpu_linear_part *part = part_of(l, panel);
    const int64_t columns = kernels->tile_columns, c0 = (panel - part->first) * columns;
    const int64_t tiles = (r1 - r0 + kernels->tile_rows - 1) / kernels->tile_rows;
    const bool late_residual = part->residual != ZEB_NONE && part->activation != ZEB_ACT_NONE;
    cpu_tile tile = {.lda = plan->tensor[l->x].ld,
                     .ldb = (size_t)columns,
                     .ldc = plan->tensor[part->out].ld,
                     .n = (int)(part->n - c0 < columns ? part->n - c0 : columns)};
    cpu_runs runs;
    const int64_t blocks = (l->k + K_BLOCK - 1) / K_BLOCK;
    const int64_t height = tiles > 0 ? (r1 - r0) / tiles : 0, taller = r1 - r0 - height * tiles; /* by one row */
    for (int64_t block = 0; block < blocks; block++) {
        const int64_t k = l->k * block / blocks, k_end = l->k * (block + 1) / blocks;
        const bool last = block + 1 == blocks;
        tile.k = (int)(k_end - k);
        tile.b = l->packed + (panel * l->k + k) * columns;
        tile.accumulate = k > 0;
        tile.bias = k == 0 && l->bias != NULL ? l->bias + panel * columns : NULL;
        for (int64_t i = 0, r = r0, end; i < tiles; i++, r = end) {
            end = r + height + (i < taller);
            /* the next stretch of weights, half of it in each of the first two tiles */
            tile.ahead = i < 2 ? (const char *)(tile.b + tile.k * columns) + i * tile.k * 64 : NULL;
            tile.a = cpu_row(plan, l->x, r) + k;
            tile.c = cpu_row(plan, part->out, r) + c0;
            if (last && part->residual != ZEB_NONE && !late_residual) {
                tile.residual = cpu_row(plan, part->residual, r) + c0;
                tile.ldr = plan->tensor[part->residual].ld;
            }
            if (l->flags == ZEB_NONE) {
                kernels->tile[end - r](&tile);
            } else {
                cpu_open_runs(plan, l, block == 0 ? panel : 1, r, end, &runs);
                cpu_tile_runs(kernels, &tile, (int)(end - r), &runs, plan->tensor[l->x].block, k);
            }
            if (last && part->activation != ZEB_ACT_NONE)
                kernels->activate(part->activation, tile.c, tile.ldc, (int)(end - r), tile.n);
            if (last && late_residual) add_residual(plan, part, r, end, c0, tile.n);
        }
    }
}

/* The same from codes. Panels of eight bits are small: all of k in one go. */
static void run_panel_i8(const cpu_hand *hand, const cpu_linear *l, int panel, int64_t r0, int64_t r1) {
    const zeb_plan *plan = hand->plan;
    const cpu_kernels *kernels = plan->kernels;
    const cpu_linear_part *part = part_of(l, panel);
    const cpu_tensor *codes = &plan->tensor[l->codes];
    const int64_t columns = kernels->tile_columns, c0 = (panel - part->first) * columns;
    const int64_t most = l->four ? kernels->groups_rows : kernels->tile_rows;
    const int64_t tiles = (r1 - r0 + most - 1) / most, steps = (int64_t)l->groups * l->steps;
    const int64_t bytes = steps * columns * kernels->i8_step / (l->four ? 2 : 1);
    const bool unpacks = l->four && kernels->tile_four[1] != NULL; /* in registers: the first tile, or all */
    const bool keeps = unpacks && tiles > (bytes <= FOUR_ROOM / 2 ? 1 : plan->device->choices.four_tiles);
    const bool late_residual = part->residual != ZEB_NONE && part->activation != ZEB_ACT_NONE;
    cpu_tile_i8 tile = {.ldx = codes->ld,
                        .w = l->codes_w + panel * bytes,
                        .start = l->start + panel * l->groups * columns,
                        .w_scale = l->scale + panel * l->groups * columns,
                        .ldc = plan->tensor[part->out].ld,
                        .bias = l->bias == NULL ? NULL : l->bias + panel * columns,
                        .steps = l->steps,
                        .groups = l->groups,
                        .n = (int)(part->n - c0 < columns ? part->n - c0 : columns)};
    cpu_runs runs;
    if (l->flags != ZEB_NONE) {
        const int64_t count = plan->tensor[l->flags].width;
        tile.start = l->open_start + panel * count * columns;
        tile.steps = plan->tensor[l->x].block / kernels->i8_step;
        tile.run = runs.at;
    }
    const char *next = (const char *)(tile.w + bytes);
    if (l->four && !unpacks) kernels->unpack_four(tile.w, (int)steps, hand->scratch);
    if (keeps) tile.keep = hand->scratch;
    const bool tall = plan->device->choices.tile_split == 2;
    const int64_t height = tiles > 0 ? (r1 - r0) / tiles : 0, taller = r1 - r0 - height * tiles; /* by one row */
    for (int64_t i = 0, r = r0, end; i < tiles; i++, r = end) {
        end = !tall ? r + height + (i < taller) : r + most < r1 ? r + most : r1;
        tile.ahead = i < 2 ? next + i * steps * 64 : NULL;
        if (l->four && (!unpacks || (keeps && i > 0))) tile.w = hand->scratch;
        tile.x = (const unsigned char *)codes->data + (size_t)r * codes->ld;
        tile.x_scale = cpu_row(plan, l->codes + 1, r);
        tile.c = cpu_row(plan, part->out, r) + c0;
        if (part->residual != ZEB_NONE && !late_residual) {
            tile.residual = cpu_row(plan, part->residual, r) + c0;
            tile.ldr = plan->tensor[part->residual].ld;
        }
        if (l->flags != ZEB_NONE) {
            cpu_open_runs(plan, l, panel, r, end, &runs);
            tile.runs = runs.count;
        }
        (l->flags != ZEB_NONE           ? kernels->tile_open
         : !l->four                     ? kernels->tile_i8
         : unpacks && !(keeps && i > 0) ? kernels->tile_four
                                        : kernels->tile_groups)[end - r](&tile);
        if (part->activation != ZEB_ACT_NONE)
            kernels->activate(part->activation, tile.c, tile.ldc, (int)(end - r), tile.n);
        if (late_residual) add_residual(plan, part, r, end, c0, tile.n);
    }
}

/* Panels p0 .. p1 of one part as a slab. */
static void run_slab(const cpu_hand *hand, const cpu_linear *l, const cpu_linear_part *part, int p0, int p1, int64_t r0,
                     int64_t r1) {
    const zeb_plan *plan = hand->plan;
    const cpu_kernels *kernels = plan->kernels;
    const cpu_tensor *x = &plan->tensor[l->halves ? l->x : l->codes];
    const int64_t columns = kernels->tile_columns, c0 = (p0 - part->first) * columns, n = (p1 - p0) * columns;
    const size_t ldx = zeb_dtype_bytes(x->dtype, x->ld);
    cpu_slab slab = {.x = (const unsigned char *)x->data + (size_t)r0 * ldx,
                     .ldx = ldx,
                     .w = l->codes_w + (int64_t)p0 * l->steps * columns * 4,
                     .c = cpu_row(plan, part->out, r0) + c0,
                     .ldc = plan->tensor[part->out].ld,
                     .bias = l->bias == NULL ? NULL : l->bias + p0 * columns,
                     .rows = (int)(r1 - r0),
                     .n = (int)(part->n - c0 < n ? part->n - c0 : n),
                     .steps = l->steps / CPU_SLAB_STEP,
                     .activation = part->activation};
    if (part->residual != ZEB_NONE) {
        slab.residual = cpu_row(plan, part->residual, r0) + c0;
        slab.ldr = plan->tensor[part->residual].ld;
    }
    if (p0 == 0) cpu_note_all(plan, l, r1 - r0); /* closed blocks are zeros here: faster than to skip them */
    if (l->halves) {
        kernels->slab_bf16(&slab);
        return;
    }
    slab.x_scale = cpu_row(plan, l->codes + 1, r0);
    slab.start = l->start + p0 * columns * l->groups;
    slab.w_scale = l->scale + p0 * columns * l->groups;
    if (l->four) {
        slab.w = l->codes_w + (int64_t)p0 * l->groups * l->steps * columns * kernels->i8_step / 2;
        slab.steps = l->steps;
        slab.groups = l->groups;
        slab.room = hand->scratch;
        kernels->slab_four(&slab);
        return;
    }
    kernels->slab_i8(&slab);
}

/* Whether so many rows are multiplied as a slab. */
static bool takes_slabs(const zeb_plan *plan, const cpu_linear *l, int64_t rows) {
    const cpu_kernels *kernels = plan->kernels;
    if (l->four) return kernels->slab_four != NULL && rows >= kernels->tile_rows;
    return l->halves || (kernels->slab_i8 != NULL && l->integers && rows >= plan->device->choices.slab_rows);
}

static void run_panel(const cpu_hand *hand, const cpu_linear *l, int panel, int64_t r0, int64_t r1) {
    const zeb_plan *plan = hand->plan;
    if (takes_slabs(plan, l, r1 - r0))
        run_slab(hand, l, part_of(l, panel), panel, panel + 1, r0, r1);
    else if (l->integers)
        run_panel_i8(hand, l, panel, r0, r1);
    else
        run_panel_f32(plan, l, panel, r0, r1);
}

static void run_panels(const cpu_hand *hand, const cpu_linear *l, int p0, int p1, int64_t r0, int64_t r1) {
    const bool slabs = takes_slabs(hand->plan, l, r1 - r0);
    for (int p = p0, end; p < p1; p = end) {
        const cpu_linear_part *part = part_of(l, p);
        end = !slabs ? p + 1 : part->first + part->count < p1 ? part->first + part->count : p1;
        if (slabs)
            run_slab(hand, l, part, p, end, r0, r1);
        else
            run_panel(hand, l, p, r0, r1);
    }
}

/* A panel of one sequence under its gates: not computed if all its groups are closed, else closed groups are wiped. */
static void run_gated_panel(const cpu_hand *hand, const cpu_linear *l, int panel, int64_t r0, int64_t r1,
                            const float *gate) {
    const zeb_plan *plan = hand->plan;
    const cpu_linear_part *part = part_of(l, panel);
    const int64_t columns = plan->kernels->tile_columns, c0 = (panel - part->first) * columns;
    const int64_t c1 = c0 + columns < part->n ? c0 + columns : part->n, width = part->n / l->gate_groups;
    bool open = false;
    for (int64_t g = c0 / width; g * width < c1; g++)
        open = open || gate[g] != 0.0f;
    if (open) run_panel(hand, l, panel, r0, r1);
    for (int64_t g = c0 / width; g * width < c1; g++) {
        const int64_t from = g * width > c0 ? g * width : c0, to = (g + 1) * width < c1 ? (g + 1) * width : c1;
        if (gate[g] == 0.0f) close_columns(plan, part, r0, r1, from, to);
    }
}

/* Where columns are divided, other workers have just written rows of x: asked for all at once, their lines come from
 * the other cores in a quarter of the time. */
static void ask_for_rows(const zeb_plan *plan, const cpu_linear *l, int64_t r0, int64_t r1) {
    const cpu_tensor *x = &plan->tensor[l->integers ? l->codes : l->x];
    const size_t ld = zeb_dtype_bytes(x->dtype, x->ld), bytes = zeb_dtype_bytes(x->dtype, (size_t)x->width);
    for (int64_t r = r0; r < r1; r++)
        for (size_t i = 0; i < bytes; i += 64)
            __builtin_prefetch((const char *)x->data + (size_t)r * ld + i, 0, 2);
}

static void run_linear(const cpu_hand *hand, const cpu_stage *stage, int64_t r0, int64_t r1, int p0, int p1) {
    const zeb_plan *plan = hand->plan;
    const cpu_linear *l = &stage->as.linear;
    if (p1 - p0 < l->panels) ask_for_rows(plan, l, r0, r1);
    if (l->gates == ZEB_NONE) {
        run_panels(hand, l, p0, p1, r0, r1);
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
            run_gated_panel(hand, l, p, r, end, gate);
        r = end;
    }
}

/* ---- lowering -------------------------------------------------------------------------------------------------- */

static const cpu_tensor *scale_of(const zeb_plan *plan, const cpu_tensor *weight) {
    return weight->scale == ZEB_NONE ? NULL : &plan->tensor[weight->scale];
}

/* Floats: as they are, rounded to bfloat16, or from four bits. */
static zeb_status pack_floats(zeb_plan *plan, cpu_linear *l, const zeb_node *const *node, uint32_t precision,
                              float *row, int8_t *number, zeb_error *error) {
    float *packed = NULL;
    const size_t panel = (size_t)l->k * (size_t)plan->kernels->tile_columns;
    const zeb_status status = cpu_plan_hold(plan, (size_t)l->panels * panel * sizeof *packed, (void **)&packed, error);
    for (uint32_t i = 0; status == ZEB_OK && i < l->parts; i++) {
        const cpu_tensor *w = &plan->tensor[node[i]->input[ZEB_LINEAR_W]];
        float *to = packed + (size_t)l->part[i].first * panel;
        if (precision == ZEB_PRECISION_W4A16)
            cpu_pack_w4a16(plan->kernels, w, scale_of(plan, w), row, number, to);
        else if (precision == ZEB_PRECISION_BF16)
            cpu_pack_bf16(plan->kernels, w, to);
        else
            cpu_pack_f32(plan->kernels, w, to);
    }
    l->packed = packed;
    return status;
}

static zeb_status pack_halves(zeb_plan *plan, cpu_linear *l, const zeb_node *const *node, float *row,
                              zeb_error *error) {
    uint16_t *packed = NULL;
    l->steps = (int)((l->k + 31) / 32) * CPU_SLAB_STEP;
    const size_t panel = (size_t)l->steps * (size_t)plan->kernels->tile_columns * 2;
    const zeb_status status = cpu_plan_hold(plan, (size_t)l->panels * panel * sizeof *packed, (void **)&packed, error);
    for (uint32_t i = 0; status == ZEB_OK && i < l->parts; i++)
        cpu_pack_halves(plan->kernels, &plan->tensor[node[i]->input[ZEB_LINEAR_W]], row,
                        packed + (size_t)l->part[i].first * panel);
    l->codes_w = (const int8_t *)packed;
    return status;
}

static zeb_status pack_integers(zeb_plan *plan, cpu_linear *l, const zeb_node *const *node, bool four, float *row,
                                int8_t *number, zeb_error *error) {
    cpu_codes all = {NULL, NULL, NULL, 0, 0};
    cpu_codes_shape(plan->kernels, &plan->tensor[node[0]->input[ZEB_LINEAR_W]], four, &all);
    const size_t columns = (size_t)plan->kernels->tile_columns, groups = (size_t)all.groups * columns;
    const size_t codes = groups * (size_t)all.steps * (size_t)plan->kernels->i8_step;
    const size_t panel = four ? codes / 2 : codes, panels = (size_t)l->panels;
    zeb_status status = cpu_plan_hold(plan, panels * panel, (void **)&all.w, error);
    if (status == ZEB_OK) status = cpu_plan_hold(plan, panels * groups * sizeof *all.start, (void **)&all.start, error);
    if (status == ZEB_OK) status = cpu_plan_hold(plan, panels * groups * sizeof *all.scale, (void **)&all.scale, error);
    for (uint32_t i = 0; status == ZEB_OK && i < l->parts; i++) {
        const cpu_tensor *w = &plan->tensor[node[i]->input[ZEB_LINEAR_W]];
        const size_t first = (size_t)l->part[i].first;
        const cpu_codes part = {all.w + first * panel, all.start + first * groups, all.scale + first * groups,
                                all.groups, all.steps};
        cpu_pack_codes(plan->kernels, w, scale_of(plan, w), four, &part, row, number);
    }
    if (four) cpu_plan_scratch(plan, codes); /* a panel, unpacked */
    l->four = four;
    l->groups = all.groups;
    l->steps = all.steps;
    l->codes_w = all.w;
    l->start = all.start;
    l->scale = all.scale;
    return status;
}

static zeb_status pack_weights(zeb_plan *plan, cpu_linear *l, const zeb_node *const *node, zeb_error *error) {
    const uint32_t precision = node[0]->attr.linear.precision;
    const bool four = precision == ZEB_PRECISION_W4A8;
    float *row = malloc((size_t)l->k * sizeof *row);
    int8_t *number = malloc((size_t)l->k);
    zeb_status status = ZEB_ERR_MEMORY;
    l->integers = four || precision == ZEB_PRECISION_W8A8;
    if (row == NULL || number == NULL)
        status = zeb_fail(error, ZEB_ERR_MEMORY, "no memory to pack \"%s\"", node[0]->name);
    else if (l->integers)
        status = pack_integers(plan, l, node, four, row, number, error);
    else if (l->halves)
        status = pack_halves(plan, l, node, row, error);
    else
        status = pack_floats(plan, l, node, precision, row, number, error);
    free(row);
    free(number);
    return status;
}

static zeb_status pack_biases(zeb_plan *plan, cpu_linear *l, const zeb_node *const *node, zeb_error *error) {
    const size_t columns = (size_t)plan->kernels->tile_columns;
    bool any = false;
    for (uint32_t i = 0; i < l->parts; i++)
        any = any || node[i]->input[ZEB_LINEAR_BIAS] != ZEB_NONE;
    float *bias = NULL;
    if (!any) return ZEB_OK;
    const zeb_status status = cpu_plan_hold(plan, (size_t)l->panels * columns * sizeof *bias, (void **)&bias, error);
    for (uint32_t i = 0; status == ZEB_OK && i < l->parts; i++) {
        const int32_t from = node[i]->input[ZEB_LINEAR_BIAS];
        if (from == ZEB_NONE) continue;
        const cpu_tensor *t = &plan->tensor[from];
        plan->kernels->widen(t->dtype, t->data, bias + (size_t)l->part[i].first * columns, (size_t)l->part[i].n);
    }
    l->bias = bias;
    return status;
}

zeb_status cpu_lower_linears(zeb_plan *plan, const zeb_node *const *node, uint32_t count, cpu_stage *stage,
                             zeb_error *error) {
    cpu_linear *l = &stage->as.linear;
    const int32_t x = node[0]->input[ZEB_LINEAR_X];
    const uint32_t precision = node[0]->attr.linear.precision;
    l->codes = plan->tensor[x].codes;
    l->x = precision == ZEB_PRECISION_BF16 ? plan->tensor[x].halves : x;
    l->halves = precision == ZEB_PRECISION_BF16 && plan->tensor[l->x].dtype == ZEB_BF16;
    l->flags = plan->tensor[x].flags;
    l->done = &stage->ticket[0];
    l->gates = node[0]->input[ZEB_LINEAR_GATES];
    l->gate_groups = node[0]->attr.linear.gate_groups;
    l->k = plan->tensor[x].width;
    for (uint32_t i = 0; i < count; i++) {
        cpu_linear_part *part = &l->part[l->parts++];
        part->out = node[i]->output[0];
        part->residual = node[i]->input[ZEB_LINEAR_RESIDUAL];
        if (part->residual != ZEB_NONE && plan->tensor[part->residual].by != ZEB_NONE) { /* the norm will add it */
            plan->tensor[part->out].from = plan->tensor[part->residual].from;
            plan->tensor[part->out].by = plan->tensor[part->residual].by;
            part->residual = ZEB_NONE;
        }
        part->activation = node[i]->attr.linear.activation;
        part->first = l->panels;
        part->n = plan->tensor[node[i]->input[ZEB_LINEAR_W]].rows;
        part->count = cpu_panels(plan->kernels, part->n);
        l->panels += part->count;
        cpu_stage_reads(stage, part->residual);
        cpu_stage_writes(stage, part->out);
    }
    zeb_status status = pack_weights(plan, l, node, error);
    if (status == ZEB_OK) status = pack_biases(plan, l, node, error);
    if (status == ZEB_OK) status = cpu_open_starts(plan, l, error);
    cpu_stage_reads(stage, l->flags);
    cpu_stage_reads(stage, l->integers ? l->codes : l->x);
    if (l->integers) cpu_stage_reads(stage, l->codes + 1);
    cpu_stage_reads(stage, l->gates);
    stage->space = l->part[0].out;
    stage->panels = l->panels;
    stage->rows = run_linear;
    return status;
}

CPU_LOWER(linear) {
    return cpu_lower_linears(plan, &node, 1, stage, error);
}
