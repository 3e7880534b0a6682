/* SPDX-License-Identifier: Apache-2.0
 *
 * event_json.c - one event as one line of JSON. Keys: docs/trace-format.md, "JSON lines".
 */
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/hash.h"
#include "base/sketch.h"
#include "tracer/read/trace_state.h"

/* --- Text --------------------------------------------------------------------------------------
 */

static void put(fb_buffer *out, const char *text)
{
    fb_buffer_append(out, text, strlen(text));
}

static void put_format(fb_buffer *out, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void put_format(fb_buffer *out, const char *format, ...)
{
    char text[96]; /* numbers and short names only */
    va_list args;

    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    put(out, text);
}

/* Length of the UTF-8 sequence at `s`, 0 where there is none. The final zero ends any sequence. */
static int utf8_length(const uint8_t *s, uint32_t *code)
{
    const uint8_t lead = s[0];
    const int length = lead < 0x80                   ? 1
                       : lead >= 0xc2 && lead < 0xe0 ? 2
                       : lead >= 0xe0 && lead < 0xf0 ? 3
                       : lead >= 0xf0 && lead < 0xf5 ? 4
                                                     : 0;

    *code = length < 2 ? lead : lead & (0x7fu >> length);
    for (int i = 1; i < length; i++) {
        if ((s[i] & 0xc0) != 0x80)
            return 0;
        *code = *code << 6 | (s[i] & 0x3f);
    }
    if ((length == 3 && (*code < 0x800 || (*code >= 0xd800 && *code < 0xe000))) ||
        (length == 4 && (*code < 0x10000 || *code > 0x10ffff)))
        return 0;
    return length;
}

/* A JSON string. Control characters, C1 ones too, are escaped, so that a line does nothing to a
 * terminal; a byte that is no UTF-8 becomes U+FFFD. */
static void put_string(fb_buffer *out, const char *text)
{
    const uint8_t *s = (const uint8_t *)text;

    fb_buffer_u8(out, '"');
    while (*s != 0) {
        uint32_t code;
        const int length = utf8_length(s, &code);

        if (length == 0)
            put(out, "\\ufffd");
        else if (code == '"' || code == '\\')
            put_format(out, "\\%c", (int)code);
        else if (code < 0x20 || (code >= 0x7f && code < 0xa0))
            put_format(out, "\\u%04x", code);
        else
            fb_buffer_append(out, s, (size_t)length);
        s += length == 0 ? 1 : length;
    }
    fb_buffer_u8(out, '"');
}

static void put_key(fb_buffer *out, const char *key)
{
    fb_buffer_u8(out, ',');
    put_string(out, key);
    fb_buffer_u8(out, ':');
}

static void put_text_member(fb_buffer *out, const char *key, const char *text)
{
    put_key(out, key);
    if (text == NULL)
        put(out, "null");
    else
        put_string(out, text);
}

/* 64 bits that a double does not hold. */
static void put_u64_member(fb_buffer *out, const char *key, uint64_t value)
{
    put_key(out, key);
    put_format(out, "\"%" PRIu64 "\"", value);
}

static void put_count_member(fb_buffer *out, const char *key, uint64_t value)
{
    put_key(out, key);
    put_format(out, "%" PRIu64, value);
}

static void put_bool_member(fb_buffer *out, const char *key, bool value)
{
    put_key(out, key);
    put(out, value ? "true" : "false");
}

static void put_real(fb_buffer *out, double x)
{
    if (isnan(x))
        put(out, "\"nan\"");
    else if (isinf(x))
        put(out, x < 0 ? "\"-inf\"" : "\"inf\"");
    else
        put_format(out, "%.17g", x);
}

static void put_micro_member(fb_buffer *out, int32_t micro)
{
    put_key(out, "micro");
    if (micro == FB_MICRO_NONE)
        put(out, "null");
    else
        put_format(out, "%" PRId32, micro);
}

static void put_hash_member(fb_buffer *out, const char *key, fb_hash hash)
{
    char hex[FB_HASH_HEX_BYTES];

    put_key(out, key);
    if (fb_hash_is_zero(hash))
        put(out, "null");
    else
        put_format(out, "\"%s\"", fb_hash_hex(hex, hash));
}

/* --- Parts of an event -------------------------------------------------------------------------
 */

static const char *phase_or_null(fb_phase phase)
{
    return phase == FB_PHASE_NONE ? NULL : fb_phase_name(phase);
}

static void put_shape(fb_buffer *out, const fb_site *site)
{
    const bool scalar = site->kind == FB_KIND_SCALAR;

    put_text_member(out, "dtype",
                    fb__kind_has_shape(site->kind) || scalar ? fb_dtype_name(site->dtype) : NULL);
    put_key(out, "shape");
    if (!fb__kind_has_shape(site->kind)) {
        put(out, scalar ? "[]" : "null");
        return;
    }
    put(out, "[");
    for (uint32_t i = 0; i < site->rank; i++)
        put_format(out, "%s%" PRIu64, i == 0 ? "" : ",", site->shape[i]);
    put(out, "]");
}

static void put_inputs(fb_buffer *out, const fb_trace *t, const fb_event *e)
{
    put_key(out, "inputs");
    put(out, "[");
    for (uint32_t i = 0; i < e->input_count; i++) {
        const fb_site *site = fb_trace_site(t, e->inputs[i].site);

        put_format(out, "%s{\"step\":%" PRIu64, i == 0 ? "" : ",", e->inputs[i].step);
        put_micro_member(out, e->inputs[i].micro);
        put_text_member(out, "phase", phase_or_null(site->phase));
        put_text_member(out, "path", site->path);
        put_text_member(out, "op", site->op);
        put_text_member(out, "slot", site->slot);
        put_count_member(out, "occurrence", site->occurrence);
        put(out, "}");
    }
    put(out, "]");
}

static void put_value(fb_buffer *out, const fb_site *site, double value)
{
    put_key(out, "value");
    put_real(out, value);
    put_key(out, "bits");
    if (site->dtype == FB_DTYPE_F32) {
        put_format(out, "\"0x%08" PRIx32 "\"", fb_float_bits((float)value));
    } else {
        uint64_t bits;
        memcpy(&bits, &value, sizeof bits);
        put_format(out, "\"0x%016" PRIx64 "\"", bits);
    }
}

static void put_draw(fb_buffer *out, const fb_site *site, const fb_event *e)
{
    put_text_member(out, "stream", site->stream);
    put_text_member(out, "algorithm", site->algorithm);
    put_u64_member(out, "key", e->key);
    put_u64_member(out, "counter", e->counter);
    put_u64_member(out, "count", e->count);
    put_text_member(out, "distribution", site->distribution);
    put_key(out, "parameters");
    put(out, "[");
    put_real(out, site->parameters[0]);
    put(out, ",");
    put_real(out, site->parameters[1]);
    put(out, "]");
    put_text_member(out, "consumer", site->consumer);
}

static void put_sample(fb_buffer *out, const fb_site *site, const fb_event *e)
{
    put_text_member(out, "dataset", site->dataset);
    put_text_member(out, "role", fb_role_name(site->role));
    put_u64_member(out, "epoch", e->counter);
    put_u64_member(out, "count", e->count);
    put_key(out, "indices");
    if (e->indices == NULL) {
        put(out, "null");
        return;
    }
    put(out, "[");
    for (uint64_t i = 0; i < e->count; i++)
        put_format(out, "%s\"%" PRIu64 "\"", i == 0 ? "" : ",", e->indices[i]);
    put(out, "]");
}

static void put_kind_members(fb_buffer *out, const fb_site *site, const fb_event *e)
{
    switch (site->kind) {
    case FB_KIND_TENSOR:
    case FB_KIND_PARAM:
        put_u64_member(out, "storage", e->storage);
        put_count_member(out, "version", e->version);
        break;
    case FB_KIND_DRAW:
        put_draw(out, site, e);
        break;
    case FB_KIND_SAMPLE:
        put_sample(out, site, e);
        break;
    case FB_KIND_SCALAR:
    case FB_KIND_MODE:
        put_value(out, site, e->value);
        break;
    case FB_KIND_SEED:
        put_text_member(out, "stream", site->stream);
        put_text_member(out, "algorithm", site->algorithm);
        put_u64_member(out, "seed", e->key);
        break;
    case FB_KIND_CHECKPOINT:
        put_text_member(out, "file", e->text);
        break;
    case FB_KIND_MARK:
        put_text_member(out, "text", e->text);
        break;
    case FB_KIND_COLLECTIVE:
    case FB_KIND_NONE:
        break;
    }
}

/* --- Levels sketch and values ------------------------------------------------------------------
 */

static uint64_t finite_elements(const fb_sketch *s)
{
    return s->elements - s->nan - s->infinite;
}

double fb_sketch_mean(const fb_sketch *sketch)
{
    const uint64_t n = finite_elements(sketch);

    return n == 0 ? NAN : sketch->sum / (double)n;
}

double fb_sketch_deviation(const fb_sketch *sketch)
{
    const uint64_t n = finite_elements(sketch);
    const double mean = fb_sketch_mean(sketch);
    const double variance = n == 0 ? NAN : sketch->sum_square / (double)n - mean * mean;

    return variance < 0 ? 0 : sqrt(variance);
}

char *fb_sketch_text(char out[FB_SKETCH_TEXT_BYTES], const fb_sketch *sketch)
{
    int at = 0;

    if (sketch->elements == 0)
        at = snprintf(out, FB_SKETCH_TEXT_BYTES, "empty");
    else if (sketch->nan < sketch->elements)
        at = snprintf(out, FB_SKETCH_TEXT_BYTES, "min %.4g max %.4g mean %.4g sd %.4g", sketch->min,
                      sketch->max, fb_sketch_mean(sketch), fb_sketch_deviation(sketch));
    else
        out[0] = '\0';
    if (sketch->nan > 0)
        at += snprintf(out + at, (size_t)(FB_SKETCH_TEXT_BYTES - at), "%snan %" PRIu64,
                       at == 0 ? "" : " ", sketch->nan);
    if (sketch->infinite > 0)
        (void)snprintf(out + at, (size_t)(FB_SKETCH_TEXT_BYTES - at), " inf %" PRIu64,
                       sketch->infinite);
    return out;
}

static void put_real_member(fb_buffer *out, const char *key, double x)
{
    put_key(out, key);
    put_real(out, x);
}

static void put_sketch(fb_buffer *out, const fb_site *site, const fb_sketch *s)
{
    const int digits = 2 * (int)fb_sketch_element_bytes(site->dtype);

    put_key(out, "sketch");
    put_format(out, "{\"elements\":%" PRIu64, s->elements);
    put_real_member(out, "min", s->min);
    put_real_member(out, "max", s->max);
    put_real_member(out, "mean", fb_sketch_mean(s));
    put_real_member(out, "std", fb_sketch_deviation(s));
    put_count_member(out, "nan", s->nan);
    put_count_member(out, "inf", s->infinite);
    put_count_member(out, "zero", s->zero);
    put_count_member(out, "subnormal", s->subnormal);
    put_real_member(out, "sum", s->sum);
    put_real_member(out, "sum_abs", s->sum_abs);
    put_real_member(out, "sum_square", s->sum_square);
    put_hash_member(out, "multiset", s->multiset);
    put_hash_member(out, "bf16", s->bf16);
    put_key(out, "linear");
    for (int j = 0; j < FB_SKETCH_BUCKETS; j++) {
        put(out, j == 0 ? "[" : ",");
        put_real(out, s->linear[j]);
    }
    put(out, "]");
    put_key(out, "samples");
    put(out, "[");
    for (uint64_t j = 0; j < FB_SKETCH_SAMPLES && j < s->elements; j++)
        put_format(out, "%s\"0x%0*" PRIx64 "\"", j == 0 ? "" : ",", digits, s->samples[j]);
    put(out, "]");
    if (s->edition != 1)
        put_count_member(out, "edition", s->edition);
    put(out, "}");
}

/* Only where the level recorded them. */
static void put_extras(fb_buffer *out, const fb_site *site, const fb_event *e)
{
    char hex[FB_HASH_HEX_BYTES];

    if (e->sketch != NULL)
        put_sketch(out, site, e->sketch);
    if (e->blocks != NULL) {
        put_key(out, "blocks");
        for (uint64_t i = 0; i < e->block_count; i++)
            put_format(out, "%s\"%s\"", i == 0 ? "[" : ",", fb_hash_hex(hex, e->blocks[i]));
        put(out, "]");
    }
    if ((e->flags & FB_EVENT_VALUES) != 0)
        put_u64_member(out, "contents", e->data_bytes);
}

char *fb_trace_event_json(fb_trace *trace, const fb_event *event, uint64_t number)
{
    const fb_site *site = fb_trace_site(trace, event->site);
    fb_buffer out = {0};

    put_format(&out, "{\"schema\":1,\"event\":%" PRIu64 ",\"step\":%" PRIu64, number, event->step);
    put_micro_member(&out, event->micro);
    put_text_member(&out, "phase", phase_or_null(site->phase));
    put_text_member(&out, "path", site->path);
    put_text_member(&out, "op", site->op);
    put_text_member(&out, "kind", fb_kind_name(site->kind));
    put_text_member(&out, "slot", site->slot);
    put_shape(&out, site);
    put_hash_member(&out, "hash", event->hash);
    put_inputs(&out, trace, event);
    put_text_member(&out, "class", fb_class_name(fb_site_class(site)));
    put_count_member(&out, "occurrence", site->occurrence);
    put_bool_member(&out, "nonfinite", (event->flags & FB_EVENT_NONFINITE) != 0);
    put_bool_member(&out, "undefined", (event->flags & FB_EVENT_UNDEFINED) != 0);
    put_kind_members(&out, site, event);
    if (site->arguments[0] != '\0')
        put_text_member(&out, "arguments", site->arguments);
    put_extras(&out, site, event);
    fb_buffer_append(&out, "}", 2);
    if (out.failed) {
        fb_buffer_free(&out);
        return NULL;
    }
    return (char *)out.data;
}
