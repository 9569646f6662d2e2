#include "cli/options.h"

#include <string.h>

#include "base/text.h"

zeb_status zeb_duration_parse(const char *text, uint64_t *ns, zeb_error *error) {
    static const struct {
        const char *unit;
        double ns;
    } units[] = {{"ns", 1}, {"us", 1e3}, {"ms", 1e6}, {"s", 1e9}, {"min", 60e9}, {"h", 3600e9}, {"", 1e9}};
    size_t digits = strspn(text, "0123456789.");
    char number[32];
    double value;
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (strcmp(text + digits, units[i].unit) != 0 || digits == 0 || digits >= sizeof number) continue;
        memcpy(number, text, digits);
        number[digits] = '\0';
        if (!zeb_text_to_f64(number, &value) || value * units[i].ns > 1e18) break;
        *ns = (uint64_t)(value * units[i].ns + 0.5);
        return ZEB_OK;
    }
    return zeb_fail(error, ZEB_ERR_ARGUMENT, "'%s' is not a duration like 500ms, 60s or 5min", text);
}

static zeb_status parse_percent(const char *text, double *value, zeb_error *error) {
    char number[32];
    size_t length = strlen(text);
    bool percent = length > 0 && text[length - 1] == '%';
    if (length - percent < sizeof number) {
        memcpy(number, text, length - percent);
        number[length - percent] = '\0';
        double parsed;
        if (zeb_text_to_f64(number, &parsed) && parsed >= 0) {
            *value = percent ? parsed / 100 : parsed;
            if (*value <= 1) return ZEB_OK;
        }
    }
    return zeb_fail(error, ZEB_ERR_ARGUMENT, "'%s' is not a share like 1%% or 0.01", text);
}

static zeb_status parse_choice(const zeb_option *option, const char *text, zeb_error *error) {
    size_t count = 0;
    for (; option->choices[count] != NULL; count++)
        if (strcmp(option->choices[count], text) == 0) return ZEB_OK;
    char known[256] = "";
    for (size_t i = 0; i < count; i++) {
        size_t used = strlen(known);
        (void)snprintf(known + used, sizeof known - used, "%s%s", i > 0 ? ", " : "", option->choices[i]);
    }
    return zeb_fail(error, ZEB_ERR_ARGUMENT, "'%s' is none of %s", text, known);
}

size_t zeb_choice_index(const char *const *choices, const char *name) {
    size_t i = 0;
    while (strcmp(choices[i], name) != 0)
        i++;
    return i;
}

static zeb_status set_value(const zeb_option *option, const char *text, void *settings, zeb_error *error) {
    void *target = (char *)settings + option->offset;
    switch (option->kind) {
        case ZEB_OPTION_FLAG: *(bool *)target = true; return ZEB_OK;
        case ZEB_OPTION_TEXT: *(const char **)target = text; return ZEB_OK;
        case ZEB_OPTION_COUNT:
            if (zeb_text_to_u64(text, target)) return ZEB_OK;
            return zeb_fail(error, ZEB_ERR_ARGUMENT, "'%s' is not a whole number from 0 up", text);
        case ZEB_OPTION_NUMBER:
            if (zeb_text_to_f64(text, target)) return ZEB_OK;
            return zeb_fail(error, ZEB_ERR_ARGUMENT, "'%s' is not a number", text);
        case ZEB_OPTION_PERCENT: return parse_percent(text, target, error);
        case ZEB_OPTION_DURATION: return zeb_duration_parse(text, target, error);
        case ZEB_OPTION_CHOICE: *(const char **)target = text; return parse_choice(option, text, error);
    }
    return zeb_fail(error, ZEB_ERR_INTERNAL, "option --%s has no kind", option->name);
}

static const zeb_option *find_option(const zeb_command *command, const char *name, size_t length) {
    for (const zeb_option *option = command->options; option->name != NULL; option++)
        if (strlen(option->name) == length && strncmp(option->name, name, length) == 0) return option;
    return NULL;
}

static zeb_status unknown_option(const zeb_command *command, const char *name, size_t length, zeb_error *error) {
    enum { MOST = 64 };
    const char *names[MOST];
    size_t count = 0;
    for (const zeb_option *option = command->options; option->name != NULL && count < MOST; option++)
        names[count++] = option->name;
    char word[64];
    (void)snprintf(word, sizeof word, "%.*s", (int)length, name);
    const char *nearest = zeb_text_nearest(word, names, count);
    if (nearest == NULL)
        return zeb_fail(error, ZEB_ERR_ARGUMENT, "unknown option --%s; 'zeb %s --help' lists them", word,
                        command->name);
    return zeb_fail(error, ZEB_ERR_ARGUMENT, "unknown option --%s; did you mean --%s?", word, nearest);
}

static zeb_status set_defaults(const zeb_command *command, void *settings, zeb_error *error) {
    memset(settings, 0, command->settings_size);
    for (const zeb_option *option = command->options; option->name != NULL; option++) {
        if (option->fallback == NULL && option->kind == ZEB_OPTION_PERCENT)
            *(double *)(void *)((char *)settings + option->offset) = -1;
        if (option->fallback == NULL) continue;
        zeb_status status = set_value(option, option->fallback, settings, error);
        if (status != ZEB_OK) return status;
    }
    return ZEB_OK;
}

/* Takes the option at argv[*at], and its value from behind '=' or from the next argument. */
static zeb_status take_option(const zeb_command *command, int argc, char **argv, int *at, void *settings,
                              zeb_error *error) {
    const char *name = argv[*at] + 2;
    size_t length = strcspn(name, "=");
    const zeb_option *option = find_option(command, name, length);
    if (option == NULL) return unknown_option(command, name, length, error);
    const char *value = name[length] == '=' ? name + length + 1 : NULL;
    if (option->kind == ZEB_OPTION_FLAG && value != NULL)
        return zeb_fail(error, ZEB_ERR_ARGUMENT, "--%s takes no value", option->name);
    if (option->kind != ZEB_OPTION_FLAG && value == NULL) {
        if (*at + 1 >= argc) return zeb_fail(error, ZEB_ERR_ARGUMENT, "--%s needs %s", option->name, option->value);
        value = argv[++*at];
    }
    zeb_error why = {{0}};
    zeb_status status = set_value(option, value, settings, &why);
    return status == ZEB_OK ? ZEB_OK : zeb_fail(error, status, "--%s: %.400s", option->name, why.text);
}

zeb_status zeb_options_parse(const zeb_command *command, int argc, char **argv, void *settings, const char **operands,
                             size_t *operand_count, bool *help, zeb_error *error) {
    *operand_count = 0;
    *help = false;
    for (int at = 0; at < argc; at++)
        if (strcmp(argv[at], "--help") == 0 || strcmp(argv[at], "-h") == 0) *help = true;
    zeb_status status = set_defaults(command, settings, error);
    bool options_end = false;
    for (int at = 0; at < argc && status == ZEB_OK && !*help; at++) {
        const char *word = argv[at];
        if (!options_end && strcmp(word, "--") == 0) {
            options_end = true;
        } else if (!options_end && strncmp(word, "--", 2) == 0) {
            status = take_option(command, argc, argv, &at, settings, error);
        } else if (!options_end && word[0] == '-' && word[1] != '\0') {
            status = zeb_fail(error, ZEB_ERR_ARGUMENT, "unknown option %s; options are written --name", word);
        } else if (*operand_count >= command->operand_max) {
            status = zeb_fail(error, ZEB_ERR_ARGUMENT, "'%s' is one argument too many; see 'zeb %s --help'", word,
                              command->name);
        } else {
            operands[(*operand_count)++] = word;
        }
    }
    return status;
}
