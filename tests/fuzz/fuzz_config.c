/* Any bytes as the config.json of a small checkpoint whose weights are sound. What opens must draw a graph. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "models/model.h"

#define WEIGHTS ZEB_SOURCE_DIR "/tests/unit/models/golden/odd/model.safetensors"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char folder[64] = "/tmp/zeb-fuzz-config-XXXXXX", config[96], weights[96];

static void must(int holds) {
    if (!holds) __builtin_trap();
}

static void clean_up(void) {
    (void)unlink(config);
    (void)unlink(weights);
    (void)rmdir(folder);
}

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    (void)argc;
    (void)argv;
    must(mkdtemp(folder) != NULL);
    (void)snprintf(config, sizeof config, "%s/config.json", folder);
    (void)snprintf(weights, sizeof weights, "%s/model.safetensors", folder);
    must(symlink(WEIGHTS, weights) == 0 && access(weights, R_OK) == 0);
    must(atexit(clean_up) == 0);
    return 0;
}

static void draw(const zeb_model *model) {
    zeb_error error = {{0}};
    zeb_builder *builder;
    const zeb_graph *graph;
    const zeb_model_info *about = zeb_model_about(model);
    zeb_graph_options options = {.token_max = 7, .batch_max = 3};
    must(about->labels == 3 && about->hidden == 15 && about->layers == 2);
    for (int32_t i = 0; i < about->labels; i++)
        must(about->label_name[i] != NULL);
    must(zeb_builder_create(&builder, &error) == ZEB_OK);
    must(zeb_model_graph(model, &options, builder, &error) == ZEB_OK);
    must(zeb_builder_finish(builder, &graph, &error) == ZEB_OK);
    must(zeb_graph_find(graph, "logits") != ZEB_NONE);
    zeb_builder_destroy(builder);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    zeb_error error = {{0}};
    zeb_model *model = NULL;
    FILE *file = fopen(config, "wb");
    must(file != NULL);
    must(fwrite(data, 1, size, file) == size && fclose(file) == 0);
    zeb_status status = zeb_model_open(folder, &model, &error);
    must((status == ZEB_OK) == (model != NULL));
    must((status == ZEB_OK) == (error.text[0] == '\0'));
    if (status == ZEB_OK) draw(model);
    zeb_model_close(model);
    return 0;
}
