/* SPDX-License-Identifier: Apache-2.0
 *
 * report_escape.c - one decoder of UTF-8, three ways to write what it finds.
 */
#include "diff/report/report_escape.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { TEXT_MAX = 4096 };

/* One character of s, which does not end at s: its code and how many bytes it takes. `ok` is false
 * for a byte that belongs to none. */
static size_t decode(const char *s, uint32_t *code, bool *ok)
{
    static const uint32_t least[5] = {0, 0, 0x80, 0x800, 0x10000};
    const unsigned char c = (unsigned char)s[0];
    const size_t n = c < 0x80 ? 1 : (c & 0xe0) == 0xc0 ? 2 : (c & 0xf0) == 0xe0 ? 3 : 4;
    uint32_t x = n == 1 ? c : n == 2 ? c & 0x1fu : n == 3 ? c & 0x0fu : c & 0x07u;

    *code = c;
    *ok = c < 0x80;
    if (n == 1 || c < 0xc2 || c > 0xf4)
        return 1;
    for (size_t i = 1; i < n; i++) {
        if (((unsigned char)s[i] & 0xc0) != 0x80) /* also at the end of the text */
            return 1;
        x = x << 6 | ((unsigned char)s[i] & 0x3fu);
    }
    if (x < least[n] || x > 0x10ffff || (x >= 0xd800 && x <= 0xdfff))
        return 1;
    *code = x;
    *ok = true;
    return n;
}

/* Characters that are not seen, or that move others: soft hyphen, marks of direction, separators of
 * lines, joiners, variation selectors, tags. */
static bool is_invisible(uint32_t x)
{
    return x < 0x20 || (x >= 0x7f && x < 0xa0) || x == 0xad || x == 0x61c || x == 0x180e ||
           (x >= 0x200b && x <= 0x200f) || (x >= 0x2028 && x <= 0x202e) ||
           (x >= 0x2060 && x <= 0x206f) || (x >= 0xfe00 && x <= 0xfe0f) || x == 0xfeff ||
           (x >= 0xfff9 && x <= 0xfffb) || (x >= 0xe0000 && x <= 0xe0fff);
}

static void put_spelled(FILE *out, uint32_t code, bool ok)
{
    if (!ok || code < 0x80)
        fprintf(out, "\\x%02x", (unsigned)code);
    else if (code <= 0xffff)
        fprintf(out, "\\u%04x", (unsigned)code);
    else
        fprintf(out, "\\U%08x", (unsigned)code);
}

static void put_html_char(FILE *out, const char *s, size_t n)
{
    switch (s[0]) {
    case '&':
        fputs("&amp;", out);
        break;
    case '<':
        fputs("&lt;", out);
        break;
    case '>':
        fputs("&gt;", out);
        break;
    case '"':
        fputs("&quot;", out);
        break;
    case '\'':
        fputs("&#39;", out);
        break;
    default:
        fwrite(s, 1, n, out);
    }
}

void fb__put_html(FILE *out, const char *text)
{
    for (size_t at = 0; text != NULL && text[at] != '\0';) {
        uint32_t code;
        bool ok;
        const size_t n = decode(text + at, &code, &ok);

        if (at + n > TEXT_MAX) {
            fputs("&hellip;", out);
            return;
        }
        if (!ok || is_invisible(code))
            put_spelled(out, code, ok);
        else
            put_html_char(out, text + at, n);
        at += n;
    }
}

void fb__put_markdown_code(FILE *out, const char *text)
{
    if (text == NULL || text[0] == '\0') {
        putc('-', out);
        return;
    }
    putc('`', out);
    for (size_t at = 0; at < TEXT_MAX && text[at] != '\0';) {
        uint32_t code;
        bool ok;
        const size_t n = decode(text + at, &code, &ok);

        /* A backtick would end the span and a bar the cell: neither can be escaped in a span that
         * may stand in a table or not. */
        if (!ok || is_invisible(code) || code == '`' || code == '|')
            put_spelled(out, code, ok);
        else
            fwrite(text + at, 1, n, out);
        at += n;
    }
    putc('`', out);
}

void fb__put_markdown_block(FILE *out, const char *text)
{
    int ticks = 0;

    for (size_t at = 0; text != NULL && text[at] != '\0';) {
        uint32_t code;
        bool ok;
        const size_t n = decode(text + at, &code, &ok);

        ticks = code == '`' ? ticks + 1 : 0;
        if (!ok || (is_invisible(code) && code != '\n') || ticks == 3) {
            put_spelled(out, code, ok);
            ticks = 0;
        } else {
            fwrite(text + at, 1, n, out);
        }
        at += n;
    }
}
