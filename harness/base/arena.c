#include "base/arena.h"

#include <stdalign.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { ARENA_ALIGN = 64, ARENA_BLOCK = 1 << 16 };

typedef struct block {
    struct block *next;
    size_t size; /* usable bytes from `start` */
    size_t used;
    unsigned char *start;
} block;

struct zeb_arena {
    block *head;
    int fixed; /* lives in memory of the caller: one block, no growth */
};

static block *block_create(size_t size) {
    size_t header = (sizeof(block) + ARENA_ALIGN - 1) / ARENA_ALIGN * ARENA_ALIGN;
    if (size > SIZE_MAX - header - ARENA_ALIGN) return NULL;
    size_t rounded = (size + ARENA_ALIGN - 1) / ARENA_ALIGN * ARENA_ALIGN;
    block *created = aligned_alloc(ARENA_ALIGN, header + rounded);
    if (created == NULL) return NULL;
    *created = (block){.size = rounded, .start = (unsigned char *)created + header};
    return created;
}

zeb_status zeb_arena_create(zeb_arena **arena, zeb_error *error) {
    *arena = calloc(1, sizeof **arena);
    return *arena != NULL ? ZEB_OK : zeb_fail(error, ZEB_ERR_MEMORY, "out of memory");
}

zeb_status zeb_arena_create_in(void *memory, size_t size, zeb_arena **arena, zeb_error *error) {
    struct {
        zeb_arena arena;
        block block;
    } *head = memory;
    size_t header = (sizeof *head + ARENA_ALIGN - 1) / ARENA_ALIGN * ARENA_ALIGN;
    *arena = NULL;
    if (size < header || (uintptr_t)memory % ARENA_ALIGN != 0)
        return zeb_fail(error, ZEB_ERR_ARGUMENT, "%zu bytes are too few or misaligned for an arena", size);
    head->block = (block){.size = size - header, .start = (unsigned char *)memory + header};
    head->arena = (zeb_arena){.head = &head->block, .fixed = 1};
    *arena = &head->arena;
    return ZEB_OK;
}

void zeb_arena_destroy(zeb_arena *arena) {
    if (arena == NULL || arena->fixed) return;
    for (block *at = arena->head; at != NULL;) {
        block *next = at->next;
        free(at);
        at = next;
    }
    free(arena);
}

zeb_status zeb_arena_alloc(zeb_arena *arena, size_t count, size_t size, void **memory, zeb_error *error) {
    *memory = NULL;
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes) || bytes > SIZE_MAX / 2)
        return zeb_fail(error, ZEB_ERR_MEMORY, "%zu elements of %zu bytes do not fit in memory", count, size);
    bytes = (bytes + ARENA_ALIGN - 1) / ARENA_ALIGN * ARENA_ALIGN;
    block *at = arena->head;
    if (arena->fixed && at->size - at->used < bytes)
        return zeb_fail(error, ZEB_ERR_MEMORY, "the arena of %zu bytes is full", at->size);
    if (at == NULL || at->size - at->used < bytes) {
        at = block_create(bytes > ARENA_BLOCK ? bytes : ARENA_BLOCK);
        if (at == NULL) return zeb_fail(error, ZEB_ERR_MEMORY, "out of memory for %zu bytes", bytes);
        at->next = arena->head;
        arena->head = at;
    }
    *memory = at->start + at->used;
    at->used += bytes;
    memset(*memory, 0, bytes);
    return ZEB_OK;
}

zeb_status zeb_arena_copy(zeb_arena *arena, const char *text, size_t length, char **copy, zeb_error *error) {
    void *memory;
    zeb_status status = zeb_arena_alloc(arena, length + 1, 1, &memory, error);
    *copy = memory;
    if (memory == NULL) return status;
    if (length > 0) memcpy(*copy, text, length);
    return ZEB_OK;
}

zeb_status zeb_arena_format(zeb_arena *arena, char **copy, zeb_error *error, const char *format, ...) {
    va_list args;
    va_start(args, format);
    char *text = NULL;
    int length = vasprintf(&text, format, args);
    va_end(args);
    *copy = NULL;
    if (length < 0) return zeb_fail(error, ZEB_ERR_MEMORY, "out of memory");
    zeb_status status = zeb_arena_copy(arena, text, (size_t)length, copy, error);
    free(text);
    return status;
}
