/* SPDX-License-Identifier: Apache-2.0
 *
 * show_story.c - holds the lines of a step back until its loss is known, then prints them.
 */
#include "cli/show_story.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli/output.h"

enum { STORY_MAX = 4 << 20 /* of a step's text, held until its loss is known */ };

/* --- The headline ------------------------------------------------------------------------------
 */

static void take_headline(cli_headline *h, const fb_site *site, const fb_event *e)
{
    if (site->kind != FB_KIND_SCALAR || e->micro != FB_MICRO_NONE || site->phase == FB_PHASE_EVAL)
        return;
    if (strcmp(site->slot, "loss") == 0) {
        h->has_loss = true;
        h->loss = e->value;
    } else if (strcmp(site->slot, "lr") == 0) {
        h->has_lr = true;
        h->lr = e->value;
    } else if (strcmp(site->slot, "grad_norm") == 0) {
        h->has_norm = true;
        h->norm = e->value;
    }
}

static void print_headline(cli_story *s)
{
    char digits[32];

    printf("%sstep %s", s->steps_told++ > 0 ? "\n" : "", cli_count(digits, s->step));
    if (s->step == 0)
        printf(" (before the first update)");
    if (s->head.has_loss)
        printf("   loss %.6g", s->head.loss);
    if (s->head.has_lr)
        printf("   lr %.4g", s->head.lr);
    if (s->head.has_norm)
        printf("   gradient norm %.4g", s->head.norm);
    putchar('\n');
    s->told = true;
}

/* Lines of another process begin with its name; the first ones of the main trace need none. */
static void print_role(cli_story *s)
{
    const char *last = *s->last_role;

    *s->last_role = s->role;
    if (last == s->role || (last == NULL && strcmp(s->role, "main") == 0))
        return;
    printf("%sprocess %s\n", last == NULL ? "" : "\n", s->role);
    s->steps_told = 0;
    s->told = false;
}

void cli_story_tell(cli_story *s)
{
    if (s->lines == NULL)
        return;
    cli_tree_end(&s->tree, s->lines);
    s->failed |= fclose(s->lines) != 0 || s->text.failed;
    s->lines = NULL;
    if (s->text.count > 0) {
        print_role(s);
        if (!s->told)
            print_headline(s);
    }
    fwrite(s->text.data, 1, s->text.count, stdout);
    fb_buffer_free(&s->text);
}

/* --- Its lines ---------------------------------------------------------------------------------
 */

static void enter_step(cli_story *s, uint64_t step)
{
    if (s->begun && s->step == step)
        return;
    cli_story_tell(s);
    s->begun = true;
    s->told = false;
    s->step = step;
    s->head = (cli_headline){0};
}

void cli_story_notice(cli_story *s, const fb_site *site, const fb_event *e)
{
    enter_step(s, e->step);
    take_headline(&s->head, site, e);
}

static ssize_t keep_lines(void *text, const char *bytes, size_t count)
{
    fb_buffer_append(text, bytes, count);
    return (ssize_t)count;
}

static bool is_elsewhere(const cli_place *at, const fb_site *site, const fb_event *e)
{
    return !at->begun || at->step != e->step || at->phase != site->phase || at->micro != e->micro;
}

static void print_place(FILE *out, cli_place *at, const fb_site *site, const fb_event *e)
{
    fprintf(out, "  %s", site->phase == FB_PHASE_NONE ? "(no phase)" : fb_phase_name(site->phase));
    if (e->micro != FB_MICRO_NONE)
        fprintf(out, ", %s %" PRId32, site->phase == FB_PHASE_EVAL ? "batch" : "micro-batch",
                e->micro);
    putc('\n', out);
    *at = (cli_place){true, e->step, site->phase, e->micro};
}

bool cli_story_add(cli_story *s, const fb_site *site, const fb_event *e, uint64_t number,
                   char *below)
{
    if (s->lines != NULL && s->text.count > STORY_MAX)
        cli_story_tell(s);
    if (s->lines == NULL) {
        s->lines = fopencookie(&s->text, "w", (cookie_io_functions_t){.write = keep_lines});
        s->failed |= s->lines == NULL;
    }
    if (s->lines == NULL) {
        free(below);
        return false;
    }
    if (is_elsewhere(&s->at, site, e)) {
        cli_tree_end(&s->tree, s->lines);
        print_place(s->lines, &s->at, site, e);
    }
    cli_tree_add(&s->tree, s->lines, site, e, number, below);
    return true;
}
