/* SPDX-License-Identifier: Apache-2.0
 *
 * npy.c - NumPy's .npy files: eight bytes of magic and version, the length of a header, the header
 * (a Python dictionary as text), the elements.
 * Format: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
 */
#include "engine/data/data_file.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/error.h"

enum { HEADER_MAX = 65535 };

/* --- The header's text ------------------------------------------------------------------------ */

typedef struct cursor {
    const char *at, *end;
} cursor;

static void skip_spaces(cursor *c)
{
    while (c->at < c->end && (*c->at == ' ' || *c->at == '\n'))
        c->at++;
}

static bool take_char(cursor *c, char wanted)
{
    skip_spaces(c);
    if (c->at == c->end || *c->at != wanted)
        return false;
    c->at++;
    return true;
}

/* A quoted string without escapes, of at most size - 1 bytes. */
static bool take_string(cursor *c, char *out, size_t size)
{
    size_t length = 0;
    char quote;

    skip_spaces(c);
    if (c->at == c->end || (*c->at != '\'' && *c->at != '"'))
        return false;
    quote = *c->at++;
    for (; c->at < c->end && *c->at != quote; c->at++) {
        if (length + 1 >= size || *c->at == '\\')
            return false;
        out[length++] = *c->at;
    }
    out[length] = '\0';
    return take_char(c, quote);
}

static bool take_word(cursor *c, const char *word)
{
    const size_t length = strlen(word);

    skip_spaces(c);
    if ((size_t)(c->end - c->at) < length || memcmp(c->at, word, length) != 0)
        return false;
    c->at += length;
    return true;
}

static bool take_size(cursor *c, uint64_t *out)
{
    bool any = false;

    *out = 0;
    skip_spaces(c);
    for (; c->at < c->end && isdigit((unsigned char)*c->at); c->at++, any = true)
        if (__builtin_mul_overflow(*out, 10, out) ||
            __builtin_add_overflow(*out, (uint64_t)(*c->at - '0'), out))
            return false;
    return any;
}

/* (), (3,), (3, 4) or (3, 4,) */
static bool take_shape(cursor *c, fb__npy *out)
{
    if (!take_char(c, '('))
        return false;
    while (!take_char(c, ')')) {
        if (out->rank == FB_RANK_MAX || !take_size(c, &out->shape[out->rank]))
            return false;
        out->rank++;
        if (!take_char(c, ',')) /* (3) is no tuple */
            return out->rank > 1 && take_char(c, ')');
    }
    return true;
}

typedef struct header {
    char descr[32];
    bool fortran;
    fb__npy npy;
} header;

/* {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }: keys in any order, each once. */
static bool take_header(cursor *c, header *out)
{
    unsigned seen = 0;
    char key[32];

    *out = (header){.fortran = false};
    if (!take_char(c, '{'))
        return false;
    while (!take_char(c, '}')) {
        unsigned bit = 0;

        if (!take_string(c, key, sizeof key) || !take_char(c, ':'))
            return false;
        if (strcmp(key, "descr") == 0 && take_string(c, out->descr, sizeof out->descr)) {
            bit = 1;
        } else if (strcmp(key, "fortran_order") == 0) {
            out->fortran = take_word(c, "True");
            bit = out->fortran || take_word(c, "False") ? 2 : 0;
        } else if (strcmp(key, "shape") == 0 && take_shape(c, &out->npy)) {
            bit = 4;
        }
        if (bit == 0 || (seen & bit) != 0)
            return false;
        seen |= bit;
        if (!take_char(c, ','))
            return take_char(c, '}') && seen == 7;
    }
    return seen == 7;
}

/* --- Reading ---------------------------------------------------------------------------------- */

static fb_dtype dtype_of(const char *descr)
{
    static const struct {
        const char *descr;
        fb_dtype dtype;
    } known[] = {
        {"<f4", FB_DTYPE_F32}, {"<i4", FB_DTYPE_I32}, {"<i8", FB_DTYPE_I64}, {"|u1", FB_DTYPE_U8}};

    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcmp(descr, known[i].descr) == 0)
            return known[i].dtype;
    return FB_DTYPE_NONE;
}

static fb_status check_size(fb__npy *npy, uint64_t offset, uint64_t bytes, const char *path,
                            fb_error *err)
{
    uint64_t total = fb_dtype_bytes(npy->dtype);

    for (uint32_t i = 0; i < npy->rank; i++) {
        if (npy->shape[i] == 0)
            return fb__fail(err, FB_E_DATA, offset, "%s: dimension %u is 0", path, (unsigned)i);
        if (__builtin_mul_overflow(total, npy->shape[i], &total))
            return fb__fail(err, FB_E_DATA, offset, "%s: shape overflows", path);
    }
    if (total != bytes)
        return fb__fail(err, FB_E_DATA, offset, "%s: the shape needs %llu bytes, %llu follow", path,
                        (unsigned long long)total, (unsigned long long)bytes);
    npy->count = (size_t)(total / fb_dtype_bytes(npy->dtype));
    return FB_OK;
}

fb_status fb__npy_read(fb__npy *out, const fb__file *file, const char *path, fb_error *err)
{
    fb_bytes b = fb_bytes_of(file->bytes, file->count);
    const uint8_t *magic = fb_bytes_take(&b, 6);
    const uint8_t major = fb_bytes_u8(&b), minor = fb_bytes_u8(&b);
    size_t length;
    const char *text;
    header h;

    if (magic == NULL || memcmp(magic, "\x93NUMPY", 6) != 0)
        return fb__fail(err, FB_E_DATA, 0, "%s: not a .npy file", path);
    if ((major != 1 && major != 2) || minor != 0)
        return fb__fail(err, FB_E_DATA, 6, "%s: .npy version %u.%u, expected 1.0 or 2.0", path,
                        (unsigned)major, (unsigned)minor);
    length = major == 1 ? fb_bytes_u16(&b) : fb_bytes_u32(&b);
    text = (const char *)fb_bytes_take(&b, length);
    if (b.failed || length > HEADER_MAX)
        return fb__fail(err, FB_E_DATA, 8, "%s: the header's length %zu does not fit the file",
                        path, length);
    if (!take_header(&(cursor){text, text + length}, &h))
        return fb__fail(err, FB_E_DATA, 8,
                        "%s: the header is no dictionary of descr, "
                        "fortran_order and shape",
                        path);
    h.npy.dtype = dtype_of(h.descr);
    if (h.npy.dtype == FB_DTYPE_NONE)
        return fb__fail(err, FB_E_DATA, 8, "%s: dtype %s, expected <f4, <i4, <i8 or |u1", path,
                        h.descr);
    if (h.fortran)
        return fb__fail(err, FB_E_DATA, 8, "%s: Fortran order, expected C order", path);
    *out = h.npy;
    out->data = b.at;
    return check_size(out, (uint64_t)(b.at - file->bytes), fb_bytes_left(&b), path, err);
}
