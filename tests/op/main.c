/* zeb-conformance: every op of every plugin found, on random data, against ref. */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "suite.h"

enum { OP_POLICIES_MAX = 4 };

typedef struct options {
    const char *folder, *only, *ref, *op, *isa, *choices, *model, *policy[OP_POLICIES_MAX + 1];
    size_t policies;
    uint64_t seed, threads, first, seeds;
    bool list;
} options;

/* What the child that runs a plugin leaves for its parent, also when it dies. */
typedef struct shared {
    char now[OP_NOW_MAX];
    uint64_t passed, failed, unsupported, devices, skipped;
    int finished;
} shared;

static const char USAGE[] =
    "usage: zeb-conformance [--plugin-dir FOLDER] [--plugin NAME] [--op NAME] [--ref FILE] [--seed N] [--list]\n"
    "       [--isa NAME] [--threads N] [--first SEED] [--seeds N] [--choices least|most]\n"
    "       [--model FOLDER] [--policy FILE]...\n"
    "Runs every op (or one: linear, ..., chain, contract, random: N graphs from seed SEED, model) of every plugin in "
    "FOLDER "
    "against the plugin ref. Exit: 0 "
    "nothing failed, 1 something did, 2 "
    "usage,\n"
    "3 no plugin to run, 77 the processor lacks the instruction set that --isa names.\n";

static uint64_t *number_of(options *o, const char *option) {
    return strcmp(option, "--threads") == 0 ? &o->threads
           : strcmp(option, "--seed") == 0  ? &o->seed
           : strcmp(option, "--first") == 0 ? &o->first
           : strcmp(option, "--seeds") == 0 ? &o->seeds
                                            : NULL;
}

static bool parse(int argc, char **argv, options *o) {
    for (int i = 1; i < argc; ++i) {
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;
        char *end = NULL;
        if (strcmp(argv[i], "--list") == 0) {
            o->list = true;
            continue;
        }
        if (value == NULL) return false;
        if (strcmp(argv[i], "--plugin-dir") == 0)
            o->folder = value;
        else if (strcmp(argv[i], "--plugin") == 0)
            o->only = value;
        else if (strcmp(argv[i], "--op") == 0)
            o->op = value;
        else if (strcmp(argv[i], "--ref") == 0)
            o->ref = value;
        else if (strcmp(argv[i], "--isa") == 0)
            o->isa = value;
        else if (strcmp(argv[i], "--choices") == 0 && (strcmp(value, "least") == 0 || strcmp(value, "most") == 0))
            o->choices = value;
        else if (strcmp(argv[i], "--model") == 0)
            o->model = value;
        else if (strcmp(argv[i], "--policy") == 0 && o->policies < OP_POLICIES_MAX)
            o->policy[o->policies++] = value;
        else {
            uint64_t *number = number_of(o, argv[i]);
            if (number == NULL) return false;
            *number = strtoull(value, &end, 0);
            if (*value == '\0' || *end != '\0' || o->threads > UINT32_MAX) return false;
        }
        ++i;
    }
    return true;
}

static bool op_line_known(const char *name) {
    for (int line = 0; line < OP_LINES; ++line)
        if (strcmp(op_line_name(line), name) == 0) return true;
    return false;
}

static void run_cases(op_suite *suite, const options *o) {
    op_contract(suite);
    op_cases_rows(suite);
    op_cases_linear(suite);
    op_cases_attention(suite);
    op_cases_select(suite);
    op_cases_chain(suite);
    op_cases_random(suite);
#ifdef ZEB_OP_MODELS
    op_cases_model(suite, o->model, o->policy);
#else
    (void)o;
#endif
}

static void print_device(const op_suite *suite, shared *result) {
    for (int line = 0; line < OP_LINES; ++line) {
        const op_tally *t = &suite->tally[line];
        if (suite->only != NULL && strcmp(suite->only, op_line_name(line)) != 0) continue;
        char device[ZEB_NAME_MAX * 2];
        (void)snprintf(device, sizeof device, "%s/%s", suite->target.plugin->name, suite->target.info.id);
        printf("%-15s %-12s %5llu passed %4llu failed %4llu unsupported   worst error %.2f of the tolerance\n",
               op_line_name(line), device, (unsigned long long)t->passed, (unsigned long long)t->failed,
               (unsigned long long)t->unsupported, t->worst);
        for (uint32_t i = 0; i < t->reasons; ++i)
            printf("    unsupported: %s\n", t->reason[i]);
        result->passed += t->passed;
        result->failed += t->failed;
        result->unsupported += t->unsupported;
    }
    ++result->devices;
    (void)fflush(stdout);
}

/* Whether the device runs with less than --isa names. */
static bool is_lowered(const options *o, const op_target *target) {
    zeb_device_settings settings = {.struct_size = sizeof settings};
    zeb_error error;
    return o->isa != NULL && target->backend->settings(target->device, &settings, &error) == ZEB_OK &&
           strcmp(settings.isa, o->isa) != 0;
}

/* Runs all devices of a plugin; in the child process. */
static void run_plugin(const options *o, const char *path, shared *result) {
    const zeb_plugin *plugin = NULL, *ref = NULL;
    zeb_error error = {""};
    uint32_t devices = 0;
    zeb_status status = op_plugin_load(path, &plugin, &error);
    if (status == ZEB_OK && plugin->backend == NULL) return; /* a sensor alone */
    if (status == ZEB_OK) status = op_plugin_load(o->ref, &ref, &error);
    if (status == ZEB_OK) status = plugin->backend->device_count(&devices, &error);
    if (status == ZEB_OK && devices == 0) printf("%s: no device on this machine, nothing compared\n", plugin->name);
    for (uint32_t i = 0; status == ZEB_OK && i < devices; ++i) {
        op_suite suite = {.seed = o->seed, .now = result->now, .only = o->op, .first = o->first, .seeds = o->seeds};
        status = op_target_open(ref, 0, 0, NULL, &suite.ref, &error);
        if (status == ZEB_OK) status = op_target_open(plugin, i, (uint32_t)o->threads, o->isa, &suite.target, &error);
        if (status == ZEB_OK && o->choices != NULL)
            status = op_target_choose(&suite.target, strcmp(o->choices, "most") == 0, &error);
        if (status == ZEB_OK && o->threads > 1) status = op_target_open(plugin, i, 1, o->isa, &suite.single, &error);
        if (status == ZEB_OK && suite.target.info.kind == ZEB_DEVICE_NONE) {
            printf("%s: computes nothing by intention, nothing compared\n", plugin->name);
        } else if (status == ZEB_OK && is_lowered(o, &suite.target)) {
            printf("SKIPPED %s/%s: this processor has no %s, nothing compared\n", plugin->name, suite.target.info.id,
                   o->isa);
            ++result->skipped;
        } else if (status == ZEB_OK) {
            run_cases(&suite, o);
            print_device(&suite, result);
        }
        op_target_close(&suite.single);
        op_target_close(&suite.target);
        op_target_close(&suite.ref);
    }
    if (status != ZEB_OK) {
        printf("FAIL %s: %s\n", path, error.text);
        ++result->failed;
    }
}

/* Runs a plugin in a child, so that a crash costs this plugin alone. */
static void run_child(const options *o, const char *path, shared *result) {
    (void)fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        run_plugin(o, path, result);
        result->finished = 1;
        (void)fflush(stdout);
        _exit(0);
    }
    int state = 0;
    while (child > 0 && waitpid(child, &state, 0) < 0 && errno == EINTR) {
    }
    if (child > 0 && result->finished != 0 && WIFEXITED(state) && WEXITSTATUS(state) == 0) return;
    ++result->failed;
    printf("FAIL %s: %s %d during %s\n", path, WIFSIGNALED(state) ? "killed by signal" : "ended with",
           WIFSIGNALED(state) ? WTERMSIG(state) : WEXITSTATUS(state), result->now[0] != '\0' ? result->now : "start");
}

static int is_plugin(const struct dirent *entry) {
    size_t length = strlen(entry->d_name);
    return length > 7 && strncmp(entry->d_name, "zeb_", 4) == 0 && strcmp(entry->d_name + length - 3, ".so") == 0;
}

/* Plugins in the order of their names; those that --plugin names, or all. */
static int run_folder(const options *o, shared *result) {
    struct dirent **entry = NULL;
    int count = scandir(o->folder, &entry, is_plugin, alphasort), run = 0;
    shared total = {.passed = 0};
    for (int i = 0; i < count; ++i) {
        char path[4096], wanted[ZEB_TEXT_MAX];
        (void)snprintf(path, sizeof path, "%s/%s", o->folder, entry[i]->d_name);
        (void)snprintf(wanted, sizeof wanted, "zeb_%s.so", o->only != NULL ? o->only : "");
        if (o->only == NULL || strcmp(entry[i]->d_name, wanted) == 0) {
            *result = (shared){.passed = 0};
            run_child(o, path, result);
            total.passed += result->passed;
            total.failed += result->failed;
            total.unsupported += result->unsupported;
            total.skipped += result->skipped;
            ++run;
        }
        free(entry[i]);
    }
    free(entry);
    printf("%llu passed, %llu failed, %llu unsupported\n", (unsigned long long)total.passed,
           (unsigned long long)total.failed, (unsigned long long)total.unsupported);
    if (run > 0) return total.failed > 0 ? 1 : total.skipped > 0 ? 77 : 0;
    (void)fprintf(stderr, "zeb-conformance: no plugin%s%s in %s\n", o->only != NULL ? " " : "",
                  o->only != NULL ? o->only : "", o->folder);
    return 3;
}

int main(int argc, char **argv) {
    options o = {.folder = ZEB_PLUGIN_DIR,
                 .ref = ZEB_PLUGIN_DIR "/zeb_ref.so",
                 .seed = 1,
                 .threads = 2,
                 .first = 1,
                 .seeds = 40};
    if (!parse(argc, argv, &o)) {
        (void)fputs(USAGE, stderr);
        return 2;
    }
    if (o.op != NULL && !op_line_known(o.op)) {
        (void)fprintf(stderr, "zeb-conformance: no op %s; there are", o.op);
        for (int line = 0; line < OP_LINES; ++line)
            (void)fprintf(stderr, " %s", op_line_name(line));
        (void)fputc('\n', stderr);
        return 2;
    }
    if (o.list) {
        op_suite suite = {.list = true, .only = o.op, .first = o.first, .seeds = o.seeds};
        run_cases(&suite, &o);
        return 0;
    }
    shared *result = mmap(NULL, sizeof *result, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (result == MAP_FAILED) {
        (void)fprintf(stderr, "zeb-conformance: out of memory\n");
        return 3;
    }
    int code = run_folder(&o, result);
    (void)munmap(result, sizeof *result);
    return code;
}
