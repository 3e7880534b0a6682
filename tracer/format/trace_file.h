/* SPDX-License-Identifier: Apache-2.0
 *
 * trace_file.h - the file under a recorder: created whole or not at all, then appended to. Private
 * to tracer.
 */
#ifndef FB_TRACER_FORMAT_TRACE_FILE_H
#define FB_TRACER_FORMAT_TRACE_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "firstbit/status.h"
#include "tracer/format/format.h"

typedef struct fb_trace_file {
    int descriptor;  /* -1: closed */
    uint64_t bytes;  /* end of the last whole append */
    char *path;      /* for messages, and its name in the end */
    char *temporary; /* its name until it is published, then NULL */
    bool limited;    /* a limit of its size was reached, which is not the disk's */
} fb_trace_file;

/* Begins an empty file under a temporary name beside `path`, so that nobody ever sees a
 * half-written one there. A directory, device or pipe of that name is refused. FB_E_IO,
 * FB_E_NOT_FOUND, FB_E_FULL, FB_E_MEMORY. */
FB_NODISCARD fb_status fb__trace_file_begin(fb_trace_file *out, const char *path, fb_error *err);

/* Gives the file its name; an existing one is replaced in one step. FB_E_IO, ... */
FB_NODISCARD fb_status fb__trace_file_publish(fb_trace_file *file, fb_error *err);

/* Appends; on failure the file is cut back to where it was and stays usable. Never raises SIGXFSZ.
 * FB_E_FULL (no space, quota or size limit), FB_E_IO. */
FB_NODISCARD fb_status fb__trace_file_append(fb_trace_file *file, const void *bytes, size_t count,
                                             fb_error *err);

/* Appends the footer chunk, one page. head: sequence, offset, chains and pointers are set; the rest
 * is filled. Where even a page has no room the trace ends without it, and reads as torn. */
FB_NODISCARD fb_status fb__trace_file_footer(fb_trace_file *file, fb_chunk_header *head,
                                             const fb_footer *footer, fb_error *err);

/* Closes; a file that was not published is removed. FB_E_IO where it has no name any more, or the
 * system reports a write that failed late. Closed already is fine. */
fb_status fb__trace_file_close(fb_trace_file *file, fb_error *err);

#endif
