/* SPDX-License-Identifier: Apache-2.0
 *
 * sites.h - the sites of one trace with their names and call stacks, each kept once and numbered.
 * The recorder and the reader have one each. Private to tracer.
 */
#ifndef FB_TRACER_FORMAT_SITES_H
#define FB_TRACER_FORMAT_SITES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/intern.h"
#include "firstbit/event.h"

/* The names of a site, in the order in which a site record refers to them. */
typedef enum fb_site_name {
    FB_SITE_PATH,
    FB_SITE_OP,
    FB_SITE_SLOT,
    FB_SITE_STREAM,
    FB_SITE_ALGORITHM,
    FB_SITE_DISTRIBUTION,
    FB_SITE_CONSUMER,
    FB_SITE_DATASET,
    FB_SITE_SOURCE,    /* the call stack as the program told it: part of what makes a site, so that
                        * each place that reports has its own; in no hash */
    FB_SITE_ARGUMENTS, /* these two last: a record may end before them */
    FB_SITE_NAMES
} fb_site_name;

#define FB_FRAME_NONE UINT32_MAX

typedef struct fb_site_entry {
    fb_site site;   /* names live as long as the table and are never NULL */
    fb_hash hash;   /* fb_site_hash */
    uint32_t frame; /* innermost frame of its call stack, or FB_FRAME_NONE: as its program, which
                     * has the table for itself, took it; a reader has it in fb_chunk_reader */
    uint32_t key;   /* where it is looked for */
    uint32_t names[FB_SITE_NAMES]; /* string numbers */
} fb_site_entry;

/* One frame of a call stack; a stack is its innermost frame and the callers that it leads to. */
typedef struct fb_frame {
    uint32_t caller; /* frame number, smaller than this one's, or FB_FRAME_NONE */
    uint32_t module; /* module number */
    uint64_t offset; /* ELF address of the call within the module */
} fb_frame;

enum {
    FB_BUILD_ID_MAX = 32,
    FB_SITES_FRAMES_MAX = 1 << 17, /* of a trace; numbers of frames and modules are below */
    FB_SITES_MODULES_MAX = 1 << 12,
    FB_SITES_STRINGS_MAX = 1 << 18, /* of a trace, and their bytes all together: what keeps a */
    FB_SITES_STRING_BYTES_MAX = 8 << 20, /* hostile file from filling memory */
    FB_SITES_SHARED_MAX = 44 << 20, /* bytes of a table that several readers share, and theirs */
};

/* A loaded program file: known by its build id, called by its name without folder. */
typedef struct fb_module {
    uint32_t build_id_bytes; /* 0: it has none */
    uint32_t name;           /* string number */
    uint8_t build_id[FB_BUILD_ID_MAX];
} fb_module;

typedef struct fb_sites {
    fb_intern *strings; /* number 0 is "" */
    fb_intern *frame_keys;
    fb_intern *module_keys;
    fb_site_entry **blocks; /* entries never move: blocks of FB_SITES_BLOCK */
    uint32_t block_count;
    uint32_t count;
    uint32_t *slots; /* hash table of the entries: number + 1, 0 where it is free */
    uint32_t slot_mask;
    size_t string_bytes;
    unsigned readers;    /* that share the table: more than one, and its limits are those of a trace
                          * times their number, and FB_SITES_SHARED_MAX */
    size_t reader_bytes; /* that these readers hold beside it */

    /* Where set, every string becomes another one on its way into the table, and sites have neither
     * source nor arguments nor stack: see share.c. At most FB_NAME_MAX bytes; returns their count.
     */
    size_t (*rename)(const void *self, char *out, const char *text, size_t count);
    const void *rename_self;
} fb_sites;

enum { FB_SITES_BLOCK = 256 };

bool fb__sites_init(fb_sites *sites); /* false when memory is out */
void fb__sites_free(fb_sites *sites);

size_t fb__sites_memory(const fb_sites *sites); /* bytes that the table holds */

/* The number of an equal site, a new one where there is none. Fields that the kind does not use are
 * dropped. FB_E_USAGE (unknown kind, phase, dtype, too long a name, too high a rank), FB_E_LIMIT,
 * FB_E_MEMORY. */
FB_NODISCARD fb_status fb__sites_put(fb_sites *sites, const fb_site *site, uint32_t *number,
                                     fb_error *err);

/* The two halves of fb__sites_put: whether the numbers in a site are in range, and the entry for a
 * site whose names are strings of the table already (those that the kind does not use: 0). */
FB_NODISCARD fb_status fb__sites_check(const fb_site *site, const char *path, fb_error *err);
FB_NODISCARD fb_status fb__sites_put_named(fb_sites *sites, const fb_site *site,
                                           const uint32_t names[FB_SITE_NAMES], uint32_t *number,
                                           fb_error *err);

static inline fb_site_entry *fb__sites_get(const fb_sites *sites, uint32_t number)
{
    return &sites->blocks[number / FB_SITES_BLOCK][number % FB_SITES_BLOCK];
}

/* Numbers of a string, module or frame; FB_INTERN_NONE when memory is out. */
uint32_t fb__sites_string(fb_sites *sites, const char *text, size_t count);
uint32_t fb__sites_module(fb_sites *sites, const fb_module *module);
uint32_t fb__sites_frame(fb_sites *sites, const fb_frame *frame);

static inline const char *fb__sites_text(const fb_sites *sites, uint32_t string)
{
    return (const char *)fb_intern_get(sites->strings, string, NULL);
}

fb_module fb__sites_get_module(const fb_sites *sites, uint32_t module);
fb_frame fb__sites_get_frame(const fb_sites *sites, uint32_t frame);

/* Which parts of an event the kind uses. */
static inline bool fb__kind_has_storage(fb_kind kind)
{
    return kind == FB_KIND_TENSOR || kind == FB_KIND_PARAM;
}

static inline bool fb__kind_has_shape(fb_kind kind)
{
    return kind == FB_KIND_TENSOR || kind == FB_KIND_PARAM || kind == FB_KIND_COLLECTIVE;
}

static inline bool fb__kind_has_value(fb_kind kind)
{
    return kind == FB_KIND_SCALAR || kind == FB_KIND_MODE;
}

static inline bool fb__kind_has_hash(fb_kind kind)
{
    return fb__kind_has_shape(kind) || kind == FB_KIND_DRAW || kind == FB_KIND_SAMPLE ||
           kind == FB_KIND_CHECKPOINT;
}

static inline bool fb__kind_has_text(fb_kind kind)
{
    return kind == FB_KIND_MARK || kind == FB_KIND_CHECKPOINT;
}

/* Which of key, counter and count an event of the kind has: bits 1, 2, 4. */
static inline unsigned fb__kind_numbers(fb_kind kind)
{
    return kind == FB_KIND_DRAW ? 7u : kind == FB_KIND_SAMPLE ? 6u : kind == FB_KIND_SEED ? 1u : 0u;
}

#endif
