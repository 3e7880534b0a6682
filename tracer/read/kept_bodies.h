/* SPDX-License-Identifier: Apache-2.0
 *
 * kept_bodies.h - the bodies of the chunks that a reader came to last by seeking: who compares goes
 * to and fro among few of them. Private to tracer.
 */
#ifndef FB_TRACER_READ_KEPT_BODIES_H
#define FB_TRACER_READ_KEPT_BODIES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    FB_KEPT_BODIES = 4,
    FB_KEPT_MAX = 512 << 10, /* of one: larger ones are read again. So 2 MiB at most */
    FB_KEPT_AFTER_SEEK = 2   /* chunks: a step often lies across the border of two */
};

typedef struct fb_kept_bodies {
    struct {
        uint64_t offset; /* of the chunk in the file */
        size_t bytes;
        uint8_t *body; /* NULL: none */
    } at[FB_KEPT_BODIES];
    unsigned next; /* which one is given up next */
    unsigned
        wanted; /* so many of the chunks that are read next are kept: who reads on needs none */
} fb_kept_bodies;

/* Keeps a copy, where one is wanted and there is memory. */
void fb__keep_body(fb_kept_bodies *k, uint64_t offset, const uint8_t *body, size_t bytes);

/* Copies what was kept of the chunk at `offset`; false where it was not. The checks of a chunk are
 * made anew in either case. */
bool fb__kept_body(const fb_kept_bodies *k, uint64_t offset, uint8_t *to, size_t bytes);

void fb__kept_bodies_free(fb_kept_bodies *k);

#endif
