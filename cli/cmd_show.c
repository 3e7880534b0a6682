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

#include "base/bytes.h"
#include "cli/args.h"
#include "cli/command.h"
#include "cli/output.h"
#include "firstbit/trace.h"

enum {
    NUMBER_WIDTH = 10,  /* "1,204,311" and an indent */
    NAME_WIDTH = 36,    /* what remains of 80 columns is for contents */
    HASH_DIGITS = 12,   /* enough to tell tensors apart by eye; --json has all 32 */
    INDICES_WIDTH = 24, /* where a list of indices stops */
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

/* --- One line --------------------------------------------------------------------------------- */

typedef struct line {
    char text[512];
    size_t count;
} line;

static void add(line *l, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void add(line *l, const char *format, ...)
{
    va_list list;
    int n;

    va_start(list, format);
    n = vsnprintf(l->text + l->count, sizeof l->text - l->count, format, list);
    va_end(list);
    l->count += n < 0 ? 0 : (size_t)n;
    if (l->count >= sizeof l->text)
        l->count = sizeof l->text - 1;
}

static void add_escaped(line *l, const char *text)
{
    char escaped[256];
    add(l, "%s", cli_escape(escaped, sizeof escaped, text));
}

static void add_hash(line *l, const fb_event *e)
{
    char hex[33];

    if (e->flags & FB_EVENT_UNDEFINED)
        add(l, " (undefined)");
    else if ((e->hash.lo | e->hash.hi) != 0)
        add(l, " %.*s", HASH_DIGITS, cli_hash(hex, e->hash));
}

static void add_shape(line *l, const fb_site *site)
{
    add(l, "%s[", fb_dtype_name(site->dtype));
    for (uint32_t i = 0; i < site->rank; i++)
        add(l, "%s%" PRIu64, i == 0 ? "" : ",", site->shape[i]);
    add(l, "]");
}

static void add_draw(line *l, const fb_site *site, const fb_event *e)
{
    char count[32];

    add(l, "%s ", cli_count(count, e->count));
    add_escaped(l, site->distribution);
    if (site->parameters[0] != 0 || site->parameters[1] != 0)
        add(l, site->parameters[1] != 0 ? "(%g,%g)" : "(%g)", site->parameters[0],
            site->parameters[1]);
    add(l, " at %" PRIu64, e->counter);
    add_hash(l, e);
}

static void add_sample(line *l, const fb_site *site, const fb_event *e)
{
    add(l, "%" PRIu64 " %s, epoch %" PRIu64, e->count,
        site->role == FB_ROLE_UNKNOWN ? "samples" : fb_role_name(site->role), e->counter);
    if (e->indices == NULL || e->count == 0)
        return;
    add(l, ":");
    for (uint64_t i = 0; i < e->count; i++) {
        if (l->count > INDICES_WIDTH) {
            add(l, " ...");
            break;
        }
        add(l, " %" PRIu64, e->indices[i]);
    }
}

/* Nine digits tell any two float32 apart, seventeen any two float64. */
static void add_scalar(line *l, const fb_site *site, double value)
{
    if (isnan(value)) /* its sign says nothing */
        add(l, "nan");
    else if (site->dtype == FB_DTYPE_F32)
        add(l, "%.9g (0x%08" PRIx32 ")", value, fb_float_bits((float)value));
    else
        add(l, "%.17g", value);
}

static void add_contents(line *l, const fb_site *site, const fb_event *e)
{
    switch (site->kind) {
    case FB_KIND_TENSOR:
    case FB_KIND_PARAM:
    case FB_KIND_COLLECTIVE:
        add_shape(l, site);
        add_hash(l, e);
        break;
    case FB_KIND_DRAW:
        add_draw(l, site, e);
        break;
    case FB_KIND_SAMPLE:
        add_sample(l, site, e);
        break;
    case FB_KIND_SCALAR:
        add_scalar(l, site, e->value);
        break;
    case FB_KIND_SEED:
        add(l, "seed %" PRIu64 " for ", e->key);
        add_escaped(l, site->stream);
        break;
    case FB_KIND_MODE:
        add(l, "%s", e->value != 0 ? "on" : "off");
        break;
    case FB_KIND_CHECKPOINT:
        add_escaped(l, e->text);
        add_hash(l, e);
        break;
    case FB_KIND_MARK:
        add_escaped(l, e->text);
        break;
    case FB_KIND_NONE:
        break;
    }
    if (e->flags & FB_EVENT_NONFINITE && site->kind != FB_KIND_SCALAR)
        add(l, " NaN or inf");
}

/* "h.0.mlp.fc linear out", cut from the left where it is long: the end of a path says most. */
static void name_of(char out[NAME_WIDTH + 4], const fb_site *site)
{
    line l = {.count = 0};
    const char *tail;

    add_escaped(&l, site->path);
    if (site->op != NULL && site->op[0] != '\0') {
        add(&l, "%s", l.count > 0 ? " " : "");
        add_escaped(&l, site->op);
    }
    if (site->slot != NULL && site->slot[0] != '\0') {
        add(&l, "%s", l.count > 0 ? " " : "");
        add_escaped(&l, site->slot);
    }
    if (site->occurrence > 0)
        add(&l, " #%" PRIu32, site->occurrence + 1);
    if (l.count <= NAME_WIDTH) {
        (void)snprintf(out, NAME_WIDTH + 4, "%.*s", NAME_WIDTH, l.text);
        return;
    }
    tail = l.text + l.count - (NAME_WIDTH - 3);
    while ((*tail & 0xc0) == 0x80) /* not into the middle of a character */
        tail++;
    (void)snprintf(out, NAME_WIDTH + 4, "...%.*s", NAME_WIDTH - 3, tail);
}

static void print_event(const fb_site *site, const fb_event *e, uint64_t number)
{
    char name[NAME_WIDTH + 4], digits[32];
    line contents = {.count = 0};

    name_of(name, site);
    add_contents(&contents, site, e);
    printf("%*s  %-*s  %s\n", NUMBER_WIDTH, cli_count(digits, number), NAME_WIDTH, name,
           contents.text);
}

/* --- The story -------------------------------------------------------------------------------- */

static void print_place(place *at, const fb_site *site, const fb_event *e)
{
    char digits[32];

    if (!at->begun || at->step != e->step) {
        printf("%sstep %s%s\n", at->begun ? "\n" : "", cli_count(digits, e->step),
               e->step == 0 ? " (before the first update)" : "");
        at->phase = FB_PHASE_NONE;
        at->micro = FB_MICRO_NONE;
    }
    if (!at->begun || at->step != e->step || at->phase != site->phase || at->micro != e->micro) {
        printf("  %s", site->phase == FB_PHASE_NONE ? "(no phase)" : fb_phase_name(site->phase));
        if (e->micro != FB_MICRO_NONE)
            printf(", %s %" PRId32, site->phase == FB_PHASE_EVAL ? "batch" : "micro-batch",
                   e->micro);
        putchar('\n');
    }
    *at = (place){true, e->step, site->phase, e->micro};
}

static void print_stack(fb_trace *t, uint32_t site)
{
    char *copy = strdup(fb_trace_stack(t, site));

    for (char *frame = copy, *end; frame != NULL && *frame != '\0'; frame = end + 1) {
        end = strchr(frame, '\n');
        if (end == NULL)
            break;
        *end = '\0';
        printf("%*s  | ", NUMBER_WIDTH, "");
        cli_put(stdout, frame);
        putchar('\n');
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

static int print_events(const cli_args *args, fb_trace *t, const filter *f)
{
    const bool json = cli_has(args, "json"), stacks = cli_has(args, "stacks");
    place at = {.begun = false};
    fb_error err;

    if (fb_trace_seek(t, f->first, &err) != FB_OK)
        return cli_fail_error(args, &err);
    for (;;) {
        const fb_event *e;
        const fb_site *site;
        uint64_t number;

        if (fb_trace_next(t, &e, &number, &err) != FB_OK) {
            fflush(stdout);
            return cli_fail_error(args, &err);
        }
        if (e == NULL || e->step > f->last || ferror(stdout))
            return CLI_SAME;
        site = fb_trace_site(t, e->site);
        if (!passes(f, site))
            continue;
        if (json) {
            if (print_json(args, t, e, number) != 0)
                return CLI_TROUBLE;
            continue;
        }
        print_place(&at, site, e);
        print_event(site, e, number);
        if (stacks)
            print_stack(t, e->site);
    }
}

static int run(const cli_args *args)
{
    const fb_trace_info *info;
    fb_trace *t;
    fb_error err;
    filter f;
    int status;

    if (read_filter(args, &f) != 0)
        return CLI_TROUBLE;
    if (fb_trace_open(&t, args->positional[0], &err) != FB_OK)
        return cli_fail_error(args, &err);
    status = print_events(args, t, &f);
    info = fb_trace_get_info(t);
    if (status == CLI_SAME && info->status != FB_TRACE_COMPLETE) {
        fflush(stdout);
        (void)cli_fail(args, "%s: %s", fb_trace_status_name(info->status), info->reason);
        status = info->status == FB_TRACE_CORRUPT ? CLI_TROUBLE : CLI_SAME;
    }
    fb_trace_close(t);
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
    {"stacks", 0, NULL, "call stacks below the events", false},
    {"json", 0, NULL, "one JSON object a line: everything that is on record", false},
    {0},
};

const cli_command cli_show = {
    .name = "show",
    .summary = "print the events of a trace, one a line",
    .synopsis = "RUN.fbt [--step N[:M]] [--path GLOB] [--kind K] [--phase P]\n[--stacks] [--json]",
    .options = options,
    .positional_min = 1,
    .positional_max = 1,
    .details = "Events are grouped by step and phase; each line has the event's number, its path,\n"
               "operation and slot, and what it holds; of a hash the first 12 of 32 digits. A\n"
               "torn trace is shown to its end, with a line on stderr that says so.\n"
               "\n"
               "Exit status: 0 shown, 2 trouble (a corrupt trace is shown up to the damage).\n"
               "\n"
               "  firstbit show run.fbt --step 42 --phase forward\n"
               "  firstbit show run.fbt --step 1:10 --kind draw --json | jq .counter\n",
    .run = run,
};
