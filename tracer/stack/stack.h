/* SPDX-License-Identifier: Apache-2.0
 *
 * stack.h - call stacks: captured as addresses, kept as (module, offset), told as text by the
 * reader. Private to tracer.
 */
#ifndef FB_TRACER_STACK_STACK_H
#define FB_TRACER_STACK_STACK_H

#include "tracer/format/sites.h"

/* The innermost frame of the calling thread's stack, or FB_FRAME_NONE. `caller` is the return
 * address of the public function that was called: frames inside it are left out. */
uint32_t fb__stack_capture(fb_sites *sites, const void *caller);

/* The build id of the main program in hex digits; false where it has none. */
bool fb__stack_own_build_id(char hex[2 * FB_BUILD_ID_MAX + 1]);

/* Texts of frames that were spelled before, by frame number: the same few frames are below most
 * stacks, and finding one's line may take a tenth of a second. */
typedef struct fb_frame_texts {
    char **of;
    uint32_t count;
    size_t bytes; /* of all texts: at most FB_FRAME_TEXTS_BYTES, others are spelled each time */
} fb_frame_texts;

enum { FB_FRAME_TEXTS_BYTES = 4 << 20 };

void fb__frame_texts_free(fb_frame_texts *texts);

#endif
