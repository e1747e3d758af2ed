#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""examples/man-pages/make_task.py: questions of held-out pages alone, with right answers.

    test_man_pages.py RETORT
"""
import csv
import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import tiny

RETORT = sys.argv[1]
SCRIPT = pathlib.Path(__file__).parents[2] / "examples/man-pages/make_task.py"


def write_pages(folder):
    """Pages whose facts are known: name -> (section, header, {flag: meaning})."""
    facts = {}
    folder.mkdir()
    for number in range(300):
        rng = random.Random(number)
        name, section, header = f"call{number}", rng.choice("23"), f"sys/h{rng.randrange(40)}.h"
        flags = {f"F_{letter}{number}": f"It makes thing {number}{letter} true." for letter in "AB"}
        words = " ".join(f"w{rng.randrange(10**6)}" for _ in range(200))
        text = (f"{name}({section})\n\nNAME\n       {name} - do the thing of {number}\n\nSYNOPSIS\n"
                f"       #include <{header}>\n\n       int {name}(void);\n\nDESCRIPTION\n       {words}\n\n")
        for flag, meaning in flags.items():
            text += f"       {flag}\n              {meaning}\n              More of {rng.random()}.\n\n"
        (folder / f"{name}.{section}.txt").write_text(text + "SEE ALSO\n       open(2)\n")
        facts[name] = section, header, flags
    return facts


def main():
    with tempfile.TemporaryDirectory(prefix="retort-man-") as temporary:
        work = pathlib.Path(temporary)
        facts = write_pages(work / "pages")
        environment = dict(os.environ, RETORT_WORKSPACE=str(work / "workspace"))

        def run(*command, code=0):
            done = subprocess.run([str(part) for part in command], capture_output=True, text=True, env=environment)
            assert done.returncode == code, (command, done.returncode, done.stderr)
            return done

        run(RETORT, "corpus", work / "pages", "--documents", work / "documents.tsv")
        rows = list(csv.DictReader((work / "documents.tsv").open(), delimiter="\t"))
        held = {row["document"].split(".")[0] for row in rows if row["split"] == "held-out"}
        assert 10 < len(held) < 60 and len(rows) == 300, (len(held), len(rows))

        run(sys.executable, SCRIPT, work / "pages", work / "documents.tsv", work / "faq.jsonl")
        lines = [json.loads(line) for line in (work / "faq.jsonl").read_text().splitlines()]
        assert {line["kind"] for line in lines} == {"sections", "headers", "flags"}
        for line in lines:
            name = line["prompt"].split()[0]
            section, header, flags = facts[name]
            assert name in held, (name, line)
            right = {"sections": section, "headers": header + ">",
                     "flags": flags.get(line["prompt"].split()[-1])}[line["kind"]]
            assert line["choices"][line["answer"]] == right and len(set(line["choices"])) == 4, line
        again = (work / "faq.jsonl").read_bytes()
        run(sys.executable, SCRIPT, work / "pages", work / "documents.tsv", work / "faq.jsonl")
        assert (work / "faq.jsonl").read_bytes() == again

        tiny.write_hf(work / "hf")
        asked = json.loads(run(RETORT, "eval", work / "hf", "--task", work / "faq.jsonl", "--json").stdout)["tasks"][0]
        assert asked["questions"] == len(lines) and 0 <= asked["acc"] <= 1, asked

        none = work / "none.tsv"
        none.write_text("document\tsha256\tsplit\ttext_bytes\n")
        assert "no held-out page" in run(sys.executable, SCRIPT, work / "pages", none, work / "x", code=1).stderr
        print(f"{len(lines)} questions of {len(held)} held-out pages")


main()
