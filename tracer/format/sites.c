/* SPDX-License-Identifier: Apache-2.0
 *
 * sites.c - the table of sites: equal fields, equal number.
 */
#include "tracer/format/sites.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/hash.h"
#include "tracer/format/format.h"

enum { FIRST_SLOTS = 64 };

bool fb__sites_init(fb_sites *sites)
{
    *sites = (fb_sites){.strings = fb_intern_create(),
                        .frame_keys = fb_intern_create(),
                        .module_keys = fb_intern_create(),
                        .slots = calloc(FIRST_SLOTS, sizeof *sites->slots),
                        .slot_mask = FIRST_SLOTS - 1,
                        .readers = 1};
    if (sites->strings == NULL || sites->frame_keys == NULL || sites->module_keys == NULL ||
        sites->slots == NULL || fb_intern_put(sites->strings, "", 0, NULL) != 0) {
        fb__sites_free(sites);
        return false;
    }
    return true;
}

void fb__sites_free(fb_sites *sites)
{
    for (uint32_t i = 0; i < sites->block_count; i++)
        free(sites->blocks[i]);
    free(sites->blocks);
    free(sites->slots);
    fb_intern_destroy(sites->strings);
    fb_intern_destroy(sites->frame_keys);
    fb_intern_destroy(sites->module_keys);
    *sites = (fb_sites){0};
}

size_t fb__sites_memory(const fb_sites *sites)
{
    return sites->block_count * (FB_SITES_BLOCK * sizeof **sites->blocks + sizeof(void *)) +
           ((size_t)sites->slot_mask + 1) * sizeof *sites->slots +
           fb_intern_memory(sites->strings) + fb_intern_memory(sites->frame_keys) +
           fb_intern_memory(sites->module_keys);
}

/* Whether there may be one more of something of which a trace has at most `most`. */
static bool has_room(const fb_sites *sites, size_t count, size_t most)
{
    return count < most * sites->readers &&
           (sites->readers == 1 ||
            fb__sites_memory(sites) + sites->reader_bytes < FB_SITES_SHARED_MAX);
}

uint32_t fb__sites_string(fb_sites *sites, const char *text, size_t count)
{
    char renamed[FB_NAME_MAX];
    bool is_new;
    uint32_t number;

    if (sites->rename != NULL) {
        count = sites->rename(sites->rename_self, renamed, text, count);
        text = renamed;
    }
    if (!has_room(sites, fb_intern_count(sites->strings), FB_SITES_STRINGS_MAX) ||
        !has_room(sites, sites->string_bytes + count, FB_SITES_STRING_BYTES_MAX))
        return fb_intern_find(sites->strings, text, count);
    number = fb_intern_put(sites->strings, text, count, &is_new);
    if (number != FB_INTERN_NONE && is_new)
        sites->string_bytes += count + 1;
    return number;
}

uint32_t fb__sites_module(fb_sites *sites, const fb_module *module)
{
    if (!has_room(sites, fb_intern_count(sites->module_keys), FB_SITES_MODULES_MAX))
        return fb_intern_find(sites->module_keys, module, sizeof *module);
    return fb_intern_put(sites->module_keys, module, sizeof *module, NULL);
}

uint32_t fb__sites_frame(fb_sites *sites, const fb_frame *frame)
{
    if (!has_room(sites, fb_intern_count(sites->frame_keys), FB_SITES_FRAMES_MAX))
        return fb_intern_find(sites->frame_keys, frame, sizeof *frame);
    return fb_intern_put(sites->frame_keys, frame, sizeof *frame, NULL);
}

fb_module fb__sites_get_module(const fb_sites *sites, uint32_t module)
{
    fb_module m;
    memcpy(&m, fb_intern_get(sites->module_keys, module, NULL), sizeof m);
    return m;
}

fb_frame fb__sites_get_frame(const fb_sites *sites, uint32_t frame)
{
    fb_frame f;
    memcpy(&f, fb_intern_get(sites->frame_keys, frame, NULL), sizeof f);
    return f;
}

/* --- Sites -------------------------------------------------------------------------------------
 */

fb_status fb__sites_check(const fb_site *site, const char *path, fb_error *err)
{
    if (strcmp(fb_kind_name(site->kind), "?") == 0 ||
        (site->phase != FB_PHASE_NONE && strcmp(fb_phase_name(site->phase), "?") == 0))
        return fb__fail(err, FB_E_USAGE, FB_NO_OFFSET, "site %.200s: unknown kind %d or phase %d",
                        path, (int)site->kind, (int)site->phase);
    if ((fb__kind_has_shape(site->kind) || site->kind == FB_KIND_SCALAR) &&
        (fb_dtype_bytes(site->dtype) == 0 || site->rank > FB_RANK_MAX))
        return fb__fail(err, FB_E_USAGE, FB_NO_OFFSET, "site %.200s: dtype %d, rank %u", path,
                        (int)site->dtype, (unsigned)site->rank);
    if (site->kind == FB_KIND_SAMPLE && strcmp(fb_role_name(site->role), "?") == 0)
        return fb__fail(err, FB_E_USAGE, FB_NO_OFFSET, "site %.200s: unknown role %d", path,
                        (int)site->role);
    return FB_OK;
}

/* The fields that the kind uses; all others are zero, names too. */
static fb_site plain_site(const fb_site *from)
{
    fb_site to = {.size = sizeof to,
                  .kind = from->kind,
                  .phase = from->phase,
                  .occurrence = from->occurrence,
                  .note = from->note};

    if (fb__kind_has_shape(to.kind)) {
        to.rank = from->rank;
        memcpy(to.shape, from->shape, from->rank * sizeof to.shape[0]);
    }
    if (fb__kind_has_shape(to.kind) || to.kind == FB_KIND_SCALAR)
        to.dtype = from->dtype;
    if (to.kind == FB_KIND_DRAW)
        memcpy(to.parameters, from->parameters, sizeof to.parameters);
    if (to.kind == FB_KIND_SAMPLE)
        to.role = from->role;
    return to;
}

/* A plain site as bytes: equal sites, equal bytes. */
typedef struct site_key {
    size_t count;
    uint8_t bytes[16 + 8 * FB_RANK_MAX + 16 + 4 * FB_SITE_NAMES];
} site_key;

static void key_put(site_key *key, const void *bytes, size_t count)
{
    memcpy(key->bytes + key->count, bytes, count);
    key->count += count;
}

static site_key key_of(const fb_site *plain, const uint32_t names[FB_SITE_NAMES])
{
    const uint8_t small[] = {(uint8_t)plain->kind,  (uint8_t)plain->phase, (uint8_t)plain->note,
                             (uint8_t)plain->dtype, (uint8_t)plain->role,  (uint8_t)plain->rank};
    site_key key = {.count = 0};

    key_put(&key, small, sizeof small);
    key_put(&key, &plain->occurrence, sizeof plain->occurrence);
    key_put(&key, plain->shape, plain->rank * sizeof plain->shape[0]);
    if (plain->kind == FB_KIND_DRAW)
        key_put(&key, plain->parameters, sizeof plain->parameters);
    key_put(&key, names, FB_SITE_NAMES * sizeof names[0]);
    return key;
}

/* The slot of the site of this key, or the free one where it belongs. */
static uint32_t *find_slot(const fb_sites *sites, const site_key *key, uint32_t hash)
{
    for (uint32_t i = hash & sites->slot_mask;; i = (i + 1) & sites->slot_mask) {
        const fb_site_entry *entry;
        site_key other;

        if (sites->slots[i] == 0)
            return &sites->slots[i];
        entry = fb__sites_get(sites, sites->slots[i] - 1);
        if (entry->key != hash)
            continue;
        other = key_of(&entry->site, entry->names);
        if (other.count == key->count && memcmp(other.bytes, key->bytes, key->count) == 0)
            return &sites->slots[i];
    }
}

static bool grow_slots(fb_sites *sites)
{
    const uint32_t mask = sites->slot_mask * 2 + 1;
    uint32_t *slots;

    if (sites->count < sites->slot_mask / 2)
        return true;
    slots = calloc((size_t)mask + 1, sizeof *slots);
    if (slots == NULL)
        return false;
    for (uint32_t n = 0; n < sites->count; n++) {
        uint32_t i = fb__sites_get(sites, n)->key & mask;

        while (slots[i] != 0)
            i = (i + 1) & mask;
        slots[i] = n + 1;
    }
    free(sites->slots);
    sites->slots = slots;
    sites->slot_mask = mask;
    return true;
}

/* Whether a caller, maybe built with an older event.h, has this field of a site. */
#define HAS_FIELD(site, field) ((site)->size >= offsetof(fb_site, field) + sizeof(site)->field)

static void collect_names(const char *names[FB_SITE_NAMES], const fb_site *site)
{
    const bool stream = site->kind == FB_KIND_DRAW || site->kind == FB_KIND_SEED;
    const bool draw = site->kind == FB_KIND_DRAW;

    names[FB_SITE_PATH] = site->path;
    names[FB_SITE_OP] = site->op;
    names[FB_SITE_SLOT] = site->slot;
    names[FB_SITE_STREAM] = stream ? site->stream : NULL;
    names[FB_SITE_ALGORITHM] = stream ? site->algorithm : NULL;
    names[FB_SITE_DISTRIBUTION] = draw ? site->distribution : NULL;
    names[FB_SITE_CONSUMER] = draw ? site->consumer : NULL;
    names[FB_SITE_DATASET] = site->kind == FB_KIND_SAMPLE ? site->dataset : NULL;
    names[FB_SITE_SOURCE] = HAS_FIELD(site, source) ? site->source : NULL;
    names[FB_SITE_ARGUMENTS] = HAS_FIELD(site, arguments) ? site->arguments : NULL;
    for (int i = 0; i < FB_SITE_NAMES; i++)
        if (names[i] == NULL)
            names[i] = "";
}

static fb_site_entry *new_entry(fb_sites *sites)
{
    if (sites->count == sites->block_count * FB_SITES_BLOCK) {
        fb_site_entry **blocks =
            realloc(sites->blocks, (sites->block_count + 1) * sizeof(fb_site_entry *));

        if (blocks == NULL)
            return NULL;
        sites->blocks = blocks;
        blocks[sites->block_count] = malloc(FB_SITES_BLOCK * sizeof **blocks);
        if (blocks[sites->block_count] == NULL)
            return NULL;
        sites->block_count++;
    }
    return fb__sites_get(sites, sites->count);
}

static void fill_entry(fb_site_entry *entry, const fb_sites *sites, const fb_site *plain,
                       const uint32_t names[FB_SITE_NAMES])
{
    *entry = (fb_site_entry){.site = *plain, .frame = FB_FRAME_NONE};
    memcpy(entry->names, names, sizeof entry->names);
    entry->site.path = fb__sites_text(sites, names[FB_SITE_PATH]);
    entry->site.op = fb__sites_text(sites, names[FB_SITE_OP]);
    entry->site.slot = fb__sites_text(sites, names[FB_SITE_SLOT]);
    entry->site.stream = fb__sites_text(sites, names[FB_SITE_STREAM]);
    entry->site.algorithm = fb__sites_text(sites, names[FB_SITE_ALGORITHM]);
    entry->site.distribution = fb__sites_text(sites, names[FB_SITE_DISTRIBUTION]);
    entry->site.consumer = fb__sites_text(sites, names[FB_SITE_CONSUMER]);
    entry->site.dataset = fb__sites_text(sites, names[FB_SITE_DATASET]);
    entry->site.arguments = fb__sites_text(sites, names[FB_SITE_ARGUMENTS]);
    entry->hash = fb_site_hash(&entry->site);
}

fb_status fb__sites_put_named(fb_sites *sites, const fb_site *site,
                              const uint32_t names[FB_SITE_NAMES], uint32_t *number, fb_error *err)
{
    const fb_site plain = plain_site(site);
    uint32_t kept[FB_SITE_NAMES];
    site_key key;
    uint32_t hash, *slot;
    fb_site_entry *entry;

    memcpy(kept, names, sizeof kept);
    if (sites->rename != NULL) /* these tell of the program, and are no names */
        kept[FB_SITE_SOURCE] = kept[FB_SITE_ARGUMENTS] = 0;
    key = key_of(&plain, kept);
    hash = (uint32_t)fb__check(key.bytes, key.count);
    slot = find_slot(sites, &key, hash);
    *number = *slot - 1;
    if (*slot != 0)
        return FB_OK;
    if (!has_room(sites, sites->count, FB_TRACE_SITES_MAX))
        return fb__fail(err, FB_E_LIMIT, FB_NO_OFFSET,
                        sites->readers == 1 ? "more than %d different sites"
                                            : "more than %d different sites each, or names and "
                                              "sites of both that no reader has memory for",
                        FB_TRACE_SITES_MAX);
    entry = grow_slots(sites) ? new_entry(sites) : NULL;
    if (entry == NULL)
        return fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "out of memory");
    fill_entry(entry, sites, &plain, kept);
    entry->key = hash;
    *number = sites->count;
    *find_slot(sites, &key, hash) = ++sites->count;
    return FB_OK;
}

/* Too long a stack loses its outermost frames; where there is no room for it, all. */
static uint32_t put_source(fb_sites *sites, const char *source)
{
    size_t count = strnlen(source, FB_NAME_MAX + 1);
    uint32_t string;

    while (count > FB_NAME_MAX || (source[count] != '\0' && count > 0 && source[count] != '\n'))
        count--;
    string = fb__sites_string(sites, source, count);
    return string == FB_INTERN_NONE ? 0 : string;
}

static fb_status put_name(fb_sites *sites, const char *text, uint32_t *string, fb_error *err)
{
    const size_t count = strnlen(text, FB_NAME_MAX + 1);

    if (count > FB_NAME_MAX)
        return fb__fail(err, FB_E_USAGE, FB_NO_OFFSET, "site %.200s: name longer than %d bytes",
                        text, FB_NAME_MAX);
    *string = fb__sites_string(sites, text, count);
    if (*string == FB_INTERN_NONE)
        return fb__fail(err, FB_E_LIMIT, FB_NO_OFFSET, "more than %d names or %d bytes of them",
                        FB_SITES_STRINGS_MAX, FB_SITES_STRING_BYTES_MAX);
    return FB_OK;
}

fb_status fb__sites_put(fb_sites *sites, const fb_site *site, uint32_t *number, fb_error *err)
{
    const char *texts[FB_SITE_NAMES];
    uint32_t names[FB_SITE_NAMES];
    fb_status status;

    collect_names(texts, site);
    status = fb__sites_check(site, texts[FB_SITE_PATH], err);
    for (int i = 0; i < FB_SITE_NAMES && status == FB_OK; i++) {
        if (i == FB_SITE_SOURCE)
            names[i] = put_source(sites, texts[i]);
        else
            status = put_name(sites, texts[i], &names[i], err);
    }
    if (status == FB_OK)
        status = fb__sites_put_named(sites, site, names, number, err);
    return status;
}
