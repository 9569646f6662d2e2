/* models/quantise.h - a checkpoint with float weights made into one with I8 or U4 weights, by rounding to nearest
 * or with a view to the outputs.
 *
 * The matrices [N,K] of the encoder's layers and the embedding tables become, as asked, I8 with a scale a row (an
 * output channel, a word) or U4 with a scale a group of columns (docs/formats/quantisation.md); everything else is
 * copied, bit by bit unless `half` is set. With the range ABSMAX the numbers are those of zeb_quantise_i8 and
 * zeb_quantise_i4, so that a model computes the same whether it was quantised here or by a device at compile. The other
 * ranges clip: PERCENTILE the greatest magnitudes of each row (or group), MSE where the mean square error of the row
 * (or group) is least, among 64 clips from a half to the whole.
 *
 * Where second moments of the matrices' inputs are given, errors can be made up for within a row (GPTQ), and a format
 * be chosen for each matrix by what it does to the outputs.
 *
 * Tensors go from the mapped input to the output a few rows at a time; memory in use stays far below the largest one
 * (GPTQ: and two triangles of a [k,k] in binary64). A mix is rounded into a file without a name, then written.
 * The output folder appears whole (model, config, vocabulary, and the policy with the new model's hash) or not at all.
 */
#ifndef ZEB_MODELS_QUANTISE_H
#define ZEB_MODELS_QUANTISE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "zeb/status.h"

typedef enum zeb_range { ZEB_RANGE_ABSMAX = 0, ZEB_RANGE_PERCENTILE, ZEB_RANGE_MSE } zeb_range;

typedef enum zeb_quantise_format {
    ZEB_QUANTISE_KEEP = 0,
    ZEB_QUANTISE_I8,
    ZEB_QUANTISE_U4,
    ZEB_QUANTISE_MIXED /* of weights: for each matrix the smallest of U4, I8 and float that is within the budget */
} zeb_quantise_format;

typedef struct zeb_quantise_options {
    zeb_quantise_format weights;    /* of the encoder's matrices */
    zeb_quantise_format embeddings; /* of the word, position and type tables; U4: of the words, I8 of the others */
    int32_t group;                  /* columns a scale in U4: 32 or 64 */
    zeb_range range;
    double percentile; /* share of the magnitudes that is not clipped, above 0.5, at most 1 */
    bool pooler;       /* quantise the pooler's matrix too */
    bool classifier;   /* and the classifier's */
    bool half;         /* F32 tensors that stay float become F16 */
    bool gptq;         /* errors are made up for in the columns to come (models/gptq.h): needs moments */
    double budget;     /* MIXED: the relative error of its outputs that a matrix may have: needs moments */
    /* What is known of a matrix's inputs x [k], by its name in the checkpoint: *h is the sum of x x^T over a
     * calibration slice, its lower triangle row by row [k (k + 1) / 2], valid until the next call; or NULL: nothing is
     * known of this one, and it is rounded to nearest (MIXED: to I8). They are asked for in the order of the encoder's
     * layers, so that those can run as they are asked for. The function is NULL where no inputs are seen; it writes
     * what goes wrong where the caller of zeb_quantise has its error. */
    zeb_status (*moments)(void *user, const char *tensor, size_t k, const double **h);
    void *user;
    const _Atomic uint32_t *stop; /* not 0: end with ZEB_ERR_INTERRUPTED, nothing written; NULL: never */
    bool keep_shards; /* what doesn't change in a shard beside the folder ("../") stays there and is pointed at */
} zeb_quantise_options;

typedef struct zeb_quantise_report {
    uint64_t tensors, quantised;  /* of the input */
    uint64_t eight, four, floats; /* its matrices of linear layers, by what became of them */
    uint64_t bytes_in, bytes_out; /* shared shards included */
    double error;        /* of the quantised weights: square root of (sum of squared errors / sum of squares) */
    double output_error; /* the same of the outputs of the quantised matrices, on the inputs that were seen; -1: none */
    char sha256[65];     /* of the new model, as zeb_checkpoint_hash has it */
    bool policy;         /* a policy came along */
} zeb_quantise_report;

/* Reads the checkpoint in folder `from` (single file or shards) and writes folder `to`, which must not exist or be
 * empty, as a single file, or with `keep_shards` as an index over encoder.safetensors and the shared shards.
 * ZEB_ERR_ARGUMENT: options, groups that do not divide a matrix's columns, an output in the way, or not beside `from`
 * as `keep_shards` needs it; ZEB_ERR_UNSUPPORTED: weights that are quantised already, or a checkpoint in which there is
 * nothing to quantise; ZEB_ERR_RANGE: a weight that is not finite, or too large for F16; ZEB_ERR_IO, ZEB_ERR_FORMAT.
 * The sentence names the tensor. */
ZEB_MUST_CHECK zeb_status zeb_quantise(const char *from, const char *to, const zeb_quantise_options *options,
                                       zeb_quantise_report *report, zeb_error *error);

#endif
