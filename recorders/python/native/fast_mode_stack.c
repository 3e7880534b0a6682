/* SPDX-License-Identifier: Apache-2.0
 *
 * fast_mode_stack.c - before PyTorch 2 one object in Python stands for the stack of dispatch modes
 * and calls the innermost, which takes as long as all that is recorded of an op. ModeStack does the
 * same for as long as a recording's mode is the outermost one.
 */
#include "fast.h"

#include <string.h>

typedef struct mode_stack {
    PyObject_HEAD PyObject *pop, *push, *count, *set; /* functions of torch._C */
    PyObject *name;                                   /* "__torch_dispatch__" */
} mode_stack;

static PyObject *stack_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    PyObject *pop, *push, *count, *set;
    mode_stack *s;

    (void)kwargs;
    if (!PyArg_ParseTuple(args, "OOOO", &pop, &push, &count, &set))
        return NULL;
    s = (mode_stack *)((allocfunc)PyType_GetSlot(type, Py_tp_alloc))(type, 0);
    if (s == NULL)
        return NULL;
    Py_INCREF(pop);
    Py_INCREF(push);
    Py_INCREF(count);
    Py_INCREF(set);
    s->pop = pop;
    s->push = push;
    s->count = count;
    s->set = set;
    s->name = PyUnicode_InternFromString("__torch_dispatch__");
    if (s->name == NULL) {
        Py_DECREF((PyObject *)s);
        return NULL;
    }
    return (PyObject *)s;
}

static void stack_dealloc(PyObject *self)
{
    mode_stack *s = (mode_stack *)self;
    PyTypeObject *type = Py_TYPE(self);

    Py_XDECREF(s->pop);
    Py_XDECREF(s->push);
    Py_XDECREF(s->count);
    Py_XDECREF(s->set);
    Py_XDECREF(s->name);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
    Py_DECREF(type);
}

/* 0, or -1 with an exception. */
static int call(PyObject *function, PyObject *argument)
{
    PyObject *result = PyObject_CallFunctionObjArgs(function, argument, NULL);

    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

/* Whether modes are left on the stack; -1 with an exception. */
static int any_left(const mode_stack *s)
{
    PyObject *count = PyObject_CallFunctionObjArgs(s->count, NULL);
    const int left = count == NULL ? -1 : PyObject_IsTrue(count);

    Py_XDECREF(count);
    return left;
}

/* The innermost mode is taken away while it is called; those below it stay active. PyTorch itself
 * has put this object aside for the call, and takes it up again afterwards. */
static PyObject *stack_dispatch(PyObject *self, PyObject *args)
{
    mode_stack *s = (mode_stack *)self;
    PyObject *mode = PyObject_CallFunctionObjArgs(s->pop, NULL), *method, *out = NULL;
    PyObject *type, *value, *trace;
    int left;

    if (mode == NULL)
        return NULL;
    left = any_left(s);
    if (left == 0 || (left == 1 && call(s->set, self) == 0)) {
        method = PyObject_GetAttr(mode, s->name);
        if (method != NULL)
            out = PyObject_Call(method, args, NULL);
        Py_XDECREF(method);
    }
    PyErr_Fetch(&type, &value, &trace);
    if (call(s->push, mode) != 0) {
        Py_XDECREF(type);
        Py_XDECREF(value);
        Py_XDECREF(trace);
        Py_XDECREF(out);
        out = NULL;
    } else if (type != NULL) {
        PyErr_Restore(type, value, trace);
    }
    Py_DECREF(mode);
    return out;
}

static PyMethodDef stack_methods[] = {
    {"__torch_dispatch__", stack_dispatch, METH_VARARGS,
     "__torch_dispatch__(func, types, args, kwargs): calls the innermost mode."},
    {NULL, NULL, 0, NULL}};

static char stack_doc[] = "ModeStack(pop, push, count, set): the stack of dispatch modes.";

static PyType_Slot stack_slots[] = {{Py_tp_new, (void *)stack_new},
                                    {Py_tp_dealloc, (void *)stack_dealloc},
                                    {Py_tp_methods, stack_methods},
                                    {Py_tp_doc, stack_doc},
                                    {0, NULL}};

PyType_Spec fast_mode_stack_spec = {.name = "firstbit.torch._fast.ModeStack",
                                    .basicsize = sizeof(mode_stack),
                                    .flags = Py_TPFLAGS_DEFAULT,
                                    .slots = stack_slots};
