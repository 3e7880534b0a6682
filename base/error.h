/* SPDX-License-Identifier: Apache-2.0
 *
 * error.h - filling an fb_error, for use inside the library.
 */
#ifndef FB_BASE_ERROR_H
#define FB_BASE_ERROR_H

#include "firstbit/status.h"

/* Fills err (may be NULL) and returns status, so that failing is one statement:
 *     return fb__fail(err, FB_E_CORRUPT, offset, "%s: checksum mismatch", path);
 * A text longer than err->text is cut. Newlines and control bytes in the text become '?'. */
fb_status fb__fail(fb_error *err, fb_status status, uint64_t offset, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Puts a prefix such as a file name in front of err->text and returns status; err may be NULL. */
fb_status fb__fail_in(fb_error *err, fb_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* FB_E_FULL for ENOSPC and EDQUOT, FB_E_NOT_FOUND for ENOENT and ENOTDIR, FB_E_MEMORY for ENOMEM,
 * FB_E_IO for the rest. */
fb_status fb__status_of_errno(int error_number);

/* A static analyzer sees one file at a time; tell it that a failure never has the status FB_OK, or
 * it follows paths on which a function failed and went on. */
#if defined(__clang_analyzer__) && !defined(FB__ERROR_IMPLEMENTATION)
#define fb__fail(err, status, ...)        (fb__fail((err), (status), __VA_ARGS__), (status))
#define fb__fail_in(err, status, ...)     (fb__fail_in((err), (status), __VA_ARGS__), (status))
#define fb__status_of_errno(error_number) (fb__status_of_errno(error_number), FB_E_IO)
#endif

#endif
