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
    TRIED_MAX = 256,   /* files of the right kind that are read whole to tell their contents */
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

/* What is looked for. */
typedef struct wanted {
    const char *name; /* in messages */
    fb_hash hash;
    bool checkpoint;
    uint64_t step;  /* of a checkpoint */
    uint64_t bytes; /* of any other file */
} wanted;

/* Sets *out to a copy of `path` where the file has the wanted contents; *has, its hash, where it
 * could be read. */
static fb_status try_file(char **out, bool *read, fb_hash *has, const char *path,
                          const wanted *want, fb_error *err)
{
    const fb_status status = is_file(path) ? fb_hash_file(has, NULL, path, err) : FB_E_NOT_FOUND;

    *read = status == FB_OK;
    if (status == FB_E_NOT_FOUND)
        return FB_OK;
    if (status != FB_OK || !fb_hash_equal(*has, want->hash))
        return status;
    *out = strdup(path);
    if (*out == NULL)
        return fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "%s: out of memory", want->name);
    return FB_OK;
}

/* Files of the right kind under other names. One that cannot be read is not the one. */
static fb_status search_by_contents(char **out, const wanted *want, fb__places *places,
                                    const char *folder, fb_error *err)
{
    const bool has_folder = places->elsewhere != NULL && is_folder(places->elsewhere);
    const char *const folders[] = {has_folder ? places->elsewhere : NULL, folder};
    fb_status status = fb__file_search_walk(&places->search, folders, 2, err);
    size_t at = 0;

    for (int tried = 0; status == FB_OK && *out == NULL && tried < TRIED_MAX; tried++) {
        const char *path = want->checkpoint
                               ? fb__file_search_of_step(&places->search, &at, want->step)
                               : fb__file_search_of_size(&places->search, &at, want->bytes);
        fb_hash has;
        bool read;

        if (path == NULL)
            break;
        status = try_file(out, &read, &has, path, want, err);
        if (status == FB_E_IO)
            status = FB_OK;
    }
    return status;
}

/* The first candidate of that content, or a file found by content alone. */
static fb_status choose(char **out, candidates *c, const wanted *want, fb__places *places,
                        const char *folder, fb_error *err)
{
    char expected[FB_HASH_HEX_BYTES], have[FB_HASH_HEX_BYTES];
    const char *changed = NULL;
    fb_hash found = {0, 0};
    fb_status status = FB_OK;

    *out = NULL;
    if (c->out_of_memory || folder == NULL)
        return fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "%s: out of memory", want->name);
    for (size_t i = 0; i < c->count && status == FB_OK && *out == NULL; i++) {
        fb_hash has;
        bool read;

        status = try_file(out, &read, &has, c->path[i], want, err);
        if (status == FB_OK && read && *out == NULL && changed == NULL &&
            i + c->guesses < c->count) {
            changed = c->path[i];
            found = has;
        }
    }
    if (status == FB_OK && *out == NULL)
        status = search_by_contents(out, want, places, folder, err);
    if (status != FB_OK || *out != NULL)
        return status;
    if (changed != NULL)
        return fb__fail(err, FB_E_CHANGED, FB_NO_OFFSET,
                        "%s: contents changed since %s was recorded: hash %s, recorded %s", changed,
                        places->trace, fb_hash_hex(have, found), fb_hash_hex(expected, want->hash));
    return fb__fail(err, FB_E_NOT_FOUND, FB_NO_OFFSET,
                    "%s: not found (--data names its place), neither from the working directory "
                    "nor beside %s",
                    want->name, places->trace);
}

fb_status fb__locate_data(char **out, const fb__run_file *file, fb__places *places, fb_error *err)
{
    const wanted want = {.name = file->path, .hash = file->hash, .bytes = file->bytes};
    candidates c = {.count = 0};
    char *folder = fb__folder_of(places->trace);
    fb_status status;

    add(&c, strdup(file->path));
    if (folder != NULL) {
        if (file->path[0] != '/')
            add(&c, fb__join_path(folder, file->path));
        add(&c, fb__join_path(folder, fb__base_name(file->path)));
    }
    add_elsewhere(&c, places->elsewhere, file->path);
    status = choose(out, &c, &want, places, folder, err);
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

fb_status fb__locate_checkpoint(char **out, const char *name, uint64_t step, fb_hash hash,
                                fb__places *places, fb_error *err)
{
    /* A file name out of a trace must not lead anywhere else. */
    const char *base = fb__base_name(name);
    const wanted want = {.name = base, .hash = hash, .checkpoint = true, .step = step};
    candidates c = {.count = 0};
    char *beside = checkpoint_folder(places->trace);
    char *folder = fb__folder_of(places->trace);
    size_t named;
    fb_status status;

    if (beside != NULL && folder != NULL) {
        add(&c, fb__join_path(beside, base));
        add(&c, fb__join_path(folder, base));
    } else {
        c.out_of_memory = true;
    }
    add(&c, strdup(base));
    add_elsewhere(&c, places->elsewhere, base);
    named = c.count;
    if (folder != NULL)
        add_siblings(&c, folder, base);
    c.guesses = c.count - named;
    status = choose(out, &c, &want, places, folder, err);
    free_candidates(&c);
    free(beside);
    free(folder);
    return status;
}

void fb__places_free(fb__places *places)
{
    fb__file_search_free(&places->search);
}
