/* What commands that open a case share: its task, its sizes, the watch over its worker, the user's wish to stop, and
 * text in what they print as JSON. */
#include <signal.h>
#include <string.h>

#include "base/text.h"
#include "cli/commands.h"

static volatile sig_atomic_t stop_asked;

static void on_signal(int number) {
    (void)number;
    stop_asked = 1;
}

const volatile sig_atomic_t *zeb_cli_stop(void) {
    struct sigaction action = {.sa_handler = on_signal};
    (void)sigemptyset(&action.sa_mask);
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
    struct sigaction hangup;
    if (sigaction(SIGHUP, NULL, &hangup) == 0 && hangup.sa_handler != SIG_IGN) /* nohup asked for that */
        (void)sigaction(SIGHUP, &action, NULL);
    return &stop_asked;
}

void zeb_cli_watch_begin(zeb_cli_watch *watch, uint64_t timeout_ns, uint64_t grace_ns,
                         void (*show)(const zeb_shared *shared, void *progress)) {
    watch->words[0] = '\0'; /* a command can fail before it has a worker */
    zeb_progress_begin(&watch->progress, stderr);
    watch->worker = (zeb_worker_watch){.timeout_ns = timeout_ns,
                                       .grace_ns = grace_ns,
                                       .stop = zeb_cli_stop(),
                                       .progress = show,
                                       .user = &watch->progress,
                                       .words = watch->words};
}

void zeb_cli_watch_end(zeb_cli_watch *watch, const zeb_log *log, const char *name) {
    zeb_progress_end(&watch->progress);
    zeb_cli_said(log, name, watch->words);
}

/* Where the next byte that is not UTF-8 stands, from `at` on. */
static size_t next_bad(const char *text, size_t at, size_t length) {
    size_t bad = 0;
    return zeb_text_utf8_valid(text + at, length - at, &bad) ? length : at + bad;
}

void zeb_cli_json_text(const char *name, const char *text, const char *end) {
    size_t length = strlen(text), bad = next_bad(text, 0, length);
    (void)printf("\"%s\": \"", name);
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)text[i];
        if (i == bad) {
            (void)putchar('?');
            bad = next_bad(text, i + 1, length);
        } else if (c < 0x20) {
            (void)printf("\\u%04x", c);
        } else {
            if (c == '"' || c == '\\') (void)putchar('\\');
            (void)putchar(c);
        }
    }
    (void)printf("\"%s", end);
}

zeb_status zeb_cli_task(const char *name, const zeb_task **task, zeb_error *error) {
    const char *near = zeb_task_suggest(name);
    *task = zeb_task_find(name);
    if (*task != NULL) return ZEB_OK;
    return zeb_fail(error, ZEB_ERR_ARGUMENT, "unknown task '%s'; %s%s%s", name,
                    near != NULL ? "did you mean '" : "'zeb list tasks' lists them", near != NULL ? near : "",
                    near != NULL ? "'?" : "");
}

zeb_status zeb_cli_sizes(uint64_t batch, uint64_t seq_max, uint64_t threads, zeb_error *error) {
    if (batch < 1 || batch > 65536) return zeb_fail(error, ZEB_ERR_ARGUMENT, "--batch must be 1 to 65536");
    if (seq_max < 3 || seq_max > 65536) return zeb_fail(error, ZEB_ERR_ARGUMENT, "--seq-max must be 3 to 65536");
    return threads > 4096 ? zeb_fail(error, ZEB_ERR_ARGUMENT, "--threads must be at most 4096") : ZEB_OK;
}

zeb_status zeb_cli_slice_check(const zeb_cli_slice *slice, zeb_error *error) {
    if (slice->min_tokens <= slice->seq_max) return ZEB_OK;
    return zeb_fail(error, ZEB_ERR_ARGUMENT, "--min-tokens must be at most --seq-max: longer ones are truncated");
}
