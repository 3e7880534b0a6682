/* SPDX-License-Identifier: Apache-2.0
 *
 * header_json.c - puts the caller's facts and the environment's into one document.
 */
#include "tracer/header_json.h"

#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "tracer/environment.h"
#include "tracer/format.h"

/* The caller knows better where both say something. */
static bool add_environment(cJSON *document)
{
    cJSON *given = cJSON_GetObjectItemCaseSensitive(document, "environment");
    cJSON *found = fb__environment();

    if (found == NULL)
        return false;
    if (!cJSON_IsObject(given)) {
        cJSON_DeleteItemFromObjectCaseSensitive(document, "environment");
        if (cJSON_AddItemToObject(document, "environment", found))
            return true;
        cJSON_Delete(found);
        return false;
    }
    while (found->child != NULL) {
        cJSON *item = cJSON_DetachItemViaPointer(found, found->child);

        if (cJSON_HasObjectItem(given, item->string) ||
            !cJSON_AddItemToObject(given, item->string, item))
            cJSON_Delete(item);
    }
    cJSON_Delete(found);
    return true;
}

fb_status fb__header_json(char **out, const char *object, fb_error *err)
{
    cJSON *document = object == NULL ? cJSON_CreateObject() : cJSON_Parse(object);
    char *text;

    if (!cJSON_IsObject(document)) {
        cJSON_Delete(document);
        return fb__fail(err, object == NULL ? FB_E_MEMORY : FB_E_USAGE, FB_NO_OFFSET,
                        "the header of a trace must be a JSON object");
    }
    text = add_environment(document) ? cJSON_PrintUnformatted(document) : NULL;
    cJSON_Delete(document);
    if (text == NULL)
        return fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "out of memory");
    if (strlen(text) > FB_HEADER_JSON_MAX) {
        free(text);
        return fb__fail(err, FB_E_LIMIT, FB_NO_OFFSET, "a trace header of more than %d bytes",
                        FB_HEADER_JSON_MAX);
    }
    *out = text;
    return FB_OK;
}
