#include <signal.h>
#include <string.h>

#include "base/text.h"
#include "cli/commands.h"
#include "cli/commit.h"
#include "cli/help.h"

static const zeb_command *const commands[] = {
    &zeb_command_run,       &zeb_command_list,     &zeb_command_doctor,   &zeb_command_report,  &zeb_command_compare,
    &zeb_command_calibrate, &zeb_command_roofline, &zeb_command_quantize, &zeb_command_explain, &zeb_command_db};
enum { COMMANDS = sizeof commands / sizeof commands[0] };

static int run_command(const zeb_command *command, int argc, char **argv) {
    enum { SETTINGS_MAX = 1024, OPERANDS_MAX = 16 };
    _Alignas(64) unsigned char settings[SETTINGS_MAX];
    const char *operands[OPERANDS_MAX];
    size_t operand_count;
    bool help;
    zeb_error error = {{0}};
    if (command->settings_size > sizeof settings || command->operand_max > OPERANDS_MAX) {
        (void)zeb_fail(&error, ZEB_ERR_INTERNAL, "the table of 'zeb %s' outgrew the parser", command->name);
        return zeb_cli_fail(ZEB_EXIT_NOTHING, &error);
    }
    if (zeb_options_parse(command, argc, argv, settings, operands, &operand_count, &help, &error) != ZEB_OK)
        return zeb_cli_fail(ZEB_EXIT_USAGE, &error);
    if (help) {
        zeb_help_command(stdout, command);
        return ZEB_EXIT_OK;
    }
    return command->run(settings, operands, operand_count);
}

static int unknown_command(const char *word) {
    const char *names[COMMANDS];
    for (size_t i = 0; i < COMMANDS; i++)
        names[i] = commands[i]->name;
    const char *nearest = zeb_text_nearest(word, names, COMMANDS);
    zeb_error error;
    if (nearest != NULL)
        (void)zeb_fail(&error, ZEB_ERR_ARGUMENT, "unknown command '%s'; did you mean '%s'?", word, nearest);
    else
        (void)zeb_fail(&error, ZEB_ERR_ARGUMENT, "unknown command '%s'; 'zeb --help' lists them", word);
    return zeb_cli_fail(ZEB_EXIT_USAGE, &error);
}

int main(int argc, char **argv) {
    const char *word = argc > 1 ? argv[1] : "--help";
    int result = ZEB_EXIT_OK;
    (void)signal(SIGCHLD, SIG_DFL); /* ignored by whoever started this, children would end without a word */
    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0 || strcmp(word, "help") == 0) {
        zeb_help_program(argc > 1 ? stdout : stderr, commands, COMMANDS);
        result = argc > 1 ? ZEB_EXIT_OK : ZEB_EXIT_USAGE;
    } else if (strcmp(word, "--version") == 0) {
        (void)printf("zeb %s (%s)\n", ZEB_VERSION, ZEB_COMMIT);
    } else if (strcmp(word, "--man") == 0) { /* for the build: pages from the same tables */
        zeb_help_man(stdout, commands, COMMANDS);
    } else if (strcmp(word, "--completion") == 0) {
        zeb_help_completion(stdout, commands, COMMANDS);
    } else {
        const zeb_command *command = NULL;
        for (size_t i = 0; i < COMMANDS; i++)
            if (strcmp(commands[i]->name, word) == 0) command = commands[i];
        result = command == NULL ? unknown_command(word) : run_command(command, argc - 2, argv + 2);
    }
    if (fflush(stdout) != 0 || ferror(stdout)) {
        zeb_error error;
        (void)zeb_fail(&error, ZEB_ERR_IO, "stdout could not be written to its end");
        (void)zeb_cli_fail(ZEB_EXIT_NOTHING, &error);
        if (result == ZEB_EXIT_OK) result = ZEB_EXIT_NOTHING;
    }
    return result;
}
