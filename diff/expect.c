/* SPDX-License-Identifier: Apache-2.0
 *
 * expect.c - makes a run again under another configuration, as a trace of its own.
 */
#include "diff/expect.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "diff/diff_notes.h"
#include "diff/read/headers.h"
#include "diff/next_command.h"
#include "engine/files/json.h"
#include "firstbit/recorder.h"
#include "replay/rebuild.h"

enum { SETS_MAX = 64 };

typedef struct expectation {
    const char *a, *b, *to;
    const fb_diff_options *options;
    fb_trace *trace_a, *trace_b;
    fb__headers headers;
    fb_diff_report differences; /* candidates, borrowed by `sets` */
    fb_config_set sets[SETS_MAX];
    size_t set_count;
    char *header; /* of the new trace */
} expectation;

static fb_status out_of_memory(fb_error *err)
{
    return fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "applying what is expected: out of memory");
}

/* --- Keys ------------------------------------------------------------------------------------- */

static bool is_at_or_below(const char *key, const char *asked)
{
    const size_t n = strlen(asked);
    return strncmp(key, asked, n) == 0 && (key[n] == '\0' || key[n] == '.' || key[n] == '[');
}

/* Goes one part of a key down: a member "name" or an element "[3]". *rest moves behind it. */
static cJSON *child_of(cJSON *item, const char **rest)
{
    char word[256];
    size_t n;

    if ((*rest)[0] == '.')
        (*rest)++;
    if ((*rest)[0] == '[') {
        char *end;
        const long index = strtol(*rest + 1, &end, 10);

        *rest = end + (*end == ']');
        return cJSON_IsArray(item) && index >= 0 && index < cJSON_GetArraySize(item)
                   ? cJSON_GetArrayItem(item, (int)index)
                   : NULL;
    }
    n = strcspn(*rest, ".[");
    if (n == 0 || n >= sizeof word) {
        *rest += strlen(*rest);
        return NULL;
    }
    memcpy(word, *rest, n);
    word[n] = '\0';
    *rest += n;
    return cJSON_IsObject(item) ? cJSON_GetObjectItemCaseSensitive(item, word) : NULL;
}

/* The item of a key; *parent is what holds it. */
static cJSON *find_key(cJSON *item, const char *key, cJSON **parent)
{
    *parent = NULL;
    for (const char *rest = key; item != NULL && *rest != '\0';) {
        *parent = item;
        item = child_of(item, &rest);
    }
    return item;
}

/* Whether a configuration has the key, or keys below it. */
static bool has_key(const cJSON *configuration, const char *key)
{
    cJSON *copy = cJSON_Duplicate(configuration, true), *parent;
    const bool found = copy != NULL && key[0] != '\0' && find_key(copy, key, &parent) != NULL;

    cJSON_Delete(copy);
    return found;
}

/* Replaces the value of a key that is there; one that is not stays away. False: memory is out. */
static bool set_key(cJSON *object, const char *key, const char *json)
{
    cJSON *parent, *old = find_key(object, key, &parent);
    cJSON *value = old != NULL ? cJSON_Parse(json) : NULL;

    if (old == NULL)
        return true;
    if (value == NULL)
        return false;
    if (old->string != NULL)
        return cJSON_ReplaceItemInObjectCaseSensitive(parent, old->string, value);
    return cJSON_ReplaceItemViaPointer(parent, old, value);
}

static fb_status add_set(expectation *x, const fb_diff_candidate *k, fb_diff_list *expected,
                         fb_error *err)
{
    char a[96], b[96];

    if (strcmp(k->a, "absent") == 0 || strcmp(k->b, "absent") == 0)
        return fb__fail(err, FB_E_UNSUPPORTED, FB_NO_OFFSET,
                        "--expect %s: only one of the two runs has it: it cannot be applied",
                        k->key);
    if (x->set_count == SETS_MAX)
        return fb__fail(err, FB_E_LIMIT, FB_NO_OFFSET, "--expect: more than %d keys differ",
                        SETS_MAX);
    x->sets[x->set_count++] = (fb_config_set){k->key, k->b};
    return fb__list_add(expected, err, "%s %s | %s", k->key, fb__json_plain(a, sizeof a, k->a),
                        fb__json_plain(b, sizeof b, k->b));
}

/* The differences that one key stands for. */
static fb_status take_key(expectation *x, const char *key, fb_diff_list *expected, fb_error *err)
{
    fb_status status = FB_OK;
    bool any = false;

    for (size_t i = 0; i < x->differences.candidate_count && status == FB_OK; i++) {
        const fb_diff_candidate *k = &x->differences.candidates[i];

        if ((strcmp(k->what, "config") == 0 || strcmp(k->what, "seed") == 0) &&
            is_at_or_below(k->key, key)) {
            any = true;
            status = add_set(x, k, expected, err);
        }
    }
    if (status != FB_OK || any || has_key(x->headers.a.configuration, key))
        return status;
    return fb__fail(err, FB_E_USAGE, FB_NO_OFFSET,
                    "--expect %s: the configurations have no such key", key);
}

/* --- The run ---------------------------------------------------------------------------------- */

static fb_status open_both(expectation *x, fb_error *err)
{
    fb_status status = fb_trace_open(&x->trace_a, x->a, err);

    if (status == FB_OK)
        status = fb_trace_open_beside(&x->trace_b, x->b, x->trace_a, err);
    if (status != FB_OK)
        return status;
    x->differences.name_a = strdup(x->a);
    x->differences.name_b = strdup(x->b);
    if (x->differences.name_a == NULL || x->differences.name_b == NULL)
        return out_of_memory(err);
    status = fb__headers_compare(&x->headers, &x->differences, x->trace_a, x->trace_b, err);
    if (status != FB_OK)
        return status;
    if (x->headers.a.configuration == NULL || x->headers.b.configuration == NULL)
        return fb__fail(err, FB_E_UNSUPPORTED, FB_NO_OFFSET,
                        "%s: holds no configuration: --expect needs runs of `firstbit train`",
                        x->headers.a.configuration == NULL ? x->a : x->b);
    return FB_OK;
}

/* The header of a with the other values: where its files lie, its environment and the rest of it
 * stay as they are. A run that went on from a checkpoint is made again from its beginning: the
 * checkpoint holds what the old values made. */
static fb_status make_header(expectation *x, fb_error *err)
{
    cJSON *json = cJSON_Duplicate(x->headers.a.json, true);
    cJSON *configuration = cJSON_GetObjectItemCaseSensitive(json, "configuration");
    bool done = configuration != NULL;

    for (size_t i = 0; i < x->set_count && done; i++)
        done = set_key(configuration, x->sets[i].path, x->sets[i].value) &&
               (strcmp(x->sets[i].path, "seed") != 0 || set_key(json, "seed", x->sets[i].value));
    cJSON_DeleteItemFromObjectCaseSensitive(json, "resume");
    x->header = done ? fb__json_print(json) : NULL;
    cJSON_Delete(json);
    return x->header != NULL ? FB_OK : out_of_memory(err);
}

static bool sets_steps(const expectation *x)
{
    for (size_t i = 0; i < x->set_count; i++)
        if (strcmp(x->sets[i].path, "steps") == 0)
            return true;
    return false;
}

/* As far as a went; where the number of steps is expected to differ, as far as b is to go. */
static fb_status step_through(expectation *x, fb__rebuilt *r, fb_error *err)
{
    const fb_trace_info *info = fb_trace_get_info(x->trace_a);
    const uint64_t last = sets_steps(x) ? (uint64_t)r->config.steps : info->last_step;
    fb_status status = fb_run_begin(r->run, err);

    while (status == FB_OK && fb_run_current_step(r->run) < last) {
        status = fb_run_step(r->run, err);
        if (x->options != NULL && x->options->progress != NULL)
            x->options->progress(x->options->argument, "applying what is expected",
                                 fb_run_current_step(r->run), last);
    }
    if (status == FB_OK && info->status == FB_TRACE_COMPLETE)
        status = fb_run_end(r->run, err);
    return status;
}

static fb_status record(expectation *x, fb_error *err)
{
    const fb_level level = fb_trace_get_info(x->trace_b)->level;
    const fb_replay_options how = {.size = sizeof how,
                                   .as_recorded = true,
                                   .data = x->options != NULL ? x->options->data : NULL,
                                   .sets = x->sets,
                                   .set_count = x->set_count};
    const fb_recorder_options options = {.size = sizeof options,
                                         .level = level > FB_LEVEL_OPS ? FB_LEVEL_OPS : level,
                                         .header = x->header,
                                         .no_stacks = true};
    fb_recorder *recorder = NULL;
    fb_recorder_stats stats;
    fb__rebuilt r;
    fb_status status = fb__rebuild(&r, x->a, x->trace_a, &how, err);

    if (status == FB_OK)
        status = fb_recorder_open(&recorder, x->to, &options, err);
    if (status == FB_OK) {
        fb_run_observe(r.run, fb_recorder_observer(recorder));
        status = step_through(x, &r, err);
        fb_recorder_get_stats(recorder, &stats);
        const fb_status closed = fb_recorder_close(recorder, status == FB_OK ? err : NULL);
        if (status == FB_OK)
            status = closed;
        if (status == FB_OK && stats.stopped)
            status = fb__fail(err, stats.error.status, FB_NO_OFFSET, "%s", stats.error.text);
    }
    fb__rebuilt_free(&r);
    return status;
}

fb_status fb_expect_record(const char *to, const char *a, const char *b, const char *const *keys,
                           size_t key_count, const fb_diff_options *options, fb_diff_list *expected,
                           fb_error *err)
{
    expectation *x = calloc(1, sizeof *x);
    fb_status status;

    *expected = (fb_diff_list){0};
    if (x == NULL)
        return out_of_memory(err);
    x->to = to;
    x->a = a;
    x->b = b;
    x->options = options;
    status = open_both(x, err);
    for (size_t i = 0; i < key_count && status == FB_OK; i++)
        status = take_key(x, keys[i], expected, err);
    if (status == FB_OK && x->set_count > 0)
        status = make_header(x, err);
    if (status == FB_OK && x->set_count > 0)
        status = record(x, err);
    free(x->header);
    fb__headers_free(&x->headers);
    fb_diff_report_free(&x->differences);
    fb_trace_close(x->trace_a);
    fb_trace_close(x->trace_b);
    free(x);
    if (status != FB_OK)
        fb_expect_free(expected);
    return status;
}

void fb_expect_free(fb_diff_list *expected)
{
    for (size_t i = 0; i < expected->count; i++)
        free(expected->at[i]);
    free(expected->at);
    *expected = (fb_diff_list){0};
}

fb_status fb_expect_tell(fb_diff_report *report, const char *a, fb_diff_list *expected,
                         fb_error *err)
{
    char *name = strdup(a), *next = NULL;

    /* The run of a that was compared is not the one in its trace. */
    if (name == NULL || !fb__next_show(&next, report, report->name_b)) {
        free(name);
        return out_of_memory(err);
    }
    free(report->name_a);
    free(report->next);
    report->name_a = name;
    report->next = next;
    report->expected = *expected;
    *expected = (fb_diff_list){0};
    return FB_OK;
}
