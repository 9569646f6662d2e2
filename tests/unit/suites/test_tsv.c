#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "suites/tsv.h"

/* A cursor over a heap copy of exactly size + 1 bytes, so that the sanitizer sees a step too far. */
static char *start(zeb_tsv *cursor, const char *bytes, size_t size) {
    char *text = calloc(size + 1, 1);
    assert_non_null(text);
    if (size > 0) memcpy(text, bytes, size);
    zeb_tsv_start(cursor, text, size);
    return text;
}

#define START(cursor, literal) start(cursor, literal, sizeof(literal) - 1)

static void test_fields_and_line_ends(void **state) {
    (void)state;
    zeb_tsv cursor;
    zeb_tsv_row row;
    char *text = START(&cursor, "\xef\xbb\xbfone\ttwo\r\n\"a\t\tb\"\nlast");
    assert_true(zeb_tsv_next(&cursor, &row));
    assert_int_equal(row.fields, 2);
    assert_string_equal(row.field[0], "one");
    assert_string_equal(row.field[1], "two");
    assert_int_equal(cursor.line, 1);
    assert_true(zeb_tsv_next(&cursor, &row));
    assert_int_equal(row.fields, 3); /* a quotation mark quotes nothing */
    assert_string_equal(row.field[0], "\"a");
    assert_string_equal(row.field[1], "");
    assert_int_equal(row.length[1], 0);
    assert_string_equal(row.field[2], "b\"");
    assert_true(zeb_tsv_next(&cursor, &row));
    assert_string_equal(row.field[0], "last");
    assert_int_equal(row.length[0], 4);
    assert_false(zeb_tsv_next(&cursor, &row));
    free(text);
}

static void test_final_line_end_is_no_line(void **state) {
    (void)state;
    zeb_tsv cursor;
    zeb_tsv_row row;
    char *text = START(&cursor, "a\n");
    assert_true(zeb_tsv_next(&cursor, &row));
    assert_false(zeb_tsv_next(&cursor, &row));
    free(text);
    text = START(&cursor, "");
    assert_false(zeb_tsv_next(&cursor, &row));
    free(text);
    text = START(&cursor, "\xef\xbb\xbf");
    assert_false(zeb_tsv_next(&cursor, &row));
    free(text);
}

static void expect_problem(const char *bytes, size_t size, const char *part) {
    zeb_tsv cursor;
    zeb_tsv_row row;
    char *text = start(&cursor, bytes, size);
    assert_true(zeb_tsv_next(&cursor, &row));
    assert_int_equal(row.fields, 0);
    if (strstr(row.problem, part) == NULL) fail_msg("\"%s\" does not say \"%s\"", row.problem, part);
    assert_false(zeb_tsv_next(&cursor, &row));
    free(text);
}

static void test_malformed_lines(void **state) {
    (void)state;
    expect_problem("\n", 1, "empty line");
    expect_problem("\r\n", 2, "empty line");
    expect_problem("a\tb\xff"
                   "c\n",
                   6, "byte 0xff at column 4 is not UTF-8");
    expect_problem("\xed\xa0\x80\n", 4, "not UTF-8"); /* a surrogate */
    expect_problem("\xc3", 1, "not UTF-8");           /* a character cut off by the end of the file */
    expect_problem("ab\0c\n", 5, "NUL byte at column 3");
    char tabs[ZEB_TSV_FIELDS_MAX + 1];
    memset(tabs, '\t', sizeof tabs);
    expect_problem(tabs, ZEB_TSV_FIELDS_MAX, "more than 64 columns");
    char *huge = malloc(ZEB_TSV_LINE_MAX + 2);
    assert_non_null(huge);
    memset(huge, 'x', ZEB_TSV_LINE_MAX + 1);
    huge[ZEB_TSV_LINE_MAX + 1] = '\n';
    expect_problem(huge, ZEB_TSV_LINE_MAX + 2, "a line of 1048577 bytes");
    free(huge);
}

static void test_as_many_fields_as_allowed(void **state) {
    (void)state;
    zeb_tsv cursor;
    zeb_tsv_row row;
    char tabs[ZEB_TSV_FIELDS_MAX - 1];
    memset(tabs, '\t', sizeof tabs);
    char *text = start(&cursor, tabs, sizeof tabs);
    assert_true(zeb_tsv_next(&cursor, &row));
    assert_int_equal(row.fields, ZEB_TSV_FIELDS_MAX);
    free(text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fields_and_line_ends),
        cmocka_unit_test(test_final_line_end_is_no_line),
        cmocka_unit_test(test_malformed_lines),
        cmocka_unit_test(test_as_many_fields_as_allowed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
