/* suites/answer.h - how near a free answer is to a gold one, as SQuAD's official script (Rajpurkar et al. 2016) and
 * ReCoRD's after it have it: lower case, no ASCII punctuation, no articles (a, an, the), words by white space. */
#ifndef ZEB_SUITES_ANSWER_H
#define ZEB_SUITES_ANSWER_H

#include <stdbool.h>

#include "base/arena.h"

/* The words of text, normalised, joined by single blanks, in the arena; well-formed UTF-8 in. */
ZEB_MUST_CHECK zeb_status zeb_answer_normalise(zeb_arena *arena, const char *text, char **normal, zeb_error *error);

/* Of two normalised answers: F1 of the words they share, counted as often as they occur in both. Two empty ones share
 * everything, an empty one and another nothing. */
double zeb_answer_f1(const char *normal, const char *gold);

#endif
