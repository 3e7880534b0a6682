/* SPDX-License-Identifier: Apache-2.0
 *
 * scope.h - what was recorded, in words: in which steps ops and state, as a level may be limited to
 * some; and what a recorder says that it left out.
 */
#ifndef FB_DIFF_READ_SCOPE_H
#define FB_DIFF_READ_SCOPE_H

#include "diff/read/headers.h"

/* Sets *out to malloc'd text, "ops and state in steps 0-10 and every 1,000 steps", or to NULL where
 * both recorded them in every step up to last_step. FB_E_MEMORY. */
FB_NODISCARD fb_status fb__scope_depth(char **out, const fb__headers *headers, uint64_t last_step,
                                       fb_error *err);

/* Sets *out to malloc'd text, what a recorder's last marks say that it did not record: of both
 * traces where they say the same, else of each; NULL where neither says anything. Marks that cannot
 * be read say nothing: whether a trace is sound is asked elsewhere. FB_E_MEMORY. */
FB_NODISCARD fb_status fb__scope_unrecorded(char **out, fb_trace *a, fb_trace *b, fb_error *err);

#endif
