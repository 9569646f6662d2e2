/* models/quantise_row.h - one row of weights to I8 or U4, with or without clipping. Private to the room. */
#ifndef ZEB_MODELS_QUANTISE_ROW_H
#define ZEB_MODELS_QUANTISE_ROW_H

#include <stddef.h>
#include <stdint.h>

#include "models/quantise.h"

enum { ZEB_QUANTISE_GROUP_MAX = 64 };

/* Row x[n] (finite) to q[n] in -127..127 and its scale (binary32). scratch[n] is the caller's. */
float zeb_quantise_row8(const float *x, size_t n, const zeb_quantise_options *options, float *scratch, int8_t *q);

/* Row x[n], n a multiple of group (32 or 64), to n/2 bytes of nibbles (low: even column) and n/group binary16 scales.
 * scratch[n] is the caller's. Of the options both read the range. */
void zeb_quantise_row4(const float *x, size_t n, size_t group, const zeb_quantise_options *options, float *scratch,
                       uint8_t *packed, uint16_t *scale);

/* Their parts: the greatest magnitude that is represented, by the range; the numbers x[n] with greater ones cut, giving
 * the value of a step; and nibbles of n (even) of them. scratch[n] and q[n] are the caller's. */
float zeb_quantise_clip8(const float *x, size_t n, const zeb_quantise_options *options, float *scratch, int8_t *q);
float zeb_quantise_clip4(const float *x, size_t n, const zeb_quantise_options *options, float *scratch, int8_t *q);
float zeb_quantise_round8(const float *x, size_t n, float clip, int8_t *q);
float zeb_quantise_round4(const float *x, size_t n, float clip, int8_t *q, uint16_t *scale);
void zeb_quantise_pack4(const int8_t *q, size_t n, uint8_t *packed);

#endif
