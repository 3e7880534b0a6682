/* SPDX-License-Identifier: Apache-2.0
 *
 * chunk_link.c - skip pointers from those of earlier chunks.
 */
#include "tracer/tools/chunk_link.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"

fb_status fb__chunk_link(fb_chunk_header *head, const fb_trace_file *file, uint64_t previous,
                         fb_error *err)
{
    uint8_t bytes[FB_CHUNK_HEADER_BYTES];

    memset(head->skip, 0, sizeof head->skip);
    head->offset = file->bytes;
    if (head->sequence == 0)
        return FB_OK;
    head->skip[0] = previous;
    for (int k = 1; k < FB_CHUNK_SKIPS && UINT64_C(1) << k <= head->sequence; k++) {
        const uint64_t at = head->skip[k - 1];
        const ssize_t got = pread(file->descriptor, bytes, sizeof bytes, (off_t)at);
        const char *why = "cannot be read back";
        fb_chunk_header back;

        if (got < 0)
            return fb__fail(err, FB_E_IO, at, "%s: %s", file->path, strerror(errno));
        if (got != (ssize_t)sizeof bytes || !fb__get_chunk_header(&back, bytes, head->id, at, &why))
            return fb__fail(err, FB_E_CORRUPT, at, "%s: byte %llu: %s", file->path,
                            (unsigned long long)at, why);
        head->skip[k] = back.skip[k - 1];
    }
    return FB_OK;
}
