/* SPDX-License-Identifier: Apache-2.0
 *
 * replay_report.h - how a difference is told, as JSON and as lines; shared by the reports of one
 * replay and of several.
 */
#ifndef FB_REPLAY_REPLAY_REPORT_H
#define FB_REPLAY_REPLAY_REPORT_H

#include <stdio.h>

#include <cjson/cJSON.h>

#include "replay/replay.h"

/* Adds "first", an object with the keys of docs/replay.md, or null where d is NULL. */
void fb__difference_json(cJSON *object, const fb_replay_difference *d);

/* A text, or null where it is NULL or empty. */
void fb__text_json(cJSON *object, const char *key, const char *text);

/* What differs, and what was expected and came: lines of text. */
void fb__difference_print(FILE *out, const fb_replay_difference *d);

/* "note     text", broken at blanks where it is longer than a terminal is wide. */
void fb__note_print(FILE *out, const char *note);

#endif
