/* run/binomial.h - exact binomial probabilities, for any sample size that a benchmark reaches. */
#ifndef ZEB_RUN_BINOMIAL_H
#define ZEB_RUN_BINOMIAL_H

#include <stdint.h>

/* P(X <= k) for X ~ Binomial(n, p), 0 <= p <= 1; 0 for k < 0. Relative error under 3e-8 up to n = 10^7,
 * where lgamma runs out of digits. By the
 * regularised incomplete beta function I(1-p; n-k, k+1) and its continued fraction (NIST DLMF 8.17.5, 8.17.22). */
double zeb_binomial_cdf(int64_t k, int64_t n, double p);

/* P(X = k). */
double zeb_binomial_pmf(int64_t k, int64_t n, double p);

/* The order statistics whose interval holds the p quantile of any continuous distribution with at least the given
 * confidence, equal tails (David and Nagaraja 2003, "Order Statistics", 7.1). Ranks from 1; *low is 0 when n is too
 * small for a lower bound, *high is n + 1 when it is too small for an upper one. */
void zeb_binomial_ranks(int64_t n, double p, double confidence, int64_t *low, int64_t *high);

#endif
