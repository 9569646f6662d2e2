/* What every backend has: the table at the end of this file, and the functions in it. */
#include "template.h"

/* A device holds what all its plans share: a context, a queue, a pool of threads. Here: nothing. */
struct zeb_device {
    int nothing;
};

/* ---- devices ---- */

/* How many devices there are now. None is an answer, not an error: say ZEB_OK and 0 where a driver is missing. */
static zeb_status device_count(uint32_t *count, zeb_error *error) {
    (void)error;
    *count = 1;
    return ZEB_OK;
}

static zeb_status device_info(uint32_t index, zeb_device_info *info, zeb_error *error) {
    if (index != 0) return zeb_fail(error, ZEB_ERR_ARGUMENT, "template has one device, not %u", index + 1);
    /* A real one says what it is: ZEB_DEVICE_CPU, _GPU, _NPU. */
    *info = (zeb_device_info){.id = "0", .name = "a backend to copy", .kind = ZEB_DEVICE_EXAMPLE, .units = 1};
    return ZEB_OK;
}

static zeb_status device_open(uint32_t index, const zeb_device_options *options, zeb_device **device,
                              zeb_error *error) {
    (void)options; /* requests; what took effect is reported by device_settings */
    *device = NULL;
    if (index != 0) return zeb_fail(error, ZEB_ERR_ARGUMENT, "template has one device, not %u", index + 1);
    *device = calloc(1, sizeof **device);
    return *device != NULL ? ZEB_OK : zeb_fail(error, ZEB_ERR_MEMORY, "out of memory");
}

static void device_close(zeb_device *device) {
    free(device); /* takes NULL, like every close and release */
}

static zeb_status device_settings(zeb_device *device, zeb_device_settings *settings, zeb_error *error) {
    (void)device;
    (void)error;
    *settings = (zeb_device_settings){.struct_size = sizeof *settings, .threads = 1, .isa = "scalar"};
    return ZEB_OK;
}

/* ---- what is supported ---- */

static int is_float(const zeb_graph *graph, int32_t tensor) {
    if (tensor == ZEB_NONE) return 1;
    zeb_dtype dtype = graph->tensor[tensor].dtype;
    return dtype == ZEB_F32 || dtype == ZEB_F16 || dtype == ZEB_BF16;
}

/* Why a node can't be done, or NULL. One function, used by check and by compile, so that they never disagree. Refuse
 * what you do not do: there is no silent fallback, and an `unsupported` with a good reason is an honest result. */
static const char *why_not(const zeb_graph *graph, const zeb_node *node) {
    switch (node->op) {
        case ZEB_OP_LINEAR:
            if (node->attr.linear.precision != ZEB_PRECISION_F32) return "precision other than F32";
            if (node->attr.linear.activation != ZEB_ACT_NONE && node->attr.linear.activation != ZEB_ACT_RELU)
                return "activation other than ReLU";
            if (node->input[ZEB_LINEAR_GATES] != ZEB_NONE) return "gates";
            return is_float(graph, node->input[ZEB_LINEAR_W]) ? NULL : "quantised weights";
        case ZEB_OP_NORM: return node->attr.norm.kind == ZEB_NORM_LAYER ? NULL : "norm other than LayerNorm";
        default: return "the template does LINEAR and NORM only"; /* also ops that are newer than this plugin */
    }
}

static zeb_status check(zeb_device *device, const zeb_graph *graph, zeb_verdict *verdict, zeb_error *error) {
    (void)device;
    (void)error;
    for (uint32_t i = 0; i < graph->node_count; ++i) {
        const char *reason = why_not(graph, &graph->node[i]);
        verdict[i] = (zeb_verdict){.supported = reason == NULL};
        if (reason != NULL) (void)snprintf(verdict[i].reason, sizeof verdict[i].reason, "%s", reason);
    }
    return ZEB_OK;
}

/* ---- plans ---- */

static void release(zeb_plan *plan) {
    if (plan == NULL) return;
    for (uint32_t i = 0; plan->packed != NULL && i < plan->host.node_count; ++i) {
        free(plan->packed[i].w);
        free(plan->packed[i].bias);
    }
    free(plan->packed);
    zeb_host_plan_destroy(&plan->host);
    free(plan);
}

/* A constant as F32; zeros where there is none. NULL: out of memory. */
static float *unpack(const zeb_graph *graph, int32_t tensor, size_t count) {
    float *values = calloc(count, sizeof *values);
    for (size_t i = 0; values != NULL && tensor != ZEB_NONE && i < count; ++i)
        values[i] = zeb_float_at(graph->tensor[tensor].dtype, graph->tensor[tensor].data, i);
    return values;
}

/* Here a real backend reorders weights for its kernels, uploads them, and drops what the graph no longer needs. */
static zeb_status pack(const zeb_graph *graph, const zeb_node *node, template_packed *packed, zeb_error *error) {
    int linear = node->op == ZEB_OP_LINEAR;
    const zeb_tensor *w = &graph->tensor[node->input[linear ? ZEB_LINEAR_W : ZEB_NORM_GAMMA]];
    size_t n = (size_t)w->extent[0].max, count = linear ? n * (size_t)w->extent[1].max : n;
    packed->w = unpack(graph, node->input[linear ? ZEB_LINEAR_W : ZEB_NORM_GAMMA], count);
    packed->bias = unpack(graph, node->input[linear ? ZEB_LINEAR_BIAS : ZEB_NORM_BETA], n);
    packed->epsilon = linear ? 0.0 : (double)node->attr.norm.epsilon;
    if (packed->w != NULL && packed->bias != NULL) return ZEB_OK;
    return zeb_fail(error, ZEB_ERR_MEMORY, "out of memory for the weights of node '%s'", node->name);
}

/* Everything that takes time or memory happens here. The graph is the harness's and may be gone afterwards: keep no
 * pointer to it but the weights' data. */
static zeb_status compile(zeb_device *device, const zeb_graph *graph, zeb_plan **out, zeb_error *error) {
    (void)device;
    *out = NULL;
    for (uint32_t i = 0; i < graph->node_count; ++i) {
        const char *reason = why_not(graph, &graph->node[i]);
        if (reason != NULL)
            return zeb_fail(error, ZEB_ERR_UNSUPPORTED, "node '%s' (%s): %s", graph->node[i].name,
                            zeb_op_name(graph->node[i].op), reason);
    }
    zeb_plan *plan = calloc(1, sizeof *plan);
    if (plan == NULL) return zeb_fail(error, ZEB_ERR_MEMORY, "out of memory for a plan");
    plan->packed = calloc((size_t)graph->node_count + 1, sizeof *plan->packed);
    if (plan->packed == NULL) {
        release(plan);
        return zeb_fail(error, ZEB_ERR_MEMORY, "out of memory for a plan");
    }
    zeb_status status = zeb_host_plan_create(graph, &plan->host, error);
    for (uint32_t i = 0; status == ZEB_OK && i < graph->node_count; ++i)
        status = pack(graph, &graph->node[i], &plan->packed[i], error);
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

/* One pass. An asynchronous device starts it here and returns; wait then waits. No allocation: this is what is timed.
 */
static zeb_status submit(zeb_plan *plan, zeb_error *error) {
    zeb_status status = zeb_host_plan_rows_check(&plan->host, error);
    for (uint32_t i = 0; status == ZEB_OK && i < plan->host.node_count; ++i) {
        const zeb_node *node = &plan->host.node[i];
        if (node->op == ZEB_OP_LINEAR)
            template_linear(plan, node, &plan->packed[i]);
        else
            template_norm(plan, node, &plan->packed[i]);
    }
    return status;
}

static zeb_status plan_wait(zeb_plan *plan, zeb_error *error) {
    (void)plan;
    (void)error;
    return ZEB_OK; /* submit did it all */
}

/* ---- the table ---- */

static const zeb_backend BACKEND = {.struct_size = sizeof(zeb_backend),
                                    .skip = ZEB_SKIP_EXACT, /* loops run over live rows only */
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
                                    .release = release};

static const zeb_plugin PLUGIN = {.magic = ZEB_PLUGIN_MAGIC,
                                  .abi = ZEB_PLUGIN_ABI,
                                  .struct_size = sizeof(zeb_plugin),
                                  .name = "template", /* as in the file's name, zeb_template.so */
                                  .version = "0.1.0",
                                  .backend = &BACKEND};

const zeb_plugin *zeb_plugin_entry(void) {
    return &PLUGIN;
}
