/* SPDX-License-Identifier: Apache-2.0
 *
 * sealer_rows.h - reading the rows of a tail, which may be anything. Private to tracer.
 *
 * Each returns NULL, or what is wrong with the row (a static text); *no_memory is set, and nothing
 * else said, where memory is out.
 */
#ifndef FB_TRACER_RECORD_SEALER_ROWS_H
#define FB_TRACER_RECORD_SEALER_ROWS_H

#include "tracer/record/sealer.h"
#include "tracer/format/tail.h"

const char *fb__sealer_read_module(fb_sealer *s, uint32_t number, fb_bytes *b, bool *no_memory);
const char *fb__sealer_read_frame(fb_sealer *s, uint32_t number, fb_bytes *b, bool *no_memory);
const char *fb__sealer_read_site(fb_sealer *s, uint32_t number, fb_bytes *b, bool *no_memory);

/* The step and micro-batch of an event, kept in s for the rows that follow. */
void fb__sealer_read_place(fb_sealer *s, const fb_tail_row_head *head, fb_bytes *b);

/* *out points into s and into the row. *site: our number. */
const char *fb__sealer_read_event(fb_sealer *s, fb_event *out, uint32_t *site,
                                  fb_tail_contents *contents, const fb_tail_row_head *head,
                                  fb_bytes *b, bool *no_memory);

/* The contents that a row has, from byte `offset` of them on. */
const char *fb__sealer_read_contents(fb_tail_contents *out, uint64_t offset, fb_bytes *b);

bool fb__sealer_reserve_inputs(fb_sealer *s, uint32_t count);

#endif
