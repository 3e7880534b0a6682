/* SPDX-License-Identifier: Apache-2.0
 *
 * stack.h - call stacks: captured as addresses, kept as (module, offset), told as text by the
 * reader. Private to tracer.
 */
#ifndef FB_TRACER_STACK_H
#define FB_TRACER_STACK_H

#include "tracer/sites.h"

/* The innermost frame of the calling thread's stack, or FB_FRAME_NONE. `caller` is the return
 * address of the public function that was called: frames inside it are left out. */
uint32_t fb__stack_capture(fb_sites *sites, const void *caller);

/* The build id of the main program in hex digits; false where it has none. */
bool fb__stack_own_build_id(char hex[2 * FB_BUILD_ID_MAX + 1]);

/* The stack that begins with `frame` as text, one frame a line, malloc'd; NULL when memory is out.
 * folder: where the trace lies, a place to look for program files; may be NULL. */
char *fb__stack_text(const fb_sites *sites, uint32_t frame, const char *folder);

#endif
