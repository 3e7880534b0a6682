/* SPDX-License-Identifier: Apache-2.0
 *
 * digest_diff.c - two digests held against each other, and what is said of it. Rules:
 * docs/digest.md, "How it compares".
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "base/error.h"
#include "base/hash.h"
#include "diff/digest/digest.h"
#include "diff/digest/digest_state.h"
#include "engine/files/json.h"
#include "tracer/read/linked.h"

/* --- Words -------------------------------------------------------------------------------------
 */

static void say(char out[][256], size_t *count, size_t max, const char *format, va_list args)
{
    if (*count < max)
        (void)vsnprintf(out[(*count)++], sizeof out[0], format, args);
}

static void note(fb_digest_report *r, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void note(fb_digest_report *r, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    say(r->notes, &r->note_count, sizeof r->notes / sizeof r->notes[0], format, args);
    va_end(args);
}

static void leave_out(fb_digest_report *r, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void leave_out(fb_digest_report *r, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    say(r->left_out, &r->left_out_count, sizeof r->left_out / sizeof r->left_out[0], format, args);
    va_end(args);
}

static void undecidable(fb_digest_report *r, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void undecidable(fb_digest_report *r, const char *format, ...)
{
    va_list args;

    r->verdict = FB_DIFF_UNDECIDABLE;
    va_start(args, format);
    (void)vsnprintf(r->why, sizeof r->why, format, args);
    va_end(args);
}

/* --- What can be compared ----------------------------------------------------------------------
 */

/* Chains of a class are comparable where both recorded it in the same steps. */
static bool comparable(const fb_digest *a, const fb_digest *b, int c)
{
    const fb_digest_class *x = &a->classes[c], *y = &b->classes[c];

    if (x->recorded == 0 || y->recorded == 0)
        return false;
    return (x->recorded == a->steps && y->recorded == b->steps) ||
           (a->last_step == b->last_step && fb_hash_equal(x->pattern, y->pattern));
}

static void find_classes(fb_digest_report *r, const fb_digest *a, const fb_digest *b)
{
    for (int c = 0; c < FB_DIGEST_CLASSES; c++) {
        const bool in_a = a->classes[c].recorded > 0, in_b = b->classes[c].recorded > 0;

        if (comparable(a, b, c))
            r->classes |= 1u << c;
        else if (in_a && in_b)
            leave_out(r, "class %s (recorded in other steps)", fb_class_name((fb_class)c));
        else if (in_a || in_b)
            leave_out(r, "class %s (only %s has it)", fb_class_name((fb_class)c), in_a ? "a" : "b");
    }
    leave_out(r, "single events: a digest has none");
}

/* The first fact of one side that the other lacks, with the other's of that name; NULL: none. */
static const char *other_fact(const fb_digest *a, const fb_digest *b, const char **in_b)
{
    for (size_t i = 0; i < a->fact_count; i++) {
        const size_t name = strcspn(a->facts[i], ":");
        bool found = false;

        *in_b = NULL;
        for (size_t j = 0; j < b->fact_count; j++) {
            found |= strcmp(a->facts[i], b->facts[j]) == 0;
            if (strncmp(a->facts[i], b->facts[j], name + 1) == 0)
                *in_b = b->facts[j] + name + 1;
        }
        if (!found)
            return a->facts[i];
    }
    return NULL;
}

static bool same_environment(const fb_digest *a, const fb_digest *b)
{
    const char *other;

    return other_fact(a, b, &other) == NULL && other_fact(b, a, &other) == NULL;
}

static void note_headers(fb_digest_report *r, const fb_digest *a, const fb_digest *b)
{
    const char *other = NULL, *fact = other_fact(a, b, &other);

    if (fact == NULL)
        fact = other_fact(b, a, &other);
    if (!fb_hash_equal(a->configuration, b->configuration))
        note(r, "the configurations differ");
    if (a->contract != b->contract)
        note(r, "contract %" PRIu64 " | %" PRIu64, a->contract, b->contract);
    if (fact != NULL)
        note(r, "environment: %s | %s%s", fact, other != NULL ? "" : "absent",
             other != NULL ? other + 1 : "");
}

/* --- Comparing ---------------------------------------------------------------------------------
 */

static void compare_steps(fb_digest_report *r, const fb_digest *a, const fb_digest *b)
{
    for (size_t i = 0, j = 0; i < a->at_count && j < b->at_count && !r->has_first;) {
        const fb_digest_step *x = &a->at[i], *y = &b->at[j];

        if (x->step != y->step) {
            i += x->step < y->step;
            j += y->step < x->step;
            continue;
        }
        r->compared++;
        for (int c = 0; c < FB_DIGEST_CLASSES; c++)
            if ((r->classes & 1u << c) != 0 && !fb_hash_equal(x->chain[c], y->chain[c]))
                r->differing |= 1u << c;
        r->has_first = r->differing != 0;
        r->step = x->step;
        if (!r->has_first) {
            r->has_after = r->has_equal_through = true;
            r->after = r->equal_through = x->step;
        }
        i++;
        j++;
    }
}

static void judge_difference(fb_digest_report *r, const fb_digest *a, const fb_digest *b)
{
    const char *other = NULL, *fact;

    r->verdict = FB_DIFF_DIFFER;
    if ((a->exact && b->exact) || same_environment(a, b))
        return;
    fact = other_fact(a, b, &other);
    if (fact == NULL)
        fact = other_fact(b, a, &other);
    undecidable(r,
                "the hashes differ, and so do the machines or libraries (%.100s | %.100s), and "
                "nothing promises equal bits between them: make the digest where it is checked",
                fact, other != NULL ? other + 1 : "absent");
}

static void judge_end(fb_digest_report *r, const fb_digest *a, const fb_digest *b, bool prefix)
{
    const bool ends_differ = a->last_step != b->last_step;
    const bool open = ends_differ || !a->complete || !b->complete;

    r->verdict = FB_DIFF_SAME;
    if (!open || prefix) {
        if (ends_differ)
            leave_out(r, "steps after %" PRIu64, r->equal_through);
        return;
    }
    undecidable(r, "%s; equal through step %" PRIu64 " (--prefix takes that for the same)",
                !ends_differ                  ? "a run that ended early"
                : a->last_step < b->last_step ? "a ends first"
                                              : "b ends first",
                r->equal_through);
}

static void compare(fb_digest_report *r, const fb_digest *a, const fb_digest *b, bool prefix)
{
    find_classes(r, a, b);
    note_headers(r, a, b);
    if (a->first_step != b->first_step) {
        undecidable(r, "the runs begin at other steps (%" PRIu64 " | %" PRIu64 ")", a->first_step,
                    b->first_step);
        return;
    }
    if (r->classes == 0) {
        undecidable(r, "no class of events was recorded by both in the same steps");
        return;
    }
    compare_steps(r, a, b);
    if (r->compared == 0)
        undecidable(r, "the digests name no step in common");
    else if (r->has_first)
        judge_difference(r, a, b);
    else
        judge_end(r, a, b, prefix);
}

/* --- Both sides --------------------------------------------------------------------------------
 */

/* Equal chains speak for events that reading all of the trace can vouch for. */
static fb_status check_trace(fb_digest_report *r, fb_trace *t, const char *path, fb_error *err)
{
    enum { CHECKED_MAX = 32 << 20 }; /* as comparing two traces does */
    fb_trace_info info;
    fb_status status;

    if (fb_trace_get_info(t)->bytes > CHECKED_MAX) {
        leave_out(r, "integrity of %.150s (firstbit verify reads all of it)", path);
        return FB_OK;
    }
    status = fb_trace_verify(&info, t, NULL, NULL, NULL);
    return status == FB_OK && info.status == FB_TRACE_CORRUPT
               ? fb__fail(err, FB_E_CORRUPT, info.damage, "%s: corrupt at byte %" PRIu64, path,
                          info.damage)
               : status;
}

/* A digest is of one process. */
static void tell_parts(fb_digest_report *r, fb_trace *t, const char *path)
{
    fb_linked parts;

    if (fb_linked_parts(&parts, t, path, NULL) != FB_OK)
        return;
    if (parts.count > 0)
        leave_out(r, "%zu other process%s of %s: a digest is of the main one", parts.count,
                  parts.count == 1 ? "" : "es", path);
    fb_linked_free(&parts);
}

static fb_status read_trace(fb_digest *out, fb_digest_report *r, const char *path,
                            const fb_digest *like, fb_digest_progress progress, void *argument,
                            fb_error *err)
{
    fb_trace *t;
    fb_status status = fb_trace_open(&t, path, err);

    if (status != FB_OK)
        return status;
    status = check_trace(r, t, path, err);
    if (status == FB_OK)
        status = fb__digest_of_open(out, t, path, like, progress, argument, err);
    if (status == FB_OK && fb_trace_get_info(t)->last_step > out->last_step)
        out->last_step = fb_trace_get_info(t)->last_step; /* it goes on behind the digest's end */
    if (status == FB_OK)
        tell_parts(r, t, path);
    r->bytes_read = fb_trace_bytes_read(t);
    fb_trace_close(t);
    return status;
}

fb_status fb_digest_diff(fb_digest_report *out, const char *a, const char *b, bool prefix,
                         fb_digest_progress progress, void *argument, fb_error *err)
{
    const bool a_is_digest = fb_digest_is_file(a), b_is_digest = fb_digest_is_file(b);
    fb_digest *d = calloc(2, sizeof *d);
    fb_status status = FB_OK;

    *out = (fb_digest_report){.name_a = a, .name_b = b};
    if (d == NULL)
        return fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "out of memory");
    if (a_is_digest)
        status = fb_digest_read(&d[0], a, err);
    if (status == FB_OK && b_is_digest)
        status = fb_digest_read(&d[1], b, err);
    if (status == FB_OK && !a_is_digest)
        status = read_trace(&d[0], out, a, &d[1], progress, argument, err);
    if (status == FB_OK && !b_is_digest)
        status = read_trace(&d[1], out, b, &d[0], progress, argument, err);
    if (status == FB_OK)
        compare(out, &d[0], &d[1], prefix);
    free(d);
    return status;
}

/* --- Text --------------------------------------------------------------------------------------
 */

static void put_classes(FILE *out, uint32_t classes)
{
    const char *between = "";

    for (int c = 0; c < FB_DIGEST_CLASSES; c++)
        if ((classes & 1u << c) != 0) {
            fprintf(out, "%s%s", between, fb_class_name((fb_class)c));
            between = ", ";
        }
}

/* "label   text", broken between words at 80 columns. */
static void put_entry(FILE *out, const char *label, const char *text)
{
    enum { INDENT = 8, WIDTH = 80 - INDENT };

    for (const char *name = label; *text != '\0' || name == label; name = "") {
        size_t n = strlen(text);

        if (n > WIDTH) {
            for (n = WIDTH; n > 0 && text[n] != ' '; n--)
                ;
            n = n == 0 ? WIDTH : n;
        }
        fprintf(out, "%-*s%.*s\n", INDENT, name, (int)n, text);
        text += n;
        text += strspn(text, " ");
        if (*text == '\0')
            break;
    }
}

static void put_first(FILE *out, const fb_digest_report *r)
{
    fputs("DIVERGED ", out);
    if (r->has_after && r->after + 1 < r->step)
        fprintf(out, "in steps %" PRIu64 " to %" PRIu64, r->after + 1, r->step);
    else if (r->has_after || r->step == 0)
        fprintf(out, "at step %" PRIu64, r->step);
    else
        fprintf(out, "at or before step %" PRIu64, r->step);
    fputs(": ", out);
    put_classes(out, r->differing);
    putc('\n', out);
}

static void put_report(FILE *out, const fb_digest_report *r)
{
    if (r->has_first && r->verdict == FB_DIFF_DIFFER)
        put_first(out, r);
    else if (r->verdict == FB_DIFF_SAME)
        fprintf(out, "SAME through step %" PRIu64 "\n", r->equal_through);
    else
        fputs("UNDECIDABLE\n", out);
    if (r->why[0] != '\0')
        put_entry(out, "why", r->why);
    for (size_t i = 0; i < r->note_count; i++)
        put_entry(out, i == 0 ? "note" : "", r->notes[i]);
    if (r->verdict == FB_DIFF_DIFFER)
        put_entry(out, "next",
                  "record the earlier version again and compare the traces: firstbit diff "
                  "OLD.fbt NEW.fbt names the event and the cause");
    fputs("scope   ", out);
    put_classes(out, r->classes);
    fprintf(out, "; chains of %" PRIu64 " steps\n", r->compared);
    for (size_t i = 0; i < r->left_out_count; i++)
        put_entry(out, i == 0 ? "without" : "", r->left_out[i]);
}

char *fb_digest_report_text(const fb_digest_report *report)
{
    char *text = NULL;
    size_t count = 0;
    FILE *out = open_memstream(&text, &count);

    if (out == NULL)
        return NULL;
    put_report(out, report);
    if (fclose(out) != 0) {
        free(text);
        return NULL;
    }
    return text;
}

/* --- JSON --------------------------------------------------------------------------------------
 */

static void add_count(cJSON *o, const char *key, bool known, uint64_t n)
{
    if (known)
        cJSON_AddNumberToObject(o, key, (double)n);
    else
        cJSON_AddNullToObject(o, key);
}

static void add_classes(cJSON *o, const char *key, uint32_t classes)
{
    cJSON *array = cJSON_AddArrayToObject(o, key);

    for (int c = 0; c < FB_DIGEST_CLASSES; c++)
        if ((classes & 1u << c) != 0)
            cJSON_AddItemToArray(array, cJSON_CreateString(fb_class_name((fb_class)c)));
}

static void add_lines(cJSON *o, const char *key, const char lines[][256], size_t count)
{
    cJSON *array = cJSON_AddArrayToObject(o, key);

    for (size_t i = 0; i < count; i++)
        cJSON_AddItemToArray(array, cJSON_CreateString(lines[i]));
}

char *fb_digest_report_json(const fb_digest_report *report)
{
    const fb_digest_report *r = report;
    cJSON *o = cJSON_CreateObject(), *inner;
    char *text;

    cJSON_AddNumberToObject(o, "schema", 1);
    cJSON_AddStringToObject(o, "a", r->name_a);
    cJSON_AddStringToObject(o, "b", r->name_b);
    cJSON_AddStringToObject(o, "verdict", fb_diff_verdict_name(r->verdict));
    if (r->why[0] != '\0')
        cJSON_AddStringToObject(o, "why", r->why);
    else
        cJSON_AddNullToObject(o, "why");
    if (r->has_first) {
        inner = cJSON_AddObjectToObject(o, "first");
        add_count(inner, "after_step", r->has_after, r->after);
        add_count(inner, "step", true, r->step);
        add_classes(inner, "classes", r->differing);
    } else {
        cJSON_AddNullToObject(o, "first");
    }
    cJSON_AddNullToObject(o, "cause");
    inner = cJSON_AddObjectToObject(o, "scope");
    add_classes(inner, "classes", r->classes);
    add_lines(inner, "left_out", r->left_out, r->left_out_count);
    inner = cJSON_AddObjectToObject(o, "compared");
    add_count(inner, "steps", true, r->compared);
    add_lines(o, "notes", r->notes, r->note_count);
    add_count(o, "equal_through", r->has_equal_through, r->equal_through);
    add_count(o, "bytes_read", true, r->bytes_read);
    text = fb__json_print(o);
    cJSON_Delete(o);
    return text;
}
