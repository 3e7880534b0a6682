/* SPDX-License-Identifier: Apache-2.0
 *
 * fast_tables.c - what the recorder remembers between ops: who made a storage's contents, which
 * module a gradient belongs to, which sites there are.
 */
#include "fast.h"

#include <stdlib.h>
#include <string.h>

enum { FIRST_SLOTS = 1024, FIRST_SWEEP = 1 << 14 };

uint64_t fast_mix(uint64_t hash, uint64_t value)
{
    hash = (hash ^ value) * UINT64_C(0x9e3779b97f4a7c15); /* 2^64 over the golden ratio */
    return hash ^ hash >> 32;
}

/* --- Index -------------------------------------------------------------------------------------
 */

/* Room for one more entry behind `count`. The owner puts all its entries again where *rebuild. */
int fast_index_grow(fast_index *index, uint32_t count, bool *rebuild)
{
    const uint32_t slots = index->slots == NULL ? 0 : index->mask + 1;
    uint32_t *bigger;

    *rebuild = false;
    if (count < slots / 2)
        return 0;
    bigger = calloc(slots == 0 ? FIRST_SLOTS : 2 * (size_t)slots, sizeof *bigger);
    if (bigger == NULL) {
        (void)PyErr_NoMemory();
        return -1;
    }
    free(index->slots);
    index->slots = bigger;
    index->mask = (slots == 0 ? FIRST_SLOTS : 2 * slots) - 1;
    *rebuild = true;
    return 0;
}

void fast_index_put(fast_index *index, uint64_t hash, uint32_t entry)
{
    uint32_t i = (uint32_t)hash & index->mask;

    while (index->slots[i] != 0)
        i = (i + 1) & index->mask;
    index->slots[i] = entry + 1;
}

static void index_empty(fast_index *index)
{
    if (index->slots != NULL)
        memset(index->slots, 0, (index->mask + (size_t)1) * sizeof *index->slots);
}

static void index_free(fast_index *index)
{
    free(index->slots);
    *index = (fast_index){0};
}

/* `array` with room for one more element of `size` bytes, moved where it had none; NULL when memory
 * is out, and then it is as it was. */
static void *reserve(void *array, uint32_t count, uint32_t *capacity, size_t size)
{
    void *bigger;

    if (count < *capacity)
        return array;
    bigger = realloc(array, (2 * (size_t)*capacity + 64) * size);
    if (bigger == NULL)
        return PyErr_NoMemory();
    *capacity = 2 * *capacity + 64;
    return bigger;
}

/* --- Makers ------------------------------------------------------------------------------------
 */

static uint64_t hash_address(uint64_t address)
{
    return fast_mix(0, address);
}

fast_maker *fast_find_maker(fast_core *c, uint64_t address)
{
    const fast_index *index = &c->maker_index;

    if (index->slots == NULL)
        return NULL;
    for (uint32_t i = (uint32_t)hash_address(address) & index->mask; index->slots[i] != 0;
         i = (i + 1) & index->mask)
        if (c->makers[index->slots[i] - 1].address == address)
            return &c->makers[index->slots[i] - 1];
    return NULL;
}

static PyObject *call_with_number(PyObject *callable, uint64_t number)
{
    PyObject *argument = PyLong_FromUnsignedLongLong(number);
    PyObject *result =
        argument == NULL ? NULL : PyObject_CallFunctionObjArgs(callable, argument, NULL);

    Py_XDECREF(argument);
    return result;
}

int fast_expired(fast_core *c, const fast_maker *maker)
{
    PyObject *result = maker->weak == 0 ? NULL : call_with_number(c->names.expired, maker->weak);
    const int expired = maker->weak == 0 ? 1 : result == NULL ? -1 : result == Py_True;

    Py_XDECREF(result);
    return expired;
}

static int free_weak(fast_core *c, uint64_t weak)
{
    PyObject *result = weak == 0 ? NULL : call_with_number(c->names.free_weak_ref, weak);

    Py_XDECREF(result);
    return weak != 0 && result == NULL ? -1 : 0;
}

int fast_forget(fast_core *c, uint64_t address)
{
    fast_maker *maker = fast_find_maker(c, address);
    const uint64_t weak = maker == NULL ? 0 : maker->weak;

    if (maker != NULL)
        maker->weak = 0;
    return free_weak(c, weak);
}

static uint64_t take_number(PyObject *number)
{
    const uint64_t value = number == NULL ? 0 : PyLong_AsUnsignedLongLong(number);

    Py_XDECREF(number);
    return value;
}

/* Makes *weak a reference to the storage that a tensor lies in, where it is none yet: where it was
 * one to a storage that is gone, or that has moved and left its place to this one. The reference is
 * the storage's address. 1 where it is a new one, 0 where it was one, -1 with an exception. */
static int refer_to_storage(fast_core *c, PyObject *tensor, uint64_t *weak)
{
    PyObject *storage = PyObject_CallFunctionObjArgs(c->names.storage_of, tensor, NULL);
    uint64_t present = 0;

    if (storage != NULL)
        present = take_number(PyObject_GetAttr(storage, c->names.cdata));
    if (PyErr_Occurred() == NULL && present != *weak)
        present = take_number(PyObject_CallMethodObjArgs(storage, c->names.weak_ref_name, NULL));
    Py_XDECREF(storage);
    if (PyErr_Occurred() != NULL)
        return -1;
    if (present == *weak)
        return 0;
    *weak = present;
    return 1;
}

/* The storages whose makers are known, as a list of (address, weak reference). */
PyObject *fast_held(const fast_core *c)
{
    PyObject *list = PyList_New(0);

    for (uint32_t i = 0; i < c->maker_count && list != NULL; i++) {
        PyObject *pair = Py_BuildValue("KK", (unsigned long long)c->makers[i].address,
                                       (unsigned long long)c->makers[i].weak);

        if (pair == NULL || (c->makers[i].weak != 0 && PyList_Append(list, pair) != 0)) {
            Py_DECREF(list);
            list = NULL;
        }
        Py_XDECREF(pair);
    }
    return list;
}

/* Forgets storages that are gone. */
static int sweep(fast_core *c)
{
    uint32_t kept = 0;
    int expired = 0;

    for (uint32_t i = 0; i < c->maker_count; i++) {
        const fast_maker maker = c->makers[i];

        if (expired >= 0)
            expired = fast_expired(c, &maker);
        if (expired != 1 || free_weak(c, maker.weak) != 0) {
            c->makers[kept++] = maker;
            continue;
        }
        Py_XDECREF(maker.path);
        free(maker.parts);
    }
    c->maker_count = kept;
    c->maker_limit = kept < FIRST_SWEEP / 2 ? FIRST_SWEEP : 2 * kept;
    index_empty(&c->maker_index);
    for (uint32_t i = 0; i < kept; i++)
        fast_index_put(&c->maker_index, hash_address(c->makers[i].address), i);
    return PyErr_Occurred() != NULL ? -1 : 0;
}

static fast_maker *new_maker(fast_core *c, uint64_t address)
{
    fast_maker *maker;
    bool rebuild;

    if (c->maker_limit == 0)
        c->maker_limit = FIRST_SWEEP;
    if (c->maker_count >= c->maker_limit && sweep(c) != 0)
        return NULL;
    maker = reserve(c->makers, c->maker_count, &c->maker_capacity, sizeof *maker);
    if (maker == NULL)
        return NULL;
    c->makers = maker;
    if (fast_index_grow(&c->maker_index, c->maker_count, &rebuild) != 0)
        return NULL;
    for (uint32_t i = 0; rebuild && i < c->maker_count; i++)
        fast_index_put(&c->maker_index, hash_address(c->makers[i].address), i);
    maker = &c->makers[c->maker_count];
    *maker = (fast_maker){.address = address};
    fast_index_put(&c->maker_index, hash_address(address), c->maker_count++);
    return maker;
}

int fast_show(fast_core *c, const fast_place *place)
{
    fast_maker *maker = fast_find_maker(c, place->address);
    const int expired = maker == NULL || maker->undefined ? 1 : fast_expired(c, maker);

    if (expired != 0)
        return expired < 0 ? -1 : 0;
    maker->first = place->version;
    maker->last = place->version + 1; /* PyTorch counts after the op returns to its caller */
    return 1;
}

/* A part of a storage is about to get another maker: the present one made the rest. 1 where that is
 * known, 0 where it is not, -1 with an exception. */
int fast_keep_part(fast_core *c, const fast_place *place)
{
    fast_maker *maker = fast_find_maker(c, place->address);
    const int expired = maker == NULL ? 1 : fast_expired(c, maker);

    if (expired != 0 || place->version < maker->first || place->version > maker->last)
        return expired < 0 ? -1 : 0;
    if (maker->undefined)
        return 1;
    if (maker->part_count == FAST_PARTS_MAX) /* the one below all others stays */
        memmove(maker->parts + 1, maker->parts + 2, (--maker->part_count - 1) * sizeof(fb_ref));
    fb_ref *parts = reserve(maker->parts, maker->part_count, &maker->part_capacity, sizeof *parts);

    if (parts == NULL)
        return -1;
    maker->parts = parts;
    maker->parts[maker->part_count++] = maker->ref;
    return 1;
}

int fast_put_maker(fast_core *c, PyObject *tensor, const fast_place *place, fb_ref ref,
                   PyObject *path, bool written, bool param, int partial)
{
    fast_maker *maker;
    uint64_t weak;
    int other;

    if (place->address == 0)
        return 0;
    maker = fast_find_maker(c, place->address);
    weak = maker == NULL ? 0 : maker->weak;
    other = refer_to_storage(c, tensor, &weak);
    maker = fast_find_maker(c, place->address); /* Python ran: the table may have moved */
    if (other < 0 || (other == 1 && maker != NULL && free_weak(c, maker->weak) != 0))
        return -1;
    if (maker == NULL)
        maker = new_maker(c, place->address);
    if (maker == NULL)
        return -1;
    if (other == 1) {
        maker->weak = weak;
        maker->number = 0;
    }
    if (other == 1 || partial != 1)
        maker->part_count = 0;
    Py_XINCREF(path);
    Py_XDECREF(maker->path);
    maker->path = path;
    maker->ref = ref;
    maker->first = place->version;
    maker->last = place->version + written;
    maker->param = param;
    maker->undefined = false;
    maker->part = 0;
    if (param && maker->number == 0)
        maker->number = ++c->numbered;
    return 0;
}

/* --- Owners ------------------------------------------------------------------------------------
 */

static uint64_t hash_ref(fb_ref ref)
{
    return fast_mix(fast_mix(ref.step, ref.site), (uint32_t)ref.micro);
}

PyObject *fast_owner_of(fast_core *c, fb_ref ref)
{
    const fast_index *index = &c->owner_index;

    if (index->slots == NULL)
        return NULL;
    for (uint32_t i = (uint32_t)hash_ref(ref) & index->mask; index->slots[i] != 0;
         i = (i + 1) & index->mask) {
        const fast_owner *owner = &c->owners[index->slots[i] - 1];

        if (owner->ref.site == ref.site && owner->ref.micro == ref.micro &&
            owner->ref.step == ref.step)
            return owner->path;
    }
    return NULL;
}

/* ref has none yet. */
int fast_put_owner(fast_core *c, fb_ref ref, PyObject *path)
{
    fast_owner *owners = reserve(c->owners, c->owner_count, &c->owner_capacity, sizeof *owners);
    bool rebuild;

    if (owners == NULL)
        return -1;
    c->owners = owners;
    if (fast_index_grow(&c->owner_index, c->owner_count, &rebuild) != 0)
        return -1;
    for (uint32_t i = 0; rebuild && i < c->owner_count; i++)
        fast_index_put(&c->owner_index, hash_ref(c->owners[i].ref), i);
    Py_INCREF(path);
    c->owners[c->owner_count] = (fast_owner){ref, path};
    fast_index_put(&c->owner_index, hash_ref(ref), c->owner_count++);
    return 0;
}

void fast_clear_owners(fast_core *c)
{
    for (uint32_t i = 0; i < c->owner_count; i++)
        Py_DECREF(c->owners[i].path);
    c->owner_count = 0;
    index_empty(&c->owner_index);
}

/* --- Identities --------------------------------------------------------------------------------
 */

static uint64_t hash_identity(const fast_identity *id)
{
    uint64_t hash = fast_mix((uint64_t)id->phase, (uint32_t)id->micro);

    hash = fast_mix(hash, (uintptr_t)id->path);
    hash = fast_mix(hash, (uintptr_t)id->op);
    return fast_mix(hash, (uintptr_t)id->slot);
}

/* Finds or makes it; NULL when memory is out. */
fast_identity *fast_identity_of(fast_core *c, int32_t micro, const fast_where *where)
{
    const fast_identity wanted = {.micro = micro,
                                  .phase = where->phase,
                                  .path = where->path,
                                  .op = where->op,
                                  .slot = where->slot};
    const uint64_t hash = hash_identity(&wanted);
    fast_index *index = &c->identity_index;
    fast_identity *identities;
    bool rebuild;

    for (uint32_t i = (uint32_t)hash & index->mask; index->slots != NULL && index->slots[i] != 0;
         i = (i + 1) & index->mask) {
        fast_identity *id = &c->identities[index->slots[i] - 1];

        if (id->path == where->path && id->op == where->op && id->slot == where->slot &&
            id->phase == where->phase && id->micro == micro)
            return id;
    }
    identities =
        reserve(c->identities, c->identity_count, &c->identity_capacity, sizeof *identities);
    if (identities == NULL)
        return NULL;
    c->identities = identities;
    if (fast_index_grow(index, c->identity_count, &rebuild) != 0)
        return NULL;
    for (uint32_t i = 0; rebuild && i < c->identity_count; i++)
        fast_index_put(index, hash_identity(&c->identities[i]), i);
    Py_INCREF(wanted.path);
    Py_INCREF(wanted.op);
    Py_INCREF(wanted.slot);
    c->identities[c->identity_count] = wanted;
    fast_index_put(index, hash, c->identity_count);
    return &c->identities[c->identity_count++];
}

static void free_identity(fast_identity *id)
{
    for (uint32_t i = 0; i < id->site_count; i++)
        while (id->sites[i] != NULL) {
            fast_site *next = id->sites[i]->next;

            Py_XDECREF(id->sites[i]->arguments);
            free(id->sites[i]);
            id->sites[i] = next;
        }
    free(id->sites);
    Py_DECREF(id->path);
    Py_DECREF(id->op);
    Py_DECREF(id->slot);
}

void fast_clear_tables(fast_core *c)
{
    fast_clear_owners(c);
    for (uint32_t i = 0; i < c->identity_count; i++)
        free_identity(&c->identities[i]);
    for (uint32_t i = 0; i < c->maker_count; i++) {
        if (c->names.free_weak_ref != NULL && free_weak(c, c->makers[i].weak) != 0)
            PyErr_Clear();
        Py_XDECREF(c->makers[i].path);
        free(c->makers[i].parts);
    }
    free(c->owners);
    free(c->identities);
    free(c->makers);
    index_free(&c->owner_index);
    index_free(&c->identity_index);
    index_free(&c->maker_index);
    c->owners = NULL;
    c->identities = NULL;
    c->makers = NULL;
    c->owner_capacity = c->identity_count = c->identity_capacity = 0;
    c->maker_count = c->maker_capacity = 0;
}
