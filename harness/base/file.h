/* base/file.h - files as byte ranges: read-only maps, their hashes, paths. */
#ifndef ZEB_BASE_FILE_H
#define ZEB_BASE_FILE_H

#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"

/* A whole file mapped read-only. An empty file has data "" and size 0. */
typedef struct zeb_map {
    const unsigned char *data;
    size_t size;
} zeb_map;

/* Errors name the path and the system's reason. */
ZEB_MUST_CHECK zeb_status zeb_map_open(const char *path, zeb_map *map, zeb_error *error);
void zeb_map_close(zeb_map *map); /* takes a zeroed one */

enum { ZEB_SHA256_HEX = 65 };

/* SHA-256 as 64 lower-case hexadecimal digits and NUL. */
void zeb_sha256(const void *data, size_t size, char hex[ZEB_SHA256_HEX]);
ZEB_MUST_CHECK zeb_status zeb_sha256_file(const char *path, char hex[ZEB_SHA256_HEX], zeb_error *error);

/* Writes the content of a file to the stream. */
typedef zeb_status (*zeb_file_writer)(FILE *out, void *user, zeb_error *error);

/* Replaces the file at path by what write gives: readers see the old one or the whole new one, and a failure leaves the
 * old one. A symbolic link is followed; what is no regular file (a device, a pipe) is written to as it stands. Errors
 * of the system name the path. */
ZEB_MUST_CHECK zeb_status zeb_file_replace(const char *path, zeb_file_writer write, void *user, zeb_error *error);

/* Before long work: fails as zeb_file_replace would where path is a folder, or its folder is missing or read-only. */
ZEB_MUST_CHECK zeb_status zeb_file_check(const char *path, zeb_error *error);

/* "folder/name" in the arena. */
ZEB_MUST_CHECK zeb_status zeb_path_join(zeb_arena *arena, const char *folder, const char *name, char **path,
                                        zeb_error *error);
/* The path from the root on, in the arena, without "." and needless slashes; ".." in front leads out of the current
 * folder. By its name alone: nothing need be there, and links are not followed, so that "latest" is one name whatever
 * it points to. ZEB_ERR_IO where the current folder is gone. */
ZEB_MUST_CHECK zeb_status zeb_path_full(zeb_arena *arena, const char *path, char **full, zeb_error *error);
/* The last part of a path, slashes at its end left out, in name[capacity], cut if need be. */
void zeb_path_name(const char *path, char *name, size_t capacity);
/* True for an existing regular file / folder. */
int zeb_path_is_file(const char *path);
int zeb_path_is_folder(const char *path);

#endif
