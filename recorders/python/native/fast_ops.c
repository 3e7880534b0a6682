/* SPDX-License-Identifier: Apache-2.0
 *
 * fast_ops.c - what is known of each op, told once by its schema, and the text of what it is called
 * with beside tensors.
 */
#include "fast.h"

#include <stdlib.h>
#include <string.h>

/* --- Ops ---------------------------------------------------------------------------------------
 */

static uint64_t hash_pointer(const void *pointer)
{
    return fast_mix(0, (uintptr_t)pointer);
}

static bool flag_of(PyObject *info, const char *name, bool *failed)
{
    PyObject *value = PyObject_GetAttrString(info, name);
    const int yes = value == NULL ? -1 : PyObject_IsTrue(value);

    Py_XDECREF(value);
    *failed |= yes < 0;
    return yes > 0;
}

/* Bits of the names of an op's arguments that are in `wanted`. */
static uint64_t places_of(PyObject *names, PyObject *wanted, bool *failed)
{
    const Py_ssize_t count = PyList_Size(names);
    uint64_t places = 0;

    *failed |= count < 0;
    for (Py_ssize_t i = 0; i < count && i < 64; i++) {
        const int in = PySequence_Contains(wanted, PyList_GetItem(names, i));

        *failed |= in < 0;
        places |= in > 0 ? UINT64_C(1) << i : 0;
    }
    return places;
}

static uint64_t workspaces_of(PyObject *info, bool *failed)
{
    PyObject *tuple = PyObject_GetAttrString(info, "workspaces");
    const Py_ssize_t count = tuple == NULL ? -1 : PyTuple_Size(tuple);
    uint64_t places = 0;

    *failed |= count < 0;
    for (Py_ssize_t i = 0; i < count; i++)
        places |= UINT64_C(1) << (PyLong_AsLong(PyTuple_GetItem(tuple, i)) & 63);
    Py_XDECREF(tuple);
    return places;
}

/* An OpOverload only hands its arguments on to a built-in function: that is called at once. */
static PyObject *callable_of(const fast_core *c, PyObject *func)
{
    if ((PyObject *)Py_TYPE(func) == c->op_type) {
        PyObject *call = PyObject_GetAttrString(func, "_op");

        if (call != NULL)
            return call;
        PyErr_Clear();
    }
    Py_INCREF(func);
    return func;
}

static void free_op(fast_op *op)
{
    for (uint32_t i = 0; i < op->text_count; i++)
        Py_DECREF(op->texts[i].text);
    free(op->texts);
    Py_XDECREF(op->func);
    Py_XDECREF(op->call);
    Py_XDECREF(op->info);
    Py_XDECREF(op->name);
    Py_XDECREF(op->ignored_inputs);
    Py_XDECREF(op->mutable_names);
}

static int fill_op(fast_core *c, fast_op *op, PyObject *func)
{
    PyObject *info = PyObject_CallFunctionObjArgs(c->describe, func, NULL), *names;
    bool failed = false;

    *op = (fast_op){.func = func, .info = info};
    Py_INCREF(func);
    if (info == NULL)
        return -1;
    op->call = callable_of(c, func);
    op->name = PyObject_GetAttrString(info, "name");
    op->ignored_inputs = PyObject_GetAttrString(info, "ignored_inputs");
    op->mutable_names = PyObject_GetAttrString(info, "mutable");
    names = PyObject_GetAttrString(info, "names");
    if (op->name == NULL || !PyUnicode_Check(op->name) || op->ignored_inputs == NULL ||
        op->mutable_names == NULL || names == NULL) {
        Py_XDECREF(names);
        return -1;
    }
    PyUnicode_InternInPlace(&op->name);
    op->passes = flag_of(info, "view", &failed) || flag_of(info, "ignored", &failed);
    op->undefined = flag_of(info, "undefined", &failed);
    op->random = flag_of(info, "random", &failed);
    op->moves = flag_of(info, "moves", &failed);
    op->shows = flag_of(info, "shows", &failed);
    op->resizes = flag_of(info, "resizes", &failed);
    op->collective = flag_of(info, "collective", &failed);
    op->ignored_places = places_of(names, op->ignored_inputs, &failed);
    op->mutable_places = places_of(names, op->mutable_names, &failed);
    op->workspaces = workspaces_of(info, &failed);
    Py_DECREF(names);
    return failed || PyErr_Occurred() != NULL ? -1 : 0;
}

static int add_op(fast_core *c, const fast_op *op)
{
    bool rebuild;

    if (c->op_count == c->op_capacity) {
        fast_op *bigger = realloc(c->ops, (2 * (size_t)c->op_capacity + 64) * sizeof *bigger);

        if (bigger == NULL) {
            (void)PyErr_NoMemory();
            return -1;
        }
        c->ops = bigger;
        c->op_capacity = 2 * c->op_capacity + 64;
    }
    if (fast_index_grow(&c->op_index, c->op_count, &rebuild) != 0)
        return -1;
    for (uint32_t i = 0; rebuild && i < c->op_count; i++)
        fast_index_put(&c->op_index, hash_pointer(c->ops[i].func), i);
    c->ops[c->op_count] = *op;
    fast_index_put(&c->op_index, hash_pointer(op->func), c->op_count++);
    return 0;
}

int64_t fast_op_of(fast_core *c, PyObject *func)
{
    const fast_index *index = &c->op_index;
    fast_op op;

    for (uint32_t i = (uint32_t)hash_pointer(func) & index->mask;
         index->slots != NULL && index->slots[i] != 0; i = (i + 1) & index->mask)
        if (c->ops[index->slots[i] - 1].func == func)
            return index->slots[i] - 1;
    if (fill_op(c, &op, func) != 0 || add_op(c, &op) != 0) {
        free_op(&op);
        return -1;
    }
    return c->op_count - 1;
}

void fast_clear_ops(fast_core *c)
{
    for (uint32_t i = 0; i < c->op_count; i++)
        free_op(&c->ops[i]);
    free(c->ops);
    free(c->op_index.slots);
    c->ops = NULL;
    c->op_index = (fast_index){0};
    c->op_count = c->op_capacity = 0;
}

/* --- Arguments beside tensors ------------------------------------------------------------------
 */

static uint64_t hash_value(const fast_core *c, PyObject *value, uint64_t hash, int depth)
{
    int overflow = 0;

    if (PyFloat_Check(value)) {
        const double number = PyFloat_AsDouble(value);
        uint64_t bits;

        memcpy(&bits, &number, sizeof bits);
        return fast_mix(hash ^ 2, bits);
    }
    if (PyLong_Check(value) && !PyBool_Check(value))
        return fast_mix(hash ^ 3, (uint64_t)PyLong_AsLongLongAndOverflow(value, &overflow));
    if ((PyList_Check(value) || PyTuple_Check(value)) && depth < FAST_DEPTH_MAX) {
        const bool list = PyList_Check(value);
        const Py_ssize_t count = list ? PyList_Size(value) : PyTuple_Size(value);

        hash = fast_mix(hash ^ 4, (uint64_t)count);
        for (Py_ssize_t i = 0; i < count; i++)
            hash = hash_value(c, list ? PyList_GetItem(value, i) : PyTuple_GetItem(value, i), hash,
                              depth + 1);
        return hash;
    }
    if (PyUnicode_Check(value))
        return fast_mix(hash ^ 5, (uint64_t)PyObject_Hash(value));
    if (fast_is_tensor(c, value))
        return fast_mix(hash, 6);
    /* None, True, False, dtypes, layouts: one object each. */
    return fast_mix(hash ^ 7, (uintptr_t)value);
}

int fast_arguments_of(fast_core *c, uint32_t number, PyObject *args, PyObject *kwargs,
                      const char *views, PyObject **out)
{
    const Py_ssize_t count = PyTuple_Size(args);
    uint64_t hash = (uint64_t)count;
    PyObject *name, *value, *text;
    fast_op *op = &c->ops[number];
    Py_ssize_t at = 0;
    fast_text *bigger;

    for (Py_ssize_t i = 0; i < count; i++)
        hash = hash_value(c, PyTuple_GetItem(args, i), hash, 0);
    while (kwargs != NULL && PyDict_Next(kwargs, &at, &name, &value))
        hash = hash_value(c, value, fast_mix(hash, (uint64_t)PyObject_Hash(name)), 0);
    for (const char *at_view = views; *at_view != '\0'; at_view++)
        hash = fast_mix(hash, (unsigned char)*at_view);
    *out = NULL;
    for (uint32_t i = 0; i < op->text_count; i++)
        if (op->texts[i].hash == hash) {
            if (PyUnicode_GetLength(op->texts[i].text) > 0)
                *out = op->texts[i].text;
            return 0;
        }
    if (op->text_count >= FAST_ARGUMENTS_MAX)
        return 0;
    text = kwargs == NULL ? PyObject_CallMethod(op->info, "arguments", "O{}s", args, views)
                          : PyObject_CallMethod(op->info, "arguments", "OOs", args, kwargs, views);
    if (text == NULL)
        return -1;
    PyUnicode_InternInPlace(&text);
    op = &c->ops[number]; /* Python ran */
    bigger = realloc(op->texts, (op->text_count + (size_t)1) * sizeof *bigger);
    if (bigger == NULL) {
        Py_DECREF(text);
        (void)PyErr_NoMemory();
        return -1;
    }
    op->texts = bigger;
    op->texts[op->text_count++] = (fast_text){hash, text};
    if (PyUnicode_GetLength(text) > 0)
        *out = text;
    return 0;
}
