/* SPDX-License-Identifier: Apache-2.0
 *
 * known_sites.h - the sites of one side of a comparison, with their hashes, and the semantic hash
 * of an event of that side. A side is a run (sites are copied as it tells them) or a trace (they
 * are asked of its reader).
 */
#ifndef FB_REPLAY_KNOWN_SITES_H
#define FB_REPLAY_KNOWN_SITES_H

#include "base/hash.h"
#include "firstbit/event.h"
#include "firstbit/trace.h"

typedef struct fb__known_site {
    const fb_site *site; /* NULL: not met yet */
    fb_hash hash;        /* the part of an identity that repeats */
    fb_class class_;
    void *memory; /* of a copy */
} fb__known_site;

/* Starts as all zeros, but for `trace`. */
typedef struct fb__known_sites {
    const fb_trace *trace; /* where sites are asked for; NULL: they are told */
    fb__known_site *at;
    size_t count, capacity;
    fb_hash *input_ids; /* scratch */
    size_t input_capacity;
} fb__known_sites;

/* Copies a site that a run told. FB_E_MEMORY. */
FB_NODISCARD fb_status fb__known_sites_tell(fb__known_sites *sites, uint32_t number,
                                            const fb_site *site, fb_error *err);

/* The site of a number; lives until free. FB_E_CORRUPT where it was never introduced; FB_E_MEMORY.
 */
FB_NODISCARD fb_status fb__known_site_get(const fb__known_site **out, fb__known_sites *sites,
                                          uint32_t number, fb_error *err);

void fb__known_sites_free(fb__known_sites *sites);

/*
 * Identity and semantic hash of an event.
 *
 * FB_E_CORRUPT   the event, or an input of it, names a site that was never introduced
 * FB_E_MEMORY
 */
FB_NODISCARD fb_status fb__known_sites_hash(fb_hash *identity, fb_hash *hash,
                                            fb__known_sites *sites, const fb_event *event,
                                            fb_error *err);

#endif
