# scripts/gpu-check where there is no graphics card, and its whole way on the simulated one.
# SPDX-License-Identifier: Apache-2.0
"""test_gpu_check.py GPU_CHECK BUILD

1. Without a card: one line, exit code 4, nothing written.
2. --simulate: tests, logits, decoding and prefill of a tiny model in both forms; the report has a row for
   each and the table shows them; exit code 0.
3. A failure (a limit that logits cannot keep) is in the report and the exit code is 1.
"""
import json
import os
import pathlib
import subprocess
import sys
import tempfile

GPU_CHECK, BUILD = sys.argv[1:]
# One product test is enough here: they all run as unit tests.
SIMULATE = ["--simulate", "--kernel-tests", "Rows.EmbeddingIsExact"]


def gpu_check(folder, *arguments):
    return subprocess.run([sys.executable, GPU_CHECK, "--build", BUILD, "--out", folder, *arguments],
                          capture_output=True, text=True)


def check_without_card(folder):
    if os.path.exists("/dev/nvidiactl"):
        print("there is a card: the refusal without one is not tested")
        return
    done = gpu_check(folder / "none")
    line = done.stderr.strip()
    assert done.returncode == 4 and "\n" not in line and "no graphics card" in line, (done, line)
    assert not done.stdout and not (folder / "none").exists()


def check_report(folder):
    done = gpu_check(folder, *SIMULATE)
    assert done.returncode == 0, done.stderr[-3000:] + done.stdout[-3000:]
    report = json.loads((folder / "gpu-report.json").read_text())
    assert report["simulated"] and report["cards"][0]["multiprocessors"] > 0 and not report["failures"]
    assert [row["passed"] for row in report["tests"][:2]] == [True, True], report["tests"]
    forms = {"persistent", "graph"}
    assert len(report["logits"]) == 4 and all(row["passed"] for row in report["logits"])
    decode = {(row["recipe"], row["form"], row["rows"], row["context"]) for row in report["decode"]}
    assert decode == {(recipe, form, rows, context) for recipe in ("int4", "bf16") for form in forms
                      for rows in (1, 2) for context in (16, 40)}
    for row in report["decode"]:
        assert row["step_ms"] > 0 and row["weight_bytes"] > 0 and "note" not in row, row
    by_rows = {(row["recipe"], row["form"], row["context"], row["rows"]): row for row in report["decode"]}
    one, two = (by_rows["int4", "graph", 40, rows] for rows in (1, 2))
    assert one["cache_bytes"] == 40 * by_rows["int4", "graph", 16, 1]["cache_bytes"] // 16
    assert two["cache_bytes"] == 2 * one["cache_bytes"] and two["weight_bytes"] == one["weight_bytes"]
    assert {row["prompt"] for row in report["prefill"]} == {20} and len(report["prefill"]) == 4
    assert {row["engine"] for row in report["others"]} == {"llama.cpp", "vLLM"}
    shown = (folder / "gpu-report.md").read_text()
    assert shown.strip() == done.stdout.strip() and "mean nothing" in shown and "Nothing failed." in shown
    print(shown)


def check_failure(folder):
    done = gpu_check(folder, *SIMULATE, "--only", "logits", "--limit", "1e-9")
    report = json.loads((folder / "gpu-report.json").read_text())
    assert done.returncode == 1 and len(report["failures"]) == 4, (done.returncode, report["failures"])
    assert "FAILED logits: tiny int4 persistent on 1: differ by" in done.stdout, done.stdout


def main():
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        check_without_card(folder)
        check_report(folder / "check")
        check_failure(folder / "check")


main()
