/* SPDX-License-Identifier: Apache-2.0
 *
 * step_list.c - reading lists of steps.
 */
#include "tracer/format/step_list.h"

#include <string.h>

#include "base/error.h"
#include "tracer/format/format.h"

/* Digits from *at on; false where there are none or the number is no step. */
static bool read_number(const char **at, uint64_t *out)
{
    const char *p = *at;

    *out = 0;
    for (; *p >= '0' && *p <= '9'; p++) {
        *out = *out * 10 + (uint64_t)(*p - '0');
        if (*out > FB_STEP_MAX)
            return false;
    }
    if (p == *at)
        return false;
    *at = p;
    return true;
}

static bool read_range(const char **at, struct fb_step_range *out)
{
    static const char every[] = "every=";

    if (strncmp(*at, every, sizeof every - 1) == 0) {
        *at += sizeof every - 1;
        return read_number(at, &out->every) && out->every > 0;
    }
    if (!read_number(at, &out->first))
        return false;
    out->last = out->first;
    if (**at != ':')
        return true;
    ++*at;
    return read_number(at, &out->last) && out->last >= out->first;
}

fb_status fb__step_list_read(fb_step_list *out, const char *text, fb_error *err)
{
    const char *at = text;

    memset(out, 0, sizeof *out);
    if (text == NULL || *text == '\0')
        return FB_OK;
    for (;;) {
        const char *part = at;

        if (out->count == FB_STEP_LIST_MAX)
            return fb__fail(err, FB_E_USAGE, FB_NO_OFFSET, "more than %d parts in a list of steps",
                            FB_STEP_LIST_MAX);
        if (!read_range(&at, &out->range[out->count]) || (*at != ',' && *at != '\0'))
            return fb__fail(err, FB_E_USAGE, FB_NO_OFFSET,
                            "\"%.60s\": expected N, N:M or every=K, separated by commas", part);
        out->count++;
        if (*at++ == '\0')
            return FB_OK;
    }
}

bool fb__step_list_has(const fb_step_list *list, uint64_t step)
{
    for (uint32_t i = 0; i < list->count; i++) {
        const struct fb_step_range *r = &list->range[i];
        if (r->every != 0 ? step % r->every == 0 : step >= r->first && step <= r->last)
            return true;
    }
    return list->count == 0;
}
