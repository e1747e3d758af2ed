#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Prints the table of the quick start from what `retort eval` and `retort bench` measured.

    scripts/table.py DIR        reads DIR/eval.json, eval-int4.json, bench.json, bench-int4.json and
                                the sizes of DIR/teacher.gguf, int4.retort and man.retort; writes
                                the same table to DIR/table.md with the machine and the date
    scripts/table.py DIR --readme FILE.md
                                also puts that between the marks in FILE.md
"""
import datetime
import json
import os
import platform
import sys


def load(folder, name):
    with open(os.path.join(folder, name)) as file:
        return json.load(file)


def cpu_name():
    with open("/proc/cpuinfo") as file:
        for line in file:
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.machine()


def row(name, path, scored, timed):
    """One line of the table. `timed` is None for a model that is not compiled."""
    text_per_token = scored["text_bytes"] / scored["tokens"]
    interval = scored["bits_per_byte_interval"]
    cells = [
        name,
        f"{scored['bits_per_byte']:.3f}" + ("" if interval is None else " ({:.3f} to {:.3f})".format(*interval)),
        f"{os.path.getsize(path) / 1e6:.1f} MB",
    ]
    if timed is None:
        return cells + ["-"] * 4
    decode = timed["decode_tokens_per_s"]
    return cells + [
        f"{timed['bytes_per_token'] / 1e6:.1f} MB",
        f"{timed['bytes_per_token'] / text_per_token / 1e6:.2f} MB",
        f"{decode:,.0f}",
        f"{decode * text_per_token:,.0f}",
    ]


HEADING = ["model", "bits/byte", "on disk", "weights/token", "weights/text byte", "tokens/s",
           "text bytes/s"]


def aligned(rows):
    widths = [max(len(r[c]) for r in rows) for c in range(len(HEADING))]
    lines = []
    for r in rows:
        cells = [r[0].ljust(widths[0])] + [r[c].rjust(widths[c]) for c in range(1, len(r))]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def markdown(rows):
    lines = ["| " + " | ".join(r) + " |" for r in rows]
    lines.insert(1, "|---|" + "---:|" * (len(HEADING) - 1))
    return "\n".join(lines)


def fill_readme(path, table):
    with open(path) as file:
        text = file.read()
    begin, rest = text.split("<!-- table of scripts/quickstart", 1)
    mark, rest = rest.split("-->\n", 1)
    _, end = rest.split("<!-- end of table -->", 1)
    with open(path, "w") as file:
        file.write(f"{begin}<!-- table of scripts/quickstart{mark}-->\n\n{table}\n"
                   f"<!-- end of table -->{end}")


def main():
    if len(sys.argv) not in (2, 4) or sys.argv[2:3] not in ([], ["--readme"]):
        sys.exit("usage: scripts/table.py DIR [--readme FILE.md]")
    folder = sys.argv[1]
    evaluated, bench = load(folder, "eval.json"), load(folder, "bench.json")
    rows = [
        HEADING,
        row("teacher as it came", os.path.join(folder, "teacher.gguf"), evaluated["against"], None),
        row("teacher, int4", os.path.join(folder, "int4.retort"), load(folder, "eval-int4.json"),
            load(folder, "bench-int4.json")),
        row("specialist", os.path.join(folder, "man.retort"), evaluated, bench),
    ]
    least, most = evaluated["bits_per_byte_difference_interval"]
    measured = (f"Specialist less teacher, paired by document: "
                f"{evaluated['bits_per_byte_difference']:+.3f} bits/byte ({least:+.3f} to {most:+.3f}). In brackets, 95 % intervals. "
                f"Measured on {evaluated['text_bytes']:,} bytes of held-out text, "
                f"{bench['threads']} threads of {cpu_name()}, {datetime.date.today()}.")
    print(aligned(rows))
    print(measured)
    table = markdown(rows) + "\n\n" + measured + "\nCommand: `scripts/quickstart`.\n"
    with open(os.path.join(folder, "table.md"), "w") as file:
        file.write(table)
    if len(sys.argv) == 4:
        fill_readme(sys.argv[3], table)


if __name__ == "__main__":
    main()
