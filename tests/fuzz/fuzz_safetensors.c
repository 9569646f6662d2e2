/* Any bytes as a safetensors file. Whatever opens must lie inside the input, byte for byte. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "models/safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(int holds) {
    if (!holds) __builtin_trap();
}

static unsigned read_all(const zeb_stored_tensor *tensor) {
    unsigned sum = 0;
    for (size_t i = 0; i < tensor->bytes; i++)
        sum += tensor->data[i];
    return sum;
}

static void check(const zeb_safetensors *file, size_t size) {
    size_t bytes = 0;
    char shape[64];
    must(zeb_safetensors_bytes(file) == size);
    for (size_t i = 0; i < zeb_safetensors_count(file); i++) {
        const zeb_stored_tensor *tensor = zeb_safetensors_at(file, i);
        must(zeb_safetensors_find(file, tensor->name) == tensor);
        must(tensor->rank <= ZEB_STORED_RANK_MAX && tensor->count >= 0);
        must((size_t)tensor->count * zeb_stored_dtype_bytes(tensor->dtype) == tensor->bytes);
        must(zeb_stored_shape(tensor, shape, sizeof shape)[0] == '[');
        must(read_all(tensor) < UINT32_MAX);
        bytes += tensor->bytes;
    }
    must(bytes + 8 <= size);
    (void)zeb_safetensors_metadata(file, "format");
}

/* The library opens paths: the input stands in a file without a name. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    zeb_error error = {{0}};
    zeb_safetensors *file = NULL;
    char path[64];
    int memory = memfd_create("fuzz", 0);
    must(memory >= 0 && write(memory, data, size) == (ssize_t)size);
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", memory);
    zeb_status status = zeb_safetensors_open(path, &file, &error);
    must((status == ZEB_OK) == (file != NULL));
    must((status == ZEB_OK) == (error.text[0] == '\0'));
    if (status == ZEB_OK) check(file, size);
    zeb_safetensors_close(file);
    (void)close(memory);
    return 0;
}
