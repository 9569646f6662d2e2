/* Helpers of all kernels. OpenCL C 1.2, binary32, no extension.
 *
 * Every kernel is launched over the maximum extents; how many rows there really are is read from a count in device
 * memory (`live[at]`, never past `most`) and work-items past it end at once. Row indices fit an int, products of
 * indices and widths are computed as size_t. */

int live_rows(global const int *live, int at, int most) {
    return clamp(live[at], 0, most);
}

/* The sequence that row t (a live one) belongs to: offsets[b] <= t < offsets[b + 1]. */
int sequence_of(global const int *offsets, int batch, int t) {
    int low = 0;
    int high = batch;
    while (high - low > 1) {
        int middle = (low + high) / 2;
        if (offsets[middle] <= t) low = middle;
        else high = middle;
    }
    return low;
}

float sum_of(float8 x) {
    float4 four = x.lo + x.hi;
    float2 two = four.lo + four.hi;
    return two.x + two.y;
}

float dot_rows(global const float *a, global const float *b, int n) {
    float8 sum = 0.0f;
    float rest = 0.0f;
    int i = 0;
    for (; i + 8 <= n; i += 8) sum += vload8(0, a + i) * vload8(0, b + i);
    for (; i < n; i++) rest += a[i] * b[i];
    return sum_of(sum) + rest;
}

/* zeb_activation of zeb/graph.h. Both forms of GELU are written so that nothing cancels for large negative x: 1 + erf(y)
 * is erfc(-y), and (1 + tanh(y)) / 2 is 1 / (1 + exp(-2y)). */
float activate(float x, uint kind) {
    switch (kind) {
        case 1: return 0.5f * x * erfc(x * -0.70710678118654752f);
        case 2: return x / (1.0f + exp(-1.5957691216057308f * (x + 0.044715f * x * x * x)));
        case 3: return fmax(x, 0.0f);
        case 4: return x / (1.0f + exp(-x));
        case 5: return tanh(x);
        default: return x;
    }
}

/* Normalises a row in place. kind is zeb_norm_kind; gamma and beta may be absent. The variance is the mean of squares
 * about the mean, in a second pass over the row. */
void norm_row(global float *row, int n, uint kind, float epsilon, global const float *gamma, global const float *beta) {
    float mean = 0.0f;
    float factor = 1.0f;
    if (kind == 1) {
        float8 sum = 0.0f;
        float rest = 0.0f;
        int i = 0;
        for (; i + 8 <= n; i += 8) sum += vload8(0, row + i);
        for (; i < n; i++) rest += row[i];
        mean = (sum_of(sum) + rest) / (float)n;
    }
    if (kind != 3) {
        float8 square = 0.0f;
        float rest = 0.0f;
        int i = 0;
        for (; i + 8 <= n; i += 8) {
            float8 x = vload8(0, row + i) - mean;
            square += x * x;
        }
        for (; i < n; i++) rest += (row[i] - mean) * (row[i] - mean);
        factor = 1.0f / sqrt((sum_of(square) + rest) / (float)n + epsilon);
    }
    for (int i = 0; i < n; i++) {
        float x = (row[i] - mean) * factor;
        if (gamma) x *= gamma[i];
        if (beta) x += beta[i];
        row[i] = x;
    }
}
