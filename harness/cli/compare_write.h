/* cli/compare_write.h - how zeb compare prints what it found. */
#ifndef ZEB_CLI_COMPARE_WRITE_H
#define ZEB_CLI_COMPARE_WRITE_H

#include <stdio.h>

#include "run/change.h"

/* What all cases share, a line a case, what is to be said about each, and the count of verdicts. */
ZEB_MUST_CHECK zeb_status zeb_compare_write_table(FILE *out, bool colour, const zeb_changes *changes, zeb_error *error);

/* The same in Markdown. */
ZEB_MUST_CHECK zeb_status zeb_compare_write_md(FILE *out, const zeb_changes *changes, zeb_error *error);

/* One object; every key is always there, unknown is null. */
ZEB_MUST_CHECK zeb_status zeb_compare_write_json(FILE *out, const zeb_changes *changes, double tolerance,
                                                 zeb_error *error);

#endif
