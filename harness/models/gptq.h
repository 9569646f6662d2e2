/* models/gptq.h - rounding with a view to the outputs (GPTQ, Frantar et al. 2022, arXiv:2210.17323): columns of a row
 * are rounded one after the other, and what each rounding spoils on calibration inputs is made up for in the columns
 * still to come. Private to the room.
 *
 * For inputs with second moments H = sum_t x_t x_t^T, an error e in column k of a row is best answered by adding
 * -e / U[k,k] * U[k,j] to each later column j, with U upper triangular and U^T U the inverse of H. H is damped first by
 * a hundredth of its mean diagonal. Rows do not see each other. */
#ifndef ZEB_MODELS_GPTQ_H
#define ZEB_MODELS_GPTQ_H

#include <stddef.h>

#include "models/quantise_row.h"

/* Both triangles are stored row by row without the other half, k (k + 1) / 2 numbers: of h the lower one, of u the
 * upper one. An input that was always 0 counts as one that is seen alone. ZEB_ERR_RANGE if h is no matrix of second
 * moments. */
ZEB_MUST_CHECK zeb_status zeb_gptq_factor(const double *h, size_t k, double *u, zeb_error *error);

/* As zeb_quantise_row8 and zeb_quantise_row4, for inputs of factor u; w[n] (double) is scratch. The scale of a
 * group is that of the weights as they stand when its first column is due. */
float zeb_gptq_row8(const float *x, size_t n, const double *u, const zeb_quantise_options *options, float *scratch,
                    double *w, int8_t *q);
void zeb_gptq_row4(const float *x, size_t n, size_t group, const double *u, const zeb_quantise_options *options,
                   float *scratch, double *w, uint8_t *packed, uint16_t *scale);

/* d^T h d for d[n] and symmetric h (lower triangle): the squared output error of a row that is wrong by d, summed
 * over the inputs. */
double zeb_gptq_error(const double *d, const double *h, size_t n);

#endif
