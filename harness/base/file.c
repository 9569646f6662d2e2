#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <nettle/sha2.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

zeb_status zeb_map_open(const char *path, zeb_map *map, zeb_error *error) {
    *map = (zeb_map){0};
    int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe that nobody writes to would be waited for */
    if (file < 0) return zeb_fail(error, ZEB_ERR_IO, "%s: %s", path, strerror(errno));
    struct stat about;
    zeb_status status = ZEB_OK;
    if (fstat(file, &about) != 0) {
        status = zeb_fail(error, ZEB_ERR_IO, "%s: %s", path, strerror(errno));
    } else if (!S_ISREG(about.st_mode)) {
        status = zeb_fail(error, ZEB_ERR_IO, "%s: not a regular file", path);
    } else if (about.st_size == 0) {
        map->data = (const unsigned char *)"";
    } else {
        void *data = mmap(NULL, (size_t)about.st_size, PROT_READ, MAP_PRIVATE, file, 0);
        if (data == MAP_FAILED)
            status = zeb_fail(error, ZEB_ERR_IO, "%s: %s", path, strerror(errno));
        else
            *map = (zeb_map){.data = data, .size = (size_t)about.st_size};
    }
    (void)close(file);
    return status;
}

void zeb_map_close(zeb_map *map) {
    if (map->size > 0) (void)munmap((void *)(uintptr_t)map->data, map->size);
    *map = (zeb_map){0};
}

static void hex_digest(struct sha256_ctx *context, char hex[ZEB_SHA256_HEX]) {
    static const char digit[] = "0123456789abcdef";
    uint8_t hash[SHA256_DIGEST_SIZE];
    sha256_digest(context, sizeof hash, hash);
    for (size_t i = 0; i < sizeof hash; i++) {
        hex[2 * i] = digit[hash[i] >> 4];
        hex[2 * i + 1] = digit[hash[i] & 15];
    }
    hex[2 * sizeof hash] = '\0';
}

void zeb_sha256(const void *data, size_t size, char hex[ZEB_SHA256_HEX]) {
    struct sha256_ctx context;
    sha256_init(&context);
    sha256_update(&context, size, data);
    hex_digest(&context, hex);
}

/* Read, not mapped: the pages of a mapped checkpoint would count as this process's memory. */
zeb_status zeb_sha256_file(const char *path, char hex[ZEB_SHA256_HEX], zeb_error *error) {
    hex[0] = '\0';
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) return zeb_fail(error, ZEB_ERR_IO, "%s: %s", path, strerror(errno));
    struct sha256_ctx context;
    sha256_init(&context);
    unsigned char piece[1 << 16];
    ssize_t got;
    while ((got = read(file, piece, sizeof piece)) > 0)
        sha256_update(&context, (size_t)got, piece);
    int why = errno;
    (void)close(file);
    if (got < 0) return zeb_fail(error, ZEB_ERR_IO, "%s: %s", path, strerror(why));
    hex_digest(&context, hex);
    return ZEB_OK;
}

static zeb_status write_failed(const char *path, zeb_error *error) {
    return zeb_fail(error, ZEB_ERR_IO, "%s: could not write: %s", path, strerror(errno));
}

/* Writes to `target`; path is what messages call it. */
static zeb_status write_to(const char *target, const char *path, zeb_file_writer write, void *user, zeb_error *error) {
    FILE *out = fopen(target, "we");
    if (out == NULL) return write_failed(path, error);
    zeb_status status = write(out, user, error);
    if (status != ZEB_OK && ferror(out)) status = write_failed(path, error); /* the stream's fault, not the writer's */
    if (status == ZEB_OK && fflush(out) != 0) status = write_failed(path, error);
    if (status == ZEB_OK && fsync(fileno(out)) != 0 && errno != EINVAL && errno != EROFS)
        status = write_failed(path, error); /* EINVAL: a pipe or device that has nothing to sync */
    if (fclose(out) != 0 && status == ZEB_OK) status = write_failed(path, error);
    return status;
}

zeb_status zeb_file_replace(const char *path, zeb_file_writer write, void *user, zeb_error *error) {
    struct stat about;
    if (stat(path, &about) == 0 && !S_ISREG(about.st_mode)) return write_to(path, path, write, user, error);
    char *real = realpath(path, NULL); /* NULL for a file that is not there yet */
    const char *target = real != NULL ? real : path;
    char *part = NULL;
    zeb_status status = ZEB_OK;
    if (asprintf(&part, "%s.%ld.part", target, (long)getpid()) < 0) {
        part = NULL;
        status = zeb_fail(error, ZEB_ERR_MEMORY, "no memory to write %s", path);
        goto done;
    }
    status = write_to(part, path, write, user, error);
    if (status == ZEB_OK && rename(part, target) != 0) status = write_failed(path, error);
    if (status != ZEB_OK) (void)unlink(part);
done:
    free(part);
    free(real);
    return status;
}

zeb_status zeb_file_check(const char *path, zeb_error *error) {
    char *real = realpath(path, NULL);
    const char *target = real != NULL ? real : path, *slash = strrchr(target, '/');
    char *folder = strndup(slash != NULL ? target : ".", slash != NULL ? (size_t)(slash - target) + 1 : 1);
    zeb_status status = ZEB_OK;
    errno = path[0] == '\0' ? ENOENT : EISDIR;
    if (folder == NULL)
        status = zeb_fail(error, ZEB_ERR_MEMORY, "no memory to write %s", path);
    else if (path[0] == '\0' || zeb_path_is_folder(target) || access(folder, W_OK) != 0)
        status = write_failed(path, error);
    free(folder);
    free(real);
    return status;
}

zeb_status zeb_path_join(zeb_arena *arena, const char *folder, const char *name, char **path, zeb_error *error) {
    size_t length = strlen(folder);
    const char *slash = length > 0 && folder[length - 1] == '/' ? "" : "/";
    return zeb_arena_format(arena, path, error, "%s%s%s", folder, slash, name);
}

zeb_status zeb_path_full(zeb_arena *arena, const char *path, char **full, zeb_error *error) {
    char start[PATH_MAX] = "";
    if (path[0] != '/' && getcwd(start, sizeof start) == NULL)
        return zeb_fail(error, ZEB_ERR_IO, "%s: where the current folder is cannot be told: %s", path, strerror(errno));
    void *memory;
    zeb_status status = zeb_arena_alloc(arena, strlen(start) + strlen(path) + 3, 1, &memory, error);
    if (status != ZEB_OK) return status;
    char *end = stpcpy(memory, strcmp(start, "/") == 0 ? "" : start);
    bool leading = path[0] != '/'; /* only the current folder is known to be without links */
    for (size_t length; *path != '\0'; path += length + (path[length] == '/')) {
        length = strcspn(path, "/");
        if (length == 0 || (length == 1 && path[0] == '.')) continue;
        leading = leading && strncmp(path, "..", length) == 0;
        if (leading)
            while (end > (char *)memory && *--end != '/')
                *end = '\0';
        else
            end = stpncpy(stpcpy(end, "/"), path, length);
        *end = '\0';
    }
    if (end == memory) (void)stpcpy(end, "/");
    *full = memory;
    return ZEB_OK;
}

void zeb_path_name(const char *path, char *name, size_t capacity) {
    size_t end = strlen(path);
    while (end > 1 && path[end - 1] == '/')
        end--;
    size_t begin = end;
    while (begin > 0 && path[begin - 1] != '/')
        begin--;
    (void)snprintf(name, capacity, "%.*s", (int)(end - begin), path + begin);
}

int zeb_path_is_file(const char *path) {
    struct stat about;
    return stat(path, &about) == 0 && S_ISREG(about.st_mode);
}

int zeb_path_is_folder(const char *path) {
    struct stat about;
    return stat(path, &about) == 0 && S_ISDIR(about.st_mode);
}
