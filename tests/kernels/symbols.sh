#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# symbols.sh OBJECT... - looks at what the objects of fb_kernels define and call.
#
#   - no transcendental function of libm: glibc chooses variants by CPU, so bits would vary
#   - an object of one instruction set defines its table and nothing else: a function that it shared
#     with others could be merged with one that was compiled for less
set -eu

[ $# -gt 0 ] || { echo "usage: symbols.sh OBJECT..." >&2; exit 2; }
NM=${NM:-nm}
bad=0

# Exact by IEEE 754, or no arithmetic at all.
allowed='mem(cpy|set|move|cmp)|str(cmp|ncpy|len)|__assert_fail|__stack_chk_fail|abort'
allowed="$allowed|dlopen|dlsym|dlerror|pthread_[a-z_]*|_GLOBAL_OFFSET_TABLE_|__cpu_(model|indicator_init)"
allowed="$allowed|fb_[a-z0-9_]*|fb__[a-z0-9_]*|XXH[A-Za-z0-9_]*|__(asan|ubsan|tsan|gcov|llvm)_[a-z0-9_]*"
allowed="$allowed|__sanitizer[a-z_0-9]*|__local_asan_preinit|__start_.*|__stop_.*|__tls_get_addr"
allowed="$allowed|__(mem|str)[a-z]*_chk|mcount|malloc|posix_memalign|free"

for object; do
    for symbol in $($NM -u "$object" | awk '{ print $NF }'); do
        echo "$symbol" | grep -Eqx "$allowed" || {
            echo "$object calls $symbol" >&2
            bad=1
        }
    done
    case $object in
    */kernels_*.c.o)
        isa=$(basename "$object" .c.o)
        isa=${isa#kernels_}
        for symbol in $($NM -g --defined-only "$object" | awk '{ print $NF }'); do
            case $symbol in
            "fb__kernels_$isa" | __asan* | __odr_asan* | __gcov* | __llvm*) ;;
            *)
                echo "$object defines $symbol" >&2
                bad=1
                ;;
            esac
        done
        ;;
    esac
done
exit $bad
