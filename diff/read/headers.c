/* SPDX-License-Identifier: Apache-2.0
 *
 * headers.c - compares two headers key by key.
 */
#include "diff/read/headers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/hash.h"
#include "engine/files/json.h"

enum {
    CANDIDATES_MAX = 256, /* more are not told one by one */
    CHILDREN_MAX = 4096,  /* a list with more is compared as a whole */
    KEY_MAX = 512,
};

/* What a key at the top of a header speaks of; keys that are not listed are "other". `files` and
 * the copy of the seed have rules of their own. */
static const struct {
    const char *key, *what;
} kinds[] = {
    {"configuration", "config"},
    {"contract", "contract"},
    {"fingerprint", "contract"},
    {"environment", "environment"},
    {"recording", "recording"},
    {"version", "code"},
    {"git", "code"},
    {"sources", "code"},
    {"argv", "code"},
};

static const char *what_of(const char *key)
{
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (strcmp(kinds[i].key, key) == 0)
            return kinds[i].what;
    return "other";
}

/* The environment of a recording also tells what was run. */
static const char *what_in_environment(const char *key)
{
    if (strncmp(key, "argv", 4) == 0)
        return "argv";
    if (strncmp(key, "git", 3) == 0 || strcmp(key, "build_id") == 0)
        return "code";
    return "environment";
}

static char *json_text(const cJSON *item)
{
    return item == NULL ? strdup("absent") : fb__json_print(item);
}

/* Takes ownership of a and b. */
static fb_status add(fb_diff_report *report, const char *what, const char *key, char *a, char *b,
                     fb_error *err)
{
    fb_diff_candidate *grown =
        realloc(report->candidates, (report->candidate_count + 1) * sizeof *grown);
    char *copy = strdup(key);

    if (grown != NULL)
        report->candidates = grown;
    if (grown == NULL || copy == NULL || a == NULL || b == NULL) {
        free(copy);
        free(a);
        free(b);
        return fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "comparing headers: out of memory");
    }
    fb__make_printable(copy);
    if (strcmp(what, "environment") == 0)
        what = what_in_environment(copy);
    report->candidates[report->candidate_count++] =
        (fb_diff_candidate){.what = what, .key = copy, .a = a, .b = b};
    return FB_OK;
}

/* Whether to go into an item key by key: looking keys up takes the square of their number. */
static bool is_branch(const cJSON *item)
{
    const cJSON *child = item == NULL ? NULL : item->child;
    int count = 0;

    if (!cJSON_IsObject(item) && !cJSON_IsArray(item))
        return false;
    for (; child != NULL && count <= CHILDREN_MAX; child = child->next)
        count++;
    return count <= CHILDREN_MAX;
}

/* Numbers are equal when all their digits are (cJSON's own comparison rounds). */
static bool is_equal(const cJSON *a, const cJSON *b)
{
    char *x, *y;
    bool equal;

    if (a == NULL || b == NULL)
        return a == b;
    x = fb__json_print(a);
    y = fb__json_print(b);
    equal = x != NULL && y != NULL && strcmp(x, y) == 0;
    free(x);
    free(y);
    return equal;
}

static void join_key(char out[KEY_MAX], const char *prefix, const char *name, int index)
{
    int length;

    if (name != NULL)
        length = snprintf(out, KEY_MAX, "%s%s%s", prefix, prefix[0] != '\0' ? "." : "", name);
    else
        length = snprintf(out, KEY_MAX, "%s[%d]", prefix, index);
    (void)length; /* a longer key is cut: it is for people */
}

static fb_status compare(fb_diff_report *report, const char *what, const char *key, const cJSON *a,
                         const cJSON *b, int depth, fb_error *err);

/* Goes through the children of one side; those of the other side with the same name or place are
 * their partners. only_missing: tell only of those without a partner. */
static fb_status compare_children(fb_diff_report *report, const char *what, const char *key,
                                  const cJSON *of, const cJSON *partner, bool of_is_a, int depth,
                                  fb_error *err)
{
    const bool object = cJSON_IsObject(of);
    const cJSON *child;
    int index = 0;

    cJSON_ArrayForEach(child, of)
    {
        char name[KEY_MAX];
        const cJSON *other = object ? cJSON_GetObjectItemCaseSensitive(partner, child->string)
                                    : cJSON_GetArrayItem(partner, index);
        fb_status status = FB_OK;

        join_key(name, key, object ? child->string : NULL, index++);
        if (of_is_a)
            status = compare(report, what, name, child, other, depth + 1, err);
        else if (other == NULL)
            status = compare(report, what, name, NULL, child, depth + 1, err);
        if (status != FB_OK)
            return status;
    }
    return FB_OK;
}

static fb_status compare(fb_diff_report *report, const char *what, const char *key, const cJSON *a,
                         const cJSON *b, int depth, fb_error *err)
{
    enum { DEPTH_MAX = 32 };

    if (report->candidate_count >= CANDIDATES_MAX)
        return FB_OK;
    if (depth < DEPTH_MAX && is_branch(a) && is_branch(b) &&
        cJSON_IsObject(a) == cJSON_IsObject(b)) {
        const fb_status status = compare_children(report, what, key, a, b, true, depth, err);

        return status != FB_OK ? status
                               : compare_children(report, what, key, b, a, false, depth, err);
    }
    return is_equal(a, b) ? FB_OK : add(report, what, key, json_text(a), json_text(b), err);
}

static char *hash_text(const fb__run_file *file)
{
    char hex[FB_HASH_HEX_BYTES];
    return strdup(file == NULL ? "absent" : fb_hash_hex(hex, file->hash));
}

static fb_status compare_files(fb_diff_report *report, const fb__headers *h, fb_error *err)
{
    const size_t n = h->a.file_count > h->b.file_count ? h->a.file_count : h->b.file_count;

    for (size_t i = 0; i < n; i++) {
        const fb__run_file *a = i < h->a.file_count ? &h->a.files[i] : NULL;
        const fb__run_file *b = i < h->b.file_count ? &h->b.files[i] : NULL;
        const fb__run_file *named = a != NULL ? a : b;
        fb_status status;

        if (named == NULL || (a != NULL && b != NULL && fb_hash_equal(a->hash, b->hash)))
            continue;
        status = add(report, "file", named->path, hash_text(a), hash_text(b), err);
        if (status != FB_OK)
            return status;
    }
    return FB_OK;
}

static const char *file_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash == NULL ? path : slash + 1;
}

/* The source file of the other run: of the same path, else one that this run does not have, of the
 * same name or the same contents: a program in another folder is the same program. */
static const cJSON *source_in(const cJSON *other, const cJSON *own, const cJSON *file)
{
    const cJSON *same = cJSON_GetObjectItemCaseSensitive(other, file->string), *child;

    if (same != NULL)
        return same;
    cJSON_ArrayForEach(child,
                       other) if (cJSON_GetObjectItemCaseSensitive(own, child->string) == NULL &&
                                  (strcmp(file_name(child->string), file_name(file->string)) == 0 ||
                                   is_equal(child, file))) return child;
    return NULL;
}

static fb_status compare_sources(fb_diff_report *report, const cJSON *a, const cJSON *b,
                                 fb_error *err)
{
    const cJSON *child;
    fb_status status = FB_OK;

    cJSON_ArrayForEach(child, a) if (status == FB_OK) status =
        compare(report, "code", child->string, child, source_in(b, a, child), 0, err);
    cJSON_ArrayForEach(child, b) if (status == FB_OK && source_in(a, b, child) == NULL) status =
        compare(report, "code", child->string, NULL, child, 0, err);
    return status;
}

/* The configuration's own seed is its cause's name: told apart from other keys. */
static void rename_seed(fb_diff_report *report)
{
    for (size_t i = 0; i < report->candidate_count; i++)
        if (strcmp(report->candidates[i].what, "config") == 0 &&
            strcmp(report->candidates[i].key, "seed") == 0)
            report->candidates[i].what = "seed";
}

static fb_status compare_all(fb_diff_report *report, const fb__headers *h, fb_error *err)
{
    fb_status status = FB_OK;

    if (!is_branch(h->a.json) || !is_branch(h->b.json))
        return fb__fail(err, FB_E_LIMIT, FB_NO_OFFSET, "%s: a header has too many keys",
                        is_branch(h->a.json) ? report->name_b : report->name_a);
    for (int side = 0; side < 2 && status == FB_OK; side++) {
        const cJSON *of = side == 0 ? h->a.json : h->b.json;
        const cJSON *partner = side == 0 ? h->b.json : h->a.json;
        const cJSON *child;

        cJSON_ArrayForEach(child, of)
        {
            const cJSON *other = cJSON_GetObjectItemCaseSensitive(partner, child->string);
            const bool branch = is_branch(child);

            /* A part names its main trace by an id that no two runs share. */
            if (strcmp(child->string, "files") == 0 || strcmp(child->string, "seed") == 0 ||
                strcmp(child->string, "parent") == 0 || (side == 1 && other != NULL))
                continue;
            if (strcmp(child->string, "sources") == 0 && is_branch(child) && is_branch(other)) {
                status = compare_sources(report, child, other, err);
                if (status != FB_OK)
                    break;
                continue;
            }
            /* Keys of the configuration are told without the word in front of them. */
            status =
                compare(report, what_of(child->string),
                        branch && strcmp(what_of(child->string), "other") != 0 ? "" : child->string,
                        side == 0 ? child : other, side == 0 ? other : child, 0, err);
            if (status != FB_OK)
                break;
        }
    }
    return status;
}

fb_status fb__headers_compare(fb__headers *out, fb_diff_report *report, const fb_trace *a,
                              const fb_trace *b, fb_error *err)
{
    fb_status status;

    *out = (fb__headers){0};
    status = fb__run_header_read(&out->a, fb_trace_get_info(a)->header, report->name_a, err);
    if (status == FB_OK)
        status = fb__run_header_read(&out->b, fb_trace_get_info(b)->header, report->name_b, err);
    if (status == FB_OK)
        status = compare_all(report, out, err);
    if (status == FB_OK)
        status = compare_files(report, out, err);
    rename_seed(report);
    return status;
}

void fb__headers_free(fb__headers *headers)
{
    fb__run_header_free(&headers->a);
    fb__run_header_free(&headers->b);
}

const fb_diff_candidate *fb__candidate_next(const fb_diff_report *report, size_t *at,
                                            const char *what, const char *prefix)
{
    while (*at < report->candidate_count) {
        const fb_diff_candidate *c = &report->candidates[(*at)++];

        if (strcmp(c->what, what) == 0 && strncmp(c->key, prefix, strlen(prefix)) == 0)
            return c;
    }
    return NULL;
}

bool fb__headers_same_files(const fb__headers *headers)
{
    if (headers->a.file_count != headers->b.file_count)
        return false;
    for (size_t i = 0; i < headers->a.file_count; i++)
        if (!fb_hash_equal(headers->a.files[i].hash, headers->b.files[i].hash))
            return false;
    return true;
}

/* A hash or commit says as much to a person in its first ten digits. */
static size_t shown_length(const char *text, size_t length)
{
    return length >= 32 && strspn(text, "0123456789abcdef") >= length ? 10 : length;
}

char *fb__json_plain(char *out, size_t size, const char *json)
{
    const size_t length = strlen(json);

    if (length >= 2 && json[0] == '"' && json[length - 1] == '"')
        (void)snprintf(out, size, "%.*s", (int)shown_length(json + 1, length - 2), json + 1);
    else
        (void)snprintf(out, size, "%s", json);
    return fb__make_printable(out);
}
