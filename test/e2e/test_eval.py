#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`retort eval` on a tiny teacher and a bundle of it.

    test_eval.py RETORT

1. A model has the same figure alone, beside another, and in a compile's report on the same bytes.
2. Per-document scores add up to the figures; intervals and the effective number are numpy's.
"""
import csv
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import tiny

RETORT = sys.argv[1]
TEXT_BYTES = 20_000
# Teacher and specialist scored on TEXT_BYTES, 4 bytes a token, and nothing in between.
PIPELINE = ("builtin.module(insert-score{model=teacher name=before tokens=5000},run-data-work,"
            "quantize-weights{model=teacher format=i4g32s},"
            "insert-score{model=teacher name=after tokens=5000},run-data-work)")


class Bench:
    def __init__(self, work):
        self.work = work
        tiny.write_all(work)
        self.teacher, self.corpus, self.bundle = work / "teacher.gguf", work / "corpus", work / "a.retort"
        self.environment = dict(os.environ, RETORT_WORKSPACE=str(work / "workspace"))

    def run(self, *arguments, code=0):
        done = subprocess.run([RETORT, *map(str, arguments)], capture_output=True, text=True, timeout=600,
                              env=self.environment)
        assert done.returncode == code, (arguments, done.returncode, done.stderr)
        return done

    def eval(self, model, *options):
        return json.loads(self.run("eval", model, "--corpus", self.corpus, "--json", *options).stdout)


def ratio_interval(numerators, denominators):
    """numpy's percentile bootstrap, which BCa is near where documents are alike."""
    draws = np.random.default_rng(1).integers(0, len(numerators), (20000, len(numerators)))
    ratios = numerators[draws].sum(1) / denominators[draws].sum(1)
    return np.percentile(ratios, [2.5, 97.5]), ratios.std()


def check_interval(interval, numerators, denominators):
    expected, deviation = ratio_interval(numerators, denominators)
    assert np.abs(np.array(interval) - expected).max() < 0.6 * deviation, (interval, expected, deviation)


def check_figures(b):
    scores = b.work / "scores.tsv"
    limit = ("--text-bytes", TEXT_BYTES)
    both = b.eval(b.bundle, "--against", b.teacher, "--documents", scores, *limit)
    alone = b.eval(b.teacher, *limit)
    assert abs(alone["bits_per_byte"] - both["against"]["bits_per_byte"]) < 1e-5, (alone, both["against"])
    assert both["text_bytes"] == alone["text_bytes"] <= TEXT_BYTES
    assert both["bits_per_byte"] != alone["bits_per_byte"]

    rows = list(csv.DictReader(scores.open(), delimiter="\t", quoting=csv.QUOTE_NONE))
    assert len(rows) == both["documents"] and all((b.corpus / row["document"]).exists() for row in rows)
    size, bits, against = (np.array([float(row[key]) for row in rows])
                           for key in ("text_bytes", "bits", "against_bits"))
    assert size.sum() == both["text_bytes"]
    assert abs(bits.sum() / size.sum() - both["bits_per_byte"]) < 1e-6
    assert abs(against.sum() / size.sum() - both["against"]["bits_per_byte"]) < 1e-6
    assert abs(size.sum() ** 2 / (size ** 2).sum() - both["effective_documents"]) < 1e-6
    check_interval(both["bits_per_byte_interval"], bits, size)
    check_interval(both["bits_per_byte_difference_interval"], bits - against, size)
    check_interval(both["bits_per_byte_ratio_interval"], bits, against)
    print(f"eval: {both['bits_per_byte']:.4f} against {alone['bits_per_byte']:.4f} on {len(rows)} documents")

    words = b.run("eval", b.bundle, "--corpus", b.corpus, "--against", b.teacher, *limit).stdout
    assert "95 %" in words and "difference: " in words and "tell as much as" in words, words


def check_report(b):
    bundle = b.work / "scored.retort"
    b.run("compile", b.teacher, "--corpus", b.corpus, "--small-corpus", "--passes", PIPELINE, "-o", str(bundle) + "/")
    report = json.loads((bundle / "report.json").read_text())
    assert report["format"] == 2
    before, after = report["models"]
    alone = b.eval(b.teacher, "--text-bytes", TEXT_BYTES)
    assert abs(before["bits_per_byte"] - alone["bits_per_byte"]) < 1e-6, (before, alone)
    assert before["bits_per_byte_interval"] == alone["bits_per_byte_interval"]
    assert before["effective_documents"] == alone["effective_documents"]
    assert before["bits_per_byte_ratio"] is None
    assert abs(after["bits_per_byte_ratio"] - after["bits_per_byte"] / before["bits_per_byte"]) < 1e-12
    low, high = after["bits_per_byte_difference_interval"]
    assert low < after["bits_per_byte_difference"] < high
    bits = sum(document["bits"] for document in after["documents"])
    size = sum(document["text_bytes"] for document in after["documents"])
    assert abs(bits / size - after["bits_per_byte"]) < 1e-12 and size == alone["text_bytes"]
    print(f"report: the teacher's {before['bits_per_byte']:.4f} is that of eval")


def main():
    with tempfile.TemporaryDirectory(prefix="retort-eval-") as folder:
        b = Bench(pathlib.Path(folder))
        b.run("compile", b.teacher, "--recipe", "int8", "-o", b.bundle)
        check_figures(b)
        check_report(b)


main()
