#include "graph/shape.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "graph/shape_rules.h"

/* What the inputs and outputs of an op are called, and which inputs it cannot do without. */
typedef struct op_rule {
    zeb_shape_op_fn *infer;
    uint32_t required; /* bit mask of input positions */
    const char *input[ZEB_NODE_INPUTS_MAX];
    const char *output[ZEB_NODE_OUTPUTS_MAX];
} op_rule;

static const op_rule RULE[] = {
    [ZEB_OP_EMBED] = {zeb_shape_embed, 0x05, {"ids", "types", "word", "position", "type", "gamma", "beta"}, {""}},
    [ZEB_OP_LINEAR] = {zeb_shape_linear, 0x03, {"x", "w", "bias", "residual", "gates"}, {""}},
    [ZEB_OP_NORM] = {zeb_shape_norm, 0x05, {"x", "residual", "gamma", "beta"}, {""}},
    [ZEB_OP_ATTENTION] = {zeb_shape_attention,
                          0x07,
                          {"q", "k", "v", "gates"},
                          {"", ".importance", ".indices", ".offsets", ".count"}},
    [ZEB_OP_SELECT] = {zeb_shape_select_op, 0x02, {"importance", "rows"}, {".indices", ".offsets", ".count"}},
    [ZEB_OP_GATHER] = {zeb_shape_gather, 0x03, {"x", "indices"}, {""}},
    [ZEB_OP_ACTIVATION] = {zeb_shape_activation, 0x01, {"x", "gate"}, {""}},
    [ZEB_OP_POOL] = {zeb_shape_pool, 0x01, {"x"}, {""}},
    [ZEB_OP_HEAD_GATE] = {zeb_shape_head_gate, 0x07, {"x", "w", "bias"}, {""}},
    [ZEB_OP_LOG_LIKELIHOOD] = {zeb_shape_log_likelihood, 0x07, {"x", "w", "targets"}, {""}},
    [ZEB_OP_BLOCKS] = {zeb_shape_blocks, 0x01, {"x"}, {"", ".open"}},
    [ZEB_OP_EXIT] = {zeb_shape_exit, 0x03, {"here", "rows", "before"}, {"", ".indices", ".offsets", ".count"}},
    [ZEB_OP_HEAD_TOPK] = {zeb_shape_head_topk, 0x01, {"x", "before"}, {"", ".importance"}},
};
enum { RULE_COUNT = sizeof RULE / sizeof RULE[0] };

static const op_rule *rule_of(zeb_op op) {
    return (unsigned)op > 0 && (unsigned)op < RULE_COUNT ? &RULE[op] : NULL;
}

const char *zeb_shape_output_name(zeb_op op, uint32_t position) {
    const op_rule *rule = rule_of(op);
    return rule != NULL && position < ZEB_NODE_OUTPUTS_MAX ? rule->output[position] : NULL;
}

static const char *dtype_name(zeb_dtype dtype) {
    switch (dtype) {
        case ZEB_F32: return "F32";
        case ZEB_F16: return "F16";
        case ZEB_BF16: return "BF16";
        case ZEB_I32: return "I32";
        case ZEB_I8: return "I8";
        case ZEB_U4: return "U4";
    }
    return "dtype?";
}

void zeb_shape_text(const zeb_tensor *tensor, char text[ZEB_SHAPE_TEXT_MAX]) {
    int used = snprintf(text, ZEB_SHAPE_TEXT_MAX, "%s [", dtype_name(tensor->dtype));
    for (uint32_t i = 0; i < tensor->rank && i < ZEB_RANK_MAX && used < ZEB_SHAPE_TEXT_MAX; ++i)
        used += snprintf(text + used, (size_t)(ZEB_SHAPE_TEXT_MAX - used), "%s%" PRId64, i > 0 ? "," : "",
                         tensor->extent[i].max);
    if (used < ZEB_SHAPE_TEXT_MAX) (void)snprintf(text + used, (size_t)(ZEB_SHAPE_TEXT_MAX - used), "]");
}

int zeb_shape_bytes(const zeb_tensor *tensor, size_t *bytes) {
    size_t elements = 1;
    if (tensor->rank < 1 || tensor->rank > ZEB_RANK_MAX) return 0;
    for (uint32_t i = 0; i < tensor->rank; ++i)
        if (tensor->extent[i].max < 1 || __builtin_mul_overflow(elements, (size_t)tensor->extent[i].max, &elements))
            return 0;
    if (elements > SIZE_MAX / 8) return 0;
    *bytes = zeb_dtype_bytes(tensor->dtype, elements);
    return *bytes > 0;
}

const zeb_tensor *zeb_shape_input(const zeb_shape_at *at, uint32_t position) {
    int32_t id = at->node->input[position];
    return id == ZEB_NONE ? NULL : &at->graph->tensor[id];
}

zeb_status zeb_shape_bad_node(const zeb_shape_at *at, const char *format, ...) {
    char what[320];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(what, sizeof what, format, args);
    va_end(args);
    return zeb_fail(at->error, ZEB_ERR_ARGUMENT, "node '%s' (%s): %s", at->node->name, zeb_op_name(at->node->op), what);
}

zeb_status zeb_shape_bad(const zeb_shape_at *at, uint32_t position, const char *format, ...) {
    char what[256], shape[ZEB_SHAPE_TEXT_MAX];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(what, sizeof what, format, args);
    va_end(args);
    const zeb_tensor *tensor = zeb_shape_input(at, position);
    zeb_shape_text(tensor, shape);
    return zeb_shape_bad_node(at, "%s '%s' %s: %s", RULE[at->node->op].input[position], tensor->name, shape, what);
}

static int is_float(zeb_dtype dtype) {
    return dtype == ZEB_F32 || dtype == ZEB_F16 || dtype == ZEB_BF16;
}

zeb_status zeb_shape_float_weight(const zeb_shape_at *at, uint32_t position, int64_t first, int64_t second) {
    const zeb_tensor *w = zeb_shape_input(at, position);
    if (w == NULL) return ZEB_OK;
    uint32_t rank = second == 0 ? 1 : 2;
    if (w->role != ZEB_ROLE_WEIGHT) return zeb_shape_bad(at, position, "must be a weight");
    if (!is_float(w->dtype)) return zeb_shape_bad(at, position, "must be F32, F16 or BF16");
    if (w->rank != rank) return zeb_shape_bad(at, position, "must be of rank %u", rank);
    if (first != ZEB_SHAPE_ANY && w->extent[0].max != first)
        return zeb_shape_bad(at, position, "first extent must be %" PRId64, first);
    if (rank == 2 && w->extent[1].max != second)
        return zeb_shape_bad(at, position, "second extent must be %" PRId64, second);
    return ZEB_OK;
}

zeb_status zeb_shape_quantised(const char *who, const zeb_tensor *weight, const zeb_tensor *scale, int32_t group,
                               zeb_error *error) {
    char shape[ZEB_SHAPE_TEXT_MAX];
    zeb_shape_text(scale, shape);
    int64_t n = weight->extent[0].max, k = weight->extent[weight->rank - 1].max;
    int four = weight->dtype == ZEB_U4;
    if (weight->rank != 2 || (weight->dtype != ZEB_I8 && !four))
        return zeb_fail(error, ZEB_ERR_ARGUMENT, "%s: weight '%s' must be a matrix of I8 or U4 to have a scale", who,
                        weight->name);
    if (four ? group != 32 && group != 64 : group != 0)
        return zeb_fail(error, ZEB_ERR_ARGUMENT, "%s: weight '%s': a group of %d is not %s", who, weight->name, group,
                        four ? "32 or 64" : "0, as I8 needs");
    if (four && k % group != 0)
        return zeb_fail(error, ZEB_ERR_ARGUMENT, "%s: weight '%s': %" PRId64 " columns are no multiple of the group %d",
                        who, weight->name, k, group);
    int fits = four ? scale->dtype == ZEB_F16 && scale->rank == 2 && scale->extent[1].max == k / group
                    : scale->dtype == ZEB_F32 && scale->rank == 1;
    if (scale->role != ZEB_ROLE_WEIGHT || !fits || scale->extent[0].max != n)
        return zeb_fail(error, ZEB_ERR_ARGUMENT, "%s: weight '%s': scale '%s' %s must be a weight of %s", who,
                        weight->name, scale->name, shape, four ? "F16 [N,K/group]" : "F32 [N]");
    return ZEB_OK;
}

/* The scales of a quantised weight. */
static zeb_status check_scale(const zeb_shape_at *at, uint32_t position) {
    const zeb_tensor *w = zeb_shape_input(at, position);
    if (w->scale < 0 || (uint32_t)w->scale >= at->graph->tensor_count)
        return zeb_shape_bad(at, position, "is quantised but has no scale");
    return zeb_shape_quantised(at->node->name, w, &at->graph->tensor[w->scale], w->group, at->error);
}

zeb_status zeb_shape_table(const zeb_shape_at *at, uint32_t position, int64_t second) {
    const zeb_tensor *w = zeb_shape_input(at, position);
    if (w == NULL || (w->dtype != ZEB_I8 && w->dtype != ZEB_U4))
        return zeb_shape_float_weight(at, position, ZEB_SHAPE_ANY, second);
    if (w->role != ZEB_ROLE_WEIGHT) return zeb_shape_bad(at, position, "must be a weight");
    if (w->rank != 2 || w->extent[1].max != second)
        return zeb_shape_bad(at, position, "second extent must be %" PRId64, second);
    return check_scale(at, position);
}

zeb_status zeb_shape_matrix(const zeb_shape_at *at, uint32_t position, int64_t second, uint32_t precision) {
    const zeb_tensor *w = zeb_shape_input(at, position);
    if (precision > ZEB_PRECISION_W4A16) return zeb_shape_bad_node(at, "precision %u is unknown", precision);
    if (w->role != ZEB_ROLE_WEIGHT) return zeb_shape_bad(at, position, "must be a weight");
    if (w->rank != 2) return zeb_shape_bad(at, position, "must be of rank 2");
    if (w->extent[1].max != second) return zeb_shape_bad(at, position, "second extent must be %" PRId64, second);
    int four = precision == ZEB_PRECISION_W4A8 || precision == ZEB_PRECISION_W4A16;
    if (is_float(w->dtype)) {
        if (four && second % 32 != 0)
            return zeb_shape_bad(at, position, "4-bit precision needs columns in groups of 32");
        return ZEB_OK;
    }
    if (w->dtype == ZEB_I8 && precision != ZEB_PRECISION_W8A8)
        return zeb_shape_bad(at, position, "I8 weights need precision W8A8");
    if (w->dtype == ZEB_U4 && !four) return zeb_shape_bad(at, position, "U4 weights need precision W4A8 or W4A16");
    if (w->dtype != ZEB_I8 && w->dtype != ZEB_U4) return zeb_shape_bad(at, position, "is no type of a matrix");
    return check_scale(at, position);
}

zeb_status zeb_shape_value(const zeb_shape_at *at, uint32_t position, zeb_dtype dtype, uint32_t rank) {
    const zeb_tensor *x = zeb_shape_input(at, position);
    if (x == NULL) return ZEB_OK;
    if (x->role == ZEB_ROLE_WEIGHT) return zeb_shape_bad(at, position, "must not be a weight");
    if (x->dtype != dtype) return zeb_shape_bad(at, position, "must be %s", dtype_name(dtype));
    if (x->rank != rank) return zeb_shape_bad(at, position, "must be of rank %u", rank);
    return ZEB_OK;
}

zeb_status zeb_shape_rows(const zeb_shape_at *at, uint32_t position, zeb_dtype dtype, uint32_t rank) {
    const zeb_tensor *x = zeb_shape_input(at, position);
    zeb_status status = zeb_shape_value(at, position, dtype, rank);
    if (status != ZEB_OK || x == NULL) return status;
    if (x->offsets == ZEB_NONE) return zeb_shape_bad(at, position, "must be packed rows with offsets");
    return ZEB_OK;
}

zeb_status zeb_shape_same_rows(const zeb_shape_at *at, uint32_t position, uint32_t base) {
    const zeb_tensor *x = zeb_shape_input(at, position), *y = zeb_shape_input(at, base);
    if (x == NULL || y == NULL) return ZEB_OK;
    const char *of_x = x->offsets == ZEB_NONE ? "none" : at->graph->tensor[x->offsets].name;
    const char *of_y = y->offsets == ZEB_NONE ? "none" : at->graph->tensor[y->offsets].name;
    if (x->offsets != y->offsets)
        return zeb_shape_bad(at, position, "rows of '%s' do not match the rows of '%s' of %s '%s'", of_x, of_y,
                             RULE[at->node->op].input[base], y->name);
    if (x->extent[0].max != y->extent[0].max || x->extent[0].live != y->extent[0].live)
        return zeb_shape_bad(at, position, "must have as many rows as %s '%s'", RULE[at->node->op].input[base],
                             y->name);
    return ZEB_OK;
}

int64_t zeb_shape_batch(const zeb_shape_at *at, const zeb_tensor *rows) {
    return at->graph->tensor[rows->offsets].extent[0].max - 1;
}

zeb_status zeb_shape_gates(const zeb_shape_at *at, uint32_t position, uint32_t base, int64_t groups) {
    const zeb_tensor *gates = zeb_shape_input(at, position), *x = zeb_shape_input(at, base);
    if (gates == NULL) return ZEB_OK;
    zeb_status status = zeb_shape_value(at, position, ZEB_F32, 2);
    if (status != ZEB_OK) return status;
    if (x->offsets == ZEB_NONE) return zeb_shape_bad(at, base, "gates need packed rows with offsets");
    if (gates->offsets != ZEB_NONE) return zeb_shape_bad(at, position, "must have one row a sequence, not a token");
    int64_t batch = zeb_shape_batch(at, x);
    if (gates->extent[0].max != batch || gates->extent[1].max != groups)
        return zeb_shape_bad(at, position, "must be [%" PRId64 ",%" PRId64 "]", batch, groups);
    return ZEB_OK;
}

zeb_status zeb_shape_select(const zeb_shape_at *at, const zeb_select *select) {
    if (select->mode > ZEB_SELECT_RELATIVE) return zeb_shape_bad_node(at, "select mode %u is unknown", select->mode);
    if (select->mode <= ZEB_SELECT_FIRST) return ZEB_OK;
    if (select->floor < 1) return zeb_shape_bad_node(at, "select floor %d must be at least 1", select->floor);
    if ((select->mode == ZEB_SELECT_THRESHOLD || select->mode == ZEB_SELECT_RELATIVE) && !isfinite(select->value))
        return zeb_shape_bad_node(at, "select threshold must be finite");
    if (select->mode == ZEB_SELECT_TOPK && select->count < 1)
        return zeb_shape_bad_node(at, "select count %d must be at least 1", select->count);
    if (select->mode == ZEB_SELECT_RATIO && !(select->value > 0.0f && select->value <= 1.0f))
        return zeb_shape_bad_node(at, "select ratio %g must be above 0 and at most 1", (double)select->value);
    return ZEB_OK;
}

void zeb_shape_make_rows(zeb_tensor *out, zeb_dtype dtype, const zeb_tensor *rows, int64_t width) {
    zeb_shape_make_plain(out, dtype, rows->extent[0].max, width);
    out->extent[0].live = rows->extent[0].live;
    out->offsets = rows->offsets;
}

void zeb_shape_make_plain(zeb_tensor *out, zeb_dtype dtype, int64_t first, int64_t second) {
    *out = (zeb_tensor){
        .dtype = dtype, .role = ZEB_ROLE_VALUE, .rank = second == 0 ? 1 : 2, .offsets = ZEB_NONE, .scale = ZEB_NONE};
    for (uint32_t i = 0; i < ZEB_RANK_MAX; ++i)
        out->extent[i] = (zeb_extent){.max = 1, .live = ZEB_NONE};
    out->extent[0].max = first;
    if (second != 0) out->extent[1].max = second;
}

/* Ids in range, needed inputs there, nothing at positions that the op does not have. */
static zeb_status check_inputs(const zeb_shape_at *at, const op_rule *rule) {
    for (uint32_t i = 0; i < ZEB_NODE_INPUTS_MAX; ++i) {
        int32_t id = at->node->input[i];
        if (rule->input[i] == NULL) {
            if (id != ZEB_NONE) return zeb_shape_bad_node(at, "has no input position %u", i);
        } else if (id == ZEB_NONE) {
            if ((rule->required >> i & 1u) != 0) return zeb_shape_bad_node(at, "input %s is missing", rule->input[i]);
        } else if (id < 0 || (uint32_t)id >= at->graph->tensor_count) {
            return zeb_shape_bad_node(at, "input %s: there is no tensor %d", rule->input[i], id);
        }
    }
    return ZEB_OK;
}

zeb_status zeb_shape_infer(const zeb_shape_graph *graph, const zeb_node *node, uint32_t want,
                           zeb_tensor output[ZEB_NODE_OUTPUTS_MAX], zeb_error *error) {
    zeb_shape_at at = {graph, node, error};
    const op_rule *rule = rule_of(node->op);
    if (node->name == NULL || node->name[0] == '\0') return zeb_fail(error, ZEB_ERR_ARGUMENT, "a node has no name");
    if (rule == NULL) return zeb_shape_bad_node(&at, "op %d is unknown", (int)node->op);
    zeb_status status = check_inputs(&at, rule);
    if (status != ZEB_OK) return status;
    memset(output, 0, ZEB_NODE_OUTPUTS_MAX * sizeof *output);
    status = rule->infer(&at, want, output);
    for (uint32_t i = 0; status == ZEB_OK && i < ZEB_NODE_OUTPUTS_MAX; ++i)
        if (output[i].rank > 0 && !zeb_shape_bytes(&output[i], &output[i].bytes))
            status = zeb_shape_bad_node(&at, "output %u does not fit in memory", i);
    return status;
}
