/* SPDX-License-Identifier: Apache-2.0
 *
 * exact.h - the scalar functions rounded to float32 correctly: a fast float64 answer with an error
 * bound, and MPFR where that bound leaves a doubt.
 */
#ifndef FB_TEST_EXACT_H
#define FB_TEST_EXACT_H

#include <stdbool.h>
#include <stdint.h>

/* The value of a function of probe.h by MPFR, rounded to float64; x is finite, in its domain. */
double exact_double(int function, float x);

/* The correctly rounded value of a function of probe.h, NaN as 0x7fc00000. */
float exact_value(int function, float x);

/* The same by MPFR alone, from the definition. */
float exact_value_mpfr(int function, float x);

const char *exact_name(int function);

/* Whether contract 1 uses the function at x; sin and cos are used on [0, 8] only. */
bool exact_in_domain(int function, float x);

#endif
