/* The rules op by op; each follows the comment of its op in zeb/graph.h. */
#include <inttypes.h>
#include <math.h>

#include "graph/shape_rules.h"

static int has(const zeb_shape_at *at, uint32_t position) {
    return at->node->input[position] != ZEB_NONE;
}

static int64_t width_of(const zeb_shape_at *at, uint32_t position) {
    const zeb_tensor *x = zeb_shape_input(at, position);
    return x->rank == 2 ? x->extent[1].max : 0;
}

static zeb_status check_norm(const zeb_shape_at *at, uint32_t kind, float epsilon, uint32_t gamma, uint32_t beta,
                             int64_t width) {
    zeb_status status;
    if (kind < ZEB_NORM_LAYER || kind > ZEB_NORM_AFFINE) return zeb_shape_bad_node(at, "norm kind %u is unknown", kind);
    if (!isfinite(epsilon) || epsilon < 0.0f) return zeb_shape_bad_node(at, "epsilon must be finite and not negative");
    if (kind == ZEB_NORM_RMS && has(at, beta)) return zeb_shape_bad(at, beta, "an RMS norm has no beta");
    if ((status = zeb_shape_float_weight(at, gamma, width, 0)) != ZEB_OK) return status;
    return zeb_shape_float_weight(at, beta, width, 0);
}

zeb_status zeb_shape_embed(const zeb_shape_at *at, uint32_t want, zeb_tensor *out) {
    zeb_status status;
    (void)want;
    const zeb_embed_attr *attr = &at->node->attr.embed;
    if ((status = zeb_shape_rows(at, ZEB_EMBED_IDS, ZEB_I32, 1)) != ZEB_OK) return status;
    if ((status = zeb_shape_rows(at, ZEB_EMBED_TYPES, ZEB_I32, 1)) != ZEB_OK) return status;
    if ((status = zeb_shape_same_rows(at, ZEB_EMBED_TYPES, ZEB_EMBED_IDS)) != ZEB_OK) return status;
    if (has(at, ZEB_EMBED_TYPES) != has(at, ZEB_EMBED_TYPE))
        return zeb_shape_bad_node(at, "types and the type table go together");
    int64_t width = width_of(at, ZEB_EMBED_WORD);
    if (width == 0) return zeb_shape_bad(at, ZEB_EMBED_WORD, "must be of rank 2");
    if ((status = zeb_shape_table(at, ZEB_EMBED_WORD, width)) != ZEB_OK) return status;
    if ((status = zeb_shape_table(at, ZEB_EMBED_POSITION, width)) != ZEB_OK) return status;
    if ((status = zeb_shape_table(at, ZEB_EMBED_TYPE, width)) != ZEB_OK) return status;
    if (attr->norm == 0 && (has(at, ZEB_EMBED_GAMMA) || has(at, ZEB_EMBED_BETA)))
        return zeb_shape_bad_node(at, "gamma and beta need a norm");
    if (attr->norm != 0 && !has(at, ZEB_EMBED_GAMMA)) return zeb_shape_bad_node(at, "a norm needs gamma");
    if (attr->norm != 0) status = check_norm(at, attr->norm, attr->epsilon, ZEB_EMBED_GAMMA, ZEB_EMBED_BETA, width);
    if (status != ZEB_OK) return status;
    zeb_shape_make_rows(&out[0], ZEB_F32, zeb_shape_input(at, ZEB_EMBED_IDS), width);
    return ZEB_OK;
}

zeb_status zeb_shape_linear(const zeb_shape_at *at, uint32_t want, zeb_tensor *out) {
    zeb_status status;
    (void)want;
    const zeb_linear_attr *attr = &at->node->attr.linear;
    if ((status = zeb_shape_value(at, ZEB_LINEAR_X, ZEB_F32, 2)) != ZEB_OK) return status;
    if ((status = zeb_shape_matrix(at, ZEB_LINEAR_W, width_of(at, ZEB_LINEAR_X), attr->precision)) != ZEB_OK)
        return status;
    int64_t width = zeb_shape_input(at, ZEB_LINEAR_W)->extent[0].max;
    if (attr->activation > ZEB_ACT_TANH) return zeb_shape_bad_node(at, "activation %u is unknown", attr->activation);
    if ((status = zeb_shape_float_weight(at, ZEB_LINEAR_BIAS, width, 0)) != ZEB_OK) return status;
    if ((status = zeb_shape_value(at, ZEB_LINEAR_RESIDUAL, ZEB_F32, 2)) != ZEB_OK) return status;
    if ((status = zeb_shape_same_rows(at, ZEB_LINEAR_RESIDUAL, ZEB_LINEAR_X)) != ZEB_OK) return status;
    if (has(at, ZEB_LINEAR_RESIDUAL) && width_of(at, ZEB_LINEAR_RESIDUAL) != width)
        return zeb_shape_bad(at, ZEB_LINEAR_RESIDUAL, "second extent must be %" PRId64, width);
    if (has(at, ZEB_LINEAR_GATES) != (attr->gate_groups != 0))
        return zeb_shape_bad_node(at, "gates and gate_groups %d do not go together", attr->gate_groups);
    if (attr->gate_groups < 0 || (attr->gate_groups > 0 && width % attr->gate_groups != 0))
        return zeb_shape_bad_node(at, "%" PRId64 " columns are no multiple of %d gate groups", width,
                                  attr->gate_groups);
    if ((status = zeb_shape_gates(at, ZEB_LINEAR_GATES, ZEB_LINEAR_X, attr->gate_groups)) != ZEB_OK) return status;
    zeb_shape_make_rows(&out[0], ZEB_F32, zeb_shape_input(at, ZEB_LINEAR_X), width);
    return ZEB_OK;
}

zeb_status zeb_shape_norm(const zeb_shape_at *at, uint32_t want, zeb_tensor *out) {
    zeb_status status;
    (void)want;
    const zeb_norm_attr *attr = &at->node->attr.norm;
    if ((status = zeb_shape_value(at, ZEB_NORM_X, ZEB_F32, 2)) != ZEB_OK) return status;
    if ((status = zeb_shape_value(at, ZEB_NORM_RESIDUAL, ZEB_F32, 2)) != ZEB_OK) return status;
    if ((status = zeb_shape_same_rows(at, ZEB_NORM_RESIDUAL, ZEB_NORM_X)) != ZEB_OK) return status;
    int64_t width = width_of(at, ZEB_NORM_X);
    if (has(at, ZEB_NORM_RESIDUAL) && width_of(at, ZEB_NORM_RESIDUAL) != width)
        return zeb_shape_bad(at, ZEB_NORM_RESIDUAL, "second extent must be %" PRId64, width);
    if ((status = check_norm(at, attr->kind, attr->epsilon, ZEB_NORM_GAMMA, ZEB_NORM_BETA, width)) != ZEB_OK)
        return status;
    zeb_shape_make_rows(&out[0], ZEB_F32, zeb_shape_input(at, ZEB_NORM_X), width);
    return ZEB_OK;
}

/* The three outputs of a selection among `rows`, whose positions are given by that of the indices. */
static void make_selection(const zeb_shape_at *at, const zeb_select *select, const zeb_tensor *rows, zeb_tensor *out,
                           uint32_t indices) {
    int64_t batch = zeb_shape_batch(at, rows), most = rows->extent[0].max;
    if (select->mode == ZEB_SELECT_FIRST && most > batch) most = batch;
    zeb_shape_make_plain(&out[indices], ZEB_I32, most, 0);
    out[indices].offsets = ZEB_SHAPE_OWN - (int32_t)(indices + 1);
    out[indices].extent[0].live = ZEB_SHAPE_OWN - (int32_t)(indices + 2);
    zeb_shape_make_plain(&out[indices + 1], ZEB_I32, batch + 1, 0);
    zeb_shape_make_plain(&out[indices + 2], ZEB_I32, 1, 0);
}

static zeb_status check_heads(const zeb_shape_at *at, const zeb_attention_attr *attr) {
    if (attr->heads < 1 || attr->kv_heads < 1 || attr->head_dim < 1)
        return zeb_shape_bad_node(at, "heads %d, kv_heads %d and head_dim %d must be at least 1", attr->heads,
                                  attr->kv_heads, attr->head_dim);
    if (attr->heads % attr->kv_heads != 0)
        return zeb_shape_bad_node(at, "heads %d are no multiple of kv_heads %d", attr->heads, attr->kv_heads);
    if (!isfinite(attr->scale)) return zeb_shape_bad_node(at, "scale must be finite");
    if (!(attr->score_threshold >= 0.0f && attr->score_threshold <= 1.0f))
        return zeb_shape_bad_node(at, "score_threshold %g must be within 0 and 1", (double)attr->score_threshold);
    if (attr->precision > ZEB_PRECISION_W8A8)
        return zeb_shape_bad_node(at, "precision %u is none that attention knows", attr->precision);
    return zeb_shape_select(at, &attr->select);
}

zeb_status zeb_shape_attention(const zeb_shape_at *at, uint32_t want, zeb_tensor *out) {
    zeb_status status;
    const zeb_attention_attr *attr = &at->node->attr.attention;
    if ((status = check_heads(at, attr)) != ZEB_OK) return status;
    int64_t q_width = (int64_t)attr->heads * attr->head_dim, kv_width = (int64_t)attr->kv_heads * attr->head_dim;
    for (uint32_t i = ZEB_ATTENTION_Q; i <= ZEB_ATTENTION_V; ++i) {
        if ((status = zeb_shape_rows(at, i, ZEB_F32, 2)) != ZEB_OK) return status;
        int64_t width = i == ZEB_ATTENTION_Q ? q_width : kv_width;
        if (width_of(at, i) != width) return zeb_shape_bad(at, i, "second extent must be %" PRId64, width);
    }
    if ((status = zeb_shape_same_rows(at, ZEB_ATTENTION_V, ZEB_ATTENTION_K)) != ZEB_OK) return status;
    const zeb_tensor *q = zeb_shape_input(at, ZEB_ATTENTION_Q), *k = zeb_shape_input(at, ZEB_ATTENTION_K);
    if (zeb_shape_batch(at, q) != zeb_shape_batch(at, k))
        return zeb_shape_bad(at, ZEB_ATTENTION_K, "has rows of %" PRId64 " sequences, q of %" PRId64,
                             zeb_shape_batch(at, k), zeb_shape_batch(at, q));
    if ((status = zeb_shape_gates(at, ZEB_ATTENTION_GATES, ZEB_ATTENTION_Q, attr->heads)) != ZEB_OK) return status;
    zeb_shape_make_rows(&out[ZEB_ATTENTION_CONTEXT], ZEB_F32, q, q_width);
    if ((want >> ZEB_ATTENTION_IMPORTANCE & 1u) != 0)
        zeb_shape_make_rows(&out[ZEB_ATTENTION_IMPORTANCE], ZEB_F32, k, 0);
    if (attr->select.mode == ZEB_SELECT_NONE) return ZEB_OK;
    if ((status = zeb_shape_same_rows(at, ZEB_ATTENTION_K, ZEB_ATTENTION_Q)) != ZEB_OK)
        return status; /* one sees what the other drops */
    make_selection(at, &attr->select, k, out, ZEB_ATTENTION_INDICES);
    zeb_shape_make_rows(&out[ZEB_ATTENTION_CONTEXT], ZEB_F32, &out[ZEB_ATTENTION_INDICES], q_width);
    return ZEB_OK;
}

zeb_status zeb_shape_select_op(const zeb_shape_at *at, uint32_t want, zeb_tensor *out) {
    zeb_status status;
    (void)want;
    const zeb_select *select = &at->node->attr.select;
    const zeb_tensor *rows = zeb_shape_input(at, ZEB_SELECT_ROWS);
    if (select->mode == ZEB_SELECT_NONE) return zeb_shape_bad_node(at, "select mode must not be NONE");
    if ((status = zeb_shape_select(at, select)) != ZEB_OK) return status;
    if (rows->role == ZEB_ROLE_WEIGHT || rows->offsets == ZEB_NONE)
        return zeb_shape_bad(at, ZEB_SELECT_ROWS, "must be packed rows with offsets");
    if (select->mode != ZEB_SELECT_FIRST && !has(at, ZEB_SELECT_IMPORTANCE))
        return zeb_shape_bad_node(at, "input importance is missing");
    if ((status = zeb_shape_rows(at, ZEB_SELECT_IMPORTANCE, ZEB_F32, 1)) != ZEB_OK) return status;
    if ((status = zeb_shape_same_rows(at, ZEB_SELECT_IMPORTANCE, ZEB_SELECT_ROWS)) != ZEB_OK) return status;
    make_selection(at, select, rows, out, ZEB_SELECT_INDICES);
    return ZEB_OK;
}

/* Indices of a selecting op point into the rows it selected among, so x must be rows of the same space. */
static zeb_status check_source(const zeb_shape_at *at) {
    int32_t made_by = at->graph->producer[at->node->input[ZEB_GATHER_INDICES]];
    if (made_by == ZEB_NONE) return ZEB_OK; /* an input: whoever writes it answers for it */
    const zeb_node *node = &at->graph->node[made_by];
    int32_t rows = node->op == ZEB_OP_SELECT      ? node->input[ZEB_SELECT_ROWS]
                   : node->op == ZEB_OP_ATTENTION ? node->input[ZEB_ATTENTION_K]
                   : node->op == ZEB_OP_EXIT      ? node->input[ZEB_EXIT_ROWS]
                                                  : ZEB_NONE;
    if (rows == ZEB_NONE) return zeb_shape_bad(at, ZEB_GATHER_INDICES, "no selecting op made it");
    const zeb_tensor *source = &at->graph->tensor[rows], *x = zeb_shape_input(at, ZEB_GATHER_X);
    if (x->offsets != source->offsets)
        return zeb_shape_bad(at, ZEB_GATHER_X, "rows are not those that '%s' selects among ('%s')", node->name,
                             at->graph->tensor[source->offsets].name);
    return ZEB_OK;
}

zeb_status zeb_shape_gather(const zeb_shape_at *at, uint32_t want, zeb_tensor *out) {
    zeb_status status;
    (void)want;
    const zeb_tensor *x = zeb_shape_input(at, ZEB_GATHER_X), *indices = zeb_shape_input(at, ZEB_GATHER_INDICES);
    if (x->role == ZEB_ROLE_WEIGHT) return zeb_shape_bad(at, ZEB_GATHER_X, "must not be a weight");
    if (x->dtype != ZEB_F32 && x->dtype != ZEB_I32) return zeb_shape_bad(at, ZEB_GATHER_X, "must be F32 or I32");
    if (x->rank > 2) return zeb_shape_bad(at, ZEB_GATHER_X, "must be of rank 1 or 2");
    if ((status = zeb_shape_rows(at, ZEB_GATHER_INDICES, ZEB_I32, 1)) != ZEB_OK) return status;
    if ((status = check_source(at)) != ZEB_OK) return status;
    zeb_shape_make_rows(&out[0], x->dtype, indices, width_of(at, ZEB_GATHER_X));
    return ZEB_OK;
}

zeb_status zeb_shape_activation(const zeb_shape_at *at, uint32_t want, zeb_tensor *out) {
    zeb_status status;
    (void)want;
    uint32_t kind = at->node->attr.activation.activation;
    if (kind > ZEB_ACT_TANH) return zeb_shape_bad_node(at, "activation %u is unknown", kind);
    if ((status = zeb_shape_value(at, ZEB_ACTIVATION_X, ZEB_F32, 2)) != ZEB_OK) return status;
    if ((status = zeb_shape_value(at, ZEB_ACTIVATION_GATE, ZEB_F32, 2)) != ZEB_OK) return status;
    if ((status = zeb_shape_same_rows(at, ZEB_ACTIVATION_GATE, ZEB_ACTIVATION_X)) != ZEB_OK) return status;
    int64_t width = width_of(at, ZEB_ACTIVATION_X);
    if (has(at, ZEB_ACTIVATION_GATE) && width_of(at, ZEB_ACTIVATION_GATE) != width)
        return zeb_shape_bad(at, ZEB_ACTIVATION_GATE, "second extent must be %" PRId64, width);
    zeb_shape_make_rows(&out[0], ZEB_F32, zeb_shape_input(at, ZEB_ACTIVATION_X), width);
    return ZEB_OK;
}

zeb_status zeb_shape_pool(const zeb_shape_at *at, uint32_t want, zeb_tensor *out) {
    zeb_status status;
    (void)want;
    uint32_t kind = at->node->attr.pool.kind;
    if (kind < ZEB_POOL_FIRST || kind > ZEB_POOL_MAX) return zeb_shape_bad_node(at, "pool kind %u is unknown", kind);
    if ((status = zeb_shape_rows(at, ZEB_POOL_X, ZEB_F32, 2)) != ZEB_OK) return status;
    zeb_shape_make_plain(&out[0], ZEB_F32, zeb_shape_batch(at, zeb_shape_input(at, ZEB_POOL_X)),
                         width_of(at, ZEB_POOL_X));
    return ZEB_OK;
}

zeb_status zeb_shape_head_gate(const zeb_shape_at *at, uint32_t want, zeb_tensor *out) {
    zeb_status status;
    (void)want;
    if ((status = zeb_shape_rows(at, ZEB_HEAD_GATE_X, ZEB_F32, 2)) != ZEB_OK) return status;
    if ((status = zeb_shape_float_weight(at, ZEB_HEAD_GATE_W, ZEB_SHAPE_ANY, width_of(at, ZEB_HEAD_GATE_X))) != ZEB_OK)
        return status;
    int64_t heads = zeb_shape_input(at, ZEB_HEAD_GATE_W)->extent[0].max;
    if ((status = zeb_shape_float_weight(at, ZEB_HEAD_GATE_BIAS, heads, 0)) != ZEB_OK) return status;
    zeb_shape_make_plain(&out[0], ZEB_F32, zeb_shape_batch(at, zeb_shape_input(at, ZEB_HEAD_GATE_X)), heads);
    return ZEB_OK;
}

zeb_status zeb_shape_log_likelihood(const zeb_shape_at *at, uint32_t want, zeb_tensor *out) {
    zeb_status status;
    (void)want;
    if ((status = zeb_shape_rows(at, ZEB_LOG_LIKELIHOOD_X, ZEB_F32, 2)) != ZEB_OK) return status;
    if ((status = zeb_shape_rows(at, ZEB_LOG_LIKELIHOOD_TARGETS, ZEB_I32, 1)) != ZEB_OK) return status;
    if ((status = zeb_shape_same_rows(at, ZEB_LOG_LIKELIHOOD_TARGETS, ZEB_LOG_LIKELIHOOD_X)) != ZEB_OK) return status;
    if ((status = zeb_shape_float_weight(at, ZEB_LOG_LIKELIHOOD_W, ZEB_SHAPE_ANY,
                                         width_of(at, ZEB_LOG_LIKELIHOOD_X))) != ZEB_OK)
        return status;
    zeb_shape_make_rows(&out[0], ZEB_F32, zeb_shape_input(at, ZEB_LOG_LIKELIHOOD_X), 0);
    return ZEB_OK;
}

zeb_status zeb_shape_blocks(const zeb_shape_at *at, uint32_t want, zeb_tensor *out) {
    const zeb_blocks_attr *attr = &at->node->attr.blocks;
    zeb_status status = zeb_shape_value(at, ZEB_BLOCKS_X, ZEB_F32, 2);
    (void)want;
    if (status != ZEB_OK) return status;
    int64_t width = width_of(at, ZEB_BLOCKS_X);
    if (attr->size < 1 || width % attr->size != 0)
        return zeb_shape_bad_node(at, "%" PRId64 " columns do not divide into blocks of %d", width, attr->size);
    if (!isfinite(attr->threshold) || attr->threshold < 0.0f)
        return zeb_shape_bad_node(at, "threshold must be finite and not negative");
    zeb_shape_make_rows(&out[ZEB_BLOCKS_OUT], ZEB_F32, zeb_shape_input(at, ZEB_BLOCKS_X), width);
    zeb_shape_make_rows(&out[ZEB_BLOCKS_OPEN], ZEB_I32, zeb_shape_input(at, ZEB_BLOCKS_X), 0);
    return ZEB_OK;
}

/* Logits of the sequences of rows: [B,C]. */
static zeb_status check_logits(const zeb_shape_at *at, uint32_t position, int64_t labels) {
    const zeb_tensor *logits = zeb_shape_input(at, position), *rows = zeb_shape_input(at, ZEB_EXIT_ROWS);
    if (logits == NULL) return ZEB_OK;
    zeb_status status = zeb_shape_value(at, position, ZEB_F32, 2);
    if (status != ZEB_OK) return status;
    if (logits->offsets != ZEB_NONE) return zeb_shape_bad(at, position, "must have one row a sequence, not a token");
    if (logits->extent[0].max != zeb_shape_batch(at, rows) || logits->extent[1].max != labels)
        return zeb_shape_bad(at, position, "must be [%" PRId64 ",%" PRId64 "]", zeb_shape_batch(at, rows), labels);
    return ZEB_OK;
}

zeb_status zeb_shape_exit(const zeb_shape_at *at, uint32_t want, zeb_tensor *out) {
    float confidence = at->node->attr.exit.confidence;
    const zeb_tensor *rows = zeb_shape_input(at, ZEB_EXIT_ROWS);
    int64_t labels = width_of(at, ZEB_EXIT_HERE);
    (void)want;
    if (!(confidence >= 0.0f && confidence <= 1.0f))
        return zeb_shape_bad_node(at, "confidence %g must be within 0 and 1", (double)confidence);
    if (rows->role == ZEB_ROLE_WEIGHT || rows->offsets == ZEB_NONE)
        return zeb_shape_bad(at, ZEB_EXIT_ROWS, "must be packed rows with offsets");
    zeb_status status = check_logits(at, ZEB_EXIT_HERE, labels);
    if (status == ZEB_OK) status = check_logits(at, ZEB_EXIT_BEFORE, labels);
    if (status != ZEB_OK) return status;
    if (confidence > 0.0f && labels < 2)
        return zeb_shape_bad(at, ZEB_EXIT_HERE, "needs two labels at least: one alone is always sure");
    zeb_shape_make_plain(&out[ZEB_EXIT_LOGITS], ZEB_F32, zeb_shape_batch(at, rows), labels);
    if (confidence > 0.0f) make_selection(at, &(zeb_select){.mode = ZEB_SELECT_NONE}, rows, out, ZEB_EXIT_INDICES);
    return ZEB_OK;
}

zeb_status zeb_shape_head_topk(const zeb_shape_at *at, uint32_t want, zeb_tensor *out) {
    const zeb_head_topk_attr *attr = &at->node->attr.head_topk;
    zeb_status status = zeb_shape_rows(at, ZEB_HEAD_TOPK_X, ZEB_F32, 2);
    (void)want;
    if (status != ZEB_OK) return status;
    int64_t width = width_of(at, ZEB_HEAD_TOPK_X), batch = zeb_shape_batch(at, zeb_shape_input(at, ZEB_HEAD_TOPK_X));
    if (attr->heads < 1 || width % attr->heads != 0)
        return zeb_shape_bad_node(at, "%" PRId64 " columns do not divide into %d heads", width, attr->heads);
    if (attr->count < 1 || attr->count > attr->heads)
        return zeb_shape_bad_node(at, "count %d must be within 1 and the %d heads", attr->count, attr->heads);
    if ((status = zeb_shape_gates(at, ZEB_HEAD_TOPK_BEFORE, ZEB_HEAD_TOPK_X, attr->heads)) != ZEB_OK) return status;
    zeb_shape_make_plain(&out[ZEB_HEAD_TOPK_GATES], ZEB_F32, batch, attr->heads);
    zeb_shape_make_plain(&out[ZEB_HEAD_TOPK_IMPORTANCE], ZEB_F32, batch, attr->heads);
    return ZEB_OK;
}
