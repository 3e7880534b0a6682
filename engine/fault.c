/* SPDX-License-Identifier: Apache-2.0
 *
 * fault.c - reads the text that asks for a planted fault.
 */
#include "engine/fault.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"

/* One KEY=VALUE of a fault. */
typedef struct item {
    const char *key;
    bool required;
    uint64_t high; /* numbers: the largest that is allowed */
    uint64_t *number;
    char *text; /* instead of a number */
    size_t text_size;
    bool seen;
} item;

enum { ITEMS_MAX = 6, VALUE_MAX = 256 };

static fb_status refuse(fb_error *err, const char *spec, const char *what, const char *part)
{
    return fb__fail(err, FB_E_USAGE, FB_NO_OFFSET, "%s: %s \"%s\"", spec, what, part);
}

static bool take_number(uint64_t *out, const char *text, uint64_t high)
{
    *out = 0;
    for (const char *c = text; *c != '\0'; c++)
        if (*c < '0' || *c > '9' || __builtin_mul_overflow(*out, 10, out) ||
            __builtin_add_overflow(*out, (uint64_t)(*c - '0'), out))
            return false;
    return text[0] != '\0' && *out <= high;
}

static fb_status take_value(item *to, const char *spec, const char *value, fb_error *err)
{
    if (to->seen)
        return refuse(err, spec, "given twice:", to->key);
    to->seen = true;
    if (to->text != NULL) {
        if (value[0] == '\0' || strlen(value) >= to->text_size)
            return fb__fail(err, FB_E_USAGE, FB_NO_OFFSET,
                            "%s: %s: expected 1 to %zu characters, got \"%s\"", spec, to->key,
                            to->text_size - 1, value);
        (void)snprintf(to->text, to->text_size, "%s", value);
        return FB_OK;
    }
    if (!take_number(to->number, value, to->high))
        return fb__fail(err, FB_E_USAGE, FB_NO_OFFSET,
                        "%s: %s: expected an integer from 0 to %llu, got \"%s\"", spec, to->key,
                        (unsigned long long)to->high, value);
    return FB_OK;
}

/* Reads "key=value,key=value" into items; a value reaches to the next comma. */
static fb_status take_items(item *items, size_t count, const char *spec, const char *at,
                            fb_error *err)
{
    while (*at != '\0') {
        char part[VALUE_MAX + 32];
        const size_t length = strcspn(at, ",");
        char *equals;
        size_t i = 0;
        fb_status status;

        if (length >= sizeof part)
            return fb__fail(err, FB_E_USAGE, FB_NO_OFFSET, "%s: a part is too long", spec);
        memcpy(part, at, length);
        part[length] = '\0';
        equals = strchr(part, '=');
        if (equals == NULL)
            return refuse(err, spec, "expected KEY=VALUE, got", part);
        *equals = '\0';
        while (i < count && strcmp(items[i].key, part) != 0)
            i++;
        if (i == count)
            return refuse(err, spec, "unknown key", part);
        status = take_value(&items[i], spec, equals + 1, err);
        if (status != FB_OK)
            return status;
        at += length;
        if (*at == ',' && *++at == '\0')
            return refuse(err, spec, "expected KEY=VALUE, got", "");
    }
    for (size_t i = 0; i < count; i++)
        if (items[i].required && !items[i].seen)
            return refuse(err, spec, "missing:", items[i].key);
    return FB_OK;
}

#define NUMBER(name, to, most)                                                                     \
    {                                                                                              \
        .key = name, .required = true, .number = to, .high = most                                  \
    }
#define TEXT(name, to)                                                                             \
    {                                                                                              \
        .key = name, .required = true, .text = to, .text_size = sizeof to                          \
    }

static fb_status parse_flip(fb_fault *out, const char *spec, const char *at, fb_error *err)
{
    uint64_t micro = 0, bit = 0;
    item items[ITEMS_MAX] = {NUMBER("step", &out->step, UINT32_MAX),
                             TEXT("path", out->path),
                             TEXT("slot", out->slot),
                             NUMBER("element", &out->element, INT64_MAX),
                             NUMBER("bit", &bit, 31),
                             {.key = "micro", .number = &micro, .high = INT32_MAX}};
    fb_status status = take_items(items, 6, spec, at, err);

    out->micro = (int64_t)micro;
    out->bit = (uint32_t)bit;
    if (status == FB_OK && strcmp(out->slot, "out") != 0 && strcmp(out->slot, "grad") != 0 &&
        strcmp(out->slot, "param") != 0)
        return refuse(err, spec, "slot: expected out, grad or param, got", out->slot);
    return status;
}

static fb_status parse_draw(fb_fault *out, const char *spec, const char *at, fb_error *err)
{
    uint64_t count = 1, silent = 0;
    item items[] = {NUMBER("step", &out->step, UINT32_MAX),
                    TEXT("stream", out->stream),
                    {.key = "count", .number = &count, .high = UINT32_MAX},
                    {.key = "silent", .number = &silent, .high = 1}};
    const fb_status status = take_items(items, 4, spec, at, err);

    if (status == FB_OK && count == 0)
        return fb__fail(err, FB_E_USAGE, FB_NO_OFFSET, "%s: count: expected at least 1", spec);
    out->count = count;
    out->silent = silent != 0;
    return status;
}

static fb_status parse_swap(fb_fault *out, const char *spec, const char *at, fb_error *err)
{
    item items[] = {NUMBER("step", &out->step, UINT32_MAX), NUMBER("i", &out->i, INT32_MAX),
                    NUMBER("j", &out->j, INT32_MAX)};
    fb_status status = take_items(items, 3, spec, at, err);

    if (status == FB_OK && out->i == out->j)
        return fb__fail(err, FB_E_USAGE, FB_NO_OFFSET, "%s: i and j are the same sample", spec);
    return status;
}

fb_status fb_fault_parse(fb_fault *out, const char *spec, fb_error *err)
{
    static const struct {
        const char *prefix;
        fb_status (*parse)(fb_fault *out, const char *spec, const char *at, fb_error *err);
    } kinds[] = {[FB_FAULT_FLIP] = {"flip:", parse_flip},
                 [FB_FAULT_DRAW] = {"draw:", parse_draw},
                 [FB_FAULT_SWAP] = {"swap:", parse_swap}};

    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        const size_t length = strlen(kinds[i].prefix);
        fb_fault fault = {.kind = (fb_fault_kind)i};
        fb_status status;

        if (strncmp(spec, kinds[i].prefix, length) != 0)
            continue;
        status = kinds[i].parse(&fault, spec, spec + length, err);
        if (status == FB_OK)
            *out = fault;
        return status;
    }
    return fb__fail(err, FB_E_USAGE, FB_NO_OFFSET, "%s: expected flip:..., draw:... or swap:...",
                    spec);
}
