#include "cli/provenance.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "cli/commit.h"
#include "run/host.h"

enum { ARGUMENTS_MAX = 4096 };

/* The words of this process's command line, from /proc, so that no command has to pass argv along. */
static zeb_status command_line(zeb_arena *arena, const char *const **argv, size_t *argc, zeb_error *error) {
    char text[65536];
    FILE *file = fopen("/proc/self/cmdline", "re");
    size_t length = file != NULL ? fread(text, 1, sizeof text - 1, file) : 0;
    if (file != NULL) (void)fclose(file);
    text[length] = '\0';
    char *copy;
    void *words;
    zeb_status status = zeb_arena_copy(arena, text, length, &copy, error);
    if (status == ZEB_OK) status = zeb_arena_alloc(arena, ARGUMENTS_MAX, sizeof(char *), &words, error);
    if (status != ZEB_OK) return status;
    const char **word = words;
    *argc = 0;
    for (size_t at = 0; at < length && *argc < ARGUMENTS_MAX; at += strlen(copy + at) + 1)
        word[(*argc)++] = copy + at;
    *argv = word;
    return ZEB_OK;
}

static const char *known(const char *text) {
    return text[0] != '\0' ? text : NULL;
}

zeb_status zeb_provenance_begin(zeb_store *store, zeb_arena *arena, int64_t *run_id, zeb_error *error) {
    void *memory;
    zeb_status status = zeb_arena_alloc(arena, 1, sizeof(zeb_host), &memory, error);
    if (status != ZEB_OK) return status;
    zeb_host *host = memory;
    zeb_host_read("", host);
    char utc[21];
    zeb_clock_utc(utc);
    zeb_run_info info = {.zeb_version = ZEB_VERSION,
                         .zeb_commit = ZEB_COMMIT,
                         .compiler = ZEB_COMPILER,
                         .build_flags = ZEB_BUILD_FLAGS,
                         .host = known(host->name),
                         .os = known(host->os),
                         .kernel = known(host->kernel),
                         .cpu_model = known(host->cpu_model),
                         .cpu_flags = known(host->cpu_flags),
                         .governor = known(host->governor),
                         .started_utc = utc};
    if (host->cpus_allowed > 0) info.cpu_count = zeb_i64(host->cpus_allowed);
    if (host->memory_bytes > 0) info.memory_bytes = zeb_u64(host->memory_bytes);
    status = command_line(arena, &info.argv, &info.argc, error);
    return status == ZEB_OK ? zeb_store_begin_run(store, &info, run_id, error) : status;
}
