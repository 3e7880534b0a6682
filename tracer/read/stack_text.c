/* SPDX-License-Identifier: Apache-2.0
 *
 * stack_text.c - a recorded stack as text: the program files are looked for on this machine by
 * build id; what is not found is told as module+0xoffset.
 */
#include "tracer/stack/stack.h"

#include <inttypes.h>
#include <link.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/bytes.h"
#include "firstbit/trace.h"
#include "tracer/stack/elf_symbols.h"
#include "tracer/format/format.h"
#include "tracer/read/trace_state.h"

/* A program file that was found, and where. */
typedef struct program {
    fb_elf elf;
    char path[4096];
} program;

typedef struct search {
    program *found;
    const fb_module *module;
} search;

static bool try_path(program *p, const fb_module *module, const char *path)
{
    if (!fb__elf_open(&p->elf, path, module->build_id, module->build_id_bytes))
        return false;
    (void)snprintf(p->path, sizeof p->path, "%s", path);
    return true;
}

static int try_loaded(struct dl_phdr_info *info, size_t size, void *argument)
{
    const search *s = argument;

    (void)size;
    return info->dlpi_name[0] != '\0' && try_path(s->found, s->module, info->dlpi_name);
}

/* Separate debug files have the function names that stripped ones lack. */
static bool try_debug_file(program *p, const fb_module *module)
{
    char path[64 + 2 * FB_BUILD_ID_MAX];
    int n = snprintf(path, sizeof path, "/usr/lib/debug/.build-id/%02x/", module->build_id[0]);

    for (uint32_t i = 1; i < module->build_id_bytes; i++)
        n += snprintf(path + n, sizeof path - (size_t)n, "%02x", module->build_id[i]);
    (void)snprintf(path + n, sizeof path - (size_t)n, ".debug");
    return try_path(p, module, path);
}

/* The loader does not tell the path of the main program. */
static bool try_own_file(program *p, const fb_module *module)
{
    char path[4096];
    const ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);

    path[n < 0 ? 0 : n] = '\0';
    return n > 0 && try_path(p, module, path);
}

static bool find_program(program *p, const fb_module *module, const char *name, const char *folder)
{
    static const char *const places[] = {"/usr/lib/x86_64-linux-gnu",
                                         "/usr/lib/aarch64-linux-gnu",
                                         "/usr/lib64",
                                         "/usr/lib",
                                         "/usr/bin",
                                         "/usr/local/lib",
                                         "/usr/local/bin",
                                         "."};
    search s = {p, module};
    char path[4096];

    p->elf = (fb_elf){NULL, 0};
    if (module->build_id_bytes == 0 || strchr(name, '/') != NULL)
        return false;
    if (try_debug_file(p, module) || try_own_file(p, module) ||
        dl_iterate_phdr(try_loaded, &s) != 0)
        return true;
    if (folder != NULL && snprintf(path, sizeof path, "%s/%s", folder, name) < (int)sizeof path &&
        try_path(p, module, path))
        return true;
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        (void)snprintf(path, sizeof path, "%s/%s", places[i], name);
        if (try_path(p, module, path))
            return true;
    }
    return false;
}

/* --- Lines -------------------------------------------------------------------------------------
 */

/* "file.c:12" by addr2line, where that is installed and the file has line numbers; else "". */
static void find_line(char out[256], const program *p, uint64_t offset)
{
    char address[32];
    char *const command[] = {(char *)"addr2line", (char *)"-s", (char *)"-e",
                             (char *)p->path,     address,      NULL};
    posix_spawn_file_actions_t actions;
    int ends[2], status;
    size_t count = 0;
    ssize_t n = 0;
    pid_t child;

    out[0] = '\0';
    if (!fb__elf_has_lines(&p->elf) || pipe(ends) != 0)
        return;
    (void)snprintf(address, sizeof address, "0x%" PRIx64, offset);
    /* Memory may be out: the other program must not write where this one does. */
    if (posix_spawn_file_actions_init(&actions) != 0 ||
        posix_spawn_file_actions_adddup2(&actions, ends[1], 1) != 0 ||
        posix_spawn_file_actions_addclose(&actions, ends[0]) != 0 ||
        posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", 1 /* O_WRONLY */, 0) != 0 ||
        posix_spawnp(&child, command[0], &actions, NULL, command, environ) != 0)
        child = -1;
    (void)posix_spawn_file_actions_destroy(&actions);
    (void)close(ends[1]);
    while (child > 0 && count < 255 && (n = read(ends[0], out + count, 255 - count)) > 0)
        count += (size_t)n;
    (void)close(ends[0]);
    if (child > 0)
        (void)waitpid(child, &status, 0);
    out[count] = '\0';
    out[strcspn(out, "\n ")] = '\0';
    if (strchr(out, '?') != NULL) /* "??:0": it does not know */
        out[0] = '\0';
}

/* --- Text --------------------------------------------------------------------------------------
 */

/* malloc'd; NULL when memory is out. */
static char *spell_frame(const fb_sites *sites, const fb_frame *frame, const char *folder)
{
    const fb_module module = fb__sites_get_module(sites, frame->module);
    const char *name = fb__sites_text(sites, module.name);
    char text[FB_NAME_MAX + 320], line[256] = "";
    const char *function = NULL;
    uint64_t distance;
    program p;

    if (find_program(&p, &module, name, folder)) {
        function = fb__elf_function(&p.elf, frame->offset, &distance);
        if (function != NULL)
            find_line(line, &p, frame->offset);
    }
    if (line[0] != '\0')
        (void)snprintf(text, sizeof text, "%.400s at %s\n", function, line);
    else if (function != NULL)
        (void)snprintf(text, sizeof text, "%.400s+0x%" PRIx64 " in %.400s\n", function, distance,
                       name);
    else
        (void)snprintf(text, sizeof text, "%s+0x%" PRIx64 "\n", name, frame->offset);
    fb__elf_close(&p.elf);
    return strdup(text);
}

void fb__frame_texts_free(fb_frame_texts *texts)
{
    for (uint32_t i = 0; i < texts->count; i++)
        free(texts->of[i]);
    free(texts->of);
    *texts = (fb_frame_texts){.count = 0};
}

/* Where the text of a frame is kept; NULL where it is not. */
static char **kept_text(fb_frame_texts *texts, uint32_t frame)
{
    if (frame >= texts->count) {
        const uint32_t count = frame + frame / 2 + 64;
        char **of = realloc(texts->of, count * sizeof(char *));

        if (of == NULL)
            return NULL;
        memset(of + texts->count, 0, (count - texts->count) * sizeof(char *));
        texts->of = of;
        texts->count = count;
    }
    return &texts->of[frame];
}

static void put_frame(fb_buffer *out, fb_trace *t, uint32_t number, const char *folder)
{
    const fb_frame frame = fb__sites_get_frame(t->sites, number);
    char **kept = kept_text(&t->frame_texts, number);
    char *text = kept != NULL ? *kept : NULL;
    size_t count;

    if (text == NULL)
        text = spell_frame(t->sites, &frame, folder);
    if (text == NULL) {
        out->failed = true;
        return;
    }
    count = strlen(text);
    fb_buffer_append(out, text, count);
    if (kept != NULL && *kept == text)
        return;
    if (kept != NULL && t->frame_texts.bytes + count <= FB_FRAME_TEXTS_BYTES) {
        *kept = text;
        t->frame_texts.bytes += count;
    } else {
        free(text);
    }
}

static char *spell_stack(fb_trace *t, uint32_t frame, const char *folder)
{
    fb_buffer out = {0};

    for (int depth = 0; frame != FB_FRAME_NONE && depth < FB_STACK_DEPTH_MAX; depth++) {
        put_frame(&out, t, frame, folder);
        frame = fb__sites_get_frame(t->sites, frame).caller;
    }
    fb_buffer_u8(&out, 0);
    if (out.failed) {
        fb_buffer_free(&out);
        return NULL;
    }
    return (char *)out.data;
}

const char *fb_trace_stack(fb_trace *trace, uint32_t site)
{
    fb_trace *t = trace;
    const char *slash = strrchr(t->path, '/');
    char *folder;

    if (site >= t->sites->count)
        return "";
    if (fb__sites_get(t->sites, site)->names[FB_SITE_SOURCE] != 0)
        return fb__sites_text(t->sites, fb__sites_get(t->sites, site)->names[FB_SITE_SOURCE]);
    if (fb__chunk_reader_frame(&t->chunk, site) == FB_FRAME_NONE)
        return "";
    if (t->stack != NULL && t->stack_site == site)
        return t->stack;
    free(t->stack);
    folder = slash == NULL ? NULL : strndup(t->path, (size_t)(slash - t->path));
    t->stack = spell_stack(t, fb__chunk_reader_frame(&t->chunk, site), folder);
    t->stack_site = site;
    free(folder);
    return t->stack == NULL ? "" : t->stack;
}
