/* SPDX-License-Identifier: Apache-2.0
 *
 * event.h - the one event model: what an engine or a recorder reports, a trace stores, replay
 * checks and diff compares. Knows nothing of machine learning beyond names.
 *
 * The parts of an event that repeat every step are its *site*, told once; an fb_event then carries
 * what changes. The identity of an event is (step, micro, site's phase, path, op, occurrence,
 * slot). The normative text is docs/trace-format.md.
 */
#ifndef FIRSTBIT_EVENT_H
#define FIRSTBIT_EVENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "firstbit/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* All lists: X(NAME, number, "name"); numbers are pinned for ever, 0 is "none". */
#define FB_PHASE_LIST(X)                                                                           \
    X(INIT, 1, "init")                                                                             \
    X(DATA, 2, "data")                                                                             \
    X(FORWARD, 3, "forward")                                                                       \
    X(LOSS, 4, "loss")                                                                             \
    X(BACKWARD, 5, "backward")                                                                     \
    X(COMM, 6, "comm")                                                                             \
    X(OPTIMIZER, 7, "optimizer")                                                                   \
    X(SCHEDULE, 8, "schedule")                                                                     \
    X(EVAL, 9, "eval")                                                                             \
    X(CHECKPOINT, 10, "checkpoint")

#define FB_KIND_LIST(X)                                                                            \
    X(TENSOR, 1, "tensor")         /* output of an op, or a gradient */                            \
    X(DRAW, 2, "draw")             /* random numbers taken from a stream */                        \
    X(SAMPLE, 3, "sample")         /* the examples of a micro-batch */                             \
    X(SCALAR, 4, "scalar")         /* loss, learning rate, norm, coefficient */                    \
    X(SEED, 5, "seed")             /* a generator was seeded */                                    \
    X(MODE, 6, "mode")             /* train or eval, gradient on or off */                         \
    X(PARAM, 7, "param")           /* parameter or optimizer state after an update */              \
    X(COLLECTIVE, 8, "collective") /* communication between processes */                           \
    X(CHECKPOINT, 9, "checkpoint") /* state written to or read from a file */                      \
    X(MARK, 10, "mark")            /* a note of the program, no part of training state */

#define FB_ROLE_LIST(X)                                                                            \
    X(UNKNOWN, 0, "unknown")                                                                       \
    X(TRAIN, 1, "train")                                                                           \
    X(VAL, 2, "val")                                                                               \
    X(TEST, 3, "test")

/* X(NAME, number, "name", bytes of an element) */
#define FB_DTYPE_LIST(X)                                                                           \
    X(F64, 1, "f64", 8)                                                                            \
    X(F32, 2, "f32", 4)                                                                            \
    X(F16, 3, "f16", 2)                                                                            \
    X(BF16, 4, "bf16", 2)                                                                          \
    X(F8_E4M3, 5, "f8e4m3", 1)                                                                     \
    X(F8_E5M2, 6, "f8e5m2", 1)                                                                     \
    X(C64, 7, "c64", 8)                                                                            \
    X(C128, 8, "c128", 16)                                                                         \
    X(I8, 9, "i8", 1)                                                                              \
    X(I16, 10, "i16", 2)                                                                           \
    X(I32, 11, "i32", 4)                                                                           \
    X(I64, 12, "i64", 8)                                                                           \
    X(U8, 13, "u8", 1)                                                                             \
    X(U16, 14, "u16", 2)                                                                           \
    X(U32, 15, "u32", 4)                                                                           \
    X(U64, 16, "u64", 8)                                                                           \
    X(BOOL, 17, "bool", 1)

/* The chains of a trace. Equal chains of a class mean equal pasts in that class. */
#define FB_CLASS_LIST(X)                                                                           \
    X(SCALARS, 0, "scalars") /* loss, learning rate, norms */                                      \
    X(DATA, 1, "data")       /* samples, draws, seeds, modes */                                    \
    X(STATE, 2, "state")     /* parameters, optimizer state */                                     \
    X(OPS, 3, "ops")         /* op outputs, gradients, collectives */                              \
    X(NOTES, 4, "notes")     /* evaluation, checkpoints, marks: never training state */

#define FB_LEVEL_LIST(X)                                                                           \
    X(STEPS, 1, "steps")                                                                           \
    X(DRAWS, 2, "draws")                                                                           \
    X(OPS, 3, "ops")                                                                               \
    X(SKETCH, 4, "sketch")                                                                         \
    X(VALUES, 5, "values")

#define FB_EVENT_ENUM(prefix, name, number)      FB_##prefix##_##name = (number),
#define FB_PHASE_ENUM(name, number, text)        FB_EVENT_ENUM(PHASE, name, number)
#define FB_KIND_ENUM(name, number, text)         FB_EVENT_ENUM(KIND, name, number)
#define FB_ROLE_ENUM(name, number, text)         FB_EVENT_ENUM(ROLE, name, number)
#define FB_DTYPE_ENUM(name, number, text, bytes) FB_EVENT_ENUM(DTYPE, name, number)
#define FB_CLASS_ENUM(name, number, text)        FB_EVENT_ENUM(CLASS, name, number)
#define FB_LEVEL_ENUM(name, number, text)        FB_EVENT_ENUM(LEVEL, name, number)

typedef enum fb_phase { FB_PHASE_NONE = 0, FB_PHASE_LIST(FB_PHASE_ENUM) } fb_phase;
typedef enum fb_kind { FB_KIND_NONE = 0, FB_KIND_LIST(FB_KIND_ENUM) } fb_kind;
typedef enum fb_role { FB_ROLE_LIST(FB_ROLE_ENUM) } fb_role;
typedef enum fb_dtype { FB_DTYPE_NONE = 0, FB_DTYPE_LIST(FB_DTYPE_ENUM) } fb_dtype;
typedef enum fb_class { FB_CLASS_LIST(FB_CLASS_ENUM) FB_CLASS_COUNT } fb_class;
typedef enum fb_level { FB_LEVEL_NONE = 0, FB_LEVEL_LIST(FB_LEVEL_ENUM) } fb_level;

#undef FB_PHASE_ENUM
#undef FB_KIND_ENUM
#undef FB_ROLE_ENUM
#undef FB_DTYPE_ENUM
#undef FB_CLASS_ENUM
#undef FB_LEVEL_ENUM
#undef FB_EVENT_ENUM

/* 128 bits of XXH3. hi and lo as in XXH128_hash_t; printed as 32 hex digits, hi first. */
typedef struct fb_hash {
    uint64_t lo, hi;
} fb_hash;

enum {
    FB_RANK_MAX = 8,       /* dimensions of a tensor */
    FB_NAME_MAX = 1024,    /* bytes of a path, op, slot or other name, without the final zero */
    FB_INPUTS_MAX = 65535, /* input references of one event */
    FB_MICRO_NONE = -1     /* fb_event.micro outside micro-batches */
};

/* What repeats: told once by fb_observer.on_site before the first event that uses it. Names are
 * UTF-8, NULL means "". Pointers are borrowed for the duration of the call. */
typedef struct fb_site {
    size_t size; /* sizeof(fb_site), so that fields can be appended */
    fb_kind kind;
    fb_phase phase;
    const char *path;    /* module or parameter path: "h.0.attn.qkv", "h.0.attn.qkv.weight" */
    const char *op;      /* "linear", "adamw" */
    const char *slot;    /* which tensor of the op: "out", "grad", "param" */
    uint32_t occurrence; /* the how-manieth event of this identity within one (step, micro) */
    bool note;           /* never training state: goes to class notes whatever its kind */

    fb_dtype dtype; /* tensor, param, scalar (f32 or f64) */
    uint32_t rank;  /* tensor, param; at most FB_RANK_MAX */
    uint64_t shape[FB_RANK_MAX];

    const char *stream;       /* draw, seed: name of the random stream */
    const char *algorithm;    /* draw, seed: "philox4x32-10" */
    const char *distribution; /* draw: "bernoulli", "normal", "permutation", "raw" */
    double parameters[2];     /* draw: of the distribution, in its usual order; unused ones are 0 */
    const char *consumer;     /* draw: path of what uses the numbers */

    const char *dataset; /* sample */
    fb_role role;        /* sample: declared, never guessed */

    const char *source;    /* to a recorder: the call stack where the program knows it by name (an
                            * interpreter), a frame a line, innermost first. No part of what makes a
                            * site; from a reader NULL: fb_trace_stack has it */
    const char *arguments; /* what the op was called with beside tensors, a JSON object:
                            * {"eps":1e-05,"training":true}. Sites that differ in it are two; it
                            * enters no hash */
} fb_site;

/* Names another event of this run: the one that made an input. */
typedef struct fb_ref {
    uint32_t site;
    int32_t micro; /* FB_MICRO_NONE outside micro-batches */
    uint64_t step;
} fb_ref;

enum {
    FB_EVENT_NONFINITE = 1,    /* the tensor or scalar holds a NaN or an infinity */
    FB_EVENT_UNDEFINED = 2,    /* contents undefined (an `empty` tensor): there is no hash */
    FB_EVENT_VALUES = 1 << 16, /* contents are in the trace; no part of a hash or of a form */
};

/* What level sketch keeps of a tensor: docs/levels.md has the formulas. Every field depends on
 * dtype and contents alone. Real numbers are float64; a NaN among them is 0x7ff8000000000000. */
enum {
    FB_SKETCH_BUCKETS = 64,
    FB_SKETCH_SAMPLES = 64,
    FB_SKETCH_EDITION = 2,   /* today's */
    FB_BLOCKS_MAX = 1 << 16, /* block hashes of one event; larger tensors (4 GiB) have none */
};

typedef struct fb_sketch {
    uint64_t elements;                       /* real numbers: a complex element counts as two */
    uint64_t nan, infinite, zero, subnormal; /* how many elements are that */
    double min, max;                         /* of elements that are no NaN; none: +inf and -inf */
    double sum, sum_abs, sum_square;         /* of finite elements */
    double linear[FB_SKETCH_BUCKETS];
    uint64_t samples[FB_SKETCH_SAMPLES]; /* bits of elements; min(elements, 64) are in use */
    fb_hash multiset;                    /* does not depend on the order of elements */
    fb_hash bf16;     /* the tensor's hash were it rounded to bf16; 0: f64 f32 f16 bf16 only */
    uint64_t edition; /* of `multiset`: only those of one edition compare */
} fb_sketch;

/* One occurrence. Fields that the kind does not use are zero. Pointers are borrowed for the
 * duration of the call (from a reader: until the next read). */
typedef struct fb_event {
    size_t size;   /* sizeof(fb_event), so that fields can be appended */
    uint32_t site; /* number by which on_site introduced the site */
    uint32_t flags;
    uint64_t step;    /* 0 before the first update */
    int32_t micro;    /* micro-batch (in eval: evaluation batch), from 0, or FB_MICRO_NONE */
    uint32_t version; /* tensor, param: how often `storage` had been written; enters no hash */
    uint64_t storage; /* tensor, param: number of the memory that holds it; enters no hash */

    fb_hash hash; /* tensor, param, collective: tensor hash; sample: content hash; checkpoint: hash
                   * of the file; draw: of the values where the stream has no counter, else 0 */
    double value; /* scalar (a float32 widened), mode: 0 or 1 */

    uint64_t key;     /* draw: key of a counter-based stream, (step << 32 | stream number) here;
                       * seed: the seed */
    uint64_t counter; /* draw: position of the first number; sample: the epoch */
    uint64_t count;   /* draw: how many numbers; sample: how many samples */
    const uint64_t *indices; /* sample: `count` dataset indices in batch order, or NULL */

    const char *text; /* mark: the note; checkpoint: file name without folder */

    const fb_ref *inputs; /* events that made this event's inputs, in the op's order */
    uint32_t input_count;

    const void *data;  /* tensor, param: row-major contents, or NULL where not at hand */
    size_t data_bytes; /* from a reader: of recorded contents (FB_EVENT_VALUES), data is NULL */

    const fb_sketch *sketch; /* tensor, param, collective: level sketch and above, or NULL */
    const fb_hash *blocks;   /* hash of each 64 KiB block of the tensor hash, or NULL */
    uint64_t block_count;    /* 2 to FB_BLOCKS_MAX; one block says no more than `hash` */
} fb_event;

/* What fb_observer.wants may ask for beside classes; a NULL `wants` asks for neither. Contents are
 * at hand in fb_event.data whether asked for or not. */
#define FB_WANT_SKETCH (UINT32_C(1) << 16) /* fb_event.sketch and blocks */
#define FB_WANT_VALUES (UINT32_C(1) << 17) /* contents of some tensors will be recorded */

/* Receives everything that a run does. All calls come from one thread, in an order that depends on
 * nothing but the run. A status other than FB_OK stops the run, which hands it to its caller. */
typedef struct fb_observer {
    size_t size; /* sizeof(fb_observer) */
    void *self;

    /* Which classes (bit 1u << FB_CLASS_...) to report, and hash, in this step, and FB_WANT_ bits.
     * Asked once a step before its first event. NULL: all classes. */
    uint32_t (*wants)(void *self, uint64_t step);

    /* A new site. Numbers are dense: 0, 1, 2, ... */
    fb_status (*on_site)(void *self, uint32_t number, const fb_site *site, fb_error *err);

    fb_status (*on_event)(void *self, const fb_event *event, fb_error *err);

    /* Everything of this step, its evaluation and checkpoint too, has been reported. May be NULL.
     */
    fb_status (*on_step_end)(void *self, uint64_t step, fb_error *err);
} fb_observer;

/* The name of a number of the lists above, a static string; "?" for one that is not listed. */
FB_API const char *fb_phase_name(fb_phase phase);
FB_API const char *fb_kind_name(fb_kind kind);
FB_API const char *fb_role_name(fb_role role);
FB_API const char *fb_dtype_name(fb_dtype dtype);
FB_API const char *fb_class_name(fb_class c);
FB_API const char *fb_level_name(fb_level level);

/* The number of a name, or 0 (for a role: -1) where no such name is listed. */
FB_API fb_phase fb_phase_of(const char *name);
FB_API fb_kind fb_kind_of(const char *name);
FB_API fb_dtype fb_dtype_of(const char *name);
FB_API fb_level fb_level_of(const char *name);
FB_API int fb_role_of(const char *name);

/* Bytes of one element, 0 for a dtype that is not listed. */
FB_API size_t fb_dtype_bytes(fb_dtype dtype);

/* The class whose root and chain an event of this site enters. */
FB_API fb_class fb_site_class(const fb_site *site);

/* Classes recorded by a level at an ordinary step, as bits 1u << FB_CLASS_... */
FB_API uint32_t fb_level_classes(fb_level level);

#ifdef __cplusplus
}
#endif
#endif
