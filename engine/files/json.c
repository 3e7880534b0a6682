/* SPDX-License-Identifier: Apache-2.0
 *
 * json.c - checks a text before cJSON sees it: strict RFC 8259 syntax, UTF-8, depth, size. cJSON is
 * lenient (01, raw control characters), recursive, and vague about where an error is.
 */
#include "engine/files/json.h"

#include <ctype.h>
#include <locale.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* cJSON copies a number to a buffer of this size. */
enum { NUMBER_MAX = 63 };

/* What the grammar allows next. */
typedef enum expectation {
    A_VALUE,
    A_VALUE_OR_END, /* just after '[' */
    A_KEY,
    A_KEY_OR_END, /* just after '{' */
    A_COLON,
    A_COMMA_OR_END,
    NOTHING_MORE
} expectation;

static const char *const EXPECTED[] = {
    [A_VALUE] = "a value",      [A_VALUE_OR_END] = "a value or ']'",
    [A_KEY] = "a key",          [A_KEY_OR_END] = "a key or '}'",
    [A_COLON] = "':'",          [A_COMMA_OR_END] = "',' or the closing bracket",
    [NOTHING_MORE] = "the end",
};

typedef struct checker {
    const char *text, *at;
    fb__json_fault *fault;
    expectation expected;
    bool is_object[FB__JSON_DEPTH_MAX]; /* of the brackets that are open */
    size_t depth, values;
} checker;

/* --- Refusing --------------------------------------------------------------------------------- */

static bool refuse(const checker *c, const char *what)
{
    fb__json_fault *fault = c->fault;

    if (fault == NULL)
        return false;
    fault->offset = (size_t)(c->at - c->text);
    fault->line = fault->column = 1;
    for (const char *p = c->text; p < c->at; p++) {
        fault->column = *p == '\n' ? 1 : fault->column + 1;
        fault->line += *p == '\n';
    }
    (void)snprintf(fault->what, sizeof fault->what, "%s", what);
    return false;
}

/* Bytes of the UTF-8 character at `c`, 0 where there is none (RFC 3629: no overlong forms, no
 * surrogates, nothing above U+10FFFF). */
static size_t utf8_length(const char *text)
{
    const unsigned char *c = (const unsigned char *)text;
    const bool one = c[0] != 0 && (c[1] & 0xc0) == 0x80;
    const bool two = one && (c[2] & 0xc0) == 0x80;
    const bool three = two && (c[3] & 0xc0) == 0x80;

    if (c[0] < 0x80)
        return 1;
    if (c[0] >= 0xc2 && c[0] <= 0xdf)
        return one ? 2 : 0;
    if ((c[0] & 0xf0) == 0xe0)
        return two && !(c[0] == 0xe0 && c[1] < 0xa0) && !(c[0] == 0xed && c[1] > 0x9f) ? 3 : 0;
    if (c[0] >= 0xf0 && c[0] <= 0xf4)
        return three && !(c[0] == 0xf0 && c[1] < 0x90) && !(c[0] == 0xf4 && c[1] > 0x8f) ? 4 : 0;
    return 0;
}

static bool refuse_unexpected(const checker *c)
{
    const size_t length = utf8_length(c->at);
    char what[sizeof c->fault->what];

    if (*c->at == '\0')
        (void)snprintf(what, sizeof what, "the text ends, expected %s", EXPECTED[c->expected]);
    else if (length == 0)
        (void)snprintf(what, sizeof what, "not valid UTF-8");
    else
        (void)snprintf(what, sizeof what, "expected %s, got '%.*s'", EXPECTED[c->expected],
                       (int)length, c->at);
    return refuse(c, what);
}

/* --- Scalars ---------------------------------------------------------------------------------- */

/* The code of the \uXXXX at `at`, or -1 where four hexadecimal digits do not follow. */
static int escaped_code(const char *at)
{
    int code = 0;

    if (at[0] != '\\' || at[1] != 'u')
        return -1;
    for (int i = 2; i < 6; i++) {
        const int c = tolower((unsigned char)at[i]);

        if (!isxdigit(c))
            return -1;
        code = code * 16 + (c <= '9' ? c - '0' : c - 'a' + 10);
    }
    return code;
}

static bool check_escape(checker *c)
{
    const int code = escaped_code(c->at);

    if (c->at[1] != 'u') {
        if (c->at[1] == '\0' || strchr("\"\\/bfnrt", c->at[1]) == NULL)
            return refuse(c, "an unknown escape");
        c->at += 2;
        return true;
    }
    if (code < 0)
        return refuse(c, "expected four hexadecimal digits after \\u");
    if (code == 0)
        return refuse(c, "a string with a zero character");
    if (code >= 0xd800 && code <= 0xdfff) { /* half of a UTF-16 pair */
        const int low = escaped_code(c->at + 6);

        if (code >= 0xdc00 || low < 0xdc00 || low > 0xdfff)
            return refuse(c, "an unpaired surrogate");
        c->at += 6;
    }
    c->at += 6;
    return true;
}

static bool check_string(checker *c)
{
    c->at++;
    while (*c->at != '"') {
        const size_t length = utf8_length(c->at);

        if (*c->at == '\0')
            return refuse(c, "the text ends inside a string");
        if (length == 0)
            return refuse(c, "not valid UTF-8");
        if ((unsigned char)*c->at < 0x20)
            return refuse(c, "a control character in a string");
        if (*c->at != '\\')
            c->at += length;
        else if (!check_escape(c))
            return false;
    }
    c->at++;
    return true;
}

static const char *skip_digits(const char *at)
{
    while (*at >= '0' && *at <= '9')
        at++;
    return at;
}

static bool check_number(checker *c)
{
    const char *at = c->at + (*c->at == '-'), *end = skip_digits(at);
    bool ok = end > at && (*at != '0' || end == at + 1);

    if (ok && *end == '.') {
        at = end + 1;
        end = skip_digits(at);
        ok = end > at;
    }
    if (ok && (*end == 'e' || *end == 'E')) {
        at = end + 1 + (end[1] == '+' || end[1] == '-');
        end = skip_digits(at);
        ok = end > at;
    }
    if (!ok)
        return refuse(c, "not a JSON number");
    if (end - c->at > NUMBER_MAX)
        return refuse(c, "a number of more than 63 characters");
    c->at = end;
    return true;
}

static bool check_word(checker *c)
{
    static const char *const words[] = {"true", "false", "null"};

    for (size_t i = 0; i < 3; i++)
        if (strncmp(c->at, words[i], strlen(words[i])) == 0) {
            c->at += strlen(words[i]);
            return true;
        }
    return refuse_unexpected(c);
}

/* --- Structure -------------------------------------------------------------------------------- */

static void value_done(checker *c)
{
    c->expected = c->depth == 0 ? NOTHING_MORE : A_COMMA_OR_END;
}

static bool check_value(checker *c)
{
    bool ok = true;

    if (++c->values > FB__JSON_VALUES_MAX)
        return refuse(c, "more than 2000000 values");
    if (*c->at == '{' || *c->at == '[') {
        if (c->depth == FB__JSON_DEPTH_MAX)
            return refuse(c, "nested more than 64 deep");
        c->is_object[c->depth++] = *c->at == '{';
        c->expected = *c->at == '{' ? A_KEY_OR_END : A_VALUE_OR_END;
        c->at++;
        return true;
    }
    if (*c->at == '"')
        ok = check_string(c);
    else if (*c->at == '-' || (*c->at >= '0' && *c->at <= '9'))
        ok = check_number(c);
    else
        ok = check_word(c);
    value_done(c);
    return ok;
}

/* One token. */
static bool check_next(checker *c)
{
    const bool in_object = c->depth > 0 && c->is_object[c->depth - 1];
    const bool may_end = c->expected == A_VALUE_OR_END || c->expected == A_KEY_OR_END ||
                         c->expected == A_COMMA_OR_END;

    if (may_end && c->depth > 0 && *c->at == (in_object ? '}' : ']')) {
        c->at++;
        c->depth--;
        value_done(c);
        return true;
    }
    switch (c->expected) {
    case A_VALUE:
    case A_VALUE_OR_END:
        return check_value(c);
    case A_KEY:
    case A_KEY_OR_END:
        if (*c->at != '"')
            return refuse_unexpected(c);
        c->expected = A_COLON;
        return check_string(c);
    case A_COLON:
    case A_COMMA_OR_END:
        if (*c->at != (c->expected == A_COLON ? ':' : ','))
            return refuse_unexpected(c);
        c->expected = c->expected == A_COMMA_OR_END && in_object ? A_KEY : A_VALUE;
        c->at++;
        return true;
    case NOTHING_MORE:
        break;
    }
    return refuse_unexpected(c);
}

static bool check_text(checker *c)
{
    for (;;) {
        c->at += strspn(c->at, " \t\r\n");
        if (*c->at == '\0' && c->expected == NOTHING_MORE)
            return true;
        if (!check_next(c))
            return false;
    }
}

/* --- Calls ------------------------------------------------------------------------------------ */

cJSON *fb__json_parse(const char *text, fb__json_fault *fault)
{
    checker c = {.text = text, .at = text, .fault = fault, .expected = A_VALUE};
    cJSON *tree;

    if (fault != NULL)
        fault->no_memory = false;
    if (!check_text(&c))
        return NULL;
    tree = cJSON_ParseWithOpts(text, NULL, true);
    if (tree == NULL) { /* all else that cJSON refuses has been refused above */
        (void)refuse(&c, "out of memory");
        if (fault != NULL)
            fault->no_memory = true;
    }
    return tree;
}

bool fb__json_is_utf8(const char *text)
{
    for (size_t length; *text != '\0'; text += length)
        if ((length = utf8_length(text)) == 0)
            return false;
    return true;
}

void fb__json_put_string(fb_buffer *out, const char *text)
{
    static const char short_forms[] = {['\b'] = 'b', ['\f'] = 'f', ['\n'] = 'n', ['\r'] = 'r',
                                       ['\t'] = 't', ['"'] = '"',  ['\\'] = '\\'};
    char escape[8];

    if (text == NULL) {
        fb_buffer_append(out, "null", 4);
        return;
    }
    fb_buffer_u8(out, '"');
    for (const char *c = text; *c != '\0'; c++) {
        const unsigned char byte = (unsigned char)*c;
        const char form = byte < sizeof short_forms ? short_forms[byte] : 0;

        if (form == 0 && byte >= 0x20) {
            fb_buffer_u8(out, byte);
        } else {
            const int length = form != 0 ? snprintf(escape, sizeof escape, "\\%c", form)
                                         : snprintf(escape, sizeof escape, "\\u%04x", byte);
            fb_buffer_append(out, escape, (size_t)length);
        }
    }
    fb_buffer_u8(out, '"');
}

/* --- Numbers ---------------------------------------------------------------------------------- */

/* JSON has a point whatever the locale of the process says. */
static void use_point(char *text)
{
    const char *local = localeconv()->decimal_point;
    const size_t length = strlen(local);
    char *found = length == 0 ? NULL : strstr(text, local);

    if (found != NULL && strcmp(local, ".") != 0) {
        *found = '.';
        memmove(found + 1, found + length, strlen(found + length) + 1);
    }
}

void fb__number_text(char out[FB__NUMBER_TEXT], double value)
{
    if (fabs(value) <= FB__JSON_INTEGER_MAX && value == floor(value)) {
        (void)snprintf(out, FB__NUMBER_TEXT, "%.0f", value);
        return;
    }
    for (int digits = 1; digits <= 17; digits++) { /* 17 digits tell any two doubles apart */
        (void)snprintf(out, FB__NUMBER_TEXT, "%.*g", digits, value);
        if (strtod(out, NULL) == value)
            break;
    }
    use_point(out);
}

/* Turns every number of a tree into its text, which cJSON prints as it is. */
static bool fix_numbers(cJSON *item)
{
    char text[FB__NUMBER_TEXT];
    cJSON *child;

    if (cJSON_IsNumber(item) && isfinite(item->valuedouble)) {
        fb__number_text(text, item->valuedouble);
        item->valuestring = strdup(text);
        item->type = (item->type & ~0xff) | cJSON_Raw;
        return item->valuestring != NULL;
    }
    cJSON_ArrayForEach(child, item) if (!fix_numbers(child)) return false;
    return true;
}

char *fb__json_print(const cJSON *tree)
{
    cJSON *copy = cJSON_Duplicate(tree, true);
    char *text = copy != NULL && fix_numbers(copy) ? cJSON_PrintUnformatted(copy) : NULL;

    cJSON_Delete(copy);
    return text;
}
