/* SPDX-License-Identifier: Apache-2.0
 *
 * show_tree.c - which modules a line is below, and which are said before it.
 */
#include "cli/show_tree.h"

#include <stdlib.h>
#include <string.h>

#include "cli/output.h"

/* Whether the first `count` bytes of `whole` are a module that `path` is in. */
static bool is_within(const char *path, const char *whole, size_t count)
{
    return strncmp(path, whole, count) == 0 && path[count] == '.';
}

/* Bytes of the path without its last name; 0: it has one name only. */
static size_t module_of(const char *path)
{
    const char *dot = strrchr(path, '.');

    return dot == NULL ? 0 : (size_t)(dot - path);
}

/* What is not said above of a path. */
static const char *rest_of(const cli_tree *t, const char *path)
{
    return t->depth == 0 ? path : path + t->level[t->depth - 1] + 1;
}

static void go_below(cli_tree *t, size_t count)
{
    if (t->depth < CLI_TREE_DEPTH)
        t->level[t->depth++] = count;
}

static void print_module(const cli_tree *t, FILE *out, size_t count)
{
    char module[CLI_SHOW_PATH], escaped[2 * CLI_SHOW_PATH];
    const size_t indent = CLI_SHOW_INDENT + 2 + 2 * t->depth;

    (void)snprintf(module, sizeof module, "%.*s", (int)count, t->item.path);
    fprintf(out, "%*s", (int)indent, "");
    cli_put_cut(out, cli_escape(escaped, sizeof escaped, rest_of(t, module)),
                CLI_SHOW_COLUMNS - indent);
    putc('\n', out);
}

/* next: the path that follows, or "". A module that it is in too is said first, unless this line
 * says it. */
static void print_waiting(cli_tree *t, FILE *out, const char *next)
{
    const char *path = t->item.path;
    const size_t module = module_of(path);

    if (!t->waits)
        return;
    while (t->depth > 0 && !is_within(path, t->path, t->level[t->depth - 1]))
        t->depth--;
    if (module > 0 && (t->depth == 0 || t->level[t->depth - 1] < module) &&
        t->depth < CLI_TREE_DEPTH && is_within(next, path, module) &&
        !is_within(next, path, strlen(path))) {
        print_module(t, out, module);
        go_below(t, module);
    }
    cli_show_line(out, &t->item, rest_of(t, path), t->depth);
    if (t->below != NULL)
        fputs(t->below, out);
    free(t->below);
    memcpy(t->path, path, strlen(path) + 1);
    if (path[0] != '\0')
        go_below(t, strlen(path));
    t->below = NULL;
    t->waits = false;
}

void cli_tree_add(cli_tree *tree, FILE *out, const fb_site *site, const fb_event *e,
                  uint64_t number, char *below)
{
    print_waiting(tree, out, site->path);
    cli_show_take(&tree->item, site, e, number);
    tree->below = below;
    tree->waits = true;
}

void cli_tree_end(cli_tree *tree, FILE *out)
{
    print_waiting(tree, out, "");
    tree->depth = 0;
}
