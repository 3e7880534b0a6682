/* SPDX-License-Identifier: Apache-2.0
 *
 * file_search.c - walking folders, nearest ones first.
 */
#include "replay/file_search.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/error.h"
#include "replay/locate.h"

static bool add(fb__file_search *search, char *path, uint64_t bytes)
{
    if (search->count == search->capacity) {
        const size_t capacity = 2 * search->capacity + 64;
        fb__found_file *grown = realloc(search->files, capacity * sizeof *grown);

        if (grown == NULL) {
            free(path);
            return false;
        }
        search->files = grown;
        search->capacity = capacity;
    }
    search->files[search->count++] = (fb__found_file){.path = path, .bytes = bytes};
    return true;
}

/* --- Walking ---------------------------------------------------------------------------------- */

typedef struct folder {
    char *path;
    int depth;
} folder;

/* Folders that are still to be read; read in order, so that near ones come first. */
typedef struct queue {
    folder *at;
    size_t next, count, capacity;
    bool out_of_memory;
} queue;

/* Takes ownership of path. */
static void put(queue *q, char *path, int depth)
{
    if (path != NULL && q->count == q->capacity) {
        const size_t capacity = 2 * q->capacity + 16;
        folder *grown = realloc(q->at, capacity * sizeof *grown);

        if (grown != NULL) {
            q->at = grown;
            q->capacity = capacity;
        }
    }
    if (path == NULL || q->count == q->capacity) {
        free(path);
        q->out_of_memory = true;
        return;
    }
    q->at[q->count++] = (folder){path, depth};
}

/* A link to a file is that file; a link to a folder is not followed, so that no walk goes round. */
static void look_at(fb__file_search *search, queue *q, const folder *in, const char *name)
{
    char *path = fb__join_path(in->path, name);
    struct stat s;

    if (path == NULL) {
        q->out_of_memory = true;
        return;
    }
    if (lstat(path, &s) == 0) {
        const bool link = S_ISLNK(s.st_mode);

        if (S_ISDIR(s.st_mode) && in->depth < FB__SEARCH_DEPTH_MAX && name[0] != '.') {
            put(q, path, in->depth + 1);
            return;
        }
        if ((!link || stat(path, &s) == 0) && S_ISREG(s.st_mode) && s.st_size > 0) {
            q->out_of_memory |= !add(search, path, (uint64_t)s.st_size);
            return;
        }
    }
    free(path);
}

/* Hidden folders are not gone into: caches and histories of other programs are large. */
static void read_folder(fb__file_search *search, queue *q, const folder *in)
{
    DIR *dir = opendir(in->path);
    const struct dirent *entry;

    while (dir != NULL && !q->out_of_memory && search->entries < FB__SEARCH_ENTRIES_MAX &&
           (entry = readdir(dir)) != NULL) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        search->entries++;
        look_at(search, q, in, entry->d_name);
    }
    if (dir != NULL)
        closedir(dir);
}

fb_status fb__file_search_walk(fb__file_search *search, const char *const *folders, size_t count,
                               fb_error *err)
{
    queue q = {.count = 0};

    if (search->walked)
        return FB_OK;
    search->walked = true;
    for (size_t i = 0; i < count; i++)
        if (folders[i] != NULL)
            put(&q, strdup(folders[i]), 0);
    while (q.next < q.count && !q.out_of_memory) {
        const folder in = q.at[q.next++];

        read_folder(search, &q, &in);
    }
    for (size_t i = 0; i < q.count; i++)
        free(q.at[i].path);
    free(q.at);
    if (q.out_of_memory)
        return fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "looking for a file: out of memory");
    return FB_OK;
}

/* --- Candidates ------------------------------------------------------------------------------- */

const char *fb__file_search_of_size(fb__file_search *search, size_t *at, uint64_t bytes)
{
    while (*at < search->count) {
        const fb__found_file *file = &search->files[(*at)++];

        if (file->bytes == bytes)
            return file->path;
    }
    return NULL;
}

/* A checkpoint begins with the length of its header and then, since its writer puts metadata first,
 * with this text. Read it and not the whole file: most files of a folder are none. */
static uint64_t step_of_checkpoint(const char *path)
{
    static const char start[] =
        "{\"__metadata__\":{\"format\":\"firstbit-checkpoint-1\",\"step\":\"";
    enum { LENGTH_BYTES = 8 };
    char bytes[LENGTH_BYTES + sizeof start + 24];
    FILE *file = fopen(path, "rbe");
    uint64_t step;
    size_t count;
    char *end;

    if (file == NULL)
        return 0;
    count = fread(bytes, 1, sizeof bytes - 1, file);
    (void)fclose(file);
    bytes[count] = '\0';
    if (count <= LENGTH_BYTES + sizeof start - 1 ||
        memcmp(bytes + LENGTH_BYTES, start, sizeof start - 1) != 0)
        return 0;
    step = strtoull(bytes + LENGTH_BYTES + sizeof start - 1, &end, 10);
    return *end == '"' ? step : 0;
}

const char *fb__file_search_of_step(fb__file_search *search, size_t *at, uint64_t step)
{
    while (*at < search->count) {
        fb__found_file *file = &search->files[(*at)++];

        if (!file->looked)
            file->step = step_of_checkpoint(file->path);
        file->looked = true;
        if (file->step == step)
            return file->path;
    }
    return NULL;
}

void fb__file_search_free(fb__file_search *search)
{
    for (size_t i = 0; i < search->count; i++)
        free(search->files[i].path);
    free(search->files);
    *search = (fb__file_search){0};
}
