/* SPDX-License-Identifier: Apache-2.0
 *
 * vec_loop.h - unrolling, spelled for each compiler; changes speed, never bits.
 */
#ifndef FB_VEC_LOOP_H
#define FB_VEC_LOOP_H

#define FB_PRAGMA(text) _Pragma(#text)

/* The loop that follows is unrolled up to n times. */
#if defined(__clang__)
#define UNROLL(n)    FB_PRAGMA(clang loop unroll(full))
#define UNROLL_BY(n) FB_PRAGMA(clang loop unroll_count(n))
#else
#define UNROLL(n)    FB_PRAGMA(GCC unroll n)
#define UNROLL_BY(n) FB_PRAGMA(GCC unroll n)
#endif

#endif
