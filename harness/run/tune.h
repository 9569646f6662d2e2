/* run/tune.h - a session fitted to its device by the device's cost table (run/costs.h), where the case asks for it.
 *
 * - case.precisions, a mask of 1 << zeb_precision: every matrix and attention of the encoder gets the fastest of these
 *   (of those that the policy names, where it names some) at the rows that it will meet; the more accurate one unless
 * another is 1 % faster. What the model keeps in F32 whatever is asked (pooler, classifier) stays.
 * - case.tune: a layer's token selection is dropped where it is predicted to cost more than it saves; then, with one
 *   sequence a pass, `topk` counts and floors are raised as long as the pass is predicted to take no longer (1 %).
 *   Both only keep more rows than the policy asks. And where the device can do something in several ways, it is told
 *   the one that was fastest in its own trial, by 3 % at least.
 *
 * Rows come from lengths, and from what the policy keeps of some examples that are run once before anything is
 * measured: counts, never scores or labels. What took effect is said in row->effective: precision ("mixed" where there
 * are several) and note ("costs=<hash> precisions=... dropped=... raised=... choices=..."). Docs: adr/0004. */
#ifndef ZEB_RUN_TUNE_H
#define ZEB_RUN_TUNE_H

#include "run/costs_measure.h"
#include "run/session.h"

/* Whether the case asks for anything of this. */
bool zeb_tune_wanted(const zeb_case *what);

/* Measures what tuning may have to compare and the table lacks. */
ZEB_MUST_CHECK zeb_status zeb_tune_measure(zeb_session *session, const zeb_costs *have, zeb_shared *shared,
                                           zeb_costs_made *made, zeb_error *error);

/* Fits an open session. ZEB_ERR_NOT_FOUND when the table does not hold what is needed: the sentence says how to make
 * it. */
ZEB_MUST_CHECK zeb_status zeb_tune(zeb_session *session, const zeb_costs *costs, zeb_row *row, zeb_error *error);

#endif
