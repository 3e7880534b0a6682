/* SPDX-License-Identifier: Apache-2.0
 *
 * show_line.c - one event of a trace as a line of text that fits a terminal.
 */
#include "cli/show_line.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <string.h>

#include "base/bytes.h"
#include "base/hash.h"
#include "cli/output.h"

enum {
    NAME_WIDTH = 36,    /* at least; what remains of 80 columns is for contents */
    HASH_DIGITS = 12,   /* enough to tell tensors apart by eye; --json has all 32 */
    INDICES_WIDTH = 24, /* where a list of indices stops */
};

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

    add(l, "%s%s", cli_count(count, e->count), site->distribution[0] != '\0' ? " " : "");
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

/* Of a generator that begins in a state, or is put into one, the key is a hash of the state. */
static void add_seed(line *l, const fb_site *site, const fb_event *e)
{
    if (strcmp(site->op, "set_state") == 0 || strcmp(site->op, "begins") == 0) {
        add(l, "state %016" PRIx64, e->key);
        return;
    }
    add(l, "seed %" PRIu64 "%s", e->key, site->stream[0] != '\0' ? " for " : "");
    add_escaped(l, site->stream);
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
        add_seed(l, site, e);
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

static void add_word(line *l, const char *text)
{
    if (text == NULL || text[0] == '\0')
        return;
    add(l, "%s", l->count > 0 ? " " : "");
    add_escaped(l, text);
}

/* "h.0.mlp.fc linear out", cut from the left where it is longer than `width`: the end of a path
 * says most. Returns how many bytes it takes, at least `least`. */
static size_t name_of(char out[CLI_SHOW_COLUMNS + 4], const char *path, const char *what,
                      size_t least, size_t width)
{
    line l = {.count = 0};
    const char *tail;

    add_word(&l, path);
    add(&l, "%s%s", l.count > 0 && what[0] != '\0' ? " " : "", what);
    if (l.count <= width) {
        (void)snprintf(out, CLI_SHOW_COLUMNS + 4, "%.*s", (int)width, l.text);
        return l.count > least ? l.count : least;
    }
    tail = l.text + l.count - (width - 3);
    while ((*tail & 0xc0) == 0x80) /* not into the middle of a character */
        tail++;
    (void)snprintf(out, CLI_SHOW_COLUMNS + 4, "...%.*s", (int)width - 3, tail);
    return width;
}

void cli_put_cut(FILE *out, const char *text, size_t width)
{
    size_t columns = 0, bytes = 0, kept = 0;

    for (; text[bytes] != '\0'; bytes++) {
        if (((unsigned char)text[bytes] & 0xc0) != 0x80 && columns++ == width - 3)
            kept = bytes; /* here the dots begin, if there must be any */
    }
    if (columns <= width)
        fputs(text, out);
    else
        fprintf(out, "%.*s...", (int)kept, text);
}

void cli_show_take(cli_show_item *out, const fb_site *site, const fb_event *e, uint64_t number)
{
    line what = {.count = 0}, contents = {.count = 0};

    add_word(&what, site->op);
    add_word(&what, site->slot);
    if (site->occurrence > 0)
        add(&what, " #%" PRIu32, site->occurrence + 1);
    add_contents(&contents, site, e);
    (void)snprintf(out->path, sizeof out->path, "%s", site->path);
    (void)snprintf(out->what, sizeof out->what, "%s", what.text);
    (void)snprintf(out->contents, sizeof out->contents, "%s", contents.text);
    out->number = number;
    out->has_sketch = e->sketch != NULL;
    if (out->has_sketch)
        (void)fb_sketch_text(out->sketch, e->sketch);
}

void cli_show_line(FILE *out, const cli_show_item *item, const char *path, unsigned depth)
{
    const size_t room = CLI_SHOW_COLUMNS - CLI_SHOW_INDENT - 4; /* of name and contents */
    const size_t count = strlen(item->contents), indent = 2 * (size_t)depth;
    char name[CLI_SHOW_COLUMNS + 4], digits[32];
    size_t width = NAME_WIDTH;

    /* A long name takes what short contents leave. */
    if (count < room - NAME_WIDTH)
        width = room - count;
    width = indent + name_of(name, path, item->what, NAME_WIDTH - indent, width - indent);
    fprintf(out, "%*s  %*s%-*s  ", CLI_SHOW_INDENT, cli_count(digits, item->number), (int)indent,
            "", (int)(width - indent), name);
    cli_put_cut(out, item->contents, room - width);
    putc('\n', out);
    if (item->has_sketch) {
        fprintf(out, "%*s  %*s", CLI_SHOW_INDENT, "", (int)indent, "");
        cli_put_cut(out, item->sketch, CLI_SHOW_COLUMNS - CLI_SHOW_INDENT - 2 - indent);
        putc('\n', out);
    }
}
