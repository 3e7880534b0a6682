/* SPDX-License-Identifier: Apache-2.0
 *
 * openblas.c - the tables of contract 0: a real, differently rounded backend to compare with.
 *
 * The library is loaded when it is first asked for and stays loaded: a kernel has no context to
 * hold a handle, so this file has the one piece of process-wide state in kernels, written once.
 */
#include <dlfcn.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "base/error.h"
#include "kernels/kernels.h"

/* cblas.h's numbers, which are part of its binary interface. */
enum { ROW_MAJOR = 101, NO_TRANSPOSE = 111, TRANSPOSE = 112 };

typedef void (*sgemm_function)(int order, int transpose_a, int transpose_b, int m, int n, int k,
                               float alpha, const float *a, int lda, const float *b, int ldb,
                               float beta, float *c, int ldc);
typedef void (*set_threads_function)(int threads);

static struct {
    pthread_once_t once;
    sgemm_function sgemm;
    set_threads_function set_threads;
    char problem[256];
    fb_kernels tables[FB_ISA_COUNT];
} blas = {.once = PTHREAD_ONCE_INIT};

static void add_bias(const fb_matmul *x, float *c)
{
    for (size_t i = 0; i < x->m; i++)
        for (size_t j = 0; j < x->n; j++)
            c[i * x->ldc + j] += x->bias[j];
}

static void matmul(fb_pool *pool, const fb_matmul *x)
{
    (void)pool;
    if (x->m == 0 || x->n == 0)
        return;
    for (size_t i = 0; i < x->batch; i++) {
        float *c = x->c + i * x->stride_c;

        /* A leading dimension of 0 is refused even where it is not used. */
        blas.sgemm(ROW_MAJOR, x->a_transposed ? TRANSPOSE : NO_TRANSPOSE,
                   x->b_transposed ? TRANSPOSE : NO_TRANSPOSE, (int)x->m, (int)x->n, (int)x->k,
                   1.0f, x->a + i * x->stride_a, x->lda > 0 ? (int)x->lda : 1,
                   x->b + i * x->stride_b, x->ldb > 0 ? (int)x->ldb : 1,
                   x->accumulate ? 1.0f : 0.0f, c, (int)x->ldc);
        if (x->bias != NULL)
            add_bias(x, c);
    }
}

/* ISO C has no conversion from an object pointer to a function pointer; POSIX promises the copy. */
static bool find(void *library, const char *name, void *function, size_t bytes)
{
    void *symbol = dlsym(library, name);

    memcpy(function, &symbol, bytes);
    return symbol != NULL;
}

static void load(void)
{
    void *library = dlopen("libopenblas.so.0", RTLD_NOW | RTLD_LOCAL);

    if (library == NULL) {
        const char *text = dlerror();
        strncpy(blas.problem, text == NULL ? "cannot be loaded" : text, sizeof blas.problem - 1);
        return;
    }
    if (!find(library, "cblas_sgemm", &blas.sgemm, sizeof blas.sgemm) ||
        !find(library, "openblas_set_num_threads", &blas.set_threads, sizeof blas.set_threads)) {
        strncpy(blas.problem, "libopenblas.so.0: cblas_sgemm or openblas_set_num_threads missing",
                sizeof blas.problem - 1);
        blas.sgemm = NULL;
        return;
    }
    for (int isa = 0; isa < FB_ISA_COUNT; isa++) {
        const fb_kernels *base = fb_kernels_for((fb_isa)isa);

        if (base == NULL)
            continue;
        blas.tables[isa] = *base;
        blas.tables[isa].name = "openblas";
        blas.tables[isa].contract = 0;
        blas.tables[isa].matmul = matmul;
    }
}

fb_status fb_kernels_openblas(const fb_kernels **out, const fb_kernels *base, unsigned threads,
                              fb_error *err)
{
    pthread_once(&blas.once, load);
    if (blas.sgemm == NULL)
        return fb__fail(err, FB_E_NOT_FOUND, FB_NO_OFFSET, "OpenBLAS: %s", blas.problem);
    for (int isa = 0; isa < FB_ISA_COUNT; isa++)
        if (base == fb_kernels_for((fb_isa)isa)) {
            blas.set_threads((int)threads);
            *out = &blas.tables[isa];
            return FB_OK;
        }
    return fb__fail(err, FB_E_USAGE, FB_NO_OFFSET,
                    "OpenBLAS: the base is no table of this machine");
}
