/* SPDX-License-Identifier: Apache-2.0
 *
 * cmd_show.c - firstbit show: the events of a trace, one a line, by step and phase.
 */
#include <fnmatch.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/hash.h"
#include "cli/args.h"
#include "cli/command.h"
#include "cli/output.h"
#include "cli/processes.h"
#include "cli/show_line.h"
#include "cli/show_story.h"
#include "firstbit/trace.h"
#include "tracer/read/linked.h"

enum {
    POLL_MS = 250, /* how often --follow looks, and every so manieth time for new processes */
    POLLS_A_LOOK = 4,
};

typedef struct filter {
    uint64_t first, last; /* steps, inclusive */
    const char *glob;
    fb_kind kind;   /* FB_KIND_NONE: any */
    fb_phase phase; /* FB_PHASE_NONE: any */
} filter;

/* --- Options ---------------------------------------------------------------------------------- */

#define NAME_ROW(name, number, text) text,
static const char *const kind_names[] = {FB_KIND_LIST(NAME_ROW)};
static const char *const phase_names[] = {FB_PHASE_LIST(NAME_ROW)};
#undef NAME_ROW

static int read_filter(const cli_args *args, filter *f)
{
    size_t word = 0;

    *f = (filter){.first = 0, .last = UINT64_MAX, .glob = cli_value(args, "path")};
    if (cli_range(args, "step", &f->first, &f->last) != 0)
        return CLI_TROUBLE;
    if (cli_has(args, "kind")) {
        if (cli_choice(args, "kind", kind_names, sizeof kind_names / sizeof kind_names[0], &word) !=
            0)
            return CLI_TROUBLE;
        f->kind = fb_kind_of(kind_names[word]);
    }
    if (cli_has(args, "phase")) {
        if (cli_choice(args, "phase", phase_names, sizeof phase_names / sizeof phase_names[0],
                       &word) != 0)
            return CLI_TROUBLE;
        f->phase = fb_phase_of(phase_names[word]);
    }
    return 0;
}

static bool passes(const filter *f, const fb_site *site)
{
    return (f->kind == FB_KIND_NONE || f->kind == site->kind) &&
           (f->phase == FB_PHASE_NONE || f->phase == site->phase) &&
           (f->glob == NULL || fnmatch(f->glob, site->path, 0) == 0);
}

/* --- Events ----------------------------------------------------------------------------------- */

static void print_stack(FILE *out, fb_trace *t, uint32_t site)
{
    char *copy = strdup(fb_trace_stack(t, site));

    for (char *rest = copy, *frame; rest != NULL && *rest != '\0';) {
        char escaped[512];

        frame = strsep(&rest, "\n");
        fprintf(out, "%*s  | ", CLI_SHOW_INDENT, "");
        cli_put_cut(out, cli_escape(escaped, sizeof escaped, frame),
                    CLI_SHOW_COLUMNS - CLI_SHOW_INDENT - 4);
        putc('\n', out);
    }
    free(copy);
}

/* *text is malloc'd. False when memory is out. */
static bool spell_stack(char **text, fb_trace *t, uint32_t site)
{
    size_t count;
    FILE *out = open_memstream(text, &count);
    bool whole;

    if (out == NULL)
        return false;
    print_stack(out, t, site);
    whole = ferror(out) == 0;
    if (fclose(out) == 0 && whole)
        return true;
    free(*text);
    *text = NULL;
    return false;
}

/* What is shown of one process. */
typedef struct showing {
    const cli_args *args;
    const filter *filter;
    bool json, stacks, follow;
    cli_process process; /* owned */
    cli_story story;
    uint64_t next; /* number of the first event that was not looked at */
    bool done;     /* past the last step that is asked for */
    bool ended;    /* the trace is closed, or another one has taken its name */
    bool has_id;
    fb_hash id;
    uint64_t shown;     /* events */
    uint64_t last_step; /* that the trace has; UINT64_MAX: no event at all */
    uint8_t *stacked;   /* by the reader's site number: its stack was printed */
    uint32_t stacked_count;
} showing;

/* A stack belongs to a site and takes a while to spell: once is enough. */
static bool is_new_stack(showing *s, uint32_t site)
{
    if (site >= s->stacked_count) {
        const uint32_t count = site * 2 + 64;
        uint8_t *stacked = realloc(s->stacked, count);

        if (stacked == NULL)
            return true;
        memset(stacked + s->stacked_count, 0, count - s->stacked_count);
        s->stacked = stacked;
        s->stacked_count = count;
    }
    if (s->stacked[site] != 0)
        return false;
    s->stacked[site] = 1;
    return true;
}

static int show_json(const showing *s, fb_trace *t, const fb_event *e, uint64_t number)
{
    char *text = fb_trace_event_json(t, e, number);

    if (text == NULL)
        return cli_fail(s->args, "out of memory");
    (void)cli_put_event(stdout, text, s->process.role); /* the caller checks stdout */
    free(text);
    return 0;
}

static int show_event(showing *s, fb_trace *t, const fb_event *e, uint64_t number)
{
    const fb_site *site = fb_trace_site(t, e->site);
    char *stack = NULL;

    if (!s->json)
        cli_story_notice(&s->story, site, e);
    if (!passes(s->filter, site))
        return 0;
    s->shown++;
    if (s->json)
        return show_json(s, t, e, number);
    if (s->stacks && is_new_stack(s, e->site) && !spell_stack(&stack, t, e->site))
        return cli_fail(s->args, "out of memory");
    return cli_story_add(&s->story, site, e, number, stack) ? 0
                                                            : cli_fail(s->args, "out of memory");
}

/* A step is told when it has ended; before that, --follow waits for the rest of it. */
static bool is_for_later(const showing *s, const fb_trace *t, uint64_t step)
{
    const fb_trace_info *info = fb_trace_get_info(t);

    return s->follow && info->status == FB_TRACE_TORN &&
           (info->steps == 0 || step > info->last_step);
}

static int print_events(showing *s, fb_trace *t)
{
    int status = CLI_SAME;
    fb_error err;

    if ((s->next > 0 ? fb_trace_seek_event(t, s->next, &err)
                     : fb_trace_seek(t, s->filter->first, &err)) != FB_OK)
        return cli_fail_error(s->args, &err);
    while (status == CLI_SAME && !s->done && !ferror(stdout) && !cli_interrupted()) {
        const fb_event *e;
        uint64_t number;

        if (fb_trace_next(t, &e, &number, &err) != FB_OK) {
            cli_story_tell(&s->story);
            fflush(stdout);
            return cli_fail_error(s->args, &err);
        }
        if (e == NULL || is_for_later(s, t, e->step))
            break;
        s->next = number + 1;
        s->done = e->step > s->filter->last;
        if (!s->done)
            status = show_event(s, t, e, number);
    }
    cli_story_tell(&s->story);
    return status == CLI_SAME && s->story.failed ? cli_fail(s->args, "out of memory") : status;
}

static int tell_end(const showing *s, const fb_trace_info *info)
{
    cli_tell_end(s->args, info);
    return info->status == FB_TRACE_CORRUPT ? CLI_TROUBLE : CLI_SAME;
}

/* Shows what is new since the last look, or all of it. */
static int show_process(showing *s)
{
    const char *path = s->process.path;
    const fb_trace_info *info;
    fb_trace *t;
    fb_error err;
    int status = CLI_SAME;

    if (fb_trace_open(&t, path, &err) != FB_OK)
        return cli_fail_error(s->args, &err);
    info = fb_trace_get_info(t);
    s->ended = info->status != FB_TRACE_TORN;
    if (s->has_id && !fb_hash_equal(s->id, info->id)) {
        fflush(stdout);
        (void)cli_fail(s->args, "%s: another trace has taken its place", path);
        s->ended = true;
    } else {
        s->has_id = true;
        s->id = info->id;
        s->last_step = info->events == 0 ? UINT64_MAX : info->last_step;
        s->stacked_count = 0; /* this reader has numbers of its own */
        status = print_events(s, t);
        if (status == CLI_SAME && (s->ended || !s->follow))
            status = tell_end(s, info);
    }
    fb_trace_close(t);
    if (s->follow)
        fflush(stdout);
    return status;
}

/* --- All processes -----------------------------------------------------------------------------
 */

typedef struct show_run {
    showing first;                  /* how each of them begins */
    showing *of[FB_LINKED_MAX + 1]; /* the main trace first, parts in the order they were found */
    size_t count;
    const char *last_role;
} show_run;

static void drop(showing *s)
{
    if (s != NULL) {
        free(s->process.path);
        free(s->stacked);
    }
    free(s);
}

/* Takes the process's path. */
static bool take_process(show_run *run, cli_process *process)
{
    showing *s = malloc(sizeof *s);

    if (s == NULL)
        return false;
    *s = run->first;
    s->process = *process;
    s->story.role = s->process.role;
    s->story.last_role = &run->last_role;
    process->path = NULL;
    run->of[run->count++] = s;
    return true;
}

/* Takes up those that were not there before. */
static int take_processes(show_run *run)
{
    const cli_args *args = run->first.args;
    cli_processes found;
    int failed = cli_processes_find(&found, args, args->positional[0]);

    if (failed == 0)
        failed = cli_processes_choose(&found, args);
    for (size_t i = 0; failed == 0 && i < found.count; i++) {
        size_t k = 0;

        while (k < run->count && strcmp(run->of[k]->process.path, found.at[i].path) != 0)
            k++;
        if (k == run->count && k <= FB_LINKED_MAX && !take_process(run, &found.at[i]))
            failed = cli_fail(args, "out of memory");
    }
    cli_processes_free(&found);
    return failed;
}

static int show_all(show_run *run)
{
    int worst = CLI_SAME;

    for (size_t i = 0; i < run->count && !cli_interrupted() && !ferror(stdout); i++) {
        showing *s = run->of[i];
        const int status = s->ended || s->done ? CLI_SAME : show_process(s);

        worst = status > worst ? status : worst;
    }
    return worst;
}

/* Nothing at all passed: says so, and how far the trace goes. */
static void tell_nothing(const show_run *run)
{
    uint64_t shown = 0;

    for (size_t i = 0; i < run->count; i++)
        shown += run->of[i]->shown;
    if (shown > 0 || run->count == 0)
        return;
    if (run->of[0]->last_step == UINT64_MAX)
        (void)cli_fail(run->first.args, "no event is on record");
    else
        (void)cli_fail(run->first.args, "no event matches; the last step on record is %" PRIu64,
                       run->of[0]->last_step);
}

static bool exists(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0;
}

/* Until the main trace has ended: then the others are shown to their ends. */
static int follow(show_run *run)
{
    const struct timespec pause = {.tv_nsec = POLL_MS * 1000000L};
    const char *path = run->first.args->positional[0];
    bool waiting = false, over = false;
    int status = CLI_SAME;

    cli_catch_interrupts();
    for (int polls = 0; status == CLI_SAME && !over && !cli_interrupted() && !ferror(stdout);) {
        if (run->count > 0 || exists(path)) {
            if (polls++ % POLLS_A_LOOK == 0)
                status = take_processes(run);
            if (status == CLI_SAME)
                status = show_all(run);
            over = run->count == 0 || run->of[0]->ended || run->of[0]->done;
        } else if (!waiting) {
            (void)cli_fail(run->first.args, "%s: not there yet; waiting for it", path);
            waiting = true;
        }
        if (status == CLI_SAME && !over && !cli_interrupted())
            (void)nanosleep(&pause, NULL);
    }
    if (status == CLI_SAME && over && !cli_interrupted())
        status = take_processes(run);
    for (size_t i = 0; i < run->count; i++)
        run->of[i]->follow = false;
    return status == CLI_SAME && over && !cli_interrupted() ? show_all(run) : status;
}

static int run(const cli_args *args)
{
    int status;
    filter f;
    show_run all = {.first = {.args = args,
                              .filter = &f,
                              .json = cli_has(args, "json"),
                              .stacks = cli_has(args, "stacks"),
                              .follow = cli_has(args, "follow")}};

    if (read_filter(args, &f) != 0)
        return CLI_TROUBLE;
    if (all.first.follow) {
        status = follow(&all);
    } else {
        status = take_processes(&all);
        if (status == CLI_SAME)
            status = show_all(&all);
        if (status == CLI_SAME && !cli_interrupted() && !ferror(stdout))
            tell_nothing(&all);
    }
    for (size_t i = 0; i < all.count; i++)
        drop(all.of[i]);
    return status;
}

static const cli_option options[] = {
    {"step", 0, "N[:M]", "steps N to M only, both included", false},
    {"path", 0, "GLOB", "events whose path matches, such as 'h.0.*'", false},
    {"kind", 0, "K",
     "one kind only: tensor, draw, sample, scalar, seed, mode,\nparam, collective, "
     "checkpoint or mark",
     false},
    {"phase", 0, "P",
     "one phase only: init, data, forward, loss, backward,\ncomm, optimizer, schedule, eval or "
     "checkpoint",
     false},
    {"process", 0, "ROLE", "one process only: main, or child1 as firstbit info says", false},
    {"stacks", 0, NULL, "call stacks, each below the first event that has it", false},
    {"follow", 0, NULL, "go on as the run does, until its trace is closed", false},
    {"json", 0, NULL, "one JSON object a line: everything that is on record", false},
    {0},
};

const cli_command cli_show = {
    .name = "show",
    .summary = "print the events of a trace, one a line",
    .synopsis = "RUN.fbt [--step N[:M]] [--path GLOB] [--kind K] [--phase P]\n[--process "
                "ROLE] [--stacks] [--follow] [--json]",
    .options = options,
    .positional_min = 1,
    .positional_max = 1,
    .details = "Events are grouped by step and phase, and indented below the module that several\n"
               "of them are in; each line has the event's number, path, operation and slot, and\n"
               "what it holds; of a hash the first 12 of 32 digits. A torn trace is shown to its\n"
               "end, with a line on stderr that says so. The other processes of a run (children,\n"
               "workers, ranks) follow the main one, each under its name; in JSON their events\n"
               "have a last member \"process\".\n"
               "--follow prints each step when it has ended, waits for a file that is not there\n"
               "yet, and ends with the trace; Ctrl-C ends it too.\n"
               "\n"
               "Exit status: 0 shown, 2 trouble (a corrupt trace is shown up to the damage).\n"
               "\n"
               "  firstbit show run.fbt --step 42 --phase forward\n"
               "  firstbit show run.fbt --follow --kind scalar\n"
               "  firstbit show run.fbt --step 1:10 --kind draw --json | jq .counter\n",
    .run = run,
};
