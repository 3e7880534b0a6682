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

#include "base/bytes.h"
#include "base/hash.h"
#include "cli/args.h"
#include "cli/command.h"
#include "cli/output.h"
#include "cli/show_line.h"
#include "firstbit/trace.h"

enum {
    STORY_MAX = 4 << 20, /* of a step's text, held until its loss is known */
    POLL_MS = 250,       /* how often --follow looks */
};

typedef struct filter {
    uint64_t first, last; /* steps, inclusive */
    const char *glob;
    fb_kind kind;   /* FB_KIND_NONE: any */
    fb_phase phase; /* FB_PHASE_NONE: any */
} filter;

typedef struct place {
    bool begun;
    uint64_t step;
    fb_phase phase;
    int32_t micro;
} place;

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

/* --- The story -------------------------------------------------------------------------------- */

/* What a reader wants to know of a step before anything else. */
typedef struct headline {
    bool has_loss, has_lr, has_norm;
    double loss, lr, norm;
} headline;

static void notice(headline *h, const fb_site *site, const fb_event *e)
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

/* A step under way: its lines wait until its headline is known, or there are too many. */
typedef struct story {
    place at;
    headline head;
    bool begun, told; /* told: the headline is printed */
    uint64_t step, steps_told;
    FILE *lines;
    fb_buffer text; /* what was written to `lines`; open_memstream would hide that memory is out */
    bool failed;
} story;

static void print_headline(story *s)
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

/* Prints what is held back; a step of which nothing passed the filter is not mentioned. */
static void tell(story *s)
{
    if (s->lines == NULL)
        return;
    s->failed |= fclose(s->lines) != 0 || s->text.failed;
    s->lines = NULL;
    if (s->text.count > 0 && !s->told)
        print_headline(s);
    fwrite(s->text.data, 1, s->text.count, stdout);
    fb_buffer_free(&s->text);
}

static void enter_step(story *s, uint64_t step)
{
    if (s->begun && s->step == step)
        return;
    tell(s);
    s->begun = true;
    s->told = false;
    s->step = step;
    s->head = (headline){0};
}

static ssize_t keep_lines(void *text, const char *bytes, size_t count)
{
    fb_buffer_append(text, bytes, count);
    return (ssize_t)count;
}

static FILE *lines_of(story *s)
{
    if (s->lines != NULL && s->text.count > STORY_MAX)
        tell(s);
    if (s->lines == NULL) {
        s->lines = fopencookie(&s->text, "w", (cookie_io_functions_t){.write = keep_lines});
        s->failed |= s->lines == NULL;
    }
    return s->lines;
}

static void print_place(FILE *out, place *at, const fb_site *site, const fb_event *e)
{
    if (at->begun && at->step == e->step && at->phase == site->phase && at->micro == e->micro)
        return;
    fprintf(out, "  %s", site->phase == FB_PHASE_NONE ? "(no phase)" : fb_phase_name(site->phase));
    if (e->micro != FB_MICRO_NONE)
        fprintf(out, ", %s %" PRId32, site->phase == FB_PHASE_EVAL ? "batch" : "micro-batch",
                e->micro);
    putc('\n', out);
    *at = (place){true, e->step, site->phase, e->micro};
}

static void print_stack(FILE *out, fb_trace *t, uint32_t site)
{
    char *copy = strdup(fb_trace_stack(t, site));

    for (char *frame = copy, *end; frame != NULL && *frame != '\0'; frame = end + 1) {
        char escaped[512];

        end = strchr(frame, '\n');
        if (end == NULL)
            break;
        *end = '\0';
        fprintf(out, "%*s  | ", CLI_SHOW_INDENT, "");
        cli_put_cut(out, cli_escape(escaped, sizeof escaped, frame),
                    CLI_SHOW_COLUMNS - CLI_SHOW_INDENT - 4);
        putc('\n', out);
    }
    free(copy);
}

static int print_json(const cli_args *args, fb_trace *t, const fb_event *e, uint64_t number)
{
    char *text = fb_trace_event_json(t, e, number);

    if (text == NULL)
        return cli_fail(args, "out of memory");
    puts(text);
    free(text);
    return 0;
}

typedef struct showing {
    const cli_args *args;
    filter filter;
    bool json, stacks, follow;
    story story;
    uint64_t next; /* number of the first event that was not looked at */
    bool done;     /* past the last step that is asked for */
    bool has_id;
    fb_hash id;
    uint8_t *stacked; /* by the reader's site number: its stack was printed */
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

static int show_event(showing *s, fb_trace *t, const fb_event *e, uint64_t number)
{
    const fb_site *site = fb_trace_site(t, e->site);
    FILE *out;

    if (!s->json) {
        enter_step(&s->story, e->step);
        notice(&s->story.head, site, e);
    }
    if (!passes(&s->filter, site))
        return 0;
    if (s->json)
        return print_json(s->args, t, e, number);
    out = lines_of(&s->story);
    if (out == NULL)
        return cli_fail(s->args, "out of memory");
    print_place(out, &s->story.at, site, e);
    cli_show_line(out, site, e, number);
    if (s->stacks && is_new_stack(s, e->site))
        print_stack(out, t, e->site);
    return 0;
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
                     : fb_trace_seek(t, s->filter.first, &err)) != FB_OK)
        return cli_fail_error(s->args, &err);
    while (status == CLI_SAME && !s->done && !ferror(stdout) && !cli_interrupted()) {
        const fb_event *e;
        uint64_t number;

        if (fb_trace_next(t, &e, &number, &err) != FB_OK) {
            tell(&s->story);
            fflush(stdout);
            return cli_fail_error(s->args, &err);
        }
        if (e == NULL || is_for_later(s, t, e->step))
            break;
        s->next = number + 1;
        s->done = e->step > s->filter.last;
        if (!s->done)
            status = show_event(s, t, e, number);
    }
    tell(&s->story);
    return status == CLI_SAME && s->story.failed ? cli_fail(s->args, "out of memory") : status;
}

static int print_whole(showing *s)
{
    const fb_trace_info *info;
    fb_trace *t;
    fb_error err;
    int status;

    if (fb_trace_open(&t, s->args->positional[0], &err) != FB_OK)
        return cli_fail_error(s->args, &err);
    status = print_events(s, t);
    info = fb_trace_get_info(t);
    if (status == CLI_SAME && info->status != FB_TRACE_COMPLETE) {
        fflush(stdout);
        (void)cli_fail(s->args, "%s: %s", fb_trace_status_name(info->status), info->reason);
        status = info->status == FB_TRACE_CORRUPT ? CLI_TROUBLE : CLI_SAME;
    }
    fb_trace_close(t);
    return status;
}

/* --- Following -------------------------------------------------------------------------------- */

static bool exists(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0;
}

/* Shows what is new. *ended: the trace is closed, or another one has taken its name. */
static int look_again(showing *s, bool *ended)
{
    const char *path = s->args->positional[0];
    const fb_trace_info *info;
    fb_trace *t;
    fb_error err;
    int status = CLI_SAME;

    if (fb_trace_open(&t, path, &err) != FB_OK)
        return cli_fail_error(s->args, &err);
    info = fb_trace_get_info(t);
    *ended = info->status != FB_TRACE_TORN;
    if (s->has_id && !fb_hash_equal(s->id, info->id)) {
        fflush(stdout);
        (void)cli_fail(s->args, "%s: another trace has taken its place", path);
        *ended = true;
    } else {
        s->has_id = true;
        s->id = info->id;
        s->stacked_count = 0; /* this reader has numbers of its own */
        status = print_events(s, t);
        if (status == CLI_SAME && *ended && info->status != FB_TRACE_COMPLETE) {
            fflush(stdout);
            (void)cli_fail(s->args, "%s: %s", fb_trace_status_name(info->status), info->reason);
            status = info->status == FB_TRACE_CORRUPT ? CLI_TROUBLE : CLI_SAME;
        }
    }
    fb_trace_close(t);
    fflush(stdout);
    return status;
}

static int follow(showing *s)
{
    const struct timespec pause = {.tv_nsec = POLL_MS * 1000000L};
    bool ended = false, waiting = false;
    int status = CLI_SAME;

    cli_catch_interrupts();
    while (status == CLI_SAME && !ended && !s->done && !cli_interrupted() && !ferror(stdout)) {
        if (s->has_id || exists(s->args->positional[0])) {
            status = look_again(s, &ended);
        } else if (!waiting) {
            (void)cli_fail(s->args, "%s: not there yet; waiting for it", s->args->positional[0]);
            waiting = true;
        }
        if (status == CLI_SAME && !ended && !s->done && !cli_interrupted())
            (void)nanosleep(&pause, NULL);
    }
    return status;
}

static int run(const cli_args *args)
{
    int status;
    showing s = {.args = args,
                 .json = cli_has(args, "json"),
                 .stacks = cli_has(args, "stacks"),
                 .follow = cli_has(args, "follow")};

    if (read_filter(args, &s.filter) != 0)
        return CLI_TROUBLE;
    status = s.follow ? follow(&s) : print_whole(&s);
    free(s.stacked);
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
    {"stacks", 0, NULL, "call stacks, each below the first event that has it", false},
    {"follow", 0, NULL, "go on as the run does, until its trace is closed", false},
    {"json", 0, NULL, "one JSON object a line: everything that is on record", false},
    {0},
};

const cli_command cli_show = {
    .name = "show",
    .summary = "print the events of a trace, one a line",
    .synopsis = "RUN.fbt [--step N[:M]] [--path GLOB] [--kind K] [--phase P]\n[--stacks] "
                "[--follow] [--json]",
    .options = options,
    .positional_min = 1,
    .positional_max = 1,
    .details = "Events are grouped by step and phase; each line has the event's number, path,\n"
               "operation and slot, and what it holds; of a hash the first 12 of 32 digits. A\n"
               "torn trace is shown to its end, with a line on stderr that says so.\n"
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
