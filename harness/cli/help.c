#include "cli/help.h"

#include <string.h>

static const char purpose[] = "zero-emission bench: what a correct answer of a transformer costs on a device";

void zeb_help_program(FILE *to, const zeb_command *const *commands, size_t count) {
    (void)fprintf(to, "zeb - %s\n\nUsage: zeb COMMAND [OPTIONS]\n\nCommands:\n", purpose);
    for (size_t i = 0; i < count; i++)
        (void)fprintf(to, "  %-10s %s\n", commands[i]->name, commands[i]->summary);
    (void)fputs("\n'zeb COMMAND --help' shows a command's options and examples; 'zeb --version' the version.\n\n"
                "Exit status: 0 every case ok, 1 some case not ok, 2 wrong usage, 3 nothing could run.\n",
                to);
}

/* Text folded at blanks to `width` columns, continuation lines indented. */
static void fold(FILE *to, const char *text, int indent, int width) {
    int column = indent;
    while (*text != '\0') {
        int word = (int)strcspn(text, " ");
        if (column > indent && column + 1 + word > width) {
            (void)fprintf(to, "\n%*s", indent, "");
            column = indent;
        } else if (column > indent) {
            (void)fputc(' ', to);
            column++;
        }
        (void)fprintf(to, "%.*s", word, text);
        column += word;
        text += word;
        text += strspn(text, " ");
    }
}

static void option_words(char *to, size_t capacity, const zeb_option *option) {
    (void)snprintf(to, capacity, "--%s%s%s", option->name, option->value != NULL ? " " : "",
                   option->value != NULL ? option->value : "");
}

void zeb_help_command(FILE *to, const zeb_command *command) {
    enum { INDENT = 26, WIDTH = 100 };
    (void)fprintf(to, "zeb %s - %s\n\nUsage: zeb %s [OPTIONS]%s%s\n\nOptions:\n", command->name, command->summary,
                  command->name, *command->operands != '\0' ? " " : "", command->operands);
    for (const zeb_option *option = command->options; option->name != NULL; option++) {
        char words[80];
        option_words(words, sizeof words, option);
        (void)fprintf(to, "  %-*s", INDENT - 2, words);
        if (strlen(words) > INDENT - 3) (void)fprintf(to, "\n%*s", INDENT, "");
        char text[512];
        size_t used = (size_t)snprintf(text, sizeof text, "%s", option->help);
        if (option->choices != NULL && used < sizeof text) {
            used += (size_t)snprintf(text + used, sizeof text - used, " One of");
            for (size_t i = 0; option->choices[i] != NULL && used < sizeof text; i++)
                used +=
                    (size_t)snprintf(text + used, sizeof text - used, "%s %s", i > 0 ? "," : "", option->choices[i]);
            if (used < sizeof text) used += (size_t)snprintf(text + used, sizeof text - used, ".");
        }
        if (option->fallback != NULL && used < sizeof text)
            (void)snprintf(text + used, sizeof text - used, " [%s]", option->fallback);
        fold(to, text, INDENT, WIDTH);
        (void)fputc('\n', to);
    }
    (void)fprintf(to, "  %-*sthis text\n", INDENT - 2, "--help");
    if (command->exit_status != NULL) {
        (void)fputs("\nExit status: ", to);
        fold(to, command->exit_status, (int)strlen("Exit status: "), WIDTH);
        (void)fputc('\n', to);
    }
    if (command->examples == NULL) return;
    (void)fputs("\nExamples:\n", to);
    for (size_t i = 0; command->examples[i] != NULL; i++)
        (void)fprintf(to, "  %s\n", command->examples[i]);
}

/* Text with roff's special characters made plain. */
static void roff(FILE *to, const char *text) {
    for (; *text != '\0'; text++) {
        if (*text == '-')
            (void)fputs("\\-", to);
        else if (*text == '\\')
            (void)fputs("\\e", to);
        else
            (void)fputc(*text, to);
    }
}

static void man_command(FILE *to, const zeb_command *command) {
    (void)fprintf(to, ".SS zeb %s %s\n", command->name, command->operands);
    roff(to, command->summary);
    (void)fputs(".\n", to);
    for (const zeb_option *option = command->options; option->name != NULL; option++) {
        (void)fputs(".TP\n.B ", to);
        char words[80];
        option_words(words, sizeof words, option);
        roff(to, words);
        (void)fputc('\n', to);
        roff(to, option->help);
        if (option->fallback != NULL) {
            (void)fputs(" Default: ", to);
            roff(to, option->fallback);
            (void)fputc('.', to);
        }
        (void)fputc('\n', to);
    }
    if (command->exit_status != NULL) {
        (void)fputs(".PP\nExit status: ", to);
        roff(to, command->exit_status);
        (void)fputc('\n', to);
    }
    if (command->examples == NULL) return;
    (void)fputs(".PP\nExamples:\n.PP\n.nf\n", to);
    for (size_t i = 0; command->examples[i] != NULL; i++) {
        roff(to, command->examples[i]);
        (void)fputc('\n', to);
    }
    (void)fputs(".fi\n", to);
}

void zeb_help_man(FILE *to, const zeb_command *const *commands, size_t count) {
    (void)fprintf(to, ".TH ZEB 1 \"\" \"zeb %s\" \"User Commands\"\n.SH NAME\nzeb \\- ", ZEB_VERSION);
    roff(to, purpose);
    (void)fputs("\n.SH SYNOPSIS\n.B zeb\nCOMMAND [OPTIONS]\n.SH COMMANDS\n", to);
    for (size_t i = 0; i < count; i++)
        man_command(to, commands[i]);
    (void)fputs(".SH EXIT STATUS\n0: every case ok. 1: some case not ok. 2: wrong usage. 3: nothing could run.\n"
                ".SH ENVIRONMENT\n.TP\n.B ZEB_DATA\nwhere data sets are looked for\n.TP\n.B ZEB_PLUGIN_PATH\n"
                "further folders with plugins, separated by colons\n.TP\n.B NO_COLOR\nif set, no colours\n",
                to);
}

void zeb_help_completion(FILE *to, const zeb_command *const *commands, size_t count) {
    (void)fputs("# bash completion for zeb, made from its option tables\n_zeb() {\n"
                "    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} options=\n"
                "    if [ \"$COMP_CWORD\" -eq 1 ]; then\n        COMPREPLY=($(compgen -W \"",
                to);
    for (size_t i = 0; i < count; i++)
        (void)fprintf(to, "%s%s", i > 0 ? " " : "", commands[i]->name);
    (void)fputs(
        " --help --version\" -- \"$word\"))\n        return\n    fi\n    case \"${COMP_WORDS[1]} $before\" in\n", to);
    for (size_t i = 0; i < count; i++)
        for (const zeb_option *option = commands[i]->options; option->name != NULL; option++) {
            if (option->choices == NULL) continue;
            (void)fprintf(to, "        \"%s --%s\") options=\"", commands[i]->name, option->name);
            for (size_t j = 0; option->choices[j] != NULL; j++)
                (void)fprintf(to, "%s%s", j > 0 ? " " : "", option->choices[j]);
            (void)fputs("\" ;;\n", to);
        }
    (void)fputs("    esac\n    [ -n \"$options\" ] || case ${COMP_WORDS[1]} in\n", to);
    for (size_t i = 0; i < count; i++) {
        (void)fprintf(to, "        %s) options=\"", commands[i]->name);
        for (const zeb_option *option = commands[i]->options; option->name != NULL; option++)
            (void)fprintf(to, "--%s ", option->name);
        for (const char *at = commands[i]->operands; *at != '\0' && *at != '['; at++)
            (void)fputc(*at == '|' ? ' ' : *at, to);
        (void)fputs(" --help\" ;;\n", to);
    }
    (void)fputs("    esac\n    COMPREPLY=($(compgen -W \"$options\" -- \"$word\"))\n}\n"
                "complete -o default -F _zeb zeb\n",
                to);
}
