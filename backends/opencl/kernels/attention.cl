/* Attention in up to four kernels: per query and head the maximum and the sum of its softmax; from these, per key and
 * head, its share of importance; the mean of those; and the context rows (of the survivors, where tokens are dropped
 * in between). Probabilities are computed anew where they are needed, so that no T x T matrix is ever stored. */

enum { CONTEXT_CHUNK = 64 }; /* columns of a context row that one sweep over the keys accumulates */

/* Where a query stands: the rows of its keys and how many of them it may see. */
typedef struct sight {
    int sequence;
    int key_begin;
    int keys;
} sight;

sight sight_of(global const int *q_offsets, global const int *k_offsets, int batch, int i, int causal) {
    sight s;
    s.sequence = sequence_of(q_offsets, batch, i);
    s.key_begin = k_offsets[s.sequence];
    s.keys = k_offsets[s.sequence + 1] - s.key_begin;
    if (causal) {
        int queries = q_offsets[s.sequence + 1] - q_offsets[s.sequence];
        s.keys = clamp(i - q_offsets[s.sequence] + s.keys - queries + 1, 0, s.keys);
    }
    return s;
}

/* live counts the queries that are asked for: all, or only the survivors where nobody wants the importance. */
kernel void attention_softmax(global const float *q, global const float *k, global const float *gates,
                              global const int *q_offsets, global const int *k_offsets, int batch,
                              global const int *indices, global const int *live, int at, int most, int heads,
                              int kv_heads, int dim, float scale, int causal, global float *greatest,
                              global float *total) {
    int r = (int)get_global_id(0);
    int h = (int)get_global_id(1);
    if (r >= live_rows(live, at, most) || h >= heads) return;
    int i = indices ? indices[r] : r;
    sight s = sight_of(q_offsets, k_offsets, batch, i, causal);
    float m = -INFINITY;
    float sum = 0.0f;
    if (gates && gates[(size_t)s.sequence * heads + h] == 0.0f) s.keys = 0;
    global const float *query = q + ((size_t)i * heads + h) * dim;
    global const float *key = k + ((size_t)s.key_begin * kv_heads + h / (heads / kv_heads)) * dim;
    for (int j = 0; j < s.keys; j++, key += (size_t)kv_heads * dim) {
        float score = scale * dot_rows(query, key, dim);
        if (score > m) {
            sum = sum * exp(m - score) + 1.0f;
            m = score;
        } else {
            sum += exp(score - m);
        }
    }
    greatest[(size_t)i * heads + h] = m;
    total[(size_t)i * heads + h] = sum;
}

/* part[h][j] = sum over the queries i that see key j of p_ij. live counts the keys. */
kernel void attention_weight(global const float *q, global const float *k, global const float *gates,
                             global const int *q_offsets, global const int *k_offsets, int batch,
                             global const int *live, int at, int most, int heads, int kv_heads, int dim, float scale,
                             int causal, global const float *greatest, global const float *total, global float *part) {
    int j = (int)get_global_id(0);
    int h = (int)get_global_id(1);
    if (j >= live_rows(live, at, most) || h >= heads) return;
    int b = sequence_of(k_offsets, batch, j);
    int begin = q_offsets[b];
    int end = q_offsets[b + 1];
    if (causal) {
        int keys = k_offsets[b + 1] - k_offsets[b];
        begin = max(begin, begin + (j - k_offsets[b]) - (keys - (end - begin)));
    }
    if (gates && gates[(size_t)b * heads + h] == 0.0f) begin = end;
    global const float *key = k + ((size_t)j * kv_heads + h / (heads / kv_heads)) * dim;
    float sum = 0.0f;
    for (int i = begin; i < end; i++) {
        size_t at_query = (size_t)i * heads + h;
        float score = scale * dot_rows(q + at_query * dim, key, dim);
        sum += exp(score - greatest[at_query]) / total[at_query];
    }
    part[(size_t)h * most + j] = sum;
}

kernel void attention_importance(global const float *part, global const int *q_offsets, global const int *k_offsets,
                                 int batch, global const int *live, int at, int most, int heads,
                                 global float *importance) {
    int j = (int)get_global_id(0);
    if (j >= live_rows(live, at, most)) return;
    int b = sequence_of(k_offsets, batch, j);
    int queries = q_offsets[b + 1] - q_offsets[b];
    float sum = 0.0f;
    for (int h = 0; h < heads; h++) sum += part[(size_t)h * most + j];
    importance[j] = queries > 0 ? sum / ((float)heads * (float)queries) : 0.0f;
}

/* live counts the context rows; row r belongs to query indices[r], or r where nothing was dropped. */
kernel void attention_context(global const float *q, global const float *k, global const float *v,
                              global const float *gates, global const int *q_offsets, global const int *k_offsets,
                              int batch, global const int *indices, global const int *live, int at, int most, int heads,
                              int kv_heads, int dim, float scale, int causal, float threshold,
                              global const float *greatest, global const float *total, global float *context) {
    int r = (int)get_global_id(0);
    int h = (int)get_global_id(1);
    if (r >= live_rows(live, at, most) || h >= heads) return;
    int i = indices ? indices[r] : r;
    sight s = sight_of(q_offsets, k_offsets, batch, i, causal);
    if (gates && gates[(size_t)s.sequence * heads + h] == 0.0f) s.keys = 0;
    size_t at_query = (size_t)i * heads + h;
    size_t key_start = ((size_t)s.key_begin * kv_heads + h / (heads / kv_heads)) * dim;
    float m = greatest[at_query];
    float sum = total[at_query];
    for (int base = 0; base < dim; base += CONTEXT_CHUNK) {
        int width = min((int)CONTEXT_CHUNK, dim - base);
        float y[CONTEXT_CHUNK];
        for (int d = 0; d < width; d++) y[d] = 0.0f;
        for (int j = 0; j < s.keys; j++) {
            size_t at_key = key_start + (size_t)j * kv_heads * dim;
            float p = exp(scale * dot_rows(q + at_query * dim, k + at_key, dim) - m) / sum;
            if (p < threshold) continue;
            for (int d = 0; d < width; d++) y[d] += p * v[at_key + base + d];
        }
        for (int d = 0; d < width; d++) context[((size_t)r * heads + h) * dim + base + d] = y[d];
    }
}
