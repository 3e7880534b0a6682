/* SPDX-License-Identifier: Apache-2.0
 *
 * kept_bodies.c - a few bodies of chunks, the oldest given up first.
 */
#include "tracer/read/kept_bodies.h"

#include <stdlib.h>
#include <string.h>

void fb__keep_body(fb_kept_bodies *k, uint64_t offset, const uint8_t *body, size_t bytes)
{
    uint8_t *copy;

    if (k->wanted == 0)
        return;
    k->wanted--;
    if (bytes > FB_KEPT_MAX)
        return;
    copy = realloc(k->at[k->next].body, bytes + 1);
    if (copy == NULL)
        return;
    memcpy(copy, body, bytes);
    k->at[k->next].offset = offset;
    k->at[k->next].bytes = bytes;
    k->at[k->next].body = copy;
    k->next = (k->next + 1) % FB_KEPT_BODIES;
}

bool fb__kept_body(const fb_kept_bodies *k, uint64_t offset, uint8_t *to, size_t bytes)
{
    for (int i = 0; i < FB_KEPT_BODIES; i++)
        if (k->at[i].body != NULL && k->at[i].offset == offset && k->at[i].bytes == bytes) {
            memcpy(to, k->at[i].body, bytes);
            return true;
        }
    return false;
}

void fb__kept_bodies_free(fb_kept_bodies *k)
{
    for (int i = 0; i < FB_KEPT_BODIES; i++)
        free(k->at[i].body);
}
