/* SPDX-License-Identifier: Apache-2.0
 *
 * report_notes.c - notes that say the same of one call, folded into a line.
 */
#include "diff/report/report_notes.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* "child2: step 3, forward, fc (clone), output #1: only in a" in its parts. */
typedef struct note_parts {
    int role_length; /* of "child2: " */
    uint64_t step;
    const char *call; /* "forward, fc (clone)" */
    int call_length;
    const char *matter; /* "only in a"; NULL: no note on an event of a step */
} note_parts;

static note_parts parts_of(const char *note)
{
    note_parts p = {.role_length = 0};
    const char *step = strncmp(note, "step ", 5) == 0 ? note : strstr(note, ": step ");
    const char *colon, *end = NULL;
    char *behind;

    if (step == NULL)
        return p;
    if (step != note)
        step += 2;
    p.role_length = (int)(step - note);
    p.step = strtoull(step + 5, &behind, 10);
    colon = strstr(behind, ": ");
    if (behind == step + 5 || strncmp(behind, ", ", 2) != 0 || colon == NULL)
        return p;
    p.call = behind + 2;
    for (const char *c = p.call; c < colon; c++)
        if (*c == ')')
            end = c + 1;
    if (end == NULL)
        return p;
    p.call_length = (int)(end - p.call);
    p.matter = colon + 2;
    return p;
}

static bool is_alike(const char *note_x, const char *note_y)
{
    const note_parts x = parts_of(note_x), y = parts_of(note_y);

    return x.matter != NULL && y.matter != NULL && x.role_length == y.role_length &&
           x.call_length == y.call_length && strncmp(note_x, note_y, (size_t)x.role_length) == 0 &&
           strncmp(x.call, y.call, (size_t)x.call_length) == 0 && strcmp(x.matter, y.matter) == 0;
}

size_t fb__fold_notes(fb__note_line *lines, size_t max, const fb_diff_list *notes)
{
    size_t count = 0;

    for (size_t i = 0; i < notes->count; i++) {
        const uint64_t step = parts_of(notes->at[i]).step;
        size_t k = 0;

        while (k < count && !is_alike(notes->at[lines[k].first], notes->at[i]))
            k++;
        if (k < count) {
            lines[k].count++;
            lines[k].last_step = step;
        } else if (count < max) {
            lines[count++] = (fb__note_line){i, 1, step, step};
        }
    }
    return count;
}

const char *fb__note_line_text(char *out, size_t size, const fb_diff_list *notes,
                               const fb__note_line *line)
{
    const char *note = notes->at[line->first];
    const note_parts p = parts_of(note);
    char steps[64];

    if (line->count == 1) {
        (void)snprintf(out, size, "%s", note);
        return out;
    }
    if (line->first_step == line->last_step)
        (void)snprintf(steps, sizeof steps, "step %" PRIu64, line->first_step);
    else
        (void)snprintf(steps, sizeof steps, "steps %" PRIu64 " to %" PRIu64, line->first_step,
                       line->last_step);
    (void)snprintf(out, size, "%.*s%s, %.*s, %zu events: %s", p.role_length, note, steps,
                   p.call_length, p.call, line->count, p.matter);
    return out;
}
