/* Choices that small errors may turn: which rows survive, who leaves, which heads run. */
#include <math.h>

#include "told.h"

/* What may be said of a row that was kept. */
enum { LOST, KEPT, FORCED };

static bool wrong(const op_selection *s, char *where, const char *what, int64_t b, int64_t row) {
    (void)snprintf(where, OP_WHERE_MAX, "'%.60s': sequence %d of %d rows: %s (row %d)", s->name, (int)b,
                   (int)(s->from[b + 1] - s->from[b]), what, (int)row);
    return false;
}

/* Offsets rise to the count, rows lie in their sequence and rise. */
static bool is_in_order(const op_selection *s, char *where) {
    if (s->kept[0] != 0 || s->count != s->kept[s->batch])
        return wrong(s, where, "offsets don't end at the count", 0, 0);
    for (int64_t b = 0; b < s->batch; ++b) {
        int32_t before = s->from[b] - 1;
        if (s->kept[b + 1] < s->kept[b] || s->kept[b + 1] - s->kept[b] > s->from[b + 1] - s->from[b])
            return wrong(s, where, "offsets fall or are too many", b, 0);
        for (int32_t i = s->kept[b]; i < s->kept[b + 1]; before = s->indices[i++])
            if (s->indices[i] <= before || s->indices[i] >= s->from[b + 1])
                return wrong(s, where, "indices don't rise or leave the sequence", b, s->indices[i]);
    }
    return true;
}

static double of(const op_selection *s, int32_t row) {
    return s->importance == NULL ? 0.0 : isnan(s->importance[row]) ? -(double)INFINITY : (double)s->importance[row];
}

static int state_of(const op_selection *s, int64_t b, int32_t row) {
    int32_t last = s->from[b + 1] - 1;
    if (row == s->from[b] || (s->select->mode != ZEB_SELECT_FIRST && s->select->keep_last != 0 && row == last))
        return FORCED;
    for (int32_t i = s->kept[b]; i < s->kept[b + 1]; ++i)
        if (s->indices[i] == row) return KEPT;
    return LOST;
}

/* Above, below or (0) too near the threshold to say; `error` in units of importance. */
static int side_of(const zeb_select *select, double importance, double error, int32_t n) {
    double value = (double)select->value;
    if (select->mode == ZEB_SELECT_RELATIVE) value /= n;
    return importance > value + error ? 1 : importance < value - error ? -1 : 0;
}

static bool is_sequence_right(const op_selection *s, int64_t b, char *where) {
    int32_t n = s->from[b + 1] - s->from[b], kept = s->kept[b + 1] - s->kept[b], forced = 0;
    int32_t quota = zeb_select_quota(s->select, n), best = -1, worst = -1;
    bool by_threshold = s->select->mode == ZEB_SELECT_THRESHOLD || s->select->mode == ZEB_SELECT_RELATIVE;
    if (by_threshold ? kept < quota : kept != quota) return wrong(s, where, "too many or too few survive", b, kept);
    for (int32_t row = s->from[b]; row < s->from[b + 1]; ++row) {
        int state = state_of(s, b, row), side = 0;
        double error = s->relative * (of(s, row) + 1.0 / n);
        if (by_threshold) side = side_of(s->select, of(s, row), error, n);
        forced += state == FORCED;
        if (state == LOST && side > 0) return wrong(s, where, "a row above the threshold is lost", b, row);
        if (state == KEPT && side < 0 && kept > quota)
            return wrong(s, where, "a row below the threshold is kept", b, row);
        if (state == LOST && (best < 0 || of(s, row) > of(s, best))) best = row;
        if (state == KEPT && (worst < 0 || of(s, row) < of(s, worst))) worst = row;
    }
    for (int32_t i = s->kept[b]; i < s->kept[b + 1]; ++i)
        forced -= state_of(s, b, s->indices[i]) == FORCED;
    if (forced != 0) return wrong(s, where, "a row that must stay is lost", b, s->from[b]);
    if (best < 0 || worst < 0) return true;
    double error = s->relative * (of(s, best) + of(s, worst) + 2.0 / n);
    if (of(s, best) - of(s, worst) > error)
        return wrong(s, where, "a better row than one that is kept is lost", b, best);
    return true;
}

bool op_selection_is_right(const op_selection *s, char where[OP_WHERE_MAX]) {
    bool right = is_in_order(s, where);
    for (int64_t b = 0; right && b < s->batch; ++b)
        right = is_sequence_right(s, b, where);
    return right;
}

bool op_exits_are_right(const op_selection *s, const float *logits, int64_t labels, float confidence,
                        char where[OP_WHERE_MAX]) {
    if (!is_in_order(s, where)) return false;
    for (int64_t b = 0; b < s->batch; ++b) {
        int32_t n = s->from[b + 1] - s->from[b], kept = s->kept[b + 1] - s->kept[b];
        double most = -(double)INFINITY, sum = 0.0;
        for (int64_t c = 0; c < labels; ++c)
            most = fmax(most, (double)logits[b * labels + c]);
        for (int64_t c = 0; c < labels; ++c)
            sum += exp((double)logits[b * labels + c] - most);
        double margin = 1.0 / sum - (double)confidence;
        if (kept != 0 && kept != n) return wrong(s, where, "some rows leave, others stay", b, kept);
        if (n > 0 && fabs(margin) > 1e-5 && (margin > 0) != (kept == 0))
            return wrong(s, where, margin > 0 ? "it is sure and stays" : "it isn't sure and leaves", b, kept);
    }
    return true;
}

bool op_gates_are_right(const char *name, const float *sums, const int32_t *from, int64_t batch, int64_t heads,
                        const float *gates, char where[OP_WHERE_MAX]) {
    for (int64_t i = 0; i < batch * heads; ++i) {
        bool empty = from[i / heads] == from[i / heads + 1], open = !empty && sums[i] > 0.0f;
        if (gates[i] == (open ? 1.0f : 0.0f)) continue;
        if (!empty && gates[i] == (open ? 0.0f : 1.0f) && fabsf(sums[i]) < 1e-5f) continue;
        (void)snprintf(where, OP_WHERE_MAX, "'%.60s'[%d,%d] is %g, but the sum %g", name, (int)(i / heads),
                       (int)(i % heads), (double)gates[i], (double)sums[i]);
        return false;
    }
    return true;
}

/* A NaN is above all. */
static float worth(float importance) {
    return isnan(importance) ? INFINITY : importance;
}

bool op_heads_are_right(const char *name, const float *importance, const int32_t *from, int64_t batch,
                        const zeb_head_topk_attr *attr, const float *gates, char where[OP_WHERE_MAX]) {
    for (int64_t i = 0; i < batch * attr->heads; ++i) {
        int64_t b = i / attr->heads, better = 0;
        for (int64_t o = b * attr->heads; o < (b + 1) * attr->heads; ++o)
            better +=
                worth(importance[o]) > worth(importance[i]) || (o < i && worth(importance[o]) == worth(importance[i]));
        bool open = from[b] < from[b + 1] && better < attr->count;
        if (gates[i] == (open ? 1.0f : 0.0f)) continue;
        (void)snprintf(where, OP_WHERE_MAX, "'%.60s'[%d,%d] is %g, but %d heads gave more than its %g", name, (int)b,
                       (int)(i % attr->heads), (double)gates[i], (int)better, (double)importance[i]);
        return false;
    }
    return true;
}
