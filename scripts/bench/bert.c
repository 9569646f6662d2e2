/* bert.c - see bert.h. */
#include "bert.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { TENSORS_MAX = 2048, NODES_MAX = 768, NAME = 48 };

struct bench {
    bench_config config;
    void *library;
    const zeb_backend *backend;
    zeb_device *device;
    zeb_plan *plan;
    zeb_tensor tensor[TENSORS_MAX];
    zeb_node node[NODES_MAX];
    char name[TENSORS_MAX + NODES_MAX][NAME];
    uint32_t tensors, nodes;
    const float *weights;
    int32_t ids, types, offsets, count, logits;
};

/* A row space: the offsets of its sequences and the live number of its rows. */
typedef struct space {
    int32_t offsets, count;
    int64_t rows;
} space;

static int32_t add_tensor(bench *b, zeb_tensor_role role, zeb_dtype dtype, const space *s, int64_t rows,
                          int64_t width) {
    const int32_t id = (int32_t)b->tensors++;
    zeb_tensor *t = &b->tensor[id];
    memset(t, 0, sizeof *t);
    (void)snprintf(b->name[id], NAME, "t%d", id);
    t->name = b->name[id];
    t->role = role;
    t->dtype = dtype;
    t->rank = width > 0 ? 2 : 1;
    t->extent[0] = (zeb_extent){s != NULL ? s->rows : rows, s != NULL ? s->count : ZEB_NONE, 0};
    t->extent[1] = (zeb_extent){width > 0 ? width : 1, ZEB_NONE, 0};
    t->offsets = s != NULL ? s->offsets : ZEB_NONE;
    t->scale = ZEB_NONE;
    t->bytes = zeb_dtype_bytes(dtype, (size_t)(t->extent[0].max * t->extent[1].max));
    return id;
}

static int32_t weight(bench *b, int64_t rows, int64_t width) {
    const int32_t id = add_tensor(b, ZEB_ROLE_WEIGHT, ZEB_F32, NULL, rows, width);
    b->tensor[id].data = b->weights;
    b->weights += rows * (width > 0 ? width : 1);
    return id;
}

static zeb_node *add_node(bench *b, zeb_op op) {
    zeb_node *n = &b->node[b->nodes];
    memset(n, 0, sizeof *n);
    (void)snprintf(b->name[TENSORS_MAX + b->nodes], NAME, "n%u.%s", b->nodes, zeb_op_name(op));
    n->name = b->name[TENSORS_MAX + b->nodes++];
    n->op = op;
    for (int i = 0; i < ZEB_NODE_INPUTS_MAX; i++)
        n->input[i] = ZEB_NONE;
    for (int i = 0; i < ZEB_NODE_OUTPUTS_MAX; i++)
        n->output[i] = ZEB_NONE;
    return n;
}

static int32_t linear(bench *b, const space *s, int32_t x, int32_t w, int32_t bias, int32_t residual, uint32_t act,
                      uint32_t precision) {
    zeb_node *n = add_node(b, ZEB_OP_LINEAR);
    n->input[ZEB_LINEAR_X] = x;
    n->input[ZEB_LINEAR_W] = w;
    n->input[ZEB_LINEAR_BIAS] = bias;
    n->input[ZEB_LINEAR_RESIDUAL] = residual;
    n->attr.linear = (zeb_linear_attr){act, precision, 0};
    return n->output[0] = add_tensor(b, ZEB_ROLE_VALUE, ZEB_F32, s, s == NULL ? b->tensor[x].extent[0].max : 0,
                                     b->tensor[w].extent[0].max);
}

static int32_t norm(bench *b, const space *s, int32_t x, int32_t gamma, int32_t beta) {
    zeb_node *n = add_node(b, ZEB_OP_NORM);
    n->input[ZEB_NORM_X] = x;
    n->input[ZEB_NORM_GAMMA] = gamma;
    n->input[ZEB_NORM_BETA] = beta;
    n->attr.norm = (zeb_norm_attr){ZEB_NORM_LAYER, 1e-12f};
    return n->output[0] = add_tensor(b, ZEB_ROLE_VALUE, ZEB_F32, s, 0, b->config.hidden);
}

static int32_t gather(bench *b, const space *s, int32_t x, int32_t indices) {
    zeb_node *n = add_node(b, ZEB_OP_GATHER);
    n->input[ZEB_GATHER_X] = x;
    n->input[ZEB_GATHER_INDICES] = indices;
    return n->output[0] = add_tensor(b, ZEB_ROLE_VALUE, ZEB_F32, s, 0, b->config.hidden);
}

/* The row space that a selection makes: its offsets and count become outputs of `node` at the given positions. */
static space new_space(bench *b, zeb_node *node, int64_t rows, int indices, int offsets, int count, int32_t *index) {
    space s = {ZEB_NONE, ZEB_NONE, rows};
    s.count = node->output[count] = add_tensor(b, ZEB_ROLE_VALUE, ZEB_I32, NULL, 1, 0);
    s.offsets = node->output[offsets] = add_tensor(b, ZEB_ROLE_VALUE, ZEB_I32, NULL, b->config.batch_max + 1, 0);
    *index = node->output[indices] = add_tensor(b, ZEB_ROLE_VALUE, ZEB_I32, &s, 0, 0);
    return s;
}

static void layer(bench *b, int l, space *s, int32_t *x) {
    const bench_config *c = &b->config;
    const uint32_t p = (uint32_t)c->precision;
    const int64_t d = c->hidden;
    int32_t w[4], bias[4], index = ZEB_NONE, from = *x;
    for (int i = 0; i < 4; i++) {
        w[i] = weight(b, d, d);
        bias[i] = weight(b, d, 0);
    }
    const int32_t gamma1 = weight(b, d, 0), beta1 = weight(b, d, 0);
    const int32_t w_in = weight(b, c->ffn, d), b_in = weight(b, c->ffn, 0), w_out = weight(b, d, c->ffn);
    const int32_t b_out = weight(b, d, 0), gamma2 = weight(b, d, 0), beta2 = weight(b, d, 0);
    const bool first_only = c->first_only && l == c->layers - 1;
    space after = *s;
    if (first_only) {
        zeb_node *n = add_node(b, ZEB_OP_SELECT);
        n->input[ZEB_SELECT_ROWS] = *x;
        n->attr.select = (zeb_select){.mode = ZEB_SELECT_FIRST, .floor = 1};
        after = new_space(b, n, c->batch_max, ZEB_SELECT_INDICES, ZEB_SELECT_OFFSETS, ZEB_SELECT_COUNT, &index);
        from = gather(b, &after, *x, index);
    }
    const int32_t q = linear(b, &after, from, w[0], bias[0], ZEB_NONE, 0, p);
    const int32_t k = linear(b, s, *x, w[1], bias[1], ZEB_NONE, 0, p),
                  v = linear(b, s, *x, w[2], bias[2], ZEB_NONE, 0, p);
    zeb_node *n = add_node(b, ZEB_OP_ATTENTION);
    n->input[ZEB_ATTENTION_Q] = q;
    n->input[ZEB_ATTENTION_K] = k;
    n->input[ZEB_ATTENTION_V] = v;
    n->attr.attention = (zeb_attention_attr){.heads = c->heads,
                                             .kv_heads = c->heads,
                                             .head_dim = c->hidden / c->heads,
                                             .precision = (uint32_t)c->attention_precision};
    n->attr.attention.scale = (float)(1.0 / __builtin_sqrt((double)c->hidden / c->heads));
    if (c->keep[l] > 0 && !first_only) {
        n->attr.attention.select = (zeb_select){.mode = ZEB_SELECT_RATIO, .value = c->keep[l], .floor = 2};
        after = new_space(b, n, s->rows, ZEB_ATTENTION_INDICES, ZEB_ATTENTION_OFFSETS, ZEB_ATTENTION_COUNT, &index);
    }
    const int32_t context = n->output[0] = add_tensor(b, ZEB_ROLE_VALUE, ZEB_F32, &after, 0, d);
    if (index != ZEB_NONE && !first_only) from = gather(b, &after, *x, index);
    const int32_t attended = norm(b, &after, linear(b, &after, context, w[3], bias[3], from, 0, p), gamma1, beta1);
    const int32_t wide = linear(b, &after, attended, w_in, b_in, ZEB_NONE, ZEB_ACT_GELU_ERF, p);
    *x = norm(b, &after, linear(b, &after, wide, w_out, b_out, attended, 0, p), gamma2, beta2);
    *s = after;
}

static void build(bench *b) {
    const bench_config *c = &b->config;
    space s = {ZEB_NONE, ZEB_NONE, c->token_max};
    b->count = s.count = add_tensor(b, ZEB_ROLE_INPUT, ZEB_I32, NULL, 1, 0);
    b->offsets = s.offsets = add_tensor(b, ZEB_ROLE_INPUT, ZEB_I32, NULL, c->batch_max + 1, 0);
    b->ids = add_tensor(b, ZEB_ROLE_INPUT, ZEB_I32, &s, 0, 0);
    b->types = add_tensor(b, ZEB_ROLE_INPUT, ZEB_I32, &s, 0, 0);
    zeb_node *n = add_node(b, ZEB_OP_EMBED);
    n->input[ZEB_EMBED_IDS] = b->ids;
    n->input[ZEB_EMBED_TYPES] = b->types;
    n->input[ZEB_EMBED_WORD] = weight(b, c->vocab, c->hidden);
    n->input[ZEB_EMBED_POSITION] = weight(b, c->positions, c->hidden);
    n->input[ZEB_EMBED_TYPE] = weight(b, 2, c->hidden);
    n->input[ZEB_EMBED_GAMMA] = weight(b, c->hidden, 0);
    n->input[ZEB_EMBED_BETA] = weight(b, c->hidden, 0);
    n->attr.embed = (zeb_embed_attr){ZEB_NORM_LAYER, 1e-12f};
    int32_t x = n->output[0] = add_tensor(b, ZEB_ROLE_VALUE, ZEB_F32, &s, 0, c->hidden);
    for (int l = 0; l < c->layers; l++)
        layer(b, l, &s, &x);
    n = add_node(b, ZEB_OP_POOL);
    n->input[ZEB_POOL_X] = x;
    n->attr.pool.kind = ZEB_POOL_FIRST;
    x = n->output[0] = add_tensor(b, ZEB_ROLE_VALUE, ZEB_F32, NULL, c->batch_max, c->hidden);
    const int32_t w = weight(b, c->hidden, c->hidden), bias = weight(b, c->hidden, 0);
    x = linear(b, NULL, x, w, bias, ZEB_NONE, ZEB_ACT_TANH, ZEB_PRECISION_F32);
    const int32_t w_last = weight(b, c->labels, c->hidden), b_last = weight(b, c->labels, 0);
    b->logits = linear(b, NULL, x, w_last, b_last, ZEB_NONE, 0, ZEB_PRECISION_F32);
    b->tensor[b->logits].role = ZEB_ROLE_OUTPUT;
}

int64_t bench_weights(const bench_config *c) {
    const int64_t d = c->hidden, f = c->ffn;
    return (c->vocab + c->positions + 2) * d + 2 * d +
           c->layers * (4 * (d * d + d) + 2 * d + f * d + f + d * f + d + 2 * d) + d * d + d + c->labels * d +
           c->labels;
}

static int failed(char error[512], const zeb_error *e) {
    (void)snprintf(error, 512, "%s", e->text);
    return 1;
}

/* One LINEAR of [rows, k] by [n, k] with a bias, nothing else. */
static void build_linear(bench *b, int64_t rows, int64_t k, int64_t n) {
    space s = {ZEB_NONE, ZEB_NONE, rows};
    b->count = s.count = add_tensor(b, ZEB_ROLE_INPUT, ZEB_I32, NULL, 1, 0);
    b->offsets = s.offsets = add_tensor(b, ZEB_ROLE_INPUT, ZEB_I32, NULL, 2, 0);
    b->ids = add_tensor(b, ZEB_ROLE_INPUT, ZEB_F32, &s, 0, k);
    const int32_t w = weight(b, n, k), bias = weight(b, n, 0);
    b->logits = linear(b, &s, b->ids, w, bias, ZEB_NONE, 0, (uint32_t)b->config.precision);
    b->tensor[b->logits].role = ZEB_ROLE_OUTPUT;
}

/* Loads the plugin, compiles the graph that is in b. 0, or 1 with a sentence in error. */
static int start(bench *b, const char *path, uint32_t threads, const char *isa, char error[512]) {
    zeb_error e = {""};
    b->library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    zeb_plugin_entry_fn entry = NULL;
    if (b->library != NULL) *(void **)&entry = dlsym(b->library, ZEB_PLUGIN_ENTRY_NAME);
    if (entry == NULL) {
        (void)snprintf(error, 512, "%s", dlerror());
        return 1;
    }
    b->backend = entry()->backend;
    zeb_device_options options = {.struct_size = sizeof options, .threads = threads};
    (void)snprintf(options.isa, sizeof options.isa, "%s", isa);
    const zeb_graph graph = {.struct_size = sizeof graph,
                             .tensor_count = b->tensors,
                             .node_count = b->nodes,
                             .tensor = b->tensor,
                             .node = b->node};
    if (b->backend->open(0, &options, &b->device, &e) != ZEB_OK ||
        b->backend->compile(b->device, &graph, &b->plan, &e) != ZEB_OK)
        return failed(error, &e);
    return 0;
}

bench *bench_open(const char *path, uint32_t threads, const char *isa, const bench_config *config, const float *weights,
                  char error[512]) {
    bench *b = calloc(1, sizeof *b);
    if (b == NULL) return NULL;
    b->config = *config;
    b->weights = weights;
    build(b);
    if (start(b, path, threads, isa, error) == 0) return b;
    bench_close(b);
    return NULL;
}

bench *bench_open_linear(const char *path, uint32_t threads, const char *isa, int32_t precision, int32_t rows,
                         int32_t k, int32_t n, const float *weights, const float *x, char error[512]) {
    bench *b = calloc(1, sizeof *b);
    zeb_error e = {""};
    if (b == NULL) return NULL;
    b->config.precision = precision;
    b->weights = weights;
    build_linear(b, rows, k, n);
    const int32_t offsets[2] = {0, rows};
    if (start(b, path, threads, isa, error) == 0 && b->backend->write(b->plan, b->count, &rows, 4, &e) == ZEB_OK &&
        b->backend->write(b->plan, b->offsets, offsets, 8, &e) == ZEB_OK &&
        b->backend->write(b->plan, b->ids, x, (size_t)rows * (size_t)k * 4, &e) == ZEB_OK)
        return b;
    bench_close(b);
    return NULL;
}

void bench_close(bench *b) {
    if (b == NULL) return;
    if (b->plan != NULL) b->backend->release(b->plan);
    if (b->device != NULL) b->backend->close(b->device);
    free(b);
}

int bench_write(bench *b, const int32_t *ids, const int32_t *offsets, char error[512]) {
    zeb_error e = {""};
    const int32_t tokens = offsets[b->config.batch_max];
    int32_t *types = calloc((size_t)tokens + 1, sizeof *types);
    if (types == NULL) return 1;
    int bad = b->backend->write(b->plan, b->ids, ids, (size_t)tokens * 4, &e) != ZEB_OK ||
              b->backend->write(b->plan, b->types, types, (size_t)tokens * 4, &e) != ZEB_OK ||
              b->backend->write(b->plan, b->offsets, offsets, ((size_t)b->config.batch_max + 1) * 4, &e) != ZEB_OK ||
              b->backend->write(b->plan, b->count, &tokens, 4, &e) != ZEB_OK;
    free(types);
    return bad ? failed(error, &e) : 0;
}

int bench_run(bench *b, int passes, uint64_t *ns, char error[512]) {
    zeb_error e = {""};
    for (int i = 0; i < passes; i++) {
        struct timespec begin, end;
        (void)clock_gettime(CLOCK_MONOTONIC, &begin);
        if (b->backend->submit(b->plan, &e) != ZEB_OK || b->backend->wait(b->plan, &e) != ZEB_OK)
            return failed(error, &e);
        (void)clock_gettime(CLOCK_MONOTONIC, &end);
        ns[i] = (uint64_t)(end.tv_sec - begin.tv_sec) * 1000000000u + (uint64_t)end.tv_nsec - (uint64_t)begin.tv_nsec;
    }
    return 0;
}

int bench_run_ready(bench *b, int passes, uint64_t *ns, char error[512]) {
    zeb_profile_span span[1024];
    uint32_t count = 0;
    zeb_error e = {""};
    if (b->backend->profile(b->plan, span, 1024, &count, &e) != ZEB_OK) return failed(error, &e);
    for (int i = 0; i < passes; i++) {
        if (bench_run(b, 1, &ns[i], error) != 0) return 1;
        if (b->backend->profile(b->plan, span, 1024, &count, &e) != ZEB_OK) return failed(error, &e);
        for (uint32_t s = 0; s < count && s < 1024; s++)
            if (span[s].node == ZEB_NONE) ns[i] -= span[s].end_ns - span[s].begin_ns;
    }
    return 0;
}

int bench_logits(bench *b, float *logits, char error[512]) {
    zeb_error e = {""};
    const size_t bytes = (size_t)b->config.batch_max * (size_t)b->config.labels * 4;
    return b->backend->read(b->plan, b->logits, logits, bytes, &e) != ZEB_OK ? failed(error, &e) : 0;
}

int bench_profile(bench *b, char (*name)[64], uint64_t *ns, int capacity) {
    zeb_profile_span span[1024];
    uint32_t count = 0;
    zeb_error e;
    if (b->backend->profile == NULL || b->backend->profile(b->plan, span, 1024, &count, &e) != ZEB_OK) return 0;
    if (count == 0) { /* the first call switched it on */
        if (b->backend->submit(b->plan, &e) != ZEB_OK || b->backend->wait(b->plan, &e) != ZEB_OK) return 0;
        if (b->backend->profile(b->plan, span, 1024, &count, &e) != ZEB_OK) return 0;
    }
    int n = 0;
    for (; n < (int)count && n < capacity && n < 1024; n++) {
        (void)snprintf(name[n], 64, "%.63s", span[n].name);
        ns[n] = span[n].end_ns - span[n].begin_ns;
    }
    return n;
}

void bench_settings(bench *b, char text[512]) {
    zeb_device_settings s = {.struct_size = sizeof s};
    zeb_error e;
    if (b->backend->settings(b->device, &s, &e) != ZEB_OK) s.isa[0] = '\0';
    (void)snprintf(text, 512, "isa=%s threads=%u pinned=%u %s", s.isa, s.threads, s.pinned, s.note);
}
