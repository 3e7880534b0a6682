/* SPDX-License-Identifier: Apache-2.0
 *
 * fast_tensor.c - what is in a tensor, which event made it, and the event that records it.
 */
#include "fast.h"

#include <stdlib.h>
#include <string.h>

enum {
    LONG_BYTES = 1 << 16, /* contents from which hashing lets other Python threads run */
};

bool fast_is_tensor(const fast_core *c, PyObject *value)
{
    PyTypeObject *type = Py_TYPE(value);

    return (PyObject *)type == c->tensor_type || (PyObject *)type == c->parameter_type ||
           PyType_IsSubtype(type, (PyTypeObject *)c->tensor_type);
}

/* Of a class whose methods are PyTorch's own. */
static bool is_plain(const fast_core *c, PyObject *tensor)
{
    PyObject *type = (PyObject *)Py_TYPE(tensor);

    return type == c->tensor_type || type == c->parameter_type;
}

/* --- Asking ------------------------------------------------------------------------------------
 */

/* The number that an attribute or method gives; `otherwise` where it raises. */
static uint64_t number_of(PyObject *result, uint64_t otherwise)
{
    uint64_t number = otherwise;

    if (result != NULL) {
        number = PyLong_AsUnsignedLongLong(result);
        Py_DECREF(result);
    }
    if (PyErr_Occurred() != NULL) {
        PyErr_Clear();
        number = otherwise;
    }
    return number;
}

static uint64_t ask(PyObject *method, PyObject *tensor)
{
    return number_of(PyObject_CallFunctionObjArgs(method, tensor, NULL), 0);
}

static bool is_true(PyObject *result)
{
    const bool yes = result == Py_True;

    if (result == NULL)
        PyErr_Clear();
    Py_XDECREF(result);
    return yes;
}

/* Inference tensors do not count versions. */
static uint32_t version_of(fast_core *c, PyObject *tensor)
{
    return (uint32_t)number_of(PyObject_GetAttr(tensor, c->names.version), 0);
}

static uint64_t storage_address(fast_core *c, PyObject *tensor, uint64_t data)
{
    const uint64_t offset = data == 0 ? 0 : ask(c->names.storage_offset, tensor);

    return offset == 0 ? data : data - offset * ask(c->names.element_size, tensor);
}

void fast_place_of(fast_core *c, PyObject *tensor, fast_place *out)
{
    out->data = ask(c->names.data_ptr, tensor);
    out->address = storage_address(c, tensor, out->data);
    out->version = out->address == 0 ? 0 : version_of(c, tensor);
}

/* The maker of a storage's contents, or NULL where that is not known; *failed is -1 with an
 * exception set. */
static fast_maker *current_maker(fast_core *c, uint64_t address, uint32_t version, int *failed)
{
    const fast_maker *maker = fast_find_maker(c, address);
    int expired;

    if (maker == NULL || version < maker->first || version > maker->last)
        return NULL;
    expired = fast_expired(c, maker);
    *failed = expired < 0 ? -1 : 0;
    return expired == 0 ? fast_find_maker(c, address) : NULL;
}

/* How many of a tensor's elements are so many bytes. */
uint64_t fast_elements(fast_core *c, PyObject *tensor, uint64_t bytes)
{
    const uint64_t size = bytes == 0 ? 0 : ask(c->names.element_size, tensor);

    return size == 0 ? 0 : bytes / size;
}

/* Whether a tensor lies outside of what was seen of a storage that came from outside. */
static bool is_elsewhere(fast_core *c, PyObject *tensor, uint64_t data, const fast_maker *maker)
{
    const uint64_t part = maker->part, bytes = maker->part_bytes;

    return part != 0 &&
           (part != data || fast_elements(c, tensor, bytes) != ask(c->names.numel, tensor));
}

/* What made its contents, or NULL where nobody saw that; *failed is -1 with an exception set.
 * *offset: bytes of its storage before it. Where a living storage begins at the tensor's first
 * element, that is the tensor's; only else its offset has to be asked for. */
fast_maker *fast_maker_of(fast_core *c, PyObject *tensor, uint64_t *offset, int *failed)
{
    const uint64_t data = ask(c->names.data_ptr, tensor);
    const uint32_t version = data == 0 ? 0 : version_of(c, tensor);
    fast_maker *maker = NULL;
    uint64_t address = data;

    *failed = 0;
    if (data != 0)
        maker = current_maker(c, data, version, failed);
    if (data != 0 && maker == NULL && *failed == 0) {
        address = storage_address(c, tensor, data);
        if (address != data)
            maker = current_maker(c, address, version, failed);
    }
    *offset = data - address;
    return maker != NULL && is_elsewhere(c, tensor, data, maker) ? NULL : maker;
}

/* --- Contents ----------------------------------------------------------------------------------
 */

static fb_dtype dtype_of(fast_core *c, PyObject *tensor)
{
    PyObject *object = PyObject_GetAttr(tensor, c->names.dtype);
    fb_dtype dtype = FB_DTYPE_NONE;

    if (object == NULL)
        PyErr_Clear();
    for (uint32_t i = 0; object != NULL && i < c->dtype_count; i++)
        if (c->dtypes[i].object == object)
            dtype = c->dtypes[i].dtype;
    Py_XDECREF(object);
    return dtype;
}

/* False where the rank is too high. *elements is their number. */
static bool read_shape(PyObject *shape, fast_contents *out, uint64_t *elements)
{
    const Py_ssize_t rank = shape == NULL ? -1 : PyTuple_Size(shape);

    *elements = 1;
    if (rank < 0 || rank > FB_RANK_MAX) {
        PyErr_Clear();
        return false;
    }
    out->rank = (uint32_t)rank;
    for (Py_ssize_t i = 0; i < rank; i++) {
        out->shape[i] = PyLong_AsUnsignedLongLong(PyTuple_GetItem(shape, i));
        *elements *= out->shape[i];
    }
    if (PyErr_Occurred() != NULL) {
        PyErr_Clear();
        return false;
    }
    return true;
}

static const uint8_t dtype_bytes[FAST_DTYPES] = {
    [FB_DTYPE_F64] = 8,     [FB_DTYPE_F32] = 4,     [FB_DTYPE_F16] = 2, [FB_DTYPE_BF16] = 2,
    [FB_DTYPE_F8_E4M3] = 1, [FB_DTYPE_F8_E5M2] = 1, [FB_DTYPE_C64] = 8, [FB_DTYPE_C128] = 16,
    [FB_DTYPE_I8] = 1,      [FB_DTYPE_I16] = 2,     [FB_DTYPE_I32] = 4, [FB_DTYPE_I64] = 8,
    [FB_DTYPE_U8] = 1,      [FB_DTYPE_U16] = 2,     [FB_DTYPE_U32] = 4, [FB_DTYPE_U64] = 8,
    [FB_DTYPE_BOOL] = 1};

/* True where the bytes at its address are its elements in row-major order, as for nearly every
 * output of an op. Contents are read where they lie; nothing is computed. A tensor whose storage
 * was freed shows an address all the same, its offset from 0: its storage then begins at 0. */
static bool read_plain(fast_core *c, PyObject *tensor, const fast_place *place, fast_contents *out)
{
    PyObject *shape;
    uint64_t elements;
    bool readable;

    if (!is_plain(c, tensor))
        return false;
    out->dtype = dtype_of(c, tensor);
    if (out->dtype == FB_DTYPE_NONE || !is_true(PyObject_GetAttr(tensor, c->names.is_cpu)))
        return false;
    shape = PyObject_GetAttr(tensor, c->names.shape);
    readable = read_shape(shape, out, &elements);
    Py_XDECREF(shape);
    if (shape == NULL)
        PyErr_Clear();
    if (!readable || (place->address == 0 && elements != 0) || out->dtype == FB_DTYPE_C64 ||
        out->dtype == FB_DTYPE_C128)
        return false; /* of complex tensors the conjugate bit has to be looked at */
    out->data = (const void *)(uintptr_t)place->data; /* NOLINT(performance-no-int-to-ptr) */
    out->bytes = elements * dtype_bytes[out->dtype];
    return is_true(PyObject_CallFunctionObjArgs(c->names.is_contiguous, tensor, NULL)) &&
           !is_true(PyObject_CallFunctionObjArgs(c->names.is_neg, tensor, NULL));
}

/* The slow way: contents.look says None (and has noted why), or (dtype, shape, address, bytes,
 * owner). */
static int read_any(fast_core *c, PyObject *tensor, fast_contents *out)
{
    PyObject *seen = PyObject_CallFunctionObjArgs(c->look, tensor, NULL), *shape, *owner;
    unsigned long long data, bytes;
    uint64_t elements;
    int dtype;

    if (seen == NULL)
        return -1;
    if (seen == Py_None) {
        *out = (fast_contents){.hidden = true, .dtype = FB_DTYPE_U8};
        Py_DECREF(seen);
        return 0;
    }
    if (PyArg_ParseTuple(seen, "iOKKO", &dtype, &shape, &data, &bytes, &owner) &&
        read_shape(shape, out, &elements)) {
        out->dtype = (fb_dtype)dtype;
        out->data = (const void *)(uintptr_t)data; /* NOLINT(performance-no-int-to-ptr) */
        out->bytes = bytes;
        out->owner = owner;
        Py_INCREF(owner);
    } else if (PyErr_Occurred() == NULL) {
        PyErr_SetString(PyExc_TypeError, "contents.look gave no contents");
    }
    Py_DECREF(seen);
    return PyErr_Occurred() != NULL ? -1 : 0;
}

/* --- Sites -------------------------------------------------------------------------------------
 */

/* A code that calls one op from ever more places has the last of so many. */
enum { PLACES_MAX = 16 };

static bool fits(const fast_site *site, const fast_where *w, const fast_contents *t)
{
    return site->kind == w->kind && site->dtype == t->dtype && site->rank == t->rank &&
           site->arguments == w->arguments &&
           memcmp(site->shape, t->shape, t->rank * sizeof t->shape[0]) == 0;
}

static fast_site *known_site(const fast_identity *id, uint32_t occurrence, const fast_where *w,
                             const fast_contents *t)
{
    fast_site *site = occurrence < id->site_count ? id->sites[occurrence] : NULL;
    int places = 0;

    for (; site != NULL; site = site->next)
        if (fits(site, w, t) && (!w->stacked || site->place == w->place || ++places == PLACES_MAX))
            break;
    return site;
}

/* A string's bytes, of which a name keeps the end where it is too long; *held keeps them alive. */
static const char *text_of(PyObject *string, PyObject **held)
{
    Py_ssize_t count = 0;
    char *text = NULL;

    *held = string == NULL ? NULL : PyUnicode_AsEncodedString(string, "utf-8", "replace");
    if (*held == NULL || PyBytes_AsStringAndSize(*held, &text, &count) != 0) {
        PyErr_Clear();
        return NULL;
    }
    return count > FB_NAME_MAX ? text + (count - FB_NAME_MAX) : text;
}

/* The call stack that the session sees. */
static PyObject *stack_of(fast_core *c)
{
    PyObject *stack = PyObject_CallMethod(c->session, "source", NULL);

    if (stack != NULL && !PyUnicode_Check(stack)) {
        Py_DECREF(stack);
        stack = NULL;
    }
    return stack;
}

static int tell_site(fast_core *c, void *recorder, uint32_t occurrence, const fast_where *w,
                     const fast_contents *t, uint32_t *number)
{
    fb_site site = {.size = sizeof site,
                    .kind = w->kind,
                    .phase = w->phase,
                    .occurrence = occurrence,
                    .dtype = t->dtype,
                    .rank = t->rank};
    PyObject *held[5], *stack = w->stacked ? stack_of(c) : NULL, *encoded = NULL;

    if (w->stacked && stack == NULL)
        return -1;
    site.path = text_of(w->path, &held[0]);
    site.op = text_of(w->op, &held[1]);
    site.slot = text_of(w->slot, &held[2]);
    site.arguments = text_of(w->arguments, &held[3]);
    if (stack != NULL)
        encoded = PyUnicode_AsEncodedString(stack, "utf-8", "replace");
    site.source = encoded == NULL ? NULL : PyBytes_AsString(encoded);
    PyErr_Clear();
    memcpy(site.shape, t->shape, t->rank * sizeof t->shape[0]);
    *number = c->site(recorder, &site);
    for (int i = 0; i < 4; i++)
        Py_XDECREF(held[i]);
    Py_XDECREF(encoded);
    Py_XDECREF(stack);
    return 0;
}

/* Remembers a site under its identity, which is looked up again: Python ran meanwhile. */
static int keep_site(fast_core *c, int32_t micro, uint32_t occurrence, const fast_where *w,
                     const fast_contents *t, uint32_t number)
{
    fast_identity *id = fast_identity_of(c, micro, w);
    fast_site *site = id == NULL ? NULL : calloc(1, sizeof *site);

    if (site != NULL && occurrence >= id->site_count) {
        const uint32_t count = 2 * occurrence + 1;
        fast_site **bigger = realloc(id->sites, count * sizeof(fast_site *));

        if (bigger == NULL) {
            free(site);
            site = NULL;
        } else {
            memset(bigger + id->site_count, 0, (count - id->site_count) * sizeof(fast_site *));
            id->sites = bigger;
            id->site_count = count;
        }
    }
    if (site == NULL) {
        (void)PyErr_NoMemory();
        return -1;
    }
    *site = (fast_site){.next = id->sites[occurrence],
                        .arguments = w->arguments,
                        .place = w->place,
                        .number = number,
                        .kind = (uint8_t)w->kind,
                        .dtype = (uint8_t)t->dtype,
                        .rank = (uint8_t)t->rank};
    memcpy(site->shape, t->shape, t->rank * sizeof t->shape[0]);
    Py_XINCREF(site->arguments);
    id->sites[occurrence] = site;
    return 0;
}

static int site_number(fast_core *c, void *recorder, uint64_t step, int32_t micro,
                       const fast_where *w, const fast_contents *t, uint32_t *number)
{
    fast_identity *id = fast_identity_of(c, micro, w);
    fast_site *site;
    uint32_t occurrence;

    if (id == NULL)
        return -1;
    if (id->step != step) {
        id->step = step;
        id->count = 0;
    }
    occurrence = id->count++;
    site = known_site(id, occurrence, w, t);
    if (site != NULL) {
        *number = site->number;
        return 0;
    }
    if (tell_site(c, recorder, occurrence, w, t, number) != 0)
        return -1;
    return keep_site(c, micro, occurrence, w, t, *number);
}

/* --- Recording ---------------------------------------------------------------------------------
 */

int64_t fast_number(PyObject *dict, PyObject *name, int64_t otherwise)
{
    PyObject *value = PyDict_GetItemWithError(dict, name);
    int64_t number;

    if (value == NULL || value == Py_None) {
        PyErr_Clear();
        return otherwise;
    }
    number = PyLong_AsLongLong(value);
    if (number == -1 && PyErr_Occurred() != NULL) {
        PyErr_Clear();
        return otherwise;
    }
    return number;
}

static int event_of(fast_core *c, const fast_where *w, const fast_contents *t,
                    const fast_place *place, uint64_t storage, fb_ref *out)
{
    const uint64_t step = (uint64_t)fast_number(c->recorder_dict, c->names.step, 0);
    const int32_t micro = (int32_t)fast_number(c->recorder_dict, c->names.micro, FB_MICRO_NONE);
    const int64_t handle = fast_number(c->recorder_dict, c->names.handle, 0);
    void *recorder = (void *)(intptr_t)handle; /* NOLINT(performance-no-int-to-ptr) */
    fb_event event = {.size = sizeof event,
                      .inputs = w->inputs,
                      .input_count =
                          w->input_count < FB_INPUTS_MAX ? w->input_count : FB_INPUTS_MAX,
                      .storage = storage};

    *out = (fb_ref){UINT32_MAX, micro, step};
    if (recorder == NULL || site_number(c, recorder, step, micro, w, t, &event.site) != 0)
        return recorder == NULL ? 0 : -1;
    out->site = event.site;
    if (t->hidden || w->undefined) {
        event.flags = FB_EVENT_UNDEFINED;
    } else {
        /* An empty tensor has an address of 0: any other says that its contents are known. */
        event.data = t->data == NULL ? (const void *)&dtype_bytes : t->data;
        event.data_bytes = t->bytes;
        event.version = place->version;
    }
    if (event.data_bytes < LONG_BYTES) {
        c->event(recorder, &event);
    } else {
        Py_BEGIN_ALLOW_THREADS c->event(recorder, &event);
        Py_END_ALLOW_THREADS
    }
    return 0;
}

/* The module that a parameter or state belongs to: its path without the last name. New reference.
 */
static PyObject *parent_of(PyObject *path)
{
    const Py_ssize_t length = PyUnicode_GetLength(path);
    const Py_ssize_t dot = PyUnicode_FindChar(path, '.', 0, length, -1);
    PyObject *parent = dot == -2 ? NULL : PyUnicode_Substring(path, 0, dot < 0 ? 0 : dot);

    if (parent != NULL)
        PyUnicode_InternInPlace(&parent);
    return parent;
}

/* Whether a tensor is only a part of the memory that it lies in; -1 with an exception. */
static int is_part(fast_core *c, PyObject *tensor, size_t bytes)
{
    PyObject *storage = PyObject_CallFunctionObjArgs(c->names.storage_of, tensor, NULL);
    PyObject *size = storage == NULL ? NULL : PyObject_CallMethod(storage, "nbytes", NULL);
    const unsigned long long whole = size == NULL ? 0 : PyLong_AsUnsignedLongLong(size);

    Py_XDECREF(size);
    Py_XDECREF(storage);
    return PyErr_Occurred() != NULL ? -1 : bytes < whole;
}

static int put_maker_of(fast_core *c, PyObject *tensor, const fast_where *w,
                        const fast_place *place, size_t bytes, fb_ref ref)
{
    const bool param = w->kind == FB_KIND_PARAM;
    PyObject *path = param ? parent_of(w->path) : w->phase == FB_PHASE_BACKWARD ? NULL : w->path;
    int partial = w->written && place->address != 0 ? is_part(c, tensor, bytes) : 0, failed = -1;
    int part;
    fast_maker *maker;

    if (partial > 0)
        partial = fast_keep_part(c, place);
    part = w->entered && place->address != 0 ? is_part(c, tensor, bytes) : 0;
    if (partial >= 0 && part >= 0 && (!param || path != NULL))
        failed = fast_put_maker(c, tensor, place, ref, path, w->written, param, partial);
    maker = failed == 0 ? fast_find_maker(c, place->address) : NULL;
    if (maker != NULL) {
        maker->undefined = w->undefined;
        maker->part = part > 0 ? place->data : 0;
        maker->part_bytes = bytes;
    }
    if (param)
        Py_XDECREF(path);
    return failed;
}

/* Makes the event to come a parameter's maker, for the number of the memory that it lies in: tied
 * ones have the same. */
static int put_param(fast_core *c, PyObject *tensor, const fast_where *w, const fast_place *place,
                     uint64_t *number)
{
    const fast_maker *maker;

    if (put_maker_of(c, tensor, w, place, 0, (fb_ref){UINT32_MAX, FB_MICRO_NONE, 0}) != 0)
        return -1;
    maker = fast_find_maker(c, place->address);
    *number = maker == NULL ? 0 : maker->number;
    return 0;
}

/* The maker is known, but for the event, which it did not have yet. */
static void name_param_maker(fast_core *c, const fast_place *place, fb_ref ref)
{
    fast_maker *maker = fast_find_maker(c, place->address);

    if (maker != NULL && maker->param)
        maker->ref = ref;
}

static int record_contents(fast_core *c, PyObject *tensor, const fast_where *where,
                           const fast_contents *contents, const fast_place *place, fb_ref *out)
{
    const bool param = where->kind == FB_KIND_PARAM && !contents->hidden;
    uint64_t storage = 0;

    if ((param && put_param(c, tensor, where, place, &storage) != 0) ||
        event_of(c, where, contents, place, storage, out) != 0)
        return -1;
    if (param)
        name_param_maker(c, place, *out);
    else if (where->learned != NULL)
        return where->shown
                   ? 0
                   : fast_put_maker(c, tensor, place, *out, where->learned, false, true, 0);
    else if (!contents->hidden)
        return put_maker_of(c, tensor, where, place, contents->bytes, *out);
    return 0;
}

/* The parameter whose storage an input shows that has other versions, as `p.data` has: what it was
 * last is what this one is made from. NULL where there is none. */
static const fast_maker *learned_there(fast_core *c, uint64_t address, int *failed)
{
    const fast_maker *maker = address == 0 ? NULL : fast_find_maker(c, address);
    const int expired =
        maker == NULL || !maker->param || maker->part != 0 ? 1 : fast_expired(c, maker);

    if (expired < 0)
        *failed = -1;
    return expired == 0 ? maker : NULL;
}

/* One event for a tensor, which from here on is what made its contents. 1 where nothing is to be
 * recorded of it. */
int fast_record(fast_core *c, PyObject *tensor, const fast_where *where, fb_ref *out)
{
    fast_contents contents = {.hidden = false};
    fast_where remade = *where;
    const fast_maker *maker;
    fast_place place;
    fb_ref made;
    int failed = 0;

    if (where->plain && !fast_is_tensor(c, tensor))
        return 1;
    fast_place_of(c, tensor, &place);
    if (!read_plain(c, tensor, &place, &contents)) {
        if (where->plain)
            return 1;
        if (read_any(c, tensor, &contents) != 0)
            return -1;
    }
    if (where->remade || where->entered) {
        maker = where->remade ? current_maker(c, place.address, place.version, &failed)
                              : learned_there(c, place.address, &failed);
        if (maker != NULL) {
            made = maker->ref;
            remade.inputs = &made;
            remade.input_count = 1;
            remade.shown = where->entered && place.version < maker->first; /* as `p.data` does */
            remade.learned = where->entered ? maker->path : NULL;
            Py_XINCREF(remade.learned);
            where = &remade;
        }
    }
    if (failed == 0)
        failed = record_contents(c, tensor, where, &contents, &place, out);
    Py_XDECREF(contents.owner);
    if (where == &remade)
        Py_XDECREF(remade.learned);
    return failed;
}
