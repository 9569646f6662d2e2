/* cli/commands.h - the commands of the program, a table each, and what they share. */
#ifndef ZEB_CLI_COMMANDS_H
#define ZEB_CLI_COMMANDS_H

#include <signal.h>

#include "base/arena.h"
#include "base/log.h"
#include "cli/options.h"
#include "plugins/registry.h"
#include "suites/task.h"

/* Exit status of the program. */
enum { ZEB_EXIT_OK = 0, ZEB_EXIT_NOT_OK = 1, ZEB_EXIT_USAGE = 2, ZEB_EXIT_NOTHING = 3 };

extern const zeb_command zeb_command_run;
extern const zeb_command zeb_command_list;
extern const zeb_command zeb_command_doctor;
extern const zeb_command zeb_command_report;
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

/* True if colours may go to the stream. */
bool zeb_cli_colour(FILE *stream);

/* Prints "zeb: error: text" to stderr and hands the exit status back. */
int zeb_cli_fail(int exit_status, const zeb_error *error);

/* From now on SIGINT and SIGTERM ask to stop: what is returned is then not 0. */
const volatile sig_atomic_t *zeb_cli_stop(void);

/* The task of that name; ZEB_ERR_ARGUMENT suggests the nearest. */
ZEB_MUST_CHECK zeb_status zeb_cli_task(const char *name, const zeb_task **task, zeb_error *error);

/* ZEB_ERR_ARGUMENT for --batch, --seq-max or --threads out of any sensible range; a command without --batch gives 1. */
ZEB_MUST_CHECK zeb_status zeb_cli_sizes(uint64_t batch, uint64_t seq_max, uint64_t threads, zeb_error *error);

/* Exit status for an error that ended a command. */
int zeb_cli_exit(zeb_status status);

#endif
