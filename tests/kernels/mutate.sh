#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# mutate.sh - changes one thing that contract 1 fixes and expects a test to fail, over and over.
#
#   mutate.sh [--quick]
#
# Each mutation is made in a copy of the sources, compiled for the reference instruction set alone, and
# run through test_kernels_contract, test_matmul_order, test_functions and test_software_fma. Exit 0:
# the unchanged copy passes and every mutation was noticed. --quick takes the six that the contract's
# text names. Needs cmocka, xxhash and mpfr; CC chooses the compiler.
set -eu

root=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT INT TERM
cc=${CC:-cc}
flags="-std=gnu11 -O1 -ffp-contract=off -fno-math-errno -D_GNU_SOURCE -w"
libraries="-lcmocka -lxxhash -lmpfr -lgmp -lpthread -ldl -lm"

fresh_copy() {
    rm -rf "$work/src"
    mkdir -p "$work/src/tests"
    cp -r "$root/kernels" "$root/base" "$root/include" "$work/src"
    cp -r "$root/tests/kernels" "$work/src/tests"
    # The reference alone: fast to compile, and the bodies are the same for all.
    sed -i 's/defined(__x86_64__)/0/; s/defined(__aarch64__)/0/' \
        "$work/src/kernels/dispatch.c" "$work/src/tests/kernels/probe.c"
}

# The objects that no mutation touches.
common="kernels/dispatch kernels/fingerprint kernels/openblas base/pool base/error base/hash
        base/hash_block_base tests/kernels/cases tests/kernels/naive tests/kernels/exact
        tests/kernels/probe tests/kernels/test_kernels_contract tests/kernels/test_matmul_order
        tests/kernels/test_functions tests/kernels/test_software_fma tests/kernels/test_philox"

compile() { # FILE: to $work/obj/NAME.o
    # shellcheck disable=SC2086
    "$cc" $flags -I"$work/src" -I"$work/src/include" -c "$work/src/$1.c" -o "$work/obj/$(basename "$1").o"
}

# Prints the first test program that fails; nothing when all pass.
run_tests() {
    for changed in kernels/kernels_ref kernels/philox kernels/sums tests/kernels/probe_ref; do
        compile $changed
    done
    compile tests/kernels/test_software_fma
    compile tests/kernels/test_philox
    shared="$work/obj/dispatch.o $work/obj/fingerprint.o $work/obj/openblas.o $work/obj/pool.o
            $work/obj/error.o $work/obj/hash.o $work/obj/hash_block_base.o $work/obj/kernels_ref.o
            $work/obj/philox.o $work/obj/sums.o"
    functions="$work/obj/exact.o $work/obj/probe.o $work/obj/probe_ref.o"
    for test in test_matmul_order test_software_fma test_philox test_functions test_kernels_contract; do
        more=
        [ $test = test_functions ] && more=$functions
        [ $test = test_kernels_contract ] &&
            more="$functions $work/obj/cases.o $work/obj/naive.o"
        # shellcheck disable=SC2086
        "$cc" "$work/obj/$test.o" $shared $more $libraries -o "$work/$test"
        if ! timeout 120 "$work/$test" >"$work/log" 2>&1; then
            echo $test
            return
        fi
    done
}

noticed=0
missed=0

# mutate WHAT FILE SED-EXPRESSION: the expression must change the file, a test must fail.
mutate() {
    cp "$root/$2" "$work/src/$2"
    sed -i "$3" "$work/src/$2"
    if cmp -s "$root/$2" "$work/src/$2"; then
        echo "NOT MADE  $1: the expression changes nothing in $2" >&2
        missed=$((missed + 1))
        return
    fi
    by=$(run_tests)
    cp "$root/$2" "$work/src/$2"
    if [ -n "$by" ]; then
        noticed=$((noticed + 1))
        printf 'noticed   %-52s %s\n' "$1" "$by"
    else
        missed=$((missed + 1))
        printf 'MISSED    %s\n' "$1"
    fi
}

fresh_copy
mkdir -p "$work/obj"
for object in $common; do
    compile "$object"
done
by=$(run_tests)
if [ -n "$by" ]; then
    echo "the unchanged sources fail $by:" >&2
    tail -5 "$work/log" >&2
    exit 2
fi

mutate "blocks of 128 in a product" kernels/matmul.inc 's/BLOCK_K = 256/BLOCK_K = 128/'
mutate "a step of a product is rounded twice" kernels/vec_ref.h \
    's/LANE_FMA(a.lane\[i\], b.lane\[i\], c.lane\[i\])/a.lane[i] * b.lane[i] + c.lane[i]/'
mutate "lanes fold as neighbours" kernels/vec_ref.h \
    's/x.lane\[j\] = x.lane\[j\] + x.lane\[j + h\]/x.lane[j] = x.lane[2 * j] + x.lane[2 * j + 1]/'
mutate "chunks of 2048 in a row sum" kernels/row_sum.inc 's/CHUNK = 4096/CHUNK = 2048/'
mutate "the tree joins as a chain" kernels/tree.h 's/n = tree->count; n & 1; n >>= 1/n = 1; tree->depth > 0 \&\& n > 0; n >>= 1/'
mutate "a product and a sum are fused in AdamW" kernels/optimizer.inc \
    's/f16_add(f16_mul(beta1, load_some(job->m + i, n)), f16_mul(rest1, g))/f16_fma(beta1, load_some(job->m + i, n), f16_mul(rest1, g))/'

if [ "${1:-}" != --quick ]; then
    mutate "the software fma rounds to nearest first" kernels/software_fma.h 's/bits += step/bits += 0 * step/'
    mutate "results are not rounded to odd before narrowing" kernels/functions_exact.inc \
        's/return d16_narrow(d16_select(inexact, .*/return d16_narrow(sum);/'
    mutate "an estimate is never doubted" kernels/vec_ref.h 's/& 0x1fff8000u) == 0/\& 0x1fff8000u) == 1/'
    mutate "an estimate is trusted where it was not made" kernels/functions.inc \
        's/fmask_or(e.unfit, d16_doubtful(e.y))/d16_doubtful(e.y)/; s/fmask_or([ab].unfit, d16_doubtful(\([ab]\).y))/d16_doubtful(\1.y)/'
    mutate "a subnormal half is taken from an estimate" kernels/functions.inc \
        's/fmask_or(f16_tiny(x), f16_gt(f16_set1(low), x))/f16_gt(f16_set1(low), x)/'
    mutate "an estimate loses the sign of a zero" kernels/functions.inc \
        's/d16_sub(d16_set1(1.0), e.power))/d16_sub(e.power, d16_set1(1.0)))/; s/return d16_mulsub(e.power, d16_mul/return d16_muladd(e.power, d16_mul/'
    mutate "ln 2 has one part only" kernels/functions_tables.inc 's/#define EXP_LN2_LO .*/#define EXP_LN2_LO 0.0/'
    mutate "the sign of a negative zero is lost" kernels/functions_exact.inc \
        's/d16_select(nonzero, curve, d16_set1(-0.0))/d16_select(nonzero, curve, d16_set1(0.0))/'
    mutate "accumulation begins with p, not with C" kernels/matmul.inc \
        's/.add = p->accumulate || b->k > 0/.add = b->k > 0/'
    mutate "a row by itself begins with p, not with C" kernels/matmul.inc \
        's/sum\[g\] = k == 0 \&\& !p->accumulate ?/sum[g] = k == 0 ?/'
    mutate "a row by itself takes its blocks as one" kernels/matmul.inc \
        's/const size_t end = minimum(k + BLOCK_K, p->k);/const size_t end = k + p->k;/; s/for (size_t k = 0; k < p->k; k += BLOCK_K) {/for (size_t k = 0; k < p->k; k += p->k) {/'
    mutate "bias is added in every block" kernels/matmul.inc 's/last \&\& p->bias != NULL/p->bias != NULL/'
    mutate "a copying tile begins each block with the first row of B" kernels/matmul.inc \
        's/copied = p->copied_b + b->k \* p->ldb + b->n + j/copied = p->copied_b + b->n + j/'
    mutate "a copying tile puts each row of B at its neighbour's place" kernels/tile.inc \
        's/panel + (k + i) \* panel_step/panel + (k + (i ^ 1)) * panel_step/'
    mutate "columns are summed in float32" kernels/reduce.inc \
        's/d16_add(sum\[v\], d16_widen(term(context, r, column + 16 \* v, n)));/d16_widen(d16_narrow(d16_add(sum[v], d16_widen(term(context, r, column + 16 * v, n)))));/'
    mutate "a later equal maximum wins" kernels/pool2d.inc 's/value > x\[best\]/value >= x[best]/'
    mutate "the maximum of a row takes the last zero" kernels/reduce.inc 's/if (best != 0.0f)/if (best == best)/'
    mutate "the variance is unbiased" kernels/layernorm.inc \
        's/(deviation_term, \&deviations, 0, cols) \/ count/(deviation_term, \&deviations, 0, cols) \/ (count - 1)/'
    mutate "xhat uses a float64 mean" kernels/layernorm.inc \
        's/((float)(1.0 \/ __builtin_sqrt(variance + job->eps)))/((float)(1.0f \/ __builtin_sqrtf((float)(variance + job->eps))))/'
    mutate "loss = log(sum) + (max - x)" kernels/loss.inc \
        's/(log_one(sum) + row.max) - row.x\[job->targets\[r\]\]/log_one(sum) + (row.max - row.x[job->targets[r]])/'
    mutate "an invisible key is added as zero" kernels/attention.inc \
        's/const size_t common = query + r + 1 - whole;/const size_t common = query + r + height - whole;/'
    mutate "scores are scaled before the product" kernels/attention.inc \
        's/const f16 scale = f16_set1(h->scale);/const f16 scale = f16_set1(h->scale * 1.0000001f);/'
    mutate "D is a product, not a row sum" kernels/attention.inc \
        's/sum_of_terms(output_term, \&row, 0, h->dim)/sum_of_terms(output_term, \&row, 0, h->dim - 1)/'
    mutate "dropout keeps above, not from, the threshold" kernels/random.inc 's/>= job->threshold/> job->threshold + (1u << 20)/'
    mutate "a round of Philox is left out" kernels/philox.h 's/round < 10/round < 9/'
    mutate "normals exchange sine and cosine" kernels/random.inc 's/z\[2 \* i\] = cosine\[i\]/z[2 * i] = sine[i]/'
    mutate "convolution skips its first tap" kernels/conv2d.inc 's/.k = taps,/.k = taps - (taps > 1),/'
    mutate "windows of a convolution begin a column late" kernels/conv2d_windows.inc \
        's/w->skip_cols, width/w->skip_cols + 1, width/'
    mutate "the weight's gradient begins each block at +0" kernels/conv2d_weight.inc \
        's/b->k == 0 ? p\[r\]\[v\]/true ? p[r][v]/'
    mutate "an embedding row is overwritten, not added to" kernels/embedding.inc \
        's/if (!seen\[token\])/if (true)/'
fi
echo "$noticed mutations noticed, $missed missed"
[ "$missed" -eq 0 ]
