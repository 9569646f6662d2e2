/* Which rows survive, which sequences leave, which heads go on. */
#include "ref.h"

static int is_better(float a, float b) {
    float a_or_lowest = isnan(a) ? -INFINITY : a, b_or_lowest = isnan(b) ? -INFINITY : b;
    return a_or_lowest > b_or_lowest; /* ties go to the earlier row: the caller looks in ascending order */
}

/* Marks the survivors of one sequence of n rows in keep[n]. */
static void choose(const zeb_select *select, const float *importance, int32_t n, unsigned char *keep) {
    int32_t kept = 0, quota = zeb_select_quota(select, n);
    for (int32_t j = 0; j < n; ++j) {
        int forced = j == 0 || (select->mode != ZEB_SELECT_FIRST && select->keep_last != 0 && j == n - 1);
        int above = importance != NULL && zeb_select_reaches(select, importance[j], n);
        keep[j] = forced || above;
        kept += keep[j];
    }
    for (; kept < quota && importance != NULL; ++kept) { /* FIRST has its one row by now, and no importance */
        int32_t best = -1;
        for (int32_t j = 0; j < n; ++j)
            if (!keep[j] && (best < 0 || is_better(importance[j], importance[best]))) best = j;
        keep[best] = 1;
    }
}

void ref_select_rows(zeb_plan *plan, const zeb_select *select, const float *importance, const int32_t *from,
                     int64_t batch, int32_t *indices, int32_t *offsets, int32_t *count) {
    int32_t next = 0;
    offsets[0] = 0;
    for (int64_t b = 0; b < batch; ++b) {
        int32_t n = from[b + 1] - from[b];
        choose(select, importance != NULL ? importance + from[b] : NULL, n, plan->keep);
        for (int32_t j = 0; j < n; ++j)
            if (plan->keep[j]) indices[next++] = from[b] + j;
        offsets[b + 1] = next;
    }
    *count = next;
}

zeb_status ref_select(const ref_at *at) {
    ref_select_rows(at->plan, &at->node->attr.select, ref_input_data(at, ZEB_SELECT_IMPORTANCE),
                    ref_input_offsets(at, ZEB_SELECT_ROWS), ref_input_batch(at, ZEB_SELECT_ROWS),
                    ref_output_data(at, ZEB_SELECT_INDICES), ref_output_data(at, ZEB_SELECT_OFFSETS),
                    ref_output_data(at, ZEB_SELECT_COUNT));
    return ZEB_OK;
}

static int is_sure(const float *logit, int64_t labels, float confidence) {
    double most = (double)logit[0], sum = 0.0;
    for (int64_t c = 1; c < labels; ++c)
        if ((double)logit[c] > most) most = (double)logit[c];
    for (int64_t c = 0; c < labels; ++c)
        sum += exp((double)logit[c] - most);
    return 1.0 / sum >= (double)confidence;
}

zeb_status ref_exit(const ref_at *at) {
    float confidence = at->node->attr.exit.confidence;
    const float *here = ref_input_data(at, ZEB_EXIT_HERE), *before = ref_input_data(at, ZEB_EXIT_BEFORE);
    const int32_t *from = ref_input_offsets(at, ZEB_EXIT_ROWS);
    int64_t batch = ref_input_batch(at, ZEB_EXIT_ROWS), labels = ref_input(at, ZEB_EXIT_HERE)->extent[1].max;
    float *logits = ref_output_data(at, ZEB_EXIT_LOGITS);
    int32_t *indices = NULL, *offsets = NULL, next = 0;
    if (confidence > 0.0f) {
        indices = ref_output_data(at, ZEB_EXIT_INDICES);
        offsets = ref_output_data(at, ZEB_EXIT_OFFSETS);
        offsets[0] = 0;
    }
    for (int64_t b = 0; b < batch; ++b) {
        int is_there = from[b] < from[b + 1];
        for (int64_t c = b * labels; c < (b + 1) * labels; ++c)
            logits[c] = is_there ? here[c] : before != NULL ? before[c] : 0.0f;
        if (offsets == NULL) continue;
        int leaves = is_sure(here + b * labels, labels, confidence);
        for (int32_t t = from[b]; t < from[b + 1] && !leaves; ++t)
            indices[next++] = t;
        offsets[b + 1] = next;
    }
    if (offsets != NULL) *(int32_t *)ref_output_data(at, ZEB_EXIT_COUNT) = next;
    return ZEB_OK;
}

/* Mean magnitude of a head's columns over the rows [from, to); 0 without rows. */
static double magnitude(const float *x, int64_t from, int64_t to, int64_t width, int64_t first, int64_t columns) {
    double sum = 0.0;
    for (int64_t t = from; t < to; ++t)
        for (int64_t i = first; i < first + columns; ++i)
            sum += fabs((double)x[t * width + i]);
    return from < to ? sum / (double)((to - from) * columns) : 0.0;
}

/* Does head a come before head b? */
static int is_greater(const float *importance, int32_t a, int32_t b) {
    float x = isnan(importance[a]) ? INFINITY : importance[a], y = isnan(importance[b]) ? INFINITY : importance[b];
    return x > y || (x == y && a < b);
}

zeb_status ref_head_topk(const ref_at *at) {
    const zeb_head_topk_attr *attr = &at->node->attr.head_topk;
    const float *x = ref_input_data(at, ZEB_HEAD_TOPK_X), *before = ref_input_data(at, ZEB_HEAD_TOPK_BEFORE);
    const int32_t *from = ref_input_offsets(at, ZEB_HEAD_TOPK_X);
    int64_t width = ref_input(at, ZEB_HEAD_TOPK_X)->extent[1].max, columns = width / attr->heads;
    for (int64_t b = 0; b < ref_input_batch(at, ZEB_HEAD_TOPK_X); ++b) {
        float *gates = (float *)ref_output_data(at, ZEB_HEAD_TOPK_GATES) + b * attr->heads;
        float *importance = (float *)ref_output_data(at, ZEB_HEAD_TOPK_IMPORTANCE) + b * attr->heads;
        for (int32_t h = 0; h < attr->heads; ++h)
            importance[h] = (float)((before != NULL ? (double)before[b * attr->heads + h] : 0.0) +
                                    magnitude(x, from[b], from[b + 1], width, h * columns, columns));
        for (int32_t h = 0; h < attr->heads; ++h) {
            int32_t greater = 0;
            for (int32_t o = 0; o < attr->heads; ++o)
                greater += is_greater(importance, o, h);
            gates[h] = from[b] < from[b + 1] && greater < attr->count ? 1.0f : 0.0f;
        }
    }
    return ZEB_OK;
}
