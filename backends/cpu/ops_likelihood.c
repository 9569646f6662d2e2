/* ops_likelihood.c - LOG_LIKELIHOOD: the logits of a tile of rows pass panel by panel and are never all kept; a running
 * maximum and sum a row make the logarithm of the softmax's denominator. */
#include <math.h>

#include "pack.h"
#include "plan.h"

typedef struct running {
    float peak[CPU_TILE_ROWS_MAX];
    double sum[CPU_TILE_ROWS_MAX]; /* of exp(logit - peak) */
    float wanted[CPU_TILE_ROWS_MAX];
} running;

static void take_panel(const cpu_kernels *kernels, running *run, float *logit, int rows, int n, int64_t c0,
                       const int32_t *target) {
    for (int r = 0; r < rows; r++, logit += CPU_TILE_COLUMNS_MAX) {
        if (target[r] >= c0 && target[r] < c0 + n) run->wanted[r] = logit[target[r] - c0];
        float peak, total;
        kernels->softmax(logit, 0, 1, n, &n, 1.0f, &peak, &total);
        const double sum = (double)total;
        if (c0 == 0 || peak > run->peak[r]) {
            run->sum[r] = sum + (c0 == 0 ? 0.0 : run->sum[r] * exp((double)run->peak[r] - (double)peak));
            run->peak[r] = peak;
        } else {
            run->sum[r] += sum * exp((double)peak - (double)run->peak[r]);
        }
    }
}

static void run_tile(const zeb_plan *plan, const cpu_likelihood *l, int64_t row, int rows) {
    const cpu_kernels *kernels = plan->kernels;
    const int columns = kernels->tile_columns;
    float logit[CPU_TILE_ROWS_MAX * CPU_TILE_COLUMNS_MAX];
    const int32_t *target = cpu_ints(plan, l->targets) + row;
    running run = {{0}, {0}, {0}};
    cpu_tile tile = {.a = cpu_row(plan, l->x, row),
                     .lda = plan->tensor[l->x].ld,
                     .ldb = (size_t)columns,
                     .c = logit,
                     .ldc = CPU_TILE_COLUMNS_MAX,
                     .k = (int)l->k};
    for (int p = 0; p < l->panels; p++) {
        const int64_t c0 = (int64_t)p * columns;
        tile.b = l->packed + (int64_t)p * l->k * columns;
        tile.n = (int)(l->n - c0 < columns ? l->n - c0 : columns);
        kernels->tile[rows](&tile);
        take_panel(kernels, &run, logit, rows, tile.n, c0, target);
    }
    for (int r = 0; r < rows; r++)
        *cpu_row(plan, l->out, row + r) =
            target[r] < 0 ? 0.0f : (float)((double)run.wanted[r] - (double)run.peak[r] - log(run.sum[r]));
}

static void run_likelihood(const cpu_hand *hand, const cpu_stage *stage, int64_t r0, int64_t r1, int p0, int p1) {
    const cpu_likelihood *l = &stage->as.likelihood;
    const int most = hand->plan->kernels->tile_rows;
    (void)p0, (void)p1;
    for (int64_t r = r0; r < r1; r += most)
        run_tile(hand->plan, l, r, (int)(r1 - r < most ? r1 - r : most));
}

CPU_LOWER(likelihood) {
    cpu_likelihood *l = &stage->as.likelihood;
    const cpu_tensor *w = &plan->tensor[node->input[ZEB_LOG_LIKELIHOOD_W]];
    float *packed = NULL;
    l->x = node->input[ZEB_LOG_LIKELIHOOD_X];
    l->targets = node->input[ZEB_LOG_LIKELIHOOD_TARGETS];
    l->out = node->output[0];
    l->k = w->width;
    l->n = w->rows;
    l->panels = cpu_panels(plan->kernels, l->n);
    const size_t floats = (size_t)l->panels * (size_t)l->k * (size_t)plan->kernels->tile_columns;
    const zeb_status status = cpu_plan_hold(plan, floats * sizeof *packed, (void **)&packed, error);
    if (status == ZEB_OK) cpu_pack_f32(plan->kernels, w, packed);
    l->packed = packed;
    cpu_stage_reads(stage, l->x);
    cpu_stage_reads(stage, l->targets);
    cpu_stage_writes(stage, l->out);
    stage->space = l->out;
    stage->rows = run_likelihood;
    return status;
}
