/* run/inputs.h - what the linear layers of a model see on the calibration slice of train, and quantisation with a view
 * to it.
 *
 * The slice (run/slice.h) runs in F32 under the exact graph: with the [CLS]-only last layer and the policy, if there is
 * one, so that the rows that are seen are those that will be computed. Of each linear layer's input x [rows, k] the
 * second moments sum x^T x are kept, a lower triangle in binary64, one for layers that read the same x.
 *
 * The model runs half a layer at a time (run/stages.h), when the quantisation gets to its matrices: in memory are its
 * weights in a plan and the moments of their inputs, or those and a matrix's factor, and what a batch makes of them.
 * Batches are small, and sums of binary64 are made in their order: with others, a few codes in a million differ. */
#ifndef ZEB_RUN_INPUTS_H
#define ZEB_RUN_INPUTS_H

#include "models/quantise.h"
#include "plugins/registry.h"
#include "run/slice.h"
#include "run/worker.h"

typedef struct zeb_inputs_options {
    /* model, policy, task, data, split (train), device, threads, pin, isa, seq_max, limit (examples of the slice,
     * spread evenly; 0: all) are read. */
    zeb_case what;
    zeb_slice slice;
    const char *out;               /* folder of the quantised checkpoint */
    zeb_quantise_options quantise; /* moments and user are filled in */
} zeb_inputs_options;

/* Quantises in a worker process, watched as given; shared->done of shared->total examples
 * were seen, each once a stage. Errors: those of
 * zeb_slice_check, zeb_slice_open and zeb_quantise; ZEB_ERR_RANGE for inputs that are not finite, ZEB_ERR_INTERRUPTED,
 * ZEB_ERR_DEVICE when the worker died. */
ZEB_MUST_CHECK zeb_status zeb_inputs_quantise(const zeb_inputs_options *options, const zeb_registry *registry,
                                              const zeb_worker_watch *watch, zeb_quantise_report *report,
                                              zeb_error *error);

/* h += x^T x, the lower triangle row by row [k * (k + 1) / 2], for x[rows,k]. */
void zeb_inputs_add(const float *x, size_t rows, size_t k, double *h);

#endif
