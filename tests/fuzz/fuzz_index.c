/* Any bytes as the index of a checkpoint whose two shards are sound. What opens lies in the folder or beside it, and is
 * what the index says. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "models/checkpoint.h"

#define SHARDS ZEB_SOURCE_DIR "/tests/unit/models/golden/sharded/"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const shard[] = {"model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"};
static char folder[64] = "/tmp/zeb-fuzz-index-XXXXXX", file[3][160];

static void must(int holds) {
    if (!holds) __builtin_trap();
}

static void clean_up(void) {
    for (int i = 0; i < 3; i++)
        (void)unlink(file[i]);
    (void)rmdir(folder);
}

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    (void)argc;
    (void)argv;
    must(mkdtemp(folder) != NULL);
    for (int i = 0; i < 2; i++) {
        char target[256];
        (void)snprintf(target, sizeof target, "%s%s", SHARDS, shard[i]);
        (void)snprintf(file[i], sizeof file[i], "%s/%s", folder, shard[i]);
        must(symlink(target, file[i]) == 0 && access(file[i], R_OK) == 0);
    }
    (void)snprintf(file[2], sizeof file[2], "%s/model.safetensors.index.json", folder);
    must(atexit(clean_up) == 0);
    return 0;
}

static void check(const zeb_checkpoint *checkpoint) {
    for (size_t f = 0; f < zeb_checkpoint_files(checkpoint); f++) {
        const char *name = zeb_checkpoint_name(checkpoint, f);
        const zeb_safetensors *opened = zeb_checkpoint_file(checkpoint, f);
        if (strncmp(name, "../", 3) == 0) name += 3;
        must(name[0] != '/' && strstr(name, "..") != name && strstr(name, "/../") == NULL);
        for (size_t i = 0; i < zeb_safetensors_count(opened); i++) {
            const zeb_stored_tensor *tensor = zeb_safetensors_at(opened, i);
            must(zeb_checkpoint_find(checkpoint, tensor->name) == tensor);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    zeb_error error = {{0}};
    zeb_checkpoint *checkpoint = NULL;
    char hex[65];
    FILE *out = fopen(file[2], "wb");
    must(out != NULL);
    must(fwrite(data, 1, size, out) == size && fclose(out) == 0);
    zeb_status status = zeb_checkpoint_open(folder, &checkpoint, &error);
    must((status == ZEB_OK) == (checkpoint != NULL));
    must((status == ZEB_OK) == (error.text[0] == '\0'));
    if (status == ZEB_OK) {
        check(checkpoint);
        if (zeb_checkpoint_files(checkpoint) > 0) must(zeb_checkpoint_hash(checkpoint, hex, &error) == ZEB_OK);
    }
    zeb_checkpoint_close(checkpoint);
    return 0;
}
