/* SPDX-License-Identifier: Apache-2.0
 *
 * json.c - checks a text before cJSON sees it: encoding, depth, size; and writes strings.
 */
#include "engine/json.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* Bytes of the UTF-8 character at `c`, 0 where there is none (RFC 3629: no overlong forms, no
 * surrogates, nothing above U+10FFFF). */
static size_t utf8_length(const unsigned char *c)
{
    const bool one = (c[0] != 0) && (c[1] & 0xc0) == 0x80;
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

static bool refuse(fb__json_fault *fault, const char *text, const char *at, const char *what)
{
    if (fault == NULL)
        return false;
    fault->offset = (size_t)(at - text);
    fault->line = fault->column = 1;
    for (const char *c = text; c < at; c++) {
        fault->column = *c == '\n' ? 1 : fault->column + 1;
        fault->line += *c == '\n';
    }
    (void)snprintf(fault->what, sizeof fault->what, "%s", what);
    return false;
}

bool fb__json_check(const char *text, fb__json_fault *fault)
{
    size_t depth = 0, values = 1;
    bool in_string = false;

    for (const char *c = text; *c != '\0';) {
        const size_t length = utf8_length((const unsigned char *)c);

        if (length == 0)
            return refuse(fault, text, c, "not valid UTF-8");
        if (in_string && *c == '\\') {
            if (strncmp(c + 1, "u0000", 5) == 0)
                return refuse(fault, text, c, "a string with a zero character");
            c += c[1] == '\\' || c[1] == '"' ? 2 : 1;
            continue;
        }
        if (*c == '"')
            in_string = !in_string;
        if (!in_string) {
            depth += *c == '[' || *c == '{';
            depth -= (*c == ']' || *c == '}') && depth > 0;
            values += *c == ',' || *c == '[' || *c == '{';
        }
        if (depth > FB__JSON_DEPTH_MAX)
            return refuse(fault, text, c, "nested more than 64 deep");
        if (values > FB__JSON_VALUES_MAX)
            return refuse(fault, text, c, "more than 2000000 values");
        c += length;
    }
    return true;
}

cJSON *fb__json_parse(const char *text, fb__json_fault *fault)
{
    const char *end = NULL;
    char what[64] = "not valid JSON, it ends early";
    cJSON *tree;

    if (!fb__json_check(text, fault))
        return NULL;
    tree = cJSON_ParseWithOpts(text, &end, true);
    if (tree != NULL)
        return tree;
    if (end == NULL)
        end = text;
    if (*end != '\0')
        (void)snprintf(what, sizeof what, "not valid JSON at '%.*s'",
                       (int)utf8_length((const unsigned char *)end), end);
    (void)refuse(fault, text, end, what);
    return NULL;
}

void fb__json_put_string(fb_buffer *out, const char *text)
{
    char escape[8];

    if (text == NULL) {
        fb_buffer_append(out, "null", 4);
        return;
    }
    fb_buffer_u8(out, '"');
    for (const char *c = text; *c != '\0'; c++) {
        if ((unsigned char)*c < 0x20) {
            (void)snprintf(escape, sizeof escape, "\\u%04x", (unsigned)*c);
            fb_buffer_append(out, escape, 6);
            continue;
        }
        if (*c == '"' || *c == '\\')
            fb_buffer_u8(out, '\\');
        fb_buffer_u8(out, (uint8_t)*c);
    }
    fb_buffer_u8(out, '"');
}
