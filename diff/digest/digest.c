/* SPDX-License-Identifier: Apache-2.0
 *
 * digest.c - a digest made from a trace: which steps it names, and what it says of the run.
 */
#include "diff/digest/digest.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/hash.h"
#include "diff/digest/digest_state.h"
#include "engine/files/json.h"
#include "replay/trace_header.h"

/* --- Which steps -------------------------------------------------------------------------------
 */

/* Powers of two tell early steps apart and are common to runs of any length; even spacing bounds
 * the range of a late difference to a sixteenth of the run. Steps ascend, none is named twice. */
static size_t choose_steps(uint64_t out[FB_DIGEST_STEPS_MAX], uint64_t first, uint64_t last)
{
    enum { EVEN = 16, POWERS = FB_DIGEST_STEPS_MAX - EVEN - 2 };
    uint64_t power = 1, even = 1;
    size_t count = 0;

    out[count++] = first;
    for (int powers = 0; count < FB_DIGEST_STEPS_MAX - 1;) {
        const bool power_left = powers < POWERS && power < last;
        const uint64_t next_even =
            even < EVEN ? first + (last - first) / EVEN * even + (last - first) % EVEN * even / EVEN
                        : last;
        uint64_t next = power_left && power < next_even ? power : next_even;

        if (next >= last)
            break;
        if (power_left && power == next) {
            power *= 2;
            powers++;
        }
        if (next == next_even)
            even++;
        if (next > out[count - 1])
            out[count++] = next;
    }
    if (last > first)
        out[count++] = last;
    return count;
}

/* --- Chains ------------------------------------------------------------------------------------
 */

static void take_pattern(fb_digest *d, const fb_trace_step *step)
{
    for (int c = 0; c < FB_DIGEST_CLASSES; c++) {
        uint64_t words[3] = {d->classes[c].pattern.lo, d->classes[c].pattern.hi, step->step};

        if ((step->classes & 1u << c) == 0)
            continue;
        d->classes[c].recorded++;
        d->classes[c].pattern = fb_hash_bytes(words, sizeof words);
    }
}

/* Goes through all finished steps up to `last`, keeps those that are asked for. */
static fb_status take_steps(fb_digest *d, fb_trace *t, const uint64_t *wanted, size_t count,
                            uint64_t last, fb_digest_progress progress, void *argument,
                            fb_error *err)
{
    size_t next = 0;

    for (uint64_t at = 0;;) {
        fb_trace_step step;
        fb_error failure;
        const fb_status status = fb_trace_find_step(t, at, &step, &failure);

        if (status == FB_E_NOT_FOUND || (status == FB_OK && step.step > last))
            return FB_OK;
        if (status != FB_OK) {
            if (err != NULL)
                *err = failure;
            return status;
        }
        take_pattern(d, &step);
        d->steps++;
        d->last_step = step.step;
        d->events = step.first_event + step.events;
        while (next < count && wanted[next] < step.step)
            next++;
        if (next < count && wanted[next] == step.step) {
            fb_digest_step *kept = &d->at[d->at_count++];

            kept->step = step.step;
            memcpy(kept->chain, step.chain, sizeof kept->chain);
        }
        if (progress != NULL)
            progress(argument, step.step, last);
        at = step.step + 1;
    }
}

/* --- Facts -------------------------------------------------------------------------------------
 */

/* One line of printable ASCII. False where memory is out: a digest says all or is none. */
static bool put_fact(fb_digest *d, const char *prefix, const cJSON *item)
{
    char *text, *fact;

    if (d->fact_count == FB_DIGEST_FACTS_MAX)
        return true;
    text = cJSON_IsString(item) ? strdup(item->valuestring) : fb__json_print(item);
    if (text == NULL)
        return false;
    fact = d->facts[d->fact_count++];
    (void)snprintf(fact, sizeof d->facts[0], "%s%.40s: %s", prefix, item->string, text);
    for (char *p = fact; *p != '\0'; p++)
        if (*p < 0x20 || *p > 0x7e)
            *p = '?';
    free(text);
    return true;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(a, b);
}

/* What may change bits where no contract fixes them. */
static bool take_facts(fb_digest *d, const cJSON *environment)
{
    static const char *const keys[] = {"cpu", "fpenv", "isa", "kernels", "machine", "threads"};
    const cJSON *libraries = cJSON_GetObjectItemCaseSensitive(environment, "libraries"), *library;
    bool whole = true;

    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        const cJSON *item = cJSON_GetObjectItemCaseSensitive(environment, keys[i]);
        if (item != NULL)
            whole &= put_fact(d, "", item);
    }
    cJSON_ArrayForEach(library, libraries)
    {
        if (library->string != NULL)
            whole &= put_fact(d, "library ", library);
    }
    qsort(d->facts, d->fact_count, sizeof d->facts[0], by_text);
    return whole;
}

static bool take_configuration(fb_digest *d, const cJSON *configuration)
{
    char *text = configuration == NULL ? NULL : fb__json_print(configuration);

    if (text != NULL)
        d->configuration = fb_hash_bytes(text, strlen(text));
    free(text);
    return configuration == NULL || text != NULL;
}

static fb_status take_header(fb_digest *d, const fb_trace *t, const char *path, fb_error *err)
{
    fb__run_header header;
    fb_status status = fb__run_header_read(&header, fb_trace_get_info(t)->header, path, err);

    if (status == FB_OK) {
        d->contract = header.has_contract ? header.contract : 0;
        d->exact = d->contract > 0 && !fb__run_header_is_openblas(&header);
        if (!take_facts(d, cJSON_GetObjectItemCaseSensitive(header.json, "environment")) ||
            !take_configuration(d, header.configuration))
            status = fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "%s: out of memory", path);
    }
    fb__run_header_free(&header);
    return status;
}

/* The mark that ends a run lies among the events of its last step. */
static fb_status take_final_hash(fb_digest *d, fb_trace *t, fb_error *err)
{
    const fb_event *e;
    fb_status status = fb_trace_seek(t, d->last_step, err);

    while (status == FB_OK && (status = fb_trace_next(t, &e, NULL, err)) == FB_OK && e != NULL) {
        const fb_site *site = fb_trace_site(t, e->site);
        fb_hash hash;

        if (site->kind == FB_KIND_MARK && strcmp(site->slot, "final_hash") == 0 &&
            e->text != NULL && fb_hash_of_hex(&hash, e->text))
            d->final_hash = hash;
    }
    return status;
}

/* --- A trace -----------------------------------------------------------------------------------
 */

fb_status fb__digest_of_open(fb_digest *out, fb_trace *t, const char *path, const fb_digest *like,
                             fb_digest_progress progress, void *argument, fb_error *err)
{
    const fb_trace_info *info = fb_trace_get_info(t);
    uint64_t wanted[FB_DIGEST_STEPS_MAX];
    size_t count = 0;
    fb_status status;

    memset(out, 0, sizeof *out);
    if (info->steps == 0)
        return fb__fail(err, FB_E_DATA, FB_NO_OFFSET, "%s: no step has ended", path);
    out->level = info->level;
    out->first_step = info->first_step;
    out->complete = info->status == FB_TRACE_COMPLETE;
    if (like == NULL)
        count = choose_steps(wanted, info->first_step, info->last_step);
    for (size_t i = 0; like != NULL && i < like->at_count; i++)
        wanted[count++] = like->at[i].step;
    status = take_header(out, t, path, err);
    if (status == FB_OK)
        status = take_steps(out, t, wanted, count, like == NULL ? info->last_step : like->last_step,
                            progress, argument, err);
    return status == FB_OK ? take_final_hash(out, t, err) : status;
}

fb_status fb_digest_of_trace(fb_digest *out, const char *path, fb_digest_progress progress,
                             void *argument, fb_error *err)
{
    fb_trace_info info;
    fb_error damage;
    fb_trace *t;
    fb_status status = fb_trace_open(&t, path, err);

    if (status != FB_OK)
        return status;
    status = fb_trace_verify(&info, t, NULL, NULL, &damage);
    if (status != FB_OK || info.status == FB_TRACE_CORRUPT) {
        if (err != NULL)
            *err = damage;
        fb_trace_close(t);
        return status != FB_OK ? status : FB_E_CORRUPT;
    }
    status = fb__digest_of_open(out, t, path, NULL, progress, argument, err);
    fb_trace_close(t);
    return status;
}
