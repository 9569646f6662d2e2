/* suites/interval.h - confidence intervals with a closed form, at 95 % unless z says otherwise. */
#ifndef ZEB_SUITES_INTERVAL_H
#define ZEB_SUITES_INTERVAL_H

#include <stddef.h>

#define ZEB_Z_95 1.959963984540054 /* 97.5 % quantile of the normal distribution */

/* Wilson's score interval of a proportion (Wilson 1927), inside [0, 1]; total > 0. */
void zeb_interval_wilson(double successes, double total, double z, double *lo, double *hi);

/* Fisher's z interval of Pearson's r from n pairs (Fisher 1915): standard error 1 / sqrt(n - 3); [-1, 1] for n < 4, as
 * SciPy has it. */
void zeb_interval_fisher(double r, size_t n, double z, double *lo, double *hi);

/* The same for Spearman's rank correlation with its wider standard error sqrt((1 + r^2 / 2) / (n - 3)) (Bonett and
 * Wright 2000, Psychometrika 65). */
void zeb_interval_bonett_wright(double r, size_t n, double z, double *lo, double *hi);

/* The p quantile of sorted[n], n > 0, linear between order statistics (type 7 of Hyndman and Fan 1996, NumPy's
 * default). */
double zeb_quantile_sorted(const double *sorted, size_t n, double p);

/* Sorts ascending; no value may be NaN. */
void zeb_sort_doubles(double *value, size_t n);

#endif
