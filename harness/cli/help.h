/* cli/help.h - what is printed from the command tables: help, the man page, bash completion. */
#ifndef ZEB_CLI_HELP_H
#define ZEB_CLI_HELP_H

#include <stdio.h>

#include "cli/options.h"

void zeb_help_program(FILE *to, const zeb_command *const *commands, size_t count);
void zeb_help_command(FILE *to, const zeb_command *command);
void zeb_help_man(FILE *to, const zeb_command *const *commands, size_t count);
void zeb_help_completion(FILE *to, const zeb_command *const *commands, size_t count);

#endif
