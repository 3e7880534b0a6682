/* SPDX-License-Identifier: Apache-2.0
 *
 * error.c - status texts and filling of error objects.
 */
#define FB__ERROR_IMPLEMENTATION
#include "base/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const char *fb_status_text(fb_status status)
{
    switch (status) {
#define FB_STATUS_CASE(name, number, text)                                                         \
    case FB_##name:                                                                                \
        return text;
        FB_STATUS_LIST(FB_STATUS_CASE)
#undef FB_STATUS_CASE
    }
    return "unknown status";
}

/* Error text reaches terminals, and file names and trace contents reach error text. */
static void make_printable(char *text)
{
    for (char *c = text; *c != '\0'; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            *c = '?';
}

fb_status fb__fail(fb_error *err, fb_status status, uint64_t offset, const char *format, ...)
{
    if (err != NULL) {
        va_list args;

        err->status = status;
        err->offset = offset;
        va_start(args, format);
        (void)vsnprintf(err->text, sizeof err->text, format, args);
        va_end(args);
        make_printable(err->text);
    }
    return status;
}

fb_status fb__fail_in(fb_error *err, fb_status status, const char *format, ...)
{
    if (err != NULL) {
        char inner[sizeof err->text];
        va_list args;
        int length;

        memcpy(inner, err->text, sizeof inner);
        va_start(args, format);
        length = vsnprintf(err->text, sizeof err->text, format, args);
        va_end(args);
        if (length >= 0 && (size_t)length < sizeof err->text)
            (void)snprintf(err->text + length, sizeof err->text - (size_t)length, "%s", inner);
        make_printable(err->text);
    }
    return status;
}

fb_status fb__status_of_errno(int error_number)
{
    switch (error_number) {
    case ENOSPC:
    case EDQUOT:
        return FB_E_FULL;
    case ENOENT:
    case ENOTDIR:
        return FB_E_NOT_FOUND;
    case ENOMEM:
        return FB_E_MEMORY;
    default:
        return FB_E_IO;
    }
}
