/* SPDX-License-Identifier: Apache-2.0
 *
 * intern.c - an open-addressing table of byte strings; entries point into blocks that never move.
 */
#include "base/intern.h"

#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

typedef struct entry {
    const uint8_t *bytes;
    uint32_t count, hash;
} entry;

typedef struct block {
    struct block *next;
    uint8_t bytes[];
} block;

struct fb_intern {
    entry *entries;
    uint32_t count, capacity;
    uint32_t *slots; /* number + 1, 0 when free */
    uint32_t slot_mask;
    block *blocks; /* newest first; the first one still has room */
    size_t block_used, block_size, block_bytes;
};

enum { FIRST_SLOTS = 64, BLOCK_BYTES = 16384 };

fb_intern *fb_intern_create(void)
{
    fb_intern *table = calloc(1, sizeof *table);

    if (table == NULL)
        return NULL;
    table->slots = calloc(FIRST_SLOTS, sizeof *table->slots);
    table->slot_mask = FIRST_SLOTS - 1;
    if (table->slots == NULL) {
        free(table);
        return NULL;
    }
    return table;
}

void fb_intern_destroy(fb_intern *table)
{
    if (table == NULL)
        return;
    for (block *b = table->blocks; b != NULL;) {
        block *next = b->next;
        free(b);
        b = next;
    }
    free(table->entries);
    free(table->slots);
    free(table);
}

/* The slot that holds these bytes, or the free one where they belong. */
static uint32_t *find_slot(const fb_intern *table, const void *bytes, size_t count, uint32_t hash)
{
    uint32_t i = hash & table->slot_mask;

    for (;; i = (i + 1) & table->slot_mask) {
        const entry *e;

        if (table->slots[i] == 0)
            return &table->slots[i];
        e = &table->entries[table->slots[i] - 1];
        if (e->hash == hash && e->count == count &&
            (count == 0 || memcmp(e->bytes, bytes, count) == 0))
            return &table->slots[i];
    }
}

static bool grow_slots(fb_intern *table)
{
    const uint32_t mask = table->slot_mask * 2 + 1;
    uint32_t *slots = calloc((size_t)mask + 1, sizeof *slots);

    if (slots == NULL)
        return false;
    for (uint32_t n = 0; n < table->count; n++) {
        uint32_t i = table->entries[n].hash & mask;
        while (slots[i] != 0)
            i = (i + 1) & mask;
        slots[i] = n + 1;
    }
    free(table->slots);
    table->slots = slots;
    table->slot_mask = mask;
    return true;
}

static bool grow_entries(fb_intern *table)
{
    const uint32_t capacity = table->capacity == 0 ? 32 : table->capacity * 2;
    entry *entries = realloc(table->entries, capacity * sizeof *entries);

    if (entries == NULL)
        return false;
    table->entries = entries;
    table->capacity = capacity;
    return true;
}

static const uint8_t *copy_bytes(fb_intern *table, const void *bytes, size_t count)
{
    uint8_t *to;

    if (table->blocks == NULL || table->block_size - table->block_used <= count) {
        const size_t size = count + 1 > BLOCK_BYTES ? count + 1 : BLOCK_BYTES;
        block *b = malloc(sizeof *b + size);

        if (b == NULL)
            return NULL;
        b->next = table->blocks;
        table->blocks = b;
        table->block_used = 0;
        table->block_size = size;
        table->block_bytes += size;
    }
    to = table->blocks->bytes + table->block_used;
    if (count > 0)
        memcpy(to, bytes, count);
    to[count] = 0;
    table->block_used += count + 1;
    return to;
}

uint32_t fb_intern_put(fb_intern *table, const void *bytes, size_t count, bool *is_new)
{
    const uint32_t hash = (uint32_t)XXH3_64bits(bytes, count);
    uint32_t *slot = find_slot(table, bytes, count, hash);
    const uint8_t *copy;

    if (is_new != NULL)
        *is_new = false;
    if (*slot != 0)
        return *slot - 1;
    if (table->count >= UINT32_MAX / 4 || count > UINT32_MAX)
        return FB_INTERN_NONE;
    if (table->count >= table->slot_mask / 2) {
        if (!grow_slots(table))
            return FB_INTERN_NONE;
        slot = find_slot(table, bytes, count, hash);
    }
    if (table->count == table->capacity && !grow_entries(table))
        return FB_INTERN_NONE;
    copy = copy_bytes(table, bytes, count);
    if (copy == NULL)
        return FB_INTERN_NONE;
    table->entries[table->count] = (entry){copy, (uint32_t)count, hash};
    *slot = ++table->count;
    if (is_new != NULL)
        *is_new = true;
    return table->count - 1;
}

uint32_t fb_intern_find(const fb_intern *table, const void *bytes, size_t count)
{
    const uint32_t *slot = find_slot(table, bytes, count, (uint32_t)XXH3_64bits(bytes, count));
    return *slot == 0 ? FB_INTERN_NONE : *slot - 1;
}

const void *fb_intern_get(const fb_intern *table, uint32_t number, size_t *count)
{
    const entry *e = &table->entries[number];

    if (count != NULL)
        *count = e->count;
    return e->bytes;
}

uint32_t fb_intern_count(const fb_intern *table)
{
    return table->count;
}

size_t fb_intern_memory(const fb_intern *table)
{
    return table->capacity * sizeof *table->entries +
           ((size_t)table->slot_mask + 1) * sizeof *table->slots + table->block_bytes;
}
