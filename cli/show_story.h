/* SPDX-License-Identifier: Apache-2.0
 *
 * show_story.h - a trace told step by step: the headline of a step, then its lines.
 */
#ifndef FB_CLI_SHOW_STORY_H
#define FB_CLI_SHOW_STORY_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/bytes.h"
#include "cli/show_tree.h"
#include "firstbit/trace.h"

/* What a reader wants to know of a step before anything else. */
typedef struct cli_headline {
    bool has_loss, has_lr, has_norm;
    double loss, lr, norm;
} cli_headline;

/* Where the lines of a step stand: their phase and micro-batch are told when they change. */
typedef struct cli_place {
    bool begun;
    uint64_t step;
    fb_phase phase;
    int32_t micro;
} cli_place;

/* A step under way: its lines wait until its headline is known, or there are too many. All zeros
 * but `role` begin one. */
typedef struct cli_story {
    const char *role;       /* "child1", or "main"; stories of several processes name theirs */
    const char **last_role; /* shared by them: whose lines were printed last; NULL: nobody's */
    cli_place at;
    cli_headline head;
    bool begun, told; /* told: the headline is printed */
    uint64_t step, steps_told;
    FILE *lines;
    cli_tree tree;  /* of the place where the lines stand */
    fb_buffer text; /* what was written to `lines`; open_memstream would hide that memory is out */
    bool failed;    /* memory was out: lines are missing */
} cli_story;

/* Takes notice of an event, whether it is shown or not: the loss makes the headline. */
void cli_story_notice(cli_story *s, const fb_site *site, const fb_event *e);

/* Adds the event's line, below its place, and `below`, malloc'd and taken over, which may be NULL.
 * False when memory is out. */
bool cli_story_add(cli_story *s, const fb_site *site, const fb_event *e, uint64_t number,
                   char *below);

/* Prints what is held back; a step without lines is not mentioned. */
void cli_story_tell(cli_story *s);

#endif
