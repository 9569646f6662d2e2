/* run/change_answers.h - the answers that `zeb run --predictions` wrote, of two runs: which examples both of two rows
 * have answered, and who was right. One thread at a time. */
#ifndef ZEB_RUN_CHANGE_ANSWERS_H
#define ZEB_RUN_CHANGE_ANSWERS_H

#include "base/arena.h"
#include "store/row.h"

typedef struct zeb_answers zeb_answers;

/* Reads both files whole; NULL for either: there are none, and nothing will be found. ZEB_ERR_IO: not readable,
 * ZEB_ERR_FORMAT: a line that zeb did not write (its number is named). */
ZEB_MUST_CHECK zeb_status zeb_answers_open(const char *then_path, const char *now_path, zeb_answers **answers,
                                           zeb_error *error);
void zeb_answers_close(zeb_answers *answers); /* takes NULL */

/* Whether each of *count examples was answered rightly, then and now, in the arena. *count is 0 where the files can't
 * say: the headline is no accuracy, a file has no lines of the row or those of several rows alike (two policies on one
 * device), its accuracy is not the row's (it is of another run), or the examples are others. */
ZEB_MUST_CHECK zeb_status zeb_answers_pair(zeb_answers *answers, const zeb_row *then, const zeb_row *now,
                                           zeb_arena *arena, const bool **then_right, const bool **now_right,
                                           size_t *count, zeb_error *error);

/* Why the first row with an accuracy did not find its answers; "" if all did. */
const char *zeb_answers_note(const zeb_answers *answers);

#endif
