/* SPDX-License-Identifier: Apache-2.0
 *
 * tail.h - the tail file: what a recorder has been told and not yet sealed into chunks. It lies
 * beside the trace, shared with the kernel, so that an event outlives the program from the moment
 * when its call returns. Private to tracer.
 *
 * Rules: docs/trace-format.md, "Tail file". Two halves take turns; a row is one definition, event
 * or end of a step; a half defines all that it uses.
 */
#ifndef FB_TRACER_FORMAT_TAIL_H
#define FB_TRACER_FORMAT_TAIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "firstbit/event.h"
#include "firstbit/status.h"
#include "tracer/format/sites.h"

enum {
    FB_TAIL_HEAD_BYTES = 4096,
    FB_TAIL_HALVES = 2,
    FB_TAIL_HALF_HEAD_BYTES = 64,
    FB_TAIL_HALF_MAX = 512 << 10,
    FB_TAIL_HALF_MIN = 32 << 10,
    FB_TAIL_ROW_HEAD_BYTES = 16,
    FB_TAIL_ROW_MAX = 64 << 20, /* of a row that no half can hold */
};

typedef enum fb_tail_row {
    FB_TAIL_MODULE = 1,
    FB_TAIL_FRAME = 2,
    FB_TAIL_SITE = 3,
    FB_TAIL_STEP = 4, /* the open step and the classes that it records */
    FB_TAIL_STEP_END = 5,
    FB_TAIL_EVENT = 6,
    FB_TAIL_PIECE = 7, /* contents of the last event go on */
} fb_tail_row;

/* What an event row has beside its head, in this order. */
enum {
    FB_TAIL_PLACE = 1,       /* step u64, micro i32, 0 u32; else those of the row before */
    FB_TAIL_HASH = 2,        /* 16 bytes */
    FB_TAIL_STORAGE = 4,     /* storage u64 */
    FB_TAIL_VALUE = 8,       /* f64 */
    FB_TAIL_NUMBERS = 16,    /* key, counter, count u64 */
    FB_TAIL_INDICES = 32,    /* count u64 each */
    FB_TAIL_TEXT = 64,       /* bytes u64, the text */
    FB_TAIL_INPUTS = 128,    /* count u32, then each: site u32 | FB_TAIL_ELSEWHERE */
    FB_TAIL_VERSION = 256,   /* version u32, 0 u32 */
    FB_TAIL_FLAGS = 512,     /* flags u32, 0 u32 */
    FB_TAIL_SKETCH_1 = 1024, /* FB_TAIL_SKETCH without its edition, which is 1; read only */
    FB_TAIL_BLOCKS = 2048,   /* count u64, that many hashes */
    FB_TAIL_CONTENTS = 4096, /* width u32, bytes u32, total u64, the first bytes of the contents */
    FB_TAIL_SKETCH = 8192,   /* fb_sketch, field by field as it is declared */
};

#define FB_TAIL_ELSEWHERE UINT32_C(0x80000000) /* step u64 and micro i32 of the input follow */

/* The head of a row. */
typedef struct fb_tail_row_head {
    uint32_t bytes; /* of the row, head and padding to a multiple of 8 included */
    uint32_t check; /* fb__tail_check */
    uint8_t type;
    uint8_t reserved;
    uint16_t mask;   /* event: what it has */
    uint32_t number; /* of the module, frame or site that is defined, or whose event this is */
} fb_tail_row_head;

/* The head of a half as it lies in the file. */
typedef struct fb_tail_half_head {
    uint64_t sequence;    /* 1 for the first filling, then one more each; 0: never filled */
    uint64_t committed;   /* bytes of whole rows behind this head */
    uint64_t first_event; /* events of the recording before this filling */
    uint64_t reserved[5];
} fb_tail_half_head;

_Static_assert(sizeof(fb_tail_row_head) == FB_TAIL_ROW_HEAD_BYTES, "as documented");
_Static_assert(sizeof(fb_tail_half_head) == FB_TAIL_HALF_HEAD_BYTES, "as documented");

/* A place in all that was ever staged: grows with time, is what chunk headers keep. */
static inline uint64_t fb__tail_position(uint64_t sequence, size_t offset)
{
    return sequence << 32 | (uint32_t)offset;
}

/* Of a row's bytes from its type on. */
uint32_t fb__tail_check(uint64_t sequence, const uint8_t *row, size_t bytes);

/* The name of the tail file of a trace: malloc'd, NULL when memory is out. */
char *fb__tail_path(const char *trace_path);

/* The head of a tail file, with its check. */
void fb__put_tail_head(uint8_t out[FB_TAIL_HEAD_BYTES], fb_hash id, uint64_t half_bytes);
bool fb__get_tail_head(const uint8_t bytes[FB_TAIL_HEAD_BYTES], fb_hash id, uint64_t *half_bytes);

/* --- Writing -----------------------------------------------------------------------------------
 */

typedef struct fb_epochs {
    uint32_t *of; /* by number: the filling in which it was defined last */
    uint32_t capacity;
} fb_epochs;

/* The writer's side. Its owner keeps calls apart. */
typedef struct fb_stage {
    uint8_t *map; /* the whole area */
    size_t map_bytes, half_bytes;
    bool on_disk; /* else plain memory: there was no room for a file */
    int descriptor;
    char *path;

    fb_tail_half_head *head; /* of the half being filled */
    uint8_t *rows;
    size_t used, room;
    unsigned half;
    uint64_t sequence, events; /* events: staged so far, in all fillings */

    uint32_t epoch;
    fb_epochs sites, frames, modules;
    bool has_place, failed;
    uint64_t step;
    int32_t micro;
    size_t contents_taken; /* of the last event: bytes of its contents that its row has */
} fb_stage;

/*
 * Makes the tail file of the trace, all of it preallocated, at most 1.5 MiB and what the disk has
 * left; where there is no room for 64 KiB, plain memory does. A third of it is a reserve. An old
 * file of that name is replaced. FB_E_MEMORY.
 */
FB_NODISCARD fb_status fb__stage_open(fb_stage *s, const char *trace_path, fb_hash id,
                                      fb_error *err);

/* Unmaps; remove: the file too, since all of it is in the trace. */
void fb__stage_close(fb_stage *s, bool remove);

/* Give blocks back to a full disk, once nothing is staged any more: the reserve; a half whose rows
 * are in the trace. */
void fb__stage_give_reserve(const fb_stage *s);
void fb__stage_give_half(const fb_stage *s, unsigned half);

/* Begins to fill a half, whose rows must not be needed any more. */
void fb__stage_begin(fb_stage *s, unsigned half);

/* Begins to fill memory of the caller's instead, for what no half can hold. */
void fb__stage_begin_in(fb_stage *s, fb_tail_half_head *head, uint8_t *rows, size_t room);

/* Each appends a row, with the definitions that it needs, and commits it. False where there is no
 * room, or memory is out (then s->failed is set): nothing is committed but definitions. map: see
 * fb__builder_event. An event with the flag FB_EVENT_VALUES takes the first bytes of its contents
 * along; fb__stage_piece appends as many of the others as the half has room for, at most a quarter
 * of it, and adds to s->contents_taken. */
bool fb__stage_step(fb_stage *s, uint64_t step, uint32_t classes);
bool fb__stage_step_end(fb_stage *s, uint64_t step);
bool fb__stage_event(fb_stage *s, const fb_sites *sites, uint32_t site, const fb_event *event,
                     const uint32_t *map);

bool fb__stage_piece(fb_stage *s, uint32_t width, const void *data, size_t total);

/* Writes what is staged to the disk, against a loss of power. */
void fb__stage_sync(const fb_stage *s);

#endif
