#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`retort sweep`: a bundle for each budget, what they share done once, and one report.

    test_sweep.py RETORT
"""
import argparse
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import tiny
from test_resume import small_recipe

USAGE, RESOURCES, IO = 2, 5, 6
BUDGETS = ("1120kB", "1.25MB")


class Bench:
    def __init__(self, retort, work):
        self.retort, self.work, self.out = retort, work, work / "front"
        tiny.write_all(work)
        small_recipe(argparse.Namespace(retort=retort, tokens=1500), work)
        text = (work / "small.pipeline").read_text()
        # The share of channels is what a budget chooses.
        assert "keep=5.400000e-01" in text, text
        header = ["prune and train little", "", "parameter keep = 0.5: real from 0.1 to 1, share: FFN channels that stay",
                  "budget: keep in steps of 0.05"]
        (work / "small.pipeline").write_text("".join(f"// {line}\n" for line in header) + text.replace("keep=5.400000e-01", "keep=${keep}"))

    def run(self, budgets, *more, code=0, out=None):
        done = subprocess.run([self.retort, "sweep", self.work / "hf", "--corpus", self.work / "corpus", "--small-corpus", "--recipe",
                               self.work / "small.pipeline", "--threads", "1", "--target", tiny.HOST_TARGET, "--budgets", budgets,
                               "--workspace", self.work / "workspace", "-o", out or self.out, *more],
                              capture_output=True, text=True, env=dict(os.environ))
        assert done.returncode == code, (done.returncode, done.stderr)
        return done


def check_sweep(b):
    done = b.run("1.25MB,1120kB")
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["budget", "1120kB", "1.25MB"], lines
    stages = re.findall(r"^(train the teacher|distil the \w+) +\.\.\.$", done.stderr, re.M)
    assert stages.count("train the teacher") == 1 and stages.count("distil the student") == 2, stages
    sizes = {name: (b.out / f"{name}.retort").stat().st_size for name in BUDGETS}
    assert sizes["1120kB"] <= 1_120_000 and sizes["1120kB"] < sizes["1.25MB"] <= 1_250_000, sizes
    report = json.loads((b.out / "report.json").read_text())
    names = [model["name"] for model in report["models"]]
    assert names[0] == "teacher as it came" and names[-2:] == [f"specialist, {name}" for name in BUDGETS], names
    assert "tuned teacher" in names and "specialist unrounded" not in names, names
    for name in BUDGETS:
        own = json.loads(subprocess.run([b.retort, "inspect", b.out / f"{name}.retort", "--json"], capture_output=True, text=True,
                                        check=True).stdout)
        assert own, name
    assert report["provenance"]["budgets"] == "1120kB, 1.25MB"
    page = (b.out / "report.html").read_text()
    assert "specialist, 1.25MB" in page and "<svg" in page
    error = b.run("1120kB", code=USAGE).stderr
    assert "report.html exists: give --force to replace it" in error, error
    again = b.run("1.25MB,1120kB", "--force")
    assert "train the teacher" not in again.stderr and "distil" not in again.stderr, again.stderr


def check_refusals(b):
    out = b.work / "refused"
    error = b.run("100kB,1.25MB", code=RESOURCES, out=out).stderr
    assert "the smallest bundle of this teacher takes" in error and not out.exists(), error
    assert "train" not in error, "work began before every budget was planned"
    error = b.run("1250kB,1.25MB", code=USAGE, out=out).stderr
    assert "1250kB and 1.25MB are the same: name each once" in error and not out.exists(), error
    b.run("lots", code=USAGE, out=out)
    b.run("1.25MB", code=IO, out=b.work / "no" / "folder")


def main():
    with tempfile.TemporaryDirectory(prefix="retort-sweep-") as folder:
        b = Bench(sys.argv[1], pathlib.Path(folder))
        check_sweep(b)
        check_refusals(b)


if __name__ == "__main__":
    main()
