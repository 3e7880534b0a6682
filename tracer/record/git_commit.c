/* SPDX-License-Identifier: Apache-2.0
 *
 * git_commit.c - HEAD and the index of a git work tree, read as files.
 */
#include "tracer/record/git_commit.h"

#include <ctype.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LEVELS_MAX = 32, PATH_BYTES = 4096, INDEX_FILES_MAX = 20000 };

/* The first line of a file without its newline; false where there is none. */
static bool first_line(char *out, size_t size, const char *folder, const char *name)
{
    char path[PATH_BYTES];
    FILE *file;
    bool got;

    if (snprintf(path, sizeof path, "%s/%s", folder, name) >= (int)sizeof path)
        return false;
    file = fopen(path, "re");
    if (file == NULL)
        return false;
    got = fgets(out, (int)size, file) != NULL;
    (void)fclose(file);
    if (got)
        out[strcspn(out, "\r\n")] = '\0';
    return got;
}

static bool is_commit(const char *text)
{
    const size_t count = strspn(text, "0123456789abcdef");
    return text[count] == '\0' && (count == 40 || count == 64);
}

/* References that are not files of their own are lines "ID NAME" of one. */
static bool packed_reference(char out[65], const char *git, const char *name)
{
    char path[PATH_BYTES], line[PATH_BYTES];
    bool found = false;
    FILE *file;

    if (snprintf(path, sizeof path, "%s/packed-refs", git) >= (int)sizeof path)
        return false;
    file = fopen(path, "re");
    while (file != NULL && !found && fgets(line, sizeof line, file) != NULL) {
        char *space = strchr(line, ' ');

        line[strcspn(line, "\r\n")] = '\0';
        if (space == NULL || strcmp(space + 1, name) != 0)
            continue;
        *space = '\0';
        found = is_commit(line);
        if (found)
            memcpy(out, line, strlen(line) + 1);
    }
    if (file != NULL)
        (void)fclose(file);
    return found;
}

static bool read_head(char out[65], const char *git)
{
    char head[PATH_BYTES], line[PATH_BYTES];

    if (!first_line(head, sizeof head, git, "HEAD"))
        return false;
    if (strncmp(head, "ref: ", 5) != 0) {
        memcpy(line, head, sizeof line);
    } else if (strstr(head, "..") != NULL || !first_line(line, sizeof line, git, head + 5)) {
        return packed_reference(out, git, head + 5);
    }
    if (!is_commit(line))
        return false;
    memcpy(out, line, strlen(line) + 1);
    return true;
}

/* --- Index -------------------------------------------------------------------------------------
 */

static uint32_t big32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* Whether a tracked file's size or time differs from what the index noted: what `git status` looks
 * at first too. Versions 2 and 3 of the index; others leave it unknown. */
static bool index_dirty(const uint8_t *index, size_t bytes, int tree, bool *dirty)
{
    size_t at = 12;
    uint32_t count;

    if (bytes < 12 || memcmp(index, "DIRC", 4) != 0 || big32(index + 4) < 2 || big32(index + 4) > 3)
        return false;
    count = big32(index + 8);
    if (count > INDEX_FILES_MAX)
        return false;
    *dirty = false;
    for (uint32_t i = 0; i < count && !*dirty; i++) {
        const uint8_t *entry = index + at;
        const uint8_t *end;
        const char *name;
        struct stat st;
        size_t head;

        if (bytes - at < 64)
            return false;
        head = (entry[60] & 0x40) != 0 ? 64 : 62; /* extended flags */
        name = (const char *)entry + head;
        end = memchr(name, 0, bytes - at - head);
        if (end == NULL)
            return false;
        *dirty = fstatat(tree, name, &st, AT_SYMLINK_NOFOLLOW) != 0 ||
                 (uint32_t)st.st_size != big32(entry + 36) ||
                 (uint32_t)st.st_mtim.tv_sec != big32(entry + 8);
        at += ((size_t)(end - entry) + 8) & ~(size_t)7; /* one to eight zeros end an entry */
        if (at > bytes)
            return false;
    }
    return true;
}

static bool work_tree_dirty(const char *folder, const char *git, bool *dirty)
{
    char path[PATH_BYTES];
    struct stat st;
    bool known = false;
    int index, tree;

    if (snprintf(path, sizeof path, "%s/index", git) >= (int)sizeof path)
        return false;
    index = open(path, O_RDONLY | O_CLOEXEC);
    tree = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (index >= 0 && tree >= 0 && fstat(index, &st) == 0 && st.st_size > 0) {
        void *bytes = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, index, 0);

        if (bytes != MAP_FAILED) {
            known = index_dirty(bytes, (size_t)st.st_size, tree, dirty);
            (void)munmap(bytes, (size_t)st.st_size);
        }
    }
    if (index >= 0)
        (void)close(index);
    if (tree >= 0)
        (void)close(tree);
    return known;
}

bool fb__git_commit(fb_git_commit *out)
{
    char folder[3 * LEVELS_MAX + 2] = ".";

    *out = (fb_git_commit){.dirty_known = false};
    for (int level = 0; level < LEVELS_MAX; level++) {
        char git[sizeof folder + 8];

        (void)snprintf(git, sizeof git, "%s/.git", folder);
        if (access(git, F_OK) == 0) {
            if (!read_head(out->id, git))
                return false;
            out->dirty_known = work_tree_dirty(folder, git, &out->dirty);
            return true;
        }
        (void)strncat(folder, "/..", sizeof folder - strlen(folder) - 1);
    }
    return false;
}
