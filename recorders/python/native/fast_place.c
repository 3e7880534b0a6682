/* SPDX-License-Identifier: Apache-2.0
 *
 * fast_place.c - which line of the program an op is called from, as a number: what CallStack.place
 * of firstbit/_stack.py does, for every op.
 */
#include "fast.h"

#include <stdlib.h>

enum {
    FRAMES = 2,         /* of the program that tell one place from another */
    DEPTH = 24,         /* frames of libraries and the program that are looked at */
    CODES_MAX = 1 << 16 /* a program that makes code without end is not followed for ever */
};

static uint64_t hash_code(const PyObject *code)
{
    return fast_mix(0, (uintptr_t)code);
}

static int add_code(fast_core *c, PyObject *code, bool program)
{
    bool rebuild;

    if (c->code_count == c->code_capacity) {
        const uint32_t capacity = 2 * c->code_capacity + 64;
        fast_code *bigger = realloc(c->codes, capacity * sizeof *bigger);

        if (bigger == NULL)
            return -1;
        c->codes = bigger;
        c->code_capacity = capacity;
    }
    if (fast_index_grow(&c->code_index, c->code_count, &rebuild) != 0)
        return -1;
    for (uint32_t i = 0; rebuild && i < c->code_count; i++)
        fast_index_put(&c->code_index, hash_code(c->codes[i].code), i);
    Py_INCREF(code);
    c->codes[c->code_count] = (fast_code){code, program};
    fast_index_put(&c->code_index, hash_code(code), c->code_count++);
    return 0;
}

static bool is_program(fast_core *c, PyObject *code)
{
    const fast_index *index = &c->code_index;
    PyObject *answer;
    bool program;

    for (uint32_t i = (uint32_t)hash_code(code) & index->mask;
         index->slots != NULL && index->slots[i] != 0; i = (i + 1) & index->mask)
        if (c->codes[index->slots[i] - 1].code == code)
            return c->codes[index->slots[i] - 1].program;
    if (c->code_count >= CODES_MAX)
        return false;
    answer = PyObject_CallMethod(c->session, "is_program", "O", code);
    program = answer == Py_True;
    Py_XDECREF(answer);
    if (answer == NULL || add_code(c, code, program) != 0)
        PyErr_Clear();
    return program;
}

/* Where a frame stands in its code; 0 where Python does not say. */
static uint64_t instruction_of(const fast_core *c, PyObject *frame)
{
    PyObject *number = PyObject_GetAttr(frame, c->names.lasti);
    const long at = number == NULL ? -1 : PyLong_AsLong(number);

    Py_XDECREF(number);
    PyErr_Clear();
    return (uint64_t)(at + 1);
}

/* Equal for two ops that the same lines of the program call. No exception is set. */
uint64_t fast_place_of_call(fast_core *c)
{
    PyObject *frame = (PyObject *)PyEval_GetFrame();
    uint64_t place = (uint64_t)fast_number(c->modules_dict, c->names.caller, 0);

    Py_XINCREF(frame);
    for (int depth = 0, found = 0; frame != NULL && depth < DEPTH && found < FRAMES; depth++) {
        PyObject *code = (PyObject *)PyFrame_GetCode((PyFrameObject *)frame), *back;

        if (is_program(c, code)) {
            place = fast_mix(place ^ hash_code(code), instruction_of(c, frame));
            found++;
        }
        Py_DECREF(code);
        back = PyObject_GetAttr(frame, c->names.back);
        Py_DECREF(frame);
        if (back == NULL)
            PyErr_Clear();
        if (back == Py_None) {
            Py_DECREF(back);
            back = NULL;
        }
        frame = back;
    }
    Py_XDECREF(frame);
    return place;
}

void fast_clear_places(fast_core *c)
{
    for (uint32_t i = 0; i < c->code_count; i++)
        Py_DECREF(c->codes[i].code);
    free(c->codes);
    free(c->code_index.slots);
    c->codes = NULL;
    c->code_index = (fast_index){0};
    c->code_count = c->code_capacity = 0;
}
