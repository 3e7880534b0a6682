/* SPDX-License-Identifier: Apache-2.0
 *
 * config_tree.c - from JSON text to a tree, and the changes that --set makes to it.
 */
#include "engine/config/config_reader.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "engine/files/json.h"

/* --- Text ------------------------------------------------------------------------------------- */

fb_status fb__config_tree(cJSON **out, fb__reader *r, const char *text)
{
    fb__json_fault fault;

    *out = fb__json_parse(text, &fault);
    if (*out != NULL)
        return FB_OK;
    if (fault.no_memory)
        return fb__config_no_memory(r);
    return fb__fail(r->err, FB_E_CONFIG, fault.offset, "%s: line %zu, column %zu: %s", r->name,
                    fault.line, fault.column, fault.what);
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

/* Puts `replacement` (owned; NULL when memory is out) in the place of `item`, or adds it where
 * that is NULL. */
static cJSON *replace(cJSON *parent, cJSON *item, const char *key, cJSON *replacement)
{
    bool done;

    if (replacement == NULL)
        return NULL;
    if (item == NULL) {
        done = cJSON_AddItemToObject(parent, key, replacement);
    } else { /* the key moves over, which takes no memory; in a list it is NULL */
        replacement->string = item->string;
        item->string = NULL;
        done = cJSON_ReplaceItemViaPointer(parent, item, replacement);
    }
    if (!done)
        cJSON_Delete(replacement);
    return done ? replacement : NULL;
}

/* "cosine" becomes {"cosine": {}} when a path goes on into it. */
static cJSON *opened(const cJSON *old, const char *key)
{
    cJSON *object = cJSON_CreateObject();

    if (object != NULL && old != NULL && cJSON_IsString(old) &&
        strcmp(old->valuestring, key) == 0 && cJSON_AddObjectToObject(object, key) == NULL) {
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
        if (found == NULL || (goes_on && cJSON_IsString(found)))
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
    fb__json_fault fault = {.no_memory = false};
    cJSON *value = fb__json_parse(set->value, &fault);
    fb_status status = FB_OK;

    if (fault.no_memory)
        return fb__config_no_memory(r);
    if (!fb__json_is_utf8(set->value))
        return set_fail(r, set, "the value is not valid UTF-8");
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
