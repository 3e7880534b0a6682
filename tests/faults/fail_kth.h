/* SPDX-License-Identifier: Apache-2.0
 *
 * fail_kth.h - what is preloaded into a program so that the k-th of its calls fails: fail_kth.c
 * stands in for calls of the C library, fail_server.c runs the program once for each request,
 * fail_trace.c fails system calls themselves.
 */
#ifndef FB_TESTS_FAULTS_FAIL_KTH_H
#define FB_TESTS_FAULTS_FAIL_KTH_H

#include <stdbool.h>
#include <sys/types.h>

typedef enum fail_kind {
    FAIL_NOTHING,
    FAIL_FILES,   /* calls of the C library that change files */
    FAIL_MEMORY,  /* allocations, and mmap */
    FAIL_THREADS, /* pthread_create */
    FAIL_SYSTEM,  /* system calls, whoever makes them */
} fail_kind;

typedef struct fail_plan {
    fail_kind kind;
    unsigned long k; /* the call that fails, from 1; 0: none */
    bool later;      /* all later ones fail too */
    int error;       /* with which errno; memory always says ENOMEM */
    bool armed;      /* counting begins at once, not with the first file that is created */
} fail_plan;

/* Whether call number `call` fails. */
static inline bool fail_planned(const fail_plan *plan, unsigned long call)
{
    return plan->k != 0 && (plan->later ? call >= plan->k : call == plan->k);
}

/* Begins to fail calls of the library in this process, counting them in *calls. */
void fail_begin(const fail_plan *plan, unsigned long *calls);

/* Traces a child that has asked for it and stopped, to its end: its wait status. Counts the system
 * calls of all its threads in *calls. */
int fail_trace(pid_t child, const fail_plan *plan, unsigned long *calls);

#endif
