/* Linear layers and the log-likelihood of a vocabulary. */

enum { LINEAR_ROWS = 4, LINEAR_COLUMNS = 8 }; /* a work-item's tile; steps.c launches by the same numbers */

/* True where the gate of a column is closed for row t. */
bool column_closed(global const float *gates, global const int *offsets, int batch, int groups, int columns, int t,
                   int n) {
    return gates[(size_t)sequence_of(offsets, batch, t) * groups + n / (columns / groups)] == 0.0f;
}

/* True if nothing of a tile is open, so that its weights need not be read. */
bool tile_closed(global const float *gates, global const int *offsets, int batch, int groups, int columns, int t,
                 int t_end, int n, int n_end) {
    for (int row = t; row < t_end; row++)
        for (int column = n; column < n_end; column++)
            if (!column_closed(gates, offsets, batch, groups, columns, row, column)) return false;
    return true;
}

/* w is packed [inner][stride], stride a multiple of LINEAR_COLUMNS, zero past the last column. */
kernel void linear(global const float *x, global const float *w, global const float *bias,
                   global const float *residual, global const float *gates, global const int *offsets, int batch,
                   int groups, global float *out, global const int *live, int at, int most, int inner, int columns,
                   int stride, uint activation_kind) {
    int n = (int)get_global_id(0) * LINEAR_COLUMNS;
    int t = (int)get_global_id(1) * LINEAR_ROWS;
    int rows = live_rows(live, at, most);
    if (n >= columns || t >= rows) return;
    int t_end = min(t + LINEAR_ROWS, rows);
    int n_end = min(n + LINEAR_COLUMNS, columns);
    float8 sum[LINEAR_ROWS] = {0.0f, 0.0f, 0.0f, 0.0f};
    if (!gates || !tile_closed(gates, offsets, batch, groups, columns, t, t_end, n, n_end)) {
        /* Rows past the last are the last again: read, and not written. */
        global const float *x0 = x + (size_t)t * inner;
        global const float *x1 = x + (size_t)min(t + 1, rows - 1) * inner;
        global const float *x2 = x + (size_t)min(t + 2, rows - 1) * inner;
        global const float *x3 = x + (size_t)min(t + 3, rows - 1) * inner;
        global const float *column = w + n;
        for (int k = 0; k < inner; k++, column += stride) {
            float8 weight = vload8(0, column);
            sum[0] += x0[k] * weight;
            sum[1] += x1[k] * weight;
            sum[2] += x2[k] * weight;
            sum[3] += x3[k] * weight;
        }
    }
    for (int row = t; row < t_end; row++) {
        float y[LINEAR_COLUMNS];
        vstore8(sum[row - t], 0, y);
        for (int c = n; c < n_end; c++) {
            size_t i = (size_t)row * columns + c;
            float value = activate(bias ? y[c - n] + bias[c] : y[c - n], activation_kind);
            if (gates && column_closed(gates, offsets, batch, groups, columns, row, c)) value = 0.0f;
            out[i] = residual ? value + residual[i] : value;
        }
    }
}

/* One share of a row's vocabulary: its greatest logit and the sum of exponentials about it. */
kernel void likelihood_part(global const float *x, global const float *w, global const int *targets,
                            global float *greatest, global float *total, global const int *live, int at, int most,
                            int width, int words, int parts) {
    int part = (int)get_global_id(0);
    int t = (int)get_global_id(1);
    if (part >= parts || t >= live_rows(live, at, most) || targets[t] < 0) return;
    int share = (words + parts - 1) / parts;
    int end = min((part + 1) * share, words);
    float m = -INFINITY;
    float sum = 0.0f;
    for (int v = part * share; v < end; v++) {
        float s = dot_rows(x + (size_t)t * width, w + (size_t)v * width, width);
        if (s > m) {
            sum = sum * exp(m - s) + 1.0f;
            m = s;
        } else {
            sum += exp(s - m);
        }
    }
    greatest[(size_t)t * parts + part] = m;
    total[(size_t)t * parts + part] = sum;
}

kernel void likelihood_join(global const float *x, global const float *w, global const int *targets,
                            global const float *greatest, global const float *total, global float *out,
                            global const int *live, int at, int most, int width, int words, int parts,
                            global int *range, int node) {
    int t = (int)get_global_id(0);
    if (t >= live_rows(live, at, most)) return;
    int target = targets[t];
    if (target == -1) {
        out[t] = 0.0f;
        return;
    }
    if (target < 0 || target >= words) {
        range[0] = node + 1;
        out[t] = NAN;
        return;
    }
    float m = -INFINITY;
    float sum = 0.0f;
    for (int part = 0; part < parts; part++) m = fmax(m, greatest[(size_t)t * parts + part]);
    for (int part = 0; part < parts; part++) {
        float its = greatest[(size_t)t * parts + part];
        if (its > -INFINITY) sum += total[(size_t)t * parts + part] * exp(its - m);
    }
    out[t] = dot_rows(x + (size_t)t * width, w + (size_t)target * width, width) - m - log(sum);
}
