/* SPDX-License-Identifier: Apache-2.0
 *
 * fast_dispatch.c - what happens at each op: its inputs' makers are looked up, it is called as it
 * is, and its outputs are recorded.
 */
#include "fast.h"

#include <stdlib.h>
#include <string.h>

enum {
    INPUTS_MAX = 256, /* tensors of one op that are looked at; no op of PyTorch but those on lists
                       * has more than a few */
};

/* --- Tensors of an op --------------------------------------------------------------------------
 */

typedef struct tensors {
    PyObject *of[INPUTS_MAX]; /* borrowed */
    uint32_t count;
    PyObject **more; /* where there are more: all of them */
    uint32_t capacity;
} tensors;

static PyObject **all_of(tensors *t)
{
    return t->more != NULL ? t->more : t->of;
}

static int add_tensor(tensors *t, PyObject *tensor)
{
    if (t->count >= INPUTS_MAX && t->count >= t->capacity) {
        const uint32_t capacity = 4 * t->count;
        PyObject **more = realloc(t->more, capacity * sizeof(PyObject *));

        if (more == NULL) {
            (void)PyErr_NoMemory();
            return -1;
        }
        if (t->more == NULL)
            memcpy(more, t->of, sizeof t->of);
        t->more = more;
        t->capacity = capacity;
    }
    all_of(t)[t->count++] = tensor;
    return 0;
}

/* The tensors in a value: itself, or those of a list or tuple and of lists in it. */
static int collect(const fast_core *c, tensors *t, PyObject *value, int depth)
{
    const bool list = PyList_Check(value);
    Py_ssize_t count;

    if (fast_is_tensor(c, value))
        return add_tensor(t, value);
    if ((!list && !PyTuple_Check(value)) || depth >= FAST_DEPTH_MAX)
        return 0;
    count = list ? PyList_Size(value) : PyTuple_Size(value);
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *item = list ? PyList_GetItem(value, i) : PyTuple_GetItem(value, i);

        if (item == NULL || collect(c, t, item, depth + 1) != 0)
            return -1;
    }
    return 0;
}

/* Of an op's arguments those in `places` and `names`, or those not in them. */
static int collect_arguments(const fast_core *c, tensors *t, PyObject *args, PyObject *kwargs,
                             uint64_t places, PyObject *names, bool in)
{
    const Py_ssize_t count = PyTuple_Size(args);
    PyObject *name, *value;
    Py_ssize_t at = 0;

    for (Py_ssize_t i = 0; i < count; i++)
        if ((i < 64 && (places >> i & 1) != 0) == in &&
            collect(c, t, PyTuple_GetItem(args, i), 0) != 0)
            return -1;
    while (kwargs != NULL && PyDict_Next(kwargs, &at, &name, &value)) {
        const int listed = PySequence_Contains(names, name);

        if (listed < 0 || ((listed == 1) == in && collect(c, t, value, 0) != 0))
            return -1;
    }
    return 0;
}

/* --- Around an op ------------------------------------------------------------------------------
 */

/* One call of an op. */
typedef struct op_call {
    uint32_t op;
    PyObject *args, *kwargs;
    fb_phase phase;
    bool updating;  /* an optimizer computes: its results are recorded, of its ops only draws */
    PyObject *path; /* of the module it belongs to: interned, a reference */
    uint64_t place; /* of the program's line that calls it */
    tensors found;  /* inputs, then outputs */
    fb_ref inputs[INPUTS_MAX], *refs;
    uint32_t ref_count, ref_capacity;
    char views[FAST_VIEWS_MAX]; /* which places of their storages it reads and writes */
    size_t views_length;
} op_call;

fb_phase fast_phase(const fast_core *c, PyObject *name)
{
    for (int i = 0; i < FAST_PHASES; i++)
        if (c->phases[i] == name)
            return (fb_phase)i;
    for (int i = 0; i < FAST_PHASES; i++)
        if (name != NULL && PyUnicode_Compare(c->phases[i], name) == 0)
            return (fb_phase)i;
    return FB_PHASE_NONE;
}

static bool is_set(PyObject *dict, PyObject *name)
{
    PyObject *value = PyDict_GetItemWithError(dict, name);

    return value != NULL && PyObject_IsTrue(value) == 1;
}

/* A reference to the interned path of the module that runs. */
static PyObject *module_path(fast_core *c)
{
    PyObject *path = PyDict_GetItemWithError(c->modules_dict, c->names.path);

    if (path == NULL || !PyUnicode_Check(path)) {
        if (PyErr_Occurred() == NULL)
            PyErr_SetString(PyExc_TypeError, "no path of a module");
        return NULL;
    }
    Py_INCREF(path);
    PyUnicode_InternInPlace(&path);
    return path;
}

static bool in_module(const fast_core *c)
{
    PyObject *stack = PyDict_GetItemWithError(c->modules_dict, c->names.stack);

    return stack != NULL && PyList_Size(stack) > 0;
}

static void set_path(op_call *call, PyObject *path)
{
    Py_INCREF(path);
    Py_XDECREF(call->path);
    call->path = path;
}

/* The module whose backward pass an op belongs to: that of the parameter it uses, else of what it
 * uses from the forward pass; and of the op that used the same gradient before. */
static int find_owner(fast_core *c, op_call *call, const fast_maker *makers, uint32_t count)
{
    PyObject *path = NULL;

    for (uint32_t i = 0; i < count; i++) {
        PyObject *owner = makers[i].path != NULL ? NULL : fast_owner_of(c, makers[i].ref);

        if (owner != NULL) {
            set_path(call, owner);
            return 0;
        }
    }
    for (uint32_t i = 0; i < count; i++)
        if (makers[i].path != NULL) {
            path = makers[i].path;
            if (makers[i].param)
                break;
        }
    if (path == NULL)
        return 0;
    set_path(call, path);
    for (uint32_t i = 0; i < count; i++)
        if (makers[i].path == NULL && fast_owner_of(c, makers[i].ref) == NULL &&
            fast_put_owner(c, makers[i].ref, path) != 0)
            return -1;
    return 0;
}

static PyObject *slot_of(PyObject *const slots[FAST_SLOTS], const char *form, uint32_t i)
{
    PyObject *slot;

    if (i < FAST_SLOTS) {
        Py_INCREF(slots[i]);
        return slots[i];
    }
    slot = PyUnicode_FromFormat(form, (int)i);
    if (slot != NULL)
        PyUnicode_InternInPlace(&slot);
    return slot;
}

/* Notes that a tensor begins at another place than its storage: of what made both contents are
 * equal, it may be another part of them. */
static void say_view(fast_core *c, op_call *call, PyObject *tensor, const char *slot, uint32_t i,
                     uint64_t bytes)
{
    const unsigned long long elements = fast_elements(c, tensor, bytes);
    char *end = call->views + call->views_length;
    const size_t room = sizeof call->views - call->views_length;
    char number[16] = "";
    int written;

    if (i > 0 || strcmp(slot, "in") == 0)
        (void)snprintf(number, sizeof number, "%u", (unsigned)i);
    written = elements == 0 ? 0
                            : snprintf(end, room, "%s\"%s%s.offset\":%llu",
                                       call->views_length == 0 ? "" : ",", slot, number, elements);
    if (written > 0 && (size_t)written < room)
        call->views_length += (size_t)written;
    else
        *end = '\0';
}

/* Contents that nobody saw made are recorded as such. */
static int record_input(fast_core *c, op_call *call, uint32_t i, fb_ref *ref)
{
    fast_where where = {.kind = FB_KIND_TENSOR,
                        .phase = call->phase,
                        .path = call->path,
                        .op = c->ops[call->op].name,
                        .entered = true,
                        .stacked = true,
                        .place = call->place};
    int failed;

    where.slot = slot_of(c->ins, "in%d", i);
    if (where.slot == NULL)
        return -1;
    failed = fast_record(c, all_of(&call->found)[i], &where, ref);
    Py_DECREF(where.slot);
    return failed;
}

/* Nothing is recorded of what is empty, or of what has no memory that can be read. */
static int is_nothing(fast_core *c, PyObject *tensor)
{
    PyObject *nothing = PyObject_CallMethod(c->session, "is_nothing", "O", tensor);
    const int yes = nothing == NULL ? -1 : PyObject_IsTrue(nothing);

    Py_XDECREF(nothing);
    return yes;
}

static int add_ref(op_call *call, fb_ref ref)
{
    if (call->ref_count == call->ref_capacity) {
        const uint32_t capacity = 4 * call->ref_capacity;
        fb_ref *more =
            realloc(call->refs == call->inputs ? NULL : call->refs, capacity * sizeof *more);

        if (more == NULL) {
            (void)PyErr_NoMemory();
            return -1;
        }
        if (call->refs == call->inputs)
            memcpy(more, call->inputs, sizeof call->inputs);
        call->refs = more;
        call->ref_capacity = capacity;
    }
    call->refs[call->ref_count++] = ref;
    return 0;
}

/* Of storages that several ops wrote parts of: all but the last of these. */
static int add_parts(fast_core *c, op_call *call, const bool *known)
{
    uint64_t offset;
    int failed = 0;

    for (uint32_t i = 0; i < call->found.count && failed == 0; i++) {
        const fast_maker *maker =
            known[i] ? fast_maker_of(c, all_of(&call->found)[i], &offset, &failed) : NULL;

        for (uint32_t p = 0; maker != NULL && p < maker->part_count && failed == 0; p++)
            failed = add_ref(call, maker->parts[p]);
    }
    return failed;
}

/* References to what made the inputs, and the path of the forward op that one of them is from, for
 * ops of the backward pass. */
static int look_at_inputs(fast_core *c, op_call *call, fast_maker *makers, bool *known,
                          fb_ref *refs)
{
    const uint32_t count = call->found.count;
    uint32_t makers_found = 0;
    uint64_t offset;
    bool parts = false;
    int failed = 0;

    for (uint32_t i = 0; i < count; i++) {
        PyObject *tensor = all_of(&call->found)[i];
        const fast_maker *maker = fast_maker_of(c, tensor, &offset, &failed);

        if (failed != 0)
            return -1;
        if (offset != 0)
            say_view(c, call, tensor, "in", i, offset);
        known[i] = maker != NULL;
        if (maker == NULL)
            continue;
        parts |= maker->part_count > 0;
        refs[i] = maker->ref;
        makers[makers_found] = *maker;
        Py_XINCREF(makers[makers_found].path);
        makers_found++;
    }
    if (call->phase == FB_PHASE_BACKWARD && !in_module(c))
        failed = find_owner(c, call, makers, makers_found);
    for (uint32_t i = 0; i < makers_found; i++)
        Py_XDECREF(makers[i].path);
    for (uint32_t i = 0; i < count && failed == 0; i++) {
        int nothing = known[i] ? 0 : is_nothing(c, all_of(&call->found)[i]);

        failed = nothing < 0 ? -1 : 0;
        if (!known[i] && nothing == 0)
            failed = record_input(c, call, i, &refs[i]);
        if (nothing == 0 && failed == 0)
            failed = add_ref(call, refs[i]);
    }
    return failed == 0 && parts ? add_parts(c, call, known) : failed;
}

static int before_op(fast_core *c, op_call *call)
{
    const fast_op *op = &c->ops[call->op];
    fast_maker few[32], *makers = few;
    fb_ref few_refs[32], *refs = few_refs;
    bool few_known[32], *known = few_known;
    uint32_t count;
    int failed = -1;

    if (call->updating)
        return 0;
    if (collect_arguments(c, &call->found, call->args, call->kwargs, op->ignored_places,
                          op->ignored_inputs, false) != 0)
        return -1;
    count = call->found.count;
    if (count > 32) {
        makers = malloc(count * sizeof *makers);
        refs = malloc(count * sizeof *refs);
        known = malloc(count * sizeof *known);
    }
    if (refs == NULL || makers == NULL || known == NULL)
        (void)PyErr_NoMemory();
    else
        failed = look_at_inputs(c, call, makers, known, refs);
    if (count > 32) {
        free(makers);
        free(refs);
        free(known);
    }
    return failed;
}

/* Whether an op's first two arguments lie at two places of one storage: `x[i] += y` copies an
 * element to where it is. */
static bool share_storage(fast_core *c, PyObject *args)
{
    fast_place to, from;

    if (PyTuple_Size(args) < 2 || !fast_is_tensor(c, PyTuple_GetItem(args, 1)))
        return false;
    fast_place_of(c, PyTuple_GetItem(args, 0), &to);
    fast_place_of(c, PyTuple_GetItem(args, 1), &from);
    return to.address != 0 && to.address == from.address && to.data != from.data;
}

/* Which part of its storage an op has overwritten: nothing else that it was called with says so. */
static void say_written(fast_core *c, op_call *call)
{
    for (uint32_t i = 0; i < call->found.count; i++) {
        PyObject *tensor = all_of(&call->found)[i];
        fast_place place;

        fast_place_of(c, tensor, &place);
        say_view(c, call, tensor, "out", i, place.data - place.address);
    }
}

static int after_op(fast_core *c, op_call *call, PyObject *out)
{
    const fast_op *op = &c->ops[call->op];
    const uint64_t workspaces = op->workspaces;
    fast_where where = {.kind = FB_KIND_TENSOR,
                        .phase = call->phase,
                        .path = call->path,
                        .op = op->name,
                        .inputs = call->refs,
                        .input_count = call->ref_count,
                        .written = op->mutable_places != 0 || PyList_Size(op->mutable_names) > 0,
                        .stacked = true,
                        .place = call->place};
    const bool undefined = op->undefined || (op->moves && share_storage(c, call->args));
    fast_place place;
    int known = 0;
    fb_ref ref;

    if (call->updating)
        return 0;
    call->found.count = 0;
    if (collect(c, &call->found, out, 0) != 0)
        return -1;
    /* foreach ops change lists and return nothing */
    if (call->found.count == 0 && where.written &&
        collect_arguments(c, &call->found, call->args, call->kwargs, op->mutable_places,
                          op->mutable_names, true) != 0)
        return -1;
    if (op->shows && call->found.count > 0) {
        fast_place_of(c, all_of(&call->found)[0], &place);
        known = place.address == 0 ? 0 : fast_show(c, &place);
    }
    if (known != 0)
        return known < 0 ? -1 : 0;
    if (where.written && op->ignored_places != 0)
        say_written(c, call);
    if (fast_arguments_of(c, call->op, call->args, call->kwargs, call->views, &where.arguments) !=
        0)
        return -1;
    for (uint32_t i = 0; i < call->found.count; i++) {
        int failed;

        where.slot = slot_of(c->outs, "out%d", i);
        if (where.slot == NULL)
            return -1;
        where.undefined = undefined || (i < 64 && (workspaces >> i & 1) != 0);
        failed = fast_record(c, all_of(&call->found)[i], &where, &ref);
        Py_DECREF(where.slot);
        if (failed != 0)
            return -1;
    }
    return 0;
}

/* --- Random ops, and ops that resize -----------------------------------------------------------
 */

/* What the session has to remember: the generator's state ("before_draw"), or where tensors lie
 * that may be given other memory ("before_move"); NULL with an exception. */
static PyObject *before_call(fast_core *c, const op_call *call, const char *method)
{
    PyObject *kwargs = call->kwargs == NULL ? PyDict_New() : call->kwargs, *state = NULL;

    if (kwargs != NULL)
        state = PyObject_CallMethod(c->session, method, "OOO", c->ops[call->op].info, call->args,
                                    kwargs);
    if (call->kwargs == NULL)
        Py_XDECREF(kwargs);
    return state;
}

/* What came is made of these numbers: the draw is the last input of the outputs. */
static int after_draw(fast_core *c, op_call *call, PyObject *state, PyObject *out)
{
    PyObject *ref = PyObject_CallMethod(c->session, "after_draw", "OOOO", state,
                                        c->ops[call->op].info, out, call->path);
    fb_ref drawn;
    char *bytes;
    Py_ssize_t count;
    int failed = 0;

    if (ref == NULL)
        return -1;
    if (ref != Py_None && PyBytes_AsStringAndSize(ref, &bytes, &count) == 0 &&
        count == sizeof drawn) {
        memcpy(&drawn, bytes, sizeof drawn);
        failed = add_ref(call, drawn);
    }
    Py_DECREF(ref);
    return failed != 0 || PyErr_Occurred() != NULL ? -1 : 0;
}

/* --- The whole ---------------------------------------------------------------------------------
 */

/* Hands the exception that is set to the session, which tells it and ends the recording. Returns
 * whether the program is to see it: only where somebody looks for faults of the recorder. */
static bool is_raised(fast_core *c)
{
    PyObject *type, *value, *trace, *result;

    PyErr_Fetch(&type, &value, &trace);
    PyErr_NormalizeException(&type, &value, &trace);
    result = PyObject_CallMethod(c->session, "fail", "O", value == NULL ? Py_None : value);
    if (result != Py_True) {
        PyErr_Clear();
        Py_XDECREF(result);
        Py_XDECREF(type);
        Py_XDECREF(value);
        Py_XDECREF(trace);
        return false;
    }
    Py_DECREF(result);
    PyErr_Restore(type, value, trace);
    return true;
}

static PyObject *recorded_call(fast_core *c, op_call *call)
{
    PyObject *callable = c->ops[call->op].call, *out, *state = NULL, *places = NULL, *done;
    const bool random = c->ops[call->op].random, resizes = c->ops[call->op].resizes;
    int failed;

    call->path = module_path(c);
    call->place = call->updating ? 0 : fast_place_of_call(c);
    failed = call->path == NULL || before_op(c, call) != 0;
    if (failed == 0 && random) {
        state = before_call(c, call, "before_draw");
        failed = state == NULL;
    }
    if (failed == 0 && resizes) {
        places = before_call(c, call, "before_move");
        failed = places == NULL;
    }
    if (failed != 0 && is_raised(c))
        return NULL;
    Py_INCREF(callable);
    out = PyObject_Call(callable, call->args, call->kwargs);
    Py_DECREF(callable);
    if (failed == 0 && out != NULL) {
        if (places != NULL) {
            done = PyObject_CallMethod(c->session, "after_move", "O", places);
            failed = done == NULL ? -1 : 0;
            Py_XDECREF(done);
        }
        if (failed == 0 && state != NULL && state != Py_None)
            failed = after_draw(c, call, state, out);
        if (failed == 0)
            failed = after_op(c, call, out);
        if (failed != 0 && is_raised(c)) {
            Py_DECREF(out);
            out = NULL;
        }
    }
    Py_XDECREF(state);
    Py_XDECREF(places);
    return out;
}

/* A collective's tensors are kept until its process group has dropped them. */
static int hold(fast_core *c, PyObject *args, PyObject *kwargs)
{
    PyObject *given = kwargs == NULL ? PyDict_New() : kwargs, *done = NULL;

    if (given != NULL)
        done = PyObject_CallMethod(c->session, "hold", "OO", args, given);
    if (kwargs == NULL)
        Py_XDECREF(given);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

/* Whether nothing is recorded of what this thread computes now. */
static bool is_silent(const fast_core *c)
{
    return (c->left_thread != 0 && PyThread_get_thread_ident() == c->left_thread) ||
           !is_set(c->session_dict, c->names.ops) || is_set(c->session_dict, c->names.waiting);
}

PyObject *fast_dispatch(fast_core *c, PyObject *func, PyObject *args, PyObject *kwargs)
{
    int64_t op = -1;
    PyObject *out;
    op_call call;

    if (c->session_dict == NULL)
        return PyObject_Call(func, args, kwargs);
    op = fast_op_of(c, func);
    if (op < 0 && is_raised(c))
        return NULL;
    if (op < 0)
        return PyObject_Call(func, args, kwargs);
    if ((c->ops[op].passes && !c->ops[op].collective) || is_silent(c))
        return PyObject_Call(c->ops[op].call, args, kwargs);
    if (c->ops[op].collective && hold(c, args, kwargs) != 0 && is_raised(c))
        return NULL;
    call.updating = is_set(c->session_dict, c->names.updating);
    if (c->ops[op].passes || (call.updating && !c->ops[op].random))
        return PyObject_Call(c->ops[op].call, args, kwargs);
    call.op = (uint32_t)op;
    call.args = args;
    call.kwargs = kwargs;
    call.phase = fast_phase(c, PyDict_GetItemWithError(c->session_dict, c->names.phase));
    call.path = NULL;
    call.views[0] = '\0';
    call.views_length = 0;
    call.found.count = 0;
    call.found.more = NULL;
    call.found.capacity = 0;
    call.refs = call.inputs;
    call.ref_count = 0;
    call.ref_capacity = INPUTS_MAX;
    out = recorded_call(c, &call);
    Py_XDECREF(call.path);
    free(call.found.more);
    if (call.refs != call.inputs)
        free(call.refs);
    return out;
}
