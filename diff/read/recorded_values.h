/* SPDX-License-Identifier: Apache-2.0
 *
 * recorded_values.h - the numbers behind two hashes, from contents that both traces hold (level
 * values): nothing is run again.
 */
#ifndef FB_DIFF_READ_RECORDED_VALUES_H
#define FB_DIFF_READ_RECORDED_VALUES_H

#include "diff/diff.h"

/* Fills the values of report->first, a tensor of both traces, with its first differing element and
 * how many differ; two NaNs are equal. Leaves it alone where a side did not keep the contents. In
 * 128 KiB of memory. FB_E_MEMORY; statuses of fb_trace_values but FB_E_NOT_FOUND. */
FB_NODISCARD fb_status fb__recorded_values_find(fb_diff_first *first, fb_trace *a, fb_trace *b,
                                                fb_error *err);

/* One number of a dtype (a component of a complex one) at `data`: its bits and what they say. */
fb_diff_value fb__value_of(fb_dtype dtype, const void *data);

/* How many representable numbers of the dtype lie between two of them. */
uint64_t fb__value_distance(fb_dtype dtype, const fb_diff_value *a, const fb_diff_value *b);

#endif
