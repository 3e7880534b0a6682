/* SPDX-License-Identifier: Apache-2.0
 *
 * number.h - numbers as reports write them.
 */
#ifndef FB_DIFF_NUMBER_H
#define FB_DIFF_NUMBER_H

#include "firstbit/event.h"

/* The shortest decimal that is read back as the same float32 or float64; whole numbers below ten
 * million as such. Returns out. */
const char *fb__shortest(char out[40], fb_dtype dtype, double x);

#endif
