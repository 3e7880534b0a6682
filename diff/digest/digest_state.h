/* SPDX-License-Identifier: Apache-2.0
 *
 * digest_state.h - what digest.c and digest_diff.c share. Private to diff.
 */
#ifndef FB_DIFF_DIGEST_DIGEST_STATE_H
#define FB_DIFF_DIGEST_DIGEST_STATE_H

#include "diff/digest/digest.h"

/* The digest of an open trace, not checked; with the steps of `like` and up to its last one, or of
 * a choice of its own where that is NULL. `path` is for messages. */
FB_NODISCARD fb_status fb__digest_of_open(fb_digest *out, fb_trace *t, const char *path,
                                          const fb_digest *like, fb_digest_progress progress,
                                          void *argument, fb_error *err);

#endif
