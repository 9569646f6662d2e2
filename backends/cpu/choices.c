/* choices.c - the choices of a device, and short trials of them: small plans, timed with every value in turn. */
#include "choices.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "plan.h"

enum {
    VALUES = 5,
    SIZES = 5,
    TRIES = 9,
    ROWS = 512,
    WIDTH = 256,
    INNER = 1024,
    SLOW_NS = 20000000 /* a pass that takes longer isn't tried further: what is built in stays */
};

/* What is tried: a layer of 256 x 1024 and one back; that back in four bits; a selection of that share of the rows. */
typedef enum subject { LINEAR_EIGHT, LINEAR_FOUR, ATTENTION, SUBJECTS } subject;

typedef struct kind {
    const char *name;
    size_t at; /* in cpu_choices */
    subject subject;
    uint32_t value[VALUES]; /* 0: no more */
    int16_t size[SIZES];    /* rows, or percent that survive; 0: no more */
} kind;

static const kind kinds[] = {
    {"slab-rows", offsetof(cpu_choices, slab_rows), LINEAR_EIGHT, {4, 6, 8, 12, 17}, {4, 5, 7, 11, 16}},
    {"tile-split", offsetof(cpu_choices, tile_split), LINEAR_EIGHT, {1, 2}, {13, 16, 20, 28, 40}},
    {"four-tiles", offsetof(cpu_choices, four_tiles), LINEAR_FOUR, {1, 2, 3, 5, 8}, {9, 15, 21, 30, 42}},
    {"worker-rows",
     offsetof(cpu_choices, worker_rows),
     LINEAR_EIGHT,
     {4, 8, 12, 16, CPU_WORKER_ROWS_MAX},
     {12, 20, 28, 36, 44}},
    {"block-rows", offsetof(cpu_choices, block_rows), LINEAR_EIGHT, {48, 96, 144, CPU_BLOCK_ROWS_MAX}, {160, 320, 512}},
    {"all-percent", offsetof(cpu_choices, all_percent), ATTENTION, {20, 40, 60, 80, 101}, {30, 50, 70, 90}},
};
enum { KINDS = sizeof kinds / sizeof kinds[0] };

cpu_choices cpu_choices_of(const cpu_kernels *kernels) {
    return (cpu_choices){.slab_rows = (uint32_t)kernels->slab_least,
                         .tile_split = 1,
                         .four_tiles = 5,
                         .worker_rows = 12, /* whole tiles are worth more than no barrier */
                         .block_rows = 144, /* their activations fit the second-level cache */
                         .all_percent = 60};
}

static uint32_t *place_of(zeb_device *device, const kind *k) {
    return (uint32_t *)(void *)((char *)&device->choices + k->at);
}

/* Whether a device has that choice at all. */
static bool applies(const zeb_device *device, const kind *k) {
    if (k->at == offsetof(cpu_choices, slab_rows)) return device->kernels->slab_i8 != NULL;
    if (k->at == offsetof(cpu_choices, four_tiles)) return device->kernels->tile_four[1] != NULL;
    if (k->at == offsetof(cpu_choices, worker_rows)) return cpu_pool_threads(device->pool) > 1;
    return true;
}

/* ---- trials ---------------------------------------------------------------------------------------------------- */

enum { COUNT, OFFSETS, X, UP, DOWN, HALFWAY, OUT, CONTEXT, INDICES, KEPT_OFFSETS, KEPT, TENSORS };

typedef struct lab {
    zeb_tensor tensor[TENSORS];
    zeb_node node[2];
    float *numbers; /* [ROWS][INNER] */
    zeb_plan *plan;
} lab;

static void set_tensor(lab *l, int id, zeb_tensor_role role, zeb_dtype dtype, int64_t rows, int64_t width, int32_t live,
                       int32_t offsets) {
    zeb_tensor *t = &l->tensor[id];
    t->name = "trial";
    t->role = role;
    t->dtype = dtype;
    t->rank = width > 0 ? 2 : 1;
    t->extent[0] = (zeb_extent){rows, live, 0};
    t->extent[1] = (zeb_extent){width > 0 ? width : 1, ZEB_NONE, 0};
    t->offsets = offsets;
    t->scale = ZEB_NONE;
    t->data = role == ZEB_ROLE_WEIGHT ? l->numbers : NULL;
    t->bytes = zeb_dtype_bytes(dtype, (size_t)(rows * (width > 0 ? width : 1)));
}

static zeb_node *set_node(lab *l, int i, zeb_op op) {
    zeb_node *node = &l->node[i];
    node->op = op;
    node->name = "trial";
    for (int j = 0; j < ZEB_NODE_INPUTS_MAX; j++)
        node->input[j] = ZEB_NONE;
    for (int j = 0; j < ZEB_NODE_OUTPUTS_MAX; j++)
        node->output[j] = ZEB_NONE;
    return node;
}

static void set_linear(lab *l, int i, int x, int w, int out, uint32_t activation, uint32_t precision) {
    zeb_node *node = set_node(l, i, ZEB_OP_LINEAR);
    node->input[ZEB_LINEAR_X] = x;
    node->input[ZEB_LINEAR_W] = w;
    node->output[0] = out;
    node->attr.linear = (zeb_linear_attr){.activation = activation, .precision = precision};
}

static uint32_t set_graph(lab *l, subject s, bool halves) {
    set_tensor(l, COUNT, ZEB_ROLE_INPUT, ZEB_I32, 1, 0, ZEB_NONE, ZEB_NONE);
    set_tensor(l, OFFSETS, ZEB_ROLE_INPUT, ZEB_I32, 2, 0, ZEB_NONE, ZEB_NONE);
    set_tensor(l, X, ZEB_ROLE_INPUT, ZEB_F32, ROWS, s == LINEAR_FOUR ? INNER : WIDTH, COUNT, OFFSETS);
    set_tensor(l, UP, ZEB_ROLE_WEIGHT, ZEB_F32, INNER, WIDTH, ZEB_NONE, ZEB_NONE);
    set_tensor(l, DOWN, ZEB_ROLE_WEIGHT, ZEB_F32, WIDTH, INNER, ZEB_NONE, ZEB_NONE);
    set_tensor(l, HALFWAY, ZEB_ROLE_VALUE, ZEB_F32, ROWS, INNER, COUNT, OFFSETS);
    set_tensor(l, OUT, ZEB_ROLE_OUTPUT, ZEB_F32, ROWS, WIDTH, COUNT, OFFSETS);
    set_tensor(l, KEPT, ZEB_ROLE_VALUE, ZEB_I32, 1, 0, ZEB_NONE, ZEB_NONE);
    set_tensor(l, KEPT_OFFSETS, ZEB_ROLE_VALUE, ZEB_I32, 2, 0, ZEB_NONE, ZEB_NONE);
    set_tensor(l, INDICES, ZEB_ROLE_VALUE, ZEB_I32, ROWS, 0, KEPT, KEPT_OFFSETS);
    set_tensor(l, CONTEXT, ZEB_ROLE_OUTPUT, ZEB_F32, ROWS, WIDTH, KEPT, KEPT_OFFSETS);
    if (s == LINEAR_FOUR) set_linear(l, 0, X, DOWN, OUT, ZEB_ACT_NONE, ZEB_PRECISION_W4A8);
    if (s == LINEAR_EIGHT) {
        set_linear(l, 0, X, UP, HALFWAY, ZEB_ACT_GELU_ERF, ZEB_PRECISION_W8A8);
        set_linear(l, 1, HALFWAY, DOWN, OUT, ZEB_ACT_NONE, ZEB_PRECISION_W8A8);
    }
    if (s != ATTENTION) return s == LINEAR_FOUR ? 1 : 2;
    zeb_node *node = set_node(l, 0, ZEB_OP_ATTENTION);
    node->input[ZEB_ATTENTION_Q] = node->input[ZEB_ATTENTION_K] = node->input[ZEB_ATTENTION_V] = X;
    node->output[ZEB_ATTENTION_CONTEXT] = CONTEXT;
    node->output[ZEB_ATTENTION_INDICES] = INDICES;
    node->output[ZEB_ATTENTION_OFFSETS] = KEPT_OFFSETS;
    node->output[ZEB_ATTENTION_COUNT] = KEPT;
    node->attr.attention = (zeb_attention_attr){.heads = WIDTH / 64,
                                                .kv_heads = WIDTH / 64,
                                                .head_dim = 64,
                                                .scale = 0.125f,
                                                .precision = halves ? ZEB_PRECISION_F32 : ZEB_PRECISION_W8A8};
    node->attr.attention.select = (zeb_select){.mode = ZEB_SELECT_RATIO, .value = 1.0f, .floor = 1};
    return 1;
}

static zeb_status open_lab(zeb_device *device, subject s, lab *l, zeb_error *error) {
    memset(l, 0, sizeof *l);
    l->numbers = malloc((size_t)ROWS * INNER * sizeof *l->numbers);
    if (l->numbers == NULL) return zeb_fail(error, ZEB_ERR_MEMORY, "no memory for a trial");
    uint32_t random = 1;
    for (int i = 0; i < ROWS * INNER; i++) {
        random = random * 1664525u + 1013904223u;
        l->numbers[i] = (float)(random >> 8) * 0x1p-23f - 1.0f;
    }
    const uint32_t nodes = set_graph(l, s, device->kernels->half != NULL);
    const zeb_graph graph = {.struct_size = sizeof graph,
                             .tensor_count = TENSORS,
                             .node_count = nodes,
                             .tensor = l->tensor,
                             .node = l->node};
    const zeb_status status = cpu_compile(device, &graph, &l->plan, error);
    if (status != ZEB_OK) return status;
    const cpu_tensor *x = &l->plan->tensor[X];
    for (int64_t r = 0; r < ROWS; r++)
        memcpy((float *)x->data + (size_t)r * x->ld, l->numbers + r * x->width, (size_t)x->width * sizeof(float));
    return ZEB_OK;
}

static void close_lab(lab *l) {
    cpu_release(l->plan);
    free(l->numbers);
}

/* Nanoseconds of one pass. */
static zeb_status time_pass(lab *l, subject s, int size, double *ns, zeb_error *error) {
    struct timespec begin, end;
    const int32_t rows = s == ATTENTION ? ROWS : size;
    cpu_ints(l->plan, COUNT)[0] = cpu_ints(l->plan, OFFSETS)[1] = rows;
    cpu_ints(l->plan, OFFSETS)[0] = 0;
    if (s == ATTENTION) l->plan->stage[0].as.attention.attr.select.value = (float)size / 100.0f;
    (void)clock_gettime(CLOCK_MONOTONIC, &begin);
    const zeb_status status = cpu_pass(l->plan, error);
    (void)clock_gettime(CLOCK_MONOTONIC, &end);
    *ns = (double)(end.tv_sec - begin.tv_sec) * 1e9 + (double)(end.tv_nsec - begin.tv_nsec);
    return status;
}

/* ns[VALUES]: for each value the sum over the sizes of the fastest try; 0, not tried, for all if a pass takes too long
 * a second time. Values take turns, so that all see the same machine. */
static zeb_status try_values(zeb_device *device, const kind *k, lab *l, double *ns, zeb_error *error) {
    uint32_t *place = place_of(device, k);
    const uint32_t before = *place;
    double least[SIZES][VALUES], one = 0;
    bool slow = false;
    zeb_status status = ZEB_OK;
    for (int i = 0; i < SIZES * VALUES; i++)
        least[i / VALUES][i % VALUES] = HUGE_VAL;
    for (int try = 0; try < TRIES && !slow; try++) {
        for (int s = 0; s < SIZES && k->size[s] > 0 && !slow; s++) {
            for (int v = 0; status == ZEB_OK && v < VALUES && k->value[v] > 0 && !slow; v++) {
                *place = k->value[v];
                status = time_pass(l, k->subject, k->size[s], &one, error);
                if (one < least[s][v]) least[s][v] = one;
                slow = try > 0 && least[s][v] > SLOW_NS; /* once may be a disturbance */
            }
        }
    }
    *place = before;
    for (int v = 0; v < VALUES; v++) {
        ns[v] = 0;
        for (int s = 0; s < SIZES && k->size[s] > 0 && !slow; s++)
            ns[v] += least[s][v];
    }
    return status;
}

zeb_status cpu_choices_list(zeb_device *device, bool measure, zeb_choice *choice, uint32_t capacity, uint32_t *count,
                            zeb_error *error) {
    const cpu_choices built_in = cpu_choices_of(device->kernels);
    zeb_status status = ZEB_OK;
    *count = 0;
    for (int i = 0; status == ZEB_OK && i < KINDS; i++) {
        const kind *k = &kinds[i];
        double ns[VALUES] = {0};
        uint32_t mine = 0;
        if (!applies(device, k)) continue;
        if (measure) {
            lab l;
            status = open_lab(device, k->subject, &l, error);
            if (status == ZEB_OK) status = try_values(device, k, &l, ns, error);
            close_lab(&l);
        }
        memcpy(&mine, (const char *)&built_in + k->at, sizeof mine);
        for (int v = 0; v < VALUES && k->value[v] > 0; v++, ++*count) {
            if (*count >= capacity) continue;
            zeb_choice *c = &choice[*count];
            *c = (zeb_choice){.value = k->value[v], .built_in = k->value[v] == mine, .ns = ns[v]};
            (void)snprintf(c->name, sizeof c->name, "%s", k->name);
        }
    }
    return status;
}

zeb_status cpu_choose(zeb_device *device, const char *name, uint32_t value, zeb_error *error) {
    for (int i = 0; i < KINDS; i++) {
        if (strcmp(kinds[i].name, name) != 0 || !applies(device, &kinds[i])) continue;
        for (int v = 0; v < VALUES; v++) {
            if (value == 0 || kinds[i].value[v] != value) continue;
            *place_of(device, &kinds[i]) = value;
            return ZEB_OK;
        }
        return zeb_fail(error, ZEB_ERR_ARGUMENT, "choice \"%s\" has no value %u", name, value);
    }
    return zeb_fail(error, ZEB_ERR_ARGUMENT, "this device has no choice \"%s\"", name);
}
