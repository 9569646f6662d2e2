/* Token dropping as a training framework does it: full matrices and masks. Shares no code with ref or the rewrite. */
#include <math.h>
#include <string.h>

#include "encoder.h"

/* One sequence under way. */
typedef struct state {
    int n;
    int alive[TOKENS];
    double x[TOKENS][WIDTH];
    double p[HEADS][TOKENS][TOKENS];
    int open[HEADS];
    double worth[HEADS], given[HEADS]; /* magnitudes: means of the layers so far, sums of the layer under way */
    double *margin;
} state;

static void keep_margin(const state *s, double distance) {
    if (fabs(distance) < *s->margin) *s->margin = fabs(distance);
}

static void multiply(const float *w, const double *x, int n, int k, double *out) {
    for (int i = 0; i < n; ++i) {
        out[i] = 0.0;
        for (int j = 0; j < k; ++j)
            out[i] += (double)w[i * k + j] * x[j];
    }
}

static void gate_heads(state *s, const encoder_layer *w, const zeb_layer_rule *rule) {
    double mean[WIDTH] = {0}, sum[HEADS];
    int live = 0;
    for (int t = 0; t < s->n; ++t)
        live += s->alive[t];
    for (int t = 0; t < s->n; ++t)
        for (int i = 0; i < WIDTH && s->alive[t]; ++i)
            mean[i] += s->x[t][i] / live;
    multiply(w->gate, mean, HEADS, WIDTH, sum);
    for (int h = 0; h < HEADS; ++h) {
        double value = sum[h] + (double)w->gate_bias[h];
        int better = 0;
        for (int o = 0; o < HEADS; ++o) {
            better += s->worth[o] > s->worth[h];
            if (rule->heads_kept > 0 && o != h) keep_margin(s, s->worth[o] - s->worth[h]);
        }
        s->open[h] = rule->heads_kept > 0 ? better < rule->heads_kept : rule->gate_weight == NULL || value > 0.0;
        if (rule->gate_weight != NULL) keep_margin(s, value);
    }
}

/* What the heads gave to the rows alive, when all are done. */
static void weigh_heads(state *s) {
    int live = 0;
    for (int t = 0; t < s->n; ++t)
        live += s->alive[t];
    for (int h = 0; h < HEADS && live > 0; ++h) {
        s->worth[h] += s->given[h] / (live * DIM);
        s->given[h] = 0.0;
    }
}

/* Softmax over the keys alive. */
static void attend(state *s, const encoder_layer *w, double v[TOKENS][WIDTH]) {
    static double q[TOKENS][WIDTH], k[TOKENS][WIDTH];
    for (int t = 0; t < s->n; ++t) {
        multiply(w->q, s->x[t], WIDTH, WIDTH, q[t]);
        multiply(w->k, s->x[t], WIDTH, WIDTH, k[t]);
        multiply(w->v, s->x[t], WIDTH, WIDTH, v[t]);
    }
    for (int h = 0; h < HEADS; ++h)
        for (int i = 0; i < s->n; ++i) {
            double sum = 0.0;
            for (int j = 0; j < s->n; ++j) {
                double score = 0.0;
                for (int d = 0; d < DIM; ++d)
                    score += q[i][h * DIM + d] * k[j][h * DIM + d];
                s->p[h][i][j] = s->alive[j] ? exp(0.5 * score) : 0.0;
                sum += s->p[h][i][j];
            }
            for (int j = 0; j < s->n; ++j)
                s->p[h][i][j] *= s->open[h] ? 1.0 / sum : 0.0;
        }
}

static int better(const double *importance, int a, int b) {
    return importance[a] > importance[b] || (importance[a] == importance[b] && a < b);
}

/* Who stays: by rank among the living, row 0 (and the last one) first. */
static void drop(state *s, const zeb_select *select) {
    double importance[TOKENS] = {0};
    int live = 0, last = 0, quota = select->floor, stays[TOKENS];
    for (int t = 0; t < s->n; ++t) {
        live += s->alive[t];
        if (s->alive[t]) last = t;
    }
    for (int j = 0; j < s->n; ++j)
        for (int h = 0; h < HEADS; ++h)
            for (int i = 0; i < s->n; ++i)
                if (s->alive[i]) importance[j] += s->p[h][i][j] / (HEADS * live);
    if (select->keep_last && quota < 2) quota = 2;
    if (select->mode == ZEB_SELECT_TOPK && quota < select->count) quota = select->count;
    if (select->mode == ZEB_SELECT_RATIO && quota < (int)ceilf(select->value * (float)live))
        quota = (int)ceilf(select->value * (float)live);
    importance[0] = 1e9;
    if (select->keep_last) importance[last] = last == 0 ? 1e9 : 1e8;
    for (int j = 0; j < s->n; ++j) {
        int before = 0;
        for (int o = 0; o < s->n; ++o)
            before += s->alive[o] && better(importance, o, j);
        stays[j] = s->alive[j] && before < quota;
        if ((select->mode == ZEB_SELECT_THRESHOLD || select->mode == ZEB_SELECT_RELATIVE) && s->alive[j]) {
            double worth = importance[j] * (select->mode == ZEB_SELECT_RELATIVE ? live : 1);
            stays[j] |= worth >= (double)select->value;
            keep_margin(s, worth / (double)select->value - 1.0);
        }
        for (int o = 0; o < j; ++o)
            if (s->alive[j] && s->alive[o]) keep_margin(s, importance[j] / importance[o] - 1.0);
    }
    memcpy(s->alive, stays, sizeof stays);
}

static void normalise(const float *gamma, const float *beta, double *x) {
    double mean = 0.0, square = 0.0;
    for (int i = 0; i < WIDTH; ++i)
        mean += x[i] / WIDTH;
    for (int i = 0; i < WIDTH; ++i)
        square += (x[i] - mean) * (x[i] - mean) / WIDTH;
    for (int i = 0; i < WIDTH; ++i)
        x[i] = (x[i] - mean) / sqrt(square + 1e-12) * (double)gamma[i] + (double)beta[i];
}

static void close_blocks(state *s, const zeb_blocks_attr *ffn, double inner[INNER]) {
    for (int i = 0; ffn->size > 0 && i < INNER; i += ffn->size) {
        double most = 0.0;
        for (int j = i; j < i + ffn->size; ++j)
            most = fmax(most, fabs(inner[j]));
        keep_margin(s, most - (double)ffn->threshold);
        for (int j = i; most < (double)ffn->threshold && j < i + ffn->size; ++j)
            inner[j] = 0.0;
    }
}

static void finish_row(state *s, int t, const encoder_layer *w, const zeb_layer_rule *rule, double v[TOKENS][WIDTH]) {
    double context[WIDTH] = {0}, y[WIDTH], inner[INNER];
    for (int i = 0; i < WIDTH; ++i)
        for (int j = 0; j < s->n; ++j) {
            double p = s->p[i / DIM][t][j], threshold = (double)rule->score_threshold;
            if (threshold > 0.0 && p > 0.0) keep_margin(s, p / threshold - 1.0);
            if (p >= threshold) context[i] += p * v[j][i];
        }
    for (int i = 0; i < WIDTH; ++i)
        s->given[i / DIM] += fabs(context[i]);
    multiply(w->o, context, WIDTH, WIDTH, y);
    for (int i = 0; i < WIDTH; ++i)
        y[i] += s->x[t][i];
    normalise(w->gamma[0], w->beta[0], y);
    multiply(w->up, y, INNER, WIDTH, inner);
    for (int i = 0; i < INNER; ++i)
        inner[i] *= 0.5 * (1.0 + erf(inner[i] / sqrt(2.0)));
    close_blocks(s, &rule->ffn, inner);
    multiply(w->down, inner, WIDTH, INNER, s->x[t]);
    for (int i = 0; i < WIDTH; ++i)
        s->x[t][i] += y[i];
    normalise(w->gamma[1], w->beta[1], s->x[t]);
}

/* Does the sequence leave behind the layer? Its logits there are then the results. */
static int leaves(const state *s, const encoder_layer *w, const zeb_layer_rule *rule, double logits[LABELS]) {
    double sum = 0.0, most = -(double)INFINITY;
    if (rule->exit_weight == NULL || s->n == 0) return 0;
    multiply(w->exit, s->x[0], LABELS, WIDTH, logits);
    for (int i = 0; i < LABELS; ++i) {
        logits[i] += (double)w->exit_bias[i];
        most = fmax(most, logits[i]);
    }
    for (int i = 0; i < LABELS; ++i)
        sum += exp(logits[i] - most);
    keep_margin(s, 1.0 / sum - (double)rule->confidence);
    return 1.0 / sum >= (double)rule->confidence;
}

void masked_logits(const encoder *e, const zeb_layer_rule *rule, double logits[BATCH][LABELS],
                   int32_t kept[LAYERS][BATCH], double *margin) {
    static state s;
    static double v[TOKENS][WIDTH];
    *margin = (double)INFINITY;
    for (int b = 0; b < BATCH; ++b) {
        s = (state){.n = e->offsets[b + 1] - e->offsets[b], .margin = margin};
        for (int t = 0; t < s.n; ++t) {
            s.alive[t] = 1;
            for (int i = 0; i < WIDTH; ++i)
                s.x[t][i] = (double)e->x[(e->offsets[b] + t) * WIDTH + i];
        }
        int left = 0;
        for (int l = 0; l < LAYERS; ++l) {
            kept[l][b] = 0;
            if (left) continue;
            if (s.n > 0) {
                gate_heads(&s, &e->layer[l], &rule[l]);
                attend(&s, &e->layer[l], v);
                if (rule[l].tokens.mode != ZEB_SELECT_NONE) drop(&s, &rule[l].tokens);
            }
            for (int t = 0; t < s.n; ++t) {
                if (s.alive[t]) finish_row(&s, t, &e->layer[l], &rule[l], v);
                kept[l][b] += s.alive[t];
            }
            weigh_heads(&s);
            left = leaves(&s, &e->layer[l], &rule[l], logits[b]);
        }
        if (left) continue;
        multiply(e->classifier, s.x[0], LABELS, WIDTH, logits[b]);
        for (int i = 0; i < LABELS && s.n == 0; ++i)
            logits[b][i] = 0.0;
    }
}
