#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cli/options.h"

typedef struct settings {
    bool flag;
    const char *text, *choice;
    uint64_t count, duration_ns;
    double number, share;
} settings;

static const char *const choices[] = {"red", "green", NULL};

static const zeb_option table[] = {
    {"flag", ZEB_OPTION_FLAG, NULL, NULL, offsetof(settings, flag), "", NULL},
    {"text", ZEB_OPTION_TEXT, "TEXT", "default", offsetof(settings, text), "", NULL},
    {"count", ZEB_OPTION_COUNT, "N", "3", offsetof(settings, count), "", NULL},
    {"number", ZEB_OPTION_NUMBER, "X", NULL, offsetof(settings, number), "", NULL},
    {"share", ZEB_OPTION_PERCENT, "SHARE", "1%", offsetof(settings, share), "", NULL},
    {"time", ZEB_OPTION_DURATION, "TIME", "1.5s", offsetof(settings, duration_ns), "", NULL},
    {"colour", ZEB_OPTION_CHOICE, "NAME", "red", offsetof(settings, choice), "", choices},
    {0}};

static const zeb_command command = {
    .name = "test", .operands = "", .operand_max = 1, .options = table, .settings_size = sizeof(settings)};

typedef struct outcome {
    zeb_status status;
    settings set;
    const char *operand[1];
    size_t operands;
    bool help;
    zeb_error error;
} outcome;

/* Parses words separated by single blanks. */
static outcome parse(const char *line) {
    static char text[256];
    char *argv[16];
    int argc = 0;
    outcome out = {0};
    (void)snprintf(text, sizeof text, "%s", line);
    for (char *word = strtok(text, " "); word != NULL; word = strtok(NULL, " "))
        argv[argc++] = word;
    out.status = zeb_options_parse(&command, argc, argv, &out.set, out.operand, &out.operands, &out.help, &out.error);
    return out;
}

static void defaults_are_parsed_like_values(void **state) {
    (void)state;
    outcome out = parse("");
    assert_int_equal(out.status, ZEB_OK);
    assert_string_equal(out.set.text, "default");
    assert_int_equal(out.set.count, 3);
    assert_true(out.set.share == 0.01);
    assert_int_equal(out.set.duration_ns, 1500000000);
    assert_false(out.set.flag);
}

static void values_follow_or_are_joined(void **state) {
    (void)state;
    outcome out = parse("--text=a=b --count 12 --flag word --share 0.05 --time 5min --colour green --number -1.5");
    assert_int_equal(out.status, ZEB_OK);
    assert_string_equal(out.set.text, "a=b");
    assert_int_equal(out.set.count, 12);
    assert_true(out.set.flag);
    assert_true(out.set.share == 0.05);
    assert_true(out.set.number == -1.5);
    assert_int_equal(out.set.duration_ns, UINT64_C(300000000000));
    assert_string_equal(out.set.choice, "green");
    assert_int_equal(out.operands, 1);
    assert_string_equal(out.operand[0], "word");
    assert_string_equal(parse("-- --flag").operand[0], "--flag");
}

static void durations_have_units(void **state) {
    (void)state;
    static const struct {
        const char *text;
        uint64_t ns;
    } good[] = {{"10", UINT64_C(10000000000)},  {"250ms", 250000000}, {"7us", 7000}, {"9ns", 9}, {"0", 0},
                {"2h", UINT64_C(7200000000000)}};
    zeb_error error;
    uint64_t ns;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        assert_int_equal(zeb_duration_parse(good[i].text, &ns, &error), ZEB_OK);
        assert_int_equal(ns, good[i].ns);
    }
    const char *const bad[] = {"", "s", "-1s", "1 s", "1d", "1.2.3s", "99999999999h"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(zeb_duration_parse(bad[i], &ns, &error), ZEB_ERR_ARGUMENT);
}

static void mistakes_are_named(void **state) {
    (void)state;
    static const struct {
        const char *line, *says;
    } wrong[] = {{"--coutn 1", "did you mean --count?"},
                 {"--zzzzzzzz", "--help"},
                 {"--count", "needs N"},
                 {"--count -1", "--count"},
                 {"--flag=1", "takes no value"},
                 {"--share 101%", "--share"},
                 {"--colour blue", "red, green"},
                 {"-x", "--name"},
                 {"a b", "one argument too many"},
                 {"--number nan", "--number"}};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        outcome out = parse(wrong[i].line);
        assert_int_equal(out.status, ZEB_ERR_ARGUMENT);
        assert_non_null(strstr(out.error.text, wrong[i].says));
    }
}

static void help_wins_over_mistakes(void **state) {
    (void)state;
    outcome out = parse("--nonsense --help");
    assert_int_equal(out.status, ZEB_OK);
    assert_true(out.help);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_are_parsed_like_values),
        cmocka_unit_test(values_follow_or_are_joined),
        cmocka_unit_test(durations_have_units),
        cmocka_unit_test(mistakes_are_named),
        cmocka_unit_test(help_wins_over_mistakes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
