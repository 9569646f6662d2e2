/* ops_select.c - which rows survive: the order of zeb/graph.h made total by one 64-bit key a row. */
#include <math.h>
#include <string.h>

#include "plan.h"
#include "zeb/number.h"

/* Greater is better: importance first (NaN as -inf, -0 as 0), then the earlier row. */
static uint64_t key_of(float importance, int64_t row) {
    const float value = isnan(importance) ? -INFINITY : importance + 0.0f;
    const uint32_t bits = zeb_f32_bits(value);
    const uint32_t order = bits >> 31 ? ~bits : bits | 0x80000000u;
    return (uint64_t)order << 32 | (0xffffffffu - (uint32_t)row);
}

/* The value that `rank` others exceed, all keys being different; reorders key (Hoare's selection). */
static uint64_t key_at_rank(uint64_t *key, int64_t n, int64_t rank) {
    int64_t low = 0, high = n - 1;
    while (low < high) {
        const uint64_t pivot = key[low + (high - low) / 2];
        int64_t i = low, j = high;
        while (i <= j) {
            while (key[i] > pivot)
                i++;
            while (key[j] < pivot)
                j--;
            if (i <= j) {
                const uint64_t swap = key[i];
                key[i++] = key[j];
                key[j--] = swap;
            }
        }
        if (rank <= j)
            high = j;
        else if (rank >= i)
            low = i;
        else
            break;
    }
    return key[rank];
}

/* Marks the `more` best of the unmarked rows. */
static void mark_best(const float *importance, int64_t n, int64_t more, uint8_t *mark, uint64_t *key) {
    int64_t others = 0;
    for (int64_t i = 0; i < n; i++)
        if (!mark[i]) key[others++] = key_of(importance[i], i);
    if (more > others) more = others;
    if (more <= 0) return;
    const uint64_t least = key_at_rank(key, others, more - 1);
    for (int64_t i = 0; i < n; i++)
        if (!mark[i] && key_of(importance[i], i) >= least) mark[i] = 1;
}

int64_t cpu_select_rows(const zeb_select *select, const float *importance, int64_t n, int64_t first, int32_t *indices,
                        uint8_t *mark, uint64_t *key) {
    if (n <= 0) return 0;
    if (select->mode == ZEB_SELECT_FIRST) {
        indices[0] = (int32_t)first;
        return 1;
    }
    const int64_t wanted = zeb_select_quota(select, (int32_t)n);
    int64_t kept = 0;
    memset(mark, 0, (size_t)n);
    mark[0] = 1;
    if (select->keep_last) mark[n - 1] = 1;
    for (int64_t i = 0; i < n; i++) {
        if (zeb_select_reaches(select, importance[i], (int32_t)n)) mark[i] = 1;
        kept += mark[i];
    }
    if (kept < wanted) mark_best(importance, n, wanted - kept, mark, key);
    kept = 0;
    for (int64_t i = 0; i < n; i++)
        if (mark[i]) indices[kept++] = (int32_t)(first + i);
    return kept;
}

static void run_select(const cpu_hand *hand, const cpu_stage *stage) {
    const zeb_plan *plan = hand->plan;
    const cpu_select *s = &stage->as.select;
    if (hand->worker != 0) return;
    int32_t *indices = cpu_ints(plan, s->indices), *offsets = cpu_ints(plan, s->offsets);
    const float *importance = s->importance == ZEB_NONE ? NULL : plan->tensor[s->importance].data;
    const int64_t sequences = cpu_sequences(plan, s->rows);
    int64_t count = 0;
    offsets[0] = 0;
    for (int64_t b = 0; b < sequences; b++) {
        int64_t first, end;
        cpu_sequence_rows(plan, s->rows, b, &first, &end);
        count += cpu_select_rows(&s->attr, importance == NULL ? NULL : importance + first, end - first, first,
                                 indices + count, s->mark, s->key);
        offsets[b + 1] = (int32_t)count;
    }
    cpu_ints(plan, s->count)[0] = (int32_t)count;
}

CPU_LOWER(select) {
    cpu_select *s = &stage->as.select;
    s->importance = node->input[ZEB_SELECT_IMPORTANCE];
    s->rows = node->input[ZEB_SELECT_ROWS];
    s->indices = node->output[ZEB_SELECT_INDICES];
    s->offsets = node->output[ZEB_SELECT_OFFSETS];
    s->count = node->output[ZEB_SELECT_COUNT];
    s->attr = node->attr.select;
    const size_t rows = (size_t)plan->tensor[s->rows].rows;
    zeb_status status = cpu_plan_hold(plan, rows * sizeof *s->mark, (void **)&s->mark, error);
    if (status == ZEB_OK) status = cpu_plan_hold(plan, rows * sizeof *s->key, (void **)&s->key, error);
    cpu_stage_reads(stage, s->importance);
    cpu_stage_reads(stage, s->rows);
    cpu_stage_writes(stage, s->indices);
    cpu_stage_writes(stage, s->offsets);
    cpu_stage_writes(stage, s->count);
    stage->share = run_select;
    return status;
}

/* ---- exit ------------------------------------------------------------------------------------------------------ */

static bool is_sure(const float *logit, int64_t labels, float confidence) {
    double most = (double)logit[0], sum = 0.0;
    for (int64_t c = 1; c < labels; c++)
        most = fmax(most, (double)logit[c]);
    for (int64_t c = 0; c < labels; c++)
        sum += exp((double)logit[c] - most);
    return 1.0 / sum >= (double)confidence; /* false where there is a NaN */
}

/* Rows first .. end of a sequence that stays, to indices; returns how many. */
static int64_t keep_rows(int64_t first, int64_t end, int32_t *indices) {
    for (int64_t r = first; r < end; r++)
        indices[r - first] = (int32_t)r;
    return end - first;
}

static void run_exit(const cpu_hand *hand, const cpu_stage *stage) {
    const zeb_plan *plan = hand->plan;
    const cpu_exit *e = &stage->as.exit;
    if (hand->worker != 0) return;
    const int64_t sequences = cpu_sequences(plan, e->rows), labels = plan->tensor[e->here].width;
    const size_t bytes = (size_t)labels * sizeof(float);
    int32_t *indices = e->confidence > 0.0f ? cpu_ints(plan, e->indices) : NULL;
    int64_t count = 0;
    if (indices != NULL) cpu_ints(plan, e->offsets)[0] = 0;
    for (int64_t b = 0; b < sequences; b++) {
        int64_t first, end;
        const float *here = cpu_row(plan, e->here, b);
        cpu_sequence_rows(plan, e->rows, b, &first, &end);
        if (first < end)
            memcpy(cpu_row(plan, e->logits, b), here, bytes);
        else if (e->before != ZEB_NONE)
            memcpy(cpu_row(plan, e->logits, b), cpu_row(plan, e->before, b), bytes);
        else
            memset(cpu_row(plan, e->logits, b), 0, bytes);
        if (indices == NULL) continue;
        if (!is_sure(here, labels, e->confidence)) count += keep_rows(first, end, indices + count);
        cpu_ints(plan, e->offsets)[b + 1] = (int32_t)count;
    }
    if (indices != NULL) cpu_ints(plan, e->count)[0] = (int32_t)count;
}

CPU_LOWER(exit) {
    (void)plan, (void)error;
    stage->as.exit = (cpu_exit){.here = node->input[ZEB_EXIT_HERE],
                                .rows = node->input[ZEB_EXIT_ROWS],
                                .before = node->input[ZEB_EXIT_BEFORE],
                                .logits = node->output[ZEB_EXIT_LOGITS],
                                .indices = node->output[ZEB_EXIT_INDICES],
                                .offsets = node->output[ZEB_EXIT_OFFSETS],
                                .count = node->output[ZEB_EXIT_COUNT],
                                .confidence = node->attr.exit.confidence};
    for (int i = ZEB_EXIT_HERE; i <= ZEB_EXIT_BEFORE; i++)
        cpu_stage_reads(stage, node->input[i]);
    for (int i = ZEB_EXIT_LOGITS; i <= ZEB_EXIT_COUNT; i++)
        cpu_stage_writes(stage, node->output[i]);
    stage->share = run_exit;
    return ZEB_OK;
}
