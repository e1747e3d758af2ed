#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes Unicode.inc: the Unicode data that Hugging Face `tokenizers` 0.22-0.23 uses.

It takes its parts from three versions of Unicode, so ours does too:
  regular expressions (Oniguruma 6.9.10)        general categories of Unicode 16.0
  Digits (Rust's char::is_numeric)              the N categories of Unicode 17.0
  NFC (unicode-normalization-alignments)        decompositions and classes of Unicode 9.0
test/e2e/test_tokenizer.py checks all three against `tokenizers` for every code point.

Needs: pip install unicodedata2==16.0.0 regex, and perl (for the age of code points).
Usage: Unicode.py > Unicode.inc
"""
import subprocess
import regex
import unicodedata2 as ucd

CATEGORIES = "Cn Lu Ll Lt Lm Lo Mn Mc Me Nd Nl No Pc Pd Ps Pe Pi Pf Po Sm Sc Sk So Zs Zl Zp Cc Cf Cs Co".split()
NUMERIC_17 = [(0x11DE0, 0x11DE9), (0x16FF4, 0x16FF6)]


def ages():
    """(first code point, version) of every range, ascending."""
    script = ('use Unicode::UCD "prop_invmap"; my ($l, $m) = prop_invmap("Age");'
              'print "$l->[$_] $m->[$_]\\n" for 0 .. $#$l;')
    for line in subprocess.check_output(["perl", "-e", script], text=True).splitlines():
        start, version = line.split()
        yield int(start), (99.0 if version == "Unassigned" else float(version))


def assigned_in_9():
    known, ranges = set(), list(ages()) + [(0x110000, 99.0)]
    for (start, version), (end, _) in zip(ranges, ranges[1:]):
        if version <= 9.0:
            known.update(range(start, end))
    return known


def rows(name, kind, values):
    print(f"static const {kind} {name}[] = {{")
    line = "   "
    for value in values:
        if len(line) + len(value) > 98:
            print(line)
            line = "   "
        line += " " + value + ","
    print(line + "\n};")


def runs(value_of):
    """(first, value) wherever the value changes."""
    last = None
    for c in range(0x110000):
        value = value_of(c)
        if value != last:
            yield c, value
            last = value


def main():
    print("// Made by Unicode.py, which says from which Unicode versions. clang-format off")
    # Runs: the first code point << 8 | index into kCategoryNames.
    rows("kCategoryNames", "char *const", [f'"{c}"' for c in CATEGORIES])
    rows("kCategoryRuns", "uint32_t",
         [hex(c << 8 | CATEGORIES.index(v)) for c, v in runs(lambda c: ucd.category(chr(c)))])
    rows("kLaterNumeric", "uint32_t", [hex(x) for pair in NUMERIC_17 for x in pair])
    # \w of Rust's regex crate: runs in and out, the first code point << 1 | is a word character.
    word = regex.compile(r"[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}]")
    rows("kWordRuns", "uint32_t",
         [hex(c << 1 | v) for c, v in runs(
             lambda c: int(ucd.category(chr(c)) != "Cn" and word.match(chr(c)) is not None))])
    known = assigned_in_9()
    rows("kCombiningRuns", "uint32_t",
         [hex(c << 8 | v) for c, v in runs(lambda c: ucd.combining(chr(c)) if c in known else 0)])
    pairs = []
    for c in sorted(known):
        text = ucd.decomposition(chr(c))
        if text and not text.startswith("<"):
            parts = [int(x, 16) for x in text.split()]
            composes = ucd.normalize("NFC", ucd.normalize("NFD", chr(c))) == chr(c)
            pairs.append((c, parts[0], parts[1] if len(parts) > 1 else 0, int(composes)))
    # Canonical decompositions, one level: code point, first, second or 0, whether NFC composes it.
    print("struct DecompositionRow { uint32_t code, first, second, composes; };")
    rows("kDecompositions", "DecompositionRow", ["{%s}" % ",".join(hex(x) for x in p) for p in pairs])


main()
