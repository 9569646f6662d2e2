#include "run/stages.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "graph/part.h"

struct zeb_stages {
    zeb_session *session;
    zeb_arena *arena;
    uint32_t *first; /* [count + 1]: the first node of each stage, and the end */
    size_t count, next;
    int32_t *live; /* [tensor_count]: values of the live counts in the batch at hand, by their tensors */
    int file[2];   /* what the last stage handed on, and what this one does */
};

/* A tensor that a stage takes from the one before, or hands on. */
typedef struct held {
    int32_t tensor;
    void *value;
} held;

typedef struct held_list {
    held *item;
    size_t count;
    off_t at; /* in its file */
} held_list;

/* A stage under way. */
typedef struct stage {
    zeb_stages *all;
    const zeb_stages_watch *watch;
    zeb_arena *arena;
    zeb_graph_part part;
    int32_t *here; /* [tensor_count]: id in the part, or ZEB_NONE */
    zeb_plan *plan;
    held_list in, out;
    float *x; /* room for a watched tensor */
    zeb_error *error;
} stage;

/* ---- cutting ---------------------------------------------------------------------------------------------------- */

/* Where a node stands by its name ("layer.3.q": 8, "layer.3.ffn.in": 9), 0 for others. */
static size_t place_by_name(const char *name) {
    char *rest;
    if (strncmp(name, "layer.", 6) != 0) return 0;
    const size_t layer = (size_t)strtoul(name + 6, &rest, 10);
    return 2 * (layer + 1) + (strncmp(rest, ".ffn.", 5) == 0);
}

/* What stands behind half a layer's nodes belongs to it, whatever its name. */
static zeb_status cut(zeb_stages *stages, zeb_error *error) {
    const zeb_graph *graph = stages->session->graph;
    void *memory;
    zeb_status status = zeb_arena_alloc(stages->arena, graph->node_count + (size_t)1, sizeof(uint32_t), &memory, error);
    if (status != ZEB_OK) return status;
    stages->first = memory;
    size_t last = 0;
    for (uint32_t n = 0; n < graph->node_count; n++) {
        const size_t of = place_by_name(graph->node[n].name);
        if (n > 0 && of <= last) continue;
        stages->first[stages->count++] = n;
        last = of;
    }
    stages->first[stages->count] = graph->node_count;
    return ZEB_OK;
}

/* A file that is gone with the process. */
static zeb_status open_file(zeb_stages *stages, const char *beside, int which, zeb_error *error) {
    char *path;
    zeb_status status = zeb_arena_format(stages->arena, &path, error, "%s.%ld.states", beside, (long)getpid());
    if (status != ZEB_OK) return status;
    stages->file[which] = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (stages->file[which] < 0 || unlink(path) != 0)
        return zeb_fail(error, ZEB_ERR_IO, "%s: could not make it: %s", path, strerror(errno));
    return ZEB_OK;
}

zeb_status zeb_stages_open(zeb_session *session, const char *beside, zeb_stages **stages, zeb_error *error) {
    *stages = NULL;
    void *memory;
    zeb_stages *made = calloc(1, sizeof *made);
    if (made == NULL) return zeb_fail(error, ZEB_ERR_MEMORY, "out of memory");
    *made = (zeb_stages){.session = session, .file = {-1, -1}};
    zeb_status status = zeb_arena_create(&made->arena, error);
    if (status == ZEB_OK) status = cut(made, error);
    if (status == ZEB_OK)
        status = zeb_arena_alloc(made->arena, session->graph->tensor_count, sizeof(int32_t), &memory, error);
    if (status == ZEB_OK) made->live = memory;
    for (int i = 0; i < 2 && status == ZEB_OK; i++)
        status = open_file(made, beside, i, error);
    if (status == ZEB_OK)
        *stages = made;
    else
        zeb_stages_close(made);
    return status;
}

void zeb_stages_close(zeb_stages *stages) {
    if (stages == NULL) return;
    for (int i = 0; i < 2; i++)
        if (stages->file[i] >= 0) (void)close(stages->file[i]);
    zeb_arena_destroy(stages->arena);
    free(stages);
}

size_t zeb_stages_count(const zeb_stages *stages) {
    return stages->count;
}

size_t zeb_stages_of(const zeb_stages *stages, uint32_t node) {
    size_t of = 0;
    while (of + 1 < stages->count && stages->first[of + 1] <= node)
        of++;
    return of;
}

/* ---- what is handed on ------------------------------------------------------------------------------------------ */

static zeb_status file_failed(const stage *s) {
    return zeb_fail(s->error, ZEB_ERR_IO, "could not keep what layers hand on: %s",
                    errno != 0 ? strerror(errno) : "the file is short");
}

static zeb_status get(const stage *s, void *to, size_t size, off_t at) {
    for (char *place = to; size > 0;) {
        errno = 0;
        ssize_t got = pread(s->all->file[0], place, size, at);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return file_failed(s);
        place += got;
        at += got;
        size -= (size_t)got;
    }
    return ZEB_OK;
}

static zeb_status put(const stage *s, const void *from, size_t size, off_t at) {
    for (const char *place = from; size > 0;) {
        ssize_t written = pwrite(s->all->file[1], place, size, at);
        if (written < 0 && errno == EINTR) continue;
        if (written < 0) return file_failed(s);
        place += written;
        at += written;
        size -= (size_t)written;
    }
    return ZEB_OK;
}

/* What lives of a tensor in the batch at hand. Counts are known before what they count. */
static size_t live_bytes(const zeb_stages *stages, int32_t tensor) {
    const zeb_tensor *t = &stages->session->graph->tensor[tensor];
    const int32_t count = t->extent[0].live;
    return count == ZEB_NONE ? t->bytes : t->bytes / (size_t)t->extent[0].max * (size_t)stages->live[count];
}

static void note_count(zeb_stages *stages, int32_t tensor, const void *value) {
    const zeb_tensor *t = &stages->session->graph->tensor[tensor];
    if (t->dtype == ZEB_I32 && t->bytes == sizeof(int32_t)) memcpy(&stages->live[tensor], value, sizeof(int32_t));
}

/* Memory that takes no pages until it is written: a batch is seldom full. */
static zeb_status room(size_t bytes, void **memory, zeb_error *error) {
    *memory = malloc(bytes > 0 ? bytes : 1);
    return *memory != NULL ? ZEB_OK : zeb_fail(error, ZEB_ERR_MEMORY, "no memory for a batch of %zu bytes", bytes);
}

/* What is carried past node `at`: first what has no live count, then the rest. */
static zeb_status list(const stage *s, uint32_t at, held_list *to) {
    const zeb_graph *graph = s->all->session->graph;
    void *flags, *items;
    zeb_status status = zeb_arena_alloc(s->arena, graph->tensor_count, sizeof(bool), &flags, s->error);
    if (status == ZEB_OK) status = zeb_arena_alloc(s->arena, graph->tensor_count, sizeof(held), &items, s->error);
    if (status != ZEB_OK) return status;
    bool *carried = flags;
    to->item = items;
    zeb_graph_carried(graph, at, carried);
    for (int counted = 0; counted < 2; counted++) {
        for (uint32_t t = 0; t < graph->tensor_count && status == ZEB_OK; t++) {
            if (!carried[t] || (graph->tensor[t].extent[0].live != ZEB_NONE) != (counted == 1)) continue;
            held *item = &to->item[to->count++];
            item->tensor = (int32_t)t;
            status = room(graph->tensor[t].bytes, &item->value, s->error);
        }
    }
    return status;
}

static void drop(held_list *list) {
    for (size_t i = 0; i < list->count; i++)
        free(list->item[i].value);
}

static held *find(const held_list *in, int32_t tensor) {
    for (size_t i = 0; i < in->count; i++)
        if (in->item[i].tensor == tensor) return &in->item[i];
    return NULL;
}

static zeb_status take(stage *s) {
    zeb_status status = ZEB_OK;
    for (size_t i = 0; i < s->in.count && status == ZEB_OK; i++) {
        const held *h = &s->in.item[i];
        const size_t bytes = live_bytes(s->all, h->tensor);
        status = get(s, h->value, bytes, s->in.at);
        if (status == ZEB_OK) note_count(s->all, h->tensor, h->value);
        s->in.at += (off_t)bytes;
    }
    return status;
}

/* Is the tensor made by this stage, and can be read? */
static bool is_made(const stage *s, int32_t tensor) {
    const int32_t here = s->here[tensor];
    return here != ZEB_NONE && s->part.graph.tensor[here].role == ZEB_ROLE_OUTPUT;
}

static zeb_status read_made(stage *s, int32_t tensor, void *to) {
    zeb_session *session = s->all->session;
    zeb_status status =
        session->device.backend->read(s->plan, s->here[tensor], to, live_bytes(s->all, tensor), s->error);
    if (status == ZEB_OK) note_count(s->all, tensor, to);
    return status;
}

static zeb_status hand_on(stage *s) {
    zeb_status status = ZEB_OK;
    for (size_t i = 0; i < s->out.count && status == ZEB_OK; i++) {
        const held *h = &s->out.item[i], *passed = find(&s->in, h->tensor);
        if (passed == NULL) status = read_made(s, h->tensor, h->value);
        const size_t bytes = live_bytes(s->all, h->tensor);
        if (status == ZEB_OK) status = put(s, passed != NULL ? passed->value : h->value, bytes, s->out.at);
        s->out.at += (off_t)bytes;
    }
    return status;
}

/* ---- a batch ---------------------------------------------------------------------------------------------------- */

/* An input of the part: one of the batch, or taken from the stage before. */
static const void *source(const stage *s, int32_t tensor, size_t *bytes) {
    const zeb_session *session = s->all->session;
    const zeb_batch *batch = &session->batch;
    *bytes = (size_t)batch->tokens * sizeof(int32_t);
    if (tensor == session->at.id) return batch->id;
    if (tensor == session->at.type) return batch->type;
    *bytes = live_bytes(s->all, tensor);
    if (tensor == session->at.offsets) return batch->offsets;
    if (tensor == session->at.count) return &batch->tokens;
    const held *h = find(&s->in, tensor);
    return h != NULL ? h->value : NULL;
}

static zeb_status pass(stage *s) {
    const zeb_session *session = s->all->session;
    const zeb_backend *backend = session->device.backend;
    const zeb_graph *graph = &s->part.graph;
    zeb_status status = ZEB_OK;
    for (uint32_t t = 0; t < graph->tensor_count && status == ZEB_OK; t++) {
        if (graph->tensor[t].role != ZEB_ROLE_INPUT) continue;
        size_t bytes;
        const void *data = source(s, s->part.whole[t], &bytes);
        if (data == NULL) return zeb_fail(s->error, ZEB_ERR_INTERNAL, "nothing hands on '%s'", graph->tensor[t].name);
        status = backend->write(s->plan, (int32_t)t, data, bytes, s->error);
    }
    if (status == ZEB_OK) status = backend->submit(s->plan, s->error);
    if (status == ZEB_OK) status = backend->wait(s->plan, s->error);
    return status;
}

/* Shows what is watched. Rows of a tensor without a live count are one a sequence. */
static zeb_status show(stage *s) {
    const zeb_session *session = s->all->session;
    zeb_status status = ZEB_OK;
    for (size_t i = 0; i < s->watch->count && status == ZEB_OK; i++) {
        const int32_t tensor = s->watch->tensor[i], count = session->graph->tensor[tensor].extent[0].live;
        const held *taken = find(&s->in, tensor);
        const float *x = taken != NULL ? taken->value : s->x;
        if (count != ZEB_NONE && is_made(s, count)) status = read_made(s, count, &s->all->live[count]);
        if (status == ZEB_OK && taken == NULL) status = read_made(s, tensor, s->x);
        const int32_t rows = count == ZEB_NONE ? session->batch.sequences : s->all->live[count];
        if (status == ZEB_OK) s->watch->seen(s->watch->user, tensor, x, (size_t)rows);
    }
    return status;
}

static zeb_status run_batches(stage *s) {
    zeb_session *session = s->all->session;
    zeb_status status = ZEB_OK;
    for (size_t at = 0; at < session->data.count && status == ZEB_OK;) {
        const size_t before = at;
        zeb_batch_clear(&session->batch);
        while (at < session->data.count && zeb_batch_add(&session->batch, &session->sequence[at]))
            at++;
        s->all->live[session->at.count] = session->batch.tokens;
        status = take(s);
        if (status == ZEB_OK) status = pass(s);
        if (status == ZEB_OK) status = hand_on(s);
        if (status == ZEB_OK) status = show(s);
        zeb_model_forget(session->model);
        if (s->watch->done != NULL) atomic_fetch_add(s->watch->done, at - before);
        if (status == ZEB_OK && s->watch->stop != NULL && atomic_load(s->watch->stop) != 0)
            status = zeb_fail(s->error, ZEB_ERR_INTERRUPTED, "stopped by the user");
    }
    return status;
}

/* ---- a stage ---------------------------------------------------------------------------------------------------- */

static zeb_status prepare(stage *s, uint32_t first, uint32_t last) {
    const zeb_session *session = s->all->session;
    const zeb_graph *graph = session->graph;
    size_t most = 0;
    void *memory;
    zeb_status status =
        zeb_graph_part_make(graph, first, last, s->watch->tensor, s->watch->count, s->arena, &s->part, s->error);
    if (status == ZEB_OK) status = zeb_arena_alloc(s->arena, graph->tensor_count, sizeof(int32_t), &memory, s->error);
    if (status != ZEB_OK) return status;
    s->here = memory;
    for (uint32_t t = 0; t < graph->tensor_count; t++)
        s->here[t] = ZEB_NONE;
    for (uint32_t t = 0; t < s->part.graph.tensor_count; t++)
        s->here[s->part.whole[t]] = (int32_t)t;
    for (size_t i = 0; i < s->watch->count; i++) {
        const size_t bytes = graph->tensor[s->watch->tensor[i]].bytes;
        most = bytes > most ? bytes : most;
    }
    status = room(most, &memory, s->error);
    s->x = memory;
    if (status == ZEB_OK) status = list(s, first, &s->in);
    if (status == ZEB_OK) status = list(s, last, &s->out);
    if (status == ZEB_OK)
        status = session->device.backend->compile(session->device.device, &s->part.graph, &s->plan, s->error);
    zeb_model_forget(session->model);
    return status;
}

zeb_status zeb_stages_run(zeb_stages *stages, size_t stage_index, const zeb_stages_watch *watch, zeb_error *error) {
    stage s = {.all = stages, .watch = watch, .error = error};
    if (stage_index != 0 && stage_index != stages->next)
        return zeb_fail(error, ZEB_ERR_INTERNAL, "stage %zu is out of turn", stage_index);
    zeb_status status = zeb_arena_create(&s.arena, error);
    if (status == ZEB_OK) status = prepare(&s, stages->first[stage_index], stages->first[stage_index + 1]);
    if (status == ZEB_OK) status = run_batches(&s);
    if (s.plan != NULL) stages->session->device.backend->release(s.plan);
    drop(&s.in);
    drop(&s.out);
    free(s.x);
    zeb_arena_destroy(s.arena);
    const int done = stages->file[1];
    stages->file[1] = stages->file[0];
    stages->file[0] = done;
    stages->next = status == ZEB_OK ? stage_index + 1 : 0;
    return status;
}
