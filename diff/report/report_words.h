/* SPDX-License-Identifier: Apache-2.0
 *
 * report_words.h - how every form of a report names an event.
 */
#ifndef FB_DIFF_REPORT_REPORT_WORDS_H
#define FB_DIFF_REPORT_REPORT_WORDS_H

#include "replay/event_name.h"

/* As fb_event_name_text, without saying again what the word before has said: a loss is "step 3,
 * loss", not "step 3, loss, loss, loss". Cut where it does not fit; returns out. */
const char *fb__plain_name(char *out, size_t size, const fb_event_name *name);

/* One word for where an event is, for a title: its path; outside of all modules its op, else its
 * slot. */
const char *fb__place_name(const fb_event_name *name);

#endif
