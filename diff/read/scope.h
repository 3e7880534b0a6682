/* SPDX-License-Identifier: Apache-2.0
 *
 * scope.h - in which steps ops and state were recorded, in words: a level may be limited to some.
 */
#ifndef FB_DIFF_READ_SCOPE_H
#define FB_DIFF_READ_SCOPE_H

#include "diff/read/headers.h"

/* Sets *out to malloc'd text, "ops and state in steps 0-10 and every 1,000 steps", or to NULL where
 * both recorded them in every step up to last_step. FB_E_MEMORY. */
FB_NODISCARD fb_status fb__scope_depth(char **out, const fb__headers *headers, uint64_t last_step,
                                       fb_error *err);

#endif
