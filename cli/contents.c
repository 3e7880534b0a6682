/* SPDX-License-Identifier: Apache-2.0
 *
 * contents.c - everything that a trace discloses: members of the header, names, texts, program
 * files, what is stored of each kind of event, and where the bytes are.
 */
#include "cli/contents.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli/output.h"
#include "engine/files/json.h"
#include "tracer/read/trace_state.h"

enum { TEXTS_MAX = 1000 }; /* different ones that are listed; the others are counted */

/* Different strings, borrowed or owned by their maker. */
typedef struct name_list {
    const char **at;
    size_t count, capacity;
} name_list;

typedef struct sizes {
    uint64_t header, steps, columns, hashes, rest;
} sizes;

typedef struct contents {
    uint64_t kinds[FB_KIND_MARK + 1];
    uint64_t indices, sketches, values, scalars, stacks;
    name_list paths, ops, slots, streams, datasets, others, arguments, modules, texts;
    uint64_t more_texts;
    sizes bytes;
    bool failed;
} contents;

static void add_name(contents *c, name_list *list, const char *name)
{
    if (name == NULL || name[0] == '\0')
        return;
    if (list->count == list->capacity) {
        const size_t capacity = list->capacity * 2 + 64;
        const char **at = realloc(list->at, capacity * sizeof *at);

        if (at == NULL) {
            c->failed = true;
            return;
        }
        list->at = at;
        list->capacity = capacity;
    }
    list->at[list->count++] = name;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void sort_names(name_list *list)
{
    size_t kept = 0;

    if (list->count == 0)
        return;
    qsort(list->at, list->count, sizeof *list->at, by_text);
    for (size_t i = 1; i < list->count; i++)
        if (strcmp(list->at[kept], list->at[i]) != 0)
            list->at[++kept] = list->at[i];
    list->count = kept + 1;
}

/* --- Looking ---------------------------------------------------------------------------------- */

static void add_text(contents *c, const char *text)
{
    char *copy;

    for (size_t i = 0; i < c->texts.count; i++)
        if (strcmp(c->texts.at[i], text) == 0)
            return;
    if (c->texts.count == TEXTS_MAX) {
        c->more_texts++;
        return;
    }
    copy = strndup(text, 1024);
    if (copy == NULL)
        c->failed = true;
    else
        add_name(c, &c->texts, copy);
    if (c->texts.count == 0 || c->texts.at[c->texts.count - 1] != copy)
        free(copy);
}

static fb_status look_at_events(contents *c, fb_trace *t, fb_error *err)
{
    cli_progress progress = cli_progress_start();
    const fb_event *e;
    uint64_t number;
    fb_status status;

    while ((status = fb_trace_next(t, &e, &number, err)) == FB_OK && e != NULL) {
        const fb_site *site = fb_trace_site(t, e->site);

        c->kinds[site->kind]++;
        c->scalars += site->kind == FB_KIND_SCALAR;
        c->indices += e->indices != NULL ? e->count : 0;
        c->sketches += e->sketch != NULL;
        c->values += (e->flags & FB_EVENT_VALUES) != 0;
        if (e->text != NULL)
            add_text(c, e->text);
        if (cli_progress_due(&progress)) {
            char a[32], b[32];
            const uint64_t all = fb_trace_get_info(t)->events;

            cli_progress_show(&progress, "%s of %s events%s", cli_count(a, number),
                              cli_count(b, all), cli_progress_left(&progress, number, all));
        }
    }
    cli_progress_end(&progress);
    return status;
}

static void look_at_names(contents *c, fb_trace *t)
{
    const fb_site *site;

    for (uint32_t i = 0; (site = fb_trace_site(t, i)) != NULL; i++) {
        add_name(c, &c->paths, site->path);
        add_name(c, &c->paths, site->consumer);
        add_name(c, &c->ops, site->op);
        add_name(c, &c->slots, site->slot);
        add_name(c, &c->streams, site->stream);
        add_name(c, &c->datasets, site->dataset);
        add_name(c, &c->others, site->algorithm);
        add_name(c, &c->others, site->distribution);
        add_name(c, &c->arguments, site->arguments);
        c->stacks += fb__chunk_reader_frame(&t->chunk, i) != FB_FRAME_NONE;
    }
    for (uint32_t i = 0; i < fb_intern_count(t->sites->module_keys); i++)
        add_name(c, &c->modules, fb__sites_text(t->sites, fb__sites_get_module(t->sites, i).name));
    sort_names(&c->paths);
    sort_names(&c->ops);
    sort_names(&c->slots);
    sort_names(&c->streams);
    sort_names(&c->datasets);
    sort_names(&c->arguments);
    sort_names(&c->others);
    sort_names(&c->modules);
}

/* Of the chunks that can be read; the rest is padding, chunk headers and a damaged end. */
static void look_at_bytes(contents *c, fb_trace *t)
{
    fb_chunk_header head;
    uint64_t at = t->header.span;

    c->bytes.header = at;
    for (; at < t->end && fb__trace_chunk_header(t, at, &head, NULL) == FB_OK;
         at = fb__align_up(at + fb__chunk_bytes(&head))) {
        c->bytes.steps += head.steps_bytes;
        c->bytes.columns += head.packed_stored;
        c->bytes.hashes += head.hash_bytes;
    }
    at = t->size > t->end ? t->size : t->end;
    c->bytes.rest = at - c->bytes.header - c->bytes.steps - c->bytes.columns - c->bytes.hashes;
}

static void free_contents(contents *c)
{
    name_list *const lists[] = {&c->paths,  &c->ops,       &c->slots,   &c->streams, &c->datasets,
                                &c->others, &c->arguments, &c->modules, &c->texts};

    for (size_t i = 0; i < c->texts.count; i++)
        free((char *)c->texts.at[i]);
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++)
        free(lists[i]->at);
}

/* --- Saying ----------------------------------------------------------------------------------- */

static void print_names(const char *what, const name_list *list)
{
    char digits[32];

    if (list->count == 0)
        return;
    printf("%s (%s)\n", what, cli_count(digits, list->count));
    for (size_t i = 0; i < list->count; i++) {
        fputs("  ", stdout);
        cli_put(stdout, list->at[i]);
        putchar('\n');
    }
}

static void print_member(const char *prefix, const cJSON *item)
{
    char *text = cJSON_IsString(item) ? strdup(item->valuestring) : fb__json_print(item);
    char label[128], escaped[128];

    (void)snprintf(label, sizeof label, "%s%.60s", prefix,
                   cli_escape(escaped, sizeof escaped, item->string));
    printf("  %-28s ", label);
    cli_put(stdout, text);
    putchar('\n');
    free(text);
}

/* Two levels deep; what lies below is shown as JSON. */
static void print_header(const cJSON *header)
{
    const cJSON *item, *inner;

    puts("header");
    cJSON_ArrayForEach(item, header)
    {
        char prefix[80];

        if (!cJSON_IsObject(item) || item->child == NULL) {
            print_member("", item);
            continue;
        }
        (void)snprintf(prefix, sizeof prefix, "%.60s.", item->string);
        cJSON_ArrayForEach(inner, item) print_member(prefix, inner);
    }
}

static void print_bytes(const char *what, uint64_t n)
{
    char text[32];

    printf("  %-28s %s\n", what, cli_bytes(text, n));
}

static void print_stored(const char *what, uint64_t n)
{
    char text[32];

    if (n > 0)
        printf("  %-28s %s\n", what, cli_count(text, n));
}

static void print_text(const contents *c, const cJSON *header)
{
    print_header(header);
    print_names("paths of modules and parameters", &c->paths);
    print_names("operations", &c->ops);
    print_names("slots", &c->slots);
    print_names("random streams", &c->streams);
    print_names("data sets", &c->datasets);
    print_names("algorithms and distributions", &c->others);
    print_names("arguments of operations", &c->arguments);
    print_names("texts: notes and file names", &c->texts);
    if (c->more_texts > 0)
        printf("  and %" PRIu64 " more\n", c->more_texts);
    print_names("program files in call stacks", &c->modules);
    puts("stored");
    for (int k = FB_KIND_TENSOR; k <= FB_KIND_MARK; k++) {
        char what[40];

        (void)snprintf(what, sizeof what, "events of kind %s", fb_kind_name((fb_kind)k));
        print_stored(what, c->kinds[k]);
    }
    print_stored("call stacks", c->stacks);
    print_stored("scalars as they are", c->scalars);
    print_stored("indices of samples", c->indices);
    print_stored("sketches (64 elements each)", c->sketches);
    print_stored("tensors as they are", c->values);
    puts("bytes");
    print_bytes("header", c->bytes.header);
    print_bytes("columns, compressed", c->bytes.columns);
    print_bytes("hashes of contents", c->bytes.hashes);
    print_bytes("roots and chains of steps", c->bytes.steps);
    print_bytes("chunk headers, padding, end", c->bytes.rest);
}

static void add_names(cJSON *o, const char *key, const name_list *list)
{
    cJSON *array = cJSON_AddArrayToObject(o, key);

    for (size_t i = 0; i < list->count; i++)
        cJSON_AddItemToArray(array, cJSON_CreateString(list->at[i]));
}

static int print_json(const cli_args *args, const contents *c, cJSON *header)
{
    cJSON *o = cli_json_object(), *inner;

    cli_json_text(o, "trace", args->positional[0]);
    cJSON_AddItemToObject(o, "header", cJSON_Duplicate(header, true));
    add_names(o, "paths", &c->paths);
    add_names(o, "ops", &c->ops);
    add_names(o, "slots", &c->slots);
    add_names(o, "streams", &c->streams);
    add_names(o, "datasets", &c->datasets);
    add_names(o, "algorithms", &c->others);
    add_names(o, "arguments", &c->arguments);
    add_names(o, "texts", &c->texts);
    cli_json_count(o, "more_texts", c->more_texts);
    add_names(o, "program_files", &c->modules);
    inner = cJSON_AddObjectToObject(o, "kinds");
    for (int k = FB_KIND_TENSOR; k <= FB_KIND_MARK; k++)
        cli_json_count(inner, fb_kind_name((fb_kind)k), c->kinds[k]);
    cli_json_count(o, "stacks", c->stacks);
    cli_json_count(o, "indices", c->indices);
    cli_json_count(o, "sketches", c->sketches);
    cli_json_count(o, "values", c->values);
    inner = cJSON_AddObjectToObject(o, "bytes");
    cli_json_count(inner, "header", c->bytes.header);
    cli_json_count(inner, "columns", c->bytes.columns);
    cli_json_count(inner, "hashes", c->bytes.hashes);
    cli_json_count(inner, "steps", c->bytes.steps);
    cli_json_count(inner, "rest", c->bytes.rest);
    return cli_json_print(args, o);
}

int cli_contents(const cli_args *args, fb_trace *t)
{
    contents c = {.failed = false};
    cJSON *header = cJSON_Parse(fb_trace_get_info(t)->header);
    int result = CLI_SAME;
    fb_error err;

    if (look_at_events(&c, t, &err) != FB_OK) {
        result = cli_fail_error(args, &err);
    } else {
        look_at_names(&c, t);
        look_at_bytes(&c, t);
        if (c.failed)
            result = cli_fail(args, "out of memory");
        else if (!cJSON_IsObject(header))
            result = cli_fail(args, "%s: header at byte 0: not a JSON object", args->positional[0]);
        else if (cli_has(args, "json"))
            result = print_json(args, &c, header);
        else
            print_text(&c, header);
    }
    cJSON_Delete(header);
    free_contents(&c);
    return result;
}
