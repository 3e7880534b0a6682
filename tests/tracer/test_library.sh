#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# test_library.sh - an installed firstbit_trace serves a C program, a C++ program, static and shared,
# through pkg-config; the recorded trace is whole; nothing but fb_ names leaves the shared library.
#
# usage: test_library.sh SOURCE_FOLDER BUILD_FOLDER TRACE_LINES
set -eu
source=$1 build=$2 lines=$3
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Only the library is built here, so only its part of the installation is made.
cmake --install "$build/tracer" --prefix "$work/usr" >/dev/null
export PKG_CONFIG_PATH
PKG_CONFIG_PATH=$(dirname "$(find "$work/usr" -name firstbit_trace.pc)")
sed -i "s|^prefix=.*|prefix=$work/usr|" "$PKG_CONFIG_PATH/firstbit_trace.pc"
libraries=$(pkg-config --variable=libdir firstbit_trace)
strict="-Wall -Wextra -Wpedantic -Werror"

# shellcheck disable=SC2046,SC2086 # flags are words
cc -std=c11 $strict "$source/examples/recorder.c" $(pkg-config --cflags --libs firstbit_trace) -o "$work/shared"
# shellcheck disable=SC2046,SC2086
cc -std=c11 $strict "$source/examples/recorder.c" $(pkg-config --cflags firstbit_trace) \
    "$libraries/libfirstbit_trace.a" $(pkg-config --libs --static firstbit_trace | sed 's/-lfirstbit_trace//') \
    -o "$work/static"
for header in status event recorder trace; do
    echo "#include <firstbit/$header.h>" >"$work/alone.c"
    # shellcheck disable=SC2046,SC2086
    cc -std=c11 $strict -fsyntax-only $(pkg-config --cflags firstbit_trace) "$work/alone.c"
done
if command -v c++ >/dev/null; then
    # shellcheck disable=SC2046,SC2086
    c++ -std=c++17 $strict "$source/tests/tracer/public_headers.cpp" \
        $(pkg-config --cflags --libs firstbit_trace) -o "$work/cxx"
    LD_LIBRARY_PATH=$libraries "$work/cxx"
fi

cd "$work"
LD_LIBRARY_PATH=$libraries ./shared shared.fbt >/dev/null
./static static.fbt >/dev/null
"$lines" shared.fbt >shared.jsonl
"$lines" static.fbt >static.jsonl
cmp shared.jsonl static.jsonl # the events do not depend on how the library was linked
[ "$(wc -l <shared.jsonl)" -gt 100 ]

foreign=$(nm -D --defined-only "$libraries/libfirstbit_trace.so" | awk '$3 !~ /^fb_[a-z]/ {print $3}')
[ -z "$foreign" ] || { echo "exported: $foreign" >&2; exit 1; }
if ldd "$libraries/libfirstbit_trace.so" | grep -i blas; then
    echo "libfirstbit_trace links BLAS" >&2
    exit 1
fi
