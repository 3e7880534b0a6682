/* SPDX-License-Identifier: Apache-2.0
 *
 * rounding_text.h - the parts of a report that only a comparison by the rounding rules has.
 */
#ifndef FB_DIFF_ROUNDING_ROUNDING_TEXT_H
#define FB_DIFF_ROUNDING_ROUNDING_TEXT_H

#include <cjson/cJSON.h>

#include "diff/diff.h"

/* One line each; "" where there is nothing to say. */
void fb__rounding_pairs_text(char *out, size_t size, const fb_diff_rounding *r);
void fb__rounding_size_text(char *out, size_t size, const fb_diff_rounding *r);
void fb__rounding_growth_text(char *out, size_t size, const fb_diff_rounding *r);

/* Adds the member "rounding": an object, or null. */
void fb__rounding_json(cJSON *object, const fb_diff_rounding *r);

#endif
