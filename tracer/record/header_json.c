/* SPDX-License-Identifier: Apache-2.0
 *
 * header_json.c - puts the caller's facts and the environment's into one document.
 */
#include "tracer/record/header_json.h"

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/error.h"
#include "tracer/record/environment.h"
#include "tracer/format/format.h"

/* --- The caller's members, each as its own text ------------------------------------------------
 *
 * Numbers must not lose a bit, so the document is never printed from its parsed form. The scanner
 * below walks text that cJSON has accepted: all brackets and quotes match.
 */

static const char *skip_space(const char *s)
{
    return s + strspn(s, " \t\r\n");
}

static const char *skip_string(const char *s)
{
    for (s++; *s != '"' && *s != '\0'; s++)
        if (*s == '\\' && s[1] != '\0')
            s++;
    return *s == '\0' ? s : s + 1;
}

/* Past the value that begins at s: up to the comma or bracket behind it. */
static const char *skip_value(const char *s)
{
    int depth = 0;

    while (*s != '\0') {
        if (*s == '"') {
            s = skip_string(s);
            continue;
        }
        if (depth == 0 && (*s == ',' || *s == '}'))
            break;
        depth += (*s == '{' || *s == '[') - (*s == '}' || *s == ']');
        s++;
    }
    return s;
}

static bool is_member(const char *s, const char *name)
{
    return strncmp(s + 1, name, strlen(name)) == 0 && s[1 + strlen(name)] == '"';
}

/* Appends the members of `object` except "environment" and, where it is told anew, "recording",
 * each followed by a comma. */
static void put_members(fb_buffer *out, const char *object, bool recording)
{
    const char *s = skip_space(skip_space(object) + 1);

    while (*s == '"') {
        const char *end = skip_value(s);

        if (!is_member(s, "environment") && !(recording && is_member(s, "recording"))) {
            fb_buffer_append(out, s, (size_t)(end - s));
            fb_buffer_u8(out, ',');
        }
        s = skip_space(*end == ',' ? end + 1 : end);
    }
}

/* --- The environment ---------------------------------------------------------------------------
 */

/* The caller's environment and ours, whose members give way. NULL when memory is out. */
static cJSON *merge_environment(const cJSON *given)
{
    cJSON *merged = cJSON_IsObject(given) ? cJSON_Duplicate(given, true) : cJSON_CreateObject();
    cJSON *found = fb__environment();

    if (merged == NULL || found == NULL) {
        cJSON_Delete(merged);
        cJSON_Delete(found);
        return NULL;
    }
    while (found->child != NULL) {
        cJSON *item = cJSON_DetachItemViaPointer(found, found->child);

        if (cJSON_HasObjectItem(merged, item->string) ||
            !cJSON_AddItemToObject(merged, item->string, item))
            cJSON_Delete(item);
    }
    cJSON_Delete(found);
    return merged;
}

static char *environment_text(const cJSON *document)
{
    const cJSON *given = cJSON_GetObjectItemCaseSensitive(document, "environment");
    cJSON *merged;
    char *text;

    if (cJSON_IsNull(given)) /* the caller wants none */
        return strdup("null");
    merged = merge_environment(given);
    text = merged == NULL ? NULL : cJSON_PrintUnformatted(merged);

    cJSON_Delete(merged);
    return text;
}

fb_status fb__header_json(char **out, const char *object, const char *recording, fb_error *err)
{
    const char *given = object == NULL ? "{}" : object;
    cJSON *document = cJSON_ParseWithOpts(given, NULL, true);
    fb_buffer text = {0};
    char *environment;

    if (!cJSON_IsObject(document)) {
        cJSON_Delete(document);
        return fb__fail(err, FB_E_USAGE, FB_NO_OFFSET,
                        "the header of a trace must be a JSON object");
    }
    environment = environment_text(document);
    cJSON_Delete(document);
    fb_buffer_u8(&text, '{');
    put_members(&text, given, recording != NULL);
    if (recording != NULL) {
        fb_buffer_append(&text, "\"recording\":", strlen("\"recording\":"));
        fb_buffer_append(&text, recording, strlen(recording));
        fb_buffer_u8(&text, ',');
    }
    fb_buffer_append(&text, "\"environment\":", strlen("\"environment\":"));
    if (environment != NULL)
        fb_buffer_append(&text, environment, strlen(environment));
    fb_buffer_append(&text, "}", 2);
    if (environment == NULL || text.failed || text.count - 1 > FB_HEADER_JSON_MAX) {
        const bool no_memory = environment == NULL || text.failed;

        free(environment);
        fb_buffer_free(&text);
        return no_memory ? fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "out of memory")
                         : fb__fail(err, FB_E_LIMIT, FB_NO_OFFSET,
                                    "a trace header of more than %d bytes", FB_HEADER_JSON_MAX);
    }
    free(environment);
    *out = (char *)text.data;
    return FB_OK;
}
