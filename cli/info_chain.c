/* SPDX-License-Identifier: Apache-2.0
 *
 * info_chain.c - the chain of files of one training, for people and as JSON.
 */
#include "cli/info_chain.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/output.h"
#include "cli/train_plan.h"

/* How a file is called: as it is found, else as it was recorded. */
static const char *name_of(const fb_trace_link *link)
{
    if (link->path != NULL)
        return cli_base_name(link->path);
    return link->name != NULL ? link->name : "a trace of unknown name";
}

static void print_link(const fb_trace_link *link)
{
    char hex[33];

    cli_put(stdout, name_of(link));
    if (link->path == NULL) {
        fputs(", not found", stdout);
        if (link->has_id)
            printf(" (id %s)", cli_hash(hex, link->id));
        putchar('\n');
        return;
    }
    /* What a resumed run loads belongs to the step before its own first one. */
    const uint64_t first = link->resumed ? link->resumed_step + 1 : 1;
    if (link->last_step >= first)
        printf(", steps %" PRIu64 " to %" PRIu64, first, link->last_step);
    else
        fputs(", no finished step", stdout);
    if (link->status != FB_TRACE_COMPLETE)
        printf(", %s", fb_trace_status_name(link->status));
    if (link->resumed)
        printf(", from the checkpoint of step %" PRIu64, link->resumed_step);
    putchar('\n');
}

void cli_info_chain_print(const fb_trace_chain *chain, const char *label, int width)
{
    for (size_t i = chain->count; i-- > 0 && chain->count > 1;) {
        printf("%-*s", width, i + 1 == chain->count ? label : "");
        print_link(&chain->links[i]);
    }
}

static void put_link(cJSON *array, const fb_trace_link *link)
{
    cJSON *object = cJSON_CreateObject();
    const bool found = link->path != NULL;

    cJSON_AddItemToArray(array, object);
    cli_json_text(object, "file", found || link->name != NULL ? name_of(link) : NULL);
    cJSON_AddBoolToObject(object, "found", found);
    if (link->has_id)
        cli_json_hash(object, "id", link->id);
    else
        cJSON_AddNullToObject(object, "id");
    cli_json_text(object, "status", found ? fb_trace_status_name(link->status) : NULL);
    if (found && link->first_step <= link->last_step) {
        cli_json_count(object, "first_step", link->first_step);
        cli_json_count(object, "last_step", link->last_step);
    } else {
        cJSON_AddNullToObject(object, "first_step");
        cJSON_AddNullToObject(object, "last_step");
    }
    if (link->resumed)
        cli_json_count(object, "resumed_step", link->resumed_step);
    else
        cJSON_AddNullToObject(object, "resumed_step");
}

void cli_info_chain_json(cJSON *object, const fb_trace_chain *chain)
{
    cJSON *array = cJSON_AddArrayToObject(object, "chain");

    for (size_t i = chain->count; i-- > 0;)
        put_link(array, &chain->links[i]);
}
