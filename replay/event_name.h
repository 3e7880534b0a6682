/* SPDX-License-Identifier: Apache-2.0
 *
 * event_name.h - the identity of an event spelled out, so that it outlives the trace that it was
 * read from, and contents as one line of text.
 */
#ifndef FB_REPLAY_EVENT_NAME_H
#define FB_REPLAY_EVENT_NAME_H

#include <stddef.h>
#include <stdint.h>

#include "base/hash.h"
#include "firstbit/event.h"

typedef struct fb_event_name {
    uint64_t step;
    int32_t micro; /* FB_MICRO_NONE outside micro-batches */
    fb_phase phase;
    fb_kind kind;
    uint32_t occurrence;
    char path[FB_NAME_MAX + 1], op[FB_NAME_MAX + 1], slot[FB_NAME_MAX + 1];
} fb_event_name;

void fb_event_name_of(fb_event_name *out, const fb_site *site, const fb_event *event);

/* The identity hash of docs/trace-format.md; the kind is not part of it. */
fb_hash fb_event_name_hash(const fb_event_name *name);

/* "step 3, micro 1, forward, h.1.mlp.fc (linear), output"; cut where size is too small. The
 * text is safe for a terminal: control bytes become '?'. Returns out. */
char *fb_event_name_text(char *out, size_t size, const fb_event_name *name);

/* "output" for out, "gradient" for grad, ...; the slot itself where there is no such word. */
const char *fb_slot_word(const char *slot);

/* What the event says, in one line: "hash 5f0c...", "0.5 (0x3f000000)", "17 numbers of ...". */
char *fb_event_content_text(char *out, size_t size, const fb_site *site, const fb_event *event);

/* 18204 -> "18,204"; returns out. */
char *fb__grouped(char out[32], uint64_t n);

/* Replaces control bytes by '?'; returns text. */
char *fb__make_printable(char *text);

/* How many representable numbers lie from one to the other; both zeros count as one number. A NaN
 * is the number of its bits. */
uint64_t fb_ulps_f32(uint32_t bits_a, uint32_t bits_b);
uint64_t fb_ulps_f64(uint64_t bits_a, uint64_t bits_b);

#endif
