/* SPDX-License-Identifier: Apache-2.0
 *
 * other_inputs.c - whether the two sides of a culprit read the same, and what instead.
 */
#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "diff/cause/evidence.h"

enum { TOLD = 3 }; /* inputs that are named, of each side */

/* One event on both sides, or two with equal contents. Of an earlier step's the identity alone is
 * known; of this one's that is no proof: calls are counted, and the how-manieth may be another. */
bool fb__is_same_input(const fb__case *c, uint32_t k)
{
    const fb__step_event *a = c->culprit->a, *b = c->culprit->b;
    const fb__step_event *in_a = fb__input(c, a, k), *in_b = fb__input(c, b, k);
    fb_hash x, y;

    if (in_a != NULL && in_b != NULL && !fb_hash_is_zero(in_a->hash) &&
        !fb_hash_is_zero(in_b->hash))
        return fb_hash_equal(in_a->hash, in_b->hash);
    return fb_hash_equal(fb__step_of(c, a)->inputs[a->first_input + k],
                         fb__step_of(c, b)->inputs[b->first_input + k]) ||
           (fb__input_hash(&x, c, a, k) && fb__input_hash(&y, c, b, k) && fb_hash_equal(x, y));
}

static uint32_t common_count(const fb__case *c)
{
    const uint32_t a = c->culprit->a->input_count, b = c->culprit->b->input_count;

    return a < b ? a : b;
}

static bool has_same_inputs(const fb__case *c)
{
    for (uint32_t k = 0; k < common_count(c); k++)
        if (!fb__is_same_input(c, k))
            return false;
    return c->culprit->a->input_count == c->culprit->b->input_count;
}

/* "h.0.attn add #2": the op, with its module where that is not the reader's, and the how-manieth it
 * is. */
static void name_input(char *out, size_t size, const fb_site *site, const char *reader)
{
    const char *path = fb__text(site->path);
    const char *op = fb__text(site->op)[0] != '\0' ? site->op : fb__text(site->slot);
    const bool elsewhere = path[0] != '\0' && strcmp(path, reader) != 0;
    char number[16] = "";

    if (strncmp(fb__text(site->slot), "in", 2) == 0) {
        (void)snprintf(out, size, "what enters from outside");
        return;
    }
    if (site->occurrence > 0)
        (void)snprintf(number, sizeof number, " #%u", site->occurrence + 1);
    (void)snprintf(out, size, "%s%s%s%s", elsewhere ? path : "", elsewhere ? " " : "", op, number);
}

/* Those inputs of one side that the other does not read in the same place: "add, relu #2". */
static void name_inputs(char *out, size_t size, const fb__case *c, const fb__step_event *e)
{
    size_t used = 0, told = 0;

    out[0] = '\0';
    for (uint32_t k = 0; k < e->input_count && used < size; k++) {
        const fb_site *site = fb__input_site(c, e, k);
        char name[96] = "...";

        if (k < common_count(c) && fb__is_same_input(c, k))
            continue;
        if (site != NULL && told < TOLD)
            name_input(name, sizeof name, site, fb__text(e->site->path));
        used += (size_t)snprintf(out + used, size - used, "%s%s", told > 0 ? ", " : "", name);
        if (told++ == TOLD)
            break;
    }
    if (told == 0)
        (void)snprintf(out, size, "no more");
}

bool fb__other_inputs(char *out, size_t size, const fb__case *c)
{
    char in_a[160], in_b[160];

    if (!fb__is_pair(c) || has_same_inputs(c))
        return false;
    name_inputs(in_a, sizeof in_a, c, c->culprit->a);
    name_inputs(in_b, sizeof in_b, c, c->culprit->b);
    if (strcmp(in_a, in_b) == 0)
        (void)snprintf(out, size, "reads other events of the same names in the two runs");
    else
        (void)snprintf(out, size, "reads %s in a | %s in b", in_a, in_b);
    return true;
}
