/* What a pass took and kept, read back from the device after it. */
#include "run/session.h"

/* The BLOCKS node of a layer. */
static const zeb_node *blocks_of(const zeb_session *session, int32_t layer) {
    const zeb_graph *graph = session->graph;
    uint32_t i = 0;
    while (graph->node[i].op != ZEB_OP_BLOCKS || graph->node[i].output[ZEB_BLOCKS_OPEN] != session->open[layer])
        i++;
    return &graph->node[i];
}

/* The ATTENTION node that the gates of a layer close heads of. */
static const zeb_node *gated_by(const zeb_session *session, int32_t layer) {
    const zeb_graph *graph = session->graph;
    uint32_t i = 0;
    while (graph->node[i].op != ZEB_OP_ATTENTION || graph->node[i].input[ZEB_ATTENTION_GATES] != session->gates[layer])
        i++;
    return &graph->node[i];
}

/* What the device says of the blocks of a node's first result that it multiplied: to the cost model, and to *done (-1:
 * it does not say). */
static zeb_status note_done(zeb_session *session, const zeb_node *node, int64_t *done, zeb_error *error) {
    zeb_blocks_done_fn ask = zeb_backend_blocks_done(session->device.backend);
    int32_t out = node->output[0];
    uint64_t count;
    if (done != NULL) *done = -1;
    if (ask == NULL) return ZEB_OK;
    zeb_status status = ask(session->plan, out, &count, error);
    if (status != ZEB_OK) return status;
    zeb_cost_blocks_done(session->cost, out, count);
    if (done != NULL) *done = (int64_t)count;
    return ZEB_OK;
}

zeb_status zeb_session_work(zeb_session *session, zeb_work *dense, zeb_work *executed, zeb_error *error) {
    const zeb_batch *batch = &session->batch;
    size_t count = (size_t)batch->sequences;
    for (size_t b = 0; b < count; b++)
        session->length[b] = batch->offsets[b + 1] - batch->offsets[b];
    const zeb_cost_read *read;
    size_t reads = zeb_cost_reads(session->cost, &read);
    zeb_status status = ZEB_OK;
    for (size_t i = 0; i < reads && status == ZEB_OK; i++)
        status = session->device.backend->read(session->plan, read[i].tensor, read[i].value, read[i].bytes, error);
    for (int32_t layer = 0; layer < session->layers && status == ZEB_OK; layer++) {
        if (session->open[layer] >= 0) status = note_done(session, blocks_of(session, layer), NULL, error);
        if (status == ZEB_OK && session->gates[layer] >= 0)
            status = note_done(session, gated_by(session, layer), NULL, error);
    }
    if (status == ZEB_OK) status = zeb_cost_dense(session->plain_cost, session->length, count, NULL, dense, error);
    if (status == ZEB_OK) status = zeb_cost_executed(session->cost, session->length, count, NULL, executed, error);
    return status;
}

/* Offsets of a row space that a layer made, in session->scratch; rows and sequences that are left. */
static zeb_status read_offsets(zeb_session *session, int32_t tensor, zeb_kept *kept, int64_t *sequences,
                               zeb_error *error) {
    size_t places = (size_t)session->batch.sequence_max + 1;
    const int32_t *offsets = session->scratch;
    zeb_status status =
        session->device.backend->read(session->plan, tensor, session->scratch, places * sizeof *offsets, error);
    if (status != ZEB_OK) return status;
    kept->tokens = offsets[places - 1];
    kept->share = kept->share_squared = 0;
    *sequences = 0;
    for (size_t b = 0; b < (size_t)session->batch.sequences; b++) {
        double share = (double)(offsets[b + 1] - offsets[b]) / (double)session->length[b];
        kept->share += share;
        kept->share_squared += share * share;
        *sequences += offsets[b + 1] > offsets[b];
    }
    return ZEB_OK;
}

static zeb_status read_gates(zeb_session *session, int32_t layer, zeb_kept *kept, zeb_error *error) {
    size_t heads = (size_t)session->graph->tensor[session->gates[layer]].extent[1].max;
    size_t gates = (size_t)session->batch.sequences * heads;
    const float *value = session->scratch;
    zeb_status status = session->device.backend->read(session->plan, session->gates[layer], session->scratch,
                                                      gates * sizeof *value, error);
    kept->heads = 0;
    for (size_t i = 0, open = 0; i < gates && status == ZEB_OK; i++) {
        open += value[i] > 0;
        if ((i + 1) % heads != 0) continue; /* more heads of the sequence follow */
        kept->heads += (int64_t)open;
        kept->heads_squared += (double)(open * open);
        open = 0;
    }
    return status;
}

static zeb_status read_blocks(zeb_session *session, int32_t layer, zeb_kept *kept, zeb_error *error) {
    const zeb_node *node = blocks_of(session, layer);
    uint64_t rows = zeb_cost_rows(session->cost, session->open[layer]);
    const int32_t *open = session->scratch;
    zeb_status status = session->device.backend->read(session->plan, session->open[layer], session->scratch,
                                                      rows * sizeof *open, error);
    kept->blocks_open = 0;
    for (uint64_t t = 0; t < rows && status == ZEB_OK; t++)
        kept->blocks_open += open[t];
    const zeb_tensor *x = &session->graph->tensor[node->input[ZEB_BLOCKS_X]];
    kept->blocks = (int64_t)rows * (x->extent[1].max / node->attr.blocks.size);
    return status == ZEB_OK ? note_done(session, node, &kept->blocks_done, error) : status;
}

zeb_status zeb_session_kept(zeb_session *session, int32_t layer, zeb_kept *kept, zeb_error *error) {
    *kept = (zeb_kept){.tokens = -1, .heads = -1, .sequences = -1, .blocks = -1, .blocks_open = -1, .blocks_done = -1};
    zeb_status status = ZEB_OK;
    int64_t ignored;
    if (session->gates[layer] >= 0) status = read_gates(session, layer, kept, error);
    if (status == ZEB_OK && session->open[layer] >= 0) status = read_blocks(session, layer, kept, error);
    if (status == ZEB_OK && session->kept[layer] >= 0)
        status = read_offsets(session, session->kept[layer], kept, &ignored, error);
    if (status == ZEB_OK && session->exits[layer] >= 0)
        status = read_offsets(session, session->exits[layer], kept, &kept->sequences, error);
    return status;
}
