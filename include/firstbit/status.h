/* SPDX-License-Identifier: Apache-2.0
 *
 * status.h - how every firstbit function reports failure: a status, and an error object that the
 * caller owns. The library never prints, never exits and keeps no global state.
 */
#ifndef FIRSTBIT_STATUS_H
#define FIRSTBIT_STATUS_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define FB_API       __attribute__((visibility("default")))
#define FB_NODISCARD __attribute__((warn_unused_result))
#else
#define FB_API
#define FB_NODISCARD
#endif

/* X(name, number, text). Numbers are pinned for ever and grouped by tens:
 * 10s the caller, 20s the system, 30s the input, 40s a comparison that did not hold. */
#define FB_STATUS_LIST(X)                                                                          \
    X(OK, 0, "ok")                                                                                 \
    X(E_USAGE, 10, "bad argument")                                                                 \
    X(E_CONFIG, 11, "bad configuration")                                                           \
    X(E_SHAPE, 12, "shapes do not fit")                                                            \
    X(E_UNSUPPORTED, 13, "not supported here")                                                     \
    X(E_MEMORY, 20, "out of memory")                                                               \
    X(E_IO, 21, "input or output failed")                                                          \
    X(E_NOT_FOUND, 22, "not found")                                                                \
    X(E_FULL, 23, "no space left")                                                                 \
    X(E_THREAD, 24, "cannot start a thread")                                                       \
    X(E_FORMAT, 30, "not a file of this kind")                                                     \
    X(E_CORRUPT, 31, "corrupt")                                                                    \
    X(E_TORN, 32, "ends early")                                                                    \
    X(E_VERSION, 33, "written by a newer version")                                                 \
    X(E_LIMIT, 34, "exceeds a limit")                                                              \
    X(E_DATA, 35, "bad data")                                                                      \
    X(E_INCOMPARABLE, 40, "cannot be compared")                                                    \
    X(E_DIVERGED, 41, "diverged")                                                                  \
    X(E_CHANGED, 42, "contents changed")                                                           \
    X(E_STOPPED, 43, "stopped by the observer")

typedef enum fb_status {
#define FB_STATUS_ENUM(name, number, text) FB_##name = (number),
    FB_STATUS_LIST(FB_STATUS_ENUM)
#undef FB_STATUS_ENUM
} fb_status;

/* Details of a failure. Owned by the caller, may live on the stack, needs no initialization: it is
 * written only when a function fails, and then whole. Every function takes NULL in its place. */
typedef struct fb_error {
    fb_status status;
    uint64_t offset; /* byte offset in the file at fault; FB_NO_OFFSET where that has no meaning */
    char text[512]; /* one line, no newline, names the place: "b.fbt: chunk 12 at byte 4096: ..." */
} fb_error;

#define FB_NO_OFFSET UINT64_MAX

/* The text of a status, a static string: "corrupt". Unknown numbers give "unknown status". */
FB_API const char *fb_status_text(fb_status status);

#ifdef __cplusplus
}
#endif
#endif
