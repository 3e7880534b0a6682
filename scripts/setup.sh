#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# setup.sh - installs what firstbit needs and this machine lacks.
#
#   scripts/setup.sh build    what building and the demo need (the default)
#   scripts/setup.sh test     also what every test and check needs
#
# Does nothing, fast, when all is there. Debian 12 or newer, or an Ubuntu of that age; with sudo
# when not root. Elsewhere it says what is needed and exits with 2.
set -eu

build_packages="build-essential cmake ninja-build pkg-config libxxhash-dev libzstd-dev zlib1g-dev
    libcjson-dev libunwind-dev libsqlite3-dev libcmocka-dev"
test_packages="clang libclang-rt-dev clang-tidy clang-format cppcheck lld llvm
    libopenblas0-pthread libmpfr-dev libssl-dev
    gzip zstd python3 python3-dev python3-numpy python3-xxhash python3-zstandard python3-torch
    gcc-aarch64-linux-gnu libc6-dev-arm64-cross gcc-riscv64-linux-gnu libc6-dev-riscv64-cross
    qemu-user"

case "${1:-build}" in
build) packages=$build_packages ;;
test) packages="$build_packages $test_packages" ;;
*)
    echo "setup.sh: expected build or test, got \"$1\"" >&2
    exit 2
    ;;
esac

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
    echo "setup.sh: this is neither Debian nor Ubuntu. What firstbit needs here:" >&2
    echo "  gcc >= 12 or clang >= 14, CMake >= 3.22, Ninja, pkg-config, and with their headers:" >&2
    echo "  xxHash, zstd, zlib, cJSON, libunwind, CMocka" >&2
    exit 2
fi

missing=
for package in $packages; do
    case "$(dpkg-query -W -f '${Status}' "$package" 2>/dev/null)" in
    "install ok installed") ;;
    *) missing="$missing $package" ;;
    esac
done
[ -n "$missing" ] || exit 0

as_root=
if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null; then
        echo "setup.sh: not root and no sudo here; as root, install:$missing" >&2
        exit 2
    fi
    as_root=sudo
fi

echo "setup.sh: installing$missing" >&2
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! { $as_root apt-get update -qq &&
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        $missing; } </dev/null >"$log" 2>&1; then
    tail -n 20 "$log" >&2
    echo "setup.sh: could not install$missing" >&2
    exit 2
fi
