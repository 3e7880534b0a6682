/* SPDX-License-Identifier: Apache-2.0
 *
 * report_words.c - how every form of a report names an event.
 */
#include "diff/report/report_words.h"

#include <string.h>

const char *fb__plain_name(char *out, size_t size, const fb_event_name *name)
{
    fb_event_name n = *name;

    if (n.op[0] == '\0' && strcmp(n.slot, n.path) == 0)
        n.slot[0] = '\0';
    if (strcmp(n.path, fb_phase_name(n.phase)) == 0)
        n.path[0] = '\0';
    return fb_event_name_text(out, size, &n);
}

const char *fb__place_name(const fb_event_name *name)
{
    return name->path[0] != '\0' ? name->path
           : name->op[0] != '\0' ? name->op
                                 : fb_slot_word(name->slot);
}
