/* SPDX-License-Identifier: Apache-2.0
 *
 * optimizers.c - pairing optimizers by the parameters that they hold.
 */
#include "diff/read/optimizers.h"

#include <ctype.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/hash.h"

static const char optimizer[] = "optimizer", held[] = "held by ";

enum { NAME = sizeof optimizer - 1, LOOKED_AT = 1 << 16 /* events of step 0 */ };

/* The digit of "optimizerN", at the end of the text or in front of a dot; NULL: it is no such
 * number. */
static const char *digit_of(const char *text)
{
    const char *at = text + NAME;

    if (strncmp(text, optimizer, NAME) != 0 || !isdigit((unsigned char)*at) ||
        (at[1] != '\0' && at[1] != '.'))
        return NULL;
    return at;
}

static const char *digit_within(const char *text)
{
    const size_t skip = strncmp(text, held, sizeof held - 1) == 0 ? sizeof held - 1 : 0;
    return digit_of(text + skip);
}

/* What each optimizer holds: a sum over its parameters that knows no order; 0: there is none. */
static void read_held(uint64_t out[FB__OPTIMIZERS_MAX], fb_trace *trace)
{
    const fb_event *e = NULL;

    memset(out, 0, FB__OPTIMIZERS_MAX * sizeof *out);
    if (fb_trace_seek_event(trace, 0, NULL) != FB_OK)
        return;
    for (int i = 0; i < LOOKED_AT; i++) {
        const fb_site *site;
        const char *digit, *own;
        char path[FB_NAME_MAX + 1];

        if (fb_trace_next(trace, &e, NULL, NULL) != FB_OK || e == NULL || e->step > 0)
            return;
        site = fb_trace_site(trace, e->site);
        if (site == NULL || site->kind != FB_KIND_MODE || site->slot == NULL ||
            strncmp(site->slot, held, sizeof held - 1) != 0)
            continue;
        digit = digit_within(site->slot);
        if (digit == NULL)
            continue;
        (void)snprintf(path, sizeof path, "%s", site->path == NULL ? "" : site->path);
        own = digit_of(path); /* of a parameter that no module has a name for */
        if (own != NULL)
            path[own - path] = '.';
        out[*digit - '0'] += (fb_hash_name(path) ^ 3 * fb_hash_name(site->op)) | 1;
    }
}

/* The only optimizer that holds this; -1: none does, or several do. */
static int holder(const uint64_t of[FB__OPTIMIZERS_MAX], uint64_t what)
{
    int found = -1;

    for (int i = 0; i < FB__OPTIMIZERS_MAX; i++)
        if (of[i] == what) {
            if (found >= 0)
                return -1;
            found = i;
        }
    return found;
}

/* Whether all that was recorded before the first step is equal: no need to look at it. */
static bool begins_alike(fb_trace *a, fb_trace *b)
{
    fb_trace_step x, y;

    return fb_trace_get_step(a, 0, &x, NULL) == FB_OK &&
           fb_trace_get_step(b, 0, &y, NULL) == FB_OK && x.classes == y.classes &&
           memcmp(x.root, y.root, sizeof x.root) == 0;
}

void fb__number_optimizers(fb__numbering *out, fb_trace *a, fb_trace *b)
{
    uint64_t in_a[FB__OPTIMIZERS_MAX], in_b[FB__OPTIMIZERS_MAX];
    fb__numbering found = {.exchanged = false};
    bool paired = true;

    for (int i = 0; i < FB__OPTIMIZERS_MAX; i++)
        out->of_a[i] = i;
    out->exchanged = false;
    if (begins_alike(a, b))
        return;
    read_held(in_a, a);
    read_held(in_b, b);
    for (int i = 0; i < FB__OPTIMIZERS_MAX; i++) {
        found.of_a[i] = in_b[i] == 0 ? i : holder(in_a, in_b[i]);
        paired = paired && found.of_a[i] >= 0 && (in_a[i] == 0) == (in_b[i] == 0) &&
                 (in_b[i] == 0 || holder(in_b, in_b[i]) == i);
        found.exchanged = found.exchanged || found.of_a[i] != i;
    }
    if (paired)
        *out = found;
}

bool fb__renumber(char *text, const fb__numbering *numbering)
{
    const char *digit = numbering == NULL ? NULL : digit_within(text);
    int number;

    if (digit == NULL)
        return false;
    number = numbering->of_a[*digit - '0'];
    if (number == *digit - '0')
        return false;
    text[digit - text] = (char)('0' + number);
    return true;
}
