#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""--budget, --latency and --explain: formats chosen by what they cost at the output, within bytes or a predicted time.

    test_budgets.py RETORT QUICKSTART
"""
import os
import pathlib
import re
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import tiny

USAGE, RESOURCES = 2, 5
TRAIN = ("--set", "observe-tokens=2000", "--set", "heal-tokens=1024", "--set", "score-tokens=1000", "--set", "probe-tokens=512")


class Bench:
    def __init__(self, retort, quickstart, work):
        self.retort, self.quickstart, self.work = retort, quickstart, work
        tiny.write_all(work)

    def run(self, *arguments, code=0):
        done = subprocess.run([self.retort, *map(str, arguments)], capture_output=True, text=True, env=dict(os.environ))
        assert done.returncode == code, (done.returncode, done.stderr)
        return done

    def compile(self, *more, code=0, recipe="quantize", target=tiny.HOST_TARGET):
        return self.run("compile", self.work / "hf", "--corpus", self.work / "corpus", "--small-corpus", "--recipe", recipe, *TRAIN,
                        "--threads", "1", "--target", target, "--workspace", self.work / "workspace", *more, code=code)

def check_bytes(b):
    """A budget between the smallest and the largest formats: it is kept and nearly filled, matrices that are multiplied together
    have one format, layers differ, and --explain says what is in the bundle."""
    out = b.work / "a.retort"
    done = b.compile("--budget", "1400kB", "--explain", "-o", out)
    note = re.search(r"the budget sets bits=([\d.]+)", done.stderr)
    assert note and 3.25 < float(note[1]) < 8.25, done.stderr
    size = out.stat().st_size
    assert size <= 1_400_000, size
    rows = re.findall(r"^(blk\.\d+|output) ?(.*?) +(i\d\w+) +([\d.]+ k?B) +(\d\.\d{5}) ", done.stdout, re.M)
    assert len(rows) == 4 * tiny.BLOCKS, done.stdout
    assert len({row[2] for row in rows}) > 1, "every group has the same format"
    assert {row[1] for row in rows} == {"attn_q attn_k attn_v", "attn_output", "ffn_gate ffn_up", "ffn_down"}, rows
    sums = re.search(r"these matrices: .*, ([\d.]+) bits a weight; KL ([\d.]+) nats a token", done.stdout)
    assert float(note[1]) - 0.1 < float(sums[1]) <= float(note[1]) + 0.01, (sums[0], note[0])
    assert abs(float(sums[2]) - sum(float(row[4]) for row in rows)) < 1e-3, (sums[0], rows)
    measured = re.search(r"^measured on held-out documents, .*: ([\d.]+)$", done.stdout, re.M)
    assert measured and 0 < float(measured[1]) < 1, done.stdout
    # A larger budget, the same probe: more bits, and a smaller predicted cost.
    again = b.compile("--budget", "1550kB", "--explain", "-o", b.work / "b.retort")
    assert not re.search(r"^probe the teacher +\.\.\.", again.stderr, re.M), again.stderr
    more = re.search(r"these matrices: .*, ([\d.]+) bits a weight; KL ([\d.]+) nats a token", again.stdout)
    assert float(more[1]) > float(sums[1]) and float(more[2]) < float(sums[2]), (more[0], sums[0])
    # A parameter that the user sets is left alone, and then the budget says what is in its way.
    error = b.compile("--budget", "1300kB", "--set", "bits=8", "-o", b.work / "c.retort", code=RESOURCES).stderr
    assert "over the budget of 1.3 MB: raise --budget, or leave bits to it" in error, error
    error = b.compile("--budget", "100kB", "-o", b.work / "c.retort", code=RESOURCES).stderr
    assert "no shape meets the budget of 100 kB: the smallest bundle of this teacher takes" in error, error
    assert not (b.work / "c.retort").exists()


def check_uniform(b):
    """Without bits nothing is probed and nothing explained."""
    done = b.compile("--explain", "-o", b.work / "u.retort")
    assert "nothing was chosen by measured costs: the recipe says every shape and format" in done.stdout, done.stdout
    assert "probe" not in done.stderr, done.stderr


def predicted(b, *more):
    """Bits, and microseconds, that a plan of SmolLM2 has."""
    done = b.run("compile", b.quickstart / "teacher.gguf", "--corpus", b.quickstart / "corpus", "--recipe", "quantize", "--dry-run",
                 "--workspace", b.work / "workspace", "--target", "cuda:sm_89", "--on", "rtx4090", *more)
    note = re.search(r"the (?:latency sets|budget and the latency set) bits=([\d.]+): ([\d.]+) us a token on rtx4090, predicted",
                     done.stderr)
    assert note, done.stderr
    return float(note[1]), float(note[2])


def check_time(b):
    """The predicted time of a token is within 3 % below the limit, and the least of it is said where no model keeps within."""
    most = predicted(b, "--latency", "1s")
    assert most[0] == 8.25, most
    limit = most[1] - 8
    kept = predicted(b, "--latency", f"{limit}us")
    assert 3.25 < kept[0] < 8.25 and 0.97 * limit <= kept[1] <= limit, (kept, limit)
    both = predicted(b, "--latency", f"{limit}us", "--budget", "88MB")
    assert both[0] < kept[0] and both[1] < kept[1], (both, kept)
    error = b.compile("--dry-run", "--latency", "1us", "--on", "rtx4090", target="cuda:sm_89", code=RESOURCES).stderr
    assert re.search(r"no shape meets the latency of 1 us: the smallest model of this teacher takes [\d.]+ us a token on rtx4090 by the "
                     r"cost model: raise --latency", error), error
    for options, code, words in (
            (("--latency", "2ms"), USAGE, "--latency needs the GPU that it is meant for: give --on"),
            (("--on", "rtx4090"), USAGE, "--on says where --latency is meant: give both"),
            (("--latency", "2", "--on", "rtx4090"), USAGE, "'2' is no time: write for example 2ms or 800us"),
            (("--latency", "-2ms", "--on", "rtx4090"), USAGE, "'-2ms' is no time"),
            (("--latency", "2ms", "--on", "rtx4080x"), USAGE, "not a known device"),
            (("--latency", "2ms", "--on", "h100"), USAGE, "its code is sm_90, which --target does not name: give --target cuda:sm_90")):
        error = b.compile("--dry-run", *options, target="cuda:sm_89", code=code).stderr
        assert words in error and len(error.splitlines()) == 1, error
    # A recipe that cannot vary anything says so.
    error = b.run("compile", b.work / "hf", "--recipe", "int4", "--dry-run", "--latency", "1us", "--on", "rtx4090",
                  "--target", "cuda:sm_89", code=RESOURCES).stderr
    assert re.search(r"a token will take [\d.]+ us on rtx4090 by the cost model, over the latency of 1 us: raise --latency, or choose a "
                     r"recipe that makes models smaller: quantize, specialist", error), error


def main():
    with tempfile.TemporaryDirectory(prefix="retort-budgets-") as folder:
        b = Bench(sys.argv[1], pathlib.Path(sys.argv[2]), pathlib.Path(folder))
        check_bytes(b)
        check_uniform(b)
        check_time(b)


if __name__ == "__main__":
    main()
