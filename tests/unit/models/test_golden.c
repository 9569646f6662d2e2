/* Checkpoint -> graph -> plugin gives the logits of Hugging Face transformers; scripts/golden/make_bert_logits.py wrote
 * what is compared with. */
#include <dlfcn.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "models/model.h"
#include "models/safetensors.h"
#include "zeb/plugin.h"

#define GOLDEN ZEB_SOURCE_DIR "/tests/unit/models/golden"
#define TOLERANCE 1e-4

static const char *const case_name[] = {"regression", "odd",     "relu-f16", "bf16",
                                        "legacy",     "sharded", "wide-f16", "removed"};

#define MUST(call)                                                                                                     \
    do {                                                                                                               \
        error.text[0] = '\0';                                                                                          \
        if ((call) != ZEB_OK) fail_msg("%s: %s", #call, error.text);                                                   \
    } while (0)

static const zeb_backend *load(const char *path) {
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) fail_msg("%s", dlerror());
    zeb_plugin_entry_fn entry;
    void *symbol = dlsym(library, ZEB_PLUGIN_ENTRY_NAME);
    assert_non_null(symbol);
    memcpy(&entry, &symbol, sizeof entry);
    return entry()->backend;
}

static const zeb_stored_tensor *stored(const zeb_safetensors *file, const char *name) {
    const zeb_stored_tensor *tensor = zeb_safetensors_find(file, name);
    if (tensor == NULL) fail_msg("%s: no %s", zeb_safetensors_path(file), name);
    return tensor;
}

/* Room for more sequences and tokens than there are: the rest of the offsets repeat the last. */
enum { SPARE_SEQUENCES = 2, SPARE_TOKENS = 5 };

static void write_batch(const zeb_backend *backend, zeb_plan *plan, const zeb_graph *graph,
                        const zeb_safetensors *golden) {
    zeb_error error = {{0}};
    const zeb_stored_tensor *offsets = stored(golden, "offsets");
    int32_t padded[64] = {0}, count;
    size_t sequences = (size_t)offsets->count - 1;
    assert_true(sequences + 1 + SPARE_SEQUENCES <= 64);
    memcpy(padded, offsets->data, offsets->bytes);
    count = padded[sequences];
    for (size_t i = 1; i <= SPARE_SEQUENCES; i++)
        padded[sequences + i] = count;
    MUST(backend->write(plan, zeb_graph_find(graph, "tokens.offsets"), padded,
                        (sequences + 1 + SPARE_SEQUENCES) * sizeof *padded, &error));
    MUST(backend->write(plan, zeb_graph_find(graph, "tokens.count"), &count, sizeof count, &error));
    const char *const name[] = {"ids", "types"};
    for (size_t i = 0; i < 2; i++) {
        const zeb_stored_tensor *values = stored(golden, name[i]);
        MUST(backend->write(plan, zeb_graph_find(graph, name[i]), values->data, values->bytes, &error));
    }
}

static void compare(const char *name, const float *got, const zeb_stored_tensor *logits) {
    double worst = 0.0;
    for (int64_t i = 0; i < logits->count; i++) {
        float wanted;
        memcpy(&wanted, logits->data + (size_t)i * sizeof wanted, sizeof wanted);
        double off = fabs((double)got[i] - (double)wanted);
        if (!(off <= TOLERANCE))
            fail_msg("%s: logit %lld is %.9g, wanted %.9g", name, (long long)i, (double)got[i], (double)wanted);
        if (off > worst) worst = off;
    }
    print_message("%s: %lld logits, off by at most %.1e\n", name, (long long)logits->count, worst);
}

static void run_case(const zeb_backend *backend, const char *name) {
    zeb_error error = {{0}};
    char path[512];
    zeb_model *model;
    zeb_safetensors *golden;
    zeb_builder *builder;
    const zeb_graph *graph;
    zeb_device *device;
    zeb_plan *plan;
    (void)snprintf(path, sizeof path, GOLDEN "/%s", name);
    MUST(zeb_model_open(path, &model, &error));
    (void)snprintf(path, sizeof path, GOLDEN "/%s/golden.safetensors", name);
    MUST(zeb_safetensors_open(path, &golden, &error));
    const zeb_stored_tensor *logits = stored(golden, "logits");
    zeb_graph_options options = {.token_max = stored(golden, "ids")->count + SPARE_TOKENS,
                                 .batch_max = logits->extent[0] + SPARE_SEQUENCES};
    MUST(zeb_builder_create(&builder, &error));
    MUST(zeb_model_graph(model, &options, builder, &error));
    MUST(zeb_builder_finish(builder, &graph, &error));
    zeb_device_options wanted = {.struct_size = sizeof wanted, .threads = 1};
    MUST(backend->open(0, &wanted, &device, &error));
    MUST(backend->compile(device, graph, &plan, &error));
    write_batch(backend, plan, graph, golden);
    MUST(backend->submit(plan, &error));
    MUST(backend->wait(plan, &error));
    float *got = malloc(logits->bytes);
    assert_non_null(got);
    MUST(backend->read(plan, zeb_graph_find(graph, "logits"), got, logits->bytes, &error));
    compare(name, got, logits);
    assert_int_equal(zeb_model_about(model)->labels, logits->extent[1]);
    free(got);
    backend->release(plan);
    backend->close(device);
    zeb_builder_destroy(builder);
    zeb_safetensors_close(golden);
    zeb_model_close(model);
}

static void ref_gives_the_reference_logits(void **state) {
    (void)state;
    const zeb_backend *backend = load(ZEB_PLUGIN_DIR "/zeb_ref.so");
    for (size_t i = 0; i < sizeof case_name / sizeof case_name[0]; i++)
        run_case(backend, case_name[i]);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(ref_gives_the_reference_logits)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
