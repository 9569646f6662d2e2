/* Which rows survive, decided and counted on the device: mark, count a sequence, add up, place. The modes are
 * zeb_select_mode: 1 first, 2 threshold, 3 topk, 4 ratio, 5 relative. */

/* NaN counts as the least. */
float worth(float importance) {
    return isnan(importance) ? -INFINITY : importance;
}

/* zeb_select_quota of zeb/graph.h for the modes 2 to 5: the least number of rows that survive of n. */
int quota_of(uint mode, float value, int count, int least, int keep_last, int n) {
    int quota = max(keep_last && n > 1 ? 2 : 1, least);
    if (mode == 3) quota = max(quota, count);
    if (mode == 4) {
        float share = value * (float)n;
        int rows = (int)share;
        quota = max(quota, (float)rows < share ? rows + 1 : rows);
    }
    return min(quota, n);
}

/* keep[t] = 1 for survivors. A row that nothing forces survives by its rank among the rows that nothing forces: in
 * every mode the survivors are the best so many of them. */
kernel void select_mark(global const float *importance, global const int *offsets, int batch, global const int *live,
                        int at, int most, uint mode, float value, int count, int least, int keep_last,
                        global int *keep) {
    int t = (int)get_global_id(0);
    if (t >= live_rows(live, at, most)) return;
    int b = sequence_of(offsets, batch, t);
    int begin = offsets[b];
    int n = offsets[b + 1] - begin;
    bool forced = t == begin || (mode != 1 && keep_last && t == begin + n - 1);
    if (forced || mode == 1) {
        keep[t] = forced;
        return;
    }
    int last = keep_last ? n - 1 : n; /* rows 1 .. last-1 are not forced */
    int forced_rows = 1 + n - last;
    int rank = 0;
    int passing = 0;
    float own = worth(importance[t]);
    for (int j = begin + 1; j < begin + last; j++) {
        float other = worth(importance[j]);
        passing += (mode == 5 ? other * (float)n : other) >= value;
        rank += other > own || (other == own && j < t);
    }
    int wanted = quota_of(mode, value, count, least, keep_last, n);
    if (mode == 2 || mode == 5) wanted = max(wanted, passing + forced_rows);
    keep[t] = rank < wanted - forced_rows;
}

kernel void select_count(global const int *keep, global const int *offsets, int batch, global int *counts) {
    int b = (int)get_global_id(0);
    if (b >= batch) return;
    int sum = 0;
    for (int t = offsets[b]; t < offsets[b + 1]; t++) sum += keep[t];
    counts[b] = sum;
}

/* One work-item: the offsets of the survivors and their number. */
kernel void select_offsets(global const int *counts, int batch, global int *offsets, global int *count) {
    if (get_global_id(0) != 0) return;
    int sum = 0;
    for (int b = 0; b < batch; b++) {
        offsets[b] = sum;
        sum += counts[b];
    }
    offsets[batch] = sum;
    count[0] = sum;
}

kernel void select_place(global const int *keep, global const int *offsets, int batch, global const int *live, int at,
                         int most, global const int *kept_offsets, global int *indices) {
    int t = (int)get_global_id(0);
    if (t >= live_rows(live, at, most) || !keep[t]) return;
    int b = sequence_of(offsets, batch, t);
    int place = kept_offsets[b];
    for (int j = offsets[b]; j < t; j++) place += keep[j];
    indices[place] = t;
}

/* Logits of a sequence: those made here where it has rows, else those that it left with. */
kernel void exit_logits(global const float *here, global const float *before, global const int *offsets, int batch,
                        global float *logits, int labels) {
    int c = (int)get_global_id(0);
    int b = (int)get_global_id(1);
    if (c >= labels || b >= batch) return;
    int i = b * labels + c;
    logits[i] = offsets[b] < offsets[b + 1] ? here[i] : before ? before[i] : 0.0f;
}

/* keep[t] = 0 for the rows of sequences that are sure: the greatest of their softmax reaches the confidence. */
kernel void exit_mark(global const float *here, global const int *offsets, int batch, global const int *live, int at,
                      int most, int labels, float confidence, global int *keep) {
    int t = (int)get_global_id(0);
    if (t >= live_rows(live, at, most)) return;
    global const float *logit = here + (size_t)sequence_of(offsets, batch, t) * labels;
    float greatest = logit[0];
    float sum = 0.0f;
    for (int c = 1; c < labels; c++) greatest = fmax(greatest, logit[c]);
    for (int c = 0; c < labels; c++) sum += exp(logit[c] - greatest);
    keep[t] = !(1.0f / sum >= confidence);
}
