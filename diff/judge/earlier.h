/* SPDX-License-Identifier: Apache-2.0
 *
 * earlier.h - what a step's differences have read of earlier steps.
 *
 * A batch that is put together in front of the first call of a module stands in the step before the
 * one that trains on it. By itself that step has no reader of it, and says that nothing uses it.
 */
#ifndef FB_DIFF_JUDGE_EARLIER_H
#define FB_DIFF_JUDGE_EARLIER_H

#include "diff/judge/guilt.h"

/* Takes down each input of an event that counts which no event of the step is. FB_E_MEMORY; the
 * caller frees out->keys. */
FB_NODISCARD fb_status fb__earlier_collect(fb__earlier *out, const fb__guilt *guilt, fb_error *err);

#endif
