/* run/finite.h - where numbers that are not finite come from. */
#ifndef ZEB_RUN_FINITE_H
#define ZEB_RUN_FINITE_H

#include "run/session.h"

/* After a pass whose logits of an example (its place in session->data) are not finite: fails, with a sentence that
 * names the example and the first stage of the graph with such a value. For that the batch in hand runs once more on a
 * plan in which every stage can be read; a pass that went well costs nothing. */
ZEB_MUST_CHECK zeb_status zeb_finite_blame(zeb_session *session, size_t example, zeb_error *error);

#endif
