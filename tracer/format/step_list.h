/* SPDX-License-Identifier: Apache-2.0
 *
 * step_list.h - which steps: "0:10,500,every=1000". Of tracer; of diff,
 * which tells them; and of cli, which looks at what was asked for before a program runs.
 */
#ifndef FB_TRACER_FORMAT_STEP_LIST_H
#define FB_TRACER_FORMAT_STEP_LIST_H

#include <stdbool.h>
#include <stdint.h>

#include "firstbit/status.h"

enum { FB_STEP_LIST_MAX = 64 };

typedef struct fb_step_list {
    uint32_t count; /* 0: all steps */
    struct fb_step_range {
        uint64_t first, last, every; /* every 0: first .. last; else its multiples */
    } range[FB_STEP_LIST_MAX];
} fb_step_list;

/* Reads a list: numbers N, ranges N:M (both ends included), every=K (its multiples), separated by
 * commas. NULL or "": all steps. FB_E_USAGE, with the part that is wrong. */
FB_NODISCARD fb_status fb__step_list_read(fb_step_list *out, const char *text, fb_error *err);

bool fb__step_list_has(const fb_step_list *list, uint64_t step);

#endif
