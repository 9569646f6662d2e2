#include "run/predict.h"

#include <stdlib.h>
#include <string.h>

/* ---- variants --------------------------------------------------------------------------------------------------- */

void zeb_variant_close(zeb_variant *v) {
    zeb_cost_destroy(v->cost);
    zeb_builder_destroy(v->builder);
    *v = (zeb_variant){0};
}

zeb_status zeb_variant_open(const zeb_session *session, const zeb_graph *plain, const zeb_policy *policy,
                            zeb_variant *v, zeb_error *error) {
    *v = (zeb_variant){.policy = policy};
    zeb_status status = zeb_builder_create(&v->builder, error);
    if (status == ZEB_OK)
        status = zeb_policy_apply(policy, plain, zeb_session_weight, session->model, v->builder, error);
    if (status == ZEB_OK) status = zeb_builder_finish(v->builder, &v->graph, error);
    if (status == ZEB_OK) status = zeb_cost_create(v->graph, &v->cost, error);
    if (status != ZEB_OK) zeb_variant_close(v);
    return status;
}

/* ---- what the policy keeps -------------------------------------------------------------------------------------- */

/* Of the batch in hand. */
static zeb_status take_sample(zeb_session *session, zeb_kept_sample *s, zeb_error *error) {
    const zeb_batch *batch = &session->batch;
    size_t count = (size_t)batch->sequences, layers = (size_t)session->layers;
    void *memory;
    zeb_status status = zeb_arena_alloc(session->arena, count * (layers + 1), sizeof(int32_t), &memory, error);
    if (status != ZEB_OK) return status;
    *s = (zeb_kept_sample){.sequences = count, .length = memory, .kept = (int32_t *)memory + count};
    for (size_t b = 0; b < count; b++)
        s->length[b] = batch->offsets[b + 1] - batch->offsets[b];
    for (size_t l = 0; l < layers && status == ZEB_OK; l++) {
        const int32_t *offsets = session->scratch;
        bool selects = session->kept[l] >= 0;
        if (selects)
            status = session->device.backend->read(session->plan, session->kept[l], session->scratch,
                                                   (count + 1) * sizeof(int32_t), error);
        for (size_t b = 0; b < count; b++)
            s->kept[l * count + b] = selects && status == ZEB_OK ? offsets[b + 1] - offsets[b] : -1;
    }
    return status;
}

zeb_status zeb_predictor_open(zeb_session *session, const zeb_costs *costs, zeb_predictor *p, zeb_error *error) {
    size_t count = session->data.count, each = (size_t)session->batch.sequence_max;
    size_t wanted = each >= ZEB_KEPT_SAMPLES_MAX ? 1 : ZEB_KEPT_SAMPLES_MAX / each;
    zeb_status status = ZEB_OK;
    *p = (zeb_predictor){.session = session, .costs = costs};
    if (wanted * each > count) wanted = (count + each - 1) / each;
    while (p->samples < wanted && status == ZEB_OK) {
        size_t at = p->samples * count / wanted;
        zeb_batch_clear(&session->batch);
        while (at < count && zeb_batch_add(&session->batch, &session->sequence[at]))
            at++;
        status = zeb_session_pass(session, error);
        if (status == ZEB_OK) status = take_sample(session, &p->sample[p->samples++], error);
    }
    return status;
}

/* Rows of sequence b that survive a layer which so many enter. */
static int32_t survivors(const zeb_kept_sample *s, int32_t layer, const zeb_select *select, size_t b, int32_t rows) {
    int32_t quota = zeb_select_quota(select, rows);
    if (select->mode != ZEB_SELECT_THRESHOLD && select->mode != ZEB_SELECT_RELATIVE) return quota;
    int32_t seen = s->kept[(size_t)layer * s->sequences + b];
    if (seen < quota) seen = quota;
    return seen < rows ? seen : rows;
}

/* The tensor of which layer the cost model wants to read: "layer.<l>.<part>"; -1 for another. */
static int32_t layer_of(const char *name, const char *part) {
    char *end;
    if (strncmp(name, "layer.", 6) != 0) return -1;
    long layer = strtol(name + 6, &end, 10);
    return *end == '.' && strcmp(end + 1, part) == 0 && layer >= 0 && layer < ZEB_SESSION_LAYERS_MAX ? (int32_t)layer
                                                                                                     : -1;
}

/* Offsets as a layer's selection (NULL: none) would leave them; rows[sequences] becomes what is left. */
static void imagine_offsets(const zeb_kept_sample *s, const zeb_select *select, int32_t layer, int32_t *rows,
                            int32_t *offsets, size_t places) {
    offsets[0] = 0;
    for (size_t b = 0; b + 1 < places; b++) {
        if (b < s->sequences && select != NULL) rows[b] = survivors(s, layer, select, b, rows[b]);
        offsets[b + 1] = offsets[b] + (b < s->sequences ? rows[b] : 0);
    }
}

/* Fills what the cost model would have read from a device. All heads and blocks are taken to be open, and no sequence
 * to leave early. */
static zeb_status imagine(const zeb_variant *v, const zeb_kept_sample *s, int32_t *rows, zeb_error *error) {
    const zeb_cost_read *read;
    size_t reads = zeb_cost_reads(v->cost, &read);
    memcpy(rows, s->length, s->sequences * sizeof *rows);
    for (size_t i = 0; i < reads; i++) {
        size_t places = read[i].bytes / sizeof(int32_t);
        int32_t layer = layer_of(read[i].name, "kept.offsets");
        if (layer >= 0) {
            const zeb_select select = zeb_policy_tokens(v->policy, layer);
            imagine_offsets(s, &select, layer, rows, read[i].value, places);
        } else if (layer_of(read[i].name, "exit.offsets") >= 0) {
            imagine_offsets(s, NULL, 0, rows, read[i].value, places);
        } else if (layer_of(read[i].name, "gates") >= 0) {
            for (size_t k = 0; k < places; k++)
                ((float *)read[i].value)[k] = 1.0f;
        } else if (layer_of(read[i].name, "ffn.blocks.open") < 0) {
            return zeb_fail(error, ZEB_ERR_UNSUPPORTED, "what '%s' will be of this policy cannot be foreseen",
                            read[i].name);
        }
    }
    return ZEB_OK;
}

/* Sets the rows of every tensor of the variant for one sample. */
static zeb_status set_rows(const zeb_variant *v, const zeb_kept_sample *s, zeb_error *error) {
    zeb_work work;
    int32_t *rows = calloc(s->sequences + 1, sizeof *rows);
    if (rows == NULL) return zeb_fail(error, ZEB_ERR_MEMORY, "no memory to predict");
    zeb_status status = imagine(v, s, rows, error);
    if (status == ZEB_OK) status = zeb_cost_executed(v->cost, s->length, s->sequences, NULL, &work, error);
    free(rows);
    return status;
}

/* ---- time ------------------------------------------------------------------------------------------------------- */

zeb_status zeb_predict_unknown(const zeb_graph *graph, const zeb_node *node, zeb_error *error) {
    char signature[ZEB_SIGNATURE_MAX];
    zeb_costs_signature(graph, node, false, signature);
    return zeb_fail(error, ZEB_ERR_NOT_FOUND,
                    "the cost table of this device lacks %s ('%.150s'): 'zeb explain' with the same options, threads "
                    "and database measures it",
                    node->name, signature);
}

zeb_status zeb_predict(const zeb_predictor *p, const zeb_variant *v, double *ns, zeb_error *error) {
    zeb_status status = ZEB_OK;
    *ns = 0;
    for (size_t i = 0; i < p->samples && status == ZEB_OK; i++) {
        status = set_rows(v, &p->sample[i], error);
        for (uint32_t n = 0; n < v->graph->node_count && status == ZEB_OK; n++) {
            const zeb_node *node = &v->graph->node[n];
            double one = zeb_costs_node(p->costs, v->graph, node, v->cost, p->sample[i].sequences);
            *ns += one;
            if (one < 0) status = zeb_predict_unknown(v->graph, node, error);
        }
    }
    return status;
}

zeb_status zeb_predict_node(const zeb_predictor *p, const zeb_variant *v, const zeb_node *node, double *ns,
                            zeb_error *error) {
    zeb_status status = ZEB_OK;
    *ns = 0;
    for (size_t i = 0; i < p->samples && status == ZEB_OK && *ns >= 0; i++) {
        status = set_rows(v, &p->sample[i], error);
        if (status != ZEB_OK) break;
        double one = zeb_costs_node(p->costs, v->graph, node, v->cost, p->sample[i].sequences);
        *ns = one < 0 ? -1 : *ns + one;
    }
    return status;
}
