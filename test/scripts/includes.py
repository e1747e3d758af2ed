# Each C++ file includes what it uses of the headers that are precompiled. SPDX-License-Identifier: Apache-2.0
"""includes.py SOURCE

cmake/headers.h, test-headers.h and mlir-headers.h are compiled into nearly every file, so that one that forgets an
#include of theirs compiles all the same, until somebody builds without them. A name of the table below must come with
its header: in the file itself or in one of Retort's headers that it includes. MLIR's own headers bring most of the
standard library's, and LLVM's names are not in the table.
"""
import functools
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(sys.argv[1])
NAMES = {
    "algorithm": r"std::(ranges::)?(sort|stable_sort|max|min|clamp|find_if|any_of|all_of|none_of|fill|reverse|lower_bound|upper_bound)\b",
    "atomic": r"std::atomic\b",
    "charconv": r"std::(from|to)_chars\b",
    "chrono": r"std::chrono\b",
    "cmath": r"std::(sqrt|exp|log|pow|isfinite|isnan|isinf|lround|floor|ceil|abs)\b",
    "cstring": r"std::mem(cpy|cmp|set|move)\b",
    "filesystem": r"std::filesystem\b",
    "fstream": r"std::[io]?fstream\b",
    "functional": r"std::function\b",
    "gmock/gmock.h": r"\bEXPECT_THAT\b",
    "gtest/gtest.h": r"\b(TEST|TEST_F|EXPECT_EQ)\(",
    "map": r"std::(multi)?map\b",
    "memory": r"std::(unique_ptr|shared_ptr|make_unique|make_shared)\b",
    "mutex": r"std::(mutex|lock_guard|unique_lock|call_once)\b",
    "nlohmann/json.hpp": r"\bnlohmann::",
    "optional": r"std::(optional|nullopt)\b",
    "random": r"std::mt19937",
    "set": r"std::(multi)?set\b",
    "span": r"std::span\b",
    "string": r"std::(string|to_string)\b",
    "string_view": r"std::string_view\b",
    "thread": r"std::(thread|this_thread)\b",
    "unordered_map": r"std::unordered_map\b",
    "vector": r"std::vector\b",
}
# What brings a name as its header does.
ALSO = {"gtest/gtest.h": {"gmock/gmock.h"}, "nlohmann/json.hpp": {"nlohmann/json_fwd.hpp"}}
# Not compiled with those headers: device code, the kernels in C, the simulator, a project of its own.
APART = ("cmake/", "examples/", "kernels/")


@functools.lru_cache(None)
def included(path):
    """Headers that a file and Retort's headers in it name in angle brackets; "MLIR", "torch"."""
    text = (ROOT / path).read_text()
    found = set(re.findall(r"#include <([^>]+)>", text))
    if any(header.startswith(("ATen", "torch/")) for header in found):
        found.add("torch")
    for name in re.findall(r'#include "([^"]+)"', text):
        if name.startswith(("mlir/", "llvm/", "lld/")):
            found.add("MLIR")
        for place in (ROOT / name, (ROOT / path).parent / name, ROOT / "runtime/include" / name):
            if place.is_file():
                found |= included(str(place.relative_to(ROOT)))
                break
    return frozenset(found)


def missing(path):
    found = included(path)
    text = re.sub(r"//.*", "", (ROOT / path).read_text())
    for header, name in NAMES.items():
        brought = not found.isdisjoint({header} | ALSO.get(header, set()))
        if "." not in header:  # the standard library's
            brought |= not found.isdisjoint({"MLIR", "torch"})
        if not brought and (use := re.search(name, text)):
            line = text[:use.start()].count("\n") + 1
            yield f"{path}:{line}: {use[0].strip('(')} without #include <{header}>"


def main():
    files = subprocess.run(["git", "ls-files", "--", "*.h", "*.hpp", "*.cpp"], cwd=ROOT, check=True, capture_output=True,
                           text=True).stdout.split()
    assert len(files) > 300, "no git checkout"
    sys.exit("\n".join(line for path in files if not path.startswith(APART) for line in missing(path)) or 0)


main()
