/* SPDX-License-Identifier: Apache-2.0
 *
 * recorder_fork.c - a forked child records into a file of its own, beside its parent's.
 */
#include "tracer/record/recorder_state.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/error.h"
#include "base/hash.h"

/* What processes that share a recorder by fork know of it: a page that fork clears in the child,
 * and one that all of them share. */

bool fb__recorder_make_pages(fb_recorder *r)
{
    const int access = PROT_READ | PROT_WRITE;

    r->alive = mmap(NULL, FB_FORMAT_ALIGN, access, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    r->children = mmap(NULL, FB_FORMAT_ALIGN, access, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    r->alive = r->alive == MAP_FAILED ? NULL : r->alive;
    r->children = r->children == MAP_FAILED ? NULL : r->children;
    if (r->alive == NULL || r->children == NULL)
        return false;
    (void)madvise(r->alive, FB_FORMAT_ALIGN, MADV_WIPEONFORK); /* every kernel since 4.14 has it */
    *r->alive = FB_RECORDER_ALIVE;
    return true;
}

void fb__recorder_free_pages(fb_recorder *r)
{
    if (r->alive != NULL)
        (void)munmap(r->alive, FB_FORMAT_ALIGN);
    if (r->children != NULL)
        (void)munmap(r->children, FB_FORMAT_ALIGN);
}

/* "run.fbt" and 3: "run.child3.fbt". malloc'd. */
static char *child_path(const char *path, uint32_t number)
{
    static const char suffix[] = ".fbt";
    const size_t count = strlen(path), suffix_count = sizeof suffix - 1;
    const bool has = count > suffix_count && strcmp(path + count - suffix_count, suffix) == 0;
    const size_t stem = has ? count - suffix_count : count, size = count + 32;
    char *out = malloc(size);

    if (out != NULL)
        (void)snprintf(out, size, "%.*s.child%u%s", (int)stem, path, (unsigned)number,
                       has ? suffix : "");
    return out;
}

/* Another thread of the parent may have been changing any of it: nothing is freed, nothing that the
 * parent goes on using is touched. The names of the header stay: they never change. */
static void let_go(fb_recorder *r)
{
    if (r->sealing.file.descriptor >= 0)
        (void)close(r->sealing.file.descriptor);
    if (r->stage.map != NULL)
        (void)munmap(r->stage.map, r->stage.map_bytes);
    if (r->stage.on_disk)
        (void)close(r->stage.descriptor);
    fb__team_forget(&r->team);
    memset(&r->sealing, 0, sizeof r->sealing);
    memset(&r->stage, 0, sizeof r->stage);
    memset(&r->sites, 0, sizeof r->sites);
    r->sealing.file.descriptor = r->stage.descriptor = -1;
    r->observer_sites = NULL;
    r->observer_site_count = r->observer_site_capacity = 0;
    r->marks = NULL;
    r->mark_capacity = 0;
    r->identities = NULL;
    r->occurrences = NULL;
    r->occurrence_capacity = 0;
    r->step_begun = r->step_open = r->direct = false;
    r->events = 0;
}

static bool begin_again(fb_recorder *r)
{
    const uint32_t number = __atomic_add_fetch(r->children, 1, __ATOMIC_RELAXED);
    char *path = child_path(r->main_path, number);
    char hex[FB_HASH_HEX_BYTES], header[128];
    bool begun;

    (void)snprintf(header, sizeof header, "{\"parent\":\"%s\",\"role\":\"child%u\"}",
                   fb_hash_hex(hex, r->main_id), (unsigned)number);
    let_go(r);
    fb__lock_init(&r->lock);
    r->options.header = header;
    begun = path != NULL && fb__recorder_begin(r, path, NULL) == FB_OK;
    r->options.header = NULL;
    free(path);
    return begun;
}

void fb__recorder_in_child(fb_recorder *r)
{
    uint8_t found = FB_RECORDER_FORKED;

    /* The first thread of the child to report makes the file, others wait for it. */
    if (__atomic_compare_exchange_n(r->alive, &found, FB_RECORDER_BEGINNING, false,
                                    __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
        const bool begun = begin_again(r);

        __atomic_store_n(r->alive, begun ? FB_RECORDER_ALIVE : FB_RECORDER_LOST, __ATOMIC_RELEASE);
        return;
    }
    while (__atomic_load_n(r->alive, __ATOMIC_ACQUIRE) == FB_RECORDER_BEGINNING)
        (void)sched_yield();
}
