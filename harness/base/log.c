#include "base/log.h"

void zeb_log_write(const zeb_log *log, zeb_log_level level, const char *format, ...) {
    static const char *const name[] = {"error", "warning", "info", "debug"};
    static const char *const colour[] = {"\033[1;31m", "\033[1;33m", "", "\033[2m"};
    if (log == NULL || log->stream == NULL || level > log->level) return;
    char text[4096]; /* a worker's words (run/worker.h) fit with what is said of them */
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    const char *on = log->colour ? colour[level] : "";
    const char *off = *on != '\0' ? "\033[0m" : "";
    if (level == ZEB_LOG_INFO)
        (void)fprintf(log->stream, "zeb: %s\n", text);
    else
        (void)fprintf(log->stream, "zeb: %s%s:%s %s\n", on, name[level], off, text);
}
