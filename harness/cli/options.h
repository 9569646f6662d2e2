/* cli/options.h - one table a command, from which parsing, --help, the man page and bash completion are made. */
#ifndef ZEB_CLI_OPTIONS_H
#define ZEB_CLI_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "zeb/status.h"

typedef enum zeb_option_kind {
    ZEB_OPTION_FLAG,     /* bool */
    ZEB_OPTION_TEXT,     /* const char * */
    ZEB_OPTION_COUNT,    /* uint64_t */
    ZEB_OPTION_NUMBER,   /* double */
    ZEB_OPTION_PERCENT,  /* double, "1%" or "0.01" -> 0.01 */
    ZEB_OPTION_DURATION, /* uint64_t ns: "500ms", "60s", "5min", a bare number is seconds */
    ZEB_OPTION_CHOICE    /* const char *, one of choices (a NULL-ended list) */
} zeb_option_kind;

typedef struct zeb_option {
    const char *name; /* without the dashes; NULL ends a table */
    zeb_option_kind kind;
    const char *value; /* placeholder in the help: "FILE"; NULL for flags */
    const char
        *fallback;    /* the default, parsed like a given value; NULL: zero, and -1 for a PERCENT, where 0 is a value */
    size_t offset;    /* of the target in the command's settings struct */
    const char *help; /* one or more sentences */
    const char *const *choices;
} zeb_option;

typedef struct zeb_command {
    const char *name;
    const char *summary;  /* a line */
    const char *operands; /* what may follow the options: "models|tasks|...", "" for nothing */
    size_t operand_max;
    const zeb_option *options; /* ended by a NULL name */
    const char *const *examples;
    const char *exit_status; /* what it means where it is not the program's own meaning; NULL: that */
    size_t settings_size;
    int (*run)(const void *settings, const char *const *operands, size_t operand_count);
} zeb_command;

/* Fills settings (zeroed, settings_size bytes) from the defaults and argv[argc] (program and command name excluded).
 * Text settings point into argv or the table. *help is true when --help was given; then nothing else is checked.
 * operands[operand_max] receives the rest. Errors name the option, what it takes and the nearest known one. */
ZEB_MUST_CHECK zeb_status zeb_options_parse(const zeb_command *command, int argc, char **argv, void *settings,
                                            const char **operands, size_t *operand_count, bool *help, zeb_error *error);

/* Where name, a value that was accepted for them, stands among the choices. */
size_t zeb_choice_index(const char *const *choices, const char *name);

/* "500ms", "1.5s", "2min", "1h" or seconds -> ns. */
ZEB_MUST_CHECK zeb_status zeb_duration_parse(const char *text, uint64_t *ns, zeb_error *error);

#endif
