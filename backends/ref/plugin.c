/* The plugin's table: one device, plans in host memory, nodes run in order by one function an op. */
#include "ref.h"

struct zeb_device {
    int open;
};

const zeb_tensor *ref_input(const ref_at *at, uint32_t position) {
    int32_t id = at->node->input[position];
    return id == ZEB_NONE ? NULL : &at->plan->host.tensor[id];
}

void *ref_input_data(const ref_at *at, uint32_t position) {
    int32_t id = at->node->input[position];
    return id == ZEB_NONE ? NULL : at->plan->host.data[id];
}

void *ref_output_data(const ref_at *at, uint32_t position) {
    int32_t id = at->node->output[position];
    return id == ZEB_NONE ? NULL : at->plan->host.data[id];
}

int64_t ref_input_rows(const ref_at *at, uint32_t position) {
    return zeb_host_live(&at->plan->host, at->node->input[position]);
}

const int32_t *ref_input_offsets(const ref_at *at, uint32_t position) {
    const zeb_tensor *rows = ref_input(at, position);
    return rows->offsets == ZEB_NONE ? NULL : at->plan->host.data[rows->offsets];
}

int64_t ref_input_batch(const ref_at *at, uint32_t position) {
    return at->plan->host.tensor[ref_input(at, position)->offsets].extent[0].max - 1;
}

static zeb_status device_count(uint32_t *count, zeb_error *error) {
    (void)error;
    *count = 1;
    return ZEB_OK;
}

static zeb_status device_info(uint32_t index, zeb_device_info *info, zeb_error *error) {
    if (index != 0) return zeb_fail(error, ZEB_ERR_ARGUMENT, "ref has one device, not %u", index + 1);
    *info = (zeb_device_info){.id = "0", .name = "reference, plain C", .kind = ZEB_DEVICE_CPU, .units = 1};
    return ZEB_OK;
}

static zeb_status device_open(uint32_t index, const zeb_device_options *options, zeb_device **device,
                              zeb_error *error) {
    (void)options;
    *device = NULL;
    if (index != 0) return zeb_fail(error, ZEB_ERR_ARGUMENT, "ref has one device, not %u", index + 1);
    *device = calloc(1, sizeof **device);
    return *device != NULL ? ZEB_OK : zeb_fail(error, ZEB_ERR_MEMORY, "out of memory");
}

static void device_close(zeb_device *device) {
    free(device);
}

static zeb_status device_settings(zeb_device *device, zeb_device_settings *settings, zeb_error *error) {
    (void)device;
    (void)error;
    *settings = (zeb_device_settings){.struct_size = sizeof *settings, .threads = 1, .isa = "scalar"};
    return ZEB_OK;
}

typedef zeb_status op_fn(const ref_at *at);
static op_fn *const OP[] = {[ZEB_OP_EMBED] = ref_embed,         [ZEB_OP_LINEAR] = ref_linear,
                            [ZEB_OP_NORM] = ref_norm,           [ZEB_OP_ATTENTION] = ref_attention,
                            [ZEB_OP_SELECT] = ref_select,       [ZEB_OP_GATHER] = ref_gather,
                            [ZEB_OP_ACTIVATION] = ref_activate, [ZEB_OP_POOL] = ref_pool,
                            [ZEB_OP_HEAD_GATE] = ref_head_gate, [ZEB_OP_LOG_LIKELIHOOD] = ref_log_likelihood,
                            [ZEB_OP_BLOCKS] = ref_blocks,       [ZEB_OP_EXIT] = ref_exit,
                            [ZEB_OP_HEAD_TOPK] = ref_head_topk};
enum { OP_COUNT = sizeof OP / sizeof OP[0] };

/* What there is of a node that this plugin is too old to know; NULL: nothing. */
static const char *unknown(const zeb_node *node) {
    const zeb_select *select = node->op == ZEB_OP_SELECT      ? &node->attr.select
                               : node->op == ZEB_OP_ATTENTION ? &node->attr.attention.select
                                                              : NULL;
    if ((uint32_t)node->op == 0 || (uint32_t)node->op >= OP_COUNT) return "op";
    return select != NULL && select->mode > ZEB_SELECT_RELATIVE ? "select mode" : NULL;
}

static zeb_status check(zeb_device *device, const zeb_graph *graph, zeb_verdict *verdict, zeb_error *error) {
    (void)device;
    (void)error;
    for (uint32_t i = 0; i < graph->node_count; ++i) {
        const char *what = unknown(&graph->node[i]);
        verdict[i] = (zeb_verdict){.supported = what == NULL};
        if (what != NULL) (void)snprintf(verdict[i].reason, sizeof verdict[i].reason, "%s is unknown", what);
    }
    return ZEB_OK;
}

static void release(zeb_plan *plan) {
    if (plan == NULL) return;
    for (uint32_t i = 0; plan->matrix != NULL && i < plan->host.node_count; ++i)
        ref_matrix_free(&plan->matrix[i]);
    zeb_host_plan_destroy(&plan->host);
    free(plan->matrix);
    free(plan->wide);
    free(plan->sum);
    free(plan->row);
    free(plan->quantised);
    free(plan->importance);
    free(plan->keep);
    free(plan);
}

/* Scratch as long as the longest extent of the graph: every use is one row, or one number a row. */
static int make_scratch(zeb_plan *plan) {
    size_t most = 1;
    for (uint32_t i = 0; i < plan->host.tensor_count; ++i)
        for (uint32_t j = 0; j < plan->host.tensor[i].rank; ++j)
            if ((size_t)plan->host.tensor[i].extent[j].max > most) most = (size_t)plan->host.tensor[i].extent[j].max;
    plan->wide = calloc(most, sizeof *plan->wide);
    plan->sum = calloc(most, sizeof *plan->sum);
    plan->row = calloc(most, sizeof *plan->row);
    plan->quantised = calloc(most, 1);
    plan->importance = calloc(most, sizeof *plan->importance);
    plan->keep = calloc(most, 1);
    return plan->wide != NULL && plan->sum != NULL && plan->row != NULL && plan->quantised != NULL &&
           plan->importance != NULL && plan->keep != NULL;
}

static zeb_status compile(zeb_device *device, const zeb_graph *graph, zeb_plan **out, zeb_error *error) {
    (void)device;
    *out = NULL;
    zeb_plan *plan = calloc(1, sizeof *plan);
    if (plan == NULL) return zeb_fail(error, ZEB_ERR_MEMORY, "out of memory for a plan");
    zeb_status status = zeb_host_plan_create(graph, &plan->host, error);
    if (status == ZEB_OK) {
        plan->matrix = calloc((size_t)graph->node_count + 1, sizeof *plan->matrix);
        if (plan->matrix == NULL || !make_scratch(plan))
            status = zeb_fail(error, ZEB_ERR_MEMORY, "out of memory for a plan's scratch");
    }
    for (uint32_t i = 0; status == ZEB_OK && i < graph->node_count; ++i) {
        const zeb_node *node = &graph->node[i];
        const char *what = unknown(node);
        if (what != NULL)
            status = zeb_fail(error, ZEB_ERR_UNSUPPORTED, "node '%s': %s is unknown", node->name, what);
        else if (node->op == ZEB_OP_LINEAR)
            status = ref_matrix_make(graph, node, &plan->matrix[i], error);
    }
    if (status == ZEB_OK)
        *out = plan;
    else
        release(plan);
    return status;
}

static zeb_status plan_write(zeb_plan *plan, int32_t tensor, const void *data, size_t bytes, zeb_error *error) {
    return zeb_host_plan_write(&plan->host, tensor, data, bytes, error);
}

static zeb_status plan_read(zeb_plan *plan, int32_t tensor, void *data, size_t bytes, zeb_error *error) {
    return zeb_host_plan_read(&plan->host, tensor, data, bytes, error);
}

static zeb_status submit(zeb_plan *plan, zeb_error *error) {
    zeb_status status = zeb_host_plan_rows_check(&plan->host, error);
    for (uint32_t i = 0; status == ZEB_OK && i < plan->host.node_count; ++i) {
        ref_at at = {plan, &plan->host.node[i], error};
        status = OP[at.node->op](&at);
    }
    return status;
}

static zeb_status plan_wait(zeb_plan *plan, zeb_error *error) {
    (void)plan;
    (void)error;
    return ZEB_OK;
}

static zeb_status memory(zeb_plan *plan, uint64_t *bytes, zeb_error *error) {
    (void)error;
    *bytes = plan->host.bytes;
    return ZEB_OK;
}

static const zeb_backend BACKEND = {.struct_size = sizeof(zeb_backend),
                                    .skip = ZEB_SKIP_EXACT,
                                    .device_count = device_count,
                                    .device_info = device_info,
                                    .open = device_open,
                                    .close = device_close,
                                    .settings = device_settings,
                                    .check = check,
                                    .compile = compile,
                                    .write = plan_write,
                                    .submit = submit,
                                    .wait = plan_wait,
                                    .read = plan_read,
                                    .release = release,
                                    .memory = memory};

static const zeb_plugin PLUGIN = {.magic = ZEB_PLUGIN_MAGIC,
                                  .abi = ZEB_PLUGIN_ABI,
                                  .struct_size = sizeof(zeb_plugin),
                                  .name = "ref",
                                  .version = ZEB_PLUGIN_VERSION,
                                  .backend = &BACKEND};

const zeb_plugin *zeb_plugin_entry(void) {
    return &PLUGIN;
}
