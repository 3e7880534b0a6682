/* SPDX-License-Identifier: Apache-2.0
 *
 * streams.c - the registry of random streams. A stream's number is the low half of its name's hash,
 * so a name keeps its numbers whatever else a run draws. Rules: docs/numerics.md, "Random numbers".
 */
#include "engine/streams.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/hash.h"

typedef struct entry {
    char *name;
    uint32_t number;
} entry;

struct fb_streams {
    uint64_t seed;
    entry *entries;
    size_t count, capacity;
};

fb_status fb_streams_create(fb_streams **out, uint64_t seed, fb_error *err)
{
    fb_streams *streams = calloc(1, sizeof *streams);

    if (streams == NULL)
        return fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "random streams: out of memory");
    streams->seed = seed;
    *out = streams;
    return FB_OK;
}

void fb_streams_destroy(fb_streams *streams)
{
    if (streams == NULL)
        return;
    for (size_t i = 0; i < streams->count; i++)
        free(streams->entries[i].name);
    free(streams->entries);
    free(streams);
}

static bool reserve_one(fb_streams *streams)
{
    const size_t capacity = streams->capacity == 0 ? 32 : streams->capacity * 2;
    entry *grown;

    if (streams->count < streams->capacity)
        return true;
    grown = realloc(streams->entries, capacity * sizeof *grown);
    if (grown == NULL)
        return false;
    streams->entries = grown;
    streams->capacity = capacity;
    return true;
}

fb_status fb_streams_add(size_t *out, fb_streams *streams, const char *name, fb_error *err)
{
    const uint32_t number = (uint32_t)fb_hash_name(name);

    /* Linear: a model has some hundred streams, registered once. */
    for (size_t i = 0; i < streams->count; i++) {
        if (streams->entries[i].number != number)
            continue;
        if (strcmp(streams->entries[i].name, name) == 0)
            return fb__fail(err, FB_E_CONFIG, FB_NO_OFFSET,
                            "random stream \"%s\" is registered twice", name);
        return fb__fail(err, FB_E_CONFIG, FB_NO_OFFSET,
                        "random streams \"%s\" and \"%s\" have the same number 0x%08x; rename the "
                        "layer of one",
                        streams->entries[i].name, name, (unsigned)number);
    }
    if (!reserve_one(streams))
        return fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "random streams: out of memory");

    entry *e = &streams->entries[streams->count];
    e->number = number;
    e->name = strdup(name);
    if (e->name == NULL)
        return fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "random streams: out of memory");
    *out = streams->count++;
    return FB_OK;
}

size_t fb_streams_count(const fb_streams *streams)
{
    return streams->count;
}

const char *fb_streams_name(const fb_streams *streams, size_t index)
{
    return streams->entries[index].name;
}

fb_philox fb_streams_at(const fb_streams *streams, size_t index, uint64_t step)
{
    return (fb_philox){streams->seed, (uint32_t)step, streams->entries[index].number};
}

void fb_permutation(uint64_t *out, uint64_t n, const fb_philox *stream, uint64_t position)
{
    for (uint64_t i = 0; i < n; i++)
        out[i] = i;
    /* Element i takes the place of one of 0..i; each exchange spends one 64-bit number. */
    for (uint64_t i = n; i-- > 1;) {
        const uint64_t j = fb_philox_bounded(stream, position + (n - 1 - i), i + 1);
        const uint64_t kept = out[i];

        out[i] = out[j];
        out[j] = kept;
    }
}
