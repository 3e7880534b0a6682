/* SPDX-License-Identifier: Apache-2.0
 *
 * locate.c - candidates for a recorded file, tried in order, judged by content.
 */
#include "replay/locate.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/error.h"
#include "base/hash.h"

enum {
    CANDIDATES_MAX = 72,
    SIBLINGS_MAX = 64, /* folders of checkpoints beside the trace that are looked into */
};

typedef struct candidates {
    char *path[CANDIDATES_MAX];
    size_t count;
    size_t guesses; /* the last ones: a file of that name there may well be another run's */
    bool out_of_memory;
} candidates;

char *fb__join_path(const char *dir, const char *name)
{
    const size_t bytes = strlen(dir) + strlen(name) + 2;
    char *path = malloc(bytes);

    if (path != NULL) {
        const bool bare = dir[0] == '\0' || strcmp(dir, ".") == 0;
        (void)snprintf(path, bytes, "%s%s%s", bare ? "" : dir, bare ? "" : "/", name);
    }
    return path;
}

char *fb__folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');

    if (slash == NULL)
        return strdup(".");
    return slash == path ? strdup("/") : strndup(path, (size_t)(slash - path));
}

const char *fb__base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash == NULL ? path : slash + 1;
}

/* Takes ownership of path. */
static void add(candidates *c, char *path)
{
    if (path == NULL || c->count == CANDIDATES_MAX) {
        c->out_of_memory |= path == NULL;
        free(path);
        return;
    }
    for (size_t i = 0; i < c->count; i++)
        if (strcmp(c->path[i], path) == 0) {
            free(path);
            return;
        }
    c->path[c->count++] = path;
}

static bool is_folder(const char *path)
{
    struct stat s;
    return stat(path, &s) == 0 && S_ISDIR(s.st_mode);
}

/* Only regular files are read: a path out of a trace may name a pipe or a device. */
static bool is_file(const char *path)
{
    struct stat s;
    return stat(path, &s) == 0 && S_ISREG(s.st_mode);
}

static void add_elsewhere(candidates *c, const char *elsewhere, const char *name)
{
    if (elsewhere == NULL)
        return;
    if (!is_folder(elsewhere)) {
        add(c, strdup(elsewhere));
        return;
    }
    if (name[0] != '/')
        add(c, fb__join_path(elsewhere, name));
    add(c, fb__join_path(elsewhere, fb__base_name(name)));
}

static void free_candidates(candidates *c)
{
    for (size_t i = 0; i < c->count; i++)
        free(c->path[i]);
}

/* The first candidate of that content; names of the recording only in messages. */
static fb_status choose(char **out, candidates *c, fb_hash hash, const char *what,
                        const char *trace, fb_error *err)
{
    const char *changed = NULL;
    fb_hash found = {0, 0};

    *out = NULL;
    for (size_t i = 0; i < c->count && !c->out_of_memory && *out == NULL; i++) {
        fb_hash h;
        const fb_status status =
            is_file(c->path[i]) ? fb_hash_file(&h, NULL, c->path[i], err) : FB_E_NOT_FOUND;

        if (status == FB_E_NOT_FOUND)
            continue;
        if (status != FB_OK)
            return status;
        if (fb_hash_equal(h, hash))
            *out = strdup(c->path[i]);
        else if (changed == NULL && i + c->guesses < c->count) {
            changed = c->path[i];
            found = h;
        }
        c->out_of_memory |= fb_hash_equal(h, hash) && *out == NULL;
    }
    if (c->out_of_memory)
        return fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "%s: out of memory", what);
    if (*out == NULL && changed != NULL) {
        char want[FB_HASH_HEX_BYTES], have[FB_HASH_HEX_BYTES];

        return fb__fail(err, FB_E_CHANGED, FB_NO_OFFSET,
                        "%s: contents changed since %s was recorded: hash %s, recorded %s", changed,
                        trace, fb_hash_hex(have, found), fb_hash_hex(want, hash));
    }
    if (*out == NULL)
        return fb__fail(err, FB_E_NOT_FOUND, FB_NO_OFFSET,
                        "%s: not found from the working directory nor beside %s; --data names "
                        "another place",
                        what, trace);
    return FB_OK;
}

fb_status fb__locate_data(char **out, const fb__run_file *file, const char *trace,
                          const char *elsewhere, fb_error *err)
{
    candidates c = {.count = 0};
    char *folder = fb__folder_of(trace);
    fb_status status;

    add(&c, strdup(file->path));
    if (folder != NULL) {
        if (file->path[0] != '/')
            add(&c, fb__join_path(folder, file->path));
        add(&c, fb__join_path(folder, fb__base_name(file->path)));
    }
    add_elsewhere(&c, elsewhere, file->path);
    c.out_of_memory |= folder == NULL;
    status = choose(out, &c, file->hash, file->path, trace, err);
    free_candidates(&c);
    free(folder);
    return status;
}

/* "runs/a.fbt" -> "runs/a.ckpt" */
static char *checkpoint_folder(const char *trace)
{
    const char *name = fb__base_name(trace);
    const char *dot = strrchr(name, '.');
    const size_t stem = dot == NULL || dot == name ? strlen(trace) : (size_t)(dot - trace);
    char *folder = malloc(stem + sizeof ".ckpt");

    if (folder != NULL) {
        memcpy(folder, trace, stem);
        memcpy(folder + stem, ".ckpt", sizeof ".ckpt");
    }
    return folder;
}

static bool is_checkpoint_folder(const char *name)
{
    const size_t length = strlen(name);
    return length > 5 && strcmp(name + length - 5, ".ckpt") == 0;
}

static void add_siblings(candidates *c, const char *folder, const char *name)
{
    DIR *dir = opendir(folder);
    const struct dirent *entry;
    int count = 0;

    while (dir != NULL && count < SIBLINGS_MAX && (entry = readdir(dir)) != NULL) {
        char *in_folder, *sibling;

        if (!is_checkpoint_folder(entry->d_name))
            continue;
        count++;
        in_folder = fb__join_path(folder, entry->d_name);
        sibling = in_folder == NULL ? NULL : fb__join_path(in_folder, name);
        add(c, sibling);
        free(in_folder);
    }
    if (dir != NULL)
        closedir(dir);
}

fb_status fb__locate_checkpoint(char **out, const char *name, fb_hash hash, const char *trace,
                                const char *elsewhere, fb_error *err)
{
    /* A file name out of a trace must not lead anywhere else. */
    const char *base = fb__base_name(name);
    candidates c = {.count = 0};
    char *beside = checkpoint_folder(trace);
    char *folder = fb__folder_of(trace);
    size_t places;
    fb_status status;

    if (beside != NULL && folder != NULL) {
        add(&c, fb__join_path(beside, base));
        add(&c, fb__join_path(folder, base));
    } else {
        c.out_of_memory = true;
    }
    add(&c, strdup(base));
    add_elsewhere(&c, elsewhere, base);
    places = c.count;
    if (folder != NULL)
        add_siblings(&c, folder, base);
    c.guesses = c.count - places;
    status = choose(out, &c, hash, base, trace, err);
    free_candidates(&c);
    free(beside);
    free(folder);
    return status;
}
