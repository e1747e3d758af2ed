#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes questions of manual pages: in which section a page is, which header declares a function, what a
flag does.

    retort corpus CORPUS --documents documents.tsv
    make_task.py CORPUS documents.tsv faq.jsonl [--each N]
    retort eval man.retort --against teacher.gguf --task faq.jsonl

CORPUS is what scripts/fetch-corpus writes. documents.tsv says which pages are held out, as the compiler
itself splits them: questions, right answers and wrong ones are of those pages alone, so nothing here
was trained on. The same pages give the same file.
"""
import argparse
import csv
import json
import pathlib
import random
import re
import sys

SECTIONS = ["1", "2", "3", "4", "5", "7", "8"]
CHOICES = 4


def held_out(path):
    """Names of the held-out documents of `retort corpus --documents`."""
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    return sorted(row["document"] for row in rows if row["split"] == "held-out")


class Page:
    """A rendered page: its name, section, the line under NAME, headers and flags."""

    def __init__(self, path):
        self.name, self.section = re.fullmatch(r"(.+)\.(\d)\w*\.txt", path.name).groups()
        self.text = path.read_text()
        about = re.search(r"^NAME\n +(.+(?:\n {7,}\S.*)*)", self.text, re.M)
        self.about = re.sub(r"\s+", " ", about.group(1)) if about else ""
        synopsis = re.search(r"^SYNOPSIS\n(.*?)^\S", self.text, re.M | re.S)
        self.headers = sorted(set(re.findall(r"#include <(\S+)>", synopsis.group(1)))) if synopsis else []
        # A tag alone on its line, then its description, further in.
        self.flags = {flag: sentence(text) for flag, text in
                      re.findall(r"^ {7}([A-Z][A-Z0-9_]{3,}|--?[a-z][\w-]*)\n((?: {14}\S.*\n)+)", self.text, re.M)}


def sentence(text):
    """The first sentence on one line."""
    return re.split(r"(?<=[.;])\s", re.sub(r"\s+", " ", text.strip()))[0]


def question(rng, prompt, right, wrong):
    """A line with CHOICES choices, or nothing if there are too few wrong ones."""
    wrong = sorted(set(wrong) - {right})
    if len(wrong) < CHOICES - 1:
        return None
    choices = rng.sample(wrong, CHOICES - 1) + [right]
    rng.shuffle(choices)
    return {"prompt": prompt, "choices": choices, "answer": choices.index(right)}


def sections(rng, pages):
    for page in pages:
        if page.about and page.section in SECTIONS:
            yield question(rng, f"{page.about}\nThis manual page is in section", page.section, SECTIONS)


def headers(rng, pages):
    known = {header for page in pages for header in page.headers}
    for page in pages:
        if page.about and len(page.headers) == 1:
            yield question(rng, f"{page.about}\n\nSYNOPSIS\n       #include <", page.headers[0] + ">",
                           [header + ">" for header in known])


def flags(rng, pages):
    meanings = {text for page in pages for text in page.flags.values()}
    for page in pages:
        for flag, text in sorted(page.flags.items()):
            yield question(rng, f"{page.about}\n\n       {flag}\n              ", text, meanings)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=pathlib.Path)
    parser.add_argument("documents", type=pathlib.Path)
    parser.add_argument("output", type=pathlib.Path)
    parser.add_argument("--each", type=int, default=100, help="most questions of a kind")
    options = parser.parse_args()
    names = [name for name in held_out(options.documents) if re.fullmatch(r".+\.\d\w*\.txt", name)]
    pages = [Page(options.corpus / name) for name in names]
    lines = []
    for kind in (sections, headers, flags):
        rng = random.Random(kind.__name__)
        asked = [dict(line, kind=kind.__name__) for line in kind(rng, pages) if line]
        lines += rng.sample(asked, min(options.each, len(asked)))
    if not lines:
        sys.exit(f"{options.documents}: no held-out page of {options.corpus} has a fact to ask for")
    options.output.write_text("".join(json.dumps(line) + "\n" for line in lines))
    print(f"{len(lines)} questions of {len(pages)} held-out pages")


if __name__ == "__main__":
    main()
