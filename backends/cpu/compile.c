/* compile.c - from a graph to a plan: tensors, stages, chains, places. */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "fuse.h"
#include "plan.h"

/* Memory held until release: blocks on huge pages, where the system has any, from which pieces are cut. */
typedef struct cpu_block {
    struct cpu_block *next;
    void *map; /* as the system gave it */
    size_t map_bytes;
    unsigned char *memory; /* aligned, zero until it is written */
    size_t size, used;
} cpu_block;

enum { HUGE_PAGE = 2 << 20, BLOCK = 8 << 20, GAP = 256 /* behind each piece, for loads past its end */ };

static cpu_block *new_block(zeb_plan *plan, size_t bytes) {
    cpu_block *block = malloc(sizeof *block);
    if (block == NULL) return NULL;
    const size_t size = (bytes + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
    void *map = mmap(NULL, size + HUGE_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED) {
        free(block);
        return NULL;
    }
    unsigned char *memory = (unsigned char *)(((uintptr_t)map + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE);
    *block = (cpu_block){plan->block, map, size + HUGE_PAGE, memory, size, 0};
    (void)madvise(memory, size, MADV_HUGEPAGE);
    plan->block = block;
    return block;
}

zeb_status cpu_plan_hold(zeb_plan *plan, size_t bytes, void **memory, zeb_error *error) {
    const size_t size = (bytes + GAP + 63) / 64 * 64;
    cpu_block *block = plan->block;
    if (size < bytes) return zeb_fail(error, ZEB_ERR_MEMORY, "no memory for %zu bytes of a plan", bytes);
    if (block == NULL || block->size - block->used < size) block = new_block(plan, size > BLOCK ? size : BLOCK);
    if (block == NULL) return zeb_fail(error, ZEB_ERR_MEMORY, "no memory for %zu bytes of a plan", bytes);
    unsigned char *piece = block->memory + block->used;
    block->used += size;
    plan->held_bytes += size;
    *memory = piece;
    return ZEB_OK;
}

zeb_status cpu_plan_widen(zeb_plan *plan, int32_t tensor, size_t slack, const float **out, zeb_error *error) {
    *out = NULL;
    if (tensor == ZEB_NONE) return ZEB_OK;
    const cpu_tensor *t = &plan->tensor[tensor];
    const size_t n = (size_t)t->rows * (size_t)t->width;
    float *copy = NULL;
    const zeb_status status = cpu_plan_hold(plan, (n + slack) * sizeof *copy, (void **)&copy, error);
    if (status != ZEB_OK) return status;
    plan->kernels->widen(t->dtype, t->data, copy, n);
    *out = copy;
    return ZEB_OK;
}

static void note(int32_t *list, uint32_t *count, uint32_t most, int32_t tensor) {
    if (tensor != ZEB_NONE && *count < most) list[(*count)++] = tensor;
}

void cpu_stage_reads(cpu_stage *stage, int32_t tensor) {
    note(stage->read, &stage->reads, CPU_STAGE_READS_MAX, tensor);
}

void cpu_stage_writes(cpu_stage *stage, int32_t tensor) {
    note(stage->write, &stage->writes, CPU_STAGE_WRITES_MAX, tensor);
}

void cpu_plan_scratch(zeb_plan *plan, size_t bytes) {
    if (bytes > plan->scratch_bytes) plan->scratch_bytes = bytes;
}

/* Rows of wide tensors are padded to whole vectors, and away from strides of a power of two, whose rows would compete
 * for the same few places of the first-level cache. */
static size_t stride_of(const zeb_tensor *t, int64_t width) {
    if (t->role == ZEB_ROLE_WEIGHT || width < 32) return (size_t)width;
    size_t ld = ((size_t)width + 15) / 16 * 16;
    if (ld % 128 == 0) ld += 16;
    return ld;
}

static void take_tensor(cpu_tensor *to, const zeb_tensor *t) {
    to->dtype = t->dtype;
    to->role = t->role;
    to->rows = t->rank > 0 ? t->extent[0].max : 1;
    to->width = 1;
    for (uint32_t i = 1; i < t->rank; i++)
        to->width *= t->extent[i].max;
    to->ld = stride_of(t, to->width);
    to->live = t->rank > 0 ? t->extent[0].live : ZEB_NONE;
    to->offsets = t->offsets;
    to->scale = t->scale;
    to->group = t->group;
    to->codes = to->halves = to->flags = to->from = to->by = ZEB_NONE;
    to->arena.first = to->local.first = -1;
    to->data = t->role == ZEB_ROLE_WEIGHT ? (void *)(uintptr_t)t->data : NULL;
}

typedef zeb_status (*lower_fn)(zeb_plan *plan, const zeb_node *node, cpu_stage *stage, zeb_error *error);

static lower_fn lower_of(zeb_op op) {
    switch (op) {
        case ZEB_OP_EMBED: return cpu_lower_embed;
        case ZEB_OP_LINEAR: return cpu_lower_linear;
        case ZEB_OP_NORM: return cpu_lower_norm;
        case ZEB_OP_ATTENTION: return cpu_lower_attention;
        case ZEB_OP_SELECT: return cpu_lower_select;
        case ZEB_OP_GATHER: return cpu_lower_gather;
        case ZEB_OP_ACTIVATION: return cpu_lower_activation;
        case ZEB_OP_POOL: return cpu_lower_pooling;
        case ZEB_OP_HEAD_GATE: return cpu_lower_head_gate;
        case ZEB_OP_HEAD_TOPK: return cpu_lower_head_topk;
        case ZEB_OP_LOG_LIKELIHOOD: return cpu_lower_likelihood;
        case ZEB_OP_BLOCKS: return cpu_lower_blocks;
        case ZEB_OP_EXIT: return cpu_lower_exit;
    }
    return NULL;
}

/* What a LINEAR of reduced precision needs of its x. */
static zeb_status make_ready(zeb_plan *plan, const zeb_node *node, zeb_error *error) {
    if (node->op != ZEB_OP_LINEAR) return ZEB_OK;
    switch (node->attr.linear.precision) {
        case ZEB_PRECISION_W8A8:
        case ZEB_PRECISION_W4A8: return cpu_want_codes(plan, node->input[ZEB_LINEAR_X], error);
        case ZEB_PRECISION_BF16: return cpu_want_halves(plan, node->input[ZEB_LINEAR_X], error);
        default: return ZEB_OK;
    }
}

static zeb_status make_stages(zeb_plan *plan, const zeb_graph *graph, bool *taken, zeb_error *error) {
    zeb_status status = ZEB_OK;
    for (uint32_t i = 0; status == ZEB_OK && i < graph->node_count; i++) {
        if (taken[i]) continue;
        const zeb_node *node = &graph->node[i], *group[CPU_LINEAR_PARTS_MAX];
        if (node->op == ZEB_OP_GATHER && cpu_fuse_gather(graph, node)) {
            plan->tensor[node->output[0]].from = node->input[ZEB_GATHER_X];
            plan->tensor[node->output[0]].by = node->input[ZEB_GATHER_INDICES];
            continue;
        }
        const uint32_t together = node->op == ZEB_OP_LINEAR ? cpu_fuse_linears(graph, i, taken, group) : 1;
        for (uint32_t j = 1; j < together; j++)
            taken[group[j] - graph->node] = true;
        status = make_ready(plan, node, error);
        if (status != ZEB_OK) break;
        cpu_stage *stage = &plan->stage[plan->stages++];
        stage->node = (int32_t)i;
        stage->op = node->op;
        stage->scattered = ZEB_NONE;
        (void)snprintf(stage->name, sizeof stage->name, "%s", node->name);
        status = together > 1 ? cpu_lower_linears(plan, group, together, stage, error)
                              : lower_of(node->op)(plan, node, stage, error);
    }
    return status;
}

/* The first node that check refuses, as an error. */
static zeb_status check_all(zeb_device *device, const zeb_graph *graph, zeb_error *error) {
    zeb_verdict *verdict = calloc(graph->node_count + 1u, sizeof *verdict);
    if (verdict == NULL) return zeb_fail(error, ZEB_ERR_MEMORY, "no memory to check %u nodes", graph->node_count);
    zeb_status status = cpu_check(device, graph, verdict, error);
    for (uint32_t i = 0; status == ZEB_OK && i < graph->node_count; i++)
        if (!verdict[i].supported)
            status = zeb_fail(error, ZEB_ERR_UNSUPPORTED, "node \"%s\": %s", graph->node[i].name, verdict[i].reason);
    free(verdict);
    return status;
}

static zeb_status fill(zeb_plan *plan, const zeb_graph *graph, bool *taken, zeb_error *error) {
    for (uint32_t i = 0; i < graph->tensor_count; i++)
        take_tensor(&plan->tensor[i], &graph->tensor[i]);
    zeb_status status = make_stages(plan, graph, taken, error);
    if (status != ZEB_OK) return status;
    plan->chains = cpu_fuse_chains(plan, plan->chain);
    cpu_fuse_spans(plan, plan->chain, plan->chains);
    status = cpu_plan_place(plan, error);
    for (uint32_t i = 0; status == ZEB_OK && i < plan->stages; i++)
        if (plan->stage[i].op == ZEB_OP_ATTENTION) cpu_attention_bind(plan, &plan->stage[i].as.attention);
    return status == ZEB_OK ? cpu_plan_view(plan, error) : status;
}

zeb_status cpu_compile(zeb_device *device, const zeb_graph *graph, zeb_plan **result, zeb_error *error) {
    if (graph == NULL) return zeb_fail(error, ZEB_ERR_ARGUMENT, "no graph");
    zeb_status status = check_all(device, graph, error);
    if (status != ZEB_OK) return status;
    zeb_plan *plan = calloc(1, sizeof *plan);
    bool *taken = calloc(graph->node_count + 1u, sizeof *taken);
    status = zeb_fail(error, ZEB_ERR_MEMORY, "no memory for a plan of %u nodes", graph->node_count);
    if (plan == NULL || taken == NULL) goto done;
    plan->device = device;
    plan->kernels = device->kernels;
    plan->pool = device->pool;
    plan->tensors = graph->tensor_count;
    plan->tensor = calloc(graph->tensor_count + 3u * graph->node_count + 1u, sizeof *plan->tensor);
    plan->stage = calloc(2u * graph->node_count + 1u, sizeof *plan->stage);
    plan->chain = calloc(2u * graph->node_count + 1u, sizeof *plan->chain);
    plan->hand = calloc(cpu_pool_threads(device->pool), sizeof *plan->hand);
    if (plan->tensor == NULL || plan->stage == NULL || plan->chain == NULL || plan->hand == NULL) goto done;
    status = fill(plan, graph, taken, error);
    if (status != ZEB_OK) goto done;
    *result = plan;
    plan = NULL;
done:
    free(taken);
    cpu_release(plan);
    return status;
}

void cpu_release(zeb_plan *plan) {
    if (plan == NULL) return;
    for (cpu_block *block = plan->block; block != NULL;) {
        cpu_block *next = block->next;
        (void)munmap(block->map, block->map_bytes);
        free(block);
        block = next;
    }
    for (uint32_t i = 0; plan->hand != NULL && i < cpu_pool_threads(plan->pool); i++) {
        if (plan->hand[i].plan != NULL && plan->hand[i].plan != plan) free(plan->hand[i].plan->tensor);
        if (plan->hand[i].plan != plan) free(plan->hand[i].plan);
    }
    free(plan->local);
    free(plan->tensor);
    free(plan->stage);
    free(plan->chain);
    free(plan->hand);
    free(plan->span);
    free(plan);
}
