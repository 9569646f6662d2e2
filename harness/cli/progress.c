#include "cli/progress.h"

#include <string.h>
#include <unistd.h>

void zeb_progress_begin(zeb_progress *progress, FILE *stream) {
    *progress = (zeb_progress){.stream = stream, .terminal = isatty(fileno(stream)) == 1};
}

static void show_bar(zeb_progress *progress, const char *name, const char *stage, uint64_t done, uint64_t total) {
    enum { WIDTH = 24 };
    char bar[WIDTH + 1];
    if (done > total) done = total;
    size_t full = total > 0 ? (size_t)(done * WIDTH / total) : 0;
    memset(bar, '.', WIDTH);
    memset(bar, '#', full);
    bar[WIDTH] = '\0';
    if (total > 0)
        (void)fprintf(progress->stream, "\r\033[K%s: %s [%s] %llu/%llu", name, stage, bar, (unsigned long long)done,
                      (unsigned long long)total);
    else
        (void)fprintf(progress->stream, "\r\033[K%s: %s ...", name, stage);
    (void)fflush(progress->stream);
    progress->shown = true;
}

void zeb_progress_show(zeb_progress *progress, const char *name, const char *stage, uint64_t done, uint64_t total) {
    if (progress->terminal) {
        show_bar(progress, name, stage, done, total);
        return;
    }
    char line[sizeof progress->last];
    (void)snprintf(line, sizeof line, "%s: %s", name, stage);
    if (strcmp(line, progress->last) == 0) return;
    memcpy(progress->last, line, sizeof line);
    (void)fprintf(progress->stream, "zeb: %s\n", line);
}

void zeb_progress_end(zeb_progress *progress) {
    if (progress->shown) (void)fputs("\r\033[K", progress->stream);
    progress->shown = false;
}
