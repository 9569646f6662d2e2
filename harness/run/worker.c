#include "run/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"

enum { WORKER_TICK_MS = 100, WORKER_ABANDONED = 97 };

/* The mapping begins with this; then comes the arena in its first half; the second half is for zeb_shared_reserve. */
typedef struct mapping {
    zeb_shared shared;
    size_t size;
} mapping;

zeb_status zeb_shared_create(size_t size, zeb_shared **shared, zeb_error *error) {
    *shared = NULL;
    size_t header = (sizeof(mapping) + 63) / 64 * 64;
    if (size < 4 * header) return zeb_fail(error, ZEB_ERR_ARGUMENT, "a shared mapping of %zu bytes is too small", size);
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) return zeb_fail(error, ZEB_ERR_MEMORY, "cannot map %zu bytes: %s", size, strerror(errno));
    mapping *map = memory;
    map->size = size;
    zeb_status status = zeb_arena_create_in((char *)memory + header, size / 2 - header, &map->shared.arena, error);
    if (status != ZEB_OK) {
        (void)munmap(memory, size);
        return status;
    }
    *shared = &map->shared;
    return ZEB_OK;
}

void zeb_shared_destroy(zeb_shared *shared) {
    if (shared == NULL) return;
    mapping *map = (mapping *)shared; /* the shared struct is the mapping's first member */
    (void)munmap(map, map->size);
}

zeb_status zeb_shared_reserve(zeb_shared *shared, size_t bytes, void **memory, zeb_error *error) {
    mapping *map = (mapping *)shared;
    *memory = (char *)map + map->size / 2;
    if (bytes <= map->size / 2) return ZEB_OK;
    return zeb_fail(error, ZEB_ERR_MEMORY, "%zu bytes do not fit the worker's memory", bytes);
}

/* Does not return. */
static void child(zeb_worker_body body, const void *input, zeb_shared *shared, int words, pid_t parent) {
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(WORKER_ABANDONED); /* the parent died before the line above */
    /* The parent asks by `stop`; a terminal, a batch system or a service manager signals the whole group. */
    (void)signal(SIGINT, SIG_IGN);
    (void)signal(SIGTERM, SIG_IGN);
    (void)signal(SIGHUP, SIG_IGN);
    (void)setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
    (void)dup2(words, STDOUT_FILENO);
    (void)dup2(words, STDERR_FILENO);
    (void)close(words);
    shared->status = body(input, shared, &shared->error);
    shared->finished = true;
    _exit(0);
}

/* Keeps the last part of what was read. */
static void keep_words(char words[ZEB_WORKER_WORDS_MAX], const char *text, size_t length) {
    size_t room = ZEB_WORKER_WORDS_MAX - 1;
    if (length >= room) {
        memcpy(words, text + (length - room), room);
        words[room] = '\0';
        return;
    }
    size_t held = strlen(words);
    size_t drop = held + length > room ? held + length - room : 0;
    memmove(words, words + drop, held - drop);
    memcpy(words + held - drop, text, length);
    words[held - drop + length] = '\0';
}

/* Reads what there is without blocking; false at the end of the pipe. */
static bool drain(int pipe_end, char words[ZEB_WORKER_WORDS_MAX]) {
    char text[4096];
    for (;;) {
        ssize_t got = read(pipe_end, text, sizeof text);
        if (got < 0) return errno == EAGAIN || errno == EINTR;
        if (got == 0) return false;
        for (ssize_t i = 0; i < got; i++)
            if (text[i] == '\0') text[i] = '?';
        keep_words(words, text, (size_t)got);
    }
}

static void report_exit(int status, const zeb_shared *shared, zeb_worker_report *report) {
    if (WIFSIGNALED(status))
        report->signal_number = WTERMSIG(status);
    else
        report->exit_code = WEXITSTATUS(status);
    if (report->end != 0) return; /* killed for a reason that is already written down */
    bool clean = WIFEXITED(status) && WEXITSTATUS(status) == 0 && shared->finished;
    report->end = clean ? ZEB_WORKER_RETURNED : ZEB_WORKER_DIED;
}

/* Waits for the child, passing the user's stop on and killing it when its time is over. */
static void supervise(pid_t pid, int words, zeb_shared *shared, const zeb_worker_watch *watch,
                      zeb_worker_report *report) {
    uint64_t start = zeb_clock_now_ns();
    uint64_t stopped = 0;
    bool open = true;
    int status = 0; /* and so it stays where nobody may wait for children: then what it has finished decides */
    while (waitpid(pid, &status, WNOHANG) == 0) {
        struct pollfd pipe_end = {.fd = open ? words : -1, .events = POLLIN};
        /* Once its pipe is closed the worker is all but gone: look again soon. */
        (void)poll(&pipe_end, 1, open ? WORKER_TICK_MS : 1);
        if (open) open = drain(words, report->words);
        uint64_t now = zeb_clock_now_ns();
        if (watch->stop != NULL && *watch->stop && stopped == 0) {
            stopped = now;
            atomic_store(&shared->stop, 1);
        }
        if (report->end == 0 && watch->timeout_ns > 0 && now - start > watch->timeout_ns)
            report->end = ZEB_WORKER_TIMED_OUT;
        if (report->end == 0 && stopped > 0 && now - stopped > watch->grace_ns) report->end = ZEB_WORKER_KILLED;
        if (report->end != 0) (void)kill(pid, SIGKILL);
        if (watch->progress != NULL) watch->progress(shared, watch->user);
    }
    (void)drain(words, report->words);
    report_exit(status, shared, report);
}

zeb_status zeb_worker_run(zeb_worker_body body, const void *input, zeb_shared *shared, const zeb_worker_watch *watch,
                          zeb_worker_report *report, zeb_error *error) {
    *report = (zeb_worker_report){0};
    int words[2];
    if (pipe2(words, O_CLOEXEC) != 0) return zeb_fail(error, ZEB_ERR_IO, "cannot make a pipe: %s", strerror(errno));
    pid_t parent = getpid();
    (void)fflush(NULL); /* or the child would print the parent's buffers again */
    pid_t pid = fork();
    if (pid < 0) {
        int why = errno;
        (void)close(words[0]);
        (void)close(words[1]);
        return zeb_fail(error, ZEB_ERR_IO, "cannot start a worker process: %s", strerror(why));
    }
    if (pid == 0) {
        (void)close(words[0]);
        child(body, input, shared, words[1], parent);
    }
    (void)close(words[1]);
    (void)fcntl(words[0], F_SETFL, O_NONBLOCK);
    supervise(pid, words[0], shared, watch, report);
    (void)close(words[0]);
    return ZEB_OK;
}

static zeb_status judge_call(const zeb_shared *shared, const zeb_worker_report *report, const char *lost,
                             zeb_error *error) {
    const char *why = NULL;
    switch (report->end) {
        case ZEB_WORKER_RETURNED: break;
        case ZEB_WORKER_KILLED: why = "stopped by the user"; break;
        case ZEB_WORKER_TIMED_OUT: why = "no answer within --timeout"; break;
        case ZEB_WORKER_DIED: why = "the worker died"; break;
    }
    if (why != NULL)
        return zeb_fail(error, report->end == ZEB_WORKER_KILLED ? ZEB_ERR_INTERRUPTED : ZEB_ERR_DEVICE, "%s%s%s%.300s",
                        why, lost, report->words[0] != '\0' ? ": " : "", report->words);
    if (shared->status != ZEB_OK) *error = shared->error;
    return shared->status;
}

zeb_status zeb_worker_call(zeb_worker_body body, const void *input, size_t size, const char *lost,
                           const zeb_worker_watch *watch, void *result, zeb_error *error) {
    zeb_shared *shared = NULL;
    zeb_worker_report report;
    if (watch->words != NULL) watch->words[0] = '\0';
    zeb_status status = zeb_shared_create(2 * size + ((size_t)1 << 20), &shared, error);
    if (status == ZEB_OK) status = zeb_arena_alloc(shared->arena, 1, size, &shared->result, error);
    if (status == ZEB_OK) status = zeb_worker_run(body, input, shared, watch, &report, error);
    if (status == ZEB_OK && watch->words != NULL && report.end == ZEB_WORKER_RETURNED)
        memcpy(watch->words, report.words, sizeof report.words);
    if (status == ZEB_OK) status = judge_call(shared, &report, lost, error);
    if (status == ZEB_OK) memcpy(result, shared->result, size);
    zeb_shared_destroy(shared);
    return status;
}
