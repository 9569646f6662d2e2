/* cli/commands.h - the commands of the program, a table each, and what they share. */
#ifndef ZEB_CLI_COMMANDS_H
#define ZEB_CLI_COMMANDS_H

#include <signal.h>

#include "base/arena.h"
#include "base/log.h"
#include "cli/options.h"
#include "cli/progress.h"
#include "plugins/registry.h"
#include "run/worker.h"
#include "suites/task.h"

/* Exit status of the program. */
enum { ZEB_EXIT_OK = 0, ZEB_EXIT_NOT_OK = 1, ZEB_EXIT_USAGE = 2, ZEB_EXIT_NOTHING = 3 };

extern const zeb_command zeb_command_run;
extern const zeb_command zeb_command_list;
extern const zeb_command zeb_command_doctor;
extern const zeb_command zeb_command_report;
extern const zeb_command zeb_command_compare;
extern const zeb_command zeb_command_db;
extern const zeb_command zeb_command_calibrate;
extern const zeb_command zeb_command_roofline;
extern const zeb_command zeb_command_quantize;
extern const zeb_command zeb_command_explain;

/* Where this program's files are: found from the place of the executable (an installed tree), else the source tree that
 * it was built from. All in the arena. */
typedef struct zeb_places {
    const char *plugins[16]; /* folders, in order: --plugin-dir, ZEB_PLUGIN_PATH, beside the program */
    size_t plugin_count;
    const char *data;      /* root of data sets: ZEB_DATA, else what ships */
    const char *baselines; /* folder of checkpoints with their cards */
    const char *model;     /* the default checkpoint */
} zeb_places;

ZEB_MUST_CHECK zeb_status zeb_places_find(const char *plugin_dir, zeb_arena *arena, zeb_places *places,
                                          zeb_error *error);

/* The log of the program: stderr, in colour on a terminal unless NO_COLOR is set. */
zeb_log zeb_cli_log(bool verbose);

/* Passes on what a worker had to say, if anything, as a warning: "zeb: warning: NAME: it said: words". */
void zeb_cli_said(const zeb_log *log, const char *name, const char *words);

/* True if colours may go to the stream. */
bool zeb_cli_colour(FILE *stream);

/* Prints "zeb: error: text" to stderr and hands the exit status back. */
int zeb_cli_fail(int exit_status, const zeb_error *error);

/* Prints "name": "text" and end to stdout, the text as JSON has it whatever it holds; what is not UTF-8 becomes '?'. */
void zeb_cli_json_text(const char *name, const char *text, const char *end);

/* From now on SIGINT, SIGTERM and SIGHUP ask to stop: what is returned is then not 0. */
const volatile sig_atomic_t *zeb_cli_stop(void);

/* How a command watches its worker: where that is goes to stderr, what it had to say is a warning in the end. */
typedef struct zeb_cli_watch {
    zeb_worker_watch worker; /* to hand on; points into this struct, which must stay where it is */
    zeb_progress progress;   /* what `show` is called with */
    char words[ZEB_WORKER_WORDS_MAX];
} zeb_cli_watch;

/* From now on zeb_cli_stop() asks the worker to end, which then has `grace_ns` for it. */
void zeb_cli_watch_begin(zeb_cli_watch *watch, uint64_t timeout_ns, uint64_t grace_ns,
                         void (*show)(const zeb_shared *shared, void *progress));

/* After the worker: clears the line, and passes its words on under the command's name. */
void zeb_cli_watch_end(zeb_cli_watch *watch, const zeb_log *log, const char *name);

/* The task of that name; ZEB_ERR_ARGUMENT suggests the nearest. */
ZEB_MUST_CHECK zeb_status zeb_cli_task(const char *name, const zeb_task **task, zeb_error *error);

/* ZEB_ERR_ARGUMENT for --batch, --seq-max or --threads out of any sensible range; a command without --batch gives 1. */
ZEB_MUST_CHECK zeb_status zeb_cli_sizes(uint64_t batch, uint64_t seq_max, uint64_t threads, zeb_error *error);

/* Which rows a command may fit something on. */
typedef struct zeb_cli_slice {
    const char *data, *split;
    double share;
    uint64_t min_tokens, seq_max;
} zeb_cli_slice;

/* Their options, for the table of a command whose settings have the member `slice`. */
/* clang-format off */
#define ZEB_CLI_SLICE_OPTIONS(settings, slice)                                                                         \
    {"data", ZEB_OPTION_TEXT, "DIR", NULL, offsetof(settings, slice.data),                                             \
     "Root of the data sets. Default: $ZEB_DATA, or what ships.", NULL},                                               \
    {"split", ZEB_OPTION_TEXT, "NAME", "train", offsetof(settings, slice.split),                                       \
     "Rows to choose the slice from; only train and splits whose names begin so are allowed.", NULL},                  \
    {"share", ZEB_OPTION_PERCENT, "SHARE", "5%", offsetof(settings, slice.share),                                      \
     "The calibration slice's part of train: rows chosen by a hash of their text, the same that training holds out.",  \
     NULL},                                                                                                            \
    {"min-tokens", ZEB_OPTION_COUNT, "N", "0", offsetof(settings, slice.min_tokens),                                   \
     "Leave shorter examples out: where train holds phrases but sentences are scored (SST-2), they mislead.", NULL},   \
    {"seq-max", ZEB_OPTION_COUNT, "N", "128", offsetof(settings, slice.seq_max),                                       \
     "Tokens a sequence at most; longer ones are truncated.", NULL}
/* clang-format on */

/* ZEB_ERR_ARGUMENT for settings that leave nothing. */
ZEB_MUST_CHECK zeb_status zeb_cli_slice_check(const zeb_cli_slice *slice, zeb_error *error);

/* Exit status for an error that ended a command. */
int zeb_cli_exit(zeb_status status);

#endif
