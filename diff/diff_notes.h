/* SPDX-License-Identifier: Apache-2.0
 *
 * diff_notes.h - differences that never reach training state: evaluation, checkpoints, marks, and
 * draws that nobody uses.
 */
#ifndef FB_DIFF_DIFF_NOTES_H
#define FB_DIFF_DIFF_NOTES_H

#include "diff/read/chains.h"
#include "diff/diff.h"
#include "diff/judge/judge.h"

/* An extra draw or seed that reached nothing in its step. A later step may show that it did reach
 * something: a generator keeps its position. The event's inputs and indices are left out. */
typedef struct fb__noted_draw {
    fb__step_event event;
    uint64_t step;
    bool in_b;
} fb__noted_draw;

/* How much had been taken down before a step, so that it can be judged again. */
typedef struct fb__noted_step {
    uint64_t step, lines;
    size_t told, draw_count;
} fb__noted_step;

enum { FB__NOTED_DRAWS_MAX = 64, FB__NOTED_STEPS_MAX = 16 };

typedef struct fb__noted {
    fb__noted_draw draws[FB__NOTED_DRAWS_MAX];
    size_t draw_count;
    fb__noted_step steps[FB__NOTED_STEPS_MAX]; /* the first of those with notes */
    size_t step_count;
    uint64_t lines;  /* all notes; those told one by one are in report->notes */
    bool told_order; /* a note has said that calls stand in another order */
    bool has_first;
    fb_event_name first; /* the first note: with --strict it is the verdict's event */
    fb_diff_what first_what;
} fb__noted;

/* Adds a line to a list. FB_E_MEMORY. */
FB_NODISCARD fb_status fb__list_add(fb_diff_list *list, fb_error *err, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Takes down the notes of a step. FB_E_MEMORY. */
FB_NODISCARD fb_status fb__note_step(fb__noted *noted, fb_diff_report *report,
                                     const fb__step_pair *pair, const fb__step_notes *notes,
                                     fb_error *err);

/* How many notes are counted, and not in the list. */
uint64_t fb__notes_untold(const fb__noted *noted);

/* Forgets the notes of steps[at] and of all steps behind it: they are judged again. */
void fb__notes_withdraw(fb__noted *noted, fb_diff_report *report, size_t at);

/* The earliest noted draw from this stream or seed of it; of stream NULL, the earliest seed of any.
 * NULL: none. */
const fb__noted_draw *fb__noted_draw_of(const fb__noted *noted, const char *stream);

/* Compares the class of notes through step `last`: tells what differs in the first step where it
 * does. */
FB_NODISCARD fb_status fb__note_class(fb__noted *noted, fb_diff_report *report, fb__chains *chains,
                                      uint64_t last, fb_error *err);

#endif
