#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# test.sh BUILD COMPILER MAKE_BUNDLE: installs the runtime to a temporary prefix, checks what
# libretort.so exports and needs, builds the examples against it with COMPILER, and runs them.
# MAKE_BUNDLE FILE writes the bundle of the unit tests. Exit code 77: the compiler is not installed.
set -eu
build=$1 cc=$2 make_bundle=$3
source=$(cd "$(dirname "$0")" && pwd)
case $cc in
gcc*) cxx=g++${cc#gcc} ;;
*) cxx=clang++${cc#clang} ;;
esac
command -v "$cc" >/dev/null && command -v "$cxx" >/dev/null || { echo "no $cc" && exit 77; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() { echo "test.sh: $*" >&2; exit 1; }

# With gcc the runtime itself is built with gcc too: any C++20 compiler must do, and without precompiled headers.
case $cc in
gcc*)
  cmake -S "$source/../.." -B "$build/runtime-$cc" -DRETORT_BUILD_MLIR=OFF -DRETORT_BUILD_TESTS=OFF \
    -DCMAKE_DISABLE_PRECOMPILE_HEADERS=ON -DCMAKE_BUILD_TYPE=Release -DCMAKE_CXX_FLAGS_RELEASE="-O0 -DNDEBUG" -DCMAKE_C_COMPILER="$cc" \
    -DCMAKE_CXX_COMPILER="$cxx" $(command -v ccache >/dev/null &&
      echo -DCMAKE_C_COMPILER_LAUNCHER=ccache -DCMAKE_CXX_COMPILER_LAUNCHER=ccache) \
    >"$work/configure.log" 2>&1 || fail "$(cat "$work/configure.log")"
  cmake --build "$build/runtime-$cc" --target libretort_shared libretort_static >"$work/build.log" 2>&1 ||
    fail "$(cat "$work/build.log")"
  build=$build/runtime-$cc
  ;;
esac

cmake --install "$build" --component runtime --prefix "$work/prefix" >"$work/install.log"
library=$(find "$work/prefix" -name 'libretort.so' | head -n 1)
lib=$(dirname "$library")

exported=$(nm -D --defined-only "$library" | awk '{print $NF}' | sort)
other=$(echo "$exported" | grep -v '^retort_' || true)
[ -z "$other" ] || fail "libretort.so exports more than the C API: $other"
declared=$(sed -n 's/^RETORT_API .*[ *]\(retort_[a-z_]*\)(.*/\1/p' "$work/prefix/include/retort.h" | sort)
[ "$exported" = "$declared" ] || fail "retort.h declares and libretort.so exports different calls:
$declared
--
$exported"
needed=$(ldd "$library" | awk '{print $1}' |
  grep -Ev '^(linux-vdso|libc|libm|libstdc\+\+|libgcc_s|libcrypto|libpthread|libdl|.*ld-linux.*)' || true)
[ -z "$needed" ] || fail "libretort.so needs $needed"

cmake -S "$source" -B "$work/build" -DCMAKE_PREFIX_PATH="$work/prefix" -DCMAKE_BUILD_TYPE=Release \
  -DCMAKE_C_COMPILER="$cc" -DCMAKE_CXX_COMPILER="$cxx" \
  -DCMAKE_C_FLAGS="-Wall -Wextra -Werror -Wno-missing-field-initializers -pedantic" \
  -DCMAKE_CXX_FLAGS="-Wall -Wextra -Werror" >"$work/configure.log" || fail "$(cat "$work/configure.log")"
cmake --build "$work/build" >"$work/build.log" || fail "$(cat "$work/build.log")"

"$make_bundle" "$work/model.retort"
printf 'first question\nsecond question\n' | "$work/build/service" "$work/model.retort" \
  >"$work/answers" || fail "service: exit $?"
[ "$(wc -l <"$work/answers")" -ge 2 ] || fail "service gave no two answers"
"$work/build/ask" "$work/model.retort" "a question" >"$work/answer" || fail "ask: exit $?"
"$work/build/ask" "$work/model.retort" "a question" | cmp - "$work/answer" || fail "ask is not deterministic"
long=$(head -c 500 /dev/zero | tr '\0' a)
"$work/build/ask" "$work/model.retort" "$long" 2>"$work/error" && fail "a long prompt was accepted"
grep -q "tokens but the context holds 64" "$work/error" || fail "$(cat "$work/error")"

if command -v pkg-config >/dev/null; then
  export PKG_CONFIG_PATH="$lib/pkgconfig"
  # shellcheck disable=SC2046
  "$cc" "$source/ask.c" -o "$work/ask-pc" $(pkg-config --cflags --libs retort) -Wl,-rpath,"$lib"
  "$work/ask-pc" "$work/model.retort" "a question" | cmp - "$work/answer" || fail "by pkg-config"
fi
echo "ok: $cc"
