/* SPDX-License-Identifier: Apache-2.0
 *
 * override.c - the bank of overrides: finding one by name, putting it into a run.
 */
#include "engine/override/override.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "engine/run_state.h"

/* --- The bank --------------------------------------------------------------------------------- */

static const fb_override *const families[] = {
    fb__overrides_adam,   fb__overrides_sgd, fb__overrides_step,
    fb__overrides_passes, fb__overrides_ops, fb__overrides_data,
};

enum { FAMILIES = sizeof families / sizeof families[0] };

/* The entry at *index from this family on; NULL: it lies beyond, and *index has been lowered. */
static const fb_override *entry_of(const fb_override *family, size_t *index)
{
    for (; family->name != NULL; family++)
        if ((*index)-- == 0)
            return family;
    return NULL;
}

size_t fb_override_count(void)
{
    size_t count = 0;

    for (size_t f = 0; f < FAMILIES; f++)
        for (const fb_override *o = families[f]; o->name != NULL; o++)
            count++;
    return count;
}

const fb_override *fb_override_at(size_t index)
{
    for (size_t f = 0; f < FAMILIES; f++) {
        const fb_override *found = entry_of(families[f], &index);

        if (found != NULL)
            return found;
    }
    return NULL;
}

static const fb_override *find(const char *name, size_t length)
{
    for (size_t f = 0; f < FAMILIES; f++)
        for (const fb_override *o = families[f]; o->name != NULL; o++)
            if (strlen(o->name) == length && memcmp(o->name, name, length) == 0)
                return o;
    return NULL;
}

static fb_status take_number(uint64_t *out, const char *text, const char *spec, fb_error *err)
{
    *out = 0;
    for (const char *c = text; *c != '\0' || c == text; c++)
        if (*c < '0' || *c > '9' || *out > (UINT64_C(1) << 53) / 10)
            return fb__fail(err, FB_E_USAGE, FB_NO_OFFSET, "%s: expected an integer, got \"%s\"",
                            spec, text);
        else
            *out = 10 * *out + (uint64_t)(*c - '0');
    return FB_OK;
}

fb_status fb_override_parse(fb_override_use *out, const char *spec, fb_error *err)
{
    const size_t length = strcspn(spec, "=@");
    const char mark = spec[length], *rest = spec + length + (mark != '\0');
    fb_override_use use = {.what = find(spec, length)};

    if (use.what == NULL)
        return fb__fail(err, FB_E_USAGE, FB_NO_OFFSET,
                        "%s: no such override; docs/overrides.md lists them", spec);
    if (mark == '@' && (!use.what->takes_path || rest[0] == '\0'))
        return fb__fail(err, FB_E_USAGE, FB_NO_OFFSET, "%s: %s takes no path \"%s\"", spec,
                        use.what->name, rest);
    if (mark == '@' && strlen(rest) >= sizeof use.path)
        return fb__fail(err, FB_E_USAGE, FB_NO_OFFSET, "%s: the path is too long", spec);
    if (use.what->takes_number != (mark == '='))
        return fb__fail(err, FB_E_USAGE, FB_NO_OFFSET,
                        use.what->takes_number ? "%s: expected %s=NUMBER"
                                               : "%s: %s takes no number",
                        spec, use.what->name);
    if (mark == '@')
        memcpy(use.path, rest, strlen(rest) + 1);
    if (mark == '=') {
        const fb_status status = take_number(&use.number, rest, spec, err);

        if (status != FB_OK)
            return status;
    }
    *out = use;
    return FB_OK;
}

/* --- In a run --------------------------------------------------------------------------------- */

bool fb__override_is_for(const fb_run *run, const char *path)
{
    const char *wanted = run->override.use.path;

    return wanted[0] == '\0' || strcmp(wanted, path) == 0;
}

/* Entries that the override has; the others stay. */
static void replace(fb__formulas *to, const fb__formulas *with)
{
#define TAKE(entry)                                                                                \
    if (with->entry != NULL)                                                                       \
    to->entry = with->entry
    TAKE(learning_rate);
    TAKE(clip_coefficient);
    TAKE(mean_loss);
    TAKE(applies);
    TAKE(initialize);
    TAKE(load_state);
    TAKE(resume);
    TAKE(choose);
    TAKE(targets);
    TAKE(trains);
    TAKE(drops);
    TAKE(stream_step);
    TAKE(forward);
    TAKE(backward);
    TAKE(loss_divisor);
    TAKE(begin_passes);
    TAKE(end_pass);
    TAKE(end_passes);
    TAKE(norm);
    TAKE(clip);
    TAKE(begin_update);
    TAKE(update);
#undef TAKE
}

static fb_status allocate(fb_run *run, fb_error *err)
{
    fb__override_state *state = &run->override;
    const size_t count = run->model.vector_count + 1;

    state->kept[0] = calloc(count, sizeof(float));
    state->kept[1] = calloc(count, sizeof(float));
    state->order = calloc(run->order.count + 1, sizeof *state->order);
    if (state->kept[0] == NULL || state->kept[1] == NULL || state->order == NULL)
        return fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "out of memory for an override");
    return FB_OK;
}

fb_status fb__override_install(fb_run *run, const fb_override_use *use, fb_error *err)
{
    const fb__formulas *formulas = use->what->formulas;

    run->override.use = *use;
    if (formulas->applies != NULL && !formulas->applies(run))
        return fb__fail(err, FB_E_USAGE, FB_NO_OFFSET,
                        "override %s: this configuration has nothing that it changes",
                        use->what->name);
    if (use->path[0] != '\0' && fb__model_find_op(&run->model, use->path) == NULL)
        return fb__fail(err, FB_E_USAGE, FB_NO_OFFSET, "override %s: no layer \"%s\"",
                        use->what->name, use->path);
    replace(&run->formulas, formulas);
    run->report.touched = true; /* outputs change once their kernels are done */
    return allocate(run, err);
}

void fb__override_free(fb_run *run)
{
    free(run->override.kept[0]);
    free(run->override.kept[1]);
    free(run->override.order);
}
