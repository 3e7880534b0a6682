/* SPDX-License-Identifier: Apache-2.0
 *
 * recorded_case.h - what the tests of recorded programs share: events written one by one as the
 * recorder of PyTorch writes them, and a report told to who reads the test.
 */
#ifndef FB_TESTS_DIFF_RECORDED_CASE_H
#define FB_TESTS_DIFF_RECORDED_CASE_H

#include "recorded_run.h"

#include "base/hash.h"
#include "diff/diff.h"

/* A trace on its way: equal identities of one step are numbered. */
typedef struct tape {
    fb_recorder *recorder;
    uint64_t step;
    uint32_t counts[64]; /* occurrences of identities in this step */
    fb_hash known[64];
    size_t known_count;
    fb_ref weight; /* fc.weight as it was written last, for who reads it */
} tape;

static inline fb_ref report(tape *t, fb_site site, fb_event event)
{
    fb_hash key;
    size_t i = 0;

    site.size = sizeof site;
    site.occurrence = 0;
    key = fb_site_hash(&site);
    while (i < t->known_count && !fb_hash_equal(t->known[i], key))
        i++;
    assert_true(i < COUNT_OF(t->known));
    if (i == t->known_count) {
        t->known[t->known_count++] = key;
        t->counts[i] = 0;
    }
    site.occurrence = t->counts[i]++;
    event.size = sizeof event;
    event.site = fb_recorder_site(t->recorder, &site);
    event.step = t->step;
    event.micro = FB_MICRO_NONE;
    fb_recorder_event(t->recorder, &event);
    return (fb_ref){.site = event.site, .micro = FB_MICRO_NONE, .step = t->step};
}

static inline void scalar(tape *t, fb_phase phase, const char *path, const char *slot, double value)
{
    (void)report(t,
                 (fb_site){.kind = FB_KIND_SCALAR,
                           .phase = phase,
                           .path = path,
                           .slot = slot,
                           .dtype = FB_DTYPE_F64},
                 (fb_event){.value = value});
}

/* A state or a file is read back. */
static inline void restores(tape *t, const char *path, const char *op)
{
    (void)report(t,
                 (fb_site){.kind = FB_KIND_CHECKPOINT,
                           .phase = FB_PHASE_CHECKPOINT,
                           .path = path,
                           .op = op,
                           .slot = "file"},
                 (fb_event){.value = 0});
}

/* --- Reports ---------------------------------------------------------------------------------- */

static inline const char *text_or(const char *text)
{
    return text == NULL ? "" : text;
}

static inline void tell(const fb_diff_report *r, const char *what, size_t i)
{
    print_error("%s %d: %s at step %d, %s (%s): %s: %s\n", what, (int)i,
                fb_diff_verdict_name(r->verdict), (int)r->first.name.step, r->first.name.path,
                r->first.name.op, text_or(r->cause.name), text_or(r->cause.text));
}

#endif
