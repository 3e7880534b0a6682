/* SPDX-License-Identifier: Apache-2.0
 *
 * trace_file.c - creating and appending, so that a failure harms neither the file nor the program.
 */
#include "tracer/format/trace_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/temporary.h"
#include "tracer/format/size_guard.h"

/* All bytes or an errno. */
static int write_all(int descriptor, const uint8_t *bytes, size_t count, uint64_t offset)
{
    fb_size_guard guard;
    int error_number = 0;

    fb__size_guard_begin(&guard);
    while (count > 0 && error_number == 0) {
        const ssize_t n = pwrite(descriptor, bytes, count, (off_t)offset);

        if (n > 0) {
            bytes += n;
            count -= (size_t)n;
            offset += (uint64_t)n;
        } else if (n == 0) {
            error_number = EIO;
        } else if (errno != EINTR) {
            error_number = errno;
        }
    }
    fb__size_guard_end(&guard);
    return error_number;
}

static fb_status fail_errno(fb_error *err, const char *path, int error_number)
{
    const fb_status status = error_number == EFBIG ? FB_E_FULL : fb__status_of_errno(error_number);

    return fb__fail(err, status, FB_NO_OFFSET, "%s: %s", path, strerror(error_number));
}

/* --- Creating ----------------------------------------------------------------------------------
 */

/* Temporary names differ by process and by attempt; the file appears beside its final place, where
 * a rename is one step. */
static int open_temporary(char *name, size_t size, const char *path)
{
    fb__temporary_sweep(path, ".", ".part");
    for (unsigned attempt = 0; attempt < 100; attempt++) {
        int descriptor;

        (void)snprintf(name, size, "%s.%ld.%u.part", path, (long)getpid(), attempt);
        descriptor = open(name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (descriptor >= 0)
            fb__temporary_hold(descriptor);
        if (descriptor >= 0 || errno != EEXIST)
            return descriptor;
    }
    return -1;
}

fb_status fb__trace_file_begin(fb_trace_file *out, const char *path, fb_error *err)
{
    const size_t name_size = strlen(path) + 64;
    struct stat there;
    fb_status status;

    *out = (fb_trace_file){.descriptor = -1, .path = strdup(path), .temporary = malloc(name_size)};
    if (out->path == NULL || out->temporary == NULL) {
        status = fail_errno(err, path, ENOMEM);
    } else if (stat(path, &there) == 0 && !S_ISREG(there.st_mode)) {
        status = S_ISDIR(there.st_mode)
                     ? fail_errno(err, path, EISDIR)
                     : fb__fail(err, FB_E_IO, FB_NO_OFFSET, "%s: not a regular file", path);
    } else {
        out->descriptor = open_temporary(out->temporary, name_size, path);
        if (out->descriptor >= 0)
            return FB_OK;
        status = fail_errno(err, path, errno);
    }
    free(out->temporary);
    out->temporary = NULL;
    (void)fb__trace_file_close(out, NULL);
    return status;
}

fb_status fb__trace_file_publish(fb_trace_file *file, fb_error *err)
{
    if (rename(file->temporary, file->path) != 0)
        return fail_errno(err, file->path, errno);
    free(file->temporary);
    file->temporary = NULL;
    return FB_OK;
}

/* --- Appending ---------------------------------------------------------------------------------
 */

fb_status fb__trace_file_append(fb_trace_file *file, const void *bytes, size_t count, fb_error *err)
{
    const int error_number = write_all(file->descriptor, bytes, count, file->bytes);

    if (error_number != 0) {
        file->limited = error_number == EFBIG;
        if (ftruncate(file->descriptor, (off_t)file->bytes) != 0)
            errno = 0; /* the tail stays: readers stop before it */
        return fail_errno(err, file->path, error_number);
    }
    file->bytes += count;
    return FB_OK;
}

fb_status fb__trace_file_footer(fb_trace_file *file, fb_chunk_header *head, const fb_footer *footer,
                                fb_error *err)
{
    uint8_t page[FB_FORMAT_ALIGN] = {0};
    fb_buffer body = {0};

    fb__put_footer(&body, footer);
    if (body.failed)
        return fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "%s: out of memory", file->path);
    head->type = FB_CHUNK_FOOTER;
    head->codec = FB_CODEC_NONE;
    head->packed_raw = head->packed_stored = (uint32_t)body.count;
    head->hash_bytes = head->steps_bytes = head->events = head->steps = 0;
    head->steps_check = fb__check(NULL, 0);
    head->first_step = head->last_step =
        footer->finished_step == FB_NO_STEP ? 0 : footer->finished_step;
    memcpy(page + FB_CHUNK_HEADER_BYTES, body.data, body.count);
    head->body_check = fb__check(body.data, body.count);
    fb__put_chunk_header(page, head);
    fb_buffer_free(&body);
    return fb__trace_file_append(file, page, sizeof page, err);
}

/* Writing to a file that has no name any more never fails. */
static bool is_gone(const fb_trace_file *file)
{
    struct stat now;

    return file->temporary == NULL && file->descriptor >= 0 && fstat(file->descriptor, &now) == 0 &&
           now.st_nlink == 0;
}

fb_status fb__trace_file_close(fb_trace_file *file, fb_error *err)
{
    fb_status status = FB_OK;

    if (is_gone(file))
        status =
            fb__fail(err, FB_E_IO, FB_NO_OFFSET,
                     "%s: was removed while it was written; nothing of it is left", file->path);
    if (file->temporary != NULL)
        (void)unlink(file->temporary);
    free(file->temporary);
    if (file->descriptor >= 0 && close(file->descriptor) != 0 && errno != EINTR)
        status = fail_errno(err, file->path, errno);
    free(file->path);
    *file = (fb_trace_file){.descriptor = -1};
    return status;
}
