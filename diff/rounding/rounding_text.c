/* SPDX-License-Identifier: Apache-2.0
 *
 * rounding_text.c - what a comparison by the rounding rules says besides: pairs, sizes, growth. As
 * lines for a terminal, and as a JSON object.
 */
#include "diff/rounding/rounding_text.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static char *number_text(char out[32], double x)
{
    if (isnan(x))
        (void)snprintf(out, 32, "?");
    else
        (void)snprintf(out, 32, "%.2g", x);
    return out;
}

void fb__rounding_pairs_text(char *out, size_t size, const fb_diff_rounding *r)
{
    (void)snprintf(out, size,
                   "%" PRIu64 " of %" PRIu64 " parameters, %" PRIu64 " of %" PRIu64
                   " outputs, gradients and updates of a step",
                   r->params_paired, r->params, r->boundaries_paired, r->boundaries);
}

void fb__rounding_size_text(char *out, size_t size, const fb_diff_rounding *r)
{
    char relative[32], ratio[32];

    (void)snprintf(out, size, "%s relative, %s times what rounding may do",
                   number_text(relative, r->relative), number_text(ratio, r->ratio));
}

void fb__rounding_growth_text(char *out, size_t size, const fb_diff_rounding *r)
{
    const fb_diff_step_size *first = &r->sizes[0], *last = &r->sizes[r->size_count - 1];
    char x[32], y[32], z[32];

    out[0] = '\0';
    if (r->size_count == 0)
        return;
    if (r->size_count == 1)
        (void)snprintf(out, size,
                       "parameters %s relative after step %" PRIu64 " (envelope %s), loss %s",
                       number_text(x, first->parameters), first->step,
                       number_text(y, first->envelope), number_text(z, first->loss));
    else
        (void)snprintf(out, size,
                       "parameters %s relative after step %" PRIu64 ", %s after step %" PRIu64
                       " (envelope %s)",
                       number_text(x, first->parameters), first->step,
                       number_text(y, last->parameters), last->step,
                       number_text(z, last->envelope));
}

static void add_number(cJSON *object, const char *key, double x)
{
    if (isnan(x))
        cJSON_AddNullToObject(object, key);
    else if (isinf(x))
        cJSON_AddStringToObject(object, key, x > 0 ? "inf" : "-inf");
    else
        cJSON_AddNumberToObject(object, key, x);
}

static void add_pair(cJSON *object, const char *key, uint64_t paired, uint64_t all)
{
    cJSON *array = cJSON_AddArrayToObject(object, key);

    cJSON_AddItemToArray(array, cJSON_CreateNumber((double)paired));
    cJSON_AddItemToArray(array, cJSON_CreateNumber((double)all));
}

static void add_list(cJSON *object, const char *key, const fb_diff_list *list)
{
    cJSON *array = cJSON_AddArrayToObject(object, key);

    for (size_t i = 0; i < list->count; i++)
        cJSON_AddItemToArray(array, cJSON_CreateString(list->at[i]));
}

static void add_pairs(cJSON *object, const fb_diff_list *pairs)
{
    cJSON *array = cJSON_AddArrayToObject(object, "pairs");

    for (size_t i = 0; i + 2 < pairs->count; i += 3) {
        cJSON *o = cJSON_CreateObject();

        cJSON_AddStringToObject(o, "a", pairs->at[i]);
        cJSON_AddStringToObject(o, "b", pairs->at[i + 1]);
        cJSON_AddStringToObject(o, "how", pairs->at[i + 2]);
        cJSON_AddItemToArray(array, o);
    }
}

void fb__rounding_json(cJSON *object, const fb_diff_rounding *r)
{
    char text[3 * FB_NAME_MAX + 128];
    cJSON *o, *sizes;

    if (!r->used) {
        cJSON_AddNullToObject(object, "rounding");
        return;
    }
    o = cJSON_AddObjectToObject(object, "rounding");
    add_pair(o, "parameters", r->params_paired, r->params);
    add_pair(o, "boundaries", r->boundaries_paired, r->boundaries);
    add_list(o, "not_paired_a", &r->unpaired_a);
    add_list(o, "not_paired_b", &r->unpaired_b);
    add_pairs(o, &r->pairs);
    cJSON_AddStringToObject(o, "envelope", r->envelope);
    cJSON_AddNumberToObject(o, "compared", (double)r->compared);
    cJSON_AddNumberToObject(o, "equal", (double)r->equal);
    add_number(o, "largest", r->largest);
    if (r->has_largest)
        cJSON_AddStringToObject(o, "largest_at",
                                fb_event_name_text(text, sizeof text, &r->largest_at));
    else
        cJSON_AddNullToObject(o, "largest_at");
    add_number(o, "relative", r->has_size ? r->relative : (double)NAN);
    add_number(o, "ratio", r->has_size ? r->ratio : (double)NAN);
    if (r->has_name_b)
        cJSON_AddStringToObject(o, "name_b", fb_event_name_text(text, sizeof text, &r->name_b));
    else
        cJSON_AddNullToObject(o, "name_b");
    sizes = cJSON_AddArrayToObject(o, "growth");
    for (size_t i = 0; i < r->size_count; i++) {
        cJSON *s = cJSON_CreateObject();

        cJSON_AddNumberToObject(s, "step", (double)r->sizes[i].step);
        add_number(s, "parameters", r->sizes[i].parameters);
        add_number(s, "loss", r->sizes[i].loss);
        add_number(s, "envelope", r->sizes[i].envelope);
        cJSON_AddItemToArray(sizes, s);
    }
}
