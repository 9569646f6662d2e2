#include "run/session.h"

#include <string.h>

#include "base/clock.h"
#include "base/text.h"

enum { WORDS_PADDED = 128 }; /* word tables are padded to multiples of up to this */

#define KEEP(field, text) zeb_text_copy((field), sizeof(field), (text))

static zeb_status open_model(zeb_session *session, zeb_row *row, zeb_error *error) {
    const zeb_case *what = session->what;
    zeb_status status = zeb_model_open(what->model, &session->model, error);
    if (status != ZEB_OK) return status;
    const zeb_model_info *about = zeb_model_about(session->model);
    KEEP(row->model, about->name);
    KEEP(row->model_dtype, about->dtype);
    KEEP(row->family, about->family);
    row->parameters = zeb_u64(about->parameters);
    session->labels = about->labels;
    session->layers = about->layers;
    if (about->layers > ZEB_SESSION_LAYERS_MAX)
        return zeb_fail(error, ZEB_ERR_UNSUPPORTED, "%s has %d layers; zeb counts up to %d", what->model, about->layers,
                        ZEB_SESSION_LAYERS_MAX);
    status = zeb_tokenizer_open(zeb_model_folder(session->model), &session->tokenizer, error);
    int32_t words = status == ZEB_OK ? zeb_tokenizer_vocab_size(session->tokenizer) : about->vocab;
    session->words_cut = about->vocab - words >= WORDS_PADDED;
    if (session->words_cut) /* kept with the row as its worker's words */
        (void)fprintf(stderr,
                      "%s/vocab.txt has %d lines for a word table of %d rows: cut off? Words beyond are [UNK]\n",
                      zeb_model_folder(session->model), words, about->vocab);
    session->other_task = about->task[0] != '\0' && strcmp(about->task, session->what->task) != 0;
    if (session->other_task)
        (void)fprintf(stderr, "%s was trained for %s, not for %s\n", about->name, about->task, session->what->task);
    return status;
}

/* Labels of model and task must mean the same thing, or the score would be of nothing. */
static zeb_status match_labels(zeb_session *session, const zeb_task *task, zeb_error *error) {
    const zeb_model_info *about = zeb_model_about(session->model);
    if (task->kind == ZEB_TASK_REGRESSION) {
        if (about->labels == 1) return ZEB_OK;
        return zeb_fail(error, ZEB_ERR_ARGUMENT,
                        "%s gives %d outputs, but %s asks for one value: choose a checkpoint for it",
                        session->what->model, about->labels, task->name);
    }
    void *memory;
    zeb_status status = zeb_arena_alloc(session->arena, (size_t)about->labels, sizeof(int32_t), &memory, error);
    session->class_of = memory;
    if (status != ZEB_OK) return status;
    return zeb_task_map_labels(task, about->label_name, about->labels, session->class_of, error);
}

typedef struct example_filter {
    bool (*keep)(const zeb_example *example, void *user); /* NULL: all */
    void *user;
} example_filter;

static void thin(zeb_dataset *data, const example_filter *filter) {
    size_t kept = 0;
    for (size_t i = 0; i < data->count; i++)
        if (filter->keep(&data->example[i], filter->user)) data->example[kept++] = data->example[i];
    data->count = kept;
}

static zeb_status open_data(zeb_session *session, const example_filter *filter, zeb_row *row, zeb_error *error) {
    const zeb_case *what = session->what;
    const zeb_task *task = zeb_task_find(what->task);
    if (task == NULL)
        return zeb_fail(error, ZEB_ERR_NOT_FOUND, "unknown task %s; 'zeb list tasks' lists them", what->task);
    row->task_version = zeb_i64(task->version);
    zeb_status status = match_labels(session, task, error);
    if (status == ZEB_OK) status = zeb_arena_create(&session->texts, error);
    if (status == ZEB_OK)
        status = zeb_dataset_open(task, what->data, what->split, what->limit, session->texts, &session->data, error);
    if (status != ZEB_OK) return status;
    if (filter->keep != NULL) thin(&session->data, filter);
    KEEP(row->data_hash, session->data.hash);
    row->rows_read = zeb_u64(session->data.rows_read);
    row->rows_skipped = zeb_u64(session->data.rows_skipped);
    /* Kept with the row as its worker's words: the first ones, and of all the count. */
    for (size_t i = 0; i < session->data.skips; i++)
        (void)fprintf(stderr, "skipped %s\n", session->data.skip[i]);
    if (session->data.rows_skipped > 0)
        (void)fprintf(stderr, "skipped %llu of %llu rows of %s\n", (unsigned long long)session->data.rows_skipped,
                      (unsigned long long)session->data.rows_read, session->data.path);
    if (session->data.count == 0)
        return zeb_fail(error, ZEB_ERR_FORMAT, "%s holds no usable example%s", session->data.path,
                        filter->keep != NULL ? " in the part of it that was asked for (--share)" : "");
    return ZEB_OK;
}

static zeb_status tokenize(zeb_session *session, zeb_row *row, zeb_error *error) {
    const zeb_dataset *data = &session->data;
    int32_t length_max = (int32_t)session->what->seq_max;
    void *memory;
    zeb_status status = zeb_arena_alloc(session->arena, data->count, sizeof *session->sequence, &memory, error);
    if (status != ZEB_OK) return status;
    session->sequence = memory;
    uint64_t truncated = 0;
    for (size_t i = 0; i < data->count; i++) {
        const zeb_example *example = &data->example[i];
        zeb_encoding encoding;
        status = zeb_tokenizer_encode(session->tokenizer, example->a, example->a_len, example->b, example->b_len,
                                      length_max, session->arena, &encoding, error);
        if (status != ZEB_OK) return status;
        session->sequence[i] = (zeb_sequence){.id = encoding.id, .type = encoding.type, .length = encoding.length};
        truncated += encoding.truncated;
    }
    row->rows_truncated = zeb_u64(truncated);
    return ZEB_OK;
}

zeb_status zeb_session_weight(void *model, const char *name, zeb_policy_weight *weight, zeb_error *error) {
    zeb_weight found;
    zeb_status status = zeb_model_tensor(model, name, &found, error);
    if (status != ZEB_OK) return status;
    *weight = (zeb_policy_weight){
        .dtype = found.dtype, .rank = found.rank, .extent = {found.extent[0], found.extent[1]}, .data = found.data};
    return ZEB_OK;
}

/* The policy's own weights, which must be those that it was written with. */
static zeb_status open_weights(zeb_session *session, zeb_error *error) {
    const char *wanted, *path = zeb_policy_weights(session->policy, &wanted);
    char hash[ZEB_SHA256_HEX];
    if (path == NULL) return ZEB_OK;
    zeb_status status = zeb_sha256_file(path, hash, error);
    if (status == ZEB_OK && strcmp(hash, wanted) != 0)
        status = zeb_fail(error, ZEB_ERR_ARGUMENT,
                          "%s has the SHA-256 %.12s..., but %s was written for %.12s...: they do not belong together",
                          path, hash, session->what->policy, wanted);
    return status == ZEB_OK ? zeb_model_add_weights(session->model, path, error) : status;
}

static zeb_status open_policy(zeb_session *session, zeb_row *row, zeb_error *error) {
    const zeb_case *what = session->what;
    if (what->policy == NULL) {
        KEEP(row->policy, "dense");
        return ZEB_OK;
    }
    char hash[ZEB_SHA256_HEX];
    zeb_status status = zeb_model_hash(session->model, hash, error);
    if (status == ZEB_OK) KEEP(row->model_hash, hash);
    if (status == ZEB_OK) status = zeb_policy_open(what->policy, hash, session->layers, &session->policy, error);
    if (status != ZEB_OK) return status;
    KEEP(row->policy, zeb_policy_name(session->policy));
    status = open_weights(session, error);
    if (status == ZEB_OK) status = zeb_sha256_file(what->policy, hash, error);
    if (status == ZEB_OK) KEEP(row->policy_hash, hash);
    return status;
}

static zeb_status find_tensors(zeb_session *session, zeb_error *error) {
    const zeb_graph *graph = session->graph;
    session->at.offsets = zeb_graph_find(graph, "tokens.offsets");
    session->at.count = zeb_graph_find(graph, "tokens.count");
    session->at.id = zeb_graph_find(graph, "ids");
    session->at.type = zeb_graph_find(graph, "types");
    session->at.logits = zeb_graph_find(graph, "logits");
    if (session->at.offsets < 0 || session->at.count < 0 || session->at.id < 0 || session->at.logits < 0)
        return zeb_fail(error, ZEB_ERR_INTERNAL, "the graph of %s lacks an input or its logits", session->what->model);
    for (int32_t layer = 0; layer < session->layers; layer++) {
        char name[ZEB_NAME_MAX];
        (void)snprintf(name, sizeof name, "layer.%d.kept.offsets", layer);
        session->kept[layer] = zeb_graph_find(graph, name);
        (void)snprintf(name, sizeof name, "layer.%d.gates", layer);
        session->gates[layer] = zeb_graph_find(graph, name);
        (void)snprintf(name, sizeof name, "layer.%d.exit.offsets", layer);
        session->exits[layer] = zeb_graph_find(graph, name);
        (void)snprintf(name, sizeof name, "layer.%d.ffn.blocks.open", layer);
        session->open[layer] = zeb_graph_find(graph, name);
    }
    return ZEB_OK;
}

/* The policy's graph and what is looked up in it. */
static zeb_status rewrite(zeb_session *session, zeb_error *error) {
    zeb_status status = zeb_builder_create(&session->rewritten, error);
    if (status == ZEB_OK)
        status = zeb_policy_apply(session->policy, session->plain_graph, zeb_session_weight, session->model,
                                  session->rewritten, error);
    if (status == ZEB_OK) status = zeb_builder_finish(session->rewritten, &session->graph, error);
    if (status == ZEB_OK) status = find_tensors(session, error);
    if (status == ZEB_OK) status = zeb_cost_create(session->graph, &session->cost, error);
    return status;
}

/* What work is told against: the model's own graph, or that before heads and neurons were removed. */
static zeb_status cost_plain(zeb_session *session, const zeb_graph_options *options, zeb_error *error) {
    if (!zeb_model_about(session->model)->removed)
        return zeb_cost_create(session->plain_graph, &session->plain_cost, error);
    zeb_graph_options whole = *options;
    zeb_builder *builder = NULL;
    const zeb_graph *graph;
    whole.whole = true;
    zeb_status status = zeb_builder_create(&builder, error);
    if (status == ZEB_OK) status = zeb_model_graph(session->model, &whole, builder, error);
    if (status == ZEB_OK) status = zeb_builder_finish(builder, &graph, error);
    if (status == ZEB_OK) status = zeb_cost_create(graph, &session->plain_cost, error);
    zeb_builder_destroy(builder);
    return status;
}

static zeb_status build_graph(zeb_session *session, zeb_error *error) {
    const zeb_case *what = session->what;
    int64_t batch = what->scenario == ZEB_SCENARIO_OFFLINE ? what->batch : 1;
    zeb_graph_options options = {
        .token_max = batch * what->seq_max, .batch_max = batch, .precision = (uint32_t)what->precision};
    zeb_status status = zeb_builder_create(&session->plain, error);
    if (status == ZEB_OK) status = zeb_model_graph(session->model, &options, session->plain, error);
    if (status == ZEB_OK) status = zeb_builder_finish(session->plain, &session->plain_graph, error);
    if (status == ZEB_OK) status = rewrite(session, error);
    if (status == ZEB_OK)
        status = zeb_batch_create(session->arena, (int32_t)batch, (int32_t)options.token_max, &session->batch, error);
    void *memory = NULL;
    if (status == ZEB_OK)
        status = zeb_arena_alloc(session->arena, (size_t)(batch * session->labels), sizeof(float), &memory, error);
    session->logits = memory;
    if (status == ZEB_OK) status = zeb_arena_alloc(session->arena, (size_t)batch, sizeof(int32_t), &memory, error);
    session->length = memory;
    size_t heads = (size_t)zeb_model_about(session->model)->heads;
    size_t scratch = ((size_t)batch + 1) * (heads + 1) + (size_t)options.token_max;
    if (status == ZEB_OK) status = zeb_arena_alloc(session->arena, scratch, sizeof(float), &session->scratch, error);
    if (status == ZEB_OK) status = cost_plain(session, &options, error);
    return status;
}

static zeb_status open_device(zeb_session *session, const zeb_registry *registry, zeb_row *row, zeb_error *error) {
    const zeb_case *what = session->what;
    zeb_device_options options = {.threads = what->threads, .pin = what->pin};
    if (what->isa != NULL) KEEP(options.isa, what->isa);
    zeb_status status = zeb_device_open(registry, what->device, &options, &session->device, error);
    if (status != ZEB_OK) return status;
    const zeb_device_handle *device = &session->device;
    KEEP(row->backend, device->plugin->name);
    KEEP(row->backend_version, device->plugin->version);
    KEEP(row->device, device->info.id);
    KEEP(row->device_name, device->info.name);
    KEEP(row->driver, device->info.driver);
    if (device->settings.threads > 0) row->effective.threads = zeb_i64(device->settings.threads);
    row->effective.pinned = zeb_i64(device->settings.pinned);
    KEEP(row->effective.isa, device->settings.isa);
    KEEP(row->effective.note, device->settings.note);
    static const char *const skip[] = {"", "exact", "indirect", "bounded"};
    if ((unsigned)device->backend->skip < 4) KEEP(row->skip_mode, skip[device->backend->skip]);
    return ZEB_OK;
}

/* Names the first few nodes that the device refuses; ZEB_ERR_UNSUPPORTED if there is one. */
static zeb_status judge(const zeb_session *session, const zeb_verdict *verdict, zeb_error *error) {
    const zeb_graph *graph = session->graph;
    uint32_t refused = 0;
    size_t used = 0;
    char text[ZEB_ERROR_TEXT_MAX - 64] = "";
    for (uint32_t i = 0; i < graph->node_count; i++) {
        if (verdict[i].supported) continue;
        if (refused++ < 3 && used < sizeof text)
            used += (size_t)snprintf(text + used, sizeof text - used, "%s%s (%s): %.80s", refused > 1 ? "; " : "",
                                     graph->node[i].name, zeb_op_name(graph->node[i].op), verdict[i].reason);
    }
    if (refused == 0) return ZEB_OK;
    return zeb_fail(error, ZEB_ERR_UNSUPPORTED, "%u of %u nodes: %.400s%s", refused, graph->node_count, text,
                    refused > 3 ? "; ..." : "");
}

static zeb_status compile(zeb_session *session, zeb_row *row, zeb_error *error) {
    const zeb_backend *backend = session->device.backend;
    void *verdict;
    zeb_status status =
        zeb_arena_alloc(session->arena, session->graph->node_count, sizeof(zeb_verdict), &verdict, error);
    if (status == ZEB_OK) status = backend->check(session->device.device, session->graph, verdict, error);
    if (status == ZEB_OK) status = judge(session, verdict, error);
    uint64_t begin = zeb_clock_now_ns();
    if (status == ZEB_OK) status = backend->compile(session->device.device, session->graph, &session->plan, error);
    session->refused = status == ZEB_ERR_UNSUPPORTED;
    if (status != ZEB_OK) return status;
    row->compile_ns = zeb_u64(zeb_clock_now_ns() - begin);
    zeb_memory_fn memory = zeb_backend_memory(backend);
    uint64_t bytes;
    if (memory != NULL && memory(session->plan, &bytes, error) == ZEB_OK) row->device_memory_bytes = zeb_u64(bytes);
    return ZEB_OK;
}

zeb_status zeb_session_open(const zeb_case *what, const zeb_registry *registry, zeb_arena *arena, zeb_session *session,
                            zeb_row *row, zeb_error *error) {
    return zeb_session_open_kept(what, registry, NULL, NULL, arena, session, row, error);
}

zeb_status zeb_session_open_kept(const zeb_case *what, const zeb_registry *registry,
                                 bool (*keep)(const zeb_example *example, void *user), void *user, zeb_arena *arena,
                                 zeb_session *session, zeb_row *row, zeb_error *error) {
    zeb_status status = zeb_session_prepare(what, registry, keep, user, arena, session, row, error);
    return status == ZEB_OK ? compile(session, row, error) : status;
}

zeb_status zeb_session_prepare(const zeb_case *what, const zeb_registry *registry,
                               bool (*keep)(const zeb_example *example, void *user), void *user, zeb_arena *arena,
                               zeb_session *session, zeb_row *row, zeb_error *error) {
    const example_filter filter = {.keep = keep, .user = user};
    *session = (zeb_session){.what = what, .arena = arena};
    zeb_status status = open_model(session, row, error);
    if (status == ZEB_OK && (int64_t)what->seq_max > zeb_model_about(session->model)->position_max)
        status = zeb_fail(error, ZEB_ERR_RANGE, "--seq-max %u is more than the %d positions of %s", what->seq_max,
                          zeb_model_about(session->model)->position_max, what->model);
    if (status == ZEB_OK) status = open_data(session, &filter, row, error);
    if (status == ZEB_OK) status = tokenize(session, row, error);
    if (status == ZEB_OK) status = open_policy(session, row, error);
    if (status == ZEB_OK) status = build_graph(session, error);
    if (status == ZEB_OK) status = open_device(session, registry, row, error);
    return status;
}

void zeb_session_forget_texts(zeb_session *session) {
    zeb_arena_destroy(session->texts);
    session->texts = NULL;
    session->data.example = NULL;
    session->data.path = NULL;
    zeb_tokenizer_close(session->tokenizer);
    session->tokenizer = NULL;
}

/* Makes every attention's importance readable, in a copy of the graph's tables. */
static zeb_status watch_importance(zeb_session *session, zeb_graph *watched, zeb_error *error) {
    const zeb_graph *graph = session->graph;
    void *tensors, *nodes;
    zeb_status status = zeb_arena_alloc(session->arena, graph->tensor_count + (size_t)graph->node_count,
                                        sizeof(zeb_tensor), &tensors, error);
    if (status == ZEB_OK) status = zeb_arena_alloc(session->arena, graph->node_count, sizeof(zeb_node), &nodes, error);
    if (status != ZEB_OK) return status;
    zeb_tensor *tensor = memcpy(tensors, graph->tensor, graph->tensor_count * sizeof(zeb_tensor));
    zeb_node *node = memcpy(nodes, graph->node, graph->node_count * sizeof(zeb_node));
    *watched = *graph;
    watched->tensor = tensor;
    watched->node = node;
    int32_t layer = 0;
    for (uint32_t i = 0; i < graph->node_count && status == ZEB_OK; i++) {
        if (node[i].op != ZEB_OP_ATTENTION || layer == ZEB_SESSION_LAYERS_MAX) continue;
        int32_t *id = &node[i].output[ZEB_ATTENTION_IMPORTANCE];
        const zeb_tensor *keys = &tensor[node[i].input[ZEB_ATTENTION_K]];
        char *name;
        status = zeb_arena_format(session->arena, &name, error, "layer.%d.importance", layer);
        if (*id == ZEB_NONE) {
            *id = (int32_t)watched->tensor_count++;
            tensor[*id] = (zeb_tensor){.name = name,
                                       .dtype = ZEB_F32,
                                       .rank = 1,
                                       .extent = {keys->extent[0]},
                                       .offsets = keys->offsets,
                                       .scale = ZEB_NONE,
                                       .bytes = (size_t)keys->extent[0].max * sizeof(float)};
        }
        tensor[*id].role = ZEB_ROLE_OUTPUT;
        session->importance[layer++] = *id;
    }
    return status;
}

zeb_status zeb_session_replan(zeb_session *session, zeb_policy *policy, bool watch, zeb_error *error) {
    zeb_row ignored = {0};
    zeb_graph watched;
    if (session->plan != NULL) session->device.backend->release(session->plan);
    session->plan = NULL;
    zeb_policy_close(session->policy);
    session->policy = policy;
    zeb_cost_destroy(session->cost);
    session->cost = NULL;
    zeb_builder_destroy(session->rewritten);
    session->rewritten = NULL;
    zeb_status status = rewrite(session, error);
    for (int32_t layer = 0; layer < ZEB_SESSION_LAYERS_MAX; layer++)
        session->importance[layer] = ZEB_NONE;
    if (status == ZEB_OK && watch) status = watch_importance(session, &watched, error);
    const zeb_graph *plain = session->graph;
    if (status == ZEB_OK && watch) session->graph = &watched;
    if (status == ZEB_OK) status = compile(session, &ignored, error);
    session->graph = plain;
    return status;
}

void zeb_session_close(zeb_session *session) {
    if (session->plan != NULL) session->device.backend->release(session->plan);
    zeb_device_close(&session->device);
    zeb_cost_destroy(session->cost);
    zeb_cost_destroy(session->plain_cost);
    zeb_builder_destroy(session->rewritten);
    zeb_builder_destroy(session->plain);
    zeb_policy_close(session->policy);
    zeb_tokenizer_close(session->tokenizer);
    zeb_model_close(session->model);
    zeb_arena_destroy(session->texts);
    session->plan = NULL;
    session->texts = NULL;
}

zeb_status zeb_session_pass(zeb_session *session, zeb_error *error) {
    const zeb_backend *backend = session->device.backend;
    const zeb_batch *batch = &session->batch;
    zeb_plan *plan = session->plan;
    size_t token_bytes = (size_t)batch->tokens * sizeof(int32_t);
    size_t offset_bytes = ((size_t)batch->sequence_max + 1) * sizeof(int32_t);
    size_t logit_bytes = (size_t)batch->sequences * (size_t)session->labels * sizeof(float);
    zeb_status status = backend->write(plan, session->at.offsets, batch->offsets, offset_bytes, error);
    if (status == ZEB_OK) status = backend->write(plan, session->at.count, &batch->tokens, sizeof(int32_t), error);
    if (status == ZEB_OK) status = backend->write(plan, session->at.id, batch->id, token_bytes, error);
    if (status == ZEB_OK && session->at.type >= 0)
        status = backend->write(plan, session->at.type, batch->type, token_bytes, error);
    if (status == ZEB_OK) status = backend->submit(plan, error);
    if (status == ZEB_OK) status = backend->wait(plan, error);
    if (status == ZEB_OK) status = backend->read(plan, session->at.logits, session->logits, logit_bytes, error);
    return status;
}
