#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# check_headers.sh - every header compiles alone as C11, the public ones also as strict C11 and as
# C++ (a C++ program may embed the recorder).
#
# usage: check_headers.sh [ROOT]      compilers: $CC (gcc), $CXX (g++)
set -u
cd "${1:-$(dirname "$0")/..}" || exit 2

failed=0
for header in include/firstbit/*.h; do
    name=${header#include/}
    set -- -fsyntax-only -Wall -Wextra -Wpedantic -Werror -Iinclude
    printf '#include "%s"\n' "$name" | "${CC:-gcc}" -std=c11 "$@" -xc - ||
        { echo "$header: not strict C11"; failed=1; }
    printf '#include "%s"\n' "$name" | "${CXX:-g++}" -std=c++11 "$@" -xc++ - ||
        { echo "$header: not C++11"; failed=1; }
done

machine=$(uname -m)
cjson=$(pkg-config --cflags libcjson)
for header in base/*.h kernels/*.h engine/*.h engine/*/*.h tracer/*.h tracer/*/*.h replay/*.h \
    diff/*.h diff/*/*.h cli/*.h; do
    [ -e "$header" ] || continue
    isa=
    case "$header" in
    *avx512*) isa="-mavx512f -mavx512bw -mavx512dq -mavx512vl -mfma" ;;
    *avx2*) isa="-mavx2 -mfma" ;;
    esac
    case "$header-$machine" in
    *neon*-x86_64 | *avx*-aarch64) continue ;;
    esac
    # shellcheck disable=SC2086
    printf '#include "%s"\n#include "%s"\n' "$header" "$header" |
        "${CC:-gcc}" -std=gnu11 -D_GNU_SOURCE -fsyntax-only -Wall -Wextra -Werror \
            -Wno-unused-function -I. -Iinclude $cjson $isa -xc - ||
        { echo "$header: does not compile alone"; failed=1; }
done
exit $failed
