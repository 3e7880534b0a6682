/* SPDX-License-Identifier: Apache-2.0
 *
 * report_notes.h - notes as a reader wants them: what repeats, from tensor to tensor of a call and
 * from step to step, is one line.
 */
#ifndef FB_DIFF_REPORT_REPORT_NOTES_H
#define FB_DIFF_REPORT_REPORT_NOTES_H

#include "diff/diff.h"

/* Notes that say the same of one call, in one step or in several. */
typedef struct fb__note_line {
    size_t first, count; /* the first of them in the list; how many */
    uint64_t first_step, last_step;
} fb__note_line;

/* The lines that a list of notes folds into, in the order of their first notes: at most `max` of
 * them are written. Returns how many were written; notes of further lines are in none. */
size_t fb__fold_notes(fb__note_line *lines, size_t max, const fb_diff_list *notes);

/* "steps 1 to 9, forward, CLIP (argmax), 9 events: only in b"; a note that stands alone is told as
 * it is. Cut where it does not fit; returns out. */
const char *fb__note_line_text(char *out, size_t size, const fb_diff_list *notes,
                               const fb__note_line *line);

#endif
