/* SPDX-License-Identifier: Apache-2.0
 *
 * chunk_dictionary.h - what the two halves of the chunk reader share. Private to tracer.
 */
#ifndef FB_TRACER_FORMAT_CHUNK_DICTIONARY_H
#define FB_TRACER_FORMAT_CHUNK_DICTIONARY_H

#include "tracer/format/chunk_reader.h"

/* Reads strings, modules, frames, sites and forms of a chunk whose sections are found. */
FB_NODISCARD fb_status fb__chunk_dictionary(fb_chunk_reader *c, fb_error *err);

/* "chunk 12 at byte 3145728: ..." */
fb_status fb__chunk_corrupt(const fb_chunk_reader *c, const char *what, fb_error *err);
fb_status fb__chunk_no_memory(fb_error *err);

/* For functions that return a flaw as text: memory is out. fb__chunk_corrupt makes FB_E_MEMORY of
 * it. */
extern const char fb__out_of_memory[];

/* array: address of the pointer to an array of `capacity` elements, made to hold `need`. */
bool fb__chunk_reserve(void *array, uint32_t *capacity, size_t element, uint32_t need);

#endif
