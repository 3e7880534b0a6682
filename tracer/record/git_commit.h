/* SPDX-License-Identifier: Apache-2.0
 *
 * git_commit.h - which commit the program was started in. Private to tracer.
 */
#ifndef FB_TRACER_RECORD_GIT_COMMIT_H
#define FB_TRACER_RECORD_GIT_COMMIT_H

#include <stdbool.h>

typedef struct fb_git_commit {
    char id[65];             /* hex digits */
    bool dirty_known, dirty; /* whether a tracked file looks changed since it was staged */
} fb_git_commit;

/* Reads .git of the working directory or of a folder above it, without running git. False where
 * there is none, or no commit yet. */
bool fb__git_commit(fb_git_commit *out);

#endif
