/* SPDX-License-Identifier: Apache-2.0
 *
 * fast.h - the part of the PyTorch recorder that runs for every op, as an extension module:
 * firstbit.torch._fast. Without it firstbit/torch/core.py does the same in Python.
 *
 * Written against Python's limited API (3.9), so that one build serves every later version, and
 * without PyTorch's headers: tensors are asked through their Python methods. What it records goes
 * to firstbit_trace through two function addresses; it links to nothing.
 *
 * All functions need the GIL. Those that return int return -1 with a Python exception set.
 */
#ifndef FB_RECORDERS_FAST_H
#define FB_RECORDERS_FAST_H

#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x03090000
#include <Python.h>

#include <stdbool.h>
#include <stdint.h>

#include "firstbit/event.h"

/* --- Tables ------------------------------------------------------------------------------------
 */

/* Numbers of entries by hash; the owner compares. 0 is an empty slot, else entry + 1. */
typedef struct fast_index {
    uint32_t *slots;
    uint32_t mask;
} fast_index;

enum { FAST_PARTS_MAX = 1024 }; /* of one storage that are told apart */

/* What made the contents of a storage. The weak reference keeps an address from meaning two. */
typedef struct fast_maker {
    uint64_t address;     /* of the storage's first byte */
    uint64_t weak;        /* reference to the storage, PyTorch's number of it; 0: it is gone */
    uint32_t first, last; /* versions of the storage as long as nobody else has written to it */
    fb_ref ref;
    PyObject *path; /* of the module, interned; NULL for what the backward pass made */
    bool param;     /* a parameter or state */
    bool undefined; /* its contents mean nothing yet */
    uint64_t part;  /* what was read of it when it came from outside: address, 0 for all of it, */
    size_t part_bytes; /* and bytes */
    uint32_t number;   /* of the storage, in the order in which parameters were first seen; or 0 */
    fb_ref *parts;     /* where `ref` wrote only a part: what made the rest, latest last */
    uint32_t part_count, part_capacity;
} fast_maker;

/* A gradient, and the module that it went into. */
typedef struct fast_owner {
    fb_ref ref;
    PyObject *path;
} fast_owner;

/* A site of one identity and occurrence; another shape, other arguments or another line of the
 * program make another one. */
typedef struct fast_site {
    struct fast_site *next;
    PyObject *arguments; /* NULL: none */
    uint64_t place;      /* of the program's line that reported it: fast_place_of_call */
    uint32_t number;
    uint8_t kind, dtype, rank;
    uint64_t shape[FB_RANK_MAX];
} fast_site;

typedef struct fast_identity {
    int32_t micro;
    fb_phase phase;
    PyObject *path, *op, *slot; /* interned: equal strings are the same object */
    uint64_t step;
    uint32_t count; /* how many of it there were in `step` */
    uint32_t site_count;
    fast_site **sites; /* by occurrence */
} fast_identity;

/* --- Ops ---------------------------------------------------------------------------------------
 */

enum {
    FAST_ARGUMENTS_MAX = 256, /* of one op, different arguments that are told */
    FAST_DEPTH_MAX = 4,       /* of lists in lists that are looked into */
    FAST_VIEWS_MAX = 512,     /* of a text of places, in bytes; what is longer is cut */
};

typedef struct fast_text {
    uint64_t hash;
    PyObject *text;
} fast_text;

/* What OpInfo of dispatch.py says of an op, and how to call it. */
typedef struct fast_op {
    PyObject *func, *call, *info; /* call: func without its Python frame */
    PyObject *name;               /* interned */
    PyObject *ignored_inputs;     /* set of names */
    PyObject *mutable_names;      /* set of names, or NULL */
    bool passes;                  /* view or ignored: nothing is recorded */
    bool undefined, random, moves, shows, resizes, collective;
    uint64_t ignored_places, mutable_places; /* arguments by place, one bit each */
    uint64_t workspaces;                     /* outputs by place */
    fast_text *texts;                        /* arguments that were told */
    uint32_t text_count;
} fast_op;

/* --- Places ------------------------------------------------------------------------------------
 */

/* Whether code is the program's own. */
typedef struct fast_code {
    PyObject *code; /* kept: its address means nothing else */
    bool program;
} fast_code;

/* --- The core ----------------------------------------------------------------------------------
 */

enum { FAST_DTYPES = 24, FAST_SLOTS = 32, FAST_PHASES = 11 };

typedef void fast_event_call(void *recorder, const fb_event *event);
typedef uint32_t fast_site_call(void *recorder, const fb_site *site);

/* Methods and attributes that are asked for again and again. */
typedef struct fast_names {
    PyObject *data_ptr, *storage_offset, *element_size, *is_contiguous, *is_neg; /* methods */
    PyObject *storage_of, *weak_ref, *expired, *free_weak_ref, *numel;           /* callables */
    PyObject *dtype, *shape, *version, *is_cpu, *weak_ref_name, *cdata;          /* strings */
    PyObject *ops, *waiting, *updating, *phase, *path, *stack; /* of the session */
    PyObject *caller;                                          /* of its modules */
    PyObject *back, *lasti;                                    /* of a frame */
    PyObject *step, *micro, *handle;                           /* of the recorder */
} fast_names;

typedef struct fast_core {
    PyObject_HEAD PyObject *session, *session_dict, *modules_dict, *recorder_dict;
    unsigned long left_thread; /* 0, or a thread that is not recorded though the mode is active */
    PyObject *tensor_type, *parameter_type; /* contents of others are looked at in Python */
    PyObject *op_type;
    PyObject *look; /* contents.look: the slow way to a tensor's contents */
    PyObject *describe;
    fast_event_call *event;
    fast_site_call *site;
    fast_names names;
    struct {
        PyObject *object; /* torch.float32 */
        fb_dtype dtype;
    } dtypes[FAST_DTYPES];
    uint32_t dtype_count;
    PyObject *phases[FAST_PHASES];
    PyObject *outs[FAST_SLOTS], *ins[FAST_SLOTS]; /* "out", "out1", ... */

    fast_maker *makers;
    uint32_t maker_count, maker_capacity, maker_limit, numbered;
    fast_index maker_index;
    fast_owner *owners;
    uint32_t owner_count, owner_capacity;
    fast_index owner_index;
    fast_identity *identities;
    uint32_t identity_count, identity_capacity;
    fast_index identity_index;
    fast_op *ops;
    uint32_t op_count, op_capacity;
    fast_index op_index;
    fast_code *codes;
    uint32_t code_count, code_capacity;
    fast_index code_index;
} fast_core;

/* Where a tensor lies, as far as looking for its maker needs it. */
typedef struct fast_place {
    uint64_t data;    /* address of its first element, 0 where it has none */
    uint64_t address; /* of its storage */
    uint32_t version;
} fast_place;

/* What is in a tensor. */
typedef struct fast_contents {
    bool hidden; /* sparse, without memory...: there is nothing to read */
    fb_dtype dtype;
    uint32_t rank;
    uint64_t shape[FB_RANK_MAX];
    const void *data;
    size_t bytes;
    PyObject *owner; /* keeps data alive; may be NULL */
} fast_contents;

/* Where and as what a tensor is recorded. */
typedef struct fast_where {
    fb_kind kind;
    fb_phase phase;
    PyObject *path, *op, *slot, *arguments; /* interned; arguments may be NULL */
    const fb_ref *inputs;
    uint32_t input_count;
    bool undefined; /* contents mean nothing until they are written */
    bool written; /* an op has just changed it in place; PyTorch counts that after the op returns to
                   * its caller: the count of the present and the next one belong to the event */
    bool plain;   /* nothing is recorded of a tensor whose rows do not lie in memory */
    bool remade;  /* what made the contents is the input, where it is known */
    bool entered; /* from outside: what is not shown of its storage stays unknown */
    bool shown;   /* of what shows a parameter's memory: that stays what made its contents */
    PyObject *learned; /* the module of the parameter that it is, of a version that nobody saw */
    bool stacked;      /* a new site gets the program's call stack */
    uint64_t place;    /* that the stack is of; of no meaning where not stacked */
} fast_where;

/* fast_tables.c */
uint64_t fast_mix(uint64_t hash, uint64_t value);
int fast_index_grow(fast_index *index, uint32_t count, bool *rebuild);
void fast_index_put(fast_index *index, uint64_t hash, uint32_t entry);
fast_maker *fast_find_maker(fast_core *c, uint64_t address);
int fast_put_maker(fast_core *c, PyObject *tensor, const fast_place *place, fb_ref ref,
                   PyObject *path, bool written, bool param, int partial);
/* A tensor was given a storage as it is: what made that made its contents. 1 where that is known.
 */
int fast_show(fast_core *c, const fast_place *place);
int fast_keep_part(fast_core *c, const fast_place *place);
int fast_expired(fast_core *c, const fast_maker *maker); /* 1, 0 or -1 */
int fast_forget(fast_core *c, uint64_t address);         /* what lay there lies there no more */
PyObject *fast_held(const fast_core *c);
PyObject *fast_owner_of(fast_core *c, fb_ref ref); /* borrowed, or NULL without exception */
int fast_put_owner(fast_core *c, fb_ref ref, PyObject *path);
void fast_clear_owners(fast_core *c);
fast_identity *fast_identity_of(fast_core *c, int32_t micro, const fast_where *where);
void fast_clear_tables(fast_core *c);

/* fast_tensor.c */
void fast_place_of(fast_core *c, PyObject *tensor, fast_place *out);
fast_maker *fast_maker_of(fast_core *c, PyObject *tensor, uint64_t *offset, int *failed);
uint64_t fast_elements(fast_core *c, PyObject *tensor, uint64_t bytes);
int fast_record(fast_core *c, PyObject *tensor, const fast_where *where, fb_ref *out);
bool fast_is_tensor(const fast_core *c, PyObject *value);

/* fast_ops.c */
/* The number of an op, or -1 with an exception. */
int64_t fast_op_of(fast_core *c, PyObject *func);
/* The text of an op's arguments, borrowed; *out is NULL where it has none. */
int fast_arguments_of(fast_core *c, uint32_t number, PyObject *args, PyObject *kwargs,
                      const char *views, PyObject **out);
void fast_clear_ops(fast_core *c);

/* fast_dispatch.c */
PyObject *fast_dispatch(fast_core *c, PyObject *func, PyObject *args, PyObject *kwargs);

/* fast_place.c */
uint64_t fast_place_of_call(fast_core *c);
void fast_clear_places(fast_core *c);

/* fast_mode_stack.c */
extern PyType_Spec fast_mode_stack_spec;

/* A number that the session's recorder holds: its step, micro-batch. */
int64_t fast_number(PyObject *dict, PyObject *name, int64_t otherwise);
fb_phase fast_phase(const fast_core *c, PyObject *name);

#endif
