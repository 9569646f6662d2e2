/* Ops that work row by row: embed, norm, gather, activation, pool, head-gate, head-topk. */

/* range[0] becomes node + 1 where an id is outside its table: the row is then NaN and the pass ends in an error. */
kernel void embed(global const int *ids, global const int *types, global const float *word,
                  global const float *position, global const float *type, global const float *gamma,
                  global const float *beta, global float *out, global const int *offsets, int batch,
                  global const int *live, int at, int most, int width, int words, int positions, int kinds, uint norm,
                  float epsilon, global int *range, int node) {
    int t = (int)get_global_id(0);
    if (t >= live_rows(live, at, most)) return;
    int id = ids[t];
    int place = position ? t - offsets[sequence_of(offsets, batch, t)] : 0;
    int kind = types ? types[t] : 0;
    global float *row = out + (size_t)t * width;
    if (id < 0 || id >= words || (position && place >= positions) || (types && (kind < 0 || kind >= kinds))) {
        range[0] = node + 1;
        for (int d = 0; d < width; d++) row[d] = NAN;
        return;
    }
    for (int d = 0; d < width; d++) {
        float x = word[(size_t)id * width + d];
        if (position) x += position[(size_t)place * width + d];
        if (types) x += type[(size_t)kind * width + d];
        row[d] = x;
    }
    if (norm != 0) norm_row(row, width, norm, epsilon, gamma, beta);
}

kernel void norm(global const float *x, global const float *residual, global const float *gamma,
                 global const float *beta, global float *out, global const int *live, int at, int most, int width,
                 uint kind, float epsilon) {
    int t = (int)get_global_id(0);
    if (t >= live_rows(live, at, most)) return;
    size_t start = (size_t)t * width;
    for (int d = 0; d < width; d++) out[start + d] = residual ? x[start + d] + residual[start + d] : x[start + d];
    norm_row(out + start, width, kind, epsilon, gamma, beta);
}

/* Words of 32 bits, whatever they mean. */
kernel void gather(global const uint *x, global const int *indices, global uint *out, global const int *live, int at,
                   int most, int width, global const int *x_live, int x_at, int x_most, global int *range, int node) {
    int d = (int)get_global_id(0);
    int i = (int)get_global_id(1);
    if (d >= width || i >= live_rows(live, at, most)) return;
    int from = indices[i];
    if (from < 0 || from >= live_rows(x_live, x_at, x_most)) {
        range[0] = node + 1;
        return;
    }
    out[(size_t)i * width + d] = x[(size_t)from * width + d];
}

kernel void activation(global const float *x, global const float *gate, global float *out, global const int *live,
                       int at, int most, int width, uint kind) {
    int d = (int)get_global_id(0);
    int t = (int)get_global_id(1);
    if (d >= width || t >= live_rows(live, at, most)) return;
    size_t i = (size_t)t * width + d;
    float y = activate(x[i], kind);
    out[i] = gate ? y * gate[i] : y;
}

/* kind: 1 first, 2 mean, 3 maximum. Also the means of head-gate. */
kernel void pool(global const float *x, global const int *offsets, global float *out, int batch, int width, uint kind) {
    int d = (int)get_global_id(0);
    int b = (int)get_global_id(1);
    if (d >= width || b >= batch) return;
    int begin = offsets[b];
    int end = offsets[b + 1];
    float y = 0.0f;
    if (begin < end) y = x[(size_t)begin * width + d];
    for (int t = begin + 1; kind != 1 && t < end; t++) {
        float next = x[(size_t)t * width + d];
        y = kind == 2 ? y + next : fmax(y, next);
    }
    out[(size_t)b * width + d] = kind == 2 && begin < end ? y / (float)(end - begin) : y;
}

kernel void head_gate(global const float *mean, global const int *offsets, global const float *w,
                      global const float *bias, global float *out, int batch, int heads, int width) {
    int h = (int)get_global_id(0);
    int b = (int)get_global_id(1);
    if (h >= heads || b >= batch) return;
    float score = bias[h] + dot_rows(w + (size_t)h * width, mean + (size_t)b * width, width);
    out[(size_t)b * heads + h] = offsets[b] < offsets[b + 1] && !(score <= 0.0f) ? 1.0f : 0.0f;
}

/* Mean magnitude of a head's columns, added to what it had before. */
kernel void head_weigh(global const float *x, global const int *offsets, int batch, global const float *before,
                       global float *importance, int heads, int columns) {
    int h = (int)get_global_id(0);
    int b = (int)get_global_id(1);
    if (h >= heads || b >= batch) return;
    int begin = offsets[b];
    int end = offsets[b + 1];
    float sum = 0.0f;
    for (int t = begin; t < end; t++) {
        global const float *row = x + ((size_t)t * heads + h) * columns;
        float part = 0.0f;
        for (int d = 0; d < columns; d++) part += fabs(row[d]);
        sum += part;
    }
    size_t i = (size_t)b * heads + h;
    importance[i] = (before ? before[i] : 0.0f) + (begin < end ? sum / ((float)(end - begin) * columns) : 0.0f);
}

kernel void head_choose(global const float *importance, global const int *offsets, int batch, global float *gates,
                        int heads, int count) {
    int h = (int)get_global_id(0);
    int b = (int)get_global_id(1);
    if (h >= heads || b >= batch) return;
    global const float *of = importance + (size_t)b * heads;
    float mine = isnan(of[h]) ? INFINITY : of[h];
    int greater = 0;
    for (int o = 0; o < heads; o++) {
        float other = isnan(of[o]) ? INFINITY : of[o];
        greater += other > mine || (other == mine && o < h);
    }
    gates[(size_t)b * heads + h] = offsets[b] < offsets[b + 1] && greater < count ? 1.0f : 0.0f;
}

/* One work-item a row: what is small throughout a block becomes 0. */
kernel void blocks(global const float *x, global float *out, global int *open, global const int *live, int at, int most,
                   int width, int size, float threshold) {
    int t = (int)get_global_id(0);
    if (t >= live_rows(live, at, most)) return;
    size_t first = (size_t)t * width;
    int left = 0;
    for (int i = 0; i < width; i += size) {
        bool reaches = false;
        for (int j = i; j < i + size; j++) reaches = reaches || !(fabs(x[first + j]) < threshold);
        for (int j = i; j < i + size; j++) out[first + j] = reaches ? x[first + j] : 0.0f;
        left += reaches;
    }
    open[t] = left;
}
