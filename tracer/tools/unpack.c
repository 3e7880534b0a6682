/* SPDX-License-Identifier: Apache-2.0
 *
 * unpack.c - a packed run: its parts listed, read where they lie, and made files again.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/hash.h"
#include "tracer/read/linked.h"
#include "tracer/tools/pieces.h"

/* --- The parts -------------------------------------------------------------------------------- */

/* "child1" of run.child1.fbt in a run whose main trace was run.fbt. */
static void role_of_piece(fb_linked_part *part, const fb__piece *p)
{
    const size_t main = fb__linked_stem(p->main), own = fb__linked_stem(p->name);

    if (own > main + 1 && strncmp(p->name, p->main, main) == 0)
        (void)snprintf(part->role, sizeof part->role, "%.*s", (int)(own - main - 1),
                       p->name + main + 1);
    fb__make_word(part->role);
}

fb_status fb_packed_find(fb_linked *out, fb_trace *packed, fb_error *err)
{
    fb_chunk_header before, head;
    uint64_t at, bytes_at;
    fb__piece p;

    *out = (fb_linked){.parts = calloc(FB_LINKED_MAX, sizeof *out->parts)};
    if (out->parts == NULL)
        return fb__pack_memory(err);
    for (at = fb__piece_first(packed, &before);
         at < packed->end && fb__piece_look(packed, at, &head, &p, &bytes_at);
         at = fb__align_up(at + fb__chunk_bytes(&head))) {
        fb_linked_part *part = &out->parts[out->count];

        if (p.offset != 0)
            continue;
        if (out->count == FB_LINKED_MAX) {
            out->more = true;
            break;
        }
        memcpy(part->name, p.name, sizeof part->name);
        role_of_piece(part, &p);
        part->inside = true;
        part->bytes = p.total;
        out->count++;
    }
    return FB_OK;
}

/* --- A part where it lies --------------------------------------------------------------------- */

/* Takes the part's pieces one after the other. False where there is none, or where they do not lie
 * as this program writes them. */
static bool find_place(fb_trace *packed, const char *name, fb_part_place *place, uint64_t *total)
{
    uint64_t bytes_at = 0, done = 0, count = 0;
    fb_chunk_header before, head;
    bool found = false;
    fb__piece p;

    for (uint64_t at = fb__piece_first(packed, &before);
         at < packed->end && fb__piece_look(packed, at, &head, &p, &bytes_at);
         at = fb__align_up(at + fb__chunk_bytes(&head))) {
        if (found && done == *total)
            return true;
        if (strcmp(p.name, name) != 0)
            continue;
        if (p.offset != done || p.count == 0 || (found && p.total != *total))
            return false;
        if (count == 0)
            *place = (fb_part_place){bytes_at, 0, p.count};
        else if (count == 1)
            place->stride = bytes_at - place->first;
        if (bytes_at != place->first + count * place->stride ||
            (p.count != place->piece_bytes && done + p.count != p.total))
            return false;
        found = true;
        *total = p.total;
        done += p.count;
        count++;
    }
    return found && done == *total;
}

fb_status fb__trace_open_packed(fb_trace *t, fb_error *err)
{
    const char *name = fb__pack_base_name(t->path);
    char *path = name == t->path ? NULL : strndup(t->path, (size_t)(name - t->path - 1));
    fb_trace *packed = NULL;
    struct stat st;
    fb_status status;

    /* A folder on the way that is none, and no packed trace either: as the system says it. */
    if (path == NULL || stat(path, &st) != 0 || !S_ISREG(st.st_mode) ||
        fb_trace_open(&packed, path, NULL) != FB_OK)
        status = fb__fail(err, FB_E_NOT_FOUND, FB_NO_OFFSET, "%s: %s", t->path, strerror(ENOTDIR));
    else if (!find_place(packed, name, &t->part, &t->size))
        status = fb__fail(err, FB_E_NOT_FOUND, FB_NO_OFFSET, "%s: holds no such part", t->path);
    else {
        t->descriptor = packed->descriptor;
        packed->descriptor = -1;
        status = FB_OK;
    }
    fb_trace_close(packed);
    free(path);
    return status;
}

/* --- Files again ------------------------------------------------------------------------------ */

/* Begins a file of the folder that is not there yet. */
static fb_status begin_file(fb_trace_file *file, const char *folder, const char *name,
                            fb_error *err)
{
    char *path = fb__pack_join(folder, name);
    fb_status status;

    if (path == NULL)
        return fb__pack_memory(err);
    status = access(path, F_OK) == 0
                 ? fb__fail(err, FB_E_USAGE, FB_NO_OFFSET, "%s: is there already", path)
                 : fb__trace_file_begin(file, path, err);
    free(path);
    return status;
}

static fb_status end_file(fb_trace_file *file, fb_status status, fb_error *err)
{
    if (status == FB_OK)
        status = fb__trace_file_publish(file, err);
    return status == FB_OK ? fb__trace_file_close(file, err)
                           : (fb__trace_file_close(file, NULL), status);
}

static fb_status unpack_main(fb_trace *t, const fb_chunk_header *last, uint64_t end,
                             const char *folder, const char *name, fb_pace *pace, fb_error *err)
{
    fb_trace_file file;
    fb_status status = begin_file(&file, folder, name, err);

    if (status != FB_OK)
        return status;
    status = fb__copy_chunks(t, &file, end, pace, err);
    if (status == FB_OK)
        status = fb__packed_footer(t, &file, last, err);
    return end_file(&file, status, err);
}

/* One part, from its first piece at *at; leaves *at behind its last one. */
static fb_status unpack_part(fb_trace *t, uint64_t *at, const char *folder, fb_pace *pace,
                             fb_error *err)
{
    fb_chunk_header head;
    fb_trace_file file;
    fb_hash hash = {0, 0}, found = {0, 0};
    uint64_t done = 0, total = 0;
    fb_status status;
    fb__piece p;

    if (!fb__piece_get(t, *at, &head, &p))
        return fb__fail(err, FB_E_CORRUPT, *at, "%s: byte %llu: not a piece of a part", t->path,
                        (unsigned long long)*at);
    hash = p.hash;
    total = p.total;
    status = begin_file(&file, folder, p.name, err);
    if (status != FB_OK)
        return status;
    while (status == FB_OK && done < total) {
        if (*at >= t->end || !fb__piece_get(t, *at, &head, &p) || p.offset != done ||
            p.count == 0) {
            status = fb__fail(err, FB_E_CORRUPT, *at, "%s: byte %llu: a piece of %s is missing",
                              t->path, (unsigned long long)*at, file.path);
            break;
        }
        status = fb__trace_file_append(&file, p.bytes, p.count, err);
        done += p.count;
        fb__pace_advance(pace, p.count);
        *at = fb__align_up(*at + fb__chunk_bytes(&head));
    }
    if (status == FB_OK)
        status = fb_hash_file(&found, NULL, file.temporary, err);
    if (status == FB_OK && !fb_hash_equal(found, hash))
        status = fb__fail(err, FB_E_CORRUPT, *at, "%s: %s is not what was packed", t->path, p.name);
    return end_file(&file, status, err);
}

fb_status fb_trace_unpack(size_t *files, const char *path, const char *folder,
                          void (*progress)(void *, uint64_t, uint64_t), void *argument,
                          fb_error *err)
{
    fb_pace pace = {progress, argument, 0, 0};
    fb_chunk_header last, head;
    fb_trace *t;
    uint64_t at, end;
    fb__piece p;
    fb_status status = fb_trace_open(&t, path, err);

    *files = 0;
    if (status != FB_OK)
        return status;
    at = end = fb__piece_first(t, &last);
    pace.total = t->size;
    if (t->info.status != FB_TRACE_COMPLETE && t->info.status != FB_TRACE_FULL)
        status = fb__fail(err, FB_E_TORN, FB_NO_OFFSET, "%s: is %s", path,
                          fb_trace_status_name(t->info.status));
    else if (at >= t->end || !fb__piece_get(t, at, &head, &p))
        status = fb__fail(err, FB_E_USAGE, FB_NO_OFFSET, "%s: is not a packed trace", path);
    else
        status = unpack_main(t, &last, end, folder, p.main, &pace, err);
    for (*files = status == FB_OK; status == FB_OK && at < t->end; *files += status == FB_OK)
        status = unpack_part(t, &at, folder, &pace, err);
    fb_trace_close(t);
    return status;
}
