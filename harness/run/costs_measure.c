#include "run/costs_measure.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/random.h"
#include "base/text.h"
#include "graph/builder.h"
#include "run/host.h"

enum {
    COPIES_MIN = 4,
    COPIES_MAX = 32,
    SHARING = 4, /* copies that read the same rows: a plan's rows are near, and what is made of them is made once */
    PASSES_MIN = 7,
    PASSES_MAX = 51,
    TIMED_NS = 1500000, /* enough, with so many passes */
    SLOW_NS = 30000000  /* enough, with any; a plan that takes longer gets fewer copies */
};

/* One node in a plan of its own. */
typedef struct probe {
    const zeb_device_handle *device;
    const zeb_graph *from;
    const zeb_node *node;
    uint32_t reach;
    uint32_t copies;
    zeb_builder *builder;
    const zeb_graph *graph;
    zeb_plan *plan;
    int32_t rows, few; /* offsets of the space that the time is a function of, and of one with a row a sequence */
    int32_t input[ZEB_NODE_INPUTS_MAX]; /* in the probe: weights, and the rows that the next copies read */
    zeb_error *error;
} probe;

/* ---- the graph -------------------------------------------------------------------------------------------------- */

static zeb_status copy_constant(probe *p, int32_t id, int32_t *copy) {
    const zeb_tensor *t = &p->from->tensor[id];
    int64_t extents[ZEB_RANK_MAX];
    for (uint32_t i = 0; i < t->rank; i++)
        extents[i] = t->extent[i].max;
    return zeb_builder_weight(p->builder, t->name, t->dtype, t->rank, extents, t->data, copy, p->error);
}

static zeb_status copy_weight(probe *p, uint32_t input) {
    const zeb_tensor *t = &p->from->tensor[p->node->input[input]];
    int32_t scale = ZEB_NONE;
    zeb_status status = copy_constant(p, p->node->input[input], &p->input[input]);
    if (status == ZEB_OK && t->scale != ZEB_NONE) status = copy_constant(p, t->scale, &scale);
    if (status == ZEB_OK && scale != ZEB_NONE)
        status = zeb_builder_quantised(p->builder, p->input[input], scale, t->group, p->error);
    return status;
}

static zeb_status add_input(probe *p, uint32_t copy, uint32_t input, int32_t *id) {
    const zeb_tensor *t = &p->from->tensor[p->node->input[input]];
    char name[ZEB_NAME_MAX];
    bool in_rows = zeb_costs_in_rows(p->from, p->node, input);
    (void)snprintf(name, sizeof name, "input.%u.%u", copy, input);
    if (!in_rows && t->offsets == ZEB_NONE) {
        int64_t extents[ZEB_RANK_MAX] = {1};
        for (uint32_t i = 1; i < t->rank; i++)
            extents[i] = t->extent[i].max;
        return zeb_builder_plain(p->builder, name, t->dtype, t->rank, extents, id, p->error);
    }
    if (!in_rows && p->few == ZEB_NONE) {
        zeb_status status = zeb_builder_rows(p->builder, "few", 1, 1, &p->few, p->error);
        if (status != ZEB_OK) return status;
    }
    return zeb_builder_input(p->builder, name, t->dtype, in_rows ? p->rows : p->few, t->rank > 1 ? t->extent[1].max : 0,
                             id, p->error);
}

/* Every so many copies have inputs of their own. */
static zeb_status add_inputs(probe *p, uint32_t copy) {
    zeb_status status = ZEB_OK;
    for (uint32_t i = 0; i < ZEB_NODE_INPUTS_MAX && status == ZEB_OK; i++)
        if (p->node->input[i] != ZEB_NONE && p->from->tensor[p->node->input[i]].role != ZEB_ROLE_WEIGHT)
            status = add_input(p, copy, i, &p->input[i]);
    return status;
}

static zeb_status add_copy(probe *p, uint32_t copy, bool half) {
    zeb_node node = *p->node;
    char name[ZEB_NAME_MAX];
    int32_t output[ZEB_NODE_OUTPUTS_MAX];
    zeb_status status = ZEB_OK;
    (void)snprintf(name, sizeof name, "node.%u", copy);
    node.name = name;
    if (copy % SHARING == 0) status = add_inputs(p, copy);
    for (uint32_t i = 0; i < ZEB_NODE_INPUTS_MAX; i++)
        if (node.input[i] != ZEB_NONE) node.input[i] = p->input[i];
    if (zeb_costs_selects(&node))
        node.attr.attention.select = (zeb_select){.mode = ZEB_SELECT_RATIO, .value = half ? 0.5f : 1.0f, .floor = 1};
    bool importance = node.op == ZEB_OP_ATTENTION && p->node->output[ZEB_ATTENTION_IMPORTANCE] != ZEB_NONE;
    if (status == ZEB_OK)
        status = zeb_builder_node(p->builder, &node, importance ? 1u << ZEB_ATTENTION_IMPORTANCE : 0, output, p->error);
    if (status == ZEB_OK) status = zeb_builder_output(p->builder, output[0], p->error);
    return status;
}

static double weight_bytes(const zeb_graph *graph, const zeb_node *node) {
    double bytes = 0;
    for (uint32_t i = 0; i < ZEB_NODE_INPUTS_MAX; i++)
        if (node->input[i] != ZEB_NONE && graph->tensor[node->input[i]].role == ZEB_ROLE_WEIGHT)
            bytes += (double)graph->tensor[node->input[i]].bytes;
    return bytes;
}

/* As many as the other weights of the model would push out of a near cache between two uses, within reason; tables that
 * are looked up are not pushed through. */
static uint32_t copies_of(const zeb_graph *graph, const zeb_node *node) {
    double all = 0, own = weight_bytes(graph, node);
    for (uint32_t i = 0; i < graph->node_count; i++)
        if (graph->node[i].op != ZEB_OP_EMBED) all += weight_bytes(graph, &graph->node[i]);
    if (node->op == ZEB_OP_EMBED || own * COPIES_MIN >= all) return COPIES_MIN;
    return all >= own * COPIES_MAX ? COPIES_MAX : (uint32_t)(all / own);
}

static zeb_status build(probe *p, bool half) {
    zeb_status status = zeb_builder_create(&p->builder, p->error);
    if (status == ZEB_OK) status = zeb_builder_rows(p->builder, "rows", p->reach, 1, &p->rows, p->error);
    for (uint32_t i = 0; i < ZEB_NODE_INPUTS_MAX && status == ZEB_OK; i++)
        if (p->node->input[i] != ZEB_NONE && p->from->tensor[p->node->input[i]].role == ZEB_ROLE_WEIGHT)
            status = copy_weight(p, i);
    for (uint32_t c = 0; c < p->copies && status == ZEB_OK; c++)
        status = add_copy(p, c, half);
    return status == ZEB_OK ? zeb_builder_finish(p->builder, &p->graph, p->error) : status;
}

/* The cheapest pass that there is: what is left of it is the pass itself. */
static zeb_status build_bare(probe *p) {
    int32_t x, output[ZEB_NODE_OUTPUTS_MAX];
    zeb_node node = zeb_node_make("first", ZEB_OP_POOL);
    node.attr.pool.kind = ZEB_POOL_FIRST;
    zeb_status status = zeb_builder_create(&p->builder, p->error);
    if (status == ZEB_OK) status = zeb_builder_rows(p->builder, "rows", p->reach, 1, &p->rows, p->error);
    if (status == ZEB_OK) status = zeb_builder_input(p->builder, "x", ZEB_F32, p->rows, 16, &x, p->error);
    if (status != ZEB_OK) return status;
    node.input[ZEB_POOL_X] = x;
    status = zeb_builder_node(p->builder, &node, 0, output, p->error);
    if (status == ZEB_OK) status = zeb_builder_output(p->builder, output[0], p->error);
    return status == ZEB_OK ? zeb_builder_finish(p->builder, &p->graph, p->error) : status;
}

/* ---- running ---------------------------------------------------------------------------------------------------- */

/* false, and no error: the device does not do it alone. */
static zeb_status compile(probe *p, bool *done) {
    const zeb_backend *backend = p->device->backend;
    zeb_verdict *verdict = calloc(p->graph->node_count, sizeof *verdict);
    *done = false;
    if (verdict == NULL) return zeb_fail(p->error, ZEB_ERR_MEMORY, "no memory for verdicts");
    zeb_status status = backend->check(p->device->device, p->graph, verdict, p->error);
    bool supported = status == ZEB_OK;
    for (uint32_t i = 0; i < p->graph->node_count; i++)
        supported = supported && verdict[i].supported;
    free(verdict);
    if (status != ZEB_OK || !supported) return status;
    status = backend->compile(p->device->device, p->graph, &p->plan, p->error);
    *done = status == ZEB_OK;
    return status == ZEB_ERR_UNSUPPORTED ? ZEB_OK : status;
}

/* How many values an integer input may take: rows of the table that it points into. */
static uint64_t values_of(const probe *p, uint32_t input) {
    uint32_t table = input == ZEB_EMBED_IDS ? ZEB_EMBED_WORD : ZEB_EMBED_TYPE;
    if (p->node->op != ZEB_OP_EMBED || p->node->input[table] == ZEB_NONE) return 1;
    return (uint64_t)p->from->tensor[p->node->input[table]].extent[0].max;
}

/* Random numbers; ones for gates; rows of a gather in order. */
static void fill(const probe *p, const zeb_tensor *tensor, uint32_t input, void *data) {
    zeb_random random;
    zeb_random_seed(&random, 1 + input);
    size_t count = tensor->bytes / 4;
    bool gates = tensor->offsets == ZEB_NONE, in_order = p->node->op == ZEB_OP_GATHER && input == ZEB_GATHER_INDICES;
    for (size_t i = 0; i < count; i++)
        if (tensor->dtype == ZEB_F32)
            ((float *)data)[i] = gates ? 1.0f : (float)((double)zeb_random_below(&random, 2001) / 1000 - 1);
        else
            ((int32_t *)data)[i] = in_order ? (int32_t)i : (int32_t)zeb_random_below(&random, values_of(p, input));
}

/* Which input of the node an input tensor of the probe stands for: the number at the end of its name. */
static uint32_t input_of(const zeb_tensor *tensor) {
    const char *dot = strrchr(tensor->name, '.');
    return dot != NULL && dot[1] >= '0' && dot[1] <= '9' ? (uint32_t)(dot[1] - '0') : 0;
}

static zeb_status write_inputs(const probe *p) {
    zeb_status status = ZEB_OK;
    for (uint32_t i = 0; i < p->graph->tensor_count && status == ZEB_OK; i++) {
        const zeb_tensor *t = &p->graph->tensor[i];
        if (t->role != ZEB_ROLE_INPUT || strncmp(t->name, "input.", 6) != 0) continue;
        void *data = calloc(1, t->bytes);
        if (data == NULL) return zeb_fail(p->error, ZEB_ERR_MEMORY, "no memory for an input of %zu bytes", t->bytes);
        fill(p, t, input_of(t), data);
        status = p->device->backend->write(p->plan, (int32_t)i, data, t->bytes, p->error);
        free(data);
    }
    return status;
}

static zeb_status set_rows(const probe *p, const char *space, int32_t rows) {
    const zeb_backend *backend = p->device->backend;
    char name[ZEB_NAME_MAX];
    const int32_t offsets[2] = {0, rows};
    (void)snprintf(name, sizeof name, "%s.offsets", space);
    zeb_status status = backend->write(p->plan, zeb_graph_find(p->graph, name), offsets, sizeof offsets, p->error);
    (void)snprintf(name, sizeof name, "%s.count", space);
    return status == ZEB_OK ? backend->write(p->plan, zeb_graph_find(p->graph, name), &rows, sizeof rows, p->error)
                            : status;
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The median of some passes over so many rows; the first does not count. */
static zeb_status time_rows(const probe *p, uint32_t rows, double *ns) {
    const zeb_backend *backend = p->device->backend;
    double took[PASSES_MAX], sum = 0;
    int count = -1;
    zeb_status status = set_rows(p, "rows", (int32_t)rows);
    if (status == ZEB_OK && p->few != ZEB_NONE) status = set_rows(p, "few", 1);
    while (status == ZEB_OK && count < PASSES_MAX && (count < PASSES_MIN ? sum < SLOW_NS : sum < TIMED_NS)) {
        uint64_t begin = zeb_clock_now_ns();
        status = backend->submit(p->plan, p->error);
        if (status == ZEB_OK) status = backend->wait(p->plan, p->error);
        double span = (double)(zeb_clock_now_ns() - begin);
        if (count >= 0) took[count] = span;
        if (count++ >= 0) sum += span;
    }
    if (status != ZEB_OK) return status;
    qsort(took, (size_t)count, sizeof *took, ascending);
    *ns = took[count / 2];
    return ZEB_OK;
}

static zeb_status add(zeb_costs_made *made, const char *signature, uint32_t rows, double ns, zeb_error *error) {
    if (made->count == ZEB_COSTS_MADE_MAX)
        return zeb_fail(error, ZEB_ERR_RANGE, "the model has more than %d kinds of nodes x rows to time",
                        ZEB_COSTS_MADE_MAX);
    zeb_timing *to = &made->timing[made->count++];
    *to = (zeb_timing){.rows = rows, .ns = ns > 0 ? ns : 0};
    zeb_text_copy(to->signature, sizeof to->signature, signature);
    return ZEB_OK;
}

/* The rows that are measured: each up to 8, then four an octave; reach itself is the last. */
static uint32_t next_rows(uint32_t rows, uint32_t reach) {
    uint32_t step = 1;
    while (step * 8 <= rows)
        step *= 2;
    uint32_t next = rows + step;
    return rows < reach && next > reach ? reach : next;
}

static zeb_status time_all(const probe *p, const char *signature, double bare_ns, zeb_costs_made *made) {
    zeb_status status = ZEB_OK;
    for (uint32_t rows = next_rows(0, p->reach); rows <= p->reach && status == ZEB_OK;
         rows = next_rows(rows, p->reach)) {
        double ns = 0;
        status = time_rows(p, rows, &ns);
        if (status == ZEB_OK) status = add(made, signature, rows, (ns - bare_ns) / p->copies, p->error);
    }
    return status;
}

static void close_probe(probe *p) {
    if (p->plan != NULL) p->device->backend->release(p->plan);
    zeb_builder_destroy(p->builder);
}

/* ---- what is wanted --------------------------------------------------------------------------------------------- */

static bool is_made(const zeb_costs_made *made, const char *signature, double *ns) {
    for (uint32_t i = 0; i < made->count; i++) {
        if (strcmp(made->timing[i].signature, signature) != 0) continue;
        *ns = made->timing[i].ns;
        return true;
    }
    return false;
}

static zeb_status measure_pass(const probe *model, const zeb_costs *have, zeb_costs_made *made, double *bare_ns) {
    probe p = *model;
    bool done = false;
    *bare_ns = zeb_costs_at(have, zeb_costs_pass, 1);
    if (*bare_ns >= 0 || is_made(made, zeb_costs_pass, bare_ns)) return ZEB_OK;
    *bare_ns = 0;
    zeb_status status = build_bare(&p);
    if (status == ZEB_OK) status = compile(&p, &done);
    if (status == ZEB_OK && done) status = time_rows(&p, 1, bare_ns);
    if (status == ZEB_OK) status = add(made, zeb_costs_pass, 1, *bare_ns, p.error);
    close_probe(&p);
    return status;
}

/* A node that can't stand alone is no more an error than one that the device does not do alone. */
static zeb_status open_probe(probe *p, bool half, bool *done) {
    zeb_status status = build(p, half);
    *done = false;
    if (status == ZEB_ERR_ARGUMENT || status == ZEB_ERR_UNSUPPORTED) return ZEB_OK;
    if (status == ZEB_OK) status = compile(p, done);
    return status == ZEB_OK && *done ? write_inputs(p) : status;
}

static zeb_status measure_node(const probe *model, bool half, const char *signature, double bare_ns,
                               zeb_costs_made *made) {
    probe p = *model;
    bool done = false;
    double ns = 0;
    p.copies = copies_of(p.from, p.node);
    zeb_status status = open_probe(&p, half, &done);
    if (status == ZEB_OK && done) status = time_rows(&p, p.reach, &ns);
    if (status == ZEB_OK && ns > SLOW_NS) {
        double fewer = p.copies;
        close_probe(&p);
        p = *model;
        p.copies = (uint32_t)(fewer * SLOW_NS / ns) + 1;
        status = open_probe(&p, half, &done);
    }
    if (status == ZEB_OK && done) status = time_all(&p, signature, bare_ns, made);
    close_probe(&p);
    return status;
}

/* The plugin's own trials, all of them: side by side they compare. */
static zeb_status measure_choices(const probe *model, const zeb_costs *have, zeb_costs_made *made) {
    zeb_choice choice[ZEB_CHOICES_MAX];
    uint32_t count, lacking = 0;
    zeb_status status = zeb_costs_choices(have, model->device, choice, &count, model->error);
    for (uint32_t i = 0; i < count; i++)
        lacking += choice[i].ns < 0;
    for (uint32_t i = 0; i < made->count; i++)
        if (strncmp(made->timing[i].signature, "choice ", 7) == 0) lacking = 0;
    if (status != ZEB_OK || lacking == 0) return status;
    status = zeb_backend_choices(model->device->backend)(model->device->device, true, choice, ZEB_CHOICES_MAX, &count,
                                                         model->error);
    for (uint32_t i = 0; i < count && i < ZEB_CHOICES_MAX && status == ZEB_OK; i++) {
        char signature[ZEB_SIGNATURE_MAX];
        zeb_costs_choice(&choice[i], signature);
        status = add(made, signature, choice[i].value, choice[i].ns, model->error);
    }
    return status;
}

static zeb_status measure_nodes(probe *model, const zeb_costs *have, zeb_shared *shared, zeb_costs_made *made) {
    double bare_ns = 0, ignored;
    zeb_status status = measure_pass(model, have, made, &bare_ns);
    for (uint32_t i = 0; i < model->from->node_count && status == ZEB_OK; i++) {
        model->node = &model->from->node[i];
        for (int half = 0; half <= (int)zeb_costs_selects(model->node) && status == ZEB_OK; half++) {
            char signature[ZEB_SIGNATURE_MAX];
            zeb_costs_signature(model->from, model->node, half, signature);
            if (zeb_costs_reach(have, signature) >= model->reach || is_made(made, signature, &ignored)) continue;
            if (atomic_load(&shared->stop) != 0)
                return zeb_fail(model->error, ZEB_ERR_INTERRUPTED, "stopped by the user");
            status = measure_node(model, half, signature, bare_ns, made);
            atomic_fetch_add(&shared->done, 1);
        }
    }
    return status;
}

zeb_status zeb_costs_measure(const zeb_device_handle *device, const zeb_graph *graph, uint32_t reach,
                             const zeb_costs *have, zeb_shared *shared, zeb_costs_made *made, zeb_error *error) {
    probe model = {.device = device, .from = graph, .reach = reach, .rows = ZEB_NONE, .few = ZEB_NONE, .error = error};
    zeb_host_snapshot before, after;
    zeb_host_delta delta;
    zeb_host_snapshot_take("", &before);
    zeb_status status = measure_choices(&model, have, made);
    if (status == ZEB_OK) status = measure_nodes(&model, have, shared, made);
    zeb_host_snapshot_take("", &after);
    zeb_host_delta_make(&before, &after, &delta);
    made->disturbed = made->disturbed || delta.is_crowded || (delta.has_foreign_load && delta.is_loaded) ||
                      (delta.has_steal && delta.is_stolen);
    return status;
}
