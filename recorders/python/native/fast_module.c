/* SPDX-License-Identifier: Apache-2.0
 *
 * fast_module.c - the module firstbit.torch._fast and its one class, Core: the same methods as
 * firstbit.torch.core.Core.
 */
#include "fast.h"

#include <stdlib.h>
#include <string.h>

static const char *const attribute_names[] = {
    "dtype", "shape", "_version", "is_cpu", "_weak_ref", "ops",    "waiting", "updating", "phase",
    "path",  "stack", "_step",    "_micro", "_handle",   "caller", "f_back",  "f_lasti",  "_cdata"};

static PyObject **attribute_of(fast_names *n, size_t i)
{
    PyObject **const of[] = {&n->dtype, &n->shape,   &n->version,  &n->is_cpu, &n->weak_ref_name,
                             &n->ops,   &n->waiting, &n->updating, &n->phase,  &n->path,
                             &n->stack, &n->step,    &n->micro,    &n->handle, &n->caller,
                             &n->back,  &n->lasti,   &n->cdata};

    return of[i];
}

static PyObject **callable_of(fast_names *n, size_t i)
{
    PyObject **const of[] = {&n->data_ptr,      &n->storage_offset, &n->element_size,
                             &n->is_contiguous, &n->is_neg,         &n->storage_of,
                             &n->expired,       &n->free_weak_ref,  &n->numel};

    return of[i];
}

enum {
    ATTRIBUTES = sizeof attribute_names / sizeof *attribute_names,
    CALLABLES = 9,
};

/* --- Made and unmade ---------------------------------------------------------------------------
 */

static bool intern_slots(PyObject *slots[FAST_SLOTS], const char *name)
{
    for (int i = 0; i < FAST_SLOTS; i++) {
        slots[i] = i == 0 && strcmp(name, "out") == 0 ? PyUnicode_FromString(name)
                                                      : PyUnicode_FromFormat("%s%d", name, i);
        if (slots[i] == NULL)
            return false;
        PyUnicode_InternInPlace(&slots[i]);
    }
    return true;
}

static bool take_names(fast_core *c, PyObject *callables, PyObject *phases)
{
    for (size_t i = 0; i < ATTRIBUTES; i++)
        if ((*attribute_of(&c->names, i) = PyUnicode_InternFromString(attribute_names[i])) == NULL)
            return false;
    for (size_t i = 0; i < CALLABLES; i++) {
        PyObject *callable = PyTuple_GetItem(callables, (Py_ssize_t)i);

        if (callable == NULL)
            return false;
        Py_INCREF(callable);
        *callable_of(&c->names, i) = callable;
    }
    for (int i = 0; i < FAST_PHASES; i++) {
        c->phases[i] = PyTuple_GetItem(phases, i);
        if (c->phases[i] == NULL)
            return false;
        Py_INCREF(c->phases[i]);
        PyUnicode_InternInPlace(&c->phases[i]);
    }
    return intern_slots(c->outs, "out") && intern_slots(c->ins, "in");
}

static bool take_dtypes(fast_core *c, PyObject *dtypes)
{
    PyObject *object, *number;
    Py_ssize_t at = 0;

    while (PyDict_Next(dtypes, &at, &object, &number)) {
        const long dtype = PyLong_AsLong(number);

        if (dtype <= 0 || dtype >= FAST_DTYPES || c->dtype_count >= FAST_DTYPES) {
            PyErr_SetString(PyExc_ValueError, "impossible number of a dtype");
            return false;
        }
        Py_INCREF(object);
        c->dtypes[c->dtype_count].object = object;
        c->dtypes[c->dtype_count++].dtype = (fb_dtype)dtype;
    }
    return true;
}

static PyObject *dict_of(PyObject *object)
{
    PyObject *dict = PyObject_GetAttrString(object, "__dict__");

    if (dict != NULL && !PyDict_Check(dict)) {
        Py_DECREF(dict);
        PyErr_SetString(PyExc_TypeError, "an object without a dictionary");
        return NULL;
    }
    return dict;
}

static void drop(PyObject **reference)
{
    PyObject *object = *reference;

    *reference = NULL;
    Py_XDECREF(object);
}

/* Forgets everything; the core records no more. */
static void clear_core(fast_core *c)
{
    fast_clear_tables(c);
    fast_clear_ops(c);
    fast_clear_places(c);
    drop(&c->session_dict);
    drop(&c->modules_dict);
    drop(&c->recorder_dict);
    drop(&c->session);
    drop(&c->look);
    drop(&c->describe);
}

static void core_dealloc(PyObject *self)
{
    fast_core *c = (fast_core *)self;
    PyTypeObject *type = Py_TYPE(self);

    clear_core(c);
    drop(&c->tensor_type);
    drop(&c->parameter_type);
    drop(&c->op_type);
    for (size_t i = 0; i < ATTRIBUTES; i++)
        drop(attribute_of(&c->names, i));
    for (size_t i = 0; i < CALLABLES; i++)
        drop(callable_of(&c->names, i));
    for (int i = 0; i < FAST_PHASES; i++)
        drop(&c->phases[i]);
    for (int i = 0; i < FAST_SLOTS; i++) {
        drop(&c->outs[i]);
        drop(&c->ins[i]);
    }
    for (uint32_t i = 0; i < c->dtype_count; i++)
        drop(&c->dtypes[i].object);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
    Py_DECREF(type);
}

static void *call_at(unsigned long long address)
{
    return (void *)(uintptr_t)address; /* NOLINT(performance-no-int-to-ptr) */
}

/* Core(session, modules, recorder, types, callables, phases, dtypes, look, describe, event, site):
 * see firstbit/torch/core.py, which makes it. */
static PyObject *core_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    PyObject *session, *modules, *recorder, *types[3], *callables, *phases, *dtypes, *look,
        *describe;
    unsigned long long event, site;
    fast_core *c;

    (void)kwargs;
    if (!PyArg_ParseTuple(args, "OOO(OOO)O!O!O!OOKK", &session, &modules, &recorder, &types[0],
                          &types[1], &types[2], &PyTuple_Type, &callables, &PyTuple_Type, &phases,
                          &PyDict_Type, &dtypes, &look, &describe, &event, &site))
        return NULL;
    c = (fast_core *)((allocfunc)PyType_GetSlot(type, Py_tp_alloc))(type, 0);
    if (c == NULL)
        return NULL;
    Py_INCREF(session);
    Py_INCREF(types[0]);
    Py_INCREF(types[1]);
    Py_INCREF(types[2]);
    Py_INCREF(look);
    Py_INCREF(describe);
    c->session = session;
    c->tensor_type = types[0];
    c->parameter_type = types[1];
    c->op_type = types[2];
    c->look = look;
    c->describe = describe;
    c->session_dict = dict_of(session);
    c->modules_dict = dict_of(modules);
    c->recorder_dict = dict_of(recorder);
    c->event = (fast_event_call *)call_at(event);
    c->site = (fast_site_call *)call_at(site);
    if (c->session_dict == NULL || c->modules_dict == NULL || c->recorder_dict == NULL ||
        !take_names(c, callables, phases) || !take_dtypes(c, dtypes)) {
        Py_DECREF((PyObject *)c);
        return NULL;
    }
    return (PyObject *)c;
}

static PyObject *none(void)
{
    Py_INCREF(Py_None);
    return Py_None;
}

/* --- Methods -----------------------------------------------------------------------------------
 */

static PyObject *core_dispatch(PyObject *self, PyObject *args)
{
    PyObject *func, *types, *arguments = NULL, *kwargs = NULL, *empty = NULL, *out;

    if (!PyArg_UnpackTuple(args, "__torch_dispatch__", 2, 4, &func, &types, &arguments, &kwargs))
        return NULL;
    if (arguments == NULL)
        arguments = empty = PyTuple_New(0);
    if (arguments == NULL)
        return NULL;
    if (!PyTuple_Check(arguments) || (kwargs != NULL && kwargs != Py_None && !PyDict_Check(kwargs)))
        out = PyErr_Format(PyExc_TypeError, "arguments of an op: a tuple and a dictionary");
    else
        out = fast_dispatch((fast_core *)self, func, arguments, kwargs == Py_None ? NULL : kwargs);
    Py_XDECREF(empty);
    return out;
}

static int read_inputs(PyObject *list, fb_ref **out, uint32_t *count)
{
    const Py_ssize_t n = PyList_Size(list);

    *out = n <= 0 ? NULL : calloc((size_t)n, sizeof **out);
    *count = 0;
    if (n > 0 && *out == NULL)
        (void)PyErr_NoMemory();
    for (Py_ssize_t i = 0; i < n && *out != NULL; i++) {
        char *bytes;
        Py_ssize_t size;

        if (PyBytes_AsStringAndSize(PyList_GetItem(list, i), &bytes, &size) != 0)
            break;
        if (size == sizeof(fb_ref))
            memcpy(&(*out)[(*count)++], bytes, sizeof(fb_ref));
    }
    if (PyErr_Occurred() == NULL)
        return 0;
    free(*out);
    *out = NULL;
    return -1;
}

static PyObject *ref_bytes(fb_ref ref)
{
    return PyBytes_FromStringAndSize((const char *)&ref, sizeof ref);
}

/* The interned string of the caller's: a reference. */
static PyObject *interned(PyObject *string)
{
    Py_INCREF(string);
    PyUnicode_InternInPlace(&string);
    return string;
}

/* One event of a tensor that no op gives; None where fast_record records nothing. */
static PyObject *record_one(fast_core *c, PyObject *tensor, fast_where where, PyObject *inputs)
{
    fb_ref *refs = NULL, ref;
    int failed = -1;

    if (inputs != Py_None && read_inputs(inputs, &refs, &where.input_count) != 0)
        return NULL;
    where.inputs = refs;
    where.place = where.stacked ? fast_place_of_call(c) : 0;
    where.path = interned(where.path);
    where.op = interned(where.op);
    where.slot = interned(where.slot);
    if (c->session != NULL)
        failed = fast_record(c, tensor, &where, &ref);
    else
        PyErr_SetString(PyExc_RuntimeError, "the recording has ended");
    free(refs);
    Py_DECREF(where.path);
    Py_DECREF(where.op);
    Py_DECREF(where.slot);
    if (failed < 0)
        return NULL;
    return failed > 0 ? none() : ref_bytes(ref);
}

static PyObject *core_record(PyObject *self, PyObject *args)
{
    fast_core *c = (fast_core *)self;
    PyObject *tensor, *phase, *inputs;
    fast_where where = {.kind = FB_KIND_NONE};
    int kind, stacked;

    if (!PyArg_ParseTuple(args, "OiOUUUO!p", &tensor, &kind, &phase, &where.path, &where.op,
                          &where.slot, &PyList_Type, &inputs, &stacked))
        return NULL;
    where.kind = (fb_kind)kind;
    where.phase = fast_phase(c, phase);
    where.stacked = stacked;
    return record_one(c, tensor, where, inputs);
}

static PyObject *core_record_plain(PyObject *self, PyObject *args)
{
    fast_core *c = (fast_core *)self;
    PyObject *tensor, *phase, *inputs;
    fast_where where = {.plain = true, .stacked = true};
    int kind;

    if (!PyArg_ParseTuple(args, "OiOUUUO", &tensor, &kind, &phase, &where.path, &where.op,
                          &where.slot, &inputs))
        return NULL;
    if (inputs != Py_None && !PyList_Check(inputs))
        return PyErr_Format(PyExc_TypeError, "inputs of an event: a list, or None");
    where.kind = (fb_kind)kind;
    where.phase = fast_phase(c, phase);
    where.remade = inputs == Py_None;
    return record_one(c, tensor, where, inputs);
}

static PyObject *core_find(PyObject *self, PyObject *tensor)
{
    int failed;
    uint64_t offset;
    const fast_maker *maker = fast_maker_of((fast_core *)self, tensor, &offset, &failed);

    if (failed != 0)
        return NULL;
    if (maker == NULL)
        return none();
    return ref_bytes(maker->ref);
}

static PyObject *core_undefined(PyObject *self, PyObject *tensor)
{
    int failed;
    uint64_t offset;
    const fast_maker *maker = fast_maker_of((fast_core *)self, tensor, &offset, &failed);

    if (failed != 0)
        return NULL;
    return PyLong_FromUnsignedLongLong(maker == NULL || !maker->undefined ? 0 : maker->weak);
}

static PyObject *core_put(PyObject *self, PyObject *args)
{
    fast_core *c = (fast_core *)self;
    PyObject *tensor, *path;
    const char *bytes;
    Py_ssize_t size;
    fast_place place;
    fb_ref ref;
    int param = 0, undefined = 0, failed;
    fast_maker *maker;

    if (!PyArg_ParseTuple(args, "Oy#U|pp", &tensor, &bytes, &size, &path, &param, &undefined))
        return NULL;
    if (size != sizeof ref) {
        PyErr_SetString(PyExc_ValueError, "not a reference to an event");
        return NULL;
    }
    memcpy(&ref, bytes, sizeof ref);
    fast_place_of(c, tensor, &place);
    Py_INCREF(path);
    PyUnicode_InternInPlace(&path);
    failed = fast_put_maker(c, tensor, &place, ref, path, false, param != 0, 0);
    Py_DECREF(path);
    if (failed != 0)
        return NULL;
    maker = fast_find_maker(c, place.address);
    if (maker != NULL)
        maker->undefined = undefined != 0;
    return none();
}

static PyObject *core_end_step(PyObject *self, PyObject *unused)
{
    (void)unused;
    fast_clear_owners((fast_core *)self);
    return none();
}

static PyObject *core_clear(PyObject *self, PyObject *unused)
{
    (void)unused;
    clear_core((fast_core *)self);
    return none();
}

static PyObject *core_forget(PyObject *self, PyObject *address)
{
    const uint64_t number = PyLong_AsUnsignedLongLong(address);

    if (PyErr_Occurred() != NULL || fast_forget((fast_core *)self, number) != 0)
        return NULL;
    return none();
}

static PyObject *core_held(PyObject *self, PyObject *unused)
{
    (void)unused;
    return fast_held((const fast_core *)self);
}

static PyObject *core_leave_thread(PyObject *self, PyObject *thread)
{
    ((fast_core *)self)->left_thread = PyLong_AsUnsignedLong(thread);
    return PyErr_Occurred() != NULL ? NULL : none();
}

static PyMethodDef core_methods[] = {
    {"__torch_dispatch__", core_dispatch, METH_VARARGS,
     "__torch_dispatch__(func, types, args, kwargs): calls an op and records what came."},
    {"record", core_record, METH_VARARGS,
     "record(tensor, kind, phase, path, op, slot, inputs, stacked): one event; its reference."},
    {"record_plain", core_record_plain, METH_VARARGS,
     "record_plain(tensor, kind, phase, path, op, slot, inputs): the same, or None of a tensor "
     "that "
     "does not lie in rows in memory. inputs: None for what made it."},
    {"find", core_find, METH_O, "find(tensor): the event that made its contents, or None."},
    {"undefined", core_undefined, METH_O,
     "undefined(tensor): a reference to its storage where its contents mean nothing yet, or 0."},
    {"put", core_put, METH_VARARGS,
     "put(tensor, ref, path, param, undefined): this event made its contents."},
    {"end_step", core_end_step, METH_NOARGS, "Forgets what belongs to one step."},
    {"forget", core_forget, METH_O, "forget(address): the storage that lay there has moved."},
    {"held", core_held, METH_NOARGS, "(address, weak reference) of each known storage."},
    {"leave_thread", core_leave_thread, METH_O, "leave_thread(ident): its ops only pass."},
    {"clear", core_clear, METH_NOARGS, "Forgets everything; records no more."},
    {NULL, NULL, 0, NULL}};

static char core_doc[] = "What firstbit.torch records of ops: see core.py beside it.";

static PyType_Slot core_slots[] = {{Py_tp_new, (void *)core_new},
                                   {Py_tp_dealloc, (void *)core_dealloc},
                                   {Py_tp_methods, core_methods},
                                   {Py_tp_doc, core_doc},
                                   {0, NULL}};

static PyType_Spec core_spec = {.name = "firstbit.torch._fast.Core",
                                .basicsize = sizeof(fast_core),
                                .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
                                .slots = core_slots};

static int add_type(PyObject *module, const char *name, PyType_Spec *spec)
{
    PyObject *type = PyType_FromSpec(spec);

    if (type == NULL)
        return -1;
    if (PyModule_AddObject(module, name, type) != 0) {
        Py_DECREF(type);
        return -1;
    }
    return 0;
}

static int add_types(PyObject *module)
{
    if (add_type(module, "Core", &core_spec) != 0 ||
        add_type(module, "ModeStack", &fast_mode_stack_spec) != 0)
        return -1;
    return PyModule_AddIntConstant(module, "VERSION", 1);
}

static PyModuleDef_Slot module_slots[] = {{Py_mod_exec, (void *)add_types}, {0, NULL}};

static PyModuleDef module_definition = {.m_base = PyModuleDef_HEAD_INIT,
                                        .m_name = "_fast",
                                        .m_doc = "What firstbit.torch does for every op.",
                                        .m_size = 0,
                                        .m_slots = module_slots};

PyMODINIT_FUNC PyInit__fast(void);

PyMODINIT_FUNC PyInit__fast(void)
{
    return PyModuleDef_Init(&module_definition);
}
