/* SPDX-License-Identifier: Apache-2.0
 *
 * scratch.h - a folder of its own for each test that needs files; removed with all that is in it.
 */
#ifndef FB_TESTS_ENGINE_SCRATCH_H
#define FB_TESTS_ENGINE_SCRATCH_H

#include <dirent.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <setjmp.h>
#include <cmocka.h>

enum { SCRATCH_NAMES_MAX = 64 };

typedef struct scratch {
    char folder[64];
    char *paths[SCRATCH_NAMES_MAX]; /* one for each name that was asked for */
    size_t path_count;
} scratch;

static inline void scratch_open(scratch *s)
{
    s->path_count = 0;
    /* In memory where that can be had: thousands of damaged files are written. */
    (void)snprintf(s->folder, sizeof s->folder, "%s/firstbit-test-XXXXXX",
                   access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    assert_non_null(mkdtemp(s->folder));
}

/* FOLDER/name; lives until scratch_close. */
static inline const char *scratch_path(scratch *s, const char *name)
{
    const size_t folder = strlen(s->folder), size = folder + strlen(name) + 2;
    char *path;

    for (size_t i = 0; i < s->path_count; i++)
        if (strcmp(s->paths[i] + folder + 1, name) == 0)
            return s->paths[i];
    assert_true(s->path_count < SCRATCH_NAMES_MAX);
    path = malloc(size);
    assert_non_null(path);
    (void)snprintf(path, size, "%s/%s", s->folder, name);
    s->paths[s->path_count++] = path;
    return path;
}

static inline const char *scratch_write(scratch *s, const char *name, const void *bytes,
                                        size_t count)
{
    const char *path = scratch_path(s, name);
    FILE *file = fopen(path, "wb");

    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, count, file), count);
    assert_int_equal(fclose(file), 0);
    return path;
}

/* How many files the folder holds. */
static inline size_t scratch_count(const scratch *s)
{
    DIR *folder = opendir(s->folder);
    size_t count = 0;

    assert_non_null(folder);
    for (const struct dirent *entry; (entry = readdir(folder)) != NULL;)
        count += entry->d_name[0] != '.';
    (void)closedir(folder);
    return count;
}

static inline void scratch_close(scratch *s)
{
    DIR *folder = opendir(s->folder);

    assert_non_null(folder);
    for (const struct dirent *entry; (entry = readdir(folder)) != NULL;)
        if (entry->d_name[0] != '.')
            (void)unlink(scratch_path(s, entry->d_name));
    (void)closedir(folder);
    assert_int_equal(rmdir(s->folder), 0);
    for (size_t i = 0; i < s->path_count; i++)
        free(s->paths[i]);
}

/* What err->text must be, with the scratch folder written as "@". */
static inline void scratch_expect_text(scratch *s, const char *text, const char *want)
{
    char full[1024];
    size_t used = 0;

    for (const char *c = want; *c != '\0'; c++)
        used += (size_t)snprintf(full + used, sizeof full - used, *c == '@' ? "%s" : "%.1s",
                                 *c == '@' ? s->folder : c);
    assert_string_equal(text, full);
}

/* A small generator for mutations: xorshift64*, seeded, the same in every run. */
static inline uint64_t scratch_random(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 0x2545f4914f6cdd1dULL;
}

/* Damages `bytes` in place: a few bytes replaced, flipped or exchanged, or the end cut off. */
static inline size_t scratch_mutate(uint8_t *bytes, size_t count, uint64_t *state)
{
    static const uint8_t awkward[] = {0, 1, 0x7f, 0x80, 0xff, '"', '{', '}', '[', ']', ',', '9'};

    for (uint64_t n = 1 + scratch_random(state) % 4; n > 0 && count > 0; n--) {
        const size_t at = (size_t)(scratch_random(state) % count);

        switch (scratch_random(state) % 5) {
        case 0:
            bytes[at] = (uint8_t)scratch_random(state);
            break;
        case 1:
            bytes[at] ^= (uint8_t)(1u << scratch_random(state) % 8);
            break;
        case 2:
            bytes[at] = awkward[scratch_random(state) % sizeof awkward];
            break;
        case 3:
            memmove(bytes + at, bytes + at + 1, count - at - 1);
            count--;
            break;
        default:
            if (scratch_random(state) % 8 == 0)
                count = at;
        }
    }
    return count;
}

#endif
