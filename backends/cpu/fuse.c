/* fuse.c - what runs together. */
#include "fuse.h"

uint32_t cpu_fuse_linears(const zeb_graph *graph, uint32_t first, const bool *taken,
                          const zeb_node *group[CPU_LINEAR_PARTS_MAX]) {
    const zeb_node *head = &graph->node[first];
    uint32_t count = 1;
    group[0] = head;
    if (head->input[ZEB_LINEAR_RESIDUAL] != ZEB_NONE) return 1;
    for (uint32_t i = first + 1; i < graph->node_count && count < CPU_LINEAR_PARTS_MAX; i++) {
        const zeb_node *node = &graph->node[i];
        if (taken[i] || node->op != ZEB_OP_LINEAR || node->input[ZEB_LINEAR_X] != head->input[ZEB_LINEAR_X] ||
            node->input[ZEB_LINEAR_GATES] != head->input[ZEB_LINEAR_GATES] ||
            node->input[ZEB_LINEAR_RESIDUAL] != ZEB_NONE ||
            node->attr.linear.precision != head->attr.linear.precision ||
            node->attr.linear.gate_groups != head->attr.linear.gate_groups ||
            graph->tensor[node->input[ZEB_LINEAR_W]].group != graph->tensor[head->input[ZEB_LINEAR_W]].group ||
            graph->tensor[node->input[ZEB_LINEAR_W]].dtype != graph->tensor[head->input[ZEB_LINEAR_W]].dtype)
            continue;
        group[count++] = node;
    }
    return count;
}

/* The one node that reads a tensor, as its input `position`; NULL if there are others. */
static const zeb_node *only_reader(const zeb_graph *graph, int32_t tensor, int position) {
    const zeb_node *only = NULL;
    if (graph->tensor[tensor].role != ZEB_ROLE_VALUE) return NULL;
    for (uint32_t i = 0; i < graph->node_count; i++) {
        for (int j = 0; j < ZEB_NODE_INPUTS_MAX; j++) {
            if (graph->node[i].input[j] != tensor) continue;
            if (only != NULL || j != position) return NULL;
            only = &graph->node[i];
        }
    }
    return only;
}

/* Whether indices are rows that an attention over as many rows as x has kept: then none lies outside x. */
static bool are_survivors(const zeb_graph *graph, int32_t indices, int32_t x) {
    for (uint32_t i = 0; i < graph->node_count; i++) {
        const zeb_node *node = &graph->node[i];
        if (node->op != ZEB_OP_ATTENTION || node->output[ZEB_ATTENTION_INDICES] != indices) continue;
        return graph->tensor[node->input[ZEB_ATTENTION_Q]].extent[0].max <= graph->tensor[x].extent[0].max;
    }
    return false;
}

bool cpu_fuse_gather(const zeb_graph *graph, const zeb_node *gather) {
    const int32_t x = gather->input[ZEB_GATHER_X];
    if (graph->tensor[x].dtype != ZEB_F32 || !are_survivors(graph, gather->input[ZEB_GATHER_INDICES], x)) return false;
    const zeb_node *linear = only_reader(graph, gather->output[0], ZEB_LINEAR_RESIDUAL);
    if (linear == NULL || linear->op != ZEB_OP_LINEAR) return false;
    const zeb_node *norm = only_reader(graph, linear->output[0], ZEB_NORM_X);
    return norm != NULL && norm->op == ZEB_OP_NORM && norm->input[ZEB_NORM_RESIDUAL] == ZEB_NONE;
}

/* True if rows of both are the same rows, so that a worker may go from one to the other without waiting. */
static bool same_space(const zeb_plan *plan, int32_t a, int32_t b) {
    const cpu_tensor *x = &plan->tensor[a], *y = &plan->tensor[b];
    return x->rows == y->rows && x->live == y->live && x->offsets == y->offsets;
}

/* Whether a row of `stage` needs only rows that the same worker has written in this chain. */
static bool may_follow(const zeb_plan *plan, const cpu_stage *head, const cpu_stage *stage) {
    if (head->rows == NULL || stage->rows == NULL || !same_space(plan, head->space, stage->space)) return false;
    for (uint32_t i = 0; i < stage->reads; i++) {
        const bool own = stage->scattered == ZEB_NONE || stage->scattered != stage->read[i];
        if (own && same_space(plan, head->space, stage->read[i])) continue;
        for (const cpu_stage *s = head; s < stage; s++)
            for (uint32_t w = 0; w < s->writes; w++)
                if (s->write[w] == stage->read[i]) return false;
    }
    return true;
}

uint32_t cpu_fuse_chains(const zeb_plan *plan, cpu_chain *chain) {
    uint32_t chains = 0;
    for (uint32_t i = 0; i < plan->stages; i++) {
        const cpu_stage *stage = &plan->stage[i];
        if (chains > 0 && chain[chains - 1].row_local &&
            may_follow(plan, &plan->stage[chain[chains - 1].first], stage)) {
            chain[chains - 1].count++;
        } else {
            chain[chains++] = (cpu_chain){.first = i, .count = 1, .row_local = stage->rows != NULL};
        }
    }
    return chains;
}

/* An attention of which each sequence is alone: nothing of it is known before, or wanted after, of all sequences. What
 * it reads lies in each worker's room then, which values do: kernels read whole vectors past a row, and the next one
 * may be another worker's. */
static bool is_plain(const zeb_plan *plan, const cpu_chain *chain, int32_t space) {
    const cpu_stage *stage = &plan->stage[chain->first];
    if (chain->row_local || chain->count != 1 || stage->op != ZEB_OP_ATTENTION) return false;
    const cpu_attention *a = &stage->as.attention;
    return a->attr.select.mode == ZEB_SELECT_NONE && !a->weigh && a->gates == ZEB_NONE && a->flags == ZEB_NONE &&
           plan->tensor[a->q].role == ZEB_ROLE_VALUE && plan->tensor[a->k].role == ZEB_ROLE_VALUE &&
           plan->tensor[a->v].role == ZEB_ROLE_VALUE && same_space(plan, space, a->q) &&
           same_space(plan, space, a->k) && same_space(plan, space, a->v) && same_space(plan, space, a->context);
}

static bool may_all_follow(const zeb_plan *plan, const cpu_stage *head, const cpu_chain *chain) {
    for (uint32_t s = chain->first; s < chain->first + chain->count; s++)
        if (!may_follow(plan, head, &plan->stage[s])) return false;
    return true;
}

void cpu_fuse_spans(const zeb_plan *plan, cpu_chain *chain, uint32_t chains) {
    for (uint32_t c = 0; c < chains; c++) {
        if (!chain[c].row_local) continue;
        const cpu_stage *head = &plan->stage[chain[c].first];
        uint32_t end = c + 1;
        while (plan->tensor[head->space].offsets != ZEB_NONE && end + 1 < chains &&
               is_plain(plan, &chain[end], head->space) && chain[end + 1].row_local &&
               may_all_follow(plan, head, &chain[end + 1]))
            end += 2;
        chain[c].span = end - c;
        c = end - 1;
    }
}
