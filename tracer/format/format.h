/* SPDX-License-Identifier: Apache-2.0
 *
 * format.h - the fixed parts of a trace file: header, chunk header, footer, and the numbers that
 * name sections and records. Normative text: docs/trace-format.md. Private to tracer.
 */
#ifndef FB_TRACER_FORMAT_FORMAT_H
#define FB_TRACER_FORMAT_FORMAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "firstbit/event.h"
#include "firstbit/status.h"

enum {
    FB_FORMAT_VERSION = 1,
    FB_FORMAT_ALIGN = 4096,       /* chunks begin on multiples of this */
    FB_HEADER_BYTES = 128,        /* fixed part of the file header */
    FB_HEADER_JSON_MAX = 1 << 20, /* cJSON needs some 40 times this when hostile */
    FB_CHUNK_HEADER_BYTES = 512,
    FB_CHUNK_RAW = 256 << 10,     /* a chunk is sealed when its raw size reaches this */
    FB_CHUNK_MAX = 4 << 20,       /* hard limit, raw and stored, chunk header not counted */
    FB_CHUNK_SKIPS = 28,          /* pointer k leads 2^k chunks back */
    FB_CHUNK_CHAINS = 8,          /* five in use */
    FB_CHUNK_SITES_MAX = 1 << 16, /* definitions in one chunk: what a reader must hold at once */
    FB_CHUNK_FORMS_MAX = 1 << 16,
    FB_CHUNK_STRINGS_MAX = 1 << 18,
    FB_CHUNK_FRAMES_MAX = 1 << 16,
    FB_CHUNK_MODULES_MAX = 1 << 12,
    FB_CHUNK_EVENTS_MAX = 1 << 19, /* rows of zeros compress to nothing: what keeps a small */
    FB_CHUNK_INPUTS_MAX = 1 << 22, /* file from being years of work; inputs of all events */
    FB_TRACE_SITES_MAX = 96 << 10, /* different sites of a whole trace */
    FB_INDICES_MAX = 1 << 17,      /* indices of one sample event */
    FB_TEXT_MAX = 1 << 16,         /* bytes of an event's text */
    FB_CONTENTS_PIECE = 1 << 20,   /* bytes of one piece of a tensor's contents */
    FB_STACK_DEPTH_MAX = 64,
};

#define FB_STEP_MAX (UINT64_C(1) << 62) /* steps and relative steps fit a signed number */
#define FB_NO_STEP  UINT64_MAX
#define FB_NO_EVENT UINT64_MAX

typedef enum fb_chunk_type { FB_CHUNK_EVENTS = 1, FB_CHUNK_FOOTER = 2 } fb_chunk_type;
typedef enum fb_codec { FB_CODEC_NONE = 0, FB_CODEC_ZSTD = 1 } fb_codec;

/* Sections of a chunk's packed part. */
typedef enum fb_section {
    FB_SECTION_STRINGS = 1,
    FB_SECTION_MODULES = 2,
    FB_SECTION_FRAMES = 3,
    FB_SECTION_SITES = 4,
    FB_SECTION_FORMS = 5,
    FB_SECTION_ROWS = 6,
    FB_SECTION_CONTROLS = 7,
    FB_SECTION_STORAGE = 8,
    FB_SECTION_VERSIONS = 9,
    FB_SECTION_VALUES = 10,
    FB_SECTION_NUMBERS = 11,
    FB_SECTION_INDICES = 12,
    FB_SECTION_TEXTS = 13,
    FB_SECTION_COUNT = 14,
    FB_SECTION_SKIPPABLE = 64,  /* unknown sections from here on may be skipped */
    FB_SECTION_SKETCHES_1 = 64, /* edition 1, before there were others: read, not written */
    FB_SECTION_BLOCKS = 65,
    FB_SECTION_CONTENTS = 66,
    FB_SECTION_SKETCHES = 67,
    FB_SECTION_EXTRA_END = 68,
} fb_section;

/* Row codes: an event of the predicted form, a control record, else form number + 2. */
enum { FB_ROW_PREDICTED = 0, FB_ROW_CONTROL = 1, FB_ROW_FORM = 2 };

typedef enum fb_control {
    FB_CONTROL_STEP = 1,     /* the step of the events that follow */
    FB_CONTROL_STEP_END = 2, /* the step is finished: next entry of the steps part */
    FB_CONTROL_MICRO = 3,    /* the micro-batch of the events that follow */
} fb_control;

/* Form bits: which optional columns an event of the form has. */
enum { FB_FORM_HASH = 1, FB_FORM_INDICES = 2, FB_FORM_TEXT = 4, FB_FORM_KNOWN = 7 };

/* Micro of an input: none, that of the event, else the number + 2. */
enum { FB_MICRO_CODE_NONE = 0, FB_MICRO_CODE_SAME = 1, FB_MICRO_CODE_NUMBER = 2 };

/* Flags that a form holds; FB_EVENT_VALUES follows from section values. */
static const uint32_t fb__known_flags = FB_EVENT_NONFINITE | FB_EVENT_UNDEFINED;

typedef struct fb_file_header {
    uint32_t version;
    uint64_t ignorable, readonly, incompatible; /* feature flags */
    fb_hash id;
    uint64_t json_bytes;
    uint64_t span; /* bytes up to the first chunk */
    fb_level level;
} fb_file_header;

/* Everything that a chunk header says about its chunk. */
typedef struct fb_chunk_header {
    fb_chunk_type type;
    fb_codec codec;
    fb_hash id;
    uint64_t sequence;
    uint32_t steps_bytes, packed_stored, packed_raw, hash_bytes; /* the parts of the body */
    uint32_t events, steps; /* events and ends of steps in this chunk */
    uint64_t first_event;
    uint64_t first_step, last_step; /* of its records */
    uint64_t finished_step;         /* last finished step up to the chunk's end, or FB_NO_STEP */
    uint64_t finished_steps;        /* how many steps had finished by then */
    uint64_t offset;                /* of this chunk in the file */
    uint64_t first_nonfinite;       /* first event of the trace so far with a NaN, or FB_NO_EVENT */
    fb_hash chain[FB_CLASS_COUNT];  /* at finished_step */
    uint64_t skip[FB_CHUNK_SKIPS];  /* offset of chunk sequence - 2^k; 0: there is none */
    uint64_t staged; /* position in the tail behind the last row that is in this chunk or before */
    uint64_t steps_check; /* of the steps part alone, so that it can be read alone */
    uint64_t body_check;  /* of the whole body */
} fb_chunk_header;

/* An entry of the steps part: this, then root and chain of each recorded class. */
enum { FB_STEP_ENTRY_BYTES = 32, FB_STEP_CLASS_BYTES = 32 };

typedef struct fb_footer {
    uint8_t status; /* fb_trace_status: complete or full */
    bool recovered; /* the tail was lost; what is here is whole */
    uint64_t chunks, events, steps, first_step, finished_step;
    char reason[512];            /* why the recording stopped, "" for a complete one */
    uint64_t elapsed_ns, own_ns; /* from open to close; processor time of sealing. 0: not known */
} fb_footer;

static inline uint64_t fb__align_up(uint64_t n)
{
    return (n + FB_FORMAT_ALIGN - 1) & ~(uint64_t)(FB_FORMAT_ALIGN - 1);
}

/* Bytes of a chunk without the padding behind it. */
static inline uint64_t fb__chunk_bytes(const fb_chunk_header *h)
{
    return (uint64_t)FB_CHUNK_HEADER_BYTES + h->steps_bytes + h->packed_stored + h->hash_bytes;
}

uint64_t fb__check(const void *bytes, size_t count); /* XXH3-64, seed 0 */

/* --- Writing: fixed-size images, checks filled in ----------------------------------------------
 */

void fb__put_file_header(uint8_t out[FB_HEADER_BYTES], const fb_file_header *h, const char *json);
void fb__put_chunk_header(uint8_t out[FB_CHUNK_HEADER_BYTES], const fb_chunk_header *h);

/* Appends the body of a footer chunk. */
void fb__put_footer(fb_buffer *out, const fb_footer *footer);

/* --- Reading: nothing is believed before its check holds ---------------------------------------
 */

/*
 * Reads the fixed part. The check covers the JSON too: fb__check_file_header once that is read.
 * FB_E_FORMAT, FB_E_VERSION, FB_E_CORRUPT.
 */
FB_NODISCARD fb_status fb__get_file_header(fb_file_header *out, const uint8_t *bytes, size_t count,
                                           fb_error *err);
bool fb__file_header_sound(const uint8_t fixed[FB_HEADER_BYTES], const char *json,
                           size_t json_bytes);

/* True where `bytes` hold a sound chunk header of trace `id` made for `offset`: its check holds and
 * its sizes keep within the limits. *why (a static text) says what is wrong otherwise. */
bool fb__get_chunk_header(fb_chunk_header *out, const uint8_t bytes[FB_CHUNK_HEADER_BYTES],
                          fb_hash id, uint64_t offset, const char **why);

bool fb__get_footer(fb_footer *out, const void *body, size_t count);

#endif
