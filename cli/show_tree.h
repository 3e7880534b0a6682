/* SPDX-License-Identifier: Apache-2.0
 *
 * show_tree.h - events as lines indented by module: what several of them have in common is said
 * once.
 *
 *     h.0.mlp
 *       fc linear grad
 *         weight linear grad
 *       gelu gelu grad
 *     h.0.mlp residual grad
 */
#ifndef FB_CLI_SHOW_TREE_H
#define FB_CLI_SHOW_TREE_H

#include <stddef.h>
#include <stdio.h>

#include "cli/show_line.h"

enum { CLI_TREE_DEPTH = 8 };

/* Lines of one place, in order. One is held back until the next one says whether the two have a
 * module in common. All zeros begin one. */
typedef struct cli_tree {
    char path[CLI_SHOW_PATH];     /* of the event that was printed last */
    size_t level[CLI_TREE_DEPTH]; /* bytes of it that are said above, ascending */
    unsigned depth;
    bool waits;
    cli_show_item item; /* the one that is held back */
    char *below;        /* text for below its line; owned, may be NULL */
} cli_tree;

/* Adds an event. below: malloc'd, taken over; may be NULL. */
void cli_tree_add(cli_tree *tree, FILE *out, const fb_site *site, const fb_event *e,
                  uint64_t number, char *below);

/* Prints what is held back, and begins anew. */
void cli_tree_end(cli_tree *tree, FILE *out);

#endif
