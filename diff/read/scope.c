/* SPDX-License-Identifier: Apache-2.0
 *
 * scope.c - reads "recording" of two headers (docs/trace-format.md, "Header"), and the marks at the
 * end of two traces.
 */
#include "diff/read/scope.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "diff/number.h"
#include "tracer/format/step_list.h"

/* How deep one side was recorded. */
typedef struct depth {
    bool limited;         /* not every step has ops */
    bool none;            /* none has */
    fb_step_list steps;   /* that have, where limited */
    uint64_t state_every; /* steps between records of the state in the others; 0: not known */
} depth;

static depth depth_of(const fb__run_header *header)
{
    const cJSON *recording = cJSON_GetObjectItemCaseSensitive(header->json, "recording");
    const cJSON *every = cJSON_GetObjectItemCaseSensitive(recording, "state_every");
    const char *steps =
        cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(recording, "ops_steps"));
    depth d = {.limited = false};

    if (!cJSON_IsObject(recording))
        return d;
    if (cJSON_IsNumber(every) && every->valuedouble >= 1 && every->valuedouble < 1e15)
        d.state_every = (uint64_t)every->valuedouble;
    d.none = steps == NULL;
    d.limited = d.none || (fb__step_list_read(&d.steps, steps, NULL) == FB_OK && d.steps.count > 0);
    return d;
}

static bool covers(const depth *d, uint64_t last)
{
    if (!d->limited || d->none)
        return !d->limited;
    for (uint32_t i = 0; i < d->steps.count; i++) {
        const struct fb_step_range *r = &d->steps.range[i];

        if (r->every == 1 || (r->every == 0 && r->first <= 1 && r->last >= last))
            return true;
    }
    return false;
}

/* "steps 0-10, 500 and every 1,000 steps", without what lies behind the last step. */
static void put_steps(FILE *out, const fb_step_list *list, uint64_t last)
{
    const bool one = list->count == 1 && list->range[0].first == list->range[0].last;
    const char *before = one ? "step " : "steps ";
    char digits[32];
    bool any = false;

    for (uint32_t i = 0; i < list->count; i++) {
        const struct fb_step_range *r = &list->range[i];
        const uint64_t end = r->last < last ? r->last : last;

        if (r->every != 0 || r->first > last)
            continue;
        fprintf(out, "%s%" PRIu64, before, r->first);
        if (end > r->first)
            fprintf(out, "-%" PRIu64, end);
        before = ", ";
        any = true;
    }
    for (uint32_t i = 0; i < list->count; i++)
        if (list->range[i].every != 0 && list->range[i].every <= last) {
            fprintf(out, "%severy %s steps", any ? " and " : "",
                    fb__grouped(digits, list->range[i].every));
            any = true;
        }
    if (!any)
        fputs("no step", out);
}

static void put_depth(FILE *out, const depth *d, uint64_t last)
{
    const bool state = d->state_every > 0 && d->state_every <= last;
    char digits[32];

    if (d->none) {
        fputs("no ops, ", out);
    } else {
        fputs(state ? "ops in " : "ops and state in ", out);
        put_steps(out, &d->steps, last);
        fputs(state ? ", " : "", out);
    }
    if (state)
        fprintf(out, "state %severy %s steps", d->none ? "" : "there and ",
                fb__grouped(digits, d->state_every));
    else if (d->none)
        fputs("no state", out);
}

fb_status fb__scope_depth(char **out, const fb__headers *headers, uint64_t last_step, fb_error *err)
{
    const depth a = depth_of(&headers->a), b = depth_of(&headers->b);
    const bool whole_a = covers(&a, last_step), whole_b = covers(&b, last_step);
    char *both[2] = {NULL, NULL};
    size_t size;

    *out = NULL;
    if (whole_a && whole_b)
        return FB_OK;
    for (int side = 0; side < 2; side++) {
        const bool whole = side == 0 ? whole_a : whole_b;
        FILE *text = whole ? NULL : open_memstream(&both[side], &size);

        if (text == NULL)
            continue;
        put_depth(text, side == 0 ? &a : &b, last_step);
        (void)fclose(text);
    }
    if (both[0] != NULL && both[1] != NULL && strcmp(both[0], both[1]) != 0) {
        if (asprintf(out, "a: %s; b: %s", both[0], both[1]) < 0)
            *out = NULL;
        free(both[0]);
        free(both[1]);
    } else {
        *out = both[0] != NULL ? both[0] : both[1];
        if (both[0] != NULL)
            free(both[1]);
    }
    return *out != NULL ? FB_OK : fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "out of memory");
}

/* --- What a recorder says ----------------------------------------------------------------------
 */

enum { MARKS = 4, MARK_BYTES = 320 }; /* of a trace, from its end; of their text */

static bool says_unrecorded(const fb_event *event, const fb_site *site)
{
    static const char *const heads[] = {"not recorded: ", "contents not recorded: "};

    if (site == NULL || site->kind != FB_KIND_MARK || event->text == NULL)
        return false;
    for (int i = 0; i < 2; i++)
        if (strncmp(event->text, heads[i], strlen(heads[i])) == 0)
            return true;
    return false;
}

static void read_marks(char out[MARK_BYTES], fb_trace *t)
{
    const uint64_t events = fb_trace_get_info(t)->events;
    const fb_event *event = NULL;
    size_t used = 0;
    fb_error err;

    out[0] = '\0';
    if (fb_trace_seek_event(t, events > MARKS ? events - MARKS : 0, &err) != FB_OK)
        return;
    while (fb_trace_next(t, &event, NULL, &err) == FB_OK && event != NULL)
        if (says_unrecorded(event, fb_trace_site(t, event->site)) && used < MARK_BYTES)
            used += (size_t)snprintf(out + used, MARK_BYTES - used, "%s%s", used > 0 ? "; " : "",
                                     event->text);
}

fb_status fb__scope_unrecorded(char **out, fb_trace *a, fb_trace *b, fb_error *err)
{
    char of_a[MARK_BYTES], of_b[MARK_BYTES];
    int length;

    *out = NULL;
    read_marks(of_a, a);
    read_marks(of_b, b);
    if (of_a[0] == '\0' && of_b[0] == '\0')
        return FB_OK;
    if (strcmp(of_a, of_b) == 0)
        length = asprintf(out, "%s", of_a);
    else
        length = asprintf(out, "%s%s%s%s%s", of_a[0] == '\0' ? "" : "of a ", of_a,
                          of_a[0] == '\0' || of_b[0] == '\0' ? "" : "; ",
                          of_b[0] == '\0' ? "" : "of b ", of_b);
    if (length >= 0)
        return FB_OK;
    *out = NULL;
    return fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "report: out of memory");
}
