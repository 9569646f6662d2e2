/* base/arena.h - memory with one owner and one end: everything of a case lives in one arena and dies with it. */
#ifndef ZEB_BASE_ARENA_H
#define ZEB_BASE_ARENA_H

#include <stddef.h>

#include "zeb/status.h"

typedef struct zeb_arena zeb_arena;

/* An arena that grows in blocks. Not for several threads at a time. */
ZEB_MUST_CHECK zeb_status zeb_arena_create(zeb_arena **arena, zeb_error *error);
void zeb_arena_destroy(zeb_arena *arena); /* takes NULL; every pointer handed out dies */

/* An arena inside size bytes of the caller's memory (64-byte aligned), which it never outgrows: for memory that two
 * processes share. Destroying it does nothing; the memory stays the caller's. */
ZEB_MUST_CHECK zeb_status zeb_arena_create_in(void *memory, size_t size, zeb_arena **arena, zeb_error *error);

/* count * size zeroed bytes, aligned for any object (64 bytes); overflow and exhaustion are ZEB_ERR_MEMORY. A count of
 * 0 gives a valid pointer that must not be read. */
ZEB_MUST_CHECK zeb_status zeb_arena_alloc(zeb_arena *arena, size_t count, size_t size, void **memory, zeb_error *error);

/* A NUL-terminated copy of length bytes of text (any byte may stand in it). */
ZEB_MUST_CHECK zeb_status zeb_arena_copy(zeb_arena *arena, const char *text, size_t length, char **copy,
                                         zeb_error *error);

/* A formatted copy. */
ZEB_MUST_CHECK ZEB_PRINTF(4, 5) zeb_status
    zeb_arena_format(zeb_arena *arena, char **copy, zeb_error *error, const char *format, ...);

#endif
