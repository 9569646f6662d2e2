#include "plugins/probe.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "plugins/probe_child.h"

enum { CHILDREN_MAX = 8, FDS_A_CHILD = 2 };

/* A probe under way. */
typedef struct probe_run {
    zeb_probe_job *job; /* NULL: the slot is free */
    pid_t child;
    int report; /* -1 once closed */
    int words;
    bool done; /* the child has given its verdict */
    uint64_t deadline_ns;
    zeb_error step;
    char heard[1024]; /* the end of what the child printed */
    size_t heard_size;
} probe_run;

/* In the child between fork and zeb_probe_child: output into the words pipe, no input, a process group of its own so
 * that whatever it starts can be ended with it. */
static void child_begin(const zeb_probe_job *job, int report, int words) {
    (void)setpgid(0, 0);
    int nothing = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (nothing >= 0) (void)dup2(nothing, STDIN_FILENO);
    (void)dup2(words, STDOUT_FILENO);
    (void)dup2(words, STDERR_FILENO);
    zeb_probe_child(job->name, job->path, job->ask_devices, report);
}

static zeb_status run_start(probe_run *run, zeb_probe_job *job, uint32_t timeout_ms, zeb_error *error) {
    int report[2];
    int words[2];
    if (pipe2(report, O_CLOEXEC) != 0) return zeb_fail(error, ZEB_ERR_IO, "cannot make a pipe: %s", strerror(errno));
    if (pipe2(words, O_CLOEXEC) != 0) {
        (void)close(report[0]);
        (void)close(report[1]);
        return zeb_fail(error, ZEB_ERR_IO, "cannot make a pipe: %s", strerror(errno));
    }
    pid_t child = fork();
    if (child == 0) {
        (void)close(report[0]);
        (void)close(words[0]);
        child_begin(job, report[1], words[1]);
    }
    int why = errno;
    (void)close(report[1]);
    (void)close(words[1]);
    if (child < 0) {
        (void)close(report[0]);
        (void)close(words[0]);
        return zeb_fail(error, ZEB_ERR_IO, "cannot start a process to probe %s: %s", job->path, strerror(why));
    }
    (void)setpgid(child, child); /* whoever is first: the group must exist before it may have to be ended */
    (void)fcntl(words[0], F_SETFL, O_NONBLOCK);
    *run = (probe_run){.job = job,
                       .child = child,
                       .report = report[0],
                       .words = words[0],
                       .deadline_ns = zeb_clock_now_ns() + (uint64_t)timeout_ms * 1000000u};
    return ZEB_OK;
}

/* Keeps the last bytes of what the child prints. */
static void hear_words(probe_run *run) {
    char chunk[512];
    ssize_t got;
    while ((got = read(run->words, chunk, sizeof chunk)) > 0) {
        size_t size = (size_t)got;
        if (run->heard_size + size > sizeof run->heard) {
            size_t drop = run->heard_size + size - sizeof run->heard;
            memmove(run->heard, run->heard + drop, run->heard_size - drop);
            run->heard_size -= drop;
        }
        memcpy(run->heard + run->heard_size, chunk, size);
        run->heard_size += size;
    }
    if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)) {
        (void)close(run->words);
        run->words = -1;
    }
}

static zeb_status hear_device(zeb_probe_job *job, const zeb_device_info *device, zeb_arena *arena, zeb_error *error) {
    if (job->device == NULL) {
        void *memory = NULL;
        zeb_status status = zeb_arena_alloc(arena, ZEB_PROBE_DEVICES_MAX, sizeof *job->device, &memory, error);
        if (status != ZEB_OK) return status;
        job->device = memory;
    }
    if (job->device_count < ZEB_PROBE_DEVICES_MAX) job->device[job->device_count++] = *device;
    return ZEB_OK;
}

static zeb_status hear_report(probe_run *run, zeb_arena *arena, zeb_error *error) {
    zeb_probe_message message;
    ssize_t got = read(run->report, &message, sizeof message);
    if (got < 0 && errno == EINTR) return ZEB_OK;
    if (got != (ssize_t)sizeof message) {
        (void)close(run->report);
        run->report = -1;
        return ZEB_OK;
    }
    switch (message.kind) {
        case ZEB_PROBE_STEP: run->step = message.as.text; break;
        case ZEB_PROBE_DEVICE: return hear_device(run->job, &message.as.device, arena, error);
        case ZEB_PROBE_SENSOR:
            run->job->sensor_here = message.status == ZEB_OK;
            if (message.status != ZEB_OK) run->job->sensor_problem = message.as.text;
            break;
        case ZEB_PROBE_DONE:
            run->done = true;
            run->job->status = message.status;
            run->job->problem = message.as.text;
            break;
    }
    return ZEB_OK;
}

/* "; its last words: ..." on one line, or nothing. */
static void last_words(const probe_run *run, char *text, size_t capacity) {
    static const char lead[] = "; its last words: ";
    size_t end = run->heard_size;
    text[0] = '\0';
    while (end > 0 && isspace((unsigned char)run->heard[end - 1]))
        end--;
    size_t begin = end > ZEB_PROBE_WORDS_MAX ? end - ZEB_PROBE_WORDS_MAX : 0;
    while (begin < end && isspace((unsigned char)run->heard[begin]))
        begin++;
    if (begin == end || capacity < sizeof lead + ZEB_PROBE_WORDS_MAX) return;
    memcpy(text, lead, sizeof lead - 1);
    char *to = text + sizeof lead - 1;
    for (size_t i = begin; i < end; i++) {
        unsigned char byte = (unsigned char)run->heard[i];
        *to++ = byte < ' ' || byte == 127 ? ' ' : (char)byte;
    }
    *to = '\0';
}

/* Ends a child that has given its verdict, has died, or (timed_out) has used up its time, and says so in its job. */
static void run_finish(probe_run *run, bool timed_out, uint32_t timeout_ms) {
    char words[ZEB_PROBE_WORDS_MAX + 32];
    int how = 0;
    pid_t ended = 0;
    (void)kill(-run->child, SIGKILL); /* no change to one that is dying already */
    while ((ended = waitpid(run->child, &how, 0)) < 0 && errno == EINTR)
        continue;
    if (run->words >= 0) hear_words(run);
    if (run->words >= 0) (void)close(run->words);
    if (run->report >= 0) (void)close(run->report);
    zeb_probe_job *job = run->job;
    const char *step = run->step.text[0] != '\0' ? run->step.text : "loading";
    last_words(run, words, sizeof words);
    run->job = NULL;
    if (run->done) return;
    if (timed_out) {
        job->status = zeb_fail(&job->problem, ZEB_ERR_TIMEOUT, "%s: hangs in %s: no answer within %u ms%s", job->path,
                               step, timeout_ms, words);
    } else if (ended > 0 && WIFSIGNALED(how)) {
        const char *name = sigabbrev_np(WTERMSIG(how));
        job->status = zeb_fail(&job->problem, ZEB_ERR_DEVICE, "%s: crashes in %s with signal %d (SIG%s)%s", job->path,
                               step, WTERMSIG(how), name == NULL ? "?" : name, words);
    } else {
        job->status = zeb_fail(&job->problem, ZEB_ERR_DEVICE, "%s: ends the process in %s with exit status %d%s",
                               job->path, step, ended > 0 ? WEXITSTATUS(how) : -1, words);
    }
}

/* Waits for something to read or the next deadline, and reads it. */
static zeb_status runs_listen(probe_run run[CHILDREN_MAX], zeb_arena *arena, zeb_error *error) {
    struct pollfd ear[CHILDREN_MAX * FDS_A_CHILD];
    uint64_t now = zeb_clock_now_ns();
    uint64_t wait = UINT64_MAX;
    for (size_t i = 0; i < CHILDREN_MAX; i++) {
        bool busy = run[i].job != NULL;
        ear[i * FDS_A_CHILD] = (struct pollfd){.fd = busy ? run[i].report : -1, .events = POLLIN};
        ear[i * FDS_A_CHILD + 1] = (struct pollfd){.fd = busy ? run[i].words : -1, .events = POLLIN};
        uint64_t left = !busy ? UINT64_MAX : run[i].deadline_ns > now ? run[i].deadline_ns - now : 0;
        if (left < wait) wait = left;
    }
    if (poll(ear, (nfds_t)CHILDREN_MAX * FDS_A_CHILD, (int)(wait / 1000000u + 1)) <= 0) return ZEB_OK;
    zeb_status status = ZEB_OK;
    for (size_t i = 0; i < CHILDREN_MAX && status == ZEB_OK; i++) {
        if (ear[i * FDS_A_CHILD + 1].revents != 0) hear_words(&run[i]);
        if (ear[i * FDS_A_CHILD].revents != 0) status = hear_report(&run[i], arena, error);
    }
    return status;
}

zeb_status zeb_probe_run(zeb_probe_job *job, size_t count, uint32_t timeout_ms, zeb_arena *arena, zeb_error *error) {
    probe_run run[CHILDREN_MAX] = {0};
    size_t next = 0;
    size_t busy = 0;
    zeb_status status = ZEB_OK;
    while (status == ZEB_OK && (next < count || busy > 0)) {
        for (size_t i = 0; i < CHILDREN_MAX && next < count && status == ZEB_OK; i++) {
            if (run[i].job != NULL) continue;
            status = run_start(&run[i], &job[next], timeout_ms, error);
            if (status != ZEB_OK) break;
            next++;
            busy++;
        }
        if (status == ZEB_OK) status = runs_listen(run, arena, error);
        uint64_t now = zeb_clock_now_ns();
        for (size_t i = 0; i < CHILDREN_MAX; i++) {
            if (run[i].job == NULL) continue;
            bool late = now >= run[i].deadline_ns;
            if (status == ZEB_OK && !run[i].done && run[i].report >= 0 && !late) continue;
            run_finish(&run[i], late && run[i].report >= 0, timeout_ms);
            busy--;
        }
    }
    return status;
}
