/* base/log.h - what zeb says while it works: lines on stderr, never on stdout. */
#ifndef ZEB_BASE_LOG_H
#define ZEB_BASE_LOG_H

#include "zeb/status.h"

typedef enum zeb_log_level { ZEB_LOG_ERROR, ZEB_LOG_WARNING, ZEB_LOG_INFO, ZEB_LOG_DEBUG } zeb_log_level;

/* Where lines go and which. Passed to whoever may log; there is no global logger. */
typedef struct zeb_log {
    FILE *stream;        /* NULL: nothing is said */
    zeb_log_level level; /* the most talkative level that is written */
    int colour;          /* ANSI colours; set only when the stream is a terminal */
} zeb_log;

/* Writes "zeb: warning: text\n" in one call. A NULL log is silent. */
ZEB_PRINTF(3, 4) void zeb_log_write(const zeb_log *log, zeb_log_level level, const char *format, ...);

#endif
