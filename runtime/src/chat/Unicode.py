#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Prints Unicode.inc: upper, lower and title case, and what repr() escapes, as this Python has them.

    Unicode.py > Unicode.inc
"""
import sys
import unicodedata


def ranges(codes):
    """[(first, last, stride, delta)] of a map from code to code."""
    out = []
    for code, to in sorted(codes.items()):
        if out:
            first, last, stride, delta = out[-1]
            if to - code == delta and (code - last == stride or (first == last and code - last <= 2)):
                out[-1] = (first, code, code - last, delta)
                continue
        out.append((code, code, 1, to - code))
    return out


def show(name, kind, rows):
    print(f"constexpr {kind} {name}[] = {{")
    for at in range(0, len(rows), 6):
        print("    " + " ".join(rows[at:at + 6]))
    print("};")


def case(name, function):
    single, many = {}, []
    for code in range(0x80, sys.maxunicode + 1):
        if 0xD800 <= code < 0xE000:
            continue
        to = function(chr(code))
        if len(to) > 1:
            many.append("{0x%X, \"%s\"}," % (code, "".join("\\x%02x" % b for b in to.encode())))
        elif ord(to) != code:
            single[code] = ord(to)
    show(f"k{name}", "CaseRange", ["{0x%X, 0x%X, %d, %d}," % r for r in ranges(single)])
    show(f"k{name}Many", "CaseMany", many or ["{0, \"\"},"])


print(f"// Made by Unicode.py from Unicode {unicodedata.unidata_version}.")
case("Upper", str.upper)
case("Lower", str.lower)
case("Title", str.title)
hidden, start = [], None
for code in range(0x80, sys.maxunicode + 2):
    off = code <= sys.maxunicode and not chr(code).isprintable()
    if off and start is None:
        start = code
    if not off and start is not None:
        hidden.append("{0x%X, 0x%X}," % (start, code - 1))
        start = None
show("kUnprintable", "CodeRange", hidden)
