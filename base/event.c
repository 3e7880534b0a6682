/* SPDX-License-Identifier: Apache-2.0
 *
 * event.c - names and classes of the event model.
 */
#include "firstbit/event.h"

#include <string.h>

/* A list of event.h becomes a table once, and both directions read that table. */
typedef struct named {
    int number;
    const char *name;
} named;

#define NAMED(prefix, name, number, text) {number, text},
#define NAMED_PHASE(name, number, text)   NAMED(PHASE, name, number, text)
static const named phases[] = {FB_PHASE_LIST(NAMED_PHASE)};
static const named kinds[] = {FB_KIND_LIST(NAMED_PHASE)};
static const named roles[] = {FB_ROLE_LIST(NAMED_PHASE)};
static const named classes[] = {FB_CLASS_LIST(NAMED_PHASE)};
static const named levels[] = {FB_LEVEL_LIST(NAMED_PHASE)};
#undef NAMED_PHASE
#define NAMED_DTYPE(name, number, text, bytes) NAMED(DTYPE, name, number, text)
static const named dtypes[] = {FB_DTYPE_LIST(NAMED_DTYPE)};
#undef NAMED_DTYPE
#undef NAMED

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

static const char *name_of(const named *table, size_t count, int number)
{
    for (size_t i = 0; i < count; i++)
        if (table[i].number == number)
            return table[i].name;
    return "?";
}

static int number_of(const named *table, size_t count, const char *name, int missing)
{
    for (size_t i = 0; i < count; i++)
        if (name != NULL && strcmp(table[i].name, name) == 0)
            return table[i].number;
    return missing;
}

const char *fb_phase_name(fb_phase phase)
{
    return name_of(phases, COUNT_OF(phases), (int)phase);
}

const char *fb_kind_name(fb_kind kind)
{
    return name_of(kinds, COUNT_OF(kinds), (int)kind);
}

const char *fb_role_name(fb_role role)
{
    return name_of(roles, COUNT_OF(roles), (int)role);
}

const char *fb_dtype_name(fb_dtype dtype)
{
    return name_of(dtypes, COUNT_OF(dtypes), (int)dtype);
}

const char *fb_class_name(fb_class c)
{
    return name_of(classes, COUNT_OF(classes), (int)c);
}

const char *fb_level_name(fb_level level)
{
    return name_of(levels, COUNT_OF(levels), (int)level);
}

fb_phase fb_phase_of(const char *name)
{
    return (fb_phase)number_of(phases, COUNT_OF(phases), name, 0);
}

fb_kind fb_kind_of(const char *name)
{
    return (fb_kind)number_of(kinds, COUNT_OF(kinds), name, 0);
}

fb_dtype fb_dtype_of(const char *name)
{
    return (fb_dtype)number_of(dtypes, COUNT_OF(dtypes), name, 0);
}

fb_level fb_level_of(const char *name)
{
    return (fb_level)number_of(levels, COUNT_OF(levels), name, 0);
}

int fb_role_of(const char *name)
{
    return number_of(roles, COUNT_OF(roles), name, -1);
}

size_t fb_dtype_bytes(fb_dtype dtype)
{
    switch (dtype) {
    case FB_DTYPE_NONE:
        return 0;
#define DTYPE_BYTES(name, number, text, bytes)                                                     \
    case FB_DTYPE_##name:                                                                          \
        return bytes;
        FB_DTYPE_LIST(DTYPE_BYTES)
#undef DTYPE_BYTES
    }
    return 0;
}

fb_class fb_site_class(const fb_site *site)
{
    if (site->note || site->phase == FB_PHASE_EVAL || site->phase == FB_PHASE_CHECKPOINT)
        return FB_CLASS_NOTES;
    switch (site->kind) {
    case FB_KIND_SCALAR:
        return FB_CLASS_SCALARS;
    case FB_KIND_DRAW:
    case FB_KIND_SAMPLE:
    case FB_KIND_SEED:
    case FB_KIND_MODE:
        return FB_CLASS_DATA;
    case FB_KIND_PARAM:
        return FB_CLASS_STATE;
    case FB_KIND_TENSOR:
    case FB_KIND_COLLECTIVE:
        return FB_CLASS_OPS;
    case FB_KIND_NONE:
    case FB_KIND_CHECKPOINT:
    case FB_KIND_MARK:
        break;
    }
    return FB_CLASS_NOTES;
}

uint32_t fb_level_classes(fb_level level)
{
    const uint32_t steps = 1u << FB_CLASS_SCALARS | 1u << FB_CLASS_NOTES;
    const uint32_t draws = steps | 1u << FB_CLASS_DATA;
    const uint32_t ops = draws | 1u << FB_CLASS_STATE | 1u << FB_CLASS_OPS;

    switch (level) {
    case FB_LEVEL_NONE:
        return 0;
    case FB_LEVEL_STEPS:
        return steps;
    case FB_LEVEL_DRAWS:
        return draws;
    case FB_LEVEL_OPS:
    case FB_LEVEL_SKETCH:
    case FB_LEVEL_VALUES:
        return ops;
    }
    return 0;
}
