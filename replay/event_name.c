/* SPDX-License-Identifier: Apache-2.0
 *
 * event_name.c - events as names and as lines of text.
 */
#include "replay/event_name.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

static void copy_name(char out[FB_NAME_MAX + 1], const char *name)
{
    (void)snprintf(out, FB_NAME_MAX + 1, "%s", name == NULL ? "" : name);
}

void fb_event_name_of(fb_event_name *out, const fb_site *site, const fb_event *event)
{
    out->step = event->step;
    out->micro = event->micro;
    out->phase = site->phase;
    out->kind = site->kind;
    out->occurrence = site->occurrence;
    copy_name(out->path, site->path);
    copy_name(out->op, site->op);
    copy_name(out->slot, site->slot);
}

fb_hash fb_event_name_hash(const fb_event_name *name)
{
    const fb_site site = {.size = sizeof site,
                          .phase = name->phase,
                          .path = name->path,
                          .op = name->op,
                          .slot = name->slot,
                          .occurrence = name->occurrence};

    return fb_identity_hash(fb_site_hash(&site), name->step, name->micro);
}

char *fb__make_printable(char *text)
{
    for (char *c = text; *c != '\0'; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            *c = '?';
    return text;
}

const char *fb_slot_word(const char *slot)
{
    static const char *const words[][2] = {
        {"out", "output"},
        {"grad", "gradient"},
        {"param", "parameter"},
        {"lr", "learning rate"},
    };

    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (strcmp(slot, words[i][0]) == 0)
            return words[i][1];
    return slot;
}

/* Appends to a text of at most `size` bytes that is *used long; what does not fit is cut. */
static void append(char *out, size_t size, size_t *used, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

static void append(char *out, size_t size, size_t *used, const char *format, ...)
{
    va_list args;
    int length;

    if (*used + 1 >= size)
        return;
    va_start(args, format);
    length = vsnprintf(out + *used, size - *used, format, args);
    va_end(args);
    if (length > 0)
        *used = *used + (size_t)length < size ? *used + (size_t)length : size - 1;
}

char *fb_event_name_text(char *out, size_t size, const fb_event_name *name)
{
    size_t used = 0;

    append(out, size, &used, "step %" PRIu64, name->step);
    if (name->micro != FB_MICRO_NONE)
        append(out, size, &used, ", micro %" PRId32, name->micro);
    append(out, size, &used, ", %s", fb_phase_name(name->phase));
    if (name->path[0] != '\0')
        append(out, size, &used, ", %s", name->path);
    if (name->op[0] != '\0')
        append(out, size, &used, " (%s)", name->op);
    if (name->slot[0] != '\0')
        append(out, size, &used, ", %s", /* of a mode, "grad" is whether gradients are recorded */
               name->kind == FB_KIND_MODE ? name->slot : fb_slot_word(name->slot));
    if (name->occurrence > 0)
        append(out, size, &used, " #%" PRIu32, name->occurrence);
    return fb__make_printable(out);
}

static void append_scalar(char *out, size_t size, size_t *used, const fb_site *site,
                          const fb_event *event)
{
    char shortest[40];
    uint64_t bits;

    if (site->dtype == FB_DTYPE_F32) {
        append(out, size, used, "%.9g (0x%08" PRIx32 ")", event->value,
               fb_float_bits((float)event->value));
        return;
    }
    memcpy(&bits, &event->value, sizeof bits);
    for (int digits = 15; digits <= 17; digits++) { /* the shortest that is the same number */
        (void)snprintf(shortest, sizeof shortest, "%.*g", digits, event->value);
        if (strtod(shortest, NULL) == event->value)
            break;
    }
    append(out, size, used, "%s (0x%016" PRIx64 ")", shortest, bits);
}

static void append_sample(char *out, size_t size, size_t *used, const fb_site *site,
                          const fb_event *event, const char *hash)
{
    enum { SHOWN = 8 };

    append(out, size, used, "%" PRIu64, event->count);
    if (site->role != FB_ROLE_UNKNOWN)
        append(out, size, used, " %s", fb_role_name(site->role));
    append(out, size, used, " samples of %s, epoch %" PRIu64,
           site->dataset == NULL ? "" : site->dataset, event->counter);
    if (event->indices != NULL) {
        append(out, size, used, ", indices");
        for (uint64_t i = 0; i < event->count && i < SHOWN; i++)
            append(out, size, used, " %" PRIu64, event->indices[i]);
        if (event->count > SHOWN)
            append(out, size, used, " ...");
    }
    append(out, size, used, ", contents %s", hash);
}

char *fb_event_content_text(char *out, size_t size, const fb_site *site, const fb_event *event)
{
    char hash[FB_HASH_HEX_BYTES];
    size_t used = 0;

    fb_hash_hex(hash, event->hash);
    out[0] = '\0';
    switch (site->kind) {
    case FB_KIND_TENSOR:
    case FB_KIND_PARAM:
    case FB_KIND_COLLECTIVE:
        append(out, size, &used, "%s[", fb_dtype_name(site->dtype));
        for (uint32_t i = 0; i < site->rank && i < FB_RANK_MAX; i++)
            append(out, size, &used, "%s%" PRIu64, i > 0 ? "," : "", site->shape[i]);
        append(out, size, &used, "] hash %s", hash);
        break;
    case FB_KIND_DRAW:
        append(out, size, &used,
               "%" PRIu64 " number%s of stream %s from position %" PRIu64 ", key 0x%" PRIx64 ", %s",
               event->count, event->count == 1 ? "" : "s", site->stream == NULL ? "" : site->stream,
               event->counter, event->key, site->distribution == NULL ? "" : site->distribution);
        if (site->parameters[0] != 0 || site->parameters[1] != 0)
            append(out, size, &used, "(%g, %g)", site->parameters[0], site->parameters[1]);
        break;
    case FB_KIND_SAMPLE:
        append_sample(out, size, &used, site, event, hash);
        break;
    case FB_KIND_SCALAR:
        append_scalar(out, size, &used, site, event);
        break;
    case FB_KIND_SEED:
        append(out, size, &used, "seed %" PRIu64, event->key);
        break;
    case FB_KIND_MODE:
        append(out, size, &used, "%s", event->value != 0 ? "on" : "off");
        break;
    case FB_KIND_CHECKPOINT:
        append(out, size, &used, "file %s hash %s", event->text == NULL ? "" : event->text, hash);
        break;
    case FB_KIND_MARK:
        append(out, size, &used, "%s", event->text == NULL ? "" : event->text);
        break;
    case FB_KIND_NONE:
        break;
    }
    return fb__make_printable(out);
}

char *fb__grouped(char out[32], uint64_t n)
{
    char digits[24];
    const int length = snprintf(digits, sizeof digits, "%" PRIu64, n);
    size_t at = 0;

    for (int i = 0; i < length; i++) {
        if (i > 0 && (length - i) % 3 == 0)
            out[at++] = ',';
        out[at++] = digits[i];
    }
    out[at] = '\0';
    return out;
}

/* Floats in the order of their values as unsigned integers, -0 and +0 the same one. */
static uint64_t ordered(uint64_t bits, uint64_t sign)
{
    return (bits & sign) != 0 ? sign - (bits & (sign - 1)) : sign + bits;
}

static uint64_t distance(uint64_t a, uint64_t b)
{
    return a > b ? a - b : b - a;
}

uint64_t fb_ulps_f32(uint32_t bits_a, uint32_t bits_b)
{
    return distance(ordered(bits_a, 1u << 31), ordered(bits_b, 1u << 31));
}

uint64_t fb_ulps_f64(uint64_t bits_a, uint64_t bits_b)
{
    const uint64_t sign = (uint64_t)1 << 63;
    return distance(ordered(bits_a, sign), ordered(bits_b, sign));
}
