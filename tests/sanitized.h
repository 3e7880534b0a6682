/* SPDX-License-Identifier: Apache-2.0
 *
 * sanitized.h - how thin a build with sanitizers takes a long series. Such a build looks for errors
 * of memory and threads, which any part of the series shows; bits are compared by the plain build.
 */
#ifndef FB_TESTS_SANITIZED_H
#define FB_TESTS_SANITIZED_H

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define FB_IS_SANITIZED 1
#endif
#endif

/* One of so many of a series. Odd, so that strides keep meeting every bit of a byte. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || defined(FB_IS_SANITIZED)
enum { EVERY = 5 };
#else
enum { EVERY = 1 };
#endif

#endif
