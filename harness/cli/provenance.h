/* cli/provenance.h - the run as the database keeps it: who built zeb, what it was called with, on which machine. */
#ifndef ZEB_CLI_PROVENANCE_H
#define ZEB_CLI_PROVENANCE_H

#include "base/arena.h"
#include "store/store.h"

/* Collects what is known and begins a run in the store. */
ZEB_MUST_CHECK zeb_status zeb_provenance_begin(zeb_store *store, zeb_arena *arena, int64_t *run_id, zeb_error *error);

#endif
