/* SPDX-License-Identifier: Apache-2.0
 *
 * config_tree.c - from JSON text to a tree: what cJSON leaves unchecked is checked before it runs;
 * and the changes that --set makes to the tree.
 */
#include "engine/config_reader.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"

enum { VALUES_MAX = 2000000 }; /* of one text; a value costs cJSON 64 bytes */

/* --- Text ------------------------------------------------------------------------------------- */

/* Bytes of the UTF-8 character at `c`, 0 where there is none (RFC 3629: no overlong forms, no
 * surrogates, nothing above U+10FFFF). */
static size_t utf8_length(const unsigned char *c)
{
    const bool one = (c[0] != 0) && (c[1] & 0xc0) == 0x80;
    const bool two = one && (c[2] & 0xc0) == 0x80;
    const bool three = two && (c[3] & 0xc0) == 0x80;

    if (c[0] < 0x80)
        return 1;
    if (c[0] >= 0xc2 && c[0] <= 0xdf)
        return one ? 2 : 0;
    if ((c[0] & 0xf0) == 0xe0)
        return two && !(c[0] == 0xe0 && c[1] < 0xa0) && !(c[0] == 0xed && c[1] > 0x9f) ? 3 : 0;
    if (c[0] >= 0xf0 && c[0] <= 0xf4)
        return three && !(c[0] == 0xf0 && c[1] < 0x90) && !(c[0] == 0xf4 && c[1] > 0x8f) ? 4 : 0;
    return 0;
}

static fb_status fail_at(fb__reader *r, const char *text, const char *at, const char *what)
{
    size_t line = 1, column = 1;

    for (const char *c = text; c < at; c++) {
        column = *c == '\n' ? 1 : column + 1;
        line += *c == '\n';
    }
    return fb__fail(r->err, FB_E_CONFIG, (uint64_t)(at - text), "%s: line %zu, column %zu: %s",
                    r->name, line, column, what);
}

/* Bounds what parsing can cost, and refuses what a C string cannot hold. */
static fb_status check_text(fb__reader *r, const char *text)
{
    size_t depth = 0, values = 1;
    bool in_string = false;

    for (const char *c = text; *c != '\0';) {
        const size_t length = utf8_length((const unsigned char *)c);

        if (length == 0)
            return fail_at(r, text, c, "not valid UTF-8");
        if (in_string && *c == '\\') {
            if (strncmp(c + 1, "u0000", 5) == 0)
                return fail_at(r, text, c, "a string with a zero character");
            c += c[1] == '\\' || c[1] == '"' ? 2 : 1;
            continue;
        }
        if (*c == '"')
            in_string = !in_string;
        if (!in_string) {
            depth += *c == '[' || *c == '{';
            depth -= (*c == ']' || *c == '}') && depth > 0;
            values += *c == ',' || *c == '[' || *c == '{';
        }
        if (depth > FB__CONFIG_DEPTH_MAX)
            return fail_at(r, text, c, "nested more than 64 deep");
        if (values > VALUES_MAX)
            return fail_at(r, text, c, "more than 2000000 values");
        c += length;
    }
    return FB_OK;
}

fb_status fb__config_tree(cJSON **out, fb__reader *r, const char *text, bool lenient)
{
    const char *end = NULL;
    fb_status status = check_text(r, text);
    char what[64];

    *out = NULL;
    if (status != FB_OK)
        return status;
    *out = cJSON_ParseWithOpts(text, &end, true);
    if (*out != NULL || lenient)
        return FB_OK;
    if (end == NULL || *end == '\0')
        return fail_at(r, text, text + strlen(text), "not valid JSON, it ends early");
    (void)snprintf(what, sizeof what, "not valid JSON at '%c'", *end);
    return fail_at(r, text, end, what);
}

/* --- Changes ---------------------------------------------------------------------------------- */

/* One step of a path: a key, or an index in a list. */
typedef struct part {
    char key[128]; /* "" for an index */
    size_t index;
} part;

static fb_status set_fail(fb__reader *r, const fb_config_set *set, const char *what)
{
    return fb__fail(r->err, FB_E_CONFIG, FB_NO_OFFSET, "%s: --set %s: %s", r->name, set->path,
                    what);
}

/* Reads the part at *at and moves behind it; false where there is none. */
static bool next_part(part *out, const char **at, bool first)
{
    const char *c = *at;
    size_t length = 0;

    *out = (part){.key = ""};
    if (*c == '[') {
        char *end;

        if (first || c[1] < '0' || c[1] > '9')
            return false;
        out->index = strtoull(c + 1, &end, 10);
        *at = end + 1;
        return *end == ']';
    }
    if (!first && *c++ != '.')
        return false;
    length = strcspn(c, ".[]");
    if (length == 0 || length >= sizeof out->key)
        return false;
    memcpy(out->key, c, length);
    out->key[length] = '\0';
    *at = c + length;
    return true;
}

/* Puts `item` (owned, may be NULL when memory is out) in the place of old. */
static cJSON *replace(cJSON *parent, cJSON *old, const char *key, cJSON *item)
{
    bool done;

    if (item == NULL)
        return NULL;
    if (old == NULL)
        done = cJSON_AddItemToObject(parent, key, item);
    else if (cJSON_IsObject(parent)) /* by key, so that the new item carries it */
        done = cJSON_ReplaceItemInObjectCaseSensitive(parent, key, item);
    else
        done = cJSON_ReplaceItemViaPointer(parent, old, item);
    if (!done)
        cJSON_Delete(item);
    return done ? item : NULL;
}

/* "cosine" becomes {"cosine": {}} when a path goes on into it. */
static cJSON *opened(const cJSON *old, const char *key)
{
    cJSON *object = cJSON_CreateObject();

    if (object != NULL && cJSON_IsString(old) && strcmp(old->valuestring, key) == 0 &&
        cJSON_AddObjectToObject(object, key) == NULL) {
        cJSON_Delete(object);
        return NULL;
    }
    return object;
}

/* The item that `p` names in `node`; *found is NULL where the key is new. */
static fb_status find_part(fb__reader *r, const fb_config_set *set, cJSON *node, const part *p,
                           cJSON **found)
{
    if (p->key[0] != '\0') {
        if (!cJSON_IsObject(node))
            return set_fail(r, set, "no such key: what stands before it is no object");
        *found = cJSON_GetObjectItemCaseSensitive(node, p->key);
        return FB_OK;
    }
    if (!cJSON_IsArray(node))
        return set_fail(r, set, "no such index: what stands before it is no list");
    *found = p->index > INT32_MAX ? NULL : cJSON_GetArrayItem(node, (int)p->index);
    return *found != NULL ? FB_OK : set_fail(r, set, "the index is beyond the end of the list");
}

static fb_status apply_at(fb__reader *r, cJSON *tree, const fb_config_set *set, cJSON *value)
{
    const char *at = set->path;
    cJSON *parent = tree;
    bool first = true;

    for (;;) {
        cJSON *found = NULL;
        part p, after;
        fb_status status;

        if (!next_part(&p, &at, first)) {
            cJSON_Delete(value);
            return set_fail(r, set, "expected a path such as model[0].linear.out");
        }
        first = false;
        status = find_part(r, set, parent, &p, &found);
        if (status != FB_OK) {
            cJSON_Delete(value);
            return status;
        }
        if (*at == '\0')
            return replace(parent, found, p.key, value) != NULL ? FB_OK : fb__config_no_memory(r);

        const char *ahead = at;
        const bool goes_on = next_part(&after, &ahead, false);
        if (found == NULL || (goes_on && (cJSON_IsNull(found) || cJSON_IsString(found))))
            found = replace(parent, found, p.key, opened(found, after.key));
        if (found == NULL) {
            cJSON_Delete(value);
            return fb__config_no_memory(r);
        }
        parent = found;
    }
}

fb_status fb__config_set_apply(fb__reader *r, cJSON *tree, const fb_config_set *set)
{
    cJSON *value = NULL;
    fb_status status = fb__config_tree(&value, r, set->value, true);

    if (status != FB_OK)
        return fb__fail(r->err, FB_E_CONFIG, FB_NO_OFFSET,
                        "%s: --set %s: the value is not valid UTF-8, has a zero character or is "
                        "too large",
                        r->name, set->path);
    if (!cJSON_IsObject(tree))
        status = set_fail(r, set, "the configuration is no object");
    else if (value == NULL && (value = cJSON_CreateString(set->value)) == NULL)
        status = fb__config_no_memory(r);
    if (status != FB_OK) {
        cJSON_Delete(value);
        return status;
    }
    return apply_at(r, tree, set, value);
}
