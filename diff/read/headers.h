/* SPDX-License-Identifier: Apache-2.0
 *
 * headers.h - what the headers of two traces say differently: candidates for the cause.
 */
#ifndef FB_DIFF_READ_HEADERS_H
#define FB_DIFF_READ_HEADERS_H

#include "diff/diff.h"
#include "replay/trace_header.h"

/* Both headers, and what differs between them. */
typedef struct fb__headers {
    fb__run_header a, b;
} fb__headers;

/* Reads both and fills report->candidates. FB_E_CORRUPT, FB_E_MEMORY. Free it in either case. */
FB_NODISCARD fb_status fb__headers_compare(fb__headers *out, fb_diff_report *report,
                                           const fb_trace *a, const fb_trace *b, fb_error *err);
void fb__headers_free(fb__headers *headers);

/* The first candidate of that kind whose key begins with `prefix`, from `*at` on; NULL: none.
 * *at moves behind it. */
const fb_diff_candidate *fb__candidate_next(const fb_diff_report *report, size_t *at,
                                            const char *what, const char *prefix);

/* Whether the two runs read files of the same contents. */
bool fb__headers_same_files(const fb__headers *headers);

/* A quoted JSON string without its quotes, a long hash by its first digits, other JSON as it is:
 * for people. Returns out. */
char *fb__json_plain(char *out, size_t size, const char *json);

#endif
