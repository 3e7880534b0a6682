/* SPDX-License-Identifier: Apache-2.0
 *
 * stack_capture.c - walks the stack with libunwind and turns addresses into (module, offset).
 */
#include "tracer/stack/stack.h"

#include <elf.h>
#include <link.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#if defined(FB_HAVE_UNWIND)
#define UNW_LOCAL_ONLY
#include <libunwind.h>
#else
#include <execinfo.h>
#endif

#include "tracer/format/format.h"

/* unw_backtrace keeps a cache in each thread and locks a mutex when the thread ends, when the
 * thread sanitizer has let go of it already; stepping is slower and keeps nothing. */
#if defined(__SANITIZE_THREAD__)
#define STEP_BY_STEP
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define STEP_BY_STEP
#endif
#endif

static int walk(void **addresses, int count)
{
#if !defined(FB_HAVE_UNWIND)
    return backtrace(addresses, count);
#elif !defined(STEP_BY_STEP)
    return unw_backtrace(addresses, count);
#else
    unw_context_t context;
    unw_cursor_t cursor;
    unw_word_t pc;
    int n = 0;

    if (unw_getcontext(&context) != 0 || unw_init_local(&cursor, &context) != 0)
        return 0;
    for (; n < count && unw_get_reg(&cursor, UNW_REG_IP, &pc) == 0; n++) {
        memcpy(&addresses[n], &pc, sizeof pc);
        if (unw_step(&cursor) <= 0)
            return n + 1;
    }
    return n;
#endif
}

typedef struct module_search {
    uintptr_t address, base;
    fb_module module;
    char name[256];
    bool found;
} module_search;

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash == NULL ? path : slash + 1;
}

static void read_build_id(fb_module *module, const uint8_t *note, size_t bytes)
{
    const size_t head = sizeof(ElfW(Nhdr));

    for (size_t at = 0; at + head <= bytes;) {
        ElfW(Nhdr) n;
        size_t name_bytes, id_bytes;

        memcpy(&n, note + at, head);
        name_bytes = ((size_t)n.n_namesz + 3) & ~(size_t)3;
        id_bytes = ((size_t)n.n_descsz + 3) & ~(size_t)3;
        if (at + head + name_bytes + id_bytes > bytes)
            return;
        if (n.n_type == NT_GNU_BUILD_ID && n.n_descsz <= FB_BUILD_ID_MAX && n.n_namesz == 4 &&
            memcmp(note + at + head, "GNU", 4) == 0) {
            module->build_id_bytes = n.n_descsz;
            memcpy(module->build_id, note + at + head + name_bytes, n.n_descsz);
            return;
        }
        at += head + name_bytes + id_bytes;
    }
}

static bool contains(const struct dl_phdr_info *info, uintptr_t address)
{
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *p = &info->dlpi_phdr[i];
        if (p->p_type == PT_LOAD && address - (info->dlpi_addr + p->p_vaddr) < p->p_memsz)
            return true;
    }
    return false;
}

/* The loader gives numbers; a cast would tell the compiler less than a copy does. */
static const uint8_t *address_of(const struct dl_phdr_info *info, const ElfW(Phdr) * segment)
{
    const uintptr_t number = info->dlpi_addr + segment->p_vaddr;
    const uint8_t *address;

    memcpy(&address, &number, sizeof address);
    return address;
}

static void take_build_id(module_search *search, const struct dl_phdr_info *info)
{
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *p = &info->dlpi_phdr[i];
        if (p->p_type == PT_NOTE && search->module.build_id_bytes == 0)
            read_build_id(&search->module, address_of(info, p), p->p_memsz);
    }
}

static int visit_program(struct dl_phdr_info *info, size_t size, void *argument)
{
    (void)size;
    take_build_id(argument, info);
    return 1;
}

static int visit_module(struct dl_phdr_info *info, size_t size, void *argument)
{
    module_search *search = argument;

    (void)size;
    if (!contains(info, search->address))
        return 0;
    search->found = true;
    search->base = info->dlpi_addr;
    (void)snprintf(search->name, sizeof search->name, "%s", base_name(info->dlpi_name));
    take_build_id(search, info);
    return 1;
}

/* The loader knows the main program by the empty name. */
static void name_program(char *name, size_t size)
{
    char path[4096];
    const ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);

    path[n < 0 ? 0 : n] = '\0';
    (void)snprintf(name, size, "%.*s", (int)size - 1, n < 0 ? "program" : base_name(path));
}

static bool locate(fb_sites *sites, uintptr_t address, fb_frame *frame)
{
    module_search search = {.address = address};

    (void)dl_iterate_phdr(visit_module, &search);
    if (!search.found)
        return false;
    if (search.name[0] == '\0')
        name_program(search.name, sizeof search.name);
    search.module.name = fb__sites_string(sites, search.name, strlen(search.name));
    if (search.module.name == FB_INTERN_NONE)
        return false;
    frame->module = fb__sites_module(sites, &search.module);
    frame->offset = address - search.base;
    return frame->module != FB_INTERN_NONE;
}

uint32_t fb__stack_capture(fb_sites *sites, const void *caller)
{
    void *addresses[FB_STACK_DEPTH_MAX + 16]; /* our own frames come first */
    const int count = walk(addresses, FB_STACK_DEPTH_MAX + 16);
    uint32_t innermost = FB_FRAME_NONE;
    int first = 0, last = count;

    while (first < count && addresses[first] != caller)
        first++;
    if (first == count)
        return FB_FRAME_NONE;
    if (last > first + FB_STACK_DEPTH_MAX)
        last = first + FB_STACK_DEPTH_MAX;
    for (int i = last; i-- > first;) {
        fb_frame frame = {.caller = innermost};
        uint32_t number;

        /* A return address belongs to the line after the call: one byte back is within the call. */
        if (!locate(sites, (uintptr_t)addresses[i] - 1, &frame))
            continue;
        number = fb__sites_frame(sites, &frame);
        if (number == FB_INTERN_NONE)
            return innermost;
        innermost = number;
    }
    return innermost;
}

bool fb__stack_own_build_id(char hex[2 * FB_BUILD_ID_MAX + 1])
{
    /* The first module that the loader tells of is the main program. */
    module_search search = {.address = 0};

    (void)dl_iterate_phdr(visit_program, &search);
    for (uint32_t i = 0; i < search.module.build_id_bytes; i++)
        (void)snprintf(hex + 2 * i, 3, "%02x", search.module.build_id[i]);
    return search.module.build_id_bytes > 0;
}
