#include "run/finite.h"

#include <math.h>
#include <string.h>

/* The session's graph with every value of a stage readable, in the arena. */
static zeb_status open_up(const zeb_session *session, zeb_graph *open, size_t *most, zeb_error *error) {
    void *memory;
    *open = *session->graph;
    zeb_status status = zeb_arena_alloc(session->arena, open->tensor_count, sizeof(zeb_tensor), &memory, error);
    if (status != ZEB_OK) return status;
    zeb_tensor *tensor = memcpy(memory, open->tensor, open->tensor_count * sizeof *tensor);
    *most = sizeof(int32_t);
    for (uint32_t i = 0; i < open->tensor_count; i++) {
        if (tensor[i].role == ZEB_ROLE_VALUE) tensor[i].role = ZEB_ROLE_OUTPUT;
        if (tensor[i].role == ZEB_ROLE_OUTPUT && tensor[i].bytes > *most) *most = tensor[i].bytes;
    }
    open->tensor = tensor;
    return ZEB_OK;
}

/* Whether the live part of a tensor is finite; what is not made of floats is. */
static zeb_status look(const zeb_session *session, const zeb_tensor *tensor, int32_t id, void *room, bool *finite,
                       zeb_error *error) {
    const zeb_backend *backend = session->device.backend;
    int32_t rows = (int32_t)tensor->extent[0].max, live = rows;
    *finite = true;
    if (tensor->dtype != ZEB_F32) return ZEB_OK;
    zeb_status status = ZEB_OK;
    if (tensor->extent[0].live != ZEB_NONE)
        status = backend->read(session->plan, tensor->extent[0].live, &live, sizeof live, error);
    if (status == ZEB_OK) status = backend->read(session->plan, id, room, tensor->bytes, error);
    if (status != ZEB_OK) return status;
    if (live >= 0 && live < rows) rows = live;
    size_t count = tensor->bytes / sizeof(float) / (size_t)tensor->extent[0].max * (size_t)rows;
    for (size_t i = 0; i < count; i++)
        *finite = *finite && isfinite(((const float *)room)[i]);
    return ZEB_OK;
}

/* The first node one of whose results is not finite; NULL if all are. */
static zeb_status find(zeb_session *session, const zeb_graph *open, void *room, const zeb_node **node,
                       zeb_error *error) {
    zeb_status status = zeb_session_pass(session, error);
    *node = NULL;
    for (uint32_t i = 0; i < open->node_count && *node == NULL; i++)
        for (uint32_t j = 0; j < ZEB_NODE_OUTPUTS_MAX && status == ZEB_OK; j++) {
            int32_t id = open->node[i].output[j];
            bool finite = true;
            if (id != ZEB_NONE) status = look(session, &open->tensor[id], id, room, &finite, error);
            if (!finite) *node = &open->node[i];
        }
    return status;
}

zeb_status zeb_finite_blame(zeb_session *session, size_t example, zeb_error *error) {
    const zeb_backend *backend = session->device.backend;
    const zeb_node *node = NULL;
    zeb_graph open;
    zeb_plan *plan = session->plan;
    zeb_error why = {""};
    void *room = NULL;
    size_t most;
    session->plan = NULL;
    zeb_status status = open_up(session, &open, &most, &why);
    if (status == ZEB_OK) status = zeb_arena_alloc(session->arena, most, 1, &room, &why);
    if (status == ZEB_OK) status = backend->compile(session->device.device, &open, &session->plan, &why);
    if (status == ZEB_OK) status = find(session, &open, room, &node, &why);
    if (session->plan != NULL) backend->release(session->plan);
    session->plan = plan;
    long long row = (long long)session->data.example[example].index;
    const char *path = session->data.path;
    if (status != ZEB_OK)
        return zeb_fail(error, ZEB_ERR_RANGE, "the logits of row %lld of %s are not finite; why can't be said: %.200s",
                        row, path, why.text);
    if (node == NULL)
        return zeb_fail(error, ZEB_ERR_RANGE,
                        "the logits of row %lld of %s are not finite, but are in a plan whose every "
                        "stage can be read",
                        row, path);
    return zeb_fail(error, ZEB_ERR_RANGE,
                    "%s (%s) is the first stage with a number that is not finite, in row %lld of %s", node->name,
                    zeb_op_name(node->op), row, path);
}
