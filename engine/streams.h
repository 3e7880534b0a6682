/* SPDX-License-Identifier: Apache-2.0
 *
 * streams.h - the random streams of a run: counter-based, named for what they feed, random-access.
 * Rules: docs/numerics.md, "Random numbers".
 */
#ifndef FB_ENGINE_STREAMS_H
#define FB_ENGINE_STREAMS_H

#include <stddef.h>
#include <stdint.h>

#include "firstbit/status.h"
#include "kernels/kernels.h"

typedef struct fb_streams fb_streams;

FB_NODISCARD fb_status fb_streams_create(fb_streams **out, uint64_t seed, fb_error *err);
void fb_streams_destroy(fb_streams *streams);

/* Registers a stream under its name (copied); *out is its index, from 0. FB_E_CONFIG where two
 * names have one number (low 32 bits of XXH3-64 of the name), FB_E_MEMORY. */
FB_NODISCARD fb_status fb_streams_add(size_t *out, fb_streams *streams, const char *name,
                                      fb_error *err);

size_t fb_streams_count(const fb_streams *streams);
const char *fb_streams_name(const fb_streams *streams, size_t index);

/* The generator of a stream at a step (for the shuffle stream: an epoch). */
fb_philox fb_streams_at(const fb_streams *streams, size_t index, uint64_t step);

/* Random permutation of 0..n-1 by descending Fisher-Yates. Takes n - 1 numbers of 64 bits (two
 * words each) from the stream, from number `position` on, which counts such numbers: the first one
 * taken is made of words 2·position and 2·position + 1. */
void fb_permutation(uint64_t *out, uint64_t n, const fb_philox *stream, uint64_t position);

#endif
