/* cli/progress.h - a line that moves on a terminal, plain lines elsewhere. */
#ifndef ZEB_CLI_PROGRESS_H
#define ZEB_CLI_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

typedef struct zeb_progress {
    FILE *stream;
    bool terminal;
    bool shown;     /* a moving line stands on the terminal */
    char last[160]; /* stage that a plain line was last written for */
} zeb_progress;

void zeb_progress_begin(zeb_progress *progress, FILE *stream);

/* Says where the work named `name` is; total 0: not countable. Elsewhere than on a terminal a line a stage is written.
 */
void zeb_progress_show(zeb_progress *progress, const char *name, const char *stage, uint64_t done, uint64_t total);

/* Clears the moving line, so that other lines may follow. */
void zeb_progress_end(zeb_progress *progress);

#endif
