/* SPDX-License-Identifier: Apache-2.0
 *
 * fpenv.h - the floating-point environment of contract 1: round to nearest even, subnormals kept,
 * exceptions masked. Loading a shared object that was linked with -Ofast can change it behind a
 * program's back, so every thread sets it on entry and the engine checks it once a step.
 */
#ifndef FB_BASE_FPENV_H
#define FB_BASE_FPENV_H

#include <stdbool.h>
#include <stdint.h>

#if defined(__x86_64__)
#include <xmmintrin.h>
#define FB_FPENV_WANT 0x1f80u /* all exceptions masked, no FTZ, no DAZ, nearest even */
#define FB_FPENV_MASK 0xffc0u /* the sticky exception flags (low six bits) do not count */
#elif defined(__aarch64__)
#define FB_FPENV_WANT 0u
#define FB_FPENV_MASK 0x07f79f00u /* AHP, DN, FZ, RMode, stride, FZ16, trap enables */
#else
#define FB_FPENV_WANT 0u
#define FB_FPENV_MASK 0u
#endif

/* The control register, sticky flags masked out: MXCSR, FPCR, or 0 on other machines. */
static inline uint32_t fb_fpenv_get(void)
{
#if defined(__x86_64__)
    return _mm_getcsr() & FB_FPENV_MASK;
#elif defined(__aarch64__)
    uint64_t fpcr;
    __asm__ volatile("mrs %0, fpcr" : "=r"(fpcr));
    return (uint32_t)fpcr & FB_FPENV_MASK;
#else
    return 0;
#endif
}

static inline void fb_fpenv_set(void)
{
#if defined(__x86_64__)
    _mm_setcsr(FB_FPENV_WANT);
#elif defined(__aarch64__)
    const uint64_t fpcr = FB_FPENV_WANT;
    __asm__ volatile("msr fpcr, %0" : : "r"(fpcr));
#endif
}

/* The whole control register with its sticky flags, to be put back: work inside somebody's program
 * leaves no trace there. */
typedef uint64_t fb_fpenv_saved;

static inline fb_fpenv_saved fb_fpenv_save(void)
{
#if defined(__x86_64__)
    return _mm_getcsr();
#elif defined(__aarch64__)
    uint64_t fpcr;
    __asm__ volatile("mrs %0, fpcr" : "=r"(fpcr));
    return fpcr;
#else
    return 0;
#endif
}

static inline void fb_fpenv_restore(fb_fpenv_saved saved)
{
#if defined(__x86_64__)
    _mm_setcsr((uint32_t)saved);
#elif defined(__aarch64__)
    __asm__ volatile("msr fpcr, %0" : : "r"(saved));
#else
    (void)saved;
#endif
}

static inline bool fb_fpenv_ok(void)
{
    return fb_fpenv_get() == FB_FPENV_WANT;
}

#endif
