/* SPDX-License-Identifier: Apache-2.0
 *
 * config_reader.c - checks an object against its table of fields, fills the struct, writes the
 * resolved JSON; and the messages, which all name the key's full place.
 */
#include "engine/config/config_reader.h"

#include <assert.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/error.h"

enum {
    KEYS_MAX = 32, /* fields of one object */
    SHOWN_MAX = 48 /* bytes of a value that a message shows */
};

/* --- Place and failure ------------------------------------------------------------------------ */

size_t fb__where_push(fb__reader *r, const char *format, ...)
{
    const size_t before = r->where_length;
    const size_t room = sizeof r->where - before;
    va_list args;
    int length;

    va_start(args, format);
    length = vsnprintf(r->where + before, room, format, args);
    va_end(args);
    if (length > 0)
        r->where_length += (size_t)length < room ? (size_t)length : room - 1;
    return before;
}

void fb__where_pop(fb__reader *r, size_t length)
{
    r->where_length = length;
    r->where[length] = '\0';
}

static size_t push_key(fb__reader *r, const char *key)
{
    return fb__where_push(r, "%s%s", r->where_length == 0 ? "" : ".", key);
}

fb_status fb__config_fail(fb__reader *r, const char *format, ...)
{
    char text[400];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (r->where_length == 0)
        return fb__fail(r->err, FB_E_CONFIG, FB_NO_OFFSET, "%s: %s", r->name, text);
    return fb__fail(r->err, FB_E_CONFIG, FB_NO_OFFSET, "%s: %s: %s", r->name, r->where, text);
}

fb_status fb__config_no_memory(fb__reader *r)
{
    return fb__fail(r->err, FB_E_MEMORY, FB_NO_OFFSET, "%s: out of memory", r->name);
}

static void describe(char out[SHOWN_MAX + 8], const cJSON *value)
{
    char number[FB__NUMBER_TEXT];

    if (cJSON_IsString(value)) {
        const size_t length = strlen(value->valuestring);
        size_t shown = length <= SHOWN_MAX ? length : SHOWN_MAX;

        while (shown < length && ((unsigned char)value->valuestring[shown] & 0xc0) == 0x80)
            shown--; /* not in the middle of a character */
        (void)snprintf(out, SHOWN_MAX + 8, "\"%.*s%s\"", (int)shown, value->valuestring,
                       shown < length ? "..." : "");
    } else if (cJSON_IsNumber(value)) {
        fb__number_text(number, value->valuedouble);
        (void)snprintf(out, SHOWN_MAX + 8, "%s", number);
    } else {
        const char *text = cJSON_IsNull(value)    ? "null"
                           : cJSON_IsTrue(value)  ? "true"
                           : cJSON_IsFalse(value) ? "false"
                           : cJSON_IsArray(value) ? (value->child == NULL ? "[]" : "a list")
                           : value->child == NULL ? "{}"
                                                  : "an object";
        (void)snprintf(out, SHOWN_MAX + 8, "%s", text);
    }
}

fb_status fb__config_expected(fb__reader *r, const char *expected, const cJSON *value)
{
    char got[SHOWN_MAX + 8];

    if (value == NULL)
        return fb__config_fail(r, "missing; expected %s", expected);
    describe(got, value);
    return fb__config_fail(r, "expected %s, got %s", expected, got);
}

/* --- Keys ------------------------------------------------------------------------------------- */

/* One letter added, left out, replaced, or two neighbours exchanged. */
static bool is_one_slip(const char *a, const char *b)
{
    const size_t la = strlen(a), lb = strlen(b);
    size_t i = 0;

    while (a[i] != '\0' && a[i] == b[i])
        i++;
    if (la == lb)
        return strcmp(a + i + 1, b + i + 1) == 0 ||
               (a[i + 1] != '\0' && a[i] == b[i + 1] && a[i + 1] == b[i] &&
                strcmp(a + i + 2, b + i + 2) == 0);
    if (la + 1 == lb)
        return strcmp(a + i, b + i + 1) == 0;
    if (lb + 1 == la)
        return strcmp(a + i + 1, b + i) == 0;
    return false;
}

const char *fb__did_you_mean(const char *word, const char *const *words, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (strcasecmp(word, words[i]) == 0)
            return words[i];
    for (size_t i = 0; i < count; i++)
        if (is_one_slip(word, words[i]))
            return words[i];
    return NULL;
}

/* "a", "b" or "c" */
static void list_words(char *out, size_t size, const char *const *words, size_t count)
{
    size_t used = 0;

    out[0] = '\0';
    for (size_t i = 0; i < count && used < size; i++) {
        const char *join = i == 0 ? "" : i + 1 == count ? " or " : ", ";
        const int length = snprintf(out + used, size - used, "%s\"%s\"", join, words[i]);
        used += length > 0 ? (size_t)length : 0;
    }
}

static fb_status unknown_key(fb__reader *r, const char *key, const char *const *keys, size_t count)
{
    const char *meant = fb__did_you_mean(key, keys, count);
    const size_t before = push_key(r, key);
    char known[360];
    fb_status status;

    if (meant != NULL) {
        status = fb__config_fail(r, "unknown key, did you mean \"%s\"?", meant);
    } else if (count == 0) {
        status = fb__config_fail(r, "unknown key; none is expected here");
    } else {
        list_words(known, sizeof known, keys, count);
        status = fb__config_fail(r, "unknown key; expected %s", known);
    }
    fb__where_pop(r, before);
    return status;
}

fb_status fb__check_keys(fb__reader *r, const cJSON *object, const char *const *keys, size_t count)
{
    uint32_t seen = 0;

    assert(count <= KEYS_MAX);
    if (object != NULL && !cJSON_IsObject(object))
        return fb__config_expected(r, "an object", object);
    for (const cJSON *item = object == NULL ? NULL : object->child; item; item = item->next) {
        size_t i = 0;

        while (i < count && strcmp(keys[i], item->string) != 0)
            i++;
        if (i == count)
            return unknown_key(r, item->string, keys, count);
        if (seen & 1u << i) {
            push_key(r, keys[i]);
            return fb__config_fail(r, "given twice");
        }
        seen |= 1u << i;
    }
    return FB_OK;
}

fb_status fb__read_choice(fb__reader *r, const cJSON *value, const char *const *names, size_t count,
                          size_t *index, const cJSON **body)
{
    const cJSON *found = NULL;
    char expected[360];

    *body = NULL;
    list_words(expected, sizeof expected, names, count);
    if (cJSON_IsString(value)) {
        for (*index = 0; *index < count; ++*index)
            if (strcmp(names[*index], value->valuestring) == 0)
                return FB_OK;
        const char *meant = fb__did_you_mean(value->valuestring, names, count);
        if (meant != NULL)
            return fb__config_fail(r, "unknown name \"%s\", did you mean \"%s\"?",
                                   value->valuestring, meant);
    }
    if (!cJSON_IsObject(value))
        return fb__config_expected(r, expected, value);
    for (size_t i = 0; i < count; i++) {
        const cJSON *item = cJSON_GetObjectItemCaseSensitive(value, names[i]);

        if (item != NULL && found != NULL)
            return fb__config_fail(r, "expected only one of %s, got \"%s\" and \"%s\"", expected,
                                   found->string, names[i]);
        if (item != NULL) {
            found = item;
            *index = i;
        }
    }
    if (found == NULL && value->child != NULL)
        return unknown_key(r, value->child->string, names, count);
    if (found == NULL)
        return fb__config_expected(r, expected, value);
    *body = found;
    return FB_OK;
}

/* --- Expectations ----------------------------------------------------------------------------- */

static void bounds_text(char *out, size_t size, const fb__field *f)
{
    char low[FB__NUMBER_TEXT], high[FB__NUMBER_TEXT];
    const bool is_integer = f->type == FB__FIELD_INTEGER || f->type == FB__FIELD_INTEGER_PAIR ||
                            f->type == FB__FIELD_WIDTH;
    const bool has_low = isfinite(f->low), has_high = isfinite(f->high);

    fb__number_text(low, f->low);
    fb__number_text(high, f->high);
    if (is_integer)
        (void)snprintf(out, size, "an integer from %s to %s", low, high);
    else
        (void)snprintf(out, size, "a number%s%s%s%s%s",
                       has_low ? (f->open_low ? " > " : " >= ") : "", has_low ? low : "",
                       has_high && has_low ? " and" : "",
                       has_high ? (f->open_high ? " < " : " <= ") : "", has_high ? high : "");
}

static fb_status field_expected(fb__reader *r, const fb__field *f, const cJSON *value)
{
    char text[256], bounds[128];

    bounds_text(bounds, sizeof bounds, f);
    switch (f->type) {
    case FB__FIELD_INTEGER:
    case FB__FIELD_NUMBER:
        return fb__config_expected(r, bounds, value);
    case FB__FIELD_BOOL:
        return fb__config_expected(r, "true or false", value);
    case FB__FIELD_STRING:
        return fb__config_expected(r, "a string that is not empty", value);
    case FB__FIELD_OPTIONAL_TEXT:
        return fb__config_expected(r, "a string that is not empty, or null", value);
    case FB__FIELD_FORM:
        (void)snprintf(text, sizeof text, "\"%s\" or \"%s\"", f->words[0], f->words[1]);
        return fb__config_expected(r, text, value);
    case FB__FIELD_WIDTH:
        (void)snprintf(text, sizeof text, "%s, \"vocab\" or \"classes\"", bounds);
        return fb__config_expected(r, text, value);
    case FB__FIELD_INTEGER_PAIR:
        (void)snprintf(text, sizeof text, "%s, or a list of two", bounds);
        return fb__config_expected(r, text, value);
    case FB__FIELD_NUMBER_PAIR:
        (void)snprintf(text, sizeof text, "a list of two, each %s", bounds);
        return fb__config_expected(r, text, value);
    case FB__FIELD_OBJECT:
    case FB__FIELD_CUSTOM:
        break;
    }
    return fb__config_expected(r, "an object", value);
}

/* --- Values ----------------------------------------------------------------------------------- */

static bool within(const fb__field *f, double x)
{
    return isfinite(x) && (f->open_low ? x > f->low : x >= f->low) &&
           (f->open_high ? x < f->high : x <= f->high);
}

static bool take_number(double *out, const fb__field *f, const cJSON *value)
{
    if (!cJSON_IsNumber(value) || !within(f, value->valuedouble))
        return false;
    *out = value->valuedouble;
    return true;
}

static bool take_integer(int64_t *out, const fb__field *f, const cJSON *value)
{
    double x;

    if (!take_number(&x, f, value) || x != floor(x) || fabs(x) > FB__INTEGER_MAX)
        return false;
    *out = (int64_t)x;
    return true;
}

static bool take_width(int64_t *out, const fb__field *f, const cJSON *value)
{
    if (!cJSON_IsString(value))
        return take_integer(out, f, value);
    *out = strcmp(value->valuestring, "vocab") == 0 ? FB_OUT_VOCAB : FB_OUT_CLASSES;
    return *out == FB_OUT_VOCAB || strcmp(value->valuestring, "classes") == 0;
}

/* A pair is a list of two, or one integer for both. */
static fb_status take_pair(fb__reader *r, const fb__field *f, const cJSON *value, void *at)
{
    const bool is_integer = f->type == FB__FIELD_INTEGER_PAIR;
    fb__field one = *f;
    int64_t *integers = at;
    double *numbers = at;

    if (is_integer && take_integer(&integers[0], f, value)) {
        integers[1] = integers[0];
        return FB_OK;
    }
    if (!cJSON_IsArray(value) || cJSON_GetArraySize(value) != 2)
        return field_expected(r, f, value);
    one.type = is_integer ? FB__FIELD_INTEGER : FB__FIELD_NUMBER;
    for (int i = 0; i < 2; i++) {
        const cJSON *item = i == 0 ? value->child : value->child->next;

        if (is_integer ? take_integer(&integers[i], f, item) : take_number(&numbers[i], f, item))
            continue;
        fb__where_push(r, "[%d]", i);
        return field_expected(r, &one, item);
    }
    return FB_OK;
}

static bool take_form(bool *out, const fb__field *f, const cJSON *value)
{
    if (!cJSON_IsString(value))
        return false;
    *out = strcmp(value->valuestring, f->words[1]) == 0;
    return *out || strcmp(value->valuestring, f->words[0]) == 0;
}

static bool take_bool(bool *out, const cJSON *value)
{
    *out = cJSON_IsTrue(value);
    return cJSON_IsBool(value);
}

static fb_status take_text(fb__reader *r, const char **out, const fb__field *f, const cJSON *value)
{
    if (f->type == FB__FIELD_OPTIONAL_TEXT && cJSON_IsNull(value)) {
        *out = NULL;
        return FB_OK;
    }
    if (!cJSON_IsString(value) || value->valuestring[0] == '\0')
        return field_expected(r, f, value);
    *out = fb__arena_text(r->arena, value->valuestring);
    return *out == NULL ? fb__config_no_memory(r) : FB_OK;
}

static fb_status take_value(fb__reader *r, const fb__field *f, const cJSON *value, void *at)
{
    bool ok = true;

    switch (f->type) {
    case FB__FIELD_INTEGER:
        ok = take_integer(at, f, value);
        break;
    case FB__FIELD_NUMBER:
        ok = take_number(at, f, value);
        break;
    case FB__FIELD_BOOL:
        ok = take_bool(at, value);
        break;
    case FB__FIELD_FORM:
        ok = take_form(at, f, value);
        break;
    case FB__FIELD_WIDTH:
        ok = take_width(at, f, value);
        break;
    case FB__FIELD_INTEGER_PAIR:
    case FB__FIELD_NUMBER_PAIR:
        return take_pair(r, f, value, at);
    case FB__FIELD_STRING:
    case FB__FIELD_OPTIONAL_TEXT:
        return take_text(r, at, f, value);
    case FB__FIELD_OBJECT:
    case FB__FIELD_CUSTOM:
        assert(!"read by fb__read_members");
    }
    return ok ? FB_OK : field_expected(r, f, value);
}

static void take_default(const fb__field *f, void *base)
{
    char *at = (char *)base + f->offset;
    const char *same = f->same_as == 0 ? NULL : (const char *)base + f->same_as;

    switch (f->type) {
    case FB__FIELD_INTEGER:
    case FB__FIELD_WIDTH:
        *(int64_t *)at = same == NULL ? (int64_t)f->fallback : *(const int64_t *)same;
        break;
    case FB__FIELD_NUMBER:
        *(double *)at = f->fallback;
        break;
    case FB__FIELD_BOOL:
    case FB__FIELD_FORM:
        *(bool *)at = f->fallback != 0;
        break;
    case FB__FIELD_INTEGER_PAIR:
        for (size_t i = 0; i < 2; i++)
            ((int64_t *)at)[i] = same == NULL ? (int64_t)f->fallback : ((const int64_t *)same)[i];
        break;
    case FB__FIELD_NUMBER_PAIR:
        ((double *)at)[0] = f->fallback;
        ((double *)at)[1] = f->fallback2;
        break;
    case FB__FIELD_STRING:
    case FB__FIELD_OPTIONAL_TEXT:
        *(const char **)at = NULL;
        break;
    case FB__FIELD_OBJECT:
    case FB__FIELD_CUSTOM:
        break;
    }
}

static void write_pair(fb__reader *r, double a, double b)
{
    fb__write_raw(r, "[");
    fb__write_number(r, a);
    fb__write_raw(r, ",");
    fb__write_number(r, b);
    fb__write_raw(r, "]");
}

static void write_value(fb__reader *r, const fb__field *f, const void *at)
{
    const int64_t *integers = at;
    const double *numbers = at;

    switch (f->type) {
    case FB__FIELD_WIDTH:
        if (integers[0] < 0) {
            fb__write_string(r, integers[0] == FB_OUT_VOCAB ? "vocab" : "classes");
            break;
        }
        fb__write_number(r, (double)integers[0]);
        break;
    case FB__FIELD_INTEGER:
        fb__write_number(r, (double)integers[0]);
        break;
    case FB__FIELD_INTEGER_PAIR:
        write_pair(r, (double)integers[0], (double)integers[1]);
        break;
    case FB__FIELD_NUMBER:
        fb__write_number(r, numbers[0]);
        break;
    case FB__FIELD_NUMBER_PAIR:
        write_pair(r, numbers[0], numbers[1]);
        break;
    case FB__FIELD_BOOL:
        fb__write_raw(r, *(const bool *)at ? "true" : "false");
        break;
    case FB__FIELD_FORM:
        fb__write_string(r, f->words[*(const bool *)at ? 1 : 0]);
        break;
    case FB__FIELD_STRING:
    case FB__FIELD_OPTIONAL_TEXT:
        fb__write_string(r, *(const char *const *)at); /* NULL writes null */
        break;
    case FB__FIELD_OBJECT:
    case FB__FIELD_CUSTOM:
        break;
    }
}

/* --- Objects ---------------------------------------------------------------------------------- */

static fb_status read_field(fb__reader *r, const fb__field *f, const cJSON *value, void *base)
{
    void *at = (char *)base + f->offset;
    fb_status status;

    if (f->type == FB__FIELD_CUSTOM)
        return f->read(r, value, base);
    if (f->type == FB__FIELD_OBJECT)
        return fb__read_object(r, value, f->fields, base);
    if (value == NULL && f->required)
        return field_expected(r, f, NULL);
    if (value == NULL) {
        take_default(f, base);
    } else {
        status = take_value(r, f, value, at);
        if (status != FB_OK)
            return status;
    }
    write_value(r, f, at);
    return FB_OK;
}

fb_status fb__read_members(fb__reader *r, const cJSON *object, const fb__fields *fields, void *base)
{
    const char *keys[KEYS_MAX];
    fb_status status;

    assert(fields->count <= KEYS_MAX);
    for (size_t i = 0; i < fields->count; i++)
        keys[i] = fields->list[i].key;
    status = fb__check_keys(r, object, keys, fields->count);

    for (size_t i = 0; i < fields->count && status == FB_OK; i++) {
        const fb__field *f = &fields->list[i];
        const size_t before = push_key(r, f->key);

        fb__write_key(r, f->key);
        status = read_field(r, f, cJSON_GetObjectItemCaseSensitive(object, f->key), base);
        fb__where_pop(r, before);
    }
    return status;
}

fb_status fb__read_object(fb__reader *r, const cJSON *object, const fb__fields *fields, void *base)
{
    fb_status status;

    fb__write_raw(r, "{");
    status = fb__read_members(r, object, fields, base);
    fb__write_raw(r, "}");
    return status;
}
