/* Attention with score threshold, head gates, importance and selection between softmax and A.V. Probabilities are
 * computed twice, once for the importance and once for the context of the survivors: slow and obvious. */
#include "ref.h"

/* One sequence of one attention node. */
typedef struct sequence {
    const ref_at *at;
    const zeb_attention_attr *attr;
    int64_t q_from, q_count, k_from, k_count;
    const float *gate; /* [H] or NULL */
} sequence;

static double rounded(uint32_t precision, float x) {
    return (double)(precision == ZEB_PRECISION_BF16 ? zeb_bf16_to_f32(zeb_f32_to_bf16(x)) : x);
}

static int is_open(const sequence *s, int64_t head) {
    return s->gate == NULL || s->gate[head] != 0.0f;
}

/* Keys that query i may see: all, or the causal beginning. */
static int64_t visible(const sequence *s, int64_t i) {
    if (s->attr->causal == 0) return s->k_count;
    int64_t count = i + 1 + s->k_count - s->q_count;
    return count < 0 ? 0 : count;
}

/* p[k_count]: the probabilities of query i in a head, before any threshold. 0 where the query may not look. */
static void probabilities(const sequence *s, int64_t head, int64_t i, double *p) {
    const zeb_attention_attr *attr = s->attr;
    int64_t dim = attr->head_dim, kv_head = head / (attr->heads / attr->kv_heads), seen = visible(s, i);
    const float *q =
        (const float *)ref_input_data(s->at, ZEB_ATTENTION_Q) + ((s->q_from + i) * attr->heads + head) * dim;
    double most = -(double)INFINITY, sum = 0.0;
    for (int64_t j = 0; j < seen; ++j) {
        const float *k =
            (const float *)ref_input_data(s->at, ZEB_ATTENTION_K) + ((s->k_from + j) * attr->kv_heads + kv_head) * dim;
        double score = 0.0;
        for (int64_t d = 0; d < dim; ++d)
            score += rounded(attr->precision, q[d]) * rounded(attr->precision, k[d]);
        p[j] = score * (double)attr->scale;
        if (p[j] > most) most = p[j];
    }
    for (int64_t j = 0; j < seen; ++j)
        sum += p[j] = exp(p[j] - most);
    for (int64_t j = 0; j < seen; ++j)
        p[j] /= sum;
    for (int64_t j = seen; j < s->k_count; ++j)
        p[j] = 0.0;
}

/* importance[k_count] of a sequence, rounded once. */
static void importance_of(const sequence *s, double *p, double *sum, float *importance) {
    for (int64_t j = 0; j < s->k_count; ++j)
        sum[j] = 0.0;
    for (int64_t h = 0; h < s->attr->heads; ++h)
        for (int64_t i = 0; is_open(s, h) && i < s->q_count; ++i) {
            probabilities(s, h, i, p);
            for (int64_t j = 0; j < s->k_count; ++j)
                sum[j] += p[j];
        }
    double count = (double)s->attr->heads * (double)(s->q_count > 0 ? s->q_count : 1);
    for (int64_t j = 0; j < s->k_count; ++j)
        importance[j] = (float)(sum[j] / count);
}

/* context[H*Dh] of query i. */
static void context_of(const sequence *s, int64_t i, double *p, float *context) {
    const zeb_attention_attr *attr = s->attr;
    int64_t dim = attr->head_dim;
    for (int64_t h = 0; h < attr->heads; ++h) {
        int64_t kv_head = h / (attr->heads / attr->kv_heads);
        const float *v =
            (const float *)ref_input_data(s->at, ZEB_ATTENTION_V) + (s->k_from * attr->kv_heads + kv_head) * dim;
        if (is_open(s, h)) probabilities(s, h, i, p);
        for (int64_t d = 0; d < dim; ++d) {
            double sum = 0.0;
            for (int64_t j = 0; is_open(s, h) && j < s->k_count; ++j)
                if (!(p[j] < (double)attr->score_threshold))
                    sum += p[j] * rounded(attr->precision, v[j * attr->kv_heads * dim + d]);
            context[h * dim + d] = (float)sum;
        }
    }
}

static sequence sequence_at(const ref_at *at, int64_t b) {
    const int32_t *q = ref_input_offsets(at, ZEB_ATTENTION_Q), *k = ref_input_offsets(at, ZEB_ATTENTION_K);
    const float *gates = ref_input_data(at, ZEB_ATTENTION_GATES);
    const zeb_attention_attr *attr = &at->node->attr.attention;
    return (sequence){.at = at,
                      .attr = attr,
                      .q_from = q[b],
                      .q_count = q[b + 1] - q[b],
                      .k_from = k[b],
                      .k_count = k[b + 1] - k[b],
                      .gate = gates != NULL ? gates + b * attr->heads : NULL};
}

zeb_status ref_attention(const ref_at *at) {
    const zeb_attention_attr *attr = &at->node->attr.attention;
    int64_t batch = ref_input_batch(at, ZEB_ATTENTION_Q), width = (int64_t)attr->heads * attr->head_dim;
    float *wanted = ref_output_data(at, ZEB_ATTENTION_IMPORTANCE),
          *context = ref_output_data(at, ZEB_ATTENTION_CONTEXT);
    float *importance = wanted != NULL ? wanted : at->plan->importance;
    int selects = attr->select.mode != ZEB_SELECT_NONE;
    int needed = wanted != NULL || (selects && attr->select.mode != ZEB_SELECT_FIRST);
    const int32_t *indices = ref_output_data(at, ZEB_ATTENTION_INDICES);
    const int32_t *kept = ref_output_data(at, ZEB_ATTENTION_OFFSETS);
    for (int64_t b = 0; needed && b < batch; ++b) {
        sequence s = sequence_at(at, b);
        importance_of(&s, at->plan->wide, at->plan->sum, importance + s.k_from);
    }
    if (selects)
        ref_select_rows(at->plan, &attr->select, importance, ref_input_offsets(at, ZEB_ATTENTION_K), batch,
                        ref_output_data(at, ZEB_ATTENTION_INDICES), ref_output_data(at, ZEB_ATTENTION_OFFSETS),
                        ref_output_data(at, ZEB_ATTENTION_COUNT));
    for (int64_t b = 0; b < batch; ++b) {
        sequence s = sequence_at(at, b);
        int64_t rows = selects ? kept[b + 1] - kept[b] : s.q_count, first = selects ? kept[b] : s.q_from;
        for (int64_t r = first; r < first + rows; ++r)
            context_of(&s, (selects ? indices[r] : r) - s.q_from, at->plan->wide, context + r * width);
    }
    return ZEB_OK;
}
